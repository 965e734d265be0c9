//! The promise holds whatever panics: the disk panics at one of its operations, wherever in the house that is, and the house goes on.
//!
//! Whoever was served when it happened hears nothing, as a connection that ends; everything that was promised before, or is from then on, is kept in the same
//! run and in the next.

use crate::{
    afar::{self, Errand, Manner},
    book::{Book, Shared},
    check,
    clerk::Clerk,
    seeds,
    stage::{Letter, PLACES, Place, RENAMED, USERS, body, disk, imap, letter_of, name, open, read, send, send_to, try_read, whole},
};
use fastrand::Rng;
use hikyaku_tests::{
    disk::{Crashing, World},
    promise::post::told,
};
use imap::Office as _;
use mail::MailboxName;
use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};
use storage::house::House;

/// Lets operation number `op` panic, once.
fn panic_at(disk: &Crashing, op: u64) {
    let op = AtomicU64::new(op);
    disk.watch(move |world: &World| {
        let wanted = op.load(Relaxed);
        if world.ops() >= wanted {
            op.store(u64::MAX, Relaxed);
            assert!(world.ops() < wanted, "a seeded panic");
        }
    });
}

/// What was left for later is done: more than the time that a delivery rests, and the chores twice.
fn settle(house: &Arc<House>, disk: &Crashing) {
    for _ in 0..2 {
        disk.set_time(disk.time() + 31_000_000_000);
        house.chores();
        house.pick_up();
    }
}

#[test]
fn one_recipient_s_panic_is_nobody_else_s() {
    for text in [body(1, 100), body(1, 300_000)] {
        let mut op = 0;
        let mut answered = 0;
        loop {
            let disk = disk();
            let house = open(&disk, 7);
            // Their mailboxes are there and known.
            (0..3).for_each(|user| drop(read(&house, (user, 0))));
            let before = disk.ops();
            panic_at(&disk, before + op);
            let sent = catch_unwind(AssertUnwindSafe(|| send(&house, &[0, 1, 2], &text)));
            let is_over = disk.ops() - before < op;
            disk.unwatch();
            settle(&house, &disk);
            let copies = |house: &Arc<House>| (0..3).map(|user| read(house, (user, 0)).letters.len()).collect::<Vec<_>>();
            let (now, accepted) = (copies(&house), matches!(sent, Ok(Ok(()))));
            if accepted {
                answered += 1;
                assert_eq!(now, [1, 1, 1], "operation {op}");
            } else {
                assert!(now == [0, 0, 0] || now == [1, 1, 1], "operation {op}: {now:?}");
            }
            house.close();
            drop(house);
            let house = open(&disk, 8);
            assert_eq!(copies(&house), now, "operation {op}, after a restart");
            if is_over {
                break;
            }
            op += 1;
        }
        assert!(answered > 6, "{answered} of {op} after the promise, and each was answered with yes");
    }
}

#[test]
fn a_report_that_panics_ends_neither_other_reports_nor_the_sending() {
    // Of each user's letter, by its number.
    let reports = |house: &Arc<House>| {
        [0, 1].map(|user| {
            let mut office = imap(house, user);
            // A mailbox that could not be delivered to has to wait.
            let Ok(selected) = office.select(name(0), true) else { return 0 };
            let texts: Vec<_> = selected.uids.iter().filter_map(|uid| whole(&mut office, *uid)).collect();
            let told = texts.iter().flat_map(|text| told(&String::from_utf8_lossy(text)));
            told.filter(|(address, _)| *address == format!("refuses-{user}@far.test")).count()
        })
    };
    let mut op = 0;
    loop {
        let (disk, mut errands) = (disk(), BTreeMap::new());
        let house = open(&disk, 7);
        let send = |user: usize, manner, errands: &mut BTreeMap<String, Errand>| {
            let (recipient, errand) = afar::recipient(user as Letter, manner);
            errands.insert(recipient.address.to_string(), errand);
            send_to(&house, USERS[user], vec![recipient], &body(user as Letter, 100)).unwrap();
        };
        let travel = |seconds: i128, errands: &mut BTreeMap<String, Errand>| {
            disk.set_time(disk.time() + seconds * 1_000_000_000);
            afar::travel(&house, &disk, &mut |address, act| act(errands.get_mut(address).expect("it was sent there")))
        };
        [0, 1].into_iter().for_each(|user| send(user, Manner::Refuses, &mut errands));
        assert!(travel(0, &mut errands), "both are refused on one trip");
        // From here on a report is owed on each.
        let before = disk.ops();
        panic_at(&disk, before + op);
        assert!(!travel(0, &mut errands), "there is nothing to send");
        let is_over = disk.ops() < before + op;
        disk.unwatch();
        // Who gives trips out may have met it, and rests for a moment.
        assert!(!travel(2, &mut errands), "there is nothing to send");
        assert!(reports(&house).iter().sum::<usize>() > 0, "operation {op}: the other report waits too");
        assert!(!travel(60, &mut errands), "there is nothing to send");
        settle(&house, &disk);
        assert_eq!(reports(&house), [1, 1], "operation {op}");
        send(2, Manner::Takes, &mut errands);
        assert!(travel(0, &mut errands), "operation {op}: nothing is sent any more");
        house.close();
        assert_eq!(reports(&house), [1, 1], "operation {op}");
        drop(house);
        assert_eq!(reports(&open(&disk, 8)), [1, 1], "operation {op}, after a restart");
        if is_over {
            break;
        }
        op += 1;
    }
    assert!(op > 4, "{op} operations make no two reports");
}

/// What a client that heard nothing finds out, and brings in order again.
fn look_after(house: &Arc<House>, book: &mut Book) {
    let names = [name(1), MailboxName::new(RENAMED).unwrap(), MailboxName::new("Third").unwrap()];
    book.decoys.clear();
    for place in std::mem::take(&mut book.renaming) {
        // The one with the right numbering is the mailbox; others only had its names.
        let mut office = imap(house, place.0);
        let wanted = book.uid_validity[&place];
        let is_it = |name: &MailboxName| try_read(house, place, name.clone()).map(|seen| seen.uid_validity == wanted);
        let there: Vec<(MailboxName, bool)> = names.iter().filter_map(|name| Some((name.clone(), is_it(name)?))).collect();
        for (decoy, _) in there.iter().filter(|(_, is_it)| !is_it) {
            office.delete(decoy.clone()).unwrap();
        }
        let (found, _) = there.iter().find(|(_, is_it)| *is_it).expect("it has one of its names");
        if *found != names[0] {
            office.rename(found.clone(), names[0].clone()).unwrap();
        }
    }
    for (place, _) in std::mem::take(&mut book.making) {
        if try_read(house, place, name(place.1)).is_none() {
            imap(house, place.0).create(name(place.1), None).unwrap();
        }
        book.uid_validity.remove(&place);
        book.next.remove(&place);
        book.uids.retain(|(of, _), _| *of != place);
        book.texts.retain(|(of, _), _| *of != place);
    }
    let there = |letter: Letter, place: Place| read(house, place).letters.iter().any(|(_, text)| letter_of(text) == letter);
    for (letter, from, to) in std::mem::take(&mut book.moving) {
        assert!(there(letter, from) || there(letter, to), "letter {letter} was lost on its way");
    }
    for place in PLACES {
        book.note(place, &read(house, place));
    }
    // What is seen, and was answered to nobody, is durable from here on.
    house.checkpoint().unwrap();
}

#[test]
fn the_promise_holds_whatever_panics() {
    let (mut hits, mut steps) = (0, 0);
    for seed in seeds() {
        let (disk, book) = (disk(), Shared::default());
        let mut clerk = Clerk::new(&disk, &book, seed);
        let mut dice = Rng::with_seed(seed);
        for step in 0..60 {
            let op = disk.ops() + dice.u64(..25);
            panic_at(&disk, op);
            let done = catch_unwind(AssertUnwindSafe(|| clerk.step()));
            disk.unwatch();
            book.clear_poison();
            let is_hit = disk.ops() >= op;
            (steps, hits) = (steps + 1, hits + u32::from(is_hit));
            assert!(done.is_ok() || is_hit, "seed {seed}, step {step} panicked by itself");
            if !clerk.is_open() {
                clerk.open_again();
            }
            let house = clerk.house();
            settle(&house, &disk);
            let mut book = book.lock().unwrap();
            book.taken_in();
            book.committed();
            look_after(&house, &mut book);
            house.checkpoint().unwrap();
            assert!(
                house.levels().log_bytes < 4096,
                "seed {seed}, step {step}: somebody keeps {} bytes of the log",
                house.levels().log_bytes
            );
        }
        let house = clerk.house();
        drop(clerk);
        let mut book = book.lock().unwrap().clone();
        book.travel(&house, &disk);
        drop(house);
        check(&disk.crash(&mut dice), &book);
    }
    println!("{hits} panics in {steps} steps");
    assert!(hits > steps / 4, "{hits} panics in {steps} steps");
}
