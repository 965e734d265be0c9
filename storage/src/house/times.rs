//! What time it is for the queue, and what the next start is told of the clocks.

use super::House;
use crate::times::Times;
use std::{io, sync::PoisonError};

impl House {
    /// The time of the queue: milliseconds since 1970, as far as the time of day was right when the house was opened. Never goes back.
    pub(crate) fn queue_ms(&self) -> u64 {
        self.start_ms + self.clock.ms()
    }

    /// What the next start will be told of the clocks.
    pub(crate) fn times(&self) -> Times {
        *self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the next start what the clocks say now.
    pub(super) fn keep_times(&self) {
        if self.depot.upto() < self.begun {
            // What was made of the times before is nowhere yet.
            return;
        }
        let wall = u64::try_from(self.clock.wall_ns() / 1_000_000).unwrap_or(0);
        let times = Times { wall, queue: self.queue_ms(), ..self.times() };
        *self.times.lock().unwrap_or_else(PoisonError::into_inner) = times;
        if let Err(error) = times.write(&*self.disk, &self.config().store) {
            tracing::warn!(%error, "the time is not kept for the next start");
        }
    }

    /// When that is by the queue's time: somebody who names a moment means the time of day, which may have been set since the house was opened.
    pub(crate) fn queue_ms_at(&self, seconds: u64) -> u64 {
        let (queue_ms, wall_ms) = (i128::from(self.queue_ms()), self.clock.wall_ns() / 1_000_000);
        let set_ms = queue_ms - wall_ms;
        // By less than a second it was not set: the two were only rounded or read one after the other, and a moment that is named stays what it is.
        let set_ms = if set_ms.abs() < 1000 { 0 } else { set_ms };
        u64::try_from((i128::from(seconds) * 1000 + set_ms).max(0)).unwrap_or(u64::MAX)
    }

    /// An operator says that the clock was right: what it says has passed before the start counts as age after all. Says how many seconds that were.
    ///
    /// # Errors
    /// If a crash would forget it; it counts until then.
    pub(crate) fn trust_clock(&self) -> io::Result<u64> {
        let seconds = self.count_lapse();
        let _alone = self.alone();
        self.spool.look_at_fence()?;
        self.keep_queue()?;
        Ok(seconds)
    }
}
