//! What becomes of a message: whom it is for, and the trace header fields it gets.
#![no_std]

extern crate alloc;
