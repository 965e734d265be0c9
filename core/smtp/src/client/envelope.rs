//! MAIL, RCPT, DATA: what is sent, pipelined where the peer allows it (RFC 2920), and what the replies mean for each recipient.

use super::content::Stuffing;
use super::limits::PIPELINE_MAX;
use super::office::{Ask, Fate, Form, Job, Offer, Outcome, Report};
use super::{Client, DATA_MS, FINAL_MS, Next, Phase, Protocol, Reply, xtext};
use alloc::{
    collections::VecDeque,
    format,
    string::{String, ToString as _},
    vec,
    vec::Vec,
};
use core::fmt::Write as _;
use mail::{Address, By, Notify, Recipient, Ret};
use wire::{Inbox, Outbox, Tick, Why};

/// A job in hand.
#[derive(Debug)]
pub(super) struct Transaction {
    job: Job,
    each: Vec<Option<Outcome>>,
    /// Recipients that the peer took, and that it has not confirmed yet.
    accepted: VecDeque<usize>,
    pub(super) form: Form,
    pub(super) size: u64,
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
    /// Chunks but the last that were sent and not answered yet.
    pub(super) chunks_unanswered: u32,
    /// When all of the content has to be on its way.
    pub(super) content_by: Tick,
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

    /// Whether the end of the content is still to be answered for somebody.
    pub(super) fn is_awaited(&self) -> bool {
        !self.accepted.is_empty()
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
        let ahead = if pipelining { PIPELINE_MAX } else { 1 };
        if self.refused || self.unanswered.len() >= ahead {
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
        let form = match () {
            () if recoded => Form::SevenBit,
            () if job.raw || job.utf8 && !offer.utf8 => Form::Header,
            () => Form::AsIs,
        };
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
            chunks_unanswered: 0,
            content_by: Tick(0),
            stuffing: Stuffing::default(),
            job,
        };
        let job = &transaction.job;
        let verdict =
            judge(job, offer, self.settings.protocol).or_else(|| job.sender.as_ref().and_then(|sender| judge_path(sender, offer, 7)));
        if let Some(reply) = verdict {
            transaction.settle_rest(&reply, Fate::Failed, false);
        }
        for at in 0..transaction.job.recipients.len() {
            if let Some(reply) = judge_path(&transaction.job.recipients[at].address, offer, 3) {
                transaction.settle(at, reply, false, Fate::Failed);
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
                    self.count += 1;
                    mail(transaction, &self.offer, tx);
                }
                Sent::Rcpt(at) => {
                    let forgets = forgets_time(&transaction.job, &self.offer, self.settings.protocol);
                    rcpt(&transaction.job.recipients[at], &self.offer, forgets, tx);
                }
                Sent::Data => {
                    if transaction.unanswered.len() == 1 {
                        self.deadline = now.after(DATA_MS);
                    }
                    tx.put(b"DATA\r\n");
                }
            }
            return Next::Again;
        }
        let Some(&sent) = transaction.unanswered.front() else {
            if !transaction.accepted.is_empty() && transaction.chunks {
                return self.begin_content(now);
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
        if reply.code == 421 {
            // RFC 5321 §3.8: it hangs up, so no other reply will come.
            self.leaving = Some(Why::Gone);
            transaction.settle_rest(&reply, Fate::Deferred, true);
            return self.turn(Phase::Report);
        }
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
            Sent::Data if reply.code == 354 && transaction.is_awaited() => return self.begin_content(now),
            Sent::Data if reply.code == 354 => {
                // RFC 2920 §3.1: it waits for a message although it took no recipient.
                transaction.open = false;
                if self.settings.protocol == Protocol::Lmtp {
                    // RFC 2033 §4.2: there will be no reply for nobody.
                    self.leaving = Some(Why::Fault);
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
    pub(super) fn ended(&mut self, now: Tick, reply: &Reply) -> Next {
        self.deadline = now.after(FINAL_MS);
        let transaction = self.transaction.as_mut().expect("a job is in hand");
        if self.leaving.is_some() {
            transaction.settle_rest(reply, Fate::Deferred, true);
            return self.turn(Phase::Report);
        }
        if transaction.chunks_unanswered > 0 {
            // A chunk before the last was refused, and that was not known yet when more was sent.
            transaction.chunks_unanswered -= 1;
            if !reply.is_good() {
                transaction.settle_rest(reply, fate(reply), true);
            }
            return self.turn(Phase::Final);
        }
        let each = if self.settings.protocol == Protocol::Lmtp { 1 } else { transaction.accepted.len() };
        for at in transaction.accepted.drain(..each.min(transaction.accepted.len())).collect::<Vec<_>>() {
            let fate = match () {
                () if !reply.is_good() => fate(reply),
                () if is_end_of_wishes(&transaction.job, at, &self.offer, self.settings.protocol) => Fate::Relayed,
                () => Fate::Delivered,
            };
            transaction.settle(at, reply.clone(), true, fate);
        }
        if transaction.is_awaited() {
            return self.turn(Phase::Final);
        }
        // RFC 3030 §2: after a refused chunk nothing but RSET is sure to help.
        transaction.open = transaction.chunks && !reply.is_good();
        // A server that refused in the middle of a long content may take the rest for commands and answer each: the next message would get those answers.
        let is_long = transaction.size > super::OUTBOX_MARK as u64 && !transaction.chunks;
        self.stopping |= is_long && !reply.is_good() && self.settings.protocol == Protocol::Smtp;
        self.turn(Phase::Report)
    }

    /// A chunk that is not the last was answered (RFC 3030 §2).
    pub(super) fn chunk_answered(&mut self, reply: &Reply) -> Next {
        let transaction = self.transaction.as_mut().expect("a job is in hand");
        transaction.chunks_unanswered -= 1;
        if !reply.is_good() {
            transaction.settle_rest(reply, fate(reply), true);
        }
        if !transaction.is_settled() {
            return self.turn(Phase::Content);
        }
        // Those that went ahead are answered too.
        let is_over = transaction.chunks_unanswered == 0 || self.leaving.is_some();
        self.turn(if is_over { Phase::Report } else { Phase::Chunk })
    }

    pub(super) fn read_ask(&mut self) -> Ask {
        let mut buffer = core::mem::take(&mut self.buffer);
        buffer.resize(super::limits::READ, 0);
        Ask::Read(buffer)
    }
}

pub(super) fn fate(reply: &Reply) -> Fate {
    if reply.is_permanent() { Fate::Failed } else { Fate::Deferred }
}

/// What is known of a job without asking the peer.
fn judge(job: &Job, offer: &Offer, protocol: Protocol) -> Option<Reply> {
    let wishes = &job.wishes;
    if wishes.require_tls && !(offer.verified && offer.require_tls) {
        // RFC 8689 §4.2.1 step 4; §5 has the code.
        return Some(Reply::own(550, (5, 7, 30), "the sender requires TLS all the way, which the server does not offer"));
    }
    if offer.size.is_some_and(|max| max > 0 && job.size > max) {
        return Some(Reply::own(552, (5, 3, 4), "the message is larger than the server takes"));
    }
    if let (Some(By { or_return: true, .. }), Some(left)) = (wishes.by, job.due_in) {
        if left <= 0 {
            return Some(Reply::own(550, (5, 4, 7), "the message is late and was to come back then"));
        }
        // RFC 2852 §4.1.4.1. Who speaks LMTP relays nothing: it delivers.
        let can = offer.deliver_by.is_some_and(|least| least <= left.unsigned_abs());
        if protocol == Protocol::Smtp && !can {
            return Some(Reply::own(550, (5, 4, 7), "the server does not promise to deliver the message in time"));
        }
    }
    None
}

/// What is known of a path without asking the peer. `detail` is that of the enhanced code (RFC 3463 §3.2) for a path that can be none.
fn judge_path(address: &Address, offer: &Offer, detail: u16) -> Option<Reply> {
    if address.local.contains(char::is_control) || address.domain.contains(|c: char| c.is_control() || c.is_whitespace() || c == '>') {
        // It would be another command, or none.
        return Some(Reply::own(553, (5, 1, detail), "the address holds characters that no address has"));
    }
    if offer.utf8 {
        return None;
    }
    if !address.local.is_ascii() {
        return Some(Reply::own(553, (5, 6, 7), "the address needs SMTPUTF8, which the server does not offer"));
    }
    let is_name = address.domain.is_ascii() || idna::domain_to_ascii(&address.domain).is_ok();
    (!is_name).then(|| Reply::own(553, (5, 1, detail), "the domain has no form in ASCII, and the server does not offer SMTPUTF8"))
}

/// Whether a wish for reports goes no further than the peer, so that it is for us to tell that the message was handed on.
fn is_end_of_wishes(job: &Job, at: usize, offer: &Offer, protocol: Protocol) -> bool {
    let notify = job.recipients[at].notify;
    // RFC 3461 §5.2.2.
    let of_success = notify.has(Notify::SUCCESS) && !offer.dsn;
    // RFC 2852 §4.1.4.
    let of_way = job.wishes.by.is_some_and(|by| by.trace) && protocol == Protocol::Smtp;
    of_success || ((of_way || forgets_time(job, offer, protocol)) && !notify.has(Notify::NEVER))
}

/// Whether the peer will not know that the message is due (RFC 2852 §4.1.4.2).
fn forgets_time(job: &Job, offer: &Offer, protocol: Protocol) -> bool {
    let is_due = job.wishes.by.is_some_and(|by| !by.or_return) && job.due_in.is_some_and(|left| left > 0);
    is_due && offer.deliver_by.is_none() && protocol == Protocol::Smtp
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
    } else if job.eight_bit && transaction.form != Form::SevenBit {
        line += " BODY=8BITMIME";
    }
    let utf8 = |address: &Address| address.is_utf8();
    let header = job.utf8 && transaction.form == Form::AsIs;
    if offer.utf8 && (header || job.sender.as_ref().is_some_and(utf8) || job.recipients.iter().any(|r| utf8(&r.address))) {
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
            line += &xtext::encode(envid);
        }
    }
    if offer.deliver_by.is_some()
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

fn rcpt(recipient: &Recipient, offer: &Offer, forgets: bool, tx: &mut Outbox) {
    let mut line = format!("RCPT TO:<{}>", path(&recipient.address, offer));
    if offer.dsn {
        let names = [(Notify::NEVER, "NEVER"), (Notify::SUCCESS, "SUCCESS"), (Notify::FAILURE, "FAILURE"), (Notify::DELAY, "DELAY")];
        let notify = match recipient.notify {
            notify if !forgets || notify.has(Notify::NEVER) => notify,
            notify if notify.is_unsaid() => Notify::FAILURE.with(Notify::DELAY),
            notify => notify.with(Notify::DELAY),
        };
        let wanted: Vec<&str> = names.iter().filter(|(bit, _)| notify.has(*bit)).map(|(_, name)| *name).collect();
        if !wanted.is_empty() {
            line += " NOTIFY=";
            line += &wanted.join(",");
        }
        if let Some(original) = recipient.original.as_deref().and_then(xtext::encode_typed) {
            line += " ORCPT=";
            line += &original;
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
        Err(_) => unreachable!("judged before"),
    }
}
