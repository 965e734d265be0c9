//! The depot: messages that wait for another server longer than the log can wait for them.
//!
//! The spool lets go of its log from the front. A message that is still queued when the log has to go on is **parked**: its record is copied into a
//! pack, a file that is written once, and a **snapshot** says of every parked message where its record is and what the queue knows of it. Then the log
//! may go. docs/depot.md describes the files, the order in which they are written, and what a crash leaves.
//!
//! The depot knows nothing of mail: what records and the states of a queue mean is the business of its users.

mod pack;
mod snapshot;
mod state;
#[cfg(test)]
mod tests;

use crate::{
    disk::{Disk, File, How},
    spool::{Lsn, Spool},
};
use state::{Found, Place, State};
use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// How a depot is kept.
#[derive(Debug, Clone)]
pub struct Options {
    /// Bytes after which another pack is begun.
    pub pack: u64,
    /// Bytes of old packs that are copied at one checkpoint, so that none takes long.
    pub compact: u64,
    /// More packs than this that are less than an eighth full are joined.
    pub small: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options { pack: 64 << 20, compact: 32 << 20, small: 16 }
    }
}

/// An open depot. Shared by all threads. Whoever has its spool open has it alone.
pub struct Depot {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    options: Options,
    state: Mutex<State>,
    /// Held by who writes or unlinks files.
    busy: Mutex<()>,
}

impl std::fmt::Debug for Depot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Depot").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// Where to put the state of every message of a queue, by id. What is put under 0, which is no message's id, is the queue's own and comes back too.
pub type Put<'a> = dyn FnMut(u64, &[u8]) + 'a;

/// Takes back what was put: an id, its state, and who reads its record if the state alone does not do.
pub type Restore<'a> = dyn FnMut(u64, &[u8], &dyn Fn() -> io::Result<Vec<u8>>) + 'a;

/// Gives `restore` every state of the last snapshot in `dir` without touching anything, and says up to where in the log they are true. For the
/// command line, also while a server runs; then the snapshot may be of another moment than the log.
///
/// # Errors
/// If it cannot be read.
pub fn inspect(disk: &dyn Disk, dir: &Path, restore: &mut Restore<'_>) -> io::Result<Lsn> {
    Ok(snapshot::read(disk, dir, restore)?.upto)
}

impl Depot {
    /// Opens the depot in `dir`, which is made if its parent exists, and gives `restore` every state of the last snapshot, in the order in which they
    /// were put. Take the lock of the spool first, for it keeps others out of both.
    ///
    /// The states are true up to [`Depot::upto`] and may know of later things. So: take no notice of a record before that place as far as the
    /// queue is concerned; of those at or after it, [`Depot::note`] messages that are new, and apply what is told of them in order. A record may
    /// tell of what a state knows already, or of a message that is done and forgotten.
    ///
    /// # Errors
    /// `InvalidData` if the snapshot, which was durable, cannot be read any more: somebody has to look at it.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path, options: Options, restore: &mut Restore<'_>) -> io::Result<Depot> {
        for (path, parent) in [(dir, dir.parent()), (&large_dir(dir), Some(dir))] {
            match disk.make_dir(path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
            if let Some(parent) = parent.filter(|p| !p.as_os_str().is_empty()) {
                disk.sync_dir(parent)?;
            }
        }
        let found = snapshot::read(&*disk, dir, restore)?;
        let mut state = State::new(found);
        disk.list(dir, &mut |name| {
            if let Some(number) = pack::number(name) {
                state.found_pack(number);
            }
        })?;
        disk.list(&large_dir(dir), &mut |name| {
            if let Some(id) = large_id(name) {
                state.found_large(id);
            }
        })?;
        for number in state.packs.keys() {
            if let Err(error) = disk.stat(&pack::path(dir, *number)) {
                tracing::error!(%error, pack = number, "a pack of queued messages is gone");
            }
        }
        Ok(Depot { disk, dir: dir.into(), options, state: Mutex::new(state), busy: Mutex::default() })
    }

    /// Up to where in the log the states of the last snapshot are true.
    pub fn upto(&self) -> Lsn {
        self.state().upto
    }

    /// A message is queued whose record is in the log at `at`; `large` if it has a large file. Call this, and have the queue put its state, before
    /// its entry is dropped: the next checkpoint would let go of the record.
    pub fn note(&self, id: u64, at: Lsn, large: bool) {
        self.state().note(id, at, large);
    }

    /// A message is done. Jot or commit first what it is done by.
    pub fn forget(&self, id: u64) {
        self.state().forget(id);
    }

    /// Whether a message is queued.
    pub fn holds(&self, id: u64) -> bool {
        self.state().place(id).is_some()
    }

    /// How many messages are queued.
    pub fn len(&self) -> usize {
        let state = self.state();
        state.logged.len() + state.parked.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many of them are parked.
    pub fn parked(&self) -> usize {
        self.state().parked.len()
    }

    /// Bytes of the last snapshot: what the next one will cost.
    pub fn snapshot_bytes(&self) -> u64 {
        self.state().snapshot_bytes
    }

    /// The record of a queued message, wherever it is now.
    ///
    /// # Errors
    /// `NotFound` if the message is not queued, `InvalidData` if its record is damaged, or a fault of the disk.
    pub fn read(&self, spool: &Spool, id: u64) -> io::Result<Vec<u8>> {
        self.wherever(id, |place| match place {
            Place::Log(at) => spool.read(at),
            Place::Pack { number, offset } => pack::read(&*self.disk, &self.dir, number, offset, id),
        })
    }

    /// The file of a queued message that has one. It can be read to its end even if the message is done meanwhile.
    ///
    /// # Errors
    /// `NotFound` if the message is not queued or has none, or a fault of the disk.
    pub fn open_large(&self, spool: &Spool, id: u64) -> io::Result<Box<dyn File>> {
        self.wherever(id, |place| {
            let path = match place {
                Place::Log(_) => spool.large_path(id),
                Place::Pack { .. } => large_path(&self.dir, id),
            };
            self.disk.open(&path, How::Read)
        })
    }

    /// What `get` gets, which a checkpoint may move while it is looked for.
    fn wherever<T>(&self, id: u64, get: impl Fn(Place) -> io::Result<T>) -> io::Result<T> {
        let mut place = self.state().place(id);
        loop {
            let Some(here) = place else { return Err(io::ErrorKind::NotFound.into()) };
            let got = get(here);
            place = self.state().place(id);
            if got.is_ok() || place == Some(here) {
                return got;
            }
        }
    }

    /// Parks what lies before `mark` in the log, and writes a snapshot. `states` is asked to put the state of every queued message, as it is at any
    /// moment after `mark` was taken. When this returns, the log may let go of everything before `mark` as far as the queue is concerned.
    /// `states` is called without the lock that the other functions take.
    ///
    /// # Errors
    /// A fault of the disk: let go of nothing.
    pub fn checkpoint(&self, spool: &Spool, mark: Lsn, states: &mut dyn FnMut(&mut Put<'_>)) -> io::Result<()> {
        let _busy = self.busy();
        self.park(spool, mark)?;
        self.snapshot(mark, states)
    }

    /// Copies records before `mark`, and some of packs that are mostly done with, into new packs.
    fn park(&self, spool: &Spool, mark: Lsn) -> io::Result<()> {
        let (due, next) = {
            let state = self.state();
            (state.due(mark), state.next)
        };
        self.link_large(spool, &due)?;
        let mut writer = pack::Writer::new(&*self.disk, &self.dir, self.options.pack, next);
        let copied = self.copy(spool, &due, &mut writer);
        let finished = copied.and_then(|moves| Ok((moves, writer.finish()?)));
        let mut state = self.state();
        // Also after a failure: what is in files that were begun nobody knows, so their names are not used again.
        state.next = writer.next();
        match finished {
            Ok((moves, packs)) => {
                state.moved(moves, packs);
                Ok(())
            }
            Err(error) => {
                state.garbage.packs.extend(next..writer.next());
                Err(error)
            }
        }
    }

    /// Gives the files of large messages a name that the spool does not remove.
    fn link_large(&self, spool: &Spool, due: &[Found]) -> io::Result<()> {
        let mut linked = false;
        for found in due.iter().filter(|found| found.large) {
            self.state().want_large(found.id);
            match self.disk.link(&spool.large_path(found.id), &large_path(&self.dir, found.id)) {
                Ok(()) => linked = true,
                // At a checkpoint that failed later, or before a crash.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => linked = true,
                // Waiting brings nothing back, and the log would never end.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    tracing::error!(id = format!("{:x}", found.id), "the file of a large message is gone; it cannot be sent");
                }
                Err(error) => return Err(error),
            }
        }
        if linked { self.disk.sync_dir(&large_dir(&self.dir)) } else { Ok(()) }
    }

    fn copy(&self, spool: &Spool, due: &[Found], writer: &mut pack::Writer<'_>) -> io::Result<Vec<state::Move>> {
        let mut moves = Vec::with_capacity(due.len());
        let mut reader = spool.reader();
        for found in due {
            let record = reader.read(found.at)?;
            let to = writer.put(found.id, &record)?;
            moves.push(state::Move { id: found.id, from: Place::Log(found.at), to });
        }
        let worn = self.state().worn(&self.options);
        let mut left = self.options.compact;
        for number in worn {
            if left == 0 {
                break;
            }
            let alive = |id, offset| self.state().place(id) == Some(Place::Pack { number, offset });
            let seen = pack::scan(&*self.disk, &self.dir, number, &alive, &mut |id, offset, record| {
                left = left.saturating_sub(record.len() as u64);
                let to = writer.put(id, record)?;
                moves.push(state::Move { id, from: Place::Pack { number, offset }, to });
                Ok(())
            });
            match seen {
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    // What can be read of it is where it was, or copied.
                    tracing::error!(pack = number, %error, "a pack of queued messages is damaged");
                    self.state().leave_alone(number);
                }
                seen => seen?,
            }
        }
        Ok(moves)
    }

    fn snapshot(&self, upto: Lsn, states: &mut dyn FnMut(&mut Put<'_>)) -> io::Result<()> {
        let mut writer = {
            let mut state = self.state();
            state.retire();
            snapshot::Writer::new(&*self.disk, &self.dir, upto, state.next, &state.packs)
        };
        states(&mut |id, bytes| {
            let (place, large) = match id {
                0 => (0, false),
                id => {
                    let state = self.state();
                    // One that is in the log needs no more than the log.
                    let Some(&place) = state.parked.get(&id) else { return };
                    (place, state.large.contains(&id))
                }
            };
            writer.put(id, place, large, bytes);
        });
        let nothing = writer.is_empty();
        // There was nothing and there is nothing.
        let len = if nothing && self.state().nothing {
            0
        } else {
            // If this fails, the snapshot may have its name all the same, and would be believed when its packs are gone.
            self.state().nothing = false;
            writer.finish()?
        };
        self.state().snapshot_done(upto, len, nothing);
        Ok(())
    }

    /// Unlinks what is not needed any more. Nobody who is waited for should call it. Returns how many files it removed.
    ///
    /// # Errors
    /// If a file cannot be removed; the rest is tried at the next call.
    pub fn garbage(&self) -> io::Result<usize> {
        let _busy = self.busy();
        let mut removed = 0;
        loop {
            let path = {
                let state = self.state();
                match (state.garbage.packs.last(), state.garbage.large.last()) {
                    (Some(&number), _) => pack::path(&self.dir, number),
                    (None, Some(&id)) => large_path(&self.dir, id),
                    (None, None) => return Ok(removed),
                }
            };
            match self.disk.unlink(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => removed += 1,
            }
            let mut state = self.state();
            if state.garbage.packs.pop().is_none() {
                state.garbage.large.pop();
            }
        }
    }

    fn busy(&self) -> MutexGuard<'_, ()> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing panics while it holds the lock, other than for lack of memory; what is under it stays whole even then.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn large_dir(dir: &Path) -> PathBuf {
    dir.join("large")
}

fn large_path(dir: &Path, id: u64) -> PathBuf {
    large_dir(dir).join(format!("{id:016x}"))
}

fn large_id(name: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(name).ok().filter(|t| t.len() == 16)?;
    u64::from_str_radix(text, 16).ok()
}
