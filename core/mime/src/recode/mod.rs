//! Re-encodes a message for a peer that takes less than was taken here: 8-bit and binary content becomes 7-bit, or binary becomes 8-bit
//! (RFC 6152 §3, RFC 3030 §3).
//!
//! One pass, bounded memory. Parts that are clean stay as they are, octet by octet; those that are not become quoted-printable (texts) or base64 (all else).
//! A part is looked at for [`limits::HELD`] octets before that is decided; one that is longer and says of itself that it is not encoded is encoded then, for what
//! comes may not be clean. Encodings are never nested.

mod base64;
mod body;
mod clean;
mod field;
mod fix;
mod fold;
mod parameters;
mod quoted;
#[cfg(test)]
mod tests;

use crate::{Field, lex::trim, limits, params, room::Room};
use alloc::{boxed::Box, vec::Vec};
use body::{Body, Head, Label};

/// What a message is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Lines, as they are stored: LF ends one, with a CR before it or not.
    Lines,
    /// Octets (BINARYMIME): a line feed alone is content.
    Octets,
}

/// What the peer takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Lines of ASCII.
    SevenBit,
    /// Lines (8BITMIME).
    EightBit,
    /// A header of ASCII; what follows it stays as it is (8BITMIME without SMTPUTF8).
    Header,
}

/// The charset of text that does not say so and is no UTF-8: what an operator's users write in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Charset(&'static encoding_rs::Encoding);

impl Charset {
    /// The charset of this name, if there is one that ASCII is part of.
    pub fn named(name: &str) -> Option<Charset> {
        encoding_rs::Encoding::for_label(name.as_bytes()).filter(|encoding| encoding.is_ascii_compatible()).map(Charset)
    }
}

/// Why a message cannot be re-encoded. What was put out by then is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// Something signed is not clean, and would not be what was signed any more (RFC 1847 §2.1).
    Signed,
    /// An address, a boundary or another structured field holds what no encoding can say: the peer needs SMTPUTF8.
    Header,
    /// A part is in an encoding nobody here knows, and not clean.
    Encoding,
    /// Parts lie deeper, or are more, or fields are longer than is looked at.
    Limits,
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
struct Form {
    source: Source,
    target: Target,
    /// What a header that is no UTF-8 is written in.
    charset: Option<Charset>,
}

/// Re-encodes a message that passes by. However it is cut, the outcome is the same. To know beforehand whether there is an obstacle, and how long the
/// outcome is, let it pass once without keeping what comes out.
pub struct Recoder {
    form: Form,
    /// Open parts, outermost first. Never empty, at most [`limits::DEPTH`].
    frames: Vec<Frame>,
    /// How many of them have a boundary that may still come.
    boundaries: usize,
    /// How many parts may still be opened.
    parts_left: usize,
    stage: Stage,
    /// The header field that is being collected, its lines joined by LF.
    field: Vec<u8>,
    /// The current line: in a header all of it, in a body as far as it may be a boundary.
    line: Vec<u8>,
    /// Whether the current line is past where it may be a boundary.
    inside: bool,
    /// Whether the last byte was a CR.
    cr: bool,
    /// The line end before the current line, which belongs to a boundary if one follows: whether it had a CR.
    eol: Option<bool>,
    /// The last byte that was put out.
    last: Option<u8>,
}

/// An open part.
#[derive(Default)]
struct Frame {
    boundary: Option<Box<[u8]>>,
    digest: bool,
}

enum Stage {
    Header(Head),
    Body(Body),
}

/// The longest line head that tells whether a line is a boundary: two dashes, the boundary, two dashes.
const DASHES: &[u8] = b"--";
const BOUNDARY_LINE: usize = limits::BOUNDARY + 2 * DASHES.len();

impl Recoder {
    /// At the start of a message.
    pub fn new(source: Source, target: Target) -> Recoder {
        Recoder {
            form: Form { source, target, charset: None },
            frames: Vec::from([Frame::default()]),
            boundaries: 0,
            parts_left: limits::PARTS - 1,
            stage: Stage::Header(Head::new(true, false)),
            field: Vec::new(),
            line: Vec::new(),
            inside: false,
            cr: false,
            eol: None,
            last: None,
        }
    }

    /// Header fields that are no UTF-8 are taken for text of this charset, and what no encoding can say in them is no obstacle: there was never a way to
    /// mean it, so that a question mark does for it. What is UTF-8 is as it is without this, but for fields that programs alone read.
    #[must_use]
    pub fn guessing(mut self, charset: Charset) -> Recoder {
        self.form.charset = Some(charset);
        self
    }

    /// Takes the next bytes and appends to `out` what they become, with CRLF line ends.
    ///
    /// # Errors
    /// If the message cannot be re-encoded. Nothing more should be fed then.
    pub fn feed(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Obstacle> {
        let before = out.len();
        while !bytes.is_empty() {
            let feed = memchr::memchr(b'\n', bytes);
            let (piece, rest) = bytes.split_at(feed.unwrap_or(bytes.len()));
            self.piece(piece, out)?;
            bytes = rest;
            if feed.is_some() {
                let crlf = core::mem::take(&mut self.cr);
                self.end_line(crlf, out)?;
                bytes = &rest[1..];
            }
        }
        self.note(before, out);
        Ok(())
    }

    /// The message is whole. What was put out ends with CRLF.
    ///
    /// # Errors
    /// As above.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<(), Obstacle> {
        let before = out.len();
        if core::mem::take(&mut self.cr) {
            self.text(b"\r", out)?;
        }
        match self.boundary() {
            Some((depth, last)) => self.cross(depth, last, out)?,
            None if matches!(self.stage, Stage::Header(_)) => {
                if !self.line.is_empty() {
                    self.header_line(out)?;
                }
            }
            None => {
                let line = core::mem::take(&mut self.line);
                self.content(&line, out)?;
            }
        }
        if self.field_ends(out)? {
            self.head_breaks_off(out);
        }
        if let Stage::Body(body) = &mut self.stage {
            if let Some(crlf) = self.eol.take() {
                body.put(eol(crlf, self.form), self.form, out)?;
            }
            body.finish(true, self.form, out)?;
            let last = if out.len() > before { out.last().copied() } else { self.last };
            // Octets that are not encoded anew end as they end.
            let whole = self.form.target == Target::Header && self.form.source == Source::Octets;
            if last.is_some_and(|b| b != b'\n') && !whole {
                out.extend_from_slice(body.last_line_end());
            }
        }
        Ok(())
    }

    fn note(&mut self, before: usize, out: &[u8]) {
        if out.len() > before {
            self.last = out.last().copied();
        }
    }

    /// Bytes of the current line; a CR at their end may belong to the line end.
    fn piece(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<(), Obstacle> {
        let Some((&last, head)) = piece.split_last() else { return Ok(()) };
        if core::mem::take(&mut self.cr) {
            self.text(b"\r", out)?;
        }
        self.cr = last == b'\r';
        self.text(if self.cr { head } else { piece }, out)
    }

    /// Bytes of the current line that do not belong to its end.
    fn text(&mut self, text: &[u8], out: &mut Vec<u8>) -> Result<(), Obstacle> {
        if text.is_empty() {
            return Ok(());
        }
        if matches!(self.stage, Stage::Header(_)) {
            if self.field.len() + self.line.len() + text.len() > limits::HEADER_FIELD {
                return Err(Obstacle::Limits);
            }
            self.line.extend_from_slice(text);
            return Ok(());
        }
        let mut text = text;
        if !self.inside {
            let n = text.len().min(BOUNDARY_LINE - self.line.len());
            self.line.extend_from_slice(&text[..n]);
            text = &text[n..];
            let may_be = self.boundaries > 0 && self.line.iter().zip(DASHES).all(|(a, b)| a == b);
            if may_be && (self.line.len() < BOUNDARY_LINE || self.boundary().is_some()) {
                // Behind a boundary stands nothing that counts (RFC 2046 §5.1.1).
                return Ok(());
            }
            self.inside = true;
            let line = core::mem::take(&mut self.line);
            self.content(&line, out)?;
        }
        self.content(text, out)
    }

    fn end_line(&mut self, crlf: bool, out: &mut Vec<u8>) -> Result<(), Obstacle> {
        self.inside = false;
        if let Some((depth, last)) = self.boundary() {
            self.line.clear();
            return self.cross(depth, last, out);
        }
        if matches!(self.stage, Stage::Header(_)) {
            return if self.line.is_empty() {
                self.field_ends(out)?;
                self.header_ends(out)
            } else {
                self.header_line(out)
            };
        }
        let line = core::mem::take(&mut self.line);
        self.content(&line, out)?;
        if let (Some(crlf), Stage::Body(body)) = (self.eol.replace(crlf), &mut self.stage) {
            body.put(eol(crlf, self.form), self.form, out)?;
        }
        Ok(())
    }

    /// Bytes of a body.
    fn content(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Obstacle> {
        let Stage::Body(body) = &mut self.stage else { unreachable!("a header has no content") };
        if bytes.is_empty() {
            return Ok(());
        }
        if let Some(crlf) = self.eol.take() {
            body.put(eol(crlf, self.form), self.form, out)?;
        }
        body.put(bytes, self.form, out)
    }

    /// Which open multipart the current line is a boundary of, and whether it ends it; read as [`crate::Scanner`] does.
    fn boundary(&self) -> Option<(usize, bool)> {
        let text = self.line.strip_prefix(DASHES)?;
        let mut found: Option<(usize, usize)> = None;
        for (depth, frame) in self.frames.iter().enumerate().rev() {
            if let Some(boundary) = frame.boundary.as_deref()
                && text.starts_with(boundary)
                && found.is_none_or(|(_, len)| boundary.len() > len)
            {
                found = Some((depth, boundary.len()));
            }
        }
        found.map(|(depth, len)| (depth, text[len..].starts_with(DASHES)))
    }

    /// A boundary of the multipart at `depth` was read.
    fn cross(&mut self, depth: usize, last: bool, out: &mut Vec<u8>) -> Result<(), Obstacle> {
        if self.field_ends(out)? {
            self.head_breaks_off(out);
        }
        if let Stage::Body(body) = &mut self.stage {
            body.finish(false, self.form, out)?;
        }
        if self.eol.take().is_some() {
            out.extend_from_slice(b"\r\n");
        }
        for frame in self.frames.drain(depth + 1..) {
            self.boundaries -= usize::from(frame.boundary.is_some());
        }
        let top = &mut self.frames[depth];
        out.extend_from_slice(DASHES);
        out.extend_from_slice(top.boundary.as_deref().unwrap_or_default());
        out.extend_from_slice(if last { b"--\r\n" } else { b"\r\n" });
        self.stage = if last {
            top.boundary = None;
            self.boundaries -= 1;
            Stage::Body(Body::waste())
        } else if self.parts_left > 0 {
            self.parts_left -= 1;
            let head = Head::new(false, top.digest);
            self.frames.push(Frame::default());
            Stage::Header(head)
        } else {
            Stage::Body(Body::sealed(Obstacle::Limits))
        };
        Ok(())
    }

    fn header_line(&mut self, out: &mut Vec<u8>) -> Result<(), Obstacle> {
        if matches!(self.line.first(), Some(b' ' | b'\t')) && !self.field.is_empty() {
            self.field.push(b'\n');
            self.field.append(&mut self.line);
            return Ok(());
        }
        self.field_ends(out)?;
        self.field = core::mem::take(&mut self.line);
        Ok(())
    }

    /// The field that was collected is whole: notes what it says, and puts it out. Says whether a header is open.
    fn field_ends(&mut self, out: &mut Vec<u8>) -> Result<bool, Obstacle> {
        let Stage::Header(head) = &mut self.stage else { return Ok(false) };
        let whole = core::mem::take(&mut self.field);
        if whole.is_empty() {
            return Ok(true);
        }
        // Nothing is there that the first line of a header could go on from.
        let no_field = Field { name: b"", value: &whole };
        let field = if matches!(whole[0], b' ' | b'\t') { no_field } else { crate::fields(&whole).next().unwrap_or(no_field) };
        if field.is(b"Content-Transfer-Encoding") {
            let value = field.unfolded();
            let word = params::first_word(&value[..value.len().min(limits::FIELD)]);
            // The first one counts, as for the scanner. It is put out when it is known whether it stays true.
            if head.encoding.is_none() && !word.is_empty() {
                head.encoding = Some(word.to_ascii_lowercase().into());
            }
            return Ok(true);
        }
        if field.is(b"Content-Type") && !head.typed {
            head.typed = true;
            let value = field.unfolded();
            if value.contains(&0) {
                // Whatever stood in its place, it would be another type.
                return Err(Obstacle::Header);
            }
            head.media = params::media(&value[..value.len().min(limits::FIELD)], &mut Room::new());
        }
        head.mime |= field.is(b"MIME-Version");
        field::write(&whole, &field, self.form, out)?;
        Ok(true)
    }

    /// A header that no empty line ended: what was held back of it.
    fn head_breaks_off(&mut self, out: &mut Vec<u8>) {
        if let Stage::Header(head) = &self.stage {
            head.write_encoding(out);
        }
    }

    /// The header of the innermost part is over: what is in its body?
    fn header_ends(&mut self, out: &mut Vec<u8>) -> Result<(), Obstacle> {
        let may_nest = self.frames.len() < limits::DEPTH && self.parts_left > 0;
        let Stage::Header(head) = &mut self.stage else { unreachable!("only a header ends") };
        let head = core::mem::replace(head, Head::new(false, false));
        let label = head.label();
        let is = |kind: &[u8], sub: &[u8]| head.is(kind, sub);
        // RFC 2046 §5.1.1: a boundary never ends with white space.
        let fields = head.media.as_ref().map(|(_, fields)| &fields[..]).unwrap_or_default();
        let boundary = trim(params::find(fields, b"boundary").unwrap_or_default());
        let bad = |b: &u8| matches!(b, b'\r' | 0) || !b.is_ascii() && self.form.target != Target::EightBit;
        if is(b"multipart", b"*") && boundary.iter().any(bad) {
            return Err(Obstacle::Header);
        }
        if self.form.target == Target::Header {
            head.write(None, self.form, out);
            self.stage = Stage::Body(Body::Plain);
        } else if is(b"multipart", b"signed") {
            head.write(None, self.form, out);
            self.stage = Stage::Body(Body::sealed(Obstacle::Signed));
        } else if is(b"multipart", b"*") {
            head.write(Some(self.form.label()), self.form, out);
            let known = !boundary.is_empty() && boundary.len() <= limits::BOUNDARY && may_nest;
            if known {
                let frame = self.frames.last_mut().expect("the message itself is open until it is finished");
                frame.digest = is(b"multipart", b"digest");
                frame.boundary = Some(boundary.into());
                self.boundaries += 1;
            }
            self.stage = Stage::Body(if known { Body::waste() } else { Body::sealed(Obstacle::Limits) });
        } else if is(b"message", b"rfc822") && label == Label::Identity {
            head.write(Some(self.form.label()), self.form, out);
            if may_nest {
                self.parts_left -= 1;
                self.frames.push(Frame::default());
                self.stage = Stage::Header(Head::new(true, false));
            } else {
                self.stage = Stage::Body(Body::sealed(Obstacle::Limits));
            }
        } else {
            self.stage = Stage::Body(Body::leaf(head, self.form, out));
        }
        Ok(())
    }
}

impl Form {
    /// How content that is clean is labelled.
    const fn label(self) -> &'static str {
        match self.target {
            Target::SevenBit => "7bit",
            Target::EightBit | Target::Header => "8bit",
        }
    }
}

/// A line end as it goes over the wire.
fn eol(crlf: bool, form: Form) -> &'static [u8] {
    if crlf || form.source == Source::Lines { b"\r\n" } else { b"\n" }
}
