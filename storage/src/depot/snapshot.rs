//! The snapshot: what the queue knew of every parked message, and where its record is.
//!
//! `queue` is replaced as a whole by renaming. It is made of blocks, each a length and a CRC-32 and that many bytes; the first is its head, the last
//! says how many states are between them. A file with this name was durable before it got it, so whatever cannot be read is damage.

use super::{Restore, pack, state::Pack};
use crate::{
    disk::{Disk, File, How},
    spool::{Lsn, read_full},
};
use queue::frame::checksum;
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

/// The first bytes; the last one is the version of the format.
const MAGIC: [u8; 8] = *b"HIKYQUE\x01";

/// Bytes of a block, about: what is read and checked at a time.
const BLOCK: usize = 1 << 20;

/// Before the bytes of a state: id, place, whether there is a large file, length.
const STATE_HEAD: usize = 8 + 8 + 1 + 4;

/// A snapshot as it was found.
#[derive(Default)]
pub struct Snapshot {
    pub upto: Lsn,
    /// The next number for a pack.
    pub next: u32,
    pub packs: BTreeMap<u32, Pack>,
    /// Id and place.
    pub parked: Vec<(u64, u64)>,
    /// Those with a large file.
    pub large: Vec<u64>,
    /// Bytes of the file; none if there is no file.
    pub len: Option<u64>,
}

fn path(dir: &Path) -> PathBuf {
    dir.join("queue")
}

/// Writes one. Errors come out at the end.
pub struct Writer<'a> {
    disk: &'a dyn Disk,
    dir: &'a Path,
    block: Vec<u8>,
    file: io::Result<Option<Box<dyn File>>>,
    written: u64,
    count: u64,
}

impl<'a> Writer<'a> {
    /// Nothing is made before the first state comes, or the end.
    pub fn new(disk: &'a dyn Disk, dir: &'a Path, upto: Lsn, next: u32, packs: &BTreeMap<u32, Pack>) -> Writer<'a> {
        let mut writer = Writer { disk, dir, block: Vec::new(), file: Ok(None), written: 0, count: 0 };
        writer.block.extend_from_slice(&MAGIC);
        writer.block.extend_from_slice(&upto.to_le_bytes());
        writer.block.extend_from_slice(&next.to_le_bytes());
        for (number, pack) in packs.iter().filter(|(_, pack)| pack.alive > 0) {
            writer.block.extend_from_slice(&number.to_le_bytes());
            writer.block.extend_from_slice(&pack.total.to_le_bytes());
            writer.block.extend_from_slice(&pack.size.to_le_bytes());
        }
        writer
    }

    /// Whether nothing was put.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds a state.
    pub fn put(&mut self, id: u64, place: u64, large: bool, bytes: &[u8]) {
        if self.count == 0 {
            self.end_block();
        }
        self.count += 1;
        self.block.extend_from_slice(&id.to_le_bytes());
        self.block.extend_from_slice(&place.to_le_bytes());
        self.block.push(u8::from(large));
        self.block.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        self.block.extend_from_slice(bytes);
        if self.block.len() >= BLOCK {
            self.end_block();
        }
    }

    fn end_block(&mut self) {
        let mut block = std::mem::take(&mut self.block);
        let head = [(block.len() as u32).to_le_bytes(), checksum(&[&block]).to_le_bytes()].concat();
        self.write(&[&head, &block]);
        block.clear();
        self.block = block;
    }

    fn write(&mut self, pieces: &[&[u8]]) {
        let file = std::mem::replace(&mut self.file, Ok(None));
        self.file = file.and_then(|file| {
            let file = match file {
                Some(file) => file,
                None => begin(self.disk, self.dir)?,
            };
            for piece in pieces {
                file.write_at(piece, self.written)?;
                self.written += piece.len() as u64;
            }
            Ok(Some(file))
        });
    }

    /// Makes it the snapshot. Durable on return; says its length.
    pub fn finish(mut self) -> io::Result<u64> {
        if !self.block.is_empty() {
            self.end_block();
        }
        self.block.extend_from_slice(&self.count.to_le_bytes());
        self.end_block();
        if let Some(file) = self.file? {
            file.sync()?;
        }
        self.disk.rename(&unfinished(self.dir), &path(self.dir))?;
        self.disk.sync_dir(self.dir)?;
        Ok(self.written)
    }
}

fn unfinished(dir: &Path) -> PathBuf {
    dir.join("queue.new")
}

/// A file of its own each time: if a flush of the last one failed, nobody knows what is in it.
fn begin(disk: &dyn Disk, dir: &Path) -> io::Result<Box<dyn File>> {
    let path = unfinished(dir);
    match disk.unlink(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    disk.open(&path, How::Create)
}

/// Reads the one there is.
pub fn read(disk: &dyn Disk, dir: &Path, restore: &mut Restore<'_>) -> io::Result<Snapshot> {
    let mut found = Snapshot::default();
    let path = path(dir);
    let file = match disk.open(&path, How::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        opened => opened?,
    };
    let damaged = |at: u64| {
        let text = format!("{} is damaged at {at:#x}: the queue that was in it cannot be read", path.display());
        io::Error::new(io::ErrorKind::InvalidData, text)
    };
    let (mut at, mut count) = (0, 0);
    loop {
        let here = at;
        let block = block(&*file, &mut at)?.ok_or_else(|| damaged(here))?;
        if here == 0 {
            found.head(&block).ok_or_else(|| damaged(here))?;
        } else if let Ok(end) = <[u8; 8]>::try_from(&*block) {
            // No state is as short as that.
            if u64::from_le_bytes(end) != count {
                return Err(damaged(here));
            }
            break;
        } else {
            count += found
                .states(&block, &mut |id, place, state| {
                    restore(id, state, &|| pack::read(disk, dir, (place >> 32) as u32, place as u32, id))
                })
                .ok_or_else(|| damaged(here))?;
        }
    }
    found.len = Some(at);
    Ok(found)
}

/// The block at `at`, which is moved behind it.
fn block(file: &dyn File, at: &mut u64) -> io::Result<Option<Vec<u8>>> {
    let mut head = [0; 8];
    if read_full(file, &mut head, *at)? < head.len() {
        return Ok(None);
    }
    let mut rest = &head[..];
    let (Some(len), Some(crc)) = (take_u32(&mut rest), take_u32(&mut rest)) else { return Ok(None) };
    // A length is believed only as far as the file goes.
    if u64::from(len) > file.len()?.saturating_sub(*at) {
        return Ok(None);
    }
    let mut bytes = vec![0; len as usize];
    let n = read_full(file, &mut bytes, *at + head.len() as u64)?;
    *at += head.len() as u64 + u64::from(len);
    Ok((n == bytes.len() && checksum(&[&bytes]) == crc).then_some(bytes))
}

impl Snapshot {
    fn head(&mut self, block: &[u8]) -> Option<()> {
        let mut rest = block.strip_prefix(&MAGIC)?;
        self.upto = take_u64(&mut rest)?;
        self.next = take_u32(&mut rest)?;
        while !rest.is_empty() {
            let number = take_u32(&mut rest)?;
            let (total, size) = (take_u32(&mut rest)?, take_u64(&mut rest)?);
            self.packs.insert(number, Pack { alive: 0, total, size, alone: false });
        }
        Some(())
    }

    fn states(&mut self, mut rest: &[u8], restore: &mut dyn FnMut(u64, u64, &[u8])) -> Option<u64> {
        let mut count = 0;
        while rest.len() >= STATE_HEAD {
            let (id, place) = (take_u64(&mut rest)?, take_u64(&mut rest)?);
            let (&large, after) = rest.split_first()?;
            rest = after;
            let len = take_u32(&mut rest)? as usize;
            let (bytes, after) = rest.split_at_checked(len)?;
            rest = after;
            if id != 0 {
                self.packs.get_mut(&((place >> 32) as u32))?.alive += 1;
                self.parked.push((id, place));
            }
            if large == 1 {
                self.large.push(id);
            }
            restore(id, place, bytes);
            count += 1;
        }
        rest.is_empty().then_some(count)
    }
}

fn take_u32(rest: &mut &[u8]) -> Option<u32> {
    let (bytes, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(u32::from_le_bytes(*bytes))
}

fn take_u64(rest: &mut &[u8]) -> Option<u64> {
    let (bytes, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(u64::from_le_bytes(*bytes))
}
