//! What peers may cost the log: lines that say why something of theirs came to nothing.

use post::Network;
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

/// Lines of one peer at once, and so many in a minute. Enough to see what it does, and for programs that lock out who guesses passwords.
const LINES: u64 = 60;
const MINUTE_MS: u64 = 60_000;
/// Peers that are told apart; all others share one budget.
const PEERS_MAX: usize = 4096;

/// A bucket of lines for each peer, and one for those who are not told apart.
pub struct Budget(BTreeMap<Option<Network>, Bucket>);

struct Bucket {
    /// Lines that were spent, in parts of a minute.
    spent_ms: u64,
    at_ms: u64,
    /// Lines that were left out since that was last told.
    left_out: u64,
}

impl Bucket {
    fn refill(&mut self, now_ms: u64) {
        self.spent_ms = self.spent_ms.saturating_sub(now_ms.saturating_sub(self.at_ms));
        self.at_ms = now_ms;
    }
}

impl Budget {
    pub const fn new() -> Budget {
        Budget(BTreeMap::new())
    }

    /// Takes a line of what a peer may cost; false if it has to be left out.
    pub fn spend(&mut self, peer: &str, now_ms: u64) -> bool {
        let mut network = network(peer);
        if self.0.len() >= PEERS_MAX && !self.0.contains_key(&network) {
            self.0.values_mut().for_each(|bucket| bucket.refill(now_ms));
            self.0.retain(|_, bucket| bucket.spent_ms > 0 || bucket.left_out > 0);
            if self.0.len() >= PEERS_MAX {
                network = None;
            }
        }
        let bucket = self.0.entry(network).or_insert(Bucket { spent_ms: 0, at_ms: now_ms, left_out: 0 });
        bucket.refill(now_ms);
        let is_in = bucket.spent_ms + MINUTE_MS / LINES <= MINUTE_MS;
        if is_in {
            bucket.spent_ms += MINUTE_MS / LINES;
        } else {
            bucket.left_out += 1;
        }
        is_in
    }

    /// Whose lines were left out since the last time, and how many.
    pub fn summaries(&mut self) -> Vec<(String, u64)> {
        let left_out = self.0.iter_mut().filter(|(_, bucket)| bucket.left_out > 0);
        left_out
            .map(|(network, bucket)| {
                let network = network.map_or_else(|| "others".to_owned(), |network| network.to_string());
                (network, std::mem::take(&mut bucket.left_out))
            })
            .collect()
    }
}

/// Who is one peer.
fn network(peer: &str) -> Option<Network> {
    let address: Result<IpAddr, _> = peer.parse::<SocketAddr>().map(|peer| peer.ip()).or_else(|_| peer.parse());
    address.ok().map(Network::of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_has_its_lines_and_no_more() {
        let mut budget = Budget::new();
        let spent = |budget: &mut Budget, peer: &str, now_ms| (0..100).filter(|_| budget.spend(peer, now_ms)).count();
        assert_eq!(spent(&mut budget, "192.0.2.1:7", 0), 60);
        assert_eq!(spent(&mut budget, "192.0.2.1:8", 0), 0);
        assert_eq!(spent(&mut budget, "[2001:db8::1]:7", 0), 60);
        assert_eq!(spent(&mut budget, "[2001:db8::2]:7", 0), 0);
        assert_eq!(spent(&mut budget, "192.0.2.2:7", 0), 60);
        assert_eq!(budget.summaries(), [("192.0.2.1".to_owned(), 140), ("192.0.2.2".to_owned(), 40), ("2001:db8::/64".to_owned(), 140)]);
        assert_eq!((budget.summaries().len(), spent(&mut budget, "192.0.2.1:7", 10_000)), (0, 10));
    }

    #[test]
    fn many_peers_take_no_more_memory() {
        let mut budget = Budget::new();
        for n in 0..20_000u32 {
            budget.spend(&format!("{}:1", std::net::Ipv4Addr::from_bits(n)), 0);
        }
        assert_eq!(budget.0.len(), PEERS_MAX + 1);
        budget.spend("192.0.2.1:1", MINUTE_MS);
        assert!(budget.0.len() < 4);
    }
}
