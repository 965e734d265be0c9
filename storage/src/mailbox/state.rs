//! A mailbox in memory and its lock.

use super::{
    account::Account,
    account::{is_foreign, write_file},
    device::{Device, Kept},
    ledger::Charge,
    limits,
    shelf::Common,
    trouble,
    turn::{Held, Turn},
};
use crate::disk::{Disk, How, Stat};
use imap::{Counts, Refusal};
use mail::{Flags, MailboxName, ModSeq, Uid, UidValidity};
use maildir::{Bits, Bounds, Entry, Index, Keywords, Marks, Place, Record, Sizes};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    num::NonZeroU32,
    ops::{Deref, DerefMut},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicU64},
    },
    time::Duration,
};
use wire::{Fault, Nudge, Ring};

/// Names of the files beside the messages.
pub(super) const INDEX: &str = "hikyaku.index";
pub(super) const CACHE: &str = "hikyaku.cache";
pub(super) const UIDS: &str = "hikyaku.uids";
pub(super) const KEYWORDS: &str = "hikyaku.keywords";

/// A mailbox, shared by everybody who has to do with it.
pub struct Mailbox {
    /// Tells it from every other.
    pub(super) id: u64,
    pub(super) common: Arc<Common>,
    pub(super) account: Arc<Account>,
    /// Whoever has it may wait for a disk that never answers. What others must know or say meanwhile is beside it.
    slot: Turn<Slot>,
    /// Its name.
    called: Mutex<MailboxName>,
    /// Where it lay when it was last read.
    device: Mutex<Option<Arc<Device>>>,
    notes: Mutex<Notes>,
    audience: Mutex<Audience>,
    /// When it was last opened, in openings.
    pub(super) used: AtomicU64,
    /// When it is looked after again, in seconds since 1970, if that went wrong.
    pub(super) rests_until_s: AtomicI64,
}

/// What checkpoints say to a mailbox, and to each other about it.
#[derive(Default)]
pub(super) struct Notes {
    /// How many checkpoints are about to make it durable: one may wait for a disk.
    pub settling: u32,
    /// How often one failed: what was begun before counts for nothing.
    pub failures: u64,
    /// Heard by whoever has it next.
    pub news: Vec<News>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// The next checkpoint has to look at it.
    Look,
    /// What was written since the last checkpoint may be lost.
    Lost,
    /// The same, and no checkpoint knows of it yet.
    Unsure,
    /// What it had then is durable, its UIDs below this one.
    Settled(u32),
}

/// Sessions that have it selected.
#[derive(Default)]
pub(super) struct Audience {
    /// How far each has heard.
    pub views: BTreeMap<u64, u64>,
    pub rings: BTreeMap<u64, Arc<dyn Ring>>,
}

/// What the record of a message in the spool carries, so that no UID is ever used twice although the index is never flushed:
/// UIDs and change numbers below these bounds may have been used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reserved {
    /// The numbering.
    pub uid_validity: UidValidity,
    /// The bound of UIDs.
    pub uid_upto: u32,
    /// The bound of change numbers.
    pub mod_seq_upto: u64,
}

pub(super) struct Slot {
    pub dir: PathBuf,
    pub name: MailboxName,
    pub life: Life,
    /// What the spool says of the numbering, for when it is read: files that the index has forgotten must not get UIDs that others had.
    pub floor: Option<Bounds>,
}

pub(super) enum Life {
    /// Only on disk.
    Asleep,
    /// In memory.
    Awake(Box<State>),
    /// Removed: nobody can do anything with it.
    Dead,
}

pub(super) struct State {
    /// Whether it was read as a whole.
    pub begun: bool,
    /// Where it lies.
    pub device: Arc<Device>,
    /// Files that were written, where each has to be synced.
    pub kept: Vec<Kept>,
    pub index: Index,
    pub keywords: Keywords,
    /// The bounds that would survive a crash now.
    pub durable: Bounds,
    /// The bounds that `hikyaku.uids` has.
    pub written: Bounds,
    /// Records that are not in the file yet.
    pub log: Vec<u8>,
    /// Length of the index file as far as it is ours; `None` if it is to be written anew.
    pub index_len: Option<u64>,
    /// Modification times of `new/` and `cur/` that the index agrees with.
    pub known: [Option<i64>; 2],
    /// Directories that may hold changes which their times do not show.
    pub unverified: [bool; 2],
    /// When the directories were last read as a whole, nanoseconds.
    pub listed_ns: i128,
    /// When `tmp/` was last looked at, seconds.
    pub tmp_looked_s: i64,
    /// Messages from this UID on may not have reached the disk for good.
    pub synced_uid: u32,
    /// Whether the next checkpoint has something to do here.
    pub dirty: bool,
    /// Whether a sync of it failed and no checkpoint knows of it yet.
    pub doubtful: bool,
    /// Whether the directory was made here and its name may not have reached the disk for good.
    pub fresh: bool,
    /// Bases of removed messages whose files are still there, with their paths below the directory.
    pub doomed: BTreeMap<Box<[u8]>, Vec<u8>>,
    /// Bases of messages that the spool was told are missed; what comes back of them it hears too.
    pub missed: BTreeSet<Box<[u8]>>,
    /// Whether a directory had to be made again, so that what was in it is not missed one by one: somebody moved it away, or its file system with it.
    pub remade: bool,
    /// Removals (change number, UID), oldest first, as far as some session has not heard of them.
    pub gone: VecDeque<(u64, u32)>,
    /// Removals up to this change number are not in `gone` any more.
    pub gone_floor: u64,
    /// The last flag changes (change number, UID), oldest first.
    pub flagged: VecDeque<(u64, u32)>,
    /// Flag changes up to this change number are not in `flagged` any more.
    pub flagged_floor: u64,
    /// No message below this UID that is recent to nobody is still in `new/`.
    pub moved_upto: u32,
    /// Bytes of all messages.
    pub total: u64,
}

impl State {
    fn hear(&mut self, news: News) {
        match news {
            News::Look => self.dirty = true,
            News::Lost => self.doubt(),
            News::Unsure => {
                self.doubt();
                self.doubtful = true;
            }
            News::Settled(upto) => {
                self.synced_uid = self.synced_uid.max(upto);
                self.fresh = false;
            }
        }
    }

    /// What was written since the last checkpoint may be lost: the files beside the messages are written anew.
    pub fn doubt(&mut self) {
        (self.dirty, self.doubtful) = (true, false);
        self.written = Bounds { uid_validity: 0, uid_upto: 0, mod_seq_upto: 0 };
        self.index_len = None;
    }
}

/// A mailbox that is locked and in memory.
pub(super) struct Locked<'a> {
    pub mailbox: &'a Mailbox,
    pub slot: Held<'a, Slot>,
}

impl Deref for Locked<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        match &self.slot.life {
            Life::Awake(state) => state,
            Life::Asleep | Life::Dead => unreachable!("a locked mailbox is in memory"),
        }
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut State {
        match &mut self.slot.life {
            Life::Awake(state) => state,
            Life::Asleep | Life::Dead => unreachable!("a locked mailbox is in memory"),
        }
    }
}

impl Mailbox {
    pub(super) fn new(common: Arc<Common>, account: Arc<Account>, dir: PathBuf, name: MailboxName) -> Mailbox {
        Mailbox {
            id: common.count(),
            common,
            account,
            called: Mutex::new(name.clone()),
            slot: Turn::new(Slot { dir, name, life: Life::Asleep, floor: None }),
            device: Mutex::default(),
            notes: Mutex::default(),
            audience: Mutex::default(),
            used: AtomicU64::new(0),
            rests_until_s: AtomicI64::new(0),
        }
    }

    /// Its name. Never waits for a disk.
    pub fn name(&self) -> MailboxName {
        self.called.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// It has another name now.
    pub(super) fn is_called(&self, name: &MailboxName) {
        *self.called.lock().unwrap_or_else(PoisonError::into_inner) = name.clone();
    }

    /// Where it lay when it was last read. Never waits for a disk.
    pub(super) fn device(&self) -> Option<Arc<Device>> {
        self.device.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// It lies there.
    pub(super) fn lies_on(&self, device: &Arc<Device>) {
        *self.device.lock().unwrap_or_else(PoisonError::into_inner) = Some(device.clone());
        self.account.lies_on(device.number);
    }

    pub(super) fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn audience(&self) -> MutexGuard<'_, Audience> {
        self.audience.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says something to whoever has it next.
    pub(super) fn tell(&self, news: News) {
        let mut notes = self.notes();
        if notes.news.last() != Some(&news) {
            notes.news.push(news);
        }
    }

    /// What to write into a spool record that names this mailbox. Once the record is durable, say so with [`Mailbox::confirm`].
    ///
    /// # Errors
    /// A fault of the disk, or the mailbox was removed.
    pub fn reserve(&self) -> Result<Reserved, Refusal> {
        let state = self.lock()?;
        let (next, mod_seq) = (state.index.uid_next, state.index.mod_seq);
        let Bounds { uid_validity, mut uid_upto, mut mod_seq_upto } = state.durable;
        // Half a block is left for what is in flight.
        if uid_upto < next.saturating_add(limits::UID_BLOCK / 2) {
            uid_upto = next.saturating_add(limits::UID_BLOCK);
        }
        if mod_seq_upto < mod_seq.saturating_add(limits::MOD_SEQ_BLOCK / 2) {
            mod_seq_upto = mod_seq.saturating_add(limits::MOD_SEQ_BLOCK).min(maildir::limits::MOD_SEQ);
        }
        Ok(Reserved { uid_validity: validity(uid_validity), uid_upto, mod_seq_upto })
    }

    /// The record with these bounds is durable. If its disk does not answer, the numbers are not used.
    pub fn confirm(&self, reserved: &Reserved) {
        if let Ok(mut slot) = self.slot()
            && let Life::Awake(state) = &mut slot.life
            && state.durable.uid_validity == reserved.uid_validity.0.get()
        {
            state.durable.uid_upto = state.durable.uid_upto.max(reserved.uid_upto);
            state.durable.mod_seq_upto = state.durable.mod_seq_upto.max(reserved.mod_seq_upto);
            state.dirty = true;
        }
    }

    /// Counts without selecting.
    ///
    /// # Errors
    /// A fault of the disk, or the mailbox was removed.
    pub fn counts(&self) -> Result<Counts, Refusal> {
        let mut state = self.lock()?;
        state.refresh(None)?;
        let index = &state.index;
        let recent_from = index.recent_from;
        let mut counts = Counts {
            messages: index.entries().len() as u32,
            recent: 0,
            unseen: 0,
            uid_next: uid(index.uid_next),
            uid_validity: validity(index.uid_validity),
            highest_mod_seq: ModSeq(index.mod_seq),
            size: 0,
        };
        for entry in index.entries() {
            counts.recent += u32::from(entry.uid >= recent_from);
            counts.unseen += u32::from(!entry.marks.system.has(mail::System::SEEN));
            counts.size = counts.size.saturating_add(if entry.bits.has(Bits::SIZED) {
                entry.facts.wire
            } else {
                // RFC 8438 §3: not less than the sum. Nobody counted the line ends of this message yet, and its name is believed as far as it can be true.
                let (least, most) = (entry.facts.size, entry.facts.size.saturating_mul(2));
                Sizes::parse(index.base(entry)).wire.filter(|wire| (least..=most).contains(wire)).unwrap_or(most)
            });
        }
        Ok(counts)
    }

    /// How much memory it takes, in messages. What somebody has just now is needed, whatever it takes.
    pub(super) fn weight(&self) -> usize {
        match self.slot_soon(Duration::ZERO).as_ref().map(|slot| &slot.life) {
            Some(Life::Awake(state)) => state.index.entries().len() + 16,
            Some(Life::Asleep | Life::Dead) | None => 0,
        }
    }

    /// Locks it, reading it from disk if it is not in memory.
    pub(super) fn lock(&self) -> Result<Locked<'_>, Refusal> {
        let slot = self.slot()?;
        match slot.life {
            Life::Awake(_) => Ok(Locked { mailbox: self, slot }),
            Life::Asleep => self.load(slot),
            Life::Dead => Err(Refusal::NoMailbox),
        }
    }

    /// Locks it as it is.
    ///
    /// # Errors
    /// `Later` if its disk does not answer whoever has it.
    pub(super) fn slot(&self) -> Result<Held<'_, Slot>, Refusal> {
        let slot = self.slot.wait(|| self.account.calls.is_stalled()).ok_or(Refusal::Fault(Fault::Later))?;
        Ok(self.hear(slot))
    }

    /// The same for who can come again later, and others wait for.
    pub(super) fn slot_soon(&self, patience: Duration) -> Option<Held<'_, Slot>> {
        self.slot.soon(patience).map(|slot| self.hear(slot))
    }

    fn hear<'a>(&self, mut slot: Held<'a, Slot>) -> Held<'a, Slot> {
        if slot.panicked {
            // A session died in the middle of a change. What the disk says is whole; what must not be forgotten is kept.
            if matches!(&slot.life, Life::Awake(state) if !state.begun) {
                // It was being read: it may have no numbering yet, and nothing of it is only in memory.
                slot.life = Life::Asleep;
            }
            if let Life::Awake(state) = &mut slot.life {
                state.index_len = None;
                state.known = [None; 2];
            }
        }
        let news = std::mem::take(&mut self.notes().news);
        if let Life::Awake(state) = &mut slot.life {
            news.into_iter().for_each(|news| state.hear(news));
        }
        slot
    }
}

impl<'a> Locked<'a> {
    pub fn dir(&self) -> &Path {
        &self.slot.dir
    }

    /// What records of the spool ask for is done here. They are needed until the next checkpoint made that durable.
    pub fn done(&mut self, charges: &[Charge]) {
        self.dirty |= !charges.is_empty();
        for charge in charges {
            self.mailbox.common.ledger.done(self.mailbox.id, charge.ticket);
        }
    }

    /// Its disk, watched.
    pub fn disk(&self) -> &'a dyn Disk {
        let mailbox: &'a Mailbox = self.mailbox;
        &*mailbox.account.disk
    }

    pub fn common(&self) -> &Common {
        &self.mailbox.common
    }

    /// Applies a record and notes it for the file.
    pub fn put(&mut self, record: &Record) {
        let state = &mut **self;
        assert!(state.index.apply(record), "a record that does not fit: {record:?}");
        if state.index_len.is_some() {
            record.put(&mut state.log);
        }
        // What else the index knows may be lost: it is found out again.
        state.dirty |= matches!(record, Record::Add(_) | Record::Gone { .. });
    }

    /// Writes noted records into the file. The index is disposable: if the disk does not take them now, they are kept and tried again.
    pub fn flush(&mut self) {
        self.index.sweep();
        if self.log.is_empty() && self.index_len.is_some() {
            return;
        }
        let path = self.dir().join(INDEX);
        let done = match self.index_len {
            Some(len) if self.log.len() <= limits::LOG_HELD => self.append_log(&path, len),
            _ => self.write_snapshot(),
        };
        if let Err(error) = done {
            tracing::warn!(path = %path.display(), %error, "the index could not be written; it is kept in memory");
            if self.log.len() > limits::LOG_HELD {
                self.index_len = None;
                self.log = Vec::new();
            }
        }
    }

    fn append_log(&mut self, path: &Path, len: u64) -> io::Result<()> {
        let file = match self.disk().open_book(path, How::Append) {
            Ok(file) => file,
            Err(error) if is_foreign(&error) => {
                tracing::warn!(path = %path.display(), "the index is not written to, another takes its place: {error}");
                return self.write_snapshot();
            }
            Err(error) => return Err(error),
        };
        match file.len()? {
            is if is == len => {}
            // The tail of an append that failed half-way.
            is if is > len => file.set_len(len)?,
            _ => {
                // Somebody took the file away.
                drop(file);
                return self.write_snapshot();
            }
        }
        file.append(&self.log)?;
        self.index_len = Some(len + self.log.len() as u64);
        self.log.clear();
        // A rare long log is not worth its memory.
        self.log.shrink_to(4096);
        Ok(())
    }

    /// Replaces the index file. It is synced: a snapshot that a crash turned into nothing would cost all UIDs.
    pub fn write_snapshot(&mut self) -> io::Result<()> {
        let bytes = self.index.snapshot();
        write_file(self.disk(), &self.dir().join(INDEX), &bytes, true)?;
        self.index_len = Some(bytes.len() as u64);
        self.index.records = self.index.entries().len();
        self.log = Vec::new();
        Ok(())
    }

    /// Makes sure that `uids` UIDs and `changes` change numbers may be used: that they lie below bounds which would survive a crash.
    pub fn ensure(&mut self, uids: u32, changes: u64) -> Result<(), Refusal> {
        let (next, mod_seq) = (self.index.uid_next, self.index.mod_seq);
        let need = Bounds {
            uid_validity: self.index.uid_validity,
            uid_upto: next.checked_add(uids).ok_or(Refusal::Fault(Fault::Never))?,
            mod_seq_upto: mod_seq.checked_add(changes + 1).ok_or(Refusal::Fault(Fault::Never))?,
        };
        if need.mod_seq_upto > maildir::limits::MOD_SEQ {
            return Err(Refusal::Fault(Fault::Never));
        }
        if self.index.entries().len() + uids as usize > maildir::limits::MESSAGES {
            return Err(Refusal::Limit);
        }
        if need.uid_upto <= self.durable.uid_upto && need.mod_seq_upto <= self.durable.mod_seq_upto {
            return Ok(());
        }
        let bounds = Bounds {
            uid_upto: self.durable.uid_upto.max(next.saturating_add(uids.max(limits::UID_BLOCK))),
            mod_seq_upto: self
                .durable
                .mod_seq_upto
                .max(mod_seq.saturating_add(changes.max(limits::MOD_SEQ_BLOCK)).min(maildir::limits::MOD_SEQ)),
            ..need
        };
        self.write_bounds(bounds, true)
    }

    /// Writes bounds into `hikyaku.uids`; they hold as durable only if they are synced here.
    pub fn write_bounds(&mut self, bounds: Bounds, sync: bool) -> Result<(), Refusal> {
        let path = self.dir().join(UIDS);
        let write = || -> io::Result<()> {
            let disk = self.disk();
            let file = match disk.open_book(&path, How::Write) {
                Ok(file) => file,
                Err(e) if e.kind() == io::ErrorKind::NotFound || is_foreign(&e) => {
                    write_file(disk, &path, bounds.print().as_bytes(), sync)?;
                    return if sync { disk.sync_dir(self.dir()) } else { Ok(()) };
                }
                Err(e) => return Err(e),
            };
            let len = file.len()?;
            if len > maildir::limits::UIDS_FILE {
                // Synced, because it replaces lines that were; if these are to hold now, the name has to be theirs for good.
                write_file(disk, &path, bounds.print().as_bytes(), true)?;
                return if sync { disk.sync_dir(self.dir()) } else { Ok(()) };
            }
            file.write_at(bounds.print().as_bytes(), len)?;
            if sync { file.sync() } else { Ok(()) }
        };
        write().map_err(|e| trouble("write", &path, &e))?;
        self.written = bounds;
        if sync {
            self.settle_names()?;
            self.durable = bounds;
        }
        Ok(())
    }

    /// Makes the directory durable if it was made here: its own name and those above it.
    pub fn settle_names(&mut self) -> Result<(), Refusal> {
        if self.fresh {
            let root = &self.common().options.root;
            for dir in self.dir().ancestors().take_while(|d| d.starts_with(root) && !d.as_os_str().is_empty()) {
                self.disk().sync_dir(dir).map_err(|e| trouble("sync", dir, &e))?;
            }
            self.fresh = false;
        }
        Ok(())
    }

    /// The next change number. [`Locked::ensure`] comes first.
    pub fn next_mod_seq(&self) -> u64 {
        let next = self.index.mod_seq + 1;
        assert!(next < self.durable.mod_seq_upto, "a change number beyond what is reserved");
        next
    }

    /// The modification time of a directory, before a change of our own in it.
    pub fn before(&self, place: Place) -> io::Result<Option<i64>> {
        let now = super::ns(self.stat_dir(place)?.modified_ns);
        Ok(self.known[place as usize].filter(|known| *known == now))
    }

    /// Facts about `new/` or `cur/`.
    ///
    /// # Errors
    /// `InvalidData` if it is not ours alone any more; else as stat(2).
    pub fn stat_dir(&self, place: Place) -> io::Result<Stat> {
        let (disk, path) = (self.disk(), self.dir().join(place.dir()));
        let stat = disk.stat(&path)?;
        match super::objection(&path, &stat, disk.uid()) {
            Some(why) => Err(io::Error::new(io::ErrorKind::InvalidData, why)),
            None => Ok(stat),
        }
    }

    /// After a change of our own: it is no news, unless somebody else was at it too. What they did between two looks at the time shows in no
    /// time stamp, so the directory has to be read once it is quiet.
    pub fn after(&mut self, place: Place, before: Option<i64>) {
        let path = self.dir().join(place.dir());
        let now = before.and_then(|_| self.disk().stat(&path).ok()).map(|s| super::ns(s.modified_ns));
        self.known[place as usize] = now;
        self.unverified[place as usize] |= now != before;
    }

    /// Rings at every session that watches.
    pub fn ring(&self) {
        for ring in self.mailbox.audience().rings.values() {
            ring.ring(Nudge::Changed);
        }
    }

    /// Notes that a message is gone, for sessions that have not heard of it.
    pub fn note_gone(&mut self, mod_seq: u64, uid: u32) {
        let unwatched = self.mailbox.audience().views.is_empty();
        let state = &mut **self;
        if unwatched {
            state.gone_floor = mod_seq;
            state.gone.clear();
            return;
        }
        state.gone.push_back((mod_seq, uid));
        if state.gone.len() > limits::GONE_LOG
            && let Some((floor, _)) = state.gone.pop_front()
        {
            state.gone_floor = floor;
        }
    }

    /// Notes that flags changed.
    pub fn note_flagged(&mut self, mod_seq: u64, uid: u32) {
        let state = &mut **self;
        state.flagged.push_back((mod_seq, uid));
        if state.flagged.len() > limits::FLAG_LOG
            && let Some((floor, _)) = state.flagged.pop_front()
        {
            state.flagged_floor = floor;
        }
    }

    /// The books of the account follow.
    pub fn count(&self) {
        self.mailbox.account.count(&self.slot.name, self.total);
    }

    /// What the marks of a message mean.
    pub fn flags(&self, marks: Marks) -> Flags {
        self.keywords.flags(marks)
    }

    /// The marks of flags; gives keywords letters that have none.
    pub fn marks(&mut self, flags: &Flags) -> Result<Marks, Refusal> {
        let known = self.keywords.flags(Marks { system: flags.system, keywords: self.keywords.bits(&flags.keywords) });
        if known.keywords.len() != flags.keywords.len() {
            let used = self.index.entries().iter().fold(0, |used, e| used | e.marks.keywords);
            let mut keywords = self.keywords.clone();
            if keywords.adopt(&flags.keywords, used).ok_or(Refusal::Limit)? {
                // Synced before a letter is used: a letter without its keyword means nothing.
                let path = self.dir().join(KEYWORDS);
                write_file(self.disk(), &path, keywords.print().as_bytes(), true).map_err(|e| trouble("write", &path, &e))?;
                self.keywords = keywords;
            }
        }
        Ok(Marks { system: flags.system, keywords: self.keywords.bits(&flags.keywords) })
    }

    /// Where the file of a message is.
    pub fn path(&self, entry: &Entry) -> PathBuf {
        super::below(self.dir(), &self.index.path(entry))
    }
}

/// As a UID; the index never gives 0.
pub(super) fn uid(n: u32) -> Uid {
    Uid::new(n).unwrap_or(Uid::MAX)
}

/// As a UIDVALIDITY; the index never has 0.
pub(super) fn validity(n: u32) -> UidValidity {
    UidValidity(NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN))
}
