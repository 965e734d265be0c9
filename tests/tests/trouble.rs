//! A house on a disk that fails and crashes: what was promised stays, what was removed stays away, and one mailbox in trouble is nobody else's.

use config::{Listen, Speak};
use hikyaku_tests::disk::Crashing;
use imap::Office as _;
use mail::{Address, Envelope, Flags, MailboxName, System, Uid, Wishes};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};
use storage::{
    disk::{Disk, File, How, Left, Lock, Stat},
    house::{House, Seat},
    mailbox, office, spool,
};
use wire::{Nudge, Ring, Sink as _, Tick};

const EIO: i32 = 5;

struct Deaf;
impl Ring for Deaf {
    fn ring(&self, _: Nudge) {}
}

/// What a test wants to fail, or to see: the name of an operation and its path.
type Rule = Box<dyn FnMut(&'static str, &Path) -> std::io::Result<()> + Send>;

/// A disk with a rule.
#[derive(Clone)]
struct Ruled {
    disk: Crashing,
    rule: Arc<Mutex<Option<Rule>>>,
}

impl Ruled {
    fn new() -> Ruled {
        let disk = Crashing::new();
        disk.make_dir(Path::new("/store")).unwrap();
        let account = |local: &str| format!("(address: \"{local}@example.test\", hash: \"{{SSHA}}ev3P3p8pGsxpYfBqdhSjbVQRyidzYWx0\")");
        let text = format!("(version: 1, accounts: [{}, {}])", account("alice"), account("bob"));
        disk.open(Path::new("/store/accounts.ron"), How::Create).unwrap().append(text.as_bytes()).unwrap();
        disk.sync_all(Path::new("/store")).unwrap();
        Ruled::of(disk)
    }

    fn of(disk: Crashing) -> Ruled {
        Ruled { disk, rule: Arc::default() }
    }

    fn rule(&self, rule: impl FnMut(&'static str, &Path) -> std::io::Result<()> + Send + 'static) {
        *self.rule.lock().unwrap() = Some(Box::new(rule));
    }

    /// Lets every operation of this name fail whose path has this in it.
    fn fail(&self, name: &'static str, path: &'static str) {
        self.rule(
            move |op, at| {
                if op == name && at.to_str().unwrap().contains(path) { Err(std::io::Error::from_raw_os_error(EIO)) } else { Ok(()) }
            },
        );
    }

    fn heal(&self) {
        *self.rule.lock().unwrap() = None;
    }

    fn ask(&self, op: &'static str, path: &Path) -> std::io::Result<()> {
        // The rule may use the disk.
        let Some(mut rule) = self.rule.lock().unwrap().take() else { return Ok(()) };
        let said = rule(op, path);
        self.rule.lock().unwrap().get_or_insert(rule);
        said
    }
}

impl Disk for Ruled {
    fn open(&self, path: &Path, how: How) -> std::io::Result<Box<dyn File>> {
        self.ask(if how == How::Create { "create" } else { "open" }, path)?;
        self.disk.open(path, how)
    }
    fn open_left(&self, path: &Path) -> std::io::Result<(Box<dyn File>, Left)> {
        self.disk.open_left(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> std::io::Result<()> {
        self.ask("rename", from)?;
        self.disk.rename(from, to)
    }
    fn link(&self, from: &Path, to: &Path) -> std::io::Result<()> {
        self.ask("link", to)?;
        self.disk.link(from, to)
    }
    fn unlink(&self, path: &Path) -> std::io::Result<()> {
        self.ask("unlink", path)?;
        self.disk.unlink(path)
    }
    fn make_dir(&self, path: &Path) -> std::io::Result<()> {
        self.ask("make_dir", path)?;
        self.disk.make_dir(path)
    }
    fn remove_dir(&self, path: &Path) -> std::io::Result<()> {
        self.disk.remove_dir(path)
    }
    fn list(&self, dir: &Path, each: &mut dyn FnMut(&[u8])) -> std::io::Result<()> {
        self.ask("list", dir)?;
        self.disk.list(dir, each)
    }
    fn stat(&self, path: &Path) -> std::io::Result<Stat> {
        self.disk.stat(path)
    }
    fn sync_dir(&self, dir: &Path) -> std::io::Result<()> {
        self.ask("sync_dir", dir)?;
        self.disk.sync_dir(dir)
    }
    fn sync_all(&self, path: &Path) -> std::io::Result<()> {
        self.ask("sync_all", path)?;
        self.disk.sync_all(path)
    }
    fn set_modified(&self, path: &Path, seconds: i64) -> std::io::Result<()> {
        self.disk.set_modified(path, seconds)
    }
    fn lock(&self, path: &Path) -> std::io::Result<Box<dyn Lock>> {
        self.disk.lock(path)
    }
}

fn open(disk: &Ruled) -> Arc<House> {
    open_with(disk, spool::Options::default().limit)
}

fn open_with(disk: &Ruled, limit: u64) -> Arc<House> {
    let config = config::parse("test", "(domains: [\"example.test\"], store: \"/store\", plaintext_logins: true)").unwrap();
    let options = spool::Options { segment: 64 << 10, limit, seed: 1, ..spool::Options::default() };
    House::open_at(config, Arc::new(disk.clone()), mailbox::system_clock(), options).unwrap()
}

/// Everything that is not durable is lost, and the server starts again.
fn power_cut(house: Arc<House>, disk: &Ruled) -> (Arc<House>, Ruled) {
    drop(house);
    let disk = Ruled::of(disk.disk.lose());
    (open(&disk), disk)
}

fn seat(house: &Arc<House>, speak: Speak) -> Seat {
    let peer: SocketAddr = "127.0.0.1:9".parse().unwrap();
    let listen = Listen { on: "127.0.0.1:25".parse().unwrap(), speak, tls: config::TlsMode::Never };
    let guest = house.knock(&listen, peer, Arc::new(Deaf)).unwrap();
    house.seat(guest, &listen, None, Tick(0))
}

fn send(house: &Arc<House>, to: &[&str], text: &[u8]) -> Result<smtp::Receipt, smtp::Refusal> {
    use smtp::Office as _;
    let Seat::Smtp(_, mut office) = seat(house, Speak::Smtp) else { panic!() };
    let recipients: Vec<mail::Recipient> = to.iter().map(|t| Address::parse(&format!("{t}@example.test")).unwrap().into()).collect();
    for recipient in &recipients {
        office.recipient(recipient.address.clone().into())?;
    }
    let envelope = Envelope { sender: Address::parse("carol@elsewhere.test"), recipients, wishes: Wishes::default() };
    office
        .open(smtp::Start { envelope, helo: "elsewhere.test".into(), with: "ESMTP", body: smtp::Body::SevenBit, utf8: false, tls: None })
        .unwrap();
    for piece in text.chunks(50_000) {
        office.body(piece);
        if office.is_full() {
            office.drain();
        }
    }
    office.commit()
}

fn imap(house: &Arc<House>, who: &str) -> Box<office::Imap> {
    let Seat::Imap(_, mut office) = seat(house, Speak::Imap) else { panic!() };
    let proof = sasl::Proof::Password { act_as: String::new(), user: who.into(), password: sasl::Secret::new("hikyaku".into()) };
    office.login(proof).unwrap();
    office
}

fn name(text: &str) -> MailboxName {
    MailboxName::new(text).unwrap()
}

fn append(office: &mut office::Imap, to: &str, text: &[u8]) -> Result<(), imap::Refusal> {
    office.append(imap::Upload { mailbox: name(to), flags: Flags::default(), date: None, size: text.len() as u64 })?;
    office.body(text);
    office.commit().map(drop)
}

fn uids(house: &Arc<House>, who: &str, mailbox: &str) -> Vec<Uid> {
    imap(house, who).select(name(mailbox), true).unwrap().uids
}

fn remove_all(house: &Arc<House>, who: &str, mailbox: &str) {
    let mut office = imap(house, who);
    let uids = office.select(name(mailbox), false).unwrap().uids;
    office.store(uids.clone(), imap::Change::Add, Flags::system(System::DELETED)).unwrap();
    assert_eq!(office.expunge(None).unwrap(), uids);
}

fn inbox_of(who: &str) -> PathBuf {
    PathBuf::from(format!("/store/mail/example.test/{who}/Maildir"))
}

#[test]
fn what_one_mailbox_could_not_take_does_not_come_twice_to_another() {
    let disk = Ruled::new();
    let house = open(&disk);
    disk.fail("create", "/bob/Maildir/tmp/");
    send(&house, &["alice", "bob"], b"Subject: one\r\n\r\n").unwrap();
    remove_all(&house, "alice", "INBOX");
    disk.heal();
    house.deliver_again();
    assert_eq!(uids(&house, "alice", "INBOX"), []);
    assert_eq!(uids(&house, "bob", "INBOX").len(), 1);
    house.checkpoint().unwrap();
    let (house, _) = power_cut(house, &disk);
    assert_eq!(uids(&house, "alice", "INBOX"), []);
    assert_eq!(uids(&house, "bob", "INBOX").len(), 1);
}

#[test]
fn a_mailbox_in_trouble_takes_no_more_mail_and_others_do() {
    let disk = Ruled::new();
    let house = open(&disk);
    disk.fail("create", "/bob/Maildir/tmp/");
    send(&house, &["bob"], b"Subject: one\r\n\r\n").unwrap();
    assert_eq!(send(&house, &["bob"], b"Subject: two\r\n\r\n").unwrap_err(), smtp::Refusal::Fault(wire::Fault::Later));
    send(&house, &["alice"], b"Subject: two\r\n\r\n").unwrap();
    // After a restart too, as long as it lasts.
    let (house, disk) = power_cut(house, &disk);
    assert_eq!(uids(&house, "bob", "INBOX").len(), 1);
    disk.fail("create", "/bob/Maildir/tmp/");
    send(&house, &["bob"], b"Subject: two\r\n\r\n").unwrap();
    assert!(send(&house, &["bob"], b"Subject: three\r\n\r\n").is_err());
    disk.heal();
    house.deliver_again();
    send(&house, &["bob"], b"Subject: three\r\n\r\n").unwrap();
    assert_eq!(uids(&house, "bob", "INBOX").len(), 3);
}

#[test]
fn what_comes_while_a_checkpoint_syncs_is_synced_by_the_next() {
    let disk = Ruled::new();
    let house = open(&disk);
    let unsupported = |op: &str| if op == "sync_all" { Err(std::io::ErrorKind::Unsupported.into()) } else { Ok(()) };
    let (late, mut sent) = (house.clone(), false);
    disk.rule(move |op, path| {
        if op == "sync_dir" && path == inbox_of("alice").join("cur") && !std::mem::replace(&mut sent, true) {
            send(&late, &["alice"], b"Subject: late\r\n\r\n").unwrap();
        }
        unsupported(op)
    });
    send(&house, &["alice"], b"Subject: early\r\n\r\n").unwrap();
    house.checkpoint().unwrap();
    house.checkpoint().unwrap();
    disk.heal();
    let (house, _) = power_cut(house, &disk);
    assert_eq!(uids(&house, "alice", "INBOX").len(), 2);
}

#[test]
fn a_mailbox_in_trouble_keeps_no_house_from_opening() {
    let disk = Ruled::new();
    let house = open(&disk);
    send(&house, &["alice", "bob"], b"Subject: one\r\n\r\n").unwrap();
    remove_all(&house, "bob", "INBOX");
    drop(house);
    disk.fail("unlink", "/bob/Maildir/");
    let house = open(&disk);
    assert_eq!(uids(&house, "alice", "INBOX").len(), 1);
    disk.heal();
    house.checkpoint().unwrap();
    let (house, _) = power_cut(house, &disk);
    assert_eq!(uids(&house, "bob", "INBOX"), []);
}

#[test]
fn mailboxes_that_were_removed_or_renamed_stay_so_although_the_log_has_older_mail() {
    let disk = Ruled::new();
    let house = open(&disk);
    // Nothing behind it is let go of.
    disk.fail("create", "/bob/Maildir/tmp/");
    send(&house, &["bob"], b"Subject: waits\r\n\r\n").unwrap();
    send(&house, &["alice"], b"Subject: moves\r\n\r\n").unwrap();
    let mut office = imap(&house, "alice");
    for mailbox in ["Gone", "Emptied", "Old", "Old/Below"] {
        office.create(name(mailbox), None).unwrap();
        append(&mut office, mailbox, b"Subject: there\r\n\r\n").unwrap();
    }
    office.delete(name("Gone")).unwrap();
    remove_all(&house, "alice", "Emptied");
    office.delete(name("Emptied")).unwrap();
    office.rename(name("Old"), name("New")).unwrap();
    remove_all(&house, "alice", "New/Below");
    office.rename(MailboxName::inbox(), name("Inbox before")).unwrap();
    // A new mailbox under an old name keeps what it gets.
    office.create(name("Old"), None).unwrap();
    append(&mut office, "Old", b"Subject: later\r\n\r\n").unwrap();
    drop(office);
    let (house, _) = power_cut(house, &disk);
    let listed = imap(&house, "alice").list().unwrap();
    let there: Vec<(&str, usize)> =
        listed.iter().filter(|l| l.exists).map(|l| (l.name.as_str(), uids(&house, "alice", l.name.as_str()).len())).collect();
    assert_eq!(there, [("INBOX", 0), ("Inbox before", 1), ("New", 1), ("New/Below", 0), ("Old", 1)]);
}

#[test]
fn who_changes_names_and_waits_for_the_disk_keeps_nobody_elses_mail() {
    let change = |office: &mut office::Imap, how: usize| match how {
        0 => office.rename(name("a"), name("b")),
        1 => office.delete(name("a")),
        _ => office.create(name("c"), None),
    };
    for how in 0..3 {
        let disk = Ruled::new();
        let house = open(&disk);
        let mut office = imap(&house, "alice");
        office.create(name("a"), None).unwrap();
        append(&mut office, "a", b"Subject: there\r\n\r\n").unwrap();
        let (stuck, is_stuck) = mpsc::channel();
        let (go_on, gone_on) = mpsc::channel();
        let mut once = false;
        disk.rule(move |op, path| {
            if op == "sync_dir" && path == inbox_of("alice") && !std::mem::replace(&mut once, true) {
                stuck.send(()).unwrap();
                gone_on.recv().unwrap();
            }
            Ok(())
        });
        let changing = std::thread::spawn(move || change(&mut office, how));
        is_stuck.recv().unwrap();
        // A thread of its own, so that a fault ends the test.
        let (late, (done, is_done)) = (house.clone(), mpsc::channel());
        std::thread::spawn(move || {
            send(&late, &["bob"], b"Subject: another's\r\n\r\n").unwrap();
            send(&late, &["bob", "alice"], b"Subject: of both\r\n\r\n").unwrap();
            remove_all(&late, "bob", "INBOX");
            late.checkpoint().unwrap();
            done.send(()).unwrap();
        });
        assert_eq!(is_done.recv_timeout(Duration::from_secs(60)), Ok(()), "others wait");
        go_on.send(()).unwrap();
        disk.heal();
        changing.join().unwrap().unwrap();
        let (house, _) = power_cut(house, &disk);
        assert_eq!((uids(&house, "alice", "INBOX").len(), uids(&house, "bob", "INBOX").len()), (1, 0));
        let there = |mailbox| imap(&house, "alice").select(name(mailbox), true).ok().map(|selected| selected.uids.len());
        let expected = [[None, Some(1), None], [None; 3], [Some(1), None, Some(0)]][how];
        assert_eq!(["a", "b", "c"].map(there), expected);
    }
}

#[test]
fn names_that_cannot_be_changed_are_what_they_were_with_all_their_mail() {
    for fails in ["/.a", "/.a.x"] {
        for remove in [false, true] {
            let disk = Ruled::new();
            let house = open(&disk);
            let mut office = imap(&house, "alice");
            for mailbox in ["a", "a/x"] {
                office.create(name(mailbox), None).unwrap();
                append(&mut office, mailbox, b"Subject: there\r\n\r\n").unwrap();
            }
            disk.rule(move |op, path| {
                let fails = op == "rename" && path == Path::new(&format!("{}{fails}", inbox_of("alice").display()));
                if fails { Err(std::io::Error::from_raw_os_error(EIO)) } else { Ok(()) }
            });
            let removed = if fails == "/.a" { "a" } else { "a/x" };
            let changed = if remove { office.delete(name(removed)) } else { office.rename(name("a"), name("b")) };
            assert!(changed.is_err());
            disk.heal();
            append(&mut office, "a", b"Subject: more\r\n\r\n").unwrap();
            let (house, disk) = power_cut(house, &disk);
            assert_eq!((uids(&house, "alice", "a").len(), uids(&house, "alice", "a/x").len()), (2, 1), "{fails} {remove}");
            let mut office = imap(&house, "alice");
            assert_eq!(office.list().unwrap().iter().filter(|listed| listed.exists).count(), 3);
            office.rename(name("a"), name("b")).unwrap();
            let (house, _) = power_cut(house, &disk);
            assert_eq!((uids(&house, "alice", "b").len(), uids(&house, "alice", "b/x").len()), (2, 1), "{fails} {remove}");
        }
    }
}

#[test]
fn a_change_of_names_whose_flush_failed_is_made_good_before_the_next() {
    let disk = Ruled::new();
    let house = open(&disk);
    let mut office = imap(&house, "alice");
    for mailbox in ["a", "b"] {
        office.create(name(mailbox), None).unwrap();
        append(&mut office, mailbox, mailbox.as_bytes()).unwrap();
    }
    disk.fail("sync_dir", "/alice/Maildir");
    assert!(office.delete(name("a")).is_err());
    assert!(office.rename(name("b"), name("c")).is_err());
    assert!(office.create(name("a"), None).is_err(), "a crash would take it for the one that is removed");
    // Mail is not concerned.
    append(&mut office, "b", b"Subject: more\r\n\r\n").unwrap();
    let (after, _) = power_cut(house.clone(), &Ruled::of(disk.disk.kill()));
    assert_eq!(imap(&after, "alice").select(name("a"), true).err(), Some(imap::Refusal::NoMailbox));
    assert_eq!(uids(&after, "alice", "b").len(), 2);
    drop(after);
    disk.heal();
    office.create(name("a"), None).unwrap();
    append(&mut office, "a", b"Subject: new\r\n\r\n").unwrap();
    drop(office);
    let (house, _) = power_cut(house, &disk);
    assert_eq!((uids(&house, "alice", "a").len(), uids(&house, "alice", "b").len()), (1, 2));
}

#[test]
fn a_restart_after_a_failed_flush_takes_nothing_for_durable() {
    let each = |op: &'static str, _: &Path| if op == "sync_all" { Err(std::io::ErrorKind::Unsupported.into()) } else { Ok(()) };
    let mut failed = 0;
    for n in 0.. {
        let disk = Ruled::new();
        disk.rule(each);
        let house = open(&disk);
        send(&house, &["alice"], b"Subject: one\r\n\r\n").unwrap();
        disk.disk.fail(disk.disk.ops() + n, EIO);
        let ops = disk.disk.ops();
        if house.checkpoint().is_ok() && disk.disk.ops() - ops <= n {
            break;
        }
        failed += 1;
        drop(house);
        // What could be read before can be read after it.
        let disk = Ruled::of(disk.disk.kill());
        disk.rule(each);
        let house = open(&disk);
        house.checkpoint().unwrap();
        let first = uids(&house, "alice", "INBOX");
        let (house, disk) = power_cut(house, &disk);
        assert_eq!(uids(&house, "alice", "INBOX"), first, "operation {n}");
        let mut paths = Vec::new();
        for dir in ["new", "cur"].map(|dir| inbox_of("alice").join(dir)) {
            disk.list(&dir, &mut |name| paths.push(dir.join(std::str::from_utf8(name).unwrap()))).unwrap();
        }
        assert_eq!(paths.len(), 1);
        let text = disk.disk.content(&paths[0]).unwrap();
        assert!(text.ends_with(b"Subject: one\n\n"), "operation {n}: {text:?}");
        send(&house, &["alice"], b"Subject: two\r\n\r\n").unwrap();
        assert!(uids(&house, "alice", "INBOX")[1] > first[0], "operation {n}");
    }
    assert!(failed > 5);
}

#[test]
fn a_directory_is_never_two_mailboxes() {
    let disk = Ruled::new();
    let options = mailbox::Options { root: "/store".into(), budget: 0, ..mailbox::Options::default() };
    let boxes = mailbox::Mailboxes::new(Arc::new(disk.clone()), options);
    let held = boxes.open(&inbox_of("alice"), &MailboxName::inbox()).unwrap();
    boxes.checkpoint().unwrap();
    boxes.chores();
    // It sleeps now, and cannot be woken for a moment.
    disk.fail("open", "hikyaku.index");
    assert!(boxes.open(&inbox_of("alice"), &MailboxName::inbox()).is_err());
    disk.heal();
    assert!(Arc::ptr_eq(&held, &boxes.open(&inbox_of("alice"), &MailboxName::inbox()).unwrap()));
    // Who looks for a mailbox that does not exist holds nothing that it becomes.
    assert_eq!(boxes.open(&inbox_of("alice"), &name("a")).err(), Some(imap::Refusal::NoMailbox));
    boxes.create(&inbox_of("alice"), &name("b"), None).unwrap();
    let b = boxes.open(&inbox_of("alice"), &name("b")).unwrap();
    boxes.carry_out(&inbox_of("alice"), &mailbox::Moves::Rename(vec![(name("b"), name("a"))])).unwrap();
    assert!(Arc::ptr_eq(&b, &boxes.open(&inbox_of("alice"), &name("a")).unwrap()));
}

#[test]
fn what_waits_for_its_mailbox_does_not_fill_the_log() {
    let large = [&b"Subject: large\r\n\r\n"[..], &b"a line of a large message\r\n".repeat(15_000)].concat();
    for text in [&b"Subject: waits\r\n\r\n"[..], &large] {
        let disk = Ruled::new();
        let house = open_with(&disk, 256 << 10);
        disk.rule(|op, path| {
            let fails = matches!(op, "create" | "link") && ["tmp", "new"].iter().any(|dir| path.starts_with(inbox_of("bob").join(dir)));
            if fails { Err(std::io::Error::from_raw_os_error(EIO)) } else { Ok(()) }
        });
        send(&house, &["alice", "bob"], text).unwrap();
        remove_all(&house, "alice", "INBOX");
        for n in 0..100 {
            send(&house, &["alice"], &b"0123456789\r\n".repeat(1000)).unwrap();
            if n % 5 == 0 {
                house.checkpoint().unwrap();
                house.chores();
            }
        }
        let (crashed, _) = power_cut(house.clone(), &disk);
        assert_eq!((uids(&crashed, "alice", "INBOX").len(), uids(&crashed, "bob", "INBOX").len()), (100, 1));
        disk.heal();
        house.deliver_again();
        house.checkpoint().unwrap();
        let (house, _) = power_cut(house, &disk);
        assert_eq!((uids(&house, "alice", "INBOX").len(), uids(&house, "bob", "INBOX").len()), (100, 1));
    }
}

#[test]
fn a_record_without_its_file_keeps_no_mail_away() {
    let disk = Ruled::new();
    let house = open(&disk);
    disk.rule(|op, path| {
        let fails = op == "link" && path.starts_with(inbox_of("bob"));
        if fails { Err(std::io::Error::from_raw_os_error(EIO)) } else { Ok(()) }
    });
    send(&house, &["bob"], &b"a line of a large message\r\n".repeat(15_000)).unwrap();
    disk.heal();
    let mut names = Vec::new();
    let dir = Path::new("/store/spool/large");
    disk.list(dir, &mut |name| names.push(String::from_utf8(name.to_vec()).unwrap())).unwrap();
    disk.unlink(&dir.join(&names[0])).unwrap();
    disk.sync_dir(dir).unwrap();
    let (house, _) = power_cut(house, &disk);
    send(&house, &["bob"], b"Subject: small\r\n\r\n").unwrap();
    assert_eq!(uids(&house, "bob", "INBOX").len(), 1);
}

/// Leaves a message in the drop folder.
fn leave(disk: &Ruled, file: &str, to: &str) {
    let dir = Path::new("/store/drop");
    if disk.disk.stat(dir).is_err() {
        disk.disk.make_dir(dir).unwrap();
    }
    let recipients = vec![Address::parse(to).unwrap().into()];
    let envelope = Envelope { sender: Address::parse("alice@example.test"), recipients, wishes: Wishes::default() };
    let mut bytes = Vec::new();
    storage::drop::write_envelope(&storage::drop::Letter { uid: 0, envelope, eight_bit: false, verp: false }, &mut bytes).unwrap();
    bytes.extend_from_slice(b"Subject: left\n\n");
    disk.disk.open(&dir.join(file), How::Create).unwrap().append(&bytes).unwrap();
    disk.disk.sync_all(dir).unwrap();
}

#[test]
fn what_was_left_and_cannot_be_removed_is_taken_in_once() {
    let disk = Ruled::new();
    let house = open(&disk);
    leave(&disk, "1", "bob@example.test");
    disk.fail("unlink", "/store/drop/");
    for _ in 0..3 {
        house.chores();
        house.pick_up();
        house.checkpoint().unwrap();
    }
    assert_eq!(uids(&house, "bob", "INBOX").len(), 1);
    // Of its record the log has let go; that the file was taken in it tells at every checkpoint.
    let (mut house, mut disk) = (house, disk);
    for clean in [false, true, false] {
        if clean {
            house.close();
        }
        (house, disk) = power_cut(house, &disk);
        disk.fail("unlink", "/store/drop/");
        house.chores();
        house.pick_up();
        assert_eq!(uids(&house, "bob", "INBOX").len(), 1, "after a restart, clean: {clean}");
    }
    // A removal that may not be durable is told of as well, and one that is gone for good is not.
    let dir = Path::new("/store/drop");
    for keeps in [true, false] {
        disk.rule(move |op, path| match op {
            "sync_dir" if keeps && path == Path::new("/store/drop") => Err(std::io::Error::from_raw_os_error(EIO)),
            "sync_all" => Err(std::io::ErrorKind::Unsupported.into()),
            _ => Ok(()),
        });
        house.chores();
        house.pick_up();
        assert!(disk.disk.stat(&dir.join("1")).is_err());
        house.checkpoint().unwrap();
        (house, disk) = power_cut(house, &disk);
        assert_eq!(disk.disk.stat(&dir.join("1")).is_ok(), keeps);
        house.chores();
        house.pick_up();
        assert_eq!(uids(&house, "bob", "INBOX").len(), 1);
    }
    leave(&disk, "1", "bob@example.test");
    house.chores();
    house.pick_up();
    assert_eq!(uids(&house, "bob", "INBOX").len(), 2, "another file of the same name");
}

#[test]
fn what_cannot_be_taken_in_keeps_nothing_else_out() {
    let disk = Ruled::new();
    let house = open(&disk);
    leave(&disk, "1", "bob@example.test");
    leave(&disk, "3", "bob@example.test");
    disk.disk.open(Path::new("/store/drop/2"), How::Create).unwrap().append(b"nonsense").unwrap();
    disk.fail("rename", "/store/drop/2");
    house.chores();
    house.pick_up();
    assert_eq!(uids(&house, "bob", "INBOX").len(), 2);
    disk.heal();
    house.chores();
    house.pick_up();
    assert_eq!(disk.disk.content(Path::new("/store/drop/2.bad")).unwrap(), b"nonsense");
}
