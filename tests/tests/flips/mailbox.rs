//! What lies beside the messages of a mailbox: whichever bit of it flips, every message is there, as it was, and no UID is another's.

use super::{bits, flipped};
use hikyaku_tests::{disk::Crashing, told::told};
use imap::{Change, Need};
use mail::{Flags, Keyword, MailboxName, SpecialUse, Stamp, System, Uid};
use std::{
    collections::BTreeMap,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};
use storage::mailbox::{Content, Cursor, Deposit, Mailbox, Mailboxes, Options};

/// A message: its flags, its size and its subject.
type Facts = (Flags, u64, Vec<u8>);

/// What somebody sees of the mailboxes.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    uid_validity: u32,
    uid_next: u32,
    /// What each UID is, by its text.
    uids: BTreeMap<u32, Vec<u8>>,
    /// The messages by their text.
    facts: BTreeMap<Vec<u8>, Facts>,
    subscribed: Vec<(String, bool, Option<SpecialUse>)>,
}

fn maildir() -> PathBuf {
    "/mail".into()
}

fn open(disk: &Crashing) -> Mailboxes {
    Mailboxes::new(Arc::new(disk.clone()), Options { host: "mx.test".into(), root: "/".into(), ..Options::default() })
}

fn deliver(mailbox: &Mailbox, n: u32, flags: &Flags) -> Uid {
    let text = format!("Subject: {n}\n\nHello {n}\n");
    let base = maildir::base_name(1_700_000_000 + i64::from(n), &format!("L{n:x}N0"), "mx.test", text.len() as u64, text.len() as u64 + 3);
    let reserved = mailbox.reserve().unwrap();
    mailbox.confirm(&reserved);
    let deposit = Deposit {
        base: &base,
        content: Content::Bytes(&[text.as_bytes()]),
        flags,
        date: Stamp::utc(1_600_000_000),
        size: text.len() as u64,
        wire: text.len() as u64 + 3,
        structure: None,
        record: None,
    };
    mailbox.deliver(&deposit).unwrap().uid
}

fn look(boxes: &Mailboxes) -> Seen {
    let inbox = boxes.open(&maildir(), &MailboxName::inbox()).unwrap();
    let (_view, selected) = inbox.select(true).unwrap();
    let mut seen = Seen {
        uid_validity: selected.uid_validity.0.get(),
        uid_next: selected.uid_next.get(),
        uids: BTreeMap::new(),
        facts: BTreeMap::new(),
        subscribed: Vec::new(),
    };
    for detail in inbox.describe(&selected.uids, Need { size: true, date: true, structure: true }).unwrap() {
        let text = inbox.read(&mut Cursor::default(), detail.uid, detail.span, 0, Vec::with_capacity(100)).unwrap();
        let subject = detail.structure.unwrap().envelope.subject.clone().unwrap().to_vec();
        assert!(seen.facts.insert(text.clone(), (detail.flags, detail.span.len, subject)).is_none(), "a message twice");
        seen.uids.insert(detail.uid.get(), text);
    }
    for listed in boxes.list(&maildir()).unwrap() {
        seen.subscribed.push((listed.name.to_string(), listed.subscribed, listed.special_use));
    }
    seen
}

/// A mailbox with all that may lie beside it: what was there and went, flags, keywords, structures; and another one.
fn filled() -> (Crashing, Seen) {
    let disk = Crashing::new();
    let boxes = open(&disk);
    let inbox = boxes.open(&maildir(), &MailboxName::inbox()).unwrap();
    let flags = Flags { system: System::SEEN, keywords: ["Junk", "Later"].map(|name| Keyword::new(name).unwrap()).into() };
    for n in 1..=5 {
        deliver(&inbox, n, &Flags::default());
    }
    look(&boxes);
    let uids = |list: &[u32]| list.iter().map(|n| Uid::new(*n).unwrap()).collect::<Vec<_>>();
    inbox.store(&uids(&[2, 4, 5]), Change::Add, &flags).unwrap();
    inbox.remove(&uids(&[1, 5]), &[]).unwrap();
    boxes.create(&maildir(), &MailboxName::new("Sent").unwrap(), Some(SpecialUse::Sent)).unwrap();
    boxes.subscribe(&maildir(), &MailboxName::new("Sent").unwrap(), true).unwrap();
    boxes.chores();
    hikyaku_tests::close(&boxes).unwrap();
    drop((inbox, boxes));
    let seen = look(&open(&disk.kill()));
    assert_eq!((seen.uids.len(), seen.uid_next), (3, 6));
    (disk, seen)
}

/// What is found, whatever bit of the file is flipped; told for the bytes that count, as `says` says. `loses_uids` where messages may get new UIDs.
fn every_bit(file: &str, loses_uids: bool, says: impl Fn(&[u8]) -> Range<usize>) {
    let (disk, known) = filled();
    let path = format!("/mail/{file}");
    let bytes = disk.content(Path::new(&path)).unwrap();
    let (says, len) = (says(&bytes), bytes.len());
    let mut silent = Vec::new();
    for at in 0..len {
        for mask in bits() {
            let what = format!("{file}, byte {at}, bit {mask}");
            let disk = flipped(&disk, &path, at, mask);
            let boxes = open(&disk);
            let (seen, said) = told(|| look(&boxes));
            if said.is_empty() && says.contains(&at) {
                silent.push((at, mask));
            }
            assert_eq!((&seen.facts, &seen.subscribed), (&known.facts, &known.subscribed), "{what}");
            if !loses_uids {
                assert_eq!((seen.uid_validity, &seen.uids), (known.uid_validity, &known.uids), "{what}");
            }
            let inbox = boxes.open(&maildir(), &MailboxName::inbox()).unwrap();
            let next = deliver(&inbox, 9, &Flags::default()).get();
            if seen.uid_validity == known.uid_validity {
                for (uid, text) in &seen.uids {
                    assert!(known.uids.get(uid) == Some(text) || *uid >= known.uid_next, "{what}: {uid} was another message");
                }
                assert!(seen.uid_next >= known.uid_next && next >= known.uid_next, "{what}: {next} was another message");
            }
            if mask > 1 {
                continue;
            }
            hikyaku_tests::close(&boxes).unwrap();
            drop((inbox, boxes));
            // What is mended stays so.
            let after = look(&open(&disk));
            assert_eq!(after.subscribed, known.subscribed, "{what}: afterwards");
            assert!(known.facts.iter().all(|(text, facts)| after.facts.get(text) == Some(facts)), "{what}: afterwards");
        }
    }
    assert!(silent.is_empty(), "{file}: not told: {silent:?}");
}

#[test]
fn every_bit_of_the_index() {
    every_bit("hikyaku.index", true, |bytes| 0..bytes.len());
}

#[test]
fn every_bit_of_the_cache() {
    // There are five structures, all as long as each other; the first and the last are of messages that are gone.
    every_bit("hikyaku.cache", false, |bytes| bytes.len() / 5..bytes.len() / 5 * 4);
}

#[test]
fn every_bit_of_the_bounds() {
    // Only the last line counts; those before it are history.
    every_bit("hikyaku.uids", false, |bytes| {
        bytes[..bytes.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1..bytes.len() - 1
    });
}

#[test]
fn every_bit_of_the_keywords() {
    every_bit("hikyaku.keywords", false, |bytes| 0..bytes.len());
}

#[test]
fn every_bit_of_the_subscriptions() {
    every_bit("hikyaku.mailboxes", false, |bytes| 0..bytes.len());
}
