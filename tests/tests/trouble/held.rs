//! What holds the log: whoever's trouble lasts, the log goes on without them, and when it ends everything is there once, under its right name.

use super::stage::*;
use hikyaku_tests::disk::{Crashing, World};
use imap::Office as _;
use std::{
    path::Path,
    sync::{Arc, Mutex},
};
use storage::{
    disk::{Disk, How},
    house::House,
};

/// Bytes that the log may hold.
const LIMIT: u64 = 256 << 10;

/// Mailboxes and how many messages are in each.
type Listing = Vec<(String, usize)>;

fn listing(house: &Arc<House>, who: &str) -> Listing {
    let listed = imap(house, who).list().unwrap();
    listed.iter().filter(|l| l.exists).map(|l| (l.name.to_string(), uids(house, who, l.name.as_str()).len())).collect()
}

fn expected(listing: &[(&str, usize)]) -> Listing {
    listing.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

/// Sends bob several times what the log holds. None of it may be refused.
fn fill(house: &Arc<House>, what: &str) {
    for n in 0..80 {
        let sent = send(house, &["bob"], &b"0123456789\r\n".repeat(1000));
        assert!(sent.is_ok(), "{what}: message {n} is refused with {} bytes in the log: {sent:?}", house.spool_bytes());
        if n % 5 == 4 {
            house.deliver_again();
            house.checkpoint().unwrap();
            house.chores();
        }
    }
}

/// How a change of names gets stuck.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Stuck {
    /// It is done, and cannot be made durable.
    Owed,
    /// A crash came before it was done, and it cannot be done now.
    Forth,
    /// It could be done by halves, and not be taken back.
    Back,
    /// As `Forth`, and the account is away.
    Away,
}

const ALL: [(Stuck, bool); 8] = [
    (Stuck::Owed, false),
    (Stuck::Owed, true),
    (Stuck::Forth, false),
    (Stuck::Forth, true),
    (Stuck::Back, false),
    (Stuck::Back, true),
    (Stuck::Away, false),
    (Stuck::Away, true),
];

impl Stuck {
    /// Lets it go on as it is, also after a start.
    fn lasts(self, disk: &Ruled, remove: bool) {
        match self {
            Stuck::Owed => disk.rule(|op, path| fault(op == "sync_dir" && path == inbox_of("alice"))),
            Stuck::Forth | Stuck::Away => disk.rule(|op, path| fault(op == "rename" && path == inbox_of("alice").join(".a"))),
            // Neither there nor back, as on a file system that became read-only after the first.
            Stuck::Back => disk.rule(move |op, path| {
                let first = if remove { ".a" } else { ".a.x" };
                let of_names = op == "rename" && [first, ".b"].iter().any(|dir| path == inbox_of("alice").join(dir));
                fault(of_names || op == "sync_dir" && path == inbox_of("alice"))
            }),
        }
    }
}

fn fault(fails: bool) -> std::io::Result<()> {
    if fails { Err(std::io::Error::from_raw_os_error(EIO)) } else { Ok(()) }
}

fn accounts(disk: &Ruled, names: &[&str]) {
    let account = |local: &&str| format!("(address: \"{local}@example.test\", hash: \"{{SSHA}}ev3P3p8pGsxpYfBqdhSjbVQRyidzYWx0\")");
    let text = format!("(version: 1, accounts: [{}])", names.iter().map(account).collect::<Vec<_>>().join(", "));
    let path = Path::new("/store/accounts.ron");
    disk.disk.unlink(path).unwrap();
    disk.disk.open(path, How::Create).unwrap().append(text.as_bytes()).unwrap();
    disk.disk.sync_all(Path::new("/store")).unwrap();
}

/// A house in which alice's change of names is stuck, with mail of hers that waits, and what she finds when the trouble is over.
fn stick(stuck: Stuck, remove: bool) -> (Arc<House>, Ruled, Listing) {
    let disk = Ruled::new();
    let house = open_with(&disk, LIMIT);
    let mut office = imap(&house, "alice");
    for mailbox in ["a", "a/x"] {
        office.create(name(mailbox), None).unwrap();
        append(&mut office, mailbox, b"Subject: durable\r\n\r\n").unwrap();
    }
    house.checkpoint().unwrap();
    for mailbox in ["a", "a/x", "INBOX"] {
        append(&mut office, mailbox, b"Subject: in the log\r\n\r\n").unwrap();
    }
    let gone = office.select(name("a/x"), false).unwrap().uids[0];
    office.store(vec![gone], imap::Change::Add, mail::Flags::system(mail::System::DELETED)).unwrap();
    office.expunge(None).unwrap();
    // What was promised to her inbox waits as well.
    disk.fail("create", "/alice/Maildir/tmp/");
    send(&house, &["alice"], b"Subject: waits\r\n\r\n").unwrap();
    // And what was in her mailboxes since the last checkpoint.
    disk.disk.lose_writes(Path::new("/store"));
    house.checkpoint().unwrap();
    let before = Arc::new(Mutex::new(None));
    match stuck {
        Stuck::Owed | Stuck::Back => stuck.lasts(&disk, remove),
        Stuck::Forth | Stuck::Away => {
            let (raw, kept) = (disk.disk.clone(), before.clone());
            disk.rule(move |op, path| {
                if op == "rename" && path == inbox_of("alice").join(".a") {
                    kept.lock().unwrap().get_or_insert_with(|| raw.lose());
                }
                Ok(())
            });
        }
    }
    let changed = if remove { office.delete(name("a")) } else { office.rename(name("a"), name("b")) };
    drop(office);
    let (house, disk) = match stuck {
        Stuck::Owed | Stuck::Back => {
            assert!(changed.is_err());
            (house, disk)
        }
        Stuck::Forth | Stuck::Away => {
            drop(house);
            let disk = Ruled::of(before.lock().unwrap().take().expect("it is begun"));
            if stuck == Stuck::Away {
                accounts(&disk, &["bob"]);
            }
            stuck.lasts(&disk, remove);
            (open_with(&disk, LIMIT), disk)
        }
    };
    let then = match (remove, stuck) {
        (_, Stuck::Back) => expected(&[("INBOX", 2), ("a", 2), ("a/x", 1)]),
        (true, _) => expected(&[("INBOX", 2), ("a/x", 1)]),
        (false, _) => expected(&[("INBOX", 2), ("b", 2), ("b/x", 1)]),
    };
    (house, disk, then)
}

fn is_there(house: &Arc<House>, then: &Listing, what: &str) {
    assert_eq!(&listing(house, "alice"), then, "{what}");
}

#[test]
fn a_change_of_names_that_is_stuck_for_ever_holds_nobodys_mail() {
    for (stuck, remove) in ALL {
        let what = format!("{stuck:?}, remove: {remove}");
        let (house, disk, then) = stick(stuck, remove);
        fill(&house, &what);
        // It lasts over starts: after a kill and after a power cut.
        let killed = Ruled::of(disk.disk.kill());
        drop(house);
        for disk in [killed, Ruled::of(disk.disk.lose())] {
            let again = if stuck == Stuck::Back { Stuck::Forth } else { stuck };
            again.lasts(&disk, remove);
            let house = open_with(&disk, LIMIT);
            fill(&house, &what);
            disk.heal();
            if stuck == Stuck::Away {
                accounts(&disk, &["alice", "bob"]);
                house.chores();
            }
            house.deliver_again();
            house.checkpoint().unwrap();
            // A crash made up its mind, where there was still something to take back.
            let then = match (stuck, remove) {
                (Stuck::Back, false) => expected(&[("INBOX", 2), ("b", 2), ("b/x", 1)]),
                _ => then.clone(),
            };
            is_there(&house, &then, &what);
            house.checkpoint().unwrap();
            assert!(house.spool_bytes() < MARK, "{what}: the log keeps {}", house.spool_bytes());
            let (house, _) = power_cut(house, &disk);
            is_there(&house, &then, &what);
            assert_eq!(uids(&house, "bob", "INBOX").len(), 160, "{what}");
        }
    }
}

/// Opens what a crash left, when the trouble is over.
fn opens(disk: Crashing, expected: &[Listing], bobs: usize, what: &str) {
    let disk = Ruled::of(disk);
    accounts(&disk, &["alice", "bob"]);
    let house = open_with(&disk, LIMIT);
    let there = listing(&house, "alice");
    assert!(expected.contains(&there), "{what}: {there:?} instead of {expected:?}");
    assert_eq!(uids(&house, "bob", "INBOX").len(), bobs, "{what}");
    house.checkpoint().unwrap();
    let (house, _) = power_cut(house, &disk);
    assert_eq!(listing(&house, "alice"), there, "{what}: after another crash");
    assert_eq!(uids(&house, "bob", "INBOX").len(), bobs, "{what}: after another crash");
}

/// Opens what crashes leave at operations of `act`.
fn crash_at_each(disk: &Ruled, expected: &[Listing], bobs: usize, what: &str, act: impl FnOnce()) {
    let left = Arc::new(Mutex::new(Vec::new()));
    let (worlds, mut dice) = (left.clone(), fastrand::Rng::with_seed(bobs as u64));
    disk.disk.watch(move |world: &World| {
        let mut worlds = worlds.lock().unwrap();
        worlds.push(if dice.bool() { world.kill() } else { world.crash(&mut dice) });
    });
    act();
    disk.disk.unwatch();
    let left = std::mem::take(&mut *left.lock().unwrap());
    assert!(left.len() > 3, "{what}: {} operations", left.len());
    for (n, disk) in left.into_iter().enumerate() {
        opens(disk, expected, bobs, &format!("{what}, operation {n}"));
    }
}

#[test]
fn a_crash_while_the_log_goes_on_changes_nothing() {
    for (stuck, remove) in ALL {
        let (house, disk, then) = stick(stuck, remove);
        let mut all = vec![then];
        if stuck == Stuck::Back {
            all.push(if remove { expected(&[("INBOX", 2), ("a/x", 1)]) } else { expected(&[("INBOX", 2), ("b", 2), ("b/x", 1)]) });
        }
        let mut bobs = 0;
        for round in 0..2 {
            while house.spool_bytes() < LIMIT / 2 + 20_000 {
                send(&house, &["bob"], &b"0123456789\r\n".repeat(1000)).unwrap();
                bobs += 1;
            }
            crash_at_each(&disk, &all, bobs, &format!("{stuck:?}, remove: {remove}, round {round}"), || house.checkpoint().unwrap());
            assert!(house.spool_bytes() < LIMIT / 2, "it was carried: {} bytes", house.spool_bytes());
        }
        disk.heal();
        accounts(&disk, &["alice", "bob"]);
        house.chores();
        crash_at_each(&disk, &all, bobs, &format!("{stuck:?}, remove: {remove}, at the end"), || {
            house.deliver_again();
            house.checkpoint().unwrap();
        });
        assert_eq!(listing(&house, "alice"), all[0], "{stuck:?}, remove: {remove}");
    }
}

#[test]
fn a_log_that_is_full_to_the_brim_can_be_emptied() {
    let disk = Ruled::new();
    let house = open_with(&disk, LIMIT);
    // Files of the drop folder are taken in, and stay: whoever lets go of their records tells of them again.
    (0..9).for_each(|n| super::left::leave(&disk, &n.to_string(), "bob@example.test"));
    disk.fail("unlink", "/store/drop/");
    house.chores();
    house.pick_up();
    for n in 0..400 {
        append(&mut imap(&house, "alice"), "INBOX", format!("Subject: {n}\r\n\r\n").as_bytes()).unwrap();
    }
    // Nobody takes a checkpoint, as when none succeeds for a while.
    while send(&house, &["bob"], &b"0123456789\r\n".repeat(100)).is_ok() {}
    let mut office = imap(&house, "alice");
    let there = office.select(name("INBOX"), false).unwrap().uids;
    office.store(there.clone(), imap::Change::Add, mail::Flags::system(mail::System::DELETED)).unwrap();
    let removed = there.iter().take_while(|uid| office.expunge(Some(vec![**uid])).is_ok()).count();
    assert!(removed < there.len(), "it is full to the brim: {} bytes", house.spool_bytes());
    house.checkpoint().unwrap();
    assert!(house.spool_bytes() < LIMIT / 2);
    send(&house, &["bob"], b"Subject: again\r\n\r\n").unwrap();
    drop(office);
    let bobs = uids(&house, "bob", "INBOX").len();
    let (house, _) = power_cut(house, &disk);
    house.chores();
    house.pick_up();
    assert_eq!(uids(&house, "alice", "INBOX").len(), there.len() - removed);
    assert_eq!(uids(&house, "bob", "INBOX").len(), bobs, "what was left is taken in once");
}
