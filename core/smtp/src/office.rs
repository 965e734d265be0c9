//! The questions of an SMTP server.

use alloc::{boxed::Box, vec::Vec};
use mail::{Address, Envelope, Recipient};
use sasl::{Denied, Login, Proof};
use wire::{Fault, Question, Sink, Tls};

/// A question for the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// Is this who they say they are?
    Login(Proof),
    /// May a transaction begin with this reverse path (`None` is `<>`) and, if declared, this size in octets?
    Sender(Option<Address>, Option<u64>),
    /// Is mail for this forward path taken?
    Recipient(Recipient),
    /// A message begins; its bytes go to the sink. Ends with `Commit` or `Abandon`.
    Open(Start),
    /// The message is whole: make it durable and deliver it.
    Commit,
    /// Forget the open message. Nobody ever promised to deliver it.
    Abandon(Loss),
}

/// What is known when a message begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// From whom and for whom, and what they wish; times are moments.
    pub envelope: Envelope,
    /// What the client called itself (HELO, EHLO, LHLO); goes into `Received:`.
    pub helo: Box<str>,
    /// The `with` keyword of `Received:` (RFC 3848, 6531): `ESMTPSA`, `LMTP`, `UTF8SMTPS` ...
    pub with: &'static str,
    /// What the client declared of the content.
    pub body: Body,
    /// Whether the client said SMTPUTF8.
    pub utf8: bool,
    /// What the handshake led to, if there was one; for `Received:`.
    pub tls: Option<Tls>,
}

/// The BODY parameter (RFC 6152, 3030).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Body {
    /// `7BIT`, or not said.
    #[default]
    SevenBit,
    /// `8BITMIME`
    EightBit,
    /// `BINARYMIME`: a CR or LF need not end a line, and there may be NUL. Every octet counts.
    Binary,
}

/// Why a message is forgotten before its end was told to anybody. For the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// A bare CR, bare LF or NUL was in it: the client hears 554 5.6.0.
    Broken,
    /// It was larger than is taken here: the client hears 552 5.3.4.
    TooLarge,
    /// The client gave up, went away or was sent away.
    Unfinished,
}

/// The answer to a question, of the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To `Login`.
    Login(Result<Login, Denied>),
    /// To `Sender`.
    Sender(Verdict),
    /// To `Recipient`.
    Recipient(Verdict),
    /// To `Open`.
    Open(Result<(), Fault>),
    /// To `Commit`.
    Commit(Result<Receipt, Refusal>),
    /// To `Abandon`.
    Abandon,
}

/// Whether a path is taken.
pub type Verdict = Result<(), Refusal>;

/// Why a path or a message is refused. Each has its reply and enhanced code (RFC 3463, 5248).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// 550 5.1.1: no such mailbox in a domain that is ours.
    NoMailbox,
    /// 550 5.7.1: the domain is not ours and the client may not relay.
    NoRelay,
    /// 553 5.7.1: the account does not own this sender address.
    NotYours,
    /// 452 4.2.2: the mailbox is over its quota.
    MailboxFull,
    /// 552 5.3.4: the message is larger than is taken here.
    TooLarge,
    /// 452 4.3.1: the disk is full.
    NoRoom,
    /// 554 5.4.6: the message has been here too often (a loop).
    Loop,
    /// 550 5.4.6: the path leads back to itself (aliases, domains, forwards).
    PathLoop,
    /// 550 5.1.2: there is no such domain, or none that mail can be sent to.
    NoDomain,
    /// 556 5.1.10: the domain says that it takes no mail (RFC 7505).
    NullMx,
    /// 550 5.1.8: nothing could be returned to this sender.
    NoSender,
    /// 550 5.2.1: the mailbox takes no mail now.
    Disabled,
    /// 550 5.7.1: a rule of this site forbids it.
    Policy,
    /// 450 4.7.1: too much in too short a time.
    TooMuch,
    /// 452 4.5.3: more recipients than this client may name.
    TooMany,
    /// 451 4.4.3: what has to be known (a domain, a table) cannot be found out now.
    Unknown,
    /// 553 5.6.7: mail for this path needs SMTPUTF8, which was not said.
    NeedsUtf8,
    /// 554 5.6.3: the message is binary, goes where only lines go, and cannot be made into lines.
    Binary,
    /// 451 4.3.0, or for `Never` 554 5.3.0.
    Fault(Fault),
}

/// What became of a committed message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The id to print in the reply and find in the log.
    pub id: Box<str>,
    /// For each recipient of the envelope, in order: delivered or why not. LMTP prints each (RFC 2033 §4.2). SMTP has one reply, so
    /// an SMTP office accepts or refuses the message as a whole and leaves this empty.
    pub each: Vec<Verdict>,
}

/// Whoever answers.
pub trait Office: Sink {
    /// See [`Ask::Login`].
    fn login(&mut self, proof: Proof) -> Result<Login, Denied>;
    /// See [`Ask::Sender`].
    fn sender(&mut self, sender: Option<Address>, size: Option<u64>) -> Verdict;
    /// See [`Ask::Recipient`].
    fn recipient(&mut self, recipient: Recipient) -> Verdict;
    /// See [`Ask::Open`].
    fn open(&mut self, start: Start) -> Result<(), Fault>;
    /// See [`Ask::Commit`].
    fn commit(&mut self) -> Result<Receipt, Refusal>;
    /// See [`Ask::Abandon`].
    fn abandon(&mut self, loss: Loss);
}

impl<O: Office> Question<O> for Ask {
    type Answer = Answer;

    fn put_to(self, office: &mut O) -> Answer {
        match self {
            Ask::Login(proof) => Answer::Login(office.login(proof)),
            Ask::Sender(sender, size) => Answer::Sender(office.sender(sender, size)),
            Ask::Recipient(recipient) => Answer::Recipient(office.recipient(recipient)),
            Ask::Open(start) => Answer::Open(office.open(start)),
            Ask::Commit => Answer::Commit(office.commit()),
            Ask::Abandon(loss) => {
                office.abandon(loss);
                Answer::Abandon
            }
        }
    }

    fn waits(&self) -> bool {
        // How full a mailbox is may have to be counted.
        matches!(self, Ask::Login(_) | Ask::Recipient(_) | Ask::Commit | Ask::Abandon(_))
    }
}
