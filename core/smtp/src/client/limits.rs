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

/// Bytes of the names of mechanisms of AUTH that are kept: a dozen of them, each of at most 20 (RFC 4422 §3.1).
pub(super) const MECHANISMS_MAX: usize = 512;

/// Bytes of the name a peer gives itself that are kept: as long as names are (RFC 5321 §4.5.3.1.2).
pub(super) const NAME_MAX: usize = 255;

/// Longest line of AUTH with a first response (RFC 4954 §4: the limit of RFC 5321 §4.5.3.1.4), without its end.
pub(super) const AUTH_LINE_MAX: usize = 510;

/// Commands that may be unanswered. Without a bound both sides could wait for each other to read: the replies to so many fit into the buffers of any
/// connection (RFC 2920 §3.1).
pub(super) const PIPELINE_MAX: usize = 100;

/// Chunks that may be unanswered, for the same reason; and what is sent in vain after a refusal is no more than that.
pub(super) const CHUNKS_MAX: u32 = 16;

/// Octets of a message per second that a peer has to take, all in all: with a deadline for each block alone, a peer that takes a block every three
/// minutes would hold a connection for days.
pub(super) const RATE_MIN: u64 = 200;

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
