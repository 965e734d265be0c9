//! Budgets of what comes in. Each has its reason.

/// Messages up to here are kept in memory and become part of a log record; larger ones become a file of the spool.
pub(crate) const INLINE_MAX: usize = 256 << 10;

/// The same when half of [`MEMORY_MAX`] is used: most letters are smaller, and only a file with its two flushes is what the others cost.
pub(crate) const INLINE_TIGHT: usize = 16 << 10;

/// Memory of all messages that are on their way in, or less where memory is short (`means.rs`). A hundred servers may send letters with pictures at once before the disk is used for them instead; a
/// thousand half messages are 16 KiB each. Beyond it nothing is held longer than until it is written.
pub(crate) const MEMORY_MAX: usize = 64 << 20;

/// How long it is believed what the disk said of its free space. What is written to it meanwhile is subtracted.
pub(crate) const ASK_DISK_MS: u64 = 1000;

/// Of what all messages on their way in may have on the disk, the part that one network may have.
pub(crate) const SHARES: u64 = 4;
