//! What FETCH asks for (RFC 3501 §6.4.5).

use super::{
    Bad, Out,
    set::{SequenceSet, set},
    word::{Text, astring, list, number64, sp, word},
};
use crate::limits;
use alloc::{boxed::Box, vec, vec::Vec};
use nom::{
    Parser,
    branch::alt,
    bytes::complete::tag,
    combinator::{map, opt, value},
    sequence::{delimited, preceded},
};

/// FETCH and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fetch {
    pub set: SequenceSet,
    pub items: Vec<Item>,
}

/// `fetch-att`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    Uid,
    Flags,
    InternalDate,
    Size,
    Envelope,
    /// `BODY`
    Body,
    BodyStructure,
    /// `BODY[...]`, and its old names `RFC822`, `RFC822.HEADER`, `RFC822.TEXT`
    Section(Box<Section>),
}

/// A piece of a message's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Section {
    /// How the reply calls it.
    pub name: Name,
    /// Part numbers from the top; none for the message itself.
    pub path: Vec<u32>,
    pub what: What,
    /// Whether reading sets `\Seen`.
    pub sees: bool,
    /// First octet and greatest count.
    pub partial: Option<(u64, u64)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    /// `BODY[...]`
    Body,
    Rfc822,
    Rfc822Header,
    Rfc822Text,
}

/// What of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    /// Nothing said: the whole message, or the body of a part.
    Whole,
    Header,
    /// These fields of the header, or all but these; as spelled.
    Fields {
        not: bool,
        names: Vec<Box<[u8]>>,
    },
    Text,
    Mime,
}

pub(super) fn fetch(i: &[u8]) -> Out<'_, Fetch> {
    let (i, (_, set, _)) = (sp, set, sp).parse(i)?;
    map(items, move |items| Fetch { set: set.clone(), items }).parse(i)
}

fn items(i: &[u8]) -> Out<'_, Vec<Item>> {
    use Item::{Body, Envelope, Flags, InternalDate, Size};
    alt((
        list(1, limits::FETCH_ITEMS, item),
        map(word("ALL"), |()| vec![Flags, InternalDate, Size, Envelope]),
        map(word("FULL"), |()| vec![Flags, InternalDate, Size, Envelope, Body]),
        map(word("FAST"), |()| vec![Flags, InternalDate, Size]),
        map(item, |item| vec![item]),
    ))
    .parse(i)
}

fn item(i: &[u8]) -> Out<'_, Item> {
    let rfc822 = |name, what, sees| Item::Section(Box::new(Section { name, path: vec![], what, sees, partial: None }));
    alt((
        value(Item::Uid, word("UID")),
        value(Item::Flags, word("FLAGS")),
        value(Item::InternalDate, word("INTERNALDATE")),
        value(Item::Envelope, word("ENVELOPE")),
        value(Item::Size, word("RFC822.SIZE")),
        map(word("RFC822.HEADER"), |()| rfc822(Name::Rfc822Header, What::Header, false)),
        map(word("RFC822.TEXT"), |()| rfc822(Name::Rfc822Text, What::Text, true)),
        map(word("RFC822"), |()| rfc822(Name::Rfc822, What::Whole, true)),
        value(Item::BodyStructure, word("BODYSTRUCTURE")),
        section,
        value(Item::Body, word("BODY")),
    ))
    .parse(i)
}

fn section(i: &[u8]) -> Out<'_, Item> {
    let (i, (_, peek)) = (word("BODY"), opt(word(".PEEK"))).parse(i)?;
    let (i, (path, what)) = delimited(tag("["), specifier, tag("]")).parse(i)?;
    let (i, partial) = opt(partial).parse(i)?;
    Ok((i, Item::Section(Box::new(Section { name: Name::Body, path, what, sees: peek.is_none(), partial }))))
}

/// `section-spec`
fn specifier(i: &[u8]) -> Out<'_, (Vec<u32>, What)> {
    let mut path = Vec::new();
    let mut rest = i;
    while let Ok((next, n)) = part(rest) {
        if path.len() == limits::PART_DEPTH {
            return Err(Bad::limit());
        }
        path.push(n);
        match next {
            [b'.', more @ ..] => rest = more,
            _ => return Ok((next, (path, What::Whole))),
        }
    }
    // A path that ended in a dot needs a name behind it; MIME needs a path before it.
    let name = match path.is_empty() {
        true => opt(text).parse(rest).map(|(rest, what)| (rest, what.unwrap_or(What::Whole))),
        false => alt((text, value(What::Mime, word("MIME")))).parse(rest),
    };
    name.map(|(rest, what)| (rest, (path, what)))
}

fn part(i: &[u8]) -> Out<'_, u32> {
    match i {
        [b'0', ..] => Err(Bad::syntax()),
        _ => super::word::number(i),
    }
}

/// `section-msgtext`
fn text(i: &[u8]) -> Out<'_, What> {
    let names = || preceded(sp, list(1, limits::HEADER_NAMES, map(astring, |name: Text| Box::from(&*name))));
    alt((
        map(preceded(word("HEADER.FIELDS.NOT"), names()), |names| What::Fields { not: true, names }),
        map(preceded(word("HEADER.FIELDS"), names()), |names| What::Fields { not: false, names }),
        value(What::Header, word("HEADER")),
        value(What::Text, word("TEXT")),
    ))
    .parse(i)
}

/// `<first.count>`; RFC 3501 wants a count above zero.
fn partial(i: &[u8]) -> Out<'_, (u64, u64)> {
    let (i, (_, first, _, count, _)) = (tag("<"), number64, tag("."), number64, tag(">")).parse(i)?;
    if count == 0 { Err(Bad::syntax()) } else { Ok((i, (first, count))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Item {
        let (rest, mut items) = items(text.as_bytes()).unwrap();
        assert!(rest.is_empty() && items.len() == 1, "{text}: {items:?}");
        items.remove(0)
    }

    #[test]
    fn sections() {
        let Item::Section(section) = one("BODY.PEEK[1.2.HEADER.FIELDS.NOT (Date \"x y\")]<0.20>") else { panic!() };
        assert_eq!(section.path, [1, 2]);
        assert_eq!(section.partial, Some((0, 20)));
        assert!(!section.sees);
        assert_eq!(section.what, What::Fields { not: true, names: vec![(*b"Date").into(), (*b"x y").into()] });
        let Item::Section(section) = one("(BODY[])") else { panic!() };
        assert_eq!((section.what, section.sees), (What::Whole, true));
        assert_eq!(one("body"), Item::Body);
        assert_eq!(one("bodystructure"), Item::BodyStructure);
        assert!(matches!(one("RFC822.TEXT"), Item::Section(s) if s.name == Name::Rfc822Text));
        assert!(matches!(one("BODY[3.mime]"), Item::Section(s) if s.what == What::Mime));
    }

    #[test]
    fn no_sections() {
        for bad in [
            "BODY[MIME]",
            "BODY[0]",
            "BODY[1.]",
            "BODY[1.0]",
            "BODY[]<0>",
            "BODY[]<0.0>",
            "BODY[HEADER.FIELDS ()]",
            "(ALL)",
            "()",
            "BODY[1",
            "X",
        ] {
            let all = items(bad.as_bytes());
            assert!(!matches!(all, Ok((b"", _))), "{bad}");
        }
    }
}
