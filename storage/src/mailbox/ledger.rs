//! What mailboxes owe the spool: records that are being carried out in them, or of which everything is done and nothing durable.
//!
//! The spool keeps every record that stands here ([`Ledger::from`]). It is apart from the mailboxes, because whoever has a mailbox may wait for a disk that
//! never answers, and a checkpoint has to know all the same what may be let go of. Its lock is held for moments and never while a disk works.

use super::{
    shelf::{Common, Mailboxes},
    state::Mailbox,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// A record of the spool that a mailbox owes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owed {
    /// Where the record is.
    pub at: u64,
    /// The id of its entry.
    pub id: u64,
    /// Which target of it this mailbox is; `None` for a removal.
    pub target: Option<u32>,
}

/// All of them, by the number of the mailbox.
#[derive(Default)]
pub(super) struct Ledger(Mutex<Book>);

#[derive(Default)]
struct Book {
    tickets: u64,
    mailboxes: BTreeMap<u64, Debts>,
}

#[derive(Default)]
struct Debts {
    /// What somebody is about to carry out.
    begun: Vec<Begun>,
    /// What is done, each under the ticket of who did it, and durable with the next checkpoint.
    done: BTreeMap<Owed, u64>,
    /// What has to be done again. Whoever took it is about to see to it that the spool keeps it for that.
    lost: BTreeSet<Owed>,
}

struct Begun {
    ticket: u64,
    owed: Owed,
    /// The base name of its message; empty for a removal.
    base: Box<[u8]>,
    /// The round it began in.
    round: u64,
}

impl Debts {
    fn least(&self) -> Option<u64> {
        let begun = self.begun.iter().map(|begun| begun.owed.at);
        begun.chain(self.done.keys().next().map(|owed| owed.at)).chain(self.lost.first().map(|owed| owed.at)).min()
    }

    fn is_empty(&self) -> bool {
        self.begun.is_empty() && self.done.is_empty() && self.lost.is_empty()
    }
}

impl Ledger {
    fn begin(&self, mailbox: u64, owed: Owed, base: &[u8], round: u64) -> u64 {
        let mut book = self.book();
        book.tickets += 1;
        let ticket = book.tickets;
        let debts = book.mailboxes.entry(mailbox).or_default();
        // Whoever began it before does not go on, and what was done before is done again.
        debts.begun.retain(|begun| begun.owed != owed);
        debts.done.remove(&owed);
        debts.begun.push(Begun { ticket, owed, base: base.into(), round });
        ticket
    }

    /// Whether it is still this one's to carry out.
    pub fn is_open(&self, mailbox: u64, ticket: u64) -> bool {
        self.with(mailbox, |debts| debts.begun.iter().any(|begun| begun.ticket == ticket))
    }

    /// It is carried out. Nothing if somebody else has taken it over meanwhile.
    pub fn done(&self, mailbox: u64, ticket: u64) {
        self.with(mailbox, |debts| {
            if let Some(at) = debts.begun.iter().position(|begun| begun.ticket == ticket) {
                let begun = debts.begun.swap_remove(at);
                debts.done.insert(begun.owed, ticket);
            }
        });
    }

    /// Gives what was begun as lost.
    fn fail(&self, mailbox: u64, mut which: impl FnMut(&Begun) -> bool) -> Vec<Owed> {
        self.with(mailbox, |debts| {
            let failed: Vec<Owed> = debts.begun.extract_if(.., |begun| which(begun)).map(|begun| begun.owed).collect();
            debts.lost.extend(&failed);
            failed
        })
    }

    /// What was begun that many rounds ago, or more: whoever did may never come back. It is lost to them.
    pub fn overdue(&self, mailbox: u64, round: u64, rounds: u64) -> Vec<Owed> {
        self.fail(mailbox, |begun| round.saturating_sub(begun.round) >= rounds)
    }

    /// Nothing of it is durable, and nothing that is begun can be told from what hangs.
    pub fn lose(&self, mailbox: u64) -> Vec<Owed> {
        let mut lost = self.fail(mailbox, |_| true);
        self.with(mailbox, |debts| {
            let done = std::mem::take(&mut debts.done);
            lost.extend(done.keys());
            debts.lost.extend(done.keys());
        });
        lost
    }

    /// Nobody saw to it: it is owed as before.
    fn find(&self, mailbox: u64, lost: &[Owed]) {
        self.with(mailbox, |debts| debts.done.extend(lost.iter().filter(|owed| debts.lost.remove(owed)).map(|owed| (*owed, 0))));
    }

    /// What is done there, for who makes it durable.
    pub fn all_done(&self, mailbox: u64) -> Vec<(Owed, u64)> {
        self.with(mailbox, |debts| debts.done.iter().map(|(owed, ticket)| (*owed, *ticket)).collect())
    }

    /// That is durable. What was done again meanwhile is not.
    pub fn pay(&self, mailbox: u64, done: &[(Owed, u64)]) {
        self.with(mailbox, |debts| {
            for (owed, ticket) in done {
                if debts.done.get(owed) == Some(ticket) {
                    debts.done.remove(owed);
                }
            }
        });
    }

    /// The spool keeps this by itself.
    fn keep(&self, mailbox: u64, lost: &Owed) {
        self.with(mailbox, |debts| debts.lost.remove(lost));
    }

    /// It is not carried out, and need not be.
    fn forgive(&self, mailbox: u64, mut which: impl FnMut(&Begun) -> bool) {
        self.with(mailbox, |debts| debts.begun.retain(|begun| !which(begun)));
    }

    /// Messages were removed: who is about to write one of them does not go on.
    pub fn revoke(&self, mailbox: u64, bases: &[&[u8]]) {
        self.forgive(mailbox, |begun| !begun.base.is_empty() && bases.contains(&&*begun.base));
    }

    /// The mailbox was removed with all that is in it.
    pub fn forget(&self, mailbox: u64) {
        self.book().mailboxes.remove(&mailbox);
    }

    /// Whether a mailbox owes anything.
    pub fn has(&self, mailbox: u64) -> bool {
        self.book().mailboxes.contains_key(&mailbox)
    }

    /// Whether it has done what is not durable.
    pub fn has_done(&self, mailbox: u64) -> bool {
        self.with(mailbox, |debts| !debts.done.is_empty())
    }

    /// Whether something of it is lost, and nobody has seen to it yet.
    pub fn has_lost(&self, mailbox: u64) -> bool {
        self.with(mailbox, |debts| !debts.lost.is_empty())
    }

    /// Where the oldest record is that is owed.
    pub fn from(&self) -> Option<u64> {
        self.book().mailboxes.values().filter_map(Debts::least).min()
    }

    fn with<T>(&self, mailbox: u64, f: impl FnOnce(&mut Debts) -> T) -> T {
        let mut book = self.book();
        let Some(debts) = book.mailboxes.get_mut(&mailbox) else { return f(&mut Debts::default()) };
        let told = f(debts);
        if debts.is_empty() {
            book.mailboxes.remove(&mailbox);
        }
        told
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // Each change of it is one step.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A record that is about to be carried out in a mailbox, which owes it from now on. Dropped before that is done, it is not owed any more: whoever drops it
/// knows that the spool keeps the record all the same, or need not.
#[must_use]
pub struct Charge {
    common: Arc<Common>,
    mailbox: u64,
    pub(super) ticket: u64,
}

impl std::fmt::Debug for Charge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Charge").field("mailbox", &self.mailbox).field("ticket", &self.ticket).finish_non_exhaustive()
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.common.ledger.forgive(self.mailbox, |begun| begun.ticket == self.ticket);
    }
}

impl Mailbox {
    /// A record is about to be carried out here. `base` is the base name of its message; empty for a removal.
    pub fn charge(&self, owed: Owed, base: &[u8]) -> Charge {
        let ticket = self.common.ledger.begin(self.id, owed, base, self.common.round());
        Charge { common: self.common.clone(), mailbox: self.id, ticket }
    }

    /// It cannot be carried out now. Nothing if somebody else has taken it over, who took too long for one who never comes back.
    pub fn fail_charge(self: &Arc<Mailbox>, charge: &Charge) -> Option<Failed> {
        Failed::new(self, self.common.ledger.fail(self.id, |begun| begun.ticket == charge.ticket))
    }
}

/// Records that have to be carried out again in a mailbox.
pub struct Failed {
    /// The mailbox.
    pub mailbox: Arc<Mailbox>,
    /// The last comes first.
    owed: Vec<Owed>,
}

impl Failed {
    pub(super) fn new(mailbox: &Arc<Mailbox>, mut owed: Vec<Owed>) -> Option<Failed> {
        // Removals first: what was removed is not delivered again.
        owed.sort_by_key(|owed| std::cmp::Reverse((owed.target.is_some(), owed.at)));
        (!owed.is_empty()).then(|| Failed { mailbox: mailbox.clone(), owed })
    }

    /// The next to see to: the spool has to keep it by itself.
    pub fn next(&self) -> Option<Owed> {
        self.owed.last().copied()
    }

    /// It does.
    pub fn next_is_kept(&mut self) {
        if let Some(owed) = self.owed.pop() {
            self.mailbox.common.ledger.keep(self.mailbox.id, &owed);
        }
    }
}

/// Whatever ends it, and be it a panic: what nobody saw to is owed as before, and lost with the next checkpoint.
impl Drop for Failed {
    fn drop(&mut self) {
        if !self.owed.is_empty() {
            self.mailbox.common.ledger.find(self.mailbox.id, &self.owed);
            self.mailbox.is_unsure();
        }
    }
}

impl Mailboxes {
    /// Where the oldest record is that a mailbox owes: from there on the spool keeps everything, whatever a checkpoint made durable.
    pub fn owes_from(&self) -> Option<u64> {
        self.common.ledger.from()
    }
}
