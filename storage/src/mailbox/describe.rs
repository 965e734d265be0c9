//! Facts about messages, from the index where it has them and from the files where not.

use super::{
    limits,
    state::{CACHE, Locked, Mailbox, uid},
    trouble,
};
use crate::disk::{Disk, How, Stat};
use imap::{Detail, Need, Refusal};
use mail::{ModSeq, Span, Stamp, Uid};
use maildir::{Bits, Blob, Facts, Record, Scope, Sizes, blob_payload};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// What the scan of a file found.
pub(super) struct Scanned {
    pub size: u64,
    pub wire: u64,
    pub structure: mime::Structure,
}

impl Mailbox {
    /// Facts about those of the messages that are still there, in the order asked for.
    ///
    /// # Errors
    /// A fault of the disk, or the mailbox was removed.
    pub fn describe(&self, uids: &[Uid], need: Need) -> Result<Vec<Detail>, Refusal> {
        let state = self.lock()?;
        let mut details = Vec::with_capacity(uids.len());
        let mut blobs = Vec::new();
        let mut unknown = Vec::new();
        for &id in uids {
            let Some(entry) = state.index.entry(id.get()) else { continue };
            if need.structure {
                blobs.push((details.len(), id, entry.facts.blob));
            }
            if (need.size && !entry.bits.has(Bits::SIZED)) || (need.date && !entry.bits.has(Bits::DATED)) {
                unknown.push(details.len());
            }
            details.push(Detail {
                uid: id,
                flags: state.flags(entry.marks),
                mod_seq: ModSeq(entry.mod_seq),
                span: Span { at: 0, len: entry.facts.size, wire: entry.facts.wire },
                date: Stamp { seconds: entry.facts.date, zone: entry.facts.zone },
                structure: None,
            });
        }
        let (dir, numbering) = (state.dir().to_owned(), state.index.uid_validity);
        // A message that vanishes meanwhile is left out.
        let mut vanished = Vec::new();
        let mut found_out = !unknown.is_empty();
        if !unknown.is_empty() || !blobs.is_empty() {
            drop(state);
            let structures = if blobs.is_empty() { Vec::new() } else { read_blobs(&*self.account.disk, &dir, numbering, &blobs) };
            for ((at, id, _), structure) in blobs.into_iter().zip(structures) {
                match structure {
                    Some(structure) => details[at].structure = Some(Arc::new(structure)),
                    None => match self.scan(id)? {
                        Some((facts, structure)) => {
                            found_out = true;
                            details[at].span = Span { at: 0, len: facts.size, wire: facts.wire };
                            details[at].structure = Some(Arc::new(structure));
                        }
                        None => vanished.push(at),
                    },
                }
            }
            for at in unknown {
                match self.measure(details[at].uid, need.size)? {
                    Some(facts) => {
                        details[at].span = Span { at: 0, len: facts.size, wire: facts.wire };
                        details[at].date = Stamp { seconds: facts.date, zone: facts.zone };
                    }
                    None => vanished.push(at),
                }
            }
        }
        if found_out {
            self.lock()?.flush();
        }
        vanished.sort_unstable();
        vanished.dedup();
        for at in vanished.into_iter().rev() {
            details.remove(at);
        }
        Ok(details)
    }

    /// Finds out size and date of a message; `None` if it is gone. What it notes is for the caller to flush.
    pub(super) fn measure(&self, id: Uid, size: bool) -> Result<Option<Facts>, Refusal> {
        let stat = |disk: &dyn Disk, path: &Path| disk.stat(path).and_then(|stat| fits(&stat).map(|()| stat));
        let Some((stat, base)) = self.with_file(id, stat)? else { return Ok(None) };
        let date = super::refresh::date_of(&stat);
        {
            let mut state = self.lock()?;
            let Some(entry) = state.index.entry(id.get()) else { return Ok(None) };
            let (mut facts, mut bits) = (entry.facts, entry.bits);
            if !bits.has(Bits::DATED) {
                (facts.date, facts.zone) = (date, 0);
                bits = bits.set(Bits::DATED, true);
            }
            let told = Sizes::parse(&base);
            // What a name says of a size is believed if the size that can be seen is the same.
            if !bits.has(Bits::SIZED)
                && told.stored == Some(stat.len)
                && let Some(wire) = told.wire.filter(|w| (stat.len..=stat.len.saturating_mul(2)).contains(w))
            {
                (facts.size, facts.wire) = (stat.len, wire);
                bits = bits.set(Bits::SIZED, true);
            }
            state.note(id.get(), bits, facts);
            if !size || bits.has(Bits::SIZED) {
                return Ok(Some(facts));
            }
        }
        Ok(self.scan(id)?.map(|(facts, _)| facts))
    }

    /// Takes the file of a message apart and notes what it found; `None` if it is gone. What it notes is for the caller to flush.
    pub(super) fn scan(&self, id: Uid) -> Result<Option<(Facts, mime::Structure)>, Refusal> {
        let Some((scanned, _)) = self.with_file(id, scan_file)? else { return Ok(None) };
        let mut state = self.lock()?;
        let Some(entry) = state.index.entry(id.get()) else { return Ok(None) };
        let (facts, bits) = (entry.facts, entry.bits);
        let blob = state.keep_structure(id.get(), &scanned.structure);
        let facts = Facts { size: scanned.size, wire: scanned.wire, blob, ..facts };
        state.note(id.get(), bits.set(Bits::SIZED, true), facts);
        Ok(Some((facts, scanned.structure)))
    }

    /// Does something with the file of a message, wherever other programs moved it; `None` if it is gone. Also returns its base name.
    pub(super) fn with_file<T>(&self, id: Uid, work: impl Fn(&dyn Disk, &Path) -> io::Result<T>) -> Result<Option<(T, Vec<u8>)>, Refusal> {
        for again in [false, true] {
            let Some((path, base)) = self.whereabouts(id, again)? else { return Ok(None) };
            match work(&*self.account.disk, &path) {
                Ok(done) => return Ok(Some((done, base))),
                Err(e) if e.kind() == io::ErrorKind::NotFound || is_no_message(&e) => {}
                Err(e) => return Err(trouble("read", &path, &e)),
            }
        }
        Ok(None)
    }

    /// Where the file of a message is; if what the index says was wrong, `again`.
    fn whereabouts(&self, id: Uid, again: bool) -> Result<Option<(PathBuf, Vec<u8>)>, Refusal> {
        let mut state = self.lock()?;
        if again {
            state.refresh(Some(Scope::Both))?;
        }
        Ok(state.index.entry(id.get()).map(|entry| (state.path(entry), state.index.base(entry).to_vec())))
    }
}

impl Locked<'_> {
    /// Notes facts about a message.
    pub fn note(&mut self, uid: u32, bits: Bits, facts: Facts) {
        let Some(entry) = self.index.entry(uid) else { return };
        let before = entry.facts.size;
        if entry.facts == facts && entry.bits == bits {
            return;
        }
        self.put(&Record::Facts { uid, bits, facts });
        self.total = self.total.saturating_sub(before).saturating_add(facts.size);
        self.count();
    }
}

/// Whether what became of a file is no message any more. It is left out, as if it were gone.
fn is_no_message(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::FileTooLarge | io::ErrorKind::InvalidData)
}

/// Nobody reads for hours in a file that its owner made long at no cost.
fn fits(stat: &Stat) -> io::Result<()> {
    match stat.len > maildir::limits::MESSAGE {
        true => Err(io::ErrorKind::FileTooLarge.into()),
        false if stat.is_file => Ok(()),
        false => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Reads a file once through the scanner.
pub(super) fn scan_file(disk: &dyn Disk, path: &Path) -> io::Result<Scanned> {
    let file = disk.open(path, How::Read)?;
    let mut scanner = mime::Scanner::new();
    let len = usize::try_from(file.len()?).unwrap_or(usize::MAX);
    let mut piece = vec![0; len.clamp(1, limits::PIECE)];
    let (mut size, mut bare, mut cr) = (0_u64, 0_u64, false);
    loop {
        let n = file.read_at(&mut piece, size)?;
        if n == 0 {
            break;
        }
        let bytes = &piece[..n];
        bare += memchr::memchr_iter(b'\n', bytes).filter(|&at| if at == 0 { !cr } else { bytes[at - 1] != b'\r' }).count() as u64;
        cr = bytes[n - 1] == b'\r';
        scanner.feed(bytes);
        size += n as u64;
        if size > maildir::limits::MESSAGE {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
    }
    Ok(Scanned { size, wire: size + bare, structure: scanner.finish() })
}

/// Reads structures from the cache, in the order asked for. What is not there, or not what it should be, is to be found out again.
fn read_blobs(disk: &dyn Disk, dir: &Path, numbering: u32, blobs: &[(usize, Uid, Blob)]) -> Vec<Option<mime::Structure>> {
    let usable = |blob: &Blob| blob.len > 0 && blob.len <= limits::BLOB;
    let none = || blobs.iter().map(|_| None).collect();
    if !blobs.iter().any(|(_, _, blob)| usable(blob)) {
        return none();
    }
    let file = match disk.open_book(&dir.join(CACHE), How::Read) {
        Ok(file) => file,
        Err(error) => {
            tracing::warn!(dir = %dir.display(), %error, "the cache cannot be read; structures are found out again");
            return none();
        }
    };
    let mut found = Vec::with_capacity(blobs.len());
    // Messages that came one after the other lie one after the other.
    let (mut run, mut run_at) = (Vec::new(), 0_u64);
    for (i, (_, id, blob)) in blobs.iter().enumerate() {
        if !usable(blob) {
            found.push(None);
            continue;
        }
        let end = blob.at.saturating_add(u64::from(blob.len));
        if blob.at < run_at || end > run_at + run.len() as u64 {
            let mut run_end = end;
            for (_, _, next) in blobs[i + 1..].iter().filter(|(_, _, b)| usable(b)) {
                let next_end = next.at.saturating_add(u64::from(next.len));
                if next.at < run_end || next_end - blob.at > limits::BLOB_RUN {
                    break;
                }
                run_end = next_end;
            }
            run_at = blob.at;
            run.resize((run_end - run_at) as usize, 0);
            let mut got = 0;
            while got < run.len() {
                match file.read_at(&mut run[got..], run_at + got as u64) {
                    Ok(0) => break,
                    Ok(n) => got += n,
                    Err(error) => {
                        tracing::warn!(dir = %dir.display(), %error, "the cache cannot be read; structures are found out again");
                        break;
                    }
                }
            }
            run.truncate(got);
        }
        let frame = run.get((blob.at - run_at) as usize..).and_then(|rest| rest.get(..blob.len as usize));
        found.push(frame.and_then(|frame| blob_payload(numbering, id.get(), frame)).and_then(mime::Structure::decode));
    }
    let lost = found.iter().zip(blobs).filter(|(found, (.., blob))| found.is_none() && usable(blob)).count();
    if lost > 0 {
        tracing::warn!(dir = %dir.display(), lost, "structures in the cache are not what they should be; they are found out again");
    }
    found
}

/// UIDs of all messages.
pub(super) fn all_uids(state: &Locked<'_>) -> Vec<Uid> {
    state.index.entries().iter().map(|e| uid(e.uid)).collect()
}
