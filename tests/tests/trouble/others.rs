//! Other programs that take files of messages away while the log still has the messages, and a crash after it.

use super::stage::*;
use imap::Office as _;
use std::path::{Path, PathBuf};
use storage::disk::{Disk as _, How};

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

/// A message whose file a power cut took, although the index knows it, and which cannot be delivered again at once.
#[test]
fn what_a_power_cut_took_is_not_taken_for_removed() {
    let disk = Ruled::new();
    let house = open(&disk);
    send(&house, &["alice"], b"Subject: first\r\n\r\n").unwrap();
    house.checkpoint().unwrap();
    send(&house, &["alice"], b"Subject: one\r\n\r\n").unwrap();
    let inbox = inbox_of("alice");
    disk.disk.open(&inbox.join("hikyaku.index"), How::Read).unwrap().sync().unwrap();
    drop(house);
    let disk = Ruled::of(disk.disk.lose());
    let files = |disk: &Ruled| {
        let mut names = 0;
        disk.disk.list(&inbox.join("new"), &mut |_| names += 1).unwrap();
        names
    };
    assert_eq!(files(&disk), 1, "the name is lost");
    disk.fail("create", "alice/Maildir/tmp");
    let house = open(&disk);
    house.chores();
    // The server is started again, and all is well.
    drop(house);
    let house = open(&Ruled::of(disk.disk.kill()));
    assert_eq!(uids(&house, "alice", "INBOX").len(), 2);
}

/// A large message is copied where the Maildir is on another file system, and the copy fails.
#[test]
fn a_copy_that_fails_leaves_what_was_there() {
    let disk = Ruled::new();
    let inbox = inbox_of("alice");
    let house = open(&disk);
    drop(house);
    disk.rule(|op, path| {
        let to_maildir = path.to_str().unwrap().contains("alice/Maildir");
        if op == "link" && to_maildir { Err(std::io::ErrorKind::CrossesDevices.into()) } else { Ok(()) }
    });
    let house = open(&disk);
    let text = [b"Subject: large\r\n\r\n".to_vec(), b"x\r\n".repeat(200_000)].concat();
    send(&house, &["alice"], &text).unwrap();
    let file = only_file(&disk, &inbox.join("new"));
    drop(house);
    // Killed before it was let go of: the start puts another file in its place, and cannot.
    let disk = Ruled::of(disk.disk.kill());
    let fails = |op: &'static str, path: &Path| match op {
        "link" if path.to_str().unwrap().contains("alice/Maildir") => Err(std::io::ErrorKind::CrossesDevices.into()),
        "create" if path.to_str().unwrap().contains("alice/Maildir/tmp") => Err(std::io::Error::from_raw_os_error(EIO)),
        _ => Ok(()),
    };
    disk.rule(fails);
    let house = open(&disk);
    house.chores();
    assert!(disk.disk.content(&file).is_ok(), "what can be read stays until there is another");
    drop(house);
    let house = open(&Ruled::of(disk.disk.kill()));
    assert_eq!(uids(&house, "alice", "INBOX").len(), 1);
}
