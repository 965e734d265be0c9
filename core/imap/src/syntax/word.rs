//! The words that commands are made of: atoms, strings, numbers, lists (RFC 3501 §9).

use super::{Bad, Out};
use alloc::{borrow::Cow, vec::Vec};
use nom::{
    Parser,
    branch::alt,
    bytes::complete::{tag, tag_no_case, take, take_while, take_while1},
    combinator::{map, opt, value, verify},
    error::ParseError,
};

/// Text of a client: mostly where it lies in the inbox, unescaped where it had to be.
pub(crate) type Text<'a> = Cow<'a, [u8]>;

fn is_ctl(b: u8) -> bool {
    b < b' ' || b == 0x7f
}

/// `ATOM-CHAR`
pub(super) fn is_atom(b: u8) -> bool {
    !is_ctl(b) && b < 0x80 && !matches!(b, b'(' | b')' | b'{' | b' ' | b'%' | b'*' | b'"' | b'\\' | b']')
}

/// `ASTRING-CHAR`, and bytes beyond ASCII, which people type into passwords.
fn is_astring(b: u8) -> bool {
    is_atom(b) || b == b']' || b >= 0x80
}

pub(super) fn sp(i: &[u8]) -> Out<'_, ()> {
    value((), tag(" ")).parse(i)
}

/// `atom`
pub(super) fn atom(i: &[u8]) -> Out<'_, &[u8]> {
    take_while1(is_atom).parse(i)
}

/// `number`, below 2^32.
pub(super) fn number(i: &[u8]) -> Out<'_, u32> {
    let (rest, n) = number64(i)?;
    match u32::try_from(n) {
        Ok(n) => Ok((rest, n)),
        Err(_) => Err(Bad::syntax()),
    }
}

/// A number below 2^63.
pub(super) fn number64(i: &[u8]) -> Out<'_, u64> {
    let (rest, digits) = verify(take_while1(|b: u8| b.is_ascii_digit()), |d: &[u8]| d.len() <= 18).parse(i)?;
    Ok((rest, digits.iter().fold(0, |n, d| n * 10 + u64::from(d - b'0'))))
}

/// `string`: quoted, or a literal that is held behind its announcement. No NUL in either.
pub(super) fn string(i: &[u8]) -> Out<'_, Text<'_>> {
    alt((quoted, map(literal, Cow::Borrowed))).parse(i)
}

/// `astring`
pub(super) fn astring(i: &[u8]) -> Out<'_, Text<'_>> {
    alt((map(take_while1(is_astring), Cow::Borrowed), string)).parse(i)
}

/// `nstring`
pub(super) fn nstring(i: &[u8]) -> Out<'_, Option<Text<'_>>> {
    alt((value(None, tag_no_case("NIL")), map(string, Some))).parse(i)
}

/// `list-mailbox`
pub(super) fn list_mailbox(i: &[u8]) -> Out<'_, Text<'_>> {
    alt((map(take_while1(|b| is_astring(b) || matches!(b, b'%' | b'*')), Cow::Borrowed), string)).parse(i)
}

fn quoted(i: &[u8]) -> Out<'_, Text<'_>> {
    let (mut rest, _) = tag("\"").parse(i)?;
    let mut unescaped: Option<Vec<u8>> = None;
    loop {
        let (next, plain) = take_while(|b| !matches!(b, b'"' | b'\\' | b'\r' | b'\n' | 0)).parse(rest)?;
        match next {
            [b'"', end @ ..] => {
                let text = match unescaped {
                    None => Cow::Borrowed(plain),
                    Some(mut text) => {
                        text.extend_from_slice(plain);
                        Cow::Owned(text)
                    }
                };
                return Ok((end, text));
            }
            [b'\\', c @ (b'"' | b'\\'), end @ ..] => {
                let text = unescaped.get_or_insert_default();
                text.extend_from_slice(plain);
                text.push(*c);
                rest = end;
            }
            _ => return Err(Bad::syntax()),
        }
    }
}

fn literal(i: &[u8]) -> Out<'_, &[u8]> {
    let (i, (_, size, _, _, _)) = (tag("{"), number64, opt(tag("+")), tag("}"), line_end).parse(i)?;
    // What does not fit into memory is not in the frame either.
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    verify(take(size), |text: &[u8]| !text.contains(&0)).parse(i)
}

fn line_end(i: &[u8]) -> Out<'_, ()> {
    value((), alt((tag("\r\n"), tag("\n")))).parse(i)
}

/// `(` items with single spaces between them `)`, at least `least` and at most `most`; more is [`Bad::Limit`].
pub(super) fn list<'a, T>(
    least: usize,
    most: usize,
    mut item: impl Parser<&'a [u8], Output = T, Error = Bad>,
) -> impl FnMut(&'a [u8]) -> Out<'a, Vec<T>> {
    move |i| {
        let (mut rest, _) = tag("(").parse(i)?;
        let mut items = Vec::new();
        loop {
            if let [b')', end @ ..] = rest
                && items.len() >= least
            {
                return Ok((end, items));
            }
            if !items.is_empty() {
                rest = sp(rest)?.0;
            }
            if items.len() == most {
                return Err(Bad::limit());
            }
            let (next, one) = item.parse(rest)?;
            items.push(one);
            rest = next;
        }
    }
}

/// A word of the protocol, in any case.
pub(super) fn word<'a>(text: &'static str) -> impl Parser<&'a [u8], Output = (), Error = Bad> {
    value((), tag_no_case(text))
}

impl ParseError<&[u8]> for Bad {
    fn from_error_kind(_: &[u8], _: nom::error::ErrorKind) -> Bad {
        Bad::Syntax
    }

    fn append(_: &[u8], _: nom::error::ErrorKind, other: Bad) -> Bad {
        other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings() {
        assert_eq!(string(br#""a \"b\" \\" x"#).unwrap(), (&b" x"[..], Cow::Borrowed(&b"a \"b\" \\"[..])));
        assert_eq!(string(b"{3}\r\na\r\n)").unwrap(), (&b")"[..], Cow::Borrowed(&b"a\r\n"[..])));
        assert_eq!(string(b"{0+}\r\n").unwrap().1.len(), 0);
        for bad in [&b"\"a"[..], b"\"a\\b\"", b"\"a\r\n\"", b"{2}\r\na", b"{1}\r\n\0", b"{99999999999999999999}\r\n", b""] {
            assert!(string(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn lists_have_limits() {
        assert_eq!(list(1, 2, number)(b"(1 2)x").unwrap(), (&b"x"[..], alloc::vec![1, 2]));
        assert_eq!(list(0, 2, number)(b"()").unwrap().1, []);
        assert!(list(1, 2, number)(b"()").is_err());
        assert!(list(1, 2, number)(b"(1  2)").is_err());
        assert_eq!(list(1, 2, number)(b"(1 2 3)"), Err(Bad::limit()));
    }
}
