//! The budgets of the resolver. Each has its reason, and what happens beyond it.

/// Bytes of input an exchange needs room for: a message over TCP is at most 65,535 octets behind its length (RFC 1035 §4.2.2). A
/// datagram must arrive whole, so the first room an inbox makes has to hold one.
pub const INBOX_LIMIT: usize = 2 + 65_535;

/// An exchange sends one small message.
pub const OUTBOX_MARK: usize = 1 << 10;

/// The largest datagram we ask for (RFC 6891 §6.2.5): what passes every path without fragments. Beyond: the server truncates and TCP is used.
pub(crate) const PAYLOAD: u16 = 1232;

/// Records a message may announce, all sections together. A message of 64 KiB could hold six thousand, which no fact about mail needs.
/// Beyond: the message counts as garbage.
pub(crate) const RECORDS_READ_MAX: u32 = 512;

/// Records of one answer that are kept, but of mail exchangers, which are all kept: the best of them may stand last. Beyond: dropped.
pub(crate) const RECORDS_MAX: usize = 100;

/// Aliases followed for one question, within answers and by new questions. Beyond: `Found::Failed` (it may be a loop).
pub(crate) const CHAIN_MAX: usize = 8;

/// Datagrams that do not belong to the question before it is asked again over TCP, where nobody can lie from afar.
pub(crate) const LIES_MAX: u8 = 8;

/// Servers used; what comes after in a list is ignored (glibc: 3).
pub(crate) const SERVERS_MAX: usize = 8;

/// Exchanges at a time: each is a socket of the host. Beyond: they wait.
pub(crate) const FLIGHTS_MAX: usize = 128;

/// Questions that wait or are being asked. Beyond: `Found::Failed` at once, which is not remembered.
pub(crate) const JOBS_MAX: usize = 10_000;

/// After this long an exchange that did not come back counts as failed: its host lost it.
pub(crate) const LOST_MS: u64 = 120_000;

/// The longest wait for one reply: the timeout doubles with each round over the servers up to here.
pub(crate) const TIMEOUT_MAX_MS: u64 = 30_000;

/// The pause before a second round over servers that failed at once, doubling with each round.
pub(crate) const PAUSE_MS: u64 = 250;

/// How long a server that was silent is asked last.
pub(crate) const PENALTY_MS: u64 = 30_000;

/// Nothing is forgotten sooner, whatever its TTL: who needs several facts must find the first when the last arrives.
pub(crate) const TTL_MIN_S: u32 = 30;

/// No record is believed longer (RFC 8767 §4 suggests a cap of days; a mail server has no use for more than one).
pub(crate) const TTL_MAX_S: u32 = 86_400;

/// Nor that there is none (RFC 2308 §5 suggests one to three hours).
pub(crate) const NEGATIVE_TTL_MAX_S: u32 = 3 * 3600;

/// How long a failure is remembered (RFC 9520 §3.2: at least a second, at most five minutes).
pub(crate) const FAILED_TTL_S: u32 = 30;

/// Bytes of an answer that count as one more entry of the cache, so that large answers cannot fill the memory.
pub(crate) const CACHE_UNIT: usize = 512;
