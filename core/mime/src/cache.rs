//! A structure as bytes, for an index that keeps it beside its message.
//!
//! The first byte is the version. Numbers are LEB128. A part's spans are told by lengths alone: a body follows its header and the start of
//! each header is told as its distance from where the part that holds it has its body. Texts that nearly every part has are one byte.

use crate::{Correspondent, Disposition, Envelope, Kind, Param, Part, Structure, correspond, limits, room::Room};
use alloc::{boxed::Box, vec::Vec};
use mail::Span;

const VERSION: u8 = 1;

/// Texts with a byte of their own. Their order is part of the format: append only, or raise the version.
const COMMON: [&[u8]; 32] = [
    b"text",
    b"plain",
    b"html",
    b"charset",
    b"us-ascii",
    b"utf-8",
    b"UTF-8",
    b"iso-8859-1",
    b"7bit",
    b"8bit",
    b"base64",
    b"quoted-printable",
    b"multipart",
    b"mixed",
    b"alternative",
    b"related",
    b"report",
    b"signed",
    b"boundary",
    b"format",
    b"flowed",
    b"name",
    b"filename",
    b"attachment",
    b"inline",
    b"application",
    b"octet-stream",
    b"pdf",
    b"image",
    b"png",
    b"jpeg",
    b"message",
];

impl Structure {
    /// Appends it to `out`, in about as many bytes as its texts have.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        structure(self, 0, out);
    }

    /// Reads what [`Structure::encode`] wrote; none if it is anything else (another version, or damaged). Takes no more memory than a
    /// scanned structure may, whatever the bytes say.
    pub fn decode(bytes: &[u8]) -> Option<Structure> {
        let (version, rest) = bytes.split_first()?;
        let mut reader = Reader { rest, room: Room::with_defaults(), parts_left: limits::PARTS, depth_left: limits::DEPTH };
        let structure = (*version == VERSION).then(|| reader.structure(0))??;
        reader.rest.is_empty().then_some(structure)
    }
}

fn number(mut n: u64, out: &mut Vec<u8>) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn text(bytes: &[u8], out: &mut Vec<u8>) {
    if let Some(at) = COMMON.iter().position(|c| *c == bytes) {
        return number(at as u64, out);
    }
    number((COMMON.len() + bytes.len()) as u64, out);
    out.extend_from_slice(bytes);
}

fn maybe(bytes: Option<&[u8]>, out: &mut Vec<u8>) {
    out.push(u8::from(bytes.is_some()));
    if let Some(bytes) = bytes {
        text(bytes, out);
    }
}

fn structure(s: &Structure, base: u64, out: &mut Vec<u8>) {
    let e = &s.envelope;
    for field in [&e.date, &e.subject, &e.in_reply_to, &e.message_id] {
        maybe(field.as_deref(), out);
    }
    for list in [&e.from, &e.sender, &e.reply_to, &e.to, &e.cc, &e.bcc] {
        number(list.len() as u64, out);
        for who in list {
            correspondent(who, out);
        }
    }
    part(&s.root, base, out);
}

fn correspondent(who: &Correspondent, out: &mut Vec<u8>) {
    let fields = [&who.name, &who.route, &who.mailbox, &who.host];
    out.push(fields.iter().enumerate().fold(0, |bits, (i, f)| bits | u8::from(f.is_some()) << i));
    for field in fields.into_iter().flatten() {
        text(field, out);
    }
}

fn part(p: &Part, base: u64, out: &mut Vec<u8>) {
    number(p.header.at.wrapping_sub(base), out);
    for span in [p.header, p.body] {
        number(span.len, out);
        number(span.wire.wrapping_sub(span.len), out);
    }
    number(p.body.at.wrapping_sub(p.header.at.wrapping_add(p.header.len)), out);
    number(p.lines, out);
    text(&p.media.0, out);
    text(&p.media.1, out);
    params(&p.params, out);
    text(&p.encoding, out);
    for field in [&p.id, &p.description, &p.md5, &p.location] {
        maybe(field.as_deref(), out);
    }
    out.push(u8::from(p.disposition.is_some()));
    if let Some(disposition) = &p.disposition {
        text(&disposition.kind, out);
        params(&disposition.params, out);
    }
    number(p.language.len() as u64, out);
    p.language.iter().for_each(|tag| text(tag, out));
    match &p.kind {
        Kind::Leaf => out.push(0),
        Kind::Message(inner) => {
            out.push(1);
            structure(inner, p.body.at, out);
        }
        Kind::Multipart(parts) => {
            out.push(2);
            number(parts.len() as u64, out);
            parts.iter().for_each(|inner| part(inner, p.body.at, out));
        }
    }
}

fn params(params: &[Param], out: &mut Vec<u8>) {
    number(params.len() as u64, out);
    for (name, value) in params {
        text(name, out);
        text(value, out);
    }
}

/// Reads bytes that may say anything.
struct Reader<'a> {
    rest: &'a [u8],
    room: Room,
    parts_left: usize,
    depth_left: usize,
}

impl Reader<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn number(&mut self) -> Option<u64> {
        let mut n = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                return None;
            }
            n |= bits << shift;
            if byte < 0x80 {
                return Some(n);
            }
        }
        None
    }

    fn text(&mut self) -> Option<Box<[u8]>> {
        let text = self.unpaid_text()?;
        self.room.pay(text.len()).then_some(text)
    }

    fn unpaid_text(&mut self) -> Option<Box<[u8]>> {
        let n = usize::try_from(self.number()?).ok()?;
        if let Some(common) = COMMON.get(n) {
            return Some((*common).into());
        }
        let (text, rest) = self.rest.split_at_checked(n - COMMON.len())?;
        self.rest = rest;
        Some(text.into())
    }

    fn flag(&mut self) -> Option<bool> {
        match self.byte()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    /// `Some(None)` is an absent text.
    fn maybe(&mut self) -> Option<Option<Box<[u8]>>> {
        Some(if self.flag()? { Some(self.text()?) } else { None })
    }

    fn structure(&mut self, base: u64) -> Option<Structure> {
        let mut fields = [const { None }; 4];
        for field in &mut fields {
            *field = self.maybe()?;
        }
        let mut lists = [const { Vec::new() }; 6];
        for list in &mut lists {
            for _ in 0..self.number()? {
                let who = self.correspondent()?;
                self.room.pay(correspond::cost(&who)).then_some(())?;
                list.push(who);
            }
        }
        let [date, subject, in_reply_to, message_id] = fields;
        let [from, sender, reply_to, to, cc, bcc] = lists;
        let envelope = Envelope { date, subject, from, sender, reply_to, to, cc, bcc, in_reply_to, message_id };
        Some(Structure { envelope, root: self.part(base)? })
    }

    fn correspondent(&mut self) -> Option<Correspondent> {
        let bits = self.byte()?;
        if bits >= 16 {
            return None;
        }
        let mut fields = [const { None }; 4];
        for (i, field) in fields.iter_mut().enumerate() {
            if bits & 1 << i != 0 {
                *field = Some(self.unpaid_text()?);
            }
        }
        let [name, route, mailbox, host] = fields;
        Some(Correspondent { name, route, mailbox, host })
    }

    fn span(&mut self, at: u64) -> Option<Span> {
        let len = self.number()?;
        Some(Span { at, len, wire: len.checked_add(self.number()?)? })
    }

    fn part(&mut self, base: u64) -> Option<Part> {
        self.parts_left = self.parts_left.checked_sub(1)?;
        self.depth_left = self.depth_left.checked_sub(1)?;
        let header_at = base.checked_add(self.number()?)?;
        let header = self.span(header_at)?;
        let mut body = self.span(0)?;
        body.at = header.at.checked_add(header.len)?.checked_add(self.number()?)?;
        body.at.checked_add(body.len)?;
        let lines = self.number()?;
        let media = (self.text()?, self.text()?);
        let params = self.params()?;
        let encoding = self.text()?;
        let (id, description, md5, location) = (self.maybe()?, self.maybe()?, self.maybe()?, self.maybe()?);
        let disposition = if self.flag()? { Some(Disposition { kind: self.text()?, params: self.params()? }) } else { None };
        let mut language = Vec::new();
        for _ in 0..self.number()? {
            if language.len() == limits::LANGUAGES {
                return None;
            }
            language.push(self.text()?);
        }
        let kind = match self.byte()? {
            0 => Kind::Leaf,
            1 => Kind::Message(Box::new(self.structure(body.at)?)),
            2 => {
                let mut parts = Vec::new();
                for _ in 0..self.number()? {
                    parts.push(self.part(body.at)?);
                }
                Kind::Multipart(parts)
            }
            _ => return None,
        };
        self.depth_left += 1;
        Some(Part { header, body, lines, media, params, id, description, encoding, md5, disposition, language, location, kind })
    }

    fn params(&mut self) -> Option<Vec<Param>> {
        let mut params = Vec::new();
        for _ in 0..self.number()? {
            if params.len() == limits::PARAMS {
                return None;
            }
            params.push((self.text()?, self.text()?));
        }
        Some(params)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scanner;

    fn sample() -> Structure {
        let mut scanner = Scanner::new();
        scanner.feed(
            b"From: A <a@b>, g: x@y;\nSubject: s\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n\nTo: q@r\n\nhello\n\n--b\n\
              Content-Disposition: attachment; filename=x\nContent-Language: en\nContent-ID: <1>\n\nz\n--b--\n",
        );
        scanner.finish()
    }

    #[test]
    fn it_comes_back() {
        let mut bytes = Vec::new();
        sample().encode(&mut bytes);
        assert_eq!(Structure::decode(&bytes), Some(sample()));
        assert!(bytes.len() < 160, "{}", bytes.len());
    }

    #[test]
    fn what_the_scanner_keeps_at_most_comes_back() {
        let mut scanner = Scanner::new();
        scanner.feed(b"Content-Type: multipart/mixed; boundary=b\n");
        for _ in 0..10 {
            scanner.feed(&[b"To: ", &b"a@b,"[..].repeat(4000)[..], b"\n"].concat());
        }
        for _ in 0..1100 {
            scanner.feed(b"\n--b\n");
        }
        let whole = scanner.finish();
        let mut bytes = Vec::new();
        whole.encode(&mut bytes);
        assert_eq!(Structure::decode(&bytes).as_ref(), Some(&whole));
    }

    #[test]
    fn damaged_bytes_are_nothing() {
        let mut bytes = Vec::new();
        sample().encode(&mut bytes);
        for end in 0..bytes.len() {
            assert_eq!(Structure::decode(&bytes[..end]), None);
        }
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut bad = bytes.clone();
                bad[at] ^= 1 << bit;
                let _ = Structure::decode(&bad);
            }
        }
        let deep = [&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], &[0; 20]].concat();
        assert_eq!(Structure::decode(&deep), None);
    }
}
