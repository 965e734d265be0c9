//! Room for messages that are not promised yet: what the disk has left, what such messages have written to it, and the memory they hold.
//!
//! Half messages belong to nobody, and anybody can make them. So each has a [`Claim`] while it comes in: what it takes is counted there and given back
//! with it, and beyond the budgets it is told that there is no room, or to leave memory for the disk.

use crate::{clock::Clock, disk::Disk, limits::*, means};
use post::Network;
use std::{
    collections::BTreeMap,
    fmt, io,
    net::IpAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

/// What all half messages share.
pub(crate) struct Space {
    disk: Arc<dyn Disk>,
    /// A directory of the file system that they are on.
    path: PathBuf,
    clock: Clock,
    book: Mutex<Book>,
    /// Bytes of memory.
    held: AtomicUsize,
}

#[derive(Default)]
struct Book {
    /// When the disk was asked, and what it said, less what was written since. Unknown where the system does not tell.
    asked_ms: Option<u64>,
    free: Option<u64>,
    /// It is said once that there is too little.
    is_short: bool,
    /// Bytes in files of messages that are not promised, in all and by network.
    written: u64,
    by_network: BTreeMap<Network, u64>,
}

/// What an operator allows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowed {
    /// So much stays free on the disk.
    pub reserve: u64,
    /// So much may all half messages have on it.
    pub uncommitted: u64,
    /// And those of one network.
    pub share: u64,
}

/// Why there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shortage {
    /// The disk is almost full.
    Disk,
    /// There are too many half messages.
    Uncommitted,
    /// There are too many from this network.
    Share,
}

/// What one half message takes.
pub(crate) struct Claim {
    space: Arc<Space>,
    allowed: Allowed,
    /// Whom it counts for besides. None of what comes from this machine.
    network: Option<Network>,
    written: u64,
    held: usize,
}

impl Space {
    pub(crate) fn new(disk: Arc<dyn Disk>, path: PathBuf, clock: Clock) -> Space {
        Space { disk, path, clock, book: Mutex::default(), held: AtomicUsize::new(0) }
    }

    /// Whether a message of `size` bytes can be begun.
    ///
    /// # Errors
    /// Says what is short.
    pub(crate) fn check(&self, allowed: Allowed, size: u64) -> Result<(), Shortage> {
        let mut book = self.book();
        self.look(&mut book, allowed);
        if book.free.is_some_and(|free| free < allowed.reserve.saturating_add(size)) {
            return Err(Shortage::Disk);
        }
        // A small one never gets there.
        if size > INLINE_MAX as u64 && book.written.saturating_add(size) > allowed.uncommitted {
            return Err(Shortage::Uncommitted);
        }
        Ok(())
    }

    /// A half message begins, from `peer` if it came over a network.
    pub(crate) fn claim(self: &Arc<Space>, allowed: Allowed, peer: Option<IpAddr>) -> Claim {
        let network = peer.filter(|ip| !ip.to_canonical().is_loopback()).map(Network::around);
        Claim { space: self.clone(), allowed, network, written: 0, held: 0 }
    }

    /// Bytes that the disk has left, as far as it is known.
    pub(crate) fn free(&self, allowed: Allowed) -> Option<u64> {
        let mut book = self.book();
        self.look(&mut book, allowed);
        book.free
    }

    /// Bytes in files of messages that are not promised.
    pub(crate) fn uncommitted(&self) -> u64 {
        self.book().written
    }

    /// Bytes of memory of messages that are not promised.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Asks the disk, if that was not done lately.
    fn look(&self, book: &mut Book, allowed: Allowed) {
        let now = self.clock.ms();
        if book.asked_ms.is_some_and(|at| now.saturating_sub(at) < ASK_DISK_MS) {
            return;
        }
        book.asked_ms = Some(now);
        book.free = self.disk.free_space(&self.path).ok();
        let is_short = book.free.is_some_and(|free| free < allowed.reserve);
        if std::mem::replace(&mut book.is_short, is_short) != is_short {
            let (free, reserve) = (book.free, allowed.reserve);
            if is_short {
                tracing::error!(free, reserve, path = %self.path.display(), "the disk is almost full: no mail is taken");
            } else {
                tracing::info!(free, reserve, "there is room on the disk again");
            }
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claim {
    /// It holds so much memory now.
    pub(crate) fn hold(&mut self, bytes: usize) {
        if bytes > self.held {
            self.space.held.fetch_add(bytes - self.held, Ordering::Relaxed);
        } else {
            self.space.held.fetch_sub(self.held - bytes, Ordering::Relaxed);
        }
        self.held = bytes;
    }

    /// How much it may hold before it goes to the disk.
    pub(crate) fn most_held(&self) -> usize {
        match self.space.held() {
            held if held < means::messages() / 2 => INLINE_MAX,
            held if held < means::messages() => INLINE_TIGHT,
            _ => 0,
        }
    }

    /// It is about to write so much to its file.
    ///
    /// # Errors
    /// `StorageFull` with a [`Shortage`], and nothing is counted.
    pub(crate) fn write(&mut self, bytes: u64) -> io::Result<()> {
        let mut book = self.space.book();
        self.space.look(&mut book, self.allowed);
        let by_network = self.network.and_then(|network| book.by_network.get(&network)).copied().unwrap_or(0);
        let shortage = if book.free.is_some_and(|free| free < self.allowed.reserve.saturating_add(bytes)) {
            Shortage::Disk
        } else if book.written.saturating_add(bytes) > self.allowed.uncommitted {
            Shortage::Uncommitted
        } else if by_network.saturating_add(bytes) > self.allowed.share {
            Shortage::Share
        } else {
            book.free = book.free.map(|free| free - bytes);
            book.written += bytes;
            self.written += bytes;
            if let Some(network) = self.network {
                *book.by_network.entry(network).or_default() += bytes;
            }
            return Ok(());
        };
        Err(io::Error::new(io::ErrorKind::StorageFull, shortage))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.hold(0);
        if self.written == 0 {
            return;
        }
        let mut book = self.space.book();
        book.written -= self.written;
        if let Some(network) = self.network
            && let Some(written) = book.by_network.get_mut(&network)
        {
            *written -= self.written;
            if *written == 0 {
                book.by_network.remove(&network);
            }
        }
    }
}

impl Shortage {
    /// Whether an error is one.
    pub(crate) fn of(error: &io::Error) -> Option<Shortage> {
        error.get_ref()?.downcast_ref().copied()
    }
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Shortage::Disk => "the disk is almost full (limits.free_space)",
            Shortage::Uncommitted => "too many messages are on their way in (limits.uncommitted)",
            Shortage::Share => "too many messages from this network are on their way in (a quarter of limits.uncommitted)",
        })
    }
}

impl std::error::Error for Shortage {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Posix;

    const ALLOWED: Allowed = Allowed { reserve: 0, uncommitted: 1000, share: 250 };

    fn space() -> Arc<Space> {
        Arc::new(Space::new(Arc::new(Posix), std::env::temp_dir(), Clock::system()))
    }

    #[test]
    fn the_disk_is_asked() {
        let space = space();
        assert_eq!(space.check(Allowed { reserve: 1, ..ALLOWED }, 1), Ok(()));
        assert_eq!(space.check(Allowed { reserve: u64::MAX, ..ALLOWED }, 1), Err(Shortage::Disk));
        let mut claim = space.claim(Allowed { reserve: u64::MAX, ..ALLOWED }, None);
        assert_eq!(Shortage::of(&claim.write(1).unwrap_err()), Some(Shortage::Disk));
    }

    #[test]
    fn what_is_not_promised_is_bounded_and_given_back() {
        let space = space();
        let claim = |ip: &str| space.claim(ALLOWED, Some(ip.parse().unwrap()));
        let why = |result: io::Result<()>| result.err().and_then(|error| Shortage::of(&error));
        let (mut one, mut two) = (claim("2001:db8::1"), claim("2001:db8:0:9::1"));
        assert_eq!((why(one.write(200)), why(two.write(50)), why(two.write(1))), (None, None, Some(Shortage::Share)));
        let mut rest: Vec<Claim> = (0..3).map(|n| claim(&format!("192.0.{n}.1"))).collect();
        assert!(rest.iter_mut().all(|claim| claim.write(250).is_ok()));
        assert_eq!(why(claim("198.51.100.1").write(1)), Some(Shortage::Uncommitted));
        assert_eq!(space.check(ALLOWED, INLINE_MAX as u64 + 1), Err(Shortage::Uncommitted));
        assert_eq!(space.check(ALLOWED, 100), Ok(()), "small messages go on");
        drop((one, two));
        assert_eq!(why(claim("2001:db8::1").write(250)), None);
        drop(rest);
        assert_eq!((space.uncommitted(), space.book().by_network.len()), (0, 0));
    }

    #[test]
    fn memory_is_bounded() {
        let space = space();
        let mut all: Vec<Claim> = Vec::new();
        for _ in 0..2000 {
            let mut claim = space.claim(ALLOWED, None);
            claim.hold(claim.most_held());
            all.push(claim);
        }
        assert!(space.held() <= MEMORY_MAX + INLINE_TIGHT, "{}", space.held());
        assert_eq!(all.last().unwrap().most_held(), if space.held() < MEMORY_MAX { INLINE_TIGHT } else { 0 });
        drop(all);
        assert_eq!(space.held(), 0);
    }
}
