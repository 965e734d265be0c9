//! Mailboxes that are set aside: something is wrong with one of them, and nobody else notices.

use super::{limits, shelf::Mailboxes};
use mail::MailboxName;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// A mailbox that is set aside. What the spool has for it stays there, and its account takes no mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aside {
    /// The Maildir it belongs to.
    pub maildir: PathBuf,
    /// Its name.
    pub name: MailboxName,
    /// What is wrong.
    pub why: &'static str,
    /// Since when, in seconds since 1970.
    pub since_s: i64,
    /// What has to go well before it is taken for sound again.
    pub(super) until: Until,
    /// When it was last tried, in seconds since 1970.
    pub(super) tried_s: i64,
}

/// What ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// It can be opened.
    Opened,
    /// It was opened without a panic; not tried by everybody who asks.
    Survived,
    /// What was promised to it is durable.
    Settled,
}

/// Those that are set aside, by the number of the mailbox: what is wrong with it goes where it goes, whatever it is called.
#[derive(Default)]
pub(super) struct List(Mutex<BTreeMap<u64, Aside>>);

impl List {
    /// Something is wrong with a mailbox. True if that is news.
    pub fn set(&self, id: u64, aside: Aside) -> bool {
        let mut list = self.list();
        let before = list.get(&id).map(|before| (before.since_s, before.until));
        let news = before.is_none();
        let (since_s, until) = match before {
            // Opening it is not enough where more was wrong before.
            Some((since_s, Until::Settled)) if aside.until == Until::Opened => (since_s, Until::Settled),
            Some((since_s, _)) => (since_s, aside.until),
            None => (aside.since_s, aside.until),
        };
        list.insert(id, Aside { since_s, until, ..aside });
        news
    }

    /// Something went well.
    pub fn clear(&self, id: u64, done: Until) {
        let mut list = self.list();
        let ends = list.get(&id).is_some_and(|aside| match aside.until {
            Until::Opened | Until::Survived => true,
            Until::Settled => done == Until::Settled,
        });
        if ends && let Some(aside) = list.remove(&id) {
            tracing::info!(maildir = %aside.maildir.display(), mailbox = %aside.name, "the mailbox is sound again");
        }
    }

    /// Whether it ended in a panic lately, so that it is not tried again yet.
    pub fn rests(&self, id: u64, now_s: i64) -> bool {
        self.list().get(&id).is_some_and(|aside| aside.until == Until::Survived && (now_s - aside.tried_s).abs() < limits::PANIC_REST_S)
    }

    pub fn all(&self) -> Vec<Aside> {
        self.list().values().cloned().collect()
    }

    /// Whether this mailbox is among them.
    pub fn holds(&self, id: u64) -> bool {
        self.list().contains_key(&id)
    }

    /// It has another name now.
    pub fn renamed(&self, id: u64, name: &MailboxName) {
        if let Some(aside) = self.list().get_mut(&id) {
            aside.name = name.clone();
        }
    }

    pub fn has(&self, maildir: &Path) -> bool {
        self.list().values().any(|aside| aside.maildir == maildir)
    }

    /// It is there no more.
    pub fn forget(&self, id: u64) {
        self.list().remove(&id);
    }

    fn list(&self) -> MutexGuard<'_, BTreeMap<u64, Aside>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mailboxes {
    /// Mailboxes that are set aside.
    pub fn aside(&self) -> Vec<Aside> {
        self.common.aside.all()
    }

    /// Whether a mailbox of this Maildir is set aside.
    pub fn is_aside(&self, maildir: &Path) -> bool {
        self.common.aside.has(maildir)
    }
}
