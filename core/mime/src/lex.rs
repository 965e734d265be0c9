//! The words of structured header fields (RFC 5322 §3.2): white space, comments, quoted strings. Input is unfolded.

use alloc::vec::Vec;

/// A reader over one field value. It never fails: what is broken ends where the value ends.
#[derive(Clone)]
pub(crate) struct Lex<'a> {
    rest: &'a [u8],
}

pub(crate) const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Without white space at either end.
pub(crate) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && is_space(*first)
    {
        bytes = rest;
    }
    while let [rest @ .., last] = bytes
        && is_space(*last)
    {
        bytes = rest;
    }
    bytes
}

impl<'a> Lex<'a> {
    pub(crate) const fn new(value: &'a [u8]) -> Lex<'a> {
        Lex { rest: value }
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    pub(crate) fn is_done(&self) -> bool {
        self.rest.is_empty()
    }

    /// The byte after the next `n`.
    pub(crate) fn peek_at(&self, n: usize) -> Option<u8> {
        self.rest.get(n).copied()
    }

    /// Steps over `byte` if it is next.
    pub(crate) fn eat(&mut self, byte: u8) -> bool {
        let eaten = self.peek() == Some(byte);
        if eaten {
            self.rest = &self.rest[1..];
        }
        eaten
    }

    /// The bytes up to the first for which `stop` holds.
    pub(crate) fn until(&mut self, stop: impl Fn(u8) -> bool) -> &'a [u8] {
        let at = self.rest.iter().position(|b| stop(*b)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(at);
        self.rest = rest;
        taken
    }

    /// Steps over white space and comments; gives the text of the last comment.
    pub(crate) fn space(&mut self) -> Option<Vec<u8>> {
        let mut last = None;
        loop {
            match self.peek() {
                Some(b) if is_space(b) => self.rest = &self.rest[1..],
                Some(b'(') => last = Some(self.comment()),
                _ => return last,
            }
        }
    }

    /// What stands in a quoted string, without its quotes and backslashes. To be called where a `"` is next.
    pub(crate) fn quoted(&mut self) -> Vec<u8> {
        let mut text = Vec::new();
        self.rest = &self.rest[1..];
        while let [byte, rest @ ..] = self.rest {
            self.rest = rest;
            match (byte, rest) {
                (b'"', _) => break,
                (b'\\', [next, rest @ ..]) => {
                    text.push(*next);
                    self.rest = rest;
                }
                _ => text.push(*byte),
            }
        }
        text
    }

    /// What stands in a comment; comments in it keep their parentheses. To be called where a `(` is next.
    fn comment(&mut self) -> Vec<u8> {
        let mut text = Vec::new();
        let mut depth = 0_usize;
        while let [byte, rest @ ..] = self.rest {
            self.rest = rest;
            match (byte, rest) {
                (b'(', _) => {
                    if depth > 0 {
                        text.push(b'(');
                    }
                    depth += 1;
                }
                (b')', _) => {
                    depth -= 1;
                    if depth == 0 {
                        break;
                    }
                    text.push(b')');
                }
                (b'\\', [next, rest @ ..]) => {
                    text.push(*next);
                    self.rest = rest;
                }
                _ => text.push(*byte),
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_nest_and_quotes_escape() {
        let mut lex = Lex::new(b" (a (b) \\) c) \"x\\\"y\" z");
        assert_eq!(lex.space().unwrap(), b"a (b) ) c");
        assert_eq!(lex.quoted(), b"x\"y");
        assert_eq!(lex.space(), None);
        assert_eq!(lex.until(|_| false), b"z");
        assert!(lex.is_done());
    }

    #[test]
    fn what_never_ends_ends_with_the_value() {
        assert_eq!(Lex::new(b"(((a").space().unwrap(), b"((a");
        assert_eq!(Lex::new(b"\"a\\").quoted(), b"a\\");
    }
}
