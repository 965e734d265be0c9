//! What APPEND announces (RFC 3501 §6.3.11), flags and dates.

use super::{
    Bad, Out,
    word::{Text, astring, atom, list, sp},
};
use crate::limits;
use mail::{Civil, Flags, Keyword, Stamp, System};
use nom::{
    Parser,
    branch::alt,
    bytes::complete::{tag, take, take_while_m_n},
    combinator::{map, opt, verify},
    sequence::{delimited, preceded, terminated},
};

/// APPEND up to the announcement of its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Append<'a> {
    pub mailbox: Text<'a>,
    pub flags: Flags,
    pub date: Option<Stamp>,
}

/// Behind the word APPEND, up to the `{`.
pub(super) fn append(i: &[u8]) -> Out<'_, Append<'_>> {
    let (i, mailbox) = preceded(sp, astring).parse(i)?;
    let (i, flags) = opt(preceded(sp, flag_list)).parse(i)?;
    let (i, date) = opt(preceded(sp, date_time)).parse(i)?;
    let (i, _) = terminated(sp, tag("{")).parse(i)?;
    Ok((i, Append { mailbox, flags: flags.unwrap_or_default(), date }))
}

/// `flag-list`. `\Recent` is nobody's to set: it is dropped, as clients that copy the flags they were shown send it back.
pub(super) fn flag_list(i: &[u8]) -> Out<'_, Flags> {
    map(list(0, limits::FLAGS, flag), |all| collect(all.into_iter())).parse(i)
}

/// STORE's list, which may come without parentheses.
pub(super) fn flags(i: &[u8]) -> Out<'_, Flags> {
    if i.starts_with(b"(") {
        return flag_list(i);
    }
    let (mut rest, first) = flag(i)?;
    let mut all = alloc::vec![first];
    while let [b' ', more @ ..] = rest {
        if all.len() == limits::FLAGS {
            return Err(Bad::limit());
        }
        let (next, one) = flag(more)?;
        all.push(one);
        rest = next;
    }
    Ok((rest, collect(all.into_iter())))
}

enum Flag {
    System(System),
    Keyword(Keyword),
    Recent,
}

fn flag(i: &[u8]) -> Out<'_, Flag> {
    match i {
        [b'\\', rest @ ..] => {
            let (rest, name) = atom(rest)?;
            if name.eq_ignore_ascii_case(b"Recent") {
                return Ok((rest, Flag::Recent));
            }
            match System::NAMES.iter().find(|(_, known)| known.as_bytes()[1..].eq_ignore_ascii_case(name)) {
                Some((system, _)) => Ok((rest, Flag::System(*system))),
                None => Err(Bad::syntax()),
            }
        }
        _ => {
            let (rest, name) = atom(i)?;
            match core::str::from_utf8(name).ok().and_then(Keyword::new) {
                Some(keyword) => Ok((rest, Flag::Keyword(keyword))),
                None => Err(Bad::syntax()),
            }
        }
    }
}

fn collect(all: impl Iterator<Item = Flag>) -> Flags {
    let mut flags = Flags::default();
    for flag in all {
        match flag {
            Flag::System(system) => flags.system = flags.system.with(system),
            Flag::Keyword(keyword) => _ = flags.keywords.insert(keyword),
            Flag::Recent => {}
        }
    }
    flags
}

/// `date-text` without quotes: day, month, year.
pub(super) fn date_text(i: &[u8]) -> Out<'_, (u8, u8, i64)> {
    let (i, (day, _, month, _, year)) = (digits(1, 2), tag("-"), month, tag("-"), digits(4, 4)).parse(i)?;
    Ok((i, (day as u8, month, i64::from(year))))
}

/// `date-time`: `" 1-Feb-2026 10:20:30 +0100"`
fn date_time(i: &[u8]) -> Out<'_, Stamp> {
    let clock = (digits(2, 2), tag(":"), digits(2, 2), tag(":"), digits(2, 2));
    let sign = alt((tag("+"), tag("-")));
    let (i, ((day, month, year), _, (hour, _, minute, _, second), _, sign, zone)) =
        delimited(tag("\""), (preceded(opt(sp), date_text), sp, clock, sp, sign, digits(4, 4)), tag("\"")).parse(i)?;
    let zone = (zone / 100 * 60 + zone % 100) as i16 * if sign == b"-" { -1 } else { 1 };
    let civil = Civil { year, month, day, hour: hour as u8, minute: minute as u8, second: second as u8 };
    match Stamp::from_civil(civil, zone) {
        Some(stamp) => Ok((i, stamp)),
        None => Err(Bad::syntax()),
    }
}

fn digits(least: usize, most: usize) -> impl FnMut(&[u8]) -> Out<'_, u32> {
    move |i| {
        map(take_while_m_n(least, most, |b: u8| b.is_ascii_digit()), |text: &[u8]| text.iter().fold(0, |n, d| n * 10 + u32::from(d - b'0')))
            .parse(i)
    }
}

fn month(i: &[u8]) -> Out<'_, u8> {
    map(verify(take(3usize), |name: &[u8]| Stamp::month(name).is_some()), |name| Stamp::month(name).unwrap_or(1)).parse(i)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_append_announces() {
        let (rest, found) = append(b" saved-messages (\\Seen $Forwarded) \"17-Jul-1996 02:44:25 -0700\" {310}\r\n").unwrap();
        assert_eq!(rest, b"310}\r\n");
        assert_eq!(&*found.mailbox, b"saved-messages");
        assert_eq!(found.flags.system, System::SEEN);
        assert_eq!(found.flags.keywords.len(), 1);
        assert_eq!(alloc::format!("{}", found.date.unwrap().internal()), "17-Jul-1996 02:44:25 -0700");
        assert!(append(b" INBOX {3}").unwrap().1.date.is_none());
        assert!(append(b" {5}\r\nINBOX () \" 7-Jul-1996 02:44:25 +0000\" {3+}").is_ok());
    }

    #[test]
    fn what_is_no_append() {
        for bad in
            [" {5}", " INBOX", " INBOX (\\Foo) {3}", " INBOX \"31-Jun-1996 02:44:25 -0700\" {3}", " INBOX \"1-Jun-1996 02:44:25\" {3}"]
        {
            assert!(append(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
