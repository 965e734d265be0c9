//! Header fields, written in lines that are not too long (RFC 5322 §2.2.3), and encoded words (RFC 2047).

use super::clean::LINE;
use alloc::vec::Vec;
use base64::{Engine as _, engine::general_purpose::STANDARD};

/// Where lines are folded if they can be (RFC 5322 §2.1.1).
const WISH: usize = 76;

/// Longest encoded word (RFC 2047 §2).
const WORD: usize = 75;

/// Writes one field.
pub(super) struct Fold<'a> {
    out: &'a mut Vec<u8>,
    column: usize,
}

impl<'a> Fold<'a> {
    pub(super) const fn new(out: &'a mut Vec<u8>) -> Fold<'a> {
        Fold { out, column: 0 }
    }

    /// Text that white space stands before; it may be folded there.
    pub(super) fn word(&mut self, blank: &[u8], word: &[u8]) {
        let blank = &blank[..blank.len().min(WISH)];
        if !blank.is_empty() && self.column > 0 && self.column + blank.len() + word.len() > WISH {
            self.out.extend_from_slice(b"\r\n");
            self.column = 0;
        }
        self.put(blank);
        self.put(word);
    }

    /// Text as encoded words, after a blank.
    pub(super) fn encoded(&mut self, text: &[u8]) {
        let charset = charset(text);
        let room = (WORD - b"=??B??=".len() - charset.len()) / 4 * 3;
        let mut rest = text;
        while !rest.is_empty() {
            let mut n = rest.len().min(room);
            // RFC 2047 §5: no character is cut in two.
            while charset == UTF8 && n < rest.len() && rest[n] & 0xc0 == 0x80 {
                n -= 1;
            }
            let (now, later) = rest.split_at(n);
            let word = [b"=?", charset.as_bytes(), b"?B?", STANDARD.encode(now).as_bytes(), b"?="].concat();
            self.word(b" ", &word);
            rest = later;
        }
    }

    /// Text that may be cut only if it has to be.
    pub(super) fn put(&mut self, mut text: &[u8]) {
        while self.column + text.len() > LINE {
            let (now, later) = text.split_at(LINE - self.column.min(LINE));
            self.out.extend_from_slice(now);
            self.out.extend_from_slice(b"\r\n ");
            self.column = 1;
            text = later;
        }
        self.out.extend_from_slice(text);
        self.column += text.len();
    }

    /// The field is over.
    pub(super) fn end(self) {
        self.out.extend_from_slice(b"\r\n");
    }
}

const UTF8: &str = "utf-8";

/// What text beyond ASCII is in, as far as can be told (RFC 1428 §3).
pub(super) fn charset(text: &[u8]) -> &'static str {
    if core::str::from_utf8(text).is_ok() { UTF8 } else { "unknown-8bit" }
}
