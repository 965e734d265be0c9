//! A lock whose holder may wait for a disk that never answers, so that whoever waits for the lock can give up.

use std::{
    ops::{Deref, DerefMut},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How often whoever waits looks whether to give up.
const LOOK: Duration = Duration::from_secs(1);

/// The lock.
pub(super) struct Turn<T> {
    gate: Gate,
    /// Nobody waits for this one: who is through the gate has it.
    inside: Mutex<T>,
}

/// What lets one through at a time.
#[derive(Default)]
struct Gate {
    state: Mutex<State>,
    free: Condvar,
}

#[derive(Default)]
struct State {
    taken: bool,
    waiting: usize,
}

/// Whose turn it is.
pub(super) struct Held<'a, T> {
    // Dropped first: who comes through the gate next finds it free.
    inside: MutexGuard<'a, T>,
    /// Whether somebody panicked who had it before: what is inside may be half changed.
    pub panicked: bool,
    _place: Place<'a>,
}

struct Place<'a>(&'a Gate);

impl<T> Turn<T> {
    pub fn new(inside: T) -> Turn<T> {
        Turn { gate: Gate::default(), inside: Mutex::new(inside) }
    }

    /// Waits for it; gives up when `hopeless` says so.
    pub fn wait(&self, hopeless: impl Fn() -> bool) -> Option<Held<'_, T>> {
        self.enter(|| if hopeless() { None } else { Some(LOOK) })
    }

    /// Waits no longer than that: whoever has it may have it for a moment, or for ever.
    pub fn soon(&self, patience: Duration) -> Option<Held<'_, T>> {
        let end = Instant::now() + patience;
        self.enter(|| Some(end.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero()))
    }

    /// `patience` says how long to wait before it is asked again.
    fn enter(&self, patience: impl Fn() -> Option<Duration>) -> Option<Held<'_, T>> {
        let mut state = self.gate.state();
        while state.taken {
            let patience = patience()?;
            state.waiting += 1;
            state = self.gate.free.wait_timeout(state, patience).unwrap_or_else(PoisonError::into_inner).0;
            state.waiting -= 1;
        }
        state.taken = true;
        drop(state);
        let place = Place(&self.gate);
        let (inside, panicked) = match self.inside.lock() {
            Ok(inside) => (inside, false),
            Err(poisoned) => {
                self.inside.clear_poison();
                (poisoned.into_inner(), true)
            }
        };
        Some(Held { inside, panicked, _place: place })
    }
}

impl Gate {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in there can be half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.taken = false;
        if state.waiting > 0 {
            self.0.free.notify_one();
        }
    }
}

impl<T> Deref for Held<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.inside
    }
}

impl<T> DerefMut for Held<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inside
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        sync::atomic::{AtomicBool, Ordering},
        thread,
    };

    #[test]
    fn one_has_it_and_others_wait_or_give_up() {
        let turn = Turn::new(0);
        let mut first = turn.soon(Duration::ZERO).unwrap();
        assert!(turn.soon(Duration::ZERO).is_none());
        assert!(turn.soon(Duration::from_millis(5)).is_none());
        assert!(turn.wait(|| true).is_none());
        thread::scope(|scope| {
            let others: Vec<_> = (0..4).map(|_| scope.spawn(|| *turn.wait(|| false).unwrap() += 1)).collect();
            *first += 1;
            drop(first);
            others.into_iter().for_each(|other| other.join().unwrap());
        });
        assert_eq!(*turn.soon(Duration::ZERO).unwrap(), 5);
    }

    #[test]
    fn who_waits_hears_that_it_is_hopeless() {
        let (turn, hopeless) = (Turn::new(()), AtomicBool::new(false));
        let held = turn.soon(Duration::ZERO).unwrap();
        thread::scope(|scope| {
            let waits = scope.spawn(|| turn.wait(|| hopeless.load(Ordering::SeqCst)).is_none());
            hopeless.store(true, Ordering::SeqCst);
            assert!(waits.join().unwrap());
        });
        drop(held);
    }

    #[test]
    fn a_panic_is_told_to_the_next_and_nobody_else() {
        let turn = Turn::new(());
        let panics = catch_unwind(AssertUnwindSafe(|| {
            let _held = turn.soon(Duration::ZERO);
            std::panic::resume_unwind(Box::new("a panic"));
        }));
        assert!(panics.is_err());
        assert!(turn.soon(Duration::ZERO).unwrap().panicked);
        assert!(!turn.soon(Duration::ZERO).unwrap().panicked);
    }
}
