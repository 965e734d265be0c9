//! Mailboxes whose directories another program takes away while the log still has mail of theirs.

use super::stage::*;
use imap::{Office as _, Refusal};
use mail::MailboxName;
use std::path::{Path, PathBuf};
use storage::disk::{Disk, How};

fn old() -> PathBuf {
    inbox_of("alice").join(".Old")
}

/// The texts in a mailbox, wherever its directory is.
fn texts(disk: &Ruled, dir: &Path) -> Vec<String> {
    let mut paths = Vec::new();
    for dir in ["new", "cur"].map(|d| dir.join(d)) {
        let _ = disk.disk.list(&dir, &mut |name| paths.push(dir.join(std::str::from_utf8(name).unwrap())));
    }
    paths.iter().map(|path| String::from_utf8(disk.disk.content(path).unwrap()).unwrap().trim_end().to_owned()).collect()
}

fn remove_tree(disk: &Ruled, path: &Path) {
    let mut names = Vec::new();
    if disk.disk.list(path, &mut |name| names.push(path.join(std::str::from_utf8(name).unwrap()))).is_err() {
        return disk.disk.unlink(path).unwrap();
    }
    names.iter().for_each(|path| remove_tree(disk, path));
    disk.disk.remove_dir(path).unwrap();
}

/// Alice has a mailbox that is durable, with a message that is not. `is_whole` says whether its file system can be synced as a whole.
fn begin(is_whole: bool) -> (Ruled, std::sync::Arc<storage::house::House>) {
    let disk = Ruled::new();
    if !is_whole {
        disk.rule(each);
    }
    let house = open(&disk);
    imap(&house, "alice").create(name("Old"), None).unwrap();
    house.checkpoint().unwrap();
    append(&mut imap(&house, "alice"), "Old", b"Subject: one\r\n\r\n").unwrap();
    (disk, house)
}

fn is_there(house: &std::sync::Arc<storage::house::House>) -> bool {
    match imap(house, "alice").status(name("Old")) {
        Ok(_) => true,
        Err(refusal) => {
            assert_eq!(refusal, Refusal::NoMailbox);
            false
        }
    }
}

#[test]
fn what_was_promised_to_a_mailbox_that_is_moved_away_for_a_while_is_not_lost() {
    for is_whole in [true, false] {
        // Whether the house takes note before it is back, and a checkpoint comes meanwhile, or after that.
        for (noticed, before, after) in
            [(true, true, false), (true, false, true), (true, true, true), (true, false, false), (false, true, true)]
        {
            let (disk, house) = begin(is_whole);
            let elsewhere = Path::new("/store/elsewhere");
            disk.disk.rename(&old(), elsewhere).unwrap();
            if noticed {
                assert!(!is_there(&house));
            }
            if before {
                house.checkpoint().unwrap();
                house.chores();
                house.checkpoint().unwrap();
            }
            if disk.disk.stat(&old()).is_err() {
                disk.disk.rename(elsewhere, &old()).unwrap();
            }
            if noticed {
                assert!(is_there(&house));
            }
            if after {
                house.checkpoint().unwrap();
            }
            let (house, disk) = power_cut(house, &disk);
            let there = is_there(&house);
            // The power may have taken the move back as well.
            let found = [texts(&disk, &old()), texts(&disk, elsewhere)].concat();
            assert_eq!(found, ["Subject: one"], "whole {is_whole}, noticed {noticed}, before {before}, after {after}, there {there}");
        }
    }
}

#[test]
fn what_was_promised_to_an_inbox_that_is_moved_away_for_a_while_is_not_lost() {
    for is_whole in [true, false] {
        let disk = Ruled::new();
        if !is_whole {
            disk.rule(each);
        }
        let house = open(&disk);
        imap(&house, "alice").status(MailboxName::inbox()).unwrap();
        house.checkpoint().unwrap();
        send(&house, &["alice"], b"Subject: one\r\n\r\n").unwrap();
        let (new, elsewhere) = (inbox_of("alice").join("new"), inbox_of("alice").join("elsewhere"));
        disk.disk.rename(&new, &elsewhere).unwrap();
        house.chores();
        assert_eq!(uids(&house, "alice", "INBOX"), []);
        house.checkpoint().unwrap();
        house.deliver_again();
        house.checkpoint().unwrap();
        assert_eq!(house.mailboxes().aside(), []);
        let (_house, disk) = power_cut(house, &disk);
        let mut found = 0;
        for dir in [new, elsewhere, inbox_of("alice").join("cur")] {
            let _ = disk.disk.list(&dir, &mut |name| {
                let text = disk.disk.content(&dir.join(std::str::from_utf8(name).unwrap())).unwrap();
                found += usize::from(text.ends_with(b"Subject: one\n\n"));
            });
        }
        assert!(found > 0, "whole: {is_whole}");
    }
}

#[test]
fn a_mailbox_that_another_program_removed_stays_away() {
    for is_whole in [true, false] {
        let (disk, house) = begin(is_whole);
        house.checkpoint().unwrap();
        append(&mut imap(&house, "alice"), "Old", b"Subject: two\r\n\r\n").unwrap();
        remove_tree(&disk, &old());
        assert!(!is_there(&house));
        house.checkpoint().unwrap();
        assert_eq!(house.mailboxes().aside(), []);
        // Where nobody can say what became of its files, what was promised last is written again, once.
        house.deliver_again();
        assert_eq!(texts(&disk, &old()).len(), usize::from(!is_whole));
        if !is_whole {
            house.checkpoint().unwrap();
            remove_tree(&disk, &old());
        }
        house.deliver_again();
        house.checkpoint().unwrap();
        assert!(house.spool_bytes() < MARK);
        send(&house, &["alice"], b"Subject: other\r\n\r\n").unwrap();
        disk.sync_dir(&inbox_of("alice")).unwrap();
        let (house, _) = power_cut(house, &disk);
        assert!(!is_there(&house), "whole: {is_whole}");
    }
}

#[test]
fn a_move_out_of_a_mailbox_that_came_back_loses_nothing() {
    for is_whole in [true, false] {
        let (disk, house) = begin(is_whole);
        imap(&house, "alice").create(name("Copies"), None).unwrap();
        let elsewhere = Path::new("/store/elsewhere");
        disk.disk.rename(&old(), elsewhere).unwrap();
        assert!(!is_there(&house));
        disk.disk.rename(elsewhere, &old()).unwrap();
        let mut office = imap(&house, "alice");
        let there = office.select(name("Old"), false).unwrap().uids;
        assert_eq!(there.len(), 1);
        let moved = office.move_to(there, name("Copies"));
        drop(office);
        let (house, disk) = power_cut(house, &disk);
        let _ = is_there(&house);
        let found = [texts(&disk, &old()), texts(&disk, &inbox_of("alice").join(".Copies"))].concat();
        assert_eq!(found, ["Subject: one"], "whole {is_whole}: {moved:?}");
    }
}

#[test]
fn what_a_mailbox_lost_that_is_not_there_is_written_again() {
    let (disk, house) = begin(true);
    let elsewhere = Path::new("/store/elsewhere");
    disk.disk.rename(&old(), elsewhere).unwrap();
    assert!(!is_there(&house));
    disk.disk.lose_writes(Path::new("/store"));
    house.checkpoint().unwrap();
    house.deliver_again();
    house.checkpoint().unwrap();
    assert_eq!(house.mailboxes().aside(), []);
    let (house, disk) = power_cut(house, &disk);
    assert!(is_there(&house));
    assert_eq!(texts(&disk, &old()), ["Subject: one"]);
}

#[test]
fn a_disk_that_does_not_say_whether_a_mailbox_is_there_takes_none_away() {
    let (disk, house) = begin(true);
    let mut office = imap(&house, "alice");
    office.select(name("Old"), false).unwrap();
    disk.rule(|op, path| {
        let errno = if path == old() { EIO } else { 2 };
        if op == "stat" && path.starts_with(old()) { Err(std::io::Error::from_raw_os_error(errno)) } else { Ok(()) }
    });
    assert!(office.sync().is_err());
    disk.heal();
    assert!(!office.sync().unwrap().lost);
    disk.disk.open(&old().join("cur/other"), How::Create).unwrap().append(b"Subject: two\n\n").unwrap();
    assert_eq!(office.sync().unwrap().new.len(), 1);
}

#[test]
fn a_mailbox_that_its_user_deletes_owes_nothing() {
    let (disk, house) = begin(true);
    imap(&house, "alice").delete(name("Old")).unwrap();
    house.checkpoint().unwrap();
    assert!(house.spool_bytes() < MARK);
    let (house, _) = power_cut(house, &disk);
    assert!(!is_there(&house));
}
