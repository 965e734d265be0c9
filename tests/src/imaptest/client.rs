//! A connection that speaks IMAP: whole replies out of bytes, commands with literals.

use super::args::{self, Arg, announced};

/// A connection to somebody.
pub trait Wire {
    /// Sends bytes.
    ///
    /// # Errors
    /// Says why not.
    fn send(&mut self, bytes: &[u8]) -> Result<(), String>;

    /// Waits for bytes.
    ///
    /// # Errors
    /// If none come.
    fn receive(&mut self) -> Result<Vec<u8>, String>;
}

/// One reply.
#[derive(Debug)]
pub enum Line {
    /// `* ...`
    Untagged(Vec<Arg>),
    /// `+ ...`
    Continue,
    /// The tag and what follows it.
    Tagged(String, Vec<Arg>),
}

/// A client on a connection.
pub struct Client {
    wire: Box<dyn Wire>,
    bytes: Vec<u8>,
    tags: u32,
    name: usize,
    /// How many messages the selected mailbox has.
    pub exists: u32,
}

impl Client {
    /// On a fresh connection; `name` is for its tags.
    pub fn new(wire: Box<dyn Wire>, name: usize) -> Client {
        Client { wire, bytes: Vec::new(), tags: 0, name, exists: 0 }
    }

    /// Waits for the next reply and keeps count of messages.
    ///
    /// # Errors
    /// If none comes or it cannot be understood.
    pub fn hear(&mut self) -> Result<Line, String> {
        let end = loop {
            if let Some(end) = whole(&self.bytes) {
                break end;
            }
            let more = self.wire.receive()?;
            self.bytes.extend_from_slice(&more);
        };
        let reply: Vec<u8> = self.bytes.drain(..end).collect();
        let reply = &reply[..reply.len() - 2];
        if reply.starts_with(b"+") {
            return Ok(Line::Continue);
        }
        let (tag, rest) =
            reply.split_at(reply.iter().position(|b| *b == b' ').ok_or_else(|| format!("no reply: {}", reply.escape_ascii()))?);
        let args = arguments(&rest[1..])?;
        if tag != b"*" {
            return Ok(Line::Tagged(String::from_utf8_lossy(tag).into_owned(), args));
        }
        if let [Arg::Atom(number), name, ..] = args.as_slice() {
            let number = std::str::from_utf8(number).ok().and_then(|n| n.parse().ok());
            match number {
                Some(number) if name.is("EXISTS") => self.exists = number,
                Some(_) if name.is("EXPUNGE") => self.exists = self.exists.saturating_sub(1),
                _ => {}
            }
        }
        Ok(Line::Untagged(args))
    }

    /// Sends a command, waiting for leave before each literal that asks for it; replies that come meanwhile go to `heard`. Returns the tag,
    /// and the tagged reply if it came instead of leave.
    ///
    /// # Errors
    /// If the connection fails.
    pub fn command(&mut self, text: &[u8], heard: &mut dyn FnMut(Vec<Arg>)) -> Result<(String, Option<Vec<Arg>>), String> {
        self.tags += 1;
        let tag = format!("t{}.{}", self.name, self.tags);
        let mut bytes = [tag.as_bytes(), b" ", text, b"\r\n"].concat();
        // Each pass sends up to the next literal that waits.
        loop {
            let mut from = 0;
            let stop = loop {
                let Some(line) = bytes[from..].windows(2).position(|w| w == b"\r\n") else { break None };
                match announced(&bytes[from..from + line]) {
                    Some((_, true)) => break Some(from + line + 2),
                    Some((size, false)) => from += line + 2 + size,
                    None => break None,
                }
            };
            let Some(stop) = stop else {
                self.wire.send(&bytes)?;
                return Ok((tag, None));
            };
            let (size, _) = announced(&bytes[from..stop - 2]).unwrap_or_default();
            self.wire.send(&bytes[..stop])?;
            loop {
                match self.hear()? {
                    Line::Continue => break,
                    Line::Untagged(args) => heard(args),
                    Line::Tagged(t, args) if t == tag => return Ok((tag, Some(args))),
                    Line::Tagged(t, _) => return Err(format!("a reply to {t} instead of leave for a literal")),
                }
            }
            let literal = bytes[stop..stop + size].to_vec();
            self.wire.send(&literal)?;
            bytes.drain(..stop + size);
        }
    }

    /// Sends a command and waits for its reply, which must be OK. Returns the untagged replies.
    ///
    /// # Errors
    /// If it is not.
    pub fn ok(&mut self, text: &[u8]) -> Result<Vec<Vec<Arg>>, String> {
        let mut untagged = Vec::new();
        let reply = self.finish(text, &mut |args| untagged.push(args))?;
        if reply.first().is_some_and(|a| a.is("OK")) {
            Ok(untagged)
        } else {
            Err(format!("{} got {}", text.escape_ascii(), args::show(&reply)))
        }
    }

    /// Sends a command and returns its tagged reply, whatever it is.
    ///
    /// # Errors
    /// If none comes.
    pub fn reply(&mut self, text: &[u8]) -> Result<Vec<Arg>, String> {
        self.finish(text, &mut drop)
    }

    fn finish(&mut self, text: &[u8], heard: &mut dyn FnMut(Vec<Arg>)) -> Result<Vec<Arg>, String> {
        let (tag, mut reply) = self.command(text, heard)?;
        loop {
            if let Some(reply) = reply {
                return Ok(reply);
            }
            match self.hear()? {
                Line::Untagged(args) => heard(args),
                Line::Tagged(t, args) if t == tag => reply = Some(args),
                other => return Err(format!("unexpected {other:?}")),
            }
        }
    }
}

/// Free text after OK, NO, BAD, BYE and PREAUTH may hold anything; only words and the response code are of interest.
fn arguments(rest: &[u8]) -> Result<Vec<Arg>, String> {
    let word = rest.split(|b| *b == b' ').next().unwrap_or_default();
    if [&b"OK"[..], b"NO", b"BAD", b"BYE", b"PREAUTH"].iter().any(|w| word.eq_ignore_ascii_case(w)) {
        let words = |text: &[u8]| text.split(|b| *b == b' ').filter(|w| !w.is_empty()).map(|w| Arg::Atom(w.to_vec())).collect();
        return Ok(args::parse(rest).unwrap_or_else(|_| words(rest)));
    }
    args::parse(rest)
}

/// The length of the first reply with its literals, if it is all there.
fn whole(bytes: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let line = bytes[from..].windows(2).position(|w| w == b"\r\n")?;
        match announced(&bytes[from..from + line]) {
            Some((size, _)) if !bytes.starts_with(b"+") => {
                from += line + 2 + size;
                if from > bytes.len() {
                    return None;
                }
            }
            _ => return Some(from + line + 2),
        }
    }
}
