//! What a server is told when a connection begins.

use alloc::sync::Arc;
use wire::Tls;

/// Facts and budgets of one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The name of this host in greetings; also the domain of a bare `<postmaster>`.
    pub hostname: Arc<str>,
    /// What the listener is for.
    pub role: Role,
    /// Largest message in octets as it crosses the wire without dot stuffing (RFC 1870); 0 for no limit.
    pub message_max: u64,
    /// Most recipients of one message, at least 1. RFC 5321 §4.5.3.1.8 wants 100 to be taken.
    pub recipients_max: u32,
    /// Whether there is TLS.
    pub tls: TlsMode,
    /// Whether AUTH is offered without TLS.
    pub plaintext_logins: bool,
}

/// What a listener is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Mail from other servers (port 25). AUTH is not offered.
    Relay,
    /// Mail from users (RFC 6409): nothing before AUTH.
    Submission,
    /// Mail from a local mail server, with a reply for each recipient (RFC 2033). AUTH is not offered.
    Lmtp,
}

/// Whether there is TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsMode {
    /// There is none and none is offered.
    Never,
    /// STARTTLS is offered.
    Start,
    /// The connection is protected.
    Already(Tls),
}
