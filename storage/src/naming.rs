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
//! Each account has its own, so nobody waits for another's disk.

use crate::{account::Account, house::House, mailbox::Moves, spool::Lsn};
use imap::Refusal;
use mail::{MailboxName, SpecialUse};
use queue::{Naming, Record, Replay};
use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError},
};
use wire::Fault;

/// The names of one account.
pub(crate) struct Names {
    account: Box<str>,
    maildir: PathBuf,
    order: Mutex<Option<Owed>>,
    told: RwLock<Option<Stuck>>,
}

/// An account and its Maildir.
type Whose = (Box<str>, PathBuf);

/// Those of all accounts that anybody asked for, and how many changes each made lately.
#[derive(Default)]
pub(crate) struct Registry {
    accounts: Mutex<BTreeMap<Whose, Arc<Names>>>,
    changes: Mutex<post::Rates>,
}

/// A change that is done and not durable. The log keeps its record.
pub(crate) struct Owed {
    change: Naming,
    at: Lsn,
    id: u64,
}

/// The log has other names than the disk: nothing can be written into it that names a mailbox.
pub(crate) enum Stuck {
    /// This could not be done, and neither taken back.
    Back(Moves, Lsn, u64),
    /// This has to be done again after a crash.
    Forth(Owed),
}

/// Somebody tells the log names.
pub(crate) type Stay<'a> = Vec<RwLockReadGuard<'a, Option<Stuck>>>;

impl House {
    /// Makes a mailbox, durably.
    ///
    /// # Errors
    /// As [`crate::mailbox::Mailboxes::create`], or an earlier change of names cannot be made durable.
    pub(crate) fn create_mailbox(&self, account: &Account, name: &MailboxName, special_use: Option<SpecialUse>) -> Result<(), Refusal> {
        let names = self.names(account);
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
        let names = self.names(account);
        let mut owed = names.order();
        self.pay(&names, &mut owed)?;
        let moves = self.mailboxes().plan(&names.maildir, &change)?;
        *owed = Some(self.tell_and_do(&names, change, moves)?);
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
    pub(crate) fn names_of<'a>(&self, accounts: impl IntoIterator<Item = &'a Account>) -> Vec<Arc<Names>> {
        let each = accounts.into_iter().map(|account| ((account.name(), &account.maildir), account));
        each.collect::<BTreeMap<_, _>>().into_values().map(|account| self.names(account)).collect()
    }

    /// Mailboxes of these accounts keep their names while this is held: from the moment a record of the log names one until what it asks for is done.
    /// Hold no other meanwhile.
    ///
    /// # Errors
    /// If what happened to an earlier change of names is not known to the log.
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

    /// The same for who can come again later; `None` if names are changed just now.
    pub(crate) fn try_stay<'a>(&self, names: &'a [Arc<Names>]) -> Option<Stay<'a>> {
        let mut stay = Vec::with_capacity(names.len());
        for names in names {
            if names.is_stuck() {
                self.unstick(names, &mut names.told_alone()).ok()?;
            }
            match names.told.try_read() {
                Ok(told) => stay.push(told),
                Err(TryLockError::Poisoned(told)) => stay.push(told.into_inner()),
                Err(TryLockError::WouldBlock) => return None,
            }
        }
        Some(stay)
    }

    /// Makes durable what could not be made durable before, and does what could not be done: the log keeps its record until then, whoever needs the room.
    pub(crate) fn pay_names(&self) {
        let all: Vec<Arc<Names>> = self.registry().accounts.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        for names in all {
            let mut owed = match names.order.try_lock() {
                Ok(owed) => owed,
                Err(TryLockError::Poisoned(owed)) => owed.into_inner(),
                // Somebody is at it.
                Err(TryLockError::WouldBlock) => continue,
            };
            let stuck = if names.is_stuck() { self.unstick(&names, &mut names.told_alone()) } else { Ok(()) };
            if let Err(refusal) = stuck.and_then(|()| self.pay(&names, &mut owed)) {
                tracing::warn!(account = %names.account, ?refusal, "a change of names is not durable yet");
            }
        }
    }

    /// Whether nothing can be written into the log that names a mailbox of this account.
    pub(crate) fn is_stuck(&self, account: &Account) -> bool {
        self.names(account).is_stuck()
    }

    /// Does what a crash may have come before.
    pub(crate) fn do_names_again(&self, replay: &Replay) {
        for unnamed in replay.unnamed() {
            let Some(account) = self.accounts().named(&unnamed.account) else { continue };
            let names = self.names(&account);
            // An id of the log's own, which no entry has.
            let owed = Owed { change: unnamed.change.clone(), at: unnamed.at, id: 0 };
            self.spool().pin(owed.at, owed.id);
            let mut told = names.told_alone();
            *told = Some(Stuck::Forth(owed));
            if let Err(refusal) = self.unstick(&names, &mut told) {
                tracing::error!(account = %unnamed.account, ?refusal, "a change of names cannot be done again; its mail waits");
            }
        }
    }

    /// Writes the record and does it, while nobody else tells the log a name of this account.
    fn tell_and_do(&self, names: &Names, change: Naming, moves: Moves) -> Result<Owed, Refusal> {
        let mut told = names.told_alone();
        self.unstick(names, &mut told)?;
        let mut entry = self.spool().entry();
        entry.commit(&[&change.record(&names.account).encode()]).map_err(|error| refusal(&error))?;
        let id = entry.id();
        let at = entry.pin();
        // Whatever ends this, and be it a panic, the next one finds what is left to do.
        *told = Some(Stuck::Back(moves.clone(), at, id));
        if let Err(refusal) = self.mailboxes().carry_out(&names.maildir, &moves) {
            if let Err(again) = self.unstick(names, &mut told) {
                tracing::error!(account = %names.account, ?again, "names are not what the log says they are; the account's mail waits");
            }
            return Err(refusal);
        }
        for (at, id) in self.undelivered().follow(&names.account, &change) {
            self.spool().unpin(at, id);
        }
        *told = None;
        Ok(Owed { change, at, id })
    }

    /// Makes the names on the disk those that the log has.
    fn unstick(&self, names: &Names, told: &mut Option<Stuck>) -> Result<(), Refusal> {
        match told {
            None => return Ok(()),
            Some(Stuck::Back(moves, at, id)) => {
                self.mailboxes().take_back(&names.maildir, moves)?;
                // The log must not say that nothing happened before the disk does.
                let synced = self.disk().sync_dir(&names.maildir);
                synced.map_err(|error| refusal(&error))?;
                self.note(&Record::NotNamed { account: &names.account }).map_err(|error| refusal(&error))?;
                self.spool().unpin(*at, *id);
            }
            Some(Stuck::Forth(owed)) => {
                self.mailboxes().do_again(&names.maildir, &owed.change)?;
                self.settle(names, owed)?;
            }
        }
        *told = None;
        Ok(())
    }

    /// Makes durable what is done.
    fn pay(&self, names: &Names, owed: &mut Option<Owed>) -> Result<(), Refusal> {
        if let Some(done) = owed {
            self.settle(names, done)?;
        }
        *owed = None;
        Ok(())
    }

    fn settle(&self, names: &Names, done: &Owed) -> Result<(), Refusal> {
        self.mailboxes().settle(&names.maildir, &done.change)?;
        self.note(&Record::Named { account: &names.account }).map_err(|error| refusal(&error))?;
        self.spool().unpin(done.at, done.id);
        Ok(())
    }

    fn names(&self, account: &Account) -> Arc<Names> {
        let mut accounts = self.registry().accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let (account, maildir): (Box<str>, _) = (account.name().into(), account.maildir.clone());
        let make =
            || Arc::new(Names { account: account.clone(), maildir: maildir.clone(), order: Mutex::default(), told: RwLock::default() });
        accounts.entry((account.clone(), maildir.clone())).or_insert_with(make).clone()
    }
}

impl Names {
    fn order(&self) -> MutexGuard<'_, Option<Owed>> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
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

fn refusal(error: &io::Error) -> Refusal {
    tracing::error!(%error, "a change of names cannot be noted");
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Refusal::OverQuota,
        _ => Refusal::Fault(Fault::Later),
    }
}
