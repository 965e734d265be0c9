//! Bytes of a charset as text.

use super::seek::Seeker;
use alloc::vec::Vec;
use encoding_rs::{CoderResult, Encoding, UTF_8};

/// How the bytes of a text are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Charset {
    /// UTF-8, and Latin 1 where it is not: what says so, what says nothing, what says US-ASCII and is not, and what nobody knows.
    Loose,
    /// By name.
    Known(&'static Encoding),
}

impl Charset {
    /// By its name in any case.
    pub(super) fn named(name: &[u8]) -> Charset {
        if name.eq_ignore_ascii_case(b"us-ascii") {
            return Charset::Loose;
        }
        match Encoding::for_label_no_replacement(name) {
            Some(known) if known != UTF_8 => Charset::Known(known),
            _ => Charset::Loose,
        }
    }

    pub(super) fn decoder(self) -> Decoder {
        match self {
            Charset::Loose => Decoder::Loose(Vec::new()),
            Charset::Known(known) => Decoder::Known(known.new_decoder_without_bom_handling()),
        }
    }
}

/// Reads bytes that come in pieces.
pub(super) enum Decoder {
    /// Holds the start of a character: at most three bytes.
    Loose(Vec<u8>),
    Known(encoding_rs::Decoder),
}

impl Decoder {
    pub(super) fn feed(&mut self, bytes: &[u8], seeker: &mut Seeker) {
        seeker.touch();
        match self {
            Decoder::Loose(held) if held.is_empty() => *held = loose(bytes, seeker).into(),
            Decoder::Loose(held) => {
                held.extend_from_slice(bytes);
                let whole = core::mem::take(held);
                *held = loose(&whole, seeker).into();
            }
            Decoder::Known(decoder) => known(decoder, bytes, false, seeker),
        }
    }

    pub(super) fn finish(&mut self, seeker: &mut Seeker) {
        match self {
            Decoder::Loose(held) => core::mem::take(held).into_iter().for_each(|b| seeker.push(char::from(b))),
            Decoder::Known(decoder) => known(decoder, &[], true, seeker),
        }
    }
}

/// Gives what may be the start of a character.
fn loose<'a>(mut bytes: &'a [u8], seeker: &mut Seeker) -> &'a [u8] {
    loop {
        let Err(error) = core::str::from_utf8(bytes).map(|text| seeker.push_str(text)) else { return &[] };
        let (good, rest) = bytes.split_at(error.valid_up_to());
        if let Ok(text) = core::str::from_utf8(good) {
            seeker.push_str(text);
        }
        let Some(bad) = error.error_len() else { return rest };
        rest[..bad].iter().for_each(|b| seeker.push(char::from(*b)));
        bytes = &rest[bad..];
    }
}

fn known(decoder: &mut encoding_rs::Decoder, mut bytes: &[u8], last: bool, seeker: &mut Seeker) {
    let mut room = [0; 1024];
    loop {
        let (result, read, written, _) = decoder.decode_to_utf8(bytes, &mut room, last);
        if let Ok(text) = core::str::from_utf8(&room[..written]) {
            seeker.push_str(text);
        }
        bytes = &bytes[read..];
        if result == CoderResult::InputEmpty {
            return;
        }
    }
}
