//! The text of a header that passes by.

use super::{seek::Seeker, words::Words};
use crate::lex::trim;
use alloc::{boxed::Box, vec::Vec};

/// Longest field name that is told apart, in bytes (RFC 5322 §2.1.1).
const NAME: usize = 998;

/// Feeds a header to a seeker: all of it, or only the values of fields of one name. No needle spans two fields.
pub(super) struct HeaderText {
    /// None for everything.
    only: Option<Box<[u8]>>,
    /// The name of the current field as far as it was read, while it is not whole and matters.
    name: Vec<u8>,
    state: State,
    words: Words,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// At the start of a line; whether the field before it is searched.
    Line(bool),
    /// In a name that has to be compared.
    Name,
    /// In the rest of a line; whether it is searched.
    Rest(bool),
}

impl HeaderText {
    pub(super) const fn all() -> HeaderText {
        HeaderText { only: None, name: Vec::new(), state: State::Line(false), words: Words::new() }
    }

    pub(super) fn only(name: &[u8]) -> HeaderText {
        HeaderText { only: Some(name.into()), ..HeaderText::all() }
    }

    pub(super) fn feed(&mut self, header: &[u8], seeker: &mut Seeker) {
        let mut rest = header;
        while let Some(&byte) = rest.first() {
            match self.state {
                State::Line(wanted) if matches!(byte, b' ' | b'\t') => self.state = State::Rest(wanted),
                State::Line(wanted) => {
                    if wanted {
                        self.field_ends(seeker);
                    }
                    self.state = if self.only.is_some() { State::Name } else { State::Rest(true) };
                }
                State::Name => {
                    rest = &rest[1..];
                    self.in_name(byte, seeker);
                }
                State::Rest(wanted) => {
                    let n = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
                    if wanted {
                        self.words.feed(&rest[..n], seeker);
                    }
                    if rest[n - 1] == b'\n' {
                        self.state = State::Line(wanted);
                    }
                    rest = &rest[n..];
                }
            }
        }
    }

    pub(super) fn finish(&mut self, seeker: &mut Seeker) {
        self.field_ends(seeker);
    }

    fn in_name(&mut self, byte: u8, seeker: &mut Seeker) {
        match byte {
            b':' => {
                let wanted = self.only.as_deref().is_some_and(|only| trim(&self.name).eq_ignore_ascii_case(only));
                if wanted {
                    seeker.touch();
                }
                self.state = State::Rest(wanted);
                self.name.clear();
            }
            b'\n' => {
                self.state = State::Line(false);
                self.name.clear();
            }
            _ if self.name.len() == NAME => {
                self.state = State::Rest(false);
                self.name.clear();
            }
            _ => self.name.push(byte),
        }
    }

    fn field_ends(&mut self, seeker: &mut Seeker) {
        self.words.finish(seeker);
        seeker.stop();
    }
}
