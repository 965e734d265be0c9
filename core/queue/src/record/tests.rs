//! Records to bytes and back, torn ones, and ones of later versions.

use super::*;
use crate::ADDRESS_MAX;
use crate::limits::{NAME_MAX, REPLY_MAX};
use alloc::{collections::BTreeSet, vec, vec::Vec};
use mail::{By, Notify, Ret};

fn round(record: Record<'_>) -> Vec<u8> {
    let bytes = record.encode();
    assert_eq!(Record::decode(&bytes), Ok(record));
    bytes
}

fn samples(mut each: impl FnMut(Record<'_>)) {
    let keywords = BTreeSet::from([Keyword::new("$Forwarded").unwrap(), Keyword::new("Junk").unwrap()]);
    let inbox = Target {
        account: "alice@example.test",
        mailbox: "INBOX",
        base: "1795502247.L100N0.mx,S=5,W=6",
        recipient: "Alice+tag@example.test",
        system: System::SEEN,
        keywords: Keywords::new(&keywords),
        date: Stamp { seconds: -1, zone: -90 },
        uid_validity: 7,
        uid_upto: u32::MAX,
        mod_seq_upto: u64::MAX,
    };
    let targets = [inbox, Target { account: "bob@example.test", mailbox: "Entwürfe/été", keywords: Keywords::NONE, ..inbox }];
    let trace = Trace { helo: "client", peer: "192.0.2.1", with: "ESMTPSA", login: "bob@example.test", eight_bit: true, utf8: false };
    let accept = Accept {
        id: 1 << 40,
        stamp: Stamp::utc(1_795_502_247),
        sender: Some("bob@example.test"),
        trace: Some(trace),
        targets: Targets::new(&targets),
        wire_size: 6,
        content: Content::Inline(b"text\n"),
        ..Accept::default()
    };
    each(Record::Accept(accept));
    for sum in [None, Some(7)] {
        each(Record::Accept(Accept { sender: None, trace: None, content: Content::Large { id: 5, size: 1 << 33, sum }, ..accept }));
    }
    each(Record::Accept(Accept { targets: Targets::new(&[]), content: Content::Inline(b""), ..accept }));
    let remotes = [
        Remote { recipient: "carol@example.net", ..Remote::default() },
        Remote {
            recipient: "dora@example.net",
            notify: Notify::SUCCESS.with(Notify::DELAY),
            original: Some("rfc822;Dora@example.org"),
            route: Some("relay"),
            sender: Some("SRS0=x@example.test"),
        },
    ];
    let by = By { at: Stamp { seconds: 9, zone: 60 }, or_return: true, trace: false };
    let wishes = Wishes {
        ret: Some(Ret::Headers),
        envid: Some("QQ314159"),
        by: Some(by),
        hold_until: Some(Stamp::utc(7)),
        priority: -9,
        require_tls: true,
    };
    let settles = Settles { id: 3, recipients: Indexes::new(&[0, 2, 9_999]), tells: Tells::End };
    each(Record::Accept(Accept { remotes: Remotes::new(&remotes), wishes, traits: Traits::BINARY.with(Traits::UTF8), ..accept }));
    each(Record::Accept(Accept { settles: Some(settles), traits: Traits::REPORT, ..accept }));
    let attempts = [
        Attempt { recipient: 0, fate: Fate::Delivered, code: 250, reply: "2.0.0 taken" },
        Attempt { recipient: 7, fate: Fate::Later { attempts: 3, next_ms: u64::MAX }, code: 451, reply: "4.7.1 greylisted\nété" },
        Attempt { recipient: 8, fate: Fate::Owed, code: 0, reply: "" },
    ];
    let tried = Tried { id: 3, at_ms: 1_795_502_247_001, host: "mx.example.net [192.0.2.25]", tls: "", attempts: Attempts::new(&attempts) };
    each(Record::Tried(tried));
    each(Record::Tried(Tried { host: "", attempts: Attempts::new(&[]), ..tried }));
    for change in [Change::Hold, Change::Release, Change::Cancel, Change::Retry, Change::Reroute("relay"), Change::At(5), Change::GiveUp(6)]
    {
        each(Record::Changed(Changed { id: 3, at_ms: 4, change }));
    }
    each(Record::Warned(Warned { id: 3, at_ms: 4 }));
    each(Record::Gone(Gone { account: "alice@example.test", mailbox: "INBOX", bases: Bases::new(&[b"a", b"", b"\xff"]), bounds: None }));
    let bounds = Some(Reserved { uid_validity: 7, uid_upto: 8, mod_seq_upto: 1 << 40 });
    each(Record::Gone(Gone { account: "alice@example.test", mailbox: "INBOX", bases: Bases::new(&[]), bounds }));
    for doing in [Doing::Done, Doing::Next, Doing::Still] {
        each(Record::Renamed { account: "alice@example.test", from: "a", to: "b/c", doing });
        each(Record::Removed { account: "alice@example.test", mailbox: "a", doing });
    }
    each(Record::NotNamed { account: "alice@example.test" });
    each(Record::Named { account: "alice@example.test" });
    each(Record::Missed(Gone { account: "alice@example.test", mailbox: "INBOX", bases: Bases::new(&[b"a", b"b"]), bounds: None }));
    each(Record::Back(Gone { account: "alice@example.test", mailbox: "INBOX", bases: Bases::new(&[b"a"]), bounds: None }));
    let file = Dropped { name: "6a05-00ff", mark: Some(FileMark { inode: 7, size: 8, modified_ns: -9 }) };
    each(Record::Accept(Accept { file: Some(file), ..accept }));
    each(Record::Taken { file });
    each(Record::Taken { file: Dropped { mark: None, ..file } });
}

#[test]
fn records_come_back() {
    samples(|record| drop(round(record)));
}

#[test]
fn every_prefix_and_every_flipped_bit_is_survived() {
    samples(|record| {
        let bytes = round(record);
        for end in 0..bytes.len() {
            let _ = Record::decode(&bytes[..end]);
        }
        for bit in 0..bytes.len() * 8 {
            let mut torn = bytes.clone();
            torn[bit / 8] ^= 1 << (bit % 8);
            if let Ok(Record::Accept(accept)) = Record::decode(&torn) {
                accept.targets.iter().for_each(|t| drop(t.flags()));
                assert!(accept.remotes.iter().all(|r| r.site().len() <= ADDRESS_MAX));
            }
        }
    });
}

#[test]
fn later_versions_may_say_more() {
    samples(|record| {
        let mut bytes = record.encode();
        bytes.extend_from_slice(&[99, 3, 0, 0, 0, 1, 2, 3]);
        assert_eq!(Record::decode(&bytes), Ok(record));
    });
    assert_eq!(Record::decode(&[0x7f, 1]), Ok(Record::Unknown { kind: 0x7f, skip: false }));
    assert_eq!(Record::decode(&[0x80]), Ok(Record::Unknown { kind: 0x80, skip: true }));
    assert_eq!(Record::decode(&[]), Err(NotRecord::Short));
    assert_eq!(Record::decode(&[GONE]), Err(NotRecord::Missing));
}

#[test]
#[should_panic(expected = "over its limit")]
fn a_wrong_caller_panics() {
    let long = vec![b'x'; NAME_MAX + 1];
    Gone { account: "a", mailbox: "b", bases: Bases::new(&[&long]), bounds: None }.encode();
}

#[test]
fn a_long_reply_is_cut_between_characters() {
    let reply = "é".repeat(REPLY_MAX);
    let attempts = [Attempt { recipient: 0, fate: Fate::Failed, code: 550, reply: &reply[..REPLY_MAX * 2] }];
    let bytes = Tried { id: 1, at_ms: 1, host: "", tls: "", attempts: Attempts::new(&attempts) }.encode();
    let Ok(Record::Tried(tried)) = Record::decode(&bytes) else { panic!("no record") };
    assert_eq!(tried.attempts.iter().next().unwrap().reply.len(), REPLY_MAX);
}

#[test]
fn the_next_hop_is_a_route_or_a_domain() {
    let to = |recipient, route| Remote { recipient, route, ..Remote::default() }.site();
    assert_eq!(to("\"a@b\"@example.net", None), "example.net");
    assert_eq!(to("a@[192.0.2.1]", None), "[192.0.2.1]");
    assert_eq!(to("a@example.net", Some("relay")), "relay");
}

#[test]
fn wishes_come_back_as_they_are_owned() {
    let owned = mail::Wishes { envid: Some("x".into()), priority: 3, ..mail::Wishes::default() };
    assert_eq!(mail::Wishes::from(Wishes::from(&owned)), owned);
}
