//! Every limit of this crate, each with its reason.

/// Most messages in one mailbox: with names of 255 bytes each, the buffer of names stays addressable by 32 bits. More are refused (`[LIMIT]`).
pub const MESSAGES: usize = 1 << 24;

/// Longest file name that POSIX file systems of today all take (NAME_MAX), in bytes.
pub const FILE_NAME: usize = 255;

/// Largest file that is a message, 16 GiB. A sparse file costs its owner nothing, and reading it would keep a thread busy for hours; and the sizes of as many messages
/// as a mailbox may have add up to something that 64 bits hold.
pub const MESSAGE: u64 = 1 << 34;

/// Greatest change number: that of RFC 7162, which has 63 bits. What an index or a file of bounds says beyond is damage.
pub const MOD_SEQ: u64 = i64::MAX as u64;

/// Dates that every wire can print: the years 1 to 9999, in seconds since 1970. A file may claim others.
pub const DATES: core::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// Keywords of one mailbox: a file name has a letter from `a` to `z` for each. More are refused (`[LIMIT]`).
pub const KEYWORDS: usize = 26;

/// Longest payload of an index record: a fixed part, a base name and an info part. A longer one is not a record.
pub const RECORD: usize = 64 + 2 * FILE_NAME;

/// Longest text of a `hikyaku.uids` file before it is written anew. Each line is below 80 bytes.
pub const UIDS_FILE: u64 = 4 << 10;

/// Most names that an account may subscribe to or give a use, so that its register stays small. More are refused (`[LIMIT]`).
pub const REGISTER: usize = 10_000;
