//! The spool keeps its promise at every crash.
//!
//! Scripted, seeded and concurrent work runs on a disk that is looked at before every operation: of each moment several disks that a crash could
//! leave are opened again, and what is replayed is held against what had been promised by then.

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
use storage::spool::{Lsn, Options, Spool, inspect};

/// Disks looked at, over all tests of this file.
static CRASHES: AtomicUsize = AtomicUsize::new(0);

/// Errors of the system.
const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// What was promised, and what was tried.
#[derive(Default)]
struct Book {
    /// Records that were acknowledged and not released since, by id.
    acked: BTreeMap<u64, Lsn>,
    /// Records that were tried: all that may ever be seen.
    tried: BTreeMap<u64, Vec<u8>>,
    /// Records whose commit failed, and after which another succeeded.
    refused: BTreeSet<u64>,
    /// Records whose commit failed since the last success.
    doubtful: BTreeSet<u64>,
    /// Records that are delivered, and those whose release is under way or done.
    released: BTreeSet<u64>,
    /// Records that must not be replayed.
    forgotten: BTreeSet<u64>,
    /// The greatest id that was given out.
    top_id: u64,
    /// Jots: they may be seen, and twice if a disk failed.
    jots: BTreeSet<u64>,
    /// Those of this run since the last release.
    pending: BTreeSet<u64>,
    /// Those that were flushed, and not released since: they must be seen.
    flushed: BTreeSet<u64>,
    /// Entries with a large file.
    large: BTreeSet<u64>,
}

type Shared = Arc<Mutex<Book>>;

fn options(seed: u64) -> Options {
    Options { segment: 4096, limit: 1 << 20, spares: 2, seed, ..Options::default() }
}

/// The content of a record: its id, then bytes that follow from it.
fn record(id: u64) -> Vec<u8> {
    let mut dice = Rng::with_seed(id);
    let len = dice.choice([0, 10, 100, 700, 3000]).unwrap_or(0);
    id.to_le_bytes().into_iter().chain(std::iter::repeat_with(|| dice.u8(..)).take(len)).collect()
}

fn id_of(record: &[u8]) -> u64 {
    u64::from_le_bytes(*record.first_chunk().expect("a record begins with its id"))
}

fn open(disk: &Crashing, seed: u64, replay: &mut dyn FnMut(Lsn, &[u8])) -> std::io::Result<Spool> {
    Spool::open(Arc::new(disk.clone()), Path::new("/spool"), options(seed), replay)
}

/// Opens what a crash left and compares. Returns what was replayed.
fn check(disk: &Crashing, book: &Book) -> BTreeSet<u64> {
    CRASHES.fetch_add(1, Ordering::Relaxed);
    let mut seen = BTreeMap::new();
    let mut last = None;
    let spool = open(disk, 99, &mut |at, bytes| {
        let id = id_of(bytes);
        assert!(last.replace(at).is_none_or(|before| before < at), "out of order");
        assert_eq!(book.tried.get(&id).map(Vec::as_slice), Some(bytes), "garbled, or nobody wrote {id:x}");
        assert!(seen.insert(id, at).is_none() || book.jots.contains(&id), "twice: {id:x}");
    })
    .expect("it opens after any crash");
    assert_eq!(spool.lost(), 0, "a crash is taken for damage");
    for (id, at) in &book.acked {
        assert_eq!(seen.get(id), Some(at), "acknowledged and lost: {id:x}");
        assert_eq!(spool.read(*at).unwrap(), book.tried[id]);
        assert!(spool.is_live(*id));
        if book.large.contains(id) {
            assert_eq!(disk.content(&spool.large_path(*id)).unwrap(), book.tried[id], "a large message was lost");
        }
    }
    for id in &book.flushed {
        assert!(seen.contains_key(id), "flushed and lost: {id:x}");
    }
    for id in seen.keys() {
        assert!(!book.forgotten.contains(id), "released and back: {id:x}");
        assert!(!book.refused.contains(id), "refused and back: {id:x}");
        assert!(!book.released.contains(id) || spool.is_live(*id));
    }
    assert!(spool.next_id() > book.top_id, "an id is used again");
    spool.garbage().unwrap();
    for id in book.acked.keys().filter(|id| book.large.contains(id)) {
        disk.content(&spool.large_path(*id)).expect("what is needed is no garbage");
    }
    seen.into_keys().collect()
}

/// Looks at every moment of what happens on `disk`: at one disk after a kill now and then, and at `each` after power cuts.
fn look(disk: &Crashing, book: &Shared, seed: u64, each: usize) {
    let book = book.clone();
    let mut dice = Rng::with_seed(seed);
    disk.watch(move |world: &World| {
        let book = book.lock().unwrap();
        for _ in 0..each {
            check(&world.crash(&mut dice), &book);
        }
        if dice.u8(..8) == 0 {
            twice(&world.kill(), &book, &mut dice);
        }
    });
}

/// A crash, and another one while the first is recovered from.
fn twice(disk: &Crashing, book: &Book, dice: &mut Rng) {
    let mut first = BTreeSet::new();
    let total = {
        let probe = disk.kill();
        first.extend(check(&probe, book));
        probe.ops() - disk.ops()
    };
    let stop = disk.kill();
    stop.stop(disk.ops() + dice.u64(0..=total));
    let mut acted = false;
    let opened = open(&stop, 98, &mut |_, _| acted = true);
    let after = stop.crash(dice);
    drop(opened);
    let second = check(&after, book);
    // What a recovery has shown, others may have acted upon: it stays.
    assert!(!acted || second == first, "a replay took something back");
}

/// Random work by one thread.
fn work(disk: &Crashing, book: &Shared, seed: u64, steps: usize, faults: bool) {
    let mut dice = Rng::with_seed(seed);
    let mut spool = open(disk, seed, &mut |_, _| {}).expect("opens");
    // Entries that are committed and not delivered.
    let mut pinned: BTreeMap<u64, Lsn> = BTreeMap::new();
    for _ in 0..steps {
        if faults && dice.u8(..6) == 0 {
            disk.fail(disk.ops() + dice.u64(..8), if dice.bool() { EIO } else { ENOSPC });
        }
        match dice.u8(..20) {
            16..=18 => jot(&spool, book, faults),
            19 => flush(&spool, book, faults),
            0 => {
                drop(spool);
                book.lock().unwrap().pending.clear();
                let mut seen = BTreeSet::new();
                spool = loop {
                    seen.clear();
                    match open(disk, dice.u64(..), &mut |_, bytes| {
                        seen.insert(id_of(bytes));
                    }) {
                        Ok(spool) => break spool,
                        Err(error) => assert!(faults, "{error}"),
                    }
                };
                let mut book = book.lock().unwrap();
                assert!(book.acked.keys().all(|id| seen.contains(id)));
                // Everything that is replayed is delivered by this thread, at once, unless it was pinned.
                for (&id, &at) in &pinned {
                    spool.pin(at, id);
                }
                // What was in doubt and is back is in the log for good.
                for id in seen {
                    book.doubtful.remove(&id);
                }
            }
            1..=9 => {
                let mut entry = spool.entry();
                let id = entry.id();
                let bytes = record(id);
                {
                    let mut book = book.lock().unwrap();
                    assert!(id > book.top_id, "ids grow");
                    book.top_id = id;
                    book.tried.insert(id, record(id));
                }
                if dice.u8(..5) == 0 {
                    let written = entry.large().and_then(|mut large| {
                        let (head, tail) = bytes.split_at(bytes.len() / 2);
                        large.append(head)?;
                        large.append(tail)?;
                        large.finish()
                    });
                    if written.is_err() {
                        assert!(faults);
                        continue;
                    }
                    book.lock().unwrap().large.insert(id);
                }
                match entry.commit(&[&bytes[..8], &bytes[8..]]) {
                    Ok(at) => {
                        let mut book = book.lock().unwrap();
                        book.acked.insert(id, at);
                        let doubtful = std::mem::take(&mut book.doubtful);
                        book.refused.extend(doubtful);
                        if dice.u8(..4) == 0 {
                            assert_eq!(entry.pin(), at);
                            pinned.insert(id, at);
                        } else {
                            entry.delivered();
                        }
                    }
                    Err(error) => {
                        assert!(faults, "{error}");
                        book.lock().unwrap().doubtful.insert(id);
                    }
                }
            }
            10 | 11 => {
                let mark = spool.mark();
                assert!(pinned.values().all(|&at| at >= mark), "the mark passed what is not delivered");
                let gone: Vec<u64> = {
                    let mut book = book.lock().unwrap();
                    book.flushed.clear();
                    book.pending.clear();
                    let gone: Vec<u64> = book.acked.iter().filter(|(_, at)| **at < mark).map(|(id, _)| *id).collect();
                    for id in &gone {
                        book.acked.remove(id);
                        book.released.insert(*id);
                    }
                    gone
                };
                match spool.release(mark) {
                    Ok(()) => book.lock().unwrap().forgotten.extend(gone),
                    Err(error) => assert!(faults, "{error}"),
                }
            }
            12 => {
                if let Some((id, at)) = pinned.pop_first() {
                    spool.unpin(at, id);
                }
            }
            13 if dice.bool() => drop(spool.vouch().map_err(|error| assert!(faults, "{error}"))),
            13 => drop(spool.prepare().map_err(|error| assert!(faults, "{error}"))),
            14 => drop(spool.garbage().map_err(|error| assert!(faults, "{error}"))),
            _ => {
                let report = inspect(disk, Path::new("/spool"), &mut |seen| assert_eq!(seen.record, record(id_of(seen.record)))).unwrap();
                assert!(report.damage.is_empty(), "{report:?}");
            }
        }
    }
}

fn jot(spool: &Spool, book: &Mutex<Book>, faults: bool) {
    let id = spool.next_id();
    {
        let mut book = book.lock().unwrap();
        book.tried.insert(id, record(id));
        book.jots.insert(id);
        book.top_id = book.top_id.max(id);
    }
    match spool.jot(&[&record(id)]) {
        Ok(()) => drop(book.lock().unwrap().pending.insert(id)),
        Err(error) => assert!(faults, "{error}"),
    }
}

fn flush(spool: &Spool, book: &Mutex<Book>, faults: bool) {
    let jots = book.lock().unwrap().pending.clone();
    match spool.flush() {
        Ok(()) => book.lock().unwrap().flushed.extend(jots),
        Err(error) => assert!(faults, "{error}"),
    }
}

fn fresh() -> (Crashing, Shared) {
    (Crashing::new(), Shared::default())
}

fn told(name: &str) {
    println!("{name}: {} crashes so far", CRASHES.load(Ordering::Relaxed));
}

#[test]
fn nothing_acknowledged_is_lost_at_any_operation() {
    for seed in 0..12 {
        let (disk, book) = fresh();
        look(&disk, &book, seed, 4);
        work(&disk, &book, seed, 60, false);
    }
    told("one thread");
}

#[test]
fn a_failing_disk_is_never_taken_for_a_good_one() {
    for seed in 100..112 {
        let (disk, book) = fresh();
        look(&disk, &book, seed, 3);
        work(&disk, &book, seed, 60, true);
    }
    told("with faults");
}

#[test]
fn many_threads() {
    for seed in 200..206 {
        together(seed, false);
    }
    told("threads");
}

#[test]
fn many_threads_on_a_failing_disk() {
    for seed in 300..308 {
        together(seed, true);
    }
    told("threads with faults");
}

/// Random work by four threads.
fn together(seed: u64, faults: bool) {
    let (disk, book) = fresh();
    let spool = open(&disk, seed, &mut |_, _| {}).unwrap();
    look(&disk, &book, seed, 2);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (spool, book, disk) = (&spool, &book, &disk);
            scope.spawn(move || {
                let mut dice = Rng::with_seed(seed * 10 + thread);
                for _ in 0..40 {
                    if faults && dice.u8(..6) == 0 {
                        disk.fail(disk.ops() + dice.u64(..8), if dice.bool() { EIO } else { ENOSPC });
                    }
                    one_of_many(spool, book, &mut dice, faults);
                    jot(spool, book, faults);
                }
            });
        }
    });
    disk.unwatch();
    check(&disk.crash(&mut Rng::with_seed(seed)), &book.lock().unwrap());
}

fn one_of_many(spool: &Spool, book: &Mutex<Book>, dice: &mut Rng, faults: bool) {
    let mut entry = spool.entry();
    let id = entry.id();
    let doubtful = {
        let mut book = book.lock().unwrap();
        book.tried.insert(id, record(id));
        book.top_id = book.top_id.max(id);
        book.doubtful.clone()
    };
    match entry.commit(&[&record(id)]) {
        Ok(at) => {
            let mut book = book.lock().unwrap();
            book.acked.insert(id, at);
            // What had failed before this began is not in the log that goes on.
            book.refused.extend(&doubtful);
            book.doubtful.retain(|id| !doubtful.contains(id));
        }
        Err(error) => {
            assert!(faults, "{error}");
            book.lock().unwrap().doubtful.insert(id);
            return;
        }
    }
    entry.delivered();
    if dice.u8(..10) > 0 {
        return;
    }
    let mark = spool.mark();
    let gone: Vec<u64> = {
        let mut book = book.lock().unwrap();
        let gone: Vec<u64> = book.acked.iter().filter(|(_, at)| **at < mark).map(|(id, _)| *id).collect();
        for id in &gone {
            book.acked.remove(id);
        }
        gone
    };
    match spool.release(mark) {
        Ok(()) => book.lock().unwrap().forgotten.extend(gone),
        Err(error) => assert!(faults, "{error}"),
    }
}

#[test]
fn jots_cost_no_flush_and_are_there_after_one() {
    let (disk, book) = fresh();
    let spool = open(&disk, 1, &mut |_, _| {}).unwrap();
    let before = disk.ops();
    (0..20).for_each(|_| jot(&spool, &book, false));
    assert_eq!(disk.ops(), before);
    let mut dice = Rng::with_seed(1);
    assert!(check(&disk.crash(&mut dice), &book.lock().unwrap()).is_empty());
    // A disk that fails takes none of them.
    disk.fail(before + 1, EIO);
    spool.flush().unwrap_err();
    flush(&spool, &book, false);
    let after = disk.ops();
    spool.flush().unwrap();
    assert_eq!(disk.ops(), after, "nothing to flush");
    assert_eq!(check(&disk.crash(&mut dice), &book.lock().unwrap()).len(), 20);
    assert!(spool.mark() > 20 * 40, "they hold nothing");
    // They go with whoever commits.
    jot(&spool, &book, false);
    spool.entry().commit(&[&record(7)]).unwrap();
    book.lock().unwrap().tried.insert(7, record(7));
    assert_eq!(check(&disk.crash(&mut dice), &book.lock().unwrap()).len(), 22);
}

#[test]
fn jots_without_end_wait_for_the_disk() {
    let disk = Crashing::new();
    let large = Options { segment: 1 << 20, limit: 64 << 20, seed: 1, ..Options::default() };
    let spool = Spool::open(Arc::new(disk.clone()), Path::new("/spool"), large, &mut |_, _| {}).unwrap();
    let before = disk.ops();
    let record = vec![7; 100_000];
    (0..40).for_each(|_| spool.jot(&[&record]).unwrap());
    assert_eq!(disk.ops(), before);
    (0..40).for_each(|_| spool.jot(&[&record]).unwrap());
    assert!(disk.ops() > before);
    disk.stop(disk.ops());
    assert!((0..80).any(|_| spool.jot(&[&record]).is_err()), "memory is not for ever");
}

#[test]
fn a_panic_in_the_middle_of_a_write_is_one_session_s_trouble() {
    for op in 0..6 {
        let (disk, book) = fresh();
        let spool = open(&disk, 1, &mut |_, _| {}).unwrap();
        let at = disk.ops() + op;
        disk.watch(move |world| assert!(world.ops() != at, "a wrong assertion"));
        let mut panics = 0;
        for _ in 0..12 {
            let mut entry = spool.entry();
            let id = entry.id();
            {
                let mut book = book.lock().unwrap();
                book.tried.insert(id, record(id));
                book.top_id = id;
            }
            let commit = std::panic::AssertUnwindSafe(|| entry.commit(&[&record(id)]));
            match std::panic::catch_unwind(commit).expect("who commits hears of a failure") {
                Ok(at) => drop(book.lock().unwrap().acked.insert(id, at)),
                Err(_) => {
                    panics += 1;
                    disk.unwatch();
                }
            }
        }
        assert_eq!(panics, 1);
        for seed in 0..20 {
            check(&disk.crash(&mut Rng::with_seed(seed)), &book.lock().unwrap());
        }
    }
}
