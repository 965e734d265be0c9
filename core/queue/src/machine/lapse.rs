//! What the clocks did since the last run, so that a wrong one gives nothing up.
//!
//! The age of a message is time in which somebody could try: the time that a server ran, and pauses of usual length. What else a clock says has passed, or
//! has not, is not counted. Moments that somebody named (by when, not before) are the time of day, whatever it is.

use super::Queue;
use alloc::vec::Vec;

/// How long a message that comes back too late is tried once more, in seconds.
pub(super) const ONCE_MORE_S: u32 = 3600;

/// By how much times that were written in the last run are moved, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lapse {
    /// Times of the queue that age is counted from: what the clock says has passed and does not count. Negative if it went back.
    pub age_ms: i64,
    /// Times of the queue that somebody named: by how much the clock was set while the last run counted on.
    pub set_ms: i64,
    /// Times of day, when they tell how old something is.
    pub stamp_ms: i64,
}

impl Lapse {
    /// A time of the queue that says how old something is.
    pub(super) fn aged_s(&self, seconds: u32) -> u32 {
        shifted_s(seconds, self.age_ms)
    }

    /// A time of the queue that somebody named.
    pub(super) fn named_s(&self, seconds: u32) -> u32 {
        shifted_s(seconds, self.set_ms)
    }

    /// The same in milliseconds.
    pub fn named_ms(&self, ms: u64) -> u64 {
        ms.saturating_add_signed(self.set_ms)
    }

    /// When a message is given up at a time that somebody named; others of its age are given up at `usual_s`. A clock that went back keeps nothing for
    /// longer than that, unless an operator wanted it: the time of day may be years away until somebody sets the clock.
    pub(super) fn named_end_s(&self, seconds: u32, usual_s: u32) -> u32 {
        let named = self.named_s(seconds);
        if self.aged_s(seconds) > usual_s { named } else { named.min(usual_s) }
    }

    /// When a recipient is tried again: a clock that went forward makes it due, one that went back must not put it off.
    pub(super) fn retry_ms(&self, ms: u64) -> u64 {
        ms.saturating_add_signed(self.age_ms.min(0))
    }

    /// When something arrived, by the time of day that was written then, if it is given up after so many milliseconds.
    pub fn arrived_ms(&self, stamp_ms: u64, now_ms: u64, give_up_after_ms: u64) -> u64 {
        let too_old = |ms: u64| now_ms.saturating_sub(ms) >= give_up_after_ms;
        // Nothing arrives in the future: a clock that was set back would keep it for longer than anybody waits.
        let arrived = stamp_ms.saturating_add_signed(self.stamp_ms).min(now_ms);
        // Perhaps the clock was set after that, while the server ran.
        if too_old(arrived) { stamp_ms.saturating_add_signed(self.age_ms).min(now_ms).max(arrived) } else { arrived }
    }
}

impl Queue {
    /// What the clocks did since the states and records were written that are told now. Before the first of them.
    pub fn resume(&mut self, lapse: Lapse) {
        self.lapse = lapse;
    }

    /// In the last run an operator said when a message is given up, in milliseconds since 1970. False if there is no such message.
    pub fn give_up_again(&mut self, id: u64, when_ms: u64) -> bool {
        let Some(message) = self.messages.get(&id) else { return false };
        let usual_s = message.from_s.saturating_add(self.settings.give_up_after_s);
        let when_s = self.lapse.named_end_s(super::seconds(when_ms), usual_s);
        self.give_up_at(id, u64::from(when_s) * 1000)
    }

    /// When a message of the last run arrived, by the time of day that was written then.
    pub fn arrived_ms(&self, stamp_ms: u64, now_ms: u64) -> u64 {
        self.lapse.arrived_ms(stamp_ms, now_ms, u64::from(self.settings.give_up_after_s) * 1000)
    }

    /// Somebody knows that the clock was right: what passed before this run counts as age after all, of the messages before this id. Says how much that is
    /// in milliseconds; nothing if it counts already. What is too late by it is tried once more.
    pub fn trust(&mut self, now_ms: u64, before: u64) -> u64 {
        let age_ms = core::mem::take(&mut self.lapse).age_ms;
        if age_ms <= 0 {
            // It went back: nobody gets older by that.
            return 0;
        }
        let back = |seconds: u32| shifted_s(seconds, -age_ms);
        let ids: Vec<u64> = self.messages.range(..before).map(|(id, _)| *id).collect();
        for id in ids {
            self.unwatch(id);
            let Some(message) = self.messages.get_mut(&id) else { continue };
            (message.arrived_s, message.from_s) = (back(message.arrived_s), back(message.from_s));
            if !message.named {
                message.give_up_s = back(message.give_up_s).max(super::seconds(now_ms) + ONCE_MORE_S);
            }
            self.watch_new(id);
        }
        age_ms.unsigned_abs()
    }

    /// What was told to [`Queue::resume`].
    pub fn lapse(&self) -> Lapse {
        self.lapse
    }
}

fn shifted_s(seconds: u32, by_ms: i64) -> u32 {
    u32::try_from((i64::from(seconds) + by_ms / 1000).max(0)).unwrap_or(u32::MAX)
}
