//! The questions of a POP3 server.

use alloc::{boxed::Box, vec::Vec};
use mail::Span;
use sasl::{Denied, Login, Proof};
use wire::{Fault, Question, Sink};

/// A question for the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// Is this who they say they are?
    Login(Proof),
    /// Open the inbox of the account that logged in, as it is now.
    Open,
    /// Fill `buf` up to its capacity with wire octets (CRLF line ends) of the message at this place in the opened list, from wire octet
    /// `at` on. An answer shorter than the capacity is the end of the message.
    Read {
        /// Index into the list that `Open` gave, from 0.
        index: u32,
        /// First wire octet.
        at: u64,
        /// Empty; lent, and given back in the answer.
        buf: Vec<u8>,
    },
    /// Remove these messages (indexes into the opened list), durably.
    Remove(Vec<u32>),
}

/// A message in the inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The whole message; `span.wire` is what LIST prints.
    pub span: Span,
    /// 1 to 70 characters from 0x21 to 0x7E, unique in the inbox and the same for ever (RFC 1939 §7).
    pub uidl: Box<str>,
}

/// The answer to a question, of the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To `Login`.
    Login(Result<Login, Denied>),
    /// To `Open`.
    Open(Result<Vec<Entry>, Fault>),
    /// To `Read`. `Never`: the message is gone (another client removed it).
    Read(Result<Vec<u8>, Fault>),
    /// To `Remove`: whether all of them are gone (RFC 1939 §6: some not removed is an error).
    Remove(Result<(), Fault>),
}

/// Whoever answers.
pub trait Office: Sink {
    /// See [`Ask::Login`].
    fn login(&mut self, proof: Proof) -> Result<Login, Denied>;
    /// See [`Ask::Open`].
    fn open(&mut self) -> Result<Vec<Entry>, Fault>;
    /// See [`Ask::Read`].
    fn read(&mut self, index: u32, at: u64, buf: Vec<u8>) -> Result<Vec<u8>, Fault>;
    /// See [`Ask::Remove`].
    fn remove(&mut self, indexes: Vec<u32>) -> Result<(), Fault>;
}

impl<O: Office> Question<O> for Ask {
    type Answer = Answer;

    fn put_to(self, office: &mut O) -> Answer {
        match self {
            Ask::Login(proof) => Answer::Login(office.login(proof)),
            Ask::Open => Answer::Open(office.open()),
            Ask::Read { index, at, buf } => Answer::Read(office.read(index, at, buf)),
            Ask::Remove(indexes) => Answer::Remove(office.remove(indexes)),
        }
    }

    fn waits(&self) -> bool {
        true
    }
}
