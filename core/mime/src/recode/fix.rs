//! Content that is encoded already, but not only in what its encoding allows. Readers undo it leniently; what they get stays the same.

use super::{Form, clean::Check, clean::LINE, quoted::Quoted};
use crate::search::transfer::{Decoder, Transfer};
use alloc::vec::Vec;

/// Quoted-printable: clean lines go as they are, others are decoded and encoded again.
pub(super) struct FixQuoted {
    /// The current line, while it is clean.
    line: Vec<u8>,
    check: Check,
    /// Since the current line is not.
    again: Option<(Decoder, Quoted)>,
}

impl FixQuoted {
    pub(super) fn new() -> FixQuoted {
        FixQuoted { line: Vec::new(), check: Check::default(), again: None }
    }

    pub(super) fn put(&mut self, bytes: &[u8], form: Form, out: &mut Vec<u8>) {
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            let whole = piece.ends_with(b"\n");
            if self.again.is_none() {
                let clean = self.check.is_clean(piece, form);
                self.line.extend_from_slice(piece);
                if clean {
                    if whole {
                        out.append(&mut self.line);
                    }
                    continue;
                }
                self.again = Some((Transfer::QuotedPrintable.decoder(), Quoted::default()));
                let line = core::mem::take(&mut self.line);
                self.decode(&line, out);
            } else {
                self.decode(piece, out);
            }
            if whole && let Some((_, mut quoted)) = self.again.take() {
                // It ended with a soft line break, or with a line feed that ends no line.
                quoted.soft_break(out);
                self.check = Check::default();
            }
        }
    }

    /// The content is over, and with `whole` the message, which ends with a line end.
    pub(super) fn finish(&mut self, whole: bool, out: &mut Vec<u8>) {
        if !self.line.is_empty() && (whole || !self.check.ends()) {
            // Half an escape at its end would become a whole one with what is put behind it.
            self.again = Some((Transfer::QuotedPrintable.decoder(), Quoted::default()));
            let line = core::mem::take(&mut self.line);
            self.decode(&line, out);
        }
        out.append(&mut self.line);
        if let Some((_, mut quoted)) = self.again.take() {
            quoted.finish(out);
        }
    }

    fn decode(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if let Some((decoder, quoted)) = &mut self.again {
            let mut plain = Vec::with_capacity(bytes.len() + 2);
            decoder.feed(bytes, &mut plain);
            quoted.put(&plain, out);
        }
    }
}

/// Base64: what is no character of it means nothing and goes; lines that are too long are broken.
#[derive(Debug, Default)]
pub(super) struct FixBase64 {
    column: usize,
    cr: bool,
}

impl FixBase64 {
    pub(super) fn put(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        for &byte in bytes {
            let after_cr = core::mem::replace(&mut self.cr, byte == b'\r');
            match byte {
                b'\n' if after_cr => {
                    out.extend_from_slice(b"\r\n");
                    self.column = 0;
                }
                b' ' | b'\t' | b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' | b'=' => {
                    if self.column == LINE {
                        out.extend_from_slice(b"\r\n");
                        self.column = 0;
                    }
                    out.push(byte);
                    self.column += 1;
                }
                _ => {}
            }
        }
    }
}
