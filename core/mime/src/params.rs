//! `Content-Type`, `Content-Disposition`, `Content-Language` and the plain words of a part's header (RFC 2045 §5.1, 2183, 3282).

use crate::{
    Disposition, Media, Param,
    lex::{Lex, is_space, trim},
    limits,
    room::Room,
};
use alloc::{boxed::Box, vec::Vec};

/// A media type with its parameters; none if there is no type and subtype.
pub(crate) fn media(value: &[u8], room: &mut Room) -> Option<(Media, Vec<Param>)> {
    let mut lex = Lex::new(value);
    let kind = word(&mut lex);
    lex.space();
    if !lex.eat(b'/') {
        return None;
    }
    let sub = word(&mut lex);
    if kind.is_empty() || sub.is_empty() {
        return None;
    }
    Some(((room.keep(kind)?, room.keep(sub)?), params(&mut lex, room)))
}

/// A disposition; none if it names none.
pub(crate) fn disposition(value: &[u8], room: &mut Room) -> Option<Disposition> {
    let mut lex = Lex::new(value);
    let kind = word(&mut lex);
    if kind.is_empty() {
        return None;
    }
    Some(Disposition { kind: room.keep(kind)?, params: params(&mut lex, room) })
}

/// The first word, without comments: an encoding.
pub(crate) fn first_word(value: &[u8]) -> &[u8] {
    let mut lex = Lex::new(value);
    word(&mut lex)
}

/// Language tags (RFC 3282).
pub(crate) fn languages(value: &[u8], room: &mut Room) -> Vec<Box<[u8]>> {
    let mut lex = Lex::new(value);
    let mut tags = Vec::new();
    while !lex.is_done() && tags.len() < limits::LANGUAGES {
        let tag = word(&mut lex);
        if !tag.is_empty() {
            let Some(tag) = room.keep(tag) else { break };
            tags.push(tag);
        }
        lex.until(|b| b == b',');
        lex.eat(b',');
    }
    tags
}

/// The value of a parameter by its name, in any case.
pub(crate) fn find<'a>(params: &'a [Param], name: &[u8]) -> Option<&'a [u8]> {
    params.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| &**v)
}

fn word<'a>(lex: &mut Lex<'a>) -> &'a [u8] {
    lex.space();
    lex.until(|b| {
        is_space(b) || matches!(b, b'(' | b')' | b'<' | b'>' | b'@' | b',' | b';' | b':' | b'\\' | b'"' | b'/' | b'[' | b']' | b'?' | b'=')
    })
}

fn params(lex: &mut Lex<'_>, room: &mut Room) -> Vec<Param> {
    let mut params = Vec::new();
    while params.len() < limits::PARAMS {
        // Whatever stands between a value and the next semicolon belongs to neither.
        lex.until(|b| b == b';');
        if !lex.eat(b';') {
            break;
        }
        let name = word(lex);
        lex.space();
        if name.is_empty() || !lex.eat(b'=') {
            continue;
        }
        lex.space();
        let quoted;
        let value = if lex.peek() == Some(b'"') {
            quoted = lex.quoted();
            &quoted[..]
        } else {
            loose(lex)
        };
        let (Some(name), Some(value)) = (room.keep(name), room.keep(value)) else { break };
        params.push((name, value));
    }
    params
}

/// A value without quotes. Programs write file names with spaces and boundaries with any character here, so it ends at a semicolon, or
/// at a comment or space that nothing but the semicolon follows.
fn loose<'a>(lex: &mut Lex<'a>) -> &'a [u8] {
    let mut probe = lex.clone();
    let token = probe.until(|b| is_space(b) || matches!(b, b';' | b'('));
    probe.space();
    if matches!(probe.peek(), None | Some(b';')) {
        *lex = probe;
        return token;
    }
    trim(lex.until(|b| b == b';'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{format, string::String};

    fn show(value: &[u8]) -> String {
        let Some(((kind, sub), params)) = media(value, &mut Room::new()) else { return "none".into() };
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        let params: Vec<String> = params.iter().map(|(n, v)| format!("{}={}", text(n), text(v))).collect();
        format!("{}/{} {}", text(&kind), text(&sub), params.join(" & "))
    }

    #[test]
    fn content_types() {
        assert_eq!(show(b"text/plain; charset=us-ascii (Plain text)"), "text/plain charset=us-ascii");
        assert_eq!(show(b"(x) Multipart / Mixed ; boundary=\"a b\\\"c\";x=y"), "Multipart/Mixed boundary=a b\"c & x=y");
        assert_eq!(show(b"application/pdf; name=my file.pdf; x=1"), "application/pdf name=my file.pdf & x=1");
        assert_eq!(show(b"multipart/mixed; boundary=----=_Next/Part_1"), "multipart/mixed boundary=----=_Next/Part_1");
        assert_eq!(show(b"a/b; x*0*=utf-8''%e2; ; y; z=\"\""), "a/b x*0*=utf-8''%e2 & z=");
        assert_eq!(show(b"text"), "none");
        assert_eq!(show(b"/;x=y"), "none");
        assert_eq!(show(b"a/b; c=\"unclosed; d=e"), "a/b c=unclosed; d=e");
    }

    #[test]
    fn other_fields() {
        let d = disposition(b"attachment; filename=\"x.txt\"", &mut Room::new()).unwrap();
        assert_eq!((&*d.kind, find(&d.params, b"FILENAME")), (&b"attachment"[..], Some(&b"x.txt"[..])));
        assert_eq!(first_word(b" (c) BASE64 x"), b"BASE64");
        assert_eq!(languages(b"en, de-CH (x), ,fr", &mut Room::new()).len(), 3);
    }
}
