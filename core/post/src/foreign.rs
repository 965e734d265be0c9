//! The header of a message that comes from elsewhere: our trace fields go before it, and nothing of the message may become part of them.

use crate::beginning::{Beginning, is_mailbox_line};
use alloc::vec::Vec;

/// What the line of a mailbox file becomes: it is no field, and would end the header for who reads strictly.
const MAILBOX_LINE: &[u8] = b"X-Mailbox-Line: ";

/// Passes a message on as it is, but for two things: a message without a header gets the empty line that ends ours, and a `Return-Path:` of another host
/// goes if the message is delivered here (RFC 5321 §4.4). However the message is cut, it becomes the same.
#[derive(Debug, Clone)]
pub struct Foreign {
    /// Whether a `Return-Path:` is taken out.
    is_final: bool,
    state: State,
    held: Vec<u8>,
    /// Whether the field at hand is taken out.
    drop: bool,
    /// Whether a field has come, which a line that begins with a blank goes on.
    begun: bool,
    /// Whether a field has stayed.
    kept: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A line begins.
    Start,
    /// In what may be a name; it is held.
    Name,
    /// In the rest of a line.
    Value,
    /// The header is over.
    Body,
}

impl Foreign {
    /// For one message; `is_final` if this host delivers it. One that only passes through keeps what others wrote.
    pub fn new(is_final: bool) -> Foreign {
        Foreign { is_final, state: State::Start, held: Vec::new(), drop: false, begun: false, kept: false }
    }

    /// Whether the header is over, so that what comes now stays as it is and need not be fed.
    pub fn is_done(&self) -> bool {
        self.state == State::Body
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
                    if end.is_some() {
                        self.state = State::Start;
                    }
                    bytes = rest;
                }
                State::Start if matches!(b, b' ' | b'\t') && self.begun => self.state = State::Value,
                State::Start => {
                    self.drop = false;
                    self.state = State::Name;
                }
                State::Name => {
                    self.held.push(b);
                    bytes = &bytes[1..];
                    self.name(out);
                }
            }
        }
    }

    /// The message is over; puts behind `out` what is left of it.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if self.state == State::Name {
            self.other(out);
        }
    }

    /// Decides on what is held, once its last octet tells.
    fn name(&mut self, out: &mut Vec<u8>) {
        match Beginning::of(&self.held) {
            Beginning::Open => {}
            Beginning::Empty => {
                out.append(&mut self.held);
                self.state = State::Body;
            }
            Beginning::Field => {
                let name = self.held[..self.held.len() - 1].trim_ascii_end();
                self.drop = self.is_final && name.eq_ignore_ascii_case(b"return-path");
                self.begun = true;
                self.kept |= !self.drop;
                if !self.drop {
                    out.extend_from_slice(&self.held);
                }
                self.held.clear();
                self.state = State::Value;
            }
            Beginning::Other if !self.begun && is_mailbox_line(&self.held) => {
                out.extend_from_slice(MAILBOX_LINE);
                self.pass(out);
            }
            Beginning::Other => self.other(out),
        }
    }

    /// A line that is no field. Behind fields it is theirs to explain; before any it is content.
    fn other(&mut self, out: &mut Vec<u8>) {
        if self.kept {
            self.pass(out);
            return;
        }
        if *self.held != *b"\r" {
            out.extend_from_slice(b"\r\n");
        }
        out.append(&mut self.held);
        self.state = State::Body;
    }

    fn pass(&mut self, out: &mut Vec<u8>) {
        self.state = if self.held.ends_with(b"\n") { State::Start } else { State::Value };
        out.append(&mut self.held);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::HELD_MAX;
    use alloc::string::String;

    fn passed(message: &str, is_final: bool, cut: usize) -> String {
        let (mut foreign, mut out) = (Foreign::new(is_final), Vec::new());
        message.as_bytes().chunks(cut).for_each(|piece| foreign.feed(piece, &mut out));
        foreign.finish(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn nothing_becomes_part_of_our_fields() {
        let cases = [
            ("", ""),
            ("\r\n", "\r\n"),
            ("\r\n x\r\n", "\r\n x\r\n"),
            // What is in order stays as it is, and so does what stands behind a field.
            ("Subject: x\r\n y\r\n\r\nReturn-Path: body\r\n", "Subject: x\r\n y\r\n\r\nReturn-Path: body\r\n"),
            ("Subject : x\r\nHello you\r\nTo: y\r\n\r\nz", "Subject : x\r\nHello you\r\nTo: y\r\n\r\nz"),
            ("Subject: x", "Subject: x"),
            // No header.
            ("Hello\r\nTo: you\r\n", "\r\nHello\r\nTo: you\r\n"),
            ("Hello Bob: hi\r\n", "\r\nHello Bob: hi\r\n"),
            (" folds\r\n", "\r\n folds\r\n"),
            ("\tfolds\r\nTo: x\r\n\r\n", "\r\n\tfolds\r\nTo: x\r\n\r\n"),
            (" \r\n\r\n", "\r\n \r\n\r\n"),
            (": x\r\n", "\r\n: x\r\n"),
            ("Grüße\r\n", "\r\nGrüße\r\n"),
            ("Hello", "\r\nHello"),
            ("\rTo: x\r\n", "\r\n\rTo: x\r\n"),
            ("\r", "\r"),
            // The line of a mailbox file is no field and no content.
            ("From a Thu Jan  1\r\nTo: x\r\n\r\n", "X-Mailbox-Line: From a Thu Jan  1\r\nTo: x\r\n\r\n"),
            ("From a\r\n b\r\n", "X-Mailbox-Line: From a\r\n\r\n b\r\n"),
            ("From here on\r\nall is text\r\n", "X-Mailbox-Line: From here on\r\n\r\nall is text\r\n"),
        ];
        for (message, want) in cases {
            for cut in [1, 2, 3, 1000] {
                for is_final in [true, false] {
                    assert_eq!(passed(message, is_final, cut), want, "{message:?} cut at {cut}");
                }
            }
        }
    }

    #[test]
    fn a_path_of_another_host_goes_where_mail_is_delivered() {
        let cases = [
            ("Return-Path: <x>\r\nTo: y\r\n\r\n", "To: y\r\n\r\n"),
            ("To: y\r\nRETURN-PATH \t: <x>\r\n\t(a)\r\n  b\r\nCc: z\r\n\r\n", "To: y\r\nCc: z\r\n\r\n"),
            ("To: y\r\nno field\r\nReturn-Path: <x>\r\n\r\n", "To: y\r\nno field\r\n\r\n"),
            ("Return-Path: <x>\r\n y\r\nHello\r\n", "\r\nHello\r\n"),
            ("Return-Path: <x>\r\nReturn-Path: <y>\r\n\r\nbody", "\r\nbody"),
            ("Return-Path: <x>", ""),
            ("X-Return-Path: <x>\r\nReturn-Paths: <y>\r\n", "X-Return-Path: <x>\r\nReturn-Paths: <y>\r\n"),
        ];
        for (message, want) in cases {
            for cut in [1, 2, 3, 1000] {
                assert_eq!(passed(message, true, cut), want, "{message:?} cut at {cut}");
                assert_eq!(passed(message, false, cut), message, "what passes through keeps it");
            }
        }
    }

    #[test]
    fn it_holds_no_more_than_a_line() {
        for piece in ["a", "a ", "Return-Path ", " "] {
            for start in ["", "To: x\r\n"] {
                let (mut foreign, mut out) = (Foreign::new(true), Vec::new());
                foreign.feed(start.as_bytes(), &mut out);
                for _ in 0..3000 {
                    foreign.feed(piece.as_bytes(), &mut out);
                    assert!(foreign.held.len() <= HELD_MAX);
                }
            }
        }
    }
}
