//! DNS as facts: a stub resolver as a machine, its cache, and the codec of its messages.
//!
//! Datagrams in, datagrams out. This crate knows no mail and opens no socket.
#![no_std]

extern crate alloc;
