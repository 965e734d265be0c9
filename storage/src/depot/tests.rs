//! The depot on the machine's own disk. What a crash can do to it is shown in tests/.

use super::*;
use crate::{disk::Posix, spool};
use std::collections::BTreeMap;

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let dir = std::env::temp_dir().join(format!("hikyaku-depot-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir(&dir).unwrap();
        Scratch(dir)
    }

    fn spool(&self) -> Spool {
        let options = spool::Options { segment: 64 << 10, patience: None, seed: 1, ..spool::Options::default() };
        Spool::open(Arc::new(Posix), &self.0.join("spool"), options, &mut |_, _| {}).unwrap()
    }

    fn depot(&self) -> (Depot, BTreeMap<u64, Vec<u8>>) {
        let mut seen = BTreeMap::new();
        let options = Options { pack: 8 << 10, compact: 8 << 10, small: 4 };
        let depot = Depot::open(Arc::new(Posix), &self.0.join("depot"), options, &mut |id, bytes, record| {
            assert!(id == 0 || record().unwrap() == content(id));
            assert!(seen.insert(id, bytes.to_vec()).is_none());
        });
        (depot.unwrap(), seen)
    }

    fn packs(&self) -> usize {
        std::fs::read_dir(self.0.join("depot"))
            .unwrap()
            .filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().ends_with("pack"))
            .count()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn content(id: u64) -> Vec<u8> {
    id.to_le_bytes().repeat(60 + id as usize % 50)
}

fn accept(spool: &Spool, depot: &Depot) -> u64 {
    let mut entry = spool.entry();
    let at = entry.commit(&[&content(entry.id())]).unwrap();
    let id = entry.id();
    depot.note(id, at, false);
    entry.delivered();
    id
}

fn state_of(id: u64) -> Vec<u8> {
    format!("state of {id}").into_bytes()
}

fn checkpoint(spool: &Spool, depot: &Depot, ids: &[u64]) {
    let mark = spool.mark();
    depot.checkpoint(spool, mark, &mut |put| ids.iter().for_each(|&id| put(id, &state_of(id)))).unwrap();
    spool.release(mark).unwrap();
    depot.garbage().unwrap();
}

#[test]
fn messages_outlive_the_log() {
    let scratch = Scratch::new("outlive");
    let (spool, (depot, seen)) = (scratch.spool(), scratch.depot());
    assert!(seen.is_empty());
    checkpoint(&spool, &depot, &[]);
    assert!(!scratch.0.join("depot/queue").exists(), "nothing to say");
    let mut ids: Vec<u64> = (0..50).map(|_| accept(&spool, &depot)).collect();
    ids.iter().for_each(|&id| assert_eq!(depot.read(&spool, id).unwrap(), content(id)));
    checkpoint(&spool, &depot, &ids);
    assert_eq!((depot.len(), depot.parked(), spool.live_bytes() < 100), (50, 50, true));
    let late = accept(&spool, &depot);
    // What no state is put of is not queued as far as the next start is concerned; what is in the log needs none.
    depot.forget(ids.pop().unwrap());
    ids.push(late);
    ids.iter().for_each(|&id| assert_eq!(depot.read(&spool, id).unwrap(), content(id)));
    assert_eq!(depot.read(&spool, 77).unwrap_err().kind(), io::ErrorKind::NotFound);
    let upto = depot.upto();
    drop((spool, depot));

    let (spool, (depot, seen)) = (scratch.spool(), scratch.depot());
    assert_eq!((seen.len(), depot.parked(), depot.upto()), (50, 50, upto));
    assert!(seen.iter().all(|(&id, bytes)| *bytes == state_of(id)));
    ids.pop();
    ids.iter().for_each(|&id| assert_eq!(depot.read(&spool, id).unwrap(), content(id)));
    seen.keys().for_each(|&id| depot.forget(id));
    checkpoint(&spool, &depot, &[]);
    assert_eq!(scratch.packs(), 0);
    assert!(scratch.depot().1.is_empty());
}

#[test]
fn packs_do_not_outgrow_what_is_queued() {
    let scratch = Scratch::new("compact");
    let (spool, (depot, _)) = (scratch.spool(), scratch.depot());
    let mut dice = fastrand::Rng::with_seed(3);
    let mut ids = Vec::new();
    for round in 0..60 {
        (0..dice.usize(..12)).for_each(|_| ids.push(accept(&spool, &depot)));
        // Most are done soon, some never.
        let (done, left) = ids.iter().partition(|&&id| id % 16 != 0 && dice.u8(..3) > 0);
        let done: Vec<u64> = done;
        done.iter().for_each(|&id| depot.forget(id));
        ids = left;
        checkpoint(&spool, &depot, &ids);
        ids.iter().for_each(|&id| assert_eq!(depot.read(&spool, id).unwrap(), content(id), "round {round}"));
    }
    let alive: usize = ids.iter().map(|&id| content(id).len()).sum();
    assert!(ids.len() > 20 && scratch.packs() <= 5 + 2 * alive / (8 << 10) + 1, "{} packs for {alive} bytes", scratch.packs());
    assert_eq!(scratch.depot().1.len(), ids.len());
}

#[test]
fn large_files_live_as_long_as_their_message() {
    let scratch = Scratch::new("large");
    let (spool, (depot, _)) = (scratch.spool(), scratch.depot());
    let mut entry = spool.entry();
    let mut large = entry.large().unwrap();
    large.append(b"large").unwrap();
    large.finish().unwrap();
    let id = entry.id();
    let at = entry.commit(&[&content(id)]).unwrap();
    depot.note(id, at, true);
    entry.delivered();
    let whole = |spool: &Spool, depot: &Depot| {
        let file = depot.open_large(spool, id).unwrap();
        let mut bytes = [0; 9];
        let n = file.read_at(&mut bytes, 0).unwrap();
        bytes[..n].to_vec()
    };
    assert_eq!(whole(&spool, &depot), b"large");
    checkpoint(&spool, &depot, &[id]);
    spool.garbage().unwrap();
    assert!(!spool.large_path(id).exists());
    assert_eq!(whole(&spool, &depot), b"large");
    drop((spool, depot));
    let (spool, (depot, _)) = (scratch.spool(), scratch.depot());
    assert_eq!(whole(&spool, &depot), b"large");
    depot.forget(id);
    depot.garbage().unwrap();
    assert!(large_path(&scratch.0.join("depot"), id).exists(), "the snapshot on the disk still has it");
    checkpoint(&spool, &depot, &[]);
    assert!(!large_path(&scratch.0.join("depot"), id).exists());
}

#[test]
fn the_queue_keeps_something_of_its_own() {
    let scratch = Scratch::new("own");
    let (spool, (depot, _)) = (scratch.spool(), scratch.depot());
    let id = accept(&spool, &depot);
    let mark = spool.mark();
    depot
        .checkpoint(&spool, mark, &mut |put| {
            put(0, b"own");
            put(id, b"state");
        })
        .unwrap();
    drop(depot);
    assert_eq!(scratch.depot().1, BTreeMap::from([(0, b"own".to_vec()), (id, b"state".to_vec())]));
}

/// A depot of some messages in several packs, of which some are done; the ids that are queued, and those that are not.
fn filled(scratch: &Scratch) -> (Spool, Vec<u64>, Vec<u64>) {
    let (spool, (depot, _)) = (scratch.spool(), scratch.depot());
    let ids: Vec<u64> = (0..40).map(|_| accept(&spool, &depot)).collect();
    checkpoint(&spool, &depot, &ids);
    let (done, queued): (Vec<u64>, Vec<u64>) = ids.iter().partition(|&&id| id % 4 == 1);
    done.iter().for_each(|&id| depot.forget(id));
    checkpoint(&spool, &depot, &queued);
    assert!(scratch.packs() > 2);
    (spool, queued, done)
}

fn change(path: &Path, places: &[usize]) {
    let mut bytes = std::fs::read(path).unwrap();
    places.iter().for_each(|&at| bytes[at] ^= 4);
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn what_is_damaged_in_one_place_is_made_again() {
    let scratch = Scratch::new("one");
    let (spool, queued, _) = filled(&scratch);
    let dir = scratch.0.join("depot");
    assert_eq!(check(&Posix, &dir).unwrap(), [""; 0]);
    // The end of the first message of a pack.
    let pack = pack::path(&dir, 2);
    change(&pack, &[8 + 32 + 7]);
    change(&dir.join("queue"), &[100]);
    assert_eq!(check(&Posix, &dir).unwrap().len(), 2);
    let (depot, seen) = scratch.depot();
    assert_eq!(seen, queued.iter().map(|&id| (id, state_of(id))).collect());
    queued.iter().for_each(|&id| assert_eq!(depot.read(&spool, id).unwrap(), content(id)));
    // What is left of the damaged pack goes to another.
    checkpoint(&spool, &depot, &queued);
    assert!(!pack.exists());
    assert_eq!((check(&Posix, &dir).unwrap(), aside(&Posix, &dir).unwrap()), (vec![], vec![]));
    queued.iter().for_each(|&id| assert_eq!(depot.read(&spool, id).unwrap(), content(id)));
}

#[test]
fn a_snapshot_that_is_lost_costs_no_message() {
    // All of it; its head, twice; its states, twice.
    for case in 0..3 {
        let scratch = Scratch::new("lost");
        let (spool, queued, done) = filled(&scratch);
        let dir = scratch.0.join("depot");
        let path = dir.join("queue");
        let len = std::fs::read(&path).unwrap().len();
        match case {
            0 => std::fs::write(&path, vec![0; len]).unwrap(),
            1 => change(&path, &[20, len - 3]),
            _ => change(&path, &[200, len - 3]),
        }
        let mut again = 0;
        let depot = Depot::open(Arc::new(Posix), &dir, Options::default(), &mut |id, state, record| {
            assert_eq!(record().unwrap(), content(id));
            assert!(state.is_empty() || state == state_of(id));
            again += usize::from(state.is_empty());
        })
        .unwrap();
        queued.iter().for_each(|&id| assert_eq!(depot.read(&spool, id).unwrap(), content(id), "case {case}"));
        assert!(done.iter().all(|&id| depot.holds(id) || case == 1));
        assert_eq!(again, if case == 1 { 0 } else { queued.len() + done.len() });
        assert_eq!(aside(&Posix, &dir).unwrap().len(), usize::from(case != 1));
        // Whoever looks once more finds it whole, and what was put aside is still there.
        checkpoint(&spool, &depot, &queued);
        drop(depot);
        assert_eq!(scratch.depot().1.len(), queued.len());
        assert_eq!(aside(&Posix, &dir).unwrap().len(), usize::from(case != 1));
    }
}

#[test]
fn a_state_that_is_lost_is_one_between_its_neighbours() {
    let scratch = Scratch::new("gap");
    let (spool, (depot, _)) = (scratch.spool(), scratch.depot());
    let ids: Vec<u64> = (0..3).map(|_| accept(&spool, &depot)).collect();
    let mark = spool.mark();
    // A block each.
    let state = |id: u64| id.to_le_bytes().repeat(200_000);
    depot.checkpoint(&spool, mark, &mut |put| ids.iter().for_each(|&id| put(id, &state(id)))).unwrap();
    spool.release(mark).unwrap();
    let path = scratch.0.join("depot/queue");
    let len = std::fs::read(&path).unwrap().len();
    let open = |places: &[usize], lost: &[u64]| {
        change(&path, places);
        let mut seen = BTreeMap::new();
        let depot = Depot::open(Arc::new(Posix), &scratch.0.join("depot"), Options::default(), &mut |id, state, record| {
            assert_eq!(record().unwrap(), content(id));
            seen.insert(id, state.to_vec());
        });
        assert_eq!(depot.unwrap().len(), 3);
        for &id in &ids {
            assert!(seen[&id] == if lost.contains(&id) { vec![] } else { state(id) }, "{places:?}");
        }
        change(&path, places);
    };
    open(&[], &[]);
    let second = 2_000_000;
    open(&[second], &[]);
    open(&[second, len - 3], &[ids[1]]);
    // Two pieces of one group, both of the second state.
    open(&[second, second + (128 << 10)], &[ids[1]]);
    open(&[second, second + (64 << 10)], &[]);
    // The length of its block too: nobody knows where the next begins.
    let block = |bytes: &[u8]| 8 + u32::from_le_bytes(bytes.first_chunk().copied().unwrap()) as usize;
    let bytes = std::fs::read(&path).unwrap();
    let first = block(&bytes);
    let at = first + block(&bytes[first..]);
    open(&[at, len - 3], &[ids[1], ids[2]]);
}

#[test]
fn a_record_that_is_lost_is_one_message_and_is_put_aside() {
    let scratch = Scratch::new("record");
    let (spool, queued, _) = filled(&scratch);
    let dir = scratch.0.join("depot");
    let pack = pack::path(&dir, 2);
    let len = std::fs::read(&pack).unwrap().len();
    change(&pack, &[8 + 32 + 7, len - 3]);
    let depot = Depot::open(Arc::new(Posix), &dir, Options::default(), &mut |_, _, _| {}).unwrap();
    let lost: Vec<u64> = queued.iter().copied().filter(|&id| depot.read(&spool, id).is_err()).collect();
    assert_eq!(lost.len(), 1);
    assert_eq!(depot.read(&spool, lost[0]).unwrap_err().kind(), io::ErrorKind::InvalidData);
    assert_eq!(aside(&Posix, &dir).unwrap(), ["00000002-1.damaged"]);
    let told = check(&Posix, &dir).unwrap();
    assert!(told.len() == 2 && told[0].contains(&format!("message {:x} cannot be read", lost[0])), "{told:?}");
    let kept = std::fs::read(&pack).unwrap();
    std::fs::remove_file(&pack).unwrap();
    let told = check(&Posix, &dir).unwrap();
    assert!(told.len() == 1 && told[0].contains("pack 00000002 is gone"), "{told:?}");
    std::fs::write(&pack, kept).unwrap();
    // Until somebody says that it is done with, it is queued.
    checkpoint(&spool, &depot, &queued);
    assert!(depot.holds(lost[0]) && pack.exists());
    depot.forget(lost[0]);
    let left: Vec<u64> = queued.iter().copied().filter(|id| *id != lost[0]).collect();
    checkpoint(&spool, &depot, &left);
    left.iter().for_each(|&id| assert_eq!(depot.read(&spool, id).unwrap(), content(id)));
    assert_eq!(aside(&Posix, &dir).unwrap(), ["00000002-1.damaged"]);
}

#[test]
fn a_record_that_is_lost_in_the_log_does_not_hold_it() {
    let scratch = Scratch::new("log");
    let (spool, (depot, _)) = (scratch.spool(), scratch.depot());
    let ids: Vec<u64> = (0..3).map(|_| accept(&spool, &depot)).collect();
    let segment = std::fs::read_dir(scratch.0.join("spool")).unwrap().map(|entry| entry.unwrap().path());
    let segment = segment.filter(|path| path.extension().is_some_and(|e| e == "log")).max().unwrap();
    let bytes = std::fs::read(&segment).unwrap();
    let at = bytes.windows(content(ids[1]).len()).position(|window| window == content(ids[1])).unwrap();
    change(&segment, &[at]);
    let mut tries = 0;
    loop {
        let mark = spool.mark();
        tries += 1;
        match depot.checkpoint(&spool, mark, &mut |put| ids.iter().for_each(|&id| put(id, &state_of(id)))) {
            Ok(()) => break spool.release(mark).unwrap(),
            Err(_) => assert!(tries < 5, "the log is held"),
        }
    }
    assert!(spool.live_bytes() < 100 && depot.holds(ids[1]));
    drop(depot);
    let depot = Depot::open(Arc::new(Posix), &scratch.0.join("depot"), Options::default(), &mut |_, _, _| {}).unwrap();
    assert_eq!(depot.len(), ids.len());
    assert_eq!(depot.read(&spool, ids[1]).unwrap_err().kind(), io::ErrorKind::InvalidData);
    [ids[0], ids[2]].iter().for_each(|&id| assert_eq!(depot.read(&spool, id).unwrap(), content(id)));
    assert_eq!(spool::aside(&Posix, &scratch.0.join("spool")).unwrap().len(), 1);
}
