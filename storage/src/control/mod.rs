//! Control: what an operator may ask of a running server, as data that goes through a local socket.
//!
//! [`Operator`] is what can be asked; the server answers it on a Unix socket in JSON over HTTP (`office`), and the command line asks there (`client`).

mod client;
mod office;
mod queue;

pub use client::{AskError, Client};
pub use office::Clerk;
pub(crate) use office::{Order, REFUSED};
pub use queue::{Action, Effect, Filter, Listing, Page, QueueStatus, Refused, State, Summary, Waiting, Whole, Whom, id as queue_id};

use serde::{Deserialize, Serialize};

/// What can be asked of the queue and of what becomes of mail. Calls may wait, for a disk or for DNS: they come where waiting is allowed.
pub trait Operator {
    /// Messages that wait, the oldest first, a page at a time.
    ///
    /// # Errors
    /// If it cannot be told now.
    fn list(&self, filter: &Filter, page: Page) -> Result<Listing, Refused>;

    /// One message and each of its recipients.
    ///
    /// # Errors
    /// If there is no such message, or it cannot be told now.
    fn show(&self, id: u64) -> Result<Whole, Refused>;

    /// Does something to messages, all of them or none. `who` goes into the story of each. What was done survives a crash.
    ///
    /// # Errors
    /// If a message is not there, or what was said makes no sense for it.
    fn act(&self, whom: &Whom, action: &Action, who: &str) -> Result<Effect, Refused>;

    /// How the queue is.
    fn queue_status(&self) -> QueueStatus;

    /// What would become of mail to that address, step by step, without sending any. May ask DNS, for some seconds.
    ///
    /// # Errors
    /// If that is no address.
    fn explain(&self, address: &str) -> Result<Explanation, Refused>;
}

/// What would become of mail to an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The address as it was understood.
    pub address: String,
    /// Step by step.
    pub steps: Vec<Step>,
}

/// A step from an address to a mailbox or a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What was looked at, as in `alias`, `forward`, `route`, `MX`, `TLS`.
    pub what: String,
    /// What follows from it, in words.
    pub so: String,
}

impl Step {
    /// A step.
    pub fn new(what: impl Into<String>, so: impl Into<String>) -> Step {
        Step { what: what.into(), so: so.into() }
    }
}

/// The connections of clients, the oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sessions {
    /// Each.
    pub sessions: Vec<SessionRow>,
}

/// A connection of a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRow {
    /// Its number, as `conn` in the log.
    pub id: u64,
    /// What is spoken.
    pub protocol: String,
    /// Address and port of the client.
    pub peer: String,
    /// Who logged in.
    pub account: Option<String>,
    /// Seconds since it came.
    pub age_s: u64,
}

/// Which connections are to be ended: all that fit one of these.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Kick {
    /// Their numbers.
    pub ids: Vec<u64>,
    /// Of this account.
    pub account: Option<String>,
    /// From this address or network.
    pub network: Option<config::Network>,
}

/// How many connections are being ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kicked {
    /// So many.
    pub sessions: usize,
}

/// How the server is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its version.
    pub version: String,
    /// Its name in greetings.
    pub hostname: String,
    /// The number of its process.
    pub pid: u32,
    /// Seconds since it was ready.
    pub up_s: u64,
    /// Connections of clients.
    pub sessions: u64,
    /// Listeners whose places are short.
    #[serde(default)]
    pub stressed: Vec<String>,
    /// Connections to other servers.
    pub away: u64,
    /// Bytes of the log that a start would read again.
    pub log_bytes: u64,
    /// Lines of the log on standard error that were lost because nobody read it.
    #[serde(default)]
    pub lost_log_lines: u64,
    /// Records that waited for their mailboxes, could not be read any more, and were lost since the start.
    #[serde(default)]
    pub lost_records: u64,
    /// Bytes that the disk of the store has left.
    #[serde(default)]
    pub free_bytes: Option<u64>,
    /// What the process may have that may not have all the memory it asks for.
    #[serde(default)]
    pub memory: Option<Memory>,
    /// Whether another server has opened the store, so that nobody is served here any more.
    #[serde(default)]
    pub fenced: bool,
    /// Panics that were caught since the start, by the part of the server they ended.
    #[serde(default)]
    pub panics: std::collections::BTreeMap<String, u64>,
    /// What it closed itself in with.
    #[serde(default)]
    pub closed_in: Vec<String>,
    /// What of that this system could not do, and why.
    #[serde(default)]
    pub not_closed_in: Vec<String>,
    /// Damaged segments of the log that were put aside at a start and wait for somebody to look at them.
    #[serde(default)]
    pub set_aside: Vec<String>,
    /// Seconds that the clock says have passed before the start and that make no queued mail older.
    #[serde(default)]
    pub uncounted: u64,
    /// Mailboxes that are set aside: something is wrong with them, and what was promised to them waits. Those too of which the log has another name than the disk.
    #[serde(default)]
    pub aside: Vec<SetAside>,
    /// How many records of the log wait for each account.
    #[serde(default)]
    pub undelivered: std::collections::BTreeMap<String, u64>,
    /// The queue.
    pub queue: QueueStatus,
}

/// The limit to the memory of the process, and what it leaves of other limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Bytes of address space, or of data, whichever is reached first.
    pub limit_bytes: u64,
    /// Connections to one listener.
    pub connections_per_listener: u32,
    /// Connections to other servers.
    pub connections_out: u32,
}

/// What the clock did before the start and counts as age now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uncounted {
    /// Seconds.
    pub seconds: u64,
}

/// What the log still has after a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Bytes that a start would read again.
    pub log_bytes: u64,
}

/// A mailbox that is set aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetAside {
    /// The directory of its Maildir.
    pub maildir: String,
    /// Its name.
    pub mailbox: String,
    /// What is wrong, in words.
    pub why: String,
    /// Since when, in seconds since 1970.
    pub since: u64,
}

#[cfg(test)]
mod tests;
