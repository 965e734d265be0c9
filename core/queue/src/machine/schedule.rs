//! When a recipient is tried again.

use alloc::vec::Vec;

/// The first pause of the smooth schedule, in milliseconds.
const FIRST_MS: u64 = 60_000;

/// The longest.
const LONGEST_MS: u64 = 4 * 3_600_000;

/// When a recipient that could not be reached is tried again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Retry {
    /// After a minute, then half as long again each time, up to four hours; a tenth earlier or later by chance, so that what failed together does not
    /// come back together.
    #[default]
    Smooth,
    /// As Courier's manual has it: 5, 5, 15, then 5, 5, 30, then 5, 5, 60 minutes, and from then on 5, 5, 120.
    Courier,
    /// After so many milliseconds each; the last one again and again.
    List(Vec<u64>),
}

impl Retry {
    /// The pause after the attempt with this number, from 1. `dice` is random.
    pub fn pause_ms(&self, attempt: u16, dice: u64) -> u64 {
        let attempt = attempt.max(1);
        match self {
            Retry::Smooth => {
                let mut pause = FIRST_MS;
                for _ in 1..attempt {
                    pause = (pause + pause / 2).min(LONGEST_MS);
                    if pause == LONGEST_MS {
                        break;
                    }
                }
                let tenth = pause / 10;
                pause - tenth + dice % (2 * tenth + 1)
            }
            Retry::Courier if !attempt.is_multiple_of(3) => 5 * 60_000,
            Retry::Courier => (15 * 60_000) << (attempt / 3 - 1).min(3),
            Retry::List(list) => list.get(usize::from(attempt) - 1).or(list.last()).copied().unwrap_or(LONGEST_MS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedules() {
        let minutes = |retry: &Retry| (1..=12).map(|n| retry.pause_ms(n, 0) / 60_000).collect::<Vec<_>>();
        assert_eq!(minutes(&Retry::Courier), [5, 5, 15, 5, 5, 30, 5, 5, 60, 5, 5, 120]);
        assert_eq!(Retry::Courier.pause_ms(u16::MAX, 0), 120 * 60_000);
        assert_eq!(Retry::List([1000, 2000].into()).pause_ms(9, 0), 2000);
        let smooth: Vec<u64> = (1..=5).map(|n| Retry::Smooth.pause_ms(n, 6_000 * n as u64)).collect();
        assert!(smooth.is_sorted(), "{smooth:?}");
        for dice in [0, 1, 7, u64::MAX] {
            for attempt in [0, 1, 2, 50, u16::MAX] {
                assert!((54_000..=LONGEST_MS + LONGEST_MS / 10).contains(&Retry::Smooth.pause_ms(attempt, dice)));
            }
        }
    }
}
