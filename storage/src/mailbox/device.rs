//! The file systems that mailboxes lie on: what vouches that what was written to them reached the disk.
//!
//! A sync tells of a write that failed only whoever had the file, or the file system, open before, and tells it once. So a file system is opened before the
//! first write to it and kept open; where it cannot be synced as a whole, each file is kept open until it is synced by itself.

use super::{
    limits,
    turn::{Held, Turn},
};
use crate::disk::{Disk, File, Volume};
use std::{
    collections::BTreeMap,
    io,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

/// Files that are kept open until a checkpoint syncs them, where file systems cannot be synced as a whole. Beyond it whoever delivers syncs its file itself.
const KEPT: usize = 200;

/// No sync has begun and not returned.
const IDLE: u64 = u64::MAX;

/// A file system.
pub(super) struct Device {
    pub number: u64,
    /// `None`: each file is synced by itself.
    volume: Option<Box<dyn Volume>>,
    /// One sync at a time: it is told of a failure once, and whoever comes next has to know.
    turn: Turn<()>,
    /// The round in which the sync began that has not returned; none if there is none.
    syncing: AtomicU64,
    rounds: Arc<AtomicU64>,
    /// Syncs that failed. What was written before the last of them and not vouched for by then has to be written again.
    failures: AtomicU64,
    /// As many of them as a checkpoint has taken note of.
    noted: AtomicU64,
}

impl Device {
    /// Whether it is synced as a whole.
    pub fn is_whole(&self) -> bool {
        self.volume.is_some()
    }

    /// Waits for the only right to sync it; nothing if a sync does not return.
    pub fn turn(&self) -> Option<Held<'_, ()>> {
        self.turn.wait(|| self.lasts() >= limits::STALLED_ROUNDS)
    }

    /// Makes everything durable that was written to it, if it is synced as a whole. Whoever calls it has the turn.
    ///
    /// # Errors
    /// If anything written since the last call may be lost.
    pub fn sync(&self, _turn: &Held<'_, ()>) -> io::Result<()> {
        let Some(volume) = &self.volume else { return Ok(()) };
        let _over = Over(self);
        self.syncing.store(self.rounds.load(Ordering::Relaxed), Ordering::Relaxed);
        volume.sync().inspect_err(|_| self.doubt())
    }

    /// For how many rounds a sync of it has not returned.
    pub fn lasts(&self) -> u64 {
        match self.syncing.load(Ordering::Relaxed) {
            IDLE => 0,
            since => self.rounds.load(Ordering::Relaxed).saturating_sub(since),
        }
    }

    /// What was written and is not vouched for may be lost.
    pub fn doubt(&self) {
        self.failures.fetch_add(1, Ordering::SeqCst);
    }

    /// Whether a sync failed and no checkpoint knows of it yet.
    pub fn is_doubtful(&self) -> bool {
        self.failures() != self.noted.load(Ordering::SeqCst)
    }

    /// A checkpoint has given back what was not vouched for when there had been so many failures.
    pub fn note(&self, failures: u64) {
        self.noted.store(failures, Ordering::SeqCst);
    }

    /// How often that was so.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::SeqCst)
    }
}

/// A sync that has returned, or panicked.
struct Over<'a>(&'a Device);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.syncing.store(IDLE, Ordering::Relaxed);
    }
}

/// All that are known.
#[derive(Default)]
pub(super) struct Devices {
    rounds: Arc<AtomicU64>,
    known: Mutex<BTreeMap<u64, Arc<Device>>>,
    kept: Arc<AtomicUsize>,
}

impl Devices {
    /// None yet.
    pub fn new(rounds: Arc<AtomicU64>) -> Devices {
        Devices { rounds, ..Devices::default() }
    }

    /// The file system of a directory. It is opened the first time: before anything is written to it.
    ///
    /// # Errors
    /// A fault of the disk.
    pub fn of(&self, disk: &dyn Disk, dir: &Path) -> io::Result<Arc<Device>> {
        let number = disk.stat(dir)?.device;
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(device) = known().get(&number) {
            return Ok(device.clone());
        }
        // Not under the lock, for it may never return. If two open it, neither has written yet, and the first is kept.
        let volume = match disk.volume(dir) {
            Ok(volume) => Some(volume),
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                tracing::info!(dir = %dir.display(), "this file system cannot be synced as a whole: each file is");
                None
            }
            Err(error) => return Err(error),
        };
        let fresh = || {
            Arc::new(Device {
                number,
                volume,
                turn: Turn::new(()),
                syncing: AtomicU64::new(IDLE),
                rounds: self.rounds.clone(),
                failures: AtomicU64::new(0),
                noted: AtomicU64::new(0),
            })
        };
        Ok(known().entry(number).or_insert_with(fresh).clone())
    }

    /// For how many rounds a sync of this file system has not returned.
    pub fn lasts(&self, number: u64) -> u64 {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&number).map_or(0, |device| device.lasts())
    }

    /// Keeps a file that was written until it is synced, or syncs it now if too many are kept already.
    ///
    /// # Errors
    /// If the file had to be synced, and that failed.
    pub fn keep(&self, file: Box<dyn File>) -> io::Result<Option<Kept>> {
        let kept = Kept { file, count: self.kept.clone() };
        if self.kept.fetch_add(1, Ordering::Relaxed) < KEPT {
            return Ok(Some(kept));
        }
        kept.file.sync().map(|()| None)
    }
}

/// A file that was written and has to be synced through the descriptor that wrote it.
pub(super) struct Kept {
    pub file: Box<dyn File>,
    count: Arc<AtomicUsize>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}
