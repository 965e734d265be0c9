//! Finds texts in messages as people read them: transfer encodings, charsets and encoded words undone, upper and lower case alike.
//!
//! Everything streams: however long a part is, a search of it holds a few KiB.

mod charset;
mod header;
mod seek;
pub(crate) mod transfer;
mod words;

use crate::{Kind, Part, Structure, params};
use alloc::vec::Vec;
use charset::Charset;
use header::HeaderText;
use mail::Span;
use seek::Seeker;
use transfer::Transfer;

pub use seek::Needle;
pub use transfer::decoded;

/// A piece of a message that can be searched: read `span` and feed it to a [`Matcher`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Which bytes.
    pub span: Span,
    coding: Coding,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Coding {
    /// A header, its names and values.
    Header,
    /// A text in this transfer encoding and charset.
    Text(Transfer, Charset),
}

impl Structure {
    /// The pieces of the message that SEARCH BODY looks at, in order: texts, and the headers of the messages and parts in it. With
    /// `header`, those of SEARCH TEXT: its own header too. What is no text is not searched.
    pub fn pieces(&self, header: bool) -> Vec<Piece> {
        let mut pieces = Vec::new();
        collect(&self.root, header, &mut pieces);
        pieces
    }
}

fn collect(part: &Part, header: bool, pieces: &mut Vec<Piece>) {
    if header && part.header.len > 0 {
        pieces.push(Piece { span: part.header, coding: Coding::Header });
    }
    match &part.kind {
        Kind::Leaf if part.media.0.eq_ignore_ascii_case(b"text") => {
            let charset = Charset::named(params::find(&part.params, b"charset").unwrap_or_default());
            pieces.push(Piece { span: part.body, coding: Coding::Text(Transfer::named(&part.encoding), charset) });
        }
        Kind::Leaf => {}
        Kind::Message(inner) => collect(&inner.root, true, pieces),
        Kind::Multipart(parts) => parts.iter().for_each(|part| collect(part, true, pieces)),
    }
}

/// Looks for several texts at once in bytes that pass by.
pub struct Matcher {
    source: Source,
    seeker: Seeker,
}

enum Source {
    Header(HeaderText),
    Text(transfer::Decoder, charset::Decoder, Vec<u8>),
}

impl Matcher {
    /// For one piece of a message. Bytes may come as stored or as they go over the wire.
    pub fn new(piece: &Piece, needles: &[Needle]) -> Matcher {
        let source = match &piece.coding {
            Coding::Header => Source::Header(HeaderText::all()),
            Coding::Text(transfer, charset) => Source::Text(transfer.decoder(), charset.decoder(), Vec::new()),
        };
        Matcher { source, seeker: Seeker::new(needles) }
    }

    /// For the values of all fields of that name; feed it a header. An empty text is found if there is such a field.
    pub fn field(name: &[u8], needles: &[Needle]) -> Matcher {
        Matcher { source: Source::Header(HeaderText::only(name)), seeker: Seeker::new(needles) }
    }

    /// The next bytes. Costs nothing once everything was found.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.seeker.all() {
            return;
        }
        match &mut self.source {
            Source::Header(header) => header.feed(bytes, &mut self.seeker),
            // In slices, so that what is held does not grow with what is fed.
            Source::Text(transfer, charset, room) => {
                for slice in bytes.chunks(seek::CHUNK) {
                    room.clear();
                    transfer.feed(slice, room);
                    charset.feed(room, &mut self.seeker);
                }
            }
        }
    }

    /// The piece is over.
    pub fn finish(&mut self) {
        match &mut self.source {
            Source::Header(header) => header.finish(&mut self.seeker),
            Source::Text(_, charset, _) => charset.finish(&mut self.seeker),
        }
        self.seeker.flush();
    }

    /// Whether the needle of that number was found. Sure only after [`Matcher::finish`] if it is false.
    ///
    /// # Panics
    /// If there is no such needle.
    pub fn found(&self, needle: usize) -> bool {
        self.seeker.found(needle)
    }

    /// Whether all were found: nothing more need be fed.
    pub fn all(&self) -> bool {
        self.seeker.all()
    }
}

/// Whether a header value (folded or not) contains a text: encoded words undone, upper and lower case alike.
pub fn text_matches(value: &[u8], needle: &Needle) -> bool {
    let mut seeker = Seeker::new(core::slice::from_ref(needle));
    let mut words = words::Words::new();
    words.feed(value, &mut seeker);
    words.finish(&mut seeker);
    seeker.flush();
    seeker.all()
}

#[cfg(test)]
mod tests;
