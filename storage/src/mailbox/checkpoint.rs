//! Making everything durable in bulk, so that the spool may let go.

use super::{
    aside::Until,
    device::Device,
    limits,
    shelf::Mailboxes,
    state::{CACHE, INDEX, Life, Locked, Mailbox, Owed, UIDS},
    trouble,
};
use crate::{disk::How, supervise::guarded};
use imap::Refusal;
use mail::MailboxName;
use maildir::{Bounds, Place};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::PathBuf,
    sync::Arc,
};

/// A mailbox that a checkpoint could not make durable, and the records of the spool that are needed again because of it.
pub struct Failed {
    /// The mailbox. It is set aside.
    pub mailbox: Arc<Mailbox>,
    /// Its records.
    pub owed: Vec<Owed>,
}

/// A mailbox that is about to be made durable.
struct Settling {
    mailbox: Arc<Mailbox>,
    device: Arc<Device>,
    /// UIDs below this one will be.
    upto: u32,
    owed: Vec<Owed>,
    over: bool,
}

/// Whatever ends a checkpoint, and be it a panic: what nobody saw to is owed as before, and not vouched for.
impl Drop for Settling {
    fn drop(&mut self) {
        if !self.over {
            self.mailbox.owe_again(&mut self.owed);
        }
    }
}

impl Drop for Failed {
    fn drop(&mut self) {
        if !self.owed.is_empty() {
            self.mailbox.owe_again(&mut self.owed);
        }
    }
}

impl Mailboxes {
    /// Makes durable whatever was delivered, changed or removed before this call: removes files that wait for it, writes bounds, and syncs each file
    /// system that has something of it. Then the spool may let go of records whose delivery had ended by then, but for those of the mailboxes that are
    /// returned: one mailbox in trouble is nobody else's. What those records ask for has to be done again, with files of its own.
    ///
    /// Mailboxes in `waiting`, by Maildir and name, have records that wait to be delivered again, so they are not sound yet.
    pub fn checkpoint(&self, waiting: &BTreeSet<(PathBuf, MailboxName)>) -> Vec<Failed> {
        let mut failed = Vec::new();
        let mut devices: BTreeMap<u64, Vec<Settling>> = BTreeMap::new();
        for mailbox in self.all() {
            match guarded("mailbox", || mailbox.prepare(&mailbox)) {
                Some(Ok(None)) => {}
                Some(Ok(Some(settling))) => devices.entry(settling.device.number).or_default().push(settling),
                Some(Err(_)) => failed.extend(mailbox.fail(&mailbox, "its checkpoint failed", Vec::new())),
                None => failed.extend(mailbox.fail(&mailbox, "its checkpoint ended in a panic", Vec::new())),
            }
        }
        for settling in devices.into_values() {
            self.sync_device(settling, waiting, &mut failed);
        }
        failed
    }

    /// Syncs a file system, and with it these mailboxes.
    fn sync_device(&self, settling: Vec<Settling>, waiting: &BTreeSet<(PathBuf, MailboxName)>, failed: &mut Vec<Failed>) {
        let Some(device) = settling.first().map(|one| one.device.clone()) else { return };
        let synced = guarded("mailbox", || device.sync()).unwrap_or_else(|| {
            // Whether it was told of a failure nobody knows.
            device.doubt();
            Err(io::ErrorKind::Other.into())
        });
        let failures = device.failures();
        // Also if a sync for somebody else failed before: each failure is told once.
        if device.is_doubtful() {
            if let Err(error) = &synced {
                tracing::error!(%error, device = device.number, "the disk lost writes; what they were is written again from the log");
            }
            let known: BTreeSet<u64> = settling.iter().map(|one| one.mailbox.id).collect();
            for mut one in settling {
                failed.extend(one.fail("its file system could not be synced"));
            }
            // What came since, and is in no list yet, may have been among what was lost.
            for mailbox in self.all().into_iter().filter(|mailbox| !known.contains(&mailbox.id) && mailbox.owes_on(&device)) {
                failed.extend(mailbox.fail(&mailbox, "its file system could not be synced", Vec::new()));
            }
            device.note(failures);
            return;
        }
        for mut one in settling {
            let mailbox = one.mailbox.clone();
            let each = if device.is_whole() { Some(Ok(())) } else { guarded("mailbox", || mailbox.sync_each()) };
            match each {
                Some(Ok(())) => {
                    let waits = !waiting.is_empty() && waiting.contains(&(mailbox.account.root.clone(), mailbox.name()));
                    one.over = true;
                    mailbox.settled(one.upto, waits);
                }
                _ => failed.extend(one.fail("its files could not be synced")),
            }
        }
    }

    /// Clean end of the server, before a checkpoint: the indexes are left such that nothing need be read again and no UID is skipped.
    pub fn close(&self) {
        for mailbox in self.all() {
            if !matches!(guarded("mailbox", || mailbox.finish()), Some(Ok(()))) {
                tracing::error!(mailbox = %mailbox.name(), "the index of a mailbox is not left as it should be: the next start reads more");
            }
        }
    }
}

impl Settling {
    fn fail(&mut self, why: &'static str) -> Option<Failed> {
        self.over = true;
        self.mailbox.fail(&self.mailbox, why, std::mem::take(&mut self.owed))
    }
}

impl Mailbox {
    /// Where its Maildir is.
    pub fn maildir(&self) -> &std::path::Path {
        &self.account.root
    }

    /// Does what has to be done before a sync. Nothing if there is nothing to sync.
    fn prepare(&self, this: &Arc<Mailbox>) -> Result<Option<Settling>, Refusal> {
        loop {
            {
                let mut slot = self.slot();
                match slot.life {
                    Life::Awake(_) => {}
                    Life::Asleep if slot.owed.is_empty() && !self.common.aside.holds(self.id) => return Ok(None),
                    Life::Asleep if slot.owed.is_empty() => {
                        drop(slot);
                        self.lock()?.dirty = true;
                        continue;
                    }
                    // It fell asleep in a panic; what it owes is read from the log again.
                    Life::Asleep => return Err(Refusal::Fault(wire::Fault::Later)),
                    Life::Dead => {
                        slot.owed = Vec::new();
                        return Ok(None);
                    }
                }
            }
            let mut state = match self.lock() {
                Ok(state) => state,
                Err(Refusal::NoMailbox) => return Ok(None),
                Err(refusal) => return Err(refusal),
            };
            match state.unlink_some(limits::BATCH) {
                // Others may have the lock between two batches.
                Ok(true) => continue,
                Ok(false) => {}
                Err(Refusal::NoMailbox) => return Ok(None),
                Err(refusal) => return Err(refusal),
            }
            if state.doubtful {
                return Err(Refusal::Fault(wire::Fault::Later));
            }
            if !state.dirty {
                return Ok(None);
            }
            let now = self.common.disk.stat(&state.dir().join(Place::Cur.dir())).map_err(|e| trouble("stat", state.dir(), &e))?;
            if now.device != state.device.number {
                tracing::error!(dir = %state.dir().display(), "another file system was mounted here; what it covers cannot be made durable");
                return Err(Refusal::Fault(wire::Fault::Later));
            }
            state.flush();
            if state.written != state.durable {
                let bounds = state.durable;
                let sync = !state.device.is_whole();
                state.write_bounds(bounds, sync)?;
            }
            (state.dirty, state.settling) = (false, true);
            let owed = std::mem::take(&mut state.slot.owed);
            return Ok(Some(Settling {
                mailbox: this.clone(),
                device: state.device.clone(),
                upto: state.index.uid_next,
                owed,
                over: false,
            }));
        }
    }

    /// It is not durable. Gives what it owes: the spool must keep that, and it has to be done again.
    fn fail(&self, this: &Arc<Mailbox>, why: &'static str, mut owed: Vec<Owed>) -> Option<Failed> {
        self.set_aside(why, Until::Settled);
        let mut slot = self.slot();
        owed.append(&mut slot.owed);
        if let Life::Awake(state) = &mut slot.life {
            state.doubt();
        }
        (!owed.is_empty()).then(|| Failed { mailbox: this.clone(), owed })
    }

    /// It is not durable, and nobody was told.
    fn owe_again(&self, owed: &mut Vec<Owed>) {
        let mut slot = self.slot();
        slot.owed.append(owed);
        if let Life::Awake(state) = &mut slot.life {
            state.doubt();
            state.doubtful = true;
        }
    }

    /// Whether something of it on this file system waits for a checkpoint.
    fn owes_on(&self, device: &Device) -> bool {
        let slot = self.slot();
        matches!(&slot.life, Life::Awake(state) if state.device.number == device.number && (!slot.owed.is_empty() || state.dirty))
    }

    /// The sync is done. What `waits` is neither seen nor vouched for.
    fn settled(&self, upto: u32, waits: bool) {
        {
            let mut slot = self.slot();
            if let Life::Awake(state) = &mut slot.life {
                if !waits {
                    state.synced_uid = state.synced_uid.max(upto);
                }
                (state.fresh, state.settling) = (false, false);
            }
        }
        if !waits {
            self.common.aside.clear(self.id, Until::Settled);
        }
    }

    /// Where a system cannot sync a whole file system: one by one.
    fn sync_each(&self) -> Result<(), Refusal> {
        let (files, dir, fresh) = {
            let mut state = self.lock()?;
            (std::mem::take(&mut state.kept), state.dir().to_owned(), state.fresh)
        };
        // Who copies a message of them meanwhile waits: the mailbox is settling.
        for kept in &files {
            kept.file.sync().map_err(|e| trouble("sync", &dir, &e))?;
        }
        // Nothing is promised of these: if they are lost, they are made again from the files.
        for path in [INDEX, CACHE, UIDS].map(|name| dir.join(name)) {
            match self.common.disk.open(&path, How::Read).and_then(|file| file.sync()) {
                Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => {}
                other => other.map_err(|e| trouble("sync", &path, &e))?,
            }
        }
        let dirs = [dir.join(Place::New.dir()), dir.join(Place::Cur.dir()), dir];
        for dir in &dirs {
            self.common.disk.sync_dir(dir).map_err(|e| trouble("sync", dir, &e))?;
        }
        let mut state = self.lock()?;
        state.fresh = fresh;
        // What came since is dirty and stays so.
        state.settle_names()
    }

    /// Leaves the files such that the next start is quick.
    fn finish(&self) -> Result<(), Refusal> {
        if !matches!(self.slot().life, Life::Awake(_)) {
            return Ok(());
        }
        let mut state = match self.lock() {
            Ok(state) => state,
            Err(Refusal::NoMailbox) => return Ok(()),
            Err(refusal) => return Err(refusal),
        };
        while state.unlink_some(limits::BATCH)? {}
        // A listing now saves one at the next start.
        state.verify(true)?;
        state.leave()
    }

    /// Lets the memory go if nobody needs it and nothing would be lost. False if it has to stay.
    pub(super) fn rest(&self) -> bool {
        let mut slot = self.slot();
        // What the spool says of its numbering must not be forgotten before it was read.
        if self.common.aside.holds(self.id) {
            return false;
        }
        let Life::Awake(state) = &slot.life else { return slot.floor.is_none() };
        let needed = !slot.owed.is_empty()
            || state.dirty
            || state.settling
            || state.doubtful
            || state.fresh
            || !state.views.is_empty()
            || !state.doomed.is_empty();
        if needed {
            return false;
        }
        let mut state = Locked { mailbox: self, slot };
        if state.leave().is_err() || state.dirty {
            return false;
        }
        slot = state.slot;
        slot.life = Life::Asleep;
        true
    }
}

impl Locked<'_> {
    /// Notes what the next one to read the mailbox can rely on.
    fn leave(&mut self) -> Result<(), Refusal> {
        let verified = !self.unverified[0] && !self.unverified[1];
        if let ([Some(cur_ns), Some(new_ns)], true) = (self.known, verified)
            && self.index.dirs != Some((new_ns, cur_ns))
        {
            let dirty = self.dirty;
            self.put(&maildir::Record::Dirs { new_ns, cur_ns });
            self.dirty = dirty;
        }
        self.flush();
        // No UID beyond these was used, so none is skipped.
        let exact = Bounds { uid_validity: self.index.uid_validity, uid_upto: self.index.uid_next, mod_seq_upto: self.index.mod_seq + 1 };
        if self.written != exact {
            self.write_bounds(exact, false)?;
        }
        self.durable = exact;
        Ok(())
    }
}
