//! Reads a snapshot, and what can be had of one that is damaged.
//!
//! A block that cannot be read is made again from the parity behind the snapshot. If that does not do either, for more than one place is damaged, its states are
//! lost; but states lie in the order of their ids, so it is known between which ids, and each record with such an id that is in a pack is of a message that may
//! have been queued. Those are queued again, as when they came: some may be sent twice, and none is lost.

use super::{
    Restore, large_path,
    pack::{self, Reader},
    parity::{self, Parity},
    snapshot::{MAGIC, path},
    state::{NOWHERE, Pack},
};
use crate::{
    disk::{Disk, File, How},
    spool::{Lsn, read_full},
};
use queue::frame::checksum;
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
};

/// A snapshot as it was found.
#[derive(Default)]
pub struct Snapshot {
    pub upto: Lsn,
    /// The next number for a pack.
    pub next: u32,
    pub packs: BTreeMap<u32, Pack>,
    /// Id and place.
    pub parked: Vec<(u64, u64)>,
    /// Those with a large file.
    pub large: Vec<u64>,
    /// Bytes of the file; none if there is no file.
    pub len: Option<u64>,
    pub harm: Harm,
}

/// What is wrong with a snapshot.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Harm {
    /// Places that could not be read and were made again, or only held what makes others again: nothing is lost.
    pub mended: bool,
    /// Between which ids states are lost, these not among them.
    pub gaps: Vec<(u64, u64)>,
    /// The head is lost too: up to where in the log the states were true, and which packs there are.
    pub headless: bool,
    /// Messages that are queued again because their states are lost.
    pub again: usize,
    /// Packs of which not all could be looked through for such messages.
    pub unread: Vec<u32>,
    /// Packs of which a piece had to be made again.
    pub packs: BTreeSet<u32>,
}

impl Harm {
    /// What an operator is told, a sentence each.
    pub fn told(&self) -> Vec<String> {
        let mut told = Vec::new();
        if self.gaps.is_empty() && !self.headless {
            if self.mended {
                told.push("the snapshot of the queue is damaged; what was damaged could be made again, and nothing is lost".to_owned());
            }
            return told;
        }
        for (from, to) in &self.gaps {
            told.push(format!("the snapshot of the queue is damaged: the states of messages between {from:x} and {to:x} are lost"));
        }
        if self.headless {
            told.push("the head of the snapshot of the queue is damaged: what was done before it may be done again".to_owned());
        }
        told.push(format!(
            "{} messages are queued again whose states are lost: some may be sent twice; `hikyaku queue list` shows them",
            self.again
        ));
        for number in &self.unread {
            told.push(format!("not all of pack {number:08x} could be looked through for messages whose states are lost"));
        }
        told
    }
}

/// Where there is no further block.
const END: u64 = u64::MAX;

/// The blocks of a snapshot, one after the other.
struct Blocks {
    file: Box<dyn File>,
    at: u64,
    mended: bool,
    parity: Parity,
}

impl Blocks {
    /// The next one; nothing if it cannot be had, and then it goes on with the one behind it, if its length can still be believed.
    fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        let file = &*self.file;
        let direct = |at, len| direct(file, at, len);
        let mended = |at, len| parity::mended(file, at, len);
        let here = self.at;
        if let Some(block) = block(&direct, here)? {
            self.at += 8 + block.len() as u64;
            self.parity.add(&[(block.len() as u32).to_le_bytes(), checksum(&[&block]).to_le_bytes()].concat());
            self.parity.add(&block);
            return Ok(Some(block));
        }
        self.mended = true;
        if let Some(block) = block(&mended, here)? {
            self.at += 8 + block.len() as u64;
            return Ok(Some(block));
        }
        self.at = END;
        let len = direct(here, 4).or_else(|_| mended(here, 4)).ok().and_then(|bytes| Some(u32::from_le_bytes(bytes.try_into().ok()?)));
        if let Some(next) = len.map(|len| here + 8 + u64::from(len))
            && (block(&direct, next)?.is_some() || block(&mended, next)?.is_some())
        {
            self.at = next;
        }
        Ok(None)
    }

    /// Behind the last block: whether what makes others again is as it was written. A snapshot of an earlier version has none.
    fn ends_well(self) -> io::Result<bool> {
        let rest = self.file.len()?.saturating_sub(self.at);
        if self.mended || rest == 0 {
            return Ok(!self.mended);
        }
        let trailer = self.parity.trailer();
        let read = direct(&*self.file, self.at, trailer.len());
        Ok(rest == trailer.len() as u64 && read.is_ok_and(|read| read == trailer))
    }
}

/// The block at `at`; nothing if it is damaged.
fn block(get: &dyn Fn(u64, usize) -> io::Result<Vec<u8>>, at: u64) -> io::Result<Option<Vec<u8>>> {
    let read = get(at, 8).and_then(|head| {
        let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let bytes = get(at + 8, number(0) as usize)?;
        Ok((checksum(&[&bytes]) == number(4)).then_some(bytes))
    });
    match read {
        Err(error) if super::damage::is(&error) => Ok(None),
        read => read,
    }
}

/// Bytes as they are there.
fn direct(file: &dyn File, at: u64, len: usize) -> io::Result<Vec<u8>> {
    // A length is believed only as far as the file goes.
    if file.len()?.saturating_sub(at) < len as u64 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut bytes = vec![0; len];
    if read_full(file, &mut bytes, at)? < len { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(bytes) }
}

/// Reads the one there is, and gives `restore` what is in it; then, with empty states, the messages whose states are lost.
///
/// # Errors
/// `Unsupported` if it is of a later version; or it cannot be read now.
pub fn read(disk: &dyn Disk, dir: &Path, restore: &mut Restore<'_>) -> io::Result<Snapshot> {
    let mut found = Snapshot::default();
    let file = match disk.open(&path(dir), How::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        opened => opened?,
    };
    let mut blocks = Blocks { file, at: 0, mended: false, parity: Parity::default() };
    found.harm.headless = blocks.next()?.map(|block| found.head(&block)).transpose()?.flatten().is_none();
    let mended = RefCell::new(BTreeSet::new());
    let record = |place: u64, id: u64| -> io::Result<Vec<u8>> {
        let mut reader = Reader::open(disk, dir, (place >> 32) as u32)?;
        let record = reader.read(place as u32, id)?;
        if reader.mended {
            mended.borrow_mut().insert((place >> 32) as u32);
        }
        Ok(record)
    };
    let (mut count, mut last, mut gap) = (0u64, 0, found.harm.headless && blocks.at == END);
    while blocks.at != END {
        let next = blocks.next()?;
        if let Some(end) = next.as_deref().and_then(|block| <[u8; 8]>::try_from(block).ok()) {
            // No state is as short as that.
            if found.harm.gaps.is_empty() && !gap && u64::from_le_bytes(end) != count {
                (gap, last) = (true, 0);
            }
            break;
        }
        let Some(states) = next.as_deref().and_then(states) else {
            // It is closed by the next state, or lasts.
            gap = true;
            continue;
        };
        for state in states {
            if std::mem::take(&mut gap) {
                found.harm.gaps.push((last, state.id));
            }
            (last, count) = (state.id, count + 1);
            if state.id != 0 {
                found.park(state.id, state.place, state.large);
            }
            restore(state.id, state.bytes, &|| record(state.place, state.id));
        }
    }
    if gap {
        found.harm.gaps.push((last, u64::MAX));
    }
    found.len = Some(if blocks.at == END { blocks.file.len()? } else { blocks.at });
    found.harm.mended = !blocks.ends_well()?;
    if !found.harm.gaps.is_empty() {
        found.queue_again(disk, dir, &mut |id, place| restore(id, &[], &|| record(place, id)))?;
    }
    found.harm.packs = mended.into_inner();
    Ok(found)
}

impl Snapshot {
    fn head(&mut self, block: &[u8]) -> io::Result<Option<()>> {
        let version = MAGIC.len() - 1;
        if block.starts_with(&MAGIC[..version]) && block.get(version).is_some_and(|found| *found > MAGIC[version]) {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "the queue was parked by a later version"));
        }
        Ok(self.known_head(block))
    }

    fn known_head(&mut self, block: &[u8]) -> Option<()> {
        let mut rest = block.strip_prefix(&MAGIC)?;
        self.upto = take_u64(&mut rest)?;
        self.next = take_u32(&mut rest)?;
        while !rest.is_empty() {
            let number = take_u32(&mut rest)?;
            let (total, size) = (take_u32(&mut rest)?, take_u64(&mut rest)?);
            self.packs.insert(number, Pack { total, size, ..Pack::default() });
        }
        Some(())
    }

    fn park(&mut self, id: u64, place: u64, large: bool) {
        let number = (place >> 32) as u32;
        if number != NOWHERE {
            self.packs.entry(number).or_default().alive += 1;
        }
        self.parked.push((id, place));
        if large {
            self.large.push(id);
        }
    }

    /// Queues the messages again whose states are lost, as far as they are in packs.
    fn queue_again(&mut self, disk: &dyn Disk, dir: &Path, restore: &mut dyn FnMut(u64, u64)) -> io::Result<()> {
        let known: BTreeSet<u64> = self.parked.iter().map(|(id, _)| *id).collect();
        let mut numbers: BTreeSet<u32> = self.packs.keys().copied().collect();
        if self.harm.headless {
            disk.list(dir, &mut |name| numbers.extend(pack::number(name)))?;
        }
        let mut again = BTreeMap::new();
        for number in numbers {
            let gaps = &self.harm.gaps;
            let mut note = |id, offset, _: &[u8]| {
                if gaps.iter().any(|(from, to)| *from < id && id < *to) && !known.contains(&id) {
                    again.insert(id, u64::from(number) << 32 | u64::from(offset));
                }
            };
            let lost = match Reader::open(disk, dir, number) {
                Ok(mut reader) => reader.all(&mut note)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => 1,
                Err(error) => return Err(error),
            };
            if lost > 0 {
                self.harm.unread.push(number);
            }
        }
        self.harm.again = again.len();
        for (id, place) in again {
            let large = disk.stat(&large_path(dir, id)).is_ok();
            self.park(id, place, large);
            restore(id, place);
        }
        Ok(())
    }
}

/// A state as it lies in a block.
struct Stated<'a> {
    id: u64,
    place: u64,
    large: bool,
    bytes: &'a [u8],
}

/// Nothing if these are no states.
fn states(mut rest: &[u8]) -> Option<Vec<Stated<'_>>> {
    let mut states = Vec::new();
    while !rest.is_empty() {
        let (id, place) = (take_u64(&mut rest)?, take_u64(&mut rest)?);
        let (&large, after) = rest.split_first()?;
        rest = after;
        let len = take_u32(&mut rest)? as usize;
        let (bytes, after) = rest.split_at_checked(len)?;
        rest = after;
        states.push(Stated { id, place, large: large == 1, bytes });
    }
    Some(states)
}

fn take_u32(rest: &mut &[u8]) -> Option<u32> {
    let (bytes, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(u32::from_le_bytes(*bytes))
}

fn take_u64(rest: &mut &[u8]) -> Option<u64> {
    let (bytes, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(u64::from_le_bytes(*bytes))
}
