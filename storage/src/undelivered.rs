//! What was promised and is not done: records of the log that wait until their mailboxes can take what they ask for.
//!
//! A record waits for one mailbox at a time: others that it names have what it asks for. Its place in the log is pinned, so that no checkpoint lets go of it.

use crate::{
    control::SetAside,
    house::House,
    mailbox::{Aside, Failed, Owed},
    naming::{Names, try_stay},
    recover::decode,
    spool::{self, Lsn},
    supervise::guarded,
};
use mail::MailboxName;
use queue::{Naming, Record};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
};

/// Entries that wait for their mailboxes, some hundred bytes of memory each, before nothing more is accepted: something is wrong with the disk then.
pub const ALL_MAX: usize = 100_000;

/// As many for one account: beyond it, mail for several is not taken either that names this one by an alias.
const ACCOUNT_MAX: usize = 1000;

/// All that waits.
#[derive(Default)]
pub struct Undelivered {
    list: Mutex<BTreeMap<Key, Waiting>>,
    /// Held by who moves a record to another place, from reading what waits for it until it waits elsewhere, and shared by who adds to that or takes from it
    /// because of something else that is in the log.
    places: RwLock<()>,
    lost: AtomicU64,
}

/// How a record is pinned: its place in the log and the id of its entry.
pub type Key = (Lsn, u64);

/// A record that is not done everywhere.
#[derive(Debug, Clone)]
pub struct Waiting {
    /// Where it is.
    pub at: Lsn,
    /// The id of its entry.
    pub id: u64,
    /// The mailboxes where it is not done. Users of the others may have removed the message again meanwhile, and must not get it twice.
    pub left: Vec<Left>,
    /// What the queue was not told.
    pub untold: Untold,
    /// Since when it cannot be read, in monotonic milliseconds.
    pub unread_ms: Option<u64>,
}

/// A record that cannot be read.
pub(crate) struct Damaged;

/// What of a record the queue was not told, because something panicked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Untold {
    /// That it is for recipients elsewhere.
    pub leaves: bool,
    /// That it reports on others.
    pub settles: bool,
}

/// A mailbox where a record is not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// What is not done.
    pub task: Task,
    /// Whose mailbox it is.
    pub account: Box<str>,
    /// Its name now; the record may have an older one.
    pub mailbox: Box<str>,
}

/// What a record asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// To deliver its message.
    Deliver {
        /// Which target of the record.
        target: usize,
        /// The name of the message, so that its removal also ends this; of a record that could not be read yet only its unique part.
        base: Box<str>,
    },
    /// To remove messages.
    Remove,
    /// To note which numbers of the mailbox were used. No record says so: one is to be written before the log lets go of those that did.
    Number(queue::Reserved),
}

impl Left {
    /// Whether it is about this target of its record.
    pub fn is_for(&self, n: usize) -> bool {
        matches!(self.task, Task::Deliver { target, .. } if target == n)
    }

    /// Whether it is to deliver the message of this name.
    fn brings(&self, name: &[u8]) -> bool {
        let Task::Deliver { base, .. } = &self.task else { return false };
        // A whole name begins with a time.
        name == base.as_bytes() || base.starts_with('L') && name.split(|&byte| byte == b'.').nth(1) == Some(base.as_bytes())
    }
}

impl Waiting {
    /// A record that is not done in these mailboxes.
    pub fn new(at: Lsn, id: u64, left: Vec<Left>) -> Waiting {
        Waiting { at, id, left, untold: Untold::default(), unread_ms: None }
    }

    /// How it is pinned.
    pub fn key(&self) -> Key {
        (self.at, self.id)
    }

    /// Whether this record says what is to be done.
    fn is_of(&self, record: &Record<'_>) -> bool {
        let says = |left: &Left| match (record, &left.task) {
            (Record::Accept(accept), Task::Deliver { target, .. }) => accept.targets.iter().nth(*target).is_some(),
            (Record::Gone(_), Task::Remove) => true,
            _ => false,
        };
        self.left.iter().all(says) && (self.untold == Untold::default() || matches!(record, Record::Accept(_)))
    }

    /// Whether nothing is left of it.
    pub fn is_done(&self) -> bool {
        self.left.is_empty() && self.untold == Untold::default()
    }
}

impl Undelivered {
    /// Notes a record that is not done everywhere. It is pinned in the log.
    pub fn note(&self, waiting: Waiting) {
        let mut list = self.list();
        let known = list.entry(waiting.key()).or_insert_with(|| Waiting::new(waiting.at, waiting.id, Vec::new()));
        known.untold.leaves |= waiting.untold.leaves;
        known.untold.settles |= waiting.untold.settles;
        for left in waiting.left {
            if !known.left.contains(&left) {
                known.left.push(left);
            }
        }
    }

    /// From where on the log has what the queue was not told of; nothing if it was told of everything.
    pub fn untold_from(&self) -> Option<Lsn> {
        self.list().values().find(|waiting| waiting.untold != Untold::default()).map(|waiting| waiting.at)
    }

    /// Whether something waits for this account.
    pub fn waits_for(&self, account: &str) -> bool {
        self.list().values().any(|waiting| waiting.left.iter().any(|left| *left.account == *account))
    }

    /// Whether this message waits for a mailbox of this account.
    pub fn has_message(&self, account: &str, base: &[u8]) -> bool {
        let is_it =
            |left: &Left| matches!(&left.task, Task::Deliver { base: of, .. } if *left.account == *account && of.as_bytes() == base);
        self.list().values().any(|waiting| waiting.left.iter().any(is_it))
    }

    /// Whether no more may wait for this account.
    pub fn is_full_for(&self, account: &str) -> bool {
        let list = self.list();
        list.len() > ALL_MAX
            || list.values().flat_map(|waiting| &waiting.left).filter(|left| *left.account == *account).count() >= ACCOUNT_MAX
    }

    /// How many records wait.
    pub fn count(&self) -> usize {
        self.list().len()
    }

    /// How many wait for each account.
    pub fn accounts(&self) -> BTreeMap<Box<str>, u64> {
        let mut counts = BTreeMap::new();
        for left in self.list().values().flat_map(|waiting| &waiting.left) {
            *counts.entry(left.account.clone()).or_default() += 1;
        }
        counts
    }

    /// The names of mailboxes change. Gives the records that have nothing else to do: all they waited for was removed.
    pub fn follow(&self, account: &str, change: &Naming) -> Vec<Key> {
        let mut list = self.list();
        for waiting in list.values_mut() {
            waiting.left.retain_mut(|left| {
                if *left.account != *account {
                    return true;
                }
                let name = change.follow(&left.mailbox);
                let stays = name.is_some();
                left.mailbox = name.unwrap_or_default();
                stays
            });
        }
        list.extract_if(.., |_, waiting| waiting.is_done()).map(|(key, _)| key).collect()
    }

    /// What waits here is for a mailbox that was renamed before it was noted.
    fn correct(&self, key: Key, from: &str, to: &str) {
        if let Some(waiting) = self.list().get_mut(&key) {
            waiting.left.iter_mut().filter(|left| *left.mailbox == *from).for_each(|left| left.mailbox = to.into());
        }
    }

    /// What waits of this record, as its mailboxes are called now.
    pub fn now(&self, key: Key) -> Option<Waiting> {
        self.list().get(&key).cloned()
    }

    /// Messages were removed: they are not delivered again. Gives the records that have nothing else to do.
    fn cancel(&self, account: &str, mailbox: &str, bases: &[&[u8]]) -> Vec<Key> {
        let mut list = self.list();
        let gone = |left: &Left| *left.account == *account && *left.mailbox == *mailbox && bases.iter().any(|base| left.brings(base));
        list.values_mut().for_each(|waiting| waiting.left.retain(|left| !gone(left)));
        list.extract_if(.., |_, waiting| waiting.is_done()).map(|(key, _)| key).collect()
    }

    /// Whether this is still to be done.
    fn has(&self, key: Key, left: &Left) -> bool {
        self.list().get(&key).is_some_and(|waiting| waiting.left.contains(left))
    }

    /// This was done. True if the record has nothing else to do.
    fn done(&self, key: Key, left: &Left) -> bool {
        let mut list = self.list();
        let Some(waiting) = list.get_mut(&key) else { return false };
        waiting.left.retain(|other| other != left);
        waiting.is_done() && list.remove(&key).is_some()
    }

    /// The queue was told. True if the record has nothing else to do.
    fn told(&self, key: Key) -> bool {
        let mut list = self.list();
        let Some(waiting) = list.get_mut(&key) else { return false };
        waiting.untold = Untold::default();
        waiting.is_done() && list.remove(&key).is_some()
    }

    /// A record has another place in the log now.
    pub fn carried(&self, key: Key, to: Waiting) {
        let mut list = self.list();
        list.remove(&key);
        list.insert(to.key(), to);
    }

    /// Whether a record could be read.
    fn seen(&self, key: Key, readable: bool, now_ms: u64) {
        if let Some(waiting) = self.list().get_mut(&key) {
            waiting.unread_ms = if readable { None } else { waiting.unread_ms.or(Some(now_ms)) };
        }
    }

    /// A record is lost. Gives what waited for it.
    pub fn lose(&self, key: Key) -> Option<Waiting> {
        let waiting = self.list().remove(&key)?;
        self.lost.fetch_add(1, Ordering::Relaxed);
        Some(waiting)
    }

    /// How many records were lost in this run, because they could not be read.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    pub fn all(&self) -> Vec<Waiting> {
        self.list().values().cloned().collect()
    }

    fn list(&self) -> MutexGuard<'_, BTreeMap<Key, Waiting>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// No record gets another place while this is held. Hold it for a record at a time; and hold it while names change in the log, and where what waits
    /// follows that: what is written in another place has the names that the log knows there.
    pub fn still(&self) -> RwLockReadGuard<'_, ()> {
        self.places.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Only who has this moves one.
    pub fn moving(&self) -> RwLockWriteGuard<'_, ()> {
        self.places.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl House {
    /// A checkpoint could not make a mailbox durable: what it owes is kept in the log, and done again.
    pub(crate) fn keep(&self, mut failed: Failed) {
        let mut reader = self.spool().reader();
        let mut mailbox = failed.mailbox.name();
        let mut removed: BTreeSet<Box<[u8]>> = BTreeSet::new();
        // Each is owed by the mailbox until it is kept here.
        while let Some(Owed { at, id, target }) = failed.next() {
            let _still = self.undelivered().still();
            self.spool().pin(at, id);
            let read = reader.read(at).and_then(|bytes| match (decode(&bytes)?, target) {
                (Record::Accept(accept), Some(n)) => {
                    let target = accept.targets.iter().nth(n as usize).ok_or(io::ErrorKind::InvalidData)?;
                    Ok((target.account.into(), Task::Deliver { target: n as usize, base: target.base.into() }))
                }
                (Record::Gone(gone), None) => {
                    removed.extend(gone.bases.iter().map(Into::into));
                    Ok((gone.account.into(), Task::Remove))
                }
                _ => Err(io::ErrorKind::InvalidData.into()),
            });
            let is_known = read.is_ok();
            let (account, task) = read.unwrap_or_else(|error| {
                tracing::error!(id = format!("{id:x}"), %error, "a record of the log cannot be read; it is tried again");
                let task = target.map_or(Task::Remove, |n| {
                    let target = n as usize;
                    Task::Deliver { target, base: maildir::log_unique(id, target).into() }
                });
                (self.account_at(failed.mailbox.maildir()), task)
            });
            let left = Left { task, account, mailbox: mailbox.as_str().into() };
            let is_gone = match &left.task {
                Task::Deliver { base, .. } if is_known => removed.contains(base.as_bytes()),
                _ => removed.iter().any(|base| left.brings(base)),
            };
            if is_gone {
                // Another of its mailboxes may wait for it.
                if self.undelivered().now((at, id)).is_none() {
                    self.spool().unpin(at, id);
                }
            } else {
                self.undelivered().note(Waiting::new(at, id, vec![left]));
                // A change of names before this was noted has not followed it.
                let now = failed.mailbox.name();
                if now != mailbox {
                    self.undelivered().correct((at, id), mailbox.as_str(), now.as_str());
                    mailbox = now;
                }
            }
            failed.next_is_kept();
        }
    }

    /// Whose Maildir that is; nobody's if its account is gone.
    fn account_at(&self, maildir: &Path) -> Box<str> {
        self.accounts().all().iter().find(|account| account.maildir == maildir).map(|account| account.name().into()).unwrap_or_default()
    }

    /// Whether no more may wait for this account: what waits has no more than half of the log, so that it is never the reason to refuse others.
    pub(crate) fn no_more_waits_for(&self, account: &str) -> bool {
        self.undelivered().is_full_for(account) || self.spool().is_half_full()
    }

    /// Mailboxes that are set aside, for `status`.
    pub(crate) fn mailboxes_aside(&self) -> Vec<SetAside> {
        let refused = self.mailboxes().refused();
        // What is wrong with it is known better there.
        let known = |aside: &Aside| refused.iter().any(|(name, refused)| (&refused.maildir, name) == (&aside.maildir, &aside.name));
        let aside = self.mailboxes().aside().into_iter().filter(|aside| !known(aside)).map(|aside| SetAside {
            maildir: aside.maildir.display().to_string(),
            mailbox: aside.name.to_string(),
            why: aside.why.into(),
            since: u64::try_from(aside.since_s).unwrap_or(0),
        });
        let refused = refused.iter().map(|(name, refused)| SetAside {
            maildir: refused.maildir.display().to_string(),
            mailbox: name.to_string(),
            why: refused.why.clone(),
            since: u64::try_from(refused.since_s).unwrap_or(0),
        });
        refused.chain(aside).chain(self.names_in_doubt()).collect()
    }

    /// Mailboxes for which something waits.
    pub(crate) fn waiting_places(&self) -> BTreeSet<(PathBuf, MailboxName)> {
        let all = self.undelivered().all();
        let lefts = all.iter().flat_map(|waiting| &waiting.left);
        lefts
            .filter_map(|left| Some((self.accounts().named(&left.account)?.maildir.clone(), MailboxName::new(&left.mailbox).ok()?)))
            .collect()
    }

    /// Messages are gone from a mailbox, durably: none of them is delivered again.
    pub(crate) fn cancel(&self, account: &str, mailbox: &MailboxName, bases: &[&[u8]]) {
        for (at, id) in self.undelivered().cancel(account, mailbox.as_str(), bases) {
            self.spool().unpin(at, id);
        }
    }

    /// The names of those whose mailboxes a record waits for.
    pub(crate) fn names_of_left(&self, left: &[Left]) -> Vec<Arc<Names>> {
        // An inbox keeps its name.
        let named = left.iter().filter(|left| MailboxName::new(&left.mailbox).is_ok_and(|name| !name.is_inbox()));
        self.names_of(named.map(|left| &*left.account))
    }

    /// Tries again to do what was promised. Another may come by while one waits for the disk of a mailbox.
    pub fn deliver_again(&self) {
        if self.spool().look_at_fence().is_err() {
            return;
        }
        self.pay_names();
        let mut all = self.undelivered().all();
        // What says which numbers were used comes before what uses new ones.
        all.sort_by_key(|waiting| !waiting.left.iter().any(|left| matches!(left.task, Task::Remove | Task::Number(_))));
        for waiting in all {
            guarded("delivery", || self.do_waiting(waiting.key()));
        }
        let _alone = self.alone();
        self.lose_what_cannot_be_read();
    }

    fn do_waiting(&self, key: Key) {
        let Some(waiting) = self.undelivered().now(key) else { return };
        if waiting.left.iter().any(|left| matches!(left.task, Task::Number(_))) {
            let _alone = self.alone();
            if let Err(error) = self.carry_record(key) {
                tracing::warn!(%error, "which numbers of a mailbox were used is not in the log yet");
            }
            return;
        }
        let Some(Ok(bytes)) = self.read_waiting(&waiting) else { return };
        let Ok(record) = decode(&bytes) else { return };
        let Waiting { at, id, left, .. } = waiting;
        let mut failed = usize::from(!self.tell_what_is_untold(key, &record));
        for left in left {
            // Its mailbox keeps its name meanwhile; nobody else's has to.
            let names = self.names_of_left(std::slice::from_ref(&left));
            let Some(_stay) = try_stay(&names) else { continue };
            let wanted = || self.undelivered().has(key, &left);
            // Its mailbox has another name now, or its disk does not answer just now.
            if !wanted() || self.accounts().named(&left.account).is_some_and(|account| self.mailboxes().is_late(&account.maildir)) {
                continue;
            }
            if guarded("delivery", || self.replay_one(at, id, &record, &left, &wanted)) == Some(true) {
                let still = self.undelivered().still();
                let done = self.undelivered().done(key, &left);
                drop(still);
                self.let_go(key, done);
            } else {
                failed += 1;
            }
        }
        if failed > 0 {
            tracing::warn!(id = format!("{id:x}"), mailboxes = failed, "promised, and not done yet");
        }
    }

    /// Tells the queue what it was not told of a record. False if it could not be told.
    fn tell_what_is_untold(&self, key: Key, record: &Record<'_>) -> bool {
        // Once.
        let alone = self.alone();
        let untold = self.undelivered().now(key).map(|waiting| waiting.untold).unwrap_or_default();
        if untold == Untold::default() {
            return true;
        }
        let told = guarded("queue", || self.tell_queue(key.0, record, untold)).is_some();
        let done = told && self.undelivered().told(key);
        drop(alone);
        self.let_go(key, done);
        told
    }

    /// The log need not keep a record any more, if it has nothing else to do. Its mailboxes owe it until it is durable there.
    fn let_go(&self, (at, id): Key, is_done: bool) {
        if is_done {
            let _alone = self.alone();
            self.spool().unpin(at, id);
            tracing::info!(id = format!("{id:x}"), "done after all");
        }
    }

    /// The record of what waits, or that it is damaged; nothing if that cannot be told now.
    pub(crate) fn read_waiting(&self, waiting: &Waiting) -> Option<Result<Vec<u8>, Damaged>> {
        let read = self.spool().read(waiting.at).and_then(|bytes| {
            let is_it = waiting.is_of(&decode(&bytes)?);
            if is_it { Ok(bytes) } else { Err(io::Error::new(io::ErrorKind::InvalidData, "this is another record")) }
        });
        let read = match read {
            Ok(bytes) => Ok(bytes),
            Err(error) => {
                tracing::error!(id = format!("{:x}", waiting.id), %error, "a record that waits for its mailbox cannot be read");
                // If only a file more cannot be opened now, nothing is wrong with it.
                if !spool::is_damage(&error) {
                    return None;
                }
                Err(Damaged)
            }
        };
        self.undelivered().seen(waiting.key(), read.is_ok(), self.now_ms());
        Some(read)
    }

    /// Tells the queue what it was not told of a record.
    fn tell_queue(&self, at: Lsn, record: &Record<'_>, untold: Untold) {
        if let Record::Accept(accept) = record {
            self.outgoing().tell_again(self.depot(), self.queue_ms(), at, accept, untold);
        }
    }
}
