//! Header fields, as they are collected from the lines of a header.

use super::Scanner;
use crate::{correspond, lex::trim, limits, params};
use alloc::{boxed::Box, vec::Vec};

/// A field that is kept, while its lines come in.
pub(super) struct Field {
    name: Name,
    /// Its body, unfolded, up to [`limits::FIELD`].
    value: Vec<u8>,
}

/// The fields that are kept.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Name {
    Type,
    Encoding,
    Id,
    Description,
    Md5,
    Disposition,
    Language,
    Location,
    Date,
    Subject,
    From,
    Sender,
    ReplyTo,
    To,
    Cc,
    Bcc,
    InReplyTo,
    MessageId,
}

/// Those of any part's header, then those that only the header of a message has.
const NAMES: [(&[u8], Name); 18] = [
    (b"content-type", Name::Type),
    (b"content-transfer-encoding", Name::Encoding),
    (b"content-id", Name::Id),
    (b"content-description", Name::Description),
    (b"content-md5", Name::Md5),
    (b"content-disposition", Name::Disposition),
    (b"content-language", Name::Language),
    (b"content-location", Name::Location),
    (b"date", Name::Date),
    (b"subject", Name::Subject),
    (b"from", Name::From),
    (b"sender", Name::Sender),
    (b"reply-to", Name::ReplyTo),
    (b"to", Name::To),
    (b"cc", Name::Cc),
    (b"bcc", Name::Bcc),
    (b"in-reply-to", Name::InReplyTo),
    (b"message-id", Name::MessageId),
];
const OF_PARTS: usize = 8;

impl Scanner {
    /// A line of a header that is not empty, in `self.line` as far as it was kept; its line end is `eol` bytes long.
    pub(super) fn header_line(&mut self, eol: u64) {
        let end = (self.line.len() as u64).min(self.line_len - eol) as usize;
        if matches!(self.line[0], b' ' | b'\t') {
            if let Some(field) = &mut self.field {
                let n = end.min(limits::FIELD - field.value.len());
                field.value.extend_from_slice(&self.line[..n]);
            }
            return;
        }
        self.field_ends();
        let text = &self.line[..end];
        let Some(colon) = memchr::memchr(b':', text) else { return };
        let wanted = if self.top().envelope.is_some() { &NAMES[..] } else { &NAMES[..OF_PARTS] };
        let name = trim(&text[..colon]);
        if let Some((_, name)) = wanted.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)) {
            self.field = Some(Field { name: *name, value: text[colon + 1..].to_vec() });
        }
    }

    /// The field that was being collected is whole. The first of a name counts; addresses of several are taken together, so that
    /// nobody can show one sender to a filter and another to a reader.
    pub(super) fn field_ends(&mut self) {
        let Some(Field { name, value }) = self.field.take() else { return };
        let value = trim(&value);
        let room = &mut self.room;
        let frame = self.frames.last_mut().expect("the message itself is open until it is finished");
        let head = &mut frame.head;
        match (name, &mut frame.envelope) {
            (Name::Type, _) if !head.typed => {
                head.typed = true;
                head.media = params::media(value, room);
            }
            (Name::Encoding, _) if head.encoding.is_none() => {
                let word = params::first_word(value);
                head.encoding = if word.is_empty() { None } else { room.keep(word) };
            }
            (Name::Disposition, _) if head.disposition.is_none() => head.disposition = params::disposition(value, room),
            (Name::Language, _) if head.language.is_empty() => head.language = params::languages(value, room),
            (Name::Id, _) => first(&mut head.id, value, room),
            (Name::Description, _) => first(&mut head.description, value, room),
            (Name::Md5, _) => first(&mut head.md5, value, room),
            (Name::Location, _) => first(&mut head.location, value, room),
            (Name::Date, Some(envelope)) => first(&mut envelope.date, value, room),
            (Name::Subject, Some(envelope)) => first(&mut envelope.subject, value, room),
            (Name::InReplyTo, Some(envelope)) => first(&mut envelope.in_reply_to, value, room),
            (Name::MessageId, Some(envelope)) => first(&mut envelope.message_id, value, room),
            (Name::From, Some(envelope)) => correspond::read(value, room, &mut envelope.from),
            (Name::Sender, Some(envelope)) => correspond::read(value, room, &mut envelope.sender),
            (Name::ReplyTo, Some(envelope)) => correspond::read(value, room, &mut envelope.reply_to),
            (Name::To, Some(envelope)) => correspond::read(value, room, &mut envelope.to),
            (Name::Cc, Some(envelope)) => correspond::read(value, room, &mut envelope.cc),
            (Name::Bcc, Some(envelope)) => correspond::read(value, room, &mut envelope.bcc),
            _ => {}
        }
    }
}

fn first(slot: &mut Option<Box<[u8]>>, value: &[u8], room: &mut crate::room::Room) {
    if slot.is_none() {
        *slot = room.keep(value);
    }
}
