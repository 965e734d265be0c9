//! Budgets of a session: what a peer may send, and how long it may take.

/// Bytes that are held before they are understood: a whole head.
pub const INBOX_LIMIT: usize = HEAD_MAX;

/// Bytes of output from which on the session wants a flush: one piece of a streamed response.
pub const OUTBOX_MARK: usize = 32 << 10;

/// The longest head (431): browsers send 1 to 2 KiB, and cookies of other services on the same host a few more.
pub(crate) const HEAD_MAX: usize = 16 << 10;

/// Header fields of a request (431): 32 bytes each while it is parsed.
pub(crate) const FIELDS_MAX: usize = 64;

/// The longest body of a request (413): a list of some thousand queue ids.
pub const BODY_MAX: usize = 64 << 10;

/// The longest line between chunks, extensions included (400): nobody sends any.
pub(crate) const CHUNK_LINE_MAX: usize = 256;

/// Trailer fields of a chunked request, which nobody reads (400).
pub(crate) const TRAILERS_MAX: u32 = 32;

/// How long a head may take from its first byte, and the first one of a connection from its beginning (408).
pub(crate) const HEAD_MS: u64 = 30_000;

/// How long a connection may be idle between requests: Prometheus asks every 15 to 60 seconds.
pub(crate) const IDLE_MS: u64 = 120_000;

/// The least rate of a body, bytes a second, and the grace before it counts (408).
pub(crate) const BODY_RATE: u64 = 1 << 10;
pub(crate) const BODY_GRACE_MS: u64 = 30_000;
