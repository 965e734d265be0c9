//! Budgets that are the same for every protocol.

/// How long a peer may take nothing of what is written to it. A telephone in a tunnel comes back within it (RFC 5321 §4.5.3.2 waits as long). Beyond, the
/// connection ends.
pub const WRITE_GRACE_MS: u64 = 5 * 60_000;

/// Octets a second that a peer has to take on average, once the grace is used up: a slow modem takes seven times as much. Less, and a place and what
/// was read for it from the disk would be held for days by who reads an octet a minute.
pub const WRITE_RATE: u64 = 500;

/// How long a peer that is sent away may take to read why.
pub const LAST_WORDS_MS: u64 = 500;
