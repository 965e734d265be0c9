//! Configuration: what an operator writes, as types, with defaults that work, and the command line.
//!
//! This crate reads no file and opens no socket: text in, a checked [`Config`] or an error with its position out; arguments in, a
//! [`cli::Cli`] out. Whether a certificate can be read or a port bound is found out by whoever has a disk and sockets.

mod check;
mod check_sending;
pub mod cli;
mod derived;
mod error;
mod locate;
mod net;
mod parse;
mod sending;
mod types;

pub use check::is_domain;
pub use derived::Unsafe;
pub use error::{ConfigError, Problem, nearest};
pub use locate::Step;
pub use net::{Network, NoNetwork};
pub use parse::{parse, parse_as};
pub use sending::{
    Addresses, Control, Credentials, HoldRule, Outgoing, OutgoingTls, Queue, Rate, Relay, Reports, Resolver, Retry, Route, Socks5, Srs,
    Strangers,
};
pub use types::{Certificate, Config, Imap, Limits, Listen, LogFormat, Logging, Speak, TlsMode};
