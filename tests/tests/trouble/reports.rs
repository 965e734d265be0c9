//! A report on mail for others that panics is tried again, and ends nothing else.

use crate::stage::*;
use smtp::client::{Fate, Offer, Office as _, Outcome, Reply, Report};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};
use storage::{
    clock::Clock,
    house::House,
    mailbox,
    outgoing::{Load, Traveller as _},
};
use wire::{Tick, Why};

/// Carries a trip to a peer who refuses everybody; whether there was one.
fn refuse(house: &Arc<House>, now_ms: u64) -> bool {
    let Some(trip) = house.next_trip(Tick(now_ms)) else { return false };
    let Load::Smtp(session, mut office) = trip.load else { panic!("the way needs no names") };
    while let Some(job) = office.next(Offer::default()) {
        let reply = Reply { code: 550, status: (5, 1, 1), text: "nobody".into() };
        let each = job.recipients.iter().map(|_| Outcome { fate: Fate::Failed, reply: reply.clone(), by_peer: true });
        office.report(Report { each: each.collect() });
    }
    office.closed(*session, Why::Done);
    true
}

#[test]
fn a_report_that_panics_is_tried_again_and_ends_nothing_else() {
    let (disk, ms) = (Ruled::new(), Arc::new(AtomicU64::new(0)));
    let ticks = ms.clone();
    let house = open_on(Arc::new(disk.clone()), Clock::new(mailbox::system_clock(), move || ticks.load(Relaxed)), 1 << 30);
    let send = |sender: &str| send_from(&house, &format!("{sender}@example.test"), &["nobody@far.test"], b"Subject: far\r\n\r\n").unwrap();
    send("alice");
    send("bob");
    assert!(refuse(&house, 0), "both are refused on one trip");
    // Whoever reads the record of the first one again, to write the report, panics.
    let mut is_first = true;
    disk.rule(move |op, path| {
        let is_read = op == "open" && path.starts_with("/store/spool");
        assert!(!is_read || !std::mem::replace(&mut is_first, false), "a seeded panic");
        Ok(())
    });
    let told = || [uids(&house, "alice", "INBOX").len(), uids(&house, "bob", "INBOX").len()];
    assert!(!refuse(&house, 0), "there is nothing to send");
    disk.heal();
    assert!(house.levels().panics.contains(&("report", 1)), "{:?}", house.levels().panics);
    assert_eq!(told().iter().sum::<usize>(), 1, "one was told although the report for the other panicked: {:?}", told());
    send("alice");
    assert!(refuse(&house, 0), "mail is still sent");
    let later = ms.fetch_add(31_000, Relaxed) + 31_000;
    assert!(!refuse(&house, later), "there is nothing to send");
    assert_eq!(told(), [2, 1], "each is told of each of theirs");
}
