//! The whole house keeps its promise at every crash.
//!
//! One thread delivers by SMTP, appends, copies, moves, expunges, removes by POP3, leaves mail in the drop folder, sends to others, carries trips, takes
//! checkpoints and restarts, all through the offices, on a disk that is looked at before every operation: of each moment some disks that a crash could
//! leave are opened as a house, everything that waits leaves it, and every mailbox, every report and what the peer got is held against what had been
//! promised by then.

mod afar;
mod book;
mod clerk;
mod copies;
mod panics;
mod stage;

use book::{Book, Fate, Shared};
use clerk::Clerk;
use fastrand::Rng;
use hikyaku_tests::disk::{Crashing, World};
use mail::MailboxName;
use stage::{PLACES, RENAMED, body, disk, letter_of, name, open, read, send, try_open, try_read};
use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use storage::house::House;

/// Houses opened after a crash, over all tests of this file.
static CRASHES: AtomicUsize = AtomicUsize::new(0);

/// Opens what a crash left, lets everything go its way and compares. Returns the house, and the book as it is then.
fn check(disk: &Crashing, book: &Book) -> (Arc<House>, Book) {
    CRASHES.fetch_add(1, Ordering::Relaxed);
    let house = open(disk, 99);
    house.chores();
    house.pick_up();
    let mut book = book.clone();
    book.taken_in();
    let mut found = BTreeSet::new();
    for place in PLACES {
        let mut seen = try_read(&house, place, name(place.1));
        if book.renaming.contains(&place) {
            let other = try_read(&house, place, MailboxName::new(RENAMED).unwrap());
            let both = seen.is_some() && other.is_some();
            assert!(!both || book.decoys.contains(&place), "{place:?} is there under both names");
            let known = |seen: &stage::Seen| !both || book.uid_validity.get(&place) == Some(&seen.uid_validity);
            seen = seen.filter(known).or(other.filter(known));
        }
        let Some(seen) = seen else {
            assert!(book.making.contains_key(&place), "{place:?} is lost");
            continue;
        };
        book.compare(place, &seen);
        found.extend(seen.letters.iter().map(|(_, text)| (letter_of(text), place)));
    }
    for (letter, from, to) in &book.moving {
        assert!(found.contains(&(*letter, *from)) || found.contains(&(*letter, *to)), "letter {letter} was lost on its way");
    }
    book.drain(&house, disk);
    (house, book)
}

/// Looks at moments of what happens on `disk`: at one of `every` operations.
fn look(disk: &Crashing, book: &Shared, seed: u64, every: u8) {
    let book = book.clone();
    let mut dice = Rng::with_seed(seed);
    disk.watch(move |world: &World| {
        if dice.u8(..every) > 0 {
            return;
        }
        let book = book.lock().unwrap();
        let after = world.crash(&mut dice);
        match dice.u8(..8) {
            0 => twice(&world.kill(), &book, &mut dice),
            1 => twice(&after, &book, &mut dice),
            _ => drop(check(&after, &book)),
        }
    });
}

/// A crash, and a second one in the middle of the recovery or after it.
fn twice(disk: &Crashing, book: &Book, dice: &mut Rng) {
    let half = disk.kill();
    half.stop(half.ops() + dice.u64(..120));
    let mut then = book.clone();
    if let Ok(house) = try_open(&half, 98) {
        then.travel(&house, &half);
    }
    check(&half.crash(dice), &then);

    let again = disk.kill();
    let (house, mut book) = check(&again, book);
    // What clients see now is promised from now on.
    for place in PLACES {
        if book.making.contains_key(&place) || book.renaming.contains(&place) {
            continue;
        }
        let seen = read(&house, place);
        book.note(place, &seen);
    }
    book.moving.clear();
    if dice.bool() {
        let (place, letter) = ((0, 0), 1_000_000);
        book.bodies.insert(letter, body(letter, 10));
        send(&house, &[0], &book.bodies[&letter]).unwrap();
        book.set(place, letter, Fate::Kept);
        book.committed();
        let seen = read(&house, place);
        book.note(place, &seen);
    }
    drop(house);
    check(&again.crash(dice), &book);
}

/// How many seeds are tried; `HIKYAKU_CRASH_SEEDS` says more, or from where to where (`100..200`).
fn seeds() -> std::ops::Range<u64> {
    let told = std::env::var("HIKYAKU_CRASH_SEEDS").unwrap_or_default();
    let (from, to) = told.split_once("..").unwrap_or(("0", &told));
    from.parse().unwrap_or(0)..to.parse().unwrap_or(6)
}

#[test]
fn the_promise_holds_at_every_crash() {
    for seed in seeds() {
        println!("seed {seed}");
        let (disk, book) = (disk(), Shared::default());
        let mut clerk = Clerk::new(&disk, &book, seed);
        look(&disk, &book, seed, 1);
        for _ in 0..40 {
            clerk.step();
        }
        disk.unwatch();
        println!("{} operations, {} crashes so far", disk.ops(), CRASHES.load(Ordering::Relaxed));
    }
}

#[test]
fn the_promise_holds_for_many_at_once() {
    for seed in seeds() {
        let (disk, book) = (disk(), Shared::default());
        let clerk = Clerk::new(&disk, &book, seed);
        look(&disk, &book, seed, 2);
        std::thread::scope(|scope| {
            for number in 1..4 {
                let mut colleague = clerk.colleague(number);
                scope.spawn(move || {
                    for _ in 0..10 {
                        colleague.step_together(number * 1000..(number + 1) * 1000);
                    }
                });
            }
        });
        disk.unwatch();
        check(&disk.crash(&mut Rng::with_seed(seed)), &book.lock().unwrap());
    }
    println!("{} crashes so far", CRASHES.load(Ordering::Relaxed));
}

#[test]
fn what_is_appended_to_a_mailbox_that_moves_is_there_once() {
    for seed in seeds() {
        let (disk, book) = (disk(), Shared::default());
        let clerk = Clerk::new(&disk, &book, seed);
        book.lock().unwrap().renaming.insert((0, 1));
        look(&disk, &book, seed, 2);
        std::thread::scope(|scope| {
            for number in 1..4 {
                let mut colleague = clerk.colleague(number);
                scope.spawn(move || {
                    for _ in 0..6 {
                        if number == 1 { colleague.rename_moving() } else { colleague.append_to_moving() }
                    }
                });
            }
        });
        disk.unwatch();
        check(&disk.crash(&mut Rng::with_seed(seed)), &book.lock().unwrap());
    }
    println!("{} crashes so far", CRASHES.load(Ordering::Relaxed));
}
