//! MAIL, RCPT, DATA: what is sent, pipelined where the peer allows it (RFC 2920), and what the replies mean for each recipient.

use super::content::Stuffing;
use super::office::{Ask, Fate, Form, Job, Offer, Outcome, Report};
use super::{Client, DATA_MS, FINAL_MS, Next, Phase, Protocol, Reply};
use alloc::{
    collections::VecDeque,
    format,
    string::{String, ToString as _},
    vec,
    vec::Vec,
};
use core::fmt::Write as _;
use mail::{Address, Notify, Recipient, Ret};
use wire::{Inbox, Outbox, Tick};

/// A job in hand.
#[derive(Debug)]
pub(super) struct Transaction {
    job: Job,
    each: Vec<Option<Outcome>>,
    /// Recipients that the peer took, and that it has not confirmed yet.
    accepted: VecDeque<usize>,
    form: Form,
    size: u64,
    /// The next command: 0 is MAIL, then each RCPT, then DATA.
    next: usize,
    /// What was sent and not answered yet.
    unanswered: VecDeque<Sent>,
    /// MAIL was refused, so nothing more is sent.
    refused: bool,
    /// Whether MAIL was sent, and no reply has ended the transaction since.
    open: bool,
    /// Whether the content goes in chunks (RFC 3030).
    pub(super) chunks: bool,
    pub(super) stuffing: Stuffing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    Mail,
    Rcpt(usize),
    Data,
}

impl Transaction {
    /// What is said of everybody who has heard nothing yet.
    pub(super) fn settle_rest(&mut self, reply: &Reply, fate: Fate, by_peer: bool) {
        for each in self.each.iter_mut().filter(|each| each.is_none()) {
            *each = Some(Outcome { fate, reply: reply.clone(), by_peer });
        }
        self.accepted.clear();
    }

    fn settle(&mut self, at: usize, reply: Reply, by_peer: bool, fate: Fate) {
        self.each[at].get_or_insert(Outcome { fate, reply, by_peer });
    }

    fn is_settled(&self) -> bool {
        self.each.iter().all(Option::is_some)
    }

    /// Whether the peer may think that the transaction goes on.
    pub(super) fn leaves_traces(&self) -> bool {
        self.open
    }

    pub(super) fn into_report(self) -> Report {
        Report { each: self.each.into_iter().map(|each| each.expect("every recipient is settled")).collect() }
    }

    /// The next command to send, now that so much is unanswered.
    fn command(&mut self, pipelining: bool) -> Option<Sent> {
        if self.refused || (!pipelining && !self.unanswered.is_empty()) {
            return None;
        }
        let recipients = self.job.recipients.len();
        while (1..=recipients).contains(&self.next) && self.each[self.next - 1].is_some() {
            self.next += 1;
        }
        let sent = match self.next {
            0 => Sent::Mail,
            n if n <= recipients => Sent::Rcpt(n - 1),
            // Whether there is anybody to send it to is not known yet; then it is sent all the same.
            n if n == recipients + 1 && !self.chunks && (!self.accepted.is_empty() || !self.unanswered.is_empty()) => Sent::Data,
            _ => return None,
        };
        self.next += 1;
        self.unanswered.push_back(sent);
        Some(sent)
    }
}

impl Client {
    /// Takes a job in hand, as far as it can be judged without the peer.
    pub(super) fn begin(&mut self, job: Job) {
        assert!(!job.recipients.is_empty(), "a job has recipients");
        let offer = &self.offer;
        let each = vec![None; job.recipients.len()];
        let chunks = job.binary && offer.binary && offer.chunking && self.settings.protocol == Protocol::Smtp;
        let recoded = (job.eight_bit && !offer.eight_bit && !chunks) || (job.binary && !chunks);
        let form = if recoded { Form::SevenBit } else { Form::AsIs };
        let mut transaction = Transaction {
            each,
            accepted: VecDeque::new(),
            form,
            size: job.size,
            next: 0,
            unanswered: VecDeque::new(),
            refused: false,
            open: false,
            chunks,
            stuffing: Stuffing::default(),
            job,
        };
        let own = |code, status, text: &str| Reply::own(code, status, text);
        let job = &transaction.job;
        let verdict = if job.wishes.require_tls && !(offer.verified && offer.require_tls) {
            // RFC 8689 §4.2.1 step 4; §5 has the code.
            Some(own(550, (5, 7, 30), "the sender requires TLS all the way, which the server does not offer"))
        } else if !offer.utf8 && (job.utf8 || job.sender.as_ref().is_some_and(|sender| !sender.local.is_ascii())) {
            Some(own(550, (5, 6, 7), "the message needs SMTPUTF8, which the server does not offer"))
        } else if offer.size.is_some_and(|max| max > 0 && job.size > max) {
            Some(own(552, (5, 3, 4), "the message is larger than the server takes"))
        } else {
            None
        };
        if let Some(reply) = verdict {
            transaction.settle_rest(&reply, Fate::Failed, false);
        }
        if !offer.utf8 {
            for at in 0..transaction.job.recipients.len() {
                if !transaction.job.recipients[at].address.local.is_ascii() {
                    let reply = own(553, (5, 6, 7), "the address needs SMTPUTF8, which the server does not offer");
                    transaction.settle(at, reply, false, Fate::Failed);
                }
            }
        }
        self.phase = if transaction.is_settled() { Phase::Report } else { Phase::Open(form) };
        self.transaction = Some(transaction);
    }

    pub(super) fn opened(&mut self, size: u64) {
        self.transaction.as_mut().expect("a job is in hand").size = size;
        self.phase = Phase::Envelope;
    }

    pub(super) fn envelope(&mut self, now: Tick, rx: &mut Inbox, tx: &mut Outbox) -> Next {
        if tx.is_full() {
            return Next::Flush;
        }
        let transaction = self.transaction.as_mut().expect("a job is in hand");
        if let Some(sent) = transaction.command(self.offer.pipelining) {
            match sent {
                Sent::Mail => {
                    transaction.open = true;
                    mail(transaction, &self.offer, tx);
                }
                Sent::Rcpt(at) => rcpt(&transaction.job.recipients[at], &self.offer, tx),
                Sent::Data => tx.put(b"DATA\r\n"),
            }
            return Next::Again;
        }
        let Some(&sent) = transaction.unanswered.front() else {
            if !transaction.accepted.is_empty() && transaction.chunks {
                return self.turn(Phase::Content);
            }
            debug_assert!(transaction.is_settled());
            return self.turn(Phase::Report);
        };
        let reply = match self.replies.next(rx, |_, _| {}) {
            Ok(None) => return Next::Wait,
            Ok(Some(reply)) => reply,
            Err(garbage) => return self.garbage(garbage),
        };
        transaction.unanswered.pop_front();
        self.leaving |= reply.code == 421;
        self.deadline = now.after(super::COMMAND_MS);
        if transaction.unanswered.front() == Some(&Sent::Data) {
            self.deadline = now.after(DATA_MS);
        }
        match sent {
            Sent::Mail if reply.is_good() => {}
            Sent::Mail => {
                (transaction.refused, transaction.open) = (true, false);
                transaction.settle_rest(&reply, fate(&reply), true);
            }
            Sent::Rcpt(at) if reply.is_good() => {
                if transaction.each[at].is_none() {
                    transaction.accepted.push_back(at);
                }
            }
            Sent::Rcpt(at) => {
                // RFC 5321 §4.5.3.1.10: 552 says that these are too many for now.
                let fate = if reply.code == 552 { Fate::Deferred } else { fate(&reply) };
                transaction.settle(at, reply, true, fate);
            }
            Sent::Data if reply.code == 354 && !transaction.accepted.is_empty() => return self.turn(Phase::Content),
            Sent::Data if reply.code == 354 => {
                // RFC 2920 §3.1: it waits for a message although it took no recipient.
                transaction.open = false;
                if self.settings.protocol == Protocol::Lmtp {
                    // RFC 2033 §4.2: there will be no reply for nobody.
                    self.leaving = true;
                    return self.turn(Phase::Report);
                }
                tx.put(b".\r\n");
                self.deadline = now.after(FINAL_MS);
                return self.turn(Phase::Final);
            }
            // RFC 5321 §4.1.1.4: a refused DATA leaves the transaction as it was. A 2xx makes no sense here.
            Sent::Data => {
                let fate = if reply.is_permanent() { Fate::Failed } else { Fate::Deferred };
                transaction.settle_rest(&reply, fate, true);
            }
        }
        Next::Again
    }

    /// A reply after the end of the content.
    pub(super) fn ended(&mut self, reply: Reply) -> Next {
        let transaction = self.transaction.as_mut().expect("a job is in hand");
        let fate = if reply.is_good() { Fate::Delivered } else { fate(&reply) };
        let knows_reports = self.offer.dsn;
        let confirm = |transaction: &mut Transaction, at: usize| {
            let asked = transaction.job.recipients[at].notify.has(Notify::SUCCESS);
            let fate = if fate == Fate::Delivered && asked && !knows_reports { Fate::Relayed } else { fate };
            transaction.settle(at, reply.clone(), true, fate);
        };
        match self.settings.protocol {
            Protocol::Lmtp => {
                if let Some(at) = transaction.accepted.pop_front() {
                    confirm(transaction, at);
                }
                if !transaction.accepted.is_empty() {
                    return self.turn(Phase::Final);
                }
            }
            Protocol::Smtp => {
                while let Some(at) = transaction.accepted.pop_front() {
                    confirm(transaction, at);
                }
            }
        }
        transaction.open = false;
        self.turn(Phase::Report)
    }

    /// A chunk that is not the last was answered (RFC 3030 §2).
    pub(super) fn chunk_answered(&mut self, reply: &Reply) -> Next {
        if reply.is_good() {
            return self.turn(Phase::Content);
        }
        let transaction = self.transaction.as_mut().expect("a job is in hand");
        transaction.settle_rest(reply, fate(reply), true);
        self.turn(Phase::Report)
    }

    pub(super) fn read_ask(&mut self) -> Ask {
        let mut buffer = core::mem::take(&mut self.buffer);
        buffer.resize(super::limits::READ, 0);
        Ask::Read(buffer)
    }
}

fn fate(reply: &Reply) -> Fate {
    if reply.is_permanent() { Fate::Failed } else { Fate::Deferred }
}

fn mail(transaction: &Transaction, offer: &Offer, tx: &mut Outbox) {
    let job = &transaction.job;
    let mut line = String::from("MAIL FROM:<");
    if let Some(sender) = &job.sender {
        line += &path(sender, offer);
    }
    line.push('>');
    if offer.size.is_some() {
        // A String takes all that is written to it.
        let _ = write!(line, " SIZE={}", transaction.size);
    }
    if transaction.chunks {
        line += " BODY=BINARYMIME";
    } else if job.eight_bit && transaction.form == Form::AsIs {
        line += " BODY=8BITMIME";
    }
    let utf8 = |address: &Address| address.is_utf8();
    if offer.utf8 && (job.utf8 || job.sender.as_ref().is_some_and(utf8) || job.recipients.iter().any(|r| utf8(&r.address))) {
        line += " SMTPUTF8";
    }
    let wishes = &job.wishes;
    if offer.dsn {
        match wishes.ret {
            Some(Ret::Full) => line += " RET=FULL",
            Some(Ret::Headers) => line += " RET=HDRS",
            None => {}
        }
        if let Some(envid) = &wishes.envid {
            line += " ENVID=";
            line += &xtext(envid);
        }
    }
    if offer.deliver_by
        && let (Some(by), Some(left)) = (wishes.by, job.due_in)
    {
        let mode = if by.or_return { "R" } else { "N" };
        let trace = if by.trace { "T" } else { "" };
        let _ = write!(line, " BY={left};{mode}{trace}");
    }
    if offer.priority && wishes.priority != 0 {
        let _ = write!(line, " MT-PRIORITY={}", wishes.priority);
    }
    if wishes.require_tls {
        line += " REQUIRETLS";
    }
    line += "\r\n";
    tx.put(line.as_bytes());
}

fn rcpt(recipient: &Recipient, offer: &Offer, tx: &mut Outbox) {
    let mut line = format!("RCPT TO:<{}>", path(&recipient.address, offer));
    if offer.dsn {
        let names = [(Notify::NEVER, "NEVER"), (Notify::SUCCESS, "SUCCESS"), (Notify::FAILURE, "FAILURE"), (Notify::DELAY, "DELAY")];
        let wanted: Vec<&str> = names.iter().filter(|(bit, _)| recipient.notify.has(*bit)).map(|(_, name)| *name).collect();
        if !wanted.is_empty() {
            line += " NOTIFY=";
            line += &wanted.join(",");
        }
        if let Some((kind, address)) = recipient.original.as_deref().and_then(|original| original.split_once(';')) {
            line += " ORCPT=";
            line += kind;
            line.push(';');
            line += &xtext(address);
        }
    }
    line += "\r\n";
    tx.put(line.as_bytes());
}

/// An address as the peer takes it: its domain in ASCII where it does not know SMTPUTF8 (RFC 5891; the local part was looked at before).
fn path(address: &Address, offer: &Offer) -> String {
    if offer.utf8 || address.domain.is_ascii() {
        return address.to_string();
    }
    match idna::domain_to_ascii(&address.domain) {
        Ok(domain) => Address { local: address.local.clone(), domain: domain.into() }.to_string(),
        // No such domain can exist; the peer will say so.
        Err(_) => address.to_string(),
    }
}

/// RFC 3461 §4; characters beyond ASCII as RFC 6533 §3 wants them.
fn xtext(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if !c.is_ascii() {
            let _ = write!(out, "\\x{{{:X}}}", u32::from(c));
        } else if matches!(c, '+' | '=') || !c.is_ascii_graphic() {
            let _ = write!(out, "+{:02X}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_may_stand_in_a_parameter() {
        assert_eq!(xtext("QQ314159"), "QQ314159");
        assert_eq!(xtext("a+b=c d"), "a+2Bb+3Dc+20d");
        assert_eq!(xtext("grüße@x"), "gr\\x{FC}\\x{DF}e@x");
    }
}
