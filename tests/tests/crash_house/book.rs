//! The book: what was promised to clients, and whether a mailbox keeps it.

use crate::{
    afar::Errand,
    stage::{Letter, Place, Seen, letter_of},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

/// What was promised.
#[derive(Default, Clone)]
pub struct Book {
    /// Letters of each mailbox, by UID as last seen.
    pub there: BTreeMap<Place, BTreeMap<Letter, Fate>>,
    /// What every UID that was ever shown belongs to.
    pub uids: BTreeMap<(Place, u32), Letter>,
    pub uid_validity: BTreeMap<Place, u32>,
    /// UIDNEXT and HIGHESTMODSEQ as last seen.
    pub next: BTreeMap<Place, (u32, u64)>,
    /// The whole of each letter in each mailbox (trace fields differ by recipient).
    pub texts: BTreeMap<(Place, Letter), Vec<u8>>,
    pub bodies: BTreeMap<Letter, Vec<u8>>,
    /// Letters that were left in the drop folder: they must be in these mailboxes when the folder was looked at.
    pub left: BTreeSet<(Place, Letter)>,
    /// Recipients elsewhere, by address.
    pub errands: BTreeMap<String, Errand>,
    /// Letters that are being moved, from where and to where: they must be at one of both places.
    pub moving: Vec<(Letter, Place, Place)>,
    /// Mailboxes that are being renamed, and may have either name.
    pub renaming: BTreeSet<Place>,
    /// Mailboxes of which another has the old name while they are being renamed.
    pub decoys: BTreeSet<Place>,
    /// Mailboxes that are being removed and made again, with the numbering they had, and whether they were removed by now.
    pub making: BTreeMap<Place, (u32, bool)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// Must be there, once.
    Kept,
    /// May be there: it comes or goes just now.
    Open,
}

pub type Shared = Arc<Mutex<Book>>;

impl Book {
    /// Compares a mailbox with what was promised.
    pub fn compare(&self, place: Place, seen: &Seen) {
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

    /// The drop folder was looked at.
    pub fn taken_in(&mut self) {
        for (place, letter) in std::mem::take(&mut self.left) {
            self.set(place, letter, Fate::Kept);
        }
    }

    /// Takes over what a client sees.
    pub fn note(&mut self, place: Place, seen: &Seen) {
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

    pub fn set(&mut self, place: Place, letter: Letter, fate: Fate) {
        self.there.entry(place).or_default().insert(letter, fate);
    }

    pub fn unset(&mut self, place: Place, letter: Letter) {
        self.there.entry(place).or_default().remove(&letter);
    }
}
