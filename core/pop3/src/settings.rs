//! What a server is told when a connection begins.

use alloc::sync::Arc;
use wire::Tls;

/// Facts of one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The name of this host in the greeting.
    pub hostname: Arc<str>,
    /// Whether there is TLS.
    pub tls: TlsMode,
    /// Whether passwords may be sent without TLS.
    pub plaintext_logins: bool,
}

/// Whether there is TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsMode {
    /// There is none and none is offered.
    Never,
    /// STLS is offered.
    Start,
    /// The connection is protected.
    Already(Tls),
}
