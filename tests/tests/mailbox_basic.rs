//! Mailboxes on a real file system: delivery, views, flags, removal, copies, other programs.

use imap::{Change, Need, Refusal};
use mail::{Flags, MailboxName, Span, Stamp, System, Uid};
use queue::Naming;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};
use storage::{
    disk::Posix,
    mailbox::{Content, Cursor, Deposit, Mailbox, Mailboxes, Moves, Options, Placed},
};
use wire::{Nudge, Ring};

/// A store of its own for each test.
struct World {
    root: PathBuf,
    boxes: Mailboxes,
    count: u64,
}

impl World {
    fn new() -> World {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let root = std::env::temp_dir().join(format!("hikyaku-mailbox-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir_all(&root).unwrap();
        let boxes = open(&root);
        World { root, boxes, count: 0 }
    }

    fn maildir(&self) -> PathBuf {
        self.root.join("mail/alice/Maildir")
    }

    fn inbox(&self) -> Arc<Mailbox> {
        self.boxes.open(&self.maildir(), &MailboxName::inbox()).unwrap()
    }

    fn open(&self, name: &str) -> Result<Arc<Mailbox>, Refusal> {
        self.boxes.open(&self.maildir(), &MailboxName::new(name).unwrap())
    }

    fn restart(&mut self) {
        self.boxes = open(&self.root);
    }

    fn deliver(&mut self, mailbox: &Mailbox, text: &str, flags: &Flags) -> Placed {
        self.count += 1;
        let wire = text.len() as u64 + text.matches('\n').count() as u64 - text.matches("\r\n").count() as u64;
        let base =
            maildir::base_name(1_700_000_000 + self.count as i64, &format!("L{:x}N0", self.count), "mx.test", text.len() as u64, wire);
        let reserved = mailbox.reserve().unwrap();
        mailbox.confirm(&reserved);
        let deposit = Deposit {
            base: &base,
            content: Content::Bytes(&[text.as_bytes()]),
            flags,
            date: Stamp { seconds: 1_600_000_000, zone: 60 },
            size: text.len() as u64,
            wire,
            structure: None,
            record: None,
        };
        let placed = mailbox.deliver(&deposit).unwrap();
        // Again, as a replay would.
        assert_eq!(mailbox.deliver(&deposit), Ok(placed));
        placed
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

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn uids(list: &[u32]) -> Vec<Uid> {
    list.iter().map(|n| Uid::new(*n).unwrap()).collect()
}

const ALL: Need = Need { size: true, date: true, structure: true };

#[test]
fn mail_comes_is_read_flagged_and_goes() {
    let mut world = World::new();
    let inbox = world.inbox();
    for i in 1..=3 {
        let placed = world.deliver(&inbox, &format!("Subject: {i}\n\nHello\nthere\n"), &Flags::default());
        assert_eq!(placed.uid.get(), i);
    }
    assert_eq!(names(&world.maildir().join("new")).len(), 3);
    assert!(names(&world.maildir().join("tmp")).is_empty());
    let (mut view, selected) = inbox.select(false).unwrap();
    assert_eq!((selected.uids.clone(), selected.recent, selected.first_unseen), (uids(&[1, 2, 3]), uids(&[1, 2, 3]), Uid::new(1)));
    assert_eq!(names(&world.maildir().join("cur")).len(), 3);
    let details = inbox.describe(&selected.uids, ALL).unwrap();
    assert_eq!(details[1].span, Span { at: 0, len: 24, wire: 28 });
    assert_eq!(details[1].date, Stamp { seconds: 1_600_000_000, zone: 60 });
    assert_eq!(details[1].structure.as_ref().unwrap().envelope.subject.as_deref(), Some(&b"2"[..]));
    // The second time the structure comes from the cache.
    assert_eq!(inbox.describe(&selected.uids, ALL).unwrap(), details);
    let text = inbox.read(&mut Cursor::default(), selected.uids[1], details[1].span, 0, Vec::with_capacity(100)).unwrap();
    assert_eq!(text, b"Subject: 2\r\n\r\nHello\r\nthere\r\n");

    let deleted = Flags { system: System::DELETED, keywords: [mail::Keyword::new("Junk").unwrap()].into() };
    let stored = inbox.store(&uids(&[2, 3, 9]), Change::Add, &deleted).unwrap();
    assert_eq!(stored.iter().map(|(u, f, _)| (u.get(), f.clone())).collect::<Vec<_>>(), [(2, deleted.clone()), (3, deleted)]);
    assert_eq!(view.sync().unwrap().flags.len(), 2);
    assert!(fs::read_to_string(world.maildir().join("hikyaku.keywords")).unwrap().starts_with("0 Junk\ncheck "));
    assert!(names(&world.maildir().join("cur"))[1].ends_with(":2,Ta"));

    let doomed = inbox.doomed(Some(&uids(&[1, 2])), true).unwrap();
    assert_eq!(doomed.len(), 1);
    assert_eq!(inbox.remove(&uids(&[2]), &[]).unwrap(), uids(&[2]));
    assert_eq!(view.sync().unwrap().gone, uids(&[2]));
    assert_eq!(view.sync().unwrap(), imap::Changes::default());
    assert_eq!(names(&world.maildir().join("cur")).len(), 3);
    world.boxes.chores();
    assert_eq!(names(&world.maildir().join("cur")).len(), 2);
    assert_eq!(inbox.read(&mut Cursor::default(), uids(&[2])[0], details[1].span, 0, Vec::with_capacity(9)), Err(Refusal::Gone));

    let before = inbox.describe(&uids(&[1, 3]), ALL).unwrap();
    drop(view);
    hikyaku_tests::close(&world.boxes).unwrap();
    world.restart();
    let inbox = world.inbox();
    let (_, selected) = inbox.select(true).unwrap();
    assert_eq!((selected.uids, selected.uid_next.get()), (uids(&[1, 3]), 4));
    assert_eq!(inbox.describe(&uids(&[1, 3]), ALL).unwrap(), before);
}

#[test]
fn other_programs_may_do_what_they_like() {
    let mut world = World::new();
    let inbox = world.inbox();
    world.deliver(&inbox, "a\n", &Flags::default());
    world.deliver(&inbox, "b\n", &Flags::default());
    let (mut view, _) = inbox.select(false).unwrap();
    let cur = world.maildir().join("cur");
    let list = names(&cur);
    fs::rename(cur.join(&list[0]), cur.join(list[0].replace(":2,", ":2,S"))).unwrap();
    fs::remove_file(cur.join(&list[1])).unwrap();
    fs::write(world.maildir().join("new/1800000000.x"), "Subject: x\r\n\r\nx\r\n").unwrap();
    let changes = view.sync().unwrap();
    assert_eq!(changes.gone, uids(&[2]));
    assert_eq!((changes.new, changes.recent), (uids(&[3]), uids(&[3])));
    assert_eq!(changes.flags[0].1, Flags::system(System::SEEN));
    let details = inbox.describe(&uids(&[3]), ALL).unwrap();
    assert_eq!(details[0].span, Span { at: 0, len: 17, wire: 17 });
    // The file moves between two looks.
    let moved = names(&cur).into_iter().find(|n| n.starts_with("18")).unwrap();
    fs::rename(cur.join(&moved), cur.join(moved.replace(":2,", ":2,FX"))).unwrap();
    let text = inbox.read(&mut Cursor::default(), details[0].uid, details[0].span, 10, Vec::with_capacity(4)).unwrap();
    assert_eq!(text, b"\r\n\r\n");
    assert_eq!(
        inbox.store(&uids(&[3]), Change::Add, &Flags::system(System::SEEN)).unwrap()[0].1.system,
        System::FLAGGED.with(System::SEEN)
    );
    assert!(names(&cur).iter().any(|n| n.ends_with(":2,FSX")), "an unknown letter is kept");
}

#[test]
fn one_name_twice() {
    let world = World::new();
    let inbox = world.inbox();
    let dir = world.maildir();
    fs::write(dir.join("new/1.a"), "one\n").unwrap();
    fs::hard_link(dir.join("new/1.a"), dir.join("cur/1.a:2,S")).unwrap();
    fs::write(dir.join("new/2.b"), "two\n").unwrap();
    fs::write(dir.join("cur/2.b:2,"), "other\n").unwrap();
    let (mut view, selected) = inbox.select(true).unwrap();
    let more = view.sync().unwrap();
    assert_eq!((selected.uids.len(), more.new.len()), (2, 1));
    assert_eq!(names(&dir.join("cur")).len() + names(&dir.join("new")).len(), 3);
}

#[test]
fn copies_keep_everything() {
    let mut world = World::new();
    let inbox = world.inbox();
    let name = MailboxName::new("Work/2.0").unwrap();
    world.boxes.create(&world.maildir(), &name, Some(mail::SpecialUse::Archive)).unwrap();
    assert_eq!(world.boxes.create(&world.maildir(), &name, None), Err(Refusal::Exists));
    let flags = Flags { system: System::SEEN, keywords: [mail::Keyword::new("k").unwrap()].into() };
    world.deliver(&inbox, "a\nb", &flags);
    world.deliver(&inbox, "c", &Flags::default());
    let work = world.open("Work/2.0").unwrap();
    let copied = inbox.copy(&uids(&[1, 2]), &work).unwrap();
    assert_eq!(copied.uids.iter().map(|(_, n)| n.get()).collect::<Vec<_>>(), [1, 2]);
    assert_ne!(copied.uid_validity, inbox.counts().unwrap().uid_validity);
    let (from, to) = (inbox.describe(&uids(&[1, 2]), ALL).unwrap(), work.describe(&uids(&[1, 2]), ALL).unwrap());
    for (a, b) in from.iter().zip(&to) {
        assert_eq!((a.span, a.date, &a.flags, &a.structure), (b.span, b.date, &b.flags, &b.structure));
    }
    assert_eq!(inbox.copy(&uids(&[1, 5]), &work), Err(Refusal::Gone));
    assert_eq!(inbox.copy(&uids(&[1]), &inbox).unwrap().uids[0].1.get(), 3);
    assert_eq!(world.boxes.usage(&world.maildir()).unwrap(), 3 + 1 + 3 + 1 + 3);
    let listed = world.boxes.list(&world.maildir()).unwrap();
    let brief: Vec<_> = listed.iter().map(|l| (l.name.as_str(), l.exists, l.subscribed, l.special_use.is_some())).collect();
    assert_eq!(brief, [("INBOX", true, true, false), ("Work", false, false, false), ("Work/2.0", true, false, true)]);
}

#[test]
fn names_change_and_uids_stay() {
    let mut world = World::new();
    let dir = world.maildir();
    let name = |text: &str| MailboxName::new(text).unwrap();
    let rename = |world: &World, from: &str, to: &str| {
        let change = Naming::Rename { from: name(from), to: name(to) };
        let moves = world.boxes.plan(&dir, &change)?;
        world.boxes.carry_out(&dir, &moves)?;
        world.boxes.settle(&dir, &change)
    };
    for text in ["a", "a/b", "ab"] {
        world.boxes.create(&dir, &name(text), None).unwrap();
    }
    let mailbox = world.open("a/b").unwrap();
    world.deliver(&mailbox, "x", &Flags::default());
    let (mut view, selected) = mailbox.select(false).unwrap();
    assert_eq!(rename(&world, "a", "a/c"), Err(Refusal::Cannot));
    assert_eq!(rename(&world, "a", "ab"), Err(Refusal::Exists));
    assert_eq!(rename(&world, "x", "y"), Err(Refusal::NoMailbox));
    rename(&world, "a", "INBOX/z").unwrap();
    assert!(!view.sync().unwrap().lost);
    let there: Vec<_> = world.boxes.list(&dir).unwrap().into_iter().filter(|l| l.exists).map(|l| l.name.to_string()).collect();
    assert_eq!(there, ["INBOX", "INBOX/z", "INBOX/z/b", "ab"]);
    let (_, again) = world.open("INBOX/z/b").unwrap().select(true).unwrap();
    assert_eq!((again.uids, again.uid_validity), (selected.uids, selected.uid_validity));
    assert_eq!(world.open("a/b").err(), Some(Refusal::NoMailbox));
    world.boxes.carry_out(&dir, &Moves::Remove(name("INBOX/z/b"))).unwrap();
    assert!(view.sync().unwrap().lost);
    world.boxes.create(&dir, &name("INBOX/z/b"), None).unwrap();
    let (_, fresh) = world.open("INBOX/z/b").unwrap().select(true).unwrap();
    assert!(fresh.uid_validity > again.uid_validity && fresh.uids.is_empty());
    world.boxes.chores();
    assert!(!names(&dir).iter().any(|n| n.contains("trash")));
    assert_eq!(rename(&world, "INBOX", "old"), Err(Refusal::Cannot));
}

#[test]
fn what_a_link_in_a_removed_mailbox_points_to_stays() {
    let world = World::new();
    let dir = world.maildir();
    let name = MailboxName::new("a").unwrap();
    world.boxes.create(&dir, &name, None).unwrap();
    let elsewhere = world.root.join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("file"), "x").unwrap();
    std::os::unix::fs::symlink(&elsewhere, dir.join(".a/cur/link")).unwrap();
    std::os::unix::fs::symlink(&elsewhere, dir.join("hikyaku.trash.link")).unwrap();
    world.boxes.carry_out(&dir, &Moves::Remove(name)).unwrap();
    world.boxes.list(&dir).unwrap();
    for _ in 0..3 {
        world.boxes.chores();
    }
    assert!(!names(&dir).iter().any(|n| n.contains("trash")));
    assert_eq!(names(&elsewhere), ["file"]);
}

#[test]
fn bells_ring() {
    struct Bell(AtomicU32);
    impl Ring for Bell {
        fn ring(&self, _: Nudge) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let mut world = World::new();
    let inbox = world.inbox();
    let bell = Arc::new(Bell(AtomicU32::new(0)));
    let (view, _) = inbox.select(false).unwrap();
    view.watch(Some(bell.clone()));
    world.deliver(&inbox, "x", &Flags::default());
    assert_eq!(bell.0.load(Ordering::Relaxed), 1);
    fs::write(world.maildir().join("new/1.x"), "x").unwrap();
    world.boxes.chores();
    assert_eq!(bell.0.load(Ordering::Relaxed), 2);
    view.watch(None);
    world.deliver(&inbox, "y", &Flags::default());
    assert_eq!(bell.0.load(Ordering::Relaxed), 2);
}

#[test]
fn pop_sees_what_it_opened() {
    let mut world = World::new();
    let inbox = world.inbox();
    world.deliver(&inbox, "a\n", &Flags::default());
    fs::write(world.maildir().join("new/2 space"), "b\n").unwrap();
    let (pop, entries) = inbox.pop().unwrap();
    assert_eq!((entries[0].span.wire, entries[0].uidl.len()), (3, 31));
    assert_eq!(entries[1].uidl.len(), 40);
    world.deliver(&inbox, "c\n", &Flags::default());
    assert_eq!(pop.read(&mut Cursor::default(), 1, 0, Vec::with_capacity(10)).unwrap(), b"b\r\n");
    let doomed = pop.doomed(&[0, 1]).unwrap();
    assert_eq!(inbox.remove(&doomed.iter().map(|d| d.uid).collect::<Vec<_>>(), &[]).unwrap().len(), 2);
    assert_eq!(pop.read(&mut Cursor::default(), 1, 0, Vec::with_capacity(10)), Err(wire::Fault::Never));
    assert_eq!(inbox.counts().unwrap().messages, 1);
}

#[test]
fn what_is_not_used_sleeps_and_wakes_the_same() {
    let mut world = World::new();
    world.boxes =
        Mailboxes::new(Arc::new(Posix), Options { host: "mx.test".into(), root: world.root.clone(), budget: 0, ..Options::default() });
    let inbox = world.inbox();
    world.deliver(&inbox, "a\n", &Flags::default());
    let before = inbox.describe(&uids(&[1]), ALL).unwrap();
    world.boxes.chores();
    hikyaku_tests::settle(&world.boxes).unwrap();
    world.boxes.chores();
    assert_eq!(inbox.describe(&uids(&[1]), ALL).unwrap(), before);
    assert_eq!(world.deliver(&inbox, "b\n", &Flags::default()).uid.get(), 2);
}

#[test]
fn check_and_rebuild() {
    let mut world = World::new();
    let (dir, inbox) = (world.maildir(), world.inbox());
    for text in ["a\n", "b\n", "c\n"] {
        world.deliver(&inbox, text, &Flags::default());
    }
    hikyaku_tests::close(&world.boxes).unwrap();
    let mut steps = 0;
    assert!(world.boxes.check(&dir, &MailboxName::inbox(), &mut |_| steps += 1).unwrap().is_sound());
    assert_eq!(steps, 4);
    let list = names(&dir.join("new"));
    fs::remove_file(dir.join("new").join(&list[0])).unwrap();
    fs::write(dir.join("new").join(&list[1]), "longer\n").unwrap();
    fs::rename(dir.join("new").join(&list[2]), dir.join("cur").join(format!("{}:2,S", list[2]))).unwrap();
    fs::write(dir.join("cur/9.x:2,"), "x").unwrap();
    world.restart();
    let report = world.boxes.check(&dir, &MailboxName::inbox(), &mut |_| {}).unwrap();
    assert_eq!((report.messages, report.missing, report.unknown, report.renamed, report.wrong), (3, 1, 1, 1, 1));
    assert_eq!(world.boxes.rebuild(&dir, &MailboxName::inbox(), &mut |_| {}).unwrap().wrong, 1);
    assert!(world.boxes.check(&dir, &MailboxName::inbox(), &mut |_| {}).unwrap().is_sound());
    let inbox = world.inbox();
    assert_eq!(inbox.describe(&uids(&[2]), ALL).unwrap()[0].span.wire, 8);
}
