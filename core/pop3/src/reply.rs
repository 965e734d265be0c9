//! Every fixed reply, with its response code (RFC 2449 §8, RFC 3206).

use sasl::Denied;
use wire::{Fault, Outbox};

/// A line of reply that never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reply(&'static str);

impl Reply {
    /// Prints it.
    pub(crate) fn put(self, tx: &mut Outbox) {
        tx.put(self.0.as_bytes());
        tx.put(b"\r\n");
    }
}

pub(crate) const OK: Reply = Reply("+OK");
pub(crate) const BYE: Reply = Reply("+OK Bye");
pub(crate) const NAMED: Reply = Reply("+OK Password, please");
pub(crate) const START_TLS: Reply = Reply("+OK Begin TLS");
pub(crate) const DELETED: Reply = Reply("+OK Deleted at QUIT");

pub(crate) const STOPPING: Reply = Reply("-ERR [SYS/TEMP] The server stops; try again later");
pub(crate) const DISMISSED: Reply = Reply("-ERR [SYS/TEMP] This connection cannot be kept; try again later");
pub(crate) const TOO_MANY_MISTAKES: Reply = Reply("-ERR Too many errors");
pub(crate) const LINE_TOO_LONG: Reply = Reply("-ERR Line too long");
pub(crate) const BARE_LF: Reply = Reply("-ERR Lines end with CR LF");
pub(crate) const CHARACTERS: Reply = Reply("-ERR Control characters or broken UTF-8");
pub(crate) const UNKNOWN: Reply = Reply("-ERR Unknown command");
pub(crate) const ARGUMENT: Reply = Reply("-ERR Argument missing, not wanted or malformed");
pub(crate) const LOG_IN_FIRST: Reply = Reply("-ERR Log in first");
pub(crate) const LOGGED_IN: Reply = Reply("-ERR Not once logged in");
pub(crate) const USER_FIRST: Reply = Reply("-ERR USER first");
pub(crate) const TLS_FIRST: Reply = Reply("-ERR STLS first");
pub(crate) const TLS_NEVER: Reply = Reply("-ERR No TLS here");
pub(crate) const TLS_ALREADY: Reply = Reply("-ERR TLS is active");
pub(crate) const NO_MECHANISM: Reply = Reply("-ERR Unknown authentication mechanism");
pub(crate) const AUTH_CANCELLED: Reply = Reply("-ERR Authentication cancelled");
pub(crate) const AUTH_MALFORMED: Reply = Reply("-ERR Malformed authentication response");
pub(crate) const NO_MESSAGE: Reply = Reply("-ERR No such message");

/// Why a login is refused.
impl From<Denied> for Reply {
    fn from(denied: Denied) -> Reply {
        Reply(match denied {
            Denied::Wrong => "-ERR [AUTH] Wrong name or password",
            Denied::Disabled => "-ERR [AUTH] Account disabled",
            Denied::TooMany => "-ERR [SYS/TEMP] Too many failed logins; try again later",
            Denied::Later => "-ERR [SYS/TEMP] Cannot authenticate now; try again later",
        })
    }
}

/// Why the inbox cannot be opened.
pub(crate) fn not_opened(fault: Fault) -> Reply {
    Reply(match fault {
        Fault::Later => "-ERR [SYS/TEMP] Cannot open the mailbox now; try again later",
        Fault::Never => "-ERR [SYS/PERM] Cannot open the mailbox",
    })
}

/// Why a message cannot be read. That it is gone is no fault of the system (RFC 3206 §4).
pub(crate) fn not_read(fault: Fault) -> Reply {
    Reply(match fault {
        Fault::Later => "-ERR [SYS/TEMP] Cannot read the message now; try again later",
        Fault::Never => "-ERR The message is gone",
    })
}

/// Why messages stay (RFC 1939 §6).
pub(crate) fn not_removed(fault: Fault) -> Reply {
    Reply(match fault {
        Fault::Later => "-ERR [SYS/TEMP] Some deleted messages were not removed",
        Fault::Never => "-ERR [SYS/PERM] Some deleted messages were not removed",
    })
}
