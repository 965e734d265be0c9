//! The fields of a header: one by one from memory, or filtered while it passes by.

use crate::lex::trim;
use alloc::{boxed::Box, vec::Vec};

/// A field of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its name as spelled; empty if the line is no field (it has no colon).
    pub name: &'a [u8],
    /// What follows the colon, folded, with its last line end.
    pub value: &'a [u8],
}

impl Field<'_> {
    /// Whether it has that name, in any case.
    pub fn is(&self, name: &[u8]) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// The value in one line, without white space at its ends (RFC 5322 §2.2.3).
    pub fn unfolded(&self) -> Vec<u8> {
        let mut line: Vec<u8> = Vec::with_capacity(self.value.len());
        for (i, piece) in self.value.split(|b| *b == b'\n').enumerate() {
            if i > 0 && line.ends_with(b"\r") {
                line.pop();
            }
            line.extend_from_slice(piece);
        }
        trim(&line).into()
    }
}

/// The fields of a header in memory, up to its end or the empty line, whatever the line ends.
pub fn fields(header: &[u8]) -> impl Iterator<Item = Field<'_>> {
    let mut rest = header;
    core::iter::from_fn(move || {
        if rest.is_empty() || rest.starts_with(b"\n") || rest.starts_with(b"\r\n") {
            return None;
        }
        let mut end = 0;
        loop {
            end = memchr::memchr(b'\n', &rest[end..]).map_or(rest.len(), |at| end + at + 1);
            if !matches!(rest.get(end), Some(b' ' | b'\t')) {
                break;
            }
        }
        let (field, after) = rest.split_at(end);
        rest = after;
        let line = memchr::memchr(b'\n', field).unwrap_or(field.len());
        let colon = memchr::memchr(b':', &field[..line]);
        Some(match colon {
            Some(colon) => Field { name: trim(&field[..colon]), value: &field[colon + 1..] },
            None => Field { name: b"", value: field },
        })
    })
}

/// Chooses fields by name while a header passes by, in bounded memory: what `HEADER.FIELDS` and `HEADER.FIELDS.NOT` give (RFC 3501
/// §6.4.5). Lines that are no field count as fields without a name.
#[derive(Debug, Clone)]
pub struct FieldFilter {
    names: Box<[Box<[u8]>]>,
    not: bool,
    state: State,
    /// The start of a line, while its name is not whole.
    name: Vec<u8>,
    /// Whether the current field is chosen.
    chosen: bool,
    /// The last byte that was chosen.
    last: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// At the start of a line.
    Line,
    /// In a name.
    Name,
    /// In the rest of a line.
    Rest,
    /// Past the empty line.
    Over,
}

/// Longest field name, in bytes: a line may not be longer (RFC 5322 §2.1.1).
const NAME: usize = 998;

impl FieldFilter {
    /// Chooses the fields with these names, or with `not` all others.
    pub fn new<N: AsRef<[u8]>>(names: &[N], not: bool) -> FieldFilter {
        let names = names.iter().map(|n| n.as_ref().into()).collect();
        FieldFilter { names, not, state: State::Line, name: Vec::new(), chosen: false, last: b'\n' }
    }

    /// Takes the next bytes of a header and appends to `out` what is chosen, with CRLF line ends: at most the bytes taken, a line feed as
    /// two, and one name.
    pub fn feed(&mut self, header: &[u8], out: &mut Vec<u8>) {
        let mut rest = header;
        while let Some(&byte) = rest.first() {
            match self.state {
                State::Over => return,
                State::Rest => {
                    let n = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
                    self.put(&rest[..n], out);
                    if rest[n - 1] == b'\n' {
                        self.state = State::Line;
                    }
                    rest = &rest[n..];
                }
                State::Line if matches!(byte, b' ' | b'\t') => self.state = State::Rest,
                State::Line | State::Name => {
                    self.state = State::Name;
                    self.name.push(byte);
                    rest = &rest[1..];
                    match byte {
                        b'\n' if matches!(&self.name[..], b"\n" | b"\r\n") => {
                            self.name.clear();
                            self.state = State::Over;
                        }
                        b'\n' => {
                            self.choose(out);
                            self.state = State::Line;
                        }
                        b':' => self.choose(out),
                        _ if self.name.len() == NAME => self.choose(out),
                        _ => {}
                    }
                }
            }
        }
    }

    /// The header is over: appends what was held back and the empty line, which is always there (RFC 3501 §6.4.5).
    pub fn finish(mut self, out: &mut Vec<u8>) {
        if !self.name.is_empty() {
            self.choose(out);
        }
        if self.last != b'\n' {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
    }

    /// The name of the current field is known, or that it has none.
    fn choose(&mut self, out: &mut Vec<u8>) {
        let line = core::mem::take(&mut self.name);
        let name = match line.split_last() {
            Some((b':', name)) => trim(name),
            _ => b"",
        };
        self.chosen = self.names.iter().any(|n| n.eq_ignore_ascii_case(name)) != self.not;
        self.state = State::Rest;
        self.put(&line, out);
    }

    /// Appends a run of the current field that has a line feed at most at its end.
    fn put(&mut self, run: &[u8], out: &mut Vec<u8>) {
        let Some((&last, line)) = run.split_last().filter(|_| self.chosen) else { return };
        out.extend_from_slice(line);
        let before = line.last().copied().unwrap_or(self.last);
        if last == b'\n' && before != b'\r' {
            out.push(b'\r');
        }
        out.push(last);
        self.last = last;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;

    const HEADER: &str = "From x\nSubject: a\n b\nTO : c\r\nX: d\n\te\r\n f\nto: last\n\nbody: no";

    fn filter(header: &str, names: &[&str], not: bool) -> String {
        let mut whole = Vec::new();
        let mut filter = FieldFilter::new(names, not);
        filter.feed(header.as_bytes(), &mut whole);
        filter.finish(&mut whole);
        let mut cut = Vec::new();
        let mut filter = FieldFilter::new(names, not);
        header.bytes().for_each(|b| filter.feed(&[b], &mut cut));
        filter.finish(&mut cut);
        assert_eq!(whole, cut);
        String::from_utf8(whole).unwrap()
    }

    #[test]
    fn fields_one_by_one() {
        let all: Vec<Field<'_>> = fields(HEADER.as_bytes()).collect();
        assert_eq!(all.len(), 5);
        assert_eq!(all[0], Field { name: b"", value: b"From x\n" });
        assert!(all[2].is(b"To"));
        assert_eq!(all[1].unfolded(), b"a b");
        assert_eq!(all[3].unfolded(), b"d\te f");
        assert_eq!(fields(b"\na: b").count(), 0);
        assert_eq!(fields(b"a: b").next().unwrap().unfolded(), b"b");
    }

    #[test]
    fn chosen_fields_leave_with_crlf() {
        assert_eq!(filter(HEADER, &["to"], false), "TO : c\r\nto: last\r\n\r\n");
        assert_eq!(filter(HEADER, &["x", "subject"], false), "Subject: a\r\n b\r\nX: d\r\n\te\r\n f\r\n\r\n");
        assert_eq!(filter(HEADER, &["to", "x"], true), "From x\r\nSubject: a\r\n b\r\n\r\n");
        assert_eq!(filter("", &["to"], false), "\r\n");
        assert_eq!(filter("To: x", &["to"], false), "To: x\r\n\r\n");
        assert_eq!(filter("To", &["to"], true), "To\r\n\r\n");
        assert_eq!(filter("A: b\r\n\r", &["to"], true), "A: b\r\n\r\r\n\r\n");
    }

    #[test]
    fn a_name_without_end_is_no_name() {
        let mut filter = FieldFilter::new(&["x"], false);
        let mut out = Vec::new();
        filter.feed(&b"y".repeat(1 << 20), &mut out);
        assert!(out.is_empty() && filter.name.capacity() <= 2 * NAME);
    }
}
