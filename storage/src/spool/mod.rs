//! The spool: one append-only log with group commit.
//!
//! Whatever was promised to a client is a record here before it is promised. Records of concurrent sessions share one write and one flush: the first
//! to come leads, those who come while it writes are the next group. The log has no thread of its own. docs/spool.md describes the files, the
//! protocol of the groups, recovery, and what happens when a disk fails.
//!
//! The spool does not know what records mean; `queue` does.

mod commit;
mod entry;
mod fence;
mod inspect;
mod large;
mod mend;
mod recover;
mod salvage;
mod scan;
mod segment;
#[cfg(test)]
mod tests;

pub use entry::Entry;
pub use inspect::{Report, Seen, inspect};
pub use large::Large;
pub use salvage::{Aside, aside, is_damage, salvage};

use crate::disk::{Disk, File, How, Lock};
use commit::{Room, State};
use segment::Segment;
pub(crate) use segment::read_full;
use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

/// A place in the log, in bytes from its very beginning. Only grows, over segments and restarts.
pub type Lsn = u64;

/// How many of an id's bits count within one run of the server; those above are the number of the run. A run that accepts 10,000 messages a second
/// reaches the end after three years, and 16 million runs are enough for a restart every minute over thirty.
const RUN_BITS: u32 = 40;

/// The longest that a leader waits for company unless told otherwise. Others go on meanwhile, so this costs latency and no throughput.
const PATIENCE: Duration = Duration::from_millis(1);

/// Segments in reserve: one for whoever comes, one for removals on a full disk, and one for a start there.
const RESERVE: usize = 3;

/// How many calls of [`Spool::prepare`] do nothing after one for which there was no room: trying takes what room there is from others for a while.
const PUT_OFF: u32 = 9;

/// How a spool is kept.
#[derive(Debug, Clone)]
pub struct Options {
    /// Bytes of a segment file. A record must fit into one. At least 4096.
    pub segment: u64,
    /// Most bytes of log that is not released; beyond it commits fail with `StorageFull`, because whoever releases does not keep up.
    pub limit: u64,
    /// Most segment files that are kept for later use.
    pub spares: usize,
    /// The longest that a leader waits for company; none where one thread does everything, so that nobody could come.
    pub patience: Option<Duration>,
    /// Where salts and the times of retries come from. Must not be known to those who send mail; tests fix it. What guards against guesses has a key
    /// of its own unless a house is opened for a test.
    pub seed: u64,
    /// What others know of this log: it was at least so far. If it ends before, its end is lost, and no place is given out twice.
    pub floor: Lsn,
    /// The greatest number of a run that others know of: no id of it is given out twice, whatever became of the log.
    pub run: u64,
    /// The file that names the run of whoever opened the log last. A later one than this run's means that another server has it.
    pub fence: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Options {
        use std::hash::{BuildHasher, RandomState};
        Options {
            segment: 16 << 20,
            limit: 1 << 30,
            spares: 8,
            patience: Some(PATIENCE),
            seed: RandomState::new().hash_one(0),
            floor: 0,
            run: 0,
            fence: None,
        }
    }
}

/// An open spool. Shared by all threads.
pub struct Spool {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    options: Options,
    run: u64,
    count: AtomicU64,
    /// Bytes of the log that are not released and could not be read: see [`Spool::lost`].
    lost: u64,
    /// Whether another server has it: nothing is written any more.
    fenced: AtomicBool,
    /// Flushes so far, for the metrics.
    flushes: AtomicU64,
    state: Mutex<State>,
    /// A queue that was full is not any more.
    room: Condvar,
    /// A leader has the company it waited for.
    company: Condvar,
    _lock: Box<dyn Lock>,
}

/// Reads records again.
pub struct Reader<'a> {
    spool: &'a Spool,
    /// The segment that the last one was in.
    open: Option<(Segment, Box<dyn File>)>,
}

impl Reader<'_> {
    /// As [`Spool::read`].
    ///
    /// # Errors
    /// `NotFound` if there is no record.
    pub fn read(&mut self, at: Lsn) -> io::Result<Vec<u8>> {
        let found = self.spool.state().segments.find(at).ok_or(io::ErrorKind::NotFound)?;
        let (_, file) = match self.open.take().filter(|(segment, _)| segment.number == found.number) {
            Some(open) => self.open.insert(open),
            None => self.open.insert((found, self.spool.disk.open(&segment::live(&self.spool.dir, found.number), How::Read)?)),
        };
        segment::read(&**file, &found, at)
    }
}

impl std::fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("open", &self.open.as_ref().map(|(segment, _)| segment)).finish_non_exhaustive()
    }
}

/// A spool that is taken and not open: the time to open what goes with it.
pub struct Locked {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    lock: Box<dyn Lock>,
}

impl Locked {
    /// The number of the last run that the log knows of, 0 if there is no log; nothing if a part of it cannot be read.
    ///
    /// # Errors
    /// A fault of the disk.
    pub fn last_run(&self) -> io::Result<Option<u64>> {
        recover::last_run(&*self.disk, &self.dir)
    }

    /// As [`Spool::open`].
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// As there.
    pub fn open(self, options: Options, replay: &mut dyn FnMut(Lsn, &[u8])) -> io::Result<Spool> {
        recover::open(self, options, replay)
    }
}

impl std::fmt::Debug for Locked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Locked").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Spool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spool").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl Spool {
    /// Opens the spool in `dir`, which is made if its parent exists, and gives `replay` every record that is not released, in order. What it has
    /// seen is durable: no later crash can take it back. What was never acknowledged may be among it.
    ///
    /// Nothing is released before the caller says so, so a crash during the replay only means another one.
    ///
    /// # Errors
    /// `WouldBlock` if another process has it open. `InvalidData` if bytes that were durable cannot be read any more: somebody has to look at it.
    ///
    /// # Panics
    /// If the options are out of range.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path, options: Options, replay: &mut dyn FnMut(Lsn, &[u8])) -> io::Result<Spool> {
        Spool::lock(disk, dir)?.open(options, replay)
    }

    /// Takes the spool in `dir`, so that nobody else does, and does not open it yet.
    ///
    /// # Errors
    /// `WouldBlock` if another process has it.
    pub fn lock(disk: Arc<dyn Disk>, dir: &Path) -> io::Result<Locked> {
        recover::lock(disk, dir)
    }

    /// An id that was never given out before and never will be.
    ///
    /// # Panics
    /// After 2^40 ids in one run.
    pub fn next_id(&self) -> u64 {
        let n = self.count.fetch_add(1, Ordering::Relaxed);
        assert!(n >> RUN_BITS == 0, "out of ids: restart the server");
        self.run << RUN_BITS | n
    }

    /// The least id of this run: all others are of earlier ones.
    pub fn first_id(&self) -> u64 {
        self.run << RUN_BITS
    }

    /// Begins an entry with an id of its own.
    pub fn entry(&self) -> Entry<&Spool> {
        Entry::new(self)
    }

    /// The same, for who keeps it longer than a reference lasts.
    pub fn own_entry(self: &Arc<Spool>) -> Entry<Arc<Spool>> {
        Entry::new(self.clone())
    }

    /// Appends a record, given in pieces, that nobody waits for: it costs no flush of its own. It becomes durable with the next commit, or when
    /// somebody calls [`Spool::flush`]; a crash before that loses it, and whoever jots must be able to live with that. If its group fails, it goes
    /// into the next one, before what is there. It holds nothing in the log: do first what it tells of, for a checkpoint may let go of it as soon
    /// as it is durable.
    ///
    /// # Errors
    /// `InvalidInput` if it does not fit a segment; `StorageFull` if the log has reached its limit; if so much waits already that it had to be
    /// flushed first and the disk failed. It is not in the log then, and nobody tries again.
    pub fn jot(&self, record: &[&[u8]]) -> io::Result<()> {
        self.jot_record(self.next_id(), record, Room::More)
    }

    /// The same for what has to be told before something is released: the limit does not hold for it, or nothing could be released from a log that is full.
    ///
    /// # Errors
    /// As [`Spool::jot`].
    pub fn jot_to_release(&self, record: &[&[u8]]) -> io::Result<()> {
        self.jot_record(self.next_id(), record, Room::Last)
    }

    /// Makes every jot durable that was made before this call. Call it about once a second: nothing happens if there is none.
    ///
    /// # Errors
    /// If the disk failed; they go with the next group.
    pub fn flush(&self) -> io::Result<()> {
        self.flush_jots()
    }

    /// Up to where everything is delivered: the oldest record that nobody called so is at or after this place. Take it
    /// first, make durable what was delivered, then [`Spool::release`] it.
    pub fn mark(&self) -> Lsn {
        self.state().mark_now()
    }

    /// Up to where every entry has ended: what its record asks for was done, or waits and has an owner who pinned it.
    pub fn ended(&self) -> Lsn {
        let state = self.state();
        state.flight.first().map_or(state.end, |&(at, _)| at)
    }

    /// Lets go of everything before `mark`: it will not be replayed. Durable on return.
    ///
    /// # Errors
    /// If the log cannot be written; then nothing is released. If files cannot be renamed: they are tried again at the next start.
    ///
    /// # Panics
    /// If something before `mark` is not delivered.
    pub fn release(&self, mark: Lsn) -> io::Result<()> {
        let state = self.state();
        assert!(mark <= state.mark_now(), "released what is not delivered");
        if mark <= state.mark {
            return Ok(());
        }
        drop(state);
        // What another server has begun to write over is not to be renamed.
        self.look_at_fence()?;
        self.commit_mark(mark)?;
        let mut state = self.state();
        state.mark = state.mark.max(mark);
        state.release_large();
        let dead = state.segments.take_dead(mark);
        drop(state);
        if dead.is_empty() {
            return Ok(());
        }
        for &number in &dead {
            self.disk.rename(&segment::live(&self.dir, number), &segment::spare(&self.dir, number))?;
        }
        // Before a segment is written over, its old name must be gone for good: a crash could bring it back over the new bytes.
        self.disk.sync_dir(&self.dir)?;
        self.state().segments.spares.extend(dead);
        Ok(())
    }

    /// Bytes of log that are not released.
    pub fn live_bytes(&self) -> u64 {
        let state = self.state();
        state.end - state.mark
    }

    /// Bytes of log that were durable, are not released, and could not be read when it was opened, now or at an earlier start. What they said nobody
    /// knows: messages, removals, and numbers that were in use.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Where its files are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The number of this run: how often the log has been opened.
    pub fn run(&self) -> u64 {
        self.run
    }

    /// Leaves word behind the last group that it was durable, so that damage to it is told from what a crash leaves. Call it about once a second: it
    /// costs a write and no flush, and nothing if there was nothing new.
    ///
    /// # Errors
    /// If the disk does not take it. Nothing depends on it.
    pub fn vouch(&self) -> io::Result<()> {
        self.vouch_for_last()
    }

    /// How often something was flushed to the disk: many records share one.
    pub fn flushes(&self) -> u64 {
        self.flushes.load(Ordering::Relaxed)
    }

    /// Whether a record with this id may still be replayed. May say yes where no would be right, never the other way round.
    pub fn is_live(&self, id: u64) -> bool {
        self.state().segments.may_hold(id)
    }

    /// Reads the record at `at` again. It must not have been released.
    ///
    /// # Errors
    /// `NotFound` if there is no record.
    pub fn read(&self, at: Lsn) -> io::Result<Vec<u8>> {
        self.reader().read(at)
    }

    /// Reads many records, best in their order.
    pub fn reader(&self) -> Reader<'_> {
        Reader { spool: self, open: None }
    }

    /// Keeps the record at `at`, which could not be delivered or may be lost where it was, until [`Spool::unpin`].
    pub fn pin(&self, at: Lsn, id: u64) {
        self.state().pinned.insert((at, id));
    }

    /// The record at `at` was delivered after all.
    pub fn unpin(&self, at: Lsn, id: u64) {
        self.state().pinned.remove(&(at, id));
    }

    /// Commits the record of entry `id` once more at the end of the log, as it is to be from now on. It is pinned at `at` under the name `pinned`, and under `id`
    /// at the place that is returned afterwards.
    ///
    /// # Errors
    /// As [`Entry::commit`]; it stays where it is then.
    pub fn carry(&self, at: Lsn, pinned: u64, id: u64, record: &[&[u8]]) -> io::Result<Lsn> {
        self.state().open += 1;
        let mut open = true;
        let moved = self.commit_record(id, record, &mut open, Room::More);
        let mut state = self.state();
        match moved {
            Ok(to) => {
                if let Some(large) = state.large.get_mut(&id) {
                    *large = Some(to);
                }
                state.flight.remove(&(to, id));
                state.pinned.insert((to, id));
                state.pinned.remove(&(at, pinned));
            }
            Err(_) => state.open -= usize::from(open),
        }
        moved
    }

    /// Whether so much is not released that it is time to look who holds it.
    pub fn is_half_full(&self) -> bool {
        self.live_bytes() > self.options.limit / 2
    }

    /// Most bytes of log that are not released.
    pub fn limit(&self) -> u64 {
        self.options.limit
    }

    /// Bytes of log from this place on: what is kept there keeps so much.
    pub fn behind(&self, at: Lsn) -> u64 {
        self.state().end.saturating_sub(at)
    }

    /// Up to where everything is released: a start replays what is at or after this place.
    pub fn released(&self) -> Lsn {
        self.state().mark
    }

    /// Makes segment files in reserve, so that no commit has to: one for whoever comes, and others that only removals and the next start use, if the disk
    /// is full then. Call it about once a second. After it failed for want of room the log takes nothing but removals, until there is room again, which is
    /// looked for at every tenth call.
    ///
    /// # Errors
    /// If one cannot be written.
    pub fn prepare(&self) -> io::Result<()> {
        self.unfenced()?;
        loop {
            let mut state = self.state();
            if state.segments.spares.len() >= RESERVE {
                let (full, mark) = (state.full, state.mark);
                drop(state);
                if full {
                    // A run that could not begin a segment begins one with this.
                    self.commit_mark(mark)?;
                    self.state().full = false;
                    tracing::info!("there is room for the log again: mail is accepted");
                }
                return Ok(());
            }
            if state.full && state.put_off < PUT_OFF {
                state.put_off += 1;
                return Ok(());
            }
            let number = state.segments.number();
            drop(state);
            let made = segment::blank(&*self.disk, &self.dir, number, self.options.segment);
            let mut state = self.state();
            match made {
                Ok(()) => state.segments.spares.push(number),
                Err(error) => {
                    (state.full, state.put_off) = (state.full || segment::is_full(&error), 0);
                    return Err(error);
                }
            }
        }
    }

    /// Whether the disk has no room for the log, so that only removals are taken.
    pub fn is_full(&self) -> bool {
        self.state().full
    }

    /// Unlinks what is not needed any more: large messages that were released or never committed, and segments in excess. Slow on some file
    /// systems, so nobody who is waited for should call it. Returns how many files it removed.
    ///
    /// # Errors
    /// If a file cannot be removed; the rest is tried at the next call.
    pub fn garbage(&self) -> io::Result<usize> {
        self.look_at_fence()?;
        let mut removed = 0;
        loop {
            let mut state = self.state();
            let path = if let Some(&id) = state.garbage.last() {
                self.large_path(id)
            } else if state.segments.spares.len() > self.options.spares {
                segment::spare(&self.dir, state.segments.spares.pop().expect("there is one"))
            } else {
                return Ok(removed);
            };
            drop(state);
            match self.disk.unlink(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => removed += 1,
            }
            let mut state = self.state();
            if let Some(at) = state.garbage.iter().position(|&id| self.large_path(id) == path) {
                state.garbage.swap_remove(at);
            }
        }
    }

    /// The file of a large message. It may be linked elsewhere, and must not be changed.
    pub fn large_path(&self, id: u64) -> PathBuf {
        large::path(&self.dir, id)
    }

    /// Whether the file of a large message is there.
    ///
    /// # Errors
    /// A fault of the disk.
    pub fn has_large(&self, id: u64) -> io::Result<bool> {
        match self.disk.stat(&self.large_path(id)) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Nothing panics while it holds the lock, other than for lack of memory; what is under it stays whole even then.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
