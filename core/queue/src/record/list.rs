//! The lists in a record: what its maker gave, or checked bytes that are taken apart one item at a time.

use super::{Attempt, Remote, Target, decode, decode_leave};
use crate::wire::Cursor;
use alloc::collections::BTreeSet;
use mail::Keyword;

/// The targets of a message.
#[derive(Debug, Clone, Copy)]
pub struct Targets<'a>(Source<'a, [Target<'a>]>);

/// The keywords of a target.
#[derive(Debug, Clone, Copy)]
pub struct Keywords<'a>(Source<'a, BTreeSet<Keyword>>);

/// The names of removed messages.
#[derive(Debug, Clone, Copy)]
pub struct Bases<'a>(Source<'a, [&'a [u8]]>);

/// The recipients elsewhere of a message.
#[derive(Debug, Clone, Copy)]
pub struct Remotes<'a>(Source<'a, [Remote<'a>]>);

/// What came of an attempt, recipient by recipient.
#[derive(Debug, Clone, Copy)]
pub struct Attempts<'a>(Source<'a, [Attempt<'a>]>);

/// Numbers of recipients.
#[derive(Debug, Clone, Copy)]
pub struct Indexes<'a>(Source<'a, [u16]>);

/// Where a list comes from.
#[derive(Debug)]
enum Source<'a, T: ?Sized> {
    /// From the maker of the record.
    Maker(&'a T),
    /// From a record, checked.
    Record(&'a [u8]),
}

impl<T: ?Sized> Clone for Source<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: ?Sized> Copy for Source<'_, T> {}

impl<'a> Targets<'a> {
    /// No mailbox.
    pub const NONE: Targets<'static> = Targets(Source::Record(&[]));

    /// A list to encode.
    pub const fn new(targets: &'a [Target<'a>]) -> Targets<'a> {
        Targets(Source::Maker(targets))
    }

    /// `fields` are all fields of a record; those that are targets have been checked.
    pub(super) const fn read(fields: &'a [u8]) -> Targets<'a> {
        Targets(Source::Record(fields))
    }

    /// Each target.
    pub fn iter(self) -> impl Iterator<Item = Target<'a>> {
        let (given, fields) = match self.0 {
            Source::Maker(list) => (list, &[][..]),
            Source::Record(fields) => (&[][..], fields),
        };
        let mut rest = Cursor(fields);
        let read =
            core::iter::from_fn(move || decode::next_field(&mut rest, super::tag::TARGET)).filter_map(|body| decode::target(body).ok());
        given.iter().copied().chain(read)
    }
}

impl<'a> Keywords<'a> {
    /// No keyword.
    pub const NONE: Keywords<'static> = Keywords(Source::Record(&[]));

    /// A set to encode.
    pub const fn new(keywords: &'a BTreeSet<Keyword>) -> Keywords<'a> {
        Keywords(Source::Maker(keywords))
    }

    pub(super) const fn read(texts: &'a [u8]) -> Keywords<'a> {
        Keywords(Source::Record(texts))
    }

    /// Each keyword.
    pub fn iter(self) -> impl Iterator<Item = &'a str> {
        let (given, texts) = match self.0 {
            Source::Maker(set) => (Some(set), &[][..]),
            Source::Record(texts) => (None, texts),
        };
        let mut rest = Cursor(texts);
        let read = core::iter::from_fn(move || rest.text(Keyword::MAX).ok());
        given.into_iter().flatten().map(Keyword::as_str).chain(read)
    }
}

impl<'a> Bases<'a> {
    /// A list to encode.
    pub const fn new(bases: &'a [&'a [u8]]) -> Bases<'a> {
        Bases(Source::Maker(bases))
    }

    pub(super) const fn read(fields: &'a [u8]) -> Bases<'a> {
        Bases(Source::Record(fields))
    }

    /// Each name.
    pub fn iter(self) -> impl Iterator<Item = &'a [u8]> {
        let (given, fields) = match self.0 {
            Source::Maker(list) => (list, &[][..]),
            Source::Record(fields) => (&[][..], fields),
        };
        let mut rest = Cursor(fields);
        let read = core::iter::from_fn(move || decode::next_field(&mut rest, super::tag::BASE)).map(|body| body.0);
        given.iter().copied().chain(read)
    }
}

impl<'a> Remotes<'a> {
    /// Nobody.
    pub const NONE: Remotes<'static> = Remotes(Source::Record(&[]));

    /// A list to encode.
    pub const fn new(remotes: &'a [Remote<'a>]) -> Remotes<'a> {
        Remotes(Source::Maker(remotes))
    }

    pub(super) const fn read(fields: &'a [u8]) -> Remotes<'a> {
        Remotes(Source::Record(fields))
    }

    /// Each recipient.
    pub fn iter(self) -> impl Iterator<Item = Remote<'a>> {
        let (given, fields) = match self.0 {
            Source::Maker(list) => (list, &[][..]),
            Source::Record(fields) => (&[][..], fields),
        };
        let mut rest = Cursor(fields);
        let read = core::iter::from_fn(move || decode::next_field(&mut rest, super::tag::REMOTE))
            .filter_map(|body| decode_leave::remote(body).ok());
        given.iter().copied().chain(read)
    }
}

impl<'a> Attempts<'a> {
    /// A list to encode.
    pub const fn new(attempts: &'a [Attempt<'a>]) -> Attempts<'a> {
        Attempts(Source::Maker(attempts))
    }

    pub(super) const fn read(fields: &'a [u8]) -> Attempts<'a> {
        Attempts(Source::Record(fields))
    }

    /// Each recipient's.
    pub fn iter(self) -> impl Iterator<Item = Attempt<'a>> {
        let (given, fields) = match self.0 {
            Source::Maker(list) => (list, &[][..]),
            Source::Record(fields) => (&[][..], fields),
        };
        let mut rest = Cursor(fields);
        let read = core::iter::from_fn(move || decode::next_field(&mut rest, super::tag::ATTEMPT))
            .filter_map(|body| decode_leave::attempt(body).ok());
        given.iter().copied().chain(read)
    }
}

impl<'a> Indexes<'a> {
    /// A list to encode.
    pub const fn new(indexes: &'a [u16]) -> Indexes<'a> {
        Indexes(Source::Maker(indexes))
    }

    pub(super) const fn read(pairs: &'a [u8]) -> Indexes<'a> {
        Indexes(Source::Record(pairs))
    }

    /// Each number.
    pub fn iter(self) -> impl Iterator<Item = u16> {
        let (given, pairs) = match self.0 {
            Source::Maker(list) => (list, &[][..]),
            Source::Record(pairs) => (&[][..], pairs),
        };
        given.iter().copied().chain(pairs.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])))
    }
}

impl PartialEq for Remotes<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl PartialEq for Attempts<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl PartialEq for Indexes<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl PartialEq for Targets<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl PartialEq for Keywords<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl PartialEq for Bases<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}
