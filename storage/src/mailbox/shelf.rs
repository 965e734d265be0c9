//! All mailboxes that are in memory, and what they share.

use super::{
    account::{Account, Refused},
    aside::{self, Aside, Until},
    device::Devices,
    ledger::Ledger,
    limits,
    state::{Life, Mailbox, News},
};
use crate::{disk::Disk, supervise::guarded};
use imap::Refusal;
use mail::MailboxName;
use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{BuildHasher, Hasher, RandomState},
    io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};
use wire::Fault;

/// Tells nanoseconds since 1970.
pub type Clock = Arc<dyn Fn() -> i128 + Send + Sync>;

/// The clock of the machine.
pub fn system_clock() -> Clock {
    Arc::new(|| match std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH) {
        Ok(since) => since.as_nanos() as i128,
        Err(before) => -(before.duration().as_nanos() as i128),
    })
}

/// How to keep mailboxes.
#[derive(Clone)]
pub struct Options {
    /// The name of this host, as it stands in file names.
    pub host: String,
    /// The store. Directories that are made below it are made durable up to here.
    pub root: PathBuf,
    /// How many messages to keep in memory while nobody needs them. An empty mailbox counts as 16.
    pub budget: usize,
    /// What time it is.
    pub clock: Clock,
    /// A mailbox with a lesser UIDVALIDITY gets a new one when it is read: the store is an older copy of what clients have seen.
    pub uidvalidity: u32,
}

/// What all mailboxes share.
pub(super) struct Common {
    pub disk: Arc<dyn Disk>,
    pub options: Options,
    /// Makes names unique and hash tables unguessable.
    seed: u64,
    counter: AtomicU64,
    /// The file systems they lie on.
    pub devices: Devices,
    /// What they owe the spool.
    pub ledger: Ledger,
    /// Counts rounds, about a second each: what lasts for many of them may never end.
    pub rounds: Arc<AtomicU64>,
    /// Where mailboxes were, by number, whose directories another program took away and who owe something.
    pub vanished: Mutex<BTreeMap<u64, PathBuf>>,
    /// Those that are set aside.
    pub aside: aside::List,
    /// What other programs took away and brought back, in order, as far as nobody asked for it.
    pub missed: Mutex<Vec<Missed>>,
}

impl Common {
    pub fn now_s(&self) -> i64 {
        ((self.options.clock)() / 1_000_000_000) as i64
    }

    pub fn now_ns(&self) -> i128 {
        (self.options.clock)()
    }

    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// A base name that nothing else has: time, process, count.
    pub fn base_name(&self, size: u64, wire: u64) -> String {
        let now = self.now_ns();
        let count = self.counter.fetch_add(1, Ordering::Relaxed);
        let unique = format!("M{}P{}Q{count}", now.rem_euclid(1_000_000_000) / 1000, std::process::id());
        maildir::base_name(self.now_s(), &unique, &self.options.host, size, wire)
    }

    /// Which round it is.
    pub fn round(&self) -> u64 {
        self.rounds.load(Ordering::Relaxed)
    }

    /// Whether a mailbox was in this directory that another program took away, and what was written there may not be durable.
    pub fn has_vanished(&self, dir: &Path) -> bool {
        self.vanished().values().any(|was| was == dir)
    }

    pub fn vanished(&self) -> MutexGuard<'_, BTreeMap<u64, PathBuf>> {
        self.vanished.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A count that is never the same.
    pub fn count(&self) -> u64 {
        self.counter.fetch_add(1, Ordering::Relaxed)
    }
}

/// A file of a message that came by the spool, which another program took away or brought back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missed {
    /// The Maildir.
    pub maildir: PathBuf,
    /// The mailbox in it.
    pub mailbox: MailboxName,
    /// The base name.
    pub base: Box<[u8]>,
    /// Whether it is back.
    pub is_back: bool,
}

/// The mailboxes of a store: opens them, keeps them in memory while they are used, and looks after them.
pub struct Mailboxes {
    pub(super) common: Arc<Common>,
    shelf: Mutex<Shelf>,
    /// Directories of removed mailboxes that wait for being emptied.
    pub(super) trash: Mutex<BTreeSet<PathBuf>>,
}

#[derive(Default)]
struct Shelf {
    mailboxes: BTreeMap<PathBuf, Arc<Mailbox>>,
    accounts: BTreeMap<PathBuf, Arc<Account>>,
    /// Dead ones who owe something.
    vanished: Vec<Arc<Mailbox>>,
    /// Counts openings, to know who was used last.
    ticket: u64,
}

impl Mailboxes {
    /// None is open.
    pub fn new(disk: Arc<dyn Disk>, options: Options) -> Mailboxes {
        let seed = RandomState::new().build_hasher().finish();
        let disk = disk.careful().unwrap_or(disk);
        let rounds = Arc::new(AtomicU64::new(0));
        Mailboxes {
            common: Arc::new(Common {
                disk,
                options,
                seed,
                counter: AtomicU64::new(1),
                devices: Devices::new(rounds.clone()),
                ledger: Ledger::default(),
                rounds,
                vanished: Mutex::default(),
                aside: aside::List::default(),
                missed: Mutex::default(),
            }),
            shelf: Mutex::default(),
            trash: Mutex::default(),
        }
    }

    /// Opens a mailbox of the Maildir at `maildir`. The inbox is made if it is missing.
    ///
    /// # Errors
    /// [`Refusal::NoMailbox`], or a fault of the disk.
    pub fn open(&self, maildir: &Path, name: &MailboxName) -> Result<Arc<Mailbox>, Refusal> {
        let mut found = Err(Refusal::NoMailbox);
        // One that was not there when somebody else asked is dead for good; there may be another by now.
        for _ in 0..2 {
            let mailbox = self.slot(maildir, name)?;
            found = mailbox.wake().map(|()| mailbox.clone());
            match &found {
                Err(Refusal::NoMailbox) => self.forget(&mailbox),
                // After a fault of the disk it stays: others may hold it, and two of one directory would give out the same UIDs.
                _ => break,
            }
        }
        found
    }

    /// Looks whether a Maildir can be used: whether nobody else may write there.
    ///
    /// # Errors
    /// `Later` if not, or a fault of the disk.
    pub fn guard(&self, maildir: &Path) -> Result<(), Refusal> {
        self.account(maildir).guard_often()
    }

    /// Maildirs that are not used, because somebody else may write there or they cannot be looked at.
    pub fn refused(&self) -> Vec<(MailboxName, Refused)> {
        let name = |account: &Account, refused: &Refused| match refused.dir.strip_prefix(&account.root).ok()?.as_os_str().as_bytes() {
            b"" => Some(MailboxName::inbox()),
            folder => maildir::mailbox_name(folder),
        };
        let each =
            self.accounts().into_iter().flat_map(|account| account.refused().into_iter().map(move |refused| (account.clone(), refused)));
        each.map(|(account, refused)| (name(&account, &refused).unwrap_or_else(MailboxName::inbox), refused)).collect()
    }

    /// Whether they can be used by now.
    pub(super) fn look_at_refused(&self) {
        for account in self.accounts().into_iter().filter(|account| !account.calls.is_late()) {
            for refused in account.refused() {
                // The log has what is wrong.
                let _ = account.guard(&refused.dir);
            }
        }
    }

    fn accounts(&self) -> Vec<Arc<Account>> {
        self.shelf().accounts.values().cloned().collect()
    }

    /// Takes what other programs removed and brought back since the last time. The spool must hear of it while it still has these messages, or it would deliver
    /// them again after a crash.
    pub fn missed(&self) -> Vec<Missed> {
        std::mem::take(&mut self.common.missed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The spool could not be told.
    pub fn still_missed(&self, missed: Vec<Missed>) {
        self.common.missed.lock().unwrap_or_else(PoisonError::into_inner).splice(..0, missed);
    }

    /// The mailbox, without looking whether it is there or can be opened: what is promised to it waits until it can.
    ///
    /// # Errors
    /// If there cannot be one of this name.
    pub fn slot(&self, maildir: &Path, name: &MailboxName) -> Result<Arc<Mailbox>, Refusal> {
        let folder = maildir::folder_name(name).ok_or(if name.is_inbox() { Refusal::Cannot } else { Refusal::NoMailbox })?;
        let dir = maildir.join(folder);
        let account = self.account(maildir);
        let mut shelf = self.shelf();
        shelf.ticket += 1;
        let ticket = shelf.ticket;
        let make = || Arc::new(Mailbox::new(self.common.clone(), account, dir.clone(), name.clone()));
        let mailbox = shelf.mailboxes.entry(dir.clone()).or_insert_with(make);
        mailbox.used.store(ticket, Ordering::Relaxed);
        Ok(mailbox.clone())
    }

    pub(super) fn account(&self, maildir: &Path) -> Arc<Account> {
        let mut shelf = self.shelf();
        if let Some(account) = shelf.accounts.get(maildir) {
            return account.clone();
        }
        // Before anything in it is looked at.
        self.common.disk.confine(maildir);
        let account = Arc::new(Account::new(self.common.clone(), maildir.to_owned()));
        shelf.accounts.insert(maildir.to_owned(), account.clone());
        account
    }

    /// The disk for what is done in a Maildir.
    pub(super) fn disk(&self, maildir: &Path) -> Arc<dyn Disk> {
        self.account(maildir).disk.clone()
    }

    /// The mailbox is dead. What it owes it owes until the file system is synced where it was.
    pub(super) fn forget(&self, mailbox: &Arc<Mailbox>) {
        self.common.aside.forget(mailbox.id);
        let mut shelf = self.shelf();
        let was = shelf.mailboxes.extract_if(.., |_, m| Arc::ptr_eq(m, mailbox)).next();
        if let Some((dir, mailbox)) = was {
            self.bury(&mut shelf, dir, mailbox);
        }
    }

    /// A dead mailbox has left the shelf.
    fn bury(&self, shelf: &mut Shelf, dir: PathBuf, mailbox: Arc<Mailbox>) {
        if self.common.ledger.has(mailbox.id) {
            self.common.vanished().insert(mailbox.id, dir);
            shelf.vanished.push(mailbox);
        }
    }

    /// Those that owe nothing any more are forgotten.
    pub(super) fn forget_vanished(&self) {
        let owes = |id: &u64| self.common.ledger.has(*id);
        self.shelf().vanished.retain(|mailbox| owes(&mailbox.id));
        self.common.vanished().retain(|id, _| owes(id));
    }

    /// Whether a checkpoint should come soon.
    pub fn want_checkpoint(&self) -> bool {
        !self.common.aside.all().is_empty() || !self.common.vanished().is_empty()
    }

    /// A round is over: call it about once a second, whatever else hangs. A Maildir where a call of the disk has not returned for many rounds is set aside.
    pub fn tick(&self) {
        self.common.rounds.fetch_add(1, Ordering::Relaxed);
        let accounts: Vec<Arc<Account>> = self.shelf().accounts.values().cloned().collect();
        let mut late: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for account in &accounts {
            let age = account.calls.count();
            if age >= limits::LATE_ROUNDS
                && let Some(device) = account.device()
            {
                late.entry(device).or_default().push(age);
            }
            if age >= limits::STALLED_ROUNDS
                && let Ok(inbox) = self.slot(&account.root, &MailboxName::inbox())
            {
                inbox.set_aside("a call of the disk does not return", Until::Settled);
            }
        }
        late.values_mut().for_each(|ages| ages.sort_unstable_by_key(|age| std::cmp::Reverse(*age)));
        for account in &accounts {
            let ages = account.device().and_then(|device| late.get(&device));
            account.calls.hear_of_others(ages.and_then(|ages| ages.get(limits::STALLED_MANY - 1)).copied().unwrap_or(0));
        }
    }

    /// Whether the disk has not answered for so long in a Maildir that nobody should be made to wait for it.
    pub fn is_late(&self, maildir: &Path) -> bool {
        let account = self.account(maildir);
        account.calls.is_late() || account.device().is_some_and(|device| self.common.devices.lasts(device) >= limits::SYNC_ROUNDS)
    }

    /// Gives a mailbox another directory and name. Nobody opens either name meanwhile: two mailboxes of one directory would give out the same UIDs.
    /// This is the only place where locks of mailboxes nest: that of the mailbox, then that of what somebody may look for under the new name. The shelf's
    /// comes last and for a moment only: a mailbox may wait long for its disk, and everybody goes by the shelf.
    pub(super) fn relocate(&self, mailbox: &Arc<Mailbox>, name: &MailboxName, dir: &Path) -> io::Result<()> {
        let late = |_| io::Error::from(io::ErrorKind::TimedOut);
        let mut slot = mailbox.slot().map_err(late)?;
        if matches!(slot.life, Life::Dead) {
            return Err(io::ErrorKind::NotFound.into());
        }
        loop {
            let make = || Arc::new(Mailbox::new(self.common.clone(), mailbox.account.clone(), dir.to_owned(), name.clone()));
            let other = self.shelf().mailboxes.entry(dir.to_owned()).or_insert_with(make).clone();
            if Arc::ptr_eq(&other, mailbox) {
                return Ok(());
            }
            let mut there = other.slot().map_err(late)?;
            match there.life {
                // Somebody has found that it is not there and is about to take it off the shelf, so that it keeps nobody out.
                Life::Dead => {
                    drop(there);
                    self.forget(&other);
                    continue;
                }
                Life::Awake(_) => return Err(io::ErrorKind::AlreadyExists.into()),
                Life::Asleep => {}
            }
            let moved = mailbox.account.disk.rename(&slot.dir, dir);
            if moved.is_ok() {
                mailbox.account.uncount(&slot.name);
                if let Life::Awake(state) = &slot.life {
                    mailbox.account.count(name, state.total);
                }
                self.common.aside.renamed(mailbox.id, name);
                self.common.aside.forget(other.id);
                slot.dir = dir.to_owned();
                slot.name = name.clone();
                mailbox.is_called(name);
                there.life = Life::Dead;
                let mut shelf = self.shelf();
                shelf.mailboxes.retain(|_, m| !Arc::ptr_eq(m, mailbox));
                if let Some(other) = shelf.mailboxes.insert(dir.to_owned(), mailbox.clone()) {
                    self.bury(&mut shelf, dir.to_owned(), other);
                }
            }
            return moved;
        }
    }

    /// All that are in memory.
    pub(super) fn all(&self) -> Vec<Arc<Mailbox>> {
        self.shelf().mailboxes.values().cloned().collect()
    }

    /// The same, and those who owe something and are not there any more.
    pub(super) fn all_who_may_owe(&self) -> Vec<Arc<Mailbox>> {
        let shelf = self.shelf();
        shelf.mailboxes.values().chain(&shelf.vanished).cloned().collect()
    }

    /// Lets mailboxes go that nobody uses, those unused for longest first, until the budget is kept.
    pub(super) fn evict(&self) {
        let mut weights: Vec<_> = self.all().into_iter().map(|m| (m.used.load(Ordering::Relaxed), m.weight(), m)).collect();
        let mut total: usize = weights.iter().map(|(_, weight, _)| weight).sum();
        if total <= self.common.options.budget {
            return;
        }
        weights.sort_by_key(|(used, ..)| *used);
        for (used, weight, mailbox) in weights {
            if total <= self.common.options.budget {
                break;
            }
            if !mailbox.rest() {
                continue;
            }
            total -= weight;
            // It falls asleep wherever it is held; only if it is held nowhere else does it leave the shelf. Two here: this one and the shelf's.
            let mut shelf = self.shelf();
            if Arc::strong_count(&mailbox) == 2 && mailbox.used.load(Ordering::Relaxed) == used {
                shelf.mailboxes.retain(|_, m| !Arc::ptr_eq(m, &mailbox));
            }
        }
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        // Nothing in there can be half done.
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mailbox {
    /// Reads it from disk if it is not in memory. Where that fails or panics, it is set aside: whoever opens mailboxes one after the other goes on with
    /// the next.
    fn wake(&self) -> Result<(), Refusal> {
        let now_s = self.common.now_s();
        if self.common.aside.rests(self.id, now_s) {
            return Err(Refusal::Fault(Fault::Later));
        }
        match guarded("mailbox", || self.lock().map(drop)) {
            Some(Ok(())) => self.common.aside.clear(self.id, Until::Opened),
            Some(Err(Refusal::Fault(fault))) => {
                self.set_aside("it cannot be opened", Until::Opened);
                return Err(Refusal::Fault(fault));
            }
            Some(Err(refusal)) => return Err(refusal),
            None => {
                self.set_aside("opening it ended in a panic", Until::Survived);
                return Err(Refusal::Fault(Fault::Later));
            }
        }
        Ok(())
    }

    /// What was promised to it and is not there waits in the log.
    pub(crate) fn wait_for_mail(&self) {
        self.set_aside("what was promised to it waits", Until::Settled);
    }

    /// Something is wrong with it.
    pub(super) fn set_aside(&self, why: &'static str, until: Until) {
        if until == Until::Settled {
            // So that the next checkpoint looks at it.
            self.tell(News::Look);
        }
        let (now_s, maildir, name) = (self.common.now_s(), self.account.root.clone(), self.name());
        let aside = Aside { maildir: maildir.clone(), name: name.clone(), why, since_s: now_s, until, tried_s: now_s };
        if self.common.aside.set(self.id, aside) {
            let (maildir, mailbox) = (maildir.display(), name);
            tracing::error!(%maildir, %mailbox, why, "a mailbox is set aside; what was promised to it waits, and its account takes no mail");
        }
    }
}

impl Default for Options {
    fn default() -> Options {
        Options { host: "localhost".into(), root: PathBuf::new(), budget: limits::BUDGET, clock: system_clock(), uidvalidity: 0 }
    }
}
