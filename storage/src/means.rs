//! What a process may have that may not have all the memory it asks for (`ulimit -v`, `LimitAS=`), and who gets how much of it.
//!
//! A program in Rust ends when an allocation is refused, and everybody who is connected ends with it. So a server that has such a limit counts at its start
//! what fits: it lets fewer in at a time and sends fewer out, and keeps less in memory. Whoever finds no place is told so, as by any other limit.
//!
//! What counts is address space, not memory that is used: glibc reserves 64 MiB for the heap of each thread up to eight for each core, and
//! a thread has 2 MiB of stack. A few threads would take all there is, so such a server starts itself again with one heap and smaller stacks.

use crate::limits::MEMORY_MAX;
use config::Config;
use rustix::process::{Resource, getrlimit};
use std::{
    env, fmt, fs, io, num::NonZero, os::unix::process::CommandExt as _, process::Command, sync::OnceLock, thread::available_parallelism,
};

/// The stack of a thread that no runtime gives one of its own. Connections of runtime-std have as much and do all that others do.
pub const STACK: u64 = 512 << 10;
/// What a thread takes: its stack, and what the system and the standard library map beside it.
pub const THREAD: u64 = STACK + (32 << 10);
/// What the environment must say for few heaps (glibc; others have few) and small stacks (the standard library).
const FRUGAL: [(&str, u64); 2] = [("MALLOC_ARENA_MAX", 1), ("RUST_MIN_STACK", STACK)];

/// Messages whose index is kept in memory although nobody uses their mailbox, at most.
const IDLE_MESSAGES: usize = 500_000;
/// Bytes of memory for each of them.
const IDLE_MESSAGE: u64 = 100;
/// Bytes of memory for a password that is verified (`ARGON2_KIB`, and a little).
const PASSWORD: u64 = 20 << 20;

/// What is left to things that nobody counts: a large mailbox that is open, a search, the queue.
const MARGIN: u64 = 32 << 20;
/// What a process has at its start, where the system does not tell.
const START: u64 = 64 << 20;
/// A server in which a listener has fewer places serves nobody.
const PLACES_LEAST: u64 = 4;
/// Connections beyond all limits that are let in to be told so.
const SPARE: u32 = 64;

/// What a runtime needs, in bytes of address space.
#[derive(Debug, Clone, Copy)]
pub struct Needs {
    /// Of threads that it has whoever is connected.
    pub threads: u64,
    /// Of each connection, whichever way it goes.
    pub connection: u64,
}

/// What there is for whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Means {
    /// Bytes that the process may have.
    pub limit: u64,
    /// Connections at the same time, those from other hosts and those to them.
    pub connections: u64,
    /// Bytes of memory of messages that are on their way in.
    pub(crate) messages: usize,
    /// Messages whose index is kept although nobody uses their mailbox.
    pub(crate) idle_messages: usize,
    /// Passwords that are verified at a time.
    pub(crate) passwords: usize,
}

/// Why a server does not start.
#[derive(Debug)]
pub enum MeansError {
    /// Nobody could be served. With the limit, and the least that would do, in bytes.
    TooLittle(u64, u64),
    /// It cannot start itself again.
    Again(io::Error),
}

static MEANS: OnceLock<Means> = OnceLock::new();

/// Finds out what this process may have; it may start itself again on the way, so call it first. Everything it may ask for later depends on it.
///
/// # Errors
/// If it is too little for any service.
pub fn settle(needs: Needs, listeners: usize) -> Result<(), MeansError> {
    let Some(bounds) = bounds() else { return Ok(()) };
    be_frugal().map_err(MeansError::Again)?;
    let _ = MEANS.set(share(bounds, needs, listeners)?);
    Ok(())
}

/// What a server would have if it were started as this process was.
///
/// # Errors
/// As [`settle`].
pub(crate) fn foresee(needs: Needs, listeners: usize) -> Result<Option<Means>, MeansError> {
    bounds().map(|bounds| share(bounds, needs, listeners)).transpose()
}

/// What there is for whom; `None` if there is no limit to it.
pub fn means() -> Option<Means> {
    MEANS.get().copied()
}

/// Connections from other hosts at the same time, with some beyond the limit of all listeners that are let in in order to be told so.
pub fn most_at_once(config: &Config) -> usize {
    let spare = means().map_or(SPARE, |means| means.spare());
    config.limits.connections as usize * config.listeners().len() + spare as usize
}

/// A configuration whose limits can be kept.
pub(crate) fn kept_within(mut config: Config) -> Config {
    if let Some(means) = means() {
        config.limits.connections = config.limits.connections.min(means.places(config.listeners().len()));
        config.queue.connections = config.queue.connections.min(means.outgoing());
    }
    config
}

/// Passwords that are verified at a time: two for each core.
pub(crate) fn passwords() -> usize {
    means().map_or_else(all_passwords, |means| means.passwords)
}

/// Bytes of memory of messages that are on their way in.
pub(crate) fn messages() -> usize {
    means().map_or(MEMORY_MAX, |means| means.messages)
}

/// Messages whose index is kept although nobody uses their mailbox.
pub(crate) fn idle_messages() -> usize {
    means().map_or(IDLE_MESSAGES, |means| means.idle_messages)
}

impl Means {
    /// Connections of each listener: five eighths of all are theirs.
    pub fn places(&self, listeners: usize) -> u32 {
        whole(self.connections * 5 / 8 / listeners.max(1) as u64)
    }

    /// Connections to other servers.
    pub(crate) fn outgoing(&self) -> u32 {
        whole(self.connections / 8)
    }

    /// Questions to name servers at a time.
    pub(crate) fn questions(&self) -> u32 {
        whole(self.connections / 8)
    }

    fn spare(&self) -> u32 {
        SPARE.min(whole(self.connections / 8))
    }
}

fn whole(n: u64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// What a process may have and what it has, in bytes.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    limit: u64,
    used: u64,
}

fn share(Bounds { limit, used }: Bounds, needs: Needs, listeners: usize) -> Result<Means, MeansError> {
    let taken = used + MARGIN + needs.threads;
    let free = limit.saturating_sub(taken);
    let part = free / 8;
    let means = Means {
        limit,
        connections: part * 4 / needs.connection,
        messages: MEMORY_MAX.min(usize::try_from(part).unwrap_or(usize::MAX)),
        idle_messages: IDLE_MESSAGES.min(usize::try_from(part / IDLE_MESSAGE).unwrap_or(usize::MAX)),
        passwords: all_passwords().min(usize::try_from(part / PASSWORD).unwrap_or(usize::MAX)).max(1),
    };
    if u64::from(means.places(listeners)) < PLACES_LEAST {
        let places = (PLACES_LEAST * listeners as u64 * 8).div_ceil(5);
        return Err(MeansError::TooLittle(limit, taken + places * needs.connection * 2));
    }
    Ok(means)
}

fn all_passwords() -> usize {
    2 * available_parallelism().map_or(1, NonZero::get)
}

/// The limit that is reached first, if there is one.
fn bounds() -> Option<Bounds> {
    let used = used();
    let bounds = |limit: Option<u64>, used| limit.map(|limit| Bounds { limit, used });
    // Of all of it there is no limit on OpenBSD, and what is written to has one; on Linux it has one too. Elsewhere that limit knows only brk(2), which
    // is not what memory is asked from.
    #[cfg(not(target_os = "openbsd"))]
    let all = bounds(getrlimit(Resource::As).current, used.all);
    #[cfg(target_os = "openbsd")]
    let all = None;
    let data = match cfg!(any(target_os = "linux", target_os = "openbsd")) {
        true => bounds(getrlimit(Resource::Data).current, used.data),
        false => None,
    };
    [all, data].into_iter().flatten().min_by_key(|bounds: &Bounds| bounds.limit.saturating_sub(bounds.used))
}

struct Used {
    all: u64,
    data: u64,
}

/// proc_pid_statm(5), where there is such a file.
fn used() -> Used {
    let pages = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let mut pages = pages.split(' ').map(|n| n.trim().parse::<u64>().ok());
    let mut bytes = |skip| pages.nth(skip).flatten().map_or(START, |n| n.saturating_mul(rustix::param::page_size() as u64));
    Used { all: bytes(0), data: bytes(4) }
}

/// Starts this program again in an environment in which it needs little; returns if it is in one.
fn be_frugal() -> io::Result<()> {
    if FRUGAL.iter().all(|(name, value)| env::var(name).is_ok_and(|is| is == value.to_string())) {
        return Ok(());
    }
    let mut args = env::args_os();
    let mut again = Command::new(env::current_exe()?);
    if let Some(name) = args.next() {
        again.arg0(name);
    }
    again.args(args).envs(FRUGAL.map(|(name, value)| (name, value.to_string())));
    Err(again.exec())
}

/// Bytes, as an operator says them.
fn mib(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

impl fmt::Display for Means {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the process may have {} MiB of memory (ulimit -v, ulimit -d), which do for {} connections",
            mib(self.limit),
            self.connections
        )
    }
}

impl fmt::Display for MeansError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MeansError::TooLittle(limit, least) => write!(
                f,
                "this process may have {} MiB of memory (ulimit -v, ulimit -d), and serves nobody with less than {}: raise the limit, or listen on fewer ports",
                mib(*limit),
                mib(*least)
            ),
            MeansError::Again(error) => write!(
                f,
                "this process may not have all the memory it asks for (ulimit -v, ulimit -d), and cannot start itself again with one heap and small stacks: \
                 {error}; start it with {} in its environment",
                FRUGAL.map(|(name, value)| format!("{name}={value}")).join(" ")
            ),
        }
    }
}

impl std::error::Error for MeansError {}

#[cfg(test)]
mod tests {
    use super::*;

    const NEEDS: Needs = Needs { threads: 10 << 20, connection: 1 << 20 };

    #[test]
    fn what_fits_is_shared() {
        let means = |mib: u64, listeners| share(Bounds { limit: mib << 20, used: 50 << 20 }, NEEDS, listeners);
        let little = means(412, 8).unwrap();
        assert_eq!((little.connections, little.places(8), little.outgoing(), little.spare()), (160, 12, 20, 20));
        assert_eq!((little.messages, little.idle_messages, little.passwords), (40 << 20, 419_430, 2.min(all_passwords())));
        // All together is no more than there is for connections.
        assert!(u64::from(little.places(8)) * 8 + u64::from(little.outgoing() + little.questions() + little.spare()) <= little.connections);
        let much = means(1 << 20, 8).unwrap();
        assert_eq!((much.messages, much.idle_messages, much.passwords, much.spare()), (MEMORY_MAX, IDLE_MESSAGES, all_passwords(), SPARE));
    }

    #[test]
    fn too_little_says_how_much_would_do() {
        let try_with = |limit| share(Bounds { limit, used: 50 << 20 }, NEEDS, 14);
        let Err(MeansError::TooLittle(_, least)) = try_with(100 << 20) else { panic!("it is too little") };
        assert!(try_with(least).is_ok() && try_with(least - (4 << 20)).is_err());
    }

    #[test]
    fn what_is_used_is_known() {
        let Used { all, data } = used();
        assert!(data > 0 && all >= data, "{all} {data}");
        assert!(!cfg!(target_os = "linux") || all % rustix::param::page_size() as u64 == 0 && all != START);
    }
}
