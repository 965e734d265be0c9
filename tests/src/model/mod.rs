//! A mail system in memory: the naive twin of storage that answers the questions of every session.
//!
//! Nothing here is fast or durable. It is what a mailbox means, in as few words as possible: dialogs read it, dice break it, and the
//! real mailbox is compared with it.

mod client;
mod imap;
mod mailbox;
mod pop3;
mod smtp;
mod trouble;

pub use client::{ClientOffice, Letter, in_seven_bits};
pub use imap::ImapOffice;
pub use mailbox::{Mailbox, Message, on_the_wire};
pub use pop3::PopOffice;
pub use smtp::{Hall, SmtpOffice};
pub use trouble::{Trouble, Troubled};

use mail::{Address, MailboxName, SpecialUse};
use sasl::{Denied, Login, Proof};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, VecDeque},
    rc::Rc,
};

/// The world of dialogs: this host.
pub const HOST: &str = "mx.example.test";
/// The domain whose mail is delivered here.
pub const DOMAIN: &str = "example.test";
/// Everybody's password.
pub const PASSWORD: &str = "hikyaku";
/// The moment at which the world stands still: 2026-11-24 06:37:27 UTC.
pub const MOMENT: i64 = 1_795_502_247;

/// Accounts and their mail. Sessions share it, as processes share a disk.
#[derive(Debug, Clone)]
pub struct World {
    /// By address.
    pub accounts: BTreeMap<String, Account>,
    /// Seconds since 1970, for internal dates.
    pub now: i64,
    /// Numbers that were given out, for UIDVALIDITY and message ids.
    pub numbers: u32,
    /// Largest message that is taken.
    pub max_size: u64,
    /// What waits to be sent by a client.
    pub letters: VecDeque<Letter>,
}

/// Somebody who has mail.
#[derive(Debug, Clone, Default)]
pub struct Account {
    /// What logs in.
    pub password: String,
    /// Whether a right password is of no use.
    pub disabled: bool,
    /// Bytes that fit, if limited.
    pub quota: Option<u64>,
    /// By name. There is always an inbox.
    pub mailboxes: BTreeMap<MailboxName, Mailbox>,
    /// Names subscribed to, whether they exist or not.
    pub subscribed: BTreeSet<MailboxName>,
}

/// The world as offices hold it.
pub type Shared = Rc<RefCell<World>>;

impl World {
    /// Alice and Bob with empty inboxes.
    pub fn new() -> World {
        let mut world = World { accounts: BTreeMap::new(), now: MOMENT, numbers: 0, max_size: 100 << 20, letters: VecDeque::new() };
        world.add_account("alice@example.test", PASSWORD);
        world.add_account("bob@example.test", PASSWORD);
        world
    }

    /// Ready to be shared by offices.
    pub fn shared(self) -> Shared {
        Rc::new(RefCell::new(self))
    }

    /// A number never given before.
    pub fn number(&mut self) -> u32 {
        self.numbers += 1;
        self.numbers
    }

    /// Somebody with an empty inbox.
    pub fn add_account(&mut self, address: &str, password: &str) {
        let inbox = Mailbox::new(self.number(), None);
        let account = Account {
            password: password.into(),
            mailboxes: BTreeMap::from([(MailboxName::inbox(), inbox)]),
            subscribed: BTreeSet::from([MailboxName::inbox()]),
            ..Account::default()
        };
        self.accounts.insert(address.into(), account);
    }

    /// The account that gets the mail of an address, details (`+tag`) and the case of the local part aside; postmaster is the first.
    pub fn account_of(&self, address: &Address) -> Option<String> {
        let plain = address.without_detail('+');
        let name = format!("{}@{}", plain.local.to_lowercase(), plain.domain);
        if self.accounts.contains_key(&name) {
            return Some(name);
        }
        (plain.local.eq_ignore_ascii_case("postmaster") && self.is_local(&plain)).then(|| self.accounts.keys().next().cloned()).flatten()
    }

    /// Whether the domain is one of ours.
    pub fn is_local(&self, address: &Address) -> bool {
        self.accounts.keys().any(|a| a.rsplit_once('@').is_some_and(|(_, domain)| domain == &*address.domain))
    }

    /// Checks a password.
    pub fn login(&self, proof: &Proof) -> Result<Login, Denied> {
        let Proof::Password { act_as, user, password } = proof;
        let user = user.to_lowercase();
        let name = if user.contains('@') { user } else { format!("{user}@{DOMAIN}") };
        let account = self.accounts.get(&name).filter(|a| a.password == password.reveal()).ok_or(Denied::Wrong)?;
        if account.disabled || !(act_as.is_empty() || act_as.eq_ignore_ascii_case(&name)) {
            return Err(Denied::Disabled);
        }
        Ok(Login { account: name })
    }

    /// Makes a mailbox and the levels above it.
    pub fn make(&mut self, account: &str, name: &MailboxName, special_use: Option<SpecialUse>) {
        let mut missing = Some(name.clone());
        while let Some(name) = missing {
            let number = self.number();
            let boxes = &mut self.accounts.get_mut(account).expect("an account of the world").mailboxes;
            let special_use = special_use.filter(|_| boxes.is_empty() || !boxes.keys().any(|b| b.is_below(&name)));
            boxes.entry(name.clone()).or_insert_with(|| Mailbox::new(number, special_use));
            missing = name.parent();
        }
    }
}

impl Default for World {
    fn default() -> World {
        World::new()
    }
}

impl Account {
    /// Bytes of all mail.
    pub fn used(&self) -> u64 {
        self.mailboxes.values().map(Mailbox::size).sum()
    }

    /// Whether `more` bytes still fit.
    pub fn fits(&self, more: u64) -> bool {
        self.quota.is_none_or(|quota| self.used() + more <= quota)
    }
}
