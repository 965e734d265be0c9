//! What becomes of a message: whom it is for, what is written ahead of it, and whether it has been here before.
//!
//! Plain functions over facts that somebody else finds. Nothing here knows a protocol, a file or a clock.
#![no_std]

extern crate alloc;

mod hops;
mod recipient;
mod trace;

pub use hops::{Hops, MAX_HOPS};
pub use recipient::{Directory, Ruling, rule};
pub use trace::Trace;
