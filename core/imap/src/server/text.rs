//! Reading a piece of a message's text for FETCH, chunk by chunk.

use crate::{
    limits,
    office::Detail,
    print::{self, resolve},
    syntax::{Section, What},
};
use alloc::vec::Vec;
use mail::Span;
use mime::FieldFilter;
use wire::Outbox;

/// A section that is being read.
pub(super) struct Reading {
    span: Span,
    /// The next wire octet to be read.
    at: u64,
    /// Octets still to be printed, once they were announced.
    left: u64,
    announced: bool,
    fields: Option<Fields>,
}

/// Fields that are chosen from a header while it is read. Their size must be told before them: as long as there are few they are held,
/// otherwise they are counted and the header is read again.
struct Fields {
    filter: FieldFilter,
    held: Vec<u8>,
    /// Octets of the chosen fields so far.
    size: u64,
    /// Chosen octets to be passed over, of a partial fetch.
    skip: u64,
}

/// What a chunk led to.
pub(super) enum Taken {
    /// There is more to be read.
    More,
    /// The section is printed.
    All,
    /// The message is shorter than it was said to be.
    Short,
}

/// Which bytes a section is; none if the message has no such part.
pub(super) fn locate(section: &Section, detail: &Detail) -> Option<Span> {
    if section.path.is_empty() && section.what == What::Whole {
        return Some(detail.span);
    }
    let Some(structure) = &detail.structure else { panic!("a structure was asked for and not given") };
    let what = match section.what {
        What::Whole => print::What::Whole,
        What::Header | What::Fields { .. } => print::What::Header,
        What::Text => print::What::Text,
        What::Mime => print::What::Mime,
    };
    resolve(structure, &section.path, what)
}

impl Reading {
    /// None if there is nothing to read: the part does not exist, or is empty, or the partial fetch begins behind it.
    pub fn begin(section: &Section, detail: &Detail) -> Option<Reading> {
        let span = locate(section, detail)?;
        if let What::Fields { not, names } = &section.what {
            let fields = Fields { filter: FieldFilter::new(names, *not), held: Vec::new(), size: 0, skip: 0 };
            return Some(Reading { span, at: 0, left: 0, announced: false, fields: Some(fields) });
        }
        let (at, left) = cut(section, span.wire);
        (left > 0).then_some(Reading { span, at, left, announced: false, fields: None })
    }

    /// What to read next: the span, from where, and how much is enough.
    pub fn next(&self) -> (Span, u64, usize) {
        let left = if self.fields.is_some() { self.span.wire - self.at } else { self.left };
        (self.span, self.at, left.min(limits::CHUNK as u64) as usize)
    }

    /// Takes a chunk. `announce` prints all that comes before the octets, whose number it is given.
    pub fn take(&mut self, section: &Section, chunk: &[u8], announce: impl FnOnce(u64, &mut Outbox), tx: &mut Outbox) -> Taken {
        let (_, _, wanted) = self.next();
        let Some(chunk) = chunk.get(..wanted) else { return Taken::Short };
        self.at += wanted as u64;
        if self.fields.is_some() {
            let whole = self.at >= self.span.wire;
            return if self.announced { self.take_again(chunk, whole, tx) } else { self.take_first(section, chunk, whole, announce, tx) };
        }
        if !self.announced {
            self.announced = true;
            announce(self.left, tx);
        }
        print::octets(tx, chunk);
        self.left -= wanted as u64;
        if self.left > 0 { Taken::More } else { Taken::All }
    }

    /// The first time a header is read: holds or counts what is chosen.
    fn take_first(
        &mut self,
        section: &Section,
        chunk: &[u8],
        whole: bool,
        announce: impl FnOnce(u64, &mut Outbox),
        tx: &mut Outbox,
    ) -> Taken {
        let Some(fields) = &mut self.fields else { unreachable!("fields are read") };
        let before = fields.held.len();
        fields.filter.feed(chunk, &mut fields.held);
        if !whole {
            fields.size += (fields.held.len() - before) as u64;
            if fields.size > limits::FIELDS_HELD as u64 {
                fields.held.clear();
            }
            return Taken::More;
        }
        let What::Fields { not, names } = &section.what else { unreachable!("fields are read") };
        core::mem::replace(&mut fields.filter, FieldFilter::new(names, *not)).finish(&mut fields.held);
        fields.size += (fields.held.len() - before) as u64;
        let (skip, left) = cut(section, fields.size);
        self.announced = true;
        announce(left, tx);
        if fields.size == fields.held.len() as u64 {
            print::octets(tx, &fields.held[skip as usize..][..left as usize]);
            return Taken::All;
        }
        fields.skip = skip;
        self.left = left;
        self.at = 0;
        if left > 0 { Taken::More } else { Taken::All }
    }

    /// The second time a header is read: prints what is chosen.
    fn take_again(&mut self, chunk: &[u8], whole: bool, tx: &mut Outbox) -> Taken {
        let Some(fields) = &mut self.fields else { unreachable!("fields are read") };
        fields.held.clear();
        fields.filter.feed(chunk, &mut fields.held);
        if whole {
            core::mem::replace(&mut fields.filter, FieldFilter::new::<&[u8]>(&[], false)).finish(&mut fields.held);
        }
        let skip = fields.skip.min(fields.held.len() as u64);
        fields.skip -= skip;
        let rest = &fields.held[skip as usize..];
        let n = self.left.min(rest.len() as u64);
        print::octets(tx, &rest[..n as usize]);
        self.left -= n;
        match (self.left, whole) {
            (0, _) => Taken::All,
            (_, false) => Taken::More,
            (_, true) => Taken::Short,
        }
    }
}

/// What a partial fetch leaves of so many octets: from where, and how many.
fn cut(section: &Section, size: u64) -> (u64, u64) {
    let (first, count) = section.partial.unwrap_or((0, size));
    let first = first.min(size);
    (first, count.min(size - first))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{reply::printed, syntax::Name};
    use alloc::{format, string::String, sync::Arc, vec};
    use mail::{Flags, ModSeq, Stamp, Uid};

    /// Fetches HEADER.FIELDS (X) of a header, in chunks as a host gives them; how often the header was read comes first.
    fn fetch(header: &str, partial: Option<(u64, u64)>) -> (u64, String) {
        let mut scanner = mime::Scanner::new();
        scanner.feed(header.as_bytes());
        let structure = Arc::new(scanner.finish());
        let detail = Detail {
            uid: Uid::MIN,
            flags: Flags::default(),
            mod_seq: ModSeq(1),
            span: Span::default(),
            date: Stamp::default(),
            structure: Some(structure),
        };
        let what = What::Fields { not: false, names: vec![(*b"x").into()] };
        let section = Section { name: Name::Body, path: vec![], what, sees: false, partial };
        let mut reading = Reading::begin(&section, &detail).unwrap();
        let mut read = 0;
        let text = printed(|tx| {
            loop {
                let (span, at, most) = reading.next();
                let chunk = &header.as_bytes()[(span.at + at) as usize..][..most];
                read += most as u64;
                match reading.take(&section, chunk, |size, tx| tx.put(format!("{{{size}}}").as_bytes()), tx) {
                    Taken::More => {}
                    Taken::All => break,
                    Taken::Short => panic!("short"),
                }
            }
        });
        (read / header.len() as u64, text)
    }

    #[test]
    fn few_fields_are_read_once_and_many_twice() {
        let small = format!("{}X: 1\r\n\r\n", "Y: 2\r\n".repeat(20_000));
        assert_eq!(fetch(&small, None), (1, "{8}X: 1\r\n\r\n".into()));
        let fields = "X: 1\r\nY: 2\r\n".repeat(20_000);
        let (times, text) = fetch(&format!("{fields}\r\n"), None);
        assert_eq!((times, text), (2, format!("{{120002}}{}\r\n", "X: 1\r\n".repeat(20_000))));
        assert_eq!(fetch(&format!("{fields}\r\n"), Some((119_999, 9))), (2, "{3}\n\r\n".into()));
        assert_eq!(fetch(&format!("{fields}\r\n"), Some((6, 4))).1, "{4}X: 1");
        assert_eq!(fetch(&format!("{fields}\r\n"), Some((500_000, 4))).1, "{0}");
        assert_eq!(fetch("Y: 2\r\n\r\n", None).1, "{2}\r\n");
    }
}
