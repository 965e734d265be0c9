//! What a replay of the log makes of its records: which messages must be where, which must not, and which numbers may have been used.
//!
//! Feed it every live record in order, then do what it says; all of it can be done twice without harm. It keeps names only: the content
//! is read from the log again when it is needed.

use crate::record::{Accept, Doing, Gone, Record, Reserved};
use alloc::{boxed::Box, collections::BTreeMap, format, vec::Vec};
use mail::MailboxName;

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

/// A change of names that is in the log and may not have been done, or not for good.
#[derive(Debug)]
pub struct Unnamed {
    /// Where its record is in the log.
    pub at: u64,
    /// Whose.
    pub account: Box<str>,
    /// What.
    pub change: Naming,
    /// Of a mailbox that is removed: what is known of it, should it turn out that it was not.
    kept: Option<Mailbox>,
}

/// A change of names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Naming {
    /// A mailbox gets another name, and so do those below it.
    Rename {
        /// The name it had.
        from: MailboxName,
        /// The name it gets.
        to: MailboxName,
    },
    /// A mailbox is removed, but not those below it.
    Remove {
        /// Its name.
        mailbox: MailboxName,
    },
}

impl Naming {
    /// Its record.
    pub fn record<'a>(&'a self, account: &'a str, doing: Doing) -> Record<'a> {
        match self {
            Naming::Rename { from, to } => Record::Renamed { account, from: from.as_str(), to: to.as_str(), doing },
            Naming::Remove { mailbox } => Record::Removed { account, mailbox: mailbox.as_str(), doing },
        }
    }

    /// What a mailbox of this account that was called `name` is called afterwards; `None` if it is not there any more.
    pub fn follow(&self, name: &str) -> Option<Box<str>> {
        match self {
            Naming::Rename { from, to } => Some(moved(name, from.as_str(), to.as_str()).unwrap_or_else(|| name.into())),
            Naming::Remove { mailbox } => (mailbox.as_str() != name).then(|| name.into()),
        }
    }
}

/// The new name of a mailbox that is renamed with `from`, or lies below it.
fn moved(name: &str, from: &str, to: &str) -> Option<Box<str>> {
    let rest = name.strip_prefix(from).filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
    Some(format!("{to}{rest}").into_boxed_str())
}

/// The sum of all records so far.
#[derive(Debug, Default)]
pub struct Replay {
    mailboxes: BTreeMap<Place, Mailbox>,
    unnamed: Vec<Unnamed>,
}

/// One mailbox.
#[derive(Debug, Default)]
struct Mailbox {
    /// By name.
    messages: BTreeMap<Box<[u8]>, Fate>,
    /// Where the records are that say what is gone.
    removals: Vec<u64>,
    reserved: Option<Reserved>,
}

/// What is to become of a message.
#[derive(Debug, Clone, Copy)]
enum Fate {
    /// It must be there.
    Wanted(Wanted),
    /// Another program took its file away. If it is there all the same, it is as it must be; if not, it does not come again.
    Missed(Wanted),
    /// It must not be there.
    Gone,
}

impl Replay {
    /// Nothing yet.
    pub const fn new() -> Replay {
        Replay { mailboxes: BTreeMap::new(), unnamed: Vec::new() }
    }

    /// Adds the record at place `at` of the log. Records of unknown kinds change nothing; whether to go on after one is for the caller to say.
    pub fn add(&mut self, at: u64, record: &Record<'_>) {
        match record {
            Record::Accept(accept) => self.accept(at, accept),
            Record::Gone(gone) => self.gone(at, gone),
            Record::Missed(gone) => self.turn(gone, |fate| if let Fate::Wanted(wanted) = fate { Fate::Missed(wanted) } else { fate }),
            Record::Back(gone) => self.turn(gone, |fate| if let Fate::Missed(wanted) = fate { Fate::Wanted(wanted) } else { fate }),
            Record::Renamed { account, from, to, doing } => {
                if *doing != Doing::Still {
                    self.rename(account, from, to);
                }
                // Nobody wrote a record of a name that is none.
                if let (Ok(from), Ok(to)) = (MailboxName::new(from), MailboxName::new(to)) {
                    self.begin(at, account, Naming::Rename { from, to }, *doing, None);
                }
            }
            Record::Removed { account, mailbox, doing } => {
                let place = Place { account: (*account).into(), mailbox: (*mailbox).into() };
                let kept = if *doing == Doing::Still { None } else { self.mailboxes.remove(&place) };
                if let Ok(mailbox) = MailboxName::new(mailbox) {
                    self.begin(at, account, Naming::Remove { mailbox }, *doing, kept);
                }
            }
            Record::NotNamed { account } => self.take_back(account),
            Record::Named { account } => self.unnamed.retain(|unnamed| *unnamed.account != **account),
            // What leaves is in no mailbox: see `Queue::replay`.
            Record::Tried(_) | Record::Changed(_) | Record::Warned(_) | Record::Taken { .. } | Record::Unknown { .. } => {}
        }
    }

    /// Changes of names, in order, to be done first if they have not been: everything else here has the names that mailboxes have afterwards. An
    /// account changes no name while one before is in doubt, so there is at most one of each, unless the disk failed.
    pub fn unnamed(&self) -> &[Unnamed] {
        &self.unnamed
    }

    /// Mailboxes with records.
    pub fn places(&self) -> impl Iterator<Item = &Place> {
        self.mailboxes.keys()
    }

    /// Messages that must be in this mailbox, by Maildir name without flags. If the file is there its content must still be compared: a
    /// file whose name survived a crash may have lost its bytes.
    pub fn wanted(&self, place: &Place) -> impl Iterator<Item = (&[u8], Wanted)> {
        self.messages(place).filter_map(|(base, fate)| if let Fate::Wanted(wanted) = fate { Some((base, wanted)) } else { None })
    }

    /// Messages whose files another program took away from this mailbox: they are wanted if their file is there after all, and must not come again if not.
    pub fn missed(&self, place: &Place) -> impl Iterator<Item = (&[u8], Wanted)> {
        self.messages(place).filter_map(|(base, fate)| if let Fate::Missed(wanted) = fate { Some((base, wanted)) } else { None })
    }

    /// Messages that must not be in this mailbox, by Maildir name without flags: somebody was told that they are gone, and a crash may have
    /// brought their files back.
    pub fn unwanted(&self, place: &Place) -> impl Iterator<Item = &[u8]> {
        self.messages(place).filter(|(_, fate)| matches!(fate, Fate::Gone)).map(|(base, _)| base)
    }

    /// Where the records are that say which messages are gone from this mailbox.
    pub fn removals(&self, place: &Place) -> &[u64] {
        self.mailboxes.get(place).map_or(&[], |mailbox| &mailbox.removals)
    }

    /// Numbers of this mailbox that may have been used.
    pub fn reserved(&self, place: &Place) -> Option<Reserved> {
        self.mailboxes.get(place)?.reserved
    }

    fn messages(&self, place: &Place) -> impl Iterator<Item = (&[u8], Fate)> {
        self.mailboxes.get(place).into_iter().flat_map(|m| m.messages.iter()).map(|(base, fate)| (&**base, *fate))
    }

    fn accept(&mut self, at: u64, accept: &Accept<'_>) {
        for (target, t) in accept.targets.iter().enumerate() {
            let mailbox = self.mailbox(t.account, t.mailbox);
            mailbox.messages.insert(t.base.as_bytes().into(), Fate::Wanted(Wanted { at, target }));
            mailbox.reserve(Reserved { uid_validity: t.uid_validity, uid_upto: t.uid_upto, mod_seq_upto: t.mod_seq_upto });
        }
    }

    fn gone(&mut self, at: u64, gone: &Gone<'_>) {
        let mailbox = self.mailbox(gone.account, gone.mailbox);
        mailbox.removals.push(at);
        for base in gone.bases.iter() {
            mailbox.messages.insert(base.into(), Fate::Gone);
        }
        if let Some(bounds) = gone.bounds {
            mailbox.reserve(bounds);
        }
    }

    /// Changes the fate of messages that are known.
    fn turn(&mut self, gone: &Gone<'_>, turn: impl Fn(Fate) -> Fate) {
        let place = Place { account: gone.account.into(), mailbox: gone.mailbox.into() };
        let Some(mailbox) = self.mailboxes.get_mut(&place) else { return };
        for base in gone.bases.iter() {
            if let Some(fate) = mailbox.messages.get_mut(base) {
                *fate = turn(*fate);
            }
        }
    }

    fn rename(&mut self, account: &str, from: &str, to: &str) {
        let places = self.mailboxes.keys().filter(|place| *place.account == *account);
        let moves: Vec<(Place, Box<str>)> = places.filter_map(|place| Some((place.clone(), moved(&place.mailbox, from, to)?))).collect();
        for (place, name) in moves {
            let Some(mailbox) = self.mailboxes.remove(&place) else { continue };
            self.put_back(Place { account: place.account, mailbox: name }, mailbox);
        }
    }

    fn begin(&mut self, at: u64, account: &str, change: Naming, doing: Doing, kept: Option<Mailbox>) {
        let mut known = self.unnamed.iter_mut().filter(|unnamed| *unnamed.account == *account && unnamed.change == change);
        match (doing, known.next()) {
            (Doing::Done, _) => {}
            (Doing::Still, Some(known)) => known.at = at,
            _ => self.unnamed.push(Unnamed { at, account: account.into(), change, kept }),
        }
    }

    fn take_back(&mut self, account: &str) {
        let Some(last) = self.unnamed.iter().rposition(|unnamed| *unnamed.account == *account) else { return };
        let Unnamed { account, change, kept, .. } = self.unnamed.remove(last);
        match (change, kept) {
            (Naming::Rename { from, to }, _) => self.rename(&account, to.as_str(), from.as_str()),
            (Naming::Remove { mailbox }, Some(kept)) => {
                // What was told of it meanwhile is the last word.
                let place = Place { account, mailbox: mailbox.as_str().into() };
                let since = self.mailboxes.remove(&place).unwrap_or_default();
                self.put_back(place.clone(), kept);
                self.put_back(place, since);
            }
            (Naming::Remove { .. }, None) => {}
        }
    }

    /// A mailbox has this name now. What waits for one of this name that another program took away waits for this one.
    fn put_back(&mut self, place: Place, mailbox: Mailbox) {
        let there = self.mailboxes.entry(place).or_default();
        there.messages.extend(mailbox.messages);
        there.removals.extend(mailbox.removals);
        let before = there.reserved.take();
        there.reserved = mailbox.reserved;
        let same = |before: &Reserved| mailbox.reserved.is_none_or(|reserved| reserved.uid_validity == before.uid_validity);
        if let Some(before) = before.filter(same) {
            there.reserve(before);
        }
    }

    fn mailbox(&mut self, account: &str, mailbox: &str) -> &mut Mailbox {
        self.mailboxes.entry(Place { account: account.into(), mailbox: mailbox.into() }).or_default()
    }
}

impl Mailbox {
    fn reserve(&mut self, mut reserved: Reserved) {
        if reserved.uid_validity == 0 {
            return;
        }
        // Targets of one mailbox may be committed in another order than their numbers were taken.
        if let Some(before) = self.reserved.filter(|before| before.uid_validity == reserved.uid_validity) {
            reserved.uid_upto = reserved.uid_upto.max(before.uid_upto);
            reserved.mod_seq_upto = reserved.mod_seq_upto.max(before.mod_seq_upto);
        }
        self.reserved = Some(reserved);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Bases, Keywords, Target, Targets};
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
        replay.add(3, &Record::Gone(Gone { account: "alice", mailbox: "INBOX", bases: Bases::new(&[b"a", b"old"]), bounds: None }));
        let inbox = place("INBOX");
        assert_eq!(replay.wanted(&inbox).collect::<Vec<_>>(), [(&b"b"[..], Wanted { at: 2, target: 0 })]);
        assert_eq!(replay.unwanted(&inbox).collect::<Vec<_>>(), [&b"a"[..], b"old"]);
        assert_eq!(replay.removals(&inbox), [3]);
        assert_eq!(replay.reserved(&inbox), Some(Reserved { uid_validity: 1, uid_upto: 12, mod_seq_upto: 12 }));
        let bounds = Some(Reserved { uid_validity: 1, uid_upto: 99, mod_seq_upto: 7 });
        replay.add(4, &Record::Gone(Gone { account: "alice", mailbox: "INBOX", bases: Bases::new(&[]), bounds }));
        let unknown = Some(Reserved { uid_validity: 0, uid_upto: 0, mod_seq_upto: 0 });
        replay.add(5, &Record::Gone(Gone { account: "alice", mailbox: "INBOX", bases: Bases::new(&[]), bounds: unknown }));
        assert_eq!(replay.reserved(&inbox), Some(Reserved { uid_validity: 1, uid_upto: 99, mod_seq_upto: 12 }));
    }

    fn of_inbox(bases: Bases<'_>) -> Gone<'_> {
        Gone { account: "alice", mailbox: "INBOX", bases, bounds: None }
    }

    #[test]
    fn what_another_program_took_away_does_not_come_again() {
        let mut replay = Replay::new();
        for (at, base) in (1..).zip(["a", "b", "c"]) {
            accept(&mut replay, at, "INBOX", base, 1);
        }
        replay.add(9, &Record::Gone(of_inbox(Bases::new(&[b"c"]))));
        replay.add(9, &Record::Missed(of_inbox(Bases::new(&[b"a", b"b", b"c", b"nobody's"]))));
        let inbox = place("INBOX");
        assert_eq!(replay.wanted(&inbox).count(), 0);
        assert_eq!(replay.missed(&inbox).map(|(base, _)| base).collect::<Vec<_>>(), [b"a", b"b"]);
        // What somebody was told is gone is not saved by a file that comes back.
        replay.add(9, &Record::Back(of_inbox(Bases::new(&[b"a", b"c"]))));
        assert_eq!(replay.wanted(&inbox).collect::<Vec<_>>(), [(&b"a"[..], Wanted { at: 1, target: 0 })]);
        assert_eq!(replay.unwanted(&inbox).collect::<Vec<_>>(), [b"c"]);
    }

    #[test]
    fn messages_follow_their_mailbox() {
        let mut replay = Replay::new();
        accept(&mut replay, 1, "a", "1", 1);
        accept(&mut replay, 2, "a/b", "2", 1);
        accept(&mut replay, 3, "ab", "3", 1);
        replay.add(4, &Record::Renamed { account: "alice", from: "a", to: "c", doing: Doing::Done });
        replay.add(5, &Record::Removed { account: "alice", mailbox: "ab", doing: Doing::Done });
        assert_eq!(replay.places().map(|p| &*p.mailbox).collect::<Vec<_>>(), ["c", "c/b"]);
        accept(&mut replay, 6, "ab", "4", 1);
        assert_eq!(replay.wanted(&place("ab")).collect::<Vec<_>>(), [(&b"4"[..], Wanted { at: 6, target: 0 })]);
        assert!(replay.unnamed().is_empty());
    }

    fn names(replay: &Replay) -> Vec<&str> {
        replay.places().map(|p| &*p.mailbox).collect()
    }

    #[test]
    fn mailboxes_change_places() {
        let rename = |replay: &mut Replay, from: &'static str, to: &'static str| {
            replay.add(0, &Record::Renamed { account: "alice", from, to, doing: Doing::Next });
            replay.add(0, &Record::Named { account: "alice" });
        };
        let mut replay = Replay::new();
        accept(&mut replay, 1, "a", "1", 1);
        accept(&mut replay, 2, "b", "2", 2);
        accept(&mut replay, 3, "b/x", "3", 3);
        rename(&mut replay, "a", "t");
        rename(&mut replay, "b", "a");
        rename(&mut replay, "t", "b");
        assert_eq!(names(&replay), ["a", "a/x", "b"]);
        assert_eq!(replay.wanted(&place("a")).map(|(base, _)| base).collect::<Vec<_>>(), [b"2"]);
        assert_eq!(replay.reserved(&place("b")).map(|r| r.uid_upto), Some(1));
        // Another program took `c` away, and mail waits for it.
        accept(&mut replay, 4, "c", "4", 4);
        rename(&mut replay, "b", "c");
        assert_eq!(replay.wanted(&place("c")).map(|(base, _)| base).collect::<Vec<_>>(), [b"1", b"4"]);
        assert!(replay.unnamed().is_empty());
    }

    #[test]
    fn what_was_begun_is_told_and_can_be_taken_back() {
        let mut replay = Replay::new();
        accept(&mut replay, 1, "a", "1", 1);
        accept(&mut replay, 2, "a/b", "2", 1);
        replay.add(3, &Record::Renamed { account: "alice", from: "a", to: "c", doing: Doing::Next });
        replay.add(4, &Record::Removed { account: "bob", mailbox: "c", doing: Doing::Next });
        assert_eq!(names(&replay), ["c", "c/b"]);
        let told: Vec<_> = replay.unnamed().iter().map(|u| (u.at, &*u.account, u.change.clone())).collect();
        let name = |text| MailboxName::new(text).unwrap();
        let rename = Naming::Rename { from: name("a"), to: name("c") };
        assert_eq!(told, [(3, "alice", rename.clone()), (4, "bob", Naming::Remove { mailbox: name("c") })]);
        assert_eq!(["a", "a/b", "ab"].map(|name| rename.follow(name).unwrap()), ["c".into(), "c/b".into(), "ab".into()] as [Box<str>; 3]);
        assert_eq!(told[1].2.follow("c"), None);
        replay.add(5, &Record::NotNamed { account: "alice" });
        assert_eq!(names(&replay), ["a", "a/b"]);
        replay.add(6, &Record::Removed { account: "alice", mailbox: "a", doing: Doing::Next });
        assert_eq!(names(&replay), ["a/b"]);
        replay.add(7, &Record::NotNamed { account: "alice" });
        assert_eq!(names(&replay), ["a", "a/b"]);
        replay.add(8, &Record::Named { account: "bob" });
        assert!(replay.unnamed().is_empty());
    }
    #[test]
    fn what_is_told_again_moves_no_mail_again() {
        let name = |text| MailboxName::new(text).unwrap();
        let rename = Naming::Rename { from: name("a"), to: name("b") };
        let remove = Naming::Remove { mailbox: name("x") };
        // The log may have let go of all before any of these.
        for begins in 0..5 {
            let mut replay = Replay::new();
            let mut at = 0;
            let mut add = |replay: &mut Replay, write: &dyn Fn(&mut Replay, u64)| {
                at += 1;
                if at > begins {
                    write(replay, at);
                }
            };
            add(&mut replay, &|replay, at| accept(replay, at, "a", "1", 1));
            add(&mut replay, &|replay, at| replay.add(at, &rename.record("alice", Doing::Next)));
            add(&mut replay, &|replay, at| accept(replay, at, "b", "1", 1));
            add(&mut replay, &|replay, at| replay.add(at, &rename.record("alice", Doing::Still)));
            add(&mut replay, &|replay, at| replay.add(at, &rename.record("alice", Doing::Still)));
            add(&mut replay, &|replay, at| accept(replay, at, "b/c", "2", 1));
            let told: Vec<_> = replay.unnamed().iter().map(|u| (u.at, u.change.clone())).collect();
            assert_eq!(told, [(5, rename.clone())], "{begins}");
            let there: &[&str] = if begins < 3 { &["b", "b/c"] } else { &["b/c"] };
            assert_eq!(names(&replay), there, "{begins}");
            // A mailbox of the old name that came since stays where it is, unless it all was taken back.
            let mut done = Replay::new();
            accept(&mut done, 6, "a", "3", 1);
            done.add(7, &rename.record("alice", Doing::Still));
            assert_eq!(names(&done), ["a"]);
            replay.add(7, &Record::NotNamed { account: "alice" });
            assert!(replay.unnamed().is_empty());
            assert_eq!(names(&replay), there.iter().map(|name| name.replace('b', "a")).collect::<Vec<_>>(), "{begins}");
        }
        let mut replay = Replay::new();
        accept(&mut replay, 1, "x", "1", 1);
        replay.add(2, &remove.record("alice", Doing::Next));
        accept(&mut replay, 3, "x", "1", 1);
        replay.add(4, &remove.record("alice", Doing::Still));
        assert_eq!(replay.unnamed().iter().map(|u| u.at).collect::<Vec<_>>(), [4]);
        replay.add(5, &Record::NotNamed { account: "alice" });
        assert_eq!(replay.wanted(&place("x")).collect::<Vec<_>>(), [(&b"1"[..], Wanted { at: 3, target: 0 })]);
    }
}
