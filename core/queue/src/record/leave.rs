//! What records say of mail that leaves: to whom, with which wishes, what came of it, what an operator changed.

use super::{Attempts, Indexes};
use crate::limits::WORDS_MAX;
use mail::{By, Notify, Ret, Stamp};

/// A recipient elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Remote<'a> {
    /// The forward path as printed.
    pub recipient: &'a str,
    /// When to report on it (RFC 3461 §4.1).
    pub notify: Notify,
    /// The path as the first sender wrote it (RFC 3461 §4.2), decoded.
    pub original: Option<&'a str>,
    /// The next hop, if it is not the domain of the path.
    pub route: Option<&'a str>,
    /// The reverse path for this recipient as printed, if it is not the message's (SRS, VERP).
    pub sender: Option<&'a str>,
}

impl<'a> Remote<'a> {
    /// The next hop: its route, or its domain in lower case as addresses have it.
    pub fn site(&self) -> &'a str {
        let domain = self.recipient.rsplit_once('@').map_or(self.recipient, |(_, domain)| domain);
        self.route.unwrap_or(domain)
    }
}

/// What a sender wishes for a message, borrowed: see [`mail::Wishes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wishes<'a> {
    /// How much of it comes back in a report of a failure.
    pub ret: Option<Ret>,
    /// How the sender calls it, decoded.
    pub envid: Option<&'a str>,
    /// When it is due.
    pub by: Option<By>,
    /// Not before this moment.
    pub hold_until: Option<Stamp>,
    /// From -9 to 9.
    pub priority: i8,
    /// Only over verified TLS, all the way.
    pub require_tls: bool,
}

impl<'a> From<&'a mail::Wishes> for Wishes<'a> {
    fn from(wishes: &'a mail::Wishes) -> Wishes<'a> {
        let mail::Wishes { ret, envid, by, hold_until, priority, require_tls } = wishes;
        let envid = envid.as_deref().filter(|envid| envid.len() <= WORDS_MAX);
        Wishes { ret: *ret, envid, by: *by, hold_until: *hold_until, priority: *priority, require_tls: *require_tls }
    }
}

impl From<Wishes<'_>> for mail::Wishes {
    fn from(wishes: Wishes<'_>) -> mail::Wishes {
        let Wishes { ret, envid, by, hold_until, priority, require_tls } = wishes;
        mail::Wishes { ret, envid: envid.map(Into::into), by, hold_until, priority, require_tls }
    }
}

/// What a report settles.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settles<'a> {
    /// The message that is reported on.
    pub id: u64,
    /// Which of its remote recipients.
    pub recipients: Indexes<'a>,
    /// What the report tells of them.
    pub tells: Tells,
}

/// What a report tells of recipients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tells {
    /// How it ended, well or not: they are done.
    End,
    /// That it takes long: they go on, and there is no second such report.
    Delay,
}

/// What whoever sends or reports on a message must know of its content: bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traits(pub u8);

impl Traits {
    /// It holds octets beyond ASCII in its bodies, so that it needs 8BITMIME or another encoding.
    pub const EIGHT_BIT: Traits = Traits(1);
    /// It was declared as BINARYMIME: stored byte by byte, line ends are not lines (RFC 3030).
    pub const BINARY: Traits = Traits(2);
    /// Its header holds UTF-8, so that it needs SMTPUTF8 (RFC 6531).
    pub const UTF8: Traits = Traits(4);
    /// It is a report itself: nobody gets one about it, except postmaster.
    pub const REPORT: Traits = Traits(8);
    /// A rule held it when it came; it waits for an operator.
    pub const HELD: Traits = Traits(16);

    /// It is a report that nobody got a report: what becomes of it nobody is told.
    pub const DOUBLE: Traits = Traits(32);

    /// Whether all of these are set.
    pub const fn has(self, what: Traits) -> bool {
        self.0 & what.0 == what.0
    }

    /// Both.
    #[must_use]
    pub const fn with(self, what: Traits) -> Traits {
        Traits(self.0 | what.0)
    }

    /// These if so, else as it was.
    #[must_use]
    pub const fn with_if(self, what: Traits, so: bool) -> Traits {
        if so { self.with(what) } else { self }
    }
}

/// An attempt to send a message to some of its recipients.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tried<'a> {
    /// The message.
    pub id: u64,
    /// When the attempt ended, in milliseconds since 1970.
    pub at_ms: u64,
    /// Who was asked: the name and address of the host; empty if it came to none.
    pub host: &'a str,
    /// What protected the connection (`TLS1.3 ...`); empty if nothing did.
    pub tls: &'a str,
    /// What came of it for each recipient.
    pub attempts: Attempts<'a>,
}

/// What came of an attempt for one recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt<'a> {
    /// Its number among the message's remote recipients.
    pub recipient: u16,
    /// What becomes of it.
    pub fate: Fate,
    /// The code of the peer's reply; 0 if there was none.
    pub code: u16,
    /// The text of the reply with its enhanced code, its lines joined by `\n`, or what went wrong before there was one. Cut at
    /// [`REPLY_MAX`](crate::REPLY_MAX) when it is written.
    pub reply: &'a str,
}

/// What becomes of a recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Done: it was delivered by the next hop, or handed to one that will report on it itself.
    Delivered,
    /// Done: it was handed to a host that reports on no success.
    Relayed,
    /// Done: it goes on under other names.
    Expanded,
    /// Done: it failed, and nobody is owed a report.
    Failed,
    /// It failed, and a report is owed: the record of that report settles it. A crash in between means that it is tried again, and fails again.
    Owed,
    /// It is tried again.
    Later {
        /// How often it has been tried.
        attempts: u16,
        /// When to try again, in milliseconds since 1970.
        next_ms: u64,
    },
}

/// What an operator changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Changed<'a> {
    /// The message.
    pub id: u64,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// What.
    pub change: Change<'a>,
}

/// What an operator can do with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change<'a> {
    /// It waits until it is released.
    Hold,
    /// It waits no longer.
    Release,
    /// It is forgotten, without a report.
    Cancel,
    /// It is tried at once.
    Retry,
    /// It goes to this next hop, whatever its domains are.
    Reroute(&'a str),
    /// It is tried at this time, in milliseconds since 1970.
    At(u64),
    /// It is given up at this time, in milliseconds since 1970.
    GiveUp(u64),
}

/// A message is late, and its sender was told so or does not want to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Warned {
    /// The message.
    pub id: u64,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
}
