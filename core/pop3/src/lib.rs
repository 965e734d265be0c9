//! POP3 (RFC 1939, 2449, 2595, 3206, 5034): syntax and the server side of a session.
//!
//! This crate knows neither files nor accounts nor how messages are stored. It asks its [`Office`].
#![no_std]

extern crate alloc;

mod office;

pub use office::{Answer, Ask, Entry, Office};
