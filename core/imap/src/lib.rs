//! IMAP4rev1 (RFC 3501 and extensions): frames, syntax, printing and the server side of a session.
//!
//! This crate knows neither files nor accounts nor how messages are stored. It asks its [`Office`].
#![no_std]

extern crate alloc;

mod frame;
mod limits;
mod name;
mod office;
pub mod print;
mod reply;
mod server;
mod syntax;
mod utf7;
mod view;
mod wild;

pub use limits::{INBOX_LIMIT, OUTBOX_MARK};
pub use office::{Answer, Ask, Change, Changes, Copied, Counts, Detail, Listed, Need, Office, Refusal, Selected, Upload};
pub use server::{Server, Settings, Tls};
