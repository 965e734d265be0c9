//! A bug, so that somebody sees whether the comparison of the books notices it. Without one it changes nothing.

use mail::{Address, Recipient};
use sasl::{Denied, Login, Proof};
use smtp::{Loss, Office, Receipt, Refusal, Start, Verdict};
use storage::office;
use wire::{Fault, Sink};

/// A bug of a house.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Canary {
    /// Some messages are acknowledged before they are durable, and forgotten.
    Forgets,
}

/// An office that may have a bug.
pub struct Clerk {
    /// Who does the work.
    pub office: office::Smtp,
    canary: Option<Canary>,
    count: u32,
}

impl Clerk {
    /// An office that works, or has this bug.
    pub fn new(office: office::Smtp, canary: Option<Canary>) -> Clerk {
        Clerk { office, canary, count: 0 }
    }
}

impl Sink for Clerk {
    fn body(&mut self, bytes: &[u8]) {
        self.office.body(bytes);
    }

    fn is_full(&self) -> bool {
        self.office.is_full()
    }

    fn drain(&mut self) {
        self.office.drain();
    }
}

impl Office for Clerk {
    fn login(&mut self, proof: Proof) -> Result<Login, Denied> {
        self.office.login(proof)
    }

    fn sender(&mut self, sender: Option<Address>, size: Option<u64>) -> Verdict {
        self.office.sender(sender, size)
    }

    fn recipient(&mut self, recipient: Recipient) -> Verdict {
        self.office.recipient(recipient)
    }

    fn open(&mut self, start: Start) -> Result<(), Fault> {
        self.office.open(start)
    }

    fn commit(&mut self) -> Result<Receipt, Refusal> {
        self.count += 1;
        if self.canary == Some(Canary::Forgets) && self.count.is_multiple_of(3) {
            self.office.abandon(Loss::Unfinished);
            return Ok(Receipt { id: "canary".into(), each: Vec::new() });
        }
        self.office.commit()
    }

    fn abandon(&mut self, loss: Loss) {
        self.office.abandon(loss);
    }
}
