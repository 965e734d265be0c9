//! Which bytes `BODY[section]` means (RFC 3501 §6.4.5).

use mail::Span;
use mime::{Kind, Part, Structure};

/// What is asked of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Nothing more: the body of a part; of the message itself, all of it.
    Whole,
    /// `HEADER`, `HEADER.FIELDS` and `HEADER.FIELDS.NOT`: the header of a message.
    Header,
    /// `TEXT`: the body of a message.
    Text,
    /// `MIME`: the header of a part.
    Mime,
}

/// The span of a section; none if the message has no such part, or a part that is no message is asked for what only messages have.
/// `path` are the numbers, none for the message itself.
pub fn resolve(message: &Structure, path: &[u32], what: What) -> Option<Span> {
    if path.is_empty() {
        let root = &message.root;
        return match what {
            What::Whole => Some(both(root)),
            What::Header => Some(root.header),
            What::Text => Some(root.body),
            What::Mime => None,
        };
    }
    let part = part(message, path)?;
    match (what, &part.kind) {
        (What::Whole, _) => Some(part.body),
        (What::Mime, _) => Some(part.header),
        (What::Header, Kind::Message(inner)) => Some(inner.root.header),
        (What::Text, Kind::Message(inner)) => Some(inner.root.body),
        (What::Header | What::Text, _) => None,
    }
}

/// The part that has these numbers.
fn part<'a>(message: &'a Structure, path: &[u32]) -> Option<&'a Part> {
    let (&first, rest) = path.split_first()?;
    let mut at = top(message, first)?;
    for &n in rest {
        at = match &at.kind {
            Kind::Multipart(parts) => nth(parts, n)?,
            Kind::Message(inner) => top(inner, n)?,
            Kind::Leaf => return None,
        };
    }
    Some(at)
}

/// A part of a message. One that is no multipart has itself as its only part, which has number 1.
fn top(message: &Structure, n: u32) -> Option<&Part> {
    match &message.root.kind {
        Kind::Multipart(parts) => nth(parts, n),
        _ => (n == 1).then_some(&message.root),
    }
}

fn nth(parts: &[Part], n: u32) -> Option<&Part> {
    parts.get(usize::try_from(n.checked_sub(1)?).ok()?)
}

/// A part with its header; its body always follows it at once.
fn both(part: &Part) -> Span {
    let Part { header, body, .. } = part;
    Span { at: header.at, len: header.len + body.len, wire: header.wire + body.wire }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &str = "Content-Type: multipart/mixed; boundary=b\n\n--b\nX: 1\n\none\n--b\nContent-Type: message/rfc822\n\n\
        Content-Type: multipart/x; boundary=c\n\n--c\nY: 2\n\ntwo\n--c--\n--b\nContent-Type: message/rfc822\n\nS: t\n\nthree\n--b--\n";

    fn find<'a>(message: &'a str, path: &[u32], what: What) -> Option<&'a str> {
        let mut scanner = mime::Scanner::new();
        scanner.feed(message.as_bytes());
        let span = resolve(&scanner.finish(), path, what)?;
        Some(&message[span.at as usize..][..span.len as usize])
    }

    #[test]
    fn sections_of_a_nested_message() {
        use What::{Header, Mime, Text, Whole};
        let cases = [
            (&[][..], Whole, Some(MESSAGE)),
            (&[], Header, Some("Content-Type: multipart/mixed; boundary=b\n\n")),
            (&[], Mime, None),
            (&[1], Whole, Some("one")),
            (&[1], Mime, Some("X: 1\n\n")),
            (&[1], Header, None),
            (&[1], Text, None),
            (&[1, 1], Whole, None),
            (&[2], Mime, Some("Content-Type: message/rfc822\n\n")),
            (&[2], Header, Some("Content-Type: multipart/x; boundary=c\n\n")),
            (&[2], Text, Some("--c\nY: 2\n\ntwo\n--c--")),
            (&[2, 1], Whole, Some("two")),
            (&[2, 1], Mime, Some("Y: 2\n\n")),
            (&[2, 2], Whole, None),
            (&[3], Whole, Some("S: t\n\nthree")),
            (&[3, 1], Whole, Some("three")),
            (&[3, 1], Mime, Some("S: t\n\n")),
            (&[3, 1, 1], Whole, None),
            (&[0], Whole, None),
            (&[4], Whole, None),
            (&[u32::MAX], Whole, None),
        ];
        for (path, what, expect) in cases {
            assert_eq!(find(MESSAGE, path, what), expect, "{path:?} {what:?}");
        }
    }

    #[test]
    fn a_message_without_parts_has_one() {
        assert_eq!(find("A: b\n\ntext", &[1], What::Whole), Some("text"));
        assert_eq!(find("A: b\n\ntext", &[], What::Text), Some("text"));
        assert_eq!(find("A: b\n\ntext", &[1], What::Header), None);
        assert_eq!(find("A: b\n\ntext", &[2], What::Whole), None);
    }
}
