//! Encoded words in header values (RFC 2047).

use super::{
    charset::{self, Charset},
    seek::Seeker,
    transfer::{Transfer, hex},
};
use alloc::vec::Vec;

/// Longest run without white space that is looked at as one, in bytes; an encoded word has at most 75 (RFC 2047 §2).
const RUN: usize = 1024;

/// Undoes encoded words in a value that comes in pieces. Leniently: they may stand anywhere in a word, and a character may be cut between
/// two of them.
pub(super) struct Words {
    /// A run without white space that has not ended.
    run: Vec<u8>,
    /// White space after an encoded word, which counts only if none follows (RFC 2047 §6.2).
    gap: usize,
    /// The charset of the encoded word before, whose last character may go on in the next.
    open: Option<(Charset, charset::Decoder)>,
}

impl Words {
    pub(super) const fn new() -> Words {
        Words { run: Vec::new(), gap: 0, open: None }
    }

    /// The next bytes of a value. Line ends in it are folds, a tab is a space.
    pub(super) fn feed(&mut self, value: &[u8], seeker: &mut Seeker) {
        seeker.touch();
        for &byte in value {
            match byte {
                b'\r' | b'\n' => {}
                b' ' | b'\t' => {
                    self.run_ends(seeker);
                    if self.open.is_some() {
                        self.gap += 1;
                    } else {
                        seeker.push(' ');
                    }
                }
                _ => {
                    if self.run.len() == RUN {
                        self.run_ends(seeker);
                    }
                    self.run.push(byte);
                }
            }
        }
    }

    /// The value is over. What follows is another.
    pub(super) fn finish(&mut self, seeker: &mut Seeker) {
        self.run_ends(seeker);
        self.close(seeker);
        self.gap = 0;
    }

    fn run_ends(&mut self, seeker: &mut Seeker) {
        let run = core::mem::take(&mut self.run);
        let mut rest = &run[..];
        while let Some((before, word, after)) = next_word(rest) {
            if !before.is_empty() {
                self.plain(before, seeker);
            }
            self.word(&word, seeker);
            rest = after;
        }
        if !rest.is_empty() {
            self.plain(rest, seeker);
        }
        self.run = run;
        self.run.clear();
    }

    fn plain(&mut self, bytes: &[u8], seeker: &mut Seeker) {
        self.close(seeker);
        for _ in 0..core::mem::take(&mut self.gap) {
            seeker.push(' ');
        }
        let mut decoder = Charset::Loose.decoder();
        decoder.feed(bytes, seeker);
        decoder.finish(seeker);
    }

    fn word(&mut self, word: &Word<'_>, seeker: &mut Seeker) {
        self.gap = 0;
        let charset = Charset::named(word.charset);
        if self.open.as_ref().is_none_or(|(open, _)| *open != charset) {
            self.close(seeker);
        }
        let (_, decoder) = self.open.get_or_insert_with(|| (charset, charset.decoder()));
        let mut bytes = Vec::with_capacity(word.text.len());
        if word.base64 {
            Transfer::Base64.decoder().feed(word.text, &mut bytes);
        } else {
            q(word.text, &mut bytes);
        }
        decoder.feed(&bytes, seeker);
    }

    fn close(&mut self, seeker: &mut Seeker) {
        if let Some((_, mut decoder)) = self.open.take() {
            decoder.finish(seeker);
        }
    }
}

struct Word<'a> {
    charset: &'a [u8],
    base64: bool,
    text: &'a [u8],
}

/// The first encoded word of a run, what stands before it and after it.
fn next_word(run: &[u8]) -> Option<(&[u8], Word<'_>, &[u8])> {
    let mut from = 0;
    while let Some(at) = memchr::memmem::find(&run[from..], b"=?") {
        let start = from + at;
        if let Some((word, len)) = word(&run[start..]) {
            return Some((&run[..start], word, &run[start + len..]));
        }
        from = start + 2;
    }
    None
}

/// `=?charset?encoding?text?=`; the charset may carry a language (RFC 2231 §5).
fn word(bytes: &[u8]) -> Option<(Word<'_>, usize)> {
    let rest = bytes.strip_prefix(b"=?")?;
    let (charset, rest) = rest.split_at(memchr::memchr(b'?', rest)?);
    let base64 = match rest {
        [b'?', b'b' | b'B', b'?', ..] => true,
        [b'?', b'q' | b'Q', b'?', ..] => false,
        _ => return None,
    };
    let rest = &rest[3..];
    let text = &rest[..memchr::memmem::find(rest, b"?=")?];
    let charset_name = charset.split(|b| *b == b'*').next().unwrap_or(charset);
    Some((Word { charset: charset_name, base64, text }, 2 + charset.len() + 3 + text.len() + 2))
}

/// RFC 2047 §4.2
fn q(mut text: &[u8], out: &mut Vec<u8>) {
    while let [byte, rest @ ..] = text {
        text = rest;
        match (byte, rest) {
            (b'_', _) => out.push(b' '),
            (b'=', [high, low, after @ ..]) if hex(*high).is_some() && hex(*low).is_some() => {
                out.push(hex(*high).unwrap_or(0) << 4 | hex(*low).unwrap_or(0));
                text = after;
            }
            _ => out.push(*byte),
        }
    }
}
