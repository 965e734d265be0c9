//! A message on its way in: from the octets of the wire to the bytes that are stored.

use crate::{
    limits::INLINE_MAX,
    space::Claim,
    spool::{Entry, Large, Spool},
};
use post::{Foreign, Hops};
use std::{io, sync::Arc};

/// How what comes becomes what is stored.
pub enum Form {
    /// Lines: CRLF becomes LF.
    Lines,
    /// Octet by octet: a binary message that only passes through (RFC 3030 §3).
    Exact,
    /// A binary message becomes one of lines. Mailboxes hold no other: POP3 and IMAP cannot say what has a NUL in it (RFC 3501 §4.3.1).
    Converted(Box<mime::Recoder>),
}

/// Takes a message in, byte by byte: lines get their form, hops are counted, the structure is found, and what does not fit into memory goes to disk.
pub struct Intake {
    entry: Entry<Arc<Spool>>,
    form: Form,
    /// What keeps the header of a message from elsewhere apart from what is written ahead of it, until that header is over.
    foreign: Option<Foreign>,
    held: Vec<u8>,
    large: Option<Large>,
    /// A carriage return at the end of the last piece, not yet written: a line feed may follow.
    cr: bool,
    /// Octets that came over the wire.
    received: u64,
    stored: u64,
    largest: u64,
    hops: Hops,
    eight_bit: bool,
    utf8_header: bool,
    scanner: mime::Scanner,
    obstacle: Option<mime::Obstacle>,
    failed: Option<io::Error>,
    claim: Claim,
}

/// A message that is whole.
pub struct Taken {
    /// Its entry in the spool, not committed. Dropped as it is, it takes the file of a large message with it.
    pub entry: Entry<Arc<Spool>>,
    /// Where it is.
    pub content: Content,
    /// What it is made of.
    pub structure: mime::Structure,
    /// Bytes as stored.
    pub stored: u64,
    hops: Hops,
    /// Whether it holds octets beyond ASCII.
    pub eight_bit: bool,
    /// Whether its header does.
    pub utf8_header: bool,
    /// Whether it is stored as it came, and not made of lines.
    pub exact: bool,
    /// What it takes while it is not promised.
    _claim: Claim,
}

/// Where a message that was taken in is.
pub enum Content {
    /// In memory.
    Inline(Vec<u8>),
    /// In the entry's large file, durable by now.
    Large {
        /// Its CRC-32.
        sum: u32,
    },
}

/// Why a message cannot be taken in.
#[derive(Debug)]
pub enum Refused {
    /// More octets than allowed.
    TooLarge,
    /// It is binary, and cannot be made into lines.
    Binary(mime::Obstacle),
    /// The disk did not take it.
    Disk(io::Error),
}

impl Taken {
    /// Whether it has been handed on too often.
    pub fn is_loop(&self) -> bool {
        self.hops.is_loop()
    }

    /// Whether it went to this address here before.
    pub fn was_delivered_to(&self, address: &mail::Address) -> bool {
        self.hops.was_delivered_to(address)
    }
}

impl Intake {
    /// Begins with `ahead`, whose lines end in LF, and allows `largest` octets after it.
    pub(crate) fn new(entry: Entry<Arc<Spool>>, form: Form, ahead: &str, largest: u64, claim: Claim) -> Intake {
        let mut intake = Intake {
            entry,
            form,
            foreign: None,
            held: Vec::with_capacity(ahead.len() + 2048),
            large: None,
            cr: false,
            received: 0,
            stored: 0,
            largest,
            hops: Hops::default(),
            eight_bit: false,
            utf8_header: false,
            scanner: mime::Scanner::new(),
            obstacle: None,
            failed: None,
            claim,
        };
        match intake.form {
            Form::Exact => intake.store(ahead.replace('\n', "\r\n").as_bytes()),
            Form::Lines | Form::Converted(_) => intake.store(ahead.as_bytes()),
        }
        intake
    }

    /// The message is one of others: see [`Foreign`]. `is_final` if it is delivered here.
    #[must_use]
    pub fn of_others(mut self, is_final: bool) -> Intake {
        self.foreign = Some(Foreign::new(is_final));
        self
    }

    /// Takes octets as they came. Only these count for how large it may be: what is added here is not for its sender to know.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.received += bytes.len() as u64;
        match &mut self.foreign {
            None => self.take(bytes),
            Some(foreign) => {
                let mut passed = Vec::with_capacity(bytes.len() + 2);
                foreign.feed(bytes, &mut passed);
                if foreign.is_done() {
                    self.foreign = None;
                }
                self.take(&passed);
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        if self.is_refused() {
            self.held = Vec::new();
            self.claim.hold(0);
            return;
        }
        match &mut self.form {
            Form::Lines => self.lines(bytes),
            Form::Exact => {
                self.look(bytes);
                self.store(bytes);
            }
            Form::Converted(recoder) => {
                let mut lines = Vec::new();
                self.obstacle = recoder.feed(bytes, &mut lines).err();
                self.lines(&lines);
            }
        }
    }

    /// Learns what octets tell about the message.
    fn look(&mut self, bytes: &[u8]) {
        if !bytes.is_ascii() {
            // Where the header ends within these bytes is known by who counts hops; looked at before, it may call a body a header that begins here.
            self.eight_bit = true;
            self.utf8_header |= self.hops.is_in_header() && header_is_not_ascii(bytes);
        }
        self.hops.feed(bytes);
    }

    /// Stores lines.
    fn lines(&mut self, mut bytes: &[u8]) {
        self.look(bytes);
        if self.cr && !bytes.is_empty() {
            self.cr = false;
            if bytes[0] != b'\n' {
                self.store(b"\r");
            }
        }
        while let Some(at) = memchr::memchr(b'\r', bytes) {
            match bytes.get(at + 1) {
                Some(b'\n') => {
                    self.store(&bytes[..at]);
                    bytes = &bytes[at + 1..];
                }
                Some(_) => {
                    self.store(&bytes[..=at]);
                    bytes = &bytes[at + 1..];
                }
                None => {
                    self.store(&bytes[..at]);
                    self.cr = true;
                    return;
                }
            }
        }
        self.store(bytes);
    }

    /// Octets that came so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Whether nothing of it is kept any more.
    fn is_refused(&self) -> bool {
        self.received > self.largest || self.failed.is_some() || self.obstacle.is_some()
    }

    /// Whether [`Intake::drain`] should be called before more comes.
    pub fn is_full(&self) -> bool {
        if self.is_refused() { self.large.is_some() } else { self.held.len() > self.claim.most_held() }
    }

    /// Moves what is held to disk. A failure is kept until the end.
    pub fn drain(&mut self) {
        if let Err(error) = self.try_drain() {
            self.failed.get_or_insert(error);
            self.held = Vec::new();
        }
        if self.is_refused()
            && let Some(large) = self.large.take()
            && let Err(error) = large.discard()
        {
            tracing::warn!(%error, "what was written of a refused message stays until its file is removed");
        }
        self.claim.hold(self.held.capacity());
    }

    fn try_drain(&mut self) -> io::Result<()> {
        if self.is_refused() || self.held.is_empty() {
            return Ok(());
        }
        self.claim.write(self.held.len() as u64)?;
        let large = match &mut self.large {
            Some(large) => large,
            none => none.insert(self.entry.large()?),
        };
        large.append(&self.held)?;
        self.held.clear();
        self.held.shrink_to(INLINE_MAX.min(self.claim.most_held()));
        Ok(())
    }

    /// The message is whole.
    ///
    /// # Errors
    /// Says why it cannot be kept. What was written of it goes with its entry.
    pub fn finish(mut self) -> Result<Taken, Refused> {
        if let Some(mut foreign) = self.foreign.take() {
            let mut passed = Vec::new();
            foreign.finish(&mut passed);
            self.take(&passed);
        }
        let exact = matches!(self.form, Form::Exact);
        if let Form::Converted(recoder) = std::mem::replace(&mut self.form, Form::Lines)
            && self.obstacle.is_none()
        {
            let mut lines = Vec::new();
            self.obstacle = recoder.finish(&mut lines).err();
            self.lines(&lines);
        }
        if self.cr {
            self.store(b"\r");
        }
        if self.received > self.largest {
            return Err(Refused::TooLarge);
        }
        if let Some(obstacle) = self.obstacle {
            return Err(Refused::Binary(obstacle));
        }
        if self.large.is_some() {
            self.drain();
        }
        if let Some(error) = self.failed {
            return Err(Refused::Disk(error));
        }
        let content = match self.large {
            None => Content::Inline(self.held),
            Some(large) => {
                let sum = large.sum();
                large.finish().map_err(Refused::Disk)?;
                Content::Large { sum }
            }
        };
        let (eight_bit, utf8_header) = (self.eight_bit, self.utf8_header);
        Ok(Taken {
            entry: self.entry,
            content,
            structure: self.scanner.finish(),
            stored: self.stored,
            hops: self.hops,
            eight_bit,
            utf8_header,
            exact,
            _claim: self.claim,
        })
    }

    fn store(&mut self, bytes: &[u8]) {
        self.stored += bytes.len() as u64;
        self.scanner.feed(bytes);
        self.held.extend_from_slice(bytes);
        self.claim.hold(self.held.capacity());
    }
}

/// Whether the part of these bytes before an empty line holds octets beyond ASCII. They lie in a header, which an empty line ends; one that is cut
/// between two pieces makes the rest of the second count as header, which only asks more of the next host than it has to.
fn header_is_not_ascii(bytes: &[u8]) -> bool {
    let end = memchr::memmem::find(bytes, b"\n\n").into_iter().chain(memchr::memmem::find(bytes, b"\n\r\n")).min();
    !bytes[..end.unwrap_or(bytes.len())].is_ascii()
}
