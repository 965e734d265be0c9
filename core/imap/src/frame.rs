//! Finding commands: a line, and for each literal announced at its end the literal and another line.
//!
//! Nothing is looked at twice, however slowly it arrives. What becomes of a literal is decided by the session when it is announced: it is held
//! in the inbox as a part of the command ([`Framer::hold`]), or the command so far is taken and the literal is streamed or swallowed
//! ([`Framer::reset`]).

use crate::limits;
use memchr::{memchr, memchr2};
use wire::Inbox;

/// Finds commands at the front of an inbox.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Framer {
    /// Where the current line begins, behind all held literals.
    line: usize,
    /// How far the current line was looked at.
    seen: usize,
    literals: u16,
}

/// What is at the front of the inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scan {
    /// A whole command of that many bytes with its last line end.
    Command(usize),
    /// A command so far, of `upto` bytes, whose last line announces a literal.
    Literal { upto: usize, literal: Literal },
    /// Not yet a line.
    Short,
    /// No line end within the limit. So many bytes are lines before this one, and literals that were held.
    Long(usize),
}

/// A literal that was announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Literal {
    /// Its octets.
    pub size: u64,
    /// Whether the client waits for `+` (it does not for `{n+}`, RFC 7888).
    pub waits: bool,
}

impl Framer {
    /// Looks for a command of at most `limit` bytes. After `Command` and `Long` the framer stands at the front again.
    pub fn find(&mut self, rx: &Inbox, limit: usize) -> Scan {
        let bytes = &rx.bytes()[..rx.bytes().len().min(limit)];
        if bytes.len() < self.line {
            return Scan::Short;
        }
        match memchr(b'\n', &bytes[self.seen..]) {
            Some(at) => {
                let upto = self.seen + at + 1;
                match announced(&bytes[self.line..upto]) {
                    Some(literal) => {
                        self.seen = upto - 1;
                        Scan::Literal { upto, literal }
                    }
                    None => {
                        self.reset();
                        Scan::Command(upto)
                    }
                }
            }
            None if bytes.len() == limit => {
                let before = self.line;
                self.reset();
                Scan::Long(before)
            }
            None => {
                self.seen = bytes.len();
                Scan::Short
            }
        }
    }

    /// The literal behind `upto` belongs to the command and stays in the inbox. False if there is no room for it within `limit`, or
    /// there are too many.
    pub fn hold(&mut self, upto: usize, literal: Literal, limit: usize) -> bool {
        let room = limit.saturating_sub(upto + limits::FRAME_REST) as u64;
        if literal.size > room || self.literals == limits::LITERALS {
            return false;
        }
        self.literals += 1;
        self.line = upto + literal.size as usize;
        self.seen = self.line;
        true
    }

    /// Begins anew: what was found was taken from the inbox.
    pub fn reset(&mut self) {
        *self = Framer::default();
    }

    /// Whether a part of a command has been looked at.
    pub fn has_begun(&self) -> bool {
        self.seen > 0
    }
}

/// The literal that a line announces (RFC 3501 §4.3, RFC 7888). Free text may end in `{4}` too: only where an argument can begin, and
/// outside a quoted string, is it an announcement; anywhere else the command is in error and gets its BAD at once.
fn announced(line: &[u8]) -> Option<Literal> {
    let line = strip_line_end(line).strip_suffix(b"}")?;
    let open = line.iter().rposition(|&b| b == b'{')?;
    if open == 0 || !matches!(line[open - 1], b' ' | b'(') || in_quotes(&line[..open]) {
        return None;
    }
    literal_size(&line[open + 1..])
}

/// The literal that any end of a line announces, for commands that are swallowed without being understood.
pub(crate) fn announced_anyhow(line: &[u8]) -> Option<Literal> {
    let line = strip_line_end(line).strip_suffix(b"}")?;
    let open = line.iter().rposition(|&b| b == b'{')?;
    literal_size(&line[open + 1..])
}

fn literal_size(text: &[u8]) -> Option<Literal> {
    let (digits, waits) = match text.strip_suffix(b"+") {
        Some(digits) => (digits, false),
        None => (text, true),
    };
    if digits.is_empty() || digits.len() > 19 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let size = digits.iter().fold(0u64, |n, d| n * 10 + u64::from(d - b'0'));
    Some(Literal { size, waits })
}

fn in_quotes(text: &[u8]) -> bool {
    let mut rest = text;
    let mut quoted = false;
    while let Some(at) = memchr2(b'"', b'\\', rest) {
        let step = if rest[at] == b'"' {
            quoted = !quoted;
            1
        } else if quoted {
            2
        } else {
            1
        };
        rest = rest.get(at + step..).unwrap_or_default();
    }
    quoted
}

/// A line without its CRLF, or the bare LF that people who type use.
pub(crate) fn strip_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{vec, vec::Vec};

    fn frames(input: &[u8], cut: usize) -> Vec<Vec<u8>> {
        let mut rx = Inbox::new(256);
        let mut framer = Framer::default();
        let mut found = vec![];
        for piece in input.chunks(cut) {
            let room = rx.spare();
            room[..piece.len()].copy_from_slice(piece);
            rx.filled(piece.len());
            loop {
                match framer.find(&rx, 128) {
                    Scan::Command(n) => found.push(rx.take(n).to_vec()),
                    Scan::Literal { upto, literal } => assert!(framer.hold(upto, literal, 128)),
                    Scan::Short => break,
                    Scan::Long(_) => panic!("long"),
                }
            }
        }
        found
    }

    #[test]
    fn commands_are_found_at_every_cut() {
        let input = b"a LOGIN {5}\r\nalice {3+}\r\n\r\nx \"{9}\"\r\nb NOOP {4\r\nc X{4}\r\nd X \"\\\" {4}\r\ne ID ({0}\r\n)\r\nf noop\n";
        let whole = frames(input, input.len());
        assert_eq!(whole.len(), 6);
        assert_eq!(whole[0], b"a LOGIN {5}\r\nalice {3+}\r\n\r\nx \"{9}\"\r\n");
        assert_eq!(whole[3], b"d X \"\\\" {4}\r\n");
        for cut in 1..input.len() {
            assert_eq!(frames(input, cut), whole, "{cut}");
        }
    }

    #[test]
    fn what_does_not_fit() {
        let mut framer = Framer::default();
        assert!(!framer.hold(10, Literal { size: u64::from(u32::MAX), waits: true }, 128));
        assert_eq!(announced(b"a X {99999999999999999999}\r\n"), None);
        let mut rx = Inbox::new(64);
        rx.spare().fill(b'x');
        let n = rx.spare().len();
        rx.filled(n);
        assert_eq!(framer.find(&rx, 32), Scan::Long(0));
    }
}
