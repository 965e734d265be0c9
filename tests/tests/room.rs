//! Room for messages that are not promised yet: what the disk has left, and what half messages may take of it and of memory.

use config::{Listen, Speak};
use hikyaku_tests::disk::Crashing;
use imap::Office as _;
use mail::{Address, Envelope, Flags, MailboxName, Wishes};
use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
};
use storage::{
    disk::{Disk, File, How, Left, Lock, Stat, Volume},
    house::{House, Seat},
    mailbox, office, spool,
};
use wire::{Nudge, Ring, Sink as _, Tick};

struct Deaf;
impl Ring for Deaf {
    fn ring(&self, _: Nudge) {}
}

/// A disk that is told how much it has left.
#[derive(Clone)]
struct Told {
    disk: Crashing,
    free: Arc<Mutex<Option<u64>>>,
}

impl Told {
    fn new() -> Told {
        let disk = Crashing::new();
        disk.make_dir(Path::new("/store")).unwrap();
        let text = "(version: 1, accounts: [(address: \"alice@example.test\", hash: \"{SSHA}ev3P3p8pGsxpYfBqdhSjbVQRyidzYWx0\")])";
        disk.open(Path::new("/store/accounts.ron"), How::Create).unwrap().append(text.as_bytes()).unwrap();
        disk.sync_all(Path::new("/store")).unwrap();
        Told { disk, free: Arc::default() }
    }
}

impl Disk for Told {
    fn open(&self, path: &Path, how: How) -> std::io::Result<Box<dyn File>> {
        self.disk.open(path, how)
    }
    fn open_left(&self, path: &Path) -> std::io::Result<(Box<dyn File>, Left)> {
        self.disk.open_left(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> std::io::Result<()> {
        self.disk.rename(from, to)
    }
    fn link(&self, from: &Path, to: &Path) -> std::io::Result<()> {
        self.disk.link(from, to)
    }
    fn unlink(&self, path: &Path) -> std::io::Result<()> {
        self.disk.unlink(path)
    }
    fn make_dir(&self, path: &Path) -> std::io::Result<()> {
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
        self.free.lock().unwrap().ok_or(std::io::ErrorKind::Unsupported.into())
    }
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

fn append(office: &mut office::Imap, to: &str, text: &[u8]) -> Result<(), imap::Refusal> {
    office.append(imap::Upload { mailbox: MailboxName::new(to).unwrap(), flags: Flags::default(), date: None, size: text.len() as u64 })?;
    office.body(text);
    office.commit().map(drop)
}

/// What files of large messages hold.
fn large_bytes(disk: &Told) -> u64 {
    let mut names = Vec::new();
    disk.list(Path::new("/store/spool/large"), &mut |name| names.push(String::from_utf8(name.to_vec()).unwrap())).unwrap();
    names.iter().map(|name| disk.stat(&Path::new("/store/spool/large").join(name)).unwrap().len).sum()
}

#[test]
fn an_almost_full_disk_takes_no_mail_and_half_messages_leave_nothing() {
    use smtp::Office as _;
    let disk = Told::new();
    let text = "(domains: [\"example.test\"], store: \"/store\", plaintext_logins: true, limits: (message: 1000000, uncommitted: 1000000))";
    let (config, ms) = (config::parse("test", text).unwrap(), Arc::new(std::sync::atomic::AtomicU64::new(0)));
    let ticks = ms.clone();
    let clock = storage::clock::Clock::new(mailbox::system_clock(), move || ticks.load(std::sync::atomic::Ordering::Relaxed));
    let options = spool::Options { segment: 1 << 20, seed: 1, ..spool::Options::default() };
    let house = House::open_at(config, Arc::new(disk.clone()), clock, options).unwrap();
    let sender = |size| {
        let Seat::Smtp(_, mut office) = seat(&house, Speak::Smtp) else { panic!() };
        office.sender(None, size)
    };
    let later = || ms.fetch_add(1001, std::sync::atomic::Ordering::Relaxed);
    *disk.free.lock().unwrap() = Some((64 << 20) + 500_000);
    assert_eq!((sender(None), sender(Some(400_000)), sender(Some(600_000))), (Ok(()), Ok(()), Err(smtp::Refusal::NoRoom)));
    let large = vec![b'x'; 700_000];
    assert_eq!(send(&house, &["alice"], &large).map(drop), Err(smtp::Refusal::NoRoom), "it said nothing of its size");
    assert_eq!(large_bytes(&disk), 0, "what was written of it is gone at once");
    let mut office = imap(&house, "alice");
    assert_eq!(append(&mut office, "INBOX", &large), Err(imap::Refusal::Fault(wire::Fault::Later)));
    *disk.free.lock().unwrap() = Some(64 << 20);
    later();
    assert_eq!(sender(Some(1)), Err(smtp::Refusal::NoRoom));
    *disk.free.lock().unwrap() = Some(1 << 30);
    later();
    assert_eq!(sender(Some(1)), Ok(()));
    // Two at once have no more together than one may have.
    let begin = || {
        let Seat::Smtp(_, mut office) = seat(&house, Speak::Smtp) else { panic!() };
        let recipients = vec![Address::parse("alice@example.test").unwrap().into()];
        let envelope = Envelope { sender: None, recipients, wishes: Wishes::default() };
        let start = smtp::Start { envelope, helo: "x".into(), with: "ESMTP", body: smtp::Body::SevenBit, utf8: false, tls: None };
        office.open(start).unwrap();
        for piece in large.chunks(50_000) {
            office.body(piece);
            if office.is_full() {
                office.drain();
            }
        }
        office
    };
    let (mut one, mut two) = (begin(), begin());
    assert!(large_bytes(&disk) <= 1_000_000);
    assert_eq!(two.commit().map(drop), Err(smtp::Refusal::NoRoom));
    assert!(one.commit().is_ok());
    drop((one, two));
    assert!(send(&house, &["alice"], &large).is_ok());
}

#[test]
fn half_messages_share_a_budget_of_memory() {
    use smtp::Office as _;
    let (disk, piece) = (Told::new(), vec![b'x'; 50_000]);
    let text = "(domains: [\"example.test\"], store: \"/store\", limits: (connections: 1000, connections_per_address: 1000))";
    let options = spool::Options { segment: 1 << 20, seed: 1, ..spool::Options::default() };
    let house = House::open_at(config::parse("test", text).unwrap(), Arc::new(disk), mailbox::system_clock(), options).unwrap();
    let begin = || {
        let Seat::Smtp(_, mut office) = seat(&house, Speak::Lmtp) else { panic!() };
        let envelope =
            Envelope { sender: None, recipients: vec![Address::parse("alice@example.test").unwrap().into()], wishes: Wishes::default() };
        let start = smtp::Start { envelope, helo: "x".into(), with: "LMTP", body: smtp::Body::SevenBit, utf8: false, tls: None };
        office.open(start).unwrap();
        for _ in 0..5 {
            office.body(&piece);
            if office.is_full() {
                office.drain();
            }
        }
        office
    };
    let held = || {
        let text = house.metrics().print(&house.levels()).unwrap();
        text.lines().find_map(|line| line.strip_prefix("hikyaku_incoming_memory_bytes ")).unwrap().parse::<usize>().unwrap()
    };
    let mut halves: Vec<_> = (0..200).map(|_| begin()).collect();
    assert!((30 << 20..36 << 20).contains(&held()), "{}", held());
    // Those in memory and those on the disk are as good as ever.
    let (mut first, mut last) = (halves.swap_remove(0), halves.pop().unwrap());
    assert!(first.commit().is_ok() && last.commit().is_ok());
    drop(halves);
    assert_eq!(held(), 0);
}
