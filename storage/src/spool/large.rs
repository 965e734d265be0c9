//! Messages that are too large for a record: files of their own.

use super::Spool;
use crate::disk::{File, How};
use crc32fast::Hasher;
use std::{
    io,
    path::{Path, PathBuf},
};

/// A large message that is being written. If its entry is not committed, its file is garbage.
pub struct Large {
    file: Box<dyn File>,
    disk: std::sync::Arc<dyn crate::disk::Disk>,
    dir: PathBuf,
    size: u64,
    sum: Hasher,
}

impl std::fmt::Debug for Large {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Large").field("size", &self.size).finish_non_exhaustive()
    }
}

impl Large {
    pub(super) fn create(spool: &Spool, id: u64) -> io::Result<Large> {
        let file = spool.disk.open(&path(&spool.dir, id), How::Create)?;
        Ok(Large { file, disk: spool.disk.clone(), dir: dir(&spool.dir), size: 0, sum: Hasher::new() })
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// If they cannot be written. Do not go on with this file then.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.append(bytes)?;
        self.size += bytes.len() as u64;
        self.sum.update(bytes);
        Ok(())
    }

    /// Gives its room back at once: the message is refused. The file itself goes with its entry.
    ///
    /// # Errors
    /// If the disk does not; its garbage is removed all the same.
    pub fn discard(self) -> io::Result<()> {
        self.file.set_len(0)
    }

    /// Bytes so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The CRC-32 of the bytes so far.
    pub fn sum(&self) -> u32 {
        self.sum.clone().finalize()
    }

    /// Makes the file and its name durable, and says its size. Only then may a record name it.
    ///
    /// # Errors
    /// If that fails. Do not try again: a disk that could not write once may say later that it did.
    pub fn finish(self) -> io::Result<u64> {
        self.file.sync()?;
        self.disk.sync_dir(&self.dir)?;
        Ok(self.size)
    }
}

pub fn dir(spool: &Path) -> PathBuf {
    spool.join("large")
}

pub fn path(spool: &Path, id: u64) -> PathBuf {
    dir(spool).join(format!("{id:016x}"))
}

/// The id in a file name.
pub fn id(name: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(name).ok().filter(|t| t.len() == 16)?;
    u64::from_str_radix(text, 16).ok()
}
