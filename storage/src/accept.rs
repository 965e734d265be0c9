//! From a message that was taken in to mailboxes: the promise first, then the files.

use crate::{
    account::Account,
    house::House,
    mailbox::{Charge, Content, Deposit, Mailbox, Missed, Owed, Placed, Reserved},
    office::intake::{self, Taken},
    outgoing::Admission,
    spool::{Entry, Lsn, Spool},
    supervise::guarded,
    undelivered::{self, Left, Task, Untold, Waiting},
};
use imap::Refusal;
use mail::{Address, Flags, MailboxName, Stamp, Wishes};
use queue::{Tells, Traits, route::NoRoute};
use std::{io, net::IpAddr, sync::Arc};
use wire::Fault;

/// One mailbox that a message goes to.
pub struct Destination {
    /// Whose.
    pub account: Arc<Account>,
    /// The path that named it; none for APPEND.
    pub recipient: String,
    mailbox: Arc<Mailbox>,
    flags: Flags,
    date: Stamp,
}

/// How a message came.
pub struct Origin<'a> {
    /// The reverse path.
    pub sender: Option<&'a Address>,
    /// What the client called itself.
    pub helo: &'a str,
    /// Where it came from.
    pub peer: IpAddr,
    /// The `with` keyword of its trace field.
    pub with: &'a str,
    /// Who logged in.
    pub login: Option<&'a Address>,
    /// Whether it was declared as 8BITMIME.
    pub eight_bit: bool,
    /// Whether the client said SMTPUTF8.
    pub utf8: bool,
}

/// What of a message leaves, and what its record says besides.
#[derive(Default)]
pub(crate) struct Leaving<'a> {
    /// Recipients elsewhere, each with the sender it has for them if that is not the message's.
    pub to: &'a [(mail::Recipient, Option<Address>)],
    /// Recipients of a message that nobody can be refused, who have no way, and why: the queue tells its sender.
    pub nowhere: &'a [(mail::Recipient, NoRoute)],
    /// Whether each recipient elsewhere gets a sender that names it.
    pub verp: bool,
    /// What the sender wishes.
    pub wishes: Wishes,
    /// What whoever sends it must know of it, besides what is seen in its content.
    pub traits: Traits,
    /// The file of the drop folder it was in, as its record names it.
    pub file: Option<queue::Dropped<'a>>,
    /// For a report: the message it is about, which of its recipients, and what it tells.
    pub settles: Option<(u64, &'a [u16], Tells)>,
}

/// A record that is durable: what it promises is kept whatever happens to whoever carries it out. Dropped before everything is done, by a panic or
/// an early return, it notes what is left: that is done later in this run, and the log keeps it for the next.
struct Promise<'a> {
    house: &'a House,
    /// Until the mailboxes owe the record, each for itself.
    entry: Option<Entry<Arc<Spool>>>,
    /// A debt of each mailbox: another one's may never come to an end, or not before a disk answers.
    charges: Vec<(Arc<Mailbox>, Charge)>,
    waiting: Waiting,
}

impl Promise<'_> {
    /// The mailboxes owe the record from now on. What the queue was not told waits.
    fn leave_to_mailboxes(&mut self) {
        let Some(entry) = self.entry.take() else { return };
        let untold = std::mem::take(&mut self.waiting.untold);
        if untold != Untold::default() {
            let Waiting { at, id, .. } = self.waiting;
            self.note(Waiting { untold, ..Waiting::new(at, id, Vec::new()) });
        }
        entry.delivered();
    }

    /// The log keeps this, before the entry ends: a checkpoint asks what the queue was not told.
    fn note(&self, waiting: Waiting) {
        tracing::error!(id = format!("{:x}", waiting.id), "accepted, but not delivered yet");
        let _still = self.house.undelivered().still();
        // First: once it is noted, somebody may do it and let go of it.
        self.house.spool().pin(waiting.at, waiting.id);
        self.house.undelivered().note(waiting);
    }
}

impl Drop for Promise<'_> {
    fn drop(&mut self) {
        let Waiting { at, id, .. } = self.waiting;
        if let Some(entry) = self.entry.take() {
            if !self.waiting.is_done() {
                self.note(self.waiting.clone());
            }
            return entry.delivered();
        }
        for left in std::mem::take(&mut self.waiting.left) {
            let Task::Deliver { target, .. } = left.task else { continue };
            let (mailbox, charge) = &self.charges[target];
            // If somebody has taken it over, it is noted.
            let Some(mut failed) = mailbox.fail_charge(charge) else { continue };
            self.note(Waiting::new(at, id, vec![left]));
            failed.next_is_kept();
        }
    }
}

impl House {
    /// Opens the mailbox a message is for.
    ///
    /// # Errors
    /// If there is none, or a fault of the disk.
    pub(crate) fn destination(
        &self,
        account: &Arc<Account>,
        name: MailboxName,
        flags: Flags,
        date: Stamp,
        recipient: Option<&Address>,
    ) -> Result<Destination, Refusal> {
        let mailbox = match self.mailboxes().open(&account.maildir, &name) {
            // The others get their mail; this one when it can be opened. Who is told of the answer for it alone asked before.
            Err(Refusal::Fault(_)) if recipient.is_some() => self.mailboxes().slot(&account.maildir, &name)?,
            opened => opened?,
        };
        let recipient = recipient.map(ToString::to_string).unwrap_or_default();
        Ok(Destination { account: account.clone(), recipient, mailbox, flags, date })
    }

    /// Whether `more` bytes still fit into an account.
    ///
    /// # Errors
    /// [`Refusal::OverQuota`], or a fault of the disk.
    pub(crate) fn check_quota(&self, account: &Account, more: u64) -> Result<(), Refusal> {
        // That of the configuration is in it already, unless the account has one of its own: 0 means none even where others have one.
        let limit = account.quota;
        if limit > 0 && self.mailboxes().usage(&account.maildir)?.saturating_add(more) > limit {
            return Err(Refusal::OverQuota);
        }
        Ok(())
    }

    /// Whether an account takes mail at the moment: not while mail that was promised cannot be written there. One mailbox in trouble (a full disk
    /// of its own, wrong permissions) would otherwise fill the log that all share. Nor while somebody else may write in its Maildir.
    ///
    /// # Errors
    /// `Later` if mail waits for it, or its Maildir is not to be used.
    pub(crate) fn check_waiting(&self, account: &Account) -> Result<(), Refusal> {
        let waits = self.undelivered().waits_for(&account.name()) || self.mailboxes().is_aside(&account.maildir) || self.is_stuck(account);
        // Nor while its disk does not answer: whoever brings mail would wait, one after the other, until nobody else's place is left.
        if waits || self.mailboxes().is_late(&account.maildir) {
            return Err(Refusal::Fault(Fault::Later));
        }
        self.mailboxes().guard(&account.maildir)
    }

    /// Makes a message durable and delivers it. When this returns without an error the promise is given; a mailbox that could not take the file now
    /// has no place in the answer and gets it later.
    ///
    /// # Errors
    /// If it could not be made durable. Nothing was delivered then.
    pub(crate) fn accept(
        &self,
        taken: Taken,
        stamp: Stamp,
        origin: Option<&Origin<'_>>,
        to: &[Destination],
        leaving: &Leaving<'_>,
    ) -> io::Result<Vec<Result<Placed, Refusal>>> {
        if self.undelivered().count() > undelivered::ALL_MAX {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "too many messages wait for their mailboxes"));
        }
        let accounts: Vec<String> = to.iter().map(|to| to.account.name()).collect();
        // An inbox keeps its name, so nobody who changes others waits until it has its mail, nor do its fellow recipients.
        let named = to.iter().zip(&accounts).filter(|(to, _)| !to.mailbox.name().is_inbox());
        let names = self.names_of(named.map(|(_, account)| &**account));
        let in_doubt = || io::Error::other("names of mailboxes are in doubt");
        let _stay = self.stay(&names).map_err(|_| in_doubt())?;
        let stuck: Vec<bool> = to.iter().map(|to| self.is_stuck(&to.account)).collect();
        if origin.is_none() && stuck.contains(&true) {
            return Err(in_doubt());
        }
        // It is delivered before names may change: it is not looked for under another.
        let mut taken = taken;
        let wire = taken.wire();
        let id = taken.entry.id();
        let bases: Vec<String> = (0..to.len()).map(|n| base_name(stamp, id, n, self.hostname(), taken.stored, wire)).collect();
        let names: Vec<MailboxName> = to.iter().map(|d| d.mailbox.name()).collect();
        let mut reserved = Vec::with_capacity(to.len());
        for (destination, stuck) in to.iter().zip(stuck) {
            reserved.push(match destination.mailbox.reserve() {
                // Nothing is delivered there before the log and the disk have the same names. It waits, and the others get theirs.
                _ if stuck => None,
                Ok(reserved) => Some(reserved),
                // It cannot be read, so none of its numbers is used before it can be.
                Err(Refusal::Fault(_)) if origin.is_some() => None,
                Err(refusal) => return Err(io::Error::other(format!("{refusal:?}"))),
            });
        }
        let head = head(&taken, stamp, origin, to, leaving, &names, &bases, &reserved);
        let at = match &taken.content {
            intake::Content::Inline(bytes) => taken.entry.commit(&[&head, bytes])?,
            intake::Content::Large { .. } => taken.entry.commit(&[&head])?,
        };
        // The promise is given: from here on nothing may end this but by doing it, or noting what is left.
        let Taken { entry, content, structure, stored, .. } = taken;
        let left = |(target, to): (usize, &Destination)| Left {
            task: Task::Deliver { target, base: bases[target].as_str().into() },
            account: to.account.name().into(),
            mailbox: names[target].as_str().into(),
        };
        let left: Vec<Left> = to.iter().enumerate().map(left).collect();
        let leaves = !leaving.to.is_empty() || !leaving.nowhere.is_empty();
        let untold = Untold { leaves, settles: matches!(leaving.settles, Some((_, _, Tells::End))) };
        let waiting = Waiting { untold, ..Waiting::new(at, id, left) };
        let mut promise = Promise { house: self, entry: Some(entry), charges: Vec::new(), waiting };
        promise.charges.extend(to.iter().zip(&bases).enumerate().map(|(n, (to, base))| {
            (to.mailbox.clone(), to.mailbox.charge(Owed { at, id, target: u32::try_from(n).ok() }, base.as_bytes()))
        }));
        if let Some(file) = leaving.file {
            // Before the entry ends: the next checkpoint lets go of this record, and tells of the file again while it is there.
            self.folder().note(&file);
        }
        if leaves {
            // Before the entry ends too: a checkpoint must find it in the queue.
            let large = matches!(content, intake::Content::Large { .. });
            let told = guarded("queue", || self.queue_new(id, at, large, stamp, leaving));
            promise.waiting.untold.leaves = told.is_none() && !self.outgoing().holds(id);
        }
        if let Some((about, recipients, Tells::End)) = leaving.settles {
            // Before the entry ends as well: a snapshot that still had them would be believed, and they be reported twice.
            promise.waiting.untold.settles = guarded("queue", || self.settled(about, recipients)).is_none();
        }
        promise.leave_to_mailboxes();
        let path = self.spool().large_path(id);
        let pieces: [&[u8]; 1];
        let content = match &content {
            intake::Content::Inline(bytes) => {
                pieces = [bytes];
                Content::Bytes(&pieces)
            }
            intake::Content::Large { .. } => Content::Link(&path),
        };
        let mut placed = Vec::with_capacity(to.len());
        for (target, ((destination, base), reserved)) in to.iter().zip(&bases).zip(&reserved).enumerate() {
            let deposit = Deposit {
                base,
                content,
                flags: &destination.flags,
                date: destination.date,
                size: stored,
                wire,
                structure: Some(&structure),
                record: promise.charges.get(target).map(|(_, charge)| charge),
            };
            // Each by itself: one mailbox in trouble is no reason for its fellows not to get theirs.
            let delivered = guarded("delivery", || {
                // Its record has no numbers, so none of them may be used yet.
                let reserved = reserved.as_ref().ok_or(Refusal::Fault(Fault::Later))?;
                destination.mailbox.confirm(reserved);
                destination.mailbox.deliver(&deposit)
            });
            let delivered = delivered.unwrap_or(Err(Refusal::Fault(Fault::Later)));
            match &delivered {
                Ok(_) => promise.waiting.left.retain(|left| !left.is_for(target)),
                // APPEND says no, and the client will try again: nobody was promised anything, so nothing must appear later.
                Err(error) if origin.is_none() => {
                    tracing::error!(id = format!("{id:x}"), ?error, "could not be appended");
                    promise.waiting.left.clear();
                    guarded("delivery", || self.take_back(destination, base));
                }
                Err(error) => {
                    let account = destination.account.name();
                    tracing::error!(id = format!("{id:x}"), account, ?error, "a mailbox does not take what was accepted for it");
                }
            }
            placed.push(delivered);
        }
        Ok(placed)
    }

    /// Lets nothing appear later of what could not be appended.
    fn take_back(&self, from: &Destination, base: &str) {
        let buried = self.bury(&from.account, &from.mailbox, &[base.as_bytes()]);
        // If it panicked, the file may be there already.
        let gone = from.mailbox.bury(&[base.as_bytes()], buried.as_deref().unwrap_or_default());
        if let Err(error) = buried {
            tracing::error!(base, %error, "what could not be appended may appear after a crash");
        }
        if let Err(error) = gone {
            tracing::warn!(base, ?error, "whether something of what could not be appended is there nobody knows now");
        }
    }

    /// Tells the queue of a message that leaves.
    fn queue_new(&self, id: u64, at: Lsn, large: bool, stamp: Stamp, leaving: &Leaving<'_>) {
        self.depot().note(id, at, large);
        let ways = leaving.to.iter().map(|(recipient, _)| self.outgoing().site(&recipient.address.domain));
        let sites: Vec<Box<str>> = ways.chain(leaving.nowhere.iter().map(|(_, no)| no.site().unwrap_or_default().into())).collect();
        let sites: Vec<(u16, &str)> = (0..).zip(sites.iter().map(|site| &**site)).collect();
        let held = leaving.traits.has(Traits::HELD);
        let arrived_ms = self.queue_ms();
        self.outgoing().admit(arrived_ms, &Admission { id, stamp, arrived_ms, wishes: &leaving.wishes, held, sites: &sites });
    }

    /// Makes it durable that messages are gone from a mailbox: no crash brings them back. Call it before their files are removed, and keep what it
    /// returns until the mailbox has removed them: a checkpoint in between would let go of the record while the files are there. Nobody was promised that
    /// they go, so nothing is owed if it does not.
    ///
    /// # Errors
    /// If it could not be made durable. Remove nothing then.
    pub(crate) fn bury(&self, account: &Account, mailbox: &Mailbox, bases: &[&[u8]]) -> io::Result<Vec<Charge>> {
        let (owner, name) = (account.name(), mailbox.name());
        // What waits for its mailbox is not moved behind this, or it would be delivered all the same.
        let _still = self.undelivered().still();
        let mut charges = Vec::new();
        for some in bases.chunks(queue::BASES_MAX) {
            let gone = queue::Gone { account: &owner, mailbox: name.as_str(), bases: queue::Bases::new(some), bounds: None };
            let mut entry = self.spool().entry();
            let at = entry.commit_removal(&[&gone.encode()])?;
            charges.push(mailbox.charge(Owed { at, id: entry.id(), target: None }, b""));
            // The mailbox owes it now.
            entry.delivered();
        }
        self.cancel(&owner, &name, bases);
        Ok(charges)
    }

    /// Tells the log what other programs took away from mailboxes or brought back, as far as it has these messages: after a crash it would deliver them again.
    ///
    /// # Errors
    /// If it cannot be made durable; it is tried again then.
    pub(crate) fn note_missed(&self) -> io::Result<()> {
        let missed = self.mailboxes().missed();
        if missed.is_empty() {
            return Ok(());
        }
        // Of a mailbox that was renamed since it was noticed the log knows only the new name: then the record says nothing, and harms nothing.
        let noted = self.jot_missed(&missed).and_then(|()| self.spool().flush());
        if noted.is_err() {
            self.mailboxes().still_missed(missed);
        }
        noted
    }

    fn jot_missed(&self, missed: &[Missed]) -> io::Result<()> {
        let accounts = self.accounts().all();
        for run in missed.chunk_by(|a, b| (&a.maildir, &a.mailbox, a.is_back) == (&b.maildir, &b.mailbox, b.is_back)) {
            let live = |m: &&Missed| maildir::log_id(&m.base).is_some_and(|id| self.spool().is_live(id));
            let live: Vec<&[u8]> = run.iter().filter(live).map(|m| &*m.base).collect();
            // One Maildir may be that of several accounts, and the log knows only their names.
            for account in accounts.iter().filter(|account| account.maildir == run[0].maildir) {
                // What is delivered again was not taken away: it never came, or a disk lost it.
                let bases: Vec<&[u8]> =
                    live.iter().copied().filter(|base| !self.undelivered().has_message(&account.name(), base)).collect();
                for bases in bases.chunks(queue::BASES_MAX) {
                    let account = account.name();
                    let gone =
                        queue::Gone { account: &account, mailbox: run[0].mailbox.as_str(), bases: queue::Bases::new(bases), bounds: None };
                    let record = if run[0].is_back { queue::Record::Back(gone) } else { queue::Record::Missed(gone) };
                    self.spool().jot(&[&record.encode()])?;
                }
            }
        }
        Ok(())
    }
}

/// The Maildir name of target `n` of an entry. The same at every attempt, so that a message is never delivered twice.
fn base_name(stamp: Stamp, id: u64, n: usize, host: &str, size: u64, wire: u64) -> String {
    maildir::base_name(stamp.seconds, &maildir::log_unique(id, n), host, size, wire)
}

/// The record of a message, but for its content.
#[allow(clippy::too_many_arguments, reason = "a record has so many parts, and they are nowhere together otherwise")]
fn head(
    taken: &Taken,
    stamp: Stamp,
    origin: Option<&Origin<'_>>,
    to: &[Destination],
    leaving: &Leaving<'_>,
    names: &[MailboxName],
    bases: &[String],
    reserved: &[Option<Reserved>],
) -> Vec<u8> {
    let accounts: Vec<String> = to.iter().map(|d| d.account.name()).collect();
    let targets: Vec<queue::Target<'_>> = (0..to.len())
        .map(|n| queue::Target {
            account: &accounts[n],
            mailbox: names[n].as_str(),
            base: &bases[n],
            recipient: &to[n].recipient,
            system: to[n].flags.system,
            keywords: queue::Keywords::new(&to[n].flags.keywords),
            date: to[n].date,
            uid_validity: reserved[n].map_or(0, |r| r.uid_validity.0.get()),
            uid_upto: reserved[n].map_or(0, |r| r.uid_upto),
            mod_seq_upto: reserved[n].map_or(0, |r| r.mod_seq_upto),
        })
        .collect();
    let sender = origin.and_then(|o| o.sender).map(ToString::to_string);
    let (peer, login) = match origin {
        Some(o) => (o.peer.to_string(), o.login.map(ToString::to_string).unwrap_or_default()),
        None => (String::new(), String::new()),
    };
    let trace =
        origin.map(|o| queue::Trace { helo: o.helo, peer: &peer, with: o.with, login: &login, eight_bit: o.eight_bit, utf8: o.utf8 });
    let content = match &taken.content {
        intake::Content::Inline(bytes) => queue::Content::Inline(bytes),
        intake::Content::Large { sum } => queue::Content::Large { id: taken.entry.id(), size: taken.stored, sum: Some(*sum) },
    };
    let paths: Vec<(String, Option<String>)> =
        leaving.to.iter().map(|(recipient, sender)| (recipient.address.to_string(), sender.as_ref().map(ToString::to_string))).collect();
    let mut remotes: Vec<queue::Remote<'_>> = leaving
        .to
        .iter()
        .zip(&paths)
        .map(|((recipient, _), (path, sender))| queue::Remote {
            recipient: path,
            notify: recipient.notify,
            original: recipient.original.as_deref(),
            route: None,
            sender: sender.as_deref(),
        })
        .collect();
    let nowhere: Vec<String> = leaving.nowhere.iter().map(|(recipient, _)| recipient.address.to_string()).collect();
    remotes.extend(leaving.nowhere.iter().zip(&nowhere).map(|((recipient, no), path)| queue::Remote {
        recipient: path,
        notify: recipient.notify,
        original: recipient.original.as_deref(),
        route: no.site(),
        sender: None,
    }));
    let seen = [(Traits::EIGHT_BIT, taken.eight_bit), (Traits::UTF8, taken.utf8_header), (Traits::BINARY, taken.exact)];
    let traits = seen.into_iter().fold(leaving.traits, |traits, (one, holds)| traits.with_if(one, holds));
    let accept = queue::Accept {
        id: taken.entry.id(),
        stamp,
        sender: sender.as_deref(),
        trace,
        targets: queue::Targets::new(&targets),
        remotes: queue::Remotes::new(&remotes),
        wishes: queue::Wishes::from(&leaving.wishes),
        file: leaving.file,
        settles: leaving.settles.map(|(id, recipients, tells)| queue::Settles { id, recipients: queue::Indexes::new(recipients), tells }),
        traits,
        wire_size: taken.wire(),
        content,
    };
    accept.head()
}

impl Taken {
    /// Octets on the wire: its whole span, as the scan measured it. It takes every message for lines.
    fn wire(&self) -> u64 {
        if self.exact {
            return self.stored;
        }
        self.structure.root.header.wire + self.structure.root.body.wire
    }
}
