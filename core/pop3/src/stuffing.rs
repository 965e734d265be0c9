//! How a message becomes a multi-line response (RFC 1939 §3), whole or only its top (TOP, §7).

use memchr::memchr;
use wire::Outbox;

/// What was printed so far.
#[derive(Debug)]
pub(crate) struct Stuffing {
    /// At the start of a line. Any line feed begins one: a client that reads lines would take a dot after a lone one for the end.
    fresh: bool,
    top: Option<Top>,
}

/// How much of the top is still wanted.
#[derive(Debug)]
struct Top {
    in_header: bool,
    /// Nothing but a CR on this line.
    blank: bool,
    lines: u32,
}

impl Stuffing {
    /// At the start of a message; with `top`, only its header and so many lines of its body.
    pub(crate) fn new(top: Option<u32>) -> Stuffing {
        Stuffing { fresh: true, top: top.map(|lines| Top { in_header: true, blank: true, lines }) }
    }

    /// Prints the next bytes of the message. Says whether more are wanted.
    pub(crate) fn put(&mut self, bytes: &[u8], tx: &mut Outbox) -> bool {
        let (wanted, more) = match &mut self.top {
            Some(top) => top.cut(bytes),
            None => (bytes.len(), true),
        };
        let mut rest = &bytes[..wanted];
        while let Some(&first) = rest.first() {
            if self.fresh && first == b'.' {
                tx.put(b".");
            }
            // Up to the next dot that stands at the start of a line, in one piece.
            let mut at = 0;
            self.fresh = false;
            while let Some(found) = memchr(b'\n', &rest[at..]) {
                at += found + 1;
                match rest.get(at) {
                    None => self.fresh = true,
                    Some(b'.') => {
                        self.fresh = true;
                        break;
                    }
                    Some(_) => {}
                }
            }
            let piece = if self.fresh { at } else { rest.len() };
            tx.put(&rest[..piece]);
            rest = &rest[piece..];
        }
        more
    }

    /// Prints the end.
    pub(crate) fn end(self, tx: &mut Outbox) {
        tx.put(if self.fresh { b".\r\n" } else { b"\r\n.\r\n" });
    }
}

impl Top {
    /// How many of `bytes` are still wanted, and whether more will be.
    fn cut(&mut self, bytes: &[u8]) -> (usize, bool) {
        let mut at = 0;
        while self.in_header || self.lines > 0 {
            let Some(found) = memchr(b'\n', &bytes[at..]) else {
                self.blank &= matches!(&bytes[at..], [] | [b'\r']);
                return (bytes.len(), true);
            };
            let line = &bytes[at..at + found];
            if self.in_header {
                self.in_header = !(self.blank && matches!(line, [] | [b'\r']));
            } else {
                self.lines -= 1;
            }
            self.blank = true;
            at += found + 1;
        }
        (at, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;

    fn print(message: &str, top: Option<u32>) -> String {
        let run = |cut: usize| {
            let mut tx = Outbox::new(1);
            let mut stuffing = Stuffing::new(top);
            for piece in message.as_bytes().chunks(cut) {
                if !stuffing.put(piece, &mut tx) {
                    break;
                }
            }
            stuffing.end(&mut tx);
            String::from_utf8(tx.bytes().to_vec()).unwrap()
        };
        let whole = run(message.len().max(1));
        for cut in 1..message.len() {
            assert_eq!(run(cut), whole, "cut by {cut}");
        }
        whole
    }

    #[test]
    fn dots_are_stuffed_and_the_end_is_a_line() {
        assert_eq!(print("", None), ".\r\n");
        assert_eq!(print("a", None), "a\r\n.\r\n");
        assert_eq!(print(".\r\n..\r\na.b\r\n.c", None), "..\r\n...\r\na.b\r\n..c\r\n.\r\n");
        assert_eq!(print("a\n.\r\nb\r\n", None), "a\n..\r\nb\r\n.\r\n");
        assert_eq!(print("\r\n\r\n", None), "\r\n\r\n.\r\n");
    }

    #[test]
    fn the_top_ends_where_it_should() {
        let message = "A: b\r\nC: d\r\n\r\n1\r\n.2\r\n3";
        assert_eq!(print(message, Some(0)), "A: b\r\nC: d\r\n\r\n.\r\n");
        assert_eq!(print(message, Some(2)), "A: b\r\nC: d\r\n\r\n1\r\n..2\r\n.\r\n");
        assert_eq!(print(message, Some(3)), "A: b\r\nC: d\r\n\r\n1\r\n..2\r\n3\r\n.\r\n");
        assert_eq!(print(message, Some(u32::MAX)), "A: b\r\nC: d\r\n\r\n1\r\n..2\r\n3\r\n.\r\n");
        assert_eq!(print("\r\nbody\r\n", Some(0)), "\r\n.\r\n");
        assert_eq!(print("A: b\r\n", Some(0)), "A: b\r\n.\r\n");
    }
}
