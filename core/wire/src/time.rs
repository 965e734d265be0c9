//! Time as an input.

use crate::limits::{WRITE_GRACE_MS, WRITE_RATE};

/// Monotonic milliseconds since some moment in the past. Only a host makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Tick(pub u64);

impl Tick {
    /// This moment and `ms` milliseconds.
    pub const fn after(self, ms: u64) -> Tick {
        Tick(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to here; 0 if that lies ahead.
    pub const fn since(self, earlier: Tick) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// A deadline that moves with progress, so that a peer that drips one byte at a time still ends: it starts `grace_ms`
/// ahead and every received byte pushes it on by the time that byte may take at the least rate.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    deadline: Tick,
    bytes: u64,
    rate: u64,
    grace_ms: u64,
}

impl Pace {
    /// Allows `grace_ms`, and then `rate` bytes a second (at least 1).
    pub fn new(now: Tick, grace_ms: u64, rate: u64) -> Pace {
        Pace { deadline: now.after(grace_ms), bytes: 0, rate: rate.max(1), grace_ms }
    }

    /// `n` bytes arrived. Credit is never banked beyond the grace from now.
    pub fn arrived(&mut self, now: Tick, n: usize) {
        self.bytes += n as u64 * 1000;
        let ms = self.bytes / self.rate;
        self.bytes %= self.rate;
        self.deadline = self.deadline.after(ms).min(now.after(self.grace_ms));
    }

    /// Allows less than it did: from now on pauses of `grace_ms` at most.
    pub fn hurry(&mut self, now: Tick, grace_ms: u64) {
        self.grace_ms = self.grace_ms.min(grace_ms);
        self.deadline = self.deadline.min(now.after(self.grace_ms));
    }

    /// When patience ends.
    pub fn deadline(&self) -> Tick {
        self.deadline
    }
}

/// How long a host waits for a peer to take what is written to it. Only time that is waited counts, over all of a connection, and what the peer takes
/// wins time back: one that takes an octet now and then ends.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    left_ms: u64,
    bytes: u64,
}

impl Patience {
    /// [`WRITE_GRACE_MS`] of it.
    pub const fn new() -> Patience {
        Patience { left_ms: WRITE_GRACE_MS, bytes: 0 }
    }

    /// So long nothing was taken.
    pub fn waited(&mut self, ms: u64) {
        self.left_ms = self.left_ms.saturating_sub(ms);
    }

    /// `n` bytes were taken.
    pub fn took(&mut self, n: usize) {
        self.bytes += n as u64 * 1000;
        self.left_ms = self.left_ms.saturating_add(self.bytes / WRITE_RATE).min(WRITE_GRACE_MS);
        self.bytes %= WRITE_RATE;
    }

    /// How long it lasts; 0 when it has ended.
    pub const fn left_ms(&self) -> u64 {
        self.left_ms
    }
}

impl Default for Patience {
    fn default() -> Patience {
        Patience::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drip_ends_and_a_stream_does_not() {
        let mut now = Tick(0);
        let mut drip = Pace::new(now, 60_000, 100);
        let mut stream = drip;
        for _ in 0..100 {
            now = now.after(1000);
            drip.arrived(now, 1);
            stream.arrived(now, 1000);
        }
        assert!(drip.deadline() < now);
        assert_eq!(stream.deadline(), now.after(60_000));
    }

    #[test]
    fn who_is_in_a_hurry_allows_less() {
        let mut pace = Pace::new(Tick(0), 300_000, 500);
        pace.arrived(Tick(1000), 1000);
        pace.hurry(Tick(1000), 10_000);
        assert_eq!(pace.deadline(), Tick(11_000));
        pace.arrived(Tick(2000), 1_000_000);
        assert_eq!(pace.deadline(), Tick(12_000), "nothing is banked beyond it");
    }

    #[test]
    fn who_reads_a_byte_a_minute_ends_and_who_is_slow_does_not() {
        let (mut drip, mut slow) = (Patience::new(), Patience::new());
        for _ in 0..60 {
            drip.waited(60_000);
            drip.took(1);
            // 32 KiB each minute.
            slow.waited(59_000);
            slow.took(32 << 10);
        }
        assert_eq!(drip.left_ms(), 2, "all but what the last byte won back");
        assert!(slow.left_ms() > 200_000);
    }
}
