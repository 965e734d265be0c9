//! A bit flips on the disk: nothing panics, nothing that was promised is lost besides what the bit was in, nothing garbled is believed, and it is said.

mod depot;
mod log;
mod mailbox;
mod store;

use hikyaku_tests::disk::Crashing;
use std::path::Path;
use storage::disk::{Disk as _, How};

fn names(disk: &Crashing, dir: &str, kind: &str) -> Vec<String> {
    let mut names = Vec::new();
    disk.list(Path::new(dir), &mut |name| names.push(format!("{dir}/{}", String::from_utf8_lossy(name)))).unwrap();
    names.retain(|name| name.ends_with(kind));
    names
}

/// The disk with one byte of a file changed.
fn flipped(disk: &Crashing, path: &str, at: usize, mask: u8) -> Crashing {
    let disk = disk.kill();
    let file = disk.open(Path::new(path), How::Write).unwrap();
    let mut byte = [0];
    file.read_at(&mut byte, at as u64).unwrap();
    file.write_at(&[byte[0] ^ mask], at as u64).unwrap();
    disk
}

/// Every bit of a byte, one after the other.
fn bits() -> impl Iterator<Item = u8> {
    (0..8).map(|bit| 1 << bit)
}
