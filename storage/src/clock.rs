//! The time. Nothing else in storage reads a clock for what it decides, so that a test can hand in a time of its own.

use crate::mailbox;
use std::{
    sync::{Arc, LazyLock},
    time::Instant,
};
use wire::Tick;

/// Where the monotonic time of this process begins. There is one for all: houses say in it when runtimes are to ask again.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The monotonic time of the machine.
pub fn now() -> Tick {
    Tick(u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX))
}

/// The same moment as the standard library has it. At most 34 years after the start: farther than anybody waits, and still what every system can say.
pub fn instant(tick: Tick) -> Instant {
    *START + std::time::Duration::from_millis(tick.0.min(1 << 40))
}

/// Monotonic milliseconds since some moment in the past.
type Ticks = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Tells the time of day, which may be set and so may jump, and monotonic time, which does not.
#[derive(Clone)]
pub struct Clock {
    wall: mailbox::Clock,
    ticks: Ticks,
}

impl Clock {
    /// The clocks of the machine.
    pub fn system() -> Clock {
        mailbox::system_clock().into()
    }

    /// Clocks of one's own: nanoseconds since 1970, and monotonic milliseconds.
    pub fn new(wall: mailbox::Clock, ticks: impl Fn() -> u64 + Send + Sync + 'static) -> Clock {
        Clock { wall, ticks: Arc::new(ticks) }
    }

    /// Nanoseconds since 1970.
    pub fn wall_ns(&self) -> i128 {
        (self.wall)()
    }

    /// Monotonic milliseconds.
    pub fn ms(&self) -> u64 {
        (self.ticks)()
    }

    /// The time of day alone.
    pub fn wall(&self) -> mailbox::Clock {
        self.wall.clone()
    }
}

/// A time of day of one's own beside the monotonic clock of the machine.
impl From<mailbox::Clock> for Clock {
    fn from(wall: mailbox::Clock) -> Clock {
        Clock::new(wall, || now().0)
    }
}
