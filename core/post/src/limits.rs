//! Budgets: every loop, buffer and table here ends at one of these.

/// Most addresses that one path is followed through. An alias file of a company has lists of some hundred.
pub const STEPS_MAX: usize = 10_000;

/// How many aliases of aliases are followed to who may send as them.
pub(crate) const ALIASES_MAX: usize = 10;

/// `Received:` fields from which on a message is taken to loop. RFC 5321 §6.3 wants at least 100.
pub const MAX_HOPS: u32 = 100;

/// As much of a line as is looked at: a field name and the longest address (RFC 5321 §4.5.3.1).
pub(crate) const LINE_MAX: usize = 16 + 64 + 1 + 255;

/// Longest beginning of a line that is held until it is known which field it is: a whole line (RFC 5322 §2.1.1). What is longer is no field.
pub(crate) const HELD_MAX: usize = 998;

/// Most senders that are remembered, some hundred bytes each. Beyond, those with the most left are forgotten first, for they lose the least by it.
pub(crate) const SENDERS_MAX: usize = 50_000;
