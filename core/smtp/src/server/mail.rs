//! The envelope: MAIL, RCPT, RSET.

use super::{Next, Question, Server};
use crate::reply::{self, Reply};
use crate::syntax::{Hold, MailParameters, RcptParameters};
use crate::{Ask, Body, Refusal, Role, TlsMode, Verdict};
use mail::{Address, By, Envelope, Recipient, Stamp, Wishes};
use wire::{Outbox, Tick, Why};

/// What came since MAIL.
#[derive(Debug)]
pub(super) struct Transaction {
    /// Given away when the message begins, except in LMTP, which still has to speak to each recipient.
    pub(super) envelope: Envelope,
    pub(super) body: Body,
    pub(super) utf8: bool,
    /// Whether a priority was asked for that is not given.
    lowered: bool,
}

impl Server {
    pub(super) fn mail(&mut self, now: Tick, sender: Option<Address>, said: MailParameters, tx: &mut Outbox) -> Next {
        if self.client.is_none() {
            return self.mistake(reply::HELLO_FIRST, tx);
        }
        if self.settings.role == Role::Submission && !self.authenticated {
            let tls_first = self.settings.tls == TlsMode::Start && !self.settings.plaintext_logins;
            return self.mistake(if tls_first { reply::TLS_FIRST } else { reply::AUTH_FIRST }, tx);
        }
        if self.transaction.is_some() {
            return self.mistake(reply::IN_TRANSACTION, tx);
        }
        // RFC 9422 §4.1: every MAIL counts. The client was told the limit.
        self.mails = self.mails.saturating_add(1);
        if self.settings.mails_max > 0 && self.mails > self.settings.mails_max {
            return self.hang_up(reply::TOO_MANY_MAILS, Why::Abuse, tx);
        }
        // RFC 1870 §6.1: refused before a byte of it has come.
        if self.settings.message_max > 0 && said.size.is_some_and(|size| size > self.settings.message_max) {
            return self.mistake(reply::TOO_LARGE, tx);
        }
        // RFC 6531 §3.5.
        if !said.utf8 && sender.as_ref().is_some_and(Address::is_utf8) {
            return self.mistake(reply::NEEDS_UTF8, tx);
        }
        let (size, body, utf8) = (said.size, said.body.unwrap_or_default(), said.utf8);
        match self.wishes(now, said) {
            Err(reply) => self.mistake(reply, tx),
            Ok((wishes, lowered)) => {
                let envelope = Envelope { sender: sender.clone(), wishes, ..Envelope::default() };
                self.transaction = Some(Transaction { envelope, body, utf8, lowered });
                self.ask(Question::Sender, Ask::Sender(sender, size))
            }
        }
    }

    /// What is wished for, times as moments; and whether the priority was lowered.
    fn wishes(&self, now: Tick, said: MailParameters) -> Result<(Wishes, bool), Reply> {
        let (offers, wall) = (&self.settings.offers, self.wall(now));
        // What is no extension here has no parameter either (RFC 5321 §4.1.1.11, RFC 4954 §5).
        if said.auth && self.settings.role != Role::Submission
            || (said.ret.is_some() || said.envid.is_some()) && !offers.dsn
            || said.body == Some(Body::Binary) && !offers.binary
            || said.by.is_some() && offers.deliver_by.is_none()
            || said.hold.is_some() && !self.holds()
            || said.priority.is_some() && !offers.priority
            || said.require_tls && !offers.require_tls
        {
            return Err(reply::UNKNOWN_PARAMETER);
        }
        // RFC 8689 §2: only a session under TLS may carry it.
        if said.require_tls && !self.is_secure() {
            return Err(reply::REQUIRE_TLS_FIRST);
        }
        let by = said.by.map(|by| By { at: Stamp::utc(wall.saturating_add(by.seconds.into())), or_return: by.or_return, trace: by.trace });
        let least = offers.deliver_by.map_or(0, i64::from);
        if said.by.is_some_and(|by| by.or_return && i64::from(by.seconds) < least) {
            return Err(reply::BY_TOO_SHORT);
        }
        let hold_until = said.hold.map(|hold| match hold {
            Hold::For(seconds) => Stamp::utc(wall.saturating_add(seconds.into())),
            Hold::Until(stamp) => stamp,
        });
        if let Some(until) = hold_until {
            if until.seconds > wall.saturating_add(offers.hold_max.into()) {
                return Err(reply::HOLD_TOO_LONG);
            }
            // Sent at once, it could not be called back: better to ask whether the client's clock is right.
            if until.seconds < wall {
                return Err(reply::HOLD_PAST);
            }
            // RFC 4865 §5.2.2.
            if by.is_some_and(|by| by.at.seconds < until.seconds) {
                return Err(reply::HOLD_BEYOND_BY);
            }
        }
        // RFC 6710 §4.1: anybody may lower a priority, nobody unknown may raise it. LMTP is spoken by a server of this site.
        let known = self.authenticated || self.settings.trusted || self.settings.role == Role::Lmtp;
        let wanted = said.priority.unwrap_or(0);
        let priority = if known { wanted } else { wanted.min(0) };
        let wishes = Wishes { ret: said.ret, envid: said.envid, by, hold_until, priority, require_tls: said.require_tls };
        Ok((wishes, priority < wanted))
    }

    pub(super) fn sender_answered(&mut self, verdict: Verdict, tx: &mut Outbox) {
        match verdict {
            Ok(()) => match &self.transaction {
                Some(Transaction { lowered: true, .. }) => reply::PRIORITY_LOWERED.put(tx),
                _ => reply::SENDER_OK.put(tx),
            },
            Err(refusal) => {
                self.transaction = None;
                match is_final(refusal) {
                    true => self.tally.mistakes += 1,
                    false => self.tally.put_off += 1,
                }
                Reply::from(refusal).put(tx);
            }
        }
    }

    pub(super) fn rcpt(&mut self, recipient: Option<Address>, said: RcptParameters, tx: &mut Outbox) -> Next {
        let Some(transaction) = &mut self.transaction else {
            return self.mistake(reply::MAIL_FIRST, tx);
        };
        if self.message.is_some() {
            return self.mistake(reply::IN_CHUNKS, tx);
        }
        // RFC 5321 §4.5.3.1.10. The client goes on with those it has, so it was not wrong.
        if transaction.envelope.recipients.len() >= self.settings.recipients_max as usize {
            self.tally.put_off += 1;
            return self.say(reply::TOO_MANY_RECIPIENTS, tx);
        }
        if !self.settings.offers.dsn && (said.original.is_some() || !said.notify.is_unsaid()) {
            return self.mistake(reply::UNKNOWN_PARAMETER, tx);
        }
        let address = recipient.unwrap_or_else(|| Address::new("postmaster", &self.settings.hostname));
        // RFC 6533 §3: an ORCPT in raw UTF-8 is for where SMTPUTF8 is spoken; everywhere else there is a form in ASCII.
        if !transaction.utf8 && (said.utf8 || address.is_utf8()) {
            return self.mistake(reply::NEEDS_UTF8, tx);
        }
        let recipient = Recipient { address, notify: said.notify, original: said.original };
        transaction.envelope.recipients.push(recipient.clone());
        self.ask(Question::Recipient, Ask::Recipient(recipient))
    }

    pub(super) fn recipient_answered(&mut self, verdict: Verdict, tx: &mut Outbox) {
        match verdict {
            Ok(()) => reply::RECIPIENT_OK.put(tx),
            Err(refusal) => {
                if let Some(transaction) = &mut self.transaction {
                    transaction.envelope.recipients.pop();
                }
                match is_final(refusal) {
                    true => self.tally.refused += 1,
                    false => self.tally.put_off += 1,
                }
                Reply::from(refusal).put(tx);
            }
        }
    }

    pub(super) fn rset(&mut self, tx: &mut Outbox) -> Next {
        let _ = self.idle(reply::OK, tx);
        self.reset()
    }
}

/// Whether the client is to blame, not the circumstances.
pub(super) fn is_final(refusal: Refusal) -> bool {
    match refusal {
        Refusal::NoMailbox
        | Refusal::NoRelay
        | Refusal::NotYours
        | Refusal::TooLarge
        | Refusal::Loop
        | Refusal::PathLoop
        | Refusal::NoDomain
        | Refusal::NullMx
        | Refusal::NoSender
        | Refusal::Disabled
        | Refusal::Policy
        | Refusal::NeedsUtf8
        | Refusal::Binary => true,
        Refusal::MailboxFull | Refusal::NoRoom | Refusal::TooMuch | Refusal::TooMany | Refusal::Unknown | Refusal::Fault(_) => false,
    }
}
