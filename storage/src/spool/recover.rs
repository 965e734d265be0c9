//! From the files of the last run to an open spool.

use super::{
    Locked, Options, RUN_BITS, Spool,
    commit::State,
    large, mend, salvage,
    scan::{Hole, scan},
    segment::{self, Segment, Segments, Tail},
};
use crate::disk::{Disk, File, How};
use queue::frame::{Found as Head, Kind, SegmentHead};
use std::{
    collections::BTreeMap,
    io,
    path::Path,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicU64},
    },
};

/// Files of a spool, by number.
#[derive(Default)]
pub struct Files {
    /// Segments of the log, in order.
    pub live: Vec<u64>,
    pub spare: Vec<u64>,
    /// Those that were being made.
    pub unfinished: Vec<u64>,
    /// Those that were put aside.
    pub aside: Vec<u64>,
}

impl Files {
    /// A number that no file has had.
    pub fn next(&self) -> u64 {
        [&self.live, &self.spare, &self.unfinished, &self.aside].into_iter().flatten().max().map_or(1, |n| n + 1)
    }
}

/// A segment as it was found.
pub struct Found {
    pub head: SegmentHead,
    pub file: Box<dyn File>,
    /// Where it says that it ends: the base of a later one. `None` for the last.
    pub limit: Option<u64>,
    /// Where it ends, parts that cannot be read included.
    pub end: u64,
    /// Parts of it that cannot be read.
    pub holes: Vec<Hole>,
    /// Its head is damaged, and could be read all the same.
    pub head_damaged: bool,
    /// Length of the file.
    pub len: u64,
    /// Records behind its first hole.
    pub behind: u64,
    pub least_id: u64,
}

impl Found {
    fn segment(&self) -> Segment {
        Segment { number: self.head.number, base: self.head.base, salt: self.head.salt, least_id: self.least_id }
    }
}

/// The log as it was found.
pub struct Log {
    pub found: Vec<Found>,
    /// Everything before this is released.
    pub mark: u64,
    /// Where it ends.
    pub end: u64,
    /// The greatest number of a run.
    pub run: u64,
    /// Segments whose head cannot be read.
    pub lost: Vec<u64>,
    /// Bytes that are lost and of which no hole tells, because nothing is left of the log around them.
    pub gone: u64,
}

impl Log {
    /// Segments that hold something that is not released.
    pub fn wanted(&self) -> impl Iterator<Item = &Found> {
        self.found.iter().filter(|f| f.head.base < f.limit.unwrap_or(u64::MAX) && f.limit.unwrap_or(u64::MAX) > self.mark)
    }

    /// The last segment, if it is its run's first and came no further than to begin: a new head in it tells all that the old one did.
    fn unused(&self, size: u64) -> Option<u64> {
        let [.., before, last] = &*self.found else { return None };
        (last.end == last.head.base && before.head.run < last.head.run && last.len == size).then_some(last.head.number)
    }

    /// Whether nothing of it that is still wanted is in doubt.
    pub fn is_whole(&self) -> bool {
        self.lost.is_empty() && self.wanted().all(|f| f.holes.is_empty()) && !self.found.iter().any(|f| f.head_damaged)
    }
}

/// Makes the directories and takes the lock.
pub fn lock(disk: Arc<dyn Disk>, dir: &Path) -> io::Result<Locked> {
    for (path, parent) in [(dir, dir.parent()), (&large::dir(dir), Some(dir))] {
        match disk.make_dir(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        // Even if it existed: the run that made it may have died before this.
        if let Some(parent) = parent.filter(|p| !p.as_os_str().is_empty()) {
            disk.sync_dir(parent)?;
        }
    }
    let lock = disk.lock(&dir.join("lock"))?;
    Ok(Locked { disk, dir: dir.into(), lock })
}

pub fn open(locked: Locked, options: Options, replay: &mut dyn FnMut(u64, &[u8])) -> io::Result<Spool> {
    assert!(options.segment >= 4096 && options.segment <= u64::from(u32::MAX), "a segment has 4 KiB to 4 GiB");
    let Locked { disk, dir, lock } = locked;
    let dir = &*dir;
    let mut files = list(&*disk, dir)?;
    for &number in &files.unfinished {
        disk.unlink(&segment::unfinished(dir, number))?;
    }
    let log = examine(&*disk, dir, &files.live)?;
    let log = mend::mend(&*disk, dir, &options, &mut files, log)?;
    let log = Log { run: log.run.max(options.run), ..log };
    if let Some(last) = log.found.last() {
        segment::rewrite(&*disk, dir, &last.head, last.end)?;
    }
    disk.sync_dir(dir)?;
    disk.sync_dir(&large::dir(dir))?;

    let mut segments = Segments { list: Vec::new(), spares: Vec::new(), next: files.next(), dice: fastrand::Rng::with_seed(options.seed) };
    for number in files.spare {
        // The size may have been configured anew, or the crash came before the file was as long as it should be.
        if disk.stat(&segment::spare(dir, number))?.len == options.segment {
            segments.spares.push(number);
        } else {
            disk.unlink(&segment::spare(dir, number))?;
        }
    }
    let tail = begin(&*disk, dir, &options, &log, &mut segments)?;
    let (mut live_ids, mut lost) = (BTreeMap::new(), log.gone);
    for found in log.wanted() {
        scan(&*found.file, &found.head, found.limit, &mut |frame, payload| {
            lost += mend::lost(frame, log.mark);
            if frame.kind == Kind::Record && frame.at >= log.mark {
                live_ids.insert(frame.id, frame.at);
                replay(frame.at, payload);
            }
        })?;
    }
    let mut state = State::new(log.end, log.mark, tail, segments);
    disk.list(&large::dir(dir), &mut |name| {
        if let Some(id) = large::id(name) {
            match live_ids.get(&id) {
                Some(&at) => drop(state.large.insert(id, Some(at))),
                None => state.garbage.push(id),
            }
        }
    })?;
    Ok(Spool {
        disk,
        dir: dir.into(),
        options,
        run: log.run + 1,
        count: AtomicU64::new(0),
        lost,
        fenced: AtomicBool::new(false),
        flushes: AtomicU64::new(0),
        state: Mutex::new(state),
        room: Condvar::new(),
        company: Condvar::new(),
        _lock: lock,
    })
}

/// Every run begins in a segment of its own: it makes the number of the run durable, and says where the log ended. If there is no room for one, the log
/// takes nothing before there is.
fn begin(disk: &dyn Disk, dir: &Path, options: &Options, log: &Log, segments: &mut Segments) -> io::Result<Option<Tail>> {
    assert!(log.run + 1 < 1 << (64 - RUN_BITS), "out of runs");
    let salt = segments.dice.u64(..);
    let head = |number| SegmentHead { number, base: log.end, salt, run: log.run + 1, mark: log.mark, size: options.segment };
    let mut number = segments.number();
    let spare = segments.spares.pop().map_or_else(|| segment::blank(disk, dir, number, options.segment).map(|()| number), Ok);
    let tail = match (spare, log.unused(options.segment)) {
        (Ok(from), _) => segment::begin(disk, dir, from, &head(number))?,
        (Err(error), Some(unused)) if segment::is_full(&error) => {
            number = unused;
            segment::begin_again(disk, dir, &head(number))?
        }
        (Err(error), None) if segment::is_full(&error) => {
            tracing::error!(%error, "the log has no room to go on: nothing is accepted or removed until there is some");
            segments.list = log.found.iter().map(Found::segment).collect();
            return Ok(None);
        }
        (Err(error), _) => return Err(error),
    };
    // Only now is the last segment not needed for its head.
    let wanted: Vec<u64> = log.wanted().filter(|f| f.end > f.head.base && f.end > log.mark).map(|f| f.head.number).collect();
    let mut dead = false;
    for found in log.found.iter().filter(|found| found.head.number != number) {
        let number = found.head.number;
        if wanted.contains(&number) {
            segments.list.push(found.segment());
        } else {
            disk.rename(&segment::live(dir, number), &segment::spare(dir, number))?;
            dead = true;
            if found.len == options.segment {
                segments.spares.push(number);
            }
        }
    }
    if dead {
        disk.sync_dir(dir)?;
    }
    segments.list.push(Segment { number, base: log.end, salt, least_id: u64::MAX });
    Ok(Some(tail))
}

/// The last run that the heads name; nothing if one cannot be read.
pub fn last_run(disk: &dyn Disk, dir: &Path) -> io::Result<Option<u64>> {
    let mut run = 0;
    for number in list(disk, dir)?.live {
        match segment::head(&*disk.open(&segment::live(dir, number), How::Read)?)? {
            Head::Whole(head) | Head::Damaged(head) => run = run.max(head.run),
            Head::Later(_) | Head::Lost => return Ok(None),
        }
    }
    Ok(Some(run))
}

/// Reads all heads, and how far each segment can be read.
pub fn examine(disk: &dyn Disk, dir: &Path, live: &[u64]) -> io::Result<Log> {
    let (mut found, mut lost) = (Vec::new(), Vec::new());
    for &number in live {
        let file = disk.open(&segment::live(dir, number), How::Read)?;
        let later = |what: String| {
            Err(io::Error::new(io::ErrorKind::Unsupported, format!("segment {number:016x} is of {what}, which is not known here")))
        };
        let (head, head_damaged) = match segment::head(&*file)? {
            Head::Whole(head) if head.number == number => (head, false),
            Head::Damaged(head) if head.number == number => (head, true),
            Head::Later(version) => return later(format!("version {version}")),
            Head::Whole(_) | Head::Damaged(_) | Head::Lost => {
                lost.push(number);
                continue;
            }
        };
        let len = file.len()?;
        let end = head.base;
        found.push(Found { head, file, limit: None, end, holes: Vec::new(), head_damaged, len, behind: 0, least_id: u64::MAX });
    }
    // A segment ends where the first later one begins, and no later than any later one: after a failure the log goes on before the bytes in doubt.
    let mut limit = None;
    for f in found.iter_mut().rev() {
        f.limit = limit;
        limit = Some(limit.map_or(f.head.base, |l: u64| l.min(f.head.base)));
    }
    let mut mark = found.iter().map(|f| f.head.mark).max().unwrap_or(0);
    for f in &mut found {
        let (mut places, mut least_id) = (Vec::new(), u64::MAX);
        let scanned = scan(&*f.file, &f.head, f.limit, &mut |frame, payload| match frame.kind {
            Kind::Record => {
                places.push(frame.at);
                least_id = least_id.min(frame.id);
            }
            Kind::Mark => {
                if let Ok(bytes) = payload.try_into() {
                    mark = mark.max(u64::from_le_bytes(bytes));
                }
            }
            Kind::Hole | Kind::Other(_) => {}
        })?;
        f.behind = scanned.holes.first().map_or(0, |hole| places.iter().filter(|&&at| at > hole.from).count() as u64);
        (f.end, f.holes, f.least_id) = (scanned.end, scanned.holes, least_id);
    }
    let end = found.last().map_or(0, |f| f.end);
    let run = found.iter().map(|f| f.head.run).max().unwrap_or(0);
    Ok(Log { found, mark, end, run, lost, gone: 0 })
}

/// The files there are.
pub fn list(disk: &dyn Disk, dir: &Path) -> io::Result<Files> {
    let mut files = Files::default();
    disk.list(dir, &mut |name| {
        let Ok(name) = std::str::from_utf8(name) else { return };
        files.aside.extend(salvage::number(name));
        let Some((number, kind)) = name.split_once('.') else { return };
        let Some(number) = u64::from_str_radix(number, 16).ok().filter(|_| number.len() == 16) else { return };
        match kind {
            "log" => files.live.push(number),
            "free" => files.spare.push(number),
            "new" => files.unfinished.push(number),
            _ => {}
        }
    })?;
    files.live.sort_unstable();
    Ok(files)
}
