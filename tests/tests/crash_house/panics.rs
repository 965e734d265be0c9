//! The promise holds whatever panics: the disk panics at one of its operations, wherever in the house that is, and the house goes on.
//!
//! Whoever was served when it happened hears nothing, as a connection that ends; everything that was promised before, or is from then on, is kept in the same
//! run and in the next.

use crate::stage::{body, disk, open, read, send};
use hikyaku_tests::disk::{Crashing, World};
use std::{
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
