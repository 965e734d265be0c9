//! What was promised and is not done: records of the log that wait until their mailboxes can take what they ask for.
//!
//! A record waits for one mailbox at a time: others that it names have what it asks for. Its place in the log is pinned, so that no checkpoint lets go of it.

use crate::{
    control::SetAside,
    house::House,
    mailbox::{Failed, Owed},
    naming::Names,
    recover::decode,
    spool::Lsn,
    supervise::guarded,
};
use mail::MailboxName;
use queue::{Naming, Record};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Entries that wait for their mailboxes, some hundred bytes of memory each, before nothing more is accepted: something is wrong with the disk then.
pub const ALL_MAX: usize = 100_000;

/// As many for one account: beyond it, mail for several is not taken either that names this one by an alias.
const ACCOUNT_MAX: usize = 1000;

/// All that waits, by its place in the log.
#[derive(Default)]
pub struct Undelivered(Mutex<BTreeMap<Lsn, Waiting>>);

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
}

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
        /// The name of the message, so that its removal also ends this.
        base: Box<str>,
    },
    /// To remove messages.
    Remove,
}

impl Left {
    /// Whether it is about this target of its record.
    pub fn is_for(&self, n: usize) -> bool {
        matches!(self.task, Task::Deliver { target, .. } if target == n)
    }
}

impl Waiting {
    /// Whether nothing is left of it.
    pub fn is_done(&self) -> bool {
        self.left.is_empty() && self.untold == Untold::default()
    }
}

impl Undelivered {
    /// Notes a record that is not done everywhere. It is pinned in the log.
    pub fn note(&self, waiting: Waiting) {
        let mut list = self.list();
        let none = Waiting { at: waiting.at, id: waiting.id, left: Vec::new(), untold: Untold::default() };
        let known = list.entry(waiting.at).or_insert(none);
        known.untold.leaves |= waiting.untold.leaves;
        known.untold.settles |= waiting.untold.settles;
        for left in waiting.left {
            if !known.left.contains(&left) {
                known.left.push(left);
            }
        }
    }

    /// Whether something waits for this account.
    pub fn waits_for(&self, account: &str) -> bool {
        self.list().values().any(|waiting| waiting.left.iter().any(|left| *left.account == *account))
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
    pub fn follow(&self, account: &str, change: &Naming) -> Vec<(Lsn, u64)> {
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
        list.extract_if(.., |_, waiting| waiting.is_done()).map(|(at, waiting)| (at, waiting.id)).collect()
    }

    /// What waits here is for a mailbox that was renamed before it was noted.
    fn correct(&self, at: Lsn, from: &str, to: &str) {
        if let Some(waiting) = self.list().get_mut(&at) {
            waiting.left.iter_mut().filter(|left| *left.mailbox == *from).for_each(|left| left.mailbox = to.into());
        }
    }

    /// What waits at this place of the log, as its mailboxes are called now.
    fn now(&self, at: Lsn) -> Option<Waiting> {
        self.list().get(&at).cloned()
    }

    /// Messages were removed: they are not delivered again. Gives the records that have nothing else to do.
    fn cancel(&self, account: &str, mailbox: &str, bases: &[&[u8]]) -> Vec<(Lsn, u64)> {
        let mut list = self.list();
        let gone = |left: &Left| match &left.task {
            Task::Deliver { base, .. } => *left.account == *account && *left.mailbox == *mailbox && bases.contains(&base.as_bytes()),
            Task::Remove => false,
        };
        list.values_mut().for_each(|waiting| waiting.left.retain(|left| !gone(left)));
        list.extract_if(.., |_, waiting| waiting.is_done()).map(|(at, waiting)| (at, waiting.id)).collect()
    }

    /// Whether this is still to be done.
    fn has(&self, at: Lsn, left: &Left) -> bool {
        self.list().get(&at).is_some_and(|waiting| waiting.left.contains(left))
    }

    /// This was done. True if the record has nothing else to do.
    fn done(&self, at: Lsn, left: &Left) -> bool {
        let mut list = self.list();
        let Some(waiting) = list.get_mut(&at) else { return false };
        waiting.left.retain(|other| other != left);
        waiting.is_done() && list.remove(&at).is_some()
    }

    /// The queue was told. True if the record has nothing else to do.
    fn told(&self, at: Lsn) -> bool {
        let mut list = self.list();
        let Some(waiting) = list.get_mut(&at) else { return false };
        waiting.untold = Untold::default();
        waiting.is_done() && list.remove(&at).is_some()
    }

    /// A record has another place in the log now.
    fn carried(&self, at: Lsn, to: Waiting) {
        let mut list = self.list();
        list.remove(&at);
        list.insert(to.at, to);
    }

    fn all(&self) -> Vec<Waiting> {
        self.list().values().cloned().collect()
    }

    fn list(&self) -> MutexGuard<'_, BTreeMap<Lsn, Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl House {
    /// A checkpoint could not make a mailbox durable: what it owes is kept in the log, and done again.
    pub(crate) fn keep(&self, mut failed: Failed) {
        let mut reader = self.spool().reader();
        let mut mailbox = failed.mailbox.name();
        let mut removed: BTreeSet<Box<[u8]>> = BTreeSet::new();
        // Removals first: what was removed is not delivered again.
        failed.owed.sort_by_key(|owed| std::cmp::Reverse((owed.target.is_some(), owed.at)));
        // Each is given back to the mailbox unless it is kept here.
        while let Some(&Owed { at, id, target }) = failed.owed.last() {
            self.spool().pin(at, id);
            let account = reader.read(at).and_then(|bytes| match (decode(&bytes)?, target) {
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
            match account {
                Ok((_, Task::Deliver { base, .. })) if removed.contains(base.as_bytes()) => {
                    // Another of its mailboxes may wait for it.
                    if self.undelivered().now(at).is_none() {
                        self.spool().unpin(at, id);
                    }
                }
                Ok((account, task)) => {
                    let left = Left { task, account, mailbox: mailbox.as_str().into() };
                    self.undelivered().note(Waiting { at, id, left: vec![left], untold: Untold::default() });
                    // A change of names before this was noted has not followed it.
                    let now = failed.mailbox.name();
                    if now != mailbox {
                        self.undelivered().correct(at, mailbox.as_str(), now.as_str());
                        mailbox = now;
                    }
                }
                // Pinned all the same: the next start reads it again.
                Err(error) => tracing::error!(id = format!("{id:x}"), %error, "a record of the log cannot be read; it stays"),
            }
            failed.owed.pop();
        }
    }

    /// Whether no more may wait for this account: what waits has no more than half of the log, so that it is never the reason to refuse others.
    pub(crate) fn no_more_waits_for(&self, account: &str) -> bool {
        self.undelivered().is_full_for(account) || self.spool().is_half_full()
    }

    /// Mailboxes that are set aside, for `status`.
    pub(crate) fn mailboxes_aside(&self) -> Vec<SetAside> {
        let told = self.mailboxes().aside().into_iter().map(|aside| SetAside {
            maildir: aside.maildir.display().to_string(),
            mailbox: aside.name.to_string(),
            why: aside.why.into(),
            since: u64::try_from(aside.since_s).unwrap_or(0),
        });
        told.collect()
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
    fn names_of_left(&self, left: &[Left]) -> Vec<Arc<Names>> {
        let accounts: Vec<_> = left.iter().filter_map(|left| self.accounts().named(&left.account)).collect();
        self.names_of(accounts.iter().map(|account| &**account))
    }

    /// Tries again to do what was promised.
    pub fn deliver_again(&self) {
        let _alone = self.alone();
        let mut all = self.undelivered().all();
        // What says which numbers were used comes before what uses new ones.
        all.sort_by_key(|waiting| !waiting.left.iter().any(|left| left.task == Task::Remove));
        for waiting in all {
            let names = self.names_of_left(&waiting.left);
            let Some(_stay) = self.try_stay(&names) else { continue };
            // As their mailboxes are called now.
            let Some(Waiting { at, id, left, untold }) = self.undelivered().now(waiting.at) else { continue };
            let shown = format!("{id:x}");
            let mut failed = 0;
            let mut done = false;
            if untold != Untold::default() {
                match guarded("queue", || self.tell_queue(at, untold)) {
                    Some(Ok(())) => done |= self.undelivered().told(at),
                    Some(Err(error)) => {
                        tracing::error!(id = shown, %error, "the log cannot be read, so the queue does not know of this message yet");
                        failed += 1;
                    }
                    None => failed += 1,
                }
            }
            for left in left {
                if !self.undelivered().has(at, &left) {
                    continue;
                }
                match guarded("delivery", || self.replay_one(at, id, &left)) {
                    Some(Ok(true)) => {
                        self.not_after_all(at, &left);
                        done |= self.undelivered().done(at, &left);
                    }
                    Some(Ok(false)) | None => failed += 1,
                    Some(Err(error)) => {
                        tracing::error!(id = shown, %error, "the log cannot be read");
                        failed += 1;
                    }
                }
            }
            if done {
                self.spool().unpin(at, id);
                tracing::info!(id = shown, "done after all");
            }
            if failed > 0 {
                tracing::warn!(id = shown, mailboxes = failed, "promised, and not done yet");
            }
        }
    }

    /// Tells the queue what it was not told of a record.
    fn tell_queue(&self, at: Lsn, untold: Untold) -> io::Result<()> {
        let bytes = self.spool().read(at)?;
        let Record::Accept(accept) = decode(&bytes)? else { return Err(io::ErrorKind::InvalidData.into()) };
        self.outgoing().tell_again(self.depot(), self.queue_ms(), at, &accept, untold);
        Ok(())
    }

    /// Removes what was delivered again if its user removed it while that went on.
    fn not_after_all(&self, at: Lsn, left: &Left) {
        let Task::Deliver { base, .. } = &left.task else { return };
        if self.undelivered().has(at, left) {
            return;
        }
        let Some(account) = self.accounts().named(&left.account) else { return };
        let removed = MailboxName::new(&left.mailbox).ok().map(|name| {
            let mailbox = self.mailboxes().open(&account.maildir, &name)?;
            mailbox.bury(&[base.as_bytes()], &[])
        });
        if !matches!(removed, Some(Ok(()))) {
            tracing::error!(mailbox = %left.mailbox, base = %base, "a message that was removed came back");
        }
    }

    /// Moves what waits for its mailbox to the end of the log if it holds too much of it: a mailbox that cannot be written to for days must not
    /// stop the mail of everybody.
    ///
    /// # Errors
    /// If the log cannot be read or written.
    pub(crate) fn carry_waiting(&self) -> io::Result<()> {
        if !self.spool().is_half_full() {
            return Ok(());
        }
        self.pay_names();
        for waiting in self.undelivered().all() {
            let names = self.names_of_left(&waiting.left);
            // Their records must not say the old names behind that of the change: these stay where they are until the next time.
            let Some(_stay) = self.try_stay(&names) else { continue };
            let Some(Waiting { at, mut id, mut left, untold }) = self.undelivered().now(waiting.at) else { continue };
            // What the queue was not told of has to stay as it is until it was.
            if untold != Untold::default() {
                continue;
            }
            let read = self.spool().read(at);
            let decoded = read.as_ref().map_err(|error| io::Error::new(error.kind(), error.to_string())).and_then(|bytes| decode(bytes));
            let record = match decoded {
                Ok(record) => record,
                Err(error) => {
                    // It holds the log where it is; the others need not.
                    tracing::error!(id = format!("{id:x}"), %error, "a record that waits for its mailbox cannot be read");
                    continue;
                }
            };
            let to = match record {
                Record::Accept(accept) => {
                    let mut targets = Vec::with_capacity(left.len());
                    for left in &mut left {
                        let Task::Deliver { target: n, .. } = &mut left.task else { continue };
                        let target = accept.targets.iter().nth(*n).ok_or(io::ErrorKind::InvalidData)?;
                        *n = targets.len();
                        targets.push(queue::Target { mailbox: &left.mailbox, ..target });
                    }
                    // What leaves, and what it reports on, is known to the queue; told again, it would be sent again.
                    let accept =
                        queue::Accept { targets: queue::Targets::new(&targets), remotes: queue::Remotes::NONE, settles: None, ..accept };
                    let head = accept.head();
                    match accept.content {
                        queue::Content::Inline(bytes) => self.spool().carry(at, id, &[&head, bytes])?,
                        queue::Content::Large { .. } => self.spool().carry(at, id, &[&head])?,
                    }
                }
                // A removal stays behind what it removes: a message that is carried has not been removed.
                Record::Gone(gone) => {
                    let mailbox = left.first().map_or(gone.mailbox, |left| &left.mailbox);
                    let mut entry = self.spool().entry();
                    entry.commit(&[&queue::Gone { mailbox, ..gone }.encode()])?;
                    self.spool().unpin(at, id);
                    id = entry.id();
                    entry.pin()
                }
                _ => continue,
            };
            self.undelivered().carried(at, Waiting { at: to, id, left, untold });
        }
        Ok(())
    }
}
