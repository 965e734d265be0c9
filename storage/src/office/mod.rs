//! Whoever answers the questions of the sessions.
//!
//! An office belongs to one connection. It knows who is there, writes the log lines of the connection, and turns questions into calls on what the
//! house shares.

pub mod guests;
mod imap;
pub(crate) mod intake;
mod pop3;
mod smtp;

pub use imap::Imap;
pub use pop3::Pop3;
pub use smtp::Smtp;

use crate::{
    account::Account,
    house::House,
    mailbox::{Doomed, Mailbox},
};
use ::imap::Refusal;
use guests::Guest;
use mail::Uid;
use sasl::{Denied, Login, Proof};
use std::sync::Arc;
use wire::{Fault, Why};

/// What every office has: the house, a place in it, and who logged in.
pub struct Desk {
    house: Arc<House>,
    guest: Guest,
    protocol: &'static str,
    account: Option<mail::Address>,
}

impl Desk {
    pub(crate) fn new(house: Arc<House>, guest: Guest, protocol: &'static str) -> Desk {
        tracing::debug!(conn = guest.number, protocol, peer = %guest.peer, "connect");
        house.metrics().came(protocol);
        Desk { house, guest, protocol, account: None }
    }

    /// The connection ends: writes its last line.
    pub fn closed(&self, why: Why) {
        let (conn, protocol, peer, why) = (self.guest.number, self.protocol, self.guest.peer, why.word());
        match &self.account {
            Some(account) => tracing::info!(conn, protocol, %peer, %account, why, "close"),
            None => tracing::debug!(conn, protocol, %peer, why, "close"),
        }
    }

    fn login(&mut self, proof: Proof) -> Result<Login, Denied> {
        let Proof::Password { user, .. } = &proof;
        let user: String = user.chars().take(254).collect();
        let (conn, protocol, peer) = (self.guest.number, self.protocol, self.guest.peer);
        let result = self.house.accounts().verify(proof, peer.ip(), self.house.now_ms());
        self.house.metrics().login(protocol, result.is_ok());
        match &result {
            Ok(login) => {
                self.account = mail::Address::parse(&login.account);
                self.guest.logged_in(&login.account);
                if !self.house.accounts().is_open(&login.account) {
                    // It was removed meanwhile, and who went through the sessions then did not find this one.
                    self.guest.bell.ring(wire::Nudge::Leave);
                }
                tracing::info!(conn, protocol, %peer, account = login.account, "login");
            }
            Err(denied) => tracing::warn!(conn, protocol, %peer, user, reason = ?denied, "login refused"),
        }
        result
    }

    /// The account that logged in, as it is now; none if it was removed meanwhile, or if its mailboxes are another server's now.
    fn account(&self) -> Option<Arc<Account>> {
        if self.house.spool().is_fenced() {
            return None;
        }
        self.house.accounts().named(&self.account.as_ref()?.to_string())
    }

    /// Removes messages: durably first, their files then.
    fn remove(&self, account: &Account, mailbox: &Mailbox, doomed: &[Doomed]) -> Result<Vec<Uid>, Refusal> {
        if doomed.is_empty() {
            return Ok(Vec::new());
        }
        let bases: Vec<&[u8]> = doomed.iter().map(|d| &*d.base).collect();
        let names = self.house.names_of([&*account.name()]);
        let _stay = self.house.stay(&names)?;
        let buried = self.house.bury(account, mailbox, &bases).map_err(|error| {
            tracing::error!(conn = self.guest.number, %error, "messages cannot be removed now");
            Refusal::Fault(Fault::Later)
        })?;
        let uids: Vec<Uid> = doomed.iter().map(|d| d.uid).collect();
        let gone = mailbox.remove(&uids, &buried)?;
        // A checkpoint may have failed since the record was made.
        self.house.cancel(&account.name(), &mailbox.name(), &bases);
        let (conn, protocol, peer, account, count) = (self.guest.number, self.protocol, self.guest.peer, account.name(), gone.len());
        tracing::info!(conn, protocol, %peer, account, mailbox = %mailbox.name(), count, "removed");
        Ok(gone)
    }
}
