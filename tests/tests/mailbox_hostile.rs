//! Mailboxes on a real file system in which somebody else writes what they like: names, books, links. It costs them their own mail at most.

use imap::{Change, Need, Refusal};
use mail::{Flags, MailboxName, Span, Stamp};
use maildir::{Add, Bits, Bounds, Facts, Marks, Record};
use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use storage::{
    disk::Posix,
    mailbox::{Content, Cursor, Deposit, Mailbox, Mailboxes, Options, Placed},
};
use wire::Fault;

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
        mailbox.deliver(&Deposit { base: &base, content, flags: &Flags::default(), date, size, wire, structure: None, record: None })
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
    assert_eq!(inbox.remove(&doomed, &[]).unwrap().len(), 4);
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
    inbox.remove(&uids, &[]).unwrap();
    world.boxes.chores();
    hikyaku_tests::settle(&world.boxes).unwrap();
}

/// Puts a file that is nobody's business beside the store.
fn secret(world: &World) -> PathBuf {
    let path = world.root.join("secret");
    fs::write(&path, "Subject: secret\n\n0 secret\nsubscribed secret\n").unwrap();
    path
}

fn is_untouched(world: &World) {
    assert_eq!(fs::read_to_string(world.root.join("secret")).unwrap(), "Subject: secret\n\n0 secret\nsubscribed secret\n");
}

#[test]
fn links_fifos_and_directories_are_no_messages() {
    let mut world = World::new();
    let inbox = world.inbox();
    world.deliver(&inbox, TEXT).unwrap();
    let (maildir, secret) = (world.maildir(), secret(&world));
    symlink(&secret, maildir.join("cur/1.link:2,S")).unwrap();
    symlink(&secret, maildir.join("new/2.link")).unwrap();
    mkfifo(&maildir.join("new/3.fifo"));
    fs::create_dir(maildir.join("new/4.dir")).unwrap();
    assert_eq!(inbox.counts().unwrap().messages, 1);
    world.boxes = open(&world.root);
    let inbox = world.inbox();
    let uids = inbox.select(false).unwrap().1.uids;
    assert_eq!(uids.len(), 1);
    // A message that becomes a link is gone, and is neither read, copied nor measured.
    let file = fs::read_dir(maildir.join("cur")).unwrap().map(|e| e.unwrap().path()).find(|p| p.is_file() && !p.is_symlink()).unwrap();
    fs::remove_file(&file).unwrap();
    symlink(&secret, &file).unwrap();
    let span = Span { at: 0, len: 10, wire: 10 };
    assert_eq!(inbox.read(&mut Cursor::default(), uids[0], span, 0, Vec::with_capacity(10)), Err(Refusal::Gone));
    assert!(inbox.describe(&uids, Need { size: true, date: true, structure: true }).unwrap().is_empty());
    assert_eq!(inbox.copy(&uids, &inbox), Err(Refusal::Gone));
    is_untouched(&world);
}

#[test]
fn a_message_that_comes_again_replaces_a_link_of_its_name() {
    let mut world = World::new();
    let inbox = world.inbox();
    world.deliver(&inbox, TEXT).unwrap();
    let (secret, new) = (secret(&world), world.maildir().join("new"));
    let file = fs::read_dir(&new).unwrap().next().unwrap().unwrap().path();
    fs::remove_file(&file).unwrap();
    symlink(&secret, &file).unwrap();
    let base = file.file_name().unwrap().to_str().unwrap();
    let date = Stamp { seconds: 1_600_000_000, zone: 0 };
    let content = Content::Bytes(&[TEXT.as_bytes()]);
    inbox.restore(&Deposit { base, content, flags: &Flags::default(), date, size: 15, wire: 18, structure: None, record: None }).unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), TEXT);
    assert!(!file.is_symlink());
    is_untouched(&world);
}

#[test]
fn books_that_are_links_are_written_anew() {
    for book in ["index", "uids", "keywords", "cache", "mailboxes", "uidvalidity"] {
        for way in ["symbolic", "hard", "fifo"] {
            let mut world = World::new();
            drop(world.inbox());
            let (path, secret) = (world.maildir().join(format!("hikyaku.{book}")), secret(&world));
            let _ = fs::remove_file(&path);
            match way {
                "symbolic" => symlink(&secret, &path).unwrap(),
                "hard" => fs::hard_link(&secret, &path).unwrap(),
                _ => mkfifo(&path),
            }
            let _ = fs::remove_file(world.maildir().join("hikyaku.index.tmp"));
            symlink(&secret, world.maildir().join("hikyaku.index.tmp")).unwrap();
            world.boxes = open(&world.root);
            let inbox = world.inbox();
            let placed = world.deliver(&inbox, TEXT).unwrap();
            let keyword: mail::Keyword = mail::Keyword::new("secret").unwrap();
            let flags = Flags { keywords: [keyword].into(), ..Flags::default() };
            inbox.store(&[placed.uid], Change::Add, &flags).unwrap();
            inbox.describe(&[placed.uid], Need { structure: true, ..Need::default() }).unwrap();
            world.boxes.subscribe(&world.maildir(), &MailboxName::new("x").unwrap(), true).unwrap();
            world.boxes.create(&world.maildir(), &MailboxName::new("y").unwrap(), None).unwrap();
            world.boxes.chores();
            hikyaku_tests::close(&world.boxes).unwrap();
            is_untouched(&world);
            world.boxes = open(&world.root);
            let inbox = world.inbox();
            assert_eq!(inbox.counts().unwrap().messages, 1, "{book} {way}");
            assert_eq!(world.deliver(&inbox, TEXT).unwrap().uid.get(), 2, "{book} {way}");
            is_untouched(&world);
        }
    }
}

#[test]
fn sparse_books_cost_nothing() {
    for book in [
        "hikyaku.index",
        "hikyaku.uids",
        "hikyaku.keywords",
        "dovecot-keywords",
        "hikyaku.cache",
        "hikyaku.mailboxes",
        "hikyaku.uidvalidity",
    ] {
        let mut world = World::new();
        drop(world.inbox());
        let _ = fs::remove_file(world.maildir().join("hikyaku.keywords"));
        let file = fs::OpenOptions::new().write(true).create(true).truncate(false).open(world.maildir().join(book)).unwrap();
        file.set_len(4 << 40).unwrap();
        world.boxes = open(&world.root);
        let inbox = world.inbox();
        let placed = world.deliver(&inbox, TEXT).unwrap();
        inbox.describe(&[placed.uid], Need { structure: true, ..Need::default() }).unwrap();
        world.boxes.list(&world.maildir()).unwrap();
        world.boxes.create(&world.maildir(), &MailboxName::new("y").unwrap(), None).unwrap();
        world.boxes.chores();
        hikyaku_tests::close(&world.boxes).unwrap();
        world.boxes = open(&world.root);
        assert_eq!(world.inbox().counts().unwrap().messages, 1, "{book}");
    }
}

#[test]
fn directories_that_are_links_are_not_used() {
    let mut world = World::new();
    let inbox = world.inbox();
    world.deliver(&inbox, TEXT).unwrap();
    let (maildir, elsewhere) = (world.maildir(), world.root.join("elsewhere"));
    for dir in ["cur", "new", "tmp"] {
        fs::create_dir_all(elsewhere.join(dir)).unwrap();
    }
    fs::write(elsewhere.join("cur/1.x:2,"), "Subject: secret\n\n").unwrap();
    symlink(&elsewhere, maildir.join(".Stolen")).unwrap();
    let name = MailboxName::new("Stolen").unwrap();
    assert!(!world.boxes.exists(&maildir, &name).unwrap());
    assert!(world.boxes.list(&maildir).unwrap().iter().all(|l| l.name != name));
    assert!(world.boxes.open(&maildir, &name).is_err());
    for dir in ["cur", "new", "tmp"] {
        fs::rename(maildir.join(dir), maildir.join("aside")).unwrap();
        symlink(elsewhere.join(dir), maildir.join(dir)).unwrap();
        assert_eq!(world.boxes.guard(&maildir), Err(Refusal::Fault(Fault::Later)));
        // Also for a mailbox that is in memory.
        if dir != "cur" {
            assert!(world.deliver(&inbox, TEXT).is_err(), "{dir}");
        }
        if dir != "tmp" {
            assert!(inbox.counts().is_err(), "{dir}");
        }
        world.boxes = open(&world.root);
        assert!(world.boxes.open(&maildir, &MailboxName::inbox()).is_err());
        fs::remove_file(maildir.join(dir)).unwrap();
        fs::rename(maildir.join("aside"), maildir.join(dir)).unwrap();
        assert_eq!(world.boxes.guard(&maildir), Ok(()));
        assert_eq!(world.inbox().counts().unwrap().messages, 1);
    }
    assert_eq!(fs::read_dir(elsewhere.join("new")).unwrap().count() + fs::read_dir(elsewhere.join("tmp")).unwrap().count(), 0);
}

#[test]
fn a_maildir_that_others_may_write_is_refused() {
    let mut world = World::new();
    let inbox = world.inbox();
    world.deliver(&inbox, TEXT).unwrap();
    let maildir = world.maildir();
    for dir in [maildir.clone(), maildir.join("cur"), maildir.join("new"), maildir.join("tmp")] {
        for mode in [0o770, 0o702] {
            fs::set_permissions(&dir, fs::Permissions::from_mode(mode)).unwrap();
            world.boxes = open(&world.root);
            assert_eq!(world.boxes.guard(&maildir), Err(Refusal::Fault(Fault::Later)));
            assert_eq!(world.boxes.open(&maildir, &MailboxName::inbox()).err(), Some(Refusal::Fault(Fault::Later)));
            // Whoever asks for the state of the server is told.
            let [(name, refused)] = &world.boxes.refused()[..] else { panic!("{:?}", world.boxes.refused()) };
            assert!(name.is_inbox() && refused.maildir == maildir && refused.why.contains(dir.to_str().unwrap()), "{refused:?}");
            world.boxes.chores();
            assert_eq!(world.boxes.refused().len(), 1);
        }
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o750)).unwrap();
        // Also without anybody who opens it.
        world.boxes.chores();
        assert_eq!(world.boxes.refused(), []);
        assert_eq!(world.inbox().counts().unwrap().messages, 1);
    }
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(maildir.join("new"), Some(4711), None).unwrap();
        world.boxes = open(&world.root);
        assert_eq!(world.boxes.open(&maildir, &MailboxName::inbox()).err(), Some(Refusal::Fault(Fault::Later)));
    }
}

#[test]
fn the_way_to_a_maildir_may_have_links() {
    let mut world = World::new();
    fs::create_dir(world.root.join("disk2")).unwrap();
    symlink("disk2", world.root.join("mail")).unwrap();
    let inbox = world.inbox();
    world.deliver(&inbox, TEXT).unwrap();
    hikyaku_tests::close(&world.boxes).unwrap();
    world.boxes = open(&world.root);
    assert_eq!(world.inbox().counts().unwrap().messages, 1);
    assert_eq!(fs::read_dir(world.root.join("disk2/bob/Maildir/new")).unwrap().count(), 1);
    if rustix::process::geteuid().is_root() {
        // Not one that somebody else made.
        std::os::unix::fs::lchown(world.root.join("mail"), Some(4711), None).unwrap();
        assert_eq!(open(&world.root).guard(&world.maildir()), Err(Refusal::Fault(Fault::Later)));
    }
}

fn mkfifo(path: &Path) {
    assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
}
