//! How many passwords are verified at a time.

use crate::means;
use std::sync::{Condvar, Mutex, PoisonError};

/// Most that wait; more means that the machine cannot keep up, and that clients had better try again later. Half the threads that answer
/// questions on smol: a flood of logins must not keep mail from the disk.
const WAITING_MAX: usize = 64;

/// A semaphore. Argon2 takes 19 MiB and a core, so a few at a time are as fast as many and stay small.
#[derive(Debug)]
pub(crate) struct Gate {
    state: Mutex<State>,
    left: Condvar,
    width: usize,
}

#[derive(Debug, Default)]
struct State {
    inside: usize,
    waiting: usize,
}

/// Leave to be inside; leaves when dropped.
pub(crate) struct Pass<'g>(&'g Gate);

impl Gate {
    /// Two for each core, or fewer where memory is short.
    pub(crate) fn new() -> Gate {
        Gate::of(means::passwords())
    }

    fn of(width: usize) -> Gate {
        Gate { state: Mutex::default(), left: Condvar::new(), width }
    }

    /// Waits to get in; nobody gets in if too many wait already.
    pub(crate) fn enter(&self) -> Option<Pass<'_>> {
        // The counters are right at every moment of the lock, so a panic elsewhere leaves nothing behind.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.inside >= self.width {
            if state.waiting >= WAITING_MAX {
                return None;
            }
            state.waiting += 1;
            state = self.left.wait_while(state, |s| s.inside >= self.width).unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
        state.inside += 1;
        Some(Pass(self))
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner).inside -= 1;
        self.0.left.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    #[test]
    fn never_more_than_its_width() {
        let gate = Gate::of(3);
        let (inside, most, times) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|s| {
            for _ in 0..16 {
                s.spawn(|| {
                    for _ in 0..50 {
                        let _pass = gate.enter().expect("few wait");
                        most.fetch_max(inside.fetch_add(1, SeqCst) + 1, SeqCst);
                        times.fetch_add(1, SeqCst);
                        std::thread::yield_now();
                        inside.fetch_sub(1, SeqCst);
                    }
                });
            }
        });
        assert!(most.load(SeqCst) <= 3);
        assert_eq!(times.load(SeqCst), 800);
    }
}
