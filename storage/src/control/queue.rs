//! What is said of the queue: messages, what can be done to them, and why it was not done. Times are seconds since 1970.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Which messages are meant. Everything that is given must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Filter {
    /// The sender, or its domain as `@example.org`; `<>` is the null path of reports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender: Option<String>,
    /// A recipient that waits, or its domain as `@example.org`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipient: Option<String>,
    /// The next hop: a domain, or the name of a route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// The state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// Accepted before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
}

/// Where a message or a recipient is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Its time will come.
    Waiting,
    /// It is being sent.
    Active,
    /// It stays until somebody releases it.
    Held,
    /// Delivered, reported or given up. Only recipients are; a message whose recipients all are is gone.
    Done,
}

/// A piece of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Begin after this message.
    pub after: Option<u64>,
    /// The most messages.
    pub most: usize,
}

/// A piece of the list of what waits.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Listing {
    /// The messages, oldest first.
    pub messages: Vec<Summary>,
    /// The id to go on after; `None` if that is all.
    pub next: Option<String>,
    /// Why the list ends early.
    #[serde(default)]
    pub error: Option<String>,
}

/// A message in a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Its id, as in `Received:` and in the log.
    pub id: String,
    /// When it was accepted.
    pub accepted: u64,
    /// Its size in bytes.
    pub size: u64,
    /// The sender; empty for the null path.
    pub sender: String,
    /// Where it is.
    pub state: State,
    /// How many recipients it was accepted for.
    pub recipients: u32,
    /// The recipients that wait, some of them if they are many.
    pub waiting: Vec<String>,
    /// How many wait.
    pub left: u32,
    /// When the next of them is tried.
    pub next: Option<u64>,
    /// Why it is still here: what the last peer said.
    pub reason: Option<String>,
}

/// A message with all there is to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Whole {
    /// The line of it.
    #[serde(flatten)]
    pub summary: Summary,
    /// When it is given up.
    pub gives_up: Option<u64>,
    /// Its priority (RFC 6710), 0 unless somebody asked for another.
    pub priority: i8,
    /// The id its sender gave it (RFC 3461).
    pub envid: Option<String>,
    /// Each recipient.
    pub each: Vec<Waiting>,
}

/// A recipient of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Who.
    pub address: String,
    /// The next hop.
    pub site: String,
    /// Where it is.
    pub state: State,
    /// How often it was tried.
    pub attempts: u32,
    /// When it is tried next.
    pub next: Option<u64>,
    /// What the last peer said.
    pub reply: Option<String>,
}

/// Which messages something is done to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Whom {
    /// These.
    Ids(Vec<String>),
    /// All that the filter finds; a filter that asks for nothing finds all.
    All(Filter),
}

/// What can be done to messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Try now; what is known of dead sites is forgotten for them.
    Retry,
    /// Keep it until it is released.
    Hold,
    /// Let what is held go on.
    Release,
    /// Give it up. The sender gets a report unless `silent`.
    Cancel {
        /// Tell nobody.
        silent: bool,
    },
    /// Send what waits by another way: a host with an optional port, or `mx` for what DNS says.
    Reroute {
        /// Where to.
        to: String,
    },
    /// Change when it is tried next, and when it is given up. What is not given stays.
    Schedule {
        /// When it is tried, in seconds since 1970.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<u64>,
        /// When it is given up, in seconds since 1970.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        give_up: Option<u64>,
    },
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effect {
    /// To so many messages.
    pub messages: u64,
}

/// Why it was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refused {
    /// There is no such message, any more or at all.
    NoSuchMessage(String),
    /// What was said makes no sense.
    Nonsense(String),
    /// It would, but not in this state of the message.
    Conflict(String),
    /// Not now: a disk fails, or the server stops.
    Later(String),
}

/// How the queue is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct QueueStatus {
    /// Messages that wait for their time.
    pub waiting: u64,
    /// Messages being sent.
    pub active: u64,
    /// Messages that are held.
    pub held: u64,
    /// When the oldest was accepted.
    pub oldest: Option<u64>,
    /// Next hops that mail waits for.
    pub sites: u64,
    /// Next hops that do not answer.
    pub dead: Vec<String>,
    /// Next hops that do not answer, also those that are not named.
    pub dead_count: u64,
}

/// The id of a message as people write it.
///
/// # Errors
/// If it is none.
pub fn id(text: &str) -> Result<u64, Refused> {
    u64::from_str_radix(text, 16).map_err(|_| Refused::Nonsense(format!("{text:?} is no id of a message")))
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::NoSuchMessage(id) => write!(f, "there is no message {id} in the queue"),
            Refused::Nonsense(why) | Refused::Conflict(why) => f.write_str(why),
            Refused::Later(why) => write!(f, "not now: {why}"),
        }
    }
}

impl State {
    /// One word.
    pub fn word(self) -> &'static str {
        match self {
            State::Waiting => "waiting",
            State::Active => "active",
            State::Held => "held",
            State::Done => "done",
        }
    }
}
