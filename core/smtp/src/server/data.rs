//! The message: DATA, BDAT (RFC 3030), its end and what is said about it.

use super::{Next, Opening, Phase, Question, Server, Tally, mail::is_final};
use crate::content::{How, Incoming, Piece};
use crate::limits::{COMMAND_MS, HURRIED_MS};
use crate::reply::{self, Reply};
use crate::{Ask, Body, Receipt, Refusal, Role, Start, TlsMode, Verdict};
use alloc::{boxed::Box, vec::Vec};
use core::fmt::Write as _;
use mail::Recipient;
use wire::{Fault, Inbox, Outbox, Tick};

/// A reply for each recipient that is being printed, a few at a time.
#[derive(Debug)]
pub(super) struct Report {
    recipients: Vec<Recipient>,
    outcome: Outcome,
    said: usize,
}

/// What became of a message for its recipients.
#[derive(Debug)]
enum Outcome {
    Same(Reply),
    Each { id: Box<str>, verdicts: Vec<Verdict> },
}

impl Server {
    pub(super) fn data_command(&mut self, tx: &mut Outbox) -> Next {
        match self.before_message() {
            Some(reply) => self.mistake(reply, tx),
            // RFC 3030 §3: DATA and BDAT do not mix.
            None if self.message.is_some() => self.mistake(reply::IN_CHUNKS, tx),
            // RFC 3030 §3: no dot can end what is not made of lines.
            None if self.is_binary() => self.mistake(reply::BINARY_DATA, tx),
            None => self.open(Opening::Data),
        }
    }

    pub(super) fn bdat(&mut self, now: Tick, size: u64, last: bool) -> Next {
        if let Some(reply) = self.before_message() {
            // RFC 3030 §2: the octets are on their way, whatever is thought of them.
            return self.turn(Phase::Discard { left: size, reply, pace: self.pace(now) });
        }
        if self.message.is_none() {
            return self.open(Opening::Chunk { size, last });
        }
        self.turn(Phase::Chunk { size, left: size, last })
    }

    fn is_binary(&self) -> bool {
        self.transaction.as_ref().is_some_and(|transaction| transaction.body == Body::Binary)
    }

    fn before_message(&self) -> Option<Reply> {
        match &self.transaction {
            None => Some(reply::MAIL_FIRST),
            Some(transaction) if self.message.is_none() && transaction.envelope.recipients.is_empty() => Some(reply::NO_RECIPIENTS),
            Some(_) => None,
        }
    }

    fn open(&mut self, opening: Opening) -> Next {
        let with = self.with();
        let (Some(transaction), Some(client)) = (&mut self.transaction, &self.client) else {
            unreachable!("no transaction begins without a hello, no message without a transaction");
        };
        let envelope = match self.settings.role {
            Role::Lmtp => transaction.envelope.clone(),
            Role::Relay | Role::Submission => core::mem::take(&mut transaction.envelope),
        };
        let tls = match &self.settings.tls {
            TlsMode::Already(tls) => Some(tls.clone()),
            TlsMode::Never | TlsMode::Start => None,
        };
        let start = Start { envelope, helo: client.name.clone(), with, body: transaction.body, utf8: transaction.utf8, tls };
        self.ask(Question::Open(opening), Ask::Open(start))
    }

    /// The `with` keyword (RFC 3848, RFC 6531 §4.3, RFC 2033).
    fn with(&self) -> &'static str {
        let utf8 = self.transaction.as_ref().is_some_and(|transaction| transaction.utf8);
        let extended = self.client.as_ref().is_some_and(|client| client.extended);
        match (self.settings.role == Role::Lmtp, utf8, self.is_secure(), self.authenticated) {
            (true, false, false, _) => "LMTP",
            (true, false, true, _) => "LMTPS",
            (true, true, false, _) => "UTF8LMTP",
            (true, true, true, _) => "UTF8LMTPS",
            (false, true, false, false) => "UTF8SMTP",
            (false, true, false, true) => "UTF8SMTPA",
            (false, true, true, false) => "UTF8SMTPS",
            (false, true, true, true) => "UTF8SMTPSA",
            // There is no name for HELO with anything.
            (false, false, _, _) if !extended => "SMTP",
            (false, false, false, false) => "ESMTP",
            (false, false, false, true) => "ESMTPA",
            (false, false, true, false) => "ESMTPS",
            (false, false, true, true) => "ESMTPSA",
        }
    }

    fn incoming(&self, now: Tick, how: How) -> Incoming {
        let mut message = Incoming::new(now, how, self.settings.message_max);
        message.pace = self.pace(now);
        message
    }

    pub(super) fn opened(&mut self, now: Tick, opening: Opening, opened: Result<(), Fault>, tx: &mut Outbox) {
        match (opening, opened) {
            (Opening::Data, Ok(())) => {
                self.message = Some(self.incoming(now, How::Dots));
                reply::GO_AHEAD.put(tx);
                self.phase = Phase::Data;
            }
            (Opening::Chunk { size, last }, Ok(())) => {
                let how = if self.is_binary() { How::Binary } else { How::Chunks };
                self.message = Some(self.incoming(now, how));
                self.phase = Phase::Chunk { size, left: size, last };
            }
            (Opening::Data, Err(fault)) => {
                self.transaction = None;
                Reply::from(Refusal::Fault(fault)).put(tx);
            }
            (Opening::Chunk { size, .. }, Err(fault)) => {
                self.transaction = None;
                self.phase = Phase::Discard { left: size, reply: Refusal::Fault(fault).into(), pace: self.pace(now) };
            }
        }
    }

    pub(super) fn data(&mut self, now: Tick, rx: &mut Inbox, tx: &mut Outbox) -> Next {
        let message = self.message.as_mut().expect("a message is open while its data is due");
        match message.next(rx.bytes()) {
            Piece::More => Next::Wait,
            Piece::Body(n) => {
                message.pace.arrived(now, n);
                Next::Body(n)
            }
            Piece::Skip(n) => {
                message.pace.arrived(now, n);
                rx.take(n);
                Next::Again
            }
            Piece::End(n) => {
                rx.take(n);
                self.whole(tx)
            }
        }
    }

    pub(super) fn chunk(&mut self, now: Tick, rx: &mut Inbox, tx: &mut Outbox) -> Next {
        let Phase::Chunk { size, left, last } = &mut self.phase else {
            unreachable!("only a chunk is read as one");
        };
        let message = self.message.as_mut().expect("a message is open while a chunk of it is due");
        if *left == 0 {
            let (size, last) = (*size, *last);
            return self.chunk_ended(size, last, tx);
        }
        let within = rx.bytes().len().min(usize::try_from(*left).unwrap_or(usize::MAX));
        let (n, next) = match message.next(&rx.bytes()[..within]) {
            Piece::More => return Next::Wait,
            Piece::Body(n) => (n, Next::Body(n)),
            Piece::Skip(n) => {
                rx.take(n);
                (n, Next::Again)
            }
            Piece::End(_) => unreachable!("no dot ends a chunk"),
        };
        message.pace.arrived(now, n);
        *left -= n as u64;
        next
    }

    fn chunk_ended(&mut self, size: u64, last: bool, tx: &mut Outbox) -> Next {
        let message = self.message.as_mut().expect("a message is open while a chunk of it is due");
        if last {
            message.end();
            return self.whole(tx);
        }
        if let Some(reply) = message.refusal() {
            // The chunks that follow find no transaction (RFC 3030 §2: 503).
            let _ = self.mistake(reply, tx);
            return self.reset();
        }
        self.tally.idle += u32::from(size == 0);
        let _ = write!(tx, "250 2.0.0 {size} octets received\r\n");
        self.turn(Phase::Command)
    }

    /// Drops a chunk nobody wants.
    pub(super) fn discard(&mut self, now: Tick, rx: &mut Inbox, tx: &mut Outbox) -> Next {
        if self.stopping {
            return self.hang_up(reply::STOPPING, wire::Why::Shutdown, tx);
        }
        let Phase::Discard { left, reply, pace } = &mut self.phase else {
            unreachable!("only an unwanted chunk is dropped");
        };
        if *left == 0 {
            let reply = *reply;
            self.phase = Phase::Command;
            return self.mistake(reply, tx);
        }
        let n = rx.bytes().len().min(usize::try_from(*left).unwrap_or(usize::MAX));
        if n == 0 {
            return Next::Wait;
        }
        rx.take(n);
        pace.arrived(now, n);
        *left -= n as u64;
        Next::Again
    }

    /// The last byte of the message is in.
    fn whole(&mut self, tx: &mut Outbox) -> Next {
        match self.message.as_ref().and_then(Incoming::refusal) {
            None => self.ask(Question::Commit, Ask::Commit),
            Some(reply) => {
                self.tally.mistakes += 1;
                self.settle(Outcome::Same(reply), tx)
            }
        }
    }

    pub(super) fn committed(&mut self, now: Tick, receipt: Result<Receipt, Refusal>, tx: &mut Outbox) {
        self.message = None;
        let outcome = match receipt {
            Ok(Receipt { id, each }) => {
                self.tally = Tally::default();
                self.allow_message(now);
                Outcome::Each { id, verdicts: each }
            }
            Err(refusal) => {
                self.tally.mistakes += u32::from(is_final(refusal));
                Outcome::Same(refusal.into())
            }
        };
        let _ = self.settle(outcome, tx);
    }

    /// Says what became of the message: once, or in LMTP for each recipient (RFC 2033 §4.2).
    fn settle(&mut self, outcome: Outcome, tx: &mut Outbox) -> Next {
        let recipients = match self.transaction.take() {
            Some(transaction) if self.settings.role == Role::Lmtp => transaction.envelope.recipients,
            _ => {
                match outcome {
                    Outcome::Same(reply) => reply.put(tx),
                    Outcome::Each { id, .. } => {
                        let _ = write!(tx, "250 2.0.0 Ok: queued as {id}\r\n");
                    }
                }
                return self.reset();
            }
        };
        if let Outcome::Each { verdicts, .. } = &outcome {
            assert_eq!(verdicts.len(), recipients.len(), "a verdict for each recipient");
        }
        self.turn(Phase::Report(Report { recipients, outcome, said: 0 }))
    }

    /// Prints replies until the outbox is full: a thousand of them are more than it should hold.
    pub(super) fn report(&mut self, now: Tick, tx: &mut Outbox) -> Next {
        let patience_ms = if self.is_hurried() { HURRIED_MS } else { COMMAND_MS };
        let Phase::Report(report) = &mut self.phase else {
            unreachable!("only a report is printed");
        };
        while let Some(recipient) = report.recipients.get(report.said) {
            if tx.is_full() {
                return Next::Flush;
            }
            self.deadline = now.after(patience_ms);
            match &report.outcome {
                Outcome::Same(reply) => reply.put_for(&recipient.address, tx),
                Outcome::Each { id, verdicts } => match verdicts[report.said] {
                    Ok(()) => {
                        let _ = write!(tx, "250 2.1.5 <{}> Ok: delivered as {id}\r\n", recipient.address);
                    }
                    Err(refusal) => Reply::from(refusal).put_for(&recipient.address, tx),
                },
            }
            report.said += 1;
        }
        self.reset()
    }
}
