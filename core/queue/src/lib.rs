//! What was accepted and is not done: the records of the spool log, their framing, and what a replay makes of them.
//!
//! Bytes in, bytes out. This crate does not know where a log is kept, when it is flushed, or what a Maildir looks like.
#![no_std]

extern crate alloc;

pub mod dsn;
pub mod frame;
mod limits;
mod machine;
mod record;
mod replay;
pub mod route;
mod wire;

pub use limits::{ADDRESS_MAX, BASES_MAX, KEYWORDS_MAX, NAME_MAX, REMOTES_MAX, REPLY_MAX, SITE_MAX, TARGETS_MAX, WORDS_MAX};
pub use machine::{Action, BadState, Ended, Entry, Job, Lapse, Listed, Outcome, PartState, Queue, Retry, Settings, Ticket, Verdict};
pub use record::{
    Accept, Attempt, Attempts, Bases, Change, Changed, Content, Doing, Dropped, Fate, FileMark, Gone, Indexes, Keywords, NotRecord, Record,
    Remote, Remotes, Reserved, Settles, Target, Targets, Tells, Trace, Traits, Tried, Warned, Wishes,
};
pub use replay::{Naming, Place, Replay, Unnamed, Wanted};
