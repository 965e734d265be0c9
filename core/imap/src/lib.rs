//! IMAP4rev1 (RFC 3501 and extensions): frames, syntax, printing and the server side of a session.
//!
//! This crate knows neither files nor accounts nor how messages are stored. It asks its [`Office`].
#![no_std]

extern crate alloc;

mod office;
pub mod print;

pub use office::{Answer, Ask, Change, Changes, Copied, Counts, Detail, Listed, Need, Office, Refusal, Selected, Upload};
