//! What is moved, renamed or removed while something is in doubt: copies beside a failing sync, changes of names, starts at which something is missing.

use super::stage::*;
use imap::Office as _;
use mail::MailboxName;
use std::{
    path::Path,
    sync::{Arc, Mutex, mpsc},
};
use storage::disk::{Disk, How};

fn texts(disk: &Ruled, dir: &Path) -> Vec<String> {
    let mut paths = Vec::new();
    for dir in ["new", "cur"].map(|d| dir.join(d)) {
        let _ = disk.disk.list(&dir, &mut |name| paths.push(dir.join(std::str::from_utf8(name).unwrap())));
    }
    let whole = paths.iter().map(|path| String::from_utf8_lossy(&disk.disk.content(path).unwrap()).into_owned());
    let mut texts: Vec<String> = whole.map(|text| text.split("Subject: ").nth(1).unwrap_or("LOST").trim_end().to_owned()).collect();
    texts.sort();
    texts
}

fn fill(house: &Arc<storage::house::House>, who: &str) -> usize {
    for n in 0..100 {
        if let Err(error) = send(house, &[who], &b"0123456789\r\n".repeat(1000)) {
            eprintln!("message {n}: {error:?}, log {}", house.spool_bytes());
            return n;
        }
        if n % 5 == 0 {
            let _ = house.checkpoint();
            house.chores();
            house.deliver_again();
        }
    }
    100
}

/// one sync of alice's directory fails once; nobody pays before she changes a name again.
#[test]
fn a_change_of_names_that_is_owed_does_not_fill_the_log() {
    let disk = Ruled::new();
    let house = open_with(&disk, 256 << 10);
    let mut office = imap(&house, "alice");
    office.create(name("a"), None).unwrap();
    let mut once = false;
    disk.rule(move |op, path| {
        let fails = op == "sync_dir" && path == inbox_of("alice") && !std::mem::replace(&mut once, true);
        if fails { Err(std::io::Error::from_raw_os_error(EIO)) } else { Ok(()) }
    });
    assert!(office.rename(name("a"), name("b")).is_err());
    disk.heal();
    assert_eq!(fill(&house, "bob"), 100, "bob's mail stops");
}

/// a checkpoint takes the error that a MOVE's sync would have been told of.
#[test]
fn a_move_beside_a_checkpoint_whose_sync_fails_loses_nothing() {
    let disk = Ruled::new();
    let house = open(&disk);
    imap(&house, "alice").create(name("Copies"), None).unwrap();
    send(&house, &["alice"], b"Subject: one\r\n\r\n").unwrap();
    let mut office = imap(&house, "alice");
    let there = office.select(MailboxName::inbox(), false).unwrap().uids;
    let (start, told) = mpsc::channel();
    let (raw, mut once) = (disk.disk.clone(), false);
    disk.rule(move |op, _| {
        if op == "sync_all" && !std::mem::replace(&mut once, true) {
            // The system fails to write, and the checkpoint is told of it while somebody moves.
            raw.lose_writes(Path::new("/store"));
            start.send(()).unwrap();
        }
        Ok(())
    });
    let moved = std::thread::scope(|scope| {
        let mover = scope.spawn(move || {
            told.recv().unwrap();
            office.move_to(there, name("Copies"))
        });
        house.checkpoint().unwrap();
        mover.join().unwrap()
    });
    disk.heal();
    house.deliver_again();
    house.checkpoint().unwrap();
    let (_house, disk) = power_cut(house, &disk);
    let found = (texts(&disk, &inbox_of("alice")), texts(&disk, &inbox_of("alice").join(".Copies")));
    assert!(found.0.iter().chain(&found.1).any(|t| t == "one"), "it is lost: {moved:?} {found:?}");
}

/// files are synced one by one, and a checkpoint has taken them to do that while somebody moves the message.
#[test]
fn a_move_while_a_checkpoint_syncs_files_loses_nothing() {
    let disk = Ruled::new();
    disk.rule(each);
    let house = open(&disk);
    imap(&house, "alice").create(name("Copies"), None).unwrap();
    send(&house, &["alice"], b"Subject: one\r\n\r\n").unwrap();
    let cut = Arc::new(Mutex::new(None));
    let (other, raw, mut once, kept) = (house.clone(), disk.disk.clone(), false, cut.clone());
    disk.rule(move |op, path| {
        if op == "sync" && path.starts_with(inbox_of("alice").join("tmp")) && !std::mem::replace(&mut once, true) {
            let mut office = imap(&other, "alice");
            let there = office.select(MailboxName::inbox(), false).unwrap().uids;
            let moved = office.move_to(there, name("Copies"));
            // The power goes before the file is synced.
            *kept.lock().unwrap() = Some((moved, raw.lose()));
        }
        each(op, path)
    });
    house.checkpoint().unwrap();
    disk.heal();
    let (moved, lost) = cut.lock().unwrap().take().expect("a file is synced");
    drop(house);
    let disk = Ruled::of(lost);
    let _house = open(&disk);
    let found = (texts(&disk, &inbox_of("alice")), texts(&disk, &inbox_of("alice").join(".Copies")));
    assert!(found.0.iter().chain(&found.1).any(|t| t == "one"), "it is lost: {moved:?} {found:?}");
}

/// what was removed before a rename comes back when the mailbox cannot be opened at a start.
#[test]
fn what_was_removed_stays_away_also_after_a_rename() {
    for renamed in [false, true] {
        let disk = Ruled::new();
        let house = open(&disk);
        let mut office = imap(&house, "alice");
        office.create(name("Old"), None).unwrap();
        append(&mut office, "Old", b"Subject: removed\r\n\r\n").unwrap();
        append(&mut office, "Old", b"Subject: stays\r\n\r\n").unwrap();
        house.checkpoint().unwrap();
        let there = office.select(name("Old"), false).unwrap().uids;
        office.store(vec![there[0]], imap::Change::Add, mail::Flags::system(mail::System::DELETED)).unwrap();
        assert_eq!(office.expunge(None).unwrap().len(), 1);
        let at = if renamed {
            office.rename(name("Old"), name("New")).unwrap();
            "New"
        } else {
            "Old"
        };
        drop(office);
        drop(house);
        let disk = Ruled::of(disk.disk.lose());
        // It cannot be looked at when the server starts.
        disk.fail("list", if renamed { "/.New" } else { "/.Old" });
        let house = open(&disk);
        house.checkpoint().unwrap();
        house.chores();
        disk.heal();
        house.deliver_again();
        house.checkpoint().unwrap();
        let count = uids(&house, "alice", at).len();
        let (house, _disk) = power_cut(house, &disk);
        let after = uids(&house, "alice", at).len();
        assert_eq!((count, after), (1, 1), "renamed: {renamed}");
    }
}

/// names in doubt at a start: numbers that were in use.
#[test]
fn numbers_are_not_used_again_where_names_wait() {
    let disk = Ruled::new();
    let house = open(&disk);
    let mut office = imap(&house, "alice");
    office.create(name("Old"), None).unwrap();
    house.checkpoint().unwrap();
    for text in ["one", "two", "three"] {
        append(&mut office, "Old", format!("Subject: {text}\r\n\r\n").as_bytes()).unwrap();
    }
    let there = office.select(name("Old"), false).unwrap().uids;
    office.store(vec![there[0], there[1]], imap::Change::Add, mail::Flags::system(mail::System::DELETED)).unwrap();
    assert_eq!(office.expunge(None).unwrap().len(), 2);
    disk.rule(|op, path| if op == "sync_dir" && path == inbox_of("alice") { Err(std::io::Error::from_raw_os_error(EIO)) } else { Ok(()) });
    assert!(office.rename(name("Old"), name("New")).is_err());
    drop(office);
    drop(house);
    let disk = Ruled::of(disk.disk.lose());
    disk.rule(|op, path| {
        if op == "rename" && path.starts_with(inbox_of("alice").join(".Old")) {
            Err(std::io::Error::from_raw_os_error(EIO))
        } else {
            Ok(())
        }
    });
    let house = open(&disk);
    disk.heal();
    house.deliver_again();
    let now = uids(&house, "alice", "New");
    assert_eq!(now.len(), 1);
    assert!(now[0] >= there[2], "{now:?} was another message: {there:?}");
}

/// the file of accounts is away at one start.
#[test]
fn a_start_without_an_account_uses_no_number_again() {
    let disk = Ruled::new();
    let house = open(&disk);
    let mut office = imap(&house, "alice");
    office.create(name("Old"), None).unwrap();
    append(&mut office, "Old", b"Subject: durable and removed\r\n\r\n").unwrap();
    house.checkpoint().unwrap();
    for text in ["one", "two", "three"] {
        append(&mut office, "Old", format!("Subject: {text}\r\n\r\n").as_bytes()).unwrap();
    }
    let there = office.select(name("Old"), false).unwrap().uids;
    office.store(there[..3].to_vec(), imap::Change::Add, mail::Flags::system(mail::System::DELETED)).unwrap();
    assert_eq!(office.expunge(None).unwrap().len(), 3);
    drop(office);
    drop(house);
    let disk = Ruled::of(disk.disk.lose());
    let accounts = disk.disk.content(Path::new("/store/accounts.ron")).unwrap();
    let write = |disk: &Ruled, bytes: &[u8]| {
        disk.disk.unlink(Path::new("/store/accounts.ron")).unwrap();
        disk.disk.open(Path::new("/store/accounts.ron"), How::Create).unwrap().append(bytes).unwrap();
        disk.disk.sync_all(Path::new("/store")).unwrap();
    };
    write(&disk, b"(version: 1, accounts: [])");
    let house = open(&disk);
    house.checkpoint().unwrap();
    drop(house);
    let disk = Ruled::of(disk.disk.kill());
    write(&disk, &accounts);
    let house = open(&disk);
    house.deliver_again();
    let now = uids(&house, "alice", "Old");
    let found = texts(&disk, &inbox_of("alice").join(".Old"));
    assert!(now.iter().all(|uid| *uid >= there[3]), "numbers were another message's: {now:?} {there:?} {found:?}");
    assert_eq!(found, ["three"]);
}

/// a sector of the log cannot be read.
#[test]
fn a_sector_of_the_log_that_cannot_be_read_keeps_no_house_from_opening() {
    let disk = Ruled::new();
    let house = open(&disk);
    for n in 0..5 {
        send(&house, &["alice"], format!("Subject: {n}\r\n\r\n{}", "0123456789\r\n".repeat(200)).as_bytes()).unwrap();
    }
    drop(house);
    let disk = Ruled::of(disk.disk.lose());
    let mut segments = Vec::new();
    disk.list(Path::new("/store/spool"), &mut |name| segments.push(String::from_utf8(name.to_vec()).unwrap())).unwrap();
    for segment in segments.iter().filter(|name| name.ends_with(".log")) {
        disk.disk.spoil(&Path::new("/store/spool").join(segment), 4096..4608).unwrap();
    }
    let house = open(&disk);
    assert!(uids(&house, "alice", "INBOX").len() >= 3);
}

/// mail that a neighbour leaves in the drop folder for a mailbox in trouble.
#[test]
fn what_a_neighbour_leaves_for_a_mailbox_in_trouble_stops_nobody() {
    let disk = Ruled::new();
    let house = open_with(&disk, 256 << 10);
    disk.fail("create", "/bob/Maildir/tmp/");
    for n in 0..60 {
        super::left::leave_much(&disk, &format!("f{n}"), "bob", 10_000);
        house.pick_up();
        let _ = house.checkpoint();
        house.chores();
    }
    send(&house, &["alice"], &b"0123456789\r\n".repeat(1000)).expect("alice gets her mail");
}

/// the same by an alias that strangers know.
#[test]
fn what_strangers_send_to_an_alias_with_a_mailbox_in_trouble_stops_nobody() {
    let disk = Ruled::new();
    let house = open_with(&disk, 256 << 10);
    disk.fail("create", "/bob/Maildir/tmp/");
    fill(&house, "staff");
    send(&house, &["alice"], &b"0123456789\r\n".repeat(1000)).expect("alice gets her mail");
}

/// names that were given back, and a crash.
#[test]
fn names_that_were_given_back_survive_a_crash() {
    for seed in 0..200 {
        let disk = Ruled::new();
        let house = open(&disk);
        let mut office = imap(&house, "alice");
        for mailbox in ["a", "a/x"] {
            office.create(name(mailbox), None).unwrap();
            append(&mut office, mailbox, b"Subject: there\r\n\r\n").unwrap();
        }
        house.checkpoint().unwrap();
        disk.fail("rename", "/.a.x");
        assert!(office.rename(name("a"), name("b")).is_err());
        disk.heal();
        append(&mut office, "a", b"Subject: more\r\n\r\n").unwrap();
        drop(office);
        drop(house);
        let disk = Ruled::of(disk.disk.crash(&mut fastrand::Rng::with_seed(seed)));
        let house = open(&disk);
        let there: Vec<(String, usize)> = imap(&house, "alice")
            .list()
            .unwrap()
            .iter()
            .filter(|l| l.exists)
            .map(|l| (l.name.to_string(), uids(&house, "alice", l.name.as_str()).len()))
            .collect();
        assert_eq!(there, [("INBOX".into(), 0), ("a".into(), 2), ("a/x".into(), 1)], "seed {seed}");
    }
}

/// a name survived a power cut and its bytes did not; its mailbox cannot be opened at the start, and then it can. Its owner moves the message
/// before the log delivers it again.
#[test]
fn a_move_of_what_waits_to_be_written_again_loses_nothing() {
    let mut tried = 0;
    for seed in 0..400 {
        let disk = Ruled::new();
        let house = open(&disk);
        imap(&house, "alice").create(name("Copies"), None).unwrap();
        send(&house, &["alice"], b"Subject: before\r\n\r\n").unwrap();
        house.checkpoint().unwrap();
        send(&house, &["alice"], b"Subject: one\r\n\r\n").unwrap();
        drop(house);
        let disk = Ruled::of(disk.disk.crash(&mut fastrand::Rng::with_seed(seed)));
        let left = texts(&disk, &inbox_of("alice"));
        if left.len() != 2 || left.iter().any(|t| t == "one") {
            continue;
        }
        tried += 1;
        // Once.
        disk.fail("list", "/alice/Maildir/");
        let house = open(&disk);
        disk.heal();
        let mut office = imap(&house, "alice");
        let there = office.select(MailboxName::inbox(), false).unwrap().uids;
        let moved = office.move_to(there.clone(), name("Copies"));
        drop(office);
        house.deliver_again();
        house.checkpoint().unwrap();
        let (house, disk) = power_cut(house, &disk);
        let _ = uids(&house, "alice", "INBOX");
        let found = (texts(&disk, &inbox_of("alice")), texts(&disk, &inbox_of("alice").join(".Copies")));
        assert!(found.0.iter().chain(&found.1).any(|t| t == "one"), "seed {seed}: it is lost: {moved:?} {found:?}");
        if tried == 10 {
            break;
        }
    }
    assert!(tried > 0);
}

/// a mailbox that lost writes is set aside, and gets another name.
#[test]
fn a_mailbox_that_is_set_aside_stays_so_under_another_name() {
    for rename in [false, true] {
        let disk = Ruled::new();
        let house = open(&disk);
        let mut office = imap(&house, "alice");
        for mailbox in ["Old", "Copies"] {
            office.create(name(mailbox), None).unwrap();
        }
        append(&mut office, "Old", b"Subject: one\r\n\r\n").unwrap();
        disk.disk.lose_writes(Path::new("/store"));
        house.checkpoint().unwrap();
        let from = if rename {
            office.rename(name("Old"), name("New")).unwrap();
            "New"
        } else {
            "Old"
        };
        let there = office.select(name(from), false).unwrap().uids;
        let moved = office.move_to(there, name("Copies"));
        drop(office);
        house.deliver_again();
        house.checkpoint().unwrap();
        let (house, disk) = power_cut(house, &disk);
        let _ = uids(&house, "alice", from);
        let found = (texts(&disk, &inbox_of("alice").join(format!(".{from}"))), texts(&disk, &inbox_of("alice").join(".Copies")));
        assert!(found.0.iter().chain(&found.1).any(|t| t == "one"), "it is lost: {moved:?} {found:?}");
    }
}

/// one panic where nobody waits, at a mailbox that owes nothing.
#[test]
fn one_panic_of_the_chores_keeps_no_mail_away_for_ever() {
    let disk = Ruled::new();
    let house = open(&disk);
    send(&house, &["bob"], b"Subject: one\r\n\r\n").unwrap();
    house.checkpoint().unwrap();
    assert_eq!(uids(&house, "bob", "INBOX").len(), 1);
    let mut once = false;
    disk.rule(move |op, path| {
        if op == "list" && path == inbox_of("bob").join("tmp") && !std::mem::replace(&mut once, true) {
            panic!("once")
        }
        Ok(())
    });
    house.chores();
    disk.heal();
    for _ in 0..5 {
        house.chores();
        house.deliver_again();
        house.checkpoint().unwrap();
        let _ = uids(&house, "bob", "INBOX");
    }
    send(&house, &["bob"], b"Subject: two\r\n\r\n").expect("bob gets mail again");
}

/// a mailbox that is set aside is deleted by its owner.
#[test]
fn an_account_gets_mail_again_when_its_mailbox_in_trouble_is_deleted() {
    let disk = Ruled::new();
    let house = open(&disk);
    let mut office = imap(&house, "alice");
    office.create(name("Old"), None).unwrap();
    append(&mut office, "Old", b"Subject: one\r\n\r\n").unwrap();
    disk.disk.lose_writes(Path::new("/store"));
    house.checkpoint().unwrap();
    office.delete(name("Old")).unwrap();
    drop(office);
    for _ in 0..5 {
        house.chores();
        house.deliver_again();
        house.checkpoint().unwrap();
    }
    send(&house, &["alice"], b"Subject: two\r\n\r\n").expect("alice gets mail again");
}

/// numbers of what came and was removed before a checkpoint that failed.
#[test]
fn numbers_that_were_in_use_outlive_a_checkpoint_that_failed() {
    let disk = Ruled::new();
    let house = open(&disk);
    let mut office = imap(&house, "alice");
    office.create(name("Old"), None).unwrap();
    house.checkpoint().unwrap();
    append(&mut office, "Old", b"Subject: one\r\n\r\n").unwrap();
    let first = uids(&house, "alice", "Old");
    let validity = office.select(name("Old"), true).unwrap().uid_validity;
    drop(office);
    remove_all(&house, "alice", "Old");
    disk.disk.lose_writes(Path::new("/store"));
    house.checkpoint().unwrap();
    let (house, _) = power_cut(house, &disk);
    let mut office = imap(&house, "alice");
    append(&mut office, "Old", b"Subject: two\r\n\r\n").unwrap();
    let now = uids(&house, "alice", "Old");
    let again = office.select(name("Old"), true).unwrap().uid_validity;
    assert!(validity != again || now[0] > first[0], "UID {first:?} is used again: {now:?}");
}

/// a mailbox gets another name while a checkpoint notes what it owes.
#[test]
fn a_rename_beside_a_checkpoint_that_fails_doubles_nothing() {
    let disk = Ruled::new();
    let house = open(&disk);
    let mut office = imap(&house, "alice");
    office.create(name("Old"), None).unwrap();
    append(&mut office, "Old", b"Subject: one\r\n\r\n").unwrap();
    disk.disk.lose_writes(Path::new("/store"));
    let (other, mut once) = (house.clone(), false);
    disk.rule(move |op, path| {
        if op == "open" && path.extension().is_some_and(|e| e == "log") && !std::mem::replace(&mut once, true) {
            imap(&other, "alice").rename(name("Old"), name("New")).unwrap();
        }
        Ok(())
    });
    house.checkpoint().unwrap();
    disk.heal();
    drop(office);
    house.deliver_again();
    house.checkpoint().unwrap();
    let show = |house: &Arc<storage::house::House>| -> Vec<(String, usize)> {
        let listed = imap(house, "alice").list().unwrap();
        listed.iter().filter(|l| l.exists).map(|l| (l.name.to_string(), uids(house, "alice", l.name.as_str()).len())).collect()
    };
    let before = show(&house);
    let (_house, _) = power_cut(house, &disk);
    assert_eq!(before, [("INBOX".to_owned(), 0), ("New".to_owned(), 1)]);
}

/// the only user of a name that others gave back; without a rename there is no such thing. As r13, for a panic at a checkpoint.
#[test]
fn one_panic_of_a_checkpoint_keeps_no_mail_away_for_ever() {
    let disk = Ruled::new();
    let house = open(&disk);
    send(&house, &["bob"], b"Subject: one\r\n\r\n").unwrap();
    let mut once = false;
    disk.rule(move |op, path| {
        if op == "create" && path.starts_with(inbox_of("bob")) && !std::mem::replace(&mut once, true) {
            panic!("once")
        }
        Ok(())
    });
    let _ = house.checkpoint();
    disk.heal();
    for _ in 0..5 {
        house.chores();
        house.deliver_again();
        house.checkpoint().unwrap();
    }
    send(&house, &["bob"], b"Subject: two\r\n\r\n").expect("bob gets mail again");
}

/// as F4, where a checkpoint fails after the start.
#[test]
fn what_was_removed_before_a_rename_is_owed_like_any_other() {
    for renamed in [false, true] {
        let disk = Ruled::new();
        let house = open(&disk);
        let mut office = imap(&house, "alice");
        office.create(name("Old"), None).unwrap();
        append(&mut office, "Old", b"Subject: removed\r\n\r\n").unwrap();
        append(&mut office, "Old", b"Subject: stays\r\n\r\n").unwrap();
        house.checkpoint().unwrap();
        let there = office.select(name("Old"), false).unwrap().uids;
        office.store(vec![there[0]], imap::Change::Add, mail::Flags::system(mail::System::DELETED)).unwrap();
        office.expunge(None).unwrap();
        let at = if renamed { "New" } else { "Old" };
        if renamed {
            office.rename(name("Old"), name("New")).unwrap();
        }
        drop(office);
        drop(house);
        let disk = Ruled::of(disk.disk.lose());
        disk.fail("sync_all", "");
        let house = open(&disk);
        let _ = house.checkpoint();
        let (house, _disk) = power_cut(house, &disk);
        let count = uids(&house, "alice", at).len();
        assert_eq!(count, 1, "renamed: {renamed}");
    }
}

/// as F7, where nothing else holds the log.
#[test]
fn a_start_without_an_account_brings_nothing_back() {
    let disk = Ruled::new();
    let house = open(&disk);
    let mut office = imap(&house, "alice");
    office.create(name("Old"), None).unwrap();
    append(&mut office, "Old", b"Subject: removed\r\n\r\n").unwrap();
    house.checkpoint().unwrap();
    drop(office);
    remove_all(&house, "alice", "Old");
    drop(house);
    let disk = Ruled::of(disk.disk.lose());
    let accounts = disk.disk.content(Path::new("/store/accounts.ron")).unwrap();
    let write = |disk: &Ruled, bytes: &[u8]| {
        disk.disk.unlink(Path::new("/store/accounts.ron")).unwrap();
        disk.disk.open(Path::new("/store/accounts.ron"), How::Create).unwrap().append(bytes).unwrap();
        disk.disk.sync_all(Path::new("/store")).unwrap();
    };
    write(&disk, b"(version: 1, accounts: [])");
    let house = open(&disk);
    house.checkpoint().unwrap();
    drop(house);
    let disk = Ruled::of(disk.disk.kill());
    write(&disk, &accounts);
    let house = open(&disk);
    house.deliver_again();
    assert_eq!(uids(&house, "alice", "Old"), []);
}

/// numbers, the same way.
#[test]
fn a_start_without_an_account_forgets_no_numbers() {
    let disk = Ruled::new();
    let house = open(&disk);
    let mut office = imap(&house, "alice");
    office.create(name("Old"), None).unwrap();
    house.checkpoint().unwrap();
    append(&mut office, "Old", b"Subject: one\r\n\r\n").unwrap();
    let selected = office.select(name("Old"), false).unwrap();
    drop(office);
    remove_all(&house, "alice", "Old");
    drop(house);
    let disk = Ruled::of(disk.disk.lose());
    let accounts = disk.disk.content(Path::new("/store/accounts.ron")).unwrap();
    let write = |disk: &Ruled, bytes: &[u8]| {
        disk.disk.unlink(Path::new("/store/accounts.ron")).unwrap();
        disk.disk.open(Path::new("/store/accounts.ron"), How::Create).unwrap().append(bytes).unwrap();
        disk.disk.sync_all(Path::new("/store")).unwrap();
    };
    write(&disk, b"(version: 1, accounts: [])");
    let house = open(&disk);
    house.checkpoint().unwrap();
    drop(house);
    let disk = Ruled::of(disk.disk.kill());
    write(&disk, &accounts);
    let house = open(&disk);
    let mut office = imap(&house, "alice");
    append(&mut office, "Old", b"Subject: two\r\n\r\n").unwrap();
    let now = office.select(name("Old"), false).unwrap();
    assert!(now.uid_validity != selected.uid_validity || now.uids[0] > selected.uids[0]);
}

/// Two copy at once where files are synced one by one: the second finds none, because the first has them.
#[test]
fn a_move_beside_a_copy_that_syncs_files_loses_nothing() {
    let disk = Ruled::new();
    disk.rule(each);
    let house = open(&disk);
    for mailbox in ["Copies", "More"] {
        imap(&house, "alice").create(name(mailbox), None).unwrap();
    }
    send(&house, &["alice"], b"Subject: one\r\n\r\n").unwrap();
    let (cut, mut once) = (Arc::new(Mutex::new(None)), false);
    let (other, raw, kept) = (house.clone(), disk.disk.clone(), cut.clone());
    let (mut second, mut office) = (imap(&house, "alice"), imap(&house, "alice"));
    let there = second.select(MailboxName::inbox(), false).unwrap().uids;
    let uids = office.select(MailboxName::inbox(), false).unwrap().uids;
    let mut second = Some(second);
    disk.rule(move |op, path| {
        if op == "sync" && path.starts_with(inbox_of("alice").join("tmp")) && !std::mem::replace(&mut once, true) {
            let (told, answer) = mpsc::channel();
            let (mut second, there, _house) = (second.take().unwrap(), there.clone(), other.clone());
            std::thread::spawn(move || told.send(second.move_to(there, name("More")).is_ok()));
            // It waits, or it has answered; the power goes before the file is synced.
            let moved = answer.recv_timeout(std::time::Duration::from_millis(300)).unwrap_or(false);
            *kept.lock().unwrap() = Some((moved, raw.lose()));
        }
        each(op, path)
    });
    let _ = office.copy(uids, name("Copies"));
    let (moved, lost) = cut.lock().unwrap().take().expect("a file is synced");
    let disk = Ruled::of(lost);
    let _house = open(&disk);
    let dirs = [inbox_of("alice"), inbox_of("alice").join(".Copies"), inbox_of("alice").join(".More")];
    assert!(dirs.iter().any(|dir| texts(&disk, dir).iter().any(|t| t == "one")), "it is lost, moved: {moved}");
}
