//! What became of a message that goes in several transactions stands, wherever the line breaks.

use super::*;
use crate::{accept::Leaving, clock::Clock, disk::Posix, outgoing::Load, spool};
use mail::Envelope;
use smtp::client::{Outcome as Heard, Reply, Stage};
use std::sync::atomic::{AtomicU64, Ordering};

#[test]
fn what_came_of_one_transaction_stands_when_the_line_breaks_before_the_next() {
    let at = std::env::temp_dir().join(format!("hikyaku-outbound-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&at);
    std::fs::create_dir(&at).unwrap();
    // What is forwarded has another sender, so that it goes in a transaction of its own.
    let fred = r#"(address: "fred@example.test", hash: "{SSHA}ev3P3p8pGsxpYfBqdhSjbVQRyidzYWx0", forward: ["two@[192.0.2.1]"])"#;
    std::fs::write(at.join("accounts.ron"), format!("(version: 1, accounts: [{fred}])")).unwrap();
    let config = config::Config { domains: vec!["example.test".into()], store: at.clone(), ..config::Config::default() };
    let house = House::open(config, Arc::new(Posix)).unwrap();
    let recipients = ["one@[192.0.2.1]", "fred@example.test"].map(|to| Address::parse(to).unwrap().into());
    let envelope = Envelope { sender: Address::parse("alice@far.test"), recipients: recipients.into(), ..Envelope::default() };
    let id = house
        .submit(envelope, "test", "a test", Leaving::default(), |intake| {
            intake.feed(b"Subject: hello\n\nhello\n");
            Ok(())
        })
        .unwrap();
    let trip = house.next_trip(Tick(house.now_ms())).expect("an address needs no names");
    let Load::Smtp(session, mut office) = trip.load else { panic!("{:?} is no mail server", trip.dial) };
    let first = office.next(Offer::default()).expect("a job");
    assert_eq!(first.recipients.len(), 1, "the senders differ");
    let reply = |code| Reply { code, status: (2, 0, 0), text: "so".into() };
    office.report(Report { each: vec![Heard { fate: Fate::Delivered, reply: reply(250), by_peer: true }] });
    office.trouble(Trouble { at: Stage::Ready, reply: reply(450), without_tls: false });
    office.closed(*session, Why::Gone);
    let listed = house.outgoing().inner().queue.show(id).expect("one recipient is left");
    assert_eq!(listed.recipients.len(), 1, "the other has it: {listed:?}");
    house.close();
    drop(house);
    std::fs::remove_dir_all(&at).unwrap();
}

#[test]
fn what_a_peer_confirmed_is_flushed_soon_although_nobody_else_flushes() {
    let at = std::env::temp_dir().join(format!("hikyaku-confirmed-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&at);
    std::fs::create_dir(&at).unwrap();
    let ms = Arc::new(AtomicU64::new(1000));
    let hands = ms.clone();
    let clock = Clock::new(Arc::new(|| 1_800_000_000_000_000_000), move || hands.load(Ordering::Relaxed));
    let config = config::Config { domains: vec!["example.test".into()], store: at.clone(), ..config::Config::default() };
    let house = House::open_at(config, Arc::new(Posix), clock, spool::Options::default()).unwrap();
    let mut sessions = Vec::new();
    for n in 0..3 {
        let to = Address::parse(&format!("one@[192.0.2.{n}]")).unwrap().into();
        let envelope = Envelope { sender: Address::parse("alice@far.test"), recipients: vec![to], ..Envelope::default() };
        house
            .submit(envelope, "test", "a test", Leaving::default(), |intake| {
                intake.feed(b"Subject: hello\n\nhello\n");
                Ok(())
            })
            .unwrap();
        let trip = house.next_trip(Tick(house.now_ms())).expect("an address needs no names");
        let Load::Smtp(session, mut office) = trip.load else { panic!("{:?} is no mail server", trip.dial) };
        office.next(Offer::default()).expect("a job");
        sessions.push((session, office));
    }
    let before = house.spool().flushes();
    let reply = || Reply { code: 250, status: (2, 0, 0), text: "so".into() };
    for (n, (_, office)) in sessions.iter_mut().enumerate() {
        ms.store(1000 + n as u64 * 10, Ordering::Relaxed);
        office.report(Report { each: vec![Heard { fate: Fate::Delivered, reply: reply(), by_peer: true }] });
    }
    assert_eq!(house.trips_due(), Some(Tick(1050)));
    assert!(house.next_trip(Tick(1049)).is_none() && house.spool().flushes() == before, "somebody else may flush until then");
    ms.store(1050, Ordering::Relaxed);
    assert!(house.next_trip(Tick(1050)).is_none());
    assert_eq!((house.spool().flushes(), house.trips_due()), (before + 1, None), "one flush for all of them, and no more");
    std::fs::remove_dir_all(&at).unwrap();
}

#[test]
fn a_raw_header_is_never_called_utf8_and_goes_encoded() {
    let at = std::env::temp_dir().join(format!("hikyaku-raw-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&at);
    std::fs::create_dir(&at).unwrap();
    let config = config::Config { domains: vec!["example.test".into()], store: at.clone(), ..config::Config::default() };
    let house = House::open(config, Arc::new(Posix)).unwrap();
    let mut sessions = Vec::new();
    for (n, (subject, utf8)) in [(&b"Gr\xfc\xdfe"[..], false), ("Gr\u{fc}\u{df}e".as_bytes(), true)].into_iter().enumerate() {
        let to = Address::parse(&format!("one@[192.0.2.{n}]")).unwrap().into();
        let envelope = Envelope { sender: Address::parse("alice@far.test"), recipients: vec![to], ..Envelope::default() };
        house
            .submit(envelope, "test", "a test", Leaving::default(), |intake| {
                intake.feed(&[b"Subject: ", subject, b"\n\nhell\xf6\n"].concat());
                Ok(())
            })
            .unwrap();
        let trip = house.next_trip(Tick(house.now_ms())).expect("an address needs no names");
        let Load::Smtp(session, mut office) = trip.load else { panic!("{:?} is no mail server", trip.dial) };
        let job = office.next(Offer::default()).expect("a job");
        assert_eq!((job.utf8, job.raw, job.eight_bit), (utf8, !utf8, true));
        let size = office.open(Form::Header).unwrap();
        let (mut text, mut piece) = (Vec::new(), [0; 100]);
        while let n @ 1.. = office.read(&mut piece).unwrap() {
            text.extend_from_slice(&piece[..n]);
        }
        assert_eq!(size, text.len() as u64);
        assert!(memchr::memmem::find(&text, b"Subject: =?utf-8?B?R3LDvMOfZQ==?=\r\n").is_some(), "{}", text.escape_ascii());
        assert!(text.ends_with(b"\r\n\r\nhell\xf6\r\n"));
        office.report(Report {
            each: vec![Heard { fate: Fate::Delivered, reply: Reply { code: 250, status: (2, 0, 0), text: "so".into() }, by_peer: true }],
        });
        sessions.push((session, office));
    }
    std::fs::remove_dir_all(&at).unwrap();
}

/// A store, a house in it whose time stands still until somebody moves it, and a message in its queue.
fn housed(name: &str, text: &[u8]) -> (std::path::PathBuf, Arc<AtomicU64>, Arc<House>, u64) {
    let at = std::env::temp_dir().join(format!("hikyaku-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&at);
    std::fs::create_dir(&at).unwrap();
    let ms = Arc::new(AtomicU64::new(1000));
    let hands = ms.clone();
    let clock = Clock::new(Arc::new(|| 1_800_000_000_000_000_000), move || hands.load(Ordering::Relaxed));
    let config = config::Config { domains: vec!["example.test".into()], store: at.clone(), ..config::Config::default() };
    let house = House::open_at(config, Arc::new(Posix), clock, spool::Options::default()).unwrap();
    let id = queue(&house, text);
    (at, ms, house, id)
}

fn queue(house: &Arc<House>, text: &[u8]) -> u64 {
    let to = Address::parse("one@[192.0.2.1]").unwrap().into();
    let envelope = Envelope { sender: Address::parse("alice@[192.0.2.9]"), recipients: vec![to], ..Envelope::default() };
    let feed = |intake: &mut crate::office::intake::Intake| {
        for piece in text.chunks(50_000) {
            intake.feed(piece);
            if intake.is_full() {
                intake.drain();
            }
        }
        Ok(())
    };
    house.submit(envelope, "local", "a test", Leaving::default(), feed).unwrap()
}

fn flip(path: &std::path::Path, places: &[usize]) {
    let mut bytes = std::fs::read(path).unwrap();
    places.iter().for_each(|&at| bytes[at] ^= 1);
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn what_the_disk_has_garbled_is_not_sent_and_its_sender_is_told() {
    let text = [&b"Subject: large\n\n"[..], &b"a line of a large message\n".repeat(20_000)].concat();
    for parked in [false, true] {
        let (at, _, house, id) = housed("garbled", &text);
        if parked {
            house.checkpoint().unwrap();
            house.spool().garbage().unwrap();
        }
        flip(&at.join(if parked { "depot" } else { "spool" }).join(format!("large/{id:016x}")), &[300_000]);
        let trip = house.next_trip(Tick(house.now_ms())).expect("an address needs no names");
        let Load::Smtp(session, mut office) = trip.load else { panic!("{:?} is no mail server", trip.dial) };
        office.next(Offer::default()).expect("a job");
        assert_eq!(office.open(Form::AsIs), Err(Fault::Never), "parked: {parked}");
        let reply = Reply { code: 554, status: (5, 6, 3), text: "it cannot be converted".into() };
        office.report(Report { each: vec![Heard { fate: Fate::Failed, reply, by_peer: false }] });
        house.next_trip(Tick(house.now_ms()));
        let report = house.outgoing().inner().queue.list_after(None).map(|listed| listed.id).max().expect("a report");
        assert!(report > id && !house.outgoing().holds(id));
        let record = house.depot().read(house.spool(), report).unwrap();
        let said = String::from_utf8_lossy(&record);
        assert!(said.contains("Status: 5.3.0\n") && said.contains("<alice@[192.0.2.9]>"), "{said}");
        assert!(!said.contains("a line of a large message"), "what is garbled is not told either");
        assert_eq!(house.set_aside(), [format!("depot/{id:016x}-1.damaged")]);
        drop((session, office));
        std::fs::remove_dir_all(&at).unwrap();
    }
}

#[test]
fn a_message_that_is_lost_holds_up_nothing_and_comes_to_an_end() {
    let (at, ms, house, lost) = housed("lost", b"Subject: lost\n\nlost\n");
    let fine = queue(&house, b"Subject: fine\n\nfine\n");
    house.checkpoint().unwrap();
    let pack = at.join("depot/00000001.pack");
    let bytes = std::fs::read(&pack).unwrap();
    let found = memchr::memmem::find(&bytes, b"\nlost\n").unwrap();
    // Once more behind it, where it could be made again.
    flip(&pack, &[found, bytes.len() - 1]);
    let trip = house.next_trip(Tick(house.now_ms())).expect("an address needs no names");
    let Load::Smtp(session, mut office) = trip.load else { panic!("{:?} is no mail server", trip.dial) };
    assert_eq!(office.next(Offer::default()).expect("a job").id, fine);
    let reply = Reply { code: 250, status: (2, 0, 0), text: "so".into() };
    office.report(Report { each: vec![Heard { fate: Fate::Delivered, reply, by_peer: true }] });
    assert!(office.next(Offer::default()).is_none());
    office.closed(*session, Why::Gone);
    assert!(house.outgoing().holds(lost), "somebody may put the pack back");
    assert_eq!(house.set_aside(), ["depot/00000001-1.damaged"]);
    for _ in 0..200 {
        ms.fetch_add(3_600_000, Ordering::Relaxed);
        house.checkpoint().unwrap();
        while let Some(trip) = house.next_trip(Tick(house.now_ms())) {
            let Load::Smtp(session, mut office) = trip.load else { panic!("{:?} is no mail server", trip.dial) };
            assert!(office.next(Offer::default()).is_none());
            office.closed(*session, Why::Gone);
        }
    }
    assert!(!house.outgoing().holds(lost) && house.depot().is_empty());
    assert_eq!(house.set_aside(), ["depot/00000001-1.damaged"]);
    std::fs::remove_dir_all(&at).unwrap();
}
