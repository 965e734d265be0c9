//! Where a message goes: the paths of its envelope followed to mailboxes here and to recipients elsewhere; and messages that this server writes itself.

use crate::{
    accept::{Leaving, Origin},
    account::Account,
    house::House,
    office::intake::{Content, Form, Intake, Refused, Taken},
    story::Deed,
    supervise::guarded,
};
use mail::{Address, Envelope, Flags, MailboxName, Notify, Recipient, Stamp};
use post::{Destiny, Trace};
use queue::{
    Traits,
    dsn::{About, HeaderOnly, Kind, Original, Report, Returned},
    route::NoRoute,
};
use std::{io, net::IpAddr, sync::Arc};

/// Where a message goes.
#[derive(Default)]
pub(crate) struct Places {
    /// Mailboxes, each once, with the path that named it.
    pub mailboxes: Vec<(Arc<Account>, Recipient)>,
    /// Recipients elsewhere, each once, with the sender it has for them if that is another.
    pub remotes: Vec<(Recipient, Option<Address>)>,
}

impl House {
    /// Follows a path of an envelope and adds what it leads to.
    ///
    /// # Errors
    /// If it leads nowhere.
    pub(crate) fn follow(&self, path: &Recipient, sender: Option<&Address>, places: &mut Places) -> Result<(), post::Refused> {
        let now = self.now();
        let expansion = self.accounts().expand(path, now)?;
        for missing in &expansion.missing {
            tracing::warn!(path = %path.address, %missing, "an alias or a forward names an address that is not there");
        }
        let (mailboxes, remotes) = (places.mailboxes.len(), places.remotes.len());
        let mut found = false;
        for destiny in expansion.to {
            match destiny {
                Destiny::Mailbox { account, recipient } => {
                    let Some(account) = self.accounts().find(&account) else { continue };
                    found = true;
                    if !places.mailboxes.iter().any(|(known, _)| known.address == account.address) {
                        places.mailboxes.push((account, recipient));
                    }
                }
                // As it would stand in a command: one that a forward names and nobody can be told is found out now, not after five days.
                Destiny::Remote { recipient, .. } if smtp::path(&recipient.address.to_string()).is_none() => {
                    tracing::warn!(path = %path.address, to = %recipient.address, "an alias or a forward names an address that no command can hold");
                }
                Destiny::Remote { recipient, owner, forwarded } => {
                    found = true;
                    // RFC 3461 §5.2.7.1: what is sent on has the sender it came with, or the owner of the list; of the former we answer for it.
                    let other = owner.or_else(|| sender.filter(|_| forwarded).and_then(|sender| self.accounts().rewritten(sender, now)));
                    if !places.remotes.iter().any(|(known, _)| known.address == recipient.address) {
                        places.remotes.push((recipient, other));
                    }
                }
            }
        }
        if places.mailboxes.len() > queue::TARGETS_MAX || places.remotes.len() > queue::REMOTES_MAX {
            // More than one record of the log holds.
            places.mailboxes.truncate(mailboxes);
            places.remotes.truncate(remotes);
            return Err(post::Refused::TooMany);
        }
        // The account was removed between two looks.
        if found { Ok(()) } else { Err(post::Refused::NoMailbox) }
    }

    /// Takes a message that this server wrote, or a program of this host: it is stored, delivered here, and sent to others. `client` is how the story
    /// calls who made it. Returns its id.
    ///
    /// # Errors
    /// If it could not be made durable; nothing was done then.
    pub(crate) fn submit(
        self: &Arc<House>,
        envelope: Envelope,
        by: &'static str,
        client: &str,
        leaving: Leaving<'_>,
        fill: impl FnOnce(&mut Intake) -> io::Result<()>,
    ) -> io::Result<u64> {
        let (stamp, config) = (self.now(), self.config());
        let entry = self.spool().own_entry();
        let id = entry.id();
        let shown = format!("{id:x}");
        let mut places = Places::default();
        for recipient in &envelope.recipients {
            if let Err(refused) = self.follow(recipient, envelope.sender.as_ref(), &mut places) {
                if refused == post::Refused::TooMany {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "it leads to more places than one message may"));
                }
                // Whoever made it is told in the log; there is nobody else.
                tracing::warn!(id = shown, to = %recipient.address, ?refused, "a message of this server goes nowhere");
            }
        }
        if let Some(sender) = envelope.sender.as_ref().filter(|_| leaving.verp) {
            // A forward has one of its own already, which leads back to where it was forwarded.
            for (recipient, own) in places.remotes.iter_mut().filter(|(_, own)| own.is_none()) {
                *own = post::verp(sender, config.detail_separator, &recipient.address);
            }
        }
        if places.mailboxes.is_empty() && places.remotes.is_empty() && leaving.nowhere.is_empty() {
            // RFC 5321 §6.1: what cannot be returned is for the postmaster to see.
            let postmaster = Recipient::from(Address::new("postmaster", config.hostname()));
            if let Err(refused) = self.follow(&postmaster, None, &mut places) {
                tracing::error!(id = shown, ?refused, "there is no postmaster to tell");
            }
        }
        let peer = IpAddr::from([127, 0, 0, 1]);
        let trace = Trace {
            sender: envelope.sender.as_ref(),
            // Mail that only leaves is delivered to nobody here.
            recipient: match &envelope.recipients[..] {
                [one] if self.accounts().is_ours(&one.address) => Some(&one.address),
                _ => None,
            },
            helo: "localhost",
            peer,
            hostname: config.hostname(),
            with: "local",
            tls: None,
            login: None,
            id: &shown,
            stamp,
        };
        let mut intake = Intake::new(entry, Form::Lines, &trace.fields(), u64::MAX, self.claim(None));
        fill(&mut intake)?;
        let taken = match intake.finish() {
            Ok(taken) => taken,
            Err(Refused::Disk(error)) => return Err(error),
            Err(Refused::TooLarge) => return Err(io::ErrorKind::FileTooLarge.into()),
            Err(Refused::Binary(_)) => unreachable!("lines are not converted"),
        };
        let size = taken.stored;
        if places.remotes.len() + leaving.nowhere.len() > queue::REMOTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it has more recipients than one message may"));
        }
        let mut nowhere = leaving.nowhere.to_vec();
        if taken.is_loop() && !leaving.traits.has(Traits::REPORT) {
            // RFC 5321 §6.3: a program here that sends on what it gets would do so for ever.
            places = Places::default();
            nowhere.extend(envelope.recipients.iter().map(|recipient| (recipient.clone(), NoRoute::Circle)));
        }
        let mut to = Vec::with_capacity(places.mailboxes.len());
        for (account, recipient) in &places.mailboxes {
            if self.check_waiting(account).is_err() && self.no_more_waits_for(&account.name()) {
                return Err(io::Error::other(format!("{}: too much waits for it already", account.address)));
            }
            let opened = self.destination(account, MailboxName::inbox(), Flags::default(), stamp, Some(&recipient.address));
            to.push(opened.map_err(|error| io::Error::other(format!("{}: {error:?}", account.address)))?);
        }
        let about = leaving.settles.map(|(about, ..)| format!("{about:x}"));
        let told = Success::of(id, stamp, &envelope, &places, &taken);
        let leaving = Leaving { to: &places.remotes, nowhere: &nowhere, ..leaving };
        let held = leaving.traits.has(Traits::HELD);
        let origin =
            Origin { sender: envelope.sender.as_ref(), helo: "localhost", peer, with: "local", login: None, eight_bit: false, utf8: false };
        let message_id = taken.structure.envelope.message_id.as_deref().map(|id| String::from_utf8_lossy(id).into_owned());
        self.accept(taken, stamp, Some(&origin), &to, &leaving)?;
        // Whatever becomes of the telling, it was accepted.
        guarded("telling", || {
            let sender = envelope.sender.as_ref().map(ToString::to_string).unwrap_or_default();
            let unknown = leaving.nowhere.iter().map(|(recipient, _)| recipient).filter(|r| !envelope.recipients.contains(r));
            let recipients = envelope.recipients.iter().chain(unknown).map(|r| r.address.to_string()).collect();
            self.tell(id, Deed::Accepted { sender, recipients, size, by: by.into(), client: client.into(), message_id, about });
            for destination in &to {
                let account = destination.account.address.to_string();
                self.tell(id, Deed::Delivered { recipient: destination.recipient.clone(), account, delay_s: 0 });
            }
            if held && !places.remotes.is_empty() {
                self.tell(id, Deed::Held { by: "a rule of the configuration".into() });
            }
            if let Some(told) = told
                && let Err(error) = self.tell_success(&told)
            {
                // The message is there; only the news of it is lost.
                tracing::error!(id = shown, %error, "a report of delivery cannot be written");
            }
        });
        Ok(id)
    }
}

/// What a sender wishes to hear of a message that was delivered, or went on under other names, here (RFC 3461 §6.3).
pub(crate) struct Success {
    id: u64,
    stamp: Stamp,
    to: Address,
    envid: Option<Box<str>>,
    header: Vec<u8>,
    delivered: Vec<Recipient>,
    expanded: Vec<Recipient>,
}

impl Success {
    /// Nothing if nobody wishes to hear anything.
    pub(crate) fn of(id: u64, stamp: Stamp, envelope: &Envelope, places: &Places, taken: &Taken) -> Option<Success> {
        let to = envelope.sender.clone()?;
        let wishes = |recipient: &&Recipient| recipient.notify.has(Notify::SUCCESS);
        let delivered: Vec<Recipient> = places.mailboxes.iter().map(|(_, recipient)| recipient).filter(wishes).cloned().collect();
        // Those whose wish did not go on with the places they lead to.
        let goes_on = |recipient: &&Recipient| {
            let mut all = places.mailboxes.iter().map(|(_, r)| r).chain(places.remotes.iter().map(|(r, _)| r));
            all.any(|r| r.notify.has(Notify::SUCCESS) && (r.address == recipient.address || r.original.is_some()))
        };
        let expanded: Vec<Recipient> = envelope.recipients.iter().filter(wishes).filter(|r| !goes_on(r)).cloned().collect();
        if delivered.is_empty() && expanded.is_empty() {
            return None;
        }
        let mut pass = HeaderOnly::new();
        let header = match &taken.content {
            Content::Inline(bytes) => pass.pass(bytes).to_vec(),
            Content::Large { .. } => Vec::new(),
        };
        Some(Success { id, stamp, to, envid: envelope.wishes.envid.clone(), header, delivered, expanded })
    }
}

impl House {
    /// Tells a sender what went well.
    ///
    /// # Errors
    /// If the report could not be made durable.
    pub(crate) fn tell_success(self: &Arc<House>, success: &Success) -> io::Result<()> {
        let config = self.config();
        let id = format!("{:x}", success.id);
        let postmaster = Address::new("postmaster", config.hostname());
        for (kind, recipients) in [(Kind::Delivered, &success.delivered), (Kind::Expanded, &success.expanded)] {
            if recipients.is_empty() {
                continue;
            }
            let about: Vec<About<'_>> = recipients
                .iter()
                .map(|recipient| About {
                    address: &recipient.address,
                    original: recipient.original.as_deref(),
                    code: 0,
                    reply: "",
                    remote: None,
                    attempted: Some(success.stamp),
                    until: None,
                    overdue: false,
                })
                .collect();
            let original = Original {
                id: &id,
                envid: success.envid.as_deref(),
                arrived: success.stamp,
                message_id: None,
                utf8: false,
                eight_bit: !success.header.is_ascii(),
                returned: Returned::Header,
            };
            let name = self.outgoing().unguessable(success.id);
            let report = Report {
                kind,
                host: config.hostname(),
                to: &success.to,
                postmaster: &postmaster,
                name: &name,
                date: self.now(),
                original,
                recipients: &about,
            };
            let message = report.message(&self.outgoing().templates());
            let recipient = Recipient { address: success.to.clone(), notify: Notify::NEVER, original: None };
            let envelope = Envelope { sender: None, recipients: vec![recipient], ..Envelope::default() };
            let leaving = Leaving { traits: Traits::REPORT, ..Leaving::default() };
            self.submit(envelope, "report", "this server", leaving, |intake| {
                for part in [&message.head, &success.header, &message.tail] {
                    intake.feed(part);
                }
                Ok(())
            })?;
        }
        Ok(())
    }
}
