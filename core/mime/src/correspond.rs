//! Address lists in headers (RFC 5322 §3.4, with the obsolete forms of §4.4), as IMAP wants them.
//!
//! Header addresses are what people and programs wrote: everything that can be read as an address is one, and the rest of a broken one is
//! skipped up to the next comma.

use crate::{
    Correspondent,
    lex::{Lex, is_space, trim},
    room::Room,
};
use alloc::{boxed::Box, vec::Vec};

/// Appends the addresses of one field value (unfolded) to `list`, as far as `room` allows.
pub(crate) fn read(value: &[u8], room: &mut Room, list: &mut Vec<Correspondent>) {
    let mut lex = Lex::new(value);
    let mut in_group = false;
    loop {
        let comment = lex.space();
        match lex.peek() {
            None => break,
            Some(b',') => {
                lex.eat(b',');
            }
            Some(b';') => {
                lex.eat(b';');
                if core::mem::take(&mut in_group) && !push(list, room, Correspondent::default()) {
                    return;
                }
            }
            Some(_) => {
                let entry = entry(&mut lex, comment, in_group);
                let opens = entry.host.is_none();
                if !push(list, room, entry) {
                    return;
                }
                in_group |= opens;
            }
        }
    }
    // A group that nobody closed is closed here, or the client would take what follows for its members.
    if in_group {
        push(list, room, Correspondent::default());
    }
}

fn push(list: &mut Vec<Correspondent>, room: &mut Room, who: Correspondent) -> bool {
    let paid = room.pay(cost(&who));
    if paid {
        list.push(who);
    }
    paid
}

/// What an address takes.
pub(crate) fn cost(who: &Correspondent) -> usize {
    let len = |b: &Option<Box<[u8]>>| b.as_ref().map_or(0, |b| b.len() + 16);
    64 + len(&who.name) + len(&who.route) + len(&who.mailbox) + len(&who.host)
}

/// One mailbox, or the start of a group: then there is no host. Groups do not nest, so a colon in one is nothing special.
fn entry(lex: &mut Lex<'_>, before: Option<Vec<u8>>, in_group: bool) -> Correspondent {
    let mut words = Words::default();
    let mut comment = before;
    loop {
        if let Some(text) = lex.space() {
            comment = Some(text);
        }
        match lex.peek() {
            None | Some(b',' | b';') => {
                // A phrase alone: a local part without a domain (it has a host all the same, or it would open a group).
                return bare(words, Vec::new(), comment);
            }
            Some(b'<') => {
                lex.eat(b'<');
                let name = if words.is_empty() { comment } else { Some(words.phrase()) };
                return angle(lex, name);
            }
            Some(b'@') => {
                lex.eat(b'@');
                let host = domain(lex, &mut comment);
                // `a@b <c@d>`: the first is a name that nobody quoted.
                if lex.peek() == Some(b'<') {
                    lex.eat(b'<');
                    let mut name = words.local();
                    name.push(b'@');
                    name.extend_from_slice(&host);
                    return angle(lex, Some(name));
                }
                skip(lex);
                return bare(words, host, comment);
            }
            Some(b':') if !in_group => {
                lex.eat(b':');
                return Correspondent { mailbox: Some(words.phrase().into()), ..Correspondent::default() };
            }
            Some(b'"') => words.push(lex.quoted(), true),
            Some(b'>' | b')' | b':') => {
                let stray = lex.peek().unwrap_or_default();
                lex.eat(stray);
            }
            Some(_) => {
                let atom = lex.until(|b| is_space(b) || matches!(b, b'(' | b')' | b'<' | b'>' | b'@' | b',' | b';' | b':' | b'"'));
                words.push(atom.to_vec(), false);
            }
        }
    }
}

fn bare(words: Words, host: Vec<u8>, comment: Option<Vec<u8>>) -> Correspondent {
    // RFC 822's way to give a name: `joe@example.test (Joe)`.
    Correspondent { name: display(comment), route: None, mailbox: Some(words.local().into()), host: Some(host.into()) }
}

fn display(name: Option<Vec<u8>>) -> Option<Box<[u8]>> {
    let name = name?;
    let name = trim(&name);
    (!name.is_empty()).then(|| name.into())
}

/// What stands after `<`, up to `>` and what follows it in the entry.
fn angle(lex: &mut Lex<'_>, name: Option<Vec<u8>>) -> Correspondent {
    let mut comment = lex.space();
    let mut route = Vec::new();
    if lex.peek() == Some(b'@') {
        // RFC 5322 §4.4, obs-route: `@a,@b:`
        let ahead = lex.clone().until(|b| matches!(b, b':' | b'>'));
        if lex.peek_at(ahead.len()) == Some(b':') {
            route = trim(ahead).to_vec();
            lex.until(|b| b == b':');
            lex.eat(b':');
        }
    }
    let mut words = Words::default();
    let mut host = Vec::new();
    loop {
        if let Some(text) = lex.space() {
            comment = Some(text);
        }
        match lex.peek() {
            None => break,
            Some(b'>') => {
                lex.eat(b'>');
                break;
            }
            Some(b'@') => {
                lex.eat(b'@');
                host = domain(lex, &mut comment);
            }
            Some(b'"') => words.push(lex.quoted(), true),
            // An address that nobody closed: the next one must not be lost with it.
            Some(b',') => break,
            Some(b'<' | b')') => {
                let stray = lex.peek().unwrap_or_default();
                lex.eat(stray);
            }
            Some(_) => {
                let atom = lex.until(|b| is_space(b) || matches!(b, b'(' | b')' | b'<' | b'>' | b'@' | b',' | b'"'));
                words.push(atom.to_vec(), false);
            }
        }
    }
    if let Some(text) = lex.space() {
        comment = Some(text);
    }
    skip(lex);
    Correspondent {
        name: display(name.or(comment)),
        route: (!route.is_empty()).then(|| route.into()),
        mailbox: Some(words.local().into()),
        host: Some(host.into()),
    }
}

/// A domain or a domain literal, white space and comments in it removed (obs-domain).
fn domain(lex: &mut Lex<'_>, comment: &mut Option<Vec<u8>>) -> Vec<u8> {
    let mut host = Vec::new();
    loop {
        let before = host.len();
        if let Some(text) = lex.space() {
            *comment = Some(text);
        }
        if lex.peek() == Some(b'[') {
            host.extend_from_slice(lex.until(|b| matches!(b, b']' | b'>' | b',')));
            if lex.eat(b']') {
                host.push(b']');
            }
        } else if host.is_empty() || host.ends_with(b".") || lex.peek() == Some(b'.') {
            host.extend_from_slice(
                lex.until(|b| is_space(b) || matches!(b, b'(' | b')' | b'<' | b'>' | b'@' | b',' | b';' | b':' | b'"' | b'[')),
            );
        }
        if host.len() == before {
            return host;
        }
    }
}

/// Over what is left of an entry, up to what separates it from the next.
fn skip(lex: &mut Lex<'_>) {
    loop {
        lex.space();
        match lex.peek() {
            None | Some(b',' | b';') => return,
            Some(b'"') => {
                lex.quoted();
            }
            Some(b) => {
                lex.eat(b);
            }
        }
    }
}

/// The words of a phrase or a local part.
#[derive(Default)]
struct Words {
    text: Vec<u8>,
    /// Where a space was between words.
    gaps: Vec<usize>,
}

impl Words {
    fn is_empty(&self) -> bool {
        self.text.is_empty() && self.gaps.is_empty()
    }

    fn push(&mut self, word: Vec<u8>, quoted: bool) {
        if !self.is_empty() || quoted {
            self.gaps.push(self.text.len());
        }
        self.text.extend_from_slice(&word);
    }

    /// As a display name: words with one space between them.
    fn phrase(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.text.len() + self.gaps.len());
        let mut from = 0;
        for &gap in &self.gaps {
            out.extend_from_slice(&self.text[from..gap]);
            if gap > 0 {
                out.push(b' ');
            }
            from = gap;
        }
        out.extend_from_slice(&self.text[from..]);
        out
    }

    /// As a local part: dots may have space around them (obs-local-part); any other gap is one space.
    fn local(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.text.len());
        let mut from = 0;
        for &gap in &self.gaps {
            out.extend_from_slice(&self.text[from..gap]);
            if gap > 0 && !out.ends_with(b".") && self.text.get(gap) != Some(&b'.') {
                out.push(b' ');
            }
            from = gap;
        }
        out.extend_from_slice(&self.text[from..]);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{format, string::String};

    fn show(value: &[u8]) -> String {
        let mut list = Vec::new();
        read(value, &mut Room::new(), &mut list);
        let text = |b: &Option<Box<[u8]>>| b.as_ref().map_or(String::from("-"), |b| String::from_utf8_lossy(b).into_owned());
        let rows: Vec<String> =
            list.iter().map(|c| format!("{}|{}|{}|{}", text(&c.name), text(&c.route), text(&c.mailbox), text(&c.host))).collect();
        rows.join(" ; ")
    }

    #[test]
    fn ordinary_addresses() {
        assert_eq!(show(b"joe@example.test"), "-|-|joe|example.test");
        assert_eq!(show(b"Joe Q. Public <john.q.public@example.com>"), "Joe Q. Public|-|john.q.public|example.com");
        assert_eq!(show(b"\"Giant; \\\"Big\\\" Box\" <x@y>, <a@b>"), "Giant; \"Big\" Box|-|x|y ; -|-|a|b");
        assert_eq!(show(b"=?utf-8?q?J=C3=B6?= <j@x>"), "=?utf-8?q?J=C3=B6?=|-|j|x");
        assert_eq!(show(b"joe@example.test (Joe (the) Man)"), "Joe (the) Man|-|joe|example.test");
        assert_eq!(show(b"\"john doe\"@x.test"), "-|-|john doe|x.test");
        assert_eq!(show(b"a@[127.0.0.1], b@x"), "-|-|a|[127.0.0.1] ; -|-|b|x");
    }

    #[test]
    fn groups_open_and_close() {
        assert_eq!(
            show(b"A Group: Ed <joe@where.test>,jdoe@one.test; , x@y"),
            "-|-|A Group|- ; Ed|-|joe|where.test ; -|-|jdoe|one.test ; -|-|-|- ; -|-|x|y"
        );
        assert_eq!(show(b"undisclosed-recipients:;"), "-|-|undisclosed-recipients|- ; -|-|-|-");
        assert_eq!(show(b"never: a@b"), "-|-|never|- ; -|-|a|b ; -|-|-|-");
    }

    #[test]
    fn obsolete_forms() {
        assert_eq!(show(b"Mary <@node.test,@two.test:mary@x.test>"), "Mary|@node.test,@two.test|mary|x.test");
        assert_eq!(show(b"pete . public (c) @ silly . test"), "c|-|pete.public|silly.test");
        assert_eq!(show(b" , ,a@b,,"), "-|-|a|b");
    }

    #[test]
    fn broken_ones_are_read_as_far_as_possible() {
        assert_eq!(show(b"foo"), "-|-|foo|");
        assert_eq!(show(b"Joe <joe@x, b@y"), "Joe|-|joe|x ; -|-|b|y");
        assert_eq!(show(b"me@a.test <you@b.test>"), "me@a.test|-|you|b.test");
        assert_eq!(show(b"<>"), "-|-||");
        assert_eq!(show(b"<@x>"), "-|-||x");
        assert_eq!(show(b"a@b>>, c@d)"), "-|-|a|b ; -|-|c|d");
    }

    #[test]
    fn no_list_takes_more_than_its_room() {
        let mut list = Vec::new();
        read(&b"a,".repeat(100_000), &mut Room::new(), &mut list);
        assert!(list.len() < 1500, "{}", list.len());
    }
}
