//! Configuration: what an operator writes, as types, with defaults that work, and the command line.
//!
//! This crate reads no file and opens no socket: text in, a checked [`Config`] or an error with its position out.

mod types;

pub use types::{Certificate, Config, Imap, Limits, Listen, LogFormat, Logging, Speak, TlsMode};
