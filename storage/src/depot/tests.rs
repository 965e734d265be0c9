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
fn the_queue_keeps_something_of_its_own_and_damage_is_noticed() {
    let scratch = Scratch::new("damage");
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
    let path = scratch.0.join("depot/queue");
    let whole = std::fs::read(&path).unwrap();
    let open = || Depot::open(Arc::new(Posix), &scratch.0.join("depot"), Options::default(), &mut |_, _, _| {});
    for n in 0..whole.len() {
        std::fs::write(&path, &whole[..n]).unwrap();
        assert_eq!(open().unwrap_err().kind(), io::ErrorKind::InvalidData, "cut at {n}");
        let mut flipped = whole.clone();
        flipped[n] ^= 4;
        std::fs::write(&path, &flipped).unwrap();
        assert_eq!(open().unwrap_err().kind(), io::ErrorKind::InvalidData, "flipped at {n}");
    }
    std::fs::write(&path, &whole).unwrap();
    let (depot, _) = scratch.depot();
    let pack = pack::path(&scratch.0.join("depot"), 1);
    let mut bytes = std::fs::read(&pack).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&pack, bytes).unwrap();
    assert_eq!(depot.read(&spool, id).unwrap_err().kind(), io::ErrorKind::InvalidData);
}
