//! Older programs, older copies, and two servers of one store.

use crate::stage::{self, body, disk, leave, name, open, proof, read, restored, send, send_to, try_open};
use config::{Listen, Speak, TlsMode};
use hikyaku_tests::disk::{Crashing, World};
use imap::{Change, Office as _};
use mail::{Address, Flags, System};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};
use storage::{
    disk::{Disk, How},
    house::{House, Seat},
};
use wire::{Nudge, Ring, Tick};

const FORMAT: &str = "/store/format";

fn said(disk: &Crashing) -> String {
    String::from_utf8(disk.content(Path::new(FORMAT)).unwrap()).unwrap()
}

fn run(disk: &Crashing) -> u64 {
    let said = said(disk);
    said.split_once(" run ").and_then(|(_, rest)| rest.split_once(' ')).and_then(|(run, _)| run.parse().ok()).unwrap()
}

fn replace(disk: &Crashing, line: &str) {
    disk.unlink(Path::new(FORMAT)).unwrap();
    let file = disk.open(Path::new(FORMAT), How::Create).unwrap();
    file.append(format!("{line} check {:08x}\n", crc(line.as_bytes())).as_bytes()).unwrap();
}

/// CRC-32, bit by bit.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

#[test]
fn an_older_program_leaves_a_newer_store_alone() {
    let disk = disk();
    let house = open(&disk, 1);
    assert!(said(&disk).starts_with("generation 1 run 1 "), "{}", said(&disk));
    send(&house, &[0], &body(1, 100)).unwrap();
    house.close();
    drop(house);
    drop(open(&disk, 2));
    assert_eq!(run(&disk), 2);
    replace(&disk, "generation 9 shape round");
    let before = names(&disk, "/store/spool");
    let error = try_open(&disk, 3).err().expect("it is refused").to_string();
    assert!(error.contains("generation 9 and this program knows 1: a newer hikyaku"), "{error}");
    assert!(said(&disk).starts_with("generation 9 shape round "));
    assert_eq!(names(&disk, "/store/spool"), before);
    // A damaged one keeps nobody from their mail.
    disk.open(Path::new(FORMAT), How::Write).unwrap().write_at(b"?", 3).unwrap();
    let house = open(&disk, 4);
    assert_eq!(read(&house, (0, 0)).letters.len(), 1);
    assert!(run(&disk) > 2);
}

fn names(disk: &Crashing, dir: &str) -> Vec<Vec<u8>> {
    let mut names = Vec::new();
    disk.list(Path::new(dir), &mut |name| names.push(name.to_vec())).unwrap();
    names.sort();
    names
}

/// Another server, although this one has the lock: as over a network file system that has none.
fn second(disk: &Crashing) -> Arc<House> {
    disk.unlink(Path::new("/store/spool/lock")).unwrap();
    open(disk, 2)
}

#[test]
fn of_two_servers_the_earlier_one_stops_to_write() {
    for with_chores in [true, false] {
        let disk = disk();
        let first = open(&disk, 1);
        send(&first, &[0], &body(1, 100)).unwrap();
        let afar = Address::parse("one@far.test").unwrap();
        send_to(&first, "carol@elsewhere.test", vec![afar.into()], &body(2, 100)).unwrap();
        let second = second(&disk);
        let mut by_first = vec![1];
        if with_chores {
            first.chores();
        }
        // A segment has 8 KiB.
        let smtp = Listen { on: "127.0.0.1:25".parse().unwrap(), speak: Speak::Smtp, tls: TlsMode::Never };
        let refused = (10..30).find(|&n| {
            // At the door, or when it is to be promised.
            let is_refused = first.knock(&smtp, "127.0.0.1:9".parse().unwrap(), Arc::new(Bell::default())).is_err()
                || send(&first, &[0], &body(n, 1000)).is_err();
            if !is_refused {
                by_first.push(n);
            }
            is_refused
        });
        assert!(refused.is_some(), "it goes on for ever");
        assert!(!with_chores || by_first == [1], "{by_first:?}");
        let before = names(&disk, "/store/spool");
        first.chores();
        assert!(first.checkpoint().is_err());
        assert!(first.next_trip(Tick(0)).is_none(), "both send the queue");
        assert!(second.next_trip(Tick(0)).is_some());
        first.close();
        drop(first);
        assert_eq!(names(&disk, "/store/spool"), before, "it touches nothing");
        for n in 100..110 {
            send(&second, &[1], &body(n, 1000)).unwrap();
        }
        second.chores();
        second.checkpoint().unwrap();
        let third = open(&disk.kill(), 3);
        let bobs: Vec<u64> = read(&third, (1, 0)).letters.iter().map(|(_, text)| stage::letter_of(text)).collect();
        assert_eq!(bobs, (100..110).collect::<Vec<_>>());
        assert!(read(&third, (0, 0)).letters.iter().any(|(_, text)| stage::letter_of(text) == 1));
    }
}

/// Who is told to go.
#[derive(Default)]
struct Bell(Mutex<Vec<Nudge>>);

impl Ring for Bell {
    fn ring(&self, nudge: Nudge) {
        self.0.lock().unwrap().push(nudge);
    }
}

/// Everything in a directory and below it, with its content.
fn tree(disk: &Crashing, dir: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for name in names(disk, dir.to_str().unwrap()) {
        let path = dir.join(std::str::from_utf8(&name).unwrap());
        if disk.stat(&path).unwrap().is_dir {
            tree(disk, &path, found);
        } else {
            found.insert(path.clone(), disk.content(&path).unwrap());
        }
    }
}

#[test]
fn a_server_that_lost_its_store_touches_nothing_and_sends_everybody_away() {
    let disk = disk();
    let first = open(&disk, 1);
    let afar = Address::parse("one@far.test").unwrap();
    send_to(&first, "carol@elsewhere.test", vec![afar.into()], &body(1, 100)).unwrap();
    send(&first, &[0], &body(2, 100)).unwrap();
    let listen = |speak| Listen { on: "127.0.0.1:25".parse().unwrap(), speak, tls: TlsMode::Never };
    let bell = Arc::new(Bell::default());
    let guest = first.knock(&listen(Speak::Imap), "127.0.0.1:9".parse().unwrap(), bell.clone()).unwrap();
    let Seat::Imap(_, mut office) = first.seat(guest, &listen(Speak::Imap), None, Tick(0)) else { panic!("asked for IMAP") };
    office.login(proof(0)).unwrap();
    let there = office.select(name(0), false).unwrap().uids;
    let trip = first.next_trip(Tick(0)).expect("a message is to be sent");
    let out = Arc::new(Bell::default());
    let _away = first.set_out(out.clone()).unwrap();
    leave(&disk, 3, &[0], &body(3, 100));
    let second = second(&disk);
    let files = || {
        let mut found = BTreeMap::new();
        tree(&disk, Path::new("/store"), &mut found);
        found
    };
    let before = files();
    for _ in 0..2 {
        disk.set_time(disk.time() + 400_000_000_000);
        first.chores();
        first.pick_up();
        first.deliver_again();
    }
    assert_eq!(*bell.0.lock().unwrap(), [Nudge::Leave], "a session is sent away");
    assert!(out.0.lock().unwrap().contains(&Nudge::Leave), "and who is out comes back");
    // It may have begun a command.
    let change = || Change::Add;
    assert_eq!(office.store(there.clone(), change(), Flags::system(System::FLAGGED)).err(), Some(imap::Refusal::Fault(wire::Fault::Later)));
    assert!(
        office.move_to(there.clone(), name(1)).is_err() && office.create(name(1), None).is_err() && office.select(name(0), false).is_err()
    );
    for (speak, says) in [
        (Speak::Smtp, "421 4.3.2 Another server"),
        (Speak::Imap, "* BYE [UNAVAILABLE] Another server"),
        (Speak::Pop3, "-ERR [SYS/TEMP] Another server"),
    ] {
        let heard = first.knock(&listen(speak), "127.0.0.1:9".parse().unwrap(), bell.clone()).err().expect("nobody gets in");
        assert!(heard.starts_with(says.as_bytes()), "{}", String::from_utf8_lossy(&heard));
    }
    drop((office, trip));
    first.close();
    drop(first);
    let after = files();
    let changed: Vec<_> = before.keys().chain(after.keys()).filter(|path| before.get(*path) != after.get(*path)).collect();
    assert!(changed.is_empty(), "{changed:?}");
    second.pick_up();
    assert_eq!(read(&second, (0, 0)).letters.len(), 2);
}

/// What clients know a message by, and its text.
type Known = BTreeMap<(u32, u32), Vec<u8>>;

fn known(house: &Arc<House>) -> Known {
    let seen = read(house, (0, 0));
    seen.letters.into_iter().map(|(uid, text)| ((seen.uid_validity, uid), text)).collect()
}

fn clashes(one: &Known, other: &Known) -> bool {
    one.iter().any(|(number, text)| other.get(number).is_some_and(|there| there != text))
}

#[test]
fn an_older_copy_gives_no_uid_to_another_message() {
    for restarts in [0, 3] {
        let disk = disk();
        let house = open(&disk, 1);
        (1..3).for_each(|n| send(&house, &[0], &body(n, 100)).unwrap());
        house.close();
        drop(house);
        let copy = disk.kill();
        for _ in 0..restarts {
            open(&disk, 2).close();
        }
        let house = open(&disk, 2);
        (3..6).for_each(|n| send(&house, &[0], &body(n, 100)).unwrap());
        let before = known(&house);
        let last = run(&disk);
        let later = |copy: &Crashing| {
            let house = open(copy, 3);
            (6..9).for_each(|n| send(&house, &[0], &body(n, 100)).unwrap());
            let now = known(&house);
            assert_eq!(now.len(), 5);
            house.close();
            drop(house);
            assert_eq!(known(&open(copy, 4)), now, "it is said once");
            now
        };
        assert!(clashes(&before, &later(&copy.kill())), "nothing tells without a word");
        let said = restored(&copy);
        assert!(said.run > last, "an id could be given out twice");
        let after = later(&copy);
        assert!(!clashes(&before, &after));
        let validity = |known: &Known| *known.keys().map(|(validity, _)| validity).next().unwrap();
        assert!(validity(&after) > validity(&before) && validity(&after) >= said.uidvalidity);
        assert!(run(&copy) > said.run);
    }
}

#[test]
fn a_log_that_was_put_back_is_noticed_whenever_the_power_fails() {
    let disk = disk();
    for seed in 1..4 {
        let house = open(&disk, seed);
        send(&house, &[0], &body(seed, 100)).unwrap();
        house.close();
    }
    let before = known(&open(&disk, 4));
    for name in names(&disk, "/store/spool").iter().filter(|name| name.ends_with(b".log")) {
        disk.unlink(&Path::new("/store/spool").join(std::str::from_utf8(name).unwrap())).unwrap();
    }
    disk.sync_dir(Path::new("/store/spool")).unwrap();
    let last = run(&disk);
    let left = Arc::new(Mutex::new(Vec::new()));
    let worlds = left.clone();
    let mut dice = fastrand::Rng::with_seed(5);
    disk.watch(move |world: &World| {
        let mut worlds = worlds.lock().unwrap();
        worlds.extend([world.kill(), world.crash(&mut dice)]);
    });
    drop(open(&disk, 5));
    disk.unwatch();
    let left = std::mem::take(&mut *left.lock().unwrap());
    assert!(left.len() > 20, "{}", left.len());
    for disk in left.into_iter().chain([disk]) {
        let after = known(&open(&disk, 6));
        assert_eq!(after.len(), before.len());
        assert!(after.keys().all(|number| !before.contains_key(number)), "the UIDVALIDITY stays");
        assert!(run(&disk) > last);
    }
}
