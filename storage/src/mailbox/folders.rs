//! Making, naming and removing mailboxes.

use super::{below, limits, load::make_maildir, shelf::Mailboxes, trouble};
use crate::disk::Disk;
use imap::{Listed, Refusal};
use mail::{MailboxName, SpecialUse};
use maildir::{folder_name, mailbox_name};
use queue::Naming;
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::PoisonError,
};

/// Where removed mailboxes wait for being emptied: no mailbox has a name without a leading dot.
const TRASH: &str = "hikyaku.trash.";

/// What a change of names does to mailboxes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moves {
    /// Each of these gets another name.
    Rename(Vec<(MailboxName, MailboxName)>),
    /// This one is removed.
    Remove(MailboxName),
}

impl Mailboxes {
    /// Every mailbox of a Maildir, levels that only hold others, and subscribed names without a mailbox; sorted by name.
    ///
    /// # Errors
    /// A fault of the disk.
    pub fn list(&self, maildir: &Path) -> Result<Vec<Listed>, Refusal> {
        let register = self.account(maildir).register()?;
        let mut listed: BTreeMap<MailboxName, bool> = BTreeMap::new();
        for name in self.names(maildir)? {
            let mut level = name.clone();
            while let Some(up) = level.parent() {
                listed.entry(up.clone()).or_insert(false);
                level = up;
            }
            listed.insert(name, true);
        }
        for name in &register.subscribed {
            listed.entry(name.clone()).or_insert(false);
        }
        let tell = |(name, exists): (MailboxName, bool)| Listed {
            subscribed: register.subscribed.contains(&name),
            special_use: register.uses.get(&name).copied().filter(|_| exists),
            exists,
            name,
        };
        Ok(listed.into_iter().map(tell).collect())
    }

    /// Whether there is such a mailbox.
    ///
    /// # Errors
    /// A fault of the disk.
    pub fn exists(&self, maildir: &Path, name: &MailboxName) -> Result<bool, Refusal> {
        let Some(folder) = folder_name(name) else { return Ok(false) };
        if name.is_inbox() {
            return Ok(true);
        }
        let cur = maildir.join(folder).join("cur");
        match self.disk(maildir).stat(&cur) {
            Ok(stat) => Ok(stat.is_dir),
            // What lies behind a link is no mailbox here.
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidData) => Ok(false),
            Err(e) => Err(trouble("stat", &cur, &e)),
        }
    }

    /// Makes a mailbox, durably.
    ///
    /// # Errors
    /// [`Refusal::Exists`], [`Refusal::Cannot`] for a name that is too long for a file system, [`Refusal::Limit`], or a fault of the disk.
    pub fn create(&self, maildir: &Path, name: &MailboxName, special_use: Option<SpecialUse>) -> Result<(), Refusal> {
        let account = self.account(maildir);
        let _order = account.order()?;
        if self.exists(maildir, name)? {
            return Err(Refusal::Exists);
        }
        if self.names(maildir)?.len() >= limits::MAILBOXES {
            return Err(Refusal::Limit);
        }
        self.make(maildir, name)?;
        if let Some(special_use) = special_use {
            let mut register = account.register()?;
            if register.is_full() {
                return Err(Refusal::Limit);
            }
            register.uses.insert(name.clone(), special_use);
            account.write_register(&register)?;
        }
        Ok(())
    }

    fn make(&self, maildir: &Path, name: &MailboxName) -> Result<(), Refusal> {
        // The inbox first: it holds the others.
        self.open(maildir, &MailboxName::inbox())?.lock()?.settle_names()?;
        let dir = maildir.join(folder_name(name).ok_or(Refusal::Cannot)?);
        let disk = self.disk(maildir);
        let made = make_maildir(&*disk, &dir).and_then(|()| disk.sync_dir(maildir));
        made.map_err(|e| trouble("make", &dir, &e))?;
        self.open(maildir, name)?.lock()?.settle_names()
    }

    /// Says which mailboxes a change of names moves, if it can be done; nothing is changed yet.
    ///
    /// # Errors
    /// [`Refusal::NoMailbox`], [`Refusal::Exists`], [`Refusal::Cannot`] for the inbox, or if the new name is too long or lies below the old one, or a
    /// fault of the disk.
    pub fn plan(&self, maildir: &Path, change: &Naming) -> Result<Moves, Refusal> {
        match change {
            Naming::Remove { mailbox } if mailbox.is_inbox() => Err(Refusal::Cannot),
            Naming::Remove { mailbox } => self.open(maildir, mailbox).map(|_| Moves::Remove(mailbox.clone())),
            Naming::Rename { from, to } => {
                if self.exists(maildir, to)? {
                    return Err(Refusal::Exists);
                }
                if from.is_inbox() || to.is_below(from) {
                    return Err(Refusal::Cannot);
                }
                let pairs = self.pairs(maildir, from, to)?;
                for (_, new) in &pairs {
                    if self.exists(maildir, new)? {
                        return Err(Refusal::Exists);
                    }
                }
                if pairs.is_empty() { Err(Refusal::NoMailbox) } else { Ok(Moves::Rename(pairs)) }
            }
        }
    }

    /// Changes names as planned, for every session and delivery at once. Nothing is synced. The mailboxes keep their UIDs and sessions; one that is
    /// removed is dead, and what was in it is removed later.
    ///
    /// # Errors
    /// A fault of the disk. Some may have been moved then: call [`Mailboxes::take_back`].
    pub fn carry_out(&self, maildir: &Path, moves: &Moves) -> Result<(), Refusal> {
        match moves {
            Moves::Remove(name) => self.discard(maildir, name),
            Moves::Rename(pairs) => pairs.iter().try_for_each(|(old, new)| self.move_to(maildir, old, new)),
        }
    }

    /// Gives those mailboxes their old names again that got new ones.
    ///
    /// # Errors
    /// A fault of the disk; it can be called again.
    pub fn take_back(&self, maildir: &Path, moves: &Moves) -> Result<(), Refusal> {
        let Moves::Rename(pairs) = moves else { return Ok(()) };
        for (old, new) in pairs.iter().rev() {
            if self.exists(maildir, new)? && !self.exists(maildir, old)? {
                self.move_to(maildir, new, old)?;
            }
        }
        Ok(())
    }

    /// Does what may not have been done before a crash. Can be done twice without harm.
    ///
    /// # Errors
    /// A fault of the disk.
    pub fn do_again(&self, maildir: &Path, change: &Naming) -> Result<(), Refusal> {
        match change {
            Naming::Remove { mailbox } if self.exists(maildir, mailbox)? => self.discard(maildir, mailbox),
            Naming::Remove { .. } => Ok(()),
            Naming::Rename { from, to } => {
                for (old, new) in self.pairs(maildir, from, to)? {
                    if !self.exists(maildir, &new)? {
                        self.move_to(maildir, &old, &new)?;
                    }
                }
                Ok(())
            }
        }
    }

    /// Makes a change of names durable, and what is noted of the mailboxes. Can be done twice without harm.
    ///
    /// # Errors
    /// A fault of the disk.
    pub fn settle(&self, maildir: &Path, change: &Naming) -> Result<(), Refusal> {
        self.sync_names(maildir)?;
        let account = self.account(maildir);
        let _order = account.order()?;
        let mut register = account.register()?;
        let before = register.clone();
        match change {
            Naming::Remove { mailbox } => drop(register.uses.remove(mailbox)),
            Naming::Rename { .. } => {
                for (name, special_use) in &before.uses {
                    if let Some(Ok(new)) = change.follow(name.as_str()).as_deref().map(MailboxName::new) {
                        register.uses.remove(name);
                        register.uses.insert(new, *special_use);
                    }
                }
            }
        }
        if register == before { Ok(()) } else { account.write_register(&register) }
    }

    /// Makes the names of a Maildir durable.
    ///
    /// # Errors
    /// A fault of the disk.
    pub fn sync_names(&self, maildir: &Path) -> Result<(), Refusal> {
        self.disk(maildir).sync_dir(maildir).map_err(|e| trouble("sync", maildir, &e))
    }

    /// A mailbox and those below it, each with the name it gets.
    fn pairs(&self, maildir: &Path, from: &MailboxName, to: &MailboxName) -> Result<Vec<(MailboxName, MailboxName)>, Refusal> {
        let mut pairs = Vec::new();
        for old in self.names(maildir)?.into_iter().filter(|n| n == from || n.is_below(from)) {
            let text = format!("{to}{}", &old.as_str()[from.as_str().len()..]);
            let new = MailboxName::new(&text).map_err(|_| Refusal::Cannot)?;
            folder_name(&new).ok_or(Refusal::Cannot)?;
            pairs.push((old, new));
        }
        Ok(pairs)
    }

    /// Renames one. Its sessions stay.
    fn move_to(&self, maildir: &Path, old: &MailboxName, new: &MailboxName) -> Result<(), Refusal> {
        let dir = maildir.join(folder_name(new).ok_or(Refusal::Cannot)?);
        let mailbox = self.slot(maildir, old)?;
        self.relocate(&mailbox, new, &dir).map_err(|e| trouble("rename", &dir, &e))
    }

    /// Moves a mailbox out of sight, to be emptied when nobody waits.
    fn discard(&self, maildir: &Path, name: &MailboxName) -> Result<(), Refusal> {
        let mailbox = self.open(maildir, name)?;
        let trash;
        {
            let mut state = mailbox.lock()?;
            // The numbering makes the name unique, whatever clock and counter say after a restart.
            trash = maildir.join(format!("{TRASH}{}.{}.{}", self.common.now_s(), state.index.uid_validity, self.common.count()));
            let dir = state.dir().to_owned();
            state.disk().rename(&dir, &trash).map_err(|e| trouble("remove", &dir, &e))?;
            state.die();
            // The spool knows that it is removed, with all that was promised to it.
            self.common.ledger.forget(mailbox.id);
        }
        self.forget(&mailbox);
        self.trash().insert(trash);
        Ok(())
    }

    /// Subscribes to a name, or no longer, durably.
    ///
    /// # Errors
    /// [`Refusal::Limit`], or a fault of the disk.
    pub fn subscribe(&self, maildir: &Path, name: &MailboxName, on: bool) -> Result<(), Refusal> {
        let account = self.account(maildir);
        let _order = account.order()?;
        let mut register = account.register()?;
        if on && register.is_full() {
            return Err(Refusal::Limit);
        }
        let changed = if on { register.subscribed.insert(name.clone()) } else { register.subscribed.remove(name) };
        if changed {
            // The file lies in the inbox's directory.
            self.open(maildir, &MailboxName::inbox())?;
            account.write_register(&register)?;
        }
        Ok(())
    }

    /// Bytes of all mailboxes of a Maildir, for its quota. Reads every index the first time, and remembers.
    ///
    /// # Errors
    /// A fault of the disk.
    pub fn usage(&self, maildir: &Path) -> Result<u64, Refusal> {
        let account = self.account(maildir);
        if let Some(usage) = account.usage() {
            return Ok(usage);
        }
        let _order = account.order()?;
        for name in self.names(maildir)? {
            match self.open(maildir, &name) {
                Ok(mailbox) => mailbox.lock()?.count(),
                Err(Refusal::NoMailbox) => {}
                Err(refusal) => return Err(refusal),
            }
        }
        account.complete();
        Ok(account.usage().unwrap_or(0))
    }

    /// The mailboxes there are, the inbox among them.
    pub(super) fn names(&self, maildir: &Path) -> Result<Vec<MailboxName>, Refusal> {
        let mut names = vec![MailboxName::inbox()];
        let mut trash = Vec::new();
        let listed = self.disk(maildir).list(maildir, &mut |entry| {
            if let Some(name) = mailbox_name(entry) {
                names.push(name);
            } else if entry.starts_with(TRASH.as_bytes()) {
                trash.push(below(maildir, entry));
            }
        });
        match listed {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(names),
            other => other.map_err(|e| trouble("list", maildir, &e))?,
        }
        // Left by a crash.
        self.trash().extend(trash);
        let mut found = Vec::with_capacity(names.len());
        for name in names {
            if self.exists(maildir, &name)? {
                found.push(name);
            }
        }
        Ok(found)
    }

    /// Empties directories of removed mailboxes, some files at a time.
    pub(super) fn empty_trash(&self) {
        // Taken out of the list while that lasts: a disk that never answers has one thread of ours.
        let Some(dir) = self.trash().pop_first() else { return };
        let Some(maildir) = dir.parent() else { return };
        match empty(&*self.disk(maildir), &dir, &mut { limits::ROUND }) {
            Ok(true) => {}
            Ok(false) => drop(self.trash().insert(dir)),
            Err(error) => tracing::warn!(dir = %dir.display(), %error, "a removed mailbox could not be emptied"),
        }
    }

    fn trash(&self) -> std::sync::MutexGuard<'_, std::collections::BTreeSet<PathBuf>> {
        self.trash.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes a file, or a directory with all that is in it. Whether it is gone.
fn empty(disk: &dyn Disk, dir: &Path, left: &mut usize) -> io::Result<bool> {
    // Tried first, because a symbolic link looks like what it points to, and that is not ours to empty.
    match disk.unlink(dir) {
        Ok(()) => return Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(true),
        // POSIX says EPERM of a directory, Linux EISDIR.
        Err(e) if !matches!(e.kind(), io::ErrorKind::IsADirectory | io::ErrorKind::PermissionDenied) => return Err(e),
        Err(_) => {}
    }
    let mut entries: Vec<PathBuf> = Vec::new();
    disk.list(dir, &mut |name| entries.push(below(dir, name)))?;
    for path in entries {
        if *left == 0 {
            return Ok(false);
        }
        *left -= 1;
        if !empty(disk, &path, left)? {
            return Ok(false);
        }
    }
    disk.remove_dir(dir)?;
    Ok(true)
}
