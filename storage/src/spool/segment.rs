//! The files of the log.
//!
//! `<number>.log` is a part of the log; `<number>.free` is a file in reserve, whatever is in it; `<number>.new` was being made when the server stopped.
//! Numbers are 16 hexadecimal digits. Segments are as long as they will ever be before the first record goes in, so that a flush never has to
//! write the file's length, and are renamed for another use rather than removed.

use super::Lsn;
use crate::disk::{Disk, File, How};
use queue::frame::{FRAME_HEAD, Found as Head, FrameHead, Kind, SEGMENT_HEAD, SegmentHead, checksum};
use std::{
    io,
    path::{Path, PathBuf},
};

/// What a new file is filled with at a time, and what is read of a segment at a time.
pub(super) const CHUNK: usize = 1 << 20;

/// A segment of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    pub number: u64,
    /// Where in the log it begins.
    pub base: Lsn,
    pub salt: u64,
    /// The least id of any record in it.
    pub least_id: u64,
}

/// The segments there are. The last one is being written.
#[derive(Debug)]
pub struct Segments {
    pub list: Vec<Segment>,
    /// Files in reserve, by number.
    pub spares: Vec<u64>,
    /// The next number.
    pub next: u64,
    /// Where salts come from.
    pub dice: fastrand::Rng,
}

impl Segments {
    /// A number for a new file.
    pub fn number(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    /// Takes those out that lie wholly before `mark`, and says their numbers.
    pub fn take_dead(&mut self, mark: Lsn) -> Vec<u64> {
        let dead = self.list.windows(2).take_while(|pair| pair[1].base <= mark).count();
        self.list.drain(..dead).map(|s| s.number).collect()
    }

    /// The segment that holds the record at `at`.
    pub fn find(&self, at: Lsn) -> Option<Segment> {
        self.list.iter().rev().find(|s| s.base <= at).copied()
    }

    /// Whether a record with this id may be in one of them.
    pub fn may_hold(&self, id: u64) -> bool {
        self.list.iter().any(|s| s.least_id <= id)
    }

    /// A record with this id is about to be in the last one.
    pub fn note(&mut self, id: u64) {
        if let Some(last) = self.list.last_mut() {
            last.least_id = last.least_id.min(id);
        }
    }
}

/// The segment that is being written.
pub struct Tail {
    pub file: Box<dyn File>,
    pub salt: u64,
    /// Where in the file the next frame goes.
    pub offset: u64,
}

pub fn live(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:016x}.log"))
}

pub fn spare(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:016x}.free"))
}

pub fn unfinished(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:016x}.new"))
}

/// Whether this says that there is no room.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Makes a file in reserve. Its bytes are durable, its name need not be.
pub fn blank(disk: &dyn Disk, dir: &Path, number: u64, size: u64) -> io::Result<()> {
    let path = unfinished(dir, number);
    let file = disk.open(&path, How::Create)?;
    let zeros = vec![0; CHUNK.min(size as usize)];
    let filled = (0..size).step_by(CHUNK).try_for_each(|at| file.write_at(&zeros[..zeros.len().min((size - at) as usize)], at));
    if let Err(error) = filled.and_then(|()| file.sync()) {
        drop(file);
        // Most likely the disk is full, and this file is a good part of why.
        return Err(disk.unlink(&path).err().unwrap_or(error));
    }
    disk.rename(&path, &spare(dir, number))
}

/// Makes the file in reserve `from` the segment that `head` describes. Durable on return.
pub fn begin(disk: &dyn Disk, dir: &Path, from: u64, head: &SegmentHead) -> io::Result<Tail> {
    let path = spare(dir, from);
    let file = disk.open(&path, How::Write)?;
    file.write_at(&head.encode(), 0)?;
    // A segment whose name is there has a head that can be read, always: recovery takes anything else for damage.
    file.sync()?;
    disk.rename(&path, &live(dir, head.number))?;
    disk.sync_dir(dir)?;
    Ok(Tail { file, salt: head.salt, offset: SEGMENT_HEAD as u64 })
}

/// Gives a segment in which nothing is yet another head. Durable on return. A crash leaves the old one or the new one: there are two copies, and a write
/// that is cut short spoils one of them.
pub fn begin_again(disk: &dyn Disk, dir: &Path, head: &SegmentHead) -> io::Result<Tail> {
    let file = disk.open(&live(dir, head.number), How::Write)?;
    file.write_at(&head.encode(), 0)?;
    file.sync()?;
    Ok(Tail { file, salt: head.salt, offset: SEGMENT_HEAD as u64 })
}

/// Reads the head of a segment.
pub fn head(file: &dyn File) -> io::Result<Head> {
    let mut bytes = [0; SEGMENT_HEAD];
    Ok(if read_full(file, &mut bytes, 0)? == SEGMENT_HEAD { SegmentHead::find(&bytes) } else { Head::Lost })
}

/// Makes durable what was read of the last segment, up to `end`.
///
/// After a kill the system still holds what was written and not flushed. What recovery acts upon must not be lost by a power cut that comes
/// later, or numbers that were given out would be given out again. A flush is not enough: one may have failed before, and then the system holds the
/// bytes and thinks that the disk has them too. So they are written again, as they are.
pub fn rewrite(disk: &dyn Disk, dir: &Path, head: &SegmentHead, end: Lsn) -> io::Result<()> {
    let file = disk.open(&live(dir, head.number), How::Write)?;
    // A hole at its end may lead beyond the file.
    let len = (end - head.base + SEGMENT_HEAD as u64).min(file.len()?);
    let mut bytes = vec![0; CHUNK.min(len as usize)];
    let mut at = 0;
    while at < len {
        let n = bytes.len().min((len - at) as usize);
        if super::scan::read_or_zeros(&*file, &mut bytes[..n], at)? < n {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        file.write_at(&bytes[..n], at)?;
        at += n as u64;
    }
    file.sync()
}

/// Reads one record of a segment.
pub fn read(file: &dyn File, segment: &Segment, at: Lsn) -> io::Result<Vec<u8>> {
    let offset = at - segment.base + SEGMENT_HEAD as u64;
    let mut bytes = [0; FRAME_HEAD];
    if read_full(file, &mut bytes, offset)? < FRAME_HEAD {
        return Err(io::ErrorKind::NotFound.into());
    }
    let frame = FrameHead::decode(&bytes, segment.salt, at).filter(|f| f.kind == Kind::Record).ok_or(io::ErrorKind::NotFound)?;
    let room = file.len()?.saturating_sub(offset + FRAME_HEAD as u64);
    if u64::from(frame.len) > room {
        return Err(io::ErrorKind::NotFound.into());
    }
    let mut payload = vec![0; frame.len as usize];
    let n = read_full(file, &mut payload, offset + FRAME_HEAD as u64)?;
    if n < payload.len() || checksum(&[&payload]) != frame.crc {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(payload)
}

/// Fills `buf`, or as much of it as the file has.
pub(crate) fn read_full(file: &dyn File, buf: &mut [u8], at: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buf.len() {
        match file.read_at(&mut buf[filled..], at + filled as u64)? {
            0 => break,
            n => filled += n,
        }
    }
    Ok(filled)
}
