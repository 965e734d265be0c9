//! A destination: how many connections it bears, and whether it is there at all.
//!
//! The window is that of Postfix's scheduler (its SCHEDULER_README): it grows with each message that goes by the share that one connection is of all, and
//! shrinks so with each connection that fails. As many failures without a success between them as there are connections make the site dead. Unlike there,
//! a site of which nothing is known gets one connection until that got through: else a hundred dead sites would hold all connections while their dials time
//! out.

use super::Settings;
use alloc::{boxed::Box, collections::BTreeSet};

/// Connections that a site gets before anything is known of it.
const INITIAL: f32 = 5.0;

/// How long a site that seems dead is left alone, in milliseconds; half as long again each time, up to the longest.
const REST_MS: u64 = 60_000;
const REST_MAX_MS: u64 = 3_600_000;

/// So many messages go before a site that refused one more connection, while others worked, is asked for one more again. A refused connection costs no
/// message anything, so nothing else would keep a busy site from being dialled all the time.
const PATIENCE: u32 = 1_000;

/// How many turns one part of a large mailing costs it: so many parts of others may go between two of its own.
pub(super) const TURNS: u64 = 16;

/// Where a part stands among those that are ready: those of higher priority first, then by turn.
pub(super) type Place = (i8, u64, u64, u32);

#[derive(Debug)]
pub(super) struct Site {
    pub(super) name: Box<str>,
    /// Parts of messages that could go now: priority (turned round), turn, message, part.
    pub(super) ready: BTreeSet<Place>,
    /// Parts of messages, whatever their state; with none left the site is forgotten.
    pub(super) parts: u32,
    /// Connections, from the moment they are asked for until they are closed.
    pub(super) open: u32,
    /// Of these, such that have not asked for a job yet.
    pub(super) coming: u32,
    /// Of these, such that have none to do.
    pub(super) idle: BTreeSet<u64>,
    /// Whether a connection to it got through since it last seemed dead. Until then one connection finds out.
    pub(super) answered: bool,
    window: f32,
    /// Failures since the last success, as shares of the window.
    failed: f32,
    /// Messages that have to go before the window grows again.
    patient: u32,
    rests: u32,
    /// It seems dead, until then.
    pub(super) dead_until: Option<u64>,
    /// The turn of the part that went last.
    clock: u64,
    /// When it last got a connection, in connections of all sites.
    pub(super) served: u64,
}

impl Site {
    pub(super) fn new(name: &str) -> Site {
        Site {
            name: name.into(),
            ready: BTreeSet::new(),
            parts: 0,
            open: 0,
            coming: 0,
            idle: BTreeSet::new(),
            answered: false,
            window: INITIAL,
            failed: 0.0,
            patient: 0,
            rests: 0,
            dead_until: None,
            clock: 0,
            served: 0,
        }
    }

    /// The turn for the part of a message that is the `nth` that waits here.
    pub(super) fn turn(&self, nth: u64) -> u64 {
        self.clock + nth * TURNS
    }

    /// A part went.
    pub(super) fn went(&mut self, turn: u64) {
        self.clock = (self.clock + 1).max(turn.min(self.clock + TURNS));
    }

    /// Whether one more connection is wanted and borne.
    pub(super) fn wants(&self, settings: &Settings) -> bool {
        let window = if self.answered { (self.window as u32).clamp(1, settings.per_site.max(1)) } else { 1 };
        self.dead_until.is_none() && (self.coming as usize) < self.ready.len() && self.open < window
    }

    /// It took a message, or answered for the first time on a connection. At most so many connections are wanted.
    pub(super) fn succeeded(&mut self, most: u32) {
        (self.failed, self.rests) = (0.0, 0);
        match self.patient.checked_sub(1) {
            Some(left) => self.patient = left,
            // Where nothing waits, more connections would only be woken for one message each.
            None if self.ready.len() < self.open as usize => {}
            None => self.window = (self.window + 1.0 / self.window).min(most as f32),
        }
    }

    /// It did not. True if it seems dead now, until the time in `dead_until`.
    pub(super) fn failed(&mut self, now_ms: u64, dice: u64) -> bool {
        if self.open > self.coming {
            // It bears what it has, and no more; dead it is not.
            (self.window, self.patient) = (self.window.min(self.open as f32), PATIENCE);
            return false;
        }
        self.failed += if self.answered { 1.0 / self.window } else { 1.0 };
        self.window = (self.window - 1.0 / self.window).max(1.0);
        // What floats lose must not keep a dead site alive.
        if self.failed < 0.99 {
            return false;
        }
        let mut rest = REST_MS;
        for _ in 0..self.rests {
            rest = (rest + rest / 2).min(REST_MAX_MS);
        }
        self.rests = (self.rests + 1).min(32);
        self.dead_until = Some(now_ms + rest - rest / 10 + dice % (rest / 5));
        // One goes first when it is over.
        (self.window, self.failed, self.answered, self.patient) = (1.0, 0.0, false, 0);
        true
    }

    /// The rest is over: one connection finds out.
    pub(super) fn revive(&mut self) {
        self.dead_until = None;
    }

    /// An operator says that it is there.
    pub(super) fn flush(&mut self) {
        (self.dead_until, self.rests, self.failed, self.window, self.patient) = (None, 0, 0.0, INITIAL, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_grow_and_shrink() {
        let settings = Settings::default();
        let mut site = Site::new("x");
        assert!(Site::new("y").failed(0, 0), "of a stranger one failure is enough");
        site.answered = true;
        for _ in 0..200 {
            site.succeeded(settings.per_site);
        }
        assert_eq!(site.window as u32, settings.per_site);
        let mut failures = 0;
        while !site.failed(0, 0) {
            failures += 1;
        }
        assert!((15..=20).contains(&failures), "about one for each connection: {failures}");
        let first = site.dead_until.unwrap();
        site.revive();
        assert!(site.failed(0, 0), "one failure of the one that went first is enough");
        assert!(site.dead_until.unwrap() > first);
        for _ in 0..100 {
            site.revive();
            site.failed(0, 0);
        }
        assert!(site.dead_until.unwrap() <= REST_MAX_MS);
    }
}
