//! What SEARCH looks for (RFC 3501 §6.4.4) and what it returns (RFC 4731).

use super::{
    Bad, Out,
    set::{SequenceSet, set},
    word::{Text, astring, atom, number64, sp, word},
};
use crate::limits;
use alloc::{boxed::Box, vec, vec::Vec};
use mail::{Keyword, Stamp, System};
use nom::{
    Parser,
    branch::alt,
    bytes::complete::tag,
    combinator::{map, opt, value},
    sequence::{preceded, terminated},
};

/// SEARCH and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Search<'a> {
    /// RETURN, if it was there: the answer is an ESEARCH then.
    pub results: Option<Results>,
    /// As spelled.
    pub charset: Option<Text<'a>>,
    pub key: Key,
    /// What `Key::Text` counts.
    pub texts: Vec<Needle>,
}

/// `search-return-opts`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Results {
    pub min: bool,
    pub max: bool,
    pub all: bool,
    pub count: bool,
}

/// A condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Key {
    /// All of them; of none of them: every message.
    And(Vec<Key>),
    Or(Box<(Key, Key)>),
    Not(Box<Key>),
    Set(SequenceSet),
    Uid(SequenceSet),
    Recent,
    /// One system flag.
    Flag(System),
    Keyword(Keyword),
    /// Nothing: a keyword that no message can have.
    Never,
    /// More octets than this.
    Larger(u64),
    /// Fewer octets than this.
    Smaller(u64),
    /// The internal date.
    Date(When, i64),
    /// The `Date` field.
    Sent(When, i64),
    /// The text of that number in [`Search::texts`].
    Text(usize),
}

/// On which side of a day, as [`Stamp::day_of`] counts days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    Before,
    On,
    Since,
}

/// Text that is looked for, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Needle {
    pub place: Place,
    /// In the charset of the command.
    pub text: Box<[u8]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// In this field of the envelope.
    Envelope(EnvelopeField),
    /// In fields of this name.
    Field(Box<[u8]>),
    /// In the body.
    Body,
    /// Anywhere.
    Text,
}

/// The fields of an envelope that can be searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EnvelopeField {
    Subject,
    From,
    To,
    Cc,
    Bcc,
}

/// The state of one parse: limits count over the whole command.
#[derive(Default)]
struct Count {
    keys: usize,
    texts: Vec<Needle>,
}

pub(super) fn search(i: &[u8]) -> Out<'_, Search<'_>> {
    let (i, results) = opt(preceded(sp, results)).parse(i)?;
    let (i, charset) = opt(preceded((sp, word("CHARSET"), sp), astring)).parse(i)?;
    let mut count = Count::default();
    let (i, _) = sp(i)?;
    let (i, key) = keys(i, &mut count, 0)?;
    Ok((i, Search { results, charset, key, texts: count.texts }))
}

fn results(i: &[u8]) -> Out<'_, Results> {
    let (i, _) = (word("RETURN"), sp, tag("(")).parse(i)?;
    let mut found = Results::default();
    let mut rest = i;
    // Each option at most a few times: the line is finite, nothing is kept.
    while !rest.starts_with(b")") {
        let (next, one) = terminated(
            alt((
                value(Results { min: true, ..Results::default() }, word("MIN")),
                value(Results { max: true, ..Results::default() }, word("MAX")),
                value(Results { all: true, ..Results::default() }, word("ALL")),
                value(Results { count: true, ..Results::default() }, word("COUNT")),
            )),
            opt(sp),
        )
        .parse(rest)?;
        found = Results { min: found.min | one.min, max: found.max | one.max, all: found.all | one.all, count: found.count | one.count };
        rest = next;
    }
    // RFC 4731 §3.1: an empty list means ALL.
    if found == Results::default() {
        found.all = true;
    }
    Ok((&rest[1..], found))
}

/// `search-key *(SP search-key)`
fn keys<'a>(i: &'a [u8], count: &mut Count, depth: usize) -> Out<'a, Key> {
    let (mut rest, first) = key(i, count, depth)?;
    let mut all = vec![first];
    while let [b' ', more @ ..] = rest {
        let (next, one) = key(more, count, depth)?;
        all.push(one);
        rest = next;
    }
    Ok((rest, if all.len() == 1 { all.remove(0) } else { Key::And(all) }))
}

fn key<'a>(i: &'a [u8], count: &mut Count, depth: usize) -> Out<'a, Key> {
    if count.keys == limits::SEARCH_KEYS || depth == limits::SEARCH_DEPTH {
        return Err(Bad::limit());
    }
    count.keys += 1;
    match i {
        [b'(', more @ ..] => {
            let (rest, all) = keys(more, count, depth + 1)?;
            return Ok((tag(")").parse(rest)?.0, all));
        }
        [b'0'..=b'9' | b'*', ..] => return map(set, Key::Set).parse(i),
        _ => {}
    }
    let (rest, name) = atom(i)?;
    let mut upper = [0; 12];
    let Some(upper) = upper.get_mut(..name.len()) else { return Err(Bad::syntax()) };
    upper.copy_from_slice(name);
    upper.make_ascii_uppercase();
    let flag = |flag| Ok((rest, Key::Flag(flag)));
    let unflag = |flag| Ok((rest, Key::Not(Box::new(Key::Flag(flag)))));
    match &*upper {
        b"ALL" => Ok((rest, Key::And(vec![]))),
        b"ANSWERED" => flag(System::ANSWERED),
        b"DELETED" => flag(System::DELETED),
        b"DRAFT" => flag(System::DRAFT),
        b"FLAGGED" => flag(System::FLAGGED),
        b"SEEN" => flag(System::SEEN),
        b"UNANSWERED" => unflag(System::ANSWERED),
        b"UNDELETED" => unflag(System::DELETED),
        b"UNDRAFT" => unflag(System::DRAFT),
        b"UNFLAGGED" => unflag(System::FLAGGED),
        b"UNSEEN" => unflag(System::SEEN),
        b"RECENT" => Ok((rest, Key::Recent)),
        b"OLD" => Ok((rest, Key::Not(Box::new(Key::Recent)))),
        b"NEW" => Ok((rest, Key::And(vec![Key::Recent, Key::Not(Box::new(Key::Flag(System::SEEN)))]))),
        b"KEYWORD" => keyword(rest),
        b"UNKEYWORD" => map(keyword, |key| Key::Not(Box::new(key))).parse(rest),
        b"BEFORE" => map(day, |day| Key::Date(When::Before, day)).parse(rest),
        b"ON" => map(day, |day| Key::Date(When::On, day)).parse(rest),
        b"SINCE" => map(day, |day| Key::Date(When::Since, day)).parse(rest),
        b"SENTBEFORE" => map(day, |day| Key::Sent(When::Before, day)).parse(rest),
        b"SENTON" => map(day, |day| Key::Sent(When::On, day)).parse(rest),
        b"SENTSINCE" => map(day, |day| Key::Sent(When::Since, day)).parse(rest),
        b"LARGER" => map(preceded(sp, number64), Key::Larger).parse(rest),
        b"SMALLER" => map(preceded(sp, number64), Key::Smaller).parse(rest),
        b"UID" => map(preceded(sp, set), Key::Uid).parse(rest),
        b"NOT" => {
            let (rest, key) = key(sp(rest)?.0, count, depth + 1)?;
            Ok((rest, Key::Not(Box::new(key))))
        }
        b"OR" => {
            let (rest, left) = key(sp(rest)?.0, count, depth + 1)?;
            let (rest, right) = key(sp(rest)?.0, count, depth + 1)?;
            Ok((rest, Key::Or(Box::new((left, right)))))
        }
        b"SUBJECT" => needle(rest, Place::Envelope(EnvelopeField::Subject), count),
        b"FROM" => needle(rest, Place::Envelope(EnvelopeField::From), count),
        b"TO" => needle(rest, Place::Envelope(EnvelopeField::To), count),
        b"CC" => needle(rest, Place::Envelope(EnvelopeField::Cc), count),
        b"BCC" => needle(rest, Place::Envelope(EnvelopeField::Bcc), count),
        b"BODY" => needle(rest, Place::Body, count),
        b"TEXT" => needle(rest, Place::Text, count),
        b"HEADER" => {
            let (rest, name) = preceded(sp, astring).parse(rest)?;
            needle(rest, Place::Field(Box::from(&*name)), count)
        }
        _ => Err(Bad::syntax()),
    }
}

fn needle<'a>(i: &'a [u8], place: Place, count: &mut Count) -> Out<'a, Key> {
    let (rest, text) = preceded(sp, astring).parse(i)?;
    count.texts.push(Needle { place, text: Box::from(&*text) });
    Ok((rest, Key::Text(count.texts.len() - 1)))
}

fn keyword(i: &[u8]) -> Out<'_, Key> {
    map(preceded(sp, atom), |name| match core::str::from_utf8(name).ok().and_then(Keyword::new) {
        Some(keyword) => Key::Keyword(keyword),
        None => Key::Never,
    })
    .parse(i)
}

/// SP `date`: `1-Feb-2026`, perhaps in quotes; as a number of a day.
fn day(i: &[u8]) -> Out<'_, i64> {
    let (i, _) = sp(i)?;
    match i {
        [b'"', rest @ ..] => terminated(date, tag("\"")).parse(rest),
        _ => date(i),
    }
}

fn date(i: &[u8]) -> Out<'_, i64> {
    let (rest, (day, month, year)) = super::append::date_text(i)?;
    match Stamp::day_of(year, month, day) {
        Some(n) => Ok((rest, n)),
        None => Err(Bad::syntax()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Search<'_>, nom::Err<Bad>> {
        let (rest, search) = search(text.as_bytes())?;
        if rest.is_empty() { Ok(search) } else { Err(Bad::syntax()) }
    }

    #[test]
    fn keys_of_every_kind() {
        let found = parse(" FLAGGED SINCE 1-Feb-1994 NOT FROM \"Smith\"").unwrap();
        let Key::And(all) = found.key else { panic!() };
        assert_eq!(all[0], Key::Flag(System::FLAGGED));
        assert_eq!(all[1], Key::Date(When::Since, Stamp::day_of(1994, 2, 1).unwrap()));
        assert_eq!(all[2], Key::Not(Box::new(Key::Text(0))));
        assert_eq!(found.texts[0].text, (*b"Smith").into());
        assert!(parse(" RETURN () CHARSET UTF-8 TEXT {3}\r\nabc").unwrap().results.unwrap().all);
        assert_eq!(parse(" RETURN (MIN COUNT) 1").unwrap().results, Some(Results { min: true, count: true, ..Results::default() }));
        assert!(parse(" KEYWORD x]").is_err());
        assert!(matches!(parse(" OR (1 2) OR SEEN UID 4:*").unwrap().key, Key::Or(_)));
        assert!(parse(" UNKEYWORD \\Seen").is_err());
    }

    #[test]
    fn no_keys() {
        for bad in [
            "",
            " ",
            " ()",
            " (SEEN",
            " NOT",
            " OR SEEN",
            " SINCE 30-Feb-2026",
            " LARGER -1",
            " FOO",
            " SEEN ",
            " RETURN (FOO) ALL",
            " RETURN ()",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn depth_and_number_are_limited() {
        let deep = alloc::format!(" {}SEEN{}", "(".repeat(40), ")".repeat(40));
        assert_eq!(parse(&deep), Err(Bad::limit()));
        assert_eq!(parse(&" NOT".repeat(1000)), Err(Bad::limit()));
        assert_eq!(parse(&" SEEN".repeat(1000)), Err(Bad::limit()));
        assert!(parse(&" SEEN".repeat(250)).is_ok());
    }
}
