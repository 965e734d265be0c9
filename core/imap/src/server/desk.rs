//! What all commands of a session share, and how a command works that needs answers.

use super::{Settings, Tls};
use crate::{
    limits,
    name::Naming,
    office::{Answer, Ask},
    reply::{Code, Reply},
    view::View,
};
use alloc::{boxed::Box, string::String};
use mail::MailboxName;
use sasl::Mechanism;
use wire::{Outbox, Why};

/// The state of a session that commands see.
#[derive(Debug)]
pub(super) struct Desk {
    pub settings: Settings,
    pub logged_in: bool,
    /// The selected mailbox.
    pub view: Option<Box<View>>,
    /// Failed logins so far.
    pub failures: u32,
}

/// A command that needs answers.
///
/// It is stepped until it is done, and each time it has asked something, with the answer.
pub(super) trait Job: Send {
    fn step(&mut self, desk: &mut Desk, answer: Option<Answer>, tx: &mut Outbox) -> Next;
}

/// What a [`Job`] needs next.
pub(super) enum Next {
    Ask(Ask),
    /// Room in the outbox.
    Flush,
    /// To say how it ended.
    Done(Reply, News),
    /// To end the connection at once: the client can be told nothing that it would understand.
    Close(Why),
}

/// What a client may be told of the selected mailbox before the end of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// Everything.
    All,
    /// That messages are gone must wait, since the numbers of pipelined commands would change under them (RFC 3501 §7.4.1).
    NoExpunges,
    /// The command itself has told all there is.
    Told,
}

impl Desk {
    pub fn naming(&self) -> Naming {
        Naming { separator: self.settings.separator, below_inbox: self.settings.inbox_prefix }
    }

    /// A mailbox name of a command.
    pub fn name(&self, wire: &[u8]) -> Result<MailboxName, Reply> {
        self.naming().read(wire).ok_or(NO_NAME)
    }

    /// Whether a password may be sent now (RFC 3501 §6.2.3).
    pub fn takes_passwords(&self) -> bool {
        self.settings.plaintext_logins || matches!(self.settings.tls, Tls::Already(_))
    }

    /// What CAPABILITY lists.
    pub fn capabilities(&self) -> Box<str> {
        let mut all = String::from("IMAP4rev1 LITERAL+ SASL-IR ENABLE ID");
        if self.logged_in {
            all.push_str(" IDLE NAMESPACE CHILDREN UIDPLUS UNSELECT MOVE ESEARCH SPECIAL-USE CREATE-SPECIAL-USE LIST-EXTENDED LIST-STATUS STATUS=SIZE");
            return all.into();
        }
        if matches!(self.settings.tls, Tls::Start) {
            all.push_str(" STARTTLS");
        }
        if !self.takes_passwords() {
            all.push_str(" LOGINDISABLED");
        }
        for mechanism in Mechanism::ALL {
            if self.takes_passwords() || !mechanism.is_plaintext() {
                all.push_str(" AUTH=");
                all.push_str(mechanism.name());
            }
        }
        all.into()
    }

    /// The same as a response code, so that clients need not ask.
    pub fn capability_code(&self) -> Code {
        Code::Capability(self.capabilities())
    }

    /// Whether somebody only guesses passwords.
    pub fn is_guessed(&self) -> bool {
        self.failures >= limits::LOGINS
    }
}

/// To a name that no mailbox can have.
pub(super) const NO_NAME: Reply = Reply::no("CANNOT", "No mailbox can have that name.");

/// The answer to the question that was asked.
macro_rules! answer {
    ($answer:expr, $kind:ident) => {
        match $answer {
            Some(crate::office::Answer::$kind(it)) => it,
            other => panic!(concat!("the answer must be a ", stringify!($kind), ", not {:?}"), other),
        }
    };
}
pub(super) use answer;
