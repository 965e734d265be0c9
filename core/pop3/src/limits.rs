//! The budgets of a session. Each has its reason; what a peer is told when it breaks one stands beside it.

/// Bytes of input a session needs room for: the longest line and some pipelined commands.
pub const INBOX_LIMIT: usize = 16 << 10;

/// Bytes of replies from which on they should be flushed: pipelined RETRs of small messages leave together.
pub const OUTBOX_MARK: usize = 64 << 10;

/// Longest line with its CRLF. Only AUTH and its responses may be that long (RFC 5034 §4, RFC 4954 §4). Beyond: the line is dropped up to its
/// CRLF, then -ERR.
pub(crate) const LINE_MAX: usize = sasl::LINE_MAX;

/// Longest command line with its CRLF unless it is AUTH: RFC 2449 §4 wants 255, pass phrases may want more. Beyond: -ERR.
pub(crate) const COMMAND_MAX: usize = 1200;

/// Bytes of a message that are asked for at once, so that a small one takes one question and a large one passes through little.
pub(crate) const CHUNK: usize = 32 << 10;

/// The same for what seems to be smaller: a size that is wrong must not make it trickle.
pub(crate) const CHUNK_MIN: usize = 4 << 10;

/// Mistakes of a session (bad syntax, wrong state, no such message). Beyond: -ERR, then it ends.
pub(crate) const MISTAKES_MAX: u32 = 100;

/// Refused logins of a session. With the last one it ends.
pub(crate) const LOGINS_MAX: u32 = 5;

/// The autologout timer (RFC 1939 §3: at least 10 minutes), and the time to log in, which no command moves: strangers keep nobody's place.
/// A line that drips in does not move either. Beyond: the session ends without a word and removes nothing.
pub(crate) const IDLE_MS: u64 = 600_000;

/// Time to log in while places are short, and again after a handshake: two of the ten seconds that a line gets elsewhere then. Beyond: the session ends
/// without a word.
pub(crate) const HURRIED_MS: u64 = 20_000;
