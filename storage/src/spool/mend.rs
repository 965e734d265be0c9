//! What is done about a damaged log at a start.
//!
//! First a damaged segment is put aside under a name of its own, which is never used again and never removed here. Then a frame is written over the
//! beginning of each part that cannot be read, which leads on to where the log can be read again. Everything here can be done twice.

use super::{
    Lsn, Options,
    recover::{self, Files, Found, Log},
    salvage::ASIDE,
    scan::Hole,
    segment::{self, CHUNK},
};
use crate::disk::{Disk, How};
use queue::frame::{FRAME_HEAD, FrameHead, Kind, SEGMENT_HEAD, SegmentHead};
use std::{io, path::Path};

/// How far places jump when nobody knows how far the log was: more than any log is long.
const JUMP: u64 = 1 << 40;

/// Makes the log whole again, as far as it can be, and says how it is then.
///
/// # Errors
/// If the disk fails, or it cannot be mended without guessing.
pub fn mend(disk: &dyn Disk, dir: &Path, options: &Options, files: &mut Files, mut log: Log) -> io::Result<Log> {
    let floor = options.floor.max(log.mark);
    // A log that was never begun, or one of which nothing is left.
    let short = log.end < floor && (!log.found.is_empty() || !log.lost.is_empty());
    if log.is_whole() && !short {
        return Ok(Log { end: log.end.max(floor), mark: if log.found.is_empty() { log.mark.max(floor) } else { log.mark }, ..log });
    }
    let last = log.found.last().map_or(0, |last| last.head.number);
    for &number in &log.lost {
        put_aside(disk, dir, number, true)?;
        tracing::error!(
            segment = format!("{number:016x}"),
            "the head of this segment of the log is damaged: it cannot be replayed, and is put aside"
        );
        if number < last {
            // The next one tells where it ended.
            disk.unlink(&segment::live(dir, number))?;
            files.live.retain(|&other| other != number);
        }
    }
    for found in log.found.iter().filter(|found| found.head_damaged) {
        tracing::error!(
            segment = format!("{:016x}", found.head.number),
            "the head of this segment of the log was damaged, and is written again"
        );
        let file = disk.open(&segment::live(dir, found.head.number), How::Write)?;
        file.write_at(&found.head.encode(), 0)?;
        file.sync()?;
    }
    for found in log.wanted().filter(|found| !found.holes.is_empty()) {
        let damage = found.holes.iter().any(|hole| hole.damage);
        if damage {
            put_aside(disk, dir, found.head.number, false)?;
        }
        for hole in &found.holes {
            tell(found, hole);
            patch(disk, dir, options, files, found, hole)?;
        }
    }
    if log.found.is_empty() {
        if options.run == 0 {
            let text = "no segment of the log has a head that can be read, and nothing else tells which ids were in use";
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let end = floor.saturating_add(JUMP);
        (log.end, log.mark, log.gone) = (end, end, options.segment * log.lost.len() as u64);
    } else if let Some(last) = log.found.last()
        && (short || log.lost.iter().any(|&number| number > last.head.number))
    {
        // What was in segments behind it had places as well.
        let end = floor.max(log.end.saturating_add(last.head.size * (1 + log.lost.len() as u64)));
        tracing::error!(at = format!("{:#x}", log.end), "the end of the log is lost");
        patch(disk, dir, options, files, last, &Hole { from: log.end, to: end, damage: true })?;
    }
    for &number in log.lost.iter().filter(|&&number| number >= last) {
        disk.unlink(&segment::live(dir, number))?;
    }
    disk.sync_dir(dir)?;
    let run = log.run + log.lost.len() as u64;
    files.live.retain(|number| !log.lost.contains(number));
    if log.found.is_empty() {
        return Ok(Log { lost: Vec::new(), run, ..log });
    }
    let mended = recover::examine(disk, dir, &files.live)?;
    if !mended.is_whole() || mended.end < floor {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the log is damaged, and cannot be mended"));
    }
    Ok(Log { run: run.max(mended.run), ..mended })
}

fn tell(found: &Found, hole: &Hole) {
    let (segment, at, bytes) = (format!("{:016x}", found.head.number), format!("{:#x}", hole.from), hole.to - hole.from);
    if hole.damage {
        let behind = found.behind;
        tracing::error!(
            segment,
            at,
            bytes,
            behind,
            "the log is damaged: these bytes were durable and cannot be read. `behind` counts records of the segment that were saved behind it; a copy of the \
             segment is put aside, see `hikyaku spool salvage`"
        );
    } else {
        tracing::warn!(segment, at, bytes, "the last write to the log was cut short; what is whole of it is kept");
    }
}

/// Gives a segment another name, or a copy of it if it is used further.
pub fn put_aside(disk: &dyn Disk, dir: &Path, number: u64, whole: bool) -> io::Result<()> {
    let from = segment::live(dir, number);
    for count in 1u32.. {
        let to = dir.join(format!("{number:016x}-{count}.{ASIDE}"));
        match disk.stat(&to) {
            // A start before this one came so far, and no further.
            Ok(_) if same(disk, &from, &to)? => return disk.sync_dir(dir),
            Ok(_) => continue,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        if whole {
            disk.link(&from, &to)?;
        } else {
            let draft = segment::unfinished(dir, number);
            copy(disk, &from, &draft).map_err(|error| {
                let text = format!("segment {number:016x} of the log is damaged, and there is no room for a copy of it: {error}");
                io::Error::new(error.kind(), text)
            })?;
            disk.rename(&draft, &to)?;
        }
        return disk.sync_dir(dir);
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

fn copy(disk: &dyn Disk, from: &Path, to: &Path) -> io::Result<()> {
    let (from, file) = (disk.open(from, How::Read)?, disk.open(to, How::Create)?);
    let (mut bytes, mut at) = (vec![0; CHUNK], 0);
    let copied = loop {
        match super::scan::read_or_zeros(&*from, &mut bytes, at) {
            Ok(0) => break file.sync(),
            Ok(n) => {
                if let Err(error) = file.write_at(&bytes[..n], at) {
                    break Err(error);
                }
                at += n as u64;
            }
            Err(error) => break Err(error),
        }
    };
    drop(file);
    copied.inspect_err(|_| {
        // It is a good part of why the disk is full.
        let _ = disk.unlink(to);
    })
}

fn same(disk: &dyn Disk, a: &Path, b: &Path) -> io::Result<bool> {
    let (a, b) = (disk.open(a, How::Read)?, disk.open(b, How::Read)?);
    let (mut left, mut right, mut at) = (vec![0; CHUNK], vec![0; CHUNK], 0);
    loop {
        let n = super::scan::read_or_zeros(&*a, &mut left, at)?;
        if n != super::scan::read_or_zeros(&*b, &mut right, at)? || left[..n] != right[..n] {
            return Ok(false);
        }
        if n == 0 {
            return Ok(true);
        }
        at += n as u64;
    }
}

/// Has the log go on behind a hole.
fn patch(disk: &dyn Disk, dir: &Path, options: &Options, files: &mut Files, found: &Found, hole: &Hole) -> io::Result<()> {
    let offset = hole.from - found.head.base + SEGMENT_HEAD as u64;
    if offset + FRAME_HEAD as u64 <= found.head.size {
        let file = disk.open(&segment::live(dir, found.head.number), How::Write)?;
        file.write_at(&frame(hole).encode(found.head.salt), offset)?;
        return file.sync();
    }
    // The segment is full: one of its own, between it and the next.
    let number = found.head.number + 1;
    let taken = files.live.iter().chain(&files.spare).chain(&files.unfinished).any(|&other| other == number);
    if taken && files.live.last().is_some_and(|&last| last > found.head.number) {
        let text = format!("segment {:016x} is damaged at its end, and there is no number left for what would mend it", found.head.number);
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    let number = if taken { files.next() } else { number };
    segment::blank(disk, dir, number, options.segment)?;
    let salt = found.head.salt.rotate_left(17) ^ options.seed;
    let head = SegmentHead { number, base: hole.from, salt, size: options.segment, ..found.head };
    let file = disk.open(&segment::spare(dir, number), How::Write)?;
    file.write_at(&[&head.encode()[..], &frame(hole).encode(salt)].concat(), 0)?;
    file.sync()?;
    disk.rename(&segment::spare(dir, number), &segment::live(dir, number))?;
    files.live.push(number);
    files.live.sort_unstable();
    Ok(())
}

fn frame(hole: &Hole) -> FrameHead {
    FrameHead { len: 0, crc: 0, at: hole.from, id: hole.to, kind: Kind::Hole, durable: hole.damage.then_some(hole.from) }
}

/// Bytes of damage that are not released.
pub fn lost(frame: &FrameHead, mark: Lsn) -> u64 {
    if frame.kind == Kind::Hole && frame.durable.is_some() { frame.id.saturating_sub(frame.at.max(mark)) } else { 0 }
}
