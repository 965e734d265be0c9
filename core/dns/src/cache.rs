//! What was found, until it is too old or there is no room.

use crate::{
    fact::{Found, Query},
    limits::CACHE_UNIT,
};
use alloc::collections::BTreeMap;
use wire::Tick;

/// Answers by question, the least used of them going first.
#[derive(Debug)]
pub(crate) struct Cache {
    entries: BTreeMap<Query, Entry>,
    /// By when it was last used.
    order: BTreeMap<u64, Query>,
    uses: u64,
    units: usize,
    room: usize,
}

#[derive(Debug)]
struct Entry {
    found: Found,
    until: Tick,
    used: u64,
    units: usize,
}

impl Cache {
    /// Room for so many answers of usual size.
    pub(crate) fn new(room: usize) -> Cache {
        Cache { entries: BTreeMap::new(), order: BTreeMap::new(), uses: 0, units: 0, room: room.max(1) }
    }

    pub(crate) fn find(&mut self, now: Tick, query: &Query) -> Option<Found> {
        if self.entries.get(query)?.until <= now {
            self.remove(query);
            return None;
        }
        self.uses += 1;
        let entry = self.entries.get_mut(query)?;
        self.order.remove(&entry.used);
        entry.used = self.uses;
        self.order.insert(self.uses, query.clone());
        Some(entry.found.clone())
    }

    /// Keeps an answer; others may have to go, but never this one.
    pub(crate) fn keep(&mut self, query: Query, found: Found, until: Tick) {
        self.remove(&query);
        let units = 1 + found.weight() / CACHE_UNIT;
        while self.units + units > self.room
            && let Some((_, oldest)) = self.order.pop_first()
        {
            if let Some(gone) = self.entries.remove(&oldest) {
                self.units -= gone.units;
            }
        }
        self.uses += 1;
        self.units += units;
        self.order.insert(self.uses, query.clone());
        self.entries.insert(query, Entry { found, until, used: self.uses, units });
    }

    fn remove(&mut self, query: &Query) {
        if let Some(gone) = self.entries.remove(query) {
            self.order.remove(&gone.used);
            self.units -= gone.units;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::{Kind, Record};
    use alloc::{format, vec, vec::Vec};

    fn query(n: usize) -> Query {
        Query::new(&format!("h{n}.test"), Kind::Txt).expect("a name")
    }

    #[test]
    fn what_was_used_least_goes_first() {
        let mut cache = Cache::new(3);
        (0..3).for_each(|n| cache.keep(query(n), Found::NoData, Tick(1000)));
        assert_eq!(cache.find(Tick(0), &query(0)), Some(Found::NoData));
        cache.keep(query(3), Found::NoData, Tick(1000));
        let left: Vec<bool> = (0..4).map(|n| cache.find(Tick(0), &query(n)).is_some()).collect();
        assert_eq!(left, [true, false, true, true]);
    }

    #[test]
    fn what_is_too_old_is_gone() {
        let mut cache = Cache::new(3);
        cache.keep(query(1), Found::NoDomain, Tick(1000));
        assert_eq!(cache.find(Tick(999), &query(1)), Some(Found::NoDomain));
        assert_eq!(cache.find(Tick(1000), &query(1)), None);
        assert!(cache.entries.is_empty() && cache.order.is_empty() && cache.units == 0);
    }

    #[test]
    fn large_answers_take_the_room_of_many() {
        let mut cache = Cache::new(100);
        let large = Found::Records { records: vec![Record::Txt(vec![0; 40_000].into())], alias: None, secure: false, ttl: 60 };
        (0..50).for_each(|n| cache.keep(query(n), large.clone(), Tick(1000)));
        assert_eq!(cache.entries.len(), 1);
        assert_eq!(cache.find(Tick(0), &query(49)), Some(large));
        (0..500).for_each(|n| cache.keep(query(n), Found::NoData, Tick(1000)));
        assert!(cache.entries.len() <= 100 && cache.order.len() == cache.entries.len());
    }
}
