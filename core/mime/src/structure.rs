//! What a message is made of: enough for ENVELOPE, BODYSTRUCTURE and BODY[section] without reading it again.

use alloc::{boxed::Box, vec::Vec};
use mail::Span;

/// A message, taken apart once, when it is delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Structure {
    /// From the top header.
    pub envelope: Envelope,
    /// The message itself as a part: its header and its body.
    pub root: Part,
}

/// The header fields that ENVELOPE prints (RFC 3501 §7.4.2): unfolded, raw bytes otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Envelope {
    /// `Date:`
    pub date: Option<Box<[u8]>>,
    /// `Subject:`
    pub subject: Option<Box<[u8]>>,
    /// `From:`
    pub from: Vec<Correspondent>,
    /// `Sender:`; empty if absent (the printer falls back to `from`)
    pub sender: Vec<Correspondent>,
    /// `Reply-To:`; empty if absent (the printer falls back to `from`)
    pub reply_to: Vec<Correspondent>,
    /// `To:`
    pub to: Vec<Correspondent>,
    /// `Cc:`
    pub cc: Vec<Correspondent>,
    /// `Bcc:`
    pub bcc: Vec<Correspondent>,
    /// `In-Reply-To:`
    pub in_reply_to: Option<Box<[u8]>>,
    /// `Message-ID:`
    pub message_id: Option<Box<[u8]>>,
}

/// An address in a header, as IMAP sees it. A group starts with one that has a `mailbox` (its name) and no `host` and ends with one that has
/// neither (RFC 3501 §7.4.2).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Correspondent {
    /// The display name, encoded words as they stand.
    pub name: Option<Box<[u8]>>,
    /// The obsolete source route.
    pub route: Option<Box<[u8]>>,
    /// The local part, or the name of a group.
    pub mailbox: Option<Box<[u8]>>,
    /// The domain.
    pub host: Option<Box<[u8]>>,
}

/// A part of a message. Also the message itself, and a message within one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its header with the empty line that ends it. `at` counts from the start of the stored (outermost) message.
    pub header: Span,
    /// Its body. The line end before a boundary belongs to the boundary (RFC 2046 §5.1.1).
    pub body: Span,
    /// Lines in the body: line ends, and one more if it does not end with one.
    pub lines: u64,
    /// Media type and subtype, as spelled; `text`, `plain` if there is none or it cannot be understood (RFC 2045 §5.2), `message`,
    /// `rfc822` in a `multipart/digest`.
    pub media: Media,
    /// Parameters of `Content-Type`; if it is absent, `charset` `us-ascii` (RFC 3501's examples print it).
    pub params: Vec<Param>,
    /// `Content-ID`
    pub id: Option<Box<[u8]>>,
    /// `Content-Description`
    pub description: Option<Box<[u8]>>,
    /// `Content-Transfer-Encoding`; `7bit` if absent.
    pub encoding: Box<[u8]>,
    /// `Content-MD5`
    pub md5: Option<Box<[u8]>>,
    /// `Content-Disposition`
    pub disposition: Option<Disposition>,
    /// `Content-Language`
    pub language: Vec<Box<[u8]>>,
    /// `Content-Location`
    pub location: Option<Box<[u8]>>,
    /// What is inside.
    pub kind: Kind,
}

/// A parameter's name and value as they stand in the field: those of RFC 2231 are for the reader to put together.
pub type Param = (Box<[u8]>, Box<[u8]>);

/// Media type and subtype.
pub type Media = (Box<[u8]>, Box<[u8]>);

/// `Content-Disposition` (RFC 2183).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disposition {
    /// `attachment`, `inline` ...
    pub kind: Box<[u8]>,
    /// `filename` ...
    pub params: Vec<Param>,
}

/// What a part holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Content: text, an image, anything that is not taken apart (also what lies deeper or later than the limits allow).
    Leaf,
    /// `message/rfc822` and `message/global` that are not transfer-encoded: a message.
    Message(Box<Structure>),
    /// `multipart/*`: parts in order; may be empty.
    Multipart(Vec<Part>),
}
