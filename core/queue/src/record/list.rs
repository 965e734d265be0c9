//! The lists in a record: what its maker gave, or checked bytes that are taken apart one item at a time.

use super::{Target, decode};
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
