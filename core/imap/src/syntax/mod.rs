//! Commands as clients write them (RFC 3501 §9 and extensions). Parsers see a whole command, with its literals, where it lies in the inbox.

mod append;
mod fetch;
mod list;
mod search;
mod set;
mod status;
mod word;

pub(crate) use append::Append;
pub(crate) use fetch::{Fetch, Item, Name, Section, What};
pub(crate) use list::{List, Return, Select};
pub(crate) use search::{EnvelopeField, Key, Needle, Place, Results, Search, When};
pub(crate) use set::SequenceSet;
pub(crate) use status::StatusItems;
pub(crate) use word::Text;

use crate::{frame::strip_line_end, limits, office::Change};
use alloc::vec::Vec;
use mail::{Flags, SpecialUse};
use nom::{
    IResult, Parser,
    branch::alt,
    bytes::complete::{tag, take_while1},
    combinator::{map, opt, value},
    sequence::{preceded, terminated},
};

/// What a parser gives: the rest, and what it found.
type Out<'a, T> = IResult<&'a [u8], T, Bad>;

/// Why a command is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bad {
    /// There is no tag, or what stands there cannot be one.
    Tag,
    /// Nothing here knows the command.
    Unknown,
    /// Its arguments are wrong.
    Syntax,
    /// More of something than [`limits`] allow.
    Limit,
}

impl Bad {
    fn syntax() -> nom::Err<Bad> {
        nom::Err::Error(Bad::Syntax)
    }

    /// Ends all trying.
    fn limit() -> nom::Err<Bad> {
        nom::Err::Failure(Bad::Limit)
    }
}

/// A command. Those behind `UID` say so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command<'a> {
    Capability,
    Noop,
    Logout,
    StartTls,
    Authenticate {
        mechanism: &'a [u8],
        initial: Option<&'a [u8]>,
    },
    Login {
        user: Text<'a>,
        password: Text<'a>,
    },
    Enable(Vec<&'a [u8]>),
    Id,
    Select {
        mailbox: Text<'a>,
        read_only: bool,
    },
    /// With the uses it is to have; none for one that is not known here.
    Create {
        mailbox: Text<'a>,
        uses: Vec<Option<SpecialUse>>,
    },
    Delete(Text<'a>),
    Rename {
        from: Text<'a>,
        to: Text<'a>,
    },
    Subscribe {
        mailbox: Text<'a>,
        on: bool,
    },
    List(List<'a>),
    Lsub {
        reference: Text<'a>,
        pattern: Text<'a>,
    },
    Namespace,
    Status {
        mailbox: Text<'a>,
        items: StatusItems,
    },
    Idle,
    Check,
    Close,
    Unselect,
    /// Of all messages, or of those with these UIDs.
    Expunge(Option<SequenceSet>),
    Search {
        search: Search<'a>,
        uid: bool,
    },
    Fetch {
        fetch: Fetch,
        uid: bool,
    },
    Store {
        set: SequenceSet,
        change: Change,
        silent: bool,
        flags: Flags,
        uid: bool,
    },
    Copy {
        set: SequenceSet,
        mailbox: Text<'a>,
        uid: bool,
    },
    Move {
        set: SequenceSet,
        mailbox: Text<'a>,
        uid: bool,
    },
}

/// The tag of a command, as far as there is one.
pub(crate) fn tag_of(frame: &[u8]) -> Option<&[u8]> {
    let tag = |b: u8| word::is_atom(b) && b != b'+' || b == b']';
    let found: Out<'_, &[u8]> = take_while1(tag).parse(frame);
    match found {
        Ok((rest, found)) if found.len() <= limits::TAG && matches!(rest.first(), None | Some(b' ' | b'\r' | b'\n')) => Some(found),
        _ => None,
    }
}

/// Parses a whole command with its line end. The tag is given apart, for it is known even if nothing else is.
pub(crate) fn command(frame: &[u8]) -> Result<Command<'_>, Bad> {
    let tag = tag_of(frame).ok_or(Bad::Tag)?;
    let rest = strip_line_end(&frame[tag.len()..]);
    match preceded(word::sp, alt((map(preceded((word::word("UID"), word::sp), named(true)), |c| c), named(false)))).parse(rest) {
        Ok(([], command)) => Ok(command),
        Ok(_) => Err(Bad::Syntax),
        Err(nom::Err::Error(bad) | nom::Err::Failure(bad)) => Err(bad),
        Err(nom::Err::Incomplete(_)) => Err(Bad::Syntax),
    }
}

/// If this is an APPEND and the literal announced at its end is the message: what it announces.
pub(crate) fn append_of(frame: &[u8]) -> Option<Append<'_>> {
    let tag = tag_of(frame)?;
    preceded((word::sp, word::word("APPEND")), append::append).parse(&frame[tag.len()..]).ok().and_then(|(rest, found)| {
        // Only digits of the announcement are left; an earlier literal that is not the message leaves more.
        (memchr::memchr(b'\n', rest) == Some(rest.len() - 1)).then_some(found)
    })
}

/// Whether this is an APPEND, and the literal announced at its end can be nothing that belongs there: neither its message nor the name
/// of its mailbox.
pub(crate) fn is_bad_append(frame: &[u8]) -> bool {
    let Some(tag) = tag_of(frame) else { return false };
    let found: Out<'_, _> = (word::sp, word::word("APPEND"), word::sp).parse(&frame[tag.len()..]);
    let is_name = |rest: &[u8]| rest.starts_with(b"{") && memchr::memchr(b'\n', rest) == Some(rest.len() - 1);
    found.is_ok_and(|(rest, _)| !is_name(rest)) && append_of(frame).is_none()
}

/// A whole sequence set, for tests of what is printed.
#[cfg(test)]
pub(crate) fn parse_set(text: &str) -> Option<SequenceSet> {
    set::set(text.as_bytes()).ok().filter(|(rest, _)| rest.is_empty()).map(|(_, set)| set)
}

/// A whole `astring`, for tests of what is printed.
#[cfg(test)]
pub(crate) fn parse_astring(text: &[u8]) -> Option<Text<'_>> {
    word::astring(text).ok().filter(|(rest, _)| rest.is_empty()).map(|(_, text)| text)
}

fn named<'a>(uid: bool) -> impl FnMut(&'a [u8]) -> Out<'a, Command<'a>> {
    move |i| {
        let unknown = nom::Err::Failure(Bad::Unknown);
        let found: Out<'_, &[u8]> = take_while1(|b: u8| b.is_ascii_alphabetic() || b == b'-').parse(i);
        let Ok((rest, name)) = found else { return Err(unknown) };
        let mut upper = [0; 12];
        let Some(upper) = upper.get_mut(..name.len()) else { return Err(unknown) };
        upper.copy_from_slice(name);
        upper.make_ascii_uppercase();
        arguments(upper, rest, uid).map_err(|error| match error {
            // A command that was recognised is not tried as another one.
            nom::Err::Error(bad) => nom::Err::Failure(bad),
            other => other,
        })
    }
}

fn arguments<'a>(name: &[u8], i: &'a [u8], uid: bool) -> Out<'a, Command<'a>> {
    use word::{astring, atom, sp};
    let mailbox = |i: &'a [u8]| preceded(sp, astring).parse(i);
    match name {
        b"SEARCH" => map(search::search, |search| Command::Search { search, uid }).parse(i),
        b"FETCH" => map(fetch::fetch, |fetch| Command::Fetch { fetch, uid }).parse(i),
        b"STORE" => store(i, uid),
        b"COPY" => map((preceded(sp, set::set), mailbox), |(set, mailbox)| Command::Copy { set, mailbox, uid }).parse(i),
        b"MOVE" => map((preceded(sp, set::set), mailbox), |(set, mailbox)| Command::Move { set, mailbox, uid }).parse(i),
        b"EXPUNGE" if uid => map(preceded(sp, set::set), |set| Command::Expunge(Some(set))).parse(i),
        _ if uid => Err(nom::Err::Failure(Bad::Unknown)),
        b"EXPUNGE" => Ok((i, Command::Expunge(None))),
        b"CAPABILITY" => Ok((i, Command::Capability)),
        b"NOOP" => Ok((i, Command::Noop)),
        b"LOGOUT" => Ok((i, Command::Logout)),
        b"STARTTLS" => Ok((i, Command::StartTls)),
        b"AUTHENTICATE" => {
            let initial = take_while1(|b: u8| b.is_ascii_graphic());
            map((preceded(sp, atom), opt(preceded(sp, initial))), |(mechanism, initial)| Command::Authenticate { mechanism, initial })
                .parse(i)
        }
        b"LOGIN" => map((mailbox, mailbox), |(user, password)| Command::Login { user, password }).parse(i),
        b"ENABLE" => enable(i),
        b"ID" => preceded(sp, id).parse(i),
        b"SELECT" => map(mailbox, |mailbox| Command::Select { mailbox, read_only: false }).parse(i),
        b"EXAMINE" => map(mailbox, |mailbox| Command::Select { mailbox, read_only: true }).parse(i),
        b"CREATE" => {
            map((mailbox, opt(create_uses)), |(mailbox, uses)| Command::Create { mailbox, uses: uses.unwrap_or_default() }).parse(i)
        }
        b"DELETE" => map(mailbox, Command::Delete).parse(i),
        b"RENAME" => map((mailbox, mailbox), |(from, to)| Command::Rename { from, to }).parse(i),
        b"SUBSCRIBE" => map(mailbox, |mailbox| Command::Subscribe { mailbox, on: true }).parse(i),
        b"UNSUBSCRIBE" => map(mailbox, |mailbox| Command::Subscribe { mailbox, on: false }).parse(i),
        b"LIST" => map(list::list_command, Command::List).parse(i),
        b"LSUB" => map(list::lsub, |(reference, pattern)| Command::Lsub { reference, pattern }).parse(i),
        b"NAMESPACE" => Ok((i, Command::Namespace)),
        b"STATUS" => map(status::status, |(mailbox, items)| Command::Status { mailbox, items }).parse(i),
        b"IDLE" => Ok((i, Command::Idle)),
        b"CHECK" => Ok((i, Command::Check)),
        b"CLOSE" => Ok((i, Command::Close)),
        b"UNSELECT" => Ok((i, Command::Unselect)),
        // An APPEND whose message was announced never gets here.
        b"APPEND" => Err(Bad::syntax()),
        _ => Err(nom::Err::Failure(Bad::Unknown)),
    }
}

fn store(i: &[u8], uid: bool) -> Out<'_, Command<'_>> {
    use word::{sp, word};
    let change = alt((value(Change::Add, tag("+")), value(Change::Remove, tag("-")), value(Change::Replace, tag(""))));
    let (i, (_, set, _, change, _, silent, _)) = (sp, set::set, sp, change, word("FLAGS"), opt(word(".SILENT")), sp).parse(i)?;
    let (i, flags) = append::flags(i)?;
    Ok((i, Command::Store { set, change, silent: silent.is_some(), flags, uid }))
}

fn enable(i: &[u8]) -> Out<'_, Command<'_>> {
    let mut names = Vec::new();
    let mut rest = i;
    while let Ok((next, name)) = preceded(word::sp, word::atom).parse(rest) {
        if names.len() == limits::PATTERNS {
            return Err(Bad::limit());
        }
        names.push(name);
        rest = next;
    }
    if names.is_empty() { Err(Bad::syntax()) } else { Ok((rest, Command::Enable(names))) }
}

/// `id_params_list` (RFC 2971 §4): nothing is kept of it.
fn id(i: &[u8]) -> Out<'_, Command<'_>> {
    // 30 pairs are the most that the RFC allows.
    let pairs = word::list(0, 30, map((terminated(word::string, word::sp), word::nstring), |_| ()));
    value(Command::Id, alt((value((), word::word("NIL")), map(pairs, |_| ())))).parse(i)
}

/// `(USE (\Drafts))` (RFC 6154 §3).
fn create_uses(i: &[u8]) -> Out<'_, Vec<Option<SpecialUse>>> {
    let known = |name: &[u8]| SpecialUse::NAMES.iter().find(|(_, known)| known.as_bytes()[1..].eq_ignore_ascii_case(name)).map(|(u, _)| *u);
    let one = map(preceded(tag("\\"), word::atom), known);
    let (i, _) = (word::sp, tag("("), word::word("USE"), word::sp).parse(i)?;
    terminated(word::list(0, limits::FLAGS, one), tag(")")).parse(i)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags() {
        assert_eq!(tag_of(b"a001 NOOP\r\n"), Some(&b"a001"[..]));
        assert_eq!(tag_of(b"a\r\n"), Some(&b"a"[..]));
        for bad in [&b"\r\n"[..], b" a NOOP\r\n", b"a+b NOOP\r\n", b"(a NOOP", b"* NOOP", b"a\"b NOOP"] {
            assert_eq!(tag_of(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn commands_of_every_kind() {
        for good in [
            "a CAPABILITY",
            "a noop",
            "a LOGIN smith {6}\r\nsesame",
            "a LOGIN \"sm ith\" \"\\\"\"",
            "a AUTHENTICATE PLAIN",
            "a AUTHENTICATE PLAIN =",
            "a ENABLE CONDSTORE X-GOOD",
            "a ID NIL",
            "a ID ()",
            "a ID (\"name\" \"x\" \"version\" NIL)",
            "a CREATE owatagusiam/",
            "a CREATE x (USE (\\Drafts))",
            "a RENAME a b",
            "a LSUB \"#news.\" \"comp.mail.*\"",
            "a STATUS x (UIDNEXT MESSAGES)",
            "a UID EXPUNGE 3000:3002",
            "a UID FETCH 1:* (FLAGS)",
            "a STORE 2:4 +FLAGS (\\Deleted)",
            "a UID STORE 2 -flags.silent \\Seen $x",
            "a STORE 1 FLAGS ()",
            "a COPY 2:4 MEETING",
            "a UID MOVE 42:69 foo",
            "a SEARCH CHARSET UTF-8 TEXT {6+}\r\nXXXXXX",
        ] {
            let frame = alloc::format!("{good}\r\n");
            if let Err(bad) = command(frame.as_bytes()) {
                panic!("{good}: {bad:?}");
            }
        }
    }

    #[test]
    fn what_is_no_command() {
        for (text, bad) in [
            ("", Bad::Tag),
            ("a", Bad::Syntax),
            ("a ", Bad::Unknown),
            ("a FOO", Bad::Unknown),
            ("a UID NOOP", Bad::Unknown),
            ("a NOOP x", Bad::Syntax),
            ("a  NOOP", Bad::Unknown),
            ("a LOGIN x", Bad::Syntax),
            ("a LOGIN x \"y", Bad::Syntax),
            ("a STORE 1 FLAGS (\\Foo)", Bad::Syntax),
            ("a FETCH 0 FLAGS", Bad::Syntax),
            ("a UID", Bad::Unknown),
            ("a CREATE x (USE (Foo))", Bad::Syntax),
            ("a SELECT x\0", Bad::Syntax),
            ("a SELECT x\ry", Bad::Syntax),
        ] {
            assert_eq!(command(alloc::format!("{text}\r\n").as_bytes()), Err(bad), "{text}");
        }
    }

    #[test]
    fn the_message_of_an_append() {
        assert!(append_of(b"a APPEND INBOX {5}\r\n").is_some());
        assert!(append_of(b"a append {5}\r\nINBOX (\\Seen) {5+}\r\n").is_some());
        assert!(append_of(b"a APPEND {5}\r\n").is_none());
        assert!(!is_bad_append(b"a APPEND {5}\r\n") && !is_bad_append(b"a APPENDIX x {5}\r\n"));
        assert!(is_bad_append(b"a APPEND x (\\Foo) {5}\r\n") && is_bad_append(b"a APPEND {1}\r\nx x {5}\r\n"));
    }
}
