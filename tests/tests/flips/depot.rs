//! The depot: whichever bit of the snapshot or of a pack flips, and whichever sector cannot be read, no message and nothing that is known of it is lost.

use super::{bits, flipped, names};
use hikyaku_tests::{disk::Crashing, told::told};
use std::{collections::BTreeMap, path::Path, sync::Arc};
use storage::{
    depot::{self, Depot},
    spool::{self, Spool},
};

const DIR: &str = "/depot";

/// States or records by id.
type Known = BTreeMap<u64, Vec<u8>>;

fn spool(disk: &Crashing) -> Spool {
    let options = spool::Options { segment: 8192, seed: 1, patience: None, ..spool::Options::default() };
    Spool::open(Arc::new(disk.clone()), Path::new("/spool"), options, &mut |_, _| {}).unwrap()
}

fn open(disk: &Crashing) -> (Depot, Known) {
    let mut states = BTreeMap::new();
    let options = depot::Options { pack: 300, ..depot::Options::default() };
    let depot = Depot::open(Arc::new(disk.clone()), Path::new(DIR), options, &mut |id, state, _| {
        assert!(states.insert(id, state.to_vec()).is_none(), "twice");
    });
    (depot.unwrap(), states)
}

fn checkpoint(spool: &Spool, depot: &Depot, states: &Known) {
    let mark = spool.mark();
    depot.checkpoint(spool, mark, &mut |put| states.iter().for_each(|(&id, state)| put(id, state))).unwrap();
    spool.release(mark).unwrap();
    depot.garbage().unwrap();
}

/// A depot with some messages in two packs; their states and records.
fn filled() -> (Crashing, Known, Known) {
    let disk = Crashing::new();
    let (spool, (depot, mut states)) = (spool(&disk), open(&disk));
    let mut records = BTreeMap::new();
    for n in 0..7u8 {
        let mut entry = spool.entry();
        let record: Vec<u8> = (0..70 + n).map(|byte| byte ^ n).collect();
        let at = entry.commit(&[&record]).unwrap();
        depot.note(entry.id(), at, false);
        states.insert(entry.id(), format!("state {n}").into_bytes());
        records.insert(entry.id(), record);
        entry.delivered();
    }
    checkpoint(&spool, &depot, &states);
    (disk, states, records)
}

/// Everything is there, in spite of what was done to this file, and after a checkpoint all is well.
fn whole(disk: &Crashing, what: &str, states: &Known, records: &Known) {
    let wrong = depot::check(disk, Path::new(DIR)).unwrap();
    assert!(!wrong.is_empty(), "{what}: not seen");
    let (spool, ((depot, found), opened)) = (spool(disk), told(|| open(disk)));
    assert!(found == *states, "{what}: states");
    let (_, read) =
        told(|| records.iter().for_each(|(&id, record)| assert!(depot.read(&spool, id).unwrap() == *record, "{what}: records")));
    if what.contains("queue") {
        assert!(!opened.is_empty(), "{what}: not told");
    }
    if !read.is_empty() {
        checkpoint(&spool, &depot, states);
        assert_eq!(depot::check(disk, Path::new(DIR)).unwrap(), [""; 0], "{what}: it stays");
        records.iter().for_each(|(&id, record)| assert!(depot.read(&spool, id).unwrap() == *record, "{what}: records that were copied"));
    }
    assert_eq!(depot::aside(disk, Path::new(DIR)).unwrap(), [""; 0], "{what}");
}

#[test]
fn every_bit_of_the_snapshot() {
    let (disk, states, records) = filled();
    let path = format!("{DIR}/queue");
    let len = disk.content(Path::new(&path)).unwrap().len();
    for at in 0..len {
        for mask in bits() {
            whole(&flipped(&disk, &path, at, mask), &format!("{path} {at} {mask}"), &states, &records);
        }
    }
}

#[test]
fn every_bit_of_a_pack() {
    let (disk, states, records) = filled();
    let packs = names(&disk, DIR, ".pack");
    assert_eq!(packs.len(), 3);
    for path in packs {
        let len = disk.content(Path::new(&path)).unwrap().len();
        for at in 0..len {
            for mask in bits() {
                whole(&flipped(&disk, &path, at, mask), &format!("{path} {at} {mask}"), &states, &records);
            }
        }
    }
}

#[test]
fn what_the_disk_does_not_give() {
    let (disk, states, records) = filled();
    for path in names(&disk, DIR, ".pack").into_iter().chain([format!("{DIR}/queue")]) {
        let len = disk.content(Path::new(&path)).unwrap().len();
        for at in (0..len).step_by(7) {
            let disk = disk.kill();
            disk.spoil(Path::new(&path), at..at + 1).unwrap();
            whole(&disk, &format!("{path} {at} spoiled"), &states, &records);
        }
    }
}

/// Two bits are more than can be made again: what is lost is said, no message that is queued is lost with its state, and nothing else is.
#[test]
fn two_bits_of_the_snapshot() {
    let (disk, states, records) = filled();
    let path = format!("{DIR}/queue");
    let len = disk.content(Path::new(&path)).unwrap().len();
    for at in 0..len {
        for other in (at + 1..len).step_by(29) {
            let disk = flipped(&flipped(&disk, &path, at, 1), &path, other, 0x80);
            let (spool, ((depot, found), told)) = (spool(&disk), told(|| open(&disk)));
            assert!(!told.is_empty(), "{at} {other}: not told");
            assert!(found.keys().eq(states.keys()), "{at} {other}: messages");
            assert!(found.iter().all(|(id, state)| state.is_empty() || *state == states[id]), "{at} {other}: states");
            records.iter().for_each(|(&id, record)| assert!(depot.read(&spool, id).unwrap() == *record, "{at} {other}: records"));
        }
    }
}
