//! What can still be read of segments that were put aside.

use super::{Lsn, Spool, mend, scan, segment};
use crate::disk::{Disk, File, How};
use queue::frame::{FRAME_HEAD, Found as Head, Kind, SEGMENT_HEAD, checksum};
use std::{collections::BTreeMap, io, path::Path};

/// What stands behind the dot in the name of a segment that was put aside.
pub(super) const ASIDE: &str = "damaged";

/// A segment that was put aside because it was damaged. It stays until somebody removes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aside {
    /// The name of its file in the directory of the spool.
    pub name: String,
    /// Its bytes.
    pub bytes: u64,
}

/// The number of the segment whose file has this name, if it was put aside.
pub(super) fn number(name: &str) -> Option<u64> {
    let (number, count) = name.strip_suffix(ASIDE)?.strip_suffix('.')?.split_once('-')?;
    let digits = count.bytes().all(|b| b.is_ascii_digit()) && number.len() == 16;
    u64::from_str_radix(number, 16).ok().filter(|_| digits)
}

/// Segments that were put aside, in order.
///
/// # Errors
/// If the directory cannot be read.
pub fn aside(disk: &dyn Disk, dir: &Path) -> io::Result<Vec<Aside>> {
    let mut names = Vec::new();
    disk.list(dir, &mut |name| names.extend(std::str::from_utf8(name).ok().filter(|name| number(name).is_some()).map(str::to_owned)))?;
    names.sort_unstable();
    let facts = names.into_iter().filter_map(|name| match disk.stat(&dir.join(&name)) {
        // Removed meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        stat => Some(stat.map(|stat| Aside { name, bytes: stat.len })),
    });
    facts.collect()
}

/// Whether this is what comes of a record that the disk has no more: a sector that cannot be read, or other bytes than were written.
pub fn is_damage(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) || error.raw_os_error() == Some(scan::EIO)
}

impl Spool {
    /// The number of the segment that holds the record at `at`.
    pub fn segment(&self, at: Lsn) -> Option<u64> {
        self.state().segments.find(at).map(|segment| segment.number)
    }

    /// Puts a copy of the segment aside that holds the record at `at`, for an operator: the record cannot be read any more. Let nobody release it meanwhile.
    ///
    /// # Errors
    /// If it cannot be copied.
    pub fn put_aside(&self, at: Lsn) -> io::Result<()> {
        let number = self.segment(at).ok_or(io::ErrorKind::NotFound)?;
        let segment = format!("{number:016x}");
        match self.disk.stat(&segment::live(&self.dir, number)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                tracing::error!(segment, "a segment of the log is gone, so that nothing of it can be put aside");
                return Ok(());
            }
            _ => mend::put_aside(&*self.disk, &self.dir, number, false)?,
        }
        tracing::error!(
            segment,
            "a copy of a segment of the log is put aside, for it has what cannot be read: see `hikyaku spool salvage`"
        );
        Ok(())
    }
}

/// Gives `each` the place, the id and the bytes of every record that can be read of a segment, and says how many bytes cannot.
///
/// # Errors
/// If the file cannot be read.
pub fn salvage(disk: &dyn Disk, path: &Path, each: &mut dyn FnMut(Lsn, u64, &[u8])) -> io::Result<u64> {
    let file = disk.open(path, How::Read)?;
    match segment::head(&*file)? {
        Head::Whole(head) | Head::Damaged(head) => {
            let scanned = scan::scan(&*file, &head, None, &mut |frame, payload| {
                if frame.kind == Kind::Record {
                    each(frame.at, frame.id, payload);
                }
            })?;
            Ok(scanned.holes.iter().map(|hole| hole.to - hole.from).sum())
        }
        Head::Later(version) => {
            Err(io::Error::new(io::ErrorKind::Unsupported, format!("a segment of version {version}, which is not known here")))
        }
        Head::Lost => unsealed(&*file, each),
    }
}

/// Without the head nothing tells frames of this use of the file from those of an earlier one, or from what somebody sent. For a person to look at.
fn unsealed(file: &dyn File, each: &mut dyn FnMut(Lsn, u64, &[u8])) -> io::Result<u64> {
    let mut bytes = vec![0; usize::try_from(file.len()?).unwrap_or(usize::MAX)];
    let n = segment::read_full(file, &mut bytes, 0)?;
    bytes.truncate(n);
    let (mut at, mut read, mut found) = (SEGMENT_HEAD.min(n), 0, BTreeMap::new());
    while let Some(raw) = bytes.get(at..).and_then(|rest| rest.first_chunk::<FRAME_HEAD>()) {
        let field = |from: usize| u32::from_le_bytes([raw[from], raw[from + 1], raw[from + 2], raw[from + 3]]);
        let (len, crc) = (field(0) as usize, field(4));
        let long = |from: usize| u64::from(field(from)) | u64::from(field(from + 4)) << 32;
        let from = at + FRAME_HEAD;
        let payload = bytes.get(from..from.saturating_add(len)).filter(|payload| raw[24] == 1 && len > 0 && checksum(&[payload]) == crc);
        match payload {
            Some(payload) => {
                found.insert(long(8), (long(16), payload));
                read += FRAME_HEAD + len;
                at = from + len;
            }
            None => at += 1,
        }
    }
    for (place, (id, payload)) in found {
        each(place, id, payload);
    }
    Ok((n - SEGMENT_HEAD.min(n) - read) as u64)
}
