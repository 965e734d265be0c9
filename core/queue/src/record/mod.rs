//! What a record of the spool log says.
//!
//! A record is a kind and fields: a tag, a length of four bytes, a body. A reader skips fields it does not know and ignores what follows the
//! last part of a field that it does know, so later versions can say more. A kind with its highest bit set may be skipped by who does not
//! know it; any other unknown kind means that a later version accepted mail which this one must not forget.

mod decode;
mod decode_leave;
mod encode;
mod encode_leave;
mod leave;
mod list;
#[cfg(test)]
mod tests;

pub use leave::{Attempt, Change, Changed, Fate, Remote, Settles, Tells, Traits, Tried, Warned, Wishes};
pub use list::{Attempts, Bases, Indexes, Keywords, Remotes, Targets};

use mail::{Flags, Keyword, Stamp, System};

const ACCEPT: u8 = 1;
const GONE: u8 = 2;
const RENAMED: u8 = 3;
const REMOVED: u8 = 4;
const TRIED: u8 = 5;
const CHANGED: u8 = 6;
const WARNED: u8 = 7;
const TAKEN: u8 = 8;
const RENAMING: u8 = 16;
const REMOVING: u8 = 17;
const NOT_NAMED: u8 = 18;
const NAMED: u8 = 19 | SKIP;
const STILL_RENAMING: u8 = 20;
const STILL_REMOVING: u8 = 21;

/// Without them a message that another program removed comes again, which an older version could not have known either.
const MISSED: u8 = 9 | SKIP;
const BACK: u8 = 10 | SKIP;

/// The bit of a kind that may be skipped.
const SKIP: u8 = 0x80;

/// Tags of fields. A tag means one thing in every kind.
mod tag {
    pub const ID: u8 = 1;
    pub const STAMP: u8 = 2;
    pub const SENDER: u8 = 3;
    pub const TRACE: u8 = 4;
    pub const TARGET: u8 = 5;
    pub const WIRE_SIZE: u8 = 6;
    pub const LARGE: u8 = 7;
    pub const PLACE: u8 = 8;
    pub const BASE: u8 = 9;
    pub const TO: u8 = 10;
    pub const REMOTE: u8 = 11;
    pub const WISHES: u8 = 12;
    pub const SETTLES: u8 = 13;
    pub const TRAITS: u8 = 14;
    pub const AT: u8 = 15;
    pub const PEER: u8 = 16;
    pub const ATTEMPT: u8 = 17;
    pub const CHANGE: u8 = 18;
    pub const FILE: u8 = 19;
    pub const BOUNDS: u8 = 24;
    /// The last field, so that all before it can be made without copying the content.
    pub const INLINE: u8 = 255;
}

/// A record. It is decoded and looked at, never kept, so its size is no matter.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Record<'a> {
    /// A message was accepted for mailboxes, for recipients elsewhere, or both.
    Accept(Accept<'a>),
    /// Messages were removed from a mailbox for good.
    Gone(Gone<'a>),
    /// Files of messages were missed from a mailbox: another program removed or moved them. Nothing is to be removed, for they may come back.
    Missed(Gone<'a>),
    /// Files that were missed are back.
    Back(Gone<'a>),
    /// A mailbox has another name now, and so have those below it.
    Renamed {
        /// Whose.
        account: &'a str,
        /// The name it had, levels joined by `/`.
        from: &'a str,
        /// The name it has.
        to: &'a str,
        /// When that is done.
        doing: Doing,
    },
    /// A mailbox was removed with all that was in it, but not those below it.
    Removed {
        /// Whose.
        account: &'a str,
        /// Its name, levels joined by `/`.
        mailbox: &'a str,
        /// When that is done.
        doing: Doing,
    },
    /// The last change of names of this account could not be done, and its mailboxes are called what they were called before.
    NotNamed {
        /// Whose.
        account: &'a str,
    },
    /// All changes of names of this account so far are done, and no crash undoes them.
    Named {
        /// Whose.
        account: &'a str,
    },
    /// It was tried to send a message to recipients elsewhere.
    Tried(Tried<'a>),
    /// An operator changed what becomes of a message.
    Changed(Changed<'a>),
    /// A sender need not be told again that a message is late.
    Warned(Warned),
    /// A message that a program of this host left in a file was accepted, and the file may still be there.
    Taken {
        /// Which file.
        file: Dropped<'a>,
    },
    /// Written by a later version.
    Unknown {
        /// Its kind.
        kind: u8,
        /// Whether nothing is lost by not knowing it. If not, do not go on: mail may hang on it.
        skip: bool,
    },
}

/// When a change of names is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// It was done when the record was written, as versions of long ago had it.
    Done,
    /// It is done afterwards, and a crash may have come first.
    Next,
    /// It could not be done since a record said so that the log need not keep any longer. Whatever was written behind that one has the names that follow
    /// from it: only the directories are still to be renamed or removed.
    Still,
}

/// A message that was accepted. Once such a record is durable the client has been promised that the message is in these mailboxes, and that each
/// remote recipient gets it or its sender hears why not.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Accept<'a> {
    /// The entry's id, as in logs, replies and names of files.
    pub id: u64,
    /// When it was accepted.
    pub stamp: Stamp,
    /// The reverse path as printed; `None` is `<>`, or nobody knows (APPEND).
    pub sender: Option<&'a str>,
    /// How it came; `None` for APPEND.
    pub trace: Option<Trace<'a>>,
    /// The mailboxes it goes to.
    pub targets: Targets<'a>,
    /// The recipients elsewhere that it is to be sent to. Their places in this list are their numbers in all later records.
    pub remotes: Remotes<'a>,
    /// What its sender wishes.
    pub wishes: Wishes<'a>,
    /// The file that a program of this host left it in, as [`Record::Taken`] names it: whoever finds the file again must not accept it again.
    pub file: Option<Dropped<'a>>,
    /// What is settled by its being accepted, for it is a report; in the same record, so that no crash comes between the two.
    pub settles: Option<Settles<'a>>,
    /// What whoever sends or reports on it must know of its content.
    pub traits: Traits,
    /// Its octets on the wire, with CRLF line ends.
    pub wire_size: u64,
    /// Its bytes as they are stored.
    pub content: Content<'a>,
}

/// A file that a program of this host left. Its name alone does not say which: programs use names again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dropped<'a> {
    /// Its name.
    pub name: &'a str,
    /// What tells it from another file of the same name; nothing where only the name was written down.
    pub mark: Option<FileMark>,
}

/// What tells a file from others that have, or had, its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileMark {
    /// Its inode, which another file may have once it is gone.
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// When it was last written to, in nanoseconds since 1970.
    pub modified_ns: i64,
}

/// Nothing in it: what is written out says what a record has.
impl Default for Accept<'_> {
    fn default() -> Self {
        Accept {
            id: 0,
            stamp: Stamp::utc(0),
            sender: None,
            trace: None,
            targets: Targets::NONE,
            remotes: Remotes::NONE,
            wishes: Wishes::default(),
            file: None,
            settles: None,
            traits: Traits::default(),
            wire_size: 0,
            content: Content::Inline(&[]),
        }
    }
}

/// How a message came, for those who have to tell about it later (bounces, `mailq`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Trace<'a> {
    /// What the client called itself.
    pub helo: &'a str,
    /// The client's address.
    pub peer: &'a str,
    /// The `with` keyword of `Received:`.
    pub with: &'a str,
    /// Who logged in; empty if nobody did.
    pub login: &'a str,
    /// Whether the content was declared to be 8BITMIME.
    pub eight_bit: bool,
    /// Whether the client said SMTPUTF8.
    pub utf8: bool,
}

/// Where the bytes of a message are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content<'a> {
    /// In the record.
    Inline(&'a [u8]),
    /// In the spool's large file of that id.
    Large {
        /// The name of the file.
        id: u64,
        /// Its length in bytes.
        size: u64,
        /// Its CRC-32; an earlier version wrote none.
        sum: Option<u32>,
    },
}

/// One mailbox that a message goes to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Target<'a> {
    /// Whose.
    pub account: &'a str,
    /// The mailbox, levels joined by `/`.
    pub mailbox: &'a str,
    /// The Maildir name without its flags; the same at every attempt, so that a message is never delivered twice.
    pub base: &'a str,
    /// The forward path that named this mailbox, as printed; empty for APPEND.
    pub recipient: &'a str,
    /// Flags.
    pub system: System,
    /// Keywords.
    pub keywords: Keywords<'a>,
    /// Internal date.
    pub date: Stamp,
    /// The numbering that the next field belongs to; 0 if the mailbox could not be read, so that no number of it was used.
    pub uid_validity: u32,
    /// UIDs up to and including this one may have been used when this record was written.
    pub uid_upto: u32,
    /// Change numbers up to and including this one may have been used.
    pub mod_seq_upto: u64,
}

impl Target<'_> {
    /// Flags and keywords together. A keyword that is none (of a later, laxer version) is left out.
    pub fn flags(&self) -> Flags {
        Flags { system: self.system, keywords: self.keywords.iter().filter_map(Keyword::new).collect() }
    }
}

/// Messages that were removed for good from one mailbox, or are missed from it or back in it, by their Maildir names without flags.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gone<'a> {
    /// Whose.
    pub account: &'a str,
    /// The mailbox, levels joined by `/`.
    pub mailbox: &'a str,
    /// The names. Bytes, because other programs name files as they like.
    pub bases: Bases<'a>,
    /// Numbers of the mailbox that may have been used, if the records that said so are not kept.
    pub bounds: Option<Reserved>,
}

/// Numbers that may have been used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reserved {
    /// The numbering; 0 if it is not known.
    pub uid_validity: u32,
    /// UIDs up to and including this one.
    pub uid_upto: u32,
    /// Change numbers up to and including this one.
    pub mod_seq_upto: u64,
}

/// Why bytes are no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotRecord {
    /// They end too early.
    Short,
    /// Something in them is over its limit.
    Limit,
    /// A text is not UTF-8.
    Text,
    /// A field that every record of the kind has is not there.
    Missing,
}
