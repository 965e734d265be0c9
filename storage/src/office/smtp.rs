//! Answers SMTP, submission and LMTP.

use super::{
    Desk,
    intake::{Intake, Refused},
};
use crate::{
    accept::{Destination, Origin},
    account::Account,
    story::Deed,
};
use config::Speak;
use mail::{Address, Flags, MailboxName, Recipient, Stamp};
use post::{Ruling, Trace};
use sasl::{Denied, Login, Proof};
use smtp::{Loss, Office, Receipt, Refusal, Start, Verdict};
use std::{io, sync::Arc};
use wire::{Fault, Sink, Why};

/// The office of one SMTP, submission or LMTP connection.
pub struct Smtp {
    desk: Desk,
    speak: Speak,
    open: Option<Open>,
}

/// A message that is on its way in.
struct Open {
    start: Start,
    id: u64,
    stamp: Stamp,
    /// Whom each recipient of the envelope means, in order.
    to: Vec<Arc<Account>>,
    intake: Intake,
}

impl Smtp {
    pub(crate) fn new(desk: Desk, speak: Speak) -> Smtp {
        Smtp { desk, speak, open: None }
    }

    /// The connection ends: writes its last line.
    pub fn closed(&self, why: Why) {
        self.desk.closed(why);
    }

    /// The account a path means.
    fn account(&self, path: &Address) -> Result<Arc<Account>, Refusal> {
        match self.desk.house.accounts().rule(path) {
            Ruling::Deliver(address) => self.desk.house.accounts().find(&address).ok_or(Refusal::NoMailbox),
            Ruling::NoMailbox => Err(Refusal::NoMailbox),
            Ruling::Foreign => Err(Refusal::NoRelay),
        }
    }

    /// Whether a message of this size can be delivered now, as far as can be told.
    fn room(&self, account: &Account, size: u64) -> Result<(), Refusal> {
        self.desk.house.check_waiting(account).map_err(|_| Refusal::Fault(Fault::Later))?;
        match self.desk.house.check_quota(account, size) {
            Err(imap::Refusal::OverQuota) => Err(Refusal::MailboxFull),
            // Not known whether it is full: the disk does not tell now.
            Err(_) => Err(Refusal::Fault(Fault::Later)),
            Ok(()) => Ok(()),
        }
    }

    fn refuse(&self, what: &'static str, address: Option<&Address>, refusal: Refusal) -> Refusal {
        let (conn, protocol, peer) = (self.desk.guest.number, self.desk.protocol, self.desk.guest.peer);
        let address = address.map(ToString::to_string).unwrap_or_default();
        tracing::info!(conn, protocol, %peer, address, reason = ?refusal, "{what} refused");
        refusal
    }

    fn deliver(&self, open: Open) -> Result<Receipt, Refusal> {
        let house = &self.desk.house;
        let id = format!("{:x}", open.id);
        let taken = match open.intake.finish() {
            Ok(taken) => taken,
            Err(Refused::TooLarge) => return Err(Refusal::TooLarge),
            Err(Refused::Disk(error)) => return Err(disk(&error)),
        };
        if taken.is_loop {
            return Err(Refusal::Loop);
        }
        let (mut each, mut to): (Vec<Verdict>, Vec<Destination>) = (Vec::new(), Vec::new());
        for (recipient, account) in open.start.envelope.recipients.iter().zip(&open.to) {
            let room = self.room(account, taken.stored);
            let verdict = match room {
                // Two paths to one mailbox are one delivery (RFC 5321 §5.1 speaks of one copy for a host; here it is one for a mailbox).
                Ok(()) if to.iter().any(|d| Arc::ptr_eq(&d.account, account) || d.account.address == account.address) => Ok(()),
                Ok(()) => match house.destination(account, MailboxName::inbox(), Flags::default(), open.stamp, Some(&recipient.address)) {
                    Ok(destination) => {
                        to.push(destination);
                        Ok(())
                    }
                    Err(error) => {
                        tracing::error!(conn = self.desk.guest.number, id, account = %account.address, ?error, "mailbox cannot be opened");
                        Err(Refusal::Fault(Fault::Later))
                    }
                },
                Err(refusal) => Err(refusal),
            };
            match verdict {
                Err(refusal) if self.speak != Speak::Lmtp => return Err(refusal),
                verdict => each.push(verdict.map_err(|refusal| self.refuse("message", Some(&recipient.address), refusal))),
            }
        }
        let size = taken.stored;
        let origin = Origin {
            sender: open.start.envelope.sender.as_ref(),
            helo: &open.start.helo,
            peer: self.desk.guest.peer.ip(),
            with: open.start.with,
            login: self.desk.account.as_ref(),
            eight_bit: open.start.body == smtp::Body::EightBit,
            utf8: open.start.utf8,
        };
        let message_id = taken.structure.envelope.message_id.as_deref().map(|id| String::from_utf8_lossy(id).into_owned());
        if !to.is_empty() {
            house.accept(taken, open.stamp, Some(&origin), &to).map_err(|error| disk(&error))?;
        }
        let (conn, protocol, peer) = (self.desk.guest.number, self.desk.protocol, self.desk.guest.peer);
        let from = open.start.envelope.sender.as_ref().map(ToString::to_string).unwrap_or_default();
        if !to.is_empty() {
            let client = match &self.desk.account {
                Some(account) => format!("{} ({account})", peer.ip()),
                None => peer.ip().to_string(),
            };
            let recipients = open.start.envelope.recipients.iter().map(|r| r.address.to_string()).collect();
            let by = protocol.to_owned();
            house.tell(open.id, Deed::Accepted { sender: from.clone(), recipients, size, by, client, message_id, about: None });
        }
        for destination in &to {
            let (recipient, account) = (destination.recipient.clone(), destination.account.address.to_string());
            house.tell(open.id, Deed::Delivered { recipient, account, delay_s: 0 });
            tracing::info!(conn, protocol, %peer, id, from, to = destination.recipient, account = %destination.account.address, size, "accept");
        }
        if self.speak != Speak::Lmtp {
            each.clear();
        }
        Ok(Receipt { id: id.into(), each })
    }
}

/// What a failing disk means for a message.
fn disk(error: &io::Error) -> Refusal {
    tracing::error!(%error, "message cannot be stored");
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Refusal::NoRoom,
        _ => Refusal::Fault(Fault::Later),
    }
}

impl Sink for Smtp {
    fn body(&mut self, bytes: &[u8]) {
        self.open.as_mut().expect("bytes came for a message that is not open").intake.feed(bytes);
    }

    fn is_full(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.intake.is_full())
    }

    fn drain(&mut self) {
        if let Some(open) = &mut self.open {
            open.intake.drain();
        }
    }
}

impl Office for Smtp {
    fn login(&mut self, proof: Proof) -> Result<Login, Denied> {
        self.desk.login(proof)
    }

    fn sender(&mut self, sender: Option<Address>, size: Option<u64>) -> Verdict {
        if size.is_some_and(|size| size > self.desk.house.config().limits.message) {
            return Err(self.refuse("sender", sender.as_ref(), Refusal::TooLarge));
        }
        if self.speak != Speak::Submission {
            return Ok(());
        }
        // RFC 6409 §6.1: a sender that the account does not own may be refused. The null path is for notifications that mail programs
        // send themselves (RFC 3798).
        let Some(sender) = sender else { return Ok(()) };
        match (self.desk.house.accounts().rule(&sender), &self.desk.account) {
            (Ruling::Deliver(owner), Some(account)) if owner == *account => Ok(()),
            _ => Err(self.refuse("sender", Some(&sender), Refusal::NotYours)),
        }
    }

    fn recipient(&mut self, recipient: Recipient) -> Verdict {
        let verdict = self.account(&recipient.address).and_then(|account| self.room(&account, 0));
        verdict.map_err(|refusal| self.refuse("recipient", Some(&recipient.address), refusal))
    }

    fn open(&mut self, start: Start) -> Result<(), Fault> {
        let house = &self.desk.house;
        let mut to = Vec::with_capacity(start.envelope.recipients.len());
        for recipient in &start.envelope.recipients {
            // The account was there at RCPT; if it was removed since, the client may try again and is told then.
            to.push(self.account(&recipient.address).map_err(|_| Fault::Later)?);
        }
        let (entry, stamp, config) = (house.spool().own_entry(), house.now(), house.config());
        let id = entry.id();
        let trace = Trace {
            sender: start.envelope.sender.as_ref(),
            recipient: match &start.envelope.recipients[..] {
                [one] => Some(&one.address),
                _ => None,
            },
            helo: &start.helo,
            peer: self.desk.guest.peer.ip(),
            hostname: config.hostname(),
            with: start.with,
            tls: start.tls.as_ref().map(|tls| (&*tls.version, &*tls.cipher)),
            login: self.desk.account.as_ref().filter(|_| config.show_login),
            id: &format!("{id:x}"),
            stamp,
        };
        let intake = Intake::new(entry, trace.fields().as_bytes(), config.limits.message);
        self.open = Some(Open { start, id, stamp, to, intake });
        Ok(())
    }

    fn commit(&mut self) -> Result<Receipt, Refusal> {
        let open = self.open.take().expect("no message is open");
        let sender = open.start.envelope.sender.clone();
        self.deliver(open).map_err(|refusal| self.refuse("message", sender.as_ref(), refusal))
    }

    fn abandon(&mut self, loss: Loss) {
        let Some(Open { start, id, intake, .. }) = self.open.take() else { return };
        let (conn, protocol, peer) = (self.desk.guest.number, self.desk.protocol, self.desk.guest.peer);
        let address = start.envelope.sender.as_ref().map(ToString::to_string).unwrap_or_default();
        let (id, received) = (format!("{id:x}"), intake.received());
        tracing::info!(conn, protocol, %peer, id, address, reason = ?loss, received, "message not taken");
    }
}
