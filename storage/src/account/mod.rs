//! Who gets mail here, and who may log in.
//!
//! Accounts are in a file of their own ([`file`]). All of them are held in memory; a change of the file is noticed at the next look-up and
//! takes effect as a whole, or not at all if the new file is wrong. User names and local parts are compared in lower case; passwords are
//! compared as the bytes of their UTF-8, without the normalisation of SASLprep: clients that send one form keep sending it.

mod book;
mod facts;
pub mod file;
mod gate;
mod hash;
mod memory;
mod paths;
mod throttle;

pub use book::{Account, BookError};
pub use hash::{Hash, HashError, PASSWORD_BYTES_MAX};

use crate::{
    clock::Clock,
    disk::{Disk, Stat},
    sandbox,
};
use book::Book;
use config::Config;
use facts::Facts;
use file::FileError;
use gate::Gate;
use mail::Address;
use memory::Memory;
use paths::{Paths, Seen};
use sasl::{Denied, Login, Proof};
use std::{
    fmt,
    hash::BuildHasher as _,
    net::IpAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};
use throttle::{Policy, Throttle};

/// Longest user name in bytes (RFC 5321 §4.5.3.1: 64 for the local part, 255 for the domain).
const USER_BYTES_MAX: usize = 320;
/// How long a look-up that finds somebody trusts that the file has not changed.
const LOOK_MS: u64 = 1000;

/// The accounts of a server.
pub struct Accounts {
    disk: Arc<dyn Disk>,
    clock: Clock,
    /// Whether the secret of rewritten senders is made if it is not there.
    make: bool,
    state: RwLock<State>,
    /// When the file was last looked at. Its lock is held while reading the file, so that one thread reads and the others go on.
    looked: Mutex<Looked>,
    /// How often the accounts have changed.
    generation: AtomicU64,
    throttle: Mutex<Throttle>,
    memory: Mutex<Memory>,
    memory_key: ring::hmac::Key,
    gate: Gate,
    /// Chooses whose hash an unknown name is compared with, the same for the same name.
    decoy: std::hash::RandomState,
    /// For when there is no account at all. Made when it is needed: an argon2 at every start would be in the way.
    decoy_hash: OnceLock<Hash>,
}

#[derive(Clone)]
struct State {
    config: Arc<Config>,
    book: Arc<Book>,
    paths: Arc<Paths>,
}

struct Looked {
    at_ms: u64,
    stat: Option<Stat>,
    /// When the files of aliases were last looked at, and how they were. There may be many: they are not looked at for every unknown name.
    aliases_at_ms: u64,
    aliases: Vec<Seen>,
}

/// Why accounts could not be loaded.
#[derive(Debug)]
pub enum LoadError {
    /// The file.
    File(FileError),
    /// What is in it.
    Book(PathBuf, Vec<BookError>),
    /// A file of aliases, or the secret of rewritten senders.
    Paths(String),
}

impl Accounts {
    /// Reads the accounts of a configuration, and writes nothing: a command of root must not leave a file that the server cannot read.
    ///
    /// # Errors
    /// If the file cannot be read or is wrong. One that does not exist holds no accounts.
    pub fn load(disk: Arc<dyn Disk>, config: &Config) -> Result<Accounts, LoadError> {
        Accounts::read(disk, config, Clock::system(), false)
    }

    /// The same for a server: with a clock of its own, and the secret of rewritten senders is made if it is not there.
    ///
    /// # Errors
    /// As [`Accounts::load`].
    pub fn load_at(disk: Arc<dyn Disk>, config: &Config, clock: Clock) -> Result<Accounts, LoadError> {
        Accounts::read(disk, config, clock, true)
    }

    fn read(disk: Arc<dyn Disk>, config: &Config, clock: Clock, make: bool) -> Result<Accounts, LoadError> {
        let (book, stat) = read(&*disk, config)?;
        let mut aliases = Vec::new();
        let paths = Arc::new(Paths::load(&*disk, config, make, &mut aliases).map_err(LoadError::Paths)?);
        let memory = Memory::new();
        Ok(Accounts {
            disk,
            state: RwLock::new(State { config: Arc::new(config.clone()), book: Arc::new(book), paths }),
            looked: Mutex::new(Looked { at_ms: clock.ms(), stat, aliases_at_ms: clock.ms(), aliases }),
            clock,
            make,
            generation: AtomicU64::default(),
            throttle: Mutex::default(),
            memory_key: memory.key(),
            memory: Mutex::new(memory),
            gate: Gate::new(),
            decoy: std::hash::RandomState::new(),
            decoy_hash: OnceLock::new(),
        })
    }

    /// Reads the accounts again, with a configuration that may be new. Running sessions keep what they have.
    ///
    /// # Errors
    /// As [`Accounts::load`]; everything stays as it was then.
    pub fn reload(&self, config: &Config) -> Result<(), LoadError> {
        let mut looked = held(&self.looked);
        let (book, stat) = read(&*self.disk, config)?;
        let mut aliases = Vec::new();
        let paths = Arc::new(Paths::load(&*self.disk, config, self.make, &mut aliases).map_err(LoadError::Paths)?);
        let now = self.clock.ms();
        *looked = Looked { at_ms: now, stat, aliases_at_ms: now, aliases };
        self.set(State { config: Arc::new(config.clone()), book: Arc::new(book), paths });
        Ok(())
    }

    /// The account whose mailbox a forward path means: its address, its address with a detail, or `postmaster` (RFC 5321 §4.5.1).
    pub fn find(&self, path: &Address) -> Option<Arc<Account>> {
        self.look_up(|state| match post::rule(&state.in_its_domain(path), state) {
            post::Ruling::Deliver(address) => state.book.exact(&address).cloned(),
            post::Ruling::NoMailbox | post::Ruling::Foreign => None,
        })
    }

    /// The account of this name, as [`Account::name`] and a [`Login`] have it, or as a user types it.
    pub fn named(&self, name: &str) -> Option<Arc<Account>> {
        self.look_up(|state| state.book.named(name).cloned())
    }

    /// What becomes of a forward path, and the account if mail for it is delivered here.
    pub fn rule(&self, path: &Address) -> post::Ruling {
        let rule = |state: &State| match post::rule(&state.in_its_domain(path), state) {
            post::Ruling::NoMailbox => Err(post::Ruling::NoMailbox),
            found => Ok(found),
        };
        self.look_up(|state| rule(state).ok()).unwrap_or(post::Ruling::NoMailbox)
    }

    /// Where mail for a path goes: to mailboxes here, and to other hosts.
    ///
    /// # Errors
    /// If it goes nowhere.
    pub fn expand(&self, path: &mail::Recipient, now: mail::Stamp) -> Result<post::Expansion, post::Refused> {
        let day = now.seconds.div_euclid(86_400);
        self.look_up(|state| match post::expand(path, &Facts { state, day }) {
            Err(post::Refused::NoMailbox) => None,
            done => Some(done),
        })
        .unwrap_or(Err(post::Refused::NoMailbox))
    }

    /// The sender that mail which is sent on from here has: a rewritten one, unless its domain is ours.
    pub fn rewritten(&self, sender: &Address, now: mail::Stamp) -> Option<Address> {
        let state = self.state();
        let ours = state.config.is_local(&sender.domain) || state.config.domain_aliases.contains_key(&*sender.domain);
        if ours { None } else { state.paths.srs.as_ref()?.wrap(sender, now.seconds.div_euclid(86_400)) }
    }

    /// Whether `account` may send as `sender`: its own address, with any detail and in any of its domains, `postmaster` if it is that, and
    /// the aliases that mean it alone.
    pub fn owns(&self, account: &str, sender: &Address) -> bool {
        let owner = self.look_up(|state| post::owner(sender, &Facts { state, day: 0 }).and_then(|owner| state.book.exact(&owner).cloned()));
        owner.is_some_and(|a| a.name() == account)
    }

    /// Whether a client may name this forward path: it is ours, we keep mail for its domain, or the client may send to anybody.
    pub fn may_send(&self, client: post::Client, path: &Address) -> bool {
        post::may_send(client, path, &Facts { state: &self.state(), day: 0 })
    }

    /// Whether mail for a path is for mailboxes or aliases here.
    pub fn is_ours(&self, path: &Address) -> bool {
        self.rule(path) != post::Ruling::Foreign || self.state().config.domain_aliases.contains_key(&*path.domain)
    }

    /// Whether there is an account of this name, as a [`Login`] has it, and it may log in.
    pub(crate) fn is_open(&self, name: &str) -> bool {
        self.state().book.named(name).is_some_and(|account| !account.disabled)
    }

    /// How often the accounts have changed; the file is looked at for it.
    pub(crate) fn generation(&self) -> u64 {
        self.refresh(false);
        self.generation.load(Ordering::Relaxed)
    }

    /// All of them, in the order of their addresses.
    pub fn all(&self) -> Vec<Arc<Account>> {
        self.state().book.all().cloned().collect()
    }

    /// Whether a client is who it says it is. Takes the time of a hash, whether the name is known or not.
    ///
    /// # Errors
    /// Says why not; a wrong name and a wrong password are the same.
    pub fn verify(&self, proof: Proof, peer: IpAddr, now_ms: u64) -> Result<Login, Denied> {
        let Proof::Password { act_as, user, password } = proof;
        let password = password.reveal();
        if user.is_empty() || user.len() > USER_BYTES_MAX || password.len() > PASSWORD_BYTES_MAX {
            return Err(Denied::Wrong);
        }
        // Who changed a password means from now on.
        self.refresh(false);
        let account = self.named(&user);
        let State { config, book, .. } = self.state();
        let policy = Policy { failures: config.limits.login_failures, wait_ms: u64::from(config.limits.login_wait) * 1000 };
        // Unknown names wait like known ones, or waiting would tell them apart.
        let name = account.as_ref().map_or_else(|| user.to_lowercase(), |a| a.name());
        let allowed = || held(&self.throttle).allows(policy, &name, peer, now_ms);
        if !allowed() {
            return Err(Denied::TooMany);
        }
        let tag = account.as_ref().map(|a| Memory::tag(&self.memory_key, &name, a.hash.reveal(), password));
        let known = tag.is_some_and(|tag| held(&self.memory).knows(&name, &tag, now_ms));
        if !known {
            let hash = account.as_ref().map_or_else(|| self.decoy(&book, &name), |a| a.hash.clone());
            let pass = if hash.is_dear() { Some(self.gate.enter().ok_or(Denied::Later)?) } else { None };
            // Asked again: many may have come at once, and most of them waited until the first had failed.
            if !allowed() {
                return Err(Denied::TooMany);
            }
            if !hash.has_room() {
                return Err(Denied::Later);
            }
            let right = hash.verify(password) && account.is_some();
            let mut throttle = held(&self.throttle);
            if !right {
                throttle.failed(policy, &name, peer, now_ms);
                return Err(Denied::Wrong);
            }
            throttle.succeeded(policy, &name, peer, now_ms);
            drop((throttle, pass));
        }
        let account = account.ok_or(Denied::Wrong)?;
        if let (false, Some(tag)) = (known, tag) {
            held(&self.memory).keep(&name, tag, now_ms.saturating_add(u64::from(config.limits.login_memory) * 1000));
        }
        // RFC 4616 §2: nobody acts for somebody else here.
        let self_or_none = act_as.is_empty() || book.named(&act_as).is_some_and(|a| a.address == account.address);
        if account.disabled || !self_or_none {
            return Err(Denied::Disabled);
        }
        Ok(Login { account: name })
    }

    /// A hash to spend time on for a name that has no account: somebody's, so that it takes as long as those of others do.
    fn decoy(&self, book: &Book, name: &str) -> Hash {
        let chosen = match book.all().len() as u64 {
            0 => None,
            n => book.all().nth((self.decoy.hash_one(name) % n) as usize),
        };
        chosen.map_or_else(|| self.decoy_hash.get_or_init(|| Hash::of("")).clone(), |a| a.hash.clone())
    }

    /// Looks in the book that is known, and again if the file has changed meanwhile. Whom nobody knows is looked for in the file at once, so
    /// that a new account gets its first mail.
    fn look_up<T>(&self, look: impl Fn(&State) -> Option<T>) -> Option<T> {
        let found = look(&self.state());
        if self.refresh(found.is_some()) { look(&self.state()) } else { found }
    }

    /// Reads the file again if it has changed; says whether it was read. If `lazy`, it does not look more often than once in [`LOOK_MS`].
    fn refresh(&self, lazy: bool) -> bool {
        let mut looked = if lazy {
            match self.looked.try_lock() {
                Ok(looked) if self.clock.ms().saturating_sub(looked.at_ms) >= LOOK_MS => looked,
                _ => return false,
            }
        } else {
            held(&self.looked)
        };
        looked.at_ms = self.clock.ms();
        let before = self.state();
        let book = self.changed_book(&mut looked, &before.config);
        let paths = self.changed_paths(&mut looked, &before.config);
        if book.is_none() && paths.is_none() {
            return false;
        }
        let (book, paths) = (book.map_or(before.book, Arc::new), paths.map_or(before.paths, Arc::new));
        self.set(State { config: before.config, book, paths });
        true
    }

    fn changed_book(&self, looked: &mut Looked, config: &Config) -> Option<Book> {
        // A file that is away for a moment is being replaced by something that does not know how.
        let stat = self.disk.stat(&config.accounts_path()).ok().filter(|stat| looked.stat != Some(*stat))?;
        // Whether it can be read or not: it is read once.
        looked.stat = Some(stat);
        match read(&*self.disk, config) {
            Ok((book, _)) => {
                tracing::info!(event = "accounts", count = book.all().len(), "the accounts have changed");
                Some(book)
            }
            Err(error) => {
                tracing::error!(event = "accounts", %error, "the accounts file is wrong; those known before stay");
                None
            }
        }
    }

    fn changed_paths(&self, looked: &mut Looked, config: &Config) -> Option<Paths> {
        if looked.at_ms.saturating_sub(looked.aliases_at_ms) < LOOK_MS {
            return None;
        }
        looked.aliases_at_ms = looked.at_ms;
        let changed = |(path, seen): &Seen| self.disk.stat(path).is_ok_and(|stat| *seen != Some(stat));
        if !looked.aliases.iter().any(changed) {
            return None;
        }
        looked.aliases.clear();
        match Paths::load(&*self.disk, config, self.make, &mut looked.aliases) {
            Ok(paths) => {
                tracing::info!(event = "aliases", "the aliases have changed");
                Some(paths)
            }
            Err(error) => {
                tracing::error!(event = "aliases", error, "a file of aliases is wrong; what was known before stays");
                None
            }
        }
    }

    fn state(&self) -> State {
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, state: State) {
        // An account that came while the server runs may have its Maildir where it cannot go before its next start.
        for account in
            state.book.all().filter(|account| self.state().book.exact(&account.address).is_none_or(|old| old.maildir != account.maildir))
        {
            if let Err(why) = sandbox::reaches(&account.maildir, true) {
                tracing::error!(account = %account.address, why, "mail for it waits");
            }
        }
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = state;
        self.generation.fetch_add(1, Ordering::Relaxed);
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::File(error) => error.fmt(f),
            LoadError::Paths(text) => f.write_str(text),
            LoadError::Book(path, errors) => {
                let lines: Vec<String> = errors.iter().map(|e| format!("{}: {e}", path.display())).collect();
                f.write_str(&lines.join("\n"))
            }
        }
    }
}

impl std::error::Error for LoadError {}

fn read(disk: &dyn Disk, config: &Config) -> Result<(Book, Option<Stat>), LoadError> {
    let path = config.accounts_path();
    let (records, stat) = file::load(disk, &path).map_err(LoadError::File)?;
    match Book::new(config, records) {
        (book, errors) if errors.is_empty() => Ok((book, stat)),
        (_, errors) => Err(LoadError::Book(path, errors)),
    }
}

/// What a panic left behind in one of these tables is at worst a count that is off by one.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
