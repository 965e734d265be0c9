//! Every limit of an IMAP session in one place: what it bounds, and what a peer hears who goes beyond.

/// The inbox of a session, and so the longest command: its lines and the literals held in it. Beyond: `BAD [TOOBIG]`, or for a literal
/// no `+`. Clients that name thousands of messages one by one still fit (RFC 7162 §4 asks for 8192 octets at least).
pub const INBOX_LIMIT: usize = 64 << 10;

/// From how many waiting bytes on an outbox is to be flushed: one chunk of a body.
pub const OUTBOX_MARK: usize = 32 << 10;

/// The longest command before a login; strangers get little memory, but an ID of 30 fields of 30 and 1024 octets fits (RFC 2971 §3.3).
/// Beyond: `BAD [TOOBIG]`.
pub const FRAME_BEFORE_LOGIN: usize = 36 << 10;

/// Room that a held literal leaves for the rest of its command.
pub const FRAME_REST: usize = 64;

/// Literals in one command. Beyond: `BAD`.
pub const LITERALS: u16 = 128;

/// How much of a refused command is read and dropped so that the next one can be understood. Beyond: `BYE`. The message of a
/// refused APPEND is not counted, it has its pace.
pub const SWALLOW: u64 = 1 << 20;

/// The longest tag that is repeated in a reply. Beyond: `* BAD`.
pub const TAG: usize = 128;

/// `BAD` replies since the last command that was understood; then `BYE`.
pub const BADS: u32 = 20;

/// `BAD` replies before a login; then `BYE`. Nobody but a port scanner gets there.
pub const BADS_BEFORE_LOGIN: u32 = 5;

/// Failed logins on one connection; then `BYE`.
pub const LOGINS: u32 = 4;

/// Time to log in.
pub const LOGIN_MS: u64 = 3 * 60_000;

/// The same while places are short, and again after a handshake: two of the ten seconds that a line gets elsewhere then.
pub const HURRIED_MS: u64 = 20_000;

/// Silence between commands that ends a session: 30 minutes at least (RFC 3501 §5.4), and a little for clients that count on it.
pub const AUTOLOGOUT_MS: u64 = 31 * 60_000;

/// Time to finish a command that has begun.
pub const COMMAND_MS: u64 = 5 * 60_000;

/// How often an idling client hears that the server is alive, which also finds out that the client is not. Below the time after
/// which common address translators forget a silent connection.
pub const STILL_HERE_MS: u64 = 2 * 60_000 + 30_000;

/// A message that is appended may stall for so long ...
pub const APPEND_GRACE_MS: u64 = 2 * 60_000;

/// ... and must arrive at this many bytes a second.
pub const APPEND_RATE: u64 = 512;

/// Ranges in one sequence set. Beyond: `BAD [LIMIT]`.
pub const RANGES: usize = 16_384;

/// Search keys in one command. Beyond: `BAD [LIMIT]`.
pub const SEARCH_KEYS: usize = 256;

/// Nesting of search keys. Beyond: `BAD [LIMIT]`.
pub const SEARCH_DEPTH: usize = 32;

/// Items in one FETCH. Beyond: `BAD [LIMIT]`.
pub const FETCH_ITEMS: usize = 256;

/// Numbers in a part specifier (`1.2.3`). Beyond: `BAD [LIMIT]`.
pub const PART_DEPTH: usize = 64;

/// Names in one HEADER.FIELDS. Beyond: `BAD [LIMIT]`.
pub const HEADER_NAMES: usize = 256;

/// Flags in one list. Beyond: `BAD [LIMIT]`.
pub const FLAGS: usize = 128;

/// Patterns in one LIST. Beyond: `BAD [LIMIT]`.
pub const PATTERNS: usize = 32;

/// Bytes of a LIST pattern with its reference; a longer one matches nothing, as names are shorter. Matching costs their product.
pub const PATTERN: usize = 512;

/// Messages described in one question if a file may have to be read for it ...
pub const BATCH: usize = 64;

/// ... if its structure is told, which mail made for it can blow up to half a megabyte ...
pub const BATCH_OF_STRUCTURES: usize = 8;

/// ... and if the index alone tells.
pub const BATCH_OF_FACTS: usize = 1024;

/// One chunk of a message on its way to a client.
pub const CHUNK: usize = 32 << 10;

/// Chosen header fields that are held in memory; if there are more, the header is read twice.
pub const FIELDS_HELD: usize = 64 << 10;
