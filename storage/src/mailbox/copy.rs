//! Copying messages: hard links under fresh names.

use super::{
    aside::Until,
    deliver::link_or_copy,
    device::Device,
    refresh::{bits, odd},
    state::{Mailbox, uid, validity},
    trouble,
};
use imap::{Copied, Need, Refusal};
use mail::{Flags, Uid};
use maildir::{Add, Bits, Blob, Facts, Marks, Place, Record, Scope};
use std::{io, path::PathBuf, sync::Arc};
use wire::Fault;

/// A message to be copied.
struct Source {
    uid: Uid,
    path: PathBuf,
    flags: Flags,
    facts: Facts,
    /// Its bytes may not have reached the disk for good.
    unsettled: bool,
}

impl Mailbox {
    /// Copies messages into another mailbox (or this one), all or none, with flags, keywords and internal dates. When this returns, a crash does not undo it.
    ///
    /// # Errors
    /// [`Refusal::Gone`] if one of them is not there any more, [`Refusal::Limit`], or a fault of the disk.
    pub fn copy(&self, uids: &[Uid], target: &Mailbox) -> Result<Copied, Refusal> {
        // The names of the copies tell their sizes.
        if self.describe(uids, Need { size: true, date: true, structure: false })?.len() != uids.len() {
            return Err(Refusal::Gone);
        }
        match self.try_copy(uids, target, false) {
            // Another program moved a file between two looks.
            Err(Refusal::Gone) => self.try_copy(uids, target, true),
            other => other,
        }
    }

    fn try_copy(&self, uids: &[Uid], target: &Mailbox, again: bool) -> Result<Copied, Refusal> {
        let (sources, device, failures) = self.sources(uids, again)?;
        if sources.iter().any(|s| s.unsettled) {
            self.settle_sources()?;
        }
        let mut state = target.lock()?;
        state.refresh(None)?;
        state.ensure(u32::try_from(sources.len()).map_err(|_| Refusal::Limit)?, 1)?;
        let mut marks = Vec::with_capacity(sources.len());
        for source in &sources {
            marks.push(state.marks(&source.flags)?);
        }
        let cur = state.own(Place::Cur)?;
        let mut made: Vec<(String, PathBuf)> = Vec::with_capacity(sources.len());
        let linked = sources.iter().zip(&marks).try_for_each(|(source, marks)| {
            let base = self.common.base_name(source.facts.size, source.facts.wire);
            let path = file_path(*marks, &base, state.dir());
            link_or_copy(&*self.account.disk, &source.path, &path, state.dir(), &base).map_err(|e| gone_or_trouble(&source.path, &e))?;
            made.push((base, path));
            Ok(())
        });
        let dir = state.dir().join(Place::Cur.dir());
        let durable = linked
            .and_then(|()| self.account.disk.sync_dir(&dir).map_err(|e| trouble("sync", &dir, &e)))
            .and_then(|()| state.settle_names());
        // A sync that failed since may have been about the sources, and whoever asked for it was told instead of us.
        let durable = durable.and_then(|()| if device.failures() == failures { Ok(()) } else { Err(Refusal::Fault(Fault::Later)) });
        if let Err(refusal) = durable {
            for (_, path) in made {
                if let Err(error) = self.account.disk.unlink(&path) {
                    tracing::error!(path = %path.display(), %error, "half a copy stays");
                }
            }
            return Err(refusal);
        }
        let mod_seq = state.next_mod_seq();
        let mut copied = Copied { uid_validity: validity(state.index.uid_validity), uids: Vec::with_capacity(sources.len()) };
        for ((source, marks), (base, _)) in sources.iter().zip(marks).zip(&made) {
            let next = state.index.uid_next;
            let bits = bits(marks, b"", Place::Cur).set(Bits::ODD, false).set(Bits::SIZED, true).set(Bits::DATED, true);
            let facts = Facts { blob: Blob::default(), ..source.facts };
            state.put(&Record::Add(Add { uid: next, mod_seq, marks, bits, facts, base: base.as_bytes(), info: odd(bits, b"") }));
            state.total = state.total.saturating_add(facts.size);
            copied.uids.push((source.uid, uid(next)));
        }
        state.flush();
        state.after(Place::Cur, cur);
        state.count();
        state.ring();
        Ok(copied)
    }

    /// Makes sources durable that no checkpoint has seen. What opens them now would not hear of a write that failed before, so their file system is synced
    /// through what was open when they were written.
    fn settle_sources(&self) -> Result<(), Refusal> {
        let mut state = self.lock()?;
        let (device, dir) = (state.device.clone(), state.dir().to_owned());
        let synced = if device.is_whole() {
            drop(state);
            match device.turn() {
                Some(turn) => device.sync(&turn),
                // Who syncs it now does not come back; nothing failed yet.
                None => return Err(Refusal::Fault(Fault::Later)),
            }
        } else if self.notes().settling > 0 || self.common.aside.holds(self.id) {
            // A checkpoint has the files, and what it is told of them nobody else is. One that did not come back has them still.
            return Err(Refusal::Fault(Fault::Later));
        } else {
            // Under the lock: whoever finds no file to sync takes it that all of them were.
            let synced = std::mem::take(&mut state.kept).iter().try_for_each(|kept| kept.file.sync());
            state.doubtful |= synced.is_err();
            drop(state);
            synced
        };
        synced.map_err(|error| {
            self.set_aside("its file system could not be synced", Until::Settled);
            trouble("sync", &dir, &error)
        })
    }

    /// The messages, where they lie, and how often a sync there had failed.
    fn sources(&self, uids: &[Uid], again: bool) -> Result<(Vec<Source>, Arc<Device>, u64), Refusal> {
        let mut state = self.lock()?;
        let device = state.device.clone();
        let failures = device.failures();
        if again {
            state.refresh(Some(Scope::Both))?;
        }
        let take = |id: &Uid| {
            let entry = state.index.entry(id.get()).ok_or(Refusal::Gone)?;
            let unsettled = entry.uid >= state.synced_uid;
            Ok(Source { uid: *id, path: state.path(entry), flags: state.flags(entry.marks), facts: entry.facts, unsettled })
        };
        let sources: Vec<Source> = uids.iter().map(take).collect::<Result<_, _>>()?;
        let doubtful = (state.doubtful || device.is_doubtful()) && sources.iter().any(|source| source.unsettled);
        // After a start it may hold what the log has yet to write again, under numbers that were settled before.
        let vanished = sources.iter().any(|source| source.unsettled) && self.common.has_vanished(state.dir());
        if doubtful || vanished || self.common.aside.holds(self.id) {
            // A sync that succeeds after one that failed says nothing about the bytes in between.
            return Err(Refusal::Fault(Fault::Later));
        }
        Ok((sources, device, failures))
    }
}

fn file_path(marks: Marks, base: &str, dir: &std::path::Path) -> PathBuf {
    let mut name = b"cur/".to_vec();
    name.extend_from_slice(base.as_bytes());
    marks.print(b"", &mut name);
    super::below(dir, &name)
}

fn gone_or_trouble(path: &std::path::Path, error: &io::Error) -> Refusal {
    if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) { Refusal::Gone } else { trouble("copy", path, error) }
}
