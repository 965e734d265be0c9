//! The questions of an IMAP server.

use alloc::{boxed::Box, sync::Arc, vec::Vec};
use mail::{Flags, Keyword, MailboxName, ModSeq, Span, SpecialUse, Stamp, Uid, UidValidity};
use sasl::{Denied, Login, Proof};
use wire::{Fault, Question, Sink};

/// A question for the host. Those below `Select` speak of the selected mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// Is this who they say they are?
    Login(Proof),
    /// Every mailbox of the account, sorted by name, and subscribed names that do not exist.
    List,
    /// Make a mailbox.
    Create(MailboxName, Option<SpecialUse>),
    /// Remove a mailbox and its messages.
    Delete(MailboxName),
    /// Rename a mailbox and those below it. Renaming INBOX moves its messages (RFC 3501 §6.3.5).
    Rename(MailboxName, MailboxName),
    /// Subscribe (true) or unsubscribe.
    Subscribe(MailboxName, bool),
    /// Count without selecting.
    Status(MailboxName),
    /// Open a mailbox; `true` for read-only (EXAMINE).
    Select(MailboxName, bool),
    /// Close the selected mailbox without removing anything.
    Unselect,
    /// What changed since `Select` or the last `Sync`, by whomever; the effects of this session's own questions are included.
    Sync,
    /// Ring the bell on changes (IDLE), or no longer.
    Watch(bool),
    /// Facts about messages: UIDs in ascending order, at most 64 if a structure or a size is needed, otherwise at most 1024.
    Describe(Vec<Uid>, Need),
    /// Fill `buf` up to its capacity with wire octets (CRLF line ends) of `span` of a message, from wire octet `at` of the span on.
    /// An answer shorter than the capacity is the end of the span.
    Read {
        /// Which message.
        uid: Uid,
        /// Which piece of it.
        span: Span,
        /// First wire octet within the piece.
        at: u64,
        /// Empty; lent, and given back in the answer.
        buf: Vec<u8>,
    },
    /// Change flags of messages.
    Store(Vec<Uid>, Change, Flags),
    /// Remove for good those of these messages (all, if `None`) that have `\Deleted`. Durable when answered.
    Expunge(Option<Vec<Uid>>),
    /// Copy messages into another mailbox, all or none. Durable when answered.
    Copy(Vec<Uid>, MailboxName),
    /// Move messages into another mailbox (RFC 6851), all or none. Durable when answered.
    Move(Vec<Uid>, MailboxName),
    /// A message of that many octets is to come; may it? Its bytes go to the sink. Ends with `Commit` or `Abandon`.
    Append(Upload),
    /// The appended message is whole: make it durable.
    Commit,
    /// Forget the appended message.
    Abandon,
}

/// An APPEND that was announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// Where it goes.
    pub mailbox: MailboxName,
    /// Its flags.
    pub flags: Flags,
    /// Its internal date; now, if not given.
    pub date: Option<Stamp>,
    /// Its literal's length in octets.
    pub size: u64,
}

/// How `Store` changes flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// `FLAGS`
    Replace,
    /// `+FLAGS`
    Add,
    /// `-FLAGS`
    Remove,
}

/// What `Describe` has to find out beyond what the index holds (UID, flags, change number).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Need {
    /// [`Detail::span`]; may read the file of a message that nobody measured yet.
    pub size: bool,
    /// [`Detail::date`].
    pub date: bool,
    /// [`Detail::structure`].
    pub structure: bool,
}

/// A mailbox in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: MailboxName,
    /// Whether it can be selected; false for a level that only holds others, and for a subscribed name without a mailbox.
    pub exists: bool,
    /// Whether it is subscribed to.
    pub subscribed: bool,
    /// What it is for.
    pub special_use: Option<SpecialUse>,
}

/// Counts of a mailbox (STATUS).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// MESSAGES
    pub messages: u32,
    /// RECENT
    pub recent: u32,
    /// UNSEEN
    pub unseen: u32,
    /// UIDNEXT
    pub uid_next: Uid,
    /// UIDVALIDITY
    pub uid_validity: UidValidity,
    /// HIGHESTMODSEQ
    pub highest_mod_seq: ModSeq,
    /// SIZE: the sum of RFC822.SIZE
    pub size: u64,
}

/// A mailbox that was selected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selected {
    /// Its UIDs, ascending.
    pub uids: Vec<Uid>,
    /// Those that are recent to this session, ascending.
    pub recent: Vec<Uid>,
    /// The first that is not seen.
    pub first_unseen: Option<Uid>,
    /// Keywords in use.
    pub keywords: Vec<Keyword>,
    /// The next UID.
    pub uid_next: Uid,
    /// The numbering.
    pub uid_validity: UidValidity,
    /// The greatest change number.
    pub highest_mod_seq: ModSeq,
    /// Whether nothing can be changed although it was not asked for.
    pub read_only: bool,
}

/// What changed in the selected mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// UIDs that are gone, ascending.
    pub gone: Vec<Uid>,
    /// UIDs that are new, ascending, all greater than those before.
    pub new: Vec<Uid>,
    /// Those of `new` that are recent to this session.
    pub recent: Vec<Uid>,
    /// Messages that were there before and whose flags changed, ascending.
    pub flags: Vec<(Uid, Flags, ModSeq)>,
    /// The mailbox itself is gone, or its numbering is not the same any more: the session ends the connection.
    pub lost: bool,
}

/// Facts about a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detail {
    /// Which.
    pub uid: Uid,
    /// Its flags.
    pub flags: Flags,
    /// The number of its last change.
    pub mod_seq: ModSeq,
    /// The whole message; `span.wire` is RFC822.SIZE. Zero if not asked for.
    pub span: Span,
    /// INTERNALDATE. The epoch if not asked for.
    pub date: Stamp,
    /// Envelope and body structure, if asked for.
    pub structure: Option<Arc<mime::Structure>>,
}

/// What COPYUID and APPENDUID tell (RFC 4315).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// The numbering of the target.
    pub uid_validity: UidValidity,
    /// Each source UID with its new one, in the order they were copied.
    pub uids: Vec<(Uid, Uid)>,
}

/// Why something is refused. Each has its response code (RFC 3501 §7.1, 5530).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// `[NONEXISTENT]`; in COPY, MOVE and APPEND `[TRYCREATE]`.
    NoMailbox,
    /// `[ALREADYEXISTS]`
    Exists,
    /// `[CANNOT]`: not with this name (INBOX, no room for children, not possible on this disk).
    Cannot,
    /// `[NOPERM]`: the mailbox is read-only.
    ReadOnly,
    /// `[OVERQUOTA]`
    OverQuota,
    /// `[TOOBIG]`: larger than is taken here.
    TooLarge,
    /// `[LIMIT]`: too many keywords or mailboxes.
    Limit,
    /// `[EXPUNGEISSUED]`: some of the messages are gone.
    Gone,
    /// `[UNAVAILABLE]`, or for `Never` `[SERVERBUG]`.
    Fault(Fault),
}

/// The answer to a question, of the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To `Login`.
    Login(Result<Login, Denied>),
    /// To `List`.
    List(Result<Vec<Listed>, Refusal>),
    /// To `Create`, `Delete`, `Rename`, `Subscribe`.
    Done(Result<(), Refusal>),
    /// To `Status`.
    Status(Result<Counts, Refusal>),
    /// To `Select`.
    Select(Result<Box<Selected>, Refusal>),
    /// To `Unselect`, `Watch` and `Abandon`.
    Heard,
    /// To `Sync`.
    Sync(Result<Changes, Refusal>),
    /// To `Describe`: those of the messages that are still there, in the order asked for.
    Describe(Result<Vec<Detail>, Refusal>),
    /// To `Read`.
    Read(Result<Vec<u8>, Refusal>),
    /// To `Store`: the flags of those messages that are still there, in the order asked for.
    Store(Result<Vec<(Uid, Flags, ModSeq)>, Refusal>),
    /// To `Expunge`: the UIDs that are gone.
    Expunge(Result<Vec<Uid>, Refusal>),
    /// To `Copy`.
    Copy(Result<Copied, Refusal>),
    /// To `Move`: the sources are gone now (`Sync` reports them too).
    Move(Result<Copied, Refusal>),
    /// To `Append`.
    Append(Result<(), Refusal>),
    /// To `Commit`: the numbering of the mailbox and the UID of the new message.
    Commit(Result<(UidValidity, Uid), Refusal>),
}

/// Whoever answers. Each call is the [`Ask`] of the same name.
#[allow(missing_docs)]
pub trait Office: Sink {
    fn login(&mut self, proof: Proof) -> Result<Login, Denied>;
    fn list(&mut self) -> Result<Vec<Listed>, Refusal>;
    fn create(&mut self, name: MailboxName, special_use: Option<SpecialUse>) -> Result<(), Refusal>;
    fn delete(&mut self, name: MailboxName) -> Result<(), Refusal>;
    fn rename(&mut self, from: MailboxName, to: MailboxName) -> Result<(), Refusal>;
    fn subscribe(&mut self, name: MailboxName, on: bool) -> Result<(), Refusal>;
    fn status(&mut self, name: MailboxName) -> Result<Counts, Refusal>;
    fn select(&mut self, name: MailboxName, read_only: bool) -> Result<Box<Selected>, Refusal>;
    fn unselect(&mut self);
    fn sync(&mut self) -> Result<Changes, Refusal>;
    fn watch(&mut self, on: bool);
    fn describe(&mut self, uids: Vec<Uid>, need: Need) -> Result<Vec<Detail>, Refusal>;
    fn read(&mut self, uid: Uid, span: Span, at: u64, buf: Vec<u8>) -> Result<Vec<u8>, Refusal>;
    fn store(&mut self, uids: Vec<Uid>, change: Change, flags: Flags) -> Result<Vec<(Uid, Flags, ModSeq)>, Refusal>;
    fn expunge(&mut self, uids: Option<Vec<Uid>>) -> Result<Vec<Uid>, Refusal>;
    fn copy(&mut self, uids: Vec<Uid>, to: MailboxName) -> Result<Copied, Refusal>;
    fn move_to(&mut self, uids: Vec<Uid>, to: MailboxName) -> Result<Copied, Refusal>;
    fn append(&mut self, upload: Upload) -> Result<(), Refusal>;
    fn commit(&mut self) -> Result<(UidValidity, Uid), Refusal>;
    fn abandon(&mut self);
}

impl<O: Office> Question<O> for Ask {
    type Answer = Answer;

    fn put_to(self, office: &mut O) -> Answer {
        match self {
            Ask::Login(proof) => Answer::Login(office.login(proof)),
            Ask::List => Answer::List(office.list()),
            Ask::Create(name, special_use) => Answer::Done(office.create(name, special_use)),
            Ask::Delete(name) => Answer::Done(office.delete(name)),
            Ask::Rename(from, to) => Answer::Done(office.rename(from, to)),
            Ask::Subscribe(name, on) => Answer::Done(office.subscribe(name, on)),
            Ask::Status(name) => Answer::Status(office.status(name)),
            Ask::Select(name, read_only) => Answer::Select(office.select(name, read_only)),
            Ask::Unselect => {
                office.unselect();
                Answer::Heard
            }
            Ask::Sync => Answer::Sync(office.sync()),
            Ask::Watch(on) => {
                office.watch(on);
                Answer::Heard
            }
            Ask::Describe(uids, need) => Answer::Describe(office.describe(uids, need)),
            Ask::Read { uid, span, at, buf } => Answer::Read(office.read(uid, span, at, buf)),
            Ask::Store(uids, change, flags) => Answer::Store(office.store(uids, change, flags)),
            Ask::Expunge(uids) => Answer::Expunge(office.expunge(uids)),
            Ask::Copy(uids, to) => Answer::Copy(office.copy(uids, to)),
            Ask::Move(uids, to) => Answer::Move(office.move_to(uids, to)),
            Ask::Append(upload) => Answer::Append(office.append(upload)),
            Ask::Commit => Answer::Commit(office.commit()),
            Ask::Abandon => {
                office.abandon();
                Answer::Heard
            }
        }
    }

    fn waits(&self) -> bool {
        // Also those that only need the lock of a mailbox: somebody may hold it who reads the disk.
        true
    }
}
