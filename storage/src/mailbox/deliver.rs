//! Putting messages into a mailbox.

use super::{
    below,
    device::{Device, Kept},
    ledger::Charge,
    limits,
    load::make_maildir,
    refresh::{bits, odd},
    state::{CACHE, Locked, Mailbox, uid, validity},
    trouble,
};
use crate::disk::{Disk, File, How};
use imap::Refusal;
use mail::{Flags, Stamp, Uid, UidValidity};
use maildir::{Add, Bits, Blob, Facts, FileName, Place, Record, blob_frame};
use std::{
    io,
    path::{Path, PathBuf},
};

/// A message for a mailbox. It is durable already: in the spool, where it stays until a checkpoint.
#[derive(Debug)]
pub struct Deposit<'a> {
    /// Its base name, from [`maildir::base_name`]; derived from the spool entry, so that replay never makes a second copy.
    pub base: &'a str,
    /// Its bytes as they are stored.
    pub content: Content<'a>,
    /// Its flags.
    pub flags: &'a Flags,
    /// Its internal date.
    pub date: Stamp,
    /// Bytes stored.
    pub size: u64,
    /// Octets on the wire.
    pub wire: u64,
    /// What it is made of; found out when somebody asks, if not given.
    pub structure: Option<&'a mime::Structure>,
    /// Its record in the spool, which is needed until it is durable here.
    pub record: Option<&'a Charge>,
}

/// Where the bytes of a message are.
#[derive(Debug, Clone, Copy)]
pub enum Content<'a> {
    /// Here, in pieces.
    Bytes(&'a [&'a [u8]]),
    /// In a file on the same file system, which gets another name.
    Link(&'a Path),
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// The numbering.
    pub uid_validity: UidValidity,
    /// Its UID.
    pub uid: Uid,
}

impl Mailbox {
    /// Delivers a message: when this returns, every session and every other program can see it. Nothing is flushed.
    ///
    /// Does nothing if a message of this base name is there already.
    ///
    /// # Errors
    /// A fault of the disk, too many messages or keywords, or the mailbox was removed.
    ///
    /// # Panics
    /// If the base name is none.
    pub fn deliver(&self, deposit: &Deposit) -> Result<Placed, Refusal> {
        let name = FileName::split(deposit.base.as_bytes()).filter(|n| n.info.is_empty()).expect("a base name");
        let (dir, device) = {
            let mut state = self.lock()?;
            if let Some(placed) = state.placed(name.base) {
                state.delivered(deposit);
                return Ok(placed);
            }
            (state.dir().to_owned(), state.device.clone())
        };
        // The long part, without the lock.
        let failures = device.failures();
        let mut draft = match deposit.content {
            Content::Bytes(pieces) => Some(self.draft(&device, &dir, deposit.base, pieces).map_err(|e| trouble("write", &dir, &e))?),
            Content::Link(_) => None,
        };
        let placed = self.lock().and_then(|mut state| match state.placed(name.base) {
            Some(placed) => {
                state.delivered(deposit);
                Ok((placed, true))
            }
            // A sync that failed meanwhile may have been about the draft, and the next would not tell.
            None if device.failures() != failures => Err(Refusal::Fault(wire::Fault::Later)),
            None => {
                let placed = state.place(deposit, draft.as_ref().map(|draft| &*draft.path))?;
                state.kept.extend(draft.as_mut().and_then(|draft| draft.kept.take()));
                Ok((placed, false))
            }
        });
        if !matches!(placed, Ok((_, false)))
            && let Some(Draft { path, .. }) = draft
            && let Err(error) = self.account.disk.unlink(&path)
        {
            tracing::warn!(path = %path.display(), %error, "a draft stays until tmp/ is cleaned");
        }
        placed.map(|(placed, _)| placed)
    }

    /// Writes a file in `tmp/`.
    pub(super) fn draft(&self, device: &Device, dir: &Path, base: &str, pieces: &[&[u8]]) -> io::Result<Draft> {
        let (path, file) = write_draft(&*self.account.disk, dir, base, pieces)?;
        let kept = if device.is_whole() { None } else { self.common.devices.keep(file)? };
        Ok(Draft { path, kept })
    }

    /// Whether a message of this base name is here, as far as files tell.
    ///
    /// # Errors
    /// A fault of the disk, or the mailbox was removed.
    pub fn holds(&self, base: &[u8]) -> Result<bool, Refusal> {
        let mut state = self.lock()?;
        state.refresh(None)?;
        Ok(state.index.find(base).is_some())
    }
}

/// A file in `tmp/`.
pub(super) struct Draft {
    pub path: PathBuf,
    /// It has to be synced by itself.
    pub kept: Option<Kept>,
}

impl Locked<'_> {
    /// Whether the message is still this one's to write. Whoever took too long comes back to a mailbox to which it was delivered by others, and from which it
    /// was removed, perhaps.
    pub fn check(&self, deposit: &Deposit) -> Result<(), Refusal> {
        let is_open = |charge: &Charge| self.common().ledger.is_open(self.mailbox.id, charge.ticket);
        if deposit.record.is_none_or(is_open) { Ok(()) } else { Err(Refusal::Fault(wire::Fault::Later)) }
    }

    fn delivered(&mut self, deposit: &Deposit) {
        if let Some(charge) = deposit.record {
            self.done(std::slice::from_ref(charge));
        }
    }

    fn placed(&mut self, base: &[u8]) -> Option<Placed> {
        let at = self.index.find(base)?;
        Some(Placed { uid_validity: validity(self.index.uid_validity), uid: uid(self.index.entries()[at].uid) })
    }

    /// Moves a draft, or links a file, to its place and notes it.
    fn place(&mut self, deposit: &Deposit, draft: Option<&Path>) -> Result<Placed, Refusal> {
        self.check(deposit)?;
        self.ensure(1, 1)?;
        let marks = self.marks(deposit.flags)?;
        let mut path = Vec::with_capacity(maildir::limits::FILE_NAME);
        let place = if marks == maildir::Marks::default() { Place::New } else { Place::Cur };
        path.extend_from_slice(place.dir().as_bytes());
        path.push(b'/');
        path.extend_from_slice(deposit.base.as_bytes());
        if place == Place::Cur {
            marks.print(b"", &mut path);
        }
        let path = below(self.dir(), &path);
        let before = self.before(place).map_err(|e| trouble("stat", self.dir(), &e))?;
        let disk = self.disk();
        let moved = match (draft, deposit.content) {
            (Some(draft), _) => disk.rename(draft, &path),
            (None, Content::Link(from)) => link_or_copy(disk, from, &path, self.dir(), deposit.base),
            (None, Content::Bytes(_)) => unreachable!("bytes were written into a draft"),
        };
        moved.map_err(|e| trouble("move", &path, &e))?;
        // The time of the file stands in for the internal date when the index is lost.
        let written_s = seconds_of(deposit.base);
        if (deposit.date.seconds - written_s).abs() > 60
            && let Err(error) = disk.set_modified(&path, deposit.date.seconds)
        {
            tracing::warn!(path = %path.display(), %error, "the date is in the index only");
        }
        let uid_now = self.index.uid_next;
        let mod_seq = self.next_mod_seq();
        let blob = deposit.structure.map_or(Blob::default(), |s| self.keep_structure(uid_now, s));
        let facts = Facts { size: deposit.size, wire: deposit.wire, date: deposit.date.seconds, zone: deposit.date.zone, blob };
        let bits = bits(marks, if place == Place::New { b"" } else { b":2," }, place);
        let bits = bits.set(Bits::ODD, false).set(Bits::SIZED, true).set(Bits::DATED, true);
        self.put(&Record::Add(Add { uid: uid_now, mod_seq, marks, bits, facts, base: deposit.base.as_bytes(), info: odd(bits, b"") }));
        self.total = self.total.saturating_add(deposit.size);
        self.is_back(deposit.base.as_bytes());
        self.delivered(deposit);
        self.flush();
        self.after(place, before);
        self.count();
        self.ring();
        Ok(Placed { uid_validity: validity(self.index.uid_validity), uid: uid(uid_now) })
    }

    /// Appends a structure to the cache. If the disk does not take it, it is found out again.
    pub fn keep_structure(&mut self, uid: u32, structure: &mime::Structure) -> Blob {
        let mut payload = Vec::with_capacity(1024);
        structure.encode(&mut payload);
        let mut frame = Vec::with_capacity(payload.len() + 12);
        blob_frame(self.index.uid_validity, uid, &payload, &mut frame);
        let path = self.dir().join(CACHE);
        let append = || -> io::Result<u64> {
            let disk = self.disk();
            let file = match disk.open_book(&path, How::Append) {
                // Whatever it is, the name is ours.
                Err(error) if super::account::is_foreign(&error) => {
                    disk.unlink(&path)?;
                    disk.open_book(&path, How::Create)?
                }
                other => other?,
            };
            let at = file.len()?;
            file.append(&frame)?;
            Ok(at)
        };
        match (append(), u32::try_from(frame.len())) {
            (Ok(at), Ok(len)) if len <= limits::BLOB => Blob { at, len },
            (Ok(_), _) => Blob::default(),
            (Err(error), _) => {
                tracing::warn!(path = %path.display(), %error, "a structure could not be kept");
                Blob::default()
            }
        }
    }
}

/// The seconds that a base name of ours begins with.
fn seconds_of(base: &str) -> i64 {
    base.split('.').next().and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// Writes a file in `tmp/`.
fn write_draft(disk: &dyn Disk, dir: &Path, base: &str, pieces: &[&[u8]]) -> io::Result<(PathBuf, Box<dyn File>)> {
    let path = dir.join("tmp").join(base);
    let file = create(disk, dir, &path)?;
    let written = match pieces {
        [one] => file.append(one),
        many => file.append(&many.concat()),
    };
    if let Err(error) = written {
        drop(file);
        // Whatever this says, the first error is the one that counts.
        let _ = disk.unlink(&path);
        return Err(error);
    }
    Ok((path, file))
}

fn create(disk: &dyn Disk, dir: &Path, path: &Path) -> io::Result<Box<dyn File>> {
    match disk.open(path, How::Create) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            // Left by a crash in the middle of the same delivery.
            disk.unlink(path)?;
            disk.open(path, How::Create)
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            if disk.stat(dir).is_err() {
                return Err(e);
            }
            make_maildir(disk, dir)?;
            disk.open(path, How::Create)
        }
        other => other,
    }
}

/// Gives a file another name, or copies it where that cannot be: to another file system, or with too many names already.
pub(super) fn link_or_copy(disk: &dyn Disk, from: &Path, to: &Path, dir: &Path, base: &str) -> io::Result<()> {
    match disk.link(from, to) {
        Err(e) if must_copy(&e) => disk.rename(&copy(disk, from, dir, base)?, to),
        other => other,
    }
}

/// The same for what takes the place of a file: that is there until the other is.
pub(super) fn link_or_copy_over(disk: &dyn Disk, from: &Path, to: &Path, dir: &Path, base: &str) -> io::Result<()> {
    let draft = dir.join("tmp").join(base);
    let linked = match disk.link(from, &draft) {
        // Left by a crash in the middle of the same delivery.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => disk.unlink(&draft).and_then(|()| disk.link(from, &draft)),
        other => other,
    };
    match linked {
        Err(e) if must_copy(&e) => disk.rename(&copy(disk, from, dir, base)?, to),
        other => other.and_then(|()| disk.rename(&draft, to)),
    }
}

fn must_copy(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::CrossesDevices | io::ErrorKind::TooManyLinks | io::ErrorKind::Unsupported)
}

/// A copy in `tmp/`.
fn copy(disk: &dyn Disk, from: &Path, dir: &Path, base: &str) -> io::Result<PathBuf> {
    let draft = dir.join("tmp").join(base);
    let source = disk.open(from, How::Read)?;
    let target = create(disk, dir, &draft)?;
    let mut piece = vec![0; limits::PIECE];
    let mut at = 0;
    loop {
        match source.read_at(&mut piece, at)? {
            0 => break,
            n => {
                target.append(&piece[..n])?;
                at += n as u64;
            }
        }
    }
    // A copy is as durable as what it was made from.
    target.sync()?;
    Ok(draft)
}
