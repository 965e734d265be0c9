//! The office of a session that sends: jobs from the queue, content from where it is stored, and what came of it to the log.

use super::{Said, Traveller};
use crate::{
    house::House,
    recover::decode,
    story::{Deed, Peer},
    supervise::guarded,
};
use mail::{Address, Notify, Recipient};
use queue::{Attempt, Attempts, Ended, Outcome, Record, Ticket, Traits, Tried, Verdict, route::Hop};
use smtp::client::{Client, Fate, Form, Job, Offer, Office, Report, Trouble};
use std::{collections::VecDeque, io, sync::Arc};
use wire::{Fault, Ring, Sink, Tick, Why};

use content::Content;

mod content;
#[cfg(test)]
mod tests;

/// The office of a session that sends.
pub struct Outbound {
    house: Arc<House>,
    ticket: Ticket,
    hop: Hop,
    /// What protects the line.
    tls: Option<String>,
    /// The message in hand.
    hand: Option<Hand>,
    /// Whether it has had a job: then its end says nothing of the site.
    proved: bool,
    /// Whether its end was told.
    told: bool,
}

/// A message in hand.
struct Hand {
    id: u64,
    arrived_s: i64,
    record: Vec<u8>,
    /// Its recipients by number.
    recipients: Vec<(u16, Recipient)>,
    /// Parts that differ in their sender, still to be sent: each is a transaction of its own.
    groups: VecDeque<(Option<Address>, Vec<usize>)>,
    /// The part that is sent now.
    group: Vec<usize>,
    outcomes: Vec<Option<(Outcome, queue::Fate, Said)>>,
    /// Whether its sender is told of success, if they wish to be.
    tells_success: bool,
    content: Option<Content>,
    /// Whether it is not what was written.
    damaged: bool,
}

impl Outbound {
    pub(super) fn new(house: Arc<House>, ticket: Ticket, hop: Hop) -> Outbound {
        Outbound { house, ticket, hop, tls: None, hand: None, proved: false, told: false }
    }

    fn peer(&self) -> Peer {
        Peer { host: self.hop.host.to_string(), address: self.hop.address.to_string(), tls: self.tls.clone() }
    }

    /// Takes the next message from the queue and reads what has to be known of it.
    fn take(&mut self, offer: &Offer) -> Option<Hand> {
        let outgoing = self.house.outgoing();
        let room = offer.recipients_max.map_or(usize::MAX, |max| max as usize);
        loop {
            let taken = outgoing.inner().queue.take(self.ticket, room)?;
            let id = taken.id;
            match self.look_up(id, &taken.recipients) {
                Ok(hand) => return Some(hand),
                Err(error) => {
                    tracing::error!(id = format!("{id:x}"), %error, "a queued message cannot be read");
                    let outcomes: Vec<(u16, Outcome)> = taken.recipients.iter().map(|n| (*n, Outcome::Later)).collect();
                    outgoing.inner().queue.settle(self.house.queue_ms(), self.ticket, &outcomes);
                }
            }
        }
    }

    fn look_up(&self, id: u64, numbers: &[u16]) -> io::Result<Hand> {
        let record = self.house.depot().read(self.house.spool(), id)?;
        let damaged = || io::Error::from(io::ErrorKind::InvalidData);
        let Record::Accept(accept) = decode(&record)? else { return Err(damaged()) };
        let mut recipients = Vec::with_capacity(numbers.len());
        let mut groups: VecDeque<(Option<Address>, Vec<usize>)> = VecDeque::new();
        let remotes: Vec<queue::Remote<'_>> = accept.remotes.iter().collect();
        for number in numbers {
            let remote = remotes.get(usize::from(*number)).ok_or_else(damaged)?;
            let address = address(remote.recipient).ok_or_else(damaged)?;
            let sender = remote.sender.or(accept.sender).and_then(self::address);
            match groups.iter_mut().find(|(of, _)| *of == sender) {
                Some((_, list)) => list.push(recipients.len()),
                None => groups.push_back((sender, vec![recipients.len()])),
            }
            recipients.push((*number, Recipient { address, notify: remote.notify, original: remote.original.map(Into::into) }));
        }
        let (outcomes, tells_success) = (vec![None; recipients.len()], self.house.tells_success(&accept));
        Ok(Hand {
            id,
            arrived_s: accept.stamp.seconds,
            record,
            recipients,
            groups,
            group: Vec::new(),
            outcomes,
            tells_success,
            content: None,
            damaged: false,
        })
    }

    /// The next transaction for the message in hand.
    fn group(&mut self) -> Option<Box<Job>> {
        let now_s = self.house.now().seconds;
        let hand = self.hand.as_mut()?;
        let (sender, group) = hand.groups.pop_front()?;
        let Ok(Record::Accept(accept)) = decode(&hand.record) else { return None };
        let recipients = group.iter().map(|at| hand.recipients[*at].1.clone()).collect();
        hand.group = group;
        let wishes = mail::Wishes::from(accept.wishes);
        let due_in = wishes.by.map(|by| by.at.seconds - now_s);
        // A header that cannot be read now is what it was taken for; the content cannot be read either then.
        let beyond = accept.traits.has(Traits::UTF8);
        let utf8 = beyond && Content::header_is_utf8(&self.house, hand.id, &hand.record).unwrap_or(true);
        Some(Box::new(Job {
            id: hand.id,
            sender,
            recipients,
            due_in,
            size: accept.wire_size,
            eight_bit: accept.traits.has(Traits::EIGHT_BIT),
            binary: accept.traits.has(Traits::BINARY),
            utf8,
            raw: beyond && !utf8,
            wishes,
        }))
    }

    /// The message in hand is over: tells the queue, the log and the story.
    fn land(&mut self) {
        let Some(hand) = self.hand.take() else { return };
        let (now, now_ms) = (self.house.now(), self.house.queue_ms());
        let outgoing = self.house.outgoing();
        let lost = || {
            (Outcome::Later, queue::Fate::Owed, Said { text: "4.4.2 the connection broke".into(), at_s: now.seconds, ..Said::default() })
        };
        let mut results: Vec<_> = hand.outcomes.into_iter().map(|o| o.unwrap_or_else(lost)).collect();
        // Before the queue knows that they are done: a snapshot without them, and a crash before the record of the report, which settles them too, would
        // leave them untold.
        let relayed: Vec<(u16, Said)> = hand
            .recipients
            .iter()
            .zip(&results)
            .filter(|(_, (.., said))| said.relayed)
            .map(|((n, _), (.., said))| (*n, said.clone()))
            .collect();
        if !relayed.is_empty()
            && let Err(error) = self.house.report_relayed(hand.id, &hand.record, &relayed)
        {
            tracing::error!(id = format!("{:x}", hand.id), %error, "a report that mail was passed on cannot be written; it is tried again");
            for (outcome, fate, _) in results.iter_mut().filter(|(.., said)| said.relayed) {
                (*outcome, *fate) = (Outcome::Failed, queue::Fate::Owed);
            }
        }
        let outcomes: Vec<(u16, Outcome)> = hand.recipients.iter().zip(&results).map(|((n, _), (outcome, ..))| (*n, *outcome)).collect();
        let mut inner = outgoing.inner();
        let verdicts = inner.queue.settle(now_ms, self.ticket, &outcomes);
        let mut attempts = Vec::with_capacity(results.len());
        for (((number, _), (_, fate, said)), verdict) in hand.recipients.iter().zip(&results).zip(&verdicts) {
            let fate = match verdict {
                Verdict::AsSaid => *fate,
                Verdict::Again { attempts, next_ms } => queue::Fate::Later { attempts: *attempts, next_ms: *next_ms },
                Verdict::TooLate => queue::Fate::Owed,
            };
            attempts.push(Attempt { recipient: *number, fate, code: said.code, reply: &said.text });
            if fate != queue::Fate::Delivered {
                inner.say(hand.id, *number, said.clone());
            }
        }
        let done = !inner.queue.contains(hand.id);
        if done {
            inner.hush(hand.id);
        }
        drop(inner);
        let host = format!("{} [{}]", self.hop.host, self.hop.address);
        let tried =
            Tried { id: hand.id, at_ms: now_ms, host: &host, tls: self.tls.as_deref().unwrap_or(""), attempts: Attempts::new(&attempts) };
        if let Err(error) = self.house.spool().jot(&[&Record::Tried(tried).encode()]) {
            // It is sent again after a crash, and not otherwise.
            tracing::error!(id = format!("{:x}", hand.id), %error, "an attempt is not in the log");
        }
        if attempts.iter().any(|attempt| matches!(attempt.fate, queue::Fate::Delivered | queue::Fate::Relayed)) {
            outgoing.flush_soon(Tick(self.house.now_ms()));
        }
        if done {
            self.house.depot().forget(hand.id);
        }
        for ((_, recipient), (attempt, (.., said))) in hand.recipients.iter().zip(attempts.iter().zip(&results)) {
            let (id, to, host, peer) = (format!("{:x}", hand.id), recipient.address.to_string(), &*self.hop.host, self.hop.address);
            match attempt.fate {
                queue::Fate::Delivered | queue::Fate::Relayed => tracing::info!(id, to, host, %peer, reply = said.text, "sent"),
                queue::Fate::Later { .. } => tracing::info!(id, to, host, %peer, reply = said.text, "deferred"),
                _ => tracing::info!(id, to, host, %peer, reply = said.text, "failed"),
            }
            let (recipient, reply) = (to, spoken(said));
            let delay_s = u64::try_from(now.seconds - hand.arrived_s).unwrap_or(0);
            let deed = match attempt.fate {
                queue::Fate::Delivered | queue::Fate::Relayed => Deed::Relayed { recipient, peer: self.peer(), reply, delay_s },
                queue::Fate::Later { next_ms, .. } => {
                    Deed::Deferred { recipient, peer: Some(self.peer()), reply, next: Some(next_ms / 1000) }
                }
                // The report tells of it.
                _ => continue,
            };
            self.house.tell(hand.id, deed);
        }
        outgoing.stir(outgoing.inner(), now_ms);
    }

    fn said(&self, outcome: &smtp::client::Outcome) -> Said {
        let reply = &outcome.reply;
        let (class, subject, detail) = reply.status;
        Said {
            code: if outcome.by_peer { reply.code } else { 0 },
            text: format!("{class}.{subject}.{detail} {}", reply.text),
            host: outcome.by_peer.then(|| self.hop.host.to_string()),
            at_s: self.house.now().seconds,
            relayed: outcome.fate == Fate::Relayed,
        }
    }

    /// There is no session, or none that does anything. Another host is tried.
    fn next_host(&mut self, said: Said, without_tls: bool) {
        self.told = true;
        let now = Tick(self.house.now_ms());
        let mut inner = self.house.outgoing().inner();
        inner.bells.remove(&self.ticket);
        if !inner.roads.contains_key(&self.ticket) {
            // It has asked for jobs, and there were none: no other host would have had one.
            inner.queue.closed(self.house.queue_ms(), self.ticket, Ended::Fine);
        } else if without_tls && self.hop.login.is_none() {
            tracing::info!(host = &*self.hop.host, reply = said.text, "TLS fails here, trying without");
            // Not where we have to log in: the line may be another's, and without the login the mail would be refused for good.
            let hop = Hop { security: queue::route::Security::Never, ..self.hop.clone() };
            inner.dial(&self.house, now, self.ticket, &hop);
        } else {
            inner.dial_next(&self.house, now, self.ticket, Some(said));
        }
        drop(inner);
        self.house.outgoing().ring();
    }

    fn end(&mut self, ended: Ended) {
        self.told = true;
        let mut inner = self.house.outgoing().inner();
        inner.bells.remove(&self.ticket);
        inner.roads.remove(&self.ticket);
        inner.queue.closed(self.house.queue_ms(), self.ticket, ended);
        drop(inner);
        self.house.outgoing().ring();
    }
}

/// A path as it was printed.
pub(super) fn address(text: &str) -> Option<Address> {
    smtp::path(text)
}

/// What somebody said, as it was said.
pub(super) fn spoken(said: &Said) -> String {
    match said.code {
        0 => said.text.clone(),
        code => format!("{code} {}", said.text),
    }
}

impl Office for Outbound {
    fn next(&mut self, offer: Offer) -> Option<Box<Job>> {
        if self.hand.as_ref().is_some_and(|hand| hand.groups.is_empty()) {
            self.land();
        }
        self.tls = offer.tls.as_ref().map(|tls| tls.version.clone());
        if self.hand.is_none() {
            self.hand = self.take(&offer);
            // From the first job on the road is a road no more: there is no other host for this connection.
            self.proved |= self.hand.is_some();
            let outgoing = self.house.outgoing();
            let mut inner = outgoing.inner();
            inner.roads.remove(&self.ticket);
            // It got through, so its site may want more of them.
            outgoing.stir(inner, self.house.queue_ms());
        }
        self.group()
    }

    fn open(&mut self, form: Form) -> Result<u64, Fault> {
        let hand = self.hand.as_mut().expect("only a job in hand is opened");
        let opened = Content::open(&self.house, hand.id, &hand.record, form);
        let (content, size) = opened.map_err(|error| {
            let id = format!("{:x}", hand.id);
            if error.raw_os_error().is_none() && error.kind() == io::ErrorKind::Unsupported {
                tracing::info!(id, %error, host = &*self.hop.host, "a message cannot go to a server that takes so little");
                return Fault::Never;
            }
            tracing::error!(id, %error, "the content of a queued message cannot be read");
            // It may be the way to the disk, unless something else is there.
            hand.damaged = error.raw_os_error().is_none() && error.kind() == io::ErrorKind::InvalidData;
            if !hand.damaged {
                return Fault::Later;
            }
            self.house.depot().put_large_aside(self.house.spool(), hand.id);
            Fault::Never
        })?;
        hand.content = Some(content);
        Ok(size)
    }

    fn read(&mut self, buf: &mut [u8]) -> Result<usize, Fault> {
        let hand = self.hand.as_mut().expect("only a job in hand is read");
        let content = hand.content.as_mut().expect("it was opened");
        content.read(&hand.record, buf).map_err(|error| {
            tracing::error!(id = format!("{:x}", hand.id), %error, "the content of a queued message cannot be read");
            Fault::Later
        })
    }

    fn report(&mut self, report: Report) {
        let mut said: Vec<Said> = report.each.iter().map(|outcome| self.said(outcome)).collect();
        let hand = self.hand.as_mut().expect("only a job in hand is reported on");
        hand.content = None;
        if hand.damaged {
            // The session only knows that it cannot have it.
            said.iter_mut().for_each(|said| said.text = "5.3.0 the message was damaged on the disk of this host".into());
        }
        for ((at, outcome), said) in std::mem::take(&mut hand.group).into_iter().zip(&report.each).zip(said) {
            let wants_success = hand.tells_success && hand.recipients[at].1.notify.has(Notify::SUCCESS);
            hand.outcomes[at] = Some(match outcome.fate {
                Fate::Delivered => (Outcome::Done, queue::Fate::Delivered, said),
                // A report is owed, but what was delivered is done before anything else: whoever waited with that would send it again after a crash.
                Fate::Relayed => (Outcome::Done, queue::Fate::Relayed, Said { relayed: wants_success, ..said }),
                Fate::Deferred => (Outcome::Later, queue::Fate::Owed, said),
                Fate::Failed => (Outcome::Failed, queue::Fate::Owed, said),
            });
        }
        if hand.groups.is_empty() {
            self.land();
        }
    }

    fn trouble(&mut self, trouble: Trouble) {
        // Between two transactions for one message: what came of the first stands.
        self.land();
        let reply = &trouble.reply;
        let (class, subject, detail) = reply.status;
        let said = Said {
            code: reply.code,
            text: format!("{class}.{subject}.{detail} {}", reply.text),
            host: Some(self.hop.host.to_string()),
            at_s: self.house.now().seconds,
            relayed: false,
        };
        tracing::info!(host = &*self.hop.host, peer = %self.hop.address, at = ?trouble.at, reply = said.text, "no mail can be sent there now");
        if self.proved { self.end(Ended::Fine) } else { self.next_host(said, trouble.without_tls) }
    }
}

impl Sink for Outbound {
    fn body(&mut self, _: &[u8]) {
        unreachable!("a client is sent no message");
    }

    fn is_full(&self) -> bool {
        false
    }

    fn drain(&mut self) {}
}

impl Traveller for Outbound {
    type Session = Client;

    fn bell(&mut self, bell: Arc<dyn Ring>) {
        self.house.outgoing().inner().bells.insert(self.ticket, bell);
    }

    fn unreachable(mut self, _: Client, error: &io::Error) {
        let text = format!("4.4.1 cannot connect to {} [{}]: {error}", self.hop.host, self.hop.address);
        self.next_host(Said { text, at_s: self.house.now().seconds, ..Said::default() }, false);
    }

    fn closed(mut self, _: Client, why: Why) {
        self.land();
        if self.told {
            return;
        }
        if why == Why::Shutdown {
            self.end(Ended::Ours);
        } else if self.proved {
            self.end(Ended::Fine);
        } else {
            let text = format!("4.4.2 the connection to {} [{}] broke: {}", self.hop.host, self.hop.address, why.word());
            self.next_host(Said { text, at_s: self.house.now().seconds, ..Said::default() }, false);
        }
    }
}

/// Nobody told how it ended: this host had no thread for it, or a session panicked.
impl Drop for Outbound {
    fn drop(&mut self) {
        // A second panic, while one is on its way, would end the process.
        guarded("sending", || {
            self.land();
            if !self.told {
                self.end(Ended::Ours);
            }
        });
    }
}
