//! Every fixed reply, with its code (RFC 5321 §4.2) and enhanced code (RFC 2034, 3463, 5248).

use crate::Refusal;
use mail::Address;
use wire::{Fault, Outbox};

/// A line of reply that never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reply {
    code: &'static str,
    text: &'static str,
}

const fn reply(code: &'static str, text: &'static str) -> Reply {
    Reply { code, text }
}

impl Reply {
    /// Prints it.
    pub(crate) fn put(self, tx: &mut Outbox) {
        tx.put(self.code.as_bytes());
        tx.put(b" ");
        tx.put(self.text.as_bytes());
        tx.put(b"\r\n");
    }

    /// Prints it about one recipient of several (RFC 2033 §4.2).
    pub(crate) fn put_for(self, recipient: &Address, tx: &mut Outbox) {
        use core::fmt::Write as _;
        let _ = write!(tx, "{} <{}> {}\r\n", self.code, recipient, self.text);
    }
}

pub(crate) const OK: Reply = reply("250 2.0.0", "Ok");
pub(crate) const SENDER_OK: Reply = reply("250 2.1.0", "Ok");
// RFC 6710 §4.1: the priority first, then words.
pub(crate) const PRIORITY_LOWERED: Reply = reply("250 2.3.6", "0 is the priority of this message");
pub(crate) const RECIPIENT_OK: Reply = reply("250 2.1.5", "Ok");
pub(crate) const HELP: Reply = reply("214 2.0.0", "See RFC 5321");
pub(crate) const BYE: Reply = reply("221 2.0.0", "Bye");
// RFC 5321 §3.5.3: neither yes nor no, so nobody can collect names here.
pub(crate) const MAYBE: Reply = reply("252 2.1.5", "Try it and see");
pub(crate) const GO_AHEAD: Reply = reply("354", "End data with <CR><LF>.<CR><LF>");
pub(crate) const START_TLS: Reply = reply("220 2.0.0", "Ready to start TLS");
pub(crate) const LOGGED_IN: Reply = reply("235 2.7.0", "Authentication succeeded");

pub(crate) const STOPPING: Reply = reply("421 4.3.2", "The server stops; try again later");
pub(crate) const DISMISSED: Reply = reply("421 4.3.2", "This connection cannot be kept; try again later");
pub(crate) const TIMEOUT: Reply = reply("421 4.4.2", "Timeout");
pub(crate) const TOO_MANY_MISTAKES: Reply = reply("421 4.7.0", "Too many errors");
pub(crate) const TOO_MANY_PUT_OFF: Reply = reply("421 4.7.0", "Too many recipients put off");
pub(crate) const TOO_MANY_MAILS: Reply = reply("421 4.7.0", "Too many messages in one connection");
pub(crate) const TOO_IDLE: Reply = reply("421 4.7.0", "Too many commands without a message");
pub(crate) const NO_HTTP: Reply = reply("421 4.7.0", "This is not HTTP");

pub(crate) const TOO_MANY_RECIPIENTS: Reply = reply("452 4.5.3", "Too many recipients");
pub(crate) const LOGIN_LATER: Reply = reply("454 4.7.0", "Cannot authenticate now; try again later");
pub(crate) const LOGIN_TOO_MANY: Reply = reply("454 4.7.0", "Too many failed logins; try again later");

pub(crate) const LINE_TOO_LONG: Reply = reply("500 5.5.2", "Line too long");
pub(crate) const RESPONSE_TOO_LONG: Reply = reply("500 5.5.6", "Authentication line too long");
pub(crate) const BARE_LF: Reply = reply("500 5.5.2", "Lines end with CR LF and hold neither alone");
pub(crate) const CHARACTERS: Reply = reply("500 5.5.2", "Control characters or broken UTF-8");
pub(crate) const UNKNOWN: Reply = reply("500 5.5.1", "Unknown command");
pub(crate) const WRONG_HELLO: Reply = reply("500 5.5.1", "Say EHLO to SMTP and LHLO to LMTP");
pub(crate) const HELLO_NAME: Reply = reply("501 5.5.4", "One domain or address literal, please");
pub(crate) const NO_ARGUMENT: Reply = reply("501 5.5.4", "No argument allowed");
pub(crate) const ARGUMENT: Reply = reply("501 5.5.4", "Argument missing");
pub(crate) const PARAMETER: Reply = reply("501 5.5.4", "Bad or repeated parameter");
pub(crate) const HOLD_TOO_LONG: Reply = reply("501 5.5.4", "Held for longer than is done here");
pub(crate) const HOLD_PAST: Reply = reply("501 5.5.4", "Held until a time that has passed");
pub(crate) const HOLD_BEYOND_BY: Reply = reply("501 5.5.4", "Held until after it is due");
pub(crate) const CHUNK_SYNTAX: Reply = reply("501 5.5.4", "Syntax: BDAT octets [LAST]");
pub(crate) const SENDER_SYNTAX: Reply = reply("501 5.1.7", "Syntax: MAIL FROM:<address> [parameters]");
pub(crate) const SENDER_TOO_LONG: Reply = reply("501 5.1.7", "Path too long");
pub(crate) const RECIPIENT_SYNTAX: Reply = reply("501 5.1.3", "Syntax: RCPT TO:<address>");
pub(crate) const RECIPIENT_TOO_LONG: Reply = reply("501 5.1.3", "Path too long");
pub(crate) const AUTH_CANCELLED: Reply = reply("501 5.7.0", "Authentication cancelled");
pub(crate) const AUTH_MALFORMED: Reply = reply("501 5.5.2", "Malformed authentication response");
pub(crate) const NOT_HERE: Reply = reply("502 5.5.1", "Not available here");
pub(crate) const HELLO_FIRST: Reply = reply("503 5.5.1", "Say hello first");
pub(crate) const EHLO_FIRST: Reply = reply("503 5.5.1", "Say EHLO first");
pub(crate) const MAIL_FIRST: Reply = reply("503 5.5.1", "MAIL first");
pub(crate) const NO_RECIPIENTS: Reply = reply("503 5.5.1", "No valid recipients");
pub(crate) const IN_TRANSACTION: Reply = reply("503 5.5.1", "Not within a mail transaction");
pub(crate) const IN_CHUNKS: Reply = reply("503 5.5.1", "Not between BDAT chunks");
pub(crate) const BINARY_DATA: Reply = reply("503 5.5.1", "BINARYMIME needs BDAT");
pub(crate) const TLS_ALREADY: Reply = reply("503 5.5.1", "TLS is active");
pub(crate) const AUTH_ALREADY: Reply = reply("503 5.5.1", "Already authenticated");
pub(crate) const NO_MECHANISM: Reply = reply("504 5.5.4", "Unknown authentication mechanism");
pub(crate) const LOGIN_DISABLED: Reply = reply("525 5.7.13", "Account disabled");
pub(crate) const AUTH_FIRST: Reply = reply("530 5.7.0", "Authentication required");
pub(crate) const TLS_FIRST: Reply = reply("530 5.7.0", "Must issue a STARTTLS command first");
pub(crate) const REQUIRE_TLS_FIRST: Reply = reply("530 5.7.10", "REQUIRETLS needs TLS");
pub(crate) const LOGIN_WRONG: Reply = reply("535 5.7.8", "Authentication credentials invalid");
pub(crate) const AUTH_NEEDS_TLS: Reply = reply("538 5.7.11", "Encryption required for this mechanism");
pub(crate) const TOO_LARGE: Reply = reply("552 5.3.4", "Message too large");
pub(crate) const NEEDS_UTF8: Reply = reply("553 5.6.7", "This address needs SMTPUTF8");
pub(crate) const MESSAGE_BROKEN: Reply = reply("554 5.6.0", "Bare CR, bare LF or NUL in the message");
pub(crate) const BY_TOO_SHORT: Reply = reply("555 5.5.4", "Due sooner than is promised here");
pub(crate) const UNKNOWN_PARAMETER: Reply = reply("555 5.5.4", "Unknown parameter");

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Reply {
        match refusal {
            Refusal::NoMailbox => reply("550 5.1.1", "No such mailbox"),
            Refusal::NoRelay => reply("550 5.7.1", "Relaying denied"),
            Refusal::NotYours => reply("553 5.7.1", "This sender address is not yours"),
            Refusal::MailboxFull => reply("452 4.2.2", "Mailbox full"),
            Refusal::TooLarge => TOO_LARGE,
            Refusal::NoRoom => reply("452 4.3.1", "No room; try again later"),
            Refusal::Loop => reply("554 5.4.6", "Mail loop"),
            Refusal::PathLoop => reply("550 5.4.6", "This address leads back to itself"),
            Refusal::NoDomain => reply("550 5.1.2", "No such domain"),
            Refusal::NullMx => reply("556 5.1.10", "This domain takes no mail"),
            Refusal::NoSender => reply("550 5.1.8", "No mail can be returned to this sender"),
            Refusal::Disabled => reply("550 5.2.1", "This mailbox takes no mail now"),
            Refusal::Policy => reply("550 5.7.1", "Not allowed here"),
            Refusal::TooMuch => reply("450 4.7.1", "Too much mail; try again later"),
            Refusal::TooMany => TOO_MANY_RECIPIENTS,
            Refusal::Unknown => reply("451 4.4.3", "Cannot find out about this address; try again later"),
            Refusal::NeedsUtf8 => NEEDS_UTF8,
            Refusal::Binary => reply("554 5.6.3", "A binary message that cannot be converted"),
            Refusal::Fault(Fault::Later) => reply("451 4.3.0", "Local trouble; try again later"),
            Refusal::Fault(Fault::Never) => reply("554 5.3.0", "Local trouble"),
        }
    }
}
