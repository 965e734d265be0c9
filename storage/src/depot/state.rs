//! What a depot keeps in memory: where every queued message is, in 16 bytes and what a tree adds, and what each pack holds.

use super::{Options, found::Snapshot};
use crate::spool::Lsn;
use std::collections::{BTreeMap, BTreeSet};

/// Where a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Log(Lsn),
    Pack { number: u32, offset: u32 },
}

/// A pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pack {
    /// Messages in it that are queued.
    pub alive: u32,
    /// Messages in it.
    pub total: u32,
    /// Bytes of records.
    pub size: u64,
    /// A piece of it had to be made again: what is queued of it goes to another before more of it is lost.
    pub mended: bool,
    /// Not all of it can be read, so it is not compacted.
    pub alone: bool,
}

/// A queued message whose record is in the log.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    pub id: u64,
    pub at: Lsn,
    pub large: bool,
}

/// A record that was copied.
pub struct Move {
    pub id: u64,
    pub from: Place,
    pub to: Place,
}

/// The number of a pack that never was: there lie records that could not be read when they were to be parked.
pub const NOWHERE: u32 = 0;

/// A record that cannot be read in the log is tried again at so many checkpoints, less one: it may be the way to the disk, and not what is on it.
const TRIES: u32 = 3;

/// Files to unlink.
#[derive(Default)]
pub struct Garbage {
    pub packs: Vec<u32>,
    pub large: Vec<u64>,
}

#[derive(Default)]
pub struct State {
    /// Queued messages in the log by id: their place twice, and one more with a large file.
    pub logged: BTreeMap<u64, u64>,
    /// Those in packs by id: the number of the pack above, their place in it below.
    pub parked: BTreeMap<u64, u64>,
    /// Parked ones with a large file.
    pub large: BTreeSet<u64>,
    /// How often those could not be read that are in the log.
    pub unread: BTreeMap<u64, u32>,
    pub packs: BTreeMap<u32, Pack>,
    /// The next number for a pack.
    pub next: u32,
    pub upto: Lsn,
    /// Bytes of the last snapshot.
    pub snapshot_bytes: u64,
    /// The snapshot on the disk is empty, for sure and for good, or there is none.
    pub nothing: bool,
    pub garbage: Garbage,
    /// What no snapshot wants that is written from now on; the one on the disk may.
    pub unwanted: Garbage,
    /// What the snapshot that is being written does not want.
    pub retiring: Garbage,
}

impl State {
    pub fn new(found: Snapshot) -> State {
        State {
            parked: found.parked.into_iter().collect(),
            large: found.large.into_iter().collect(),
            packs: found.packs.into_iter().filter(|(_, pack)| pack.alive > 0).collect(),
            next: found.next.max(1),
            upto: found.upto,
            snapshot_bytes: found.len.unwrap_or(0),
            nothing: found.len.is_none(),
            ..State::default()
        }
    }

    /// A pack is there.
    pub fn found_pack(&mut self, number: u32) {
        self.next = self.next.max(number.saturating_add(1));
        if !self.packs.contains_key(&number) {
            self.unwanted.packs.push(number);
        }
    }

    /// A large file is there.
    pub fn found_large(&mut self, id: u64) {
        if !self.large.contains(&id) {
            self.unwanted.large.push(id);
        }
    }

    pub fn note(&mut self, id: u64, at: Lsn, large: bool) {
        if !self.parked.contains_key(&id) {
            self.logged.insert(id, at << 1 | u64::from(large));
        }
    }

    pub fn forget(&mut self, id: u64) {
        self.logged.remove(&id);
        self.unread.remove(&id);
        if let Some(place) = self.parked.remove(&id) {
            if let Some(pack) = self.packs.get_mut(&((place >> 32) as u32)) {
                pack.alive -= 1;
            }
            if self.large.remove(&id) {
                self.unwanted.large.push(id);
            }
        }
    }

    pub fn place(&self, id: u64) -> Option<Place> {
        let logged = self.logged.get(&id).map(|at| Place::Log(at >> 1));
        logged.or_else(|| self.parked.get(&id).map(|place| Place::Pack { number: (place >> 32) as u32, offset: *place as u32 }))
    }

    /// What has to be parked before the log lets go of what is before `mark`.
    pub fn due(&self, mark: Lsn) -> Vec<Found> {
        let all = self.logged.iter().map(|(&id, &at)| Found { id, at: at >> 1, large: at & 1 == 1 });
        all.filter(|found| found.at < mark).collect()
    }

    /// The file of a large message is going to be used.
    pub fn want_large(&mut self, id: u64) {
        for list in [&mut self.unwanted.large, &mut self.retiring.large, &mut self.garbage.large] {
            list.retain(|&other| other != id);
        }
    }

    /// A record in the log cannot be read. Whether that is its end.
    pub fn strike(&mut self, id: u64) -> bool {
        let tries = self.unread.entry(id).or_default();
        *tries += 1;
        *tries >= TRIES
    }

    /// Packs to copy what is queued out of: those that were damaged; those that are mostly done with, the emptiest first; and small ones, if there are many.
    pub fn worn(&self, options: &Options) -> Vec<u32> {
        let whole = || self.packs.iter().filter(|(_, pack)| pack.alive > 0 && !pack.alone);
        let mut worn: Vec<(u32, u64)> = Vec::new();
        let small: Vec<u32> = whole().filter(|(_, pack)| pack.size < options.pack / 8).map(|(number, _)| *number).collect();
        for (&number, pack) in whole() {
            let joined = small.len() > options.small && small.contains(&number);
            let parts = u64::from(pack.alive) * 1000 / u64::from(pack.total.max(1));
            if pack.mended {
                worn.push((number, 0));
            } else if joined || parts <= 500 {
                worn.push((number, parts));
            }
        }
        worn.sort_by_key(|&(_, parts)| parts);
        worn.into_iter().map(|(number, _)| number).collect()
    }

    /// What is queued of these packs: id and place, in the order in which it lies there.
    pub fn alive(&self, packs: &[u32]) -> BTreeMap<u32, Vec<(u32, u64)>> {
        let mut alive: BTreeMap<u32, Vec<(u32, u64)>> = packs.iter().map(|&number| (number, Vec::new())).collect();
        if !packs.is_empty() {
            for (&id, &place) in &self.parked {
                if let Some(list) = alive.get_mut(&((place >> 32) as u32)) {
                    list.push((place as u32, id));
                }
            }
        }
        alive.values_mut().for_each(|list| list.sort_unstable());
        alive
    }

    /// A piece of a pack had to be made again. Whether that is news.
    pub fn mended(&mut self, number: u32) -> bool {
        self.packs.get_mut(&number).is_some_and(|pack| !std::mem::replace(&mut pack.mended, true))
    }

    /// Something of a pack cannot be read. Whether that is news.
    pub fn leave_alone(&mut self, number: u32) -> bool {
        self.packs.get_mut(&number).is_some_and(|pack| !std::mem::replace(&mut pack.alone, true))
    }

    /// Records were copied into new packs, and that is durable.
    pub fn moved(&mut self, moves: Vec<Move>, packs: Vec<(u32, Pack)>) {
        self.packs.extend(packs);
        for Move { id, from, to } in moves {
            // It may be done and forgotten meanwhile.
            if self.place(id) != Some(from) {
                continue;
            }
            let Place::Pack { number, offset } = to else { continue };
            match from {
                Place::Log(_) => {
                    self.unread.remove(&id);
                    if self.logged.remove(&id).is_some_and(|at| at & 1 == 1) {
                        self.large.insert(id);
                    }
                }
                Place::Pack { number, .. } => {
                    if let Some(pack) = self.packs.get_mut(&number) {
                        pack.alive -= 1;
                    }
                }
            }
            self.parked.insert(id, u64::from(number) << 32 | u64::from(offset));
            if let Some(pack) = self.packs.get_mut(&number) {
                pack.alive += 1;
            }
        }
    }

    /// A snapshot is begun: what is not wanted now will not be in it.
    pub fn retire(&mut self) {
        let empty = self.packs.iter().filter(|(_, pack)| pack.alive == 0).map(|(number, _)| *number);
        self.retiring.packs.extend(empty);
        self.retiring.packs.append(&mut self.unwanted.packs);
        self.retiring.large.append(&mut self.unwanted.large);
        self.retiring.packs.sort_unstable();
        self.retiring.packs.dedup();
    }

    /// A snapshot is durable.
    pub fn snapshot_done(&mut self, upto: Lsn, len: u64, nothing: bool) {
        (self.upto, self.snapshot_bytes, self.nothing) = (upto, len, nothing);
        self.packs.retain(|number, _| self.retiring.packs.binary_search(number).is_err());
        self.garbage.packs.append(&mut self.retiring.packs);
        self.garbage.large.append(&mut self.retiring.large);
    }
}
