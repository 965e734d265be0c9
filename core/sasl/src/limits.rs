//! The budgets of an exchange.

/// Longest line of base64 with its CRLF. RFC 4954 §4 asks for 12288 octets, which is more than any mechanism here can use.
pub const LINE_MAX: usize = 12_288;

/// Longest user name, identity or password in octets. RFC 4616 §2 asks for at least 255; pass phrases and tokens are longer.
pub(crate) const TEXT_MAX: usize = 1024;
