//! How much somebody may send: tokens that come back with time.

use crate::limits::SENDERS_MAX;
use alloc::{boxed::Box, collections::BTreeMap, vec::Vec};

/// The time over which limits are given, in milliseconds: an hour.
const HOUR_MS: u64 = 3_600_000;

/// How much may be sent in an hour; no limit if 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limit {
    /// Messages.
    pub messages: u32,
    /// Recipients.
    pub recipients: u32,
}

/// What everybody has sent lately.
#[derive(Debug, Default)]
pub struct Rates {
    senders: BTreeMap<Box<str>, Spent>,
}

/// What one sender has used up, in thousandths, so that a trickle is not rounded away.
#[derive(Debug, Clone, Copy)]
struct Spent {
    messages: u64,
    recipients: u64,
    at_ms: u64,
}

impl Limit {
    fn times(self, n: u32) -> Limit {
        Limit { messages: self.messages.saturating_mul(n), recipients: self.recipients.saturating_mul(n) }
    }
}

impl Rates {
    /// Takes one message with so many recipients from what each of `senders` may send: some times `limit`, as their number says. False, and nothing
    /// is taken, if one of them has not so much left.
    pub fn take(&mut self, senders: &[(&str, u32)], limit: Limit, recipients: u32, now_ms: u64) -> bool {
        if limit == Limit::default() {
            return true;
        }
        let spent: Option<Vec<Spent>> =
            senders.iter().map(|(sender, times)| self.after(sender, limit.times(*times), recipients, now_ms)).collect();
        let Some(spent) = spent else { return false };
        for ((sender, _), spent) in senders.iter().zip(spent) {
            if self.senders.len() >= SENDERS_MAX && !self.senders.contains_key(*sender) {
                self.forget(now_ms);
            }
            self.senders.insert((*sender).into(), spent);
        }
        true
    }

    /// What `sender` will have spent after one more message; nothing if that is too much.
    fn after(&self, sender: &str, limit: Limit, recipients: u32, now_ms: u64) -> Option<Spent> {
        let before = self.senders.get(sender).copied().unwrap_or(Spent { messages: 0, recipients: 0, at_ms: now_ms });
        let passed = now_ms.saturating_sub(before.at_ms).min(HOUR_MS);
        let rest = |spent: u64, limit: u32| spent.saturating_sub(u64::from(limit) * 1000 * passed / HOUR_MS);
        let spent = Spent {
            messages: rest(before.messages, limit.messages) + 1000,
            recipients: rest(before.recipients, limit.recipients) + u64::from(recipients) * 1000,
            at_ms: now_ms,
        };
        let over = |spent: u64, limit: u32| limit > 0 && spent > u64::from(limit) * 1000;
        let is_over = over(spent.messages, limit.messages) || over(spent.recipients, limit.recipients);
        (!is_over).then_some(spent)
    }

    /// Forgets those who have sent nothing for an hour; if these are few, also the half that has sent the least.
    fn forget(&mut self, now_ms: u64) {
        self.senders.retain(|_, spent| now_ms.saturating_sub(spent.at_ms) < HOUR_MS);
        if self.senders.len() > SENDERS_MAX / 2 {
            let mut all: Vec<u64> = self.senders.values().map(|spent| spent.messages).collect();
            let middle = all.len() / 2;
            let median = *all.select_nth_unstable(middle).1;
            self.senders.retain(|_, spent| spent.messages > median);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_up_comes_back() {
        let mut rates = Rates::default();
        let limit = Limit { messages: 10, recipients: 30 };
        for n in 0..10 {
            assert!(rates.take(&[("a", 1)], limit, 3, 0), "{n}");
        }
        assert!(!rates.take(&[("a", 1)], limit, 1, 0));
        assert!(rates.take(&[("b", 1)], limit, 1, 0));
        assert!(!rates.take(&[("a", 1)], limit, 1, HOUR_MS / 10 - 1));
        assert!(rates.take(&[("a", 1)], limit, 3, HOUR_MS / 10));
        assert!(!rates.take(&[("a", 1)], limit, 31, 10 * HOUR_MS), "more than there ever is");
        assert!(rates.take(&[("a", 1)], limit, 30, 10 * HOUR_MS));
        assert!(rates.take(&[("c", 1)], Limit::default(), u32::MAX, 0));
    }

    #[test]
    fn many_of_one_network_have_no_more_than_the_network() {
        let mut rates = Rates::default();
        let limit = Limit { messages: 2, recipients: 0 };
        let mut sent = 0;
        for n in 0..100 {
            let own = alloc::format!("2001:db8:0:{n}::/64");
            sent += u32::from(rates.take(&[(&own, 1), ("2001:db8::/48", 16)], limit, 1, 0));
        }
        assert_eq!(sent, 32);
        assert!(!rates.senders.contains_key("2001:db8:0:99::/64"), "nothing is taken from one if another has nothing left");
    }

    #[test]
    fn the_table_is_bounded() {
        let mut rates = Rates::default();
        let limit = Limit { messages: 2, recipients: 0 };
        assert!(rates.take(&[("busy", 1)], limit, 1, 0) && rates.take(&[("busy", 1)], limit, 1, 0));
        for n in 0..SENDERS_MAX * 2 {
            rates.take(&[(&alloc::format!("{n}"), 1)], limit, 1, 1);
        }
        assert!(rates.senders.len() <= SENDERS_MAX);
        assert!(!rates.take(&[("busy", 1)], limit, 1, 1), "who has used up most is remembered");
    }
}
