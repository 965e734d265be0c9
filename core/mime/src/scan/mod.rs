//! Takes a message apart while it passes by: one look at every byte, memory bounded by the limits and not by the message.

mod frame;
mod head;

use crate::{Structure, limits, room::Room};
use alloc::vec::Vec;
use frame::Frame;

/// Finds the structure of a message in its stored bytes, whatever their line ends. However the bytes are cut, the result is the same.
///
/// A line ends with LF. A CR before it belongs to the line end, any other CR is content. A header ends with an empty line; a line in it
/// that is no field is part of the header all the same (as Dovecot and Cyrus read it: `From ` lines of mboxes stand there).
pub struct Scanner {
    /// Open parts, outermost first. Never empty, at most [`limits::DEPTH`].
    frames: Vec<Frame>,
    /// How many of them have a boundary that may still come.
    boundaries: usize,
    /// How many parts may still be opened.
    parts_left: usize,
    room: Room,
    /// The header field that is being collected.
    field: Option<head::Field>,
    /// The current line as far as it may matter: in a header up to [`limits::FIELD`], in a body only if it may be a boundary.
    line: Vec<u8>,
    /// How long the current line is so far.
    line_len: u64,
    /// Whether the last byte was a CR.
    cr: bool,
    /// Where the current line starts.
    start: Mark,
    /// Where the line end before the current line starts.
    tail: Mark,
}

/// A place in the message.
#[derive(Debug, Clone, Copy, Default)]
struct Mark {
    /// Stored bytes before it.
    at: u64,
    /// Bare line feeds before it.
    bare: u64,
    /// Line feeds before it.
    lines: u64,
    /// Whether a line feed stands right before it.
    eol: bool,
}

/// The longest line head that tells whether a line is a boundary: two dashes, the boundary, two dashes.
const DASHES: &[u8] = b"--";
const BOUNDARY_LINE: usize = limits::BOUNDARY + 2 * DASHES.len();

impl Default for Scanner {
    fn default() -> Scanner {
        Scanner::new()
    }
}

impl Scanner {
    /// At the start of a message.
    pub fn new() -> Scanner {
        Scanner {
            frames: Vec::from([Frame::message(Mark::default())]),
            boundaries: 0,
            parts_left: limits::PARTS - 1,
            room: Room::new(),
            field: None,
            line: Vec::new(),
            line_len: 0,
            cr: false,
            start: Mark::default(),
            tail: Mark::default(),
        }
    }

    /// The next bytes of the message.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let feed = memchr::memchr(b'\n', bytes);
            let n = feed.map_or(bytes.len(), |at| at + 1);
            let (piece, rest) = bytes.split_at(n);
            self.keep(piece);
            self.line_len += n as u64;
            match piece {
                [.., b'\r', b'\n'] => self.end_line(true),
                [.., b'\n'] => self.end_line(n == 1 && self.cr),
                [.., last] => self.cr = *last == b'\r',
                [] => {}
            }
            bytes = rest;
        }
    }

    /// The message is whole.
    pub fn finish(mut self) -> Structure {
        if self.line_len > 0 {
            let end = Mark { at: self.start.at + self.line_len, eol: false, ..self.start };
            self.read_line(end, 0);
            self.start = end;
        }
        let end = self.start;
        loop {
            let closed = self.close(end, end);
            if let Some(structure) = closed {
                return structure;
            }
        }
    }

    /// Keeps of the current line what may matter.
    fn keep(&mut self, piece: &[u8]) {
        let in_header = self.in_header();
        if !in_header && (self.boundaries == 0 || (self.line_len == 0 && piece[0] != b'-') || (self.line_len > 0 && self.line.is_empty())) {
            return;
        }
        let limit = if in_header { limits::FIELD } else { BOUNDARY_LINE };
        let n = piece.len().min(limit - self.line.len());
        self.line.extend_from_slice(&piece[..n]);
    }

    fn end_line(&mut self, crlf: bool) {
        let eol = 1 + u64::from(crlf);
        let next =
            Mark { at: self.start.at + self.line_len, bare: self.start.bare + u64::from(!crlf), lines: self.start.lines + 1, eol: true };
        if !self.line.is_empty() || self.in_header() {
            self.read_line(next, eol);
            self.line.clear();
        }
        self.tail = Mark { at: next.at - eol, eol: self.line_len == eol, ..self.start };
        self.start = next;
        self.line_len = 0;
        self.cr = false;
    }

    /// Reads the current line, which ends at `next` with a line end of `eol` bytes.
    fn read_line(&mut self, next: Mark, eol: u64) {
        if self.line.starts_with(DASHES)
            && let Some((depth, last)) = self.boundary()
        {
            self.field_ends();
            self.cross(depth, last, next);
        } else if self.in_header() {
            if self.line_len == eol {
                self.field_ends();
                self.header_ends(next);
            } else {
                self.header_line(eol);
            }
        }
    }

    fn in_header(&self) -> bool {
        self.top().body.is_none()
    }

    fn top(&self) -> &Frame {
        self.frames.last().expect("the message itself is open until it is finished")
    }

    fn top_mut(&mut self) -> &mut Frame {
        self.frames.last_mut().expect("the message itself is open until it is finished")
    }

    /// Which open multipart the current line belongs to, and whether it ends it. A line need only begin with the boundary (RFC 2046
    /// §5.1.1); if it begins with several, the longest is meant.
    fn boundary(&self) -> Option<(usize, bool)> {
        let text = &self.line[DASHES.len()..];
        let mut found: Option<(usize, usize)> = None;
        for (depth, frame) in self.frames.iter().enumerate().rev() {
            if let Some(boundary) = frame.boundary()
                && text.starts_with(boundary)
                && found.is_none_or(|(_, len)| boundary.len() > len)
            {
                found = Some((depth, boundary.len()));
            }
        }
        found.map(|(depth, len)| (depth, text[len..].starts_with(DASHES)))
    }

    /// A boundary of the multipart at `depth` was read: what is open in it ends, and the next part begins unless it was the last.
    fn cross(&mut self, depth: usize, last: bool, next: Mark) {
        while self.frames.len() > depth + 1 {
            self.close(self.tail, self.start);
        }
        if last {
            self.boundaries -= 1;
            self.top_mut().drop_boundary();
        } else if self.parts_left > 0 {
            self.parts_left -= 1;
            let frame = Frame::part(next, self.top().is_digest());
            self.frames.push(frame);
        }
    }

    /// The header of the innermost part is over: what is in its body?
    fn header_ends(&mut self, body: Mark) {
        let may_nest = self.frames.len() < limits::DEPTH && self.parts_left > 0;
        let top = self.frames.last_mut().expect("the message itself is open until it is finished");
        top.header_ends(body);
        if !may_nest {
            return;
        }
        if top.open_multipart() {
            self.boundaries += 1;
        } else if top.holds_message() {
            self.parts_left -= 1;
            self.frames.push(Frame::message(body));
        }
    }

    /// Closes the innermost part. Its body ends at `end`, unless its header or what is in it reaches further: then there. A header that
    /// is still open ends at `line`. Gives the structure if it was the outermost.
    fn close(&mut self, end: Mark, line: Mark) -> Option<Structure> {
        let mut frame = self.frames.pop().expect("only open parts are closed");
        if frame.body.is_none() {
            self.field = None;
            frame.header_ends(line);
        }
        self.boundaries -= usize::from(frame.boundary().is_some());
        let end = frame.end(end);
        match self.frames.last_mut() {
            Some(parent) => {
                parent.take_in(frame, end);
                None
            }
            None => Some(frame.into_structure(end)),
        }
    }
}

#[cfg(test)]
mod tests;
