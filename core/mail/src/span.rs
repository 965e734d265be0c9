//! A piece of a stored message.

/// A run of bytes in a stored message, measured as it is stored and as it goes over the wire.
///
/// Messages may be stored with LF line ends and are always sent with CRLF; the two lengths differ by the number of bare
/// line feeds in the span. `at` counts stored bytes from the start of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Span {
    /// Where it starts, in stored bytes.
    pub at: u64,
    /// Its length in stored bytes.
    pub len: u64,
    /// Its length in octets on the wire.
    pub wire: u64,
}
