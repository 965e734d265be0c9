//! The budgets of a session. Each has its reason; what a peer is told when it breaks one stands beside it.

/// Bytes of input a session needs room for: messages pass through it in slices of up to this size.
pub const INBOX_LIMIT: usize = 64 << 10;

/// Bytes of replies from which on they should be flushed.
pub const OUTBOX_MARK: usize = 4 << 10;

/// Longest line with its CRLF. Only AUTH may be that long (RFC 4954 §4). Beyond: the line is dropped up to its CRLF, then 500 5.5.2,
/// or 500 5.5.6 within an exchange.
pub(crate) const LINE_MAX: usize = sasl::LINE_MAX;

/// Longest command line with its CRLF unless it is AUTH: 512 octets (RFC 5321 §4.5.3.1.4) and what extensions add to MAIL (RFC 1870 26, RFC 6152 17,
/// RFC 6531 10, RFC 4954 500, RFC 3461 117, RFC 2852 17, RFC 4865 34, RFC 6710 15, RFC 8689 11) or to RCPT (RFC 3461 540), rounded up for clients
/// that cannot count. Beyond: 500 5.5.2.
pub(crate) const COMMAND_MAX: usize = 2048;

/// Longest local part in octets. RFC 5321 §4.5.3.1.1 wants 64 to be taken; senders that write the recipient into their address go
/// beyond. Beyond: 501.
pub(crate) const LOCAL_MAX: usize = 128;

/// Longest domain in octets (RFC 5321 §4.5.3.1.2). Beyond: 501.
pub(crate) const DOMAIN_MAX: usize = 255;

/// Longest label of a domain in octets (RFC 1035 §2.3.4). Beyond: 501.
pub(crate) const LABEL_MAX: usize = 63;

/// Mistakes (bad syntax, wrong phase, refused logins and messages) since the last message that was taken. Beyond: 421 4.7.0.
pub(crate) const MISTAKES_MAX: u32 = 20;

/// Refused recipients since the last message that was taken; a mailing list may be stale, a harvester never ends. Beyond: 421 4.7.0.
pub(crate) const REFUSED_MAX: u32 = 100;

/// Recipients and senders that were put off (too many, full, not now) since the last message that was taken. Clients pipeline their whole list
/// whatever is answered (RFC 2920), but no list is endless. Beyond: 421 4.7.0.
pub(crate) const PUT_OFF_MAX: u32 = 1000;

/// Refused logins in one connection. Beyond: 421 4.7.0.
pub(crate) const LOGINS_MAX: u32 = 5;

/// Commands that move nothing (NOOP, RSET, VRFY, HELP, a new EHLO, an empty chunk) since the last message that was taken. Beyond: 421 4.7.0.
pub(crate) const IDLE_MAX: u32 = 100;

/// Time for one whole command line (RFC 5321 §4.5.3.2.7). A line that drips in does not move it. Beyond: 421 4.4.2.
pub(crate) const COMMAND_MS: u64 = 300_000;

/// How long a message may pause (RFC 5321 §4.5.3.2.7). Beyond: 421 4.4.2.
pub(crate) const DATA_GRACE_MS: u64 = 300_000;

/// Octets a second a message has to keep up on average, once the grace is used up: a modem has seven times as much, and a message of 100 MB ends within
/// days, not weeks. Beyond: 421 4.4.2.
pub(crate) const DATA_RATE: u64 = 500;

/// Time from the greeting, or from the last message that was taken, to the first octet of the next, for a client that has not logged in. Lists of a
/// thousand recipients, each with its round trip and our answer, are done by then; who says NOOP every few minutes is, too. Beyond: 421 4.4.2.
pub(crate) const BEFORE_DATA_MS: u64 = 900_000;

/// [`COMMAND_MS`] and [`DATA_GRACE_MS`] for a client that has not logged in while places are short. Servers answer within a second or two; Postfix gives
/// as much under stress. Beyond: 421 4.4.2.
pub(crate) const HURRIED_MS: u64 = 10_000;

/// [`BEFORE_DATA_MS`] for the same.
pub(crate) const HURRIED_BEFORE_DATA_MS: u64 = 60_000;

/// [`IDLE_MAX`] for the same. Beyond: 421 4.7.0.
pub(crate) const HURRIED_IDLE_MAX: u32 = 1;
