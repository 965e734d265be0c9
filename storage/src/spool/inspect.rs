//! Looking at a spool without touching it: for the command line, also while a server runs.

use super::{Lsn, large, recover, segment};
use crate::disk::Disk;
use queue::frame::Kind;
use std::{collections::BTreeSet, io, path::Path};

/// A record that was seen.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// Where it is.
    pub at: Lsn,
    /// The id of its entry.
    pub id: u64,
    /// Whether a server that started now would replay it.
    pub live: bool,
    /// The record.
    pub record: &'a [u8],
}

/// What the whole looks like.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Segments of the log.
    pub segments: usize,
    /// Segments in reserve.
    pub spares: usize,
    /// How often it has been opened.
    pub runs: u64,
    /// Everything before this place is released.
    pub mark: Lsn,
    /// Where the log ends.
    pub end: Lsn,
    /// Large messages that a live record has, and their bytes.
    pub large: (usize, u64),
    /// Large messages that no live record has: to be removed.
    pub garbage: usize,
    /// What is wrong, in words: bytes that were durable and cannot be read.
    pub damage: Vec<String>,
}

/// Gives `each` every record that can be read, in order, and says how the whole is. A running server may be writing meanwhile: then what it
/// has just begun may be missing, and `damage` may be reported for a segment that it released during the walk; look again.
///
/// # Errors
/// If the files cannot be read.
pub fn inspect(disk: &dyn Disk, dir: &Path, each: &mut dyn FnMut(Seen<'_>)) -> io::Result<Report> {
    let files = recover::list(disk, dir)?;
    let log = recover::examine(disk, dir, &files.live)?;
    let mut ids = BTreeSet::new();
    for found in &log.found {
        segment::scan(&*found.file, &found.head, found.limit.unwrap_or(u64::MAX), &mut |frame, record| {
            if frame.kind == Kind::Record {
                let live = frame.at >= log.mark;
                if live {
                    ids.insert(frame.id);
                }
                each(Seen { at: frame.at, id: frame.id, live, record });
            }
        })?;
    }
    let damage = log.wanted().filter(|f| f.limit.is_some_and(|limit| f.end < limit)).map(|f| {
        let limit = f.limit.unwrap_or(f.end);
        format!("segment {:016x}: {} bytes from {:#x} cannot be read", f.head.number, limit - f.end, f.end)
    });
    let mut report = Report {
        segments: log.found.len(),
        spares: files.spare.len(),
        runs: log.run,
        mark: log.mark,
        end: log.end,
        damage: damage.collect(),
        ..Report::default()
    };
    let mut names = Vec::new();
    disk.list(&large::dir(dir), &mut |name| names.extend(large::id(name)))?;
    for id in names {
        if ids.contains(&id) {
            report.large.0 += 1;
            report.large.1 += disk.stat(&large::path(dir, id))?.len;
        } else {
            report.garbage += 1;
        }
    }
    Ok(report)
}
