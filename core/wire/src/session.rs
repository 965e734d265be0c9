//! One trait for every protocol and both ends of it.

use crate::{Inbox, Outbox, Tick};
use alloc::{boxed::Box, string::String};

/// A protocol session: bytes in, bytes and questions out.
///
/// A host calls [`Session::step`] until it says [`Step::Read`] or [`Step::Close`]. When something happened (an answer, a finished
/// handshake, a nudge) it calls [`Session::tell`] and then steps again. When [`Session::deadline`] passes, it steps.
///
/// However the input is cut into pieces, the output, the questions and the bodies are the same.
pub trait Session {
    /// A question for the host. Owned: it crosses threads and lands in logs.
    type Ask;
    /// The reply to a question.
    type Answer;

    /// Does one thing and says what it needs next.
    fn step<'a>(&mut self, now: Tick, rx: &'a mut Inbox, tx: &mut Outbox) -> Step<'a, Self::Ask>;

    /// Hands over an answer, a finished handshake or a nudge. Then step again.
    ///
    /// # Panics
    /// If the news does not fit what was asked: the host is wrong, not the peer.
    fn tell(&mut self, now: Tick, news: News<Self::Answer>, tx: &mut Outbox);

    /// When to step again even if nothing arrives.
    fn deadline(&self) -> Option<Tick>;
}

/// What a session needs next.
#[must_use]
#[derive(Debug)]
pub enum Step<'a, A> {
    /// Nothing to do: flush, then wait for bytes, news or the deadline.
    Read,
    /// The outbox is at its mark: flush, then step.
    Flush,
    /// Message bytes for the open [`Sink`], then step. Borrowed from the inbox.
    Body(&'a [u8]),
    /// Find out, [`Session::tell`] the answer, then step. At most one question is open. What waits in the outbox may stay there.
    Ask(A),
    /// Flush, shake hands, tell [`News::Secured`], then step. The inbox is empty by then.
    StartTls(Want),
    /// Flush and hang up.
    Close(Why),
}

/// What a host has to say.
#[derive(Debug)]
pub enum News<A> {
    /// The answer to the open question.
    Answer(A),
    /// The handshake that was asked for is over.
    Secured(Result<Tls, Box<str>>),
    /// Something happened elsewhere. May come at any time, also while a question is open.
    Nudge(Nudge),
}

/// A tap on the shoulder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nudge {
    /// The watched mailbox changed.
    Changed,
    /// Places are short: a peer that nobody knows yet, and that brought nothing, has little time from now on.
    Hurry,
    /// The peer is sent away: its place is needed, its account is gone, or an operator wants it. Say so where the protocol allows it, and end now.
    Leave,
    /// The server stops: say goodbye as soon as the protocol allows it.
    Shutdown,
}

/// Which side of a handshake to play.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Want {
    /// As a server, with the certificates of the listener.
    Accept,
    /// As a client.
    Connect(Expect),
}

/// What a client expects of the server's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expect {
    /// The name to ask for (SNI), and to verify if that is wanted; an address literal has none that can be asked for.
    pub name: Box<str>,
    /// Whether the certificate must be valid for the name. If not, any will do: the line is private against those who only listen.
    pub verified: bool,
}

/// What a handshake led to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// As in `TLSv1.3`.
    pub version: String,
    /// As in `TLS13_AES_256_GCM_SHA384`.
    pub cipher: String,
    /// The name the client asked for (SNI).
    pub server_name: Option<String>,
    /// The certificate that the peer showed and proved to own: SHA-256 of its DER, in lower-case hexadecimal digits.
    pub certificate: Option<String>,
}

/// Why a connection ends. For logs only; the peer was told in its own protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The peer said goodbye.
    Done,
    /// The peer went away without a word.
    Gone,
    /// The peer was too slow.
    Timeout,
    /// The peer broke a budget: too many errors, commands or bytes.
    Abuse,
    /// The TLS handshake failed.
    Tls,
    /// The peer was sent away.
    Dismissed,
    /// The server stops.
    Shutdown,
    /// The host could not answer and the session cannot go on.
    Fault,
}

impl Why {
    /// One word for a log line.
    pub const fn word(self) -> &'static str {
        match self {
            Why::Done => "done",
            Why::Gone => "gone",
            Why::Timeout => "timeout",
            Why::Abuse => "abuse",
            Why::Tls => "tls",
            Why::Dismissed => "dismissed",
            Why::Shutdown => "shutdown",
            Why::Fault => "fault",
        }
    }
}

/// Why a host cannot do what was asked. The session picks the words of its protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Not now; the same request may succeed later (4xx, `NO [UNAVAILABLE]`, `-ERR [SYS/TEMP]`).
    Later,
    /// Not ever (5xx, `NO`, `-ERR [SYS/PERM]`).
    Never,
}

/// A question that host `H` answers by a plain call. Implemented once, beside each `Ask`.
pub trait Question<H: ?Sized> {
    /// What the session is told.
    type Answer;

    /// Asks. May wait for a disk.
    fn put_to(self, host: &mut H) -> Self::Answer;

    /// Whether the answer may have to wait for a disk or for much computing. A host that must not wait asks such a
    /// question elsewhere (smol: on its blocking pool); all others are answered from memory, where they are.
    fn waits(&self) -> bool;
}

/// Where the bytes of a message go while it arrives ([`Step::Body`]).
///
/// Failures are kept and come out when the message is to be committed: a session has nothing better to do with the
/// rest of a message than to read it (RFC 5321 §4.2.5 asks for one reply after the end of data).
pub trait Sink {
    /// Takes bytes into memory. Never waits.
    fn body(&mut self, bytes: &[u8]);

    /// Whether so much is held that [`Sink::drain`] should be called before the next [`Sink::body`].
    fn is_full(&self) -> bool;

    /// Moves what is held to its place. May wait for a disk.
    fn drain(&mut self);
}

/// Wakes the host of one session from any thread. Never blocks, may be called under a lock.
pub trait Ring: Send + Sync {
    /// The session is to be told `nudge` soon. Several rings may arrive as one.
    fn ring(&self, nudge: Nudge);
}
