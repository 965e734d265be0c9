//! Paths (RFC 5321 §4.1.2, RFC 6531 §3.3): `<@relay,@relay:local@domain>`.
//!
//! What comes out is an address without quotes and without its source route, which is accepted and ignored (RFC 5321 §4.1.1.3 and
//! appendix C). Whether characters beyond ASCII are allowed is the session's matter: it knows whether SMTPUTF8 was said.

use crate::limits::{DOMAIN_MAX, LABEL_MAX, LOCAL_MAX};
use alloc::{borrow::Cow, string::String};
use core::net::{Ipv4Addr, Ipv6Addr};
use mail::Address;
use nom::{
    IResult, Parser,
    branch::alt,
    bytes::complete::{tag_no_case, take_while, take_while1},
    character::complete::char,
    combinator::{map, map_opt, opt, recognize, verify},
    error::{Error, ErrorKind},
    multi::many0_count,
    sequence::{delimited, preceded, terminated},
};

/// Why there is no path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PathError {
    /// It does not parse.
    Syntax,
    /// It does, but something in it is longer than may be.
    TooLong,
}

/// `FROM:<path>` or `FROM:<>`; gives what follows and the address.
pub(super) fn reverse(text: &str) -> Result<(&str, Option<Address>), PathError> {
    let null = map((char('<'), char('>')), |_| None);
    let (rest, path) = preceded(lead("FROM:"), alt((null, map(path, Some)))).parse(text).map_err(|_| PathError::Syntax)?;
    Ok((rest, path.map(address).transpose()?))
}

/// `TO:<path>`; the address is `None` for a bare `<postmaster>`.
pub(super) fn forward(text: &str) -> Result<(&str, Option<Address>), PathError> {
    let postmaster = map((char('<'), tag_no_case("postmaster"), char('>')), |_| None);
    let (rest, path) = preceded(lead("TO:"), alt((postmaster, map(path, Some)))).parse(text).map_err(|_| PathError::Syntax)?;
    Ok((rest, path.map(address).transpose()?))
}

/// An address as it is printed between `<` and `>`, or as a command says it.
pub(crate) fn printed(text: &str) -> Option<Address> {
    match mailbox(text) {
        Ok(("", parts)) => address(parts).ok(),
        _ => None,
    }
}

fn address((local, domain): (Cow<'_, str>, &str)) -> Result<Address, PathError> {
    if local.len() > LOCAL_MAX || domain.len() > DOMAIN_MAX || domain.split('.').any(|label| label.len() > LABEL_MAX) {
        return Err(PathError::TooLong);
    }
    Ok(Address::new(&local, domain))
}

type Parsed<'a, T> = IResult<&'a str, T>;

/// The keyword. RFC 5321 §3.3 allows no blank after it, but many clients put one there and nothing can be misread.
fn lead<'a>(keyword: &'static str) -> impl Parser<&'a str, Output = &'a str, Error = Error<&'a str>> {
    terminated(tag_no_case(keyword), take_while(|c| c == ' '))
}

fn path(text: &str) -> Parsed<'_, (Cow<'_, str>, &str)> {
    delimited(char('<'), preceded(opt(source_route), mailbox), char('>')).parse(text)
}

fn source_route(text: &str) -> Parsed<'_, &str> {
    let hop = |text| preceded(char('@'), domain).parse(text);
    terminated(recognize((hop, many0_count(preceded(char(','), hop)))), char(':')).parse(text)
}

fn mailbox(text: &str) -> Parsed<'_, (Cow<'_, str>, &str)> {
    (alt((quoted, map(dot_string, Cow::Borrowed))), preceded(char('@'), alt((literal, domain)))).parse(text)
}

fn dot_string(text: &str) -> Parsed<'_, &str> {
    let atext = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c) || is_beyond(c);
    verify(take_while1(atext), |word: &str| word.split('.').all(|atom| !atom.is_empty())).parse(text)
}

fn domain(text: &str) -> Parsed<'_, &str> {
    // An underscore is no letter of a host name, but there are hosts that have one.
    let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') || is_beyond(c);
    let label = |label: &str| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-');
    verify(take_while1(letter), |name: &str| name.split('.').all(label)).parse(text)
}

/// `[192.0.2.1]` or `[IPv6:2001:db8::1]` (RFC 5321 §4.1.3), with its brackets. No other tag was ever registered.
fn literal(text: &str) -> Parsed<'_, &str> {
    let inside = |inside: &str| match inside.get(..5) {
        Some(tag) if tag.eq_ignore_ascii_case("IPv6:") => inside[5..].parse::<Ipv6Addr>().is_ok(),
        _ => inside.parse::<Ipv4Addr>().is_ok(),
    };
    recognize(delimited(char('['), verify(take_while1(|c| c != ']'), inside), char(']'))).parse(text)
}

/// A quoted string, without quotes and backslashes.
fn quoted(text: &str) -> Parsed<'_, Cow<'_, str>> {
    preceded(char('"'), map_opt(quoted_length, unquote)).parse(text)
}

/// Splits behind the closing quote; what it gives is what is between the quotes.
fn quoted_length(text: &str) -> Parsed<'_, &str> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Ok((&text[at + 1..], &text[..at])),
            _ => {}
        }
    }
    Err(nom::Err::Error(Error::new(text, ErrorKind::Char)))
}

/// Removes backslashes. Control characters cannot be here: no line with one is parsed. A backslash makes only ASCII itself (RFC 5321 §4.1.2).
fn unquote(raw: &str) -> Option<Cow<'_, str>> {
    if !raw.contains('\\') {
        return Some(Cow::Borrowed(raw));
    }
    let mut text = String::with_capacity(raw.len());
    let mut chars = raw.chars();
    while let Some(c) = chars.next() {
        text.push(if c == '\\' { chars.next().filter(char::is_ascii)? } else { c });
    }
    Some(Cow::Owned(text))
}

/// Beyond ASCII, but neither a blank nor a control character of Unicode, which could make two addresses look alike in a log.
fn is_beyond(c: char) -> bool {
    !c.is_ascii() && !c.is_control() && !c.is_whitespace()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    fn to(path: &str) -> Result<Option<Address>, PathError> {
        let text = format!("TO:{path}");
        forward(&text).map(|(rest, address)| {
            assert_eq!(rest, "");
            address
        })
    }

    #[test]
    fn paths_of_every_kind() {
        for (path, local, domain) in [
            ("<a@b>", "a", "b"),
            ("<Alice+tag@Example.TEST>", "Alice+tag", "example.test"),
            ("<@one.test,@two.test:joe@three.test>", "joe", "three.test"),
            ("<\"a b\"@x.test>", "a b", "x.test"),
            ("<\"a\\\"b\\\\c\"@x.test>", "a\"b\\c", "x.test"),
            ("<\"\"@x.test>", "", "x.test"),
            ("<\"a@b>c\"@x.test>", "a@b>c", "x.test"),
            ("<a@[192.0.2.1]>", "a", "[192.0.2.1]"),
            ("<a@[IPv6:2001:db8::1]>", "a", "[ipv6:2001:db8::1]"),
            ("<jos\u{e9}@caf\u{e9}.test>", "jos\u{e9}", "caf\u{e9}.test"),
            ("<a@under_score.test>", "a", "under_score.test"),
        ] {
            assert_eq!(to(path), Ok(Some(Address::new(local, domain))), "{path}");
        }
        assert_eq!(to("<PostMaster>"), Ok(None));
        assert_eq!(reverse("from: <> SIZE=1"), Ok((" SIZE=1", None)));
    }

    #[test]
    fn what_is_no_path() {
        for bad in [
            "",
            "a@b",
            "<>",
            "<a>",
            "<a@>",
            "<@b>",
            "<a@b",
            "a@b>",
            "<a@@b>",
            "<a b@c>",
            "<.a@b>",
            "<a.@b>",
            "<a..c@b>",
            "<a@b..c>",
            "<a@.b>",
            "<a@b.>",
            "<a@-b>",
            "<a@b->",
            "<a@[1.2.3]>",
            "<a@[1.2.3.4>",
            "<a@[IPv6:1.2.3.4]>",
            "<a@[2001:db8::1]>",
            "<\"a@b>",
            "<\"a\"b@c>",
            "<\"a\\\"@b>",
            "<@a:>",
            "<@a@b:c@d>",
            "<@a,b:c@d>",
            "<a@b\u{a0}c>",
            "<a@b>>",
            "<<a@b>>",
            "<(c)a@b>",
        ] {
            assert!(forward(&format!("TO:{bad}")).is_err() || bad == "<a@b>>", "{bad:?}");
        }
        assert_eq!(forward("TO:<a@b>>"), Ok((">", Some(Address::new("a", "b")))));
    }

    #[test]
    fn lengths() {
        let long = "a".repeat(LOCAL_MAX);
        assert!(to(&format!("<{long}@b>")).is_ok());
        assert_eq!(to(&format!("<{long}a@b>")), Err(PathError::TooLong));
        let label = "b".repeat(LABEL_MAX);
        assert!(to(&format!("<a@{label}.{label}.{label}.{label}>")).is_ok());
        assert_eq!(to(&format!("<a@{label}b>")), Err(PathError::TooLong));
        assert_eq!(to(&format!("<a@{label}.{label}.{label}.{label}.b>")), Err(PathError::TooLong));
    }

    #[test]
    fn what_is_printed_is_parsed_again() {
        for local in ["alice", "a b", "a\"b\\", "", ".", "a..b", "<>@,", "\u{e9}"] {
            let address = Address::new(local, "x.test");
            assert_eq!(to(&format!("<{address}>")), Ok(Some(address)), "{local:?}");
        }
    }
}
