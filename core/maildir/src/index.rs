//! The index of a mailbox in memory: what the records of its log add up to.

use crate::{Add, Bits, Blob, Facts, Marks, Record, Records, limits, table::Table};
use alloc::{boxed::Box, collections::BTreeMap, vec::Vec};

/// A message. 80 bytes, so that a hundred thousand of them are read and kept cheaply; its base name lies in one buffer with the others.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// The number of its last change.
    pub mod_seq: u64,
    /// See [`Bits`] for what of it is known.
    pub facts: Facts,
    /// Its flags.
    pub marks: Marks,
    /// Its UID.
    pub uid: u32,
    name_at: u32,
    name_len: u8,
    /// Single facts.
    pub bits: Bits,
}

/// All messages of a mailbox, ascending by UID, and the numbers that belong to it.
#[derive(Debug, Clone)]
pub struct Index {
    /// The numbering; 0 in an empty index that no file gave one.
    pub uid_validity: u32,
    /// The next UID.
    pub uid_next: u32,
    /// The greatest change number that was given.
    pub mod_seq: u64,
    /// Messages from this UID on are recent to whoever comes next.
    pub recent_from: u32,
    /// Modification times of `new/` and `cur/` that the index agrees with, if it does for certain.
    pub dirs: Option<(i64, i64)>,
    /// How many records were applied since the last snapshot.
    pub records: usize,
    entries: Vec<Entry>,
    names: Vec<u8>,
    wasted: usize,
    gone: bool,
    odd: BTreeMap<u32, Box<[u8]>>,
    table: Option<Table>,
    seed: u64,
}

impl Index {
    /// An empty one. `seed` is any number that strangers don't know.
    pub fn new(seed: u64) -> Index {
        Index {
            uid_validity: 0,
            uid_next: 1,
            mod_seq: 1,
            recent_from: 1,
            dirs: None,
            records: 0,
            entries: Vec::new(),
            names: Vec::new(),
            wasted: 0,
            gone: false,
            odd: BTreeMap::new(),
            table: None,
            seed,
        }
    }

    /// Reads a file. Also returns the length of its sound part: what follows is torn and to be cut off.
    pub fn load(bytes: &[u8], seed: u64) -> (Index, usize) {
        let mut index = Index::new(seed);
        let mut records = Records::new(bytes);
        let mut sound = 0;
        while let Some(record) = records.next() {
            let is_head = matches!(record, Record::Head { .. });
            if is_head != (sound == 0) || !index.apply(&record) {
                break;
            }
            sound = records.valid();
        }
        index.sweep();
        (index, sound)
    }

    /// Applies a record; false if it doesn't fit what came before, so that nothing behind it can be trusted.
    ///
    /// Messages that are gone stay among the entries until [`Index::sweep`].
    pub fn apply(&mut self, record: &Record) -> bool {
        match *record {
            Record::Add(Add { mod_seq, .. })
            | Record::Flags { mod_seq, .. }
            | Record::Gone { mod_seq, .. }
            | Record::Next { mod_seq, .. }
                if mod_seq > limits::MOD_SEQ =>
            {
                return false;
            }
            Record::Head { uid_validity } => {
                self.uid_validity = uid_validity;
                return uid_validity != 0;
            }
            Record::Add(add) => return self.add(&add),
            Record::Flags { uid, mod_seq, marks, bits, info } => {
                self.dirs = None;
                let Some(at) = self.position(uid) else { return false };
                let entry = &mut self.entries[at];
                entry.marks = marks;
                entry.bits = Bits(entry.bits.0 & !(Bits::NEW.0 | Bits::ODD.0) | bits.0 & (Bits::NEW.0 | Bits::ODD.0));
                if mod_seq != 0 {
                    entry.mod_seq = mod_seq;
                    self.mod_seq = self.mod_seq.max(mod_seq);
                }
                if bits.has(Bits::ODD) {
                    self.odd.insert(uid, info.into());
                } else {
                    self.odd.remove(&uid);
                }
            }
            Record::Gone { uid, mod_seq } => {
                self.dirs = None;
                self.mod_seq = self.mod_seq.max(mod_seq);
                let Some(at) = self.position(uid) else { return false };
                let entry = &mut self.entries[at];
                entry.bits = entry.bits.set(Bits::GONE, true);
                self.gone = true;
                self.odd.remove(&uid);
            }
            Record::Facts { uid, bits, facts } => {
                let Some(at) = self.position(uid) else { return false };
                let entry = &mut self.entries[at];
                entry.bits = Bits(entry.bits.0 & !(Bits::SIZED.0 | Bits::DATED.0) | bits.0 & (Bits::SIZED.0 | Bits::DATED.0));
                entry.facts = facts;
            }
            Record::Cur { from, to } => {
                self.dirs = None;
                let start = self.entries.partition_point(|e| e.uid < from);
                for entry in self.entries[start..].iter_mut().take_while(|e| e.uid <= to) {
                    entry.bits = entry.bits.set(Bits::NEW, false);
                }
            }
            Record::Claim { recent_from } => self.recent_from = recent_from,
            Record::Next { uid, mod_seq } => {
                self.uid_next = self.uid_next.max(uid);
                self.mod_seq = self.mod_seq.max(mod_seq);
            }
            Record::Dirs { new_ns, cur_ns } => self.dirs = Some((new_ns, cur_ns)),
        }
        self.records += 1;
        true
    }

    fn add(&mut self, add: &Add) -> bool {
        if add.uid < self.uid_next || add.uid == u32::MAX || self.entries.len() >= limits::MESSAGES || add.base.is_empty() {
            return false;
        }
        let (Ok(name_at), Ok(name_len)) = (u32::try_from(self.names.len()), u8::try_from(add.base.len())) else { return false };
        self.dirs = None;
        self.names.extend_from_slice(add.base);
        let Add { uid, mod_seq, marks, bits, facts, .. } = *add;
        self.entries.push(Entry { mod_seq, facts, marks, uid, name_at, name_len, bits: bits.set(Bits::GONE, false) });
        if bits.has(Bits::ODD) {
            self.odd.insert(uid, add.info.into());
        }
        self.uid_next = uid + 1;
        self.mod_seq = self.mod_seq.max(mod_seq);
        self.records += 1;
        match &mut self.table {
            Some(table) if table.is_full() => self.table = None,
            Some(table) => table.put(add.base, uid),
            None => {}
        }
        true
    }

    /// Sweeps out messages that are gone.
    pub fn sweep(&mut self) {
        if !core::mem::take(&mut self.gone) {
            return;
        }
        let wasted = &mut self.wasted;
        self.entries.retain(|e| {
            let gone = e.bits.has(Bits::GONE);
            *wasted += if gone { usize::from(e.name_len) } else { 0 };
            !gone
        });
        if self.wasted > self.names.len() / 2 {
            let mut names = Vec::with_capacity(self.names.len() - self.wasted);
            for entry in &mut self.entries {
                let at = entry.name_at as usize;
                // Below 2^32 because the longer buffer was.
                entry.name_at = names.len() as u32;
                names.extend_from_slice(&self.names[at..at + usize::from(entry.name_len)]);
            }
            self.names = names;
            self.wasted = 0;
            self.entries.shrink_to(self.entries.len() * 2);
        }
    }

    /// All messages, ascending by UID.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The message of a UID.
    pub fn entry(&self, uid: u32) -> Option<&Entry> {
        self.position(uid).map(|at| &self.entries[at])
    }

    /// Where the message of a UID is among the entries.
    pub fn position(&self, uid: u32) -> Option<usize> {
        // UIDs are dense more often than not.
        let at = self.entries.binary_search_by_key(&uid, |e| e.uid).ok()?;
        (!self.entries[at].bits.has(Bits::GONE)).then_some(at)
    }

    /// The base name of a message.
    pub fn base(&self, entry: &Entry) -> &[u8] {
        &self.names[entry.name_at as usize..][..usize::from(entry.name_len)]
    }

    /// The info part of the file name of a message as it is on disk.
    pub fn info(&self, entry: &Entry, out: &mut Vec<u8>) {
        if entry.bits.has(Bits::ODD) {
            out.extend_from_slice(self.odd.get(&entry.uid).map_or(&[], |info| info));
        } else if !entry.bits.has(Bits::NEW) {
            entry.marks.print(b"", out);
        }
    }

    /// The file name of a message, with `new/` or `cur/` before it.
    pub fn path(&self, entry: &Entry) -> Vec<u8> {
        let mut path = Vec::with_capacity(usize::from(entry.name_len) + 20);
        path.extend_from_slice(if entry.bits.has(Bits::NEW) { b"new/" } else { b"cur/" });
        path.extend_from_slice(self.base(entry));
        self.info(entry, &mut path);
        path
    }

    /// Where the message of a base name is among the entries.
    pub fn find(&mut self, base: &[u8]) -> Option<usize> {
        self.ready_table();
        self.find_ready(base)
    }

    /// Makes [`Index::find_ready`] work until the next change.
    pub(crate) fn ready_table(&mut self) {
        if self.table.is_none() {
            let mut table = Table::new(self.seed);
            table.reset(self.entries.len());
            for entry in self.entries.iter().filter(|e| !e.bits.has(Bits::GONE)) {
                table.put(self.base(entry), entry.uid);
            }
            self.table = Some(table);
        }
    }

    pub(crate) fn find_ready(&self, base: &[u8]) -> Option<usize> {
        let is = |uid| self.entry(uid).is_some_and(|e| self.base(e) == base);
        self.table.as_ref().and_then(|t| t.find(base, is)).and_then(|uid| self.position(uid))
    }

    /// Writes everything as a fresh file.
    pub fn snapshot(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.entries.len() * 80 + self.names.len() + 100);
        Record::Head { uid_validity: self.uid_validity }.put(&mut out);
        for entry in self.entries.iter().filter(|e| !e.bits.has(Bits::GONE)) {
            let info = if entry.bits.has(Bits::ODD) { self.odd.get(&entry.uid).map_or(&[][..], |info| info) } else { &[] };
            let Entry { mod_seq, facts, marks, uid, bits, .. } = *entry;
            Record::Add(Add { uid, mod_seq, marks, bits, facts, base: self.base(entry), info }).put(&mut out);
        }
        Record::Claim { recent_from: self.recent_from }.put(&mut out);
        Record::Next { uid: self.uid_next, mod_seq: self.mod_seq }.put(&mut out);
        if let Some((new_ns, cur_ns)) = self.dirs {
            Record::Dirs { new_ns, cur_ns }.put(&mut out);
        }
        out
    }

    /// Bytes of `hikyaku.cache` that belong to messages which are here.
    pub fn cached(&self) -> u64 {
        self.entries.iter().map(|e| u64::from(e.facts.blob.len)).sum()
    }

    /// Forgets where structures are: the cache is another one.
    pub fn forget_blobs(&mut self) {
        for entry in &mut self.entries {
            entry.facts.blob = Blob::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use mail::System;

    fn add<'a>(uid: u32, base: &'a str, info: &'a str) -> Record<'a> {
        let bits = if info.is_empty() { Bits::NEW } else { Bits::ODD };
        Record::Add(Add {
            uid,
            mod_seq: u64::from(uid) + 1,
            marks: Marks::default(),
            bits,
            facts: Facts::default(),
            base: base.as_bytes(),
            info: info.as_bytes(),
        })
    }

    fn view(index: &Index) -> Vec<(u32, u64, Marks, Vec<u8>)> {
        index.entries().iter().map(|e| (e.uid, e.mod_seq, e.marks, index.path(e))).collect()
    }

    #[test]
    fn a_snapshot_is_the_same_index() {
        assert_eq!(size_of::<Entry>(), 80);
        let mut index = Index::new(1);
        let mut log = Vec::new();
        let mut put = |index: &mut Index, record: Record| {
            record.put(&mut log);
            assert!(index.apply(&record), "{record:?}");
        };
        put(&mut index, Record::Head { uid_validity: 9 });
        let names: Vec<_> = (1..200).map(|i| format!("{i}.x")).collect();
        for (i, name) in names.iter().enumerate() {
            put(&mut index, add(i as u32 * 2 + 1, name, if i % 5 == 0 { ":2,X" } else { "" }));
            assert_eq!(index.find(name.as_bytes()), Some(i));
        }
        put(&mut index, Record::Cur { from: 3, to: 9 });
        put(
            &mut index,
            Record::Flags { uid: 3, mod_seq: 500, marks: Marks { system: System::SEEN, keywords: 1 }, bits: Bits::default(), info: b"" },
        );
        for uid in (1..300).step_by(2) {
            put(&mut index, Record::Gone { uid: uid + 4, mod_seq: 600 });
        }
        put(&mut index, Record::Claim { recent_from: 8 });
        put(&mut index, Record::Dirs { new_ns: 1, cur_ns: 2 });
        index.sweep();
        let (loaded, sound) = Index::load(&log, 2);
        assert_eq!(sound, log.len());
        assert_eq!(view(&loaded), view(&index));
        let snapshot = index.snapshot();
        let (mut again, _) = Index::load(&snapshot, 3);
        assert_eq!(view(&again), view(&index));
        assert_eq!((again.uid_next, again.mod_seq, again.recent_from, again.dirs), (398, 600, 8, Some((1, 2))));
        assert_eq!(again.find(b"1.x"), Some(0));
        assert_eq!(again.find(b"10.x"), None);
        assert_eq!(again.path(&again.entries()[1]), b"cur/2.x:2,Sa");
    }

    #[test]
    fn what_does_not_fit_ends_the_log() {
        let mut index = Index::new(1);
        assert!(index.apply(&add(5, "a", "")));
        assert!(!index.apply(&add(5, "b", "")));
        assert!(!index.apply(&Record::Gone { uid: 4, mod_seq: 1 }));
        assert!(!index.apply(&Record::Head { uid_validity: 0 }));
        let mut log = Vec::new();
        add(1, "a", "").put(&mut log);
        assert_eq!(Index::load(&log, 1).1, 0);
    }

    #[test]
    fn any_news_of_files_ends_the_trust_in_directories() {
        let mut index = Index::new(1);
        for record in [add(1, "a", ""), Record::Cur { from: 1, to: 1 }, Record::Gone { uid: 1, mod_seq: 2 }] {
            index.dirs = Some((1, 1));
            assert!(index.apply(&record));
            assert_eq!(index.dirs, None);
        }
    }
}
