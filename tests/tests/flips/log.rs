//! The log: no other record is lost, and it is said.

use super::{flipped, names};
use hikyaku_tests::disk::Crashing;
use std::{collections::BTreeSet, path::Path, sync::Arc};
use storage::spool::{Options, Spool, inspect};

const DIR: &str = "/spool";

/// What is flipped of a byte, one after the other.
const MASKS: [u8; 3] = [1, 0x80, 0xff];

fn options() -> Options {
    Options { segment: 4096, seed: 1, patience: None, ..Options::default() }
}

#[test]
fn every_byte_of_the_log() {
    let disk = Crashing::new();
    let spool = Spool::open(Arc::new(disk.clone()), Path::new(DIR), options(), &mut |_, _| {}).unwrap();
    let mut written = BTreeSet::new();
    let mut top = 0;
    for n in 0..12u8 {
        let mut entry = spool.entry();
        top = entry.id();
        let record = vec![n + 1; 400 + usize::from(n)];
        entry.commit(&[&record]).unwrap();
        if n == 1 {
            spool.vouch().unwrap();
        }
        written.insert(record);
        // A group of several.
        spool.jot(&[b"jot", &[n]]).unwrap();
        written.insert(vec![b'j', b'o', b't', n]);
    }
    spool.flush().unwrap();
    spool.vouch().unwrap();
    drop(spool);
    let (mut tried, mut said) = (0, 0);
    for path in names(&disk, DIR, ".log") {
        let bytes = disk.content(Path::new(&path)).unwrap();
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        // Inside a payload one byte is like the other; heads and the ends of payloads are tried byte by byte.
        let filler =
            |at: usize| at > 512 && at + 8 < bytes.len() && bytes[at - 8..at + 8].iter().all(|b| *b == bytes[at]) && !at.is_multiple_of(37);
        for at in (0..used).filter(|&at| !filler(at)) {
            for mask in MASKS {
                let disk = flipped(&disk, &path, at, mask);
                let before = inspect(&disk, Path::new(DIR), &mut |_| {}).unwrap_or_else(|e| panic!("{path} {at} {mask}: {e}"));
                let mut seen = BTreeSet::new();
                let opened = Spool::open(Arc::new(disk.clone()), Path::new(DIR), options(), &mut |_, record| {
                    assert!(written.contains(record), "{path} {at} {mask}: nobody wrote that");
                    seen.insert(record.to_vec());
                });
                let spool = opened.unwrap_or_else(|e| panic!("{path} {at} {mask}: {e}"));
                assert!(seen.len() + 1 >= written.len(), "{path} {at} {mask}: other records are lost");
                assert!(spool.next_id() > top, "{path} {at} {mask}: an id is used again");
                if seen.len() < written.len() {
                    let after = inspect(&disk, Path::new(DIR), &mut |_| {}).unwrap();
                    assert!(!before.damage.is_empty(), "{path} {at} {mask}: not seen");
                    assert!(spool.lost() > 0 && !after.damage.is_empty() && after.aside.len() == 1, "{path} {at} {mask}: not told");
                }
                tried += 1;
                said += usize::from(!before.damage.is_empty());
            }
        }
    }
    println!("{tried} flips, {said} of them told");
    assert!(said * 10 > tried * 9, "{said} of {tried}");
}
