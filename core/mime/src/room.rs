//! Counts what a message's kept header values take, so that no header can take more than its budget.

use crate::limits;
use alloc::boxed::Box;

/// What is left of [`limits::ROOM`]. The scanner and the cache decoder spend alike, so that whatever one makes the other takes.
pub(crate) struct Room {
    left: usize,
}

/// What the pointers and the bookkeeping of one kept value take.
const VALUE: usize = 32;

impl Room {
    pub(crate) const fn new() -> Room {
        Room { left: limits::ROOM }
    }

    /// With what defaults take beyond the budget: those of a part are not paid for when it is scanned, as they cannot be refused.
    pub(crate) const fn with_defaults() -> Room {
        Room { left: limits::ROOM + limits::PARTS * 5 * (VALUE + 8) }
    }

    /// Pays for a value of that many bytes; false (and nothing is spent) if it no longer fits.
    pub(crate) fn pay(&mut self, bytes: usize) -> bool {
        match self.left.checked_sub(bytes.saturating_add(VALUE)) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }

    /// Keeps a value if it fits.
    pub(crate) fn keep(&mut self, bytes: &[u8]) -> Option<Box<[u8]>> {
        self.pay(bytes.len()).then(|| bytes.into())
    }
}
