//! A part that is open while it is read.

use super::Mark;
use crate::{Disposition, Envelope, Kind, Media, Param, Part, Structure, lex::trim, limits, params};
use alloc::{boxed::Box, vec::Vec};
use mail::Span;

/// What is known of an open part.
pub(super) struct Frame {
    /// If it is a message (not only a part): what its envelope says.
    pub(super) envelope: Option<Box<Envelope>>,
    /// What its header says so far.
    pub(super) head: Head,
    /// In a `multipart/digest`, where a part without a type is a message (RFC 2046 §5.1.5).
    in_digest: bool,
    /// Where its header starts.
    at: Mark,
    /// Where its body starts; none while the header is read.
    pub(super) body: Option<Mark>,
    /// How far what was found in it reaches.
    reach: Mark,
    inside: Inside,
}

/// The fields of a part's header.
#[derive(Default)]
pub(super) struct Head {
    /// Type and parameters.
    pub(super) media: Option<(Media, Vec<Param>)>,
    /// Whether there was a `Content-Type`, understood or not.
    pub(super) typed: bool,
    pub(super) id: Option<Box<[u8]>>,
    pub(super) description: Option<Box<[u8]>>,
    pub(super) encoding: Option<Box<[u8]>>,
    pub(super) md5: Option<Box<[u8]>>,
    pub(super) disposition: Option<Disposition>,
    pub(super) language: Vec<Box<[u8]>>,
    pub(super) location: Option<Box<[u8]>>,
}

enum Inside {
    Leaf,
    Message(Option<Box<Structure>>),
    /// The boundary is none once the last one was read.
    Multipart(Option<Box<[u8]>>, Vec<Part>),
}

impl Frame {
    /// A part whose header starts at `at`.
    pub(super) fn part(at: Mark, in_digest: bool) -> Frame {
        Frame { envelope: None, head: Head::default(), in_digest, at, body: None, reach: at, inside: Inside::Leaf }
    }

    /// A message whose header starts at `at`.
    pub(super) fn message(at: Mark) -> Frame {
        Frame { envelope: Some(Box::default()), ..Frame::part(at, false) }
    }

    /// The boundary it may still come to.
    pub(super) fn boundary(&self) -> Option<&[u8]> {
        match &self.inside {
            Inside::Multipart(boundary, _) => boundary.as_deref(),
            _ => None,
        }
    }

    /// Its last boundary was read: the rest is epilogue.
    pub(super) fn drop_boundary(&mut self) {
        if let Inside::Multipart(boundary, _) = &mut self.inside {
            *boundary = None;
        }
    }

    pub(super) fn is_digest(&self) -> bool {
        self.head.media.as_ref().is_some_and(|((_, sub), _)| sub.eq_ignore_ascii_case(b"digest"))
    }

    /// The body starts at `body`: whatever the header left open has its default now.
    pub(super) fn header_ends(&mut self, body: Mark) {
        self.body = Some(body);
        self.reach = body;
        self.head.media.get_or_insert_with(|| {
            if self.in_digest && !self.head.typed {
                (((*b"message").into(), (*b"rfc822").into()), Vec::new())
            } else {
                // RFC 2045 §5.2
                (((*b"text").into(), (*b"plain").into()), Vec::from([((*b"charset").into(), (*b"us-ascii").into())]))
            }
        });
    }

    /// Makes it a multipart if it says so and its boundary can be known.
    pub(super) fn open_multipart(&mut self) -> bool {
        let Some(((kind, _), fields)) = &self.head.media else { return false };
        if !kind.eq_ignore_ascii_case(b"multipart") {
            return false;
        }
        // RFC 2046 §5.1.1: a boundary never ends with white space.
        let boundary = trim(params::find(fields, b"boundary").unwrap_or_default());
        if boundary.is_empty() || boundary.len() > limits::BOUNDARY {
            return false;
        }
        self.inside = Inside::Multipart(Some(boundary.into()), Vec::new());
        true
    }

    /// Whether its body is a message that can be read as it stands (RFC 2046 §5.2.1 allows no encoding; RFC 6532 does for
    /// `message/global`, which is then left alone). Makes it one.
    pub(super) fn holds_message(&mut self) -> bool {
        let Some(((kind, sub), _)) = &self.head.media else { return false };
        let plain =
            self.head.encoding.as_deref().is_none_or(|e| [&b"7bit"[..], b"8bit", b"binary"].iter().any(|p| e.eq_ignore_ascii_case(p)));
        let holds =
            plain && kind.eq_ignore_ascii_case(b"message") && (sub.eq_ignore_ascii_case(b"rfc822") || sub.eq_ignore_ascii_case(b"global"));
        if holds {
            self.inside = Inside::Message(None);
        }
        holds
    }

    /// Where it ends if a boundary's line end starts at `end`. That line end belongs to the boundary (RFC 2046 §5.1.1), unless it also
    /// ends the header of this part or of the last in it.
    pub(super) fn end(&self, end: Mark) -> Mark {
        if self.reach.at > end.at { self.reach } else { end }
    }

    /// Takes in a part that ended.
    pub(super) fn take_in(&mut self, child: Frame, end: Mark) {
        self.reach = end;
        match &mut self.inside {
            Inside::Message(message) => *message = Some(Box::new(child.into_structure(end))),
            Inside::Multipart(_, parts) => parts.push(child.into_part(end)),
            Inside::Leaf => unreachable!("a leaf holds nothing"),
        }
    }

    pub(super) fn into_structure(mut self, end: Mark) -> Structure {
        let envelope = self.envelope.take().map_or_else(Envelope::default, |envelope| *envelope);
        Structure { envelope, root: self.into_part(end) }
    }

    fn into_part(self, end: Mark) -> Part {
        let body = self.body.unwrap_or(end);
        let head = self.head;
        let (media, params) = head.media.unwrap_or_default();
        Part {
            header: span(self.at, body),
            body: span(body, end),
            lines: end.lines - body.lines + u64::from(end.at > body.at && !end.eol),
            media,
            params,
            id: head.id,
            description: head.description,
            encoding: head.encoding.unwrap_or_else(|| (*b"7bit").into()),
            md5: head.md5,
            disposition: head.disposition,
            language: head.language,
            location: head.location,
            kind: match self.inside {
                Inside::Leaf | Inside::Message(None) => Kind::Leaf,
                Inside::Message(Some(message)) => Kind::Message(message),
                Inside::Multipart(_, mut parts) => {
                    // Room for four where one is would let a thousand multiparts cost a megabyte.
                    parts.shrink_to_fit();
                    Kind::Multipart(parts)
                }
            },
        }
    }
}

fn span(from: Mark, to: Mark) -> Span {
    let len = to.at - from.at;
    Span { at: from.at, len, wire: len + (to.bare - from.bare) }
}
