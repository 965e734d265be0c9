//! Making everything durable in bulk, so that the spool may let go.

use super::{
    limits,
    shelf::Mailboxes,
    state::{CACHE, INDEX, Life, Locked, Mailbox, UIDS},
    trouble,
};
use crate::disk::How;
use imap::Refusal;
use maildir::{Bounds, Place};
use std::{collections::BTreeSet, io, path::PathBuf, sync::Arc};
use wire::Fault;

impl Mailboxes {
    /// Makes durable whatever was delivered, changed or removed before this call: removes files that wait for it, writes bounds, and syncs. Then the
    /// spool may let go of records whose delivery had ended by then.
    ///
    /// # Errors
    /// A fault of the disk: the spool keeps everything.
    pub fn checkpoint(&self) -> Result<(), Refusal> {
        if self.common.is_distrusted() {
            tracing::error!("no checkpoint: a sync failed before");
            return Err(Refusal::Fault(Fault::Later));
        }
        let mut settling = Vec::new();
        let prepared = self.all().into_iter().try_for_each(|mailbox| {
            if let Some(upto) = mailbox.prepare()? {
                settling.push((mailbox, upto));
            }
            Ok(())
        });
        if let Err(refusal) = prepared.and_then(|()| self.sync(&settling)) {
            settling.iter().for_each(|(mailbox, _)| mailbox.unsettled());
            return Err(refusal);
        }
        for (mailbox, upto) in settling {
            mailbox.settled(upto);
        }
        Ok(())
    }

    /// Clean end of the server: what a checkpoint does, and the indexes are left such that nothing need be read again and no UID is skipped.
    ///
    /// # Errors
    /// A fault of the disk.
    pub fn close(&self) -> Result<(), Refusal> {
        for mailbox in self.all() {
            mailbox.finish()?;
        }
        self.checkpoint()
    }

    fn sync(&self, settling: &[(Arc<Mailbox>, u32)]) -> Result<(), Refusal> {
        let root = &self.common.options.root;
        // One sync for the store, one for each Maildir elsewhere.
        let mut places = BTreeSet::from([root.clone()]);
        places.extend(settling.iter().map(|(m, _)| m.account.root.clone()).filter(|dir| !dir.starts_with(root)));
        for place in &places {
            match self.common.disk.sync_all(place) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::Unsupported => {
                    for (mailbox, _) in settling.iter().filter(|(m, _)| m.account.root.starts_with(place)) {
                        mailbox.sync_each()?;
                    }
                }
                Err(e) => return Err(self.common.distrust(place, &e)),
            }
        }
        Ok(())
    }
}

impl Mailbox {
    /// Does what has to be done before a sync. Returns the next UID, if there is something to sync.
    fn prepare(&self) -> Result<Option<u32>, Refusal> {
        loop {
            if !matches!(self.slot().life, Life::Awake(_)) {
                return Ok(None);
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
            if !state.dirty {
                return Ok(None);
            }
            state.flush();
            if state.written != state.durable {
                let bounds = state.durable;
                state.write_bounds(bounds, false)?;
            }
            (state.dirty, state.settling) = (false, true);
            return Ok(Some(state.index.uid_next));
        }
    }

    /// The sync failed, or did not come to pass.
    fn unsettled(&self) {
        if let Life::Awake(state) = &mut self.slot().life {
            (state.dirty, state.settling) = (true, false);
        }
    }

    /// The sync is done.
    fn settled(&self, upto: u32) {
        if let Life::Awake(state) = &mut self.slot().life {
            state.synced_uid = state.synced_uid.max(upto);
            (state.fresh, state.settling) = (false, false);
        }
    }

    /// Where a system cannot sync a whole file system: one by one.
    fn sync_each(&self) -> Result<(), Refusal> {
        let (paths, dirs, fresh) = {
            let mut state = self.lock()?;
            state.refresh(None)?;
            let from = state.synced_uid;
            let start = state.index.entries().partition_point(|e| e.uid < from);
            let mut paths: Vec<PathBuf> = state.index.entries()[start..].iter().map(|e| state.path(e)).collect();
            paths.extend([INDEX, CACHE, UIDS].map(|name| state.dir().join(name)));
            let dir = state.dir().to_owned();
            (paths, vec![dir.join(Place::New.dir()), dir.join(Place::Cur.dir()), dir], state.fresh)
        };
        for path in paths {
            match self.common.disk.open(&path, How::Read).and_then(|file| file.sync()) {
                // Renamed or removed meanwhile; a rename is in the directory, and its bytes were synced or will be by whoever writes next.
                Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => {}
                other => other.map_err(|e| self.common.distrust(&path, &e))?,
            }
        }
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
        let Life::Awake(state) = &slot.life else { return slot.floor.is_none() };
        let needed = state.dirty || state.settling || state.fresh || !state.views.is_empty() || !state.doomed.is_empty();
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
