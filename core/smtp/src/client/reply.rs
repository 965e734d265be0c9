//! Reading replies (RFC 5321 §4.2).

use super::limits::{LINE_MAX, LINES_MAX, TEXT_MAX};
use super::office::Reply;
use alloc::string::String;
use wire::{Inbox, Lines, Scan};

/// Gathers the lines of a reply.
#[derive(Debug, Default)]
pub(super) struct Replies {
    finder: Lines,
    code: Option<u16>,
    status: Option<(u8, u16, u16)>,
    text: String,
    lines: u32,
}

/// What is no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Garbage {
    /// A line that does not begin with a code, or not with the code of the line before.
    Syntax,
    /// More lines, or longer ones, than anybody needs.
    Endless,
}

impl Replies {
    /// The next whole reply; nothing if more has to come. `each` sees the text of every line (EHLO lists its extensions so).
    pub(super) fn next(&mut self, rx: &mut Inbox, mut each: impl FnMut(u32, &str)) -> Result<Option<Reply>, Garbage> {
        loop {
            let len = match self.finder.find(rx, LINE_MAX) {
                // A lone line feed ends a line of a reply as well as any: nothing is taken for anything else by it.
                Scan::Line(len) | Scan::Bare(len) => len,
                Scan::Short => return Ok(None),
                Scan::Long => return Err(Garbage::Endless),
            };
            let line = rx.take(len);
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let (code, last, rest) = split(line).ok_or(Garbage::Syntax)?;
            if self.code.is_some_and(|before| before != code) {
                return Err(Garbage::Syntax);
            }
            if self.lines >= LINES_MAX {
                return Err(Garbage::Endless);
            }
            self.code = Some(code);
            let text = clean(rest);
            each(self.lines, &text);
            self.lines += 1;
            let (status, text) = enhanced(code, &text);
            self.status = self.status.or(status);
            if !self.text.is_empty() {
                self.text.push('\n');
            }
            self.text.push_str(text);
            if self.text.len() > TEXT_MAX {
                let mut end = TEXT_MAX;
                while !self.text.is_char_boundary(end) {
                    end -= 1;
                }
                self.text.truncate(end);
            }
            if last {
                let text = core::mem::take(&mut self.text).into_boxed_str();
                let status = self.status.take().unwrap_or(((code / 100) as u8, 0, 0));
                (self.code, self.lines) = (None, 0);
                return Ok(Some(Reply { code, status, text }));
            }
        }
    }
}

impl Reply {
    /// What is said where a peer said nothing.
    pub(super) fn own(code: u16, status: (u8, u16, u16), text: &str) -> Reply {
        Reply { code, status, text: text.into() }
    }

    /// Whether it says that something was done.
    pub fn is_good(&self) -> bool {
        self.code / 100 == 2
    }

    /// Whether it is final. 552 for too many recipients is not (RFC 5321 §4.5.3.1.10), which the caller knows.
    pub fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }
}

/// Code, whether the line is the last, and the text behind.
fn split(line: &[u8]) -> Option<(u16, bool, &[u8])> {
    let digits = line.get(..3)?;
    if !(b'2'..=b'5').contains(&digits[0]) || !digits[1..].iter().all(u8::is_ascii_digit) {
        return None;
    }
    let code = digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
    match line.get(3) {
        // Some servers leave out the space when there is no text.
        None => Some((code, true, &[])),
        Some(b' ') => Some((code, true, &line[4..])),
        Some(b'-') => Some((code, false, &line[4..])),
        Some(_) => None,
    }
}

/// The text as it may stand in a log, a report or a terminal.
fn clean(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// An enhanced status code at the beginning of a text (RFC 2034 §4), and the text behind it.
fn enhanced(code: u16, text: &str) -> (Option<(u8, u16, u16)>, &str) {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    let mut parts =
        word.split('.').map(|part| part.parse::<u16>().ok().filter(|_| part.len() <= 3 && part.bytes().all(|b| b.is_ascii_digit())));
    let (Some(Some(class)), Some(Some(subject)), Some(Some(detail)), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return (None, text);
    };
    // Class and code must agree; one that contradicts is worth nothing.
    if class == code / 100 { (Some((class as u8, subject, detail)), rest) } else { (None, text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: &[u8]) -> Result<Option<Reply>, Garbage> {
        let mut whole = None;
        for cut in [1, 3, input.len().max(1)] {
            let (mut rx, mut replies) = (Inbox::new(8192), Replies::default());
            let mut got = Ok(None);
            'all: for chunk in input.chunks(cut) {
                rx.spare()[..chunk.len()].copy_from_slice(chunk);
                rx.filled(chunk.len());
                got = replies.next(&mut rx, |_, _| {});
                if !matches!(got, Ok(None)) {
                    break 'all;
                }
            }
            if let Some(before) = &whole {
                assert_eq!(&got, before, "cut into {cut}");
            }
            whole = Some(got);
        }
        whole.unwrap_or(Ok(None))
    }

    #[test]
    fn replies_of_every_shape() {
        let reply = |code, status, text: &str| Ok(Some(Reply { code, status, text: text.into() }));
        assert_eq!(read(b"250 2.1.0 fine\r\n"), reply(250, (2, 1, 0), "fine"));
        assert_eq!(read(b"250\r\n"), reply(250, (2, 0, 0), ""));
        assert_eq!(read(b"550-5.7.1 no\r\n550 5.7.1 never\r\n"), reply(550, (5, 7, 1), "no\nnever"));
        assert_eq!(read(b"450 5.7.1 which?\n"), reply(450, (4, 0, 0), "5.7.1 which?"));
        assert_eq!(read(b"550 +5.1.1 x\r\n"), reply(550, (5, 0, 0), "+5.1.1 x"));
        assert_eq!(read(b"550 1.2.3.4 is listed\r\n"), reply(550, (5, 0, 0), "1.2.3.4 is listed"));
        assert_eq!(read(b"220 a\x1b[1m\xff\r\n"), reply(220, (2, 0, 0), "a?[1m\u{fffd}"));
        assert_eq!(read(b"250-x\r\n"), Ok(None));
    }

    #[test]
    fn what_is_no_reply() {
        for bad in [&b"hello\r\n"[..], b"\r\n", b"25 x\r\n", b"250-a\r\n251 b\r\n", b"199 x\r\n", b"250_x\r\n", b"600 x\r\n"] {
            assert_eq!(read(bad), Err(Garbage::Syntax), "{bad:?}");
        }
        let mut endless = b"250-x\r\n".repeat(LINES_MAX as usize + 1);
        endless.extend_from_slice(b"250 y\r\n");
        let (mut rx, mut replies) = (Inbox::new(64 << 10), Replies::default());
        rx.spare()[..endless.len()].copy_from_slice(&endless);
        rx.filled(endless.len());
        assert_eq!(replies.next(&mut rx, |_, _| {}), Err(Garbage::Endless));
    }
}
