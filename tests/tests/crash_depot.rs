//! What is queued outlives the log at every crash.
//!
//! A toy queue on a spool and a depot: messages come, are tried, are settled, by jots or by a report that is a message itself; the log goes on and
//! packs are joined. The disk is looked at before every operation: of each moment several disks that a crash could leave are opened again.

use fastrand::Rng;
use hikyaku_tests::disk::{Crashing, World};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};
use storage::{
    depot::{self, Depot},
    spool::{self, Spool},
};

/// Disks looked at, over all tests of this file.
static CRASHES: AtomicUsize = AtomicUsize::new(0);

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// What was promised, and what was tried.
#[derive(Default, Clone)]
struct Book {
    /// Records that were tried.
    records: BTreeMap<u64, Vec<u8>>,
    /// Messages that were accepted.
    promised: BTreeSet<u64>,
    /// Messages that may be settled, and those that are for ever.
    settling: BTreeSet<u64>,
    settled: BTreeSet<u64>,
    /// Attempts: at most, and at least.
    tried: BTreeMap<u64, u8>,
    told: BTreeMap<u64, u8>,
    /// Reports that were tried, and what they settle.
    reports: BTreeMap<u64, u64>,
}

/// Kinds of records.
const ACCEPT: u8 = 1;
const TRIED: u8 = 2;
const SETTLED: u8 = 3;

fn record(id: u64, reports: u64) -> Vec<u8> {
    let mut dice = Rng::with_seed(id);
    let len = dice.choice([0, 10, 100, 700, 2500]).unwrap_or(0);
    let head = [ACCEPT].into_iter().chain(id.to_le_bytes()).chain(reports.to_le_bytes());
    head.chain([u8::from(is_large(id))]).chain(std::iter::repeat_with(|| dice.u8(..)).take(len)).collect()
}

fn is_large(id: u64) -> bool {
    id % 7 == 3
}

fn large_content(id: u64) -> Vec<u8> {
    let mut dice = Rng::with_seed(id ^ 1);
    std::iter::repeat_with(|| dice.u8(..)).take(3000).collect()
}

fn short(kind: u8, id: u64, attempts: u8) -> Vec<u8> {
    [kind].into_iter().chain(id.to_le_bytes()).chain([attempts]).collect()
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// A server: the spool, the depot, and attempts of what is queued.
struct Rig {
    spool: Spool,
    depot: Depot,
    queue: BTreeMap<u64, u8>,
}

impl Rig {
    fn open(disk: &Crashing, seed: u64) -> std::io::Result<Rig> {
        let disk: Arc<Crashing> = Arc::new(disk.clone());
        let options = spool::Options { segment: 4096, limit: 1 << 20, spares: 2, seed, patience: None, ..spool::Options::default() };
        let mut records = Vec::new();
        let locked = Spool::lock(disk.clone(), Path::new("/spool"))?;
        let mut queue = BTreeMap::new();
        let parking = depot::Options { pack: 6000, compact: 6000, small: 3 };
        let depot = Depot::open(disk, Path::new("/depot"), parking, &mut |id, bytes, _| {
            assert!(queue.insert(id, bytes[0]).is_none(), "twice in the snapshot");
        })?;
        let spool = locked.open(options, &mut |at, bytes| records.push((at, bytes.to_vec())))?;
        for (at, bytes) in records.into_iter().filter(|(at, _)| *at >= depot.upto()) {
            let id = u64_at(&bytes, 1);
            match bytes[0] {
                ACCEPT => {
                    let settles = u64_at(&bytes, 9);
                    queue.remove(&settles);
                    depot.forget(settles);
                    if !depot.holds(id) {
                        depot.note(id, at, bytes[17] == 1);
                        queue.insert(id, 0);
                    }
                }
                TRIED => drop(queue.get_mut(&id).map(|attempts| *attempts = bytes[9])),
                _ => {
                    queue.remove(&id);
                    depot.forget(id);
                }
            }
        }
        Ok(Rig { spool, depot, queue })
    }

    fn checkpoint(&self) -> std::io::Result<()> {
        let mark = self.spool.mark();
        self.depot.checkpoint(&self.spool, mark, &mut |put| self.queue.iter().for_each(|(&id, &attempts)| put(id, &[attempts])))?;
        self.spool.release(mark)
    }

    fn garbage(&self) -> std::io::Result<()> {
        self.spool.garbage()?;
        self.depot.garbage().map(drop)
    }

    /// Takes a message in, which may report on one that is queued.
    fn accept(&mut self, book: &Mutex<Book>, reports: u64) -> std::io::Result<()> {
        let mut entry = self.spool.entry();
        let id = entry.id();
        {
            let mut book = book.lock().unwrap();
            book.records.insert(id, record(id, reports));
            book.tried.insert(id, 0);
            book.told.insert(id, 0);
            if reports > 0 {
                book.reports.insert(id, reports);
                book.settling.insert(reports);
            }
        }
        if is_large(id) {
            let mut large = entry.large()?;
            large.append(&large_content(id))?;
            large.finish()?;
        }
        let at = entry.commit(&[&record(id, reports)])?;
        let mut book = book.lock().unwrap();
        book.promised.insert(id);
        if reports > 0 {
            book.settled.insert(reports);
        }
        drop(book);
        self.queue.remove(&reports);
        self.depot.forget(reports);
        self.depot.note(id, at, is_large(id));
        self.queue.insert(id, 0);
        entry.delivered();
        Ok(())
    }

    /// Tries a message, and settles it if it went.
    fn try_it(&mut self, book: &Mutex<Book>, id: u64, went: bool) -> std::io::Result<()> {
        let attempts = self.queue[&id] + 1;
        if went {
            book.lock().unwrap().settling.insert(id);
            self.queue.remove(&id);
            self.depot.forget(id);
            self.spool.jot(&[&short(SETTLED, id, 0)])
        } else {
            book.lock().unwrap().tried.insert(id, attempts);
            self.queue.insert(id, attempts);
            self.spool.jot(&[&short(TRIED, id, attempts)])
        }
    }

    /// After this, what was done so far is done for ever.
    fn flush(&self, book: &Mutex<Book>) -> std::io::Result<()> {
        self.spool.flush()?;
        let mut book = book.lock().unwrap();
        for id in book.promised.clone() {
            match self.queue.get(&id) {
                Some(&attempts) => drop(book.told.insert(id, attempts)),
                None => drop(book.settled.insert(id)),
            }
        }
        Ok(())
    }

    fn check(&self, book: &Book) {
        for &id in &book.promised {
            let queued = self.queue.contains_key(&id);
            assert!(queued || book.settling.contains(&id), "promised and lost: {id:x}");
            assert!(!queued || !book.settled.contains(&id), "settled and back: {id:x}");
        }
        for (&id, &attempts) in &self.queue {
            assert_eq!(self.depot.read(&self.spool, id).unwrap(), book.records[&id], "{id:x}");
            if is_large(id) {
                let file = self.depot.open_large(&self.spool, id).unwrap();
                let mut bytes = vec![0; file.len().unwrap() as usize];
                file.read_at(&mut bytes, 0).unwrap();
                assert_eq!(bytes, large_content(id), "{id:x}");
            }
            assert!((book.told[&id]..=book.tried[&id]).contains(&attempts), "{id:x}: {attempts} attempts");
        }
        for (report, about) in &book.reports {
            let both = self.queue.contains_key(report) && self.queue.contains_key(about);
            assert!(!both, "a report on {about:x}, which is still tried");
        }
        assert_eq!(self.depot.len(), self.queue.len());
    }
}

/// Opens what a crash left and compares; sometimes lives on for a moment and crashes again.
fn check(disk: &Crashing, book: &Book, dice: &mut Rng) {
    CRASHES.fetch_add(1, Ordering::Relaxed);
    let rig = Rig::open(disk, 9).expect("it opens after any crash");
    rig.check(book);
    if dice.u8(..4) > 0 {
        return;
    }
    // What it has decided stays decided.
    let mut decided = book.clone();
    decided.promised.extend(rig.queue.keys());
    for id in decided.promised.clone() {
        match rig.queue.get(&id) {
            None => drop((decided.settling.insert(id), decided.settled.insert(id))),
            Some(&attempts) => {
                decided.settling.remove(&id);
                decided.told.insert(id, attempts);
            }
        }
    }
    let stop = disk.ops() + dice.u64(..40);
    disk.stop(stop);
    // It may come to its end before that, or not.
    drop(rig.checkpoint().and_then(|()| rig.garbage()).and_then(|()| rig.checkpoint()));
    let second = disk.crash(dice);
    drop(rig);
    CRASHES.fetch_add(1, Ordering::Relaxed);
    Rig::open(&second, 10).expect("it opens after the second crash").check(&decided);
}

fn look(disk: &Crashing, book: &Arc<Mutex<Book>>, seed: u64, each: usize) {
    let book = book.clone();
    let mut dice = Rng::with_seed(seed);
    disk.watch(move |world: &World| {
        let book = book.lock().unwrap();
        for _ in 0..each {
            check(&world.crash(&mut dice), &book, &mut dice);
        }
        if dice.u8(..8) == 0 {
            check(&world.kill(), &book, &mut dice);
        }
    });
}

fn work(seed: u64, steps: usize, faults: bool, each: usize) {
    let (disk, book) = (Crashing::new(), Arc::new(Mutex::new(Book::default())));
    let mut dice = Rng::with_seed(seed);
    let mut rig = Rig::open(&disk, seed).unwrap();
    look(&disk, &book, seed, each);
    for _ in 0..steps {
        if faults && dice.u8(..6) == 0 {
            disk.fail(disk.ops() + dice.u64(..12), if dice.bool() { EIO } else { ENOSPC });
        }
        let some = dice.choice(rig.queue.keys().copied().collect::<Vec<_>>());
        let done = match (dice.u8(..24), some) {
            (0, _) => {
                drop(rig);
                rig = loop {
                    match Rig::open(&disk, dice.u64(..)) {
                        Ok(rig) => break rig,
                        Err(error) => assert!(faults, "{error}"),
                    }
                };
                let mut book = book.lock().unwrap();
                rig.check(&book);
                // Jots that nobody flushed are lost or not; from now on it is known.
                let queued: BTreeMap<u64, u8> = rig.queue.clone();
                for id in book.records.keys().copied().collect::<Vec<_>>() {
                    match queued.get(&id) {
                        Some(&attempts) => {
                            book.promised.insert(id);
                            book.settling.remove(&id);
                            book.told.insert(id, attempts);
                            book.tried.insert(id, attempts);
                        }
                        None => drop((book.settling.insert(id), book.settled.insert(id))),
                    }
                }
                let gone: Vec<u64> = book.reports.iter().filter(|(id, _)| !queued.contains_key(id)).map(|(id, _)| *id).collect();
                book.reports.retain(|id, _| !gone.contains(id));
                Ok(())
            }
            (1..=8, _) => rig.accept(&book, 0),
            (9, Some(id)) => rig.accept(&book, id),
            (10..=12, Some(id)) => rig.try_it(&book, id, false),
            (13..=17, Some(id)) => rig.try_it(&book, id, true),
            (18, _) => rig.flush(&book),
            (19..=21, _) => rig.checkpoint(),
            (22, _) => rig.garbage(),
            _ => rig.spool.prepare(),
        };
        if let Err(error) = done {
            assert!(faults, "{error}");
        }
        if !faults {
            rig.check(&book.lock().unwrap());
        }
    }
    disk.unwatch();
    let mut dice = Rng::with_seed(seed);
    check(&disk.crash(&mut dice), &book.lock().unwrap(), &mut dice);
}

fn told(name: &str) {
    println!("{name}: {} crashes so far", CRASHES.load(Ordering::Relaxed));
}

#[test]
fn nothing_queued_is_lost_at_any_operation() {
    (0..12).for_each(|seed| work(seed, 120, false, 3));
    told("without faults");
}

#[test]
fn a_failing_disk_loses_nothing_that_is_queued() {
    (100..112).for_each(|seed| work(seed, 120, true, 3));
    told("with faults");
}

/// A checkpoint fails at any operation; then everything that was queued is done, and the next checkpoint has nothing to write.
#[test]
fn what_a_failed_checkpoint_wrote_is_not_believed_when_all_is_done() {
    let mut failed = 0;
    for op in 0..100 {
        let disk = Crashing::new();
        let book = Mutex::new(Book::default());
        let mut rig = Rig::open(&disk, 7).unwrap();
        rig.accept(&book, 0).unwrap();
        disk.fail(disk.ops() + op, EIO);
        let done = rig.checkpoint();
        disk.heal();
        failed += u32::from(done.is_err());
        let id = *rig.queue.keys().next().expect("it is queued");
        rig.try_it(&book, id, true).unwrap();
        rig.flush(&book).unwrap();
        rig.checkpoint().unwrap();
        rig.garbage().unwrap();
        let mut dice = Rng::with_seed(op);
        check(&disk.kill(), &book.lock().unwrap(), &mut dice);
        check(&disk.crash(&mut dice), &book.lock().unwrap(), &mut dice);
        if done.is_ok() {
            break;
        }
    }
    assert!(failed > 3, "a checkpoint has {failed} operations that can fail");
}
