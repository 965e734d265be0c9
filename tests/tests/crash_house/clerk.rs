//! A clerk: works with a house as clients do, and keeps the book.

use crate::{
    afar,
    book::{Book, Fate, Shared},
    stage::{Letter, Place, RENAMED, SENDER, USERS, body, feed, imap, leave, letter_of, name, open, proof, read, seat, send, send_to},
};
use config::Speak;
use fastrand::Rng;
use hikyaku_tests::disk::Crashing;
use imap::Office as _;
use mail::{Address, Flags, MailboxName, Recipient, System, Uid};
use pop3::Office as _;
use std::sync::{Arc, MutexGuard};
use storage::house::{House, Seat};

/// Somebody who works with the house and keeps the book.
pub struct Clerk {
    disk: Crashing,
    house: Option<Arc<House>>,
    book: Shared,
    dice: Rng,
    next: Letter,
}

impl Clerk {
    pub fn new(disk: &Crashing, book: &Shared, seed: u64) -> Clerk {
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
    pub fn colleague(&self, number: u64) -> Clerk {
        let dice = Rng::with_seed(self.dice.clone().u64(..) + number);
        Clerk { disk: self.disk.clone(), house: self.house.clone(), book: self.book.clone(), dice, next: number * 1000 }
    }

    pub fn house(&self) -> Arc<House> {
        self.house.clone().expect("it is open")
    }

    pub fn is_open(&self) -> bool {
        self.house.is_some()
    }

    /// Opens the house after it ended without a word.
    pub fn open_again(&mut self) {
        self.book().forgotten();
        self.house = Some(open(&self.disk, self.dice.u64(..)));
    }

    pub fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap()
    }

    /// Looks into a mailbox as a client does; what it sees is promised.
    pub fn look(&self, place: Place) {
        let seen = read(&self.house(), place);
        self.book().note(place, &seen);
    }

    pub fn letter(&mut self) -> (Letter, Vec<u8>) {
        let letter = self.next;
        self.next += 1;
        // Now and then one is too large for the log.
        let len = if self.dice.u8(..64) == 0 { 270_000 } else { self.dice.usize(..3000) };
        let body = body(letter, len);
        self.book().bodies.insert(letter, body.clone());
        (letter, body)
    }

    pub fn deliver(&mut self) {
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

    /// Leaves a letter in the drop folder, as a program does that knows nothing of the house.
    pub fn leave(&mut self) {
        let (letter, text) = self.letter();
        let users: &[usize] = if self.dice.bool() { &[0] } else { &[0, 1] };
        for user in users {
            self.book().set((*user, 0), letter, Fate::Open);
        }
        leave(&self.disk, letter, users, &text);
        self.book().left.extend(users.iter().map(|user| ((*user, 0), letter)));
    }

    pub fn chores(&mut self) {
        self.house().chores();
        self.house().pick_up();
        let mut book = self.book();
        book.taken_in();
        book.committed();
    }

    pub fn checkpoint(&mut self) {
        self.house().checkpoint().unwrap();
        self.book().committed();
    }

    /// Sends a letter to others, and perhaps to one of the house too.
    pub fn send_afar(&mut self) {
        let (letter, text) = self.letter();
        let (mut to, errands): (Vec<Recipient>, Vec<_>) = afar::recipients(letter, &mut self.dice).into_iter().unzip();
        let addresses: Vec<String> = to.iter().map(|recipient| recipient.address.to_string()).collect();
        self.book().errands.extend(addresses.iter().cloned().zip(errands));
        let users: &[usize] = if to.is_empty() || self.dice.u8(..3) == 0 { &[1] } else { &[] };
        for user in users {
            to.push(Address::parse(USERS[*user]).unwrap().into());
            self.book().set((*user, 0), letter, Fate::Open);
        }
        send_to(&self.house(), USERS[SENDER.0], to, &text).unwrap();
        let mut book = self.book();
        users.iter().for_each(|user| book.set((*user, 0), letter, Fate::Kept));
        addresses.iter().for_each(|address| book.errands.get_mut(address).unwrap().promised = true);
        book.committed();
    }

    /// Lets some of it go.
    pub fn travel(&mut self) {
        let (house, book) = (self.house(), self.book.clone());
        if self.dice.u8(..3) == 0 {
            self.disk.set_time(self.disk.time() + 2_000_000_000);
        }
        for _ in 0..self.dice.u8(1..6) {
            let went = afar::travel(&house, &self.disk, &mut |address, act| act(book.lock().unwrap().errands.get_mut(address).unwrap()));
            if !went {
                break;
            }
        }
    }

    pub fn append(&mut self) {
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

    pub fn place(&mut self) -> Place {
        (self.dice.usize(..2), self.dice.usize(..2))
    }

    /// Some messages of a mailbox and whose they are.
    pub fn some(&mut self, place: Place) -> Vec<(Uid, Letter)> {
        self.look(place);
        let seen = read(&self.house(), place).letters;
        let some = seen.iter().filter(|_| self.dice.u8(..3) == 0);
        some.map(|(uid, text)| (Uid::new(*uid).unwrap(), letter_of(text))).collect()
    }

    pub fn copy(&mut self, and_remove: bool) {
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

    pub fn expunge(&mut self) {
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

    pub fn pop(&mut self) {
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

    pub fn open_all(&self, place: Place, some: &[(Uid, Letter)]) {
        some.iter().for_each(|(_, letter)| self.book().set(place, *letter, Fate::Open));
    }

    pub fn unset_all(&self, place: Place, some: &[(Uid, Letter)]) {
        some.iter().for_each(|(_, letter)| self.book().unset(place, *letter));
    }

    pub fn rename(&mut self) {
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
        if self.dice.bool() {
            // Another gets the old name, and goes again; sometimes it changes places with it first.
            self.book().decoys.insert(place);
            office.create(name(1), None).unwrap();
            if self.dice.bool() {
                let third = MailboxName::new("Third").unwrap();
                office.rename(name(1), third.clone()).unwrap();
                office.rename(other.clone(), name(1)).unwrap();
                office.rename(third, other.clone()).unwrap();
                office.delete(other).unwrap();
                self.book().decoys.clear();
                self.book().renaming.clear();
                self.look(place);
                return;
            }
            office.delete(name(1)).unwrap();
            self.book().decoys.clear();
        }
        office.rename(other, name(1)).unwrap();
        self.book().renaming.clear();
        self.look(place);
    }

    /// Removes a mailbox and makes it again.
    pub fn remake(&mut self) {
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

    pub fn reopen(&mut self) {
        let house = self.house.take().expect("it is open");
        if self.dice.bool() {
            house.close();
            self.book().committed();
        } else {
            self.book().forgotten();
        }
        drop(house);
        self.house = Some(open(&self.disk, self.dice.u64(..)));
    }

    /// Removes some of the letters that this clerk brought; others come and go meanwhile.
    pub fn expunge_own(&mut self, own: std::ops::Range<Letter>) {
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
    pub fn append_to_moving(&mut self) {
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

    pub fn rename_moving(&mut self) {
        let mut office = imap(&self.house(), 0);
        let other = MailboxName::new(RENAMED).unwrap();
        office.rename(name(1), other.clone()).unwrap();
        office.rename(other, name(1)).unwrap();
    }

    pub fn step_together(&mut self, own: std::ops::Range<Letter>) {
        match self.dice.u8(..8) {
            0..=2 => self.deliver(),
            3 | 4 => self.append(),
            5 | 6 => self.expunge_own(own),
            _ => self.house().checkpoint().unwrap(),
        }
    }

    pub fn step(&mut self) {
        match self.dice.u8(..36) {
            0..=6 => self.deliver(),
            7..=9 => self.append(),
            10 | 11 => self.copy(false),
            12 | 13 => self.copy(true),
            14 | 15 => self.expunge(),
            16 => self.pop(),
            17 => self.checkpoint(),
            26..=30 => self.send_afar(),
            31..=35 => self.travel(),
            18 | 22 => self.chores(),
            23..=25 => self.leave(),
            19 => self.rename(),
            20 => self.remake(),
            _ => self.reopen(),
        }
        let place = self.place();
        self.look(place);
    }
}
