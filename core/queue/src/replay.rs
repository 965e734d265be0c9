//! What a replay of the log makes of its records: which messages must be where, which must not, and which numbers may have been used.
//!
//! Feed it every live record in order, then do what it says; all of it can be done twice without harm. It keeps names only: the content
//! is read from the log again when it is needed.

use crate::record::{Accept, Gone, Record};
use alloc::{borrow::ToOwned, boxed::Box, collections::BTreeMap, format};

/// A mailbox of an account.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Whose.
    pub account: Box<str>,
    /// Its name, levels joined by `/`.
    pub mailbox: Box<str>,
}

/// A message that must be in a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Where its record is in the log.
    pub at: u64,
    /// Which target of the record it is.
    pub target: usize,
}

/// Numbers that may have been used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reserved {
    /// The numbering.
    pub uid_validity: u32,
    /// UIDs up to and including this one.
    pub uid_upto: u32,
    /// Change numbers up to and including this one.
    pub mod_seq_upto: u64,
}

/// The sum of all records so far.
#[derive(Debug, Default)]
pub struct Replay {
    mailboxes: BTreeMap<Place, Mailbox>,
    renamed: alloc::vec::Vec<(Box<str>, Box<str>, Box<str>)>,
    removed: alloc::vec::Vec<Place>,
}

/// One mailbox.
#[derive(Debug, Default)]
struct Mailbox {
    /// By name; `None` if the message is gone.
    messages: BTreeMap<Box<[u8]>, Option<Wanted>>,
    reserved: Option<Reserved>,
}

impl Replay {
    /// Nothing yet.
    pub const fn new() -> Replay {
        Replay { mailboxes: BTreeMap::new(), renamed: alloc::vec::Vec::new(), removed: alloc::vec::Vec::new() }
    }

    /// Adds the record at place `at` of the log. Records of unknown kinds change nothing; whether to go on after one is for the caller to say.
    pub fn add(&mut self, at: u64, record: &Record<'_>) {
        match record {
            Record::Accept(accept) => self.accept(at, accept),
            Record::Gone(gone) => self.gone(gone),
            Record::Renamed { account, from, to } => self.rename(account, from, to),
            Record::Removed { account, mailbox } => {
                let place = Place { account: (*account).into(), mailbox: (*mailbox).into() };
                self.mailboxes.remove(&place);
                self.removed.push(place);
            }
            // What leaves is in no mailbox: see `Queue::replay`.
            Record::Tried(_) | Record::Changed(_) | Record::Warned(_) | Record::Taken { .. } | Record::Unknown { .. } => {}
        }
    }

    /// Mailboxes that were renamed: account, old name, new name, in order. Do this first, where it has not been done.
    pub fn renamed(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.renamed.iter().map(|(account, from, to)| (&**account, &**from, &**to))
    }

    /// Mailboxes that were removed and to which nothing was delivered since, in order.
    pub fn removed(&self) -> impl Iterator<Item = &Place> {
        self.removed.iter().filter(|place| !self.mailboxes.contains_key(place))
    }

    /// Mailboxes with records.
    pub fn places(&self) -> impl Iterator<Item = &Place> {
        self.mailboxes.keys()
    }

    /// Messages that must be in this mailbox, by Maildir name without flags. If the file is there its content must still be compared: a
    /// file whose name survived a crash may have lost its bytes.
    pub fn wanted(&self, place: &Place) -> impl Iterator<Item = (&[u8], Wanted)> {
        self.messages(place).filter_map(|(base, wanted)| Some((base, wanted?)))
    }

    /// Messages that must not be in this mailbox, by Maildir name without flags: somebody was told that they are gone, and a crash may have
    /// brought their files back.
    pub fn unwanted(&self, place: &Place) -> impl Iterator<Item = &[u8]> {
        self.messages(place).filter(|(_, wanted)| wanted.is_none()).map(|(base, _)| base)
    }

    /// Numbers of this mailbox that may have been used.
    pub fn reserved(&self, place: &Place) -> Option<Reserved> {
        self.mailboxes.get(place)?.reserved
    }

    fn messages(&self, place: &Place) -> impl Iterator<Item = (&[u8], Option<Wanted>)> {
        self.mailboxes.get(place).into_iter().flat_map(|m| m.messages.iter()).map(|(base, wanted)| (&**base, *wanted))
    }

    fn accept(&mut self, at: u64, accept: &Accept<'_>) {
        for (target, t) in accept.targets.iter().enumerate() {
            let mailbox = self.mailbox(t.account, t.mailbox);
            mailbox.messages.insert(t.base.as_bytes().into(), Some(Wanted { at, target }));
            let mut reserved = Reserved { uid_validity: t.uid_validity, uid_upto: t.uid_upto, mod_seq_upto: t.mod_seq_upto };
            // Targets of one mailbox may be committed in another order than their numbers were taken.
            if let Some(before) = mailbox.reserved.filter(|r| r.uid_validity == t.uid_validity) {
                reserved.uid_upto = reserved.uid_upto.max(before.uid_upto);
                reserved.mod_seq_upto = reserved.mod_seq_upto.max(before.mod_seq_upto);
            }
            mailbox.reserved = Some(reserved);
        }
    }

    fn gone(&mut self, gone: &Gone<'_>) {
        let mailbox = self.mailbox(gone.account, gone.mailbox);
        for base in gone.bases.iter() {
            mailbox.messages.insert(base.into(), None);
        }
    }

    fn rename(&mut self, account: &str, from: &str, to: &str) {
        let moved = |name: &str| match name.strip_prefix(from) {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => Some(format!("{to}{rest}").into_boxed_str()),
            _ => None,
        };
        let old: alloc::vec::Vec<Place> =
            self.mailboxes.keys().filter(|p| *p.account == *account && moved(&p.mailbox).is_some()).cloned().collect();
        for place in old {
            let (Some(mailbox), Some(name)) = (self.mailboxes.remove(&place), moved(&place.mailbox)) else { continue };
            self.mailboxes.insert(Place { account: place.account, mailbox: name }, mailbox);
        }
        self.renamed.push((account.to_owned().into(), from.into(), to.into()));
    }

    fn mailbox(&mut self, account: &str, mailbox: &str) -> &mut Mailbox {
        self.mailboxes.entry(Place { account: account.into(), mailbox: mailbox.into() }).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Bases, Keywords, Target, Targets};
    use alloc::vec::Vec;
    use mail::{Stamp, System};

    fn accept(replay: &mut Replay, at: u64, mailbox: &str, base: &str, uid_upto: u32) {
        let target = Target {
            account: "alice",
            mailbox,
            base,
            recipient: "",
            system: System(0),
            keywords: Keywords::NONE,
            date: Stamp::utc(0),
            uid_validity: 1,
            uid_upto,
            mod_seq_upto: u64::from(uid_upto),
        };
        let targets = [target];
        let accept = Accept { id: at, stamp: Stamp::utc(0), targets: Targets::new(&targets), ..Accept::default() };
        replay.add(at, &Record::Accept(accept));
    }

    fn place(mailbox: &str) -> Place {
        Place { account: "alice".into(), mailbox: mailbox.into() }
    }

    #[test]
    fn what_is_gone_stays_gone() {
        let mut replay = Replay::new();
        accept(&mut replay, 1, "INBOX", "a", 12);
        accept(&mut replay, 2, "INBOX", "b", 11);
        replay.add(3, &Record::Gone(Gone { account: "alice", mailbox: "INBOX", bases: Bases::new(&[b"a", b"old"]) }));
        let inbox = place("INBOX");
        assert_eq!(replay.wanted(&inbox).collect::<Vec<_>>(), [(&b"b"[..], Wanted { at: 2, target: 0 })]);
        assert_eq!(replay.unwanted(&inbox).collect::<Vec<_>>(), [&b"a"[..], b"old"]);
        assert_eq!(replay.reserved(&inbox), Some(Reserved { uid_validity: 1, uid_upto: 12, mod_seq_upto: 12 }));
    }

    #[test]
    fn messages_follow_their_mailbox() {
        let mut replay = Replay::new();
        accept(&mut replay, 1, "a", "1", 1);
        accept(&mut replay, 2, "a/b", "2", 1);
        accept(&mut replay, 3, "ab", "3", 1);
        replay.add(4, &Record::Renamed { account: "alice", from: "a", to: "c" });
        replay.add(5, &Record::Removed { account: "alice", mailbox: "ab" });
        assert_eq!(replay.places().map(|p| &*p.mailbox).collect::<Vec<_>>(), ["c", "c/b"]);
        assert_eq!(replay.removed().collect::<Vec<_>>(), [&place("ab")]);
        accept(&mut replay, 6, "ab", "4", 1);
        assert_eq!(replay.removed().count(), 0);
        assert_eq!(replay.wanted(&place("ab")).collect::<Vec<_>>(), [(&b"4"[..], Wanted { at: 6, target: 0 })]);
    }
}
