//! The whole house keeps its promise at every crash.
//!
//! One thread delivers by SMTP, appends, copies, moves, expunges, removes by POP3, takes checkpoints and restarts, all through the offices, on a
//! disk that is looked at before every operation: of each moment some disks that a crash could leave are opened as a house, and every mailbox is
//! read and held against what had been promised by then.

use config::{Listen, Speak, TlsMode};
use fastrand::Rng;
use hikyaku_tests::disk::{Crashing, World};
use imap::Office as _;
use mail::{Address, Envelope, Flags, MailboxName, Span, System, Uid};
use pop3::Office as _;
use smtp::Office as _;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
};
use storage::{
    disk::{Disk, How},
    house::{House, OpenError, Seat},
    mailbox::Clock,
    office, spool,
};
use wire::{Nudge, Ring, Sink, Tick};

/// Houses opened after a crash, over all tests of this file.
static CRASHES: AtomicUsize = AtomicUsize::new(0);

/// Whose mail.
const USERS: [&str; 2] = ["alice@example.test", "bob@example.test"];

/// Every account has these.
const MAILBOXES: [&str; 2] = ["INBOX", "Archive"];

/// What the second is called for a while.
const RENAMED: &str = "Attic/Old";

/// Of an account and a mailbox.
type Place = (usize, usize);

const PLACES: [Place; 4] = [(0, 0), (0, 1), (1, 0), (1, 1)];

/// A message, as its sender wrote it, is known by this number.
type Letter = u64;

/// What was promised.
#[derive(Default, Clone)]
struct Book {
    /// Letters of each mailbox, by UID as last seen.
    there: BTreeMap<Place, BTreeMap<Letter, Fate>>,
    /// What every UID that was ever shown belongs to.
    uids: BTreeMap<(Place, u32), Letter>,
    uid_validity: BTreeMap<Place, u32>,
    /// UIDNEXT and HIGHESTMODSEQ as last seen.
    next: BTreeMap<Place, (u32, u64)>,
    /// The whole of each letter in each mailbox (trace fields differ by recipient).
    texts: BTreeMap<(Place, Letter), Vec<u8>>,
    bodies: BTreeMap<Letter, Vec<u8>>,
    /// Letters that are being moved, from where and to where: they must be at one of both places.
    moving: Vec<(Letter, Place, Place)>,
    /// Mailboxes that are being renamed, and may have either name.
    renaming: BTreeSet<Place>,
    /// Mailboxes that are being removed and made again, with the numbering they had, and whether they were removed by now.
    making: BTreeMap<Place, (u32, bool)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    /// Must be there, once.
    Kept,
    /// May be there: it comes or goes just now.
    Open,
}

type Shared = Arc<Mutex<Book>>;

struct Deaf;
impl Ring for Deaf {
    fn ring(&self, _: Nudge) {}
}

/// The time of the disk, so that names do not depend on the machine.
fn clock(disk: &Crashing) -> Clock {
    let disk = disk.clone();
    Arc::new(move || disk.time())
}

/// A disk with accounts and a configuration.
fn disk() -> Crashing {
    let disk = Crashing::new();
    disk.make_dir(Path::new("/store")).unwrap();
    // {SSHA} of "hikyaku" with the salt "salt": cheap, so that the test is about something else.
    let account = |name: &str| format!("(address: \"{name}\", hash: \"{{SSHA}}ev3P3p8pGsxpYfBqdhSjbVQRyidzYWx0\")");
    let file = disk.open(Path::new("/store/accounts.ron"), How::Create).unwrap();
    file.append(format!("(version: 1, accounts: [{}, {}])", account(USERS[0]), account(USERS[1])).as_bytes()).unwrap();
    disk.sync_all(Path::new("/")).unwrap();
    disk
}

fn open(disk: &Crashing, seed: u64) -> Arc<House> {
    try_open(disk, seed).expect("it opens after any crash")
}

fn try_open(disk: &Crashing, seed: u64) -> Result<Arc<House>, OpenError> {
    let text = "(domains: [\"example.test\"], store: \"/store\", plaintext_logins: true)";
    let options = spool::Options { segment: 8 << 10, limit: 1 << 30, spares: 2, seed };
    House::open_at(config::parse("test", text).unwrap(), Arc::new(disk.clone()), clock(disk), options)
}

fn seat(house: &Arc<House>, speak: Speak) -> Seat {
    let peer: SocketAddr = "127.0.0.1:9".parse().unwrap();
    let listen = Listen { on: "127.0.0.1:25".parse().unwrap(), speak, tls: TlsMode::Never };
    let guest = house.knock(&listen, peer, Arc::new(Deaf)).expect("there is room");
    house.seat(guest, &listen, None, Tick(0))
}

fn proof(user: usize) -> sasl::Proof {
    sasl::Proof::Password { act_as: String::new(), user: USERS[user].into(), password: sasl::Secret::new("hikyaku".into()) }
}

fn imap(house: &Arc<House>, user: usize) -> Box<office::Imap> {
    let Seat::Imap(_, mut office) = seat(house, Speak::Imap) else { panic!("asked for IMAP") };
    office.login(proof(user)).expect("the password is right");
    office
}

fn name(mailbox: usize) -> MailboxName {
    MailboxName::new(MAILBOXES[mailbox]).unwrap()
}

fn feed(office: &mut impl Sink, text: &[u8]) {
    for piece in text.chunks(60_000) {
        office.body(piece);
        if office.is_full() {
            office.drain();
        }
    }
}

/// A whole message; `None` if somebody removed it meanwhile.
fn whole(office: &mut office::Imap, uid: Uid) -> Option<Vec<u8>> {
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
fn letter_of(text: &[u8]) -> Letter {
    let text = String::from_utf8_lossy(text);
    let (_, rest) = text.split_once("Subject: letter ").expect("a letter has its subject");
    rest.split_once("\r\n").and_then(|(n, _)| n.parse().ok()).expect("and a number in it")
}

/// What is in a mailbox.
struct Seen {
    uid_validity: u32,
    uid_next: u32,
    mod_seq: u64,
    letters: Vec<(u32, Vec<u8>)>,
}

fn read(house: &Arc<House>, place: Place) -> Seen {
    try_read(house, place, name(place.1)).expect("the mailbox is there")
}

fn try_read(house: &Arc<House>, place: Place, name: MailboxName) -> Option<Seen> {
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

impl Book {
    /// Compares a mailbox with what was promised.
    fn compare(&self, place: Place, seen: &Seen) {
        if let Some((before, true)) = self.making.get(&place) {
            assert!(seen.uid_validity > *before, "UIDVALIDITY of {place:?} is used again");
            assert!(seen.letters.is_empty(), "what was removed is in the new mailbox");
            return;
        }
        if let Some(validity) = self.uid_validity.get(&place) {
            assert_eq!(seen.uid_validity, *validity, "UIDVALIDITY of {place:?} changed");
        }
        let (uid_next, mod_seq) = self.next.get(&place).copied().unwrap_or_default();
        assert!(seen.uid_next >= uid_next, "UIDNEXT of {place:?} went back from {uid_next} to {}", seen.uid_next);
        assert!(seen.mod_seq >= mod_seq, "HIGHESTMODSEQ of {place:?} went back from {mod_seq} to {}", seen.mod_seq);
        let mut found = BTreeSet::new();
        let none = BTreeMap::new();
        let there = self.there.get(&place).unwrap_or(&none);
        for (uid, text) in &seen.letters {
            let letter = letter_of(text);
            assert!(found.insert(letter), "letter {letter} is in {place:?} twice");
            assert!(there.contains_key(&letter), "letter {letter} is in {place:?}, where it must not be");
            assert!(text.ends_with(&self.bodies[&letter]), "letter {letter} in {place:?} is garbled");
            if let Some(before) = self.texts.get(&(place, letter)) {
                assert!(before == text, "letter {letter} in {place:?} has changed");
            }
            let owner = self.uids.get(&(place, *uid)).copied().unwrap_or(letter);
            assert_eq!(owner, letter, "UID {uid} of {place:?} means another letter now");
            assert!(*uid < seen.uid_next);
        }
        for (letter, _) in there.iter().filter(|(_, fate)| **fate == Fate::Kept) {
            assert!(found.contains(letter), "letter {letter} is lost from {place:?}");
        }
    }

    /// Takes over what a client sees.
    fn note(&mut self, place: Place, seen: &Seen) {
        self.compare(place, seen);
        // The numbering of an inbox that never had a message is nobody's promise.
        if place.1 > 0 || !seen.letters.is_empty() {
            self.uid_validity.insert(place, seen.uid_validity);
        }
        if self.uid_validity.contains_key(&place) {
            self.next.insert(place, (seen.uid_next, seen.mod_seq));
        }
        let there = self.there.entry(place).or_default();
        there.clear();
        for (uid, text) in &seen.letters {
            let letter = letter_of(text);
            there.insert(letter, Fate::Kept);
            self.uids.insert((place, *uid), letter);
            self.texts.insert((place, letter), text.clone());
        }
    }

    fn set(&mut self, place: Place, letter: Letter, fate: Fate) {
        self.there.entry(place).or_default().insert(letter, fate);
    }

    fn unset(&mut self, place: Place, letter: Letter) {
        self.there.entry(place).or_default().remove(&letter);
    }
}

/// Opens what a crash left and compares.
fn check(disk: &Crashing, book: &Book) -> Arc<House> {
    CRASHES.fetch_add(1, Ordering::Relaxed);
    let house = open(disk, 99);
    let mut found = BTreeSet::new();
    for place in PLACES {
        let mut seen = try_read(&house, place, name(place.1));
        if book.renaming.contains(&place) {
            let other = try_read(&house, place, MailboxName::new(RENAMED).unwrap());
            assert!(seen.is_none() || other.is_none(), "{place:?} is there under both names");
            seen = seen.or(other);
        }
        let Some(seen) = seen else {
            assert!(book.making.contains_key(&place), "{place:?} is lost");
            continue;
        };
        book.compare(place, &seen);
        found.extend(seen.letters.iter().map(|(_, text)| (letter_of(text), place)));
    }
    for (letter, from, to) in &book.moving {
        assert!(found.contains(&(*letter, *from)) || found.contains(&(*letter, *to)), "letter {letter} was lost on its way");
    }
    house
}

/// Looks at moments of what happens on `disk`: at one of `every` operations.
fn look(disk: &Crashing, book: &Shared, seed: u64, every: u8) {
    let book = book.clone();
    let mut dice = Rng::with_seed(seed);
    disk.watch(move |world: &World| {
        if dice.u8(..every) > 0 {
            return;
        }
        let book = book.lock().unwrap();
        let after = world.crash(&mut dice);
        match dice.u8(..8) {
            0 => twice(&world.kill(), &book, &mut dice),
            1 => twice(&after, &book, &mut dice),
            _ => drop(check(&after, &book)),
        }
    });
}

/// A crash, and a second one in the middle of the recovery or after it.
fn twice(disk: &Crashing, book: &Book, dice: &mut Rng) {
    let half = disk.kill();
    half.stop(half.ops() + dice.u64(..60));
    drop(try_open(&half, 98));
    check(&half.crash(dice), book);

    let again = disk.kill();
    let house = check(&again, book);
    // What clients see now is promised from now on.
    let mut book = book.clone();
    for place in PLACES {
        if book.making.contains_key(&place) || book.renaming.contains(&place) {
            continue;
        }
        let seen = read(&house, place);
        book.note(place, &seen);
    }
    book.moving.clear();
    if dice.bool() {
        let (place, letter) = ((0, 0), 1_000_000);
        book.bodies.insert(letter, body(letter, 10));
        send(&house, &[0], &book.bodies[&letter]).unwrap();
        book.set(place, letter, Fate::Kept);
        let seen = read(&house, place);
        book.note(place, &seen);
    }
    drop(house);
    check(&again.crash(dice), &book);
}

fn body(letter: Letter, len: usize) -> Vec<u8> {
    let mut text = format!("Subject: letter {letter}\r\n\r\n").into_bytes();
    while text.len() < len {
        text.extend_from_slice(format!("a line of letter {letter}, {} so far\r\n", text.len()).as_bytes());
    }
    text
}

fn send(house: &Arc<House>, users: &[usize], text: &[u8]) -> Result<(), smtp::Refusal> {
    let Seat::Smtp(_, mut office) = seat(house, Speak::Smtp) else { panic!("asked for SMTP") };
    let recipients = users.iter().map(|user| Address::parse(USERS[*user]).unwrap()).collect();
    let start = smtp::Start {
        envelope: Envelope { sender: Address::parse("carol@elsewhere.test"), recipients },
        helo: "elsewhere.test".into(),
        with: "ESMTP",
        body: smtp::Body::SevenBit,
        utf8: false,
    };
    office.open(start).unwrap();
    feed(&mut *office, text);
    office.commit().map(drop)
}

/// Somebody who works with the house and keeps the book.
struct Clerk {
    disk: Crashing,
    house: Option<Arc<House>>,
    book: Shared,
    dice: Rng,
    next: Letter,
}

impl Clerk {
    fn new(disk: &Crashing, book: &Shared, seed: u64) -> Clerk {
        let house = Some(open(disk, seed));
        let clerk = Clerk { disk: disk.clone(), house, book: book.clone(), dice: Rng::with_seed(seed), next: 1 };
        for user in 0..2 {
            imap(&clerk.house(), user).create(name(1), None).unwrap();
            clerk.look((user, 0));
            clerk.look((user, 1));
        }
        clerk
    }

    /// Somebody who works in the same house at the same time.
    fn colleague(&self, number: u64) -> Clerk {
        let dice = Rng::with_seed(self.dice.clone().u64(..) + number);
        Clerk { disk: self.disk.clone(), house: self.house.clone(), book: self.book.clone(), dice, next: number * 1000 }
    }

    fn house(&self) -> Arc<House> {
        self.house.clone().expect("it is open")
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap()
    }

    /// Looks into a mailbox as a client does; what it sees is promised.
    fn look(&self, place: Place) {
        let seen = read(&self.house(), place);
        self.book().note(place, &seen);
    }

    fn letter(&mut self) -> (Letter, Vec<u8>) {
        let letter = self.next;
        self.next += 1;
        // Now and then one is too large for the log.
        let len = if self.dice.u8(..64) == 0 { 270_000 } else { self.dice.usize(..3000) };
        let body = body(letter, len);
        self.book().bodies.insert(letter, body.clone());
        (letter, body)
    }

    fn deliver(&mut self) {
        let (letter, text) = self.letter();
        let users: &[usize] = match self.dice.u8(..3) {
            0 => &[0],
            1 => &[1],
            _ => &[0, 1],
        };
        for user in users {
            self.book().set((*user, 0), letter, Fate::Open);
        }
        send(&self.house(), users, &text).unwrap();
        for user in users {
            self.book().set((*user, 0), letter, Fate::Kept);
        }
    }

    fn append(&mut self) {
        let (letter, text) = self.letter();
        let place = self.place();
        let flags = if self.dice.bool() { Flags::system(System::SEEN) } else { Flags::default() };
        let mut office = imap(&self.house(), place.0);
        office.append(imap::Upload { mailbox: name(place.1), flags, date: None, size: text.len() as u64 }).unwrap();
        feed(&mut *office, &text);
        self.book().set(place, letter, Fate::Open);
        let (_, uid) = office.commit().unwrap();
        let mut book = self.book();
        book.set(place, letter, Fate::Kept);
        book.uids.insert((place, uid.get()), letter);
    }

    fn place(&mut self) -> Place {
        (self.dice.usize(..2), self.dice.usize(..2))
    }

    /// Some messages of a mailbox and whose they are.
    fn some(&mut self, place: Place) -> Vec<(Uid, Letter)> {
        self.look(place);
        let seen = read(&self.house(), place).letters;
        let some = seen.iter().filter(|_| self.dice.u8(..3) == 0);
        some.map(|(uid, text)| (Uid::new(*uid).unwrap(), letter_of(text))).collect()
    }

    fn copy(&mut self, and_remove: bool) {
        let from = self.place();
        let to = (from.0, 1 - from.1);
        let mut some = self.some(from);
        // A second copy of the same letter could not be told from a doubled one.
        some.retain(|(_, letter)| !self.book().there.get(&to).is_some_and(|t| t.contains_key(letter)));
        if some.is_empty() {
            return;
        }
        let mut office = imap(&self.house(), from.0);
        office.select(name(from.1), false).unwrap();
        for (_, letter) in &some {
            self.book().set(to, *letter, Fate::Open);
            // Until it is answered, the letter may be at either place.
            if and_remove {
                self.book().set(from, *letter, Fate::Open);
                self.book().moving.push((*letter, from, to));
            }
        }
        let uids: Vec<Uid> = some.iter().map(|(uid, _)| *uid).collect();
        let copied = if and_remove { office.move_to(uids, name(to.1)) } else { office.copy(uids, name(to.1)) }.unwrap();
        let mut book = self.book();
        book.moving.clear();
        for ((_, letter), (_, uid)) in some.iter().zip(&copied.uids) {
            book.set(to, *letter, Fate::Kept);
            book.uids.insert((to, uid.get()), *letter);
            if and_remove {
                book.unset(from, *letter);
            }
        }
    }

    fn expunge(&mut self) {
        let place = self.place();
        let some = self.some(place);
        let uids: Vec<Uid> = some.iter().map(|(uid, _)| *uid).collect();
        let mut office = imap(&self.house(), place.0);
        office.select(name(place.1), false).unwrap();
        office.store(uids.clone(), imap::Change::Add, Flags::system(System::DELETED)).unwrap();
        self.open_all(place, &some);
        assert_eq!(office.expunge(Some(uids.clone())).unwrap(), uids);
        self.unset_all(place, &some);
    }

    fn pop(&mut self) {
        let place = (self.dice.usize(..2), 0);
        let Seat::Pop3(_, mut office) = seat(&self.house(), Speak::Pop3) else { panic!("asked for POP3") };
        office.login(proof(place.0)).unwrap();
        let entries = office.open().unwrap();
        let mut some = Vec::new();
        let mut indexes = Vec::new();
        for index in 0..entries.len() as u32 {
            if self.dice.u8(..3) == 0 {
                let text = office.read(index, 0, Vec::with_capacity(400_000)).unwrap();
                some.push((Uid::MIN, letter_of(&text)));
                indexes.push(index);
            }
        }
        self.open_all(place, &some);
        office.remove(indexes).unwrap();
        self.unset_all(place, &some);
    }

    fn open_all(&self, place: Place, some: &[(Uid, Letter)]) {
        some.iter().for_each(|(_, letter)| self.book().set(place, *letter, Fate::Open));
    }

    fn unset_all(&self, place: Place, some: &[(Uid, Letter)]) {
        some.iter().for_each(|(_, letter)| self.book().unset(place, *letter));
    }

    fn rename(&mut self) {
        let place = (self.dice.usize(..2), 1);
        self.look(place);
        self.book().renaming.insert(place);
        let mut office = imap(&self.house(), place.0);
        let other = MailboxName::new(RENAMED).unwrap();
        office.rename(name(1), other.clone()).unwrap();
        if self.dice.bool() {
            drop(office);
            self.reopen();
            office = imap(&self.house(), place.0);
        }
        office.rename(other, name(1)).unwrap();
        self.book().renaming.clear();
        self.look(place);
    }

    /// Removes a mailbox and makes it again.
    fn remake(&mut self) {
        let place = (self.dice.usize(..2), 1);
        self.look(place);
        {
            let mut book = self.book();
            let before = book.uid_validity[&place];
            book.making.insert(place, (before, false));
            book.there.entry(place).or_default().values_mut().for_each(|fate| *fate = Fate::Open);
        }
        let mut office = imap(&self.house(), place.0);
        office.delete(name(1)).unwrap();
        {
            let mut book = self.book();
            book.there.remove(&place);
            if let Some((_, removed)) = book.making.get_mut(&place) {
                *removed = true;
            }
        }
        office.create(name(1), None).unwrap();
        let seen = read(&self.house(), place);
        let mut book = self.book();
        book.compare(place, &seen);
        book.making.clear();
        book.uid_validity.remove(&place);
        book.next.remove(&place);
        book.uids.retain(|(of, _), _| *of != place);
        book.texts.retain(|(of, _), _| *of != place);
        book.note(place, &seen);
    }

    fn reopen(&mut self) {
        let house = self.house.take().expect("it is open");
        if self.dice.bool() {
            house.close();
        }
        drop(house);
        self.house = Some(open(&self.disk, self.dice.u64(..)));
    }

    /// Removes some of the letters that this clerk brought; others come and go meanwhile.
    fn expunge_own(&mut self, own: std::ops::Range<Letter>) {
        let place = self.place();
        let mut some = Vec::new();
        for (uid, text) in read(&self.house(), place).letters {
            if own.contains(&letter_of(&text)) && self.dice.bool() {
                some.push((Uid::new(uid).unwrap(), letter_of(&text)));
            }
        }
        let uids: Vec<Uid> = some.iter().map(|(uid, _)| *uid).collect();
        let mut office = imap(&self.house(), place.0);
        office.select(name(place.1), false).unwrap();
        office.store(uids.clone(), imap::Change::Add, Flags::system(System::DELETED)).unwrap();
        self.open_all(place, &some);
        assert_eq!(office.expunge(Some(uids.clone())).unwrap(), uids);
        self.unset_all(place, &some);
    }

    /// Appends to a mailbox that others rename meanwhile.
    fn append_to_moving(&mut self) {
        let (letter, text) = self.letter();
        let place = (0, 1);
        let named = if self.dice.bool() { name(1) } else { MailboxName::new(RENAMED).unwrap() };
        let mut office = imap(&self.house(), place.0);
        let upload = imap::Upload { mailbox: named, flags: Flags::default(), date: None, size: text.len() as u64 };
        if office.append(upload).is_err() {
            return;
        }
        feed(&mut *office, &text);
        self.book().set(place, letter, Fate::Open);
        match office.commit() {
            Ok(_) => self.book().set(place, letter, Fate::Kept),
            Err(_) => self.book().unset(place, letter),
        }
    }

    fn rename_moving(&mut self) {
        let mut office = imap(&self.house(), 0);
        let other = MailboxName::new(RENAMED).unwrap();
        office.rename(name(1), other.clone()).unwrap();
        office.rename(other, name(1)).unwrap();
    }

    fn step_together(&mut self, own: std::ops::Range<Letter>) {
        match self.dice.u8(..8) {
            0..=2 => self.deliver(),
            3 | 4 => self.append(),
            5 | 6 => self.expunge_own(own),
            _ => self.house().checkpoint().unwrap(),
        }
    }

    fn step(&mut self) {
        match self.dice.u8(..22) {
            0..=6 => self.deliver(),
            7..=9 => self.append(),
            10 | 11 => self.copy(false),
            12 | 13 => self.copy(true),
            14 | 15 => self.expunge(),
            16 => self.pop(),
            17 => self.house().checkpoint().unwrap(),
            18 => self.house().chores(),
            19 => self.rename(),
            20 => self.remake(),
            _ => self.reopen(),
        }
        let place = self.place();
        self.look(place);
    }
}

/// How many seeds are tried; `HIKYAKU_CRASH_SEEDS` says more, or from where to where (`100..200`).
fn seeds() -> std::ops::Range<u64> {
    let told = std::env::var("HIKYAKU_CRASH_SEEDS").unwrap_or_default();
    let (from, to) = told.split_once("..").unwrap_or(("0", &told));
    from.parse().unwrap_or(0)..to.parse().unwrap_or(6)
}

#[test]
fn the_promise_holds_at_every_crash() {
    for seed in seeds() {
        println!("seed {seed}");
        let (disk, book) = (disk(), Shared::default());
        let mut clerk = Clerk::new(&disk, &book, seed);
        look(&disk, &book, seed, 1);
        for _ in 0..40 {
            clerk.step();
        }
        disk.unwatch();
        println!("{} operations, {} crashes so far", disk.ops(), CRASHES.load(Ordering::Relaxed));
    }
}

#[test]
fn the_promise_holds_for_many_at_once() {
    for seed in seeds() {
        let (disk, book) = (disk(), Shared::default());
        let clerk = Clerk::new(&disk, &book, seed);
        look(&disk, &book, seed, 2);
        std::thread::scope(|scope| {
            for number in 1..4 {
                let mut colleague = clerk.colleague(number);
                scope.spawn(move || {
                    for _ in 0..10 {
                        colleague.step_together(number * 1000..(number + 1) * 1000);
                    }
                });
            }
        });
        disk.unwatch();
        check(&disk.crash(&mut Rng::with_seed(seed)), &book.lock().unwrap());
    }
    println!("{} crashes so far", CRASHES.load(Ordering::Relaxed));
}

#[test]
fn what_is_appended_to_a_mailbox_that_moves_is_there_once() {
    for seed in seeds() {
        let (disk, book) = (disk(), Shared::default());
        let clerk = Clerk::new(&disk, &book, seed);
        book.lock().unwrap().renaming.insert((0, 1));
        look(&disk, &book, seed, 2);
        std::thread::scope(|scope| {
            for number in 1..4 {
                let mut colleague = clerk.colleague(number);
                scope.spawn(move || {
                    for _ in 0..6 {
                        if number == 1 { colleague.rename_moving() } else { colleague.append_to_moving() }
                    }
                });
            }
        });
        disk.unwatch();
        check(&disk.crash(&mut Rng::with_seed(seed)), &book.lock().unwrap());
    }
    println!("{} crashes so far", CRASHES.load(Ordering::Relaxed));
}
