//! Budgets of a record. What is over them is refused where it is made, and is no record where it is read.

/// Longest account, mailbox, file or other name in bytes; no file system has longer names, no mailbox either.
pub const NAME_MAX: usize = 1024;

/// Longest address in bytes (RFC 5321 §4.5.3.1: 64 + 1 + 255), with room for quotes and UTF-8.
pub const ADDRESS_MAX: usize = 1024;

/// Most targets of one message. One SMTP transaction has far fewer recipients.
pub const TARGETS_MAX: usize = 10_000;

/// Most keywords of one target; no mailbox keeps more.
pub const KEYWORDS_MAX: usize = 255;

/// Most names in one removal. At up to [`NAME_MAX`] bytes each they would not fit a segment; whoever removes more writes several records.
pub const BASES_MAX: usize = 10_000;

/// Most remote recipients of one message, and so most recipients in one attempt or report: they are numbered in two bytes, and no SMTP transaction
/// or mailing that this server takes has more.
pub const REMOTES_MAX: usize = 10_000;

/// Longest name of a next hop in bytes: a domain (RFC 1035 §2.3.4) in UTF-8, or an operator's name for a route.
pub const SITE_MAX: usize = 512;

/// Longest reply of a peer in bytes that an attempt keeps. Replies have lines of at most 512 octets (RFC 5321 §4.5.3.1.5), and the first ones say
/// what is wrong; longer ones are cut when they are written.
pub const REPLY_MAX: usize = 512;

/// Longest other text about an attempt or of a wish: an ENVID has at most 100 octets (RFC 3461 §4.4), an ORCPT 500 (§4.2).
pub const WORDS_MAX: usize = 1024;
