//! The drop folder: where programs of this host leave mail whether or not the server runs, and from where it is taken in.
//!
//! Everybody may create a file there and nobody may list it (mode 1733), so no program needs another's rights. A file is written and flushed under a name that is
//! not looked at (`.new-`), renamed, and the folder flushed; then its mail is promised. Its name is random, so that those who may not list cannot
//! read it, although the server's user must. Whose mail it is says the owner of the file, not what is in it.
//!
//! A file goes after its mail is durable in the log, whose record says which file it was. So after a crash in between, or if the file cannot be removed, it is
//! known to be taken. The log keeps telling of it until its removal is durable. A name alone says nothing: programs use names again, and what has the name of
//! a file that was taken is another message, unless it is the same file.

mod letter;
#[cfg(test)]
mod tests;

pub use letter::{Letter, write_envelope};

use crate::{
    disk::{Disk, File, Posix, Stat},
    supervise::guarded,
};
use letter::{ENVELOPE_MAX, read_envelope};
use mail::Envelope;
use queue::{Dropped, FileMark};
use rustix::fs::Mode;
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    io::{self, BufRead as _, BufReader, Read},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Its name in the store.
pub const FOLDER: &str = "drop";
/// The socket in the store where the server hears that something was left.
pub const BELL: &str = "drop.sock";
/// Before the name of a file that is being written.
pub const NEW: &str = ".new-";
/// Behind the name of a file that cannot be taken in. It stays for the operator.
const BAD: &str = ".bad";
/// Files that are looked at at one time; the rest waits for the next.
const BATCH: usize = 1000;
/// Names that may be looked at in a second, on average: where there are more, it is looked less often, but at least so often, in seconds.
const LOOKED_AT_A_SECOND: i64 = 20_000;
const LOOK_REST_MAX_S: i64 = 60;
/// How often, in seconds, it is looked for drafts that nobody goes on with.
const DRAFTS_EVERY_S: u64 = 3600;
/// Files that failed and are remembered. Others are tried each time, a batch at a time.
const AGAIN_MAX: usize = 10_000;
/// How often a file that failed is tried without a rest; then each rest is twice the one before, up to one of these, in seconds: for what may pass, and for what
/// somebody has to look at.
const AT_ONCE: u32 = 3;
const REST_S: i64 = 60;
const REST_LONG_S: i64 = 3600;
/// A file at which it panics more often is put aside.
const PANICS_MAX: u32 = 5;
/// The longest name of what is put aside: far from what a file system allows.
const ASIDE_MAX: usize = 100;
/// Seconds after which nobody goes on with a file that is being written: a job that says nothing for so long is told when it ends that its message was not
/// taken.
const STALE_S: i64 = 5 * 86_400;

/// Makes the folder.
///
/// # Errors
/// If it cannot be made, not be given its mode, or its own name not be made durable: then what is left in it would be lost with it.
pub fn prepare(dir: &Path) -> io::Result<()> {
    match rustix::fs::mkdir(dir, Mode::RWXU) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    // mkdir(2) heeds the umask, chmod(2) does not.
    rustix::fs::chmod(dir, Mode::from_raw_mode(0o1733))?;
    Posix.sync_dir(dir.parent().unwrap_or(dir))
}

/// What makes the letter in that file and its message durable, together with which file it was.
pub type Take<'a> = &'a mut dyn FnMut(&Dropped<'_>, &Letter, &mut dyn Read) -> io::Result<()>;

/// A file that was taken in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Taken {
    name: Box<str>,
    mark: Option<FileMark>,
}

impl Taken {
    /// As a record names it.
    pub fn as_record(&self) -> Dropped<'_> {
        Dropped { name: &self.name, mark: self.mark }
    }
}

/// Where a file is that was taken in. The log has to tell of it as long as it may be in the folder after a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whereabouts {
    /// It may be in the folder.
    There,
    /// It was removed, and the folder not flushed since.
    Removed,
    /// A flush failed after it was removed: it may come back whatever a later flush says, unless that is of a later removal of the same name.
    Doubtful,
}

/// The folder, and which of its files were taken in.
#[derive(Debug)]
pub struct Folder {
    dir: PathBuf,
    /// Held while files are taken in: two at a time would take the same.
    alone: Mutex<()>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Files that were taken in and that a crash may bring back.
    taken: BTreeMap<Taken, Whereabouts>,
    /// What failed, and rests.
    again: BTreeMap<Vec<u8>, Again>,
    /// After which name it goes on.
    from: Vec<u8>,
    /// The same of drafts, and when they were last looked through.
    drafts_from: Vec<u8>,
    drafts_at_s: i64,
    /// When the folder is looked through next.
    look_at_s: i64,
}

/// A file that failed.
#[derive(Debug, Default)]
struct Again {
    tries: u32,
    /// When it is tried next.
    at_s: i64,
}

impl Again {
    fn is_due(&self, now_s: i64) -> bool {
        // Nothing rests for longer than that: the clock was set.
        now_s >= self.at_s || self.at_s - now_s > REST_LONG_S
    }
}

impl State {
    fn is_due(&self, name: &[u8], now_s: i64) -> bool {
        self.again.get(name).is_none_or(|again| again.is_due(now_s))
    }

    fn tries(&self, name: &[u8]) -> u32 {
        self.again.get(name).map_or(0, |again| again.tries)
    }

    /// Whether this file was taken in. One that was removed is not it, whatever has its name, its inode and its size now.
    fn holds(&self, name: &str, mark: FileMark) -> bool {
        let place = |mark| self.taken.get(&Taken { name: name.into(), mark });
        place(None) == Some(&Whereabouts::There) || matches!(place(Some(mark)), Some(Whereabouts::There | Whereabouts::Doubtful))
    }

    /// What of this name was taken in is removed, but for the file that has it now.
    fn removed(&mut self, name: &str, but: Option<FileMark>) {
        let all = self.taken.iter_mut().filter(|(taken, place)| *taken.name == *name && **place == Whereabouts::There);
        all.filter(|(taken, _)| but.is_none() || taken.mark.is_some_and(|mark| but != Some(mark)))
            .for_each(|(_, place)| *place = Whereabouts::Removed);
    }
}

/// What is to be done next.
#[derive(Default)]
struct Found {
    names: BTreeSet<Vec<u8>>,
    drafts: BTreeSet<Vec<u8>>,
}

fn mark(inode: u64, size: u64, modified_ns: i128) -> FileMark {
    FileMark { inode, size, modified_ns: i64::try_from(modified_ns).unwrap_or(i64::MAX) }
}

/// Whether a file of that name may be mail.
fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && !name.starts_with(b".") && !name.ends_with(BAD.as_bytes())
}

/// Adds a name, and keeps the least so many.
fn keep_least(names: &mut BTreeSet<Vec<u8>>, name: &[u8], most: usize) {
    if names.len() < most || names.last().is_some_and(|last| name < &last[..]) {
        names.insert(name.to_vec());
        if names.len() > most {
            names.pop_last();
        }
    }
}

impl Folder {
    /// Of the store's.
    pub fn new(dir: PathBuf) -> Folder {
        Folder { dir, alone: Mutex::default(), state: Mutex::default() }
    }

    /// A file was taken in: the log says so.
    pub fn note(&self, file: &Dropped<'_>) {
        self.state().taken.insert(Taken { name: file.name.into(), mark: file.mark }, Whereabouts::There);
    }

    /// Files that were taken in and may still be there, or again.
    pub fn taken(&self) -> Vec<Taken> {
        self.state().taken.keys().cloned().collect()
    }

    /// Takes in what lies in the folder: some of it, the rest the next time, from where this stopped. What `take` fails at stays for later, and rests the
    /// longer the more often it failed. Gives how many were taken.
    ///
    /// # Errors
    /// If the folder cannot be listed or flushed.
    pub fn take_in(&self, disk: &dyn Disk, largest: u64, now_s: i64, take: Take<'_>) -> io::Result<usize> {
        let _alone = self.alone.lock().unwrap_or_else(PoisonError::into_inner);
        if (1..=LOOK_REST_MAX_S).contains(&(self.state().look_at_s - now_s)) {
            return Ok(0);
        }
        let found = self.look(disk, now_s)?;
        let mut count = 0;
        for name in &found.names {
            count += usize::from(self.deal_with(disk, name, largest, now_s, take));
        }
        for name in &found.drafts {
            let path = self.dir.join(OsStr::from_bytes(name));
            let is_old = |stat: Stat| now_s.saturating_sub(i64::try_from(stat.modified_ns / 1_000_000_000).unwrap_or(i64::MAX)) > STALE_S;
            if disk.stat(&path).is_ok_and(is_old)
                && let Err(error) = disk.unlink(&path)
            {
                self.put_off(name, now_s, REST_LONG_S, &error, "what a program of this host did not finish cannot be removed");
            }
        }
        self.flush(disk).map(|()| count)
    }

    /// Takes in one file, whose name somebody says: nobody has to look for it among what others left.
    ///
    /// # Errors
    /// If the folder cannot be flushed.
    pub fn take_named(&self, disk: &dyn Disk, name: &[u8], largest: u64, now_s: i64, take: Take<'_>) -> io::Result<()> {
        if !is_name(name) || name.contains(&b'/') || !self.state().is_due(name, now_s) {
            return Ok(());
        }
        let _alone = self.alone.lock().unwrap_or_else(PoisonError::into_inner);
        self.deal_with(disk, name, largest, now_s, take);
        self.flush(disk)
    }

    /// Finds what is to be done next. However many names there are, little of them is kept.
    fn look(&self, disk: &dyn Disk, now_s: i64) -> io::Result<Found> {
        let mut found = Found::default();
        let mut put_off = BTreeSet::new();
        let mut state = self.state();
        // Drafts are there for days before they are removed, so that is seldom looked for; nobody waits for it.
        let drafts_too = now_s.abs_diff(state.drafts_at_s) >= DRAFTS_EVERY_S;
        let (from, drafts_from) = (state.from.clone(), state.drafts_from.clone());
        let mut gone: BTreeSet<Box<str>> = state.taken.keys().map(|taken| taken.name.clone()).collect();
        let resting: BTreeSet<Vec<u8>> =
            state.again.iter().filter(|(_, again)| !again.is_due(now_s)).map(|(name, _)| name.clone()).collect();
        let known: BTreeSet<Vec<u8>> = state.again.keys().cloned().collect();
        drop(state);
        let mut beyond = BTreeSet::new();
        let mut seen = 0;
        disk.list(&self.dir, &mut |name| {
            seen += 1;
            if known.contains(name) {
                put_off.insert(name.to_vec());
            }
            if name.starts_with(NEW.as_bytes()) {
                if drafts_too && name > &drafts_from[..] && !resting.contains(name) {
                    keep_least(&mut found.drafts, name, BATCH);
                }
            } else if is_name(name) {
                if let Ok(name) = str::from_utf8(name) {
                    gone.remove(name);
                }
                if !resting.contains(name) {
                    keep_least(if name > &from[..] { &mut beyond } else { &mut found.names }, name, BATCH);
                }
            }
        })?;
        // After the last name come the first again.
        let room = BATCH - beyond.len();
        found.names = beyond.into_iter().chain(std::mem::take(&mut found.names).into_iter().take(room)).collect();
        state = self.state();
        gone.iter().for_each(|name| state.removed(name, None));
        // Much that is there costs little time: who rings for a file of theirs does not wait for this.
        state.look_at_s = now_s + (seen / LOOKED_AT_A_SECOND).min(LOOK_REST_MAX_S);
        state.again.retain(|name, _| put_off.contains(name));
        state.from = if found.names.len() == BATCH { found.names.last().cloned().unwrap_or_default() } else { Vec::new() };
        if drafts_too {
            let is_over = found.drafts.len() < BATCH;
            state.drafts_from = if is_over { Vec::new() } else { found.drafts.last().cloned().unwrap_or_default() };
            state.drafts_at_s = if is_over { now_s } else { state.drafts_at_s };
        }
        Ok(found)
    }

    /// Takes in a file or puts it aside. Says whether it was taken in.
    fn deal_with(&self, disk: &dyn Disk, name: &[u8], largest: u64, now_s: i64, take: Take<'_>) -> bool {
        let path = self.dir.join(OsStr::from_bytes(name));
        let mut seen = None;
        let taken = guarded("drop folder", || self.take_one(disk, name, &path, largest, take, &mut seen));
        // It may have panicked when it was taken in already.
        let is_in = || seen.zip(str::from_utf8(name).ok()).is_some_and(|(mark, name)| self.state().holds(name, mark));
        let taken = match taken {
            Some(taken) => taken,
            None if is_in() => Ok(true),
            None if self.state().tries(name) >= PANICS_MAX => Err(io::Error::new(io::ErrorKind::InvalidData, "whoever reads it panics")),
            None => Err(io::Error::other("whoever reads it panics")),
        };
        match taken {
            Ok(new) => {
                if let Err(error) = self.remove(disk, name, &path, seen) {
                    self.put_off(name, now_s, REST_LONG_S, &error, "a file of the drop folder was taken in and cannot be removed");
                }
                return new;
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::FileTooLarge) => {
                let what = "a file of the drop folder is no mail that can be taken; it is put aside";
                if let Err(error) = self.put_aside(disk, name, &path, &error, what) {
                    self.put_off(name, now_s, REST_LONG_S, &error, "a file of the drop folder is no mail, and cannot be put aside");
                }
            }
            // Whose it is took it back.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => self.put_off(name, now_s, REST_S, &error, "a file of the drop folder cannot be taken in now"),
        }
        false
    }

    /// Gives a file a name that is not looked at: its own with a suffix, or a short one of ours if that is too long or there already.
    fn put_aside(&self, disk: &dyn Disk, name: &[u8], path: &Path, why: &io::Error, what: &str) -> io::Result<()> {
        let own = [name, BAD.as_bytes()].concat();
        let number = disk.stat(path).map_or(0, |stat| stat.inode);
        let short = format!("{number:x}{BAD}");
        let mut done = Err(io::ErrorKind::InvalidFilename.into());
        for aside in [&own[..], short.as_bytes()] {
            let to = self.dir.join(OsStr::from_bytes(aside));
            if done.is_err() && aside.len() <= ASIDE_MAX && disk.stat(&to).is_err() {
                done = disk.rename(path, &to);
                tracing::error!(file = %name.escape_ascii(), aside = %aside.escape_ascii(), error = %why, "{what}");
            }
        }
        done
    }

    /// Removes a file that was taken in, if it is still what has the name. Who looks whether a name is taken before using it again finds it free only after
    /// this; who does not look may have written over a message of their own at any time before.
    fn remove(&self, disk: &dyn Disk, name: &[u8], path: &Path, taken: Option<FileMark>) -> io::Result<()> {
        let there = disk.stat(path).map(|stat| mark(stat.inode, stat.len, stat.modified_ns));
        let gone = match there {
            Ok(there) if Some(there) != taken => Ok(()),
            Ok(_) => disk.unlink(path),
            Err(error) => Err(error),
        };
        match gone {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        if let Ok(name) = str::from_utf8(name) {
            let mut state = self.state();
            state.removed(name, None);
            if let Some(place) = state.taken.get_mut(&Taken { name: name.into(), mark: taken }) {
                *place = Whereabouts::Removed;
            }
        }
        Ok(())
    }

    /// Makes it durable that what was removed is gone.
    fn flush(&self, disk: &dyn Disk) -> io::Result<()> {
        let mut state = self.state();
        let removed: Vec<Taken> =
            state.taken.iter().filter(|(_, place)| **place == Whereabouts::Removed).map(|(taken, _)| taken.clone()).collect();
        if removed.is_empty() {
            return Ok(());
        }
        drop(state);
        let flushed = disk.sync_dir(&self.dir);
        state = self.state();
        for taken in &removed {
            match &flushed {
                Ok(()) => state.taken.retain(|other, place| other.name != taken.name || *place == Whereabouts::There),
                Err(_) => _ = state.taken.insert(taken.clone(), Whereabouts::Doubtful),
            }
        }
        flushed
    }

    /// Takes a file in, unless it was before. Returns whether it had to. `seen` becomes the file that has the name.
    fn take_one(
        &self,
        disk: &dyn Disk,
        name: &[u8],
        path: &Path,
        largest: u64,
        take: Take<'_>,
        seen: &mut Option<FileMark>,
    ) -> io::Result<bool> {
        let name = str::from_utf8(name).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let (file, left) = disk.open_left(path)?;
        let mark = mark(left.inode, left.len, left.modified_ns);
        *seen = Some(mark);
        if self.state().holds(name, mark) {
            return Ok(false);
        }
        self.state().removed(name, Some(mark));
        // Another name of a file may be somebody else's wish to send it.
        if !left.is_file || left.links != 1 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not a file of its own"));
        }
        if left.len > largest.saturating_add(ENVELOPE_MAX) {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let from = |at| BufReader::new(Bytes { file: &*file, at, end: left.len });
        let mut bytes = from(0);
        let (mut letter, at) = read_envelope(left.uid, &mut bytes)?;
        // Before anything else of it is read.
        let Envelope { sender, recipients, .. } = &letter.envelope;
        if recipients.iter().map(|r| &r.address).chain(sender).any(|address| smtp::path(&address.to_string()).is_none()) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "an address that no command can hold"));
        }
        if recipients.len() > queue::REMOTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "more recipients than one message may have"));
        }
        // Few programs say that a message is 8-bit.
        while !letter.eight_bit {
            let piece = bytes.fill_buf()?;
            if piece.is_empty() {
                break;
            }
            letter.eight_bit = !piece.is_ascii();
            let n = piece.len();
            bytes.consume(n);
        }
        let file = Dropped { name, mark: Some(mark) };
        take(&file, &letter, &mut from(at))?;
        self.note(&file);
        Ok(true)
    }

    /// Lets a file rest, and says what is wrong with it the first time.
    fn put_off(&self, name: &[u8], now_s: i64, longest_s: i64, error: &io::Error, what: &str) {
        let mut state = self.state();
        if state.again.len() >= AGAIN_MAX && !state.again.contains_key(name) {
            return;
        }
        let again = state.again.entry(name.to_vec()).or_default();
        again.tries += 1;
        again.at_s = now_s + if again.tries > AT_ONCE { (1 << (again.tries - AT_ONCE).min(20)).min(longest_s) } else { 0 };
        let is_new = again.tries == 1;
        drop(state);
        if is_new {
            tracing::error!(file = %name.escape_ascii(), %error, "{what}");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bytes of a file from one place to another.
struct Bytes<'a> {
    file: &'a dyn File,
    at: u64,
    end: u64,
}

impl Read for Bytes<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(buf.len());
        let n = self.file.read_at(&mut buf[..room], self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}
