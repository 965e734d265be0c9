//! Other programs that take files of messages away while the log still has the messages, and a crash after it.

use super::stage::*;
use imap::Office as _;
use std::path::{Path, PathBuf};
use storage::disk::Disk as _;

/// The only file in a directory.
fn only_file(disk: &Ruled, dir: &Path) -> PathBuf {
    let mut names = Vec::new();
    disk.disk.list(dir, &mut |name| names.push(String::from_utf8(name.to_vec()).unwrap())).unwrap();
    assert_eq!(names.len(), 1, "{names:?}");
    dir.join(&names[0])
}

#[test]
fn what_another_program_took_away_does_not_come_again() {
    let disk = Ruled::new();
    let house = open(&disk);
    imap(&house, "alice").create(name("Archive"), None).unwrap();
    house.checkpoint().unwrap();
    let inbox = inbox_of("alice");
    let (mut kept, mut archive) = (0, 0);
    for fate in ["removed", "moved", "moved away and back"] {
        send(&house, &["alice"], format!("Subject: {fate}\r\n\r\n").as_bytes()).unwrap();
        let file = only_file(&disk, &inbox.join("new"));
        let base = file.file_name().unwrap().to_str().unwrap().to_owned();
        let archived = inbox.join(".Archive/cur").join(format!("{base}:2,S"));
        match fate {
            "removed" => disk.disk.unlink(&file).unwrap(),
            "moved" => disk.disk.rename(&file, &archived).unwrap(),
            "moved away and back" => {
                disk.disk.rename(&file, &archived).unwrap();
                house.chores();
                disk.disk.rename(&archived, &file).unwrap();
                kept += 1;
            }
            _ => unreachable!(),
        }
        house.chores();
        // Whoever looks, also without a session, sees what is there.
        archive += usize::from(fate == "moved");
        let after = open(&Ruled::of(disk.disk.kill()));
        assert_eq!(uids(&after, "alice", "INBOX").len(), kept, "{fate}, after kill -9");
        assert_eq!(uids(&after, "alice", "Archive").len(), archive, "{fate}, after kill -9");
    }
    // What came back is promised as before: with nothing but what is durable it is there.
    let (house, _) = power_cut(house, &disk);
    assert_eq!(uids(&house, "alice", "INBOX").len(), 1);
}

#[test]
fn a_maildir_that_was_moved_away_takes_no_promise_with_it() {
    let disk = Ruled::new();
    let house = open(&disk);
    send(&house, &["alice"], b"Subject: one\r\n\r\n").unwrap();
    let inbox = inbox_of("alice");
    disk.disk.rename(&inbox.join("new"), &inbox.join("aside")).unwrap();
    house.chores();
    let (house, _) = power_cut(house, &disk);
    assert_eq!(uids(&house, "alice", "INBOX").len(), 1);
}
