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

/// Flips a bit of the first place where the log's file has these bytes.
fn flip(scratch: &Scratch, number: u64, needle: &[u8]) {
    let path = segment::live(&scratch.0, number);
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(needle.len()).position(|w| w == needle).unwrap();
    bytes[at] ^= 1;
    std::fs::write(&path, bytes).unwrap();
}

fn texts(seen: &[(Lsn, Vec<u8>)]) -> Vec<&[u8]> {
    seen.iter().map(|(_, record)| &**record).collect()
}

fn looked(scratch: &Scratch) -> Report {
    inspect(&Posix, &scratch.0, &mut |_| {}).unwrap()
}

#[test]
fn a_torn_tail_is_no_damage() {
    let scratch = Scratch::new("torn");
    let (spool, _) = scratch.open();
    commit(&spool, b"one");
    commit(&spool, b"two");
    drop(spool);
    flip(&scratch, 1, b"two");
    let (spool, seen) = scratch.open();
    assert_eq!(texts(&seen), [b"one"]);
    assert_eq!((spool.lost(), looked(&scratch).damage.len(), looked(&scratch).aside.len()), (0, 0, 0));
}

#[test]
fn what_lies_behind_a_flipped_bit_is_saved_and_the_damage_is_told() {
    let scratch = Scratch::new("damage");
    let (spool, _) = scratch.open();
    for record in [b"one", b"two", b"six", b"ten"] {
        commit(&spool, record);
    }
    let top = spool.next_id();
    drop(spool);
    flip(&scratch, 1, b"two");
    assert_eq!(looked(&scratch).damage.len(), 1);
    for _ in 0..2 {
        let (spool, seen) = scratch.open();
        assert_eq!(texts(&seen), [b"one", b"six", b"ten"]);
        assert_eq!(spool.lost(), 35);
        assert!(spool.next_id() > top);
        let report = looked(&scratch);
        assert_eq!((report.damage.len(), report.aside.len()), (1, 1), "{report:?}");
        assert!(seen.iter().all(|(at, record)| spool.read(*at).unwrap() == *record));
    }
    // What was put aside stays when the log has let go of the rest.
    let (spool, _) = scratch.open();
    spool.release(spool.mark()).unwrap();
    let report = looked(&scratch);
    assert_eq!((report.damage.len(), report.aside.len()), (0, 1));
    let mut saved = Vec::new();
    let lost = salvage(&Posix, &scratch.0.join(&report.aside[0].name), &mut |_, _, record| saved.push(record.to_vec())).unwrap();
    assert_eq!((lost, saved.len()), (35, 3));
}

#[test]
fn the_last_group_is_vouched_for_too() {
    let scratch = Scratch::new("vouch");
    let (spool, _) = scratch.open();
    commit(&spool, b"one");
    spool.vouch().unwrap();
    drop(spool);
    flip(&scratch, 1, b"one");
    let (spool, seen) = scratch.open();
    assert_eq!((seen.len(), spool.lost(), looked(&scratch).aside.len()), (0, 35, 1));
    // It is written over by who comes next.
    let two = commit(&spool, b"two");
    spool.vouch().unwrap();
    let six = commit(&spool, b"six");
    assert_eq!(six, two + 35);
    drop(spool);
    assert_eq!(texts(&scratch.open().1), [b"two", b"six"]);
}

#[test]
fn a_segment_without_a_head_costs_what_is_in_it_and_no_more() {
    for broken in 1..=4u64 {
        let scratch = Scratch::new("headless");
        let (spool, _) = scratch.open();
        let mut ends = Vec::new();
        for n in 0..12u8 {
            ends.push(commit(&spool, &[n; 900]));
        }
        let top = spool.next_id();
        assert_eq!(looked(&scratch).segments, 4);
        drop(spool);
        let path = segment::live(&scratch.0, broken);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[..512].fill(0);
        std::fs::write(&path, bytes).unwrap();
        assert!(!looked(&scratch).damage.is_empty());
        for _ in 0..2 {
            let (spool, seen) = scratch.open();
            assert!((6..12).contains(&seen.len()), "{broken}: {}", seen.len());
            assert!(spool.next_id() > top);
            assert!(broken == 1 || spool.lost() > 0);
            assert!(commit(&spool, b"next") > *ends.last().unwrap());
            // And of the one before it, which ends too early now.
            assert!((1..=2).contains(&looked(&scratch).aside.len()));
            assert_eq!(spool.read(seen[0].0).unwrap(), seen[0].1);
        }
        let report = looked(&scratch);
        let aside = report.aside.iter().find(|aside| aside.name.starts_with(&format!("{broken:016x}"))).unwrap();
        let mut saved = 0;
        salvage(&Posix, &scratch.0.join(&aside.name), &mut |_, _, record| saved += usize::from(record.len() == 900)).unwrap();
        assert!(saved >= 3, "{saved}");
    }
}

#[test]
fn a_log_that_is_gone_begins_beyond_what_others_know() {
    let scratch = Scratch::new("gone");
    let open = |floor, run| {
        let options = Options { segment: 4096, floor, run, ..Options::default() };
        Spool::open(Arc::new(Posix), &scratch.0, options, &mut |_, _| {}).unwrap()
    };
    assert!(open(5000, 7).next_id() >= 8 << RUN_BITS);
    assert!(commit(&open(5000, 7), b"one") >= 5000);
    // Others know of more than there is.
    let spool = open(9000, 7);
    assert!(spool.lost() > 0 && commit(&spool, b"two") >= 9000);
    drop(spool);
    for (name, _) in
        std::fs::read_dir(&scratch.0).unwrap().map(|e| e.unwrap()).filter_map(|e| e.file_name().into_string().ok().map(|n| (n, ())))
    {
        if name.ends_with(".log") {
            std::fs::write(scratch.0.join(name), [0; 4096]).unwrap();
        }
    }
    let spool = open(9000, 20);
    assert!(spool.next_id() >= 21 << RUN_BITS);
    assert!(spool.lost() > 0 && commit(&spool, b"three") > 20_000);
}

#[test]
fn what_a_later_version_wrote_is_never_taken_for_torn() {
    use queue::frame::{FrameHead, Kind};
    let scratch = Scratch::new("later");
    let (spool, _) = scratch.open();
    let at = commit(&spool, b"one");
    let head = spool.state().segments.list[0];
    drop(spool);
    let path = segment::live(&scratch.0, 1);
    let bytes = std::fs::read(&path).unwrap();
    let frame = FrameHead { len: 0, crc: 0, at: at + 35, id: 1, kind: Kind::Other(9), durable: None };
    let mut later = bytes.clone();
    later[512 + at as usize + 35..][..32].copy_from_slice(&frame.encode(head.salt));
    std::fs::write(&path, later).unwrap();
    let error = Spool::open(Arc::new(Posix), &scratch.0, Options::default(), &mut |_, _| {}).unwrap_err();
    assert!(error.to_string().contains("later version"), "{error}");
    let mut later = bytes;
    later[..512].fill(3);
    later[..8].copy_from_slice(b"HIKYAKU\x02");
    std::fs::write(&path, later).unwrap();
    let error = Spool::open(Arc::new(Posix), &scratch.0, Options::default(), &mut |_, _| {}).unwrap_err();
    assert!(error.to_string().contains("version 2"), "{error}");
}
