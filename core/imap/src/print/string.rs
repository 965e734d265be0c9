//! Strings of the grammar of RFC 3501 §9.

use core::fmt::Write;
use wire::Outbox;

/// Longest string that is quoted; longer ones are literals, which no client cuts off.
const QUOTED: usize = 1000;

/// Prints a `string`: quoted if it is printable ASCII, otherwise a literal.
pub fn string(tx: &mut Outbox, bytes: &[u8]) {
    if bytes.len() <= QUOTED && bytes.iter().all(|b| matches!(b, b'\t' | b' '..=b'~')) {
        quoted(tx, bytes);
    } else {
        // Writing to an outbox never fails.
        let _ = write!(tx, "{{{}}}\r\n", bytes.len());
        octets(tx, bytes);
    }
}

/// Prints octets of a literal. NUL can stand in none (RFC 3501 §4.3.1, §9 `CHAR8`) and becomes `?`.
pub(crate) fn octets(tx: &mut Outbox, mut bytes: &[u8]) {
    while let Some(at) = memchr::memchr(0, bytes) {
        tx.put(&bytes[..at]);
        tx.put(b"?");
        bytes = &bytes[at + 1..];
    }
    tx.put(bytes);
}

/// Prints a `string`, or `NIL` if there is none.
pub fn nstring(tx: &mut Outbox, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => string(tx, bytes),
        None => tx.put(b"NIL"),
    }
}

fn quoted(tx: &mut Outbox, bytes: &[u8]) {
    tx.put(b"\"");
    let mut rest = bytes;
    while let Some(at) = memchr::memchr2(b'"', b'\\', rest) {
        tx.put(&rest[..at]);
        tx.put(b"\\");
        tx.put(&rest[at..=at]);
        rest = &rest[at + 1..];
    }
    tx.put(rest);
    tx.put(b"\"");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_where_it_can_be() {
        let cases: [(&[u8], &[u8]); 6] = [
            (b"", b"\"\""),
            (b"a \"b\\\" c", b"\"a \\\"b\\\\\\\" c\""),
            (b"\xc3\xa4", b"{2}\r\n\xc3\xa4"),
            (b"a\0b", b"{3}\r\na?b"),
            (b"a\rb", b"{3}\r\na\rb"),
            (b"\0", b"{1}\r\n?"),
        ];
        for (bytes, expect) in cases {
            let mut tx = Outbox::new(1000);
            string(&mut tx, bytes);
            assert_eq!(tx.bytes(), expect);
        }
        let mut tx = Outbox::new(1000);
        nstring(&mut tx, None);
        assert_eq!(tx.bytes(), b"NIL");
    }
}
