//! Reading a segment from front to back, also past what is broken.
//!
//! Whoever wrote a frame knew how far before it the log was durable. That tells the two reasons apart why a frame cannot be read: a write that a crash
//! cut short, which nobody was promised, and damage. A frame proves by its head that it belongs to its place in its segment, so those that are
//! whole are found behind a break too.

use super::{
    Lsn,
    segment::{CHUNK, read_full},
};
use crate::disk::File;
use queue::frame::{FRAME_HEAD, FrameHead, Kind, SEGMENT_HEAD, SegmentHead, checksum};
use std::io;

/// What a disk says of a sector that it cannot read.
pub(super) const EIO: i32 = rustix::io::Errno::IO.raw_os_error();

/// The least that a disk reads.
const SECTOR: usize = 512;

/// A part of the log that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hole {
    pub from: Lsn,
    /// Where a frame is whole again, or where the segment ended.
    pub to: Lsn,
    /// It was durable: this is damage. Otherwise it may be what a crash left.
    pub damage: bool,
}

/// How a segment was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Scanned {
    /// Where it ends, holes included.
    pub end: Lsn,
    pub holes: Vec<Hole>,
}

/// Gives `each` every whole frame up to `limit`, which is where the next segment begins; of the last segment, up to where nothing more is found.
///
/// # Errors
/// If it cannot be read, or has a frame of a later version: that is no damage, and nothing behind it can be understood.
pub fn scan(file: &dyn File, head: &SegmentHead, limit: Option<Lsn>, each: &mut dyn FnMut(&FrameHead, &[u8])) -> io::Result<Scanned> {
    let mut window = Window { file, bytes: Vec::new(), at: 0 };
    let bound = limit.unwrap_or(Lsn::MAX);
    let (mut at, mut broken, mut holes) = (head.base, None, Vec::new());
    // The furthest place that some frame knows to be durable, and where the last such frame is.
    let (mut durable, mut witness) = (head.base, head.base);
    while at < bound {
        let offset = at - head.base + SEGMENT_HEAD as u64;
        let frame = window.get(offset, FRAME_HEAD)?.and_then(|bytes| FrameHead::decode(bytes.first_chunk()?, head.salt, at));
        if let Some(frame) = frame {
            if let Kind::Other(kind) = frame.kind {
                let text = format!("segment {:016x} has a frame of kind {kind} at {at:#x}, which a later version wrote", head.number);
                return Err(io::Error::new(io::ErrorKind::Unsupported, text));
            }
            if frame.durable.is_some_and(|place| place > durable) {
                (durable, witness) = (frame.durable.unwrap_or(durable), at);
            }
            if frame.next() <= bound
                && let Some(payload) = window.get(offset + FRAME_HEAD as u64, frame.len as usize)?
                && checksum(&[payload]) == frame.crc
            {
                if let Some(from) = broken.take() {
                    holes.push(Hole { from, to: at, damage: false });
                }
                each(&frame, payload);
                at = frame.next();
                continue;
            }
        }
        broken.get_or_insert(at);
        match window.search(head, at + 1, bound)? {
            Some(found) => at = found,
            None => break,
        }
    }
    let mut end = broken.unwrap_or(at);
    if let (Some(from), Some(to)) = (broken, limit.or_else(|| broken.filter(|from| durable > *from).map(|_| witness))) {
        holes.push(Hole { from, to, damage: true });
        end = to;
    }
    for hole in &mut holes {
        hole.damage |= limit.is_some() || durable > hole.from;
    }
    Ok(Scanned { end, holes })
}

/// As [`read_full`], but what the disk cannot read is zeros: that is no frame, and what lies behind it is found. Sector by sector, so that no more is missing
/// than has to be.
pub(super) fn read_or_zeros(file: &dyn File, buf: &mut [u8], at: u64) -> io::Result<usize> {
    match read_full(file, buf, at) {
        Err(error) if error.raw_os_error() == Some(EIO) => tracing::error!(%error, at, "the log cannot be read here"),
        other => return other,
    }
    let mut filled = 0;
    for sector in buf.chunks_mut(SECTOR) {
        match read_full(file, sector, at + filled as u64) {
            Ok(n) => {
                filled += n;
                if n < sector.len() {
                    break;
                }
            }
            Err(error) if error.raw_os_error() == Some(EIO) => {
                sector.fill(0);
                filled += sector.len();
            }
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// A piece of a file that is read from front to back.
struct Window<'a> {
    file: &'a dyn File,
    bytes: Vec<u8>,
    at: u64,
}

impl Window<'_> {
    /// `n` bytes from `offset`, if the file has them.
    fn get(&mut self, offset: u64, n: usize) -> io::Result<Option<&[u8]>> {
        let inside = |w: &Window<'_>| offset >= w.at && offset + n as u64 <= w.at + w.bytes.len() as u64;
        if !inside(self) {
            let rest = self.file.len()?.saturating_sub(offset);
            if rest < n as u64 {
                return Ok(None);
            }
            self.bytes.resize(rest.min(n.max(CHUNK) as u64) as usize, 0);
            self.at = offset;
            let filled = read_or_zeros(self.file, &mut self.bytes, offset)?;
            self.bytes.truncate(filled);
        }
        let from = (offset - self.at) as usize;
        Ok(self.bytes.get(from..from + n))
    }

    /// The next place from `from` on, before `bound`, where the head of a frame is.
    fn search(&mut self, head: &SegmentHead, from: Lsn, bound: Lsn) -> io::Result<Option<Lsn>> {
        /// So many bytes that are all zero are passed over at once.
        const NOTHING: [u8; 4096] = [0; 4096];
        let mut at = from;
        loop {
            let offset = at - head.base + SEGMENT_HEAD as u64;
            let rest = self.file.len()?.saturating_sub(offset);
            if at >= bound || rest < FRAME_HEAD as u64 {
                return Ok(None);
            }
            let Some(bytes) = self.get(offset, rest.min(CHUNK as u64) as usize)? else { return Ok(None) };
            let mut here = 0;
            while let Some(raw) = bytes.get(here..).and_then(|rest| rest.first_chunk::<FRAME_HEAD>()) {
                let place = at + here as u64;
                if place >= bound {
                    return Ok(None);
                }
                if raw[0] == 0 && bytes[here..].starts_with(&NOTHING) {
                    // A head is not all zeros, so none begins before the last few of them.
                    here += NOTHING.len() - FRAME_HEAD + 1;
                    continue;
                }
                if raw[8..16] == place.to_le_bytes() && FrameHead::decode(raw, head.salt, place).is_some() {
                    return Ok(Some(place));
                }
                here += 1;
            }
            if here == 0 {
                return Ok(None);
            }
            at += here as u64;
        }
    }
}
