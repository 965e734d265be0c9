//! What a server does for the mail of its users before it goes out (RFC 6409 §8): adds the fields that are missing and takes out those that are nobody's
//! business, while the header streams by.

use crate::beginning::{Beginning, is_mailbox_line};
use alloc::{boxed::Box, format, vec::Vec};
use mail::{Address, Stamp};

/// Fields that are taken out: who got blind copies (RFC 5322 §3.6.3), and what only the last host writes (RFC 5321 §4.4).
const DROPPED: [&str; 3] = ["bcc", "resent-bcc", "return-path"];

/// Fields that are added if they are missing, in the order in which they are written.
const NEEDED: [&str; 3] = ["from", "date", "message-id"];

/// What is known of a message that a user hands in.
#[derive(Debug, Clone, Copy)]
pub struct TidyFacts<'a> {
    /// Who it is from if it does not say; the envelope's sender, or the account.
    pub from: Option<&'a Address>,
    /// When it came.
    pub date: Stamp,
    /// What is only once on this host: the id in the log.
    pub id: &'a str,
    /// The name of this host.
    pub hostname: &'a str,
}

/// Tidies one header, whatever its line ends and however it is cut.
#[derive(Debug, Clone)]
pub struct Tidy {
    /// The needed fields that did not come so far.
    missing: [Option<Box<str>>; NEEDED.len()],
    state: State,
    held: Vec<u8>,
    /// Whether the field at hand is taken out.
    drop: bool,
    /// Whether a field has come.
    begun: bool,
    /// The last octet that was looked at.
    last: u8,
    /// Whether lines end in CRLF.
    crlf: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A line begins.
    Start,
    /// In what may be a name; it is held.
    Name,
    /// Behind the colon, or in a line that is left out.
    Value,
    /// The header is over.
    Body,
}

impl Tidy {
    /// For one message.
    pub fn new(facts: TidyFacts<'_>) -> Tidy {
        let from = facts.from.map(|address| format!("From: {address}").into());
        let date = format!("Date: {}", facts.date.header()).into();
        let id = format!("Message-ID: <{:x}.{}@{}>", facts.date.seconds, facts.id, facts.hostname).into();
        Tidy {
            missing: [from, Some(date), Some(id)],
            state: State::Start,
            held: Vec::new(),
            drop: false,
            begun: false,
            last: b'\n',
            crlf: false,
        }
    }

    /// For a message as it comes over the wire: also before a line has come, lines end in CRLF. One that stays octet by octet would have others in it.
    #[must_use]
    pub fn with_crlf(mut self) -> Tidy {
        self.crlf = true;
        self
    }

    /// Takes octets of the message and puts behind `out` what they become.
    pub fn feed(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        while let Some(&b) = bytes.first() {
            match self.state {
                State::Body => {
                    out.extend_from_slice(bytes);
                    return;
                }
                State::Value => {
                    let end = bytes.iter().position(|b| *b == b'\n');
                    let (line, rest) = bytes.split_at(end.map_or(bytes.len(), |at| at + 1));
                    if !self.drop {
                        out.extend_from_slice(line);
                    }
                    if let [.., before, b'\n'] = line {
                        self.last = *before;
                    }
                    if end.is_some() {
                        self.crlf = self.last == b'\r';
                        self.state = State::Start;
                    }
                    self.last = line[line.len() - 1];
                    bytes = rest;
                }
                State::Start if matches!(b, b' ' | b'\t') && self.begun => self.state = State::Value,
                State::Start => {
                    self.drop = false;
                    self.state = State::Name;
                }
                State::Name => {
                    self.held.push(b);
                    self.last = b;
                    bytes = &bytes[1..];
                    self.name(out);
                }
            }
        }
    }

    /// The message is over; puts behind `out` what is left of it.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        match self.state {
            State::Body => {}
            State::Name => self.end(out, *self.held != *b"\r"),
            State::Start | State::Value => {
                if self.last != b'\n' && !self.drop {
                    self.line_end(out);
                }
                self.end(out, false);
            }
        }
    }

    /// Whether the header is over, so that what comes now stays as it is and need not be fed.
    pub fn is_done(&self) -> bool {
        self.state == State::Body
    }

    /// Decides on what is held, once its last octet tells.
    fn name(&mut self, out: &mut Vec<u8>) {
        match Beginning::of(&self.held) {
            Beginning::Open => {}
            Beginning::Empty => self.end(out, false),
            Beginning::Field => self.field(out),
            // The line that a mailbox file puts before a message; mail programs of old hand it on.
            Beginning::Other if !self.begun && is_mailbox_line(&self.held) => {
                self.drop = true;
                self.held.clear();
                self.state = if self.last == b'\n' { State::Start } else { State::Value };
            }
            Beginning::Other => self.end(out, true),
        }
    }

    /// A field begins.
    fn field(&mut self, out: &mut Vec<u8>) {
        let name = self.held[..self.held.len() - 1].trim_ascii_end();
        let is = |other: &&str| name.eq_ignore_ascii_case(other.as_bytes());
        if let Some(at) = NEEDED.iter().position(&is) {
            self.missing[at] = None;
        }
        self.drop = DROPPED.iter().any(is);
        if !self.drop {
            out.extend_from_slice(&self.held);
        }
        self.held.clear();
        self.begun = true;
        self.state = State::Value;
    }

    /// The header ends: with an empty line, or, if it is `cut` short, with a line that is none of it and gets an empty one before it.
    fn end(&mut self, out: &mut Vec<u8>, cut: bool) {
        for missing in core::mem::take(&mut self.missing).into_iter().flatten() {
            out.extend_from_slice(missing.as_bytes());
            self.line_end(out);
        }
        if cut {
            self.line_end(out);
        }
        out.append(&mut self.held);
        self.state = State::Body;
    }

    fn line_end(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(if self.crlf { b"\r\n" } else { b"\n" });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::HELD_MAX;
    use alloc::string::String;

    const FROM: &str = "From: alice@here.test\n";
    const DATE: &str = "Date: Thu, 1 Jan 1970 00:00:00 +0000\n";
    const ID: &str = "Message-ID: <0.1f@mx.here.test>\n";

    fn tidied(message: &str, cut: usize) -> String {
        let alice = Address::new("alice", "here.test");
        let facts = TidyFacts { from: Some(&alice), date: Stamp::utc(0), id: "1f", hostname: "mx.here.test" };
        let (mut tidy, mut out) = (Tidy::new(facts), Vec::new());
        message.as_bytes().chunks(cut).for_each(|piece| tidy.feed(piece, &mut out));
        tidy.finish(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_is_missing_comes_and_what_is_private_goes() {
        let whole = "from: a@b\nDATE: x\nmessage-id: <y>\n";
        let cases = [
            ("", format!("{FROM}{DATE}{ID}")),
            ("\n", format!("{FROM}{DATE}{ID}\n")),
            ("Subject: x\n\nBcc: body\n", format!("Subject: x\n{FROM}{DATE}{ID}\nBcc: body\n")),
            ("From: a@b\nbcc: c@d,\n\te@f\nReturn-Path: <x>\nSubject: x\n y\n\nz", format!("From: a@b\nSubject: x\n y\n{DATE}{ID}\nz")),
            ("Bcc \t: c@d\nResent-Bcc: e@f\nX-Bcc: g\nBccc: h\n\n", format!("X-Bcc: g\nBccc: h\n{FROM}{DATE}{ID}\n")),
            ("Bcc: c@d", format!("{FROM}{DATE}{ID}")),
            ("Subject: x", format!("Subject: x\n{FROM}{DATE}{ID}")),
            // No header at all, or one that breaks off.
            ("Hello there\nAlice: hi\n", format!("{FROM}{DATE}{ID}\nHello there\nAlice: hi\n")),
            (" x: y\n", format!("{FROM}{DATE}{ID}\n x: y\n")),
            ("Subject: x\nHello\n\nyou", format!("Subject: x\n{FROM}{DATE}{ID}\nHello\n\nyou")),
            ("Hello", format!("{FROM}{DATE}{ID}\nHello")),
            ("From alice Thu Jan  1 00:00:00 1970\nSubject: x\n\n", format!("Subject: x\n{FROM}{DATE}{ID}\n")),
            ("Subject: x\n\rBcc: c@d\n\n", format!("Subject: x\n{FROM}{DATE}{ID}\n\rBcc: c@d\n\n")),
            ("From : a@b\nDate\t: x\n\n", format!("From : a@b\nDate\t: x\n{ID}\n")),
        ];
        for (message, want) in cases {
            for cut in [1, 2, 3, 1000] {
                assert_eq!(tidied(message, cut), want, "{message:?} cut at {cut}");
                // The lines that are added end as the others do, if there is one before them.
                if !message.starts_with(['\n', ' ']) && message.contains(":") && !message.contains("Hello") && message.ends_with('\n') {
                    assert_eq!(tidied(&message.replace('\n', "\r\n"), cut), want.replace('\n', "\r\n"), "{message:?} cut at {cut}");
                }
            }
        }
        let message = format!("{whole}\nFrom: z\n");
        assert_eq!(tidied(&message, 5), message, "what is in order stays as it is");
    }

    #[test]
    fn a_message_of_the_wire_without_a_header_gets_one_of_its_line_ends() {
        let facts = TidyFacts { from: None, date: Stamp::utc(0), id: "1f", hostname: "mx.here.test" };
        for cut in [1, 2, 100] {
            let (mut tidy, mut out) = (Tidy::new(facts).with_crlf(), Vec::new());
            b"Hello\nyou".chunks(cut).for_each(|piece| tidy.feed(piece, &mut out));
            tidy.finish(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), format!("{DATE}{ID}").replace('\n', "\r\n") + "\r\nHello\nyou");
        }
    }

    #[test]
    fn it_holds_no_more_than_a_line() {
        let facts = TidyFacts { from: None, date: Stamp::utc(0), id: "1", hostname: "x" };
        for piece in ["a", "a ", "Bcc ", " "] {
            let (mut tidy, mut out) = (Tidy::new(facts), Vec::new());
            for _ in 0..3000 {
                tidy.feed(piece.as_bytes(), &mut out);
                assert!(tidy.held.len() <= HELD_MAX);
            }
            assert!(tidy.is_done(), "{piece:?}");
        }
    }
}
