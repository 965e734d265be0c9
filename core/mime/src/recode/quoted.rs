//! Quoted-printable (RFC 2045 §6.7), written.

use alloc::vec::Vec;

/// Longest line without its CRLF (RFC 2045 §6.7 rule 5), without the `=` of a soft line break.
const LINE: usize = 75;

/// Encodes text in the form it has on the wire: CRLF is a line break, any other CR or LF is content.
#[derive(Debug, Default)]
pub(super) struct Quoted {
    column: usize,
    /// White space that has to be encoded if the line ends behind it (rule 3).
    blank: Option<u8>,
    cr: bool,
}

impl Quoted {
    pub(super) fn put(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        for &byte in bytes {
            if core::mem::take(&mut self.cr) {
                if byte == b'\n' {
                    self.finish(out);
                    out.extend_from_slice(b"\r\n");
                    self.column = 0;
                    continue;
                }
                self.flush(out);
                self.escape(b'\r', out);
            }
            match byte {
                // The blank waits: it may end the line.
                b'\r' => self.cr = true,
                b' ' | b'\t' => {
                    self.flush(out);
                    self.blank = Some(byte);
                }
                // A line that begins where none did must not look like a boundary.
                b'-' if self.column + 1 + usize::from(self.blank.is_some()) > LINE - 2 => {
                    self.flush(out);
                    self.escape(byte, out);
                }
                b'!'..=b'~' if byte != b'=' => {
                    self.flush(out);
                    self.token(&[byte], out);
                }
                _ => {
                    self.flush(out);
                    self.escape(byte, out);
                }
            }
        }
    }

    /// The content is over, within a line or not.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        if let Some(blank) = self.blank.take() {
            self.escape(blank, out);
        }
        if core::mem::take(&mut self.cr) {
            self.escape(b'\r', out);
        }
    }

    /// Breaks the line softly, if there is one.
    pub(super) fn soft_break(&mut self, out: &mut Vec<u8>) {
        self.finish(out);
        if self.column > 0 {
            out.extend_from_slice(b"=\r\n");
            self.column = 0;
        }
    }

    fn flush(&mut self, out: &mut Vec<u8>) {
        if let Some(blank) = self.blank.take() {
            self.token(&[blank], out);
        }
    }

    fn escape(&mut self, byte: u8, out: &mut Vec<u8>) {
        const HEX: &[u8; 16] = b"0123456789ABCDEF";
        self.token(&[b'=', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]], out);
    }

    fn token(&mut self, token: &[u8], out: &mut Vec<u8>) {
        if self.column + token.len() > LINE {
            out.extend_from_slice(b"=\r\n");
            self.column = 0;
        }
        out.extend_from_slice(token);
        self.column += token.len();
    }
}
