//! POP3 (RFC 1939, 2449, 2595, 3206, 5034): syntax and the server side of a session.
//!
//! This crate knows neither files nor accounts nor how messages are stored. It asks its [`Office`].
#![no_std]

extern crate alloc;

mod limits;
mod maildrop;
mod office;
mod reply;
mod server;
mod settings;
mod stuffing;
mod syntax;

pub use limits::{INBOX_LIMIT, OUTBOX_MARK};
pub use office::{Answer, Ask, Entry, Office};
pub use server::Server;
pub use settings::{Settings, TlsMode};
