//! A naive mailbox beside the real one: the same random steps, other programs' among them, and the same views of it.

use fastrand::Rng;
use hikyaku_tests::disk::Crashing;
use imap::{Change, Need};
use mail::{Flags, Keyword, MailboxName, Stamp, System, Uid};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};
use storage::{
    disk::{Disk, How},
    mailbox::{Content, Cursor, Deposit, Mailbox, Mailboxes, Options, View},
};

/// A message as simply as can be.
#[derive(Debug, Clone, PartialEq)]
struct Message {
    text: Vec<u8>,
    flags: Flags,
    date: Option<Stamp>,
    base: String,
}

/// What a session was told, and its view.
struct Session {
    view: View,
    told: BTreeMap<u32, Flags>,
}

struct World {
    dice: Rng,
    disk: Crashing,
    boxes: Mailboxes,
    inbox: Arc<Mailbox>,
    model: BTreeMap<u32, Message>,
    /// The greatest UID that was ever seen.
    last: u32,
    sessions: Vec<Session>,
    count: u64,
    bases: BTreeSet<String>,
}

fn root() -> PathBuf {
    "/store".into()
}

fn maildir() -> PathBuf {
    "/store/Maildir".into()
}

fn open(disk: &Crashing) -> (Mailboxes, Arc<Mailbox>) {
    static NOW: AtomicI64 = AtomicI64::new(1_795_600_000_000);
    let clock = Arc::new(|| i128::from(NOW.fetch_add(700, Ordering::Relaxed)) * 1_000_000);
    let boxes =
        Mailboxes::new(Arc::new(disk.clone()), Options { host: "mx.test".into(), root: root(), budget: 0, clock, ..Options::default() });
    let inbox = boxes.open(&maildir(), &MailboxName::inbox()).unwrap();
    (boxes, inbox)
}

fn wire(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for (i, &b) in text.iter().enumerate() {
        if b == b'\n' && (i == 0 || text[i - 1] != b'\r') {
            out.push(b'\r');
        }
        out.push(b);
    }
    out
}

impl World {
    fn new(seed: u64) -> World {
        let disk = Crashing::new();
        disk.make_dir(&root()).unwrap();
        let (boxes, inbox) = open(&disk);
        World {
            dice: Rng::with_seed(seed),
            disk,
            boxes,
            inbox,
            model: BTreeMap::new(),
            last: 0,
            sessions: Vec::new(),
            count: 0,
            bases: BTreeSet::new(),
        }
    }

    fn text(&mut self) -> Vec<u8> {
        let mut text = format!("Subject: {}\n\n", self.count).into_bytes();
        for _ in 0..self.dice.usize(..30) {
            text.extend_from_slice(self.dice.choice([&b"\n"[..], b"\r\n", b"\r", b"word ", b"\n\n"]).unwrap());
        }
        text
    }

    fn flags(&mut self) -> Flags {
        let mut flags = Flags::system(System(self.dice.u8(..32)));
        for name in ["one", "two", "$Forwarded"] {
            if self.dice.u8(..4) == 0 {
                flags.keywords.insert(Keyword::new(name).unwrap());
            }
        }
        flags
    }

    fn some(&mut self) -> Vec<Uid> {
        let share = self.dice.u8(1..6);
        self.model.keys().filter(|_| self.dice.u8(..6) < share).map(|n| Uid::new(*n).unwrap()).collect()
    }

    fn added(&mut self, uid: u32, message: Message) {
        assert!(uid > self.last, "a UID that was used before");
        self.last = uid;
        self.bases.insert(message.base.clone());
        assert!(self.model.insert(uid, message).is_none());
    }

    fn step(&mut self) {
        match self.dice.u8(..100) {
            0..25 => self.deliver(),
            25..40 => self.store(),
            40..50 => self.remove(),
            50..60 => self.stranger_adds(),
            60..70 => self.stranger_renames(),
            70..73 => self.stranger_removes(),
            73..78 => self.copy(),
            78..82 => self.boxes.chores(),
            82..84 => hikyaku_tests::settle(&self.boxes).unwrap(),
            84..88 => {
                let (view, selected) = self.inbox.select(self.dice.bool()).unwrap();
                let told: BTreeMap<_, _> = self.describe(&selected.uids).into_iter().collect();
                assert_eq!(told.keys().copied().collect::<Vec<_>>(), selected.uids.iter().map(|u| u.get()).collect::<Vec<_>>());
                assert_eq!(self.model.keys().copied().collect::<Vec<_>>(), told.keys().copied().collect::<Vec<_>>());
                self.sessions.push(Session { view, told });
            }
            88..90 => {
                if !self.sessions.is_empty() {
                    let i = self.dice.usize(..self.sessions.len());
                    self.sessions.swap_remove(i);
                }
            }
            90..93 => self.restart(),
            _ => self.read(),
        }
        self.compare();
        if !self.sessions.is_empty() {
            let i = self.dice.usize(..self.sessions.len());
            self.sync(i);
        }
    }

    fn base(&mut self, size: usize, wire: usize) -> String {
        self.count += 1;
        maildir::base_name(1_700_000_000 + self.dice.i64(0..100), &format!("L{:x}N0", self.count), "mx.test", size as u64, wire as u64)
    }

    fn deliver(&mut self) {
        let (text, flags) = (self.text(), if self.dice.bool() { Flags::default() } else { self.flags() });
        let base = self.base(text.len(), wire(&text).len());
        let date = Stamp { seconds: self.dice.i64(0..2_000_000_000), zone: self.dice.i16(-700..700) };
        let mut scanner = mime::Scanner::new();
        scanner.feed(&text);
        let structure = scanner.finish();
        let reserved = self.inbox.reserve().unwrap();
        if self.dice.bool() {
            self.inbox.confirm(&reserved);
        }
        let large = Path::new("/store/large");
        let linked = self.dice.u8(..5) == 0;
        if linked {
            self.disk.open(large, How::Create).unwrap().append(&text).unwrap();
        }
        let (front, back) = text.split_at(text.len() / 2);
        let pieces = [front, back];
        let placed = self
            .inbox
            .deliver(&Deposit {
                base: &base,
                content: if linked { Content::Link(large) } else { Content::Bytes(&pieces) },
                flags: &flags,
                date,
                size: text.len() as u64,
                wire: wire(&text).len() as u64,
                structure: self.dice.bool().then_some(&structure),
                record: None,
            })
            .unwrap();
        if linked {
            self.disk.unlink(large).unwrap();
        }
        self.added(placed.uid.get(), Message { text, flags, date: Some(date), base });
    }

    fn store(&mut self) {
        let (uids, flags) = (self.some(), self.flags());
        let change = self.dice.choice([Change::Add, Change::Remove, Change::Replace]).unwrap();
        let stored = self.inbox.store(&uids, change, &flags).unwrap();
        for uid in &uids {
            let message = self.model.get_mut(&uid.get()).unwrap();
            match change {
                Change::Add => message.flags.add(&flags),
                Change::Remove => message.flags.remove(&flags),
                Change::Replace => message.flags = flags.clone(),
            }
        }
        let told: Vec<_> = stored.into_iter().map(|(uid, flags, _)| (uid.get(), flags)).collect();
        assert_eq!(told, uids.iter().map(|u| (u.get(), self.model[&u.get()].flags.clone())).collect::<Vec<_>>());
    }

    fn remove(&mut self) {
        let some = self.dice.bool().then(|| self.some());
        let doomed = self.inbox.doomed(some.as_deref(), true).unwrap();
        let uids: Vec<_> = doomed.iter().map(|d| d.uid).collect();
        let deleted = |uid: &u32| self.model[uid].flags.system.has(System::DELETED);
        let asked: Vec<u32> = some.map_or_else(|| self.model.keys().copied().collect(), |s| s.iter().map(|u| u.get()).collect());
        assert_eq!(asked.into_iter().filter(deleted).collect::<Vec<_>>(), uids.iter().map(|u| u.get()).collect::<Vec<_>>());
        assert_eq!(self.inbox.remove(&uids, &[]).unwrap(), uids);
        uids.iter().for_each(|u| drop(self.model.remove(&u.get())));
    }

    fn copy(&mut self) {
        let uids = self.some();
        let copied = self.inbox.copy(&uids, &self.inbox).unwrap();
        assert_eq!(copied.uids.iter().map(|(from, _)| *from).collect::<Vec<_>>(), uids);
        for (from, to) in copied.uids {
            let mut message = self.model[&from.get()].clone();
            message.base = String::new();
            self.added(to.get(), message);
        }
    }

    /// Files of a directory that other programs would take for messages.
    fn files(&self, dir: &str) -> Vec<String> {
        let mut names = Vec::new();
        self.disk.list(&maildir().join(dir), &mut |name| names.push(String::from_utf8(name.to_vec()).unwrap())).unwrap();
        // Those of removed messages may still lie there; a stranger would see them, but what it does to them is nobody's business.
        names.retain(|n| self.model.values().any(|m| m.base == n.split(':').next().unwrap()));
        names
    }

    fn stranger_adds(&mut self) {
        let mut bases = Vec::new();
        for _ in 0..self.dice.usize(1..4) {
            let (text, flags) = (self.text(), self.flags());
            let base = match self.dice.u8(..3) {
                0 => self.base(text.len(), wire(&text).len()),
                // A stranger that tells no sizes, and one that tells a wrong one.
                1 => self.base(0, 0).split(',').next().unwrap().to_owned(),
                _ => self.base(text.len() + 1, text.len() * 2 + 2),
            };
            let tmp = maildir().join("tmp").join(&base);
            self.disk.open(&tmp, How::Create).unwrap().append(&text).unwrap();
            let (seen, path) = if self.dice.bool() {
                let system = Flags::system(flags.system);
                let mut name = base.clone().into_bytes();
                maildir::Marks { system: flags.system, keywords: 0 }.print(b"", &mut name);
                (system, maildir().join("cur").join(String::from_utf8(name).unwrap()))
            } else {
                (Flags::default(), maildir().join("new").join(&base))
            };
            self.disk.rename(&tmp, &path).unwrap();
            bases.push(Message { text, flags: seen, date: None, base });
        }
        let next = self.inbox.counts().unwrap().uid_next.get();
        // In the order of their times, then of their names.
        bases.sort_by(|a, b| a.base[..10].cmp(&b.base[..10]).then_with(|| a.base.cmp(&b.base)));
        let first = next - bases.len() as u32;
        for (i, message) in bases.into_iter().enumerate() {
            self.added(first + i as u32, message);
        }
    }

    fn stranger_renames(&mut self) {
        let (new, cur) = (self.files("new"), self.files("cur"));
        let pick: Vec<(String, &str)> = new.into_iter().map(|n| (n, "new")).chain(cur.into_iter().map(|n| (n, "cur"))).collect();
        let Some((name, dir)) = self.dice.choice(&pick).cloned() else { return };
        let base = name.split(':').next().unwrap().to_owned();
        let marks = maildir::Marks { system: System(self.dice.u8(..32)), keywords: 0 };
        let mut to = base.clone().into_bytes();
        marks.print(if self.dice.bool() { b":2,Z" } else { b"" }, &mut to);
        let to = String::from_utf8(to).unwrap();
        self.disk.rename(&maildir().join(dir).join(&name), &maildir().join("cur").join(to)).unwrap();
        let message = self.model.values_mut().find(|m| m.base == base).unwrap();
        message.flags = Flags::system(marks.system);
    }

    fn stranger_removes(&mut self) {
        let dir = self.dice.choice(["new", "cur"]).unwrap();
        let Some(name) = self.dice.choice(self.files(dir)) else { return };
        self.disk.unlink(&maildir().join(dir).join(&name)).unwrap();
        self.model.retain(|_, m| m.base != name.split(':').next().unwrap());
    }

    fn reopen(&mut self) {
        self.disk = self.disk.kill();
        (self.boxes, self.inbox) = open(&self.disk);
    }

    fn restart(&mut self) {
        self.sessions.clear();
        match self.dice.u8(..4) {
            // Killed with files still waiting for their removal: the spool would tell, so here they have to be gone.
            0 => {
                hikyaku_tests::settle(&self.boxes).unwrap();
                self.reopen();
            }
            1 => {
                hikyaku_tests::close(&self.boxes).unwrap();
                let next = self.inbox.counts().unwrap().uid_next;
                self.reopen();
                assert_eq!(self.inbox.counts().unwrap().uid_next, next, "no UID is skipped after a clean end");
            }
            // The index is lost, and so is the cache sometimes.
            2 => {
                hikyaku_tests::settle(&self.boxes).unwrap();
                let _ = self.disk.unlink(&maildir().join("hikyaku.index"));
                if self.dice.bool() {
                    let _ = self.disk.unlink(&maildir().join("hikyaku.cache"));
                }
                self.reopen();
                self.renumber();
            }
            // It is torn.
            _ => {
                hikyaku_tests::settle(&self.boxes).unwrap();
                let file = self.disk.open(&maildir().join("hikyaku.index"), How::Write).unwrap();
                let len = file.len().unwrap();
                if self.dice.bool() {
                    file.set_len(self.dice.u64(..=len)).unwrap();
                } else {
                    file.write_at(&[self.dice.u8(..)], self.dice.u64(..len.max(1))).unwrap();
                }
                self.reopen();
                self.renumber();
            }
        }
    }

    /// Messages may have other UIDs now, but never one that another message had. Internal dates that only the index knew are those of the files.
    fn renumber(&mut self) {
        let (view, selected) = self.inbox.select(true).unwrap();
        drop(view);
        assert_eq!(selected.uids.len(), self.model.len(), "every message is there");
        let (_, entries) = self.inbox.pop().unwrap();
        let old = std::mem::take(&mut self.model);
        let mut by_base: BTreeMap<_, _> = old.into_iter().map(|(uid, m)| (m.base.clone(), (uid, m))).collect();
        let last = self.last;
        for (uid, entry) in selected.uids.iter().zip(entries) {
            let (was, mut message) = by_base.remove(&*entry.uidl).expect("a base name as before");
            if was != uid.get() {
                assert!(uid.get() > last);
                self.last = self.last.max(uid.get());
                message.date = None;
            }
            self.model.insert(uid.get(), message);
        }
    }

    fn describe(&self, uids: &[Uid]) -> Vec<(u32, Flags)> {
        let details = self.inbox.describe(uids, Need::default()).unwrap();
        details.into_iter().map(|d| (d.uid.get(), d.flags)).collect()
    }

    fn compare(&mut self) {
        let counts = self.inbox.counts().unwrap();
        assert_eq!(counts.messages as usize, self.model.len());
        assert!(counts.uid_next.get() > self.last);
        assert_eq!(counts.unseen as usize, self.model.values().filter(|m| !m.flags.system.has(System::SEEN)).count());
        assert!(counts.size >= self.model.values().map(|m| wire(&m.text).len() as u64).sum());
        let doomed = self.inbox.doomed(None, false).unwrap();
        // Copies get their names there.
        for doomed in doomed {
            let message = self.model.get_mut(&doomed.uid.get()).expect("a message that the model has");
            if message.base.is_empty() {
                message.base = String::from_utf8(doomed.base.to_vec()).unwrap();
            }
            assert_eq!(message.base.as_bytes(), &*doomed.base);
        }
    }

    fn sync(&mut self, i: usize) {
        let session = &mut self.sessions[i];
        let changes = session.view.sync().unwrap();
        assert!(!changes.lost);
        for uid in &changes.gone {
            assert!(session.told.remove(&uid.get()).is_some(), "{uid} was not there");
        }
        for (uid, flags, _) in &changes.flags {
            *session.told.get_mut(&uid.get()).expect("flags of a message that was there") = flags.clone();
        }
        assert!(changes.new.is_sorted() && changes.recent.iter().all(|u| changes.new.contains(u)));
        assert!(changes.new.first().is_none_or(|first| session.told.keys().next_back().is_none_or(|last| *last < first.get())));
        let new = self.describe(&changes.new);
        self.sessions[i].told.extend(new);
        let model: Vec<_> = self.model.iter().map(|(uid, m)| (*uid, m.flags.clone())).collect();
        assert_eq!(self.sessions[i].told.clone().into_iter().collect::<Vec<_>>(), model);
    }

    fn read(&mut self) {
        let uids = self.some();
        let need = Need { size: self.dice.bool(), date: self.dice.bool(), structure: self.dice.bool() };
        let details = self.inbox.describe(&uids, need).unwrap();
        assert_eq!(details.len(), uids.len());
        let mut cursor = Cursor::default();
        for detail in details {
            let message = &self.model[&detail.uid.get()];
            let whole = wire(&message.text);
            if need.date
                && let Some(date) = message.date
            {
                assert_eq!(detail.date, date);
            }
            if let Some(structure) = &detail.structure {
                let mut scanner = mime::Scanner::new();
                scanner.feed(&message.text);
                assert_eq!(**structure, scanner.finish());
            }
            if need.size {
                assert_eq!((detail.span.len, detail.span.wire), (message.text.len() as u64, whole.len() as u64));
                let mut at = if self.dice.bool() { 0 } else { self.dice.usize(..=whole.len()) };
                let mut got = Vec::new();
                let from = at;
                loop {
                    let room = self.dice.usize(1..9);
                    let buf = self.inbox.read(&mut cursor, detail.uid, detail.span, at as u64, Vec::with_capacity(room)).unwrap();
                    got.extend_from_slice(&buf);
                    at += buf.len();
                    if buf.len() < room {
                        break;
                    }
                }
                assert_eq!(got, whole[from..]);
            }
        }
    }
}

fn play(seed: u64, steps: usize) {
    let mut world = World::new(seed);
    for _ in 0..steps {
        world.step();
    }
}

#[test]
fn the_same_views() {
    for seed in 0..25 {
        println!("seed {seed}");
        play(seed, 150);
    }
}
