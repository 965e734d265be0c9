//! Transfer encodings undone, leniently (RFC 2045 §6.7, §6.8).

use alloc::vec::Vec;

/// How a body is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transfer {
    /// Not at all, or nobody knows how.
    Identity,
    QuotedPrintable,
    Base64,
}

impl Transfer {
    /// By its name in any case.
    pub(crate) fn named(name: &[u8]) -> Transfer {
        if name.eq_ignore_ascii_case(b"quoted-printable") {
            Transfer::QuotedPrintable
        } else if name.eq_ignore_ascii_case(b"base64") {
            Transfer::Base64
        } else {
            Transfer::Identity
        }
    }

    pub(crate) const fn decoder(self) -> Decoder {
        match self {
            Transfer::Identity => Decoder::Identity,
            Transfer::QuotedPrintable => Decoder::QuotedPrintable { held: [0; 2], len: 0 },
            Transfer::Base64 => Decoder::Base64 { bits: 0, count: 0 },
        }
    }
}

/// Undoes an encoding of bytes that come in pieces.
pub(crate) enum Decoder {
    Identity,
    /// What was read of an escape: nothing, `=`, or `=` and one byte.
    QuotedPrintable {
        held: [u8; 2],
        len: usize,
    },
    /// Bits that make no byte yet.
    Base64 {
        bits: u32,
        count: u32,
    },
}

/// A body without its transfer encoding: quoted-printable and base64 are undone leniently, any other leaves it as it is.
pub fn decoded(encoding: &[u8], body: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(body.len());
    Transfer::named(encoding).decoder().feed(body, &mut plain);
    plain
}

impl Decoder {
    /// Appends to `out` at most as many bytes as are fed, and two.
    pub(crate) fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        match self {
            Decoder::Identity => out.extend_from_slice(bytes),
            Decoder::QuotedPrintable { held, len } => bytes.iter().for_each(|b| quoted(held, len, *b, out)),
            Decoder::Base64 { bits, count } => {
                for &byte in bytes {
                    if byte == b'=' {
                        (*bits, *count) = (0, 0);
                    } else if let Some(six) = sextet(byte) {
                        *bits = *bits << 6 | six;
                        *count += 6;
                        if *count >= 8 {
                            *count -= 8;
                            out.push((*bits >> *count) as u8);
                        }
                    }
                }
            }
        }
    }
}

fn quoted(held: &mut [u8; 2], len: &mut usize, byte: u8, out: &mut Vec<u8>) {
    match (*len, byte) {
        (0, b'=') => (held[0], *len) = (byte, 1),
        (0, _) => out.push(byte),
        // A soft line break, with white space before its end or without.
        (1, b'\n') | (2, b'\n') if *len == 1 || held[1] == b'\r' => *len = 0,
        (1, b' ' | b'\t') => {}
        (1, _) => (held[1], *len) = (byte, 2),
        (_, _) => {
            *len = 0;
            match (hex(held[1]), hex(byte)) {
                (Some(high), Some(low)) => out.push(high << 4 | low),
                _ => {
                    // No escape: it stands for itself.
                    out.push(b'=');
                    out.push(held[1]);
                    quoted(held, len, byte, out);
                }
            }
        }
    }
}

pub(super) const fn hex(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

const fn sextet(byte: u8) -> Option<u32> {
    Some(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    } as u32)
}
