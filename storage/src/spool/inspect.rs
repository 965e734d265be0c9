//! Looking at a spool without touching it: for the command line, also while a server runs.

use super::{Aside, Lsn, aside, large, mend, recover, scan::scan};
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
    /// Segments that were put aside because they were damaged.
    pub aside: Vec<Aside>,
}

/// Gives `each` every record that can be read, in order, and says how the whole is. A running server may be writing meanwhile: then what it
/// has just begun may be missing, and `damage` may be reported for a segment that it released during the walk; look again.
///
/// # Errors
/// If the files cannot be read.
pub fn inspect(disk: &dyn Disk, dir: &Path, each: &mut dyn FnMut(Seen<'_>)) -> io::Result<Report> {
    let files = recover::list(disk, dir)?;
    let log = recover::examine(disk, dir, &files.live)?;
    let mut damage: Vec<String> = log.lost.iter().map(|number| format!("segment {number:016x} has no head that can be read")).collect();
    let mut ids = BTreeSet::new();
    for found in &log.found {
        let number = found.head.number;
        if found.head_damaged {
            damage.push(format!("segment {number:016x}: its head is damaged, and can be read all the same"));
        }
        let mut gone = Vec::new();
        scan(&*found.file, &found.head, found.limit, &mut |frame, record| {
            match mend::lost(frame, log.mark) {
                0 => {}
                bytes => gone.push(format!("segment {number:016x}: {bytes} bytes from {:#x} were damaged at an earlier start", frame.at)),
            }
            if frame.kind == Kind::Record {
                let live = frame.at >= log.mark;
                if live {
                    ids.insert(frame.id);
                }
                each(Seen { at: frame.at, id: frame.id, live, record });
            }
        })?;
        damage.append(&mut gone);
    }
    for found in log.wanted() {
        for hole in found.holes.iter().filter(|hole| hole.damage && hole.to > log.mark) {
            damage.push(format!("segment {:016x}: {} bytes from {:#x} cannot be read", found.head.number, hole.to - hole.from, hole.from));
        }
    }
    if log.mark > log.end {
        damage.push("the log ends before what was released".to_owned());
    }
    let mut report = Report {
        segments: log.found.len(),
        spares: files.spare.len(),
        runs: log.run,
        mark: log.mark,
        end: log.end,
        damage,
        aside: aside(disk, dir)?,
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
