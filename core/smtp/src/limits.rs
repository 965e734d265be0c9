//! The budgets of a session. Each has its reason; what a peer is told when it breaks one stands beside it.

/// Bytes of input a session needs room for: messages pass through it in slices of this size.
pub const INBOX_LIMIT: usize = 64 << 10;

/// Bytes of replies from which on they should be flushed.
pub const OUTBOX_MARK: usize = 4 << 10;
