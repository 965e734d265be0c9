//! Finding a line without looking at any byte twice.

use crate::Inbox;

/// Finds CRLF-terminated lines at the front of an inbox and remembers how far it looked, so a line that drips in
/// byte by byte costs O(n).
#[derive(Debug, Default, Clone, Copy)]
pub struct Lines {
    seen: usize,
}

/// What is at the front of the inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scan {
    /// A whole line of that many bytes, its CRLF included. Take exactly these.
    Line(usize),
    /// A line feed that no carriage return precedes ends these bytes. Whether that is a line is the protocol's matter.
    Bare(usize),
    /// Not yet a line.
    Short,
    /// No line end within the limit. Everything that was looked at may be taken and dropped.
    Long,
}

impl Lines {
    /// A finder at the start of a line.
    pub const fn new() -> Lines {
        Lines { seen: 0 }
    }

    /// Looks for the end of the first line, of at most `limit` bytes with its CRLF. After `Line`, `Bare` or `Long` the finder stands at
    /// the front again, so take the bytes before asking anew.
    pub fn find(&mut self, rx: &Inbox, limit: usize) -> Scan {
        let bytes = rx.bytes();
        let bytes = &bytes[..bytes.len().min(limit)];
        match memchr::memchr(b'\n', &bytes[self.seen.min(bytes.len())..]) {
            Some(at) => {
                let len = self.seen + at + 1;
                self.seen = 0;
                if len >= 2 && bytes[len - 2] == b'\r' { Scan::Line(len) } else { Scan::Bare(len) }
            }
            None if bytes.len() == limit || rx.is_full() => {
                self.seen = 0;
                Scan::Long
            }
            None => {
                self.seen = bytes.len();
                Scan::Short
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_however_it_arrives() {
        let mut rx = Inbox::new(64);
        let mut lines = Lines::new();
        for (i, b) in b"NOOP\r\n".iter().enumerate() {
            assert_eq!(lines.find(&rx, 32), Scan::Short, "after {i} bytes");
            rx.spare()[0] = *b;
            rx.filled(1);
        }
        assert_eq!(lines.find(&rx, 32), Scan::Line(6));
        rx.take(6);
        rx.spare()[..4].copy_from_slice(b"ab\nc");
        rx.filled(4);
        assert_eq!(lines.find(&rx, 32), Scan::Bare(3));
    }

    #[test]
    fn a_line_without_end_is_long() {
        let mut rx = Inbox::new(16);
        rx.spare().fill(b'x');
        rx.filled(16);
        assert_eq!(Lines::new().find(&rx, 32), Scan::Long);
        assert_eq!(Lines::new().find(&rx, 8), Scan::Long);
    }
}
