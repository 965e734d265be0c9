//! SMTP, submission and LMTP (RFC 5321, 6409, 2033): syntax, replies, and both sides of a session.
//!
//! This crate does not know accounts, files, clocks or the network. It asks its [`Office`].
#![no_std]

extern crate alloc;

pub mod client;
mod content;
mod limits;
mod office;
mod reply;
mod server;
mod settings;
mod syntax;

pub use limits::{INBOX_LIMIT, OUTBOX_MARK};
pub use office::{Answer, Ask, Body, Loss, Office, Receipt, Refusal, Start, Verdict};
pub use server::Server;
pub use settings::{Offers, Role, Settings, TlsMode};

/// The address that these characters mean (RFC 5321 §4.1.2: a `Mailbox`), as [`mail::Address`] prints one and as it stands between `<` and `>`.
pub fn path(text: &str) -> Option<mail::Address> {
    syntax::path::printed(text)
}
