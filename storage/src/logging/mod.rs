//! The log: one line an event on standard error, as `key=value` or JSON.
//!
//! Offices and runtimes speak through `tracing`; this is the one place that prints. Every value is escaped, so nothing that a peer
//! said can begin a line of its own. A log that cannot be written is not an error: mail goes on.
//!
//! Once a runtime has given a thread to [`pour`], nobody else waits for whoever reads the log: lines go into a bounded ring, and what does not fit is
//! counted and left out. What a peer can cause without end has a budget.

mod budget;
mod form;
mod ring;

use budget::Budget;
use config::{LogFormat, Logging};
use form::{Json, Line, Text};
use ring::Ring;
use std::{
    io::Write as _,
    panic,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU8, Ordering::Relaxed},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tracing::{Event, Level, Metadata, Subscriber, level_filters::LevelFilter, span, subscriber::Interest};

static LEVEL: AtomicU8 = AtomicU8::new(INFO);
static JSON: AtomicBool = AtomicBool::new(false);
/// Whether somebody writes what waits.
static WRITTEN: AtomicBool = AtomicBool::new(false);
static RING: Ring = Ring::new();
static BUDGET: Mutex<Budget> = Mutex::new(Budget::new());

/// How often it is looked whether there is something to say of peers who used up their budget.
const ROUND_MS: u64 = 10_000;
/// How long whoever panics waits for the line that says so: if the process ends by it, nobody else would write it.
const LAST_WORDS: Duration = Duration::from_millis(100);

const ERROR: u8 = 1;
const INFO: u8 = 3;
const DEBUG: u8 = 4;

/// Starts logging, or changes how it is done (a reload). From here on panics are events as well.
pub fn start(taste: &Logging) {
    LEVEL.store(rank_of(&taste.level), Relaxed);
    JSON.store(taste.format == LogFormat::Json, Relaxed);
    if tracing::subscriber::set_global_default(Journal).is_ok() {
        panic::set_hook(Box::new(|info| {
            let message = info.payload_as_str().unwrap_or("not a text");
            match info.location() {
                Some(at) => tracing::error!(message, file = at.file(), line = at.line(), "panic"),
                None => tracing::error!(message, "panic"),
            }
            finish(LAST_WORDS);
        }));
    }
}

/// From now on what is logged waits for [`pour`], and nobody waits for it. Without this, as in commands, whoever logs writes.
pub fn hold() {
    RING.open();
}

/// Writes what is logged, until the process ends. A runtime gives it a thread of its own.
pub fn pour() {
    WRITTEN.store(true, Relaxed);
    let mut told = crate::clock::now();
    loop {
        // If nobody reads it, this waits, and lines are lost; if it cannot be written, nobody can be told.
        RING.write(&mut std::io::stderr(), Duration::from_millis(ROUND_MS), lost);
        if crate::clock::now() < told.after(ROUND_MS) {
            continue;
        }
        told = crate::clock::now();
        let due = BUDGET.lock().unwrap_or_else(PoisonError::into_inner).summaries();
        for (peer, lines) in due {
            let text = own(Level::WARN, "lines of one peer were left out", Some(&peer), lines);
            // Whatever does not fit is counted there.
            let _ = RING.push(text, false, lost);
        }
    }
}

/// Waits until everything is written that was logged, but not for longer than this.
pub fn finish(limit: Duration) {
    if WRITTEN.load(Relaxed) {
        return RING.wait_until_written(limit);
    }
    // It ends before there was a thread for it.
    while RING.has_more() {
        RING.write(&mut std::io::stderr(), Duration::ZERO, lost);
    }
}

/// Lines that were lost because nobody read the log.
pub fn lost_lines() -> u64 {
    RING.lost_lines()
}

fn lost(lines: u64) -> String {
    own(Level::ERROR, "lines of this log were lost: nobody read it", None, lines)
}

fn own(level: Level, event: &str, peer: Option<&str>, lines: u64) -> String {
    if JSON.load(Relaxed) {
        form::own_line::<Json>(level, since(), event, peer, lines)
    } else {
        form::own_line::<Text>(level, since(), event, peer, lines)
    }
}

fn since() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Unknown words mean `info`; the configuration is checked before it gets here.
fn rank_of(level: &str) -> u8 {
    match level {
        "error" => ERROR,
        "warn" => 2,
        "debug" | "trace" => DEBUG,
        _ => INFO,
    }
}

fn rank(level: Level) -> u8 {
    match level {
        Level::ERROR => ERROR,
        Level::WARN => 2,
        Level::INFO => INFO,
        Level::DEBUG => DEBUG,
        Level::TRACE => 5,
    }
}

/// The subscriber. It knows no spans: ids in the events connect the steps of a connection and of a message.
struct Journal;

impl Subscriber for Journal {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        // Not `always`: a reload may change the level.
        if rank(*metadata.level()) <= DEBUG { Interest::sometimes() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        rank(*metadata.level()) <= LEVEL.load(Relaxed)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::DEBUG)
    }

    fn event(&self, event: &Event<'_>) {
        let since = since();
        let line = if JSON.load(Relaxed) { form::line::<Json>(event, since) } else { form::line::<Text>(event, since) };
        let Line { text, peer, is_error } = line;
        if let Some(peer) = peer
            && !BUDGET.lock().unwrap_or_else(PoisonError::into_inner).spend(&peer, crate::clock::now().0)
        {
            return;
        }
        if let Err(text) = RING.push(text, is_error, lost) {
            // One write, so that lines of different threads never mix. Nobody can be told when it fails.
            let _ = std::io::stderr().write_all(text.as_bytes());
        }
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}
