//! The contract between protocol sessions and whoever drives them.
//!
//! A [`Session`] turns bytes into decisions. It owns no socket, no file, no clock and no randomness: bytes
//! arrive in an [`Inbox`], replies leave through an [`Outbox`], everything else is a question ([`Step::Ask`])
//! that its host answers. Two runtimes, a fuzzer and a simulator drive the same sessions through this crate.
//!
//! This crate knows no protocol and will never learn one.
#![no_std]

extern crate alloc;

mod inbox;
pub mod limits;
mod lines;
mod outbox;
mod session;
mod time;

pub use inbox::Inbox;
pub use lines::{Lines, Scan};
pub use outbox::Outbox;
pub use session::{Expect, Fault, News, Nudge, Question, Ring, Session, Sink, Step, Tls, Want, Why};
pub use time::{Pace, Patience, Tick};
