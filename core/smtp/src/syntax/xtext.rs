//! What senders say in words of their own: ENVID and ORCPT (RFC 3461 §4, RFC 6533 §3).

use alloc::{boxed::Box, string::String, vec::Vec};

/// Decodes an ENVID (RFC 3461 §4.4). What comes out is printable ASCII, so it cannot break the report it will stand in.
pub(super) fn envid(value: &str) -> Option<Box<str>> {
    let decoded = xtext(value)?;
    (value.len() <= ENVID_MAX && decoded.chars().all(is_printable)).then(|| decoded.into())
}

/// Decodes an ORCPT (RFC 3461 §4.2): `rfc822;alice@example.org`, its type as it came. Postfix hides UTF-8 in an xtext and calls it `rfc822`; it
/// becomes the type that has such letters, because refusing it would refuse all mail of Postfix for addresses beyond ASCII.
pub(super) fn orcpt(value: &str) -> Option<Box<str>> {
    let (kind, address) = value.split_once(';')?;
    if value.len() > ORCPT_MAX || kind.is_empty() || !kind.bytes().all(is_atom) || address.is_empty() {
        return None;
    }
    let beyond = |c: char| !c.is_ascii() && !c.is_control();
    // The encoded forms may hide control characters, which no address has; they would break the report.
    let (kind, address) = if kind.eq_ignore_ascii_case("utf-8") {
        (kind, unitext(address).filter(|text| text.chars().all(|c| is_printable(c) || beyond(c)))?)
    } else {
        let address = xtext(address).filter(|text| text.chars().all(|c| is_printable(c) || beyond(c)))?;
        match address.is_ascii() {
            true => (kind, address),
            false if kind.eq_ignore_ascii_case("rfc822") => ("utf-8", address),
            false => return None,
        }
    };
    let mut text = String::with_capacity(kind.len() + 1 + address.len());
    text.push_str(kind);
    text.push(';');
    text.push_str(&address);
    Some(text.into())
}

/// RFC 3461 §4.4.
const ENVID_MAX: usize = 100;
/// RFC 3461 §4.2, without `ORCPT=`.
const ORCPT_MAX: usize = 494;

/// Whether a value is an xtext (RFC 3461 §4).
pub(super) fn is_xtext(value: &str) -> bool {
    let mut bytes = value.bytes();
    while let Some(b) = bytes.next() {
        let good = match b {
            b'+' => hex(bytes.next()).is_some() && hex(bytes.next()).is_some(),
            b'=' => false,
            b => b.is_ascii_graphic(),
        };
        if !good {
            return false;
        }
    }
    true
}

/// Decodes an xtext of UTF-8.
fn xtext(value: &str) -> Option<String> {
    if !is_xtext(value) {
        return None;
    }
    let (mut text, mut bytes) = (Vec::with_capacity(value.len()), value.bytes());
    while let Some(b) = bytes.next() {
        text.push(if b == b'+' { hex(bytes.next())? << 4 | hex(bytes.next())? } else { b });
    }
    String::from_utf8(text).ok()
}

/// Decodes an address of the type `utf-8` (RFC 6533 §3): UTF-8 where the line allows it, and `\x{...}` for any character. Senders that
/// know only xtext write `+2B`.
fn unitext(value: &str) -> Option<String> {
    let mut text = String::with_capacity(value.len());
    let mut rest = value;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        text.push(match c {
            '\\' => {
                let (point, behind) = rest.strip_prefix("x{")?.split_once('}')?;
                rest = behind;
                let fits = (2..=6).contains(&point.len()) && point.bytes().all(|b| b.is_ascii_hexdigit());
                char::from_u32(u32::from_str_radix(point, 16).ok().filter(|_| fits)?)?
            }
            '+' => {
                let byte = hex(rest.bytes().next())? << 4 | hex(rest.as_bytes().get(1).copied())?;
                rest = &rest[2..];
                char::from(byte).is_ascii().then(|| char::from(byte))?
            }
            '=' => return None,
            c => c,
        });
    }
    Some(text)
}

/// RFC 3461 §4: upper case only.
fn hex(digit: Option<u8>) -> Option<u8> {
    match digit? {
        b @ b'0'..=b'9' => Some(b - b'0'),
        b @ b'A'..=b'F' => Some(b - b'A' + 10),
        _ => None,
    }
}

/// Graphic and white space characters of ASCII (RFC 3461 §4.2), without the tab, at which a report may be folded.
fn is_printable(c: char) -> bool {
    c == ' ' || c.is_ascii_graphic()
}

/// RFC 5322 §3.2.3.
fn is_atom(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_decoded() {
        assert_eq!(envid("QQ314159").as_deref(), Some("QQ314159"));
        assert_eq!(envid("a+2Bb+20c+3D").as_deref(), Some("a+b c="));
        for (value, text) in [
            ("rfc822;Carol@Ivory.EDU", "rfc822;Carol@Ivory.EDU"),
            ("rfc822;George+20Q.+20Public@x.test", "rfc822;George Q. Public@x.test"),
            ("rfc822;gr+C3+BC+C3+9Fe@x.test", "utf-8;gr\u{fc}\u{df}e@x.test"),
            ("x400;/C=US", ""),
            ("x400;/C+3DUS/", "x400;/C=US/"),
            (r"utf-8;jos\x{E9}@x.test", "utf-8;jos\u{e9}@x.test"),
            ("UTF-8;jos\u{e9}@x.test", "UTF-8;jos\u{e9}@x.test"),
            (r"utf-8;a\x{2B}b\x{5C}@x.test", r"utf-8;a+b\@x.test"),
            ("utf-8;a+2Bb@x.test", "utf-8;a+b@x.test"),
            (r"utf-8;\x{1F4E8}@x.test", "utf-8;\u{1f4e8}@x.test"),
        ] {
            assert_eq!(orcpt(value).as_deref(), Some(text).filter(|text| !text.is_empty()), "{value}");
        }
    }

    #[test]
    fn what_is_refused() {
        for bad in ["+", "+4", "+4g", "+2b", "a=b", "a b", "+0A", "+00", "+C3+A9", "\u{e9}", &"x".repeat(101)] {
            assert_eq!(envid(bad), None, "{bad:?}");
        }
        for bad in [
            "",
            "rfc822",
            ";a@b",
            "rfc822;",
            "rf c;a",
            "rfc822;a+0Ab",
            "rfc822;\u{e9}",
            "rfc822;+C3",
            "rfc822;+C2+85",
            "x400;+C3+A9",
            r"utf-8;\x{0A}",
            r"utf-8;\x{D800}",
            r"utf-8;\x{110000}",
            r"utf-8;\x{A",
            r"utf-8;\x",
            r"utf-8;\x{+41}",
            "utf-8;+",
            "utf-8;+2",
            "utf-8;+2\u{e9}",
            "utf-8;\u{85}",
            "utf-8;a=b",
        ] {
            assert_eq!(orcpt(bad), None, "{bad:?}");
        }
        assert!(orcpt(&alloc::format!("rfc822;{}", "x".repeat(488))).is_none());
    }
}
