//! Packs: files of records that are written once, from front to back, and never changed.
//!
//! A pack begins with [`MAGIC`]; then come frames as in the log, sealed with the number of the pack and their place in it, and behind them what makes a piece of
//! it again that cannot be read ([`parity`]). What a crash leaves of one that was being written is in no snapshot.

use super::{
    damage,
    parity::{self, Parity},
    state::{Pack, Place},
};
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
    parity: Parity,
    total: u32,
}

impl Writing {
    fn end(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_at(&self.buffer, self.written)?;
        self.parity.add(&self.buffer);
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
                none.insert(Writing { number, file, buffer: MAGIC.to_vec(), written: 0, parity: Parity::default(), total: 0 })
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
        let size = now.written;
        now.file.write_at(&now.parity.trailer(), size)?;
        now.file.sync()?;
        self.done.push((now.number, Pack { total: now.total, size, ..Pack::default() }));
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

/// A pack that is read.
pub struct Reader {
    file: Box<dyn File>,
    number: u32,
    /// Whether a piece had to be made again.
    pub mended: bool,
}

impl Reader {
    /// Opens a pack.
    ///
    /// # Errors
    /// As [`Disk::open`].
    pub fn open(disk: &dyn Disk, dir: &Path, number: u32) -> io::Result<Reader> {
        Reader::open_at(disk, &path(dir, number), number)
    }

    /// The same, whatever its name is.
    ///
    /// # Errors
    /// As [`Disk::open`].
    pub fn open_at(disk: &dyn Disk, path: &Path, number: u32) -> io::Result<Reader> {
        Ok(Reader { file: disk.open(path, How::Read)?, number, mended: false })
    }

    /// Reads the record of an entry.
    ///
    /// # Errors
    /// `InvalidData` if it is damaged and cannot be made again, or none of this entry; or a fault of the disk.
    pub fn read(&mut self, offset: u32, id: u64) -> io::Result<Vec<u8>> {
        let (found, record) = self.frame(u64::from(offset))?;
        if found == id { Ok(record) } else { Err(damaged()) }
    }

    /// Whether all of it is as it was written, of which so many bytes are records.
    ///
    /// # Errors
    /// If it cannot be read, other than for damage.
    pub fn is_whole(&self, len: u64) -> io::Result<bool> {
        parity::is_whole(&*self.file, len)
    }

    /// Gives `each` the id, the place and the bytes of every record that can be read, and says how many bytes cannot.
    ///
    /// # Errors
    /// If the length of the file cannot be read.
    pub fn all(&mut self, each: &mut dyn FnMut(u64, u32, &[u8])) -> io::Result<u64> {
        let end = parity::content(&*self.file).map_or_else(|| self.file.len(), Ok)?;
        let (mut at, mut lost) = (MAGIC.len() as u64, 0);
        while at < end {
            match self.frame(at) {
                Ok((id, record)) => {
                    each(id, at as u32, &record);
                    at += (FRAME_HEAD + record.len()) as u64;
                }
                Err(_) => {
                    let next = self.next_head(at + 1, end);
                    lost += next - at;
                    at = next;
                }
            }
        }
        Ok(lost)
    }

    /// Where the next frame begins at or after `at`.
    fn next_head(&self, mut at: u64, end: u64) -> u64 {
        while at < end {
            let len = (CHUNK as u64).min(end - at) as usize;
            // What the disk does not give has none.
            let bytes = self.direct(at, len).unwrap_or_default();
            let heads = bytes.windows(FRAME_HEAD).zip(at..);
            let found = heads.filter_map(|(head, at)| head.first_chunk().map(|head| (head, at)));
            if let Some((_, found)) = found.into_iter().find(|(head, at)| FrameHead::decode(head, u64::from(self.number), *at).is_some()) {
                return found;
            }
            at += (len.saturating_sub(FRAME_HEAD - 1).max(1)) as u64;
        }
        end
    }

    /// The id and the payload of a frame.
    fn frame(&mut self, at: u64) -> io::Result<(u64, Vec<u8>)> {
        match frame(self.number, at, &|at, len| self.direct(at, len)) {
            Err(error) if damage::is(&error) => {}
            read => return read,
        }
        let made = frame(self.number, at, &|at, len| parity::mended(&*self.file, at, len))?;
        self.mended = true;
        Ok(made)
    }

    fn direct(&self, at: u64, len: usize) -> io::Result<Vec<u8>> {
        // A length is believed only as far as the file goes.
        if self.file.len()?.saturating_sub(at) < len as u64 {
            return Err(damaged());
        }
        let mut bytes = vec![0; len];
        if read_full(&*self.file, &mut bytes, at)? < len { Err(damaged()) } else { Ok(bytes) }
    }
}

fn frame(number: u32, at: u64, get: &dyn Fn(u64, usize) -> io::Result<Vec<u8>>) -> io::Result<(u64, Vec<u8>)> {
    let bytes = get(at, FRAME_HEAD)?;
    let head = bytes.first_chunk().and_then(|bytes| FrameHead::decode(bytes, u64::from(number), at)).ok_or_else(damaged)?;
    if head.kind != Kind::Record {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "a pack of queued messages has what a later version wrote"));
    }
    let payload = get(at + FRAME_HEAD as u64, head.len as usize)?;
    if checksum(&[&payload]) == head.crc { Ok((head.id, payload)) } else { Err(damaged()) }
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a pack of queued messages is damaged")
}
