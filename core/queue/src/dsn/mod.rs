//! What to tell the sender: reports of delivery (RFC 3461 §6, RFC 3464, RFC 6522, RFC 6533), and when one is owed.
//!
//! A report is a message as it is stored (lines end with LF): a head, the original or its header, a tail. Whoever stores it copies the
//! original from where it lies, so that a large message is never held.

mod decide;
mod explain;
mod part;
mod print;
mod template;

pub use decide::{Case, Policy, Strangers, Told, returned, whom_to_tell};
pub use explain::status;
pub use part::HeaderOnly;
pub use template::{BadTemplate, Template, Templates};

use alloc::vec::Vec;
use mail::{Address, Stamp};

/// Bytes of a header that come back at most. Beyond: it is cut.
pub const HEADER_MAX: usize = 64 << 10;

/// Bytes of a reply that are shown. Beyond: it is cut.
const REPLY_SHOWN: usize = 2000;

/// Recipients of one report; one message has no more. Beyond: the rest is counted, not shown, in the text for people.
const SHOWN_MAX: usize = 100;

/// What a report tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// It cannot be delivered.
    Failed,
    /// It takes long.
    Delayed,
    /// It is in the mailbox.
    Delivered,
    /// It went to a server that will not report.
    Relayed,
    /// It went to the several people an address stands for.
    Expanded,
    /// A message without a sender cannot be delivered: for the postmaster.
    Double,
}

/// A report that is to be made.
#[derive(Debug, Clone)]
pub struct Report<'a> {
    /// What it tells.
    pub kind: Kind,
    /// The name of this host.
    pub host: &'a str,
    /// Who gets it: the sender, or the postmaster if it is a double bounce.
    pub to: &'a Address,
    /// Whom people can ask.
    pub postmaster: &'a Address,
    /// How the report itself is called: the left side of its Message-ID, and its boundary. Nobody may be able to guess it, or a message
    /// could hold the boundary of its report.
    pub name: &'a str,
    /// Now.
    pub date: Stamp,
    /// What it is about.
    pub original: Original<'a>,
    /// Whom it is about; at least one.
    pub recipients: &'a [About<'a>],
}

/// The message that a report is about.
#[derive(Debug, Clone, Copy)]
pub struct Original<'a> {
    /// Its name here, as in logs.
    pub id: &'a str,
    /// How its sender calls it (RFC 3461 §4.4), decoded.
    pub envid: Option<&'a str>,
    /// When it was accepted.
    pub arrived: Stamp,
    /// Its Message-ID with its brackets, if it is known.
    pub message_id: Option<&'a str>,
    /// Whether it came with SMTPUTF8, so that the report may need it too (RFC 6533).
    pub utf8: bool,
    /// Whether it was declared as 8BITMIME.
    pub eight_bit: bool,
    /// How much of it comes back ([`returned`]).
    pub returned: Returned,
}

/// How much of a message comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Returned {
    /// All of it.
    Whole,
    /// Its header, as [`HeaderOnly`] passes it.
    Header,
}

/// What a report tells of one recipient.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// The path as it was when the message was accepted.
    pub address: &'a Address,
    /// The path as the first sender wrote it (RFC 3461 §4.2), decoded: `rfc822;alice@example.org`.
    pub original: Option<&'a str>,
    /// The code of the peer's last reply; 0 if there was none.
    pub code: u16,
    /// The text of that reply with its enhanced code, lines joined by LF; without a code, what went wrong here, with an enhanced code in
    /// front if there is a fitting one.
    pub reply: &'a str,
    /// The server that gave the reply.
    pub remote: Option<&'a str>,
    /// The last attempt.
    pub attempted: Option<Stamp>,
    /// When it will be given up; for delays only.
    pub until: Option<Stamp>,
    /// Whether the time that its sender set has passed (RFC 2852 §4.1.3).
    pub overdue: bool,
}

/// A report as it is stored: the head, then what comes back of the original, then the tail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Up to the original.
    pub head: Vec<u8>,
    /// How much of the original stands between.
    pub returned: Returned,
    /// From there on.
    pub tail: Vec<u8>,
    /// Whether it must be declared as 8BITMIME.
    pub eight_bit: bool,
    /// Whether it needs SMTPUTF8.
    pub utf8: bool,
}

impl Report<'_> {
    /// Makes the message. Its envelope: from nobody, to [`Report::to`] with [`mail::Notify::NEVER`] (RFC 3461 §6.1).
    ///
    /// # Panics
    /// If there is no recipient.
    pub fn message(&self, templates: &Templates) -> Message {
        assert!(!self.recipients.is_empty(), "a report about nobody");
        print::message(self, templates)
    }
}

#[cfg(test)]
mod tests;
