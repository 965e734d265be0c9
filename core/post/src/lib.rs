//! What becomes of a message: whom it is for, what is written ahead of it, and whether it has been here before.
//!
//! Plain functions over facts that somebody else finds. Nothing here knows a protocol, a file or a clock.
#![no_std]

extern crate alloc;

mod alias;
mod beginning;
mod expand;
mod foreign;
mod hops;
mod limits;
mod network;
mod rate;
mod recipient;
mod relay;
mod srs;
mod tidy;
mod trace;
mod verp;

pub use alias::{Alias, AliasError, Target, Why, parse_aliases, parse_included};
pub use expand::{Addresses, Destiny, Expansion, Refused, expand};
pub use foreign::Foreign;
pub use hops::Hops;
pub use limits::{MAX_HOPS, STEPS_MAX};
pub use network::Network;
pub use rate::{Limit, Rates};
pub use recipient::{Directory, Ruling, rule};
pub use relay::{Client, may_send, owner};
pub use srs::Srs;
pub use tidy::{Tidy, TidyFacts};
pub use trace::Trace;
pub use verp::{unverp, verp};

#[cfg(test)]
mod expand_tests;
