//! What the mailboxes of one account share: how much they hold, their register, the next UIDVALIDITY.

use super::{shelf::Common, trouble};
use crate::disk::{Disk, How};
use imap::Refusal;
use mail::MailboxName;
use maildir::Register;
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The file with the last UIDVALIDITY that was given out.
const VALIDITY: &str = "hikyaku.uidvalidity";
/// The file with subscriptions and special uses.
const REGISTER: &str = "hikyaku.mailboxes";

pub(super) struct Account {
    common: Arc<Common>,
    /// The Maildir that is the inbox.
    pub root: PathBuf,
    books: Mutex<Books>,
    /// Held while mailboxes are made, renamed and removed.
    pub order: Mutex<()>,
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
        Account { common, root, books: Mutex::default(), order: Mutex::default() }
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
        let _books = self.books();
        let path = self.root.join(VALIDITY);
        let text = read_file(&*self.common.disk, &path).map_err(|e| trouble("read", &path, &e))?.unwrap_or_default();
        let last = std::str::from_utf8(&text).ok().and_then(|t| t.trim().parse::<u32>().ok()).unwrap_or(0);
        let now = u32::try_from(self.common.now_s()).unwrap_or(1).max(1);
        let next = now.max(last.saturating_add(1));
        write_file(&*self.common.disk, &path, format!("{next}\n").as_bytes(), sync).map_err(|e| trouble("write", &path, &e))?;
        Ok(next)
    }

    /// Subscriptions and uses.
    pub fn register(&self) -> Result<Register, Refusal> {
        let path = self.root.join(REGISTER);
        let text = read_file(&*self.common.disk, &path).map_err(|e| trouble("read", &path, &e))?;
        Ok(text.map_or_else(Register::fresh, |text| Register::parse(&text)))
    }

    /// Keeps the register, durably.
    pub fn write_register(&self, register: &Register) -> Result<(), Refusal> {
        let path = self.root.join(REGISTER);
        let write = || {
            write_file(&*self.common.disk, &path, register.print().as_bytes(), true)?;
            self.common.disk.sync_dir(&self.root)
        };
        write().map_err(|e| trouble("write", &path, &e))
    }

    pub fn order(&self) -> MutexGuard<'_, ()> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A whole file; `None` if there is none.
pub(super) fn read_file(disk: &dyn Disk, path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match disk.open(path, How::Read) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let len = usize::try_from(file.len()?).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let mut bytes = vec![0; len];
    let mut got = 0;
    while got < len {
        match file.read_at(&mut bytes[got..], got as u64)? {
            0 => break,
            n => got += n,
        }
    }
    bytes.truncate(got);
    Ok(Some(bytes))
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
