//! Making everything durable in bulk, so that the spool may let go.

use super::{
    aside::Until,
    device::Device,
    ledger::{Failed, Owed},
    limits,
    shelf::Mailboxes,
    state::{CACHE, INDEX, Life, Locked, Mailbox, News, UIDS},
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
    time::Duration,
};

/// Mailboxes by Maildir and name.
pub type Places = BTreeSet<(PathBuf, MailboxName)>;

/// A mailbox that is about to be made durable.
struct Settling {
    mailbox: Arc<Mailbox>,
    device: Arc<Device>,
    /// UIDs below this one will be.
    upto: u32,
    /// What is owed no more then.
    done: Vec<(Owed, u64)>,
    /// How many failures there had been.
    failures: u64,
    over: bool,
}

/// What a mailbox has to be made durable of.
enum Prepared {
    Nothing,
    /// Somebody has it, or another checkpoint is at it: what it owes it owes until the next one.
    Busy,
    Ready(Settling),
    /// Its directory is not there any more, and a sync of its file system vouches for what was written there, wherever that is now; nothing if it cannot be
    /// synced as a whole.
    Dead(Option<Settling>),
}

impl Mailboxes {
    /// Makes durable whatever was delivered, changed or removed before this call: removes files that wait for it, writes bounds, and syncs each file
    /// system that has something of it. Then the spool may let go of what is not owed any more ([`Mailboxes::owes_from`]). Returned is what has to be done
    /// again, with files of its own: one mailbox in trouble is nobody else's.
    ///
    /// Others may call it as well while one waits for a disk that does not answer.
    ///
    /// Mailboxes in `waiting` have records that wait to be delivered again, so they are not sound yet.
    pub fn checkpoint(&self, waiting: &dyn Fn() -> Places) -> Vec<Failed> {
        let mut failed = Vec::new();
        let mut devices: BTreeMap<u64, Vec<Settling>> = BTreeMap::new();
        for mailbox in self.all_who_may_owe() {
            failed.extend(mailbox.fail_overdue());
            if let Some(why) = mailbox.hangs() {
                if self.common.ledger.has(mailbox.id) {
                    failed.extend(mailbox.fail(why));
                }
                continue;
            }
            match guarded("mailbox", || mailbox.prepare()) {
                Some(Ok(Prepared::Nothing | Prepared::Busy)) => {}
                Some(Ok(Prepared::Dead(settling))) => {
                    self.forget(&mailbox);
                    match settling {
                        Some(settling) => devices.entry(settling.device.number).or_default().push(settling),
                        None => failed.extend(mailbox.fail("its directory is not there any more")),
                    }
                }
                // One after the other: if the next does not come back, this one is not in anybody's hands.
                Some(Ok(Prepared::Ready(settling))) if !settling.device.is_whole() => {
                    self.sync_device(vec![settling], waiting, &mut failed)
                }
                Some(Ok(Prepared::Ready(settling))) => devices.entry(settling.device.number).or_default().push(settling),
                Some(Err(_)) => failed.extend(mailbox.fail("its checkpoint failed")),
                None => failed.extend(mailbox.fail("its checkpoint ended in a panic")),
            }
        }
        for settling in devices.into_values() {
            self.sync_device(settling, waiting, &mut failed);
        }
        self.forget_vanished();
        failed
    }

    /// Syncs a file system, and with it these mailboxes.
    fn sync_device(&self, settling: Vec<Settling>, waiting: &dyn Fn() -> Places, failed: &mut Vec<Failed>) {
        let Some(device) = settling.first().map(|one| one.device.clone()) else { return };
        if device.is_whole() {
            // Nobody else is told of a failure before all who were concerned are known.
            let Some(turn) = device.turn() else {
                settling.into_iter().for_each(Settling::put_off);
                return;
            };
            let synced = guarded("mailbox", || device.sync(&turn)).unwrap_or_else(|| {
                // Whether it was told of a failure nobody knows.
                device.doubt();
                Err(io::ErrorKind::Other.into())
            });
            if let Err(error) = &synced {
                tracing::error!(%error, device = device.number, "the disk lost writes; what they were is written again from the log");
            }
            // Also if a sync for somebody else failed before: each failure is told once.
            if device.is_doubtful() {
                self.lose(&device, settling, failed);
                return;
            }
        }
        let waiting = waiting();
        for one in settling {
            let mailbox = one.mailbox.clone();
            let each = if device.is_whole() { Some(Ok(())) } else { guarded("mailbox", || mailbox.sync_each()) };
            match each {
                Some(Ok(())) => {
                    one.settle(!waiting.is_empty() && waiting.contains(&(mailbox.account.root.clone(), mailbox.name())));
                }
                _ => failed.extend(one.fail("its files could not be synced")),
            }
        }
    }

    /// What was written to a file system and is not vouched for may be lost.
    fn lose(&self, device: &Device, settling: Vec<Settling>, failed: &mut Vec<Failed>) {
        const WHY: &str = "its file system could not be synced";
        let failures = device.failures();
        let known: BTreeSet<u64> = settling.iter().map(|one| one.mailbox.id).collect();
        failed.extend(settling.into_iter().filter_map(|one| one.fail(WHY)));
        // What came since, and is in no list yet, may have been among what was lost.
        let others = self.all_who_may_owe().into_iter().filter(|mailbox| !known.contains(&mailbox.id) && mailbox.owes_on(device));
        failed.extend(others.filter_map(|mailbox| mailbox.fail(WHY)));
        device.note(failures);
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
    /// It is durable. What `waits` is neither seen nor vouched for.
    fn settle(mut self, waits: bool) {
        self.over = true;
        let mailbox = &self.mailbox;
        let waits = waits || mailbox.common.ledger.has_lost(mailbox.id);
        {
            let mut notes = mailbox.notes();
            if notes.failures != self.failures {
                // Given up meanwhile: all of it is done again.
                return;
            }
            notes.settling -= 1;
            notes.news.push(News::Settled(if waits { 0 } else { self.upto }));
        }
        mailbox.common.ledger.pay(mailbox.id, &self.done);
        if !waits {
            mailbox.common.aside.clear(mailbox.id, Until::Settled);
        }
    }

    fn fail(mut self, why: &'static str) -> Option<Failed> {
        self.over = true;
        self.mailbox.fail(why)
    }

    /// Not now: the next checkpoint begins anew.
    fn put_off(self) {
        self.end(News::Look);
    }

    fn end(mut self, news: News) {
        self.over = true;
        self.leave(news);
    }

    fn leave(&self, news: News) {
        let mut notes = self.mailbox.notes();
        if notes.failures == self.failures {
            notes.settling -= 1;
            notes.news.push(news);
        }
    }
}

/// Whatever ends a checkpoint, and be it a panic: what nobody saw to is owed as before, and not vouched for.
impl Drop for Settling {
    fn drop(&mut self) {
        if !self.over {
            self.leave(News::Unsure);
        }
    }
}

impl Mailbox {
    /// Where its Maildir is.
    pub fn maildir(&self) -> &std::path::Path {
        &self.account.root
    }

    /// Why nothing can be done with it now, nor perhaps ever.
    fn hangs(&self) -> Option<&'static str> {
        if self.account.calls.is_stalled() {
            return Some("a call of the disk does not return");
        }
        let lasts = self.device().map_or(0, |device| device.lasts());
        (lasts >= limits::SYNC_ROUNDS).then_some("the sync of its file system does not return")
    }

    /// Does what has to be done before a sync.
    fn prepare(self: &Arc<Mailbox>) -> Result<Prepared, Refusal> {
        let later = Err(Refusal::Fault(wire::Fault::Later));
        let ledger = &self.common.ledger;
        loop {
            let Some(slot) = self.slot_soon(limits::PATIENCE) else { return Ok(Prepared::Busy) };
            let mut state = match slot.life {
                Life::Awake(_) => Locked { mailbox: self, slot },
                // What it owes nobody else can do, or it fell asleep in a panic: it is read from the log again.
                Life::Asleep if ledger.has_done(self.id) => return later,
                Life::Asleep if !self.common.aside.holds(self.id) => return Ok(Prepared::Nothing),
                Life::Asleep => match self.load(slot) {
                    Ok(mut state) => {
                        state.dirty = true;
                        state
                    }
                    Err(Refusal::NoMailbox) => return Ok(Prepared::Nothing),
                    Err(refusal) => return Err(refusal),
                },
                Life::Dead if !ledger.has_done(self.id) => return Ok(Prepared::Nothing),
                Life::Dead => {
                    let device = self.device().filter(|device| device.is_whole());
                    return Ok(Prepared::Dead(device.map(|device| self.settling(device, 0))));
                }
            };
            match state.unlink_some(limits::BATCH) {
                // Others may have the lock between two batches.
                Ok(true) => continue,
                Ok(false) => {}
                Err(Refusal::NoMailbox) => continue,
                Err(refusal) => return Err(refusal),
            }
            if state.doubtful {
                return later;
            }
            let settling = self.notes().settling > 0;
            match (state.dirty || settling, settling && !state.device.is_whole()) {
                (false, _) => return Ok(Prepared::Nothing),
                // It has the files, and what it is told of them nobody else is.
                (true, true) => return Ok(Prepared::Busy),
                (true, false) => {}
            }
            let now = state.disk().stat(&state.dir().join(Place::Cur.dir())).map_err(|e| trouble("stat", state.dir(), &e))?;
            if now.device != state.device.number {
                tracing::error!(dir = %state.dir().display(), "another file system was mounted here; what it covers cannot be made durable");
                return later;
            }
            state.flush();
            if state.written != state.durable {
                let bounds = state.durable;
                let sync = !state.device.is_whole();
                state.write_bounds(bounds, sync)?;
            }
            state.dirty = false;
            return Ok(Prepared::Ready(self.settling(state.device.clone(), state.index.uid_next)));
        }
    }

    /// Whoever has it begins to make it durable.
    fn settling(self: &Arc<Mailbox>, device: Arc<Device>, upto: u32) -> Settling {
        let mut notes = self.notes();
        notes.settling += 1;
        Settling { mailbox: self.clone(), device, upto, done: self.common.ledger.all_done(self.id), failures: notes.failures, over: false }
    }

    /// It is not durable. Gives what it owes: the spool must keep that, and it has to be done again.
    fn fail(self: &Arc<Mailbox>, why: &'static str) -> Option<Failed> {
        // One that is not there any more nobody would take for sound again.
        if !self.common.vanished().contains_key(&self.id) {
            self.set_aside(why, Until::Settled);
        }
        {
            let mut notes = self.notes();
            notes.settling = 0;
            notes.failures += 1;
        }
        self.tell(News::Lost);
        Failed::new(self, self.common.ledger.lose(self.id))
    }

    /// Gives what somebody began who may never come back: he may wait for another mailbox, for the same message goes to many.
    fn fail_overdue(self: &Arc<Mailbox>) -> Option<Failed> {
        Failed::new(self, self.common.ledger.overdue(self.id, self.common.round(), limits::STALLED_ROUNDS))
    }

    /// It is not durable, and nobody was told.
    pub(super) fn is_unsure(&self) {
        self.tell(News::Unsure);
    }

    /// Whether something of it on this file system waits for a checkpoint.
    fn owes_on(&self, device: &Device) -> bool {
        if self.device().is_none_or(|there| there.number != device.number) {
            return false;
        }
        let is_dirty = match self.slot_soon(Duration::ZERO).as_ref().map(|slot| &slot.life) {
            Some(Life::Awake(state)) => state.dirty,
            Some(Life::Asleep | Life::Dead) => false,
            // Somebody has it, and may be writing.
            None => true,
        };
        is_dirty || self.common.ledger.has_done(self.id)
    }

    /// Where a system cannot sync a whole file system: one by one.
    fn sync_each(&self) -> Result<(), Refusal> {
        let (files, dir) = {
            let mut state = self.lock()?;
            (std::mem::take(&mut state.kept), state.dir().to_owned())
        };
        // Who copies a message of them meanwhile waits: the mailbox is settling.
        for kept in &files {
            kept.file.sync().map_err(|e| trouble("sync", &dir, &e))?;
        }
        // Nothing is promised of these: if they are lost, they are made again from the files.
        for path in [INDEX, CACHE, UIDS].map(|name| dir.join(name)) {
            match self.account.disk.open(&path, How::Read).and_then(|file| file.sync()) {
                Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => {}
                other => other.map_err(|e| trouble("sync", &path, &e))?,
            }
        }
        let dirs = [dir.join(Place::New.dir()), dir.join(Place::Cur.dir()), dir];
        for dir in &dirs {
            self.account.disk.sync_dir(dir).map_err(|e| trouble("sync", dir, &e))?;
        }
        let mut state = self.lock()?;
        // Whoever made it may have failed, panicked or been killed before its name was durable, and nobody remembers that.
        state.fresh = true;
        // What came since is dirty and stays so.
        state.settle_names()
    }

    /// Leaves the files such that the next start is quick.
    fn finish(&self) -> Result<(), Refusal> {
        // Nobody else is there any more, but for who waits for a disk that does not answer.
        let slot = self.slot_soon(limits::PATIENCE).ok_or(Refusal::Fault(wire::Fault::Later))?;
        if !matches!(slot.life, Life::Awake(_)) {
            return Ok(());
        }
        let mut state = Locked { mailbox: self, slot };
        while state.unlink_some(limits::BATCH)? {}
        // A listing now saves one at the next start.
        state.verify(true)?;
        state.leave()
    }

    /// Lets the memory go if nobody needs it and nothing would be lost. False if it has to stay.
    pub(super) fn rest(&self) -> bool {
        let Some(mut slot) = self.slot_soon(Duration::ZERO) else { return false };
        // What the spool says of its numbering must not be forgotten before it was read.
        if self.common.aside.holds(self.id) || self.common.ledger.has(self.id) || self.notes().settling > 0 {
            return false;
        }
        let Life::Awake(state) = &slot.life else { return slot.floor.is_none() };
        let is_watched = !self.audience().views.is_empty();
        if is_watched || state.dirty || state.doubtful || state.fresh || !state.doomed.is_empty() {
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
