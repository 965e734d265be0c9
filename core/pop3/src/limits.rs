//! The budgets of a session. Each has its reason; what a peer is told when it breaks one stands beside it.

/// Bytes of input a session needs room for: one AUTH response of the length RFC 4954 §4 asks for, and some pipelined commands.
pub const INBOX_LIMIT: usize = 16 << 10;

/// Bytes of replies from which on they should be flushed: pipelined RETRs of small messages leave together.
pub const OUTBOX_MARK: usize = 64 << 10;
