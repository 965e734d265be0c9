//! What a session sees of a mailbox, and what it has not heard of yet.

use super::{
    limits,
    state::{Locked, Mailbox, uid, validity},
};
use imap::{Changes, Refusal, Selected};
use mail::{ModSeq, System, Uid};
use maildir::{Bits, Marks, Place, Record};
use std::{io, sync::Arc};
use wire::Ring;

/// A selected mailbox. What it reports in [`View::sync`] is what changed since it last reported.
pub struct View {
    mailbox: Arc<Mailbox>,
    id: u64,
    read_only: bool,
    uid_validity: u32,
    /// Messages from here on are new to it.
    uid_next: u32,
    /// Changes beyond are new to it.
    mod_seq: u64,
}

impl Mailbox {
    /// Selects it. A session that may change things takes the recent messages for itself (RFC 3501 §2.3.2), and their files move from
    /// `new/` to `cur/`.
    ///
    /// # Errors
    /// A fault of the disk, or the mailbox was removed.
    pub fn select(self: &Arc<Mailbox>, read_only: bool) -> Result<(View, Selected), Refusal> {
        let mut state = self.lock()?;
        state.refresh(None)?;
        let index = &state.index;
        let uids: Vec<Uid> = index.entries().iter().map(|e| uid(e.uid)).collect();
        let recent_at = index.entries().partition_point(|e| e.uid < index.recent_from);
        let selected = Selected {
            recent: uids[recent_at..].to_vec(),
            first_unseen: index.entries().iter().find(|e| !e.marks.system.has(System::SEEN)).map(|e| uid(e.uid)),
            uids,
            keywords: state.keywords.names().collect(),
            uid_next: uid(index.uid_next),
            uid_validity: validity(index.uid_validity),
            highest_mod_seq: ModSeq(index.mod_seq),
            read_only: false,
        };
        let id = self.common.count();
        let (uid_validity, uid_next, mod_seq) = (index.uid_validity, index.uid_next, index.mod_seq);
        if !read_only {
            state.claim()?;
        }
        self.audience().views.insert(id, mod_seq);
        drop(state);
        Ok((View { mailbox: self.clone(), id, read_only, uid_validity, uid_next, mod_seq }, selected))
    }
}

impl View {
    /// The mailbox.
    pub fn mailbox(&self) -> &Arc<Mailbox> {
        &self.mailbox
    }

    /// Whether it was selected to look only.
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// What changed since the last time, by whomever.
    ///
    /// # Errors
    /// A fault of the disk. That the mailbox is gone is an answer.
    pub fn sync(&mut self) -> Result<Changes, Refusal> {
        let lost = Changes { lost: true, ..Changes::default() };
        let mut state = match self.mailbox.lock() {
            Ok(state) => state,
            Err(Refusal::NoMailbox) => return Ok(lost),
            Err(refusal) => return Err(refusal),
        };
        match state.refresh(None) {
            Err(Refusal::NoMailbox) => return Ok(lost),
            other => other?,
        }
        if state.index.uid_validity != self.uid_validity
            || !self.mailbox.audience().views.contains_key(&self.id)
            || state.gone_floor > self.mod_seq
        {
            return Ok(lost);
        }
        let mut changes = Changes::default();
        if state.index.mod_seq == self.mod_seq && state.index.uid_next == self.uid_next {
            return Ok(changes);
        }
        let at = state.gone.partition_point(|(mod_seq, _)| *mod_seq <= self.mod_seq);
        changes.gone = state.gone.iter().skip(at).filter(|(_, uid)| *uid < self.uid_next).map(|(_, n)| uid(*n)).collect();
        changes.gone.sort_unstable();
        let new_at = state.index.entries().partition_point(|e| e.uid < self.uid_next);
        let (old, new) = state.index.entries().split_at(new_at);
        changes.new = new.iter().map(|e| uid(e.uid)).collect();
        changes.recent = new.iter().filter(|e| e.uid >= state.index.recent_from).map(|e| uid(e.uid)).collect();
        let tell = |e: &maildir::Entry| (uid(e.uid), state.flags(e.marks), ModSeq(e.mod_seq));
        if state.flagged_floor <= self.mod_seq {
            let at = state.flagged.partition_point(|(mod_seq, _)| *mod_seq <= self.mod_seq);
            let mut uids: Vec<u32> = state.flagged.iter().skip(at).map(|(_, n)| *n).filter(|n| *n < self.uid_next).collect();
            uids.sort_unstable();
            uids.dedup();
            changes.flags = uids.into_iter().filter_map(|n| state.index.entry(n)).map(tell).collect();
        } else {
            changes.flags = old.iter().filter(|e| e.mod_seq > self.mod_seq).map(tell).collect();
        }
        self.uid_next = state.index.uid_next;
        self.mod_seq = state.index.mod_seq;
        self.mailbox.audience().views.insert(self.id, self.mod_seq);
        state.trim();
        if !self.read_only {
            state.claim()?;
        }
        Ok(changes)
    }

    /// Rings this bell on changes; none any more if there is none. Never waits for a disk.
    pub fn watch(&self, ring: Option<Arc<dyn Ring>>) {
        let mut audience = self.mailbox.audience();
        match ring {
            Some(ring) => audience.rings.insert(self.id, ring),
            None => audience.rings.remove(&self.id),
        };
    }
}

impl Drop for View {
    fn drop(&mut self) {
        let mut audience = self.mailbox.audience();
        audience.rings.remove(&self.id);
        audience.views.remove(&self.id);
    }
}

impl Locked<'_> {
    /// Recent messages belong to somebody now.
    fn claim(&mut self) -> Result<(), Refusal> {
        if self.index.recent_from < self.index.uid_next {
            let recent_from = self.index.uid_next;
            self.put(&Record::Claim { recent_from });
            self.flush();
        }
        let mut left = limits::MOVE_NOW;
        while left > 0 && self.move_seen(limits::BATCH.min(left))? {
            left = left.saturating_sub(limits::BATCH);
        }
        Ok(())
    }

    /// Moves files of messages that are recent to nobody from `new/` to `cur/`, at most that many. False if there are none left.
    pub fn move_seen(&mut self, limit: usize) -> Result<bool, Refusal> {
        let (from, upto) = (self.moved_upto, self.index.recent_from);
        if from >= upto {
            return Ok(false);
        }
        let start = self.index.entries().partition_point(|e| e.uid < from);
        let waiting = self.index.entries()[start..].iter().take_while(|e| e.uid < upto).filter(|e| e.bits.has(Bits::NEW));
        let batch: Vec<(u32, Marks, bool)> = waiting.take(limit).map(|e| (e.uid, e.marks, e.bits.has(Bits::ODD))).collect();
        let (Some(first), Some(last)) = (batch.first(), batch.last()) else {
            self.moved_upto = upto;
            return Ok(false);
        };
        let (first, last) = (first.0, last.0);
        let (cur, new) = (self.own(Place::Cur)?, self.own(Place::New)?);
        let mut all_moved = true;
        for &(uid, marks, odd) in &batch {
            let Some(entry) = self.index.entry(uid) else { continue };
            let from = self.path(entry);
            let mut name = b"cur/".to_vec();
            name.extend_from_slice(self.index.base(entry));
            marks.print(b"", &mut name);
            let to = super::below(self.dir(), &name);
            match self.disk().rename(&from, &to) {
                Ok(()) if odd => self.put(&Record::Flags { uid, mod_seq: 0, marks, bits: Bits::default(), info: b"" }),
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => all_moved = false,
                Err(e) => return Err(super::trouble("move", &from, &e)),
            }
        }
        if all_moved {
            self.put(&Record::Cur { from: first, to: last });
        }
        self.flush();
        self.after(Place::Cur, cur);
        self.after(Place::New, new);
        if !all_moved {
            // Another program was quicker; its names are found out now.
            self.refresh(Some(maildir::Scope::Both))?;
        }
        self.moved_upto = last + 1;
        Ok(true)
    }

    /// The time of a directory before a change of our own.
    pub fn own(&self, place: Place) -> Result<Option<i64>, Refusal> {
        self.before(place).map_err(|e| super::trouble("stat", self.dir(), &e))
    }

    /// Forgets removals that every session heard of.
    pub fn trim(&mut self) {
        let Some(heard) = self.mailbox.audience().views.values().copied().min() else { return };
        let at = self.gone.partition_point(|(mod_seq, _)| *mod_seq <= heard);
        self.gone.drain(..at);
    }
}
