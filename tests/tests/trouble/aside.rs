//! Lost writes, mailboxes that are set aside, and what becomes of their mail.

use super::stage::*;
use imap::Office as _;
use mail::{Flags, MailboxName, System};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use storage::{
    disk::{Disk, How},
    mailbox,
};

/// The bodies of a mailbox, as they are on the disk.
fn texts(disk: &Ruled, who: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for dir in ["new", "cur"].map(|dir| inbox_of(who).join(dir)) {
        disk.disk.list(&dir, &mut |name| paths.push(dir.join(std::str::from_utf8(name).unwrap()))).unwrap();
    }
    let whole = paths.iter().map(|path| String::from_utf8_lossy(&disk.disk.content(path).unwrap()).into_owned());
    let mut texts: Vec<String> = whole.map(|text| text.split("Subject: ").nth(1).unwrap_or("lost").trim_end().to_owned()).collect();
    texts.sort();
    texts
}

#[test]
fn a_failed_write_that_another_program_was_told_of_loses_nothing() {
    for elsewhere in [false, true] {
        let disk = Ruled::new();
        if elsewhere {
            disk.disk.mount(Path::new("/store/mail")).unwrap();
        }
        let house = open(&disk);
        let maildir = if elsewhere { "/store/mail" } else { "/store" };
        send(&house, &["alice"], b"Subject: one\r\n\r\n").unwrap();
        send(&house, &["alice", "bob"], b"Subject: two\r\n\r\n").unwrap();
        disk.disk.lose_writes(Path::new(maildir));
        assert!(disk.disk.another_syncs(Path::new(maildir)), "it is told");
        assert!(!disk.disk.another_syncs(Path::new(maildir)), "once");
        house.checkpoint().unwrap();
        // It keeps what was lost, and says so.
        assert_eq!(house.mailboxes().aside().len(), 2);
        assert!(send(&house, &["alice"], b"Subject: not now\r\n\r\n").is_err());
        let (house, disk) = power_cut(house, &disk);
        assert_eq!(uids(&house, "alice", "INBOX").len(), 2, "elsewhere: {elsewhere}");
        assert_eq!((texts(&disk, "alice"), texts(&disk, "bob")), (vec!["one".into(), "two".into()], vec!["two".into()]));
    }
}

#[test]
fn what_was_lost_is_written_anew_by_the_same_run() {
    let disk = Ruled::new();
    let house = open(&disk);
    send(&house, &["alice"], b"Subject: one\r\n\r\n").unwrap();
    send(&house, &["alice"], b"Subject: removed\r\n\r\n").unwrap();
    let first = uids(&house, "alice", "INBOX");
    {
        let mut office = imap(&house, "alice");
        office.select(MailboxName::inbox(), false).unwrap();
        office.store(vec![first[1]], imap::Change::Add, Flags::system(System::DELETED)).unwrap();
        office.expunge(None).unwrap();
    }
    send(&house, &["alice"], b"Subject: removed later\r\n\r\n").unwrap();
    disk.disk.lose_writes(Path::new("/store"));
    house.checkpoint().unwrap();
    {
        // While it waits to be written anew.
        let mut office = imap(&house, "alice");
        let there = office.select(MailboxName::inbox(), false).unwrap().uids;
        office.create(name("Copies"), None).unwrap();
        assert!(office.copy(vec![there[0]], name("Copies")).is_err(), "a copy of what may be lost");
        office.store(vec![there[1]], imap::Change::Add, Flags::system(System::DELETED)).unwrap();
        office.expunge(None).unwrap();
    }
    house.deliver_again();
    house.checkpoint().unwrap();
    assert_eq!(house.mailboxes().aside(), []);
    send(&house, &["alice"], b"Subject: two\r\n\r\n").unwrap();
    assert_eq!(uids(&house, "alice", "INBOX")[0], first[0], "its UID stays");
    house.checkpoint().unwrap();
    assert!(house.spool_bytes() < MARK, "the log lets go of all");
    let (house, disk) = power_cut(house, &disk);
    assert_eq!(uids(&house, "alice", "INBOX").len(), 2);
    assert_eq!(texts(&disk, "alice"), ["one", "two"]);
}

#[test]
fn mail_on_a_file_system_of_its_own_survives_a_power_cut() {
    let disk = Ruled::new();
    disk.disk.mount(Path::new("/store/mail")).unwrap();
    let house = open(&disk);
    send(&house, &["alice"], b"Subject: one\r\n\r\n").unwrap();
    house.checkpoint().unwrap();
    assert!(house.spool_bytes() < MARK);
    let (house, disk) = power_cut(house, &disk);
    assert_eq!(uids(&house, "alice", "INBOX").len(), 1);
    assert_eq!(texts(&disk, "alice"), ["one"]);
}

#[test]
fn one_mailbox_in_trouble_stops_no_checkpoint_but_its_own() {
    for op in ["open", "unlink", "panic"] {
        let disk = Ruled::new();
        let house = open(&disk);
        for who in ["alice", "bob"] {
            send(&house, &[who], b"Subject: goes\r\n\r\n").unwrap();
            remove_all(&house, who, "INBOX");
            send(&house, &[who], b"Subject: stays\r\n\r\n").unwrap();
        }
        // Its numbering cannot be written, its files not be removed, or looking at it panics.
        disk.rule(move |at, path| match (at, op) {
            ("open", "open") if path == inbox_of("bob").join("hikyaku.uids") => Err(std::io::Error::from_raw_os_error(EIO)),
            ("unlink", "unlink") if path.starts_with(inbox_of("bob")) => Err(std::io::Error::from_raw_os_error(EIO)),
            ("unlink", "panic") if path.starts_with(inbox_of("bob")) => panic!("a mailbox of bob"),
            _ => Ok(()),
        });
        house.chores();
        house.checkpoint().unwrap();
        let aside: Vec<PathBuf> = house.mailboxes().aside().into_iter().map(|aside| aside.maildir).collect();
        assert_eq!(aside, [inbox_of("bob")], "{op}");
        assert!(send(&house, &["bob"], b"Subject: not now\r\n\r\n").is_err());
        send(&house, &["alice"], b"Subject: now\r\n\r\n").unwrap();
        let kept = house.spool_bytes();
        house.checkpoint().unwrap();
        assert!(house.spool_bytes() <= kept, "{op}: alice's mail is let go of");
        let (after, left) = power_cut(house.clone(), &disk);
        assert_eq!((texts(&left, "alice"), texts(&left, "bob")), (vec!["now".into(), "stays".into()], vec!["stays".into()]), "{op}");
        drop(after);
        disk.heal();
        house.deliver_again();
        house.checkpoint().unwrap();
        assert_eq!(house.mailboxes().aside(), [], "{op}");
        send(&house, &["bob"], b"Subject: again\r\n\r\n").unwrap();
        house.checkpoint().unwrap();
        assert!(house.spool_bytes() < MARK, "{op}");
    }
}

#[test]
fn a_mailbox_that_panics_at_every_start_keeps_nobody_from_theirs() {
    let disk = Ruled::new();
    let house = open(&disk);
    send(&house, &["alice", "bob"], b"Subject: one\r\n\r\n").unwrap();
    drop(house);
    let disk = Ruled::of(disk.disk.lose());
    for _ in 0..2 {
        disk.rule(|op, path| if op == "list" && path.starts_with(inbox_of("bob")) { panic!("a mailbox of bob") } else { Ok(()) });
        let house = open(&disk);
        assert_eq!(uids(&house, "alice", "INBOX").len(), 1);
        assert_eq!(house.mailboxes().aside().len(), 1);
        house.chores();
        house.checkpoint().unwrap();
        send(&house, &["alice"], b"Subject: two\r\n\r\n").unwrap();
        remove_all(&house, "alice", "INBOX");
        send(&house, &["alice"], b"Subject: two\r\n\r\n").unwrap();
        disk.heal();
        drop(house);
        let disk = Ruled::of(disk.disk.kill());
        let house = open(&disk);
        assert_eq!(uids(&house, "bob", "INBOX").len(), 1);
    }
}

#[test]
fn numbers_of_a_mailbox_that_cannot_be_opened_outlive_the_next_start_too() {
    let disk = Ruled::new();
    let house = open(&disk);
    send(&house, &["bob"], b"Subject: one\r\n\r\n").unwrap();
    let first = uids(&house, "bob", "INBOX");
    remove_all(&house, "bob", "INBOX");
    drop(house);
    // Of its files nothing but the log knows, and it cannot be opened at two starts.
    let mut disk = Ruled::of(disk.disk.lose());
    for _ in 0..2 {
        disk.fail("make_dir", "/bob/");
        let house = open(&disk);
        assert!(house.mailboxes().open(&inbox_of("bob"), &MailboxName::inbox()).is_err());
        house.checkpoint().unwrap();
        drop(house);
        disk = Ruled::of(disk.disk.lose());
    }
    let house = open(&disk);
    assert_eq!(uids(&house, "bob", "INBOX"), []);
    send(&house, &["bob"], b"Subject: two\r\n\r\n").unwrap();
    assert!(uids(&house, "bob", "INBOX")[0] > first[0]);
}

#[test]
fn an_alias_with_a_mailbox_in_trouble_serves_the_others() {
    let disk = Ruled::new();
    let house = open(&disk);
    disk.fail("open", "/bob/Maildir/hikyaku.index");
    send(&house, &["alice"], b"Subject: first\r\n\r\n").unwrap();
    assert!(send(&house, &["bob"], b"Subject: refused\r\n\r\n").is_err(), "it is known");
    send(&house, &["staff"], b"Subject: all\r\n\r\n").unwrap();
    assert_eq!(uids(&house, "alice", "INBOX").len(), 2);
    disk.heal();
    house.deliver_again();
    assert_eq!(uids(&house, "bob", "INBOX").len(), 1);
    send(&house, &["staff"], b"Subject: again\r\n\r\n").unwrap();
    let (house, disk) = power_cut(house, &disk);
    assert_eq!((uids(&house, "alice", "INBOX").len(), uids(&house, "bob", "INBOX").len()), (3, 2));
    assert_eq!(texts(&disk, "bob"), ["again", "all"]);
}

#[test]
fn a_mailbox_whose_first_opening_panics_gets_its_numbering_all_the_same() {
    let disk = Ruled::new();
    let boxes = mailbox::Mailboxes::new(Arc::new(disk.clone()), mailbox::Options { root: "/store".into(), ..mailbox::Options::default() });
    disk.rule(|op, path| {
        assert!(op != "create" || !path.to_str().unwrap().contains("hikyaku.uidvalidity"), "a panic at the numbering");
        Ok(())
    });
    assert_eq!(boxes.open(&inbox_of("alice"), &MailboxName::inbox()).err(), Some(imap::Refusal::Fault(wire::Fault::Later)));
    disk.heal();
    // Also for who does not wait until it is tried again.
    let inbox = boxes.slot(&inbox_of("alice"), &MailboxName::inbox()).unwrap();
    let numbering = inbox.counts().unwrap().uid_validity.0.get();
    assert!(numbering > 1_700_000_000, "{numbering}");
}

#[test]
fn what_another_program_left_and_the_disk_did_not_show_is_found_later() {
    let disk = Ruled::new();
    let house = open(&disk);
    send(&house, &["alice"], b"Subject: one\r\n\r\n").unwrap();
    let path = inbox_of("alice").join("new/1700000000.M1P1.other");
    disk.disk.open(&path, How::Create).unwrap().append(b"Subject: two\n\n").unwrap();
    disk.fail("stat", "M1P1.other");
    assert_eq!(uids(&house, "alice", "INBOX").len(), 1);
    disk.heal();
    // Nothing changes in the directory meanwhile. An orderly end looks again, as chores do after some seconds.
    house.mailboxes().close();
    assert_eq!(uids(&house, "alice", "INBOX").len(), 2);
}

#[test]
fn what_one_recipient_removed_keeps_its_record_for_the_other() {
    let disk = Ruled::new();
    let house = open(&disk);
    send(&house, &["alice", "bob"], b"Subject: both\r\n\r\n").unwrap();
    remove_all(&house, "bob", "INBOX");
    disk.disk.lose_writes(Path::new("/store"));
    // The first has nothing durable of it, the second wants nothing of it, and the next would let go of its record.
    house.checkpoint().unwrap();
    house.checkpoint().unwrap();
    let (house, disk) = power_cut(house, &disk);
    assert_eq!((uids(&house, "alice", "INBOX").len(), uids(&house, "bob", "INBOX").len()), (1, 0));
    assert_eq!(texts(&disk, "alice"), ["both"]);
}
