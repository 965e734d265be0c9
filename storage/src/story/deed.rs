//! What can happen to a message, as data and in words.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Something that happened to a message. Field order is the order in the file, and `id` comes early: a search looks for it first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// To which message.
    pub id: String,
    /// What.
    #[serde(flatten)]
    pub deed: Deed,
}

/// What can happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Deed {
    /// It was taken: from here on it is delivered, bounced or queued.
    Accepted {
        /// The sender; empty for the null path.
        sender: String,
        /// Whom it was for, as the client said.
        recipients: Vec<String>,
        /// Bytes.
        size: u64,
        /// How it came, as in `smtp`, `submission`, `lmtp`, `drop`, `report`.
        by: String,
        /// Who sent it: an address, and the account that logged in.
        client: String,
        /// What it calls itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message_id: Option<String>,
        /// The message on which this is a report.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        about: Option<String>,
    },
    /// It is in a mailbox here.
    Delivered {
        /// For whom.
        recipient: String,
        /// In whose mailbox.
        account: String,
        /// Seconds since it was accepted.
        delay_s: u64,
    },
    /// Another server took it.
    Relayed {
        /// For whom.
        recipient: String,
        /// Who took it.
        peer: Peer,
        /// What it said.
        reply: String,
        /// Seconds since it was accepted.
        delay_s: u64,
    },
    /// It could not be delivered yet.
    Deferred {
        /// For whom.
        recipient: String,
        /// Who did not take it, if it came so far.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        peer: Option<Peer>,
        /// What it said, or what happened.
        reply: String,
        /// When it is tried again, in seconds since 1970.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<u64>,
    },
    /// It was given up.
    Bounced {
        /// For whom.
        recipient: String,
        /// Who refused it, if it came so far.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        peer: Option<Peer>,
        /// What it said, or why it was given up.
        reply: String,
        /// The message that tells the sender.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        report: Option<String>,
    },
    /// The sender was told that it takes time.
    Warned {
        /// For whom it still waits.
        recipients: Vec<String>,
        /// The message that says so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        report: Option<String>,
    },
    /// A rule or an operator made it wait until somebody releases it.
    Held {
        /// Who.
        by: String,
    },
    /// An operator did something else to it.
    Changed {
        /// Who.
        by: String,
        /// What, in words, as in `released`, `rerouted to relay.example.net`.
        what: String,
    },
}

/// A server that was spoken to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Its name.
    pub host: String,
    /// Its address and port.
    pub address: String,
    /// The version of TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<String>,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", self.host, self.address)?;
        match &self.tls {
            Some(tls) => write!(f, " over {tls}"),
            None => f.write_str(" in clear text"),
        }
    }
}

/// In words.
impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Deed::Accepted { sender, recipients, size, by, client, message_id, about } => {
                write!(f, "accepted by {by} from {client}: from <{sender}> for {}, {size} bytes", recipients.join(", "))?;
                if let Some(id) = message_id {
                    write!(f, ", Message-ID {id}")?;
                }
                if let Some(about) = about {
                    write!(f, ", a report on {about}")?;
                }
                Ok(())
            }
            Deed::Delivered { recipient, account, delay_s } if recipient == account => {
                write!(f, "delivered to {recipient} after {}", span(*delay_s))
            }
            Deed::Delivered { recipient, account, delay_s } => {
                write!(f, "delivered for {recipient} to {account} after {}", span(*delay_s))
            }
            Deed::Relayed { recipient, peer, reply, delay_s } => {
                write!(f, "sent for {recipient} to {peer} after {}: {reply}", span(*delay_s))
            }
            Deed::Deferred { recipient, peer, reply, next } => {
                write!(f, "put off for {recipient}")?;
                by(f, peer.as_ref(), reply)?;
                match next {
                    Some(next) => write!(f, "; next attempt {}", moment(*next)),
                    None => Ok(()),
                }
            }
            Deed::Bounced { recipient, peer, reply, report } => {
                write!(f, "given up for {recipient}")?;
                by(f, peer.as_ref(), reply)?;
                match report {
                    Some(report) => write!(f, "; the sender is told by {report}"),
                    None => Ok(()),
                }
            }
            Deed::Warned { recipients, report } => {
                write!(f, "the sender is told of the delay for {}", recipients.join(", "))?;
                report.as_ref().map_or(Ok(()), |report| write!(f, " by {report}"))
            }
            Deed::Held { by } => write!(f, "held by {by}"),
            Deed::Changed { by, what } => write!(f, "{what} by {by}"),
        }
    }
}

fn by(f: &mut fmt::Formatter<'_>, peer: Option<&Peer>, reply: &str) -> fmt::Result {
    if let Some(peer) = peer {
        write!(f, " by {peer}")?;
    }
    write!(f, ": {reply}")
}

/// A moment as `2026-11-24 11:05:09`, in UTC.
pub(crate) fn moment(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    let c = mail::Stamp::utc(seconds).civil();
    format!("{} {:02}:{:02}:{:02}", super::day(seconds), c.hour, c.minute, c.second)
}

/// A time as people say it.
pub(crate) fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}
