//! What was accepted and is not done: the records of the spool log, their framing, and what a replay makes of them.
#![no_std]

extern crate alloc;
