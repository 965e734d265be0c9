//! A hash table from base names to UIDs that holds neither: four bytes a slot.

use alloc::{vec, vec::Vec};

const EMPTY: u32 = 0;

/// Open addressing with linear probing. Names live with the entries; whoever looks something up compares them.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    slots: Vec<u32>,
    used: usize,
    seed: u64,
}

impl Table {
    /// An empty one. `seed` makes it hard to choose names that collide.
    pub fn new(seed: u64) -> Table {
        Table { slots: Vec::new(), used: 0, seed }
    }

    /// Makes room for `n` names; what was in it is forgotten.
    pub fn reset(&mut self, n: usize) {
        let size = (n * 2).next_power_of_two().max(16);
        self.slots.clear();
        self.slots.resize(size, EMPTY);
        self.used = 0;
    }

    /// Whether another name would make it too full: reset it and put everything again.
    pub fn is_full(&self) -> bool {
        (self.used + 1) * 4 > self.slots.len() * 3
    }

    /// Puts a name that is not in it.
    pub fn put(&mut self, name: &[u8], uid: u32) {
        if self.slots.is_empty() {
            self.slots = vec![EMPTY; 16];
        }
        let mask = self.slots.len() - 1;
        let mut at = hash(self.seed, name) as usize & mask;
        while self.slots[at] != EMPTY {
            at = (at + 1) & mask;
        }
        self.slots[at] = uid;
        self.used += 1;
    }

    /// Finds the UID of `name`; `is` says whether a UID has this name. UIDs that are gone may still be in it.
    pub fn find(&self, name: &[u8], mut is: impl FnMut(u32) -> bool) -> Option<u32> {
        let mask = self.slots.len().checked_sub(1)?;
        let mut at = hash(self.seed, name) as usize & mask;
        while self.slots[at] != EMPTY {
            if is(self.slots[at]) {
                return Some(self.slots[at]);
            }
            at = (at + 1) & mask;
        }
        None
    }
}

/// Multiplies and folds, eight bytes at a time.
fn hash(seed: u64, name: &[u8]) -> u64 {
    let fold = |a: u64, b: u64| {
        let wide = u128::from(a) * u128::from(b);
        wide as u64 ^ (wide >> 64) as u64
    };
    let mut sum = seed ^ 0x9e37_79b9_7f4a_7c15 ^ name.len() as u64;
    for chunk in name.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        sum = fold(sum ^ u64::from_le_bytes(word), 0xd6e8_feb8_6659_fd93);
    }
    fold(sum, 0xa076_1d64_78bd_642f ^ seed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn it_finds_what_was_put() {
        let mut table = Table::new(5);
        let names: Vec<_> = (0..1000).map(|i| format!("17000000{i}.M{i}P7.host")).collect();
        table.reset(names.len());
        for (i, name) in names.iter().enumerate() {
            assert!(!table.is_full());
            table.put(name.as_bytes(), i as u32 + 1);
        }
        for (i, name) in names.iter().enumerate() {
            assert_eq!(table.find(name.as_bytes(), |uid| names[uid as usize - 1] == *name), Some(i as u32 + 1));
        }
        assert_eq!(table.find(b"x", |_| false), None);
    }
}
