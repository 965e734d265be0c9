//! The spool on the machine's own disk. What a crash can do to it is shown in tests/.

use super::*;
use crate::disk::Posix;

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let dir = std::env::temp_dir().join(format!("hikyaku-spool-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        Scratch(dir)
    }

    fn open(&self) -> (Spool, Vec<(Lsn, Vec<u8>)>) {
        let mut seen = Vec::new();
        let options = Options { segment: 4096, limit: 32 << 10, ..Options::default() };
        let spool = Spool::open(Arc::new(Posix), &self.0, options, &mut |at, record| seen.push((at, record.to_vec()))).unwrap();
        (spool, seen)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn commit(spool: &Spool, record: &[u8]) -> Lsn {
    let mut entry = spool.entry();
    let at = entry.commit(&[record]).unwrap();
    entry.delivered();
    at
}

#[test]
fn records_are_replayed_until_they_are_released() {
    let scratch = Scratch::new("replay");
    let (spool, seen) = scratch.open();
    assert!(seen.is_empty());
    let first = spool.next_id();
    commit(&spool, b"one");
    let mut two = spool.entry();
    let at = two.commit(&[b"t", b"wo"]).unwrap();
    commit(&spool, b"three");
    assert_eq!(spool.mark(), at);
    assert_eq!(spool.read(at).unwrap(), b"two");
    spool.release(at).unwrap();
    assert_eq!(two.pin(), at);
    assert_eq!(spool.mark(), at);
    assert_eq!(Spool::open(Arc::new(Posix), &scratch.0, Options::default(), &mut |_, _| {}).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    drop(spool);

    let (spool, seen) = scratch.open();
    assert_eq!(seen.iter().map(|(_, r)| &r[..]).collect::<Vec<_>>(), [&b"two"[..], b"three"]);
    assert_eq!(seen[0].0, at);
    assert_eq!(spool.read(at).unwrap(), b"two");
    assert!(spool.next_id() > first + 1_000_000);
    let end = spool.mark();
    spool.release(end).unwrap();
    assert_eq!(spool.read(at).unwrap_err().kind(), io::ErrorKind::NotFound);
    drop(spool);
    let (_, seen) = scratch.open();
    assert!(seen.is_empty());
}

#[test]
fn an_entry_that_ends_without_a_word_keeps_its_record() {
    let scratch = Scratch::new("panic");
    let (spool, _) = scratch.open();
    commit(&spool, b"one");
    let mut at = 0;
    let panicked = crate::supervise::guarded("test", || {
        let mut entry = spool.entry();
        at = entry.commit(&[b"two"]).unwrap();
        std::panic::resume_unwind(Box::new("in the middle of a delivery"))
    });
    assert!(panicked.is_none());
    commit(&spool, b"three");
    assert_eq!(spool.mark(), at);
    spool.release(spool.mark()).unwrap();
    drop(spool);
    let (_, seen) = scratch.open();
    assert_eq!(seen.iter().map(|(_, record)| &record[..]).collect::<Vec<_>>(), [&b"two"[..], b"three"]);
}

#[test]
fn it_goes_through_many_segments_and_uses_them_again() {
    let scratch = Scratch::new("segments");
    for round in 0..2u8 {
        let (spool, seen) = scratch.open();
        assert!(seen.is_empty());
        for n in 0..200u8 {
            let at = commit(&spool, &[n ^ round; 700]);
            assert_eq!(spool.read(at).unwrap(), [n ^ round; 700]);
            if n % 20 == 19 {
                spool.release(spool.mark()).unwrap();
                spool.prepare().unwrap();
            }
        }
        spool.garbage().unwrap();
        drop(spool);
        assert!(std::fs::read_dir(&scratch.0).unwrap().count() < 14);
        let mut live = 0;
        let report = inspect(&Posix, &scratch.0, &mut |seen| live += usize::from(seen.live)).unwrap();
        assert_eq!((live, report.runs, report.damage.len()), (0, u64::from(round) + 1, 0));
    }
}

#[test]
fn a_full_spool_says_so_and_recovers() {
    let scratch = Scratch::new("full");
    let (spool, _) = scratch.open();
    let mut held = Vec::new();
    let error = loop {
        let mut entry = spool.entry();
        match entry.commit(&[&[7; 1000]]) {
            Ok(_) => held.push(entry),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(spool.entry().commit(&[&[0; 4096]]).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    held.into_iter().for_each(Entry::delivered);
    spool.release(spool.mark()).unwrap();
    commit(&spool, b"again");
}

#[test]
fn large_messages_live_as_long_as_their_record() {
    let scratch = Scratch::new("large");
    let (spool, _) = scratch.open();
    let mut kept = spool.entry();
    let mut large = kept.large().unwrap();
    large.append(b"large").unwrap();
    assert_eq!(large.finish().unwrap(), 5);
    kept.commit(&[b"names it"]).unwrap();
    let mut dropped = spool.entry();
    dropped.large().unwrap().append(b"never mind").unwrap();
    let (kept_path, dropped_path) = (spool.large_path(kept.id()), spool.large_path(dropped.id()));
    drop(dropped);
    assert_eq!(spool.garbage().unwrap(), 1);
    assert!(kept_path.exists() && !dropped_path.exists());
    kept.delivered();
    let mut lost = spool.entry();
    lost.large().unwrap();
    std::mem::forget(lost);
    drop(spool);

    let (spool, seen) = scratch.open();
    assert_eq!(seen.len(), 1);
    assert_eq!(spool.garbage().unwrap(), 1);
    assert!(kept_path.exists());
    spool.release(spool.mark()).unwrap();
    assert_eq!(spool.garbage().unwrap(), 1);
    assert!(!kept_path.exists());
}

#[test]
fn many_threads_share_flushes_and_lose_nothing() {
    let scratch = Scratch::new("threads");
    let options = Options { segment: 64 << 10, ..Options::default() };
    let spool = Spool::open(Arc::new(Posix), &scratch.0, options.clone(), &mut |_, _| {}).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8u8 {
            let spool = &spool;
            scope.spawn(move || {
                for n in 0..100u8 {
                    let at = commit(spool, &[thread, n, 3, 4]);
                    assert_eq!(spool.read(at).unwrap(), [thread, n, 3, 4]);
                }
            });
        }
    });
    drop(spool);
    let mut seen = std::collections::BTreeSet::new();
    Spool::open(Arc::new(Posix), &scratch.0, options, &mut |_, record| assert!(seen.insert(record.to_vec()))).unwrap();
    assert_eq!(seen.len(), 800);
}

#[test]
fn damage_is_noticed_and_a_torn_tail_is_not_damage() {
    let scratch = Scratch::new("damage");
    let (spool, _) = scratch.open();
    commit(&spool, b"one");
    commit(&spool, b"two");
    drop(spool);
    let path = segment::live(&scratch.0, 1);
    let flip = |from_end: bool| {
        let mut bytes = std::fs::read(&path).unwrap();
        let needle: &[u8] = if from_end { b"two" } else { b"one" };
        let at = bytes.windows(3).position(|w| w == needle).unwrap();
        bytes[at] ^= 1;
        std::fs::write(&path, bytes).unwrap();
    };
    flip(true);
    let (spool, seen) = scratch.open();
    assert_eq!(seen.len(), 1);
    drop(spool);
    flip(false);
    let error = Spool::open(Arc::new(Posix), &scratch.0, Options::default(), &mut |_, _| {}).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    let report = inspect(&Posix, &scratch.0, &mut |_| {}).unwrap();
    assert_eq!(report.damage.len(), 1);
}
