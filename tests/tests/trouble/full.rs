//! A disk on which nothing grows any more: people read and remove, new mail is refused, and all is well when there is room again.

use super::stage::*;
use config::Speak;
use hikyaku_tests::disk::Crashing;
use imap::Office as _;
use mail::{Flags, System};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};
use storage::{
    clock::Clock,
    disk::{Disk, File, How, Left, Lock, Stat, Volume},
    house::{House, Seat},
    mailbox, spool,
};

const ENOSPC: i32 = 28;

/// A file has room up to the end of its last block.
const BLOCK: u64 = 4096;

/// A disk that may have no room: no file gets another block, and no name is added.
#[derive(Clone)]
struct Full {
    disk: Crashing,
    is_full: Arc<AtomicBool>,
}

impl Full {
    fn new(disk: Crashing, is_full: bool) -> Full {
        Full { disk, is_full: Arc::new(is_full.into()) }
    }

    fn room(&self) -> std::io::Result<()> {
        if self.is_full.load(Ordering::SeqCst) { Err(std::io::Error::from_raw_os_error(ENOSPC)) } else { Ok(()) }
    }

    fn count(&self, dir: &str) -> usize {
        let mut count = 0;
        self.disk.list(Path::new(dir), &mut |_| count += 1).unwrap();
        count
    }
}

struct Fixed {
    disk: Full,
    file: Box<dyn File>,
}

impl Fixed {
    /// Whether the blocks that it has are enough.
    fn reach(&self, end: u64) -> std::io::Result<()> {
        if end > self.file.len()?.next_multiple_of(BLOCK) { self.disk.room() } else { Ok(()) }
    }
}

impl File for Fixed {
    fn read_at(&self, buf: &mut [u8], at: u64) -> std::io::Result<usize> {
        self.file.read_at(buf, at)
    }
    fn write_at(&self, bytes: &[u8], at: u64) -> std::io::Result<()> {
        self.reach(at + bytes.len() as u64)?;
        self.file.write_at(bytes, at)
    }
    fn append(&self, bytes: &[u8]) -> std::io::Result<()> {
        self.reach(self.file.len()? + bytes.len() as u64)?;
        self.file.append(bytes)
    }
    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.file.set_len(len)
    }
    fn len(&self) -> std::io::Result<u64> {
        self.file.len()
    }
    fn sync(&self) -> std::io::Result<()> {
        self.file.sync()
    }
}

impl Disk for Full {
    fn open(&self, path: &Path, how: How) -> std::io::Result<Box<dyn File>> {
        if how == How::Create {
            self.room()?;
        }
        Ok(Box::new(Fixed { disk: self.clone(), file: self.disk.open(path, how)? }))
    }
    fn open_left(&self, path: &Path) -> std::io::Result<(Box<dyn File>, Left)> {
        self.disk.open_left(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> std::io::Result<()> {
        self.disk.rename(from, to)
    }
    fn link(&self, from: &Path, to: &Path) -> std::io::Result<()> {
        self.room()?;
        self.disk.link(from, to)
    }
    fn unlink(&self, path: &Path) -> std::io::Result<()> {
        self.disk.unlink(path)
    }
    fn make_dir(&self, path: &Path) -> std::io::Result<()> {
        if self.disk.stat(path).is_err() {
            self.room()?;
        }
        self.disk.make_dir(path)
    }
    fn remove_dir(&self, path: &Path) -> std::io::Result<()> {
        self.disk.remove_dir(path)
    }
    fn list(&self, dir: &Path, each: &mut dyn FnMut(&[u8])) -> std::io::Result<()> {
        self.disk.list(dir, each)
    }
    fn stat(&self, path: &Path) -> std::io::Result<Stat> {
        self.disk.stat(path)
    }
    fn sync_dir(&self, dir: &Path) -> std::io::Result<()> {
        self.disk.sync_dir(dir)
    }
    fn volume(&self, path: &Path) -> std::io::Result<Box<dyn Volume>> {
        self.disk.volume(path)
    }
    fn set_modified(&self, path: &Path, seconds: i64) -> std::io::Result<()> {
        self.disk.set_modified(path, seconds)
    }
    fn lock(&self, path: &Path) -> std::io::Result<Box<dyn Lock>> {
        self.disk.lock(path)
    }
    fn free_space(&self, _: &Path) -> std::io::Result<u64> {
        Ok(if self.room().is_ok() { 1 << 30 } else { 0 })
    }
}

/// A house whose clock only goes when told.
fn open(disk: &Full, ms: &Arc<AtomicU64>) -> Arc<House> {
    let ms = ms.clone();
    open_on(Arc::new(disk.clone()), Clock::new(mailbox::system_clock(), move || ms.load(Ordering::SeqCst)), spool::Options::default().limit)
}

/// Removes the first message of an INBOX, and says whether its file is gone.
fn remove_first(house: &Arc<House>, disk: &Full, who: &str) -> bool {
    let files = || ["cur", "new"].iter().map(|dir| disk.count(&format!("/store/mail/example.test/{who}/Maildir/{dir}"))).sum::<usize>();
    let before = files();
    let mut office = imap(house, who);
    let first = office.select(name("INBOX"), false).unwrap().uids[0];
    office.store(vec![first], imap::Change::Add, Flags::system(System::DELETED)).unwrap();
    assert_eq!(office.expunge(None).unwrap(), [first]);
    // Nobody waits for that.
    house.chores();
    files() == before - 1
}

/// What is said to MAIL.
fn sender(house: &Arc<House>) -> smtp::Verdict {
    use smtp::Office as _;
    let Seat::Smtp(_, mut office) = seat(house, Speak::Smtp) else { panic!() };
    office.sender(None, None)
}

fn dele_first(house: &Arc<House>, who: &str) {
    use pop3::Office as _;
    let Seat::Pop3(_, mut office) = seat(house, Speak::Pop3) else { panic!() };
    let proof = sasl::Proof::Password { act_as: String::new(), user: who.into(), password: sasl::Secret::new("hikyaku".into()) };
    office.login(proof).unwrap();
    office.open().unwrap();
    office.remove(vec![0]).unwrap();
}

#[test]
fn on_a_full_disk_people_read_and_remove_and_mail_waits_at_its_sender() {
    let ms = Arc::new(AtomicU64::new(0));
    for clean in [true, false] {
        let mut disk = Full::new(Ruled::new().disk, false);
        let mut house = open(&disk, &ms);
        let text = [&b"Subject: x\r\n\r\n"[..], &b"0123456789\r\n".repeat(400)].concat();
        for _ in 0..20 {
            send(&house, &["alice"], &text).unwrap();
        }
        house.chores();
        let mut left = 20;
        for round in 0..2 {
            disk.is_full.store(true, Ordering::SeqCst);
            if clean {
                house.close();
            }
            drop(house);
            disk = Full::new(disk.disk.kill(), true);
            house = open(&disk, &ms);
            assert_eq!(sender(&house), Err(smtp::Refusal::NoRoom), "{clean} {round}");
            assert_eq!(uids(&house, "alice", "INBOX").len(), left, "{clean} {round}");
            assert!(remove_first(&house, &disk, "alice"), "{clean} {round}");
            dele_first(&house, "alice");
            left -= 2;
            assert_eq!(uids(&house, "alice", "INBOX").len(), left, "{clean} {round}");
        }
        disk.is_full.store(false, Ordering::SeqCst);
        ms.fetch_add(10_000, Ordering::SeqCst);
        (0..12).for_each(|_| house.chores());
        house.deliver_again();
        house.checkpoint().unwrap();
        sender(&house).unwrap();
        send(&house, &["alice"], &text).unwrap();
        assert_eq!(uids(&house, "alice", "INBOX").len(), left + 1);
        drop(house);
        let disk = Full::new(disk.disk.lose(), false);
        let house = open(&disk, &ms);
        assert_eq!(uids(&house, "alice", "INBOX").len(), left + 1, "{clean}");
    }
}

/// The log gets no more segments. Everything else has room.
fn starve(disk: &Ruled) {
    disk.rule(|op, at| match op {
        "create" if at.extension().is_some_and(|end| end == "new") => Err(std::io::Error::from_raw_os_error(ENOSPC)),
        _ => Ok(()),
    });
}

#[test]
fn a_log_without_room_takes_removals_and_no_mail_and_starts_again_and_again() {
    let mut disk = Ruled::new();
    let mut house = super::stage::open(&disk);
    let text = [&b"Subject: x\r\n\r\n"[..], &b"0123456789\r\n".repeat(400)].concat();
    starve(&disk);
    let fill = |house: &Arc<House>| (0..200).take_while(|_| send(house, &["alice"], &text).is_ok()).count();
    let mut left = fill(&house);
    assert!((1..200).contains(&left), "{left}");
    for round in 0..6 {
        assert_eq!(send(&house, &["alice"], &text).map(drop), Err(smtp::Refusal::NoRoom), "{round}");
        assert_eq!(sender(&house), Err(smtp::Refusal::NoRoom), "{round}");
        let mut office = imap(&house, "alice");
        let first = office.select(name("INBOX"), false).unwrap().uids[0];
        office.store(vec![first], imap::Change::Add, Flags::system(System::DELETED)).unwrap();
        assert_eq!(office.expunge(None).unwrap(), [first], "{round}");
        left -= 1;
        drop((office, house));
        disk = Ruled::of(disk.disk.kill());
        starve(&disk);
        house = super::stage::open(&disk);
        assert_eq!(uids(&house, "alice", "INBOX").len(), left, "{round}");
        left += fill(&house);
    }
    disk.heal();
    (0..12).for_each(|_| house.chores());
    sender(&house).unwrap();
    send(&house, &["alice"], &text).unwrap();
}
