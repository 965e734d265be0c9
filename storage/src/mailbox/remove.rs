//! Removing messages. Removing a file takes milliseconds on some file systems, so nobody waits for that.
//!
//! Whoever removes first makes the removal durable (a record in the spool names mailbox and base names), then calls [`Mailbox::remove`], which
//! takes the messages out of the index. Their files are removed by the chores, at the latest before the next checkpoint lets go of the record. After
//! a crash the record is read again and [`Mailbox::bury`] removes what is still there.

use super::{
    ledger::Charge,
    limits,
    state::{Locked, Mailbox},
    trouble,
};
use imap::Refusal;
use mail::{System, Uid};
use maildir::{Place, Record, Scope};
use std::io;

/// A message that is to be removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doomed {
    /// Its UID.
    pub uid: Uid,
    /// Its base name.
    pub base: Box<[u8]>,
}

impl Mailbox {
    /// Those of these messages (all, if `None`) that are still there; with `deleted` only those that have `\Deleted`. Nothing is removed yet.
    ///
    /// # Errors
    /// A fault of the disk, or the mailbox was removed.
    pub fn doomed(&self, uids: Option<&[Uid]>, deleted: bool) -> Result<Vec<Doomed>, Refusal> {
        let state = self.lock()?;
        let index = &state.index;
        let take = |e: &maildir::Entry| {
            (!deleted || e.marks.system.has(System::DELETED)).then(|| Doomed { uid: super::state::uid(e.uid), base: index.base(e).into() })
        };
        Ok(match uids {
            Some(uids) => uids.iter().filter_map(|id| index.entry(id.get())).filter_map(take).collect(),
            None => index.entries().iter().filter_map(take).collect(),
        })
    }

    /// Removes messages, whatever their flags are now. Returns the UIDs of those that were still there. The caller has made that durable, with these
    /// records.
    ///
    /// # Errors
    /// A fault of the disk, or the mailbox was removed.
    pub fn remove(&self, uids: &[Uid], records: &[Charge]) -> Result<Vec<Uid>, Refusal> {
        let mut state = self.lock()?;
        state.done(records);
        let gone = state.take_out(uids)?;
        while state.doomed.len() > limits::DOOMED {
            if !state.unlink_some(limits::BATCH)? {
                break;
            }
        }
        Ok(gone)
    }

    /// Removes messages by their base names, for a removal that is read again from the spool after a crash.
    ///
    /// # Errors
    /// A fault of the disk, or the mailbox is not there.
    pub fn bury(&self, bases: &[&[u8]], records: &[Charge]) -> Result<(), Refusal> {
        let mut state = self.lock()?;
        state.done(records);
        // Who is about to write one of them again comes too late, also if it is not there yet.
        self.common.ledger.revoke(self.id, bases);
        state.refresh(None)?;
        let mut uids = Vec::new();
        for base in bases {
            if let Some(at) = state.index.find(base) {
                uids.push(super::state::uid(state.index.entries()[at].uid));
            }
        }
        state.take_out(&uids).map(|_| ())
    }
}

impl Locked<'_> {
    fn take_out(&mut self, uids: &[Uid]) -> Result<Vec<Uid>, Refusal> {
        self.ensure(0, 1)?;
        let mod_seq = self.next_mod_seq();
        let mut gone = Vec::with_capacity(uids.len());
        for id in uids {
            let Some(entry) = self.index.entry(id.get()) else { continue };
            let (base, path, size): (Box<[u8]>, _, _) = (self.index.base(entry).into(), self.index.path(entry), entry.facts.size);
            self.common().ledger.revoke(self.mailbox.id, &[&base]);
            self.doomed.insert(base, path);
            self.total = self.total.saturating_sub(size);
            self.put(&Record::Gone { uid: id.get(), mod_seq });
            self.note_gone(mod_seq, id.get());
            gone.push(*id);
        }
        if !gone.is_empty() {
            self.flush();
            self.count();
            self.ring();
        }
        Ok(gone)
    }

    /// Removes files of messages that were removed, at most that many. False if there are none left.
    pub fn unlink_some(&mut self, limit: usize) -> Result<bool, Refusal> {
        if self.doomed.is_empty() {
            return Ok(false);
        }
        let [cur, new] = [self.own(Place::Cur)?, self.own(Place::New)?];
        let mut moved = false;
        let batch: Vec<_> = self.doomed.iter().take(limit).map(|(base, path)| (base.clone(), path.clone())).collect();
        for (base, path) in &batch {
            let full = super::below(self.dir(), path);
            match self.disk().unlink(&full) {
                Ok(()) => {
                    self.doomed.remove(base);
                }
                Err(e) if e.kind() == io::ErrorKind::NotFound => moved = true,
                Err(e) => return Err(trouble("remove", &full, &e)),
            }
        }
        self.after(Place::Cur, cur);
        self.after(Place::New, new);
        if moved {
            // Another program removed or renamed them. Those that a listing shows have their new names then.
            self.refresh(Some(Scope::Both))?;
            for (base, path) in batch {
                if self.doomed.get(&base).is_some_and(|now| *now == path) {
                    self.doomed.remove(&base);
                }
            }
        }
        Ok(!self.doomed.is_empty())
    }
}
