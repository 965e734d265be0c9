//! What an index has to learn from a listing of its directories.

use crate::{Bits, FileName, Index, file::time_of};
use alloc::{vec, vec::Vec};

/// Where a message file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In `cur/`.
    Cur,
    /// In `new/`.
    New,
}

impl Place {
    /// The directory.
    pub const fn dir(self) -> &'static str {
        match self {
            Place::Cur => "cur",
            Place::New => "new",
        }
    }
}

/// Which directories were listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Only `new/`.
    New,
    /// Both.
    Both,
}

/// File names of a mailbox in one buffer.
#[derive(Debug, Default)]
pub struct Listing {
    bytes: Vec<u8>,
    /// Where a name starts, how long its base and its info part are, where the file is.
    files: Vec<(u32, u8, u8, Place)>,
}

impl Listing {
    /// Notes a directory entry, unless it cannot be a message.
    pub fn push(&mut self, name: &[u8], place: Place) {
        let (Some(split), Ok(at)) = (FileName::split(name), u32::try_from(self.bytes.len())) else { return };
        let (Ok(base), Ok(info)) = (u8::try_from(split.base.len()), u8::try_from(split.info.len())) else { return };
        self.bytes.extend_from_slice(name);
        self.files.push((at, base, info, place));
    }

    /// How many files there are.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Name and place of a file.
    ///
    /// # Panics
    /// If there are not that many.
    pub fn file(&self, i: usize) -> (FileName<'_>, Place) {
        let (at, base, info, place) = self.files[i];
        let (base, rest) = self.bytes[at as usize..].split_at(usize::from(base));
        (FileName { base, info: &rest[..usize::from(info)] }, place)
    }
}

/// What differs. Numbers of files are those of the listing.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Files of messages that the index does not know, in the order in which they get their UIDs: by the time in the base name, then by name.
    pub adds: Vec<usize>,
    /// UIDs whose files are not there.
    pub gone: Vec<u32>,
    /// UIDs whose file has another place or info now.
    pub changed: Vec<(u32, usize)>,
    /// Two files of one base name: the one that counts, and the other.
    pub doubles: Vec<(usize, usize)>,
    /// Files of messages that wait for their removal.
    pub doomed: Vec<usize>,
    /// Only `new/` was listed and the answer is in `cur/`: list both.
    pub unsure: bool,
}

/// Compares. `doomed` says of a base name whether its message was removed and only its file still waits for that.
pub fn reconcile(index: &mut Index, listing: &Listing, scope: Scope, doomed: &dyn Fn(&[u8]) -> bool) -> Plan {
    index.ready_table();
    let index = &*index;
    let mut plan = Plan::default();
    let mut seen: Vec<u32> = vec![0; index.entries().len()];
    let mut info = Vec::new();
    // Whether file `i` is where, and called what, the index says.
    let mut same = |at: usize, i: usize| {
        let entry = &index.entries()[at];
        let (name, place) = listing.file(i);
        info.clear();
        index.info(entry, &mut info);
        entry.bits.has(Bits::NEW) == (place == Place::New) && info == name.info
    };
    for i in 0..listing.len() {
        let (name, place) = listing.file(i);
        if doomed(name.base) {
            plan.doomed.push(i);
            continue;
        }
        let Some(at) = index.find_ready(name.base) else {
            plan.adds.push(i);
            continue;
        };
        if scope == Scope::New && !index.entries()[at].bits.has(Bits::NEW) {
            plan.unsure = true;
        } else if seen[at] == 0 {
            seen[at] = i as u32 + 1;
        } else {
            let first = seen[at] as usize - 1;
            let better = !same(at, first) && (same(at, i) || (place == Place::Cur && listing.file(first).1 == Place::New));
            plan.doubles.push(if better { (i, first) } else { (first, i) });
            if better {
                seen[at] = i as u32 + 1;
            }
        }
    }
    for (at, entry) in index.entries().iter().enumerate().filter(|(_, e)| !e.bits.has(Bits::GONE)) {
        if seen[at] != 0 {
            if !same(at, seen[at] as usize - 1) {
                plan.changed.push((entry.uid, seen[at] as usize - 1));
            }
        } else if scope == Scope::Both {
            plan.gone.push(entry.uid);
        } else if entry.bits.has(Bits::NEW) {
            plan.unsure = true;
        }
    }
    let key = |i: &usize| {
        let (name, place) = listing.file(*i);
        (time_of(name.base), name.base, place, name.info)
    };
    plan.adds.sort_unstable_by(|a, b| key(a).cmp(&key(b)));
    let doubles = &mut plan.doubles;
    plan.adds.dedup_by(|other, kept| {
        let twice = listing.file(*other).0.base == listing.file(*kept).0.base;
        if twice {
            doubles.push((*kept, *other));
        }
        twice
    });
    plan
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Add, Facts, Marks, Record};

    fn index(files: &[(&str, Place)]) -> Index {
        let mut index = Index::new(1);
        for (i, (name, place)) in files.iter().enumerate() {
            let name = FileName::split(name.as_bytes()).unwrap();
            let marks = Marks::parse(name.info);
            let odd = *place == Place::Cur && !marks.is_plain(name.info);
            let bits = Bits::default().set(Bits::NEW, *place == Place::New).set(Bits::ODD, odd);
            let add = Add { uid: i as u32 + 1, mod_seq: 1, marks, bits, facts: Facts::default(), base: name.base, info: name.info };
            assert!(index.apply(&Record::Add(add)));
        }
        index
    }

    fn listing(files: &[(&str, Place)]) -> Listing {
        let mut listing = Listing::default();
        files.iter().for_each(|(name, place)| listing.push(name.as_bytes(), *place));
        listing
    }

    #[test]
    fn nothing_to_learn() {
        let files = [("1.a", Place::New), ("2.b:2,S", Place::Cur), ("3.c", Place::Cur), ("4.d:2,XS", Place::Cur)];
        let plan = reconcile(&mut index(&files), &listing(&files), Scope::Both, &|_| false);
        assert_eq!(plan, Plan::default());
    }

    #[test]
    fn what_came_went_and_changed() {
        let mut index = index(&[("1.a", Place::New), ("2.b:2,S", Place::Cur), ("3.c", Place::New)]);
        let listing = listing(&[
            ("10.y", Place::New),
            ("9.z", Place::New),
            ("9.x:2,S", Place::Cur),
            ("1.a:2,F", Place::Cur),
            ("3.c", Place::New),
            (".x", Place::New),
        ]);
        let plan = reconcile(&mut index, &listing, Scope::Both, &|_| false);
        assert_eq!((plan.adds, plan.gone, plan.changed), (vec![2, 1, 0], vec![2], vec![(1, 3)]));
        assert!(!plan.unsure);
    }

    #[test]
    fn half_a_listing_may_be_unsure() {
        let mut index = index(&[("1.a", Place::New), ("2.b:2,S", Place::Cur)]);
        let plan = reconcile(&mut index, &listing(&[("1.a", Place::New), ("5.n", Place::New)]), Scope::New, &|_| false);
        assert_eq!((plan.adds, plan.unsure), (vec![1], false));
        assert!(reconcile(&mut index, &listing(&[]), Scope::New, &|_| false).unsure);
        assert!(reconcile(&mut index, &listing(&[("1.a", Place::New), ("2.b", Place::New)]), Scope::New, &|_| false).unsure);
    }

    #[test]
    fn of_two_files_the_known_one_counts_and_then_the_one_in_cur() {
        let mut index = index(&[("1.a:2,S", Place::Cur), ("2.b", Place::New)]);
        let files = [
            ("1.a:2,", Place::Cur),
            ("1.a:2,S", Place::Cur),
            ("2.b", Place::New),
            ("2.b:2,", Place::Cur),
            ("3.c", Place::New),
            ("3.c:2,", Place::Cur),
        ];
        let plan = reconcile(&mut index, &listing(&files), Scope::Both, &|base| base == b"4.d");
        assert_eq!(plan.doubles, [(1, 0), (2, 3), (5, 4)]);
        assert_eq!((plan.adds, plan.changed), (vec![5], vec![]));
    }

    #[test]
    fn the_doomed_do_not_come_back() {
        let plan = reconcile(&mut index(&[]), &listing(&[("4.d", Place::New)]), Scope::Both, &|base| base == b"4.d");
        assert_eq!((plan.doomed, plan.adds), (vec![0], vec![]));
    }
}
