//! A house on a disk that fails and crashes: what was promised stays, what was removed stays away, and one mailbox in trouble is nobody else's.

mod aside;
mod damage;
mod doubt;
mod full;
mod held;
mod hung;
mod left;
mod others;
mod reports;
mod room;
mod stage;
mod unread;
mod vanished;

use imap::Office as _;
use mail::MailboxName;
use std::{
    path::Path,
    sync::{Arc, mpsc},
    time::Duration,
};
use storage::{disk::Disk, mailbox, office};

use stage::*;

#[test]
fn what_one_mailbox_could_not_take_does_not_come_twice_to_another() {
    let disk = Ruled::new();
    let house = open(&disk);
    disk.fail("create", "/bob/Maildir/tmp/");
    send(&house, &["alice", "bob"], b"Subject: one\r\n\r\n").unwrap();
    remove_all(&house, "alice", "INBOX");
    disk.heal();
    house.deliver_again();
    assert_eq!(uids(&house, "alice", "INBOX"), []);
    assert_eq!(uids(&house, "bob", "INBOX").len(), 1);
    house.checkpoint().unwrap();
    let (house, _) = power_cut(house, &disk);
    assert_eq!(uids(&house, "alice", "INBOX"), []);
    assert_eq!(uids(&house, "bob", "INBOX").len(), 1);
}

#[test]
fn a_mailbox_in_trouble_takes_no_more_mail_and_others_do() {
    let disk = Ruled::new();
    let house = open(&disk);
    disk.fail("create", "/bob/Maildir/tmp/");
    send(&house, &["bob"], b"Subject: one\r\n\r\n").unwrap();
    assert_eq!(send(&house, &["bob"], b"Subject: two\r\n\r\n").unwrap_err(), smtp::Refusal::Fault(wire::Fault::Later));
    send(&house, &["alice"], b"Subject: two\r\n\r\n").unwrap();
    // After a restart too, as long as it lasts.
    let (house, disk) = power_cut(house, &disk);
    assert_eq!(uids(&house, "bob", "INBOX").len(), 1);
    disk.fail("create", "/bob/Maildir/tmp/");
    send(&house, &["bob"], b"Subject: two\r\n\r\n").unwrap();
    assert!(send(&house, &["bob"], b"Subject: three\r\n\r\n").is_err());
    disk.heal();
    house.deliver_again();
    send(&house, &["bob"], b"Subject: three\r\n\r\n").unwrap();
    assert_eq!(uids(&house, "bob", "INBOX").len(), 3);
}

#[test]
fn what_comes_while_a_checkpoint_syncs_is_synced_by_the_next() {
    let disk = Ruled::new();
    disk.rule(each);
    let house = open(&disk);
    let (late, mut sent) = (house.clone(), false);
    disk.rule(move |op, path| {
        if op == "sync_dir" && path == inbox_of("alice").join("cur") && !std::mem::replace(&mut sent, true) {
            send(&late, &["alice"], b"Subject: late\r\n\r\n").unwrap();
        }
        each(op, path)
    });
    send(&house, &["alice"], b"Subject: early\r\n\r\n").unwrap();
    house.checkpoint().unwrap();
    house.checkpoint().unwrap();
    disk.heal();
    let (house, _) = power_cut(house, &disk);
    assert_eq!(uids(&house, "alice", "INBOX").len(), 2);
}

#[test]
fn a_mailbox_in_trouble_keeps_no_house_from_opening() {
    let disk = Ruled::new();
    let house = open(&disk);
    send(&house, &["alice", "bob"], b"Subject: one\r\n\r\n").unwrap();
    remove_all(&house, "bob", "INBOX");
    drop(house);
    disk.fail("unlink", "/bob/Maildir/");
    let house = open(&disk);
    assert_eq!(uids(&house, "alice", "INBOX").len(), 1);
    disk.heal();
    house.checkpoint().unwrap();
    let (house, _) = power_cut(house, &disk);
    assert_eq!(uids(&house, "bob", "INBOX"), []);
}

#[test]
fn mailboxes_that_were_removed_or_renamed_stay_so_although_the_log_has_older_mail() {
    let disk = Ruled::new();
    let house = open(&disk);
    // Nothing behind it is let go of.
    disk.fail("create", "/bob/Maildir/tmp/");
    send(&house, &["bob"], b"Subject: waits\r\n\r\n").unwrap();
    send(&house, &["alice"], b"Subject: moves\r\n\r\n").unwrap();
    let mut office = imap(&house, "alice");
    for mailbox in ["Gone", "Emptied", "Old", "Old/Below"] {
        office.create(name(mailbox), None).unwrap();
        append(&mut office, mailbox, b"Subject: there\r\n\r\n").unwrap();
    }
    office.delete(name("Gone")).unwrap();
    remove_all(&house, "alice", "Emptied");
    office.delete(name("Emptied")).unwrap();
    office.rename(name("Old"), name("New")).unwrap();
    remove_all(&house, "alice", "New/Below");
    office.rename(MailboxName::inbox(), name("Inbox before")).unwrap();
    // A new mailbox under an old name keeps what it gets.
    office.create(name("Old"), None).unwrap();
    append(&mut office, "Old", b"Subject: later\r\n\r\n").unwrap();
    drop(office);
    let (house, _) = power_cut(house, &disk);
    let listed = imap(&house, "alice").list().unwrap();
    let there: Vec<(&str, usize)> =
        listed.iter().filter(|l| l.exists).map(|l| (l.name.as_str(), uids(&house, "alice", l.name.as_str()).len())).collect();
    assert_eq!(there, [("INBOX", 0), ("Inbox before", 1), ("New", 1), ("New/Below", 0), ("Old", 1)]);
}

#[test]
fn who_changes_names_and_waits_for_the_disk_keeps_nobody_elses_mail() {
    let change = |office: &mut office::Imap, how: usize| match how {
        0 => office.rename(name("a"), name("b")),
        1 => office.delete(name("a")),
        _ => office.create(name("c"), None),
    };
    for how in 0..3 {
        let disk = Ruled::new();
        let house = open(&disk);
        let mut office = imap(&house, "alice");
        office.create(name("a"), None).unwrap();
        append(&mut office, "a", b"Subject: there\r\n\r\n").unwrap();
        let (stuck, is_stuck) = mpsc::channel();
        let (go_on, gone_on) = mpsc::channel();
        let mut once = false;
        disk.rule(move |op, path| {
            if op == "sync_dir" && path == inbox_of("alice") && !std::mem::replace(&mut once, true) {
                stuck.send(()).unwrap();
                gone_on.recv().unwrap();
            }
            Ok(())
        });
        let changing = std::thread::spawn(move || change(&mut office, how));
        is_stuck.recv().unwrap();
        // A thread of its own, so that a fault ends the test.
        let (late, (done, is_done)) = (house.clone(), mpsc::channel());
        std::thread::spawn(move || {
            send(&late, &["bob"], b"Subject: another's\r\n\r\n").unwrap();
            send(&late, &["bob", "alice"], b"Subject: of both\r\n\r\n").unwrap();
            remove_all(&late, "bob", "INBOX");
            late.checkpoint().unwrap();
            done.send(()).unwrap();
        });
        assert_eq!(is_done.recv_timeout(Duration::from_secs(60)), Ok(()), "others wait");
        go_on.send(()).unwrap();
        disk.heal();
        changing.join().unwrap().unwrap();
        let (house, _) = power_cut(house, &disk);
        assert_eq!((uids(&house, "alice", "INBOX").len(), uids(&house, "bob", "INBOX").len()), (1, 0));
        let there = |mailbox| imap(&house, "alice").select(name(mailbox), true).ok().map(|selected| selected.uids.len());
        let expected = [[None, Some(1), None], [None; 3], [Some(1), None, Some(0)]][how];
        assert_eq!(["a", "b", "c"].map(there), expected);
    }
}

#[test]
fn names_that_cannot_be_changed_are_what_they_were_with_all_their_mail() {
    for fails in ["/.a", "/.a.x"] {
        for remove in [false, true] {
            let disk = Ruled::new();
            let house = open(&disk);
            let mut office = imap(&house, "alice");
            for mailbox in ["a", "a/x"] {
                office.create(name(mailbox), None).unwrap();
                append(&mut office, mailbox, b"Subject: there\r\n\r\n").unwrap();
            }
            disk.rule(move |op, path| {
                let fails = op == "rename" && path == Path::new(&format!("{}{fails}", inbox_of("alice").display()));
                if fails { Err(std::io::Error::from_raw_os_error(EIO)) } else { Ok(()) }
            });
            let removed = if fails == "/.a" { "a" } else { "a/x" };
            let changed = if remove { office.delete(name(removed)) } else { office.rename(name("a"), name("b")) };
            assert!(changed.is_err());
            disk.heal();
            append(&mut office, "a", b"Subject: more\r\n\r\n").unwrap();
            let (house, disk) = power_cut(house, &disk);
            assert_eq!((uids(&house, "alice", "a").len(), uids(&house, "alice", "a/x").len()), (2, 1), "{fails} {remove}");
            let mut office = imap(&house, "alice");
            assert_eq!(office.list().unwrap().iter().filter(|listed| listed.exists).count(), 3);
            office.rename(name("a"), name("b")).unwrap();
            let (house, _) = power_cut(house, &disk);
            assert_eq!((uids(&house, "alice", "b").len(), uids(&house, "alice", "b/x").len()), (2, 1), "{fails} {remove}");
        }
    }
}

#[test]
fn a_change_of_names_whose_flush_failed_is_made_good_before_the_next() {
    let disk = Ruled::new();
    let house = open(&disk);
    let mut office = imap(&house, "alice");
    for mailbox in ["a", "b"] {
        office.create(name(mailbox), None).unwrap();
        append(&mut office, mailbox, mailbox.as_bytes()).unwrap();
    }
    disk.fail("sync_dir", "/alice/Maildir");
    assert!(office.delete(name("a")).is_err());
    assert!(office.rename(name("b"), name("c")).is_err());
    assert!(office.create(name("a"), None).is_err(), "a crash would take it for the one that is removed");
    // Mail is not concerned.
    append(&mut office, "b", b"Subject: more\r\n\r\n").unwrap();
    let (after, _) = power_cut(house.clone(), &Ruled::of(disk.disk.kill()));
    assert_eq!(imap(&after, "alice").select(name("a"), true).err(), Some(imap::Refusal::NoMailbox));
    assert_eq!(uids(&after, "alice", "b").len(), 2);
    drop(after);
    disk.heal();
    office.create(name("a"), None).unwrap();
    append(&mut office, "a", b"Subject: new\r\n\r\n").unwrap();
    drop(office);
    let (house, _) = power_cut(house, &disk);
    assert_eq!((uids(&house, "alice", "a").len(), uids(&house, "alice", "b").len()), (1, 2));
}

#[test]
fn a_restart_after_a_failed_flush_takes_nothing_for_durable() {
    let mut failed = 0;
    for n in 0.. {
        let disk = Ruled::new();
        disk.rule(each);
        let house = open(&disk);
        send(&house, &["alice"], b"Subject: one\r\n\r\n").unwrap();
        disk.disk.fail(disk.disk.ops() + n, EIO);
        let ops = disk.disk.ops();
        if house.checkpoint().is_ok() && disk.disk.ops() - ops <= n {
            break;
        }
        failed += 1;
        drop(house);
        // What could be read before can be read after it.
        let disk = Ruled::of(disk.disk.kill());
        disk.rule(each);
        let house = open(&disk);
        house.checkpoint().unwrap();
        let first = uids(&house, "alice", "INBOX");
        let (house, disk) = power_cut(house, &disk);
        assert_eq!(uids(&house, "alice", "INBOX"), first, "operation {n}");
        let mut paths = Vec::new();
        for dir in ["new", "cur"].map(|dir| inbox_of("alice").join(dir)) {
            disk.list(&dir, &mut |name| paths.push(dir.join(std::str::from_utf8(name).unwrap()))).unwrap();
        }
        assert_eq!(paths.len(), 1);
        let text = disk.disk.content(&paths[0]).unwrap();
        assert!(text.ends_with(b"Subject: one\n\n"), "operation {n}: {text:?}");
        send(&house, &["alice"], b"Subject: two\r\n\r\n").unwrap();
        assert!(uids(&house, "alice", "INBOX")[1] > first[0], "operation {n}");
    }
    assert!(failed > 5);
}

#[test]
fn a_directory_is_never_two_mailboxes() {
    let disk = Ruled::new();
    let options = mailbox::Options { root: "/store".into(), budget: 0, ..mailbox::Options::default() };
    let boxes = mailbox::Mailboxes::new(Arc::new(disk.clone()), options);
    let held = boxes.open(&inbox_of("alice"), &MailboxName::inbox()).unwrap();
    hikyaku_tests::settle(&boxes).unwrap();
    boxes.chores();
    // It sleeps now, and cannot be woken for a moment.
    disk.fail("open", "hikyaku.index");
    assert!(boxes.open(&inbox_of("alice"), &MailboxName::inbox()).is_err());
    disk.heal();
    assert!(Arc::ptr_eq(&held, &boxes.open(&inbox_of("alice"), &MailboxName::inbox()).unwrap()));
    // Who looks for a mailbox that does not exist holds nothing that it becomes.
    assert_eq!(boxes.open(&inbox_of("alice"), &name("a")).err(), Some(imap::Refusal::NoMailbox));
    boxes.create(&inbox_of("alice"), &name("b"), None).unwrap();
    let b = boxes.open(&inbox_of("alice"), &name("b")).unwrap();
    boxes.carry_out(&inbox_of("alice"), &mailbox::Moves::Rename(vec![(name("b"), name("a"))])).unwrap();
    assert!(Arc::ptr_eq(&b, &boxes.open(&inbox_of("alice"), &name("a")).unwrap()));
}

#[test]
fn what_waits_for_its_mailbox_does_not_fill_the_log() {
    let large = [&b"Subject: large\r\n\r\n"[..], &b"a line of a large message\r\n".repeat(15_000)].concat();
    for text in [&b"Subject: waits\r\n\r\n"[..], &large] {
        let disk = Ruled::new();
        let house = open_with(&disk, 256 << 10);
        disk.rule(|op, path| {
            let fails = matches!(op, "create" | "link") && ["tmp", "new"].iter().any(|dir| path.starts_with(inbox_of("bob").join(dir)));
            if fails { Err(std::io::Error::from_raw_os_error(EIO)) } else { Ok(()) }
        });
        send(&house, &["alice", "bob"], text).unwrap();
        remove_all(&house, "alice", "INBOX");
        for n in 0..100 {
            send(&house, &["alice"], &b"0123456789\r\n".repeat(1000)).unwrap();
            if n % 5 == 0 {
                house.checkpoint().unwrap();
                house.chores();
            }
        }
        let (crashed, _) = power_cut(house.clone(), &disk);
        assert_eq!((uids(&crashed, "alice", "INBOX").len(), uids(&crashed, "bob", "INBOX").len()), (100, 1));
        disk.heal();
        house.deliver_again();
        house.checkpoint().unwrap();
        let (house, _) = power_cut(house, &disk);
        assert_eq!((uids(&house, "alice", "INBOX").len(), uids(&house, "bob", "INBOX").len()), (100, 1));
    }
}

#[test]
fn a_record_without_its_file_keeps_no_mail_away() {
    let disk = Ruled::new();
    let house = open(&disk);
    disk.rule(|op, path| {
        let fails = op == "link" && path.starts_with(inbox_of("bob"));
        if fails { Err(std::io::Error::from_raw_os_error(EIO)) } else { Ok(()) }
    });
    send(&house, &["bob"], &b"a line of a large message\r\n".repeat(15_000)).unwrap();
    disk.heal();
    let mut names = Vec::new();
    let dir = Path::new("/store/spool/large");
    disk.list(dir, &mut |name| names.push(String::from_utf8(name.to_vec()).unwrap())).unwrap();
    disk.unlink(&dir.join(&names[0])).unwrap();
    disk.sync_dir(dir).unwrap();
    let (house, _) = power_cut(house, &disk);
    send(&house, &["bob"], b"Subject: small\r\n\r\n").unwrap();
    assert_eq!(uids(&house, "bob", "INBOX").len(), 1);
}
