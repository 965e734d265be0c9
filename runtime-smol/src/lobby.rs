//! Everybody who is connected: how many they are, and how to part with them.

use async_executor::{Executor, Task};
use async_io::Timer;
use futures_lite::FutureExt as _;
use std::{
    collections::BTreeMap,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use storage::supervise::caught;

/// How often somebody who waits for others to leave looks again. It happens at the end and under attack; to be told would cost every
/// connection.
const LOOK: Duration = Duration::from_millis(20);

/// The tasks of all connections, whether the house knows them already or not.
#[derive(Default)]
pub struct Lobby {
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    /// `None` only between the entry and the start of the task.
    tasks: BTreeMap<u64, Option<Task<()>>>,
    next: u64,
}

/// A place in the lobby; free again when dropped.
struct Place {
    lobby: Arc<Lobby>,
    number: u64,
}

impl Lobby {
    /// Runs a connection. Its panic ends it and nothing else.
    pub fn admit(self: &Arc<Lobby>, executor: &Executor<'static>, connection: impl Future<Output = ()> + Send + 'static) {
        let place = self.enter();
        let number = place.number;
        let task = executor.spawn(async move {
            let _place = place;
            if let Err(panic) = AssertUnwindSafe(connection).catch_unwind().await {
                caught("connection", &*panic);
            }
        });
        match self.book().tasks.get_mut(&number) {
            Some(entry) => *entry = Some(task),
            // It is over already.
            None => task.detach(),
        }
    }

    fn enter(self: &Arc<Lobby>) -> Place {
        let mut book = self.book();
        book.next += 1;
        let number = book.next;
        book.tasks.insert(number, None);
        Place { lobby: self.clone(), number }
    }

    /// Waits until at most `most` are here; false if `limit` came first.
    pub async fn wait_for(&self, most: usize, limit: Instant) -> bool {
        while self.count() > most {
            if Instant::now() >= limit {
                return false;
            }
            Timer::after(LOOK).await;
        }
        true
    }

    /// How many are here.
    pub fn count(&self) -> usize {
        self.book().tasks.len()
    }

    /// Drops everybody: what a connection was doing ends at the point where it waits.
    pub fn cut(&self) -> usize {
        let tasks: Vec<_> = self.book().tasks.values_mut().filter_map(Option::take).collect();
        tasks.len()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let task = self.lobby.book().tasks.remove(&self.number);
        if let Some(Some(task)) = task {
            // It is this task that is ending; to cancel it now would be too late.
            task.detach();
        }
    }
}
