//! A message on its way in: where it ends, what of it is text, and whether it may be taken.
//!
//! Only CR LF ends a line and only CR LF dot CR LF ends DATA. Whoever takes anything else for a line end lets one client speak with
//! the voice of another (SMTP smuggling), so a message with a bare CR or a bare LF is read to its true end and refused. The same goes for
//! NUL, which no message may hold (RFC 5322 §3.5, RFC 6152 §3) and some programs drop: what is a line with a NUL and a
//! dot here would end the message there.

use crate::Loss;
use crate::limits::{DATA_GRACE_MS, DATA_RATE};
use crate::reply::{MESSAGE_BROKEN, Reply, TOO_LARGE};
use memchr::memchr3;
use wire::{Pace, Tick};

/// A message that is being received.
#[derive(Debug)]
pub(crate) struct Incoming {
    /// Whether a dot at the start of a line means something (DATA), or nothing does (BDAT).
    dots: bool,
    /// Whether every octet may stand anywhere (BINARYMIME).
    binary: bool,
    spot: Spot,
    /// A bare CR, bare LF or NUL was met.
    broken: bool,
    /// There was more than `room`.
    over: bool,
    /// Octets that may still come.
    room: u64,
    pub(crate) pace: Pace,
}

/// How a message comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// As lines, a lone dot ends it (DATA).
    Dots,
    /// As lines, in chunks (BDAT).
    Chunks,
    /// As octets, in chunks (RFC 3030 §3). It never leaves with DATA, so no line end in it can end a message elsewhere.
    Binary,
}

/// What the last byte was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spot {
    LineStart,
    Line,
    Cr,
}

/// What is at the front of the input. The bytes it speaks of are to be taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Text of the message.
    Body(usize),
    /// Stuffing, or text of a message that is refused already.
    Skip(usize),
    /// The end of the message.
    End(usize),
    /// Not enough to tell.
    More,
}

impl Incoming {
    /// A message of at most `max` octets (0: no limit).
    pub(crate) fn new(now: Tick, how: How, max: u64) -> Incoming {
        let room = if max == 0 { u64::MAX } else { max };
        let (dots, binary) = (how == How::Dots, how == How::Binary);
        Incoming { dots, binary, spot: Spot::LineStart, broken: false, over: false, room, pace: Incoming::pace(now) }
    }

    pub(crate) fn pace(now: Tick) -> Pace {
        Pace::new(now, DATA_GRACE_MS, DATA_RATE)
    }

    /// Looks at the front of the input. However the input is cut, the concatenation of bodies is the same, also in a message that
    /// is refused.
    pub(crate) fn next(&mut self, bytes: &[u8]) -> Piece {
        if self.dots && self.spot == Spot::LineStart && bytes.first() == Some(&b'.') {
            return match &bytes[1..] {
                [] | [b'\r'] => Piece::More,
                [b'\r', b'\n', ..] => Piece::End(3),
                // RFC 5321 §4.5.2: the dot goes if there are other characters on the line.
                _ => {
                    self.spot = Spot::Line;
                    Piece::Skip(1)
                }
            };
        }
        if bytes.is_empty() {
            return Piece::More;
        }
        self.over |= self.room == 0;
        if self.is_refused() {
            return Piece::Skip(self.scan(bytes));
        }
        let within = bytes.len().min(usize::try_from(self.room).unwrap_or(usize::MAX));
        match self.scan(&bytes[..within]) {
            // The very first byte broke it.
            0 => Piece::Skip(self.scan(bytes)),
            n => {
                self.room -= n as u64;
                Piece::Body(n)
            }
        }
    }

    /// All chunks are in (BDAT LAST).
    pub(crate) fn end(&mut self) {
        self.broken |= self.spot == Spot::Cr && !self.binary;
    }

    /// Why the message cannot be taken.
    pub(crate) fn refusal(&self) -> Option<Reply> {
        match self {
            Incoming { broken: true, .. } => Some(MESSAGE_BROKEN),
            Incoming { over: true, .. } => Some(TOO_LARGE),
            _ => None,
        }
    }

    /// Why it is forgotten, if it is now.
    pub(crate) fn loss(&self) -> Loss {
        match self {
            Incoming { broken: true, .. } => Loss::Broken,
            Incoming { over: true, .. } => Loss::TooLarge,
            _ => Loss::Unfinished,
        }
    }

    fn is_refused(&self) -> bool {
        self.broken || self.over
    }

    /// How many bytes go together: up to a dot that means something, or to what breaks the message. Nothing only if the first byte is
    /// what breaks it; once it is broken, at least one byte.
    fn scan(&mut self, bytes: &[u8]) -> usize {
        if self.binary {
            return bytes.len();
        }
        let mut at = 0;
        if self.spot == Spot::Cr {
            if bytes[0] == b'\n' {
                self.spot = Spot::LineStart;
                at = 1;
                if self.stops_at(bytes, at) {
                    return at;
                }
            } else {
                self.spot = Spot::Line;
                if self.breaks() {
                    return 0;
                }
            }
        }
        while let Some(found) = memchr3(b'\r', b'\n', 0, &bytes[at..]) {
            let mark = at + found;
            match (bytes[mark], bytes.get(mark + 1)) {
                (b'\r', Some(b'\n')) => {
                    self.spot = Spot::LineStart;
                    at = mark + 2;
                    if self.stops_at(bytes, at) {
                        return at;
                    }
                }
                (b'\r', None) => {
                    self.spot = Spot::Cr;
                    return mark + 1;
                }
                (b'\r', Some(_)) => {
                    self.spot = Spot::Line;
                    at = mark + 1;
                    if self.breaks() {
                        return at;
                    }
                }
                _ => {
                    self.spot = Spot::Line;
                    if self.breaks() {
                        return mark;
                    }
                    at = mark + 1;
                }
            }
        }
        if at < bytes.len() {
            self.spot = Spot::Line;
        }
        bytes.len()
    }

    fn stops_at(&self, bytes: &[u8], at: usize) -> bool {
        self.dots && bytes.get(at) == Some(&b'.')
    }

    /// Notes that the message is broken; says whether that is new.
    fn breaks(&mut self) -> bool {
        !core::mem::replace(&mut self.broken, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    /// Feeds `input` in pieces of `cut` bytes; gives the body, the refusal and what is left after the end.
    fn run(input: &[u8], dots: bool, max: u64, cut: usize) -> (Vec<u8>, Option<Reply>, Option<Vec<u8>>) {
        let mut message = Incoming::new(Tick(0), if dots { How::Dots } else { How::Chunks }, max);
        let (mut body, mut start, mut end) = (Vec::new(), 0, 0);
        loop {
            match message.next(&input[start..end]) {
                Piece::Body(n) => {
                    assert!(n > 0);
                    body.extend_from_slice(&input[start..start + n]);
                    start += n;
                }
                Piece::Skip(n) => start += n,
                Piece::End(n) => return (body, message.refusal(), Some(input[start + n..].to_vec())),
                Piece::More if end == input.len() => {
                    message.end();
                    return (body, message.refusal(), None);
                }
                Piece::More => end = (end + cut).min(input.len()),
            }
        }
    }

    fn all_cuts(input: &[u8], dots: bool, max: u64) -> (Vec<u8>, Option<Reply>, Option<Vec<u8>>) {
        let whole = run(input, dots, max, input.len().max(1));
        for cut in 1..input.len() {
            assert_eq!(run(input, dots, max, cut), whole, "cut by {cut}: {:?}", input.escape_ascii());
        }
        whole
    }

    fn ended(body: &str, rest: &str) -> (Vec<u8>, Option<Reply>, Option<Vec<u8>>) {
        (body.into(), None, Some(rest.into()))
    }

    #[test]
    fn dots_are_unstuffed_and_one_alone_ends_it() {
        assert_eq!(all_cuts(b".\r\nX", true, 0), ended("", "X"));
        assert_eq!(all_cuts(b"a\r\n.\r\n.\r\n", true, 0), ended("a\r\n", ".\r\n"));
        assert_eq!(all_cuts(b"..\r\n...\r\n.a\r\nb.\r\n\r\n.\r\n", true, 0), ended(".\r\n..\r\na\r\nb.\r\n\r\n", ""));
        assert_eq!(all_cuts(b"a\r\n.", true, 0), (b"a\r\n".to_vec(), None, None));
    }

    #[test]
    fn nothing_else_ends_it() {
        for odd in [
            "\n.\n",
            "\r.\r",
            "\r.\n",
            "\n.\r",
            "\n.\r\n",
            "\r\n.\n",
            "\r.\r\n",
            "\r\n.\r",
            "\r\n\0.\r\n",
            "\r\n.\0\r\n",
            "\n\n.\r\n",
            "\r\r\n.\r\r\n",
        ] {
            let mut input = b"text".to_vec();
            input.extend_from_slice(odd.as_bytes());
            input.extend_from_slice(b"MAIL FROM:<x@y>\r\n.\r\nNOOP\r\n");
            let (_, refusal, rest) = all_cuts(&input, true, 0);
            assert_eq!(refusal, Some(MESSAGE_BROKEN), "{}", odd.escape_debug());
            assert_eq!(rest.as_deref(), Some(&b"NOOP\r\n"[..]), "{}", odd.escape_debug());
        }
    }

    #[test]
    fn what_is_too_large_is_read_to_its_end() {
        assert_eq!(all_cuts(b"12345\r\n.\r\n", true, 7), ended("12345\r\n", ""));
        let (body, refusal, rest) = all_cuts(b"123456\r\n..\r\n.\r\nX", true, 7);
        assert_eq!((body.as_slice(), refusal, rest.as_deref()), (&b"123456\r"[..], Some(TOO_LARGE), Some(&b"X"[..])));
        let (_, refusal, _) = all_cuts(b"123456789\nx\r\n.\r\nX", true, 7);
        assert_eq!(refusal, Some(MESSAGE_BROKEN));
    }

    #[test]
    fn chunks_know_no_dots_but_the_same_lines() {
        assert_eq!(all_cuts(b"a\r\n.\r\n..b\r\n", false, 0), (b"a\r\n.\r\n..b\r\n".to_vec(), None, None));
        for broken in ["a\nb", "a\rb", "a\r", "\n", "\r\r\n", "\0"] {
            assert_eq!(all_cuts(broken.as_bytes(), false, 0).1, Some(MESSAGE_BROKEN), "{}", broken.escape_debug());
        }
        assert_eq!(all_cuts(&[b'x'; 40], false, 39).1, Some(TOO_LARGE));
    }

    #[test]
    fn octets_are_octets() {
        let mut message = Incoming::new(Tick(0), How::Binary, 8);
        for piece in [&b"\r"[..], b"a\n\0", b"\n.\r\n"] {
            assert_eq!(message.next(piece), Piece::Body(piece.len()));
        }
        message.end();
        assert_eq!(message.refusal(), None);
        assert_eq!(message.next(b"x"), Piece::Skip(1));
        assert_eq!(message.refusal(), Some(TOO_LARGE));
    }
}
