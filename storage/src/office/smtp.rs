//! Answers SMTP, submission and LMTP.

use super::{
    Desk,
    intake::{Form, Intake, Refused},
};
use crate::{
    accept::{Destination, Leaving, Origin},
    account::Account,
    places::{Places, Success},
    story::Deed,
    supervise::guarded,
};
use config::{Speak, Strangers};
use mail::{Address, Flags, MailboxName, Recipient, Stamp};
use post::{Client, Network, Tidy, TidyFacts, Trace};
use queue::Traits;
use sasl::{Denied, Login, Proof};
use smtp::{Loss, Office, Receipt, Refusal, Start, Verdict};
use std::io;
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
    intake: Intake,
    /// What is done to the header of a user's message.
    tidy: Option<Tidy>,
    /// Where octets wait that the header clean-up has given back.
    tidied: Vec<u8>,
}

impl Smtp {
    pub(crate) fn new(desk: Desk, speak: Speak) -> Smtp {
        Smtp { desk, speak, open: None }
    }

    /// The connection ends: writes its last line.
    pub fn closed(&self, why: Why) {
        self.desk.closed(why);
    }

    /// What is known of the client.
    fn client(&self) -> Client {
        let ip = self.desk.guest.peer.ip();
        // LMTP delivers: what it is handed is for mailboxes here.
        let network = self.speak != Speak::Lmtp && self.desk.house.config().is_relay_client(ip);
        let certificate = self.speak != Speak::Lmtp
            && self.desk.guest.certificate().is_some_and(|print| self.desk.house.config().is_relay_certificate(print));
        Client { login: self.desk.account.is_some(), network, certificate }
    }

    /// Follows a path, if the client may name it, and looks whether there is room where it leads. False if no place can take it now: where one can, the
    /// others get theirs from the log when they can.
    fn follow(&self, path: &Recipient, sender: Option<&Address>, size: u64, places: &mut Places) -> Result<bool, Refusal> {
        let house = &self.desk.house;
        if !house.accounts().may_send(self.client(), &path.address) {
            return Err(Refusal::NoRelay);
        }
        let (known, mut some) = (places.mailboxes.len(), places.remotes.len());
        house.follow(path, sender, places).map_err(|refused| match refused {
            post::Refused::NoMailbox => Refusal::NoMailbox,
            post::Refused::Loop => Refusal::PathLoop,
            post::Refused::TooMany => Refusal::Policy,
        })?;
        some = places.remotes.len() - some;
        let mut waits = 0;
        for (account, _) in &places.mailboxes[known..] {
            match self.room(account, size) {
                Ok(()) => some += 1,
                Err(Refusal::Fault(Fault::Later)) if !house.no_more_waits_for(&account.name()) => waits += 1,
                Err(refusal) => return Err(refusal),
            }
        }
        // Neither: all of them were named before.
        Ok(some > 0 || waits == 0)
    }

    /// How a message is stored. What goes to a mailbox here, besides elsewhere or not, becomes lines for all.
    fn form(&self, start: &Start) -> Form {
        if start.body != smtp::Body::Binary {
            return Form::Lines;
        }
        let mut places = Places::default();
        for recipient in &start.envelope.recipients {
            // Whoever cannot be reached is told at the end.
            let _ = self.desk.house.follow(recipient, start.envelope.sender.as_ref(), &mut places);
        }
        if places.mailboxes.is_empty() {
            Form::Exact
        } else {
            Form::Converted(Box::new(mime::Recoder::new(mime::Source::Octets, mime::Target::EightBit)))
        }
    }

    /// Whether a message of this size can be delivered now, as far as can be told.
    fn room(&self, account: &Account, size: u64) -> Result<(), Refusal> {
        self.desk.house.check_waiting(account).map_err(|_| Refusal::Fault(Fault::Later))?;
        // Whether it can be opened is known then, before anything is promised to it.
        self.desk.house.mailboxes().open(&account.maildir, &MailboxName::inbox()).map_err(|_| Refusal::Fault(Fault::Later))?;
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

    fn deliver(&self, mut open: Open) -> Result<Receipt, Refusal> {
        let house = &self.desk.house;
        let id = format!("{:x}", open.id);
        if let Some(tidy) = &mut open.tidy {
            tidy.finish(&mut open.tidied);
            open.intake.feed(&open.tidied);
        }
        let taken = match open.intake.finish() {
            Ok(taken) => taken,
            Err(Refused::TooLarge) => return Err(Refusal::TooLarge),
            Err(Refused::Binary(obstacle)) => {
                tracing::info!(conn = self.desk.guest.number, id, ?obstacle, "a binary message cannot be made into lines");
                return Err(Refusal::Binary);
            }
            Err(Refused::Disk(error)) => return Err(disk(&error)),
        };
        if taken.is_loop() {
            return Err(Refusal::Loop);
        }
        let envelope = &open.start.envelope;
        let sender = envelope.sender.as_ref();
        self.spend(envelope.recipients.len())?;
        let mut each: Vec<Verdict> = Vec::with_capacity(envelope.recipients.len());
        let mut places = Places::default();
        let mut some = false;
        for recipient in &envelope.recipients {
            let (mailboxes, remotes) = (places.mailboxes.len(), places.remotes.len());
            let mut verdict = self.follow(recipient, sender, taken.stored, &mut places);
            match &mut verdict {
                // Each recipient has an answer of its own.
                Ok(false) if self.speak == Speak::Lmtp => verdict = Err(Refusal::Fault(Fault::Later)),
                Ok(takes) => some |= *takes,
                Err(_) => {}
            }
            let sent_on = places.remotes[remotes..].iter().any(|(to, _)| to.address != recipient.address);
            if sent_on && taken.was_delivered_to(&recipient.address) {
                verdict = Err(Refusal::Loop);
            }
            if let Err(refusal) = verdict {
                if self.speak != Speak::Lmtp {
                    return Err(refusal);
                }
                places.mailboxes.truncate(mailboxes);
                places.remotes.truncate(remotes);
            }
            each.push(verdict.map(drop).map_err(|refusal| self.refuse("message", Some(&recipient.address), refusal)));
        }
        if !some && each.iter().any(Result::is_ok) {
            return Err(Refusal::Fault(Fault::Later));
        }
        if taken.exact && !places.mailboxes.is_empty() {
            // Since it was begun, a reload has led a path to a mailbox.
            return Err(Refusal::Fault(Fault::Later));
        }
        let mut to: Vec<Destination> = Vec::with_capacity(places.mailboxes.len());
        for (account, recipient) in &places.mailboxes {
            match house.destination(account, MailboxName::inbox(), Flags::default(), open.stamp, Some(&recipient.address)) {
                Ok(destination) => to.push(destination),
                Err(error) => {
                    tracing::error!(conn = self.desk.guest.number, id, account = %account.address, ?error, "mailbox cannot be opened");
                    return Err(Refusal::Fault(Fault::Later));
                }
            }
        }
        let size = taken.stored;
        let origin = Origin {
            sender,
            helo: &open.start.helo,
            peer: self.desk.guest.peer.ip(),
            with: open.start.with,
            login: self.desk.account.as_ref(),
            eight_bit: open.start.body == smtp::Body::EightBit,
            utf8: open.start.utf8,
        };
        let message_id = taken.structure.envelope.message_id.as_deref().map(|id| String::from_utf8_lossy(id).into_owned());
        let held = house.config().is_held(sender, &envelope.recipients, origin.peer);
        let traits = Traits::default().with_if(Traits::HELD, held);
        let client = self.client();
        let is_told = house.config().reports.strangers == Strangers::Asked || client.login || client.network || client.certificate;
        let told = Success::of(open.id, open.stamp, envelope, &places, &taken).filter(|_| is_told);
        let leaving = Leaving { to: &places.remotes, wishes: envelope.wishes.clone(), traits, ..Leaving::default() };
        if !to.is_empty() || !places.remotes.is_empty() {
            house.accept(taken, open.stamp, Some(&origin), &to, &leaving).map_err(|error| disk(&error))?;
            self.desk.guest.brought_something();
        }
        // Whatever becomes of the telling, it was accepted, and a client that hears no yes would send it again.
        guarded("telling", || {
            let (conn, protocol, peer) = (self.desk.guest.number, self.desk.protocol, self.desk.guest.peer);
            let from = sender.map(ToString::to_string).unwrap_or_default();
            if !to.is_empty() || !places.remotes.is_empty() {
                let client = match &self.desk.account {
                    Some(account) => format!("{} ({account})", peer.ip()),
                    None => peer.ip().to_string(),
                };
                let recipients = envelope.recipients.iter().map(|r| r.address.to_string()).collect();
                let by = protocol.to_owned();
                house.tell(open.id, Deed::Accepted { sender: from.clone(), recipients, size, by, client, message_id, about: None });
            }
            for destination in &to {
                let (recipient, account) = (destination.recipient.clone(), destination.account.address.to_string());
                house.tell(open.id, Deed::Delivered { recipient, account, delay_s: 0 });
                tracing::info!(conn, protocol, %peer, id, from, to = destination.recipient, account = %destination.account.address, size, "accept");
            }
            for (recipient, _) in &places.remotes {
                tracing::info!(conn, protocol, %peer, id, from, to = %recipient.address, size, "queue");
            }
            if held && !places.remotes.is_empty() {
                house.tell(open.id, Deed::Held { by: "a rule of the configuration".into() });
            }
            if let Some(told) = told
                && let Err(error) = house.tell_success(&told)
            {
                // The message is there; only the news of it is lost.
                tracing::error!(id, %error, "a report of delivery cannot be written");
            }
        });
        if self.speak != Speak::Lmtp {
            each.clear();
        }
        Ok(Receipt { id: id.into(), each })
    }

    /// Takes a message from what the client may send.
    fn spend(&self, recipients: usize) -> Verdict {
        let (config, guest) = (self.desk.house.config(), &self.desk.guest);
        let rate = &config.rate;
        let (who, limit) = match &self.desk.account {
            Some(account) => {
                (vec![(account.to_string(), 1)], post::Limit { messages: rate.account_messages, recipients: rate.account_recipients })
            }
            None => {
                let networks = Network::all(guest.peer.ip()).map(|(network, share)| (network.to_string(), share));
                (networks.collect(), post::Limit { messages: rate.address_messages, recipients: rate.address_recipients })
            }
        };
        let who: Vec<(&str, u32)> = who.iter().map(|(name, times)| (&**name, *times)).collect();
        let recipients = u32::try_from(recipients).unwrap_or(u32::MAX);
        if self.desk.house.spend(&who, limit, recipients) { Ok(()) } else { Err(Refusal::TooMuch) }
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
        let open = self.open.as_mut().expect("bytes came for a message that is not open");
        match &mut open.tidy {
            Some(tidy) if !tidy.is_done() => {
                open.tidied.clear();
                tidy.feed(bytes, &mut open.tidied);
                open.intake.feed(&open.tidied);
                open.tidied.clear();
            }
            _ => open.intake.feed(bytes),
        }
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
        if let Err(shortage) = self.desk.house.check_space(size.unwrap_or(0)) {
            let (conn, peer) = (self.desk.guest.number, self.desk.guest.peer);
            tracing::info!(conn, %peer, %shortage, "no room for a message");
            return Err(self.refuse("sender", sender.as_ref(), Refusal::NoRoom));
        }
        if self.speak != Speak::Submission {
            return Ok(());
        }
        // RFC 6409 §6.1: a sender that the account does not own may be refused. The null path is for notifications that mail programs
        // send themselves (RFC 3798).
        let Some(sender) = sender else { return Ok(()) };
        match &self.desk.account {
            Some(account) if self.desk.house.accounts().owns(&format!("{}@{}", account.local, account.domain), &sender) => Ok(()),
            _ => Err(self.refuse("sender", Some(&sender), Refusal::NotYours)),
        }
    }

    fn recipient(&mut self, recipient: Recipient) -> Verdict {
        let verdict = match self.follow(&recipient, None, 0, &mut Places::default()) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Refusal::Fault(Fault::Later)),
            Err(refusal) => Err(refusal),
        };
        verdict.map_err(|refusal| self.refuse("recipient", Some(&recipient.address), refusal))
    }

    fn open(&mut self, start: Start) -> Result<(), Fault> {
        let house = &self.desk.house;
        let (entry, stamp, config) = (house.spool().own_entry(), house.now(), house.config());
        let id = entry.id();
        let trace = Trace {
            sender: start.envelope.sender.as_ref(),
            // Mail that only passes through is delivered to nobody here.
            recipient: match &start.envelope.recipients[..] {
                [one] if house.accounts().is_ours(&one.address) => Some(&one.address),
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
        self.desk.guest.is_bringing(true);
        let claim = house.claim(Some(self.desk.guest.peer.ip()));
        let mut intake = Intake::new(entry, self.form(&start), &trace.fields(), config.limits.message, claim);
        if self.speak != Speak::Submission {
            intake = intake.of_others(start.envelope.recipients.iter().any(|recipient| house.accounts().is_ours(&recipient.address)));
        }
        let shown = format!("{id:x}");
        let from = start.envelope.sender.as_ref().or(self.desk.account.as_ref());
        let facts = TidyFacts { from, date: stamp, id: &shown, hostname: config.hostname() };
        let tidy = (self.speak == Speak::Submission).then(|| Tidy::new(facts).with_crlf());
        self.open = Some(Open { start, id, stamp, intake, tidy, tidied: Vec::new() });
        Ok(())
    }

    fn commit(&mut self) -> Result<Receipt, Refusal> {
        let open = self.open.take().expect("no message is open");
        self.desk.guest.is_bringing(false);
        let sender = open.start.envelope.sender.clone();
        self.deliver(open).map_err(|refusal| self.refuse("message", sender.as_ref(), refusal))
    }

    fn abandon(&mut self, loss: Loss) {
        let Some(Open { start, id, intake, .. }) = self.open.take() else { return };
        self.desk.guest.is_bringing(false);
        let (conn, protocol, peer) = (self.desk.guest.number, self.desk.protocol, self.desk.guest.peer);
        let address = start.envelope.sender.as_ref().map(ToString::to_string).unwrap_or_default();
        let (id, received) = (format!("{id:x}"), intake.received());
        tracing::info!(conn, protocol, %peer, id, address, reason = ?loss, received, "message not taken");
    }
}
