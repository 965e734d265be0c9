//! Records of the log that wait and cannot be read any more: they hold it for a while, and nobody for ever.

use super::stage::*;
use hikyaku_tests::disk::{Crashing, World};
use imap::Office as _;
use mail::MailboxName;
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};
use storage::{
    clock::Clock,
    disk::{Disk, How},
    house::House,
    mailbox, spool,
};

const LIMIT: u64 = 256 << 10;

/// A house whose monotonic clock goes when told.
fn open_ticking(disk: &Ruled, ms: &Arc<AtomicU64>) -> Arc<House> {
    let ms = ms.clone();
    open_on(Arc::new(disk.clone()), Clock::new(mailbox::system_clock(), move || ms.load(Ordering::SeqCst)), LIMIT)
}

/// The segments of the log, those put aside too.
fn segments(disk: &Ruled, ending: &str) -> Vec<PathBuf> {
    let (dir, mut names) = (Path::new("/store/spool"), Vec::new());
    disk.disk.list(dir, &mut |name| names.push(String::from_utf8(name.to_vec()).unwrap())).unwrap();
    names.iter().filter(|name| name.ends_with(ending)).map(|name| dir.join(name)).collect()
}

/// A bit of the last record that has this in it flips.
fn flip(disk: &Ruled, text: &str) {
    let mut found = None;
    for path in segments(disk, ".log") {
        let bytes = disk.disk.content(&path).unwrap();
        if let Some(at) = bytes.windows(text.len()).rposition(|window| window == text.as_bytes()) {
            found = Some((path, at, bytes[at]));
        }
    }
    let (path, at, byte) = found.expect("it is in the log");
    let file = disk.disk.open(&path, How::Write).unwrap();
    file.write_at(&[byte ^ 1], at as u64).unwrap();
    file.sync().unwrap();
}

fn texts_of(disk: &Ruled, dir: &Path) -> Vec<String> {
    let mut paths = Vec::new();
    for dir in ["new", "cur"].map(|d| dir.join(d)) {
        disk.disk.list(&dir, &mut |name| paths.push(dir.join(std::str::from_utf8(name).unwrap()))).unwrap();
    }
    let whole = paths.iter().map(|path| String::from_utf8_lossy(&disk.disk.content(path).unwrap()).into_owned());
    let mut texts: Vec<String> = whole.map(|text| text.split("Subject: ").nth(1).unwrap_or("LOST").trim_end().to_owned()).collect();
    texts.sort();
    texts
}

/// Two messages wait for alice, and the record of the first cannot be read any more.
fn one_of_two(disk: &Ruled, house: &Arc<House>) {
    disk.fail("create", "/alice/Maildir/tmp/");
    send(house, &["staff"], b"Subject: unreadable\r\n\r\n").unwrap();
    send(house, &["staff"], b"Subject: readable\r\n\r\n").unwrap();
    // Bob has his for good.
    house.checkpoint().unwrap();
    flip(disk, "Subject: unreadable");
}

/// What can be read of the segments that were put aside.
fn salvaged(disk: &Ruled) -> usize {
    let mut count = 0;
    for path in segments(disk, ".damaged") {
        spool::salvage(&disk.disk, &path, &mut |_, _, record| {
            count += usize::from(record.windows(8).any(|window| window == b"readable"));
        })
        .unwrap();
    }
    count
}

#[test]
fn a_record_that_cannot_be_read_does_not_fill_the_log() {
    let (disk, ms) = (Ruled::new(), Arc::new(AtomicU64::new(1000)));
    let house = open_ticking(&disk, &ms);
    one_of_two(&disk, &house);
    for n in 0..100 {
        let sent = send(&house, &["bob"], &b"0123456789\r\n".repeat(1000));
        assert!(sent.is_ok(), "message {n} is refused with {} bytes in the log: {sent:?}", house.spool_bytes());
        if n % 5 == 4 {
            house.checkpoint().unwrap();
        }
    }
    assert_eq!(house.lost_records(), 1);
    assert!(salvaged(&disk) > 0, "its segment is put aside");
    disk.heal();
    house.deliver_again();
    house.checkpoint().unwrap();
    assert!(house.spool_bytes() < MARK);
    send(&house, &["alice"], b"Subject: later\r\n\r\n").unwrap();
    let (house, disk) = power_cut(house, &disk);
    assert_eq!(texts_of(&disk, &inbox_of("alice")), ["later", "readable"]);
    assert_eq!(uids(&house, "bob", "INBOX").len(), 102);
}

#[test]
fn a_record_that_cannot_be_read_keeps_nobodys_mail_away_for_ever() {
    let (disk, ms) = (Ruled::new(), Arc::new(AtomicU64::new(1000)));
    let house = open_ticking(&disk, &ms);
    one_of_two(&disk, &house);
    disk.heal();
    let minutes = |count: u64| {
        for _ in 0..2 * count {
            ms.fetch_add(30_000, Ordering::SeqCst);
            house.chores();
        }
    };
    minutes(5);
    assert_eq!(house.lost_records(), 0, "it is tried again");
    assert!(send(&house, &["alice"], b"Subject: not now\r\n\r\n").is_err());
    // What cannot be put aside is not let go of.
    disk.fail("create", "/store/spool/");
    minutes(10);
    assert_eq!(house.lost_records(), 0);
    assert!(segments(&disk, ".damaged").is_empty());
    disk.heal();
    minutes(1);
    assert_eq!((house.lost_records(), segments(&disk, ".damaged").len()), (1, 1));
    send(&house, &["alice"], b"Subject: later\r\n\r\n").unwrap();
    house.checkpoint().unwrap();
    assert!(house.spool_bytes() < MARK);
    let (_house, disk) = power_cut(house, &disk);
    assert_eq!(texts_of(&disk, &inbox_of("alice")), ["later", "readable"]);
    assert!(salvaged(&disk) > 0);
}

#[test]
fn a_record_that_can_be_read_again_is_not_lost() {
    let (disk, ms) = (Ruled::new(), Arc::new(AtomicU64::new(1000)));
    let house = open_ticking(&disk, &ms);
    one_of_two(&disk, &house);
    for _ in 0..100 {
        ms.fetch_add(30_000, Ordering::SeqCst);
        // Nobody can open a file more.
        disk.rule(|op, path| {
            let fails = op == "open" && path.extension().is_some_and(|e| e == "log");
            if fails { Err(std::io::Error::from_raw_os_error(24)) } else { Ok(()) }
        });
        house.chores();
    }
    disk.heal();
    for _ in 0..4 {
        ms.fetch_add(30_000, Ordering::SeqCst);
        house.chores();
    }
    assert_eq!(house.lost_records(), 0);
    flip(&disk, "Rubject: unreadable");
    house.deliver_again();
    house.checkpoint().unwrap();
    assert_eq!(texts_of(&disk, &inbox_of("alice")), ["readable", "unreadable"]);
    assert!(segments(&disk, ".damaged").is_empty());
}

#[test]
fn a_crash_while_a_segment_is_put_aside_loses_nothing_else() {
    let (disk, ms) = (Ruled::new(), Arc::new(AtomicU64::new(1000)));
    let house = open_ticking(&disk, &ms);
    one_of_two(&disk, &house);
    house.deliver_again();
    ms.fetch_add(3_600_000, Ordering::SeqCst);
    let left = Arc::new(Mutex::new(Vec::new()));
    let (worlds, mut dice) = (left.clone(), fastrand::Rng::with_seed(1));
    disk.disk.watch(move |world: &World| worlds.lock().unwrap().extend([world.kill(), world.crash(&mut dice)]));
    house.deliver_again();
    assert_eq!(house.lost_records(), 1);
    disk.heal();
    house.deliver_again();
    house.checkpoint().unwrap();
    disk.disk.unwatch();
    let left: Vec<Crashing> = std::mem::take(&mut *left.lock().unwrap());
    assert!(left.len() > 20, "{}", left.len());
    for (n, disk) in left.into_iter().enumerate() {
        let disk = Ruled::of(disk);
        let house = open(&disk);
        assert_eq!(texts_of(&disk, &inbox_of("alice")), ["readable"], "{n}");
        assert_eq!(uids(&house, "bob", "INBOX").len(), 2, "{n}");
        assert!(salvaged(&disk) > 0, "{n}: nothing is put aside");
    }
}

/// What is owed to a mailbox when its sync fails, and cannot be read then.
#[test]
fn what_cannot_be_read_when_it_is_needed_is_tried_again() {
    for removed in [false, true] {
        let disk = Ruled::new();
        let house = open_with(&disk, LIMIT);
        send(&house, &["alice"], b"Subject: unreadable\r\n\r\n").unwrap();
        flip(&disk, "Subject: unreadable");
        disk.disk.lose_writes(Path::new("/store"));
        house.checkpoint().unwrap();
        if removed {
            // It is there for her as long as the server runs.
            remove_all(&house, "alice", "INBOX");
        }
        flip(&disk, "Rubject: unreadable");
        house.deliver_again();
        house.checkpoint().unwrap();
        assert!(house.spool_bytes() < MARK, "removed: {removed}");
        let (house, disk) = power_cut(house, &disk);
        let expected: &[&str] = if removed { &[] } else { &["unreadable"] };
        assert_eq!(texts_of(&disk, &inbox_of("alice")), expected);
        assert_eq!(uids(&house, "alice", "INBOX").len(), expected.len());
    }
}

/// The only word of numbers that were in use could not be written into the log when their mailbox could not be opened.
#[test]
fn numbers_that_the_log_could_not_be_told_of_are_told_later() {
    let disk = Ruled::new();
    let house = open(&disk);
    send(&house, &["bob"], b"Subject: one\r\n\r\n").unwrap();
    let first = uids(&house, "bob", "INBOX");
    remove_all(&house, "bob", "INBOX");
    drop(house);
    let disk = Ruled::of(disk.disk.lose());
    let mut begun = false;
    disk.rule(move |op, path| {
        let log = op == "sync" && path.extension().is_some_and(|e| e == "free");
        let fails = log && std::mem::replace(&mut begun, true) || op == "make_dir" && path.starts_with(inbox_of("bob"));
        if fails { Err(std::io::Error::from_raw_os_error(EIO)) } else { Ok(()) }
    });
    let house = open(&disk);
    assert!(house.mailboxes().open(&inbox_of("bob"), &MailboxName::inbox()).is_err());
    disk.fail("make_dir", "/bob/");
    house.deliver_again();
    house.checkpoint().unwrap();
    let (house, disk) = power_cut(house, &disk);
    assert_eq!(uids(&house, "bob", "INBOX"), []);
    send(&house, &["bob"], b"Subject: two\r\n\r\n").unwrap();
    assert!(uids(&house, "bob", "INBOX")[0] > first[0]);
    house.checkpoint().unwrap();
    assert!(house.spool_bytes() < MARK);
    drop(disk);
}

#[test]
fn a_stuck_account_keeps_no_fellow_recipient_from_theirs() {
    let disk = Ruled::new();
    let house = open(&disk);
    let mut office = imap(&house, "alice");
    office.create(name("a"), None).unwrap();
    disk.rule(|op, path| {
        let of_names = op == "rename" && [".a", ".b"].iter().any(|dir| path == inbox_of("alice").join(dir));
        let fails = of_names || op == "sync_dir" && path == inbox_of("alice");
        if fails { Err(std::io::Error::from_raw_os_error(EIO)) } else { Ok(()) }
    });
    assert!(office.rename(name("a"), name("b")).is_err());
    assert!(append(&mut office, "a", b"Subject: not now\r\n\r\n").is_err());
    assert!(send(&house, &["alice"], b"Subject: not now\r\n\r\n").is_err());
    send(&house, &["staff"], b"Subject: all\r\n\r\n").unwrap();
    assert_eq!(uids(&house, "bob", "INBOX").len(), 1);
    let (after, _) = power_cut(house.clone(), &Ruled::of(disk.disk.kill()));
    assert_eq!((uids(&after, "alice", "INBOX").len(), uids(&after, "bob", "INBOX").len()), (1, 1));
    drop(after);
    disk.heal();
    house.deliver_again();
    let (house, _) = power_cut(house, &disk);
    assert_eq!((uids(&house, "alice", "INBOX").len(), uids(&house, "bob", "INBOX").len()), (1, 1));
    assert_eq!(uids(&house, "alice", "a").len(), 0);
}
