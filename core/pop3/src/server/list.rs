//! What is in the maildrop: STAT, LIST, UIDL, RSET.

use super::{Next, Phase, Server, State};
use crate::limits::IDLE_MS;
use crate::maildrop::Maildrop;
use crate::{Entry, reply};
use core::fmt::Write as _;
use wire::{Outbox, Tick};

/// What to tell of each message.
#[derive(Debug, Clone, Copy)]
pub(super) enum What {
    Sizes,
    Uidls,
}

/// A list that is being printed, a few lines at a time.
#[derive(Debug)]
pub(super) struct Listing {
    what: What,
    /// The number to go on with.
    next: u32,
}

impl Server {
    pub(super) fn list_command(&mut self, what: What, number: Option<u32>, tx: &mut Outbox) -> Next {
        let State::Transaction(maildrop) = &self.state else {
            unreachable!("nothing is listed before the login");
        };
        let Some(number) = number else {
            let _ = summary(maildrop, tx);
            return self.turn(Phase::List(Listing { what, next: 1 }));
        };
        match maildrop.message(number) {
            Some((_, entry)) => {
                tx.put(b"+OK ");
                what.put(number, entry, tx);
                Next::Again
            }
            None => self.mistake(reply::NO_MESSAGE, tx),
        }
    }

    /// Prints lines until the outbox is full: a maildrop may hold more than it should.
    pub(super) fn list(&mut self, now: Tick, tx: &mut Outbox) -> Next {
        let (Phase::List(listing), State::Transaction(maildrop)) = (&mut self.phase, &self.state) else {
            unreachable!("only a list is listed, and only after the login");
        };
        while let Some((number, entry)) = maildrop.from(listing.next) {
            if tx.is_full() {
                return Next::Flush;
            }
            self.deadline = now.after(IDLE_MS);
            listing.what.put(number, entry, tx);
            listing.next = number + 1;
        }
        tx.put(b".\r\n");
        self.turn(Phase::Command)
    }
}

impl What {
    fn put(self, number: u32, entry: &Entry, tx: &mut Outbox) {
        let _ = match self {
            What::Sizes => write!(tx, "{number} {}\r\n", entry.span.wire),
            What::Uidls => write!(tx, "{number} {}\r\n", entry.uidl),
        };
    }
}

/// RFC 1939 §5: exactly two numbers, for programs.
pub(super) fn stat(maildrop: &Maildrop, tx: &mut Outbox) -> Next {
    let _ = write!(tx, "+OK {} {}\r\n", maildrop.count, maildrop.octets);
    Next::Again
}

pub(super) fn reset(maildrop: &mut Maildrop, tx: &mut Outbox) -> Next {
    maildrop.undelete();
    summary(maildrop, tx)
}

/// The same for people.
pub(super) fn summary(maildrop: &Maildrop, tx: &mut Outbox) -> Next {
    let _ = write!(tx, "+OK {} messages ({} octets)\r\n", maildrop.count, maildrop.octets);
    Next::Again
}
