//! Enough of HTTP/1.1 (RFC 9110, RFC 9112) for metrics, control and administration: one server session, and what a simple client needs.
//!
//! Bytes in, bytes and questions out. This crate knows no page and no mail, no cookie, no cache and no upgrade. The syntax of heads is
//! `httparse`'s. (The server side of `ureq-proto` does not fit: it takes a POST without a length for a chunked one and waits, it ignores the body of
//! a GET, so that it would be read as the next request, and it takes a length beside chunks.)
#![no_std]

extern crate alloc;

pub mod client;
mod head;
mod limits;
mod message;
mod office;
mod server;

pub use limits::{BODY_MAX, INBOX_LIMIT, OUTBOX_MARK};
pub use message::{Body, Method, Request, Response};
pub use office::{Answer, Ask, Office};
pub use server::Server;
