//! The depot: messages that wait for another server longer than the log can wait for them.
//!
//! The spool lets go of its log from the front. A message that is still queued when the log has to go on is **parked**: its record is copied into a
//! pack, a file that is written once, and a **snapshot** says of every parked message where its record is and what the queue knows of it. Then the log
//! may go. docs/depot.md describes the files, the order in which they are written, and what a crash leaves.
//!
//! The depot knows nothing of mail: what records and the states of a queue mean is the business of its users.

mod damage;
mod found;
mod pack;
mod parity;
mod park;
mod snapshot;
mod state;
#[cfg(test)]
mod tests;

use crate::{
    disk::{Disk, File, How},
    spool::{Lsn, Spool},
};
pub use damage::{aside, is_lost, salvage};
pub use found::Harm;
use state::{Place, State};
use std::{
    collections::BTreeSet,
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

/// Where to put the state of every message of a queue, in the order of their ids. What is put under 0, which is no message's id, is the queue's own and comes
/// back too. No state is empty.
pub type Put<'a> = dyn FnMut(u64, &[u8]) + 'a;

/// Takes back what was put: an id, its state, and who reads its record if the state alone does not do. The state is empty if it was lost: the message may
/// have been queued, and its record is all that is known of it.
pub type Restore<'a> = dyn FnMut(u64, &[u8], &dyn Fn() -> io::Result<Vec<u8>>) + 'a;

/// Gives `restore` every state of the last snapshot in `dir` without touching anything, and says up to where in the log they are true. For the
/// command line, also while a server runs; then the snapshot may be of another moment than the log.
///
/// # Errors
/// If it cannot be read, other than for damage.
pub fn inspect(disk: &dyn Disk, dir: &Path, restore: &mut Restore<'_>) -> io::Result<Lsn> {
    Ok(found::read(disk, dir, restore)?.upto)
}

/// Reads all that is in `dir`, and says what is damaged, a sentence each. As [`inspect`], also while a server runs.
///
/// # Errors
/// If it cannot be read, other than for damage.
pub fn check(disk: &dyn Disk, dir: &Path) -> io::Result<Vec<String>> {
    let found = found::read(disk, dir, &mut |_, _, _| {})?;
    let mut wrong = found.harm.told();
    let mut bad = BTreeSet::new();
    for (&number, pack) in &found.packs {
        match pack::Reader::open(disk, dir, number).and_then(|reader| reader.is_whole(pack.size)) {
            Ok(true) => {}
            Ok(false) => drop(bad.insert(number)),
            // The server may have done with it meanwhile; then the snapshot of now does not name it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if found::read(disk, dir, &mut |_, _, _| {})?.packs.contains_key(&number) {
                    wrong.push(format!("pack {number:08x} is gone, and {} messages of it are queued", pack.alive));
                }
            }
            Err(error) => return Err(error),
        }
    }
    // What came one after the other lies together.
    let mut open: Option<(u32, io::Result<pack::Reader>)> = None;
    for &(id, place) in &found.parked {
        let number = (place >> 32) as u32;
        let (_, reader) = match open.take().filter(|(other, _)| *other == number) {
            Some(same) => open.insert(same),
            None => open.insert((number, pack::Reader::open(disk, dir, number))),
        };
        let read = match reader {
            Ok(reader) => reader.read(place as u32, id),
            Err(error) => Err(error.kind().into()),
        };
        match read {
            Ok(_) => {}
            // Of a pack that is not there all is said, unless the server has moved what was in it meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound && number != state::NOWHERE => {}
            Err(error) => wrong.push(format!("message {id:x} cannot be read: {error}")),
        }
    }
    wrong.extend(
        bad.into_iter()
            .map(|number| format!("pack {number:08x} is damaged; unless that is said above, nothing of a queued message is lost")),
    );
    Ok(wrong)
}

impl Depot {
    /// Opens the depot in `dir`, which is made if its parent exists, and gives `restore` every state of the last snapshot, in the order in which they
    /// were put. Take the lock of the spool first, for it keeps others out of both.
    ///
    /// The states are true up to [`Depot::upto`] and may know of later things. So: take no notice of a record before that place as far as the
    /// queue is concerned; of those at or after it, [`Depot::note`] messages that are new, and apply what is told of them in order. A record may
    /// tell of what a state knows already, or of a message that is done and forgotten.
    ///
    /// What is damaged is made again where that can be done. If more is damaged than that, the messages whose states are lost come back with empty ones, and a
    /// copy of the snapshot is put aside ([`aside`]); the log says what was lost.
    ///
    /// # Errors
    /// `Unsupported` if it is of a later version; or it cannot be read now.
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
        let found = found::read(&*disk, dir, restore)?;
        let harm = found.harm.clone();
        for told in harm.told() {
            tracing::error!(path = %snapshot::path(dir).display(), "{told}");
        }
        if !harm.gaps.is_empty() {
            // The next checkpoint replaces it.
            if let Err(error) = damage::put_aside(&*disk, dir, &snapshot::path(dir)) {
                tracing::error!(%error, "the damaged snapshot cannot be put aside");
            }
        }
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
                tracing::error!(%error, pack = format!("{number:08x}"), "a pack of queued messages is gone");
            }
        }
        let depot = Depot { disk, dir: dir.into(), options, state: Mutex::new(state), busy: Mutex::default() };
        harm.packs.iter().for_each(|&number| depot.mended(number));
        Ok(depot)
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
            Place::Pack { number, offset } => self.read_pack(number, offset, id),
        })
    }

    fn read_pack(&self, number: u32, offset: u32, id: u64) -> io::Result<Vec<u8>> {
        let lost = |error: io::Error| io::Error::new(io::ErrorKind::InvalidData, format!("its record is lost: {error}"));
        let mut reader = pack::Reader::open(&*self.disk, &self.dir, number).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => lost(error),
            _ => error,
        })?;
        match reader.read(offset, id) {
            Err(error) if damage::is(&error) => {
                self.put_aside(number);
                Err(lost(error))
            }
            read => {
                if reader.mended {
                    self.mended(number);
                }
                read
            }
        }
    }

    /// A piece of a pack had to be made again.
    fn mended(&self, number: u32) {
        if self.state().mended(number) {
            tracing::error!(
                pack = format!("{number:08x}"),
                "a pack of queued messages is damaged: what was damaged was made again, and all of it is copied soon; look after the disk"
            );
        }
    }

    /// Something of a pack is lost. It goes when what is queued of it is done, and somebody may want to look at it.
    fn put_aside(&self, number: u32) {
        let pack = format!("{number:08x}");
        match damage::put_aside(&*self.disk, &self.dir, &pack::path(&self.dir, number)) {
            Ok(()) => {
                tracing::error!(pack, "a pack of queued messages is damaged, and not all of it can be made again; it is put aside too")
            }
            Err(error) => tracing::error!(pack, %error, "a pack of queued messages is damaged, and cannot be put aside"),
        }
    }

    /// The file of a queued message that has one. It can be read to its end even if the message is done meanwhile.
    ///
    /// # Errors
    /// `NotFound` if the message is not queued or has none, or a fault of the disk.
    pub fn open_large(&self, spool: &Spool, id: u64) -> io::Result<Box<dyn File>> {
        self.wherever(id, |place| self.disk.open(&self.path_of_large(spool, place, id), How::Read))
    }

    /// The file of a queued message turned out not to be what was written: it goes when the message is done, and somebody may want to look at it.
    pub fn put_large_aside(&self, spool: &Spool, id: u64) {
        let shown = format!("{id:x}");
        let put = self.wherever(id, |place| damage::put_aside(&*self.disk, &self.dir, &self.path_of_large(spool, place, id)));
        match put {
            Ok(()) => tracing::error!(id = shown, "the file of a large message is damaged; it is put aside too"),
            Err(error) => tracing::error!(id = shown, %error, "the file of a large message is damaged, and cannot be put aside"),
        }
    }

    fn path_of_large(&self, spool: &Spool, place: Place, id: u64) -> PathBuf {
        match place {
            Place::Log(_) => spool.large_path(id),
            Place::Pack { .. } => large_path(&self.dir, id),
        }
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
