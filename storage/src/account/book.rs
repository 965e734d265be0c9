//! All accounts at one moment, as look-ups need them.

use super::{
    file::{Record, canonical},
    hash::Hash,
};
use config::Config;
use mail::Address;
use std::{collections::BTreeMap, fmt, path::PathBuf, sync::Arc};

/// Somebody who gets mail here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Where its mail comes, in lower case.
    pub address: Address,
    /// Its Maildir.
    pub maildir: PathBuf,
    /// Bytes of mail it may hold, 0 for no limit.
    pub quota: u64,
    /// Whether nobody may log in. Mail still arrives.
    pub disabled: bool,
    /// Where it wants its mail besides, or instead if no copy is kept.
    pub forward: Vec<Address>,
    /// Whether a copy of what is forwarded stays.
    pub keep: bool,
    pub(crate) hash: Hash,
}

/// Why accounts do not fit together or into the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BookError {
    /// Its local part cannot be the name of a directory.
    Unsafe(Address),
    /// They have the same Maildir.
    Shared(Address, Address),
    /// `postmaster` of the configuration is no account.
    Postmaster(Address),
}

/// The accounts, by address and by name.
#[derive(Debug, Default)]
pub(crate) struct Book {
    by_address: BTreeMap<Address, Arc<Account>>,
    /// By local part; `None` where several domains have it.
    by_local: BTreeMap<Box<str>, Option<Arc<Account>>>,
    postmaster: Option<Arc<Account>>,
}

impl Account {
    /// Its name, as logs and logins write it.
    pub fn name(&self) -> String {
        format!("{}@{}", self.address.local, self.address.domain)
    }
}

impl Book {
    /// # Errors
    /// Says everything that does not fit; the book has the rest.
    pub(crate) fn new(config: &Config, records: Vec<Record>) -> (Book, Vec<BookError>) {
        let mut book = Book::default();
        let mut errors = Vec::new();
        let mut maildirs: BTreeMap<PathBuf, Address> = BTreeMap::new();
        let first = records.first().map(|r| r.address.clone());
        for Record { address, hash, maildir, quota, disabled, forward, keep } in records {
            let maildir = match maildir {
                Some(path) => config.store.join(path),
                None => match config.maildir_of(&address) {
                    Ok(path) => path,
                    Err(config::Unsafe) => {
                        errors.push(BookError::Unsafe(address));
                        continue;
                    }
                },
            };
            if let Some(other) = maildirs.get(&maildir) {
                errors.push(BookError::Shared(other.clone(), address));
                continue;
            }
            maildirs.insert(maildir.clone(), address.clone());
            let quota = quota.unwrap_or(config.limits.quota);
            let account = Arc::new(Account { address: address.clone(), maildir, quota, disabled, forward, keep, hash });
            book.by_local.entry(address.local.clone()).and_modify(|a| *a = None).or_insert_with(|| Some(account.clone()));
            book.by_address.insert(address, account);
        }
        let named = config.postmaster.as_deref().and_then(Address::parse).map(|a| canonical(&a));
        book.postmaster = named.clone().or(first).and_then(|a| book.by_address.get(&a).cloned());
        if let Some(named) = named
            && book.postmaster.is_none()
            && !book.by_address.is_empty()
        {
            errors.push(BookError::Postmaster(named));
        }
        (book, errors)
    }

    /// The account that has exactly this address, in any case.
    pub(crate) fn exact(&self, address: &Address) -> Option<&Arc<Account>> {
        self.by_address.get(address).or_else(|| self.by_address.get(&canonical(address)))
    }

    /// The account that a user means: its address, or its local part if only one account has it.
    pub(crate) fn named(&self, user: &str) -> Option<&Arc<Account>> {
        match Address::parse(user) {
            Some(address) => self.exact(&address),
            None => self.by_local.get(&*user.to_lowercase()).and_then(Option::as_ref),
        }
    }

    pub(crate) fn postmaster(&self) -> Option<&Arc<Account>> {
        self.postmaster.as_ref()
    }

    pub(crate) fn all(&self) -> impl ExactSizeIterator<Item = &Arc<Account>> {
        self.by_address.values()
    }
}

impl fmt::Display for BookError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BookError::Unsafe(a) => write!(f, "{a}: this cannot be the name of a directory; give the account a `maildir`"),
            BookError::Shared(a, b) => write!(f, "{a} and {b} have the same Maildir"),
            BookError::Postmaster(a) => write!(f, "{a} is the postmaster and has no account"),
        }
    }
}
