//! What a message may cost, however it is made. Past a limit a part is a leaf or a field is not kept; nothing is refused.
//!
//! Together they keep a scanner and the [`crate::Structure`] it makes under 1 MiB. Whatever the limits hide is still there for who fetches
//! the whole message.

/// How deep parts may lie in parts. Real mail stays below 10; printing, dropping and decoding a structure are recursive.
pub const DEPTH: usize = 50;

/// How many parts a message may have, those of messages within it included. A [`crate::Part`] is some 300 bytes.
pub const PARTS: usize = 1000;

/// How much of one header field is looked at, in bytes: more than 300 addresses. What follows is not seen.
pub const FIELD: usize = 16 << 10;

/// What all kept field values and addresses of a message may take, in bytes of memory (see `room`): some 800 addresses. With the defaults of
/// all parts it keeps what is printed of a structure, quotes and all, under 384 KiB.
pub const ROOM: usize = 128 << 10;

/// Longest boundary that is understood, in bytes: what fits into a line of 998 (RFC 5322 §2.1.1); RFC 2046 §5.1.1 allows 70.
pub const BOUNDARY: usize = 990;

/// How many parameters a `Content-Type` or `Content-Disposition` may have: RFC 2231 cuts long values into several.
pub const PARAMS: usize = 100;

/// How many languages a `Content-Language` may name.
pub const LANGUAGES: usize = 20;

/// How much of a part is held back until it is decided how it is re-encoded, in octets. Most texts end before.
pub const HELD: usize = 64 << 10;

/// Longest header field that is re-encoded, in octets: thousands of addresses.
pub const HEADER_FIELD: usize = 256 << 10;
