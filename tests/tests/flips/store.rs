//! What lies in the store besides mail: whichever bit of it flips, the house opens, mail is as it was, and nothing is told that did not happen.

use super::{bits, flipped, names};
use config::Config;
use hikyaku_tests::{disk::Crashing, told::told};
use mail::{Address, Envelope, Wishes};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};
use storage::{
    clock::Clock,
    control::Operator as _,
    disk::{Disk as _, How},
    house::House,
    spool,
    story::{Deed, Query, Story},
};

const NOW_S: i64 = 1_800_000_000;

fn open(disk: &Crashing, now_s: &Arc<AtomicI64>) -> Arc<House> {
    let config: Config = config::parse("test", "(domains: [\"example.test\"], store: \"/store\")").unwrap();
    let hands = now_s.clone();
    let clock = Clock::new(Arc::new(move || i128::from(hands.load(Ordering::Relaxed)) * 1_000_000_000), || 1000);
    let options = spool::Options { segment: 8192, seed: 1, ..spool::Options::default() };
    House::open_at(config, Arc::new(disk.clone()), clock, options).unwrap()
}

/// A store whose queue has a message, left in the drop folder; and its id.
fn filled() -> (Crashing, String) {
    let disk = Crashing::new();
    disk.make_dir(Path::new("/store")).unwrap();
    disk.open(Path::new("/store/accounts.ron"), How::Create).unwrap().append(b"(version: 1, accounts: [])").unwrap();
    disk.make_dir(Path::new("/store/drop")).unwrap();
    let recipients = vec![Address::parse("bob@far.test").unwrap().into()];
    let envelope = Envelope { sender: Address::parse("alice@example.test"), recipients, wishes: Wishes::default() };
    let mut bytes = Vec::new();
    storage::drop::write_envelope(&storage::drop::Letter { uid: 0, envelope, eight_bit: false, verp: false }, &mut bytes).unwrap();
    bytes.extend_from_slice(b"Subject: left\n\n");
    disk.open(Path::new("/store/drop/1"), How::Create).unwrap().append(&bytes).unwrap();
    disk.sync_all(Path::new("/store")).unwrap();
    let house = open(&disk, &Arc::new(NOW_S.into()));
    house.pick_up();
    house.close();
    let listing = house.list(&storage::control::Filter::default(), storage::control::Page { after: None, most: 10 }).unwrap();
    let [message] = &listing.messages[..] else { panic!("it is queued: {listing:?}") };
    (disk, message.id.clone())
}

/// When the queue gives its message up, and the ids that it gave.
fn given_up(house: Arc<House>, id: &str) -> u64 {
    let id = u64::from_str_radix(id, 16).unwrap();
    house.show(id).unwrap().gives_up.unwrap()
}

fn every_bit(file: &str) {
    let (disk, id) = filled();
    // The clock is six days ahead now: what was written last keeps the queue from being given up.
    let ahead: Arc<AtomicI64> = Arc::new((NOW_S + 6 * 86_400).into());
    let wanted = given_up(open(&disk.kill(), &ahead), &id);
    assert!(wanted > NOW_S as u64 + 10 * 86_400);
    let path = format!("/store/{file}");
    let len = disk.content(Path::new(&path)).unwrap().len();
    for at in 0..len {
        for mask in bits() {
            let disk = flipped(&disk, &path, at, mask);
            let (house, said) = told(|| open(&disk, &ahead));
            assert!(said.iter().any(|line| line.contains(file)), "{file}, byte {at}, bit {mask}: not told: {said:?}");
            assert_eq!(given_up(house, &id), wanted, "{file}, byte {at}, bit {mask}");
        }
    }
}

#[test]
fn every_bit_of_the_clock() {
    every_bit("clock");
}

#[test]
fn every_bit_of_the_format() {
    every_bit("format");
}

#[test]
fn every_bit_of_the_story() {
    let disk = Crashing::new();
    let open = |disk: &Crashing| Story::new(Arc::new(disk.clone()), "/story".into());
    let story = open(&disk);
    for id in 1..4 {
        let recipients = vec!["bob@far.test".to_owned()];
        let (sender, by, client) = ("alice@example.test".to_owned(), "smtp".to_owned(), "192.0.2.1".to_owned());
        story.tell(id, id, Deed::Accepted { sender, recipients, size: 100, by, client, message_id: Some("<1@x>".into()), about: None });
        story.tell(id + 10, id, Deed::Delivered { recipient: "bob@far.test".into(), account: "bob@far.test".into(), delay_s: 1 });
    }
    story.write(mail::Stamp::utc(NOW_S), 7).unwrap();
    let queries = Query::of("alice@example.test");
    let known = open(&disk).trace(&queries).unwrap();
    assert_eq!(known.iter().map(|tale| tale.told.len()).collect::<Vec<_>>(), [2, 2, 2]);
    let [path] = &names(&disk, "/story", ".log")[..] else { panic!("one day") };
    let len = disk.content(Path::new(path)).unwrap().len();
    let mut lost = 0;
    for at in 0..len {
        for mask in bits() {
            let (found, said) = told(|| open(&flipped(&disk, path, at, mask)).trace(&queries).unwrap());
            // A last line without an end may still be written.
            assert!(!said.is_empty() || at == len - 1, "byte {at}, bit {mask}: not told");
            for told in found.iter().flat_map(|tale| &tale.told) {
                assert!(known.iter().any(|tale| tale.told.contains(told)), "byte {at}, bit {mask}: never happened: {told:?}");
            }
            lost += usize::from(found != known);
        }
    }
    // Where a line ends somewhere else, it is lost, and so is the one behind it.
    assert!(lost * 50 < len * 8, "{lost} of {len}");
}
