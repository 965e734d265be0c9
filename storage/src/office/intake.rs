//! A message on its way in: from the octets of the wire to the bytes that are stored.

use crate::spool::{Entry, Large, Spool};
use post::Hops;
use std::{io, sync::Arc};

/// Messages up to here are kept in memory and become part of a log record; larger ones become a file of the spool.
const INLINE_MAX: usize = 256 << 10;

/// How much is gathered before the file of a large message is written to again.
const CHUNK: usize = 256 << 10;

/// Takes a message in, byte by byte: CRLF becomes LF, hops are counted, the structure is found, and what does not fit into memory goes to disk.
pub struct Intake {
    entry: Entry<Arc<Spool>>,
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
    failed: Option<io::Error>,
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
}

/// Where a message that was taken in is.
pub enum Content {
    /// In memory.
    Inline(Vec<u8>),
    /// In the entry's large file, durable by now.
    Large,
}

/// Why a message cannot be taken in.
#[derive(Debug)]
pub enum Refused {
    /// More octets than allowed.
    TooLarge,
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
    /// Begins with `ahead`, which is stored as it is (LF line ends), and allows `largest` octets after it.
    pub fn new(entry: Entry<Arc<Spool>>, ahead: &[u8], largest: u64) -> Intake {
        let mut intake = Intake {
            entry,
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
            failed: None,
        };
        intake.store(ahead);
        intake
    }

    /// Takes octets as they came.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        self.received += bytes.len() as u64;
        if self.received > self.largest || self.failed.is_some() {
            self.held = Vec::new();
            return;
        }
        if !bytes.is_ascii() {
            // Where the header ends within these bytes is known by who counts hops; looked at before, it may call a body a header that begins here.
            self.eight_bit = true;
            self.utf8_header |= self.hops.is_in_header() && header_is_not_ascii(bytes);
        }
        self.hops.feed(bytes);
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

    /// Whether [`Intake::drain`] should be called before more comes.
    pub fn is_full(&self) -> bool {
        self.held.len() > INLINE_MAX
    }

    /// Moves what is held to disk. A failure is kept until the end.
    pub fn drain(&mut self) {
        if let Err(error) = self.try_drain() {
            self.failed.get_or_insert(error);
            self.held = Vec::new();
        }
    }

    fn try_drain(&mut self) -> io::Result<()> {
        if self.failed.is_some() || self.held.is_empty() {
            return Ok(());
        }
        let large = match &mut self.large {
            Some(large) => large,
            none => none.insert(self.entry.large()?),
        };
        large.append(&self.held)?;
        self.held.clear();
        self.held.shrink_to(CHUNK);
        Ok(())
    }

    /// The message is whole.
    ///
    /// # Errors
    /// Says why it cannot be kept. What was written of it goes with its entry.
    pub fn finish(mut self) -> Result<Taken, Refused> {
        if self.cr {
            self.store(b"\r");
        }
        if self.received > self.largest {
            return Err(Refused::TooLarge);
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
                large.finish().map_err(Refused::Disk)?;
                Content::Large
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
        })
    }

    fn store(&mut self, bytes: &[u8]) {
        self.stored += bytes.len() as u64;
        self.scanner.feed(bytes);
        self.held.extend_from_slice(bytes);
    }
}

/// Whether the part of these bytes before an empty line holds octets beyond ASCII. They lie in a header, which an empty line ends; one that is cut
/// between two pieces makes the rest of the second count as header, which only asks more of the next host than it has to.
fn header_is_not_ascii(bytes: &[u8]) -> bool {
    let end = memchr::memmem::find(bytes, b"\n\n").into_iter().chain(memchr::memmem::find(bytes, b"\n\r\n")).min();
    !bytes[..end.unwrap_or(bytes.len())].is_ascii()
}
