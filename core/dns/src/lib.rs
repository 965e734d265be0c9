//! DNS as facts: a stub resolver as a machine, its cache, and the codec of its messages.
//!
//! Datagrams in, datagrams out. This crate knows no mail and opens no socket. Whoever wants a fact asks [`Resolver::look_up`]; what it
//! cannot tell from its cache leaves as an [`Exchange`], a session over one connection to one server, and comes back through
//! [`Resolver::done`].
#![no_std]

extern crate alloc;

mod cache;
mod codec;
mod conf;
mod exchange;
mod fact;
mod limits;
mod resolver;

pub use conf::{Settings, resolv_conf};
pub use exchange::{Ask, Exchange, Transport};
pub use fact::{Found, Kind, Query, Record};
pub use limits::{INBOX_LIMIT, OUTBOX_MARK};
pub use resolver::Resolver;
