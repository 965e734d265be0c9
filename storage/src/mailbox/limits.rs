//! Every limit of the mailboxes, each with its reason.

use std::time::Duration;

/// UIDs reserved at a time without a flush of their own. A crash skips at most this many.
pub(super) const UID_BLOCK: u32 = 1000;

/// Change numbers reserved at a time: flag changes have no spool record that could carry a bound, so a block lasts long.
pub(super) const MOD_SEQ_BLOCK: u64 = 1 << 20;

/// Removals that sessions have not heard of yet, a mailbox. A session that lags behind more is told that its mailbox is lost.
pub(super) const GONE_LOG: usize = 1 << 20;

/// Flag changes that are found again without looking at every message.
pub(super) const FLAG_LOG: usize = 4096;

/// Files that wait for their removal, a mailbox. Beyond it `remove` does the work itself, so the queue cannot outgrow the disk.
pub(super) const DOOMED: usize = 20_000;

/// Bases of messages that other programs took away, a mailbox, to be known again when they come back.
pub(super) const MISSED: usize = 100_000;

/// Mailboxes in which the chores look each second what other programs did, while the spool has mail of theirs; with more of them each has its turn.
pub(super) const LOOKS: usize = 500;

/// Files removed, or moved from `new/` to `cur/`, while the lock of a mailbox is held: removing one takes milliseconds on some file systems.
pub(super) const BATCH: usize = 4;

/// Files removed or moved in one round of chores, a mailbox.
pub(super) const ROUND: usize = 500;

/// Files moved from `new/` to `cur/` while a client waits for SELECT.
pub(super) const MOVE_NOW: usize = 200;

/// How often a listing is repeated because files moved under it, before it is believed.
pub(super) const LISTINGS: usize = 4;

/// Modification times younger than this may hide a later change within the same clock tick.
pub(super) const YOUNG_NS: i128 = 2_000_000_000;

/// Age of files in `tmp/` that nobody will finish (the Maildir specification says 36 hours).
pub(super) const TMP_AGE_S: i64 = 36 * 3600;

/// How often `tmp/` of an open mailbox is looked at.
pub(super) const TMP_LOOK_S: i64 = 3600;

/// Log records that are read again at each start, beyond two a message, before a snapshot replaces them.
pub(super) const LOG_SLACK: usize = 1000;

/// Bytes in `hikyaku.cache` that belong to nobody before it is written anew (if they are also more than half).
pub(super) const CACHE_SLACK: u64 = 1 << 20;

/// Index records kept in memory while the disk does not take them; beyond it a snapshot is due instead.
pub(super) const LOG_HELD: usize = 1 << 20;

/// Piece of a file that is read at once.
pub(super) const PIECE: usize = 64 << 10;

/// Seconds for which a mailbox is not opened again that ended in a panic, and is not looked after again that failed: each attempt may cost as much as the
/// first.
pub(super) const PANIC_REST_S: i64 = 30;

/// Rounds, of about a second, after which a call of the disk that has not returned keeps new mail away from its Maildir: who brings it would wait.
pub(super) const LATE_ROUNDS: u64 = 5;

/// Rounds after which it is taken for one that never returns. A slow disk takes some seconds for a call; a listing is heard of while it goes on.
pub(super) const STALLED_ROUNDS: u64 = 30;

/// Maildirs of one file system with such calls, from which on all of it is taken to be so: each finds that out at the cost of a thread.
pub(super) const STALLED_MANY: usize = 3;

/// Rounds after which the sync of a whole file system is taken for one that never returns. All that others wrote there is synced with it.
pub(super) const SYNC_ROUNDS: u64 = 300;

/// The longest that a checkpoint waits for whoever has a mailbox; if that is not enough it comes again.
pub(super) const PATIENCE: Duration = Duration::from_millis(300);

/// Structures of one `describe` are read from the cache in one go if they lie this close together.
pub(super) const BLOB_RUN: u64 = 256 << 10;

/// Longest frame in the cache that is believed. The scanner bounds what it keeps of a message.
pub(super) const BLOB: u32 = 4 << 20;

/// Longest file of bounds, of keywords, or with the last UIDVALIDITY that is read: each has some lines.
pub(super) const SMALL_BOOK: u64 = 64 << 10;

/// Longest register that is read: as many lines as it may have, with the longest names.
pub(super) const REGISTER: u64 = 16 << 20;

/// Piece of an index that is read at once, and looked at before the next is.
pub(super) const INDEX_PIECE: usize = 32 << 20;

/// Longest UIDL (RFC 1939 §7).
pub(super) const UIDL: usize = 70;

/// Mailboxes of one account. More are refused (`[LIMIT]`).
pub(super) const MAILBOXES: usize = 10_000;

/// Messages kept in memory while nobody needs them, at about 130 bytes each.
pub(super) const BUDGET: usize = 200_000;
