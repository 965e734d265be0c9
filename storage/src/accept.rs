//! From a message that was taken in to mailboxes: the promise first, then the files.

use crate::{
    account::Account,
    house::House,
    mailbox::{Content, Deposit, Mailbox, Placed, Reserved},
    office::intake::{self, Taken},
    spool::{Entry, Lsn, Spool},
};
use imap::Refusal;
use mail::{Address, Flags, MailboxName, Stamp};
use std::{
    io,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

/// Entries whose delivery failed after they were promised, before nothing more is accepted: something is wrong with the disk then.
const UNDELIVERED_MAX: usize = 1000;

/// One mailbox that a message goes to.
pub struct Destination {
    /// Whose.
    pub account: Arc<Account>,
    /// The path that named it; none for APPEND.
    pub recipient: String,
    mailbox: Arc<Mailbox>,
    name: MailboxName,
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

/// Promised, and not delivered yet. Their records stay in the log.
#[derive(Default)]
pub struct Undelivered(Mutex<Vec<(Lsn, u64)>>);

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
        Ok(Destination { account: account.clone(), recipient, mailbox, name, flags, date })
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

    /// Makes a message durable and delivers it. When this returns without an error the promise is given; a mailbox that could not take the file now
    /// has no place in the answer and gets it later.
    ///
    /// # Errors
    /// If it could not be made durable. Nothing was delivered then.
    pub(crate) fn accept(
        &self,
        mut taken: Taken,
        stamp: Stamp,
        origin: Option<&Origin<'_>>,
        to: &[Destination],
    ) -> io::Result<Vec<Result<Placed, Refusal>>> {
        if self.undelivered().count() > UNDELIVERED_MAX {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "too many messages wait for their mailboxes"));
        }
        let wire = taken.wire();
        let id = taken.entry.id();
        let bases: Vec<String> = (0..to.len()).map(|n| base_name(stamp, id, n, self.hostname(), taken.stored, wire)).collect();
        let mut reserved = Vec::with_capacity(to.len());
        for destination in to {
            reserved.push(destination.mailbox.reserve().map_err(|refusal| io::Error::other(format!("{refusal:?}")))?);
        }
        let head = head(&taken, stamp, wire, origin, to, &bases, &reserved);
        let at = match &taken.content {
            intake::Content::Inline(bytes) => taken.entry.commit(&[&head, bytes])?,
            intake::Content::Large => taken.entry.commit(&[&head])?,
        };
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
                self.bury(&destination.account, &destination.name, &[bases[0].as_bytes()])?;
            }
            Some((error, _)) => {
                tracing::error!(id = format!("{id:x}"), ?error, "accepted, but not delivered yet");
                self.undelivered().put(at, taken.entry);
            }
        }
        Ok(placed)
    }

    /// Makes it durable that messages are gone from a mailbox: no crash brings them back. Call it before their files are removed.
    ///
    /// # Errors
    /// If it could not be made durable. Remove nothing then.
    pub(crate) fn bury(&self, account: &Account, mailbox: &MailboxName, bases: &[&[u8]]) -> io::Result<()> {
        for bases in bases.chunks(queue::BASES_MAX) {
            let gone = queue::Gone { account: &account.name(), mailbox: mailbox.as_str(), bases: queue::Bases::new(bases) };
            self.spool().entry().commit(&[&gone.encode()])?;
        }
        Ok(())
    }

    /// Tries again to deliver what was promised.
    pub(crate) fn deliver_again(&self) {
        for (at, id) in self.undelivered().all() {
            match self.replay_one(at, None) {
                Ok(()) => {
                    self.undelivered().remove(at);
                    self.spool().unpin(at, id);
                    tracing::info!(id = format!("{id:x}"), "delivered after all");
                }
                Err(error) => tracing::error!(id = format!("{id:x}"), %error, "accepted, but not delivered yet"),
            }
        }
    }
}

impl Undelivered {
    fn put(&self, at: Lsn, entry: Entry<Arc<Spool>>) {
        self.list().push((at, entry.id()));
        entry.pin();
    }

    /// Notes a record that a replay could not deliver.
    pub fn note(&self, at: Lsn, id: u64) {
        self.list().push((at, id));
    }

    fn remove(&self, at: Lsn) {
        self.list().retain(|(other, _)| *other != at);
    }

    fn all(&self) -> Vec<(Lsn, u64)> {
        self.list().clone()
    }

    fn count(&self) -> usize {
        self.list().len()
    }

    fn list(&self) -> std::sync::MutexGuard<'_, Vec<(Lsn, u64)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The Maildir name of target `n` of an entry. The same at every attempt, so that a message is never delivered twice.
fn base_name(stamp: Stamp, id: u64, n: usize, host: &str, size: u64, wire: u64) -> String {
    maildir::base_name(stamp.seconds, &format!("L{id:x}N{n}"), host, size, wire)
}

/// The record of a message, but for its content.
fn head(
    taken: &Taken,
    stamp: Stamp,
    wire_size: u64,
    origin: Option<&Origin<'_>>,
    to: &[Destination],
    bases: &[String],
    reserved: &[Reserved],
) -> Vec<u8> {
    let accounts: Vec<String> = to.iter().map(|d| d.account.name()).collect();
    let targets: Vec<queue::Target<'_>> = (0..to.len())
        .map(|n| queue::Target {
            account: &accounts[n],
            mailbox: to[n].name.as_str(),
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
    let accept = queue::Accept {
        id: taken.entry.id(),
        stamp,
        sender: sender.as_deref(),
        trace,
        targets: queue::Targets::new(&targets),
        wire_size,
        content,
    };
    accept.head()
}

impl Taken {
    /// Octets on the wire: its whole span, as the scan measured it.
    fn wire(&self) -> u64 {
        self.structure.root.header.wire + self.structure.root.body.wire
    }
}
