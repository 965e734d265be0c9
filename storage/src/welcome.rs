//! The first messages of a new store, delivered before anybody is let in.

use crate::{
    admin::Welcome,
    house::House,
    office::intake::{Intake, Refused},
};
use imap::Refusal;
use mail::{Flags, MailboxName};
use std::fmt;
use wire::Fault;

impl House {
    /// Delivers messages with the promise of every other. One that cannot be delivered is logged: a server without a welcome is still one.
    pub fn welcome(&self, letters: &[Welcome]) {
        for letter in letters {
            match self.place(letter) {
                Ok(()) => tracing::debug!(to = %letter.to, "welcome"),
                Err(error) => tracing::warn!(%error, to = %letter.to, "no welcome"),
            }
        }
    }

    fn place(&self, letter: &Welcome) -> Result<(), Unwelcome> {
        let account = self.accounts().find(&letter.to).ok_or(Unwelcome(Refusal::NoMailbox))?;
        let stamp = self.now();
        let mut intake = Intake::new(self.spool().own_entry(), b"", letter.message.len() as u64);
        intake.feed(&letter.message);
        let taken = intake.finish().map_err(|refused| match refused {
            Refused::TooLarge => Unwelcome(Refusal::TooLarge),
            Refused::Disk(_) => Unwelcome(Refusal::Fault(Fault::Later)),
        })?;
        let destination = self.destination(&account, MailboxName::inbox(), Flags::default(), stamp, None).map_err(Unwelcome)?;
        let placed = self.accept(taken, stamp, None, &[destination]).map_err(|_| Unwelcome(Refusal::Fault(Fault::Later)))?;
        placed.into_iter().try_for_each(|one| one.map(drop).map_err(Unwelcome))
    }
}

/// Why there was no welcome.
struct Unwelcome(Refusal);

impl fmt::Display for Unwelcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}
