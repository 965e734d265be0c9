//! From a message that was taken in to mailboxes: the promise first, then the files.

use crate::{
    account::Account,
    house::House,
    mailbox::{Content, Deposit, Mailbox, Placed, Reserved},
    office::intake::{self, Taken},
    outgoing::Admission,
    recover::decode,
    spool::{Entry, Lsn, Spool},
};
use imap::Refusal;
use mail::{Address, Flags, MailboxName, Stamp, Wishes};
use queue::{Tells, Traits, route::NoRoute};
use std::{
    io,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};
use wire::Fault;

/// Entries that wait for their mailboxes, some hundred bytes of memory each, before nothing more is accepted: something is wrong with the disk then.
const UNDELIVERED_MAX: usize = 100_000;

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
    pub file: Option<&'a str>,
    /// For a report: the message it is about, which of its recipients, and what it tells.
    pub settles: Option<(u64, &'a [u16], Tells)>,
}

/// Promised, and not delivered yet. Their records stay in the log.
#[derive(Default)]
pub struct Undelivered(Mutex<Vec<Waiting>>);

/// A record that was not delivered everywhere.
#[derive(Clone)]
pub struct Waiting {
    /// Where it is.
    pub at: Lsn,
    /// The id of its entry.
    pub id: u64,
    /// The targets that do not have it. Others may have removed it again meanwhile, and must not get it twice.
    pub left: Vec<Left>,
}

/// A target that does not have its message.
#[derive(Clone)]
pub struct Left {
    /// Which of the record.
    pub target: usize,
    /// Whose mailbox it is.
    pub account: Box<str>,
    /// Its name now; the record may have an older one.
    pub mailbox: Box<str>,
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
        let mailbox = self.mailboxes().open(&account.maildir, &name)?;
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
    /// of its own, wrong permissions) would otherwise fill the log that all share.
    ///
    /// # Errors
    /// `Later` if mail waits for it.
    pub(crate) fn check_waiting(&self, account: &Account) -> Result<(), Refusal> {
        if self.undelivered().waits_for(&account.name()) { Err(Refusal::Fault(Fault::Later)) } else { Ok(()) }
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
        if self.undelivered().count() > UNDELIVERED_MAX {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "too many messages wait for their mailboxes"));
        }
        let _stay = self.stay();
        // Its entry ends before names may change, or the log would still have a record with the old one.
        let mut taken = taken;
        let wire = taken.wire();
        let id = taken.entry.id();
        let bases: Vec<String> = (0..to.len()).map(|n| base_name(stamp, id, n, self.hostname(), taken.stored, wire)).collect();
        let names: Vec<MailboxName> = to.iter().map(|d| d.mailbox.name()).collect();
        let mut reserved = Vec::with_capacity(to.len());
        for destination in to {
            reserved.push(destination.mailbox.reserve().map_err(|refusal| io::Error::other(format!("{refusal:?}")))?);
        }
        let head = head(&taken, stamp, origin, to, leaving, &names, &bases, &reserved);
        let at = match &taken.content {
            intake::Content::Inline(bytes) => taken.entry.commit(&[&head, bytes])?,
            intake::Content::Large => taken.entry.commit(&[&head])?,
        };
        if !leaving.to.is_empty() || !leaving.nowhere.is_empty() {
            // Before the entry ends: a checkpoint must find it in the queue.
            self.depot().note(id, at, matches!(taken.content, intake::Content::Large));
            let ways = leaving.to.iter().map(|(recipient, _)| self.outgoing().site(&recipient.address.domain));
            let sites: Vec<Box<str>> = ways.chain(leaving.nowhere.iter().map(|(_, no)| no.site().unwrap_or_default().into())).collect();
            let sites: Vec<(u16, &str)> = (0..).zip(sites.iter().map(|site| &**site)).collect();
            let held = leaving.traits.has(Traits::HELD);
            let arrived_ms = self.queue_ms();
            self.outgoing().admit(arrived_ms, &Admission { id, stamp, arrived_ms, wishes: &leaving.wishes, held, sites: &sites });
        }
        if let Some(file) = leaving.file {
            // Before the entry ends too: the next checkpoint lets go of this record, and tells of the file again while it is there.
            self.folder().note(file);
        }
        if let Some((about, recipients, Tells::End)) = leaving.settles {
            // Before the entry ends as well: a snapshot that still had them would be believed, and they be reported twice.
            self.settled(about, recipients);
        }
        let path = self.spool().large_path(id);
        let pieces: [&[u8]; 1];
        let content = match &taken.content {
            intake::Content::Inline(bytes) => {
                pieces = [bytes];
                Content::Bytes(&pieces)
            }
            intake::Content::Large => Content::Link(&path),
        };
        let mut placed = Vec::with_capacity(to.len());
        for ((destination, base), reserved) in to.iter().zip(&bases).zip(&reserved) {
            destination.mailbox.confirm(reserved);
            let deposit = Deposit {
                base,
                content,
                flags: &destination.flags,
                date: destination.date,
                size: taken.stored,
                wire,
                structure: Some(&taken.structure),
            };
            placed.push(destination.mailbox.deliver(&deposit));
        }
        match placed.iter().zip(to).find_map(|(p, to)| Some((p.as_ref().err()?, to))) {
            None => {}
            // APPEND says no, and the client will try again: nobody was promised anything, so nothing must appear later.
            Some((error, destination)) if origin.is_none() => {
                tracing::error!(id = format!("{id:x}"), ?error, "could not be appended");
                self.bury(&destination.account, &names[0], &[bases[0].as_bytes()])?;
            }
            Some((error, _)) => {
                tracing::error!(id = format!("{id:x}"), ?error, "accepted, but not delivered yet");
                let left = placed.iter().zip(to).enumerate().filter(|(_, (placed, _))| placed.is_err());
                let left = left
                    .map(|(target, (_, to))| Left { target, account: to.account.name().into(), mailbox: names[target].as_str().into() })
                    .collect();
                self.undelivered().note(Waiting { at, id, left });
                taken.entry.pin();
            }
        }
        Ok(placed)
    }

    /// Makes it durable that messages are gone from a mailbox: no crash brings them back. Call it before their files are removed, and keep what it
    /// returns until the mailbox knows of it: a checkpoint in between would let go of the record while the files are there.
    ///
    /// # Errors
    /// If it could not be made durable. Remove nothing then.
    pub(crate) fn bury(&self, account: &Account, mailbox: &MailboxName, bases: &[&[u8]]) -> io::Result<Vec<Entry<&Spool>>> {
        let mut entries = Vec::new();
        for bases in bases.chunks(queue::BASES_MAX) {
            let gone = queue::Gone { account: &account.name(), mailbox: mailbox.as_str(), bases: queue::Bases::new(bases) };
            let mut entry = self.spool().entry();
            entry.commit(&[&gone.encode()])?;
            entries.push(entry);
        }
        Ok(entries)
    }

    /// Makes a record durable that asks for nothing to be done.
    ///
    /// # Errors
    /// If it could not be made durable.
    pub(crate) fn note(&self, record: &queue::Record<'_>) -> io::Result<()> {
        self.spool().entry().commit(&[&record.encode()]).map(drop)
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
        for Waiting { at, id, mut left } in self.undelivered().all() {
            let bytes = self.spool().read(at)?;
            let queue::Record::Accept(accept) = decode(&bytes)? else { continue };
            let mut targets = Vec::with_capacity(left.len());
            for (n, left) in left.iter_mut().enumerate() {
                let target = accept.targets.iter().nth(left.target).ok_or(io::ErrorKind::InvalidData)?;
                targets.push(queue::Target { mailbox: &left.mailbox, ..target });
                left.target = n;
            }
            // What leaves, and what it reports on, is known to the queue; told again, it would be sent again.
            let accept = queue::Accept { targets: queue::Targets::new(&targets), remotes: queue::Remotes::NONE, settles: None, ..accept };
            let head = accept.head();
            let to = match accept.content {
                queue::Content::Inline(bytes) => self.spool().carry(at, id, &[&head, bytes])?,
                queue::Content::Large { .. } => self.spool().carry(at, id, &[&head])?,
            };
            drop(targets);
            self.undelivered().carried(at, Waiting { at: to, id, left });
        }
        Ok(())
    }

    /// Tries again to deliver what was promised.
    pub fn deliver_again(&self) {
        let _alone = self.alone();
        for Waiting { at, id, left } in self.undelivered().all() {
            match self.replay_one(at, &left) {
                Ok(left) if left.is_empty() => {
                    self.undelivered().remove(at);
                    self.spool().unpin(at, id);
                    tracing::info!(id = format!("{id:x}"), "delivered after all");
                }
                Ok(left) => {
                    tracing::error!(id = format!("{id:x}"), mailboxes = left.len(), "accepted, but not delivered yet");
                    self.undelivered().leave(at, left);
                }
                Err(error) => tracing::error!(id = format!("{id:x}"), %error, "accepted, but not delivered yet"),
            }
        }
    }
}

impl Undelivered {
    /// Notes a record that could not be delivered everywhere. It is pinned in the log.
    pub fn note(&self, waiting: Waiting) {
        self.list().push(waiting);
    }

    /// Whether mail for this account waits.
    pub fn waits_for(&self, account: &str) -> bool {
        self.list().iter().any(|waiting| waiting.left.iter().any(|left| *left.account == *account))
    }

    fn leave(&self, at: Lsn, left: Vec<Left>) {
        self.list().iter_mut().filter(|waiting| waiting.at == at).for_each(|waiting| waiting.left.clone_from(&left));
    }

    fn carried(&self, at: Lsn, to: Waiting) {
        self.list().iter_mut().filter(|waiting| waiting.at == at).for_each(|waiting| waiting.clone_from(&to));
    }

    fn remove(&self, at: Lsn) {
        self.list().retain(|waiting| waiting.at != at);
    }

    fn all(&self) -> Vec<Waiting> {
        self.list().clone()
    }

    fn count(&self) -> usize {
        self.list().len()
    }

    fn list(&self) -> std::sync::MutexGuard<'_, Vec<Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The Maildir name of target `n` of an entry. The same at every attempt, so that a message is never delivered twice.
fn base_name(stamp: Stamp, id: u64, n: usize, host: &str, size: u64, wire: u64) -> String {
    maildir::base_name(stamp.seconds, &format!("L{id:x}N{n}"), host, size, wire)
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
    reserved: &[Reserved],
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
            uid_validity: reserved[n].uid_validity.0.get(),
            uid_upto: reserved[n].uid_upto,
            mod_seq_upto: reserved[n].mod_seq_upto,
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
        intake::Content::Large => queue::Content::Large { id: taken.entry.id(), size: taken.stored },
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
