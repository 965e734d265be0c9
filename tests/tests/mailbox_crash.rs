//! Mailboxes on a disk that crashes: nothing acknowledged is lost, nothing removed comes back, nothing is there twice, no UID is used twice.

use fastrand::Rng;
use hikyaku_tests::disk::Crashing;
use imap::{Change, Need, Refusal};
use mail::{Flags, Keyword, MailboxName, Stamp, System, Uid};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};
use storage::{
    disk::{Disk, File, How, Left, Lock, Stat, Volume},
    mailbox::{Content, Cursor, Deposit, Mailbox, Mailboxes, Options, Placed, Reserved},
};

fn root() -> PathBuf {
    "/store".into()
}

fn maildir() -> PathBuf {
    "/store/Maildir".into()
}

/// A disk of a system without syncfs(2).
#[derive(Clone)]
struct Plain(Crashing);

impl Disk for Plain {
    fn open(&self, path: &Path, how: How) -> io::Result<Box<dyn File>> {
        self.0.open(path, how)
    }
    fn open_left(&self, path: &Path) -> io::Result<(Box<dyn File>, Left)> {
        self.0.open_left(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.link(from, to)
    }
    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.0.unlink(path)
    }
    fn make_dir(&self, path: &Path) -> io::Result<()> {
        self.0.make_dir(path)
    }
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.0.remove_dir(path)
    }
    fn list(&self, dir: &Path, each: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        self.0.list(dir, each)
    }
    fn stat(&self, path: &Path) -> io::Result<Stat> {
        self.0.stat(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.sync_dir(dir)
    }
    fn volume(&self, _: &Path) -> io::Result<Box<dyn Volume>> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn set_modified(&self, path: &Path, seconds: i64) -> io::Result<()> {
        self.0.set_modified(path, seconds)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.0.lock(path)
    }
}

fn open(disk: impl Disk + 'static) -> Mailboxes {
    let clock = Arc::new(|| 1_795_600_000_000_000_000);
    Mailboxes::new(Arc::new(disk), Options { host: "mx.test".into(), root: root(), budget: 0, clock, ..Options::default() })
}

fn inbox(boxes: &Mailboxes) -> Arc<Mailbox> {
    boxes.open(&maildir(), &MailboxName::inbox()).expect("the inbox opens")
}

/// What a spool would hold.
#[derive(Clone)]
enum Record {
    Accept { reserved: Reserved, base: String, text: String },
    Gone(Vec<Box<[u8]>>),
}

/// What has been promised so far.
#[derive(Clone, Default)]
struct Promise {
    spool: Vec<Record>,
    /// Text by base name of what has to be there.
    kept: BTreeMap<String, String>,
    /// Base names of what may be there: it is being removed or copied, or nobody was told of it yet.
    open: BTreeSet<String>,
    /// Whether a copy is under way, whose names nobody knows.
    copying: bool,
    /// Which message each UID was told of, by numbering.
    told: BTreeMap<(u32, u32), String>,
    points: u64,
}

/// Delivery, or delivery after a crash.
type Way = fn(&Mailbox, &Deposit) -> Result<Placed, Refusal>;

fn put(mailbox: &Mailbox, base: &str, text: &str, how: Way) -> Result<(u32, u32), Refusal> {
    let deposit = Deposit {
        base,
        content: Content::Bytes(&[text.as_bytes()]),
        flags: &Flags::default(),
        date: Stamp::utc(1_700_000_000),
        size: text.len() as u64,
        wire: text.len() as u64,
        structure: None,
        record: None,
    };
    how(mailbox, &deposit).map(|placed| (placed.uid_validity.0.get(), placed.uid.get()))
}

/// Does again what the spool has.
fn again(mailbox: &Mailbox, promise: &Promise) -> Result<(), Refusal> {
    for (i, record) in promise.spool.iter().enumerate() {
        match record {
            Record::Accept { base, text, .. } => {
                let gone = |r: &Record| matches!(r, Record::Gone(bases) if bases.iter().any(|b| **b == *base.as_bytes()));
                if !promise.spool[i..].iter().any(gone) {
                    put(mailbox, base, text, Mailbox::restore)?;
                }
            }
            Record::Gone(bases) => mailbox.bury(&bases.iter().map(|b| &**b).collect::<Vec<_>>(), &[])?,
        }
    }
    Ok(())
}

/// Starts again on what a crash left, and looks.
fn recover(disk: &Crashing, promise: &Promise) {
    let boxes = open(disk.clone());
    let reserved = promise.spool.iter().filter_map(|r| match r {
        Record::Accept { reserved, .. } => Some(*reserved),
        Record::Gone(_) => None,
    });
    let highest = reserved.reduce(|a, b| Reserved {
        uid_validity: a.uid_validity.max(b.uid_validity),
        uid_upto: a.uid_upto.max(b.uid_upto),
        mod_seq_upto: a.mod_seq_upto.max(b.mod_seq_upto),
    });
    let mailbox = match highest {
        Some(reserved) => boxes.recover(&maildir(), &MailboxName::inbox(), &reserved).expect("the inbox opens"),
        None => inbox(&boxes),
    };
    again(&mailbox, promise).unwrap();
    let here = mailbox.doomed(None, false).unwrap();
    let numbering = mailbox.counts().unwrap().uid_validity.0.get();
    let mut left = promise.kept.clone();
    let mut cursor = Cursor::default();
    for doomed in &here {
        let base = String::from_utf8(doomed.base.to_vec()).unwrap();
        let told = promise.told.get(&(numbering, doomed.uid.get()));
        assert!(told.is_none_or(|told| *told == base), "UID {} was of {told:?} and is of {base}", doomed.uid);
        match left.remove(&base) {
            Some(text) => {
                let detail = &mailbox.describe(&[doomed.uid], Need { size: true, ..Need::default() }).unwrap()[0];
                let got = mailbox.read(&mut cursor, doomed.uid, detail.span, 0, Vec::with_capacity(1000)).unwrap();
                assert_eq!(String::from_utf8_lossy(&got), text, "{base}");
            }
            None => assert!(promise.open.contains(&base) || promise.copying, "{base} came back, or is there twice"),
        }
    }
    left.retain(|base, _| !promise.open.contains(base));
    assert!(left.is_empty(), "lost: {left:?}");
    let next = mailbox.counts().unwrap().uid_next.get();
    let last = promise.told.keys().filter(|(n, _)| *n == numbering).map(|(_, uid)| *uid).max();
    assert!(last.is_none_or(|last| next > last), "UID {next} would be used twice");
    if let Some((numbering_told, _)) = promise.told.keys().next_back() {
        assert!(numbering >= *numbering_told);
    }
}

struct World {
    dice: Rng,
    disk: Crashing,
    boxes: Mailboxes,
    mailbox: Arc<Mailbox>,
    promise: Arc<Mutex<Promise>>,
    count: u64,
    /// A checkpoint failed: what the spool has is done again before the next.
    doubtful: bool,
}

impl World {
    fn new(seed: u64, plain: bool) -> World {
        let disk = Crashing::new();
        disk.make_dir(&root()).unwrap();
        disk.sync_all(&root()).unwrap();
        let boxes = if plain { open(Plain(disk.clone())) } else { open(disk.clone()) };
        let mailbox = inbox(&boxes);
        World { dice: Rng::with_seed(seed), disk, boxes, mailbox, promise: Arc::default(), count: 0, doubtful: false }
    }

    fn change<T>(&self, act: impl FnOnce(&mut Promise) -> T) -> T {
        act(&mut self.promise.lock().unwrap())
    }

    fn some(&mut self) -> Vec<Uid> {
        let all = self.mailbox.doomed(None, false).unwrap_or_default();
        all.into_iter().map(|d| d.uid).filter(|_| self.dice.u8(..3) == 0).collect()
    }

    /// One step. Errors are those of a disk that fails.
    fn step(&mut self) -> Result<(), Refusal> {
        match self.dice.u8(..20) {
            0..8 => {
                self.count += 1;
                let text = format!("message {}", self.count);
                let base =
                    maildir::base_name(1_700_000_000, &format!("L{:x}N0", self.count), "mx.test", text.len() as u64, text.len() as u64);
                let reserved = self.mailbox.reserve()?;
                // Durable from here on.
                self.change(|p| {
                    p.spool.push(Record::Accept { reserved, base: base.clone(), text: text.clone() });
                    p.kept.insert(base.clone(), text.clone());
                });
                self.mailbox.confirm(&reserved);
                let told = put(&self.mailbox, &base, &text, Mailbox::deliver)?;
                self.change(|p| p.told.insert(told, base));
            }
            8..11 => {
                let uids = self.some();
                let flags = Flags { system: System(self.dice.u8(..32)), keywords: [Keyword::new("k").unwrap()].into() };
                self.mailbox.store(&uids, Change::Replace, &flags)?;
            }
            11..14 => {
                let uids = self.some();
                let doomed = self.mailbox.doomed(Some(&uids), false)?;
                self.change(|p| {
                    for d in &doomed {
                        p.kept.remove(std::str::from_utf8(&d.base).unwrap());
                    }
                    p.spool.push(Record::Gone(doomed.into_iter().map(|d| d.base).collect()));
                });
                self.mailbox.remove(&uids, &[])?;
            }
            14 => {
                let uids = self.some();
                let texts: Vec<_> = uids.iter().map(|uid| self.text(*uid)).collect::<Result<_, _>>()?;
                self.change(|p| p.copying = true);
                let copied = self.mailbox.copy(&uids, &self.mailbox);
                // Half a copy may stay where even removing it fails.
                if let Ok(copied) = &copied {
                    let bases: BTreeMap<_, _> = self.mailbox.doomed(None, false)?.into_iter().map(|d| (d.uid, d.base)).collect();
                    self.change(|p| {
                        for ((_, uid), text) in copied.uids.iter().zip(texts) {
                            let base = String::from_utf8(bases[uid].to_vec()).unwrap();
                            p.kept.insert(base.clone(), text);
                            p.told.insert((copied.uid_validity.0.get(), uid.get()), base);
                        }
                        p.copying = false;
                    });
                }
                copied?;
            }
            15 => drop(self.mailbox.select(false)?),
            16..18 => self.boxes.chores(),
            _ => {
                let mark = self.change(|p| p.spool.len());
                if self.doubtful {
                    let promise = self.change(|p| p.clone());
                    again(&self.mailbox, &promise)?;
                    self.doubtful = false;
                }
                self.doubtful = hikyaku_tests::settle(&self.boxes).is_err();
                if self.doubtful {
                    return Err(Refusal::Fault(wire::Fault::Later));
                }
                self.change(|p| p.spool.drain(..mark).for_each(drop));
            }
        }
        Ok(())
    }

    fn text(&self, uid: Uid) -> Result<String, Refusal> {
        let details = self.mailbox.describe(&[uid], Need { size: true, ..Need::default() })?;
        let detail = details.first().ok_or(Refusal::Gone)?;
        let text = self.mailbox.read(&mut Cursor::default(), uid, detail.span, 0, Vec::with_capacity(1000))?;
        Ok(String::from_utf8(text).unwrap())
    }

    /// Crashes before every operation of the disk with this chance of 256.
    fn watch(&self, seed: u64, chance: u8) {
        let (promise, mut dice) = (self.promise.clone(), Rng::with_seed(seed));
        self.disk.watch(move |world| {
            if dice.u8(..) < chance {
                let seen = {
                    let mut promise = promise.lock().unwrap();
                    promise.points += 1;
                    promise.clone()
                };
                recover(&world.crash(&mut dice), &seen);
            }
        });
    }
}

#[test]
fn at_every_operation() {
    crash_at_every_operation(false);
}

#[test]
fn at_every_operation_without_syncfs() {
    crash_at_every_operation(true);
}

fn crash_at_every_operation(plain: bool) {
    let mut points = 0;
    for seed in 0..30 {
        println!("seed {seed}");
        let mut world = World::new(seed, plain);
        world.watch(seed + 1000, 160);
        for _ in 0..50 {
            world.step().unwrap();
        }
        points += world.change(|p| p.points);
    }
    assert!(points > 2000, "{points}");
}

#[test]
fn on_a_disk_that_fails() {
    for seed in 0..40 {
        println!("seed {seed}");
        let mut world = World::new(seed, seed % 2 == 1);
        world.watch(seed + 1000, 20);
        for _ in 0..40 {
            if world.dice.u8(..3) == 0 {
                // No space, or an error of the device.
                world.disk.fail(world.disk.ops() + world.dice.u64(..12), if world.dice.bool() { 28 } else { 5 });
            }
            if world.step().is_err() {
                // A server would go on. What could not be delivered is delivered when the spool is read again.
                world.change(|p| p.open = p.kept.keys().cloned().chain(p.open.clone()).collect());
            }
        }
    }
}

#[test]
fn a_tear_at_every_byte_of_the_index() {
    let world = World::new(7, false);
    for i in 0..8 {
        let text = format!("message {i}");
        let base = maildir::base_name(1_700_000_000 + i, &format!("L{i:x}N0"), "mx.test", text.len() as u64, text.len() as u64);
        put(&world.mailbox, &base, &text, Mailbox::deliver).unwrap();
    }
    let uids: Vec<_> = (1..=8).map(|n| Uid::new(n).unwrap()).collect();
    let flags = Flags { system: System::SEEN, keywords: [Keyword::new("Junk").unwrap()].into() };
    world.mailbox.store(&uids[..5], Change::Replace, &flags).unwrap();
    world.mailbox.remove(&uids[3..6], &[]).unwrap();
    hikyaku_tests::close(&world.boxes).unwrap();
    let before = world.mailbox.describe(&uids, Need::default()).unwrap();
    let path = maildir().join("hikyaku.index");
    let whole = world.disk.content(&path).unwrap();
    for (cut, byte) in whole.iter().enumerate() {
        for flip in [false, true] {
            let disk = world.disk.kill();
            let file = disk.open(&path, How::Write).unwrap();
            if flip {
                file.write_at(&[byte ^ 0x20], cut as u64).unwrap();
            } else {
                file.set_len(cut as u64).unwrap();
            }
            let boxes = open(disk);
            let mailbox = inbox(&boxes);
            let here: Vec<_> = mailbox.doomed(None, false).unwrap().into_iter().map(|d| d.uid).collect();
            assert!(here.is_sorted() && here.len() == 5, "{cut} {here:?}");
            assert!(here.iter().all(|uid| uid.get() > 8 || before.iter().any(|d| d.uid == *uid)), "{cut} {here:?}");
            let seen: Vec<_> = mailbox.describe(&here, Need::default()).unwrap().into_iter().map(|d| d.flags).collect();
            assert_eq!(seen.iter().filter(|f| **f == flags).count(), 3);
        }
    }
}
