//! The nouns of mail: addresses, flags, identifiers, stamps, mailbox names, spans.
//!
//! There is no protocol here, no syntax of a wire and no file: parsing an address off an SMTP line belongs to `smtp`,
//! turning a mailbox name into a directory belongs to `maildir`.
#![no_std]

extern crate alloc;

mod address;
mod envelope;
mod flags;
mod ids;
mod name;
mod span;
mod stamp;

pub use address::Address;
pub use envelope::{By, Envelope, Notify, Recipient, Ret, Wishes};
pub use flags::{Flags, Keyword, System};
pub use ids::{ModSeq, Uid, UidValidity};
pub use name::{MailboxName, NameError, SpecialUse};
pub use span::Span;
pub use stamp::{Civil, Stamp};
