//! What a server is told when a connection begins.

use alloc::sync::Arc;
use mail::Stamp;
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
    /// What is offered beside what every office can do.
    pub offers: Offers,
    /// Whether the client may raise priorities although it has not logged in (RFC 6710 §4.1): a host that is known.
    pub trusted: bool,
    /// Most MAIL commands in one connection (RFC 9422 §4.1); 0 for no limit.
    pub mails_max: u32,
    /// The wall clock at the tick the session is made with. HOLDFOR, BY and the limit of HOLDUNTIL are counted from it, so that the host gets moments
    /// and the session stays a function of its input.
    pub clock: Stamp,
}

/// Extensions that only some offices can honour: a wish that is taken here must be remembered, handed on and reported on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Offers {
    /// DSN (RFC 3461): there is somebody who reports.
    pub dsn: bool,
    /// BINARYMIME (RFC 3030 §3): the office keeps every octet, and whoever hands on can re-encode.
    pub binary: bool,
    /// FUTURERELEASE (RFC 4865): the longest a message is held, in seconds below 10^9; 0 if none is. Only for [`Role::Submission`].
    pub hold_max: u32,
    /// DELIVERBY (RFC 2852): the shortest time after which a message may be asked back, in seconds.
    pub deliver_by: Option<u32>,
    /// MT-PRIORITY (RFC 6710): a queue goes by it. Who has not logged in is given no more than 0, unless trusted.
    pub priority: bool,
    /// REQUIRETLS (RFC 8689): whoever hands on obeys it. Offered under TLS only.
    pub require_tls: bool,
}

impl Offers {
    /// All that a host with a queue can do: messages are held for up to `hold_max` seconds.
    pub const fn all(hold_max: u32) -> Offers {
        Offers { dsn: true, binary: true, hold_max, deliver_by: Some(0), priority: true, require_tls: true }
    }
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
