//! Time as an input.

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

    /// When patience ends.
    pub fn deadline(&self) -> Tick {
        self.deadline
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
}
