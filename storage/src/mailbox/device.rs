//! The file systems that mailboxes lie on: what vouches that what was written to them reached the disk.
//!
//! A sync tells of a write that failed only whoever had the file, or the file system, open before, and tells it once. So a file system is opened before the
//! first write to it and kept open; where it cannot be synced as a whole, each file is kept open until it is synced by itself.

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

/// A file system.
pub(super) struct Device {
    pub number: u64,
    /// `None`: each file is synced by itself.
    volume: Option<Box<dyn Volume>>,
    /// One sync at a time: it is told of a failure once, and whoever comes next has to know.
    syncing: Mutex<()>,
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

    /// Makes everything durable that was written to it; false if that cannot be done as a whole.
    ///
    /// # Errors
    /// If anything written since the last call may be lost.
    pub fn sync(&self) -> io::Result<bool> {
        let Some(volume) = &self.volume else { return Ok(false) };
        let _alone = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        volume.sync().map(|()| true).inspect_err(|_| self.doubt())
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

/// All that are known.
#[derive(Default)]
pub(super) struct Devices {
    known: Mutex<BTreeMap<u64, Arc<Device>>>,
    kept: Arc<AtomicUsize>,
}

impl Devices {
    /// The file system of a directory. It is opened the first time: before anything is written to it.
    ///
    /// # Errors
    /// A fault of the disk.
    pub fn of(&self, disk: &dyn Disk, dir: &Path) -> io::Result<Arc<Device>> {
        let number = disk.stat(dir)?.device;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(device) = known.get(&number) {
            return Ok(device.clone());
        }
        let volume = match disk.volume(dir) {
            Ok(volume) => Some(volume),
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                tracing::info!(dir = %dir.display(), "this file system cannot be synced as a whole: each file is");
                None
            }
            Err(error) => return Err(error),
        };
        let device = Arc::new(Device { number, volume, syncing: Mutex::default(), failures: AtomicU64::new(0), noted: AtomicU64::new(0) });
        known.insert(number, device.clone());
        Ok(device)
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
