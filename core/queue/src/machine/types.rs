//! The words of the machine: what a host tells it and hears from it.

use super::Retry;
use alloc::{boxed::Box, vec::Vec};

/// How a queue is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// When a recipient is tried again.
    pub retry: Retry,
    /// After how many seconds a sender is told that it takes long; never if 0.
    pub warn_after_s: u32,
    /// After how many seconds a message is given up.
    pub give_up_after_s: u32,
    /// Connections at the same time.
    pub connections: u32,
    /// Connections to one site at the same time.
    pub per_site: u32,
    /// Recipients of one transaction.
    pub recipients: u16,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            retry: Retry::Smooth,
            warn_after_s: 4 * 3600,
            give_up_after_s: 5 * 86_400,
            connections: 500,
            per_site: 20,
            recipients: 100,
        }
    }
}

/// A message that enters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its id.
    pub id: u64,
    /// When it was accepted, in milliseconds since 1970.
    pub arrived_ms: u64,
    /// From -9 to 9; higher goes first.
    pub priority: i8,
    /// Not before this time.
    pub not_before_ms: Option<u64>,
    /// Given up earlier than others.
    pub give_up_ms: Option<u64>,
    /// When its sender is told that it is late, rather than when the settings say so.
    pub due_ms: Option<u64>,
    /// Whether it waits for an operator.
    pub held: bool,
    /// Its recipients elsewhere: their numbers and sites.
    pub recipients: &'a [(u16, &'a str)],
}

/// A connection, from the moment it is asked for until it is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What a host is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Connect to this site. Answer with [`Queue::take`] when it is ready, and [`Queue::closed`] in any case.
    Connect {
        /// The connection.
        ticket: Ticket,
        /// The site's name.
        site: Box<str>,
    },
    /// Tell the session of this connection, which has nothing to do, that there is a job.
    Wake(Ticket),
    /// Tell the session of this connection, which has nothing to do, to end: all connections are in use, and another site waits for one.
    Leave(Ticket),
    /// Report on recipients that failed; then [`Queue::settled`].
    Report {
        /// The message.
        id: u64,
        /// Their numbers.
        recipients: Vec<u16>,
    },
    /// The message is late: tell its sender, if that is wanted.
    Warn {
        /// The message.
        id: u64,
        /// Who has not got it yet.
        recipients: Vec<u16>,
    },
    /// These recipients were not reached in time. They are owed a report, which is asked for next.
    Expired {
        /// The message.
        id: u64,
        /// Their numbers.
        recipients: Vec<u16>,
    },
}

/// A transaction to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The message.
    pub id: u64,
    /// Its recipients' numbers.
    pub recipients: Vec<u16>,
    /// How often they have been tried before.
    pub attempts: u16,
}

/// What came of a recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is done, and nobody is owed anything.
    Done,
    /// It failed, and a report is owed.
    Failed,
    /// Not now.
    Later,
}

/// What becomes of a recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// As the outcome said.
    AsSaid,
    /// It is tried again.
    Again {
        /// How often it has been tried.
        attempts: u16,
        /// When, in milliseconds since 1970.
        next_ms: u64,
    },
    /// There is no time left: it failed, and a report is owed.
    TooLate,
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// After work, or for want of it.
    Fine,
    /// The site could not be reached, or refused to talk.
    Failed,
    /// This host is to blame (out of files, shutting down): it says nothing of the site.
    Ours,
}
