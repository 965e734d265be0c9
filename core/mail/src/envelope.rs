//! What travels around a message: who it is from, who it is for, and what they wish.

use crate::{Address, Stamp};
use alloc::{boxed::Box, vec::Vec};

/// Who a message is from (nobody, for a bounce) and for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Envelope {
    /// The reverse path; `None` is the null path `<>`.
    pub sender: Option<Address>,
    /// The forward paths, in the order they came.
    pub recipients: Vec<Recipient>,
    /// What holds for all of them.
    pub wishes: Wishes,
}

/// A forward path and what was said with it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Recipient {
    /// The path.
    pub address: Address,
    /// When to report on it (RFC 3461 §4.1).
    pub notify: Notify,
    /// The path as the first sender wrote it (RFC 3461 §4.2), decoded: `rfc822;alice@example.org`.
    pub original: Option<Box<str>>,
}

impl From<Address> for Recipient {
    fn from(address: Address) -> Recipient {
        Recipient { address, notify: Notify::default(), original: None }
    }
}

/// When the sender wants a report (RFC 3461 §4.1): bits, or nothing said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Notify(pub u8);

impl Notify {
    /// Never, whatever happens.
    pub const NEVER: Notify = Notify(1);
    /// When it was delivered.
    pub const SUCCESS: Notify = Notify(2);
    /// When it cannot be delivered.
    pub const FAILURE: Notify = Notify(4);
    /// When it takes long.
    pub const DELAY: Notify = Notify(8);

    /// Whether nothing was said, which means failures, and delays where that is the custom.
    pub const fn is_unsaid(self) -> bool {
        self.0 == 0
    }

    /// Whether this was asked for by name.
    pub const fn has(self, what: Notify) -> bool {
        self.0 & what.0 != 0
    }

    /// Both.
    #[must_use]
    pub const fn with(self, what: Notify) -> Notify {
        Notify(self.0 | what.0)
    }

    /// Whether a failure is to be reported.
    pub const fn on_failure(self) -> bool {
        self.is_unsaid() || self.has(Notify::FAILURE)
    }

    /// Whether a delay is to be reported.
    pub const fn on_delay(self) -> bool {
        self.is_unsaid() || self.has(Notify::DELAY)
    }
}

/// What the sender wishes for a message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wishes {
    /// How much of it comes back in a report of a failure (RFC 3461 §4.3).
    pub ret: Option<Ret>,
    /// How the sender calls it (RFC 3461 §4.4), decoded.
    pub envid: Option<Box<str>>,
    /// When it is due (RFC 2852).
    pub by: Option<By>,
    /// Not before this moment (RFC 4865).
    pub hold_until: Option<Stamp>,
    /// From -9 to 9 (RFC 6710); 0 if nothing was said.
    pub priority: i8,
    /// Only over verified TLS, all the way (RFC 8689).
    pub require_tls: bool,
}

/// How much of a message comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ret {
    /// All of it.
    Full,
    /// Its header.
    Headers,
}

/// When a message is due (RFC 2852 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct By {
    /// The moment.
    pub at: Stamp,
    /// Whether it comes back when that has passed; otherwise the sender is told and it goes on.
    pub or_return: bool,
    /// Whether each server tells that it took it (the `T` of `BY=60;RT`).
    pub trace: bool,
}
