//! The snapshot: what the queue knew of every parked message, and where its record is.
//!
//! `queue` is replaced as a whole by renaming. It is made of blocks, each a length and a CRC-32 and that many bytes; the first is its head, the last
//! says how many states are between them. Behind them lies what makes a piece again that cannot be read ([`Parity`]). A file with this name was durable before it
//! got it, so whatever cannot be read is damage: `found` says what is done then.

use super::{parity::Parity, state::Pack};
use crate::{
    disk::{Disk, File, How},
    spool::Lsn,
};
use queue::frame::checksum;
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

/// The first bytes; the last one is the version of the format.
pub(super) const MAGIC: [u8; 8] = *b"HIKYQUE\x01";

/// Bytes of a block, about: what is read and checked at a time.
const BLOCK: usize = 1 << 20;

pub fn path(dir: &Path) -> PathBuf {
    dir.join("queue")
}

/// Writes one. Errors come out at the end.
pub struct Writer<'a> {
    disk: &'a dyn Disk,
    dir: &'a Path,
    block: Vec<u8>,
    file: io::Result<Option<Box<dyn File>>>,
    written: u64,
    parity: Parity,
    count: u64,
    /// The greatest id so far.
    last: u64,
}

impl<'a> Writer<'a> {
    /// Nothing is made before the first state comes, or the end.
    pub fn new(disk: &'a dyn Disk, dir: &'a Path, upto: Lsn, next: u32, packs: &BTreeMap<u32, Pack>) -> Writer<'a> {
        let mut writer = Writer { disk, dir, block: Vec::new(), file: Ok(None), written: 0, parity: Parity::default(), count: 0, last: 0 };
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

    /// Adds a state. They come in the order of their ids, so that of those that are lost it is known between which they were.
    pub fn put(&mut self, id: u64, place: u64, large: bool, bytes: &[u8]) {
        debug_assert!(self.last <= id, "{id:x} was put after {:x}", self.last);
        self.last = id;
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
                self.parity.add(piece);
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
            file.write_at(&self.parity.trailer(), self.written)?;
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
