//! Everybody who is connected: how many they are, and how to part with them. One lobby for those who came, one for those who were called.

use rustix::net::{Shutdown, shutdown};
use std::{
    collections::BTreeMap,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// How often somebody who waits for others to leave looks again. It happens at the end and under attack; to be told would cost every
/// connection a system call.
const LOOK: Duration = Duration::from_millis(20);

/// The sockets of all connections, whether the house knows them already or not.
#[derive(Default)]
pub struct Lobby {
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    sockets: BTreeMap<u64, Arc<OwnedFd>>,
    next: u64,
}

/// A place in the lobby; free again when dropped.
pub struct Place {
    lobby: Arc<Lobby>,
    number: u64,
}

impl Lobby {
    /// Takes a place.
    pub fn enter(self: &Arc<Lobby>, socket: Arc<OwnedFd>) -> Place {
        let mut book = self.book();
        book.next += 1;
        let number = book.next;
        book.sockets.insert(number, socket);
        Place { lobby: self.clone(), number }
    }

    /// Waits until at most `most` are here; false if `limit` came first.
    pub fn wait_for(&self, most: usize, limit: Instant) -> bool {
        while self.count() > most {
            if Instant::now() >= limit {
                return false;
            }
            thread::sleep(LOOK);
        }
        true
    }

    /// How many are here.
    pub fn count(&self) -> usize {
        self.book().sockets.len()
    }

    /// Hangs up on everybody: reads end, writes fail, sessions say that their peer is gone.
    pub fn cut(&self) -> usize {
        let book = self.book();
        for socket in book.sockets.values() {
            // It fails only for peers that are gone already.
            let _ = shutdown(socket, Shutdown::Both);
        }
        book.sockets.len()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.lobby.book().sockets.remove(&self.number);
    }
}
