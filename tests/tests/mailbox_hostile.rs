//! Mailboxes on a real file system in which somebody else writes what they like: names, books, links. It costs them their own mail at most.

use imap::{Need, Refusal};
use mail::{Flags, MailboxName, Stamp};
use maildir::{Add, Bits, Bounds, Facts, Marks, Record};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use storage::{
    disk::Posix,
    mailbox::{Content, Deposit, Mailbox, Mailboxes, Options, Placed},
};

/// A store of its own for each test.
struct World {
    root: PathBuf,
    boxes: Mailboxes,
    count: u64,
}

impl World {
    fn new() -> World {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let root = std::env::temp_dir().join(format!("hikyaku-hostile-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir_all(&root).unwrap();
        World { boxes: open(&root), root, count: 0 }
    }

    fn maildir(&self) -> PathBuf {
        self.root.join("mail/bob/Maildir")
    }

    fn inbox(&self) -> Arc<Mailbox> {
        self.boxes.open(&self.maildir(), &MailboxName::inbox()).unwrap()
    }

    /// Puts a file into the Maildir, as somebody else.
    fn plant(&self, name: &str, bytes: &[u8]) {
        fs::write(self.maildir().join(name), bytes).unwrap();
    }

    fn deliver(&mut self, mailbox: &Mailbox, text: &str) -> Result<Placed, Refusal> {
        self.count += 1;
        let (size, wire) = (text.len() as u64, (text.len() + text.matches('\n').count()) as u64);
        let base = maildir::base_name(1_700_000_000 + self.count as i64, &format!("L{:x}N0", self.count), "mx.test", size, wire);
        mailbox.confirm(&mailbox.reserve()?);
        let date = Stamp { seconds: 1_600_000_000, zone: 0 };
        let content = Content::Bytes(&[text.as_bytes()]);
        mailbox.deliver(&Deposit { base: &base, content, flags: &Flags::default(), date, size, wire, structure: None })
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

fn open(root: &Path) -> Mailboxes {
    Mailboxes::new(Arc::new(Posix), Options { host: "mx.test".into(), root: root.to_owned(), ..Options::default() })
}

const TEXT: &str = "Subject: x\n\nhi\n";

#[test]
fn sizes_in_names_are_hints() {
    let mut world = World::new();
    drop(world.inbox());
    world.boxes = open(&world.root);
    let most = u64::MAX;
    world.plant(&format!("new/1700000000.M1P1.evil,S={most}"), TEXT.as_bytes());
    world.plant(&format!("new/1700000000.M2P1.evil,S={most},W={most}"), TEXT.as_bytes());
    world.plant(&format!("cur/1700000000.M3P1.evil,S=0,W={most}:2,S"), TEXT.as_bytes());
    let inbox = world.inbox();
    // A name that lies about its size neither fills a quota nor empties it.
    assert_eq!(world.boxes.usage(&world.maildir()), Ok(3 * TEXT.len() as u64));
    assert!(inbox.counts().unwrap().size <= 6 * TEXT.len() as u64);
    world.deliver(&inbox, TEXT).unwrap();
    world.boxes.chores();
    let (pop, entries) = inbox.pop().unwrap();
    assert_eq!(entries.iter().map(|e| e.span.wire).collect::<Vec<_>>(), [TEXT.len() as u64 + 3; 4]);
    let doomed: Vec<_> = pop.doomed(&[0, 1, 2, 3]).unwrap().iter().map(|d| d.uid).collect();
    assert_eq!(inbox.remove(&doomed).unwrap().len(), 4);
    assert_eq!(world.boxes.usage(&world.maildir()), Ok(0));
}

#[test]
fn a_file_too_large_to_be_read_is_no_message() {
    let world = World::new();
    drop(world.inbox());
    fs::File::create(world.maildir().join("new/1.sparse")).unwrap().set_len(4 << 40).unwrap();
    world.plant("new/2.whole", TEXT.as_bytes());
    let inbox = world.inbox();
    assert_eq!(inbox.counts().unwrap().messages, 1);
    assert_eq!(world.boxes.usage(&world.maildir()), Ok(TEXT.len() as u64));
    // One that grows after it was met.
    fs::OpenOptions::new().write(true).open(world.maildir().join("new/2.whole")).unwrap().set_len(4 << 40).unwrap();
    assert!(inbox.pop().unwrap().1.is_empty());
}

#[test]
fn an_index_of_somebody_else_adds_up_to_nothing_that_overflows() {
    let mut world = World::new();
    drop(world.inbox());
    let (maildir, bounds) = (world.maildir(), Bounds { uid_validity: 7, uid_upto: 5, mod_seq_upto: 9 });
    let mut log = Vec::new();
    Record::Head { uid_validity: 7 }.put(&mut log);
    let facts = Facts { size: u64::MAX, wire: u64::MAX, date: i64::MAX, ..Facts::default() };
    for uid in 1..=3 {
        let (bits, base) = (Bits::NEW.set(Bits::SIZED, true).set(Bits::DATED, true), format!("{uid}.x,S={}", u64::MAX));
        world.plant(&format!("new/{base}"), TEXT.as_bytes());
        Record::Add(Add { uid, mod_seq: 2, marks: Marks::default(), bits, facts, base: base.as_bytes(), info: b"" }).put(&mut log);
    }
    // Change numbers that leave no room for the next.
    Record::Next { uid: 4, mod_seq: u64::MAX }.put(&mut log);
    world.boxes = open(&world.root);
    fs::write(maildir.join("hikyaku.index"), &log).unwrap();
    fs::write(maildir.join("hikyaku.uids"), bounds.print() + &Bounds { mod_seq_upto: u64::MAX, ..bounds }.print()).unwrap();
    let inbox = world.inbox();
    assert_eq!(inbox.counts().unwrap().messages, 3);
    world.deliver(&inbox, TEXT).unwrap();
    world.boxes.usage(&maildir).unwrap();
    let uids = inbox.select(false).unwrap().1.uids;
    let details = inbox.describe(&uids, Need { size: true, date: true, structure: true }).unwrap();
    assert!(details.iter().all(|d| d.span.len == TEXT.len() as u64), "{details:?}");
    inbox.remove(&uids).unwrap();
    world.boxes.chores();
    world.boxes.checkpoint().unwrap();
}
