//! The spool: one append-only log with group commit.
