//! Reading messages as they go over a wire: CRLF where the file has LF.

use super::state::Mailbox;
use crate::disk::{File, How};
use imap::Refusal;
use mail::{Span, Uid};

use super::limits;

/// Where a session is in the message it reads, so that reading it piece by piece looks at each byte once. One for each session; it may be
/// used with any mailbox, and rests (no memory, no open file) when it has come to the end of a piece.
#[derive(Default)]
pub struct Cursor {
    open: Option<Open>,
}

struct Open {
    mailbox: u64,
    uid: Uid,
    file: Box<dyn File>,
    span: Span,
    /// Wire octets of the span before the position.
    wire: u64,
    /// Stored bytes of the span before the position.
    stored: u64,
    line: Line,
}

/// Where the conversion of line ends is.
#[derive(Clone, Copy, Default)]
struct Line {
    /// The last byte was a CR.
    cr: bool,
    /// The CR of a bare LF is out, the LF is not.
    half: bool,
}

impl Cursor {
    /// Closes the file.
    pub fn rest(&mut self) {
        self.open = None;
    }
}

impl Mailbox {
    /// Fills `buf` up to its capacity with wire octets of `span` of a message, from octet `at` of the span on. Less is the end of the span.
    ///
    /// # Errors
    /// [`Refusal::Gone`] if the message is gone, a fault of the disk, or the mailbox was removed.
    pub fn read(&self, cursor: &mut Cursor, uid: Uid, span: Span, at: u64, mut buf: Vec<u8>) -> Result<Vec<u8>, Refusal> {
        buf.clear();
        let want = u64::try_from(buf.capacity()).unwrap_or(u64::MAX).min(span.wire.saturating_sub(at)) as usize;
        if want == 0 {
            return Ok(buf);
        }
        let same = |open: &mut Open| open.mailbox == self.id && open.uid == uid;
        let mut open = match cursor.open.take_if(same) {
            Some(open) => open,
            None => {
                let (file, _) = self.with_file(uid, |disk, path| disk.open(path, How::Read))?.ok_or(Refusal::Gone)?;
                Open { mailbox: self.id, uid, file, span, wire: 0, stored: 0, line: Line::default() }
            }
        };
        if open.span != span || open.wire > at {
            (open.span, open.wire, open.stored, open.line) = (span, 0, 0, Line::default());
        }
        open.fill(at, want, &mut buf).map_err(|error| {
            tracing::error!(mailbox = %self.name(), uid = uid.get(), %error, "a message cannot be read");
            Refusal::Fault(wire::Fault::Later)
        })?;
        if at + (buf.len() as u64) < span.wire {
            cursor.open = Some(open);
        }
        Ok(buf)
    }
}

impl Open {
    fn fill(&mut self, at: u64, want: usize, buf: &mut Vec<u8>) -> std::io::Result<()> {
        if self.span.wire == self.span.len {
            // Stored as it is sent.
            (self.stored, self.wire) = (at, at);
        }
        let mut piece = Vec::new();
        while buf.len() < want {
            let left = usize::try_from(self.span.len - self.stored).unwrap_or(usize::MAX);
            if left == 0 && !self.line.half {
                break;
            }
            let skip = at.saturating_sub(self.wire);
            // A stored byte makes one or two on the wire.
            let most = if skip > 0 { limits::PIECE } else { (want - buf.len()).min(limits::PIECE) };
            piece.resize(left.min(most), 0);
            let n = self.file.read_at(&mut piece, self.span.at + self.stored)?;
            if n == 0 && !self.line.half {
                break;
            }
            let (used, made) = if skip > 0 {
                self.line.expand(&piece[..n], skip, &mut |_| {})
            } else {
                self.line.expand(&piece[..n], (want - buf.len()) as u64, &mut |bytes| buf.extend_from_slice(bytes))
            };
            self.stored += used as u64;
            self.wire += made;
        }
        Ok(())
    }
}

impl Line {
    /// Converts stored bytes until `room` octets are made. Returns how many bytes were used up and how many octets were made.
    fn expand(&mut self, bytes: &[u8], room: u64, out: &mut dyn FnMut(&[u8])) -> (usize, u64) {
        let (mut used, mut left) = (0, room);
        if self.half && left > 0 {
            // Of an LF that is still the first byte to come.
            self.half = false;
            self.cr = false;
            out(b"\n");
            left -= 1;
            used = 1;
        }
        while used < bytes.len() && left > 0 {
            let rest = &bytes[used..];
            let feed = memchr::memchr(b'\n', rest);
            let text = &rest[..feed.unwrap_or(rest.len()).min(usize::try_from(left).unwrap_or(usize::MAX))];
            if let Some(last) = text.last() {
                out(text);
                self.cr = *last == b'\r';
                used += text.len();
                left -= text.len() as u64;
                continue;
            }
            if self.cr {
                out(b"\n");
            } else if left == 1 {
                out(b"\r");
                self.half = true;
                return (used, room);
            } else {
                out(b"\r\n");
                left -= 1;
            }
            self.cr = false;
            used += 1;
            left -= 1;
        }
        (used, room - left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for (i, &b) in bytes.iter().enumerate() {
            if b == b'\n' && (i == 0 || bytes[i - 1] != b'\r') {
                out.push(b'\r');
            }
            out.push(b);
        }
        out
    }

    #[test]
    fn however_it_is_cut_it_is_the_same() {
        for text in [&b"a\nb\r\nc\n\n\r\r\n\rx\n"[..], b"\n", b"\r\n", b"abc", b"\n\n\n", b"a\r"] {
            let whole = wire(text);
            for in_cut in 1..=text.len() {
                for out_cut in 1..=whole.len() {
                    let (mut line, mut got, mut used) = (Line::default(), Vec::new(), 0);
                    while got.len() < whole.len() {
                        let end = text.len().min(used + in_cut);
                        let (n, made) = line.expand(&text[used..end], out_cut as u64, &mut |b| got.extend_from_slice(b));
                        assert!(made <= out_cut as u64);
                        used += n;
                    }
                    assert_eq!(got, whole, "{text:?} {in_cut} {out_cut}");
                }
            }
        }
    }
}
