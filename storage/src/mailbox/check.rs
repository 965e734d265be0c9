//! Looking whether an index is right, and making it anew, for the command line. No server uses the store meanwhile.

use super::{
    account::read_index,
    describe::{all_uids, scan_file},
    shelf::Mailboxes,
    state::INDEX,
    trouble,
};
use imap::Refusal;
use mail::MailboxName;
use maildir::{Bits, Facts, Index, Listing, Place, Record, Scope, reconcile};
use std::{io, path::Path};

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Messages looked at.
    pub done: u64,
    /// Messages to look at.
    pub total: u64,
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Report {
    /// Message files.
    pub messages: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Files that the index does not know.
    pub unknown: u64,
    /// Messages in the index whose files are not there.
    pub missing: u64,
    /// Files that were renamed, as after a change of flags by another program.
    pub renamed: u64,
    /// Messages whose sizes in the index are wrong.
    pub wrong: u64,
    /// Bytes of the index that cannot be read: a torn tail, or all of it.
    pub torn: u64,
}

impl Report {
    /// Whether index and files agree.
    pub fn is_sound(&self) -> bool {
        self.unknown + self.missing + self.renamed + self.wrong + self.torn == 0
    }
}

impl Mailboxes {
    /// Compares the index of a mailbox with its files, reading every message. Changes nothing.
    ///
    /// # Errors
    /// [`Refusal::NoMailbox`], or a fault of the disk.
    pub fn check(&self, maildir: &Path, name: &MailboxName, progress: &mut dyn FnMut(Step)) -> Result<Report, Refusal> {
        if !self.exists(maildir, name)? {
            return Err(Refusal::NoMailbox);
        }
        let dir = maildir.join(maildir::folder_name(name).ok_or(Refusal::NoMailbox)?);
        self.account(maildir).guard(&dir)?;
        let disk = &*self.common.disk;
        let path = dir.join(INDEX);
        let bytes = read_index(disk, &path).map_err(|e| trouble("read", &path, &e))?.unwrap_or_default();
        let (mut index, sound) = Index::load(&bytes, self.common.seed());
        let mut listing = Listing::default();
        for place in [Place::New, Place::Cur] {
            let dir = dir.join(place.dir());
            match disk.list_kinds(&dir, &mut |name, is_file| {
                if is_file {
                    listing.push(name, place)
                }
            }) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                other => other.map_err(|e| trouble("list", &dir, &e))?,
            }
        }
        let plan = reconcile(&mut index, &listing, Scope::Both, &|_| false);
        let mut report = Report {
            messages: listing.len() as u64,
            unknown: plan.adds.len() as u64,
            missing: plan.gone.len() as u64,
            renamed: plan.changed.len() as u64,
            torn: (bytes.len() - sound) as u64,
            ..Report::default()
        };
        for i in 0..listing.len() {
            progress(Step { done: i as u64, total: report.messages });
            let (file, place) = listing.file(i);
            let path = super::below(&dir.join(place.dir()), &[file.base, file.info].concat());
            let scanned = match scan_file(disk, &path) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                other => other.map_err(|e| trouble("read", &path, &e))?,
            };
            report.bytes += scanned.size;
            if let Some(at) = index.find(file.base) {
                let entry = &index.entries()[at];
                let differs = (entry.facts.size, entry.facts.wire) != (scanned.size, scanned.wire);
                report.wrong += u64::from(entry.bits.has(Bits::SIZED) && differs);
            }
        }
        progress(Step { done: report.messages, total: report.messages });
        Ok(report)
    }

    /// Makes the index of a mailbox anew from its files, reading every message. UIDs stay as far as the index knows them.
    ///
    /// # Errors
    /// [`Refusal::NoMailbox`], or a fault of the disk.
    pub fn rebuild(&self, maildir: &Path, name: &MailboxName, progress: &mut dyn FnMut(Step)) -> Result<Report, Refusal> {
        let mailbox = self.open(maildir, name)?;
        let uids = {
            let mut state = mailbox.lock()?;
            state.refresh(Some(Scope::Both))?;
            state.index.forget_blobs();
            let cache = state.dir().join(super::state::CACHE);
            match self.common.disk.unlink(&cache) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                other => other.map_err(|e| trouble("remove", &cache, &e))?,
            }
            all_uids(&state)
        };
        let mut report = Report { messages: uids.len() as u64, ..Report::default() };
        for (i, uid) in uids.iter().enumerate() {
            progress(Step { done: i as u64, total: report.messages });
            let before: Option<Facts> = mailbox.lock()?.index.entry(uid.get()).filter(|e| e.bits.has(Bits::SIZED)).map(|e| e.facts);
            match mailbox.scan(*uid)? {
                Some((facts, _)) => {
                    report.bytes += facts.size;
                    report.wrong += u64::from(before.is_some_and(|b| (b.size, b.wire) != (facts.size, facts.wire)));
                }
                None => report.missing += 1,
            }
            mailbox.measure(*uid, false)?;
        }
        progress(Step { done: report.messages, total: report.messages });
        let mut state = mailbox.lock()?;
        let (uid, mod_seq) = (state.index.uid_next, state.index.mod_seq);
        state.put(&Record::Next { uid, mod_seq });
        state.write_snapshot().map_err(|e| trouble("write", &path_of(&state), &e))?;
        Ok(report)
    }
}

fn path_of(state: &super::state::Locked<'_>) -> std::path::PathBuf {
    state.dir().join(INDEX)
}
