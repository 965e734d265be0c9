//! The stage: accounts on a crashing disk, a house, and what a client does with it.

use config::{Listen, Speak, TlsMode};
use hikyaku_tests::disk::Crashing;
use imap::Office as _;
use mail::{Address, Envelope, MailboxName, Recipient, Span, Uid, Wishes};
use smtp::Office as _;
use std::{net::SocketAddr, path::Path, sync::Arc};
use storage::{
    clock::Clock,
    disk::{Disk, How},
    house::{House, OpenError, Restored, Seat},
    mailbox, office, spool,
};
use wire::{Nudge, Ring, Sink, Tick};

/// Whose mail.
pub const USERS: [&str; 3] = ["alice@example.test", "bob@example.test", "dave@example.test"];

/// Where reports on mail for others come: the third sends all of that, and gets nothing else.
pub const SENDER: Place = (2, 0);

/// Every account has these.
pub const MAILBOXES: [&str; 2] = ["INBOX", "Archive"];

/// Where programs of this host leave mail.
const DROP: &str = "/store/drop";

/// What the second is called for a while.
pub const RENAMED: &str = "Attic/Old";

/// Of an account and a mailbox.
pub type Place = (usize, usize);

pub const PLACES: [Place; 4] = [(0, 0), (0, 1), (1, 0), (1, 1)];

/// A message, as its sender wrote it, is known by this number.
pub type Letter = u64;

struct Deaf;
impl Ring for Deaf {
    fn ring(&self, _: Nudge) {}
}

/// The time of the disk, so that names do not depend on the machine.
fn clock(disk: &Crashing) -> mailbox::Clock {
    let disk = disk.clone();
    Arc::new(move || disk.time())
}

/// The same in milliseconds.
pub fn ms(disk: &Crashing) -> u64 {
    u64::try_from(disk.time() / 1_000_000).unwrap()
}

/// A disk with accounts and a configuration.
pub fn disk() -> Crashing {
    let disk = Crashing::new();
    disk.make_dir(Path::new("/store")).unwrap();
    // {SSHA} of "hikyaku" with the salt "salt": cheap, so that the test is about something else.
    let account = |name: &str| format!("(address: \"{name}\", hash: \"{{SSHA}}ev3P3p8pGsxpYfBqdhSjbVQRyidzYWx0\")");
    let file = disk.open(Path::new("/store/accounts.ron"), How::Create).unwrap();
    file.append(format!("(version: 1, accounts: [{}])", USERS.map(account).join(", ")).as_bytes()).unwrap();
    disk.make_dir(Path::new(DROP)).unwrap();
    disk.sync_all(Path::new("/")).unwrap();
    disk
}

/// Leaves a letter as a program of this host does. When this returns, it is promised.
pub fn leave(disk: &Crashing, number: Letter, users: &[usize], text: &[u8]) {
    let recipients = users.iter().map(|user| Address::parse(USERS[*user]).unwrap().into()).collect();
    let envelope = Envelope { sender: Address::parse(USERS[0]), recipients, wishes: Wishes::default() };
    let mut bytes = Vec::new();
    storage::drop::write_envelope(&storage::drop::Letter { uid: 0, envelope, eight_bit: false, verp: false }, &mut bytes).unwrap();
    // Nothing that a submission needs is missing, so nothing is added.
    bytes.extend_from_slice(
        format!("From: alice@example.test\nDate: Thu, 1 Jan 2026 00:00:00 +0000\nMessage-ID: <{number}@x>\n").as_bytes(),
    );
    bytes.extend(text.iter().filter(|byte| **byte != b'\r'));
    let (draft, name) = (Path::new(DROP).join(format!(".new-{number}")), Path::new(DROP).join(format!("{number}")));
    let file = disk.open(&draft, How::Create).unwrap();
    for piece in bytes.chunks(8192) {
        file.append(piece).unwrap();
    }
    file.sync().unwrap();
    disk.rename(&draft, &name).unwrap();
    disk.sync_dir(Path::new(DROP)).unwrap();
}

pub fn open(disk: &Crashing, seed: u64) -> Arc<House> {
    try_open(disk, seed).expect("it opens after any crash")
}

fn config() -> config::Config {
    let text = "(
        domains: [\"example.test\"], store: \"/store\", plaintext_logins: true, relay: (clients: [\"127.0.0.1\"]), queue: (retry: List([1])),
        outgoing: (routes: [(domain: \"far.test\", host: Some(\"[192.0.2.1]\"))]),
    )";
    config::parse("test", text).unwrap()
}

fn clocks(disk: &Crashing) -> Clock {
    let ticks = disk.clone();
    Clock::new(clock(disk), move || ms(&ticks))
}

pub fn try_open(disk: &Crashing, seed: u64) -> Result<Arc<House>, OpenError> {
    let options = spool::Options { segment: 8 << 10, limit: 1 << 30, spares: 2, seed, ..Default::default() };
    House::open_at(config(), Arc::new(disk.clone()), clocks(disk), options)
}

/// Says that it is an older copy, as the command does.
pub fn restored(disk: &Crashing) -> Restored {
    let any: Arc<dyn Disk> = Arc::new(disk.clone());
    House::restored(&config(), &any, &clocks(disk)).unwrap()
}

pub fn seat(house: &Arc<House>, speak: Speak) -> Seat {
    let peer: SocketAddr = "127.0.0.1:9".parse().unwrap();
    let listen = Listen { on: "127.0.0.1:25".parse().unwrap(), speak, tls: TlsMode::Never };
    let guest = house.knock(&listen, peer, Arc::new(Deaf)).expect("there is room");
    house.seat(guest, &listen, None, Tick(0))
}

pub fn proof(user: usize) -> sasl::Proof {
    sasl::Proof::Password { act_as: String::new(), user: USERS[user].into(), password: sasl::Secret::new("hikyaku".into()) }
}

pub fn imap(house: &Arc<House>, user: usize) -> Box<office::Imap> {
    let Seat::Imap(_, mut office) = seat(house, Speak::Imap) else { panic!("asked for IMAP") };
    office.login(proof(user)).expect("the password is right");
    office
}

pub fn name(mailbox: usize) -> MailboxName {
    MailboxName::new(MAILBOXES[mailbox]).unwrap()
}

pub fn feed(office: &mut impl Sink, text: &[u8]) {
    for piece in text.chunks(60_000) {
        office.body(piece);
        if office.is_full() {
            office.drain();
        }
    }
}

/// A whole message; `None` if somebody removed it meanwhile.
pub fn whole(office: &mut office::Imap, uid: Uid) -> Option<Vec<u8>> {
    let need = imap::Need { size: true, ..imap::Need::default() };
    let span: Span = office.describe(vec![uid], need).unwrap().first()?.span;
    let mut text = Vec::new();
    loop {
        let piece = match office.read(uid, span, text.len() as u64, Vec::with_capacity(400_000)) {
            Err(imap::Refusal::Gone) => return None,
            piece => piece.unwrap(),
        };
        text.extend_from_slice(&piece);
        if piece.len() < 400_000 {
            assert_eq!(text.len() as u64, span.wire, "RFC822.SIZE of UID {uid}: {:?}", String::from_utf8_lossy(&text));
            return Some(text);
        }
    }
}

/// The number in a letter's subject.
pub fn letter_of(text: &[u8]) -> Letter {
    let text = String::from_utf8_lossy(text);
    let (_, rest) = text.split_once("Subject: letter ").expect("a letter has its subject");
    rest.split_once("\r\n").and_then(|(n, _)| n.parse().ok()).expect("and a number in it")
}

/// What is in a mailbox.
pub struct Seen {
    pub uid_validity: u32,
    pub uid_next: u32,
    pub mod_seq: u64,
    pub letters: Vec<(u32, Vec<u8>)>,
}

pub fn read(house: &Arc<House>, place: Place) -> Seen {
    try_read(house, place, name(place.1)).expect("the mailbox is there")
}

pub fn try_read(house: &Arc<House>, place: Place, name: MailboxName) -> Option<Seen> {
    let mut office = imap(house, place.0);
    let selected = match office.select(name, true) {
        Err(imap::Refusal::NoMailbox) => return None,
        selected => selected.unwrap(),
    };
    Some(Seen {
        uid_validity: selected.uid_validity.0.get(),
        uid_next: selected.uid_next.get(),
        mod_seq: selected.highest_mod_seq.0,
        letters: selected.uids.iter().filter_map(|uid| Some((uid.get(), whole(&mut office, *uid)?))).collect(),
    })
}

pub fn body(letter: Letter, len: usize) -> Vec<u8> {
    let mut text = format!("Subject: letter {letter}\r\n\r\n").into_bytes();
    while text.len() < len {
        text.extend_from_slice(format!("a line of letter {letter}, {} so far\r\n", text.len()).as_bytes());
    }
    text
}

pub fn send(house: &Arc<House>, users: &[usize], text: &[u8]) -> Result<(), smtp::Refusal> {
    let recipients = users.iter().map(|user| Address::parse(USERS[*user]).unwrap().into()).collect();
    send_to(house, "carol@elsewhere.test", recipients, text)
}

pub fn send_to(house: &Arc<House>, sender: &str, recipients: Vec<Recipient>, text: &[u8]) -> Result<(), smtp::Refusal> {
    let Seat::Smtp(_, mut office) = seat(house, Speak::Smtp) else { panic!("asked for SMTP") };
    for recipient in &recipients {
        office.recipient(recipient.clone())?;
    }
    let start = smtp::Start {
        envelope: Envelope { sender: Address::parse(sender), recipients, wishes: Wishes::default() },
        helo: "elsewhere.test".into(),
        with: "ESMTP",
        body: smtp::Body::SevenBit,
        utf8: false,
        tls: None,
    };
    office.open(start).unwrap();
    feed(&mut *office, text);
    office.commit().map(drop)
}
