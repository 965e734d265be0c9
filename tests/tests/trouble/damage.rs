//! A log of which a part is lost: no mailbox gives a number again that may have been in use there.

use super::stage::*;
use hikyaku_tests::told::told;
use imap::Office as _;
use mail::UidValidity;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use storage::{
    disk::{Disk, How},
    house::House,
};

/// The segment of the log in which this stands, and where.
fn find(disk: &Ruled, text: &str) -> (PathBuf, usize) {
    let dir = Path::new("/store/spool");
    let mut names = Vec::new();
    disk.list(dir, &mut |name| names.push(String::from_utf8(name.to_vec()).unwrap())).unwrap();
    let mut paths = names.iter().filter(|name| name.ends_with(".log")).map(|name| dir.join(name));
    let found = paths.find_map(|path| {
        let bytes = disk.disk.content(&path).unwrap();
        bytes.windows(text.len()).position(|piece| piece == text.as_bytes()).map(|at| (path.clone(), at))
    });
    found.expect("it is in the log")
}

fn validity(house: &Arc<House>, who: &str, mailbox: &str) -> UidValidity {
    imap(house, who).select(name(mailbox), true).unwrap().uid_validity
}

#[test]
fn uids_that_were_in_use_in_a_lost_part_of_the_log_are_not_used_again() {
    for lost in [None, Some("Subject: 4"), Some("Subject: 2"), Some("Subject: other")] {
        let disk = Ruled::new();
        let house = open(&disk);
        imap(&house, "alice").create(name("Other"), None).unwrap();
        for n in 1..=4 {
            send(&house, &["alice", "bob"], format!("Subject: {n}\r\n\r\n").as_bytes()).unwrap();
        }
        append(&mut imap(&house, "alice"), "Other", b"Subject: other\r\n\r\n").unwrap();
        // A client has seen them, and of their numbers only the log knows.
        let seen: Vec<u32> = uids(&house, "alice", "INBOX").iter().map(|uid| uid.get()).collect();
        let places = [("alice", "INBOX", 4), ("bob", "INBOX", 5), ("alice", "Other", 1)];
        assert_eq!(seen, [1, 2, 3, 4]);
        // What is behind a record says that it was durable.
        send(&house, &["bob"], b"Subject: 5\r\n\r\n").unwrap();
        let before = places.map(|(who, mailbox, _)| validity(&house, who, mailbox));
        drop(house);
        let disk = Ruled::of(disk.disk.lose());
        if let Some(lost) = lost {
            let (path, at) = find(&disk, lost);
            disk.disk.open(&path, How::Write).unwrap().write_at(b"s", at as u64).unwrap();
        }
        let (house, said) = told(|| open(&disk));
        assert_eq!(
            said.iter().any(|line| line.contains("all mailboxes skip the UIDs that may have been in use")),
            lost.is_some(),
            "{said:?}"
        );
        let left = uids(&house, "alice", "INBOX").len() + uids(&house, "alice", "Other").len();
        assert_eq!(left, if lost.is_some() { 4 } else { 5 });
        send(&house, &["alice", "bob"], b"Subject: new\r\n\r\n").unwrap();
        append(&mut imap(&house, "alice"), "Other", b"Subject: new\r\n\r\n").unwrap();
        for ((who, mailbox, used), before) in places.into_iter().zip(before) {
            let newest = uids(&house, who, mailbox).last().unwrap().get();
            assert!(
                validity(&house, who, mailbox) != before || newest > used,
                "{lost:?}: {newest} was another message in {mailbox} of {who}"
            );
        }
    }
}
