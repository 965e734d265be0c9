//! Answers a client session from letters in memory, and keeps what it was told of them.

use super::Shared;
use smtp::client::{Form, Job, Offer, Office, Report, Trouble};
use wire::{Fault, Sink};

/// A message that waits to be sent.
#[derive(Debug, Clone)]
pub struct Letter {
    /// Whom it is for, and how.
    pub job: Job,
    /// Its octets on the wire.
    pub content: Vec<u8>,
}

/// Answers one session.
#[derive(Debug)]
pub struct ClientOffice {
    world: Shared,
    hand: Option<Letter>,
    form: Form,
    /// Octets that were read.
    pub(super) at: usize,
    /// What became of the letters, in order.
    pub told: Vec<(Letter, Report)>,
    /// Why the session could not go on.
    pub trouble: Option<Trouble>,
    /// What peers offered, each time.
    pub offers: Vec<Offer>,
}

impl ClientOffice {
    /// For one connection.
    pub fn new(world: Shared) -> ClientOffice {
        ClientOffice { world, hand: None, form: Form::AsIs, at: 0, told: Vec::new(), trouble: None, offers: Vec::new() }
    }

    /// Whether a letter was given out and not told of since.
    pub fn is_waiting(&self) -> bool {
        self.hand.is_some()
    }

    fn letter(&self) -> &Letter {
        self.hand.as_ref().expect("a letter is in hand")
    }
}

/// A message without octets beyond ASCII. Not what RFC 6152 makes of it, but as long as that may be and as easily told from the original.
pub fn in_seven_bits(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for (at, byte) in content.iter().enumerate() {
        let is_line_end = match byte {
            b'\r' => content.get(at + 1) == Some(&b'\n'),
            b'\n' => at > 0 && content[at - 1] == b'\r',
            _ => false,
        };
        if is_line_end || (byte.is_ascii() && !byte.is_ascii_control()) {
            out.push(*byte);
        } else {
            out.extend_from_slice(format!("={byte:02X}").as_bytes());
        }
    }
    out
}

impl Office for ClientOffice {
    fn next(&mut self, offer: Offer) -> Option<Box<Job>> {
        assert!(self.hand.is_none(), "one letter at a time, and each is told of");
        assert!(self.trouble.is_none(), "there was trouble and it goes on");
        self.offers.push(offer);
        self.hand = self.world.borrow_mut().letters.pop_front();
        self.hand.as_ref().map(|letter| Box::new(letter.job.clone()))
    }

    fn open(&mut self, form: Form) -> Result<u64, Fault> {
        if form == Form::SevenBit {
            let letter = self.hand.as_mut().expect("a letter is in hand");
            letter.content = in_seven_bits(&letter.content);
        }
        (self.form, self.at) = (form, 0);
        Ok(self.letter().content.len() as u64)
    }

    fn read(&mut self, buf: &mut [u8]) -> Result<usize, Fault> {
        let rest = &self.letter().content[self.at..];
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        self.at += n;
        Ok(n)
    }

    fn report(&mut self, report: Report) {
        let letter = self.hand.take().expect("a letter is in hand");
        assert_eq!(report.each.len(), letter.job.recipients.len(), "a word on each recipient");
        for outcome in &report.each {
            let text = &outcome.reply.text;
            assert!(text.len() <= 1024 && !text.chars().any(|c| c.is_control() && c != '\n'), "a reply that may stand in a log: {text:?}");
            assert!((200..600).contains(&outcome.reply.code), "a code: {}", outcome.reply.code);
        }
        self.told.push((letter, report));
    }

    fn trouble(&mut self, trouble: Trouble) {
        assert!(self.hand.is_none(), "a letter in hand is told of");
        assert!(self.trouble.replace(trouble).is_none(), "told twice");
    }
}

impl Sink for ClientOffice {
    fn body(&mut self, _: &[u8]) {
        unreachable!("a client takes no messages");
    }

    fn is_full(&self) -> bool {
        false
    }

    fn drain(&mut self) {}
}
