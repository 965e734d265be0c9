//! Room for messages that are not promised yet: what the disk has left, and what half messages may take of it and of memory.

use super::stage::*;
use config::Speak;
use mail::{Address, Envelope, Wishes};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use storage::{
    clock::Clock,
    disk::Disk,
    house::{House, Seat},
    mailbox, spool,
};
use wire::Sink as _;

/// What files of large messages hold.
fn large_bytes(disk: &Ruled) -> u64 {
    let mut names = Vec::new();
    disk.list(Path::new("/store/spool/large"), &mut |name| names.push(String::from_utf8(name.to_vec()).unwrap())).unwrap();
    names.iter().map(|name| disk.stat(&Path::new("/store/spool/large").join(name)).unwrap().len).sum()
}

#[test]
fn an_almost_full_disk_takes_no_mail_and_half_messages_leave_nothing() {
    use smtp::Office as _;
    let disk = Ruled::new();
    let text = "(domains: [\"example.test\"], store: \"/store\", plaintext_logins: true, limits: (message: 1000000, uncommitted: 1000000))";
    let (config, ms) = (config::parse("test", text).unwrap(), Arc::new(AtomicU64::new(0)));
    let ticks = ms.clone();
    let clock = Clock::new(mailbox::system_clock(), move || ticks.load(Ordering::Relaxed));
    let options = spool::Options { segment: 1 << 20, seed: 1, ..spool::Options::default() };
    let house = House::open_at(config, Arc::new(disk.clone()), clock, options).unwrap();
    let sender = |size| {
        let Seat::Smtp(_, mut office) = seat(&house, Speak::Smtp) else { panic!() };
        office.sender(None, size)
    };
    let later = || ms.fetch_add(1001, Ordering::Relaxed);
    disk.disk.set_free(Some((64 << 20) + 500_000));
    assert_eq!((sender(None), sender(Some(400_000)), sender(Some(600_000))), (Ok(()), Ok(()), Err(smtp::Refusal::NoRoom)));
    let large = vec![b'x'; 700_000];
    assert_eq!(send(&house, &["alice"], &large).map(drop), Err(smtp::Refusal::NoRoom), "it said nothing of its size");
    assert_eq!(large_bytes(&disk), 0, "what was written of it is gone at once");
    let mut office = imap(&house, "alice");
    assert_eq!(append(&mut office, "INBOX", &large), Err(imap::Refusal::Fault(wire::Fault::Later)));
    disk.disk.set_free(Some(64 << 20));
    later();
    assert_eq!(sender(Some(1)), Err(smtp::Refusal::NoRoom));
    disk.disk.set_free(Some(1 << 30));
    later();
    assert_eq!(sender(Some(1)), Ok(()));
    // Two at once have no more together than one may have.
    let begin = || {
        let Seat::Smtp(_, mut office) = seat(&house, Speak::Smtp) else { panic!() };
        let recipients = vec![Address::parse("alice@example.test").unwrap().into()];
        let envelope = Envelope { sender: None, recipients, wishes: Wishes::default() };
        let start = smtp::Start { envelope, helo: "x".into(), with: "ESMTP", body: smtp::Body::SevenBit, utf8: false, tls: None };
        office.open(start).unwrap();
        for piece in large.chunks(50_000) {
            office.body(piece);
            if office.is_full() {
                office.drain();
            }
        }
        office
    };
    let (mut one, mut two) = (begin(), begin());
    assert!(large_bytes(&disk) <= 1_000_000);
    assert_eq!(two.commit().map(drop), Err(smtp::Refusal::NoRoom));
    assert!(one.commit().is_ok());
    drop((one, two));
    assert!(send(&house, &["alice"], &large).is_ok());
}

#[test]
fn half_messages_share_a_budget_of_memory() {
    use smtp::Office as _;
    let (disk, piece) = (Ruled::new(), vec![b'x'; 50_000]);
    let text = "(domains: [\"example.test\"], store: \"/store\", limits: (connections: 1000, connections_per_address: 1000))";
    let options = spool::Options { segment: 1 << 20, seed: 1, ..spool::Options::default() };
    let house = House::open_at(config::parse("test", text).unwrap(), Arc::new(disk), mailbox::system_clock(), options).unwrap();
    let begin = || {
        let Seat::Smtp(_, mut office) = seat(&house, Speak::Lmtp) else { panic!() };
        let envelope =
            Envelope { sender: None, recipients: vec![Address::parse("alice@example.test").unwrap().into()], wishes: Wishes::default() };
        let start = smtp::Start { envelope, helo: "x".into(), with: "LMTP", body: smtp::Body::SevenBit, utf8: false, tls: None };
        office.open(start).unwrap();
        for _ in 0..5 {
            office.body(&piece);
            if office.is_full() {
                office.drain();
            }
        }
        office
    };
    let held = || {
        let text = house.metrics().print(&house.levels()).unwrap();
        text.lines().find_map(|line| line.strip_prefix("hikyaku_incoming_memory_bytes ")).unwrap().parse::<usize>().unwrap()
    };
    let mut halves: Vec<_> = (0..200).map(|_| begin()).collect();
    assert!((30 << 20..36 << 20).contains(&held()), "{}", held());
    // Those in memory and those on the disk are as good as ever.
    let (mut first, mut last) = (halves.swap_remove(0), halves.pop().unwrap());
    assert!(first.commit().is_ok() && last.commit().is_ok());
    drop(halves);
    assert_eq!(held(), 0);
}
