//! The questions of an SMTP client.

use alloc::{boxed::Box, vec::Vec};
use core::fmt;
use mail::{Address, Recipient, Wishes};
use wire::{Fault, Question, Tls};

/// A question for the host.
#[derive(Clone, PartialEq, Eq)]
pub enum Ask {
    /// Ready for a transaction with a peer that offers this: which one?
    Next(Offer),
    /// The content of the job in hand is wanted, from its beginning, in this form. The answer is its octets on the wire, before dots are stuffed.
    Open(Form),
    /// The next octets of it, with CRLF line ends, into this buffer. No octets: that was all.
    Read(Vec<u8>),
    /// The job in hand is over.
    Report(Report),
    /// There is no job in hand and the session cannot go on.
    Trouble(Trouble),
}

/// Without the octets of the buffer: they are of the block before.
impl fmt::Debug for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ask::Next(offer) => f.debug_tuple("Next").field(offer).finish(),
            Ask::Open(form) => f.debug_tuple("Open").field(form).finish(),
            Ask::Read(buf) => f.debug_tuple("Read").field(&buf.len()).finish(),
            Ask::Report(report) => f.debug_tuple("Report").field(report).finish(),
            Ask::Trouble(trouble) => f.debug_tuple("Trouble").field(trouble).finish(),
        }
    }
}

/// The answer to a question, of the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To `Next`: nothing at the moment, or a job.
    Next(Option<Box<Job>>),
    /// To `Open`.
    Open(Result<u64, Fault>),
    /// To `Read`: the buffer, with so many octets in it.
    Read(Result<(Vec<u8>, usize), Fault>),
    /// To `Report`.
    Report,
    /// To `Trouble`.
    Trouble,
}

/// What a peer offers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Offer {
    /// What it calls itself.
    pub name: Box<str>,
    /// The largest message it takes in octets, 0 if it has no fixed limit; nothing if it did not say (RFC 1870).
    pub size: Option<u64>,
    /// PIPELINING (RFC 2920).
    pub pipelining: bool,
    /// 8BITMIME (RFC 6152).
    pub eight_bit: bool,
    /// CHUNKING (RFC 3030).
    pub chunking: bool,
    /// BINARYMIME (RFC 3030).
    pub binary: bool,
    /// SMTPUTF8 (RFC 6531).
    pub utf8: bool,
    /// DSN (RFC 3461).
    pub dsn: bool,
    /// DELIVERBY (RFC 2852), with the least seconds it takes with `R`, 0 if it did not say.
    pub deliver_by: Option<u64>,
    /// MT-PRIORITY (RFC 6710).
    pub priority: bool,
    /// REQUIRETLS (RFC 8689).
    pub require_tls: bool,
    /// Recipients of one transaction, if it said (RFC 9422).
    pub recipients_max: Option<u32>,
    /// Domains of the recipients of one transaction, if it said.
    pub domains_max: Option<u32>,
    /// Transactions of one connection, if it said.
    pub mails_max: Option<u32>,
    /// What protects the line.
    pub tls: Option<Tls>,
    /// Whether its certificate was verified.
    pub verified: bool,
}

/// How the content is to be encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As it is.
    AsIs,
    /// Without octets beyond ASCII (RFC 6152 §3) and in lines.
    SevenBit,
    /// With a header of ASCII (RFC 2047): the peer takes no other, or its octets are no UTF-8.
    Header,
}

/// A message and those it is to be sent to in one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// For the host; nothing is done with it here.
    pub id: u64,
    /// The reverse path.
    pub sender: Option<Address>,
    /// The forward paths. Reports speak of them by their place in this list.
    pub recipients: Vec<Recipient>,
    /// What the sender wishes.
    pub wishes: Wishes,
    /// The seconds left until it is due, if that was wished for (RFC 2852); negative once it is late.
    pub due_in: Option<i64>,
    /// Its octets on the wire, as it is.
    pub size: u64,
    /// Whether it holds octets beyond ASCII.
    pub eight_bit: bool,
    /// Whether it is binary: not made of lines (RFC 3030).
    pub binary: bool,
    /// Whether its header holds UTF-8, so that only who speaks SMTPUTF8 may get it as it is (RFC 6531).
    pub utf8: bool,
    /// Whether its header holds octets that are no UTF-8, so that nobody may get it as it is (RFC 6532 §3).
    pub raw: bool,
}

/// What became of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// For each recipient, in their order.
    pub each: Vec<Outcome>,
}

/// What became of one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What it comes to.
    pub fate: Fate,
    /// What the peer said, or what is said in its place.
    pub reply: Reply,
    /// Whether the peer said it, or this side did without asking.
    pub by_peer: bool,
}

/// What an attempt comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The peer has it, and reports on it if that was wished for.
    Delivered,
    /// The peer has it, and that is to be reported as `relayed`: the sender wished for a report and the peer knows none (RFC 3461 §5.2.2), or wished to
    /// follow its way (RFC 2852 §4.1.4).
    Relayed,
    /// Not now.
    Deferred,
    /// Not ever.
    Failed,
}

/// A reply of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// From 200 to 599.
    pub code: u16,
    /// Its enhanced status code (RFC 3463) as class, subject, detail; if it had none, or one that contradicts the code, the class and zeros.
    pub status: (u8, u16, u16),
    /// Its text without codes, lines joined by a line feed, without control characters, cut where it is too long.
    pub text: Box<str>,
}

/// Why a session cannot go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// How far it came.
    pub at: Stage,
    /// What the peer said, or what is said in its place.
    pub reply: Reply,
    /// Whether it might go well without TLS: a handshake that nobody insists on failed.
    pub without_tls: bool,
}

/// How far a session came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The proxy.
    Proxy,
    /// The greeting.
    Greeting,
    /// EHLO, HELO or LHLO.
    Hello,
    /// STARTTLS or the handshake.
    Tls,
    /// AUTH.
    Login,
    /// Between two transactions.
    Ready,
}

/// Whoever answers.
pub trait Office {
    /// See [`Ask::Next`].
    fn next(&mut self, offer: Offer) -> Option<Box<Job>>;
    /// See [`Ask::Open`]. Never, if the content has no such form; what cannot be read now may be asked for again.
    fn open(&mut self, form: Form) -> Result<u64, Fault>;
    /// See [`Ask::Read`].
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, Fault>;
    /// See [`Ask::Report`].
    fn report(&mut self, report: Report);
    /// See [`Ask::Trouble`].
    fn trouble(&mut self, trouble: Trouble);
}

impl<O: Office> Question<O> for Ask {
    type Answer = Answer;

    fn put_to(self, office: &mut O) -> Answer {
        match self {
            Ask::Next(offer) => Answer::Next(office.next(offer)),
            Ask::Open(form) => Answer::Open(office.open(form)),
            Ask::Read(mut buf) => Answer::Read(office.read(&mut buf).map(|n| (buf, n))),
            Ask::Report(report) => {
                office.report(report);
                Answer::Report
            }
            Ask::Trouble(trouble) => {
                office.trouble(trouble);
                Answer::Trouble
            }
        }
    }

    fn waits(&self) -> bool {
        true
    }
}
