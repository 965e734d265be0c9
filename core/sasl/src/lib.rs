//! SASL mechanisms as little machines.
//!
//! A mechanism turns challenges and responses into a [`Proof`]; whether the proof is good is the host's to say. No
//! password is compared here and nothing knows how a protocol frames its lines.
#![no_std]

extern crate alloc;

mod proof;

pub use proof::{Denied, Login, Proof, Secret};
