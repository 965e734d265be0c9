//! Changing flags: the file gets another name.

use super::{
    refresh::{bits, odd},
    state::{Locked, Mailbox},
    trouble,
};
use imap::{Change, Refusal};
use mail::{Flags, ModSeq, Uid};
use maildir::{Bits, Marks, Place, Record, Scope};
use std::io;

impl Mailbox {
    /// Changes flags. Returns the flags of those of the messages that are still there, in the order asked for.
    ///
    /// # Errors
    /// [`Refusal::Limit`] for too many keywords, a fault of the disk, or the mailbox was removed.
    pub fn store(&self, uids: &[Uid], change: Change, flags: &Flags) -> Result<Vec<(Uid, Flags, ModSeq)>, Refusal> {
        let mut state = self.lock()?;
        let marks = match change {
            // What nobody knows, nobody has.
            Change::Remove => Marks { system: flags.system, keywords: state.keywords.bits(&flags.keywords) },
            Change::Add | Change::Replace => state.marks(flags)?,
        };
        state.ensure(0, 1)?;
        let mod_seq = state.next_mod_seq();
        let mut owned: Option<[Option<i64>; 2]> = None;
        let mut missing = Vec::new();
        for id in uids {
            let Some(entry) = state.index.entry(id.get()) else { continue };
            let wanted = apply(entry.marks, change, marks);
            if wanted == entry.marks {
                continue;
            }
            if owned.is_none() {
                owned = Some([state.own(Place::Cur)?, state.own(Place::New)?]);
            }
            if !state.respell(id.get(), wanted, mod_seq)? {
                missing.push(*id);
            }
        }
        if let Some([cur, new]) = owned {
            state.flush();
            state.after(Place::Cur, cur);
            // Only if something was in new/ does its time differ, and then it was us.
            state.after(Place::New, new);
        }
        if !missing.is_empty() {
            // Another program renamed or removed them meanwhile.
            state.refresh(Some(Scope::Both))?;
            state.ensure(0, 1)?;
            let mod_seq = state.next_mod_seq();
            let [cur, new] = [state.own(Place::Cur)?, state.own(Place::New)?];
            for id in missing {
                if let Some(entry) = state.index.entry(id.get()) {
                    let wanted = apply(entry.marks, change, marks);
                    if wanted != entry.marks && !state.respell(id.get(), wanted, mod_seq)? {
                        tracing::warn!(mailbox = %state.title(), uid = id.get(), "flags were not kept: the file keeps moving");
                    }
                }
            }
            state.flush();
            state.after(Place::Cur, cur);
            state.after(Place::New, new);
        }
        if owned.is_some() {
            state.ring();
        }
        let entries = uids.iter().filter_map(|id| state.index.entry(id.get()).map(|e| (*id, e)));
        Ok(entries.map(|(id, e)| (id, state.flags(e.marks), ModSeq(e.mod_seq))).collect())
    }
}

fn apply(old: Marks, change: Change, marks: Marks) -> Marks {
    match change {
        Change::Replace => marks,
        Change::Add => Marks { system: old.system.with(marks.system), keywords: old.keywords | marks.keywords },
        Change::Remove => Marks { system: old.system.without(marks.system), keywords: old.keywords & !marks.keywords },
    }
}

impl Locked<'_> {
    /// Renames the file of a message so that its name says these marks. False if it is not where it was.
    fn respell(&mut self, uid: u32, marks: Marks, mod_seq: u64) -> Result<bool, Refusal> {
        let Some(entry) = self.index.entry(uid) else { return Ok(true) };
        let from = self.path(entry);
        let mut old = Vec::new();
        if entry.bits.has(Bits::ODD) {
            self.index.info(entry, &mut old);
        }
        let mut name = b"cur/".to_vec();
        name.extend_from_slice(self.index.base(entry));
        let info_at = name.len();
        marks.print(&old, &mut name);
        let to = super::below(self.dir(), &name);
        if from != to {
            match self.disk().rename(&from, &to) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
                Err(e) => return Err(trouble("rename", &from, &e)),
            }
        }
        let info = &name[info_at..];
        let bits = bits(marks, info, Place::Cur);
        self.put(&Record::Flags { uid, mod_seq, marks, bits, info: odd(bits, info) });
        self.note_flagged(mod_seq, uid);
        Ok(true)
    }
}
