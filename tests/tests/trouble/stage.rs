//! The stage: a disk that fails as a rule says, a house on it, and what its users do.

use config::{Listen, Speak};
use hikyaku_tests::disk::Crashing;
use imap::Office as _;
use mail::{Address, Envelope, Flags, MailboxName, System, Uid, Wishes};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};
use storage::{
    clock::Clock,
    disk::{Disk, File, How, Left, Lock, Stat, Volume},
    house::{House, Seat},
    mailbox, office, spool,
};
use wire::{Nudge, Ring, Sink as _, Tick};

pub const EIO: i32 = 5;

/// More bytes than what the log has when it has let go of everything: that it did.
pub const MARK: u64 = 100;

pub struct Deaf;
impl Ring for Deaf {
    fn ring(&self, _: Nudge) {}
}

/// What a test wants to fail, or to see: the name of an operation and its path.
pub type Rule = Box<dyn FnMut(&'static str, &Path) -> std::io::Result<()> + Send>;

/// A disk with a rule.
#[derive(Clone)]
pub struct Ruled {
    pub disk: Crashing,
    pub rule: Arc<Mutex<Option<Rule>>>,
    stuck: Arc<Stuck>,
}

/// Which calls do not return, by operation and path.
type Hangs = Box<dyn Fn(&str, &Path) -> bool + Send>;

/// Calls that do not return until they are let go.
#[derive(Default)]
struct Stuck {
    /// And how many of them there are.
    calls: Mutex<(Option<Hangs>, usize)>,
    changed: Condvar,
}

impl Stuck {
    fn pass(&self, op: &str, path: &Path) {
        let mut calls = self.calls.lock().unwrap();
        if !calls.0.as_ref().is_some_and(|hangs| hangs(op, path)) {
            return;
        }
        calls.1 += 1;
        self.changed.notify_all();
        calls = self.changed.wait_while(calls, |calls| calls.0.is_some()).unwrap();
        calls.1 -= 1;
    }
}

/// The longest that a test waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Does something on a thread of its own, so that what waits for ever ends the test and not the tests.
pub fn apart<T: Send + 'static>(what: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (told, tells) = std::sync::mpsc::channel();
    std::thread::spawn(move || told.send(work()));
    tells.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("{what}: {error}"))
}

impl Ruled {
    pub fn new() -> Ruled {
        let disk = Crashing::new();
        disk.make_dir(Path::new("/store")).unwrap();
        let account = |local: &str| format!("(address: \"{local}@example.test\", hash: \"{{SSHA}}ev3P3p8pGsxpYfBqdhSjbVQRyidzYWx0\")");
        let text = format!("(version: 1, accounts: [{}, {}])", account("alice"), account("bob"));
        disk.open(Path::new("/store/accounts.ron"), How::Create).unwrap().append(text.as_bytes()).unwrap();
        disk.open(Path::new("/store/aliases"), How::Create).unwrap().append(b"staff: alice, bob\n").unwrap();
        disk.sync_all(Path::new("/store")).unwrap();
        Ruled::of(disk)
    }

    pub fn of(disk: Crashing) -> Ruled {
        Ruled { disk, rule: Arc::default(), stuck: Arc::default() }
    }

    /// From now on such calls do not return.
    pub fn hang(&self, which: impl Fn(&str, &Path) -> bool + Send + 'static) {
        self.stuck.calls.lock().unwrap().0 = Some(Box::new(which));
    }

    /// Waits until so many calls do not return.
    pub fn wait_for_stuck(&self, count: usize) {
        let calls = self.stuck.calls.lock().unwrap();
        let (calls, late) = self.stuck.changed.wait_timeout_while(calls, PATIENCE, |calls| calls.1 < count).unwrap();
        assert!(!late.timed_out(), "{} calls hang", calls.1);
    }

    /// They return, and no others hang.
    pub fn let_go(&self) {
        self.stuck.calls.lock().unwrap().0 = None;
        self.stuck.changed.notify_all();
    }

    pub fn rule(&self, rule: impl FnMut(&'static str, &Path) -> std::io::Result<()> + Send + 'static) {
        *self.rule.lock().unwrap() = Some(Box::new(rule));
    }

    /// Lets every operation of this name fail whose path has this in it.
    pub fn fail(&self, name: &'static str, path: &'static str) {
        self.rule(
            move |op, at| {
                if op == name && at.to_str().unwrap().contains(path) { Err(std::io::Error::from_raw_os_error(EIO)) } else { Ok(()) }
            },
        );
    }

    pub fn heal(&self) {
        *self.rule.lock().unwrap() = None;
    }

    pub fn ask(&self, op: &'static str, path: &Path) -> std::io::Result<()> {
        self.stuck.pass(op, path);
        // The rule may use the disk.
        let Some(mut rule) = self.rule.lock().unwrap().take() else { return Ok(()) };
        let said = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| rule(op, path)));
        self.rule.lock().unwrap().get_or_insert(rule);
        said.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Disk for Ruled {
    fn open(&self, path: &Path, how: How) -> std::io::Result<Box<dyn File>> {
        self.ask(if how == How::Create { "create" } else { "open" }, path)?;
        Ok(Box::new(Asked { disk: self.clone(), path: path.into(), file: self.disk.open(path, how)? }))
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
        self.ask("stat", path)?;
        self.disk.stat(path)
    }
    fn sync_dir(&self, dir: &Path) -> std::io::Result<()> {
        self.ask("sync_dir", dir)?;
        self.disk.sync_dir(dir)
    }
    fn volume(&self, path: &Path) -> std::io::Result<Box<dyn Volume>> {
        self.ask("volume", path)?;
        Ok(Box::new(Whole { disk: self.clone(), path: path.into(), volume: self.disk.volume(path)? }))
    }
    fn free_space(&self, path: &Path) -> std::io::Result<u64> {
        self.disk.free_space(path)
    }
    fn set_modified(&self, path: &Path, seconds: i64) -> std::io::Result<()> {
        self.disk.set_modified(path, seconds)
    }
    fn lock(&self, path: &Path) -> std::io::Result<Box<dyn Lock>> {
        self.disk.lock(path)
    }
}

/// A file of such a disk.
pub struct Asked {
    disk: Ruled,
    path: PathBuf,
    file: Box<dyn File>,
}

impl File for Asked {
    fn read_at(&self, buf: &mut [u8], at: u64) -> std::io::Result<usize> {
        self.file.read_at(buf, at)
    }
    fn write_at(&self, bytes: &[u8], at: u64) -> std::io::Result<()> {
        self.file.write_at(bytes, at)
    }
    fn append(&self, bytes: &[u8]) -> std::io::Result<()> {
        self.file.append(bytes)
    }
    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.file.set_len(len)
    }
    fn len(&self) -> std::io::Result<u64> {
        self.file.len()
    }
    fn sync(&self) -> std::io::Result<()> {
        self.disk.ask("sync", &self.path)?;
        self.file.sync()
    }
}

/// A file system of such a disk.
pub struct Whole {
    disk: Ruled,
    path: PathBuf,
    volume: Box<dyn Volume>,
}

impl Volume for Whole {
    fn sync(&self) -> std::io::Result<()> {
        self.disk.ask("sync_all", &self.path)?;
        self.volume.sync()
    }
}

pub fn open(disk: &Ruled) -> Arc<House> {
    open_with(disk, spool::Options::default().limit)
}

pub fn open_with(disk: &Ruled, limit: u64) -> Arc<House> {
    open_on(Arc::new(disk.clone()), mailbox::system_clock(), limit)
}

pub fn open_on(disk: Arc<dyn Disk>, clock: impl Into<Clock>, limit: u64) -> Arc<House> {
    let text = "(
        domains: [\"example.test\"], store: \"/store\", plaintext_logins: true, aliases: [\"/store/aliases\"],
        relay: (clients: [\"127.0.0.1\"]), outgoing: (routes: [(domain: \"far.test\", host: Some(\"[192.0.2.1]\"))]),
    )";
    let config = config::parse("test", text).unwrap();
    let options = spool::Options { segment: 64 << 10, limit, seed: 1, ..spool::Options::default() };
    House::open_at(config, disk, clock, options).unwrap()
}

/// No file system can be synced as a whole.
pub fn each(op: &'static str, _: &Path) -> std::io::Result<()> {
    if op == "volume" { Err(std::io::ErrorKind::Unsupported.into()) } else { Ok(()) }
}

/// Everything that is not durable is lost, and the server starts again.
pub fn power_cut(house: Arc<House>, disk: &Ruled) -> (Arc<House>, Ruled) {
    drop(house);
    let disk = Ruled::of(disk.disk.lose());
    (open(&disk), disk)
}

pub fn seat(house: &Arc<House>, speak: Speak) -> Seat {
    let peer: SocketAddr = "127.0.0.1:9".parse().unwrap();
    let listen = Listen { on: "127.0.0.1:25".parse().unwrap(), speak, tls: config::TlsMode::Never };
    let guest = house.knock(&listen, peer, Arc::new(Deaf)).unwrap();
    house.seat(guest, &listen, None, Tick(0))
}

pub fn send(house: &Arc<House>, to: &[&str], text: &[u8]) -> Result<smtp::Receipt, smtp::Refusal> {
    let to: Vec<String> = to.iter().map(|to| format!("{to}@example.test")).collect();
    send_from(house, "carol@elsewhere.test", &to, text)
}

pub fn send_from(house: &Arc<House>, sender: &str, to: &[impl AsRef<str>], text: &[u8]) -> Result<smtp::Receipt, smtp::Refusal> {
    use smtp::Office as _;
    let Seat::Smtp(_, mut office) = seat(house, Speak::Smtp) else { panic!() };
    let recipients: Vec<mail::Recipient> = to.iter().map(|to| Address::parse(to.as_ref()).unwrap().into()).collect();
    for recipient in &recipients {
        office.recipient(recipient.address.clone().into())?;
    }
    let envelope = Envelope { sender: Address::parse(sender), recipients, wishes: Wishes::default() };
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

pub fn imap(house: &Arc<House>, who: &str) -> Box<office::Imap> {
    let Seat::Imap(_, mut office) = seat(house, Speak::Imap) else { panic!() };
    let proof = sasl::Proof::Password { act_as: String::new(), user: who.into(), password: sasl::Secret::new("hikyaku".into()) };
    office.login(proof).unwrap();
    office
}

pub fn name(text: &str) -> MailboxName {
    MailboxName::new(text).unwrap()
}

pub fn append(office: &mut office::Imap, to: &str, text: &[u8]) -> Result<(), imap::Refusal> {
    office.append(imap::Upload { mailbox: name(to), flags: Flags::default(), date: None, size: text.len() as u64 })?;
    office.body(text);
    office.commit().map(drop)
}

pub fn uids(house: &Arc<House>, who: &str, mailbox: &str) -> Vec<Uid> {
    imap(house, who).select(name(mailbox), true).unwrap().uids
}

pub fn remove_all(house: &Arc<House>, who: &str, mailbox: &str) {
    let mut office = imap(house, who);
    let uids = office.select(name(mailbox), false).unwrap().uids;
    office.store(uids.clone(), imap::Change::Add, Flags::system(System::DELETED)).unwrap();
    assert_eq!(office.expunge(None).unwrap(), uids);
}

pub fn inbox_of(who: &str) -> PathBuf {
    PathBuf::from(format!("/store/mail/example.test/{who}/Maildir"))
}
