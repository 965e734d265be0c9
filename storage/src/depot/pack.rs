//! Packs: files of records that are written once, from front to back, and never changed.
//!
//! A pack begins with [`MAGIC`]; the rest are frames as in the log, sealed with the number of the pack and their place in it. What a crash leaves of
//! one that was being written is in no snapshot.

use super::state::{Pack, Place};
use crate::{
    disk::{Disk, File, How},
    spool::read_full,
};
use queue::frame::{FRAME_HEAD, FrameHead, Kind, checksum};
use std::{
    io,
    path::{Path, PathBuf},
};

/// The first bytes; the last one is the version of the format.
const MAGIC: [u8; 8] = *b"HIKYPAC\x01";

/// What is written at a time.
const CHUNK: usize = 1 << 20;

pub fn path(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("{number:08x}.pack"))
}

/// The number in a file name.
pub fn number(name: &[u8]) -> Option<u32> {
    let (number, kind) = std::str::from_utf8(name).ok()?.split_once('.')?;
    u32::from_str_radix(number, 16).ok().filter(|_| kind == "pack" && number.len() == 8)
}

/// Writes packs.
pub struct Writer<'a> {
    disk: &'a dyn Disk,
    dir: &'a Path,
    /// Bytes after which another is begun.
    limit: u64,
    next: u32,
    now: Option<Writing>,
    done: Vec<(u32, Pack)>,
}

struct Writing {
    number: u32,
    file: Box<dyn File>,
    buffer: Vec<u8>,
    /// What is before the buffer.
    written: u64,
    total: u32,
}

impl Writing {
    fn end(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_at(&self.buffer, self.written)?;
        self.written = self.end();
        self.buffer.clear();
        Ok(())
    }
}

impl<'a> Writer<'a> {
    /// Nothing is made before the first record comes.
    pub fn new(disk: &'a dyn Disk, dir: &'a Path, limit: u64, next: u32) -> Writer<'a> {
        // A place in a pack has 32 bits.
        Writer { disk, dir, limit: limit.min(1 << 30), next, now: None, done: Vec::new() }
    }

    /// A number that no pack has had.
    pub fn next(&self) -> u32 {
        self.next
    }

    /// Adds a record; says where it is.
    pub fn put(&mut self, id: u64, record: &[u8]) -> io::Result<Place> {
        if self.now.as_ref().is_some_and(|now| now.end() >= self.limit) {
            self.end()?;
        }
        let now = match &mut self.now {
            Some(now) => now,
            none => {
                let number = self.next;
                self.next = number.checked_add(1).ok_or_else(|| io::Error::other("out of numbers for packs"))?;
                let file = self.disk.open(&path(self.dir, number), How::Create)?;
                none.insert(Writing { number, file, buffer: MAGIC.to_vec(), written: 0, total: 0 })
            }
        };
        let offset = now.end();
        let head = FrameHead { len: record.len() as u32, crc: checksum(&[record]), at: offset, id, kind: Kind::Record, durable: None };
        now.buffer.extend_from_slice(&head.encode(u64::from(now.number)));
        now.buffer.extend_from_slice(record);
        now.total += 1;
        if now.buffer.len() >= CHUNK {
            now.flush()?;
        }
        Ok(Place::Pack { number: now.number, offset: offset as u32 })
    }

    fn end(&mut self) -> io::Result<()> {
        let Some(mut now) = self.now.take() else { return Ok(()) };
        now.flush()?;
        now.file.sync()?;
        self.done.push((now.number, Pack { alive: 0, total: now.total, size: now.written, alone: false }));
        Ok(())
    }

    /// Makes all of it durable, and says what was made.
    pub fn finish(&mut self) -> io::Result<Vec<(u32, Pack)>> {
        self.end()?;
        if !self.done.is_empty() {
            self.disk.sync_dir(self.dir)?;
        }
        Ok(std::mem::take(&mut self.done))
    }
}

/// Reads the record of an entry.
pub fn read(disk: &dyn Disk, dir: &Path, number: u32, offset: u32, id: u64) -> io::Result<Vec<u8>> {
    let file = disk.open(&path(dir, number), How::Read)?;
    let head = head(&*file, number, u64::from(offset))?;
    if head.id != id {
        return Err(damaged());
    }
    payload(&*file, &head)
}

/// Takes the id, the place and the bytes of a record.
pub type Each<'a> = dyn FnMut(u64, u32, &[u8]) -> io::Result<()> + 'a;

/// Gives `each` those records of which `wanted` says so.
///
/// # Errors
/// `InvalidData` if it is damaged, after what could be read.
pub fn scan(disk: &dyn Disk, dir: &Path, number: u32, wanted: &dyn Fn(u64, u32) -> bool, each: &mut Each<'_>) -> io::Result<()> {
    let file = match disk.open(&path(dir, number), How::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(damaged()),
        opened => opened?,
    };
    let len = file.len()?;
    let mut at = MAGIC.len() as u64;
    while at < len {
        let head = head(&*file, number, at)?;
        if wanted(head.id, at as u32) {
            each(head.id, at as u32, &payload(&*file, &head)?)?;
        }
        at = head.next();
    }
    Ok(())
}

fn head(file: &dyn File, number: u32, at: u64) -> io::Result<FrameHead> {
    let mut bytes = [0; FRAME_HEAD];
    let n = read_full(file, &mut bytes, at)?;
    match FrameHead::decode(&bytes, u64::from(number), at).filter(|_| n == FRAME_HEAD) {
        Some(head) if head.kind == Kind::Record => Ok(head),
        Some(_) => Err(io::Error::new(io::ErrorKind::Unsupported, "a pack of queued messages has what a later version wrote")),
        None => Err(damaged()),
    }
}

fn payload(file: &dyn File, head: &FrameHead) -> io::Result<Vec<u8>> {
    let at = head.at + FRAME_HEAD as u64;
    // A length is believed only as far as the file goes.
    if file.len()?.saturating_sub(at) < u64::from(head.len) {
        return Err(damaged());
    }
    let mut bytes = vec![0; head.len as usize];
    if read_full(file, &mut bytes, at)? < bytes.len() || checksum(&[&bytes]) != head.crc {
        return Err(damaged());
    }
    Ok(bytes)
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a pack of queued messages is damaged")
}
