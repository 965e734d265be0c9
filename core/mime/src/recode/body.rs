//! The body of a part on its way: as it is, held until it is known what to do, or encoded.

use super::{
    Form, Obstacle, Target,
    base64::Base64,
    clean::{Check, LINE},
    fix::{FixBase64, FixQuoted},
    quoted::Quoted,
};
use crate::{Media, Param, limits};
use alloc::{boxed::Box, vec::Vec};

/// What a header says that matters here.
pub(super) struct Head {
    /// Whether it is that of a message, not only of a part.
    message: bool,
    in_digest: bool,
    pub(super) mime: bool,
    pub(super) typed: bool,
    pub(super) media: Option<(Media, Vec<Param>)>,
    /// In lower case.
    pub(super) encoding: Option<Box<[u8]>>,
}

/// What the encoding of a part means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Label {
    /// None: `7bit`, `8bit`, `binary`, or no label.
    Identity,
    Quoted,
    Base64,
    Unknown,
}

impl Head {
    pub(super) const fn new(message: bool, in_digest: bool) -> Head {
        Head { message, in_digest, mime: false, typed: false, media: None, encoding: None }
    }

    pub(super) fn label(&self) -> Label {
        match self.encoding.as_deref() {
            None | Some(b"7bit" | b"8bit" | b"binary" | b"7-bit" | b"8-bit") => Label::Identity,
            Some(b"quoted-printable") => Label::Quoted,
            Some(b"base64") => Label::Base64,
            Some(_) => Label::Unknown,
        }
    }

    /// Whether it is of this type; `*` is any subtype.
    pub(super) fn is(&self, kind: &[u8], sub: &[u8]) -> bool {
        let (own_kind, own_sub): (&[u8], &[u8]) = match &self.media {
            Some(((kind, sub), _)) => (kind, sub),
            // RFC 2046 §5.1.5, RFC 2045 §5.2.
            None if self.in_digest && !self.typed => (b"message", b"rfc822"),
            None => (b"text", b"plain"),
        };
        own_kind.eq_ignore_ascii_case(kind) && (sub == b"*" || own_sub.eq_ignore_ascii_case(sub))
    }

    /// Ends it. With `label`, content that was not encoded is that now; what was encoded stays so.
    pub(super) fn write(&self, label: Option<&str>, form: Form, out: &mut Vec<u8>) {
        let less = match (self.encoding.as_deref(), form.target) {
            (Some(b"8bit" | b"8-bit" | b"binary"), Target::SevenBit) | (Some(b"binary"), Target::EightBit) => label,
            _ => None,
        };
        match less {
            Some(label) => self.write_with(label, out),
            None => self.write_encoding(out),
        }
        out.extend_from_slice(b"\r\n");
    }

    /// The encoding as it was. One that no line can say stays one that nobody knows: without it, the part would be read as if it had none.
    pub(super) fn write_encoding(&self, out: &mut Vec<u8>) {
        let Some(encoding) = self.encoding.as_deref() else { return };
        out.extend_from_slice(b"Content-Transfer-Encoding: ");
        out.extend(encoding.iter().take(LINE - 30).map(|b| if b.is_ascii_graphic() { *b } else { b'x' }));
        out.extend_from_slice(b"\r\n");
    }

    /// Another encoding. A message that has one is a MIME message.
    fn write_with(&self, encoding: &str, out: &mut Vec<u8>) {
        if self.message && !self.mime {
            out.extend_from_slice(b"MIME-Version: 1.0\r\n");
        }
        out.extend_from_slice(b"Content-Transfer-Encoding: ");
        out.extend_from_slice(encoding.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

/// Where the content of the innermost part goes.
pub(super) enum Body {
    /// Nowhere yet: whether it is clean is not known.
    Held(Held),
    /// As it is. If it is not clean, that is an obstacle.
    Sealed(Check, Obstacle),
    /// As it is, whatever it is.
    Plain,
    /// What nobody reads, around the parts of a multipart.
    Waste {
        column: usize,
        cr: bool,
    },
    Quoted(Quoted),
    Base64(Base64),
    FixQuoted(FixQuoted),
    FixBase64(FixBase64),
}

pub(super) struct Held {
    head: Head,
    content: Vec<u8>,
    check: Check,
    clean: bool,
}

impl Body {
    pub(super) const fn waste() -> Body {
        Body::Waste { column: 0, cr: false }
    }

    pub(super) fn sealed(obstacle: Obstacle) -> Body {
        Body::Sealed(Check::default(), obstacle)
    }

    /// The body of a part that holds no other.
    pub(super) fn leaf(head: Head, form: Form, out: &mut Vec<u8>) -> Body {
        let label = head.label();
        if matches!(label, Label::Quoted | Label::Base64) {
            head.write(None, form, out);
        }
        match label {
            Label::Quoted => Body::FixQuoted(FixQuoted::new()),
            Label::Base64 => Body::FixBase64(FixBase64::default()),
            Label::Identity | Label::Unknown => Body::Held(Held { head, content: Vec::new(), check: Check::default(), clean: true }),
        }
    }

    /// Content in the form it has on the wire.
    pub(super) fn put(&mut self, bytes: &[u8], form: Form, out: &mut Vec<u8>) -> Result<(), Obstacle> {
        match self {
            Body::Held(held) => {
                // However it is cut, the same is known when it is decided.
                let (now, later) = bytes.split_at(bytes.len().min(limits::HELD - held.content.len()));
                held.clean &= held.check.is_clean(now, form);
                held.content.extend_from_slice(now);
                if later.is_empty() {
                    return Ok(());
                }
                let mut next = if held.clean && held.head.label() == Label::Unknown {
                    // Long and clean, so it is likely to be encoded.
                    held.head.write(None, form, out);
                    Body::sealed(Obstacle::Encoding)
                } else {
                    held.encode(form, out)
                };
                next.put(&held.content, form, out)?;
                next.put(later, form, out)?;
                *self = next;
                Ok(())
            }
            Body::Sealed(check, obstacle) => {
                out.extend_from_slice(bytes);
                if check.is_clean(bytes, form) { Ok(()) } else { Err(*obstacle) }
            }
            Body::Plain => {
                out.extend_from_slice(bytes);
                Ok(())
            }
            Body::Waste { column, cr } => {
                waste(bytes, column, cr, form, out);
                Ok(())
            }
            Body::Quoted(quoted) => {
                quoted.put(bytes, out);
                Ok(())
            }
            Body::Base64(base64) => {
                base64.put(bytes, out);
                Ok(())
            }
            Body::FixQuoted(fix) => {
                fix.put(bytes, form, out);
                Ok(())
            }
            Body::FixBase64(fix) => {
                fix.put(bytes, out);
                Ok(())
            }
        }
    }

    /// The content is over, and with `whole` the message.
    pub(super) fn finish(&mut self, whole: bool, form: Form, out: &mut Vec<u8>) -> Result<(), Obstacle> {
        match self {
            Body::Held(held) if held.clean && held.check.ends() => {
                held.head.write(Some(form.label()), form, out);
                out.append(&mut held.content);
                Ok(())
            }
            Body::Held(held) => {
                let mut next = held.encode(form, out);
                next.put(&held.content, form, out)?;
                *self = next;
                self.finish(whole, form, out)
            }
            Body::Sealed(check, obstacle) => {
                if check.ends() {
                    Ok(())
                } else {
                    Err(*obstacle)
                }
            }
            Body::Quoted(quoted) => {
                quoted.finish(out);
                Ok(())
            }
            Body::Base64(base64) => {
                base64.finish(out);
                Ok(())
            }
            Body::FixQuoted(fix) => {
                fix.finish(whole, out);
                Ok(())
            }
            Body::Plain | Body::Waste { .. } | Body::FixBase64(_) => Ok(()),
        }
    }

    /// What ends the last line of a message whose content does not.
    pub(super) const fn last_line_end(&self) -> &'static [u8] {
        match self {
            Body::Quoted(_) | Body::FixQuoted(_) => b"=\r\n",
            _ => b"\r\n",
        }
    }
}

impl Held {
    /// It has to be encoded: says so in its header.
    fn encode(&self, form: Form, out: &mut Vec<u8>) -> Body {
        let head = &self.head;
        // A text has lines in any encoding; so have the reports and headers that are messages of other types.
        let text = head.is(b"text", b"*") || head.is(b"message", b"*");
        if !head.typed && !head.in_digest && form.target == Target::SevenBit {
            // Without a type it would be US-ASCII (RFC 2045 §5.2), which it is not (RFC 1428 §3).
            let charset: &[u8] = match core::str::from_utf8(&self.content) {
                _ if self.content.is_ascii() => b"",
                Err(error) if error.error_len().is_some() => b"Content-Type: text/plain; charset=unknown-8bit\r\n",
                _ => b"Content-Type: text/plain; charset=utf-8\r\n",
            };
            out.extend_from_slice(charset);
        }
        head.write_with(if text { "quoted-printable" } else { "base64" }, out);
        out.extend_from_slice(b"\r\n");
        if text { Body::Quoted(Quoted::default()) } else { Body::Base64(Base64::default()) }
    }
}

/// Preambles and epilogues: question marks for what is not clean. No line begins that did not before, or it could be a boundary.
fn waste(bytes: &[u8], column: &mut usize, cr: &mut bool, form: Form, out: &mut Vec<u8>) {
    let mut put = |byte: u8, out: &mut Vec<u8>| {
        if *column == LINE && byte != b'\n' {
            out.extend_from_slice(b"\r\n ");
            *column = 1;
        }
        out.push(byte);
        *column = if byte == b'\n' { 0 } else { *column + 1 };
    };
    for &byte in bytes {
        match (core::mem::replace(cr, byte == b'\r'), byte) {
            (true, b'\n') => {
                out.push(b'\r');
                put(b'\n', out);
                continue;
            }
            (true, _) => put(b'?', out),
            (false, _) => {}
        }
        match byte {
            b'\r' => {}
            b'\n' | 0 => put(b'?', out),
            0x80.. if form.target == Target::SevenBit => put(b'?', out),
            byte => put(byte, out),
        }
    }
}
