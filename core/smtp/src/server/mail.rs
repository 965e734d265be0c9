//! The envelope: MAIL, RCPT, RSET.

use super::{Next, Question, Server};
use crate::reply::{self, Reply};
use crate::syntax::MailParameters;
use crate::{Ask, Body, Refusal, Role, TlsMode, Verdict};
use mail::{Address, Envelope};
use wire::Outbox;

/// What came since MAIL.
#[derive(Debug)]
pub(super) struct Transaction {
    /// Given away when the message begins, except in LMTP, which still has to speak to each recipient.
    pub(super) envelope: Envelope,
    pub(super) body: Body,
    pub(super) utf8: bool,
}

impl Server {
    pub(super) fn mail(&mut self, sender: Option<Address>, said: MailParameters, tx: &mut Outbox) -> Next {
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
        // RFC 4954 §5: where AUTH is no extension, its parameter is none.
        if said.auth && self.settings.role != Role::Submission {
            return self.mistake(reply::UNKNOWN_PARAMETER, tx);
        }
        // RFC 1870 §6.1: refused before a byte of it has come.
        if self.settings.message_max > 0 && said.size.is_some_and(|size| size > self.settings.message_max) {
            return self.mistake(reply::TOO_LARGE, tx);
        }
        // RFC 6531 §3.5.
        if !said.utf8 && sender.as_ref().is_some_and(Address::is_utf8) {
            return self.mistake(reply::NEEDS_UTF8, tx);
        }
        let envelope = Envelope { sender: sender.clone(), ..Envelope::default() };
        self.transaction = Some(Transaction { envelope, body: said.body.unwrap_or_default(), utf8: said.utf8 });
        self.ask(Question::Sender, Ask::Sender(sender, said.size))
    }

    pub(super) fn sender_answered(&mut self, verdict: Verdict, tx: &mut Outbox) {
        match verdict {
            Ok(()) => reply::SENDER_OK.put(tx),
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

    pub(super) fn rcpt(&mut self, recipient: Option<Address>, tx: &mut Outbox) -> Next {
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
        let recipient = recipient.unwrap_or_else(|| Address::new("postmaster", &self.settings.hostname));
        if !transaction.utf8 && recipient.is_utf8() {
            return self.mistake(reply::NEEDS_UTF8, tx);
        }
        transaction.envelope.recipients.push(recipient.clone().into());
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
        Refusal::NoMailbox | Refusal::NoRelay | Refusal::NotYours | Refusal::TooLarge | Refusal::Loop => true,
        Refusal::MailboxFull | Refusal::NoRoom | Refusal::Fault(_) => false,
    }
}
