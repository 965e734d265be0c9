//! Group commit: one write and one flush for everybody who waits.
//!
//! Whoever commits puts its frame into the queue and is a member of the group that is being filled. If nobody leads, it leads: it takes the whole
//! queue, writes and flushes it without holding the lock, and tells its group. Meanwhile the next group fills; when the leader is done, one of
//! that group's members is woken to lead it. A lone committer never waits for anything but the disk.
//!
//! A jot goes into the queue as well, but nobody waits for it: it goes with the group that comes next.

use super::{
    Lsn, Spool,
    segment::{self, Segment, Segments, Tail},
};
use crate::supervise::guarded;
use queue::frame::{FRAME_HEAD, FrameHead, Kind, SEGMENT_HEAD, SegmentHead, checksum};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Arc, Condvar, MutexGuard, OnceLock, PoisonError},
};

/// Most bytes that wait for a leader. Others wait for room; so the memory of the queue is bounded whatever the number of sessions.
const QUEUE_MAX: usize = 8 << 20;

/// A buffer larger than this is not kept for the next group.
const BUFFER_KEPT: usize = 1 << 20;

/// Most bytes of jots that wait. Whoever jots more waits for the disk, so that one which is too slow, or fails, does not cost memory without end.
const JOTS_MAX: usize = 4 << 20;

/// With so many records a group is worth its flush: a leader that knows of others who are about to commit waits for no more than this.
const COMPANY: usize = 8;

/// After waiting in vain, leaders do not wait for so many groups; twice as many each time, up to this. A peer that takes minutes over its message
/// looks like company that never comes.
const LONELY_MAX: u32 = 256;

/// What room a record may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// What the log has.
    Usual,
    /// Some beyond its limit: the log lets go of more for it, but it is too long for what is in reserve on a full disk.
    More,
    /// That, and what is in reserve on a full disk: it is a removal, or short and makes room.
    Last,
}

/// What all threads share.
pub struct State {
    /// Frames of the group that is being filled. Their heads are sealed by the leader, who knows their places.
    queue: Vec<u8>,
    /// Which of them are jots.
    jots: Vec<Jot>,
    /// Bytes that came before those of the first member: jots of a group that failed.
    before: usize,
    /// Bytes of jots that are not durable, also of those that are being written.
    jotted: usize,
    /// A buffer for the next queue.
    buffer: Vec<u8>,
    group: Arc<Group>,
    /// Members of the group so far.
    members: usize,
    leading: bool,
    /// How many members the leader waits for, if it waits.
    company: Option<usize>,
    /// How many groups go without waiting.
    skip: u32,
    /// How many did after the last time that waiting was in vain.
    lonely: u32,
    /// Where to write; `None` if the log has to go on in a new segment. The leader takes it.
    tail: Option<Tail>,
    /// Everything before this place is durable.
    pub end: Lsn,
    /// Everything before this place is known to be durable by something behind it.
    vouched: Lsn,
    /// Everything before this place is released.
    pub mark: Lsn,
    /// Records that are not delivered: a place which they are not before, and their id.
    pub flight: BTreeSet<(Lsn, u64)>,
    /// Records that wait to be delivered again. Apart from the others, because one may be pinned for one mailbox while it is being delivered to the next.
    pub pinned: BTreeSet<(Lsn, u64)>,
    /// Entries that may still be committed.
    pub open: usize,
    pub segments: Segments,
    /// No segment can be made: what is in reserve is kept for removals and for the next start.
    pub full: bool,
    /// How often making one was put off since that failed.
    pub put_off: u32,
    /// Large messages, and where their record is.
    pub large: BTreeMap<u64, Option<Lsn>>,
    /// Large messages to unlink.
    pub garbage: Vec<u64>,
}

/// Those who share a flush.
#[derive(Default)]
struct Group {
    /// Rung when the outcome is there, or when somebody has to lead this group.
    bell: Condvar,
    outcome: OnceLock<Outcome>,
}

/// A frame in the queue that nobody waits for.
#[derive(Clone, Copy)]
struct Jot {
    offset: usize,
    head: FrameHead,
}

impl Jot {
    fn size(&self) -> usize {
        FRAME_HEAD + self.head.len as usize
    }
}

/// What became of a group.
struct Outcome {
    /// Where it begins, not counting jots of the group before it.
    base: Lsn,
    /// That many bytes of it are durable, counted from there.
    good: usize,
    /// Why no more.
    error: Option<io::Error>,
}

impl State {
    pub fn new(end: Lsn, mark: Lsn, tail: Option<Tail>, segments: Segments) -> State {
        State {
            queue: Vec::new(),
            jots: Vec::new(),
            before: 0,
            jotted: 0,
            buffer: Vec::new(),
            group: Arc::default(),
            members: 0,
            leading: false,
            company: None,
            skip: 0,
            lonely: 0,
            full: tail.is_none(),
            put_off: 0,
            tail,
            end,
            vouched: end,
            mark,
            flight: BTreeSet::new(),
            pinned: BTreeSet::new(),
            open: 0,
            segments,
            large: BTreeMap::new(),
            garbage: Vec::new(),
        }
    }

    pub fn mark_now(&self) -> Lsn {
        [&self.flight, &self.pinned].into_iter().filter_map(|some| some.first()).fold(self.end, |least, &(at, _)| at.min(least))
    }

    /// Adds a frame; returns where it is in the queue.
    fn push(&mut self, head: &FrameHead, pieces: &[&[u8]]) -> usize {
        let offset = self.queue.len();
        self.queue.reserve(FRAME_HEAD + head.len as usize);
        self.queue.extend_from_slice(&head.encode(0));
        pieces.iter().for_each(|piece| self.queue.extend_from_slice(piece));
        offset
    }

    /// Puts jots in front again, whose group failed: nobody waits for them, so nobody else would try them again. They stay before what was jotted or
    /// committed after them.
    fn push_again(&mut self, bytes: &[u8], again: &[Jot]) {
        let mut front = Vec::new();
        let mut jots = Vec::with_capacity(again.len() + self.jots.len());
        for jot in again {
            jots.push(Jot { offset: front.len(), head: jot.head });
            front.extend_from_slice(&jot.head.encode(0));
            front.extend_from_slice(&bytes[jot.offset + FRAME_HEAD..jot.offset + jot.size()]);
        }
        jots.extend(self.jots.iter().map(|jot| Jot { offset: jot.offset + front.len(), head: jot.head }));
        self.jots = jots;
        self.before += front.len();
        front.append(&mut self.queue);
        self.queue = front;
    }

    /// Large messages whose record is released are garbage.
    pub fn release_large(&mut self) {
        let mark = self.mark;
        let dead = self.large.extract_if(.., |_, at| at.is_some_and(|at| at < mark)).map(|(id, _)| id);
        self.garbage.extend(dead);
    }
}

impl Spool {
    /// Commits a record of an entry; returns where it is. The entry is in flight then. `open` says whether the entry is counted among those that
    /// may still be committed, also if this ends in a panic.
    pub(super) fn commit_record(&self, id: u64, pieces: &[&[u8]], open: &mut bool, room: Room) -> io::Result<Lsn> {
        self.commit(Kind::Record, id, pieces, open, room)
    }

    /// Commits a mark. The limit does not hold for it: it is what makes room.
    pub(super) fn commit_mark(&self, mark: Lsn) -> io::Result<()> {
        self.commit(Kind::Mark, 0, &[&mark.to_le_bytes()], &mut false, Room::Last).map(drop)
    }

    /// Appends a record that nobody waits for.
    pub(super) fn jot_record(&self, id: u64, pieces: &[&[u8]], room: Room) -> io::Result<()> {
        let head = self.frame(Kind::Record, id, pieces)?;
        self.unfenced()?;
        let size = FRAME_HEAD + head.len as usize;
        let full = |state: &State| state.jotted + size > JOTS_MAX;
        let mut state = self.state();
        if full(&state) {
            drop(state);
            self.flush_jots()?;
            state = self.state();
        }
        // Jots tell what came of messages that the log holds already, so they have some room beyond what messages have.
        let live = state.end - state.mark + (state.queue.len() + size) as u64;
        if full(&state) || (room != Room::Last && live > self.options.limit + self.options.limit / 8) {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "the spool is full"));
        }
        state.jotted += size;
        let offset = state.push(&head, pieces);
        state.jots.push(Jot { offset, head });
        Ok(())
    }

    /// Makes every jot durable that was made before this.
    pub(super) fn flush_jots(&self) -> io::Result<()> {
        let mut state = self.state();
        if state.jotted == 0 {
            return Ok(());
        }
        // The group that is being filled comes after the one that is being written, and gets its jots if that fails.
        state.members += 1;
        let group = state.group.clone();
        drop(self.see_through(state, &group));
        let outcome = group.outcome.get().expect("the group was led");
        outcome.error.as_ref().map_or(Ok(()), |error| Err(copy(error)))
    }

    /// Writes a mark behind the last group, which says that it was durable, and which the next group is written over. Only a later frame can tell damage
    /// to a group from one that a crash cut short, and after the last group there may be none for days. It costs no flush, and may be lost.
    pub(super) fn vouch_for_last(&self) -> io::Result<()> {
        self.unfenced()?;
        let mut state = self.state();
        if state.leading || state.vouched >= state.end {
            return Ok(());
        }
        let Some(tail) = state.tail.take() else { return Ok(()) };
        let (at, payload) = (state.end, state.mark.to_le_bytes());
        state.leading = true;
        // Nobody's group.
        let mut reign = Reign {
            spool: self,
            group: Arc::default(),
            bytes: Vec::new(),
            jots: Vec::new(),
            before: 0,
            base: at,
            good: 0,
            tail: None,
            error: None,
            over: true,
        };
        drop(state);
        let head = FrameHead { at, durable: Some(at), ..self.frame(Kind::Mark, 0, &[&payload])? };
        let frame = [&head.encode(tail.salt)[..], &payload].concat();
        let written =
            if tail.offset + frame.len() as u64 <= self.options.segment { tail.file.write_at(&frame, tail.offset) } else { Ok(()) };
        reign.tail = Some(tail);
        if written.is_ok() {
            self.state().vouched = at;
        }
        written
    }

    /// The head of a frame whose place is not known yet.
    fn frame(&self, kind: Kind, id: u64, pieces: &[&[u8]]) -> io::Result<FrameHead> {
        let len: usize = pieces.iter().map(|p| p.len()).sum();
        if (len + FRAME_HEAD + SEGMENT_HEAD) as u64 > self.options.segment {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a record larger than a segment"));
        }
        Ok(FrameHead { len: len as u32, crc: checksum(pieces), at: 0, id, kind, durable: None })
    }

    fn commit(&self, kind: Kind, id: u64, pieces: &[&[u8]], open: &mut bool, room: Room) -> io::Result<Lsn> {
        self.unfenced()?;
        let head = self.frame(kind, id, pieces)?;
        let size = FRAME_HEAD + head.len as usize;

        let mut state = self.state();
        // Jots alone do not fill the queue, and nobody would come to make room.
        while state.members > 0 && state.queue.len() + size > QUEUE_MAX {
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let live = state.end - state.mark + (state.queue.len() + size) as u64;
        let limit = if room == Room::Usual { self.options.limit } else { self.options.limit + self.options.limit / 8 };
        if kind == Kind::Record && (live > limit || (state.full && room != Room::Last)) {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "the spool is full"));
        }
        let offset = state.push(&head, pieces) - state.before;
        // The exact place is not known before the group is written, but it is not before what is durable now.
        let bound = state.end;
        if kind == Kind::Record {
            state.open -= 1;
            *open = false;
            state.flight.insert((bound, id));
        }
        state.members += 1;
        let group = state.group.clone();
        if state.company.is_some_and(|wanted| state.members >= wanted) {
            state.company = None;
            self.company.notify_one();
        }
        let mut state = self.see_through(state, &group);

        let outcome = group.outcome.get().expect("the group was led");
        let result = if offset + size <= outcome.good {
            Ok(outcome.base + offset as u64)
        } else {
            Err(copy(outcome.error.as_ref().expect("a group that is not durable says why")))
        };
        if kind == Kind::Record {
            state.flight.remove(&(bound, id));
            match result {
                Ok(at) => {
                    state.flight.insert((at, id));
                }
                Err(_) => {
                    state.open += 1;
                    *open = true;
                }
            }
        }
        result
    }

    /// Returns when the group has its outcome; leads it if nobody else does.
    fn see_through<'a>(&'a self, mut state: MutexGuard<'a, State>, group: &Arc<Group>) -> MutexGuard<'a, State> {
        while group.outcome.get().is_none() {
            state = if state.leading {
                group.bell.wait(state).unwrap_or_else(PoisonError::into_inner)
            } else {
                // Nobody leads and this group has no outcome, so it is the one that is being filled.
                self.lead(state);
                self.state()
            };
        }
        state
    }

    /// Writes the queue and tells its group.
    fn lead(&self, mut state: MutexGuard<'_, State>) {
        state.leading = true;
        state = self.wait_for_company(state);
        let group = std::mem::take(&mut state.group);
        state.members = 0;
        let buffer = std::mem::take(&mut state.buffer);
        let bytes = std::mem::replace(&mut state.queue, buffer);
        let jots = std::mem::take(&mut state.jots);
        let (before, tail) = (std::mem::take(&mut state.before), state.tail.take());
        let mut reign = Reign { spool: self, group, bytes, jots, before, base: state.end, good: 0, tail, error: None, over: false };
        drop(state);
        self.room.notify_all();
        // A panic in there is a fault of the disk to those who wait: each of them knows what to do with its record then.
        let written = guarded("log", || self.write(&mut reign)).unwrap_or_else(|| Err(io::Error::other("the log panicked")));
        if let Err(error) = written {
            // Whether these bytes are on the disk nobody knows, and another flush would not tell: the system may have dropped them and think
            // all is well. So the log goes on elsewhere, and the head of that segment says that it ends before them. If that fails too,
            // the next leader tries.
            reign.error = Some(error);
            reign.tail = guarded("log", || self.begin(reign.base + reign.good as u64).ok()).flatten();
        }
        reign.over = true;
    }

    /// Lets others join the group, if some are about to and that has paid lately.
    fn wait_for_company<'a>(&self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let Some(patience) = self.options.patience else { return state };
        let wanted = COMPANY.min(state.members + state.open);
        if state.members >= wanted {
            return state;
        }
        if state.skip > 0 {
            state.skip -= 1;
            return state;
        }
        state.company = Some(wanted);
        let before = state.members;
        let (mut state, _) =
            self.company.wait_timeout_while(state, patience, |state| state.company.is_some()).unwrap_or_else(PoisonError::into_inner);
        if state.company.take().is_some() && state.members == before {
            state.lonely = (state.lonely * 2).clamp(1, LONELY_MAX);
            state.skip = state.lonely;
        } else {
            state.lonely = 0;
        }
        state
    }

    /// Writes and flushes all frames of a group, in as many segments as it takes.
    fn write(&self, reign: &mut Reign<'_>) -> io::Result<()> {
        self.unfenced()?;
        while reign.good < reign.bytes.len() {
            let mut tail = match reign.tail.take() {
                Some(tail) => tail,
                None => self.begin(reign.base + reign.good as u64)?,
            };
            let room = self.options.segment - tail.offset;
            let part = seal(&mut reign.bytes[reign.good..], reign.base + reign.good as u64, tail.salt, room);
            if part.len > 0 {
                self.state().segments.note(part.least_id);
                tail.file.write_at(&reign.bytes[reign.good..reign.good + part.len], tail.offset)?;
                tail.file.sync()?;
                self.flushes.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                tail.offset += part.len as u64;
                reign.good += part.len;
            }
            if reign.good == reign.bytes.len() {
                reign.tail = Some(tail);
            }
        }
        Ok(())
    }

    /// Goes on in a new segment, which begins at `base`. Durable on return.
    pub(super) fn begin(&self, base: Lsn) -> io::Result<Tail> {
        self.look_at_fence()?;
        let mut state = self.state();
        let number = state.segments.number();
        let salt = state.segments.dice.u64(..);
        // The last ones are for removals and for starts, if no other can be made: only they are let in when the disk is full.
        let spare = if state.full || state.segments.spares.len() >= super::RESERVE { state.segments.spares.pop() } else { None };
        let mark = state.mark;
        drop(state);
        let from = match spare {
            Some(spare) => spare,
            None => match segment::blank(&*self.disk, &self.dir, number, self.options.segment) {
                Ok(()) => number,
                Err(error) if segment::is_full(&error) => {
                    self.state().full = true;
                    return Err(error);
                }
                // Whatever keeps it from being made, there is one.
                Err(error) => self.state().segments.spares.pop().ok_or(error)?,
            },
        };
        let head = SegmentHead { number, base, salt, run: self.run, mark, size: self.options.segment };
        let tail = segment::begin(&*self.disk, &self.dir, from, &head)?;
        self.state().segments.list.push(Segment { number, base, salt, least_id: u64::MAX });
        Ok(tail)
    }
}

/// The time of one leader. However it ends, even by a panic, its group gets an outcome and the next can begin.
struct Reign<'a> {
    spool: &'a Spool,
    group: Arc<Group>,
    bytes: Vec<u8>,
    jots: Vec<Jot>,
    before: usize,
    base: Lsn,
    good: usize,
    tail: Option<Tail>,
    error: Option<io::Error>,
    over: bool,
}

impl Drop for Reign<'_> {
    fn drop(&mut self) {
        let mut state = self.spool.state();
        state.end = self.base + self.good as u64;
        state.tail = self.tail.take().filter(|_| self.over);
        state.leading = false;
        let durable = self.jots.partition_point(|jot| jot.offset + jot.size() <= self.good);
        state.jotted -= self.jots.drain(..durable).map(|jot| jot.size()).sum::<usize>();
        if !self.jots.is_empty() {
            state.push_again(&self.bytes, &self.jots);
        }
        self.bytes.clear();
        if (1..=BUFFER_KEPT).contains(&self.bytes.capacity()) {
            state.buffer = std::mem::take(&mut self.bytes);
        }
        let error = self.error.take().or_else(|| (!self.over).then(|| io::ErrorKind::Other.into()));
        let outcome = Outcome { base: self.base + self.before as u64, good: self.good.saturating_sub(self.before), error };
        assert!(self.group.outcome.set(outcome).is_ok(), "a group has one leader");
        self.group.bell.notify_all();
        if state.members > 0 {
            state.group.bell.notify_one();
        }
    }
}

/// Frames that go into one segment.
struct Part {
    len: usize,
    least_id: u64,
}

/// Seals the heads of as many frames as fit into `room`. Everything before `base` is durable, and each of them says so.
fn seal(bytes: &mut [u8], base: Lsn, salt: u64, room: u64) -> Part {
    let mut part = Part { len: 0, least_id: u64::MAX };
    while let Some(raw) = bytes[part.len..].first_chunk_mut::<FRAME_HEAD>() {
        let mut head = FrameHead::decode(raw, 0, 0).expect("the queue holds frames");
        let end = part.len + FRAME_HEAD + head.len as usize;
        if end as u64 > room {
            break;
        }
        if head.kind == Kind::Record {
            part.least_id = part.least_id.min(head.id);
        }
        head.at = base + part.len as u64;
        head.durable = Some(base);
        *raw = head.encode(salt);
        part.len = end;
    }
    part
}

/// An error for everybody.
fn copy(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}
