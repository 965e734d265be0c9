//! Names of mailboxes, and who may change them.
//!
//! Records of the log name mailboxes, so a change of names is a record too, written **before** it is done: a replay looks for what came before it
//! under the new name, and does the change itself if a crash came first. For that
//!
//! - no record may say an old name behind the record of its change. Whoever writes one shares the account's `told` from reading the name until what the
//!   record asks for is done; a change of names has it alone while the log and the memory are changed, and while no disk is synced but the log's;
//! - an account has one change at a time that is not durable. Its `order` is held while the disk is synced, and what could not be made durable is owed:
//!   no other name of the account changes before.
//!
//! Each account has its own, so nobody waits for another's disk; and an inbox keeps its name, so whoever delivers to inboxes waits for none. Nor does anybody
//! wait for an account's trouble: the log keeps the record of a change until that is durable, and where that takes long, whatever it is that whoever makes the
//! change waits for, a record at its end says what is still to be done ([`queue::Doing::Still`]), so that it goes on. Such a record moves no mail in a replay, for
//! whatever is written while a change is under way or stuck has the names that the log knows ([`House::called`]), also where the disk has others.

use crate::{account::Account, control::SetAside, house::House, mailbox::Moves, spool::Lsn, supervise::guarded};
use imap::Refusal;
use mail::{MailboxName, SpecialUse};
use queue::{Doing, Naming, Record, Replay};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError},
};
use wire::Fault;

/// The names of one account, which may be away.
pub(crate) struct Names {
    account: Box<str>,
    order: Mutex<Option<Owed>>,
    told: RwLock<Option<Stuck>>,
    /// The records of its changes that the log keeps, in their order. Whoever is at one may wait for a disk that never answers, and the log has to go on.
    pinned: Mutex<Vec<Pinned>>,
}

/// The record of a change that the log keeps.
struct Pinned {
    change: Arc<Naming>,
    at: Lsn,
    id: u64,
    /// Whether the log has the new names and nobody else has.
    is_ahead: bool,
}

/// Those of all accounts that anybody asked for, and how many changes each made lately.
#[derive(Default)]
pub(crate) struct Registry {
    accounts: Mutex<BTreeMap<Box<str>, Arc<Names>>>,
    changes: Mutex<post::Rates>,
}

/// A change that is not durable. The log keeps its record.
#[derive(Clone)]
pub(crate) struct Owed {
    change: Arc<Naming>,
    /// Since when, in seconds since 1970.
    since_s: i64,
}

/// The log has other names than the disk.
pub(crate) enum Stuck {
    /// This could not be done, and neither taken back.
    Back(Moves, Owed),
    /// These have to be done again after a crash, in their order.
    Forth(Vec<Owed>),
}

/// Mailboxes keep their names.
pub(crate) type Stay<'a> = Vec<RwLockReadGuard<'a, Option<Stuck>>>;

impl House {
    /// Makes a mailbox, durably.
    ///
    /// # Errors
    /// As [`crate::mailbox::Mailboxes::create`], or an earlier change of names cannot be made durable.
    pub(crate) fn create_mailbox(&self, account: &Account, name: &MailboxName, special_use: Option<SpecialUse>) -> Result<(), Refusal> {
        let names = self.names(&account.name());
        let mut owed = names.order();
        // Or a crash would take the new one for the one that is removed or renamed.
        self.pay(&names, &mut owed)?;
        self.unstick(&names, &mut names.told_alone())?;
        self.mailboxes().create(&account.maildir, name, special_use)
    }

    /// Changes names of an account, durably.
    ///
    /// # Errors
    /// As [`crate::mailbox::Mailboxes::plan`], or a fault of the disk. If the disk could not be synced it is done for all to see, and becomes durable
    /// before any other name of the account changes.
    pub(crate) fn change_names(&self, account: &Account, change: Naming) -> Result<(), Refusal> {
        let names = self.names(&account.name());
        let mut owed = names.order();
        self.pay(&names, &mut owed)?;
        let moves = self.mailboxes().plan(&account.maildir, &change)?;
        *owed = Some(self.tell_and_do(&names, &account.maildir, change, moves)?);
        self.pay(&names, &mut owed)
    }

    /// Whether an account may change names now, and counts it: each change syncs a disk that others wait for as well.
    ///
    /// # Errors
    /// [`Refusal::Limit`]
    pub(crate) fn check_changes(&self, account: &Account) -> Result<(), Refusal> {
        let limit = post::Limit { messages: self.config().limits.mailbox_changes, recipients: 0 };
        let mut changes = self.registry().changes.lock().unwrap_or_else(PoisonError::into_inner);
        if changes.take(&[(&account.name(), 1)], limit, 0, self.now_ms()) { Ok(()) } else { Err(Refusal::Limit) }
    }

    /// The names of these accounts, in the order in which they are to be locked.
    pub(crate) fn names_of<'a>(&self, accounts: impl IntoIterator<Item = &'a str>) -> Vec<Arc<Names>> {
        accounts.into_iter().collect::<BTreeSet<_>>().into_iter().map(|account| self.names(account)).collect()
    }

    /// Mailboxes of these accounts keep their names while this is held: from the moment a record of the log names one until what it asks for is done. Hold no
    /// other meanwhile. What is stuck is tried again.
    ///
    /// # Errors
    /// If they have other names in the log.
    pub(crate) fn stay<'a>(&self, names: &'a [Arc<Names>]) -> Result<Stay<'a>, Refusal> {
        let mut stay = Vec::with_capacity(names.len());
        for names in names {
            loop {
                let told = names.told.read().unwrap_or_else(PoisonError::into_inner);
                if told.is_none() {
                    stay.push(told);
                    break;
                }
                drop(told);
                self.unstick(names, &mut names.told_alone())?;
            }
        }
        Ok(stay)
    }

    /// What the log calls a mailbox that is called `mailbox` here. Hold [`crate::undelivered::Undelivered::moving`] until that is written.
    pub(crate) fn called(&self, account: &str, mailbox: &str) -> Box<str> {
        let names = self.names(account);
        let pinned = names.pinned();
        // One that the log takes for removed is a new one of that name to it; both come together when the removal is taken back.
        let new = pinned.iter().find(|pinned| pinned.is_ahead).and_then(|pinned| pinned.change.follow(mailbox));
        new.unwrap_or_else(|| mailbox.into())
    }

    /// Makes durable what could not be made durable before, and does what could not be done. Where that still cannot be, the log need not keep its record
    /// where it is for ever.
    pub(crate) fn pay_names(&self) {
        let all: Vec<Arc<Names>> = self.registry().accounts.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        for names in all {
            let is_late = self.accounts().named(&names.account).is_some_and(|account| self.mailboxes().is_late(&account.maildir));
            if !is_late {
                match guarded("names", || self.try_to_pay(&names)) {
                    Some(Ok(())) => {}
                    Some(Err(refusal)) => tracing::warn!(account = %names.account, ?refusal, "a change of names is not durable yet"),
                    None => {}
                }
            }
            if let Err(error) = self.carry_names(&names) {
                tracing::error!(account = %names.account, %error, "a change of names holds the log");
            }
        }
    }

    fn try_to_pay(&self, names: &Names) -> Result<(), Refusal> {
        let mut owed = match names.order.try_lock() {
            Ok(owed) => owed,
            Err(TryLockError::Poisoned(owed)) => owed.into_inner(),
            // Somebody is at it.
            Err(TryLockError::WouldBlock) => return Ok(()),
        };
        if names.is_stuck() {
            self.unstick(names, &mut names.told_alone())?;
        }
        self.pay(names, &mut owed)
    }

    /// Tells at the end of the log what is still to be done of a change of names, if it would hold too much of it otherwise.
    fn carry_names(&self, names: &Names) -> io::Result<()> {
        for pinned in names.pinned().iter_mut().filter(|pinned| self.is_far_back(pinned.at)) {
            let mut entry = self.spool().entry();
            entry.commit_removal(&[&pinned.change.record(&names.account, Doing::Still).encode()])?;
            let id = entry.id();
            let at = entry.pin();
            self.spool().unpin(pinned.at, pinned.id);
            (pinned.at, pinned.id) = (at, id);
        }
        Ok(())
    }

    /// The log keeps the record of a change, which is pinned, until [`House::end_names`].
    fn owe_names(&self, names: &Names, change: Naming, at: Lsn, id: u64, is_ahead: bool) -> Owed {
        let change = Arc::new(change);
        names.pinned().push(Pinned { change: change.clone(), at, id, is_ahead });
        Owed { change, since_s: self.now().seconds }
    }

    /// Writes how changes ended, and lets the log go of them.
    fn end_names(&self, names: &Names, ended: &[Owed], how: &Record<'_>) -> Result<(), Refusal> {
        // Held meanwhile: neither may be told behind this what is still to be done, nor a name that is taken back.
        let _still = self.undelivered().still();
        let mut pinned = names.pinned();
        self.note(how)?;
        let is_ended = |pinned: &mut Pinned| ended.iter().any(|owed| Arc::ptr_eq(&pinned.change, &owed.change));
        pinned.extract_if(.., is_ended).for_each(|pinned| self.spool().unpin(pinned.at, pinned.id));
        Ok(())
    }

    /// Changes of names that are not done, or not durable, for `status`.
    pub(crate) fn names_in_doubt(&self) -> Vec<SetAside> {
        let all: Vec<Arc<Names>> = self.registry().accounts.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        let mut found = Vec::new();
        for names in all {
            let mut tell = |owed: &Owed, why: &str| {
                let mailbox = match &*owed.change {
                    Naming::Rename { from, to } => format!("{from} (now {to})"),
                    Naming::Remove { mailbox } => format!("{mailbox} (removed)"),
                };
                let maildir = self.accounts().named(&names.account).map(|account| account.maildir.display().to_string());
                found.push(SetAside {
                    maildir: maildir.unwrap_or_else(|| names.account.to_string()),
                    mailbox,
                    why: why.into(),
                    since: u64::try_from(owed.since_s).unwrap_or(0),
                });
            };
            // Whoever is at it is soon done.
            if let Ok(owed) = names.order.try_lock()
                && let Some(owed) = &*owed
            {
                tell(owed, "its new name cannot be made durable");
            }
            match names.told.try_read().as_deref() {
                Ok(Some(Stuck::Back(_, owed))) => tell(owed, "a change of its name cannot be taken back"),
                Ok(Some(Stuck::Forth(all))) => all.iter().for_each(|owed| tell(owed, "a change of its name cannot be done again")),
                _ => {}
            }
        }
        found
    }

    /// Whether nothing can be done in the mailboxes of this account, because they have other names in the log.
    pub(crate) fn is_stuck(&self, account: &Account) -> bool {
        self.names(&account.name()).is_stuck()
    }

    /// Does what a crash may have come before.
    pub(crate) fn do_names_again(&self, replay: &Replay) {
        for unnamed in replay.unnamed() {
            let names = self.names(&unnamed.account);
            // An id of the log's own, which no entry has.
            self.spool().pin(unnamed.at, 0);
            let owed = self.owe_names(&names, unnamed.change.clone(), unnamed.at, 0, false);
            let mut told = names.told_alone();
            match &mut *told {
                Some(Stuck::Forth(all)) => all.push(owed),
                other => *other = Some(Stuck::Forth(vec![owed])),
            }
            if let Err(refusal) = self.unstick(&names, &mut told) {
                tracing::error!(account = %unnamed.account, ?refusal, "a change of names cannot be done again; its mail waits");
            }
        }
    }

    /// Writes the record and does it, while nobody else tells the log a name of this account.
    fn tell_and_do(&self, names: &Names, maildir: &Path, change: Naming, moves: Moves) -> Result<Owed, Refusal> {
        let mut told = names.told_alone();
        self.unstick(names, &mut told)?;
        let owed = {
            let _still = self.undelivered().still();
            let mut entry = self.spool().entry();
            entry.commit(&[&change.record(&names.account, Doing::Next).encode()]).map_err(|error| refusal(&error))?;
            let id = entry.id();
            let at = entry.pin();
            self.owe_names(names, change, at, id, true)
        };
        // Whatever ends this, and be it a panic, the next one finds what is left to do.
        *told = Some(Stuck::Back(moves.clone(), owed.clone()));
        if let Err(refusal) = self.mailboxes().carry_out(maildir, &moves) {
            if let Err(again) = self.unstick(names, &mut told) {
                tracing::error!(account = %names.account, ?again, "names are not what the log says they are; the account's mail waits");
            }
            return Err(refusal);
        }
        {
            let _still = self.undelivered().still();
            names.pinned().iter_mut().for_each(|pinned| pinned.is_ahead = false);
            for (at, id) in self.undelivered().follow(&names.account, &owed.change) {
                self.spool().unpin(at, id);
            }
        }
        *told = None;
        Ok(owed)
    }

    /// Makes the names on the disk those that the log has.
    fn unstick(&self, names: &Names, told: &mut Option<Stuck>) -> Result<(), Refusal> {
        let Some(stuck) = told else { return Ok(()) };
        let account = self.accounts().named(&names.account);
        match (stuck, account) {
            // As its mail: both may be wanted when it is back.
            (Stuck::Back(_, owed), None) => self.give_names_up(names, std::slice::from_ref(owed))?,
            (Stuck::Forth(all), None) => self.give_names_up(names, all)?,
            (Stuck::Back(moves, owed), Some(account)) => {
                self.mailboxes().take_back(&account.maildir, moves)?;
                if let Moves::Rename(_) = moves {
                    // The log must not say that nothing happened before the disk does. What could not be removed was not touched.
                    self.mailboxes().sync_names(&account.maildir)?;
                }
                self.end_names(names, std::slice::from_ref(owed), &Record::NotNamed { account: &names.account })?;
            }
            (Stuck::Forth(all), Some(account)) => {
                for owed in &*all {
                    self.mailboxes().do_again(&account.maildir, &owed.change)?;
                    self.mailboxes().settle(&account.maildir, &owed.change)?;
                }
                self.end(names, all)?;
            }
        }
        *told = None;
        Ok(())
    }

    /// Makes durable what is done.
    fn pay(&self, names: &Names, owed: &mut Option<Owed>) -> Result<(), Refusal> {
        let Some(done) = owed else { return Ok(()) };
        match self.accounts().named(&names.account) {
            Some(account) => {
                self.mailboxes().settle(&account.maildir, &done.change)?;
                self.end(names, std::slice::from_ref(done))?;
            }
            None => self.give_names_up(names, std::slice::from_ref(done))?,
        }
        *owed = None;
        Ok(())
    }

    /// These are durable.
    fn end(&self, names: &Names, done: &[Owed]) -> Result<(), Refusal> {
        self.end_names(names, done, &Record::Named { account: &names.account })
    }

    /// Nobody needs these any more if their account stays away.
    fn give_names_up(&self, names: &Names, all: &[Owed]) -> Result<(), Refusal> {
        if !self.gives_up_on_who_is_away() {
            return Err(Refusal::Fault(Fault::Later));
        }
        tracing::error!(account = %names.account, "a change of names in an account that did not come back is given up");
        self.end(names, all)
    }

    /// Makes a record durable that asks for nothing to be done. It makes room: the log need not keep that of the change any more.
    fn note(&self, record: &Record<'_>) -> Result<(), Refusal> {
        let mut entry = self.spool().entry();
        entry.commit_removal(&[&record.encode()]).map_err(|error| refusal(&error))?;
        entry.delivered();
        Ok(())
    }

    fn names(&self, account: &str) -> Arc<Names> {
        let mut accounts = self.registry().accounts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(names) = accounts.get(account) {
            return names.clone();
        }
        let names = Arc::new(Names { account: account.into(), order: Mutex::default(), told: RwLock::default(), pinned: Mutex::default() });
        accounts.insert(account.into(), names.clone());
        names
    }
}

impl Names {
    fn order(&self) -> MutexGuard<'_, Option<Owed>> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pinned(&self) -> MutexGuard<'_, Vec<Pinned>> {
        self.pinned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn told_alone(&self) -> RwLockWriteGuard<'_, Option<Stuck>> {
        self.told.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_stuck(&self) -> bool {
        match self.told.try_read() {
            Ok(told) => told.is_some(),
            Err(TryLockError::Poisoned(told)) => told.into_inner().is_some(),
            Err(TryLockError::WouldBlock) => false,
        }
    }
}

/// As [`House::stay`], for who can come again later: `None` if names are changed just now. They may be stuck.
pub(crate) fn try_stay(names: &[Arc<Names>]) -> Option<Stay<'_>> {
    let told = names.iter().map(|names| match names.told.try_read() {
        Ok(told) => Some(told),
        Err(TryLockError::Poisoned(told)) => Some(told.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    });
    told.collect()
}

fn refusal(error: &io::Error) -> Refusal {
    tracing::error!(%error, "a change of names cannot be noted");
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Refusal::OverQuota,
        _ => Refusal::Fault(Fault::Later),
    }
}
