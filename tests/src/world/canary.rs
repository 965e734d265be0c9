//! A bug, so that somebody sees whether the comparison of the books notices it. Without one it changes nothing.

use crate::disk::Crashing;
use mail::{Address, Recipient};
use sasl::{Denied, Login, Proof};
use smtp::{Loss, Office, Receipt, Refusal, Start, Verdict};
use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};
use storage::{
    disk::{Disk, File, How, Left, Lock, Stat, Volume},
    office,
};
use wire::{Fault, Sink};

/// A bug of a house.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Canary {
    /// Some messages are acknowledged before they are durable, and forgotten.
    Forgets,
    /// Some flushes of the log are left out.
    SkipsFlush,
}

/// An office that may have a bug.
pub struct Clerk {
    /// Who does the work.
    pub office: office::Smtp,
    canary: Option<Canary>,
    count: u32,
}

impl Clerk {
    /// An office that works, or has this bug.
    pub fn new(office: office::Smtp, canary: Option<Canary>) -> Clerk {
        Clerk { office, canary, count: 0 }
    }
}

impl Sink for Clerk {
    fn body(&mut self, bytes: &[u8]) {
        self.office.body(bytes);
    }

    fn is_full(&self) -> bool {
        self.office.is_full()
    }

    fn drain(&mut self) {
        self.office.drain();
    }
}

impl Office for Clerk {
    fn login(&mut self, proof: Proof) -> Result<Login, Denied> {
        self.office.login(proof)
    }

    fn sender(&mut self, sender: Option<Address>, size: Option<u64>) -> Verdict {
        self.office.sender(sender, size)
    }

    fn recipient(&mut self, recipient: Recipient) -> Verdict {
        self.office.recipient(recipient)
    }

    fn open(&mut self, start: Start) -> Result<(), Fault> {
        self.office.open(start)
    }

    fn commit(&mut self) -> Result<Receipt, Refusal> {
        self.count += 1;
        if self.canary == Some(Canary::Forgets) && self.count.is_multiple_of(3) {
            self.office.abandon(Loss::Unfinished);
            return Ok(Receipt { id: "canary".into(), each: Vec::new() });
        }
        self.office.commit()
    }

    fn abandon(&mut self, loss: Loss) {
        self.office.abandon(loss);
    }
}

/// The disk of a house, or one that leaves out some flushes of the log.
pub fn disk(disk: &Crashing, canary: Option<Canary>) -> Arc<dyn Disk> {
    match canary {
        Some(Canary::SkipsFlush) => Arc::new(Lazy { disk: disk.clone(), count: Arc::default() }),
        _ => Arc::new(disk.clone()),
    }
}

struct Lazy {
    disk: Crashing,
    count: Arc<AtomicU32>,
}

impl Disk for Lazy {
    fn open(&self, path: &Path, how: How) -> io::Result<Box<dyn File>> {
        let file = self.disk.open(path, how)?;
        if path.starts_with("/store/spool") { Ok(Box::new(LazyFile { file, count: self.count.clone() })) } else { Ok(file) }
    }

    fn open_left(&self, path: &Path) -> io::Result<(Box<dyn File>, Left)> {
        self.disk.open_left(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.link(from, to)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.disk.unlink(path)
    }

    fn make_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.make_dir(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_dir(path)
    }

    fn list(&self, dir: &Path, each: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        self.disk.list(dir, each)
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        self.disk.stat(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }

    fn volume(&self, path: &Path) -> io::Result<Box<dyn Volume>> {
        self.disk.volume(path)
    }

    fn set_modified(&self, path: &Path, seconds: i64) -> io::Result<()> {
        self.disk.set_modified(path, seconds)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.disk.lock(path)
    }
}

struct LazyFile {
    file: Box<dyn File>,
    count: Arc<AtomicU32>,
}

impl File for LazyFile {
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        self.file.read_at(buf, at)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.file.write_at(bytes, at)
    }

    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        self.file.append(bytes)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn sync(&self) -> io::Result<()> {
        if self.count.fetch_add(1, Ordering::Relaxed) % 3 == 2 { Ok(()) } else { self.file.sync() }
    }
}
