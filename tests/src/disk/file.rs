//! Files of the crashing disk: what is in them now, and what a crash may make of it.

use super::{Crashing, world::World};
use fastrand::Rng;
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use storage::disk::File;

/// The unit that a disk writes.
const SECTOR: usize = 512;

/// The content of a file.
#[derive(Debug, Clone, Default)]
pub struct Content {
    /// As everybody sees it.
    pub now: Arc<Vec<u8>>,
    /// What is durable, before `changes`.
    base: Arc<Vec<u8>>,
    /// Since then, in order.
    changes: Vec<Change>,
}

#[derive(Debug, Clone)]
struct Change {
    what: What,
    state: State,
}

#[derive(Debug, Clone)]
enum What {
    Write { at: usize, bytes: Arc<[u8]> },
    SetLen(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The next sync makes it durable.
    Dirty,
    Durable,
    /// A sync failed: the system thinks that it is clean, but nothing will make it durable any more.
    Lost,
}

impl Content {
    pub fn write(&mut self, at: usize, bytes: &[u8]) {
        put(Arc::make_mut(&mut self.now), at, bytes);
        self.changes.push(Change { what: What::Write { at, bytes: bytes.into() }, state: State::Dirty });
    }

    pub fn set_len(&mut self, len: usize) {
        Arc::make_mut(&mut self.now).resize(len, 0);
        self.changes.push(Change { what: What::SetLen(len), state: State::Dirty });
    }

    /// A byte becomes another one on the disk.
    pub fn flip(&mut self, at: usize, mask: u8) {
        let byte = self.now[at] ^ mask;
        Arc::make_mut(&mut self.now)[at] = byte;
        self.changes.push(Change { what: What::Write { at, bytes: [byte].into() }, state: State::Durable });
    }

    pub fn sync(&mut self) {
        if self.changes.iter().all(|c| c.state != State::Lost) {
            self.base = self.now.clone();
            self.changes.clear();
        } else {
            self.become_of_dirty(State::Durable);
        }
    }

    /// The system could not write what is dirty, and takes it for clean from now on. Whether there was anything.
    pub fn fail_sync(&mut self) -> bool {
        let dirty = self.changes.iter().any(|c| c.state == State::Dirty);
        self.become_of_dirty(State::Lost);
        dirty
    }

    fn become_of_dirty(&mut self, state: State) {
        self.changes.iter_mut().filter(|c| c.state == State::Dirty).for_each(|c| c.state = state);
    }

    /// What a crash leaves. `luck` is the chance of 256 that a write survives.
    pub fn crash(&self, dice: &mut Rng, luck: u8) -> Content {
        if self.changes.is_empty() {
            return self.clone();
        }
        let mut bytes = self.base.to_vec();
        for change in &self.changes {
            let survives = change.state == State::Durable || luck == 255 || dice.u8(..) < luck;
            match &change.what {
                What::SetLen(len) if survives => bytes.resize(*len, 0),
                What::SetLen(_) => {}
                What::Write { at, bytes: new } if survives => put(&mut bytes, *at, new),
                What::Write { at, bytes: new } => tear(&mut bytes, *at, new, dice, luck),
            }
        }
        let bytes = Arc::new(bytes);
        Content { now: bytes.clone(), base: bytes, changes: Vec::new() }
    }
}

/// A write that did not survive whole.
fn tear(bytes: &mut Vec<u8>, at: usize, new: &[u8], dice: &mut Rng, luck: u8) {
    if luck == 0 || new.is_empty() {
        return;
    }
    // The file may have grown all the same.
    if bytes.len() < at + new.len() && dice.bool() {
        let garbage = dice.bool();
        bytes.resize_with(at + new.len(), || if garbage { dice.u8(..) } else { 0 });
    }
    let cut = dice.usize(..=new.len());
    match dice.u8(..4) {
        0 => {}
        1 => put(bytes, at, &new[..cut]),
        2 => put(bytes, at + cut, &new[cut..]),
        _ => {
            let mut from = 0;
            while from < new.len() {
                let to = new.len().min((at + from + SECTOR) / SECTOR * SECTOR - at);
                if dice.bool() {
                    put(bytes, at + from, &new[from..to]);
                }
                from = to;
            }
        }
    }
}

fn put(bytes: &mut Vec<u8>, at: usize, new: &[u8]) {
    if new.is_empty() {
        return;
    }
    if bytes.len() < at + new.len() {
        bytes.resize(at + new.len(), 0);
    }
    bytes[at..at + new.len()].copy_from_slice(new);
}

/// Writes that failed, of a file or of a file system, as Linux counts them: whoever had it open before is told of a failure once, whoever opens it
/// later only if nobody was told yet.
#[derive(Debug, Clone, Copy, Default)]
pub struct Failures {
    count: u64,
    told: bool,
}

impl Failures {
    pub fn add(&mut self) {
        *self = Failures { count: self.count + 1, told: false };
    }

    /// What somebody knows who opens it now.
    pub fn known(&self) -> u64 {
        self.count - u64::from(self.count > 0 && !self.told)
    }

    /// Tells somebody who knows of this many. Whether that is news.
    pub fn tell(&mut self, known: &AtomicU64) -> bool {
        let news = known.swap(self.count, Ordering::Relaxed) != self.count;
        self.told |= news;
        news
    }
}

/// An open file.
pub struct Handle {
    pub disk: Crashing,
    pub ino: usize,
    pub writable: bool,
    /// The failures that whoever has it open knows of.
    pub known: AtomicU64,
}

impl Handle {
    fn write(&self, at: Option<u64>, bytes: &[u8]) -> io::Result<()> {
        assert!(self.writable, "written to a file that was opened to read");
        self.disk.change(|world: &mut World, fault| {
            let file = world.file_mut(self.ino);
            let at = at.map_or(file.now.len(), |at| at as usize);
            match fault {
                // A disk that is full took some of it.
                Some(errno) => {
                    file.write(at, &bytes[..bytes.len() / 2]);
                    Err(io::Error::from_raw_os_error(errno))
                }
                None => {
                    file.write(at, bytes);
                    Ok(())
                }
            }
        })
    }
}

impl File for Handle {
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        let world = self.disk.look();
        let bytes = world.read(self.ino, at as usize, buf.len())?;
        buf[..bytes.len()].copy_from_slice(bytes);
        Ok(bytes.len())
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.write(Some(at), bytes)
    }

    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        self.write(None, bytes)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.change(super::whole(|world| {
            world.file_mut(self.ino).set_len(len as usize);
            Ok(())
        }))
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.look().file(self.ino)?.now.len() as u64)
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.change(|world, fault| match fault {
            Some(errno) => {
                world.fail_sync(self.ino);
                world.failures(self.ino).tell(&self.known);
                Err(io::Error::from_raw_os_error(errno))
            }
            None => {
                world.file_mut(self.ino).sync();
                let failed = world.failures(self.ino).tell(&self.known);
                if failed { Err(world.tells()) } else { Ok(()) }
            }
        })
    }
}
