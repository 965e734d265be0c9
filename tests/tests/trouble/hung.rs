//! Calls of a disk that do not return: whoever made them waits, and nobody else does.

use super::stage::*;
use config::Speak;
use imap::{Office as _, Refusal};
use mail::{Address, Flags, MailboxName, System};
use smtp::Office as _;
use std::{
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread,
};
use storage::{
    disk::Disk as _,
    house::{House, Seat},
};
use wire::Fault;

/// Seconds after which a call is taken for one that never returns, and some more.
const STALLED: usize = 40;

/// Where a delivery to bob can hang: while nobody waits for it, and with his mailbox locked.
const CALLS: [(&str, &str); 3] = [("create", "/bob/Maildir/tmp/"), ("rename", "/bob/Maildir/tmp/"), ("open", "/bob/Maildir/hikyaku.index")];

fn is_at(at: (&'static str, &'static str)) -> impl Fn(&str, &Path) -> bool {
    move |op, path| op == at.0 && path.to_str().unwrap().contains(at.1)
}

/// So many seconds go by, and nothing is due.
fn pass(house: &Arc<House>, seconds: usize) {
    (0..seconds).for_each(|_| drop(house.tick()));
}

/// A second goes by, and what is due is done.
fn second(house: &Arc<House>) {
    if let Some(shift) = house.tick() {
        shift.work();
    }
    house.deliver_again();
    house.checkpoint().unwrap();
}

fn recipient(house: &Arc<House>, who: &str) -> smtp::Verdict {
    let Seat::Smtp(_, mut office) = seat(house, Speak::Smtp) else { panic!() };
    office.recipient(Address::parse(&format!("{who}@example.test")).unwrap().into())
}

fn counts(house: &Arc<House>) -> (usize, usize) {
    (uids(house, "alice", "INBOX").len(), uids(house, "bob", "INBOX").len())
}

/// Somebody sends to these, and it hangs.
fn hanging(house: &Arc<House>, disk: &Ruled, to: &'static [&'static str]) -> thread::JoinHandle<Result<smtp::Receipt, smtp::Refusal>> {
    let house = house.clone();
    let sending = thread::spawn(move || send(&house, to, b"Subject: hangs\r\n\r\n"));
    disk.wait_for_stuck(1);
    sending
}

/// Mail for alice, more than the log holds, while a second goes by now and then.
fn fill(house: &Arc<House>) {
    let house = house.clone();
    apart("others wait", move || {
        for n in 0..100 {
            send(&house, &["alice"], &b"0123456789\r\n".repeat(1000)).unwrap_or_else(|error| panic!("message {n}: {error:?}"));
            pass(&house, 3);
            second(&house);
        }
    });
}

#[test]
fn a_delivery_that_hangs_stops_no_mail_and_no_checkpoint_of_others() {
    for at in CALLS {
        for released in [true, false] {
            let disk = Ruled::new();
            let house = open_with(&disk, 256 << 10);
            send(&house, &["bob"], b"Subject: before\r\n\r\n").unwrap();
            disk.hang(is_at(at));
            let sending = hanging(&house, &disk, &["bob"]);
            fill(&house);
            assert!(house.mailboxes().aside().iter().all(|aside| aside.maildir == inbox_of("bob")), "{at:?}");
            if released {
                disk.let_go();
                sending.join().unwrap().expect("it was promised");
                second(&house);
                second(&house);
                assert_eq!(house.mailboxes().aside(), []);
                assert_eq!(counts(&house), (100, 2), "{at:?}");
                send(&house, &["bob"], b"Subject: after\r\n\r\n").unwrap();
                house.checkpoint().unwrap();
                assert!(house.spool_bytes() < MARK, "{at:?}");
            }
            let (after, _) = power_cut(house, &disk);
            assert_eq!(counts(&after), (100, 2 + usize::from(released)), "{at:?}");
            disk.let_go();
        }
    }
}

#[test]
fn a_delivery_that_comes_back_late_brings_back_nothing() {
    for at in CALLS {
        let disk = Ruled::new();
        let house = open(&disk);
        send(&house, &["bob"], b"Subject: before\r\n\r\n").unwrap();
        remove_all(&house, "bob", "INBOX");
        house.checkpoint().unwrap();
        // Once: who comes later gets through.
        let (stuck, is_stuck) = mpsc::channel();
        let (go_on, gone_on) = mpsc::channel();
        let mut once = false;
        disk.rule(move |op, path| {
            if is_at(at)(op, path) && !std::mem::replace(&mut once, true) {
                stuck.send(()).unwrap();
                gone_on.recv().unwrap();
            }
            Ok(())
        });
        let late = house.clone();
        let sending = thread::spawn(move || send(&late, &["bob"], b"Subject: hangs\r\n\r\n"));
        is_stuck.recv().unwrap();
        pass(&house, STALLED);
        let other = house.clone();
        apart("others wait", move || second(&other));
        go_on.send(()).unwrap();
        sending.join().unwrap().unwrap();
        second(&house);
        assert_eq!(uids(&house, "bob", "INBOX").len(), 1, "{at:?}");
        remove_all(&house, "bob", "INBOX");
        second(&house);
        second(&house);
        assert_eq!(uids(&house, "bob", "INBOX").len(), 0, "{at:?}");
        let (house, _) = power_cut(house, &disk);
        assert_eq!(uids(&house, "bob", "INBOX").len(), 0, "{at:?}");
    }
}

#[test]
fn who_is_named_behind_a_mailbox_that_hangs_gets_mail_and_changes_names() {
    let disk = Ruled::new();
    let house = open(&disk);
    disk.hang(is_at(CALLS[0]));
    let sending = hanging(&house, &disk, &["bob", "alice"]);
    let others = house.clone();
    apart("alice waits", move || {
        let mut office = imap(&others, "alice");
        office.create(name("a"), None).unwrap();
        office.rename(name("a"), name("b")).unwrap();
        send(&others, &["alice"], b"Subject: more\r\n\r\n").unwrap();
        pass(&others, STALLED);
        second(&others);
        second(&others);
        assert_eq!(uids(&others, "alice", "INBOX").len(), 2);
    });
    disk.let_go();
    sending.join().unwrap().unwrap();
    second(&house);
    second(&house);
    assert_eq!(counts(&house), (2, 1));
    let (house, _) = power_cut(house, &disk);
    assert_eq!(counts(&house), (2, 1));
}

#[test]
fn a_mailbox_that_hangs_is_refused_and_whoever_waits_for_it_goes_free() {
    for at in [("stat", "/bob/Maildir"), ("rename", "/bob/Maildir/tmp/")] {
        let disk = Ruled::new();
        let house = open(&disk);
        send(&house, &["bob"], b"Subject: before\r\n\r\n").unwrap();
        let mut watching = imap(&house, "bob");
        watching.select(MailboxName::inbox(), false).unwrap();
        disk.hang(is_at(at));
        let sending = hanging(&house, &disk, &["bob"]);
        // Some come before it is known.
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let house = house.clone();
                thread::spawn(move || recipient(&house, "bob"))
            })
            .collect();
        if at.0 == "stat" {
            disk.wait_for_stuck(4);
        }
        pass(&house, STALLED);
        let others = house.clone();
        apart("strangers wait", move || {
            assert_eq!(recipient(&others, "bob"), Err(smtp::Refusal::Fault(Fault::Later)));
            recipient(&others, "alice").unwrap();
            let mut office = imap(&others, "bob");
            assert_eq!(office.list().err(), Some(Refusal::Fault(Fault::Later)));
            assert_eq!(office.status(MailboxName::inbox()).err(), Some(Refusal::Fault(Fault::Later)));
            // Nobody is asked whether there is time for this.
            watching.watch(true);
            drop(watching);
        });
        assert_eq!(house.mailboxes().aside().len(), 1);
        if at.0 == "stat" {
            disk.let_go();
        }
        for waits in waiting {
            let verdict = apart("whoever came before", move || waits.join().unwrap());
            assert!(at.0 == "stat" || verdict.is_err(), "{verdict:?}");
        }
        disk.let_go();
        let _ = sending.join().unwrap();
        second(&house);
        second(&house);
        assert_eq!(house.mailboxes().aside(), []);
        recipient(&house, "bob").unwrap();
    }
}

#[test]
fn chores_that_hang_are_done_by_others() {
    let disk = Ruled::new();
    let house = open_with(&disk, 256 << 10);
    send(&house, &["bob"], b"Subject: before\r\n\r\n").unwrap();
    disk.hang(is_at(("stat", "/bob/Maildir")));
    let shift = house.tick().unwrap();
    let hangs = thread::spawn(|| shift.work());
    disk.wait_for_stuck(1);
    fill(&house);
    assert_eq!(house.mailboxes().aside().len(), 1);
    disk.let_go();
    apart("the first", move || hangs.join().unwrap());
    second(&house);
    second(&house);
    assert_eq!((counts(&house), house.mailboxes().aside()), ((100, 1), vec![]));
    let (house, _) = power_cut(house, &disk);
    assert_eq!(counts(&house), (100, 1));
}

#[test]
fn a_sync_that_hangs_stops_no_other_file_system() {
    let disk = Ruled::new();
    let bobs = PathBuf::from("/store/mail/example.test/bob");
    for dir in ["/store/mail", "/store/mail/example.test"] {
        disk.disk.make_dir(Path::new(dir)).unwrap();
    }
    disk.disk.mount(&bobs).unwrap();
    let house = open_with(&disk, 256 << 10);
    send(&house, &["bob"], b"Subject: before\r\n\r\n").unwrap();
    disk.hang(move |op, path| op == "sync_all" && path.starts_with(&bobs));
    let checkpoint = {
        let house = house.clone();
        thread::spawn(move || house.checkpoint())
    };
    disk.wait_for_stuck(1);
    // It is long before that is taken for what does not return: it may be large.
    send(&house, &["bob"], b"Subject: more\r\n\r\n").unwrap();
    pass(&house, 400);
    fill(&house);
    disk.let_go();
    checkpoint.join().unwrap().unwrap();
    second(&house);
    second(&house);
    assert_eq!((counts(&house), house.mailboxes().aside()), ((100, 2), vec![]));
    house.checkpoint().unwrap();
    assert!(house.spool_bytes() < MARK);
    let (house, _) = power_cut(house, &disk);
    assert_eq!(counts(&house), (100, 2));
}

#[test]
fn a_mailbox_that_is_busy_for_a_moment_is_left_alone() {
    for at in CALLS {
        let disk = Ruled::new();
        let house = open(&disk);
        send(&house, &["bob"], b"Subject: before\r\n\r\n").unwrap();
        disk.hang(is_at(at));
        let sending = hanging(&house, &disk, &["bob"]);
        let others = house.clone();
        apart("others wait", move || {
            for _ in 0..3 {
                pass(&others, 3);
                others.checkpoint().unwrap();
            }
        });
        assert_eq!(house.mailboxes().aside(), []);
        disk.let_go();
        sending.join().unwrap().unwrap();
        let first = uids(&house, "bob", "INBOX");
        assert_eq!(first.len(), 2);
        second(&house);
        assert_eq!(uids(&house, "bob", "INBOX"), first);
        assert!(house.spool_bytes() < MARK);
        let (house, _) = power_cut(house, &disk);
        assert_eq!(uids(&house, "bob", "INBOX").len(), 2);
    }
}

#[test]
fn a_file_system_that_cannot_be_opened_keeps_no_other_from_being() {
    let disk = Ruled::new();
    let bobs = PathBuf::from("/store/mail/example.test/bob");
    for dir in ["/store/mail", "/store/mail/example.test"] {
        disk.disk.make_dir(Path::new(dir)).unwrap();
    }
    disk.disk.mount(&bobs).unwrap();
    let house = open(&disk);
    disk.hang(move |op, path| op == "volume" && path.starts_with(&bobs));
    let opening = {
        let house = house.clone();
        thread::spawn(move || recipient(&house, "bob"))
    };
    disk.wait_for_stuck(1);
    let others = house.clone();
    apart("others wait", move || send(&others, &["alice"], b"Subject: one\r\n\r\n").unwrap());
    disk.let_go();
    opening.join().unwrap().unwrap();
}

#[test]
fn a_removal_that_hangs_is_done_all_the_same() {
    for released in [true, false] {
        let disk = Ruled::new();
        let house = open_with(&disk, 256 << 10);
        send(&house, &["bob"], b"Subject: goes\r\n\r\n").unwrap();
        house.checkpoint().unwrap();
        let mut office = imap(&house, "bob");
        let there = office.select(MailboxName::inbox(), false).unwrap().uids;
        office.store(there.clone(), imap::Change::Add, Flags::system(System::DELETED)).unwrap();
        disk.hang(is_at(("open", "/bob/Maildir/hikyaku.index")));
        let removing = thread::spawn(move || office.expunge(None));
        disk.wait_for_stuck(1);
        fill(&house);
        if released {
            disk.let_go();
            assert_eq!(removing.join().unwrap(), Ok(there));
            second(&house);
            second(&house);
            assert_eq!((counts(&house), house.mailboxes().aside()), ((100, 0), vec![]));
        }
        let (after, _) = power_cut(house, &disk);
        assert_eq!(counts(&after), (100, 0), "released: {released}");
        disk.let_go();
    }
}

#[test]
fn a_change_of_names_that_hangs_does_not_fill_the_log() {
    // Before the names are changed, and when they are to be made durable.
    for at in [("rename", "/bob/Maildir/.a"), ("sync_dir", "/bob/Maildir")] {
        for released in [true, false] {
            let disk = Ruled::new();
            let house = open_with(&disk, 256 << 10);
            let mut office = imap(&house, "bob");
            office.create(name("a"), None).unwrap();
            append(&mut office, "a", b"Subject: there\r\n\r\n").unwrap();
            disk.hang(is_at(at));
            let changing = thread::spawn(move || office.rename(name("a"), name("b")));
            disk.wait_for_stuck(1);
            fill(&house);
            if released {
                disk.let_go();
                changing.join().unwrap().unwrap();
                second(&house);
                second(&house);
                assert_eq!(house.mailboxes().aside(), []);
            }
            let (after, _) = power_cut(house, &disk);
            assert_eq!((counts(&after), uids(&after, "bob", "b").len()), ((100, 0), 1), "{at:?} {released}");
            disk.let_go();
        }
    }
}
