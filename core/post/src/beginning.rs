//! What a line of a header turns out to be, while its first octets come in.

use crate::limits::HELD_MAX;

/// What the beginning of a line tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beginning {
    /// Nothing so far.
    Open,
    /// It is empty: the header is over.
    Empty,
    /// A field; its colon was the last octet.
    Field,
    /// None of these.
    Other,
}

impl Beginning {
    /// Looks at what has come of a line. What is longer than a line may be stays no field.
    pub(crate) fn of(line: &[u8]) -> Beginning {
        let blank = |b: &u8| matches!(b, b' ' | b'\t');
        match line {
            b"\r" => Beginning::Open,
            b"\n" | b"\r\n" => Beginning::Empty,
            // Obsolete syntax (RFC 5322 §4.5) has blanks before the colon.
            [name @ .., b':'] if name.first().is_some_and(|b| !blank(b) && *b != b'\r') => Beginning::Field,
            // A carriage return alone: who skips it would read a field behind it.
            [first, ..] if blank(first) || *first == b'\r' => Beginning::Other,
            [name @ .., b'!'..=b'~'] if !name.iter().any(blank) && line.len() < HELD_MAX => Beginning::Open,
            [.., b' ' | b'\t'] if line.len() < HELD_MAX => Beginning::Open,
            _ => Beginning::Other,
        }
    }
}

/// Whether this is the line that a mailbox file puts before a message, which some programs hand on.
pub(crate) fn is_mailbox_line(line: &[u8]) -> bool {
    line.starts_with(b"From ") || line.starts_with(b">From ")
}
