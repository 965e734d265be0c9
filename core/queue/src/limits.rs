//! Budgets of a record. What is over them is refused where it is made, and is no record where it is read.

/// Longest account, mailbox, file or other name in bytes; no file system has longer names, no mailbox either.
pub const NAME_MAX: usize = 1024;

/// Longest address in bytes (RFC 5321 §4.5.3.1: 64 + 1 + 255), with room for quotes and UTF-8.
pub const ADDRESS_MAX: usize = 1024;

/// Most targets of one message. One SMTP transaction has far fewer recipients.
pub const TARGETS_MAX: usize = 10_000;

/// Most keywords of one target; no mailbox keeps more.
pub const KEYWORDS_MAX: usize = 255;

/// Most names in one removal. At up to [`NAME_MAX`] bytes each they would not fit a segment; whoever removes more writes several records.
pub const BASES_MAX: usize = 10_000;
