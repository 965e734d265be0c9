//! The disk of one Maildir, watched: a call that does not return must not be followed by as many others as there are threads.
//!
//! A dying disk or a server of files that is gone does not fail, it does not answer, and nothing ends a call of the system. So each call is counted from
//! its beginning in rounds, about a second each. While one has not returned for many of them, every further call for the same Maildir fails
//! at once, and whoever waits for a lock behind it gives up: the account is answered 4xx, and no thread is lost to it any more.

use super::limits;
use crate::disk::{Disk, File, How, Left, Lock, Stat, Volume};
use std::{
    io,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// How many entries of a listing pass before it is noted that it goes on.
const ENTRIES: usize = 256;

/// Calls for one Maildir that have not returned.
pub(super) struct Calls {
    /// What counts rounds.
    rounds: Arc<AtomicU64>,
    open: Mutex<Open>,
    /// Rounds since the oldest of them began, as of this round.
    age: AtomicU64,
    /// The same of other Maildirs on its file system, if it is many that wait.
    others: AtomicU64,
}

#[derive(Default)]
struct Open {
    count: u64,
    /// A number of its own and the round it began in, of each.
    calls: Vec<(u64, u64)>,
}

impl Calls {
    pub fn new(rounds: Arc<AtomicU64>) -> Calls {
        Calls { rounds, open: Mutex::default(), age: AtomicU64::new(0), others: AtomicU64::new(0) }
    }

    /// Whether a call takes so long that nothing should be begun that somebody waits for.
    pub fn is_late(&self) -> bool {
        self.waits() >= limits::LATE_ROUNDS
    }

    /// Whether a call is taken for one that never returns: until it does, all others fail.
    pub fn is_stalled(&self) -> bool {
        self.waits() >= limits::STALLED_ROUNDS
    }

    fn waits(&self) -> u64 {
        self.age.load(Ordering::Relaxed).max(self.others.load(Ordering::Relaxed))
    }

    /// A round is over: gives how many the oldest call has lasted.
    pub fn count(&self) -> u64 {
        self.note_age(&self.open())
    }

    /// How long many others wait on the same file system.
    pub fn hear_of_others(&self, rounds: u64) {
        self.others.store(rounds, Ordering::Relaxed);
    }

    fn note_age(&self, open: &Open) -> u64 {
        let now = self.rounds.load(Ordering::Relaxed);
        let age = open.calls.iter().map(|(_, since)| now.saturating_sub(*since)).max().unwrap_or(0);
        self.age.store(age, Ordering::Relaxed);
        age
    }

    fn begin(&self) -> io::Result<Call<'_>> {
        if self.is_stalled() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "a call of this disk has not returned"));
        }
        Ok(self.note())
    }

    fn note(&self) -> Call<'_> {
        let mut open = self.open();
        open.count += 1;
        let number = open.count;
        open.calls.push((number, self.rounds.load(Ordering::Relaxed)));
        Call { calls: self, number }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        // Nothing in there can be half done.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that has not returned.
struct Call<'a> {
    calls: &'a Calls,
    number: u64,
}

impl Call<'_> {
    /// It is long and not stuck.
    fn goes_on(&self) {
        let mut open = self.calls.open();
        let now = self.calls.rounds.load(Ordering::Relaxed);
        open.calls.iter_mut().filter(|(number, _)| *number == self.number).for_each(|call| call.1 = now);
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let mut open = self.calls.open();
        open.calls.retain(|(number, _)| *number != self.number);
        if self.calls.age.load(Ordering::Relaxed) > 0 {
            self.calls.note_age(&open);
        }
    }
}

/// A disk of which every call is watched.
pub(super) struct Watched {
    pub disk: Arc<dyn Disk>,
    pub calls: Arc<Calls>,
}

impl Watched {
    fn watch<T>(&self, call: impl FnOnce(&dyn Disk) -> io::Result<T>) -> io::Result<T> {
        let _call = self.calls.begin()?;
        call(&*self.disk)
    }

    fn file(&self, open: impl FnOnce(&dyn Disk) -> io::Result<Box<dyn File>>) -> io::Result<Box<dyn File>> {
        let file = self.watch(open)?;
        Ok(Box::new(WatchedFile { file: Some(file), calls: self.calls.clone() }))
    }
}

impl Disk for Watched {
    fn confine(&self, root: &Path) {
        self.disk.confine(root);
    }
    fn uid(&self) -> u32 {
        self.disk.uid()
    }
    fn open_book(&self, path: &Path, how: How) -> io::Result<Box<dyn File>> {
        self.file(|disk| disk.open_book(path, how))
    }
    fn open(&self, path: &Path, how: How) -> io::Result<Box<dyn File>> {
        self.file(|disk| disk.open(path, how))
    }
    fn open_left(&self, path: &Path) -> io::Result<(Box<dyn File>, Left)> {
        self.watch(|disk| disk.open_left(path))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.watch(|disk| disk.rename(from, to))
    }
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.watch(|disk| disk.link(from, to))
    }
    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.watch(|disk| disk.unlink(path))
    }
    fn make_dir(&self, path: &Path) -> io::Result<()> {
        self.watch(|disk| disk.make_dir(path))
    }
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.watch(|disk| disk.remove_dir(path))
    }
    fn list(&self, dir: &Path, each: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        self.list_kinds(dir, &mut |name, _| each(name))
    }
    fn list_kinds(&self, dir: &Path, each: &mut dyn FnMut(&[u8], bool)) -> io::Result<()> {
        let call = self.calls.begin()?;
        let mut count = 0;
        self.disk.list_kinds(dir, &mut |name, is_file| {
            count += 1;
            if count % ENTRIES == 0 {
                call.goes_on();
            }
            each(name, is_file);
        })
    }
    fn stat(&self, path: &Path) -> io::Result<Stat> {
        self.watch(|disk| disk.stat(path))
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.watch(|disk| disk.sync_dir(dir))
    }
    fn volume(&self, path: &Path) -> io::Result<Box<dyn Volume>> {
        // Syncing it is no business of one Maildir: see `Device`.
        self.watch(|disk| disk.volume(path))
    }
    fn free_space(&self, path: &Path) -> io::Result<u64> {
        self.watch(|disk| disk.free_space(path))
    }
    fn set_modified(&self, path: &Path, seconds: i64) -> io::Result<()> {
        self.watch(|disk| disk.set_modified(path, seconds))
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.watch(|disk| disk.lock(path))
    }
}

struct WatchedFile {
    /// Until it is dropped.
    file: Option<Box<dyn File>>,
    calls: Arc<Calls>,
}

impl WatchedFile {
    fn watch<T>(&self, call: impl FnOnce(&dyn File) -> io::Result<T>) -> io::Result<T> {
        let _call = self.calls.begin()?;
        call(self.file.as_deref().ok_or(io::ErrorKind::NotFound)?)
    }
}

/// Closing waits too, where a file is written to its server then.
impl Drop for WatchedFile {
    fn drop(&mut self) {
        let _call = self.calls.note();
        self.file = None;
    }
}

impl File for WatchedFile {
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        self.watch(|file| file.read_at(buf, at))
    }
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.watch(|file| file.write_at(bytes, at))
    }
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        self.watch(|file| file.append(bytes))
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.watch(|file| file.set_len(len))
    }
    fn len(&self) -> io::Result<u64> {
        self.watch(|file| file.len())
    }
    fn sync(&self) -> io::Result<()> {
        self.watch(|file| file.sync())
    }
}
