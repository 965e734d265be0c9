//! Bulkheads against panics: what panicked is caught, said, counted, and the rest goes on.
//!
//! A panic is a mistake of ours, and whoever meets it first must not pay for everybody. So each thing that the house does by itself (a mailbox, a chore, a
//! report, a file of the drop folder) runs guarded, and `status` and the metrics tell how often what was caught.

use std::{
    any::Any,
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Mutex, PoisonError},
};

/// How often what panicked since the process began. A panic is a matter of the process, whichever house it came from.
static CAUGHT: Mutex<BTreeMap<&'static str, u64>> = Mutex::new(BTreeMap::new());

/// Does `f`. If it panics, that is logged as an error and counted under `what`, and nothing is returned.
///
/// What `f` can reach and others use afterwards has to be whole at each moment when something may panic: locks are taken whether or not they are
/// poisoned, so what they hold is changed in one step, or by something that is undone when it is dropped.
pub fn guarded<T>(what: &'static str, f: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(f)).map_err(|panic| caught(what, &*panic)).ok()
}

/// Logs and counts a panic that somebody caught in a way of their own.
pub fn caught(what: &'static str, panic: &(dyn Any + Send)) {
    *CAUGHT.lock().unwrap_or_else(PoisonError::into_inner).entry(what).or_default() += 1;
    tracing::error!(what, panic = words(panic), "a panic was caught, and everything else goes on");
}

/// How often what panicked: names that are documented with the metrics, and only of those that did.
pub fn panics() -> Vec<(&'static str, u64)> {
    CAUGHT.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|(what, count)| (*what, *count)).collect()
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("not a text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_counted_and_ends_nothing() {
        let count = || panics().into_iter().find(|(what, _)| *what == "a test of it").map_or(0, |(_, count)| count);
        assert_eq!((guarded("a test of it", || 7), count()), (Some(7), 0));
        assert_eq!(guarded("a test of it", || std::panic::resume_unwind(Box::new("a panic"))), None::<()>);
        assert_eq!(count(), 1);
    }
}
