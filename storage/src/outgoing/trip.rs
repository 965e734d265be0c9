//! A trip: where to connect to, and the client session that speaks there with the office that answers it.

use std::net::{IpAddr, SocketAddr};

/// What a runtime carries: it dials and drives the load, as it drives the sessions of guests.
///
/// The end is told to the office of the load in one of two ways: `unreachable` if the dial failed, `closed` after the drive. An office that is dropped
/// without either (no thread was left, a session panicked) takes that as a fault of this host.
pub struct Trip {
    /// Where to.
    pub dial: Dial,
    /// Who speaks there.
    pub load: Load,
}

/// Where to connect to, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dial {
    /// The peer.
    pub to: SocketAddr,
    /// The address of this host to come from; the system chooses if there is none.
    pub from: Option<IpAddr>,
    /// How bytes get there.
    pub transport: Transport,
    /// How long the connection may take to be made.
    pub timeout_ms: u64,
}

/// How bytes get there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// A stream.
    Tcp,
    /// Datagrams of one peer: each fills the inbox by itself, and what is in the outbox leaves as one.
    Udp,
}

/// A client session and the office that answers it.
pub enum Load {}
