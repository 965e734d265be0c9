//! Who may stay and what may come in: sessions that are sent away, and room for messages.

use super::House;
use crate::{
    limits::SHARES,
    office::guests::{Full, Present},
    space::{Allowed, Claim, Shortage, Space},
};
use config::{Listen, Speak, TlsMode};
use std::{
    net::{IpAddr, SocketAddr},
    sync::atomic::Ordering,
};

impl House {
    /// Connections of mail, the oldest first.
    pub(crate) fn present(&self) -> Vec<Present> {
        self.guests.present().into_iter().filter(|present| present.protocol != "http").collect()
    }

    /// The listeners whose places are short.
    pub(crate) fn stressed(&self) -> Vec<SocketAddr> {
        self.guests.stressed()
    }

    /// Sends connections of mail away because an operator wants it; says how many.
    pub(crate) fn kick(&self, mut whom: impl FnMut(&Present) -> bool) -> usize {
        let count = self.guests.dismiss(|present| present.protocol != "http" && whom(present));
        self.metrics.dismissed("operator", count);
        count
    }

    /// Reads the accounts again if their file has changed, and sends away whose account is gone or disabled since; says how many.
    pub(crate) fn look_at_accounts(&self) -> usize {
        let generation = self.accounts.generation();
        if self.generation.swap(generation, Ordering::Relaxed) == generation {
            return 0;
        }
        let count = self.guests.dismiss(|present| present.account.as_deref().is_some_and(|name| !self.accounts.is_open(name)));
        if count > 0 {
            tracing::info!(count, "sessions of accounts that are gone or disabled are ended");
            self.metrics.dismissed("account", count);
        }
        count
    }

    /// Another server has the store: whoever is here goes, and who went out comes back, for what they did would be written over what that one does.
    pub(super) fn leave_the_store(&self) {
        let count = self.guests.dismiss(|present| present.protocol != "http") + self.guests.call_back();
        if count > 0 {
            tracing::error!(count, "connections are ended, because another server has the store");
            self.metrics.dismissed("fenced", count);
        }
    }

    /// Whether a message of `size` bytes can be begun.
    pub(crate) fn check_space(&self, size: u64) -> Result<(), Shortage> {
        if self.spool.is_full() { Err(Shortage::Disk) } else { self.space.check(self.allowed(), size) }
    }

    /// What a message takes while it comes in, from `peer` if it comes over a network.
    pub(crate) fn claim(&self, peer: Option<IpAddr>) -> Claim {
        self.space.claim(self.allowed(), peer)
    }

    pub(crate) fn space(&self) -> &Space {
        &self.space
    }

    /// Bytes that the disk has left, as far as it is known.
    pub(crate) fn free_space(&self) -> Option<u64> {
        self.space.free(self.allowed())
    }

    fn allowed(&self) -> Allowed {
        let limits = &self.config().limits;
        let share = (limits.uncommitted / SHARES).max(limits.message);
        // Whatever else is said, one message fits.
        Allowed { reserve: limits.free_space, uncommitted: limits.uncommitted.max(limits.message), share }
    }
}

/// What a connection hears that finds no place; nothing where it expects a TLS handshake first.
pub(super) fn refusal(listen: &Listen, full: Full) -> &'static [u8] {
    match (listen.tls, listen.speak) {
        (TlsMode::Implicit, _) => b"",
        // RFC 5321 §3.1: 421 instead of a greeting.
        (_, Speak::Smtp | Speak::Submission | Speak::Lmtp) if full == Full::Closing => b"421 4.3.2 The server stops, try again soon\r\n",
        (_, Speak::Smtp | Speak::Submission | Speak::Lmtp) if full == Full::Fenced => b"421 4.3.2 Another server has this store\r\n",
        (_, Speak::Imap) if full == Full::Fenced => b"* BYE [UNAVAILABLE] Another server has this store\r\n",
        (_, Speak::Pop3) if full == Full::Fenced => b"-ERR [SYS/TEMP] Another server has this store\r\n",
        (_, Speak::Smtp | Speak::Submission | Speak::Lmtp) => b"421 4.7.0 Too many connections, try again later\r\n",
        (_, Speak::Imap) => b"* BYE [UNAVAILABLE] Too many connections, try again later\r\n",
        (_, Speak::Pop3) => b"-ERR [SYS/TEMP] Too many connections, try again later\r\n",
    }
}

/// What is spoken, as logs and metrics write it.
pub(super) fn protocol(speak: Speak) -> &'static str {
    match speak {
        Speak::Smtp => "smtp",
        Speak::Submission => "submission",
        Speak::Lmtp => "lmtp",
        Speak::Imap => "imap",
        Speak::Pop3 => "pop3",
    }
}
