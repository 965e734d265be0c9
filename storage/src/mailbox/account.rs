//! What the mailboxes of one account share: how much they hold, their register, the next UIDVALIDITY.

use super::{
    limits,
    shelf::Common,
    trouble,
    turn::{Held, Turn},
    watch::{Calls, Watched},
};
use crate::disk::{Disk, File, How};
use imap::Refusal;
use mail::MailboxName;
use maildir::{
    Register,
    sealed::{self, Seal},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};
use wire::Fault;

/// The file with the last UIDVALIDITY that was given out.
const VALIDITY: &str = "hikyaku.uidvalidity";
/// The file with subscriptions and special uses.
const REGISTER: &str = "hikyaku.mailboxes";
/// Files in which something odd was found and said: no more than this many are remembered.
const SAID: usize = 1000;
/// How long a Maildir is taken for what it was found to be where it is asked for again and again. Owners change by hand.
const GUARDED_NS: i128 = 1_000_000_000;

pub(super) struct Account {
    common: Arc<Common>,
    /// The Maildir that is the inbox.
    pub root: PathBuf,
    /// The disk, watched: whatever is done in this Maildir goes through it.
    pub disk: Arc<dyn Disk>,
    pub calls: Arc<Calls>,
    /// The file system on which a mailbox of it was last found; none yet if it is `u64::MAX`.
    device: AtomicU64,
    books: Mutex<Books>,
    /// Which directories of it are not used, and why, as far as that was said.
    refused: Mutex<BTreeMap<PathBuf, Refused>>,
    /// When its own directory was last found to be nobody else's.
    guarded: Mutex<Option<Guarded>>,
    /// Files of which it was said what is odd about them.
    said: Mutex<BTreeSet<PathBuf>>,
    /// Held while mailboxes are made, renamed and removed.
    order: Turn<()>,
    /// Held while a UIDVALIDITY is given out.
    numbering: Turn<()>,
}

/// A directory of a Maildir that is not used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The Maildir.
    pub maildir: PathBuf,
    /// The directory of a mailbox in it.
    pub dir: PathBuf,
    /// What is wrong with it, in words.
    pub why: String,
    /// Since when, in seconds since 1970.
    pub since_s: i64,
}

/// That a Maildir is nobody else's.
#[derive(Clone, Copy)]
struct Guarded {
    at_ns: i128,
    /// When something was last put into it, moved or removed.
    modified_ns: i128,
}

#[derive(Default)]
struct Books {
    /// Bytes in each mailbox that was counted.
    sizes: BTreeMap<MailboxName, u64>,
    sum: u64,
    /// Whether every mailbox was counted.
    complete: bool,
}

impl Account {
    pub fn new(common: Arc<Common>, root: PathBuf) -> Account {
        let calls = Arc::new(Calls::new(common.rounds.clone()));
        let disk = Arc::new(Watched { disk: common.disk.clone(), calls: calls.clone() });
        Account {
            common,
            root,
            disk,
            calls,
            device: AtomicU64::new(u64::MAX),
            books: Mutex::default(),
            refused: Mutex::default(),
            guarded: Mutex::default(),
            said: Mutex::default(),
            order: Turn::new(()),
            numbering: Turn::new(()),
        }
    }

    /// A mailbox of it lies there.
    pub fn lies_on(&self, device: u64) {
        self.device.store(device, Ordering::Relaxed);
    }

    /// The file system on which a mailbox of it was last found.
    pub fn device(&self) -> Option<u64> {
        Some(self.device.load(Ordering::Relaxed)).filter(|device| *device != u64::MAX)
    }

    /// As [`Account::guard`] for the inbox, for whoever asks at each message: as long as nothing was put into the Maildir, whose its directories are is
    /// looked at once a second.
    ///
    /// # Errors
    /// `Later` if somebody else may write there.
    pub fn guard_often(&self) -> Result<(), Refusal> {
        let now_ns = self.common.now_ns();
        let as_it_is =
            |disk: &dyn Disk| disk.stat(&self.root).ok().filter(|stat| super::guard::objection(&self.root, stat, disk.uid()).is_none());
        let modified_ns = as_it_is(&*self.disk).map(|stat| stat.modified_ns);
        let known = *self.guarded.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_some_and(|known| Some(known.modified_ns) == modified_ns && (0..GUARDED_NS).contains(&(now_ns - known.at_ns))) {
            return Ok(());
        }
        self.guard(&self.root)?;
        *self.guarded.lock().unwrap_or_else(PoisonError::into_inner) =
            modified_ns.map(|modified_ns| Guarded { at_ns: now_ns, modified_ns });
        Ok(())
    }

    /// Looks whose a Maildir is: this one's directory, and those of the mailbox at `dir` as far as they are there.
    ///
    /// # Errors
    /// `Later` if somebody else may write there. The log says why, once.
    pub fn guard(&self, dir: &Path) -> Result<(), Refusal> {
        let disk = &*self.disk;
        let mut why = None;
        let own = (*dir != *self.root).then(|| self.root.clone());
        for path in own.into_iter().chain([dir.to_owned(), dir.join("cur"), dir.join("new"), dir.join("tmp")]) {
            match disk.stat(&path) {
                Ok(stat) => why = why.or_else(|| super::guard::objection(&path, &stat, disk.uid())),
                Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
                Err(e) if matches!(e.kind(), io::ErrorKind::InvalidData | io::ErrorKind::PermissionDenied) => {
                    why = why.or_else(|| Some(format!("{}: {e}", path.display())));
                }
                Err(e) => return Err(trouble("stat", &path, &e)),
            }
        }
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(why) = why else {
            if refused.remove(dir).is_some() {
                tracing::info!(maildir = %dir.display(), "this Maildir is used again");
            }
            return Ok(());
        };
        let known = refused.get(dir);
        if known.is_none_or(|known| known.why != why) {
            tracing::error!(maildir = %dir.display(), "this Maildir is not used: {why}");
            let since_s = known.map_or_else(|| self.common.now_s(), |known| known.since_s);
            refused.insert(dir.to_owned(), Refused { maildir: self.root.clone(), dir: dir.to_owned(), why, since_s });
        }
        Err(Refusal::Fault(Fault::Later))
    }

    /// Those of its directories that are not used.
    pub fn refused(&self) -> Vec<Refused> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Says of a file in a Maildir that it is no message, once.
    pub fn say_odd(&self, path: &Path, why: &str) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.len() < SAID && said.insert(path.to_owned()) {
            tracing::warn!(path = %path.display(), "not taken for a message: {why}");
        }
    }

    /// The bytes of all mailboxes, if all were counted.
    pub fn usage(&self) -> Option<u64> {
        let books = self.books();
        books.complete.then_some(books.sum)
    }

    /// Every mailbox was counted.
    pub fn complete(&self) {
        self.books().complete = true;
    }

    /// A mailbox holds that many bytes now.
    pub fn count(&self, name: &MailboxName, size: u64) {
        let mut books = self.books();
        let before = match books.sizes.get_mut(name) {
            Some(slot) => std::mem::replace(slot, size),
            None => {
                books.sizes.insert(name.clone(), size);
                0
            }
        };
        // Sums of what others may have written: they end at the greatest number instead of ending the server.
        books.sum = books.sum.saturating_sub(before).saturating_add(size);
    }

    /// A mailbox is not there any more.
    pub fn uncount(&self, name: &MailboxName) {
        let mut books = self.books();
        let before = books.sizes.remove(name).unwrap_or(0);
        books.sum = books.sum.saturating_sub(before);
    }

    /// A UIDVALIDITY that no mailbox of this account ever had: greater than all before, and the time if that is greater still (so that it
    /// is new even if the file with the last one is lost).
    pub fn next_validity(&self, sync: bool) -> Result<u32, Refusal> {
        let _numbering = self.wait_for(&self.numbering)?;
        let path = self.root.join(VALIDITY);
        let last = read_validity(&*self.disk, &path).map_err(|e| trouble("read", &path, &e))?;
        let now = u32::try_from(self.common.now_s()).unwrap_or(1).max(1);
        let next = now.max(last.saturating_add(1)).max(self.common.options.uidvalidity);
        write_file(&*self.disk, &path, (sealed::seal(&next.to_string(), sealed::LINE) + "\n").as_bytes(), sync)
            .map_err(|e| trouble("write", &path, &e))?;
        Ok(next)
    }

    /// Subscriptions and uses.
    pub fn register(&self) -> Result<Register, Refusal> {
        let path = self.root.join(REGISTER);
        let text = read_file(&*self.disk, &path, limits::REGISTER).map_err(|e| trouble("read", &path, &e))?;
        let Some(text) = text else { return Ok(Register::fresh()) };
        let (register, seal) = Register::load(&text);
        if matches!(seal, Seal::Mended | Seal::Broken) {
            tracing::error!(path = %path.display(), ?seal, "subscriptions are damaged; what can be read of them is written anew");
            if let Err(error) = self.write_register(&register) {
                tracing::warn!(path = %path.display(), ?error, "subscriptions cannot be written anew");
            }
        }
        Ok(register)
    }

    /// Keeps the register, durably.
    pub fn write_register(&self, register: &Register) -> Result<(), Refusal> {
        let path = self.root.join(REGISTER);
        let write = || {
            write_file(&*self.disk, &path, register.print().as_bytes(), true)?;
            self.disk.sync_dir(&self.root)
        };
        write().map_err(|e| trouble("write", &path, &e))
    }

    /// Held while mailboxes are made, renamed and removed.
    ///
    /// # Errors
    /// `Later` if the disk does not answer whoever has it.
    pub fn order(&self) -> Result<Held<'_, ()>, Refusal> {
        self.wait_for(&self.order)
    }

    fn wait_for<'a>(&self, turn: &'a Turn<()>) -> Result<Held<'a, ()>, Refusal> {
        turn.wait(|| self.calls.is_stalled()).ok_or(Refusal::Fault(Fault::Later))
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The greatest UIDVALIDITY that any of these Maildirs has given out, as far as their files say.
pub(crate) fn last_validity(disk: &Arc<dyn Disk>, maildirs: impl Iterator<Item = PathBuf>) -> u32 {
    let disk = disk.careful().unwrap_or_else(|| disk.clone());
    let last = maildirs.map(|maildir| {
        disk.confine(&maildir);
        let path = maildir.join(VALIDITY);
        read_validity(&*disk, &path).unwrap_or_else(|error| {
            tracing::warn!(path = %path.display(), %error, "nobody knows which UIDVALIDITY was given out last here; the clock stands in for it");
            0
        })
    });
    last.max().unwrap_or(0)
}

/// What was given out last; 0 if there is no file that says so.
fn read_validity(disk: &dyn Disk, path: &Path) -> io::Result<u32> {
    let text = read_file(disk, path, limits::SMALL_BOOK)?.unwrap_or_default();
    let number = |text: &str| text.trim().parse().unwrap_or(0);
    Ok(match sealed::open(&text, sealed::LINE) {
        (Some(text), Seal::Whole) => number(&text),
        (Some(text), _) => {
            tracing::warn!(path = %path.display(), "the last UIDVALIDITY is damaged, and known all the same");
            number(&text)
        }
        // Of an earlier version.
        (None, Seal::Missing) => std::str::from_utf8(&text).map_or(0, number),
        (None, _) => {
            tracing::error!(path = %path.display(), "the last UIDVALIDITY is damaged; the clock stands in for it");
            0
        }
    })
}

/// A whole file of ours; `None` if there is none, or what is there cannot be ours: a link, a FIFO, more bytes than it can have. It is written anew then.
pub(super) fn read_file(disk: &dyn Disk, path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let Some((file, len)) = open_whole(disk, path, limit)? else { return Ok(None) };
    let mut bytes = vec![0; len];
    let got = fill(&*file, &mut bytes, 0)?;
    bytes.truncate(got);
    Ok(Some(bytes))
}

/// An index: as [`read_file`], but a long one only as far as it is one. There is no good limit for it, and a sparse file costs its owner nothing.
pub(super) fn read_index(disk: &dyn Disk, path: &Path) -> io::Result<Option<Vec<u8>>> {
    let Some((file, len)) = open_whole(disk, path, u64::MAX)? else { return Ok(None) };
    let mut bytes = Vec::new();
    let mut sound = 0;
    while bytes.len() < len {
        let at = bytes.len();
        bytes.resize(len.min(at + limits::INDEX_PIECE), 0);
        let got = fill(&*file, &mut bytes[at..], at as u64)?;
        bytes.truncate(at + got);
        if got < limits::INDEX_PIECE {
            break;
        }
        let mut records = maildir::Records::new(&bytes[sound..]);
        while records.next().is_some() {}
        sound += records.valid();
        if bytes.len() - sound > limits::INDEX_PIECE / 2 {
            break;
        }
    }
    Ok(Some(bytes))
}

fn open_whole(disk: &dyn Disk, path: &Path, limit: u64) -> io::Result<Option<(Box<dyn File>, usize)>> {
    let file = match disk.open_book(path, How::Read) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) if e.kind() == io::ErrorKind::InvalidData => {
            tracing::warn!(path = %path.display(), "this file is not ours and not read: {e}");
            return Ok(None);
        }
        Err(e) => return Err(e),
    };
    let len = file.len()?;
    if len > limit {
        tracing::warn!(path = %path.display(), bytes = len, "this file is too large to be ours, and not read");
        return Ok(None);
    }
    Ok(Some((file, usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?)))
}

/// Reads until `bytes` is full or the file ends.
fn fill(file: &dyn File, bytes: &mut [u8], at: u64) -> io::Result<usize> {
    let mut got = 0;
    while got < bytes.len() {
        match file.read_at(&mut bytes[got..], at + got as u64)? {
            0 => break,
            n => got += n,
        }
    }
    Ok(got)
}

/// Whether a file that was to be written to is not ours, or not ours to write: another takes its place then.
pub(super) fn is_foreign(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::PermissionDenied)
}

/// Replaces a file as a whole: whoever reads it sees the old one or the new one, after a crash too if it is to be synced (whether the
/// name is the new one's is a matter of its directory).
pub(super) fn write_file(disk: &dyn Disk, path: &Path, bytes: &[u8], sync: bool) -> io::Result<()> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".tmp");
    let fresh = PathBuf::from(fresh);
    let file = match disk.open(&fresh, How::Create) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            disk.unlink(&fresh)?;
            disk.open(&fresh, How::Create)?
        }
        other => other?,
    };
    file.append(bytes)?;
    if sync {
        file.sync()?;
    }
    drop(file);
    disk.rename(&fresh, path)
}
