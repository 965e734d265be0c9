//! The budgets of a client session. The peer is a stranger as much as a client is to a server.

/// Bytes of input a session needs room for: one line of a reply, and what is pipelined behind it.
pub const INBOX_LIMIT: usize = 8 << 10;

/// Bytes of output from which on they should be flushed: one block of a message.
pub const OUTBOX_MARK: usize = 32 << 10;

/// Longest line of a reply with its line end. RFC 5321 §4.5.3.1.5 says 512; many are longer.
pub(super) const LINE_MAX: usize = 4 << 10;

/// Lines of one reply. The longest lists of extensions have about thirty.
pub(super) const LINES_MAX: u32 = 200;

/// Bytes of a reply's text that are kept: they go into logs and reports.
pub(super) const TEXT_MAX: usize = 1024;

/// Octets of a message that are asked for at a time.
pub(super) const READ: usize = 16 << 10;

/// Time for the proxy to connect, which it does as patiently as we do.
pub(super) const PROXY_MS: u64 = 60_000;

/// RFC 5321 §4.5.3.2.1: the greeting.
pub(super) const GREETING_MS: u64 = 300_000;

/// The same for EHLO, STARTTLS and AUTH, for which it has no word, and for MAIL and RCPT (§4.5.3.2.2, 3).
pub(super) const COMMAND_MS: u64 = 300_000;

/// RFC 5321 §4.5.3.2.4: the reply to DATA.
pub(super) const DATA_MS: u64 = 120_000;

/// RFC 5321 §4.5.3.2.5: a block of the message.
pub(super) const BLOCK_MS: u64 = 180_000;

/// RFC 5321 §4.5.3.2.6: the reply to the final dot. Giving up earlier makes duplicates (RFC 1047).
pub(super) const FINAL_MS: u64 = 600_000;

/// Nothing depends on the reply to QUIT.
pub(super) const QUIT_MS: u64 = 2_000;
