//! SASL mechanisms as little machines.
//!
//! A mechanism turns challenges and responses into a [`Proof`]; whether the proof is good is the host's to say. No
//! password is compared here and nothing knows how a protocol frames its lines.
//!
//! A protocol holds an [`Exchange`] while one is going on, hands it base64 lines and prints what comes back.
#![no_std]

extern crate alloc;

mod client;
mod exchange;
mod limits;
mod login;
mod mechanism;
mod plain;
mod proof;

pub use client::{Client, ClientError, Credentials};
pub use exchange::{Exchange, SaslError, SaslStep};
pub use limits::LINE_MAX;
pub use mechanism::Mechanism;
pub use proof::{Denied, Login, Proof, Secret};
