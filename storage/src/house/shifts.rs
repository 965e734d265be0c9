//! Who does the chores: one thread after the other, and another as well while one waits for a disk that does not answer.

use super::House;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Seconds after which a thread that does chores is taken for one that waits for a disk, so that another goes on without it.
const LATE: u64 = 20;

/// Threads that may wait so. Each has met a call that does not return, and what it had to do with is left alone from then on.
const MOST: usize = 16;

/// How long the end waits for chores that are under way.
const AT_THE_END: Duration = Duration::from_secs(10);

/// Those who do chores.
#[derive(Default)]
pub(super) struct Shifts {
    now: Mutex<Now>,
    over: Condvar,
}

#[derive(Default)]
struct Now {
    /// Seconds so far, by those who say so.
    seconds: u64,
    count: u64,
    /// A number of its own and the second it began in, of each.
    at_work: Vec<(u64, u64)>,
}

/// A round of chores that somebody has to do.
#[must_use]
pub struct Shift {
    house: Arc<House>,
    number: u64,
}

impl Shift {
    /// Does it. Blocks, perhaps for ever: on a thread of its own.
    pub fn work(self) {
        self.house.chores();
    }
}

impl Drop for Shift {
    fn drop(&mut self) {
        self.house.shifts.now().at_work.retain(|(number, _)| *number != self.number);
        self.house.shifts.over.notify_all();
    }
}

impl Shifts {
    fn now(&self) -> MutexGuard<'_, Now> {
        // Nothing in there can be half done.
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for chores that are under way, but not for ever.
    pub(super) fn wait(&self) {
        let end = Instant::now() + AT_THE_END;
        let mut now = self.now();
        while now.at_work.iter().any(|(_, since)| now.seconds - since < LATE) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            now = self.over.wait_timeout(now, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl House {
    /// A second is over: call it about that often, whatever else waits. Never blocks. Gives the chores that are due, to be done on a thread of their own.
    pub fn tick(self: &Arc<House>) -> Option<Shift> {
        self.mailboxes.tick();
        let mut now = self.shifts.now();
        now.seconds += 1;
        let seconds = now.seconds;
        if now.at_work.len() >= MOST || now.at_work.iter().any(|(_, since)| seconds - since < LATE) {
            return None;
        }
        if !now.at_work.is_empty() {
            tracing::error!(threads = now.at_work.len(), "chores wait for a disk; others go on with them");
        }
        now.count += 1;
        let number = now.count;
        now.at_work.push((number, seconds));
        Some(Shift { house: self.clone(), number })
    }
}
