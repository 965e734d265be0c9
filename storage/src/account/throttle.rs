//! How often somebody may guess.

use post::Network;
use std::{borrow::Borrow, cmp::Reverse, collections::BTreeMap, net::IpAddr};

/// Most networks, names and acquaintances that are remembered. A table takes about a megabyte then. Beyond, a part of it is forgotten: see
/// [`Table::forget`].
const ENTRIES_MAX: usize = 10_000;
/// How many of a full table are forgotten at once, so that whoever fills it does not make every failure look at all of them.
const FORGOTTEN: usize = ENTRIES_MAX / 16;

/// Failures by network and by name. A network (as [`Network`] knows them, each with its share) or a name with too many failures has to wait. Whoever
/// logged in from a network before is not kept out by strangers who guess at the name, nor by their neighbours.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    /// By whom their like come from.
    networks: Table<Network, Network>,
    names: Table<String, Network>,
    /// By the name.
    acquaintances: Table<(String, Network), String>,
}

/// How many failures, and how long to wait after them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Policy {
    pub failures: u32,
    pub wait_ms: u64,
}

/// What is remembered, and on whose account.
#[derive(Debug)]
struct Table<K, O>(BTreeMap<K, Entry<O>>);

#[derive(Debug, Clone, Copy)]
struct Entry<O> {
    failures: u32,
    last_ms: u64,
    owner: O,
}

impl Throttle {
    /// Whether `name` may try a password from `peer` now.
    pub(crate) fn allows(&self, policy: Policy, name: &str, peer: IpAddr, now_ms: u64) -> bool {
        let name_waits = self.names.waits(policy, name, now_ms);
        // What comes from this machine is everybody's: a proxy or a webmail must not be shut out as a whole, nor be a friend of all.
        if peer.to_canonical().is_loopback() {
            return !name_waits;
        }
        let waits = |(network, share): (Network, u32)| self.networks.waits(policy.times(share), &network, now_ms);
        let known = || self.acquaintances.0.contains_key(&(name.to_owned(), Network::of(peer)));
        let mut networks = Network::all(peer);
        let own_waits = networks.next().is_some_and(waits);
        !own_waits && (!(name_waits || networks.any(waits)) || known())
    }

    /// A wrong password, or an unknown name.
    pub(crate) fn failed(&mut self, policy: Policy, name: &str, peer: IpAddr, now_ms: u64) {
        let around = Network::around(peer);
        for (network, _) in Network::all(peer) {
            self.networks.add(policy, network, around, now_ms);
        }
        self.names.add(policy, name.to_owned(), around, now_ms);
    }

    /// The right one: the name starts afresh. The network does not, or one good account would pay for guesses at all others.
    pub(crate) fn succeeded(&mut self, policy: Policy, name: &str, peer: IpAddr, now_ms: u64) {
        self.names.0.remove(name);
        if !peer.to_canonical().is_loopback() {
            self.acquaintances.add(policy, (name.to_owned(), Network::of(peer)), name.to_owned(), now_ms);
        }
    }
}

impl Policy {
    fn times(self, share: u32) -> Policy {
        Policy { failures: self.failures.saturating_mul(share), ..self }
    }

    /// Whether failures that were `last_ms` still count.
    fn counts(self, last_ms: u64, now_ms: u64) -> bool {
        now_ms < last_ms.saturating_add(self.wait_ms)
    }
}

impl<K: Ord + Clone, O: Ord + Clone> Table<K, O> {
    fn waits<Q: Ord + ?Sized>(&self, policy: Policy, key: &Q, now_ms: u64) -> bool
    where
        K: Borrow<Q>,
    {
        self.0.get(key).is_some_and(|e| e.failures >= policy.failures && policy.counts(e.last_ms, now_ms))
    }

    fn add(&mut self, policy: Policy, key: K, owner: O, now_ms: u64) {
        if let Some(entry) = self.0.get_mut(&key) {
            // Failures that are long ago are forgiven.
            entry.failures = if policy.counts(entry.last_ms, now_ms) { entry.failures.saturating_add(1) } else { 1 };
            entry.last_ms = now_ms;
            return;
        }
        if self.0.len() >= ENTRIES_MAX {
            self.forget(policy, now_ms);
        }
        self.0.insert(key, Entry { failures: 1, last_ms: now_ms, owner });
    }

    /// Makes room. What counts no more goes first; then what belongs to those who have the most here, the least of it first. So whoever tries
    /// thousands of names (or logs in from thousands of networks) pushes out their own, and never what is remembered of others.
    fn forget(&mut self, policy: Policy, now_ms: u64) {
        let mut owned: BTreeMap<O, usize> = BTreeMap::new();
        for entry in self.0.values() {
            *owned.entry(entry.owner.clone()).or_default() += 1;
        }
        let worth = |e: &Entry<O>| (policy.counts(e.last_ms, now_ms), Reverse(owned[&e.owner]), e.failures, e.last_ms);
        let mut all: Vec<_> = self.0.iter().map(|(key, entry)| (worth(entry), key.clone())).collect();
        all.sort_unstable();
        for (_, key) in all.iter().take(FORGOTTEN) {
            self.0.remove(key);
        }
    }
}

impl<K, O> Default for Table<K, O> {
    fn default() -> Table<K, O> {
        Table(BTreeMap::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy { failures: 3, wait_ms: 1000 };

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_waits_and_is_forgiven() {
        let mut t = Throttle::default();
        for (i, name) in ["a", "b", "c"].iter().enumerate() {
            assert!(t.allows(POLICY, name, ip("192.0.2.1"), i as u64));
            t.failed(POLICY, name, ip("192.0.2.1"), i as u64);
        }
        assert!(!t.allows(POLICY, "d", ip("192.0.2.1"), 3));
        assert!(!t.allows(POLICY, "d", ip("::ffff:192.0.2.1"), 3));
        assert!(t.allows(POLICY, "d", ip("192.0.2.2"), 3));
        t.succeeded(POLICY, "a", ip("192.0.2.1"), 3);
        assert!(!t.allows(POLICY, "d", ip("192.0.2.1"), 1001), "a success is no pardon for the network");
        assert!(t.allows(POLICY, "d", ip("192.0.2.1"), 1002));
        t.failed(POLICY, "d", ip("192.0.2.1"), 1002);
        assert!(t.allows(POLICY, "d", ip("192.0.2.1"), 1003), "and it counts from one again");
    }

    #[test]
    fn a_subscriber_has_a_64() {
        let mut t = Throttle::default();
        for i in 0..3 {
            t.failed(POLICY, "a", ip(&format!("2001:db8::{i}")), 0);
        }
        assert!(!t.allows(POLICY, "b", ip("2001:db8::ffff:1"), 1));
        assert!(t.allows(POLICY, "b", ip("2001:db8:0:1::1"), 1));
    }

    #[test]
    fn strangers_do_not_lock_out_the_owner() {
        let mut t = Throttle::default();
        t.succeeded(POLICY, "alice", ip("192.0.2.9"), 0);
        for i in 0..3 {
            t.failed(POLICY, "alice", ip(&format!("198.51.100.{i}")), 1);
        }
        assert!(!t.allows(POLICY, "alice", ip("203.0.113.1"), 2));
        assert!(t.allows(POLICY, "alice", ip("192.0.2.9"), 2));
        assert!(!t.allows(POLICY, "alice", ip("127.0.0.1"), 2));
        t.succeeded(POLICY, "alice", ip("192.0.2.9"), 3);
        assert!(t.allows(POLICY, "alice", ip("203.0.113.1"), 4));
    }

    #[test]
    fn this_machine_is_everybody() {
        let mut t = Throttle::default();
        for i in 0..5 {
            t.failed(POLICY, &format!("user{i}"), ip("127.0.0.1"), 0);
        }
        assert!(t.allows(POLICY, "alice", ip("127.0.0.1"), 0));
    }

    #[test]
    fn a_customer_with_many_networks_is_one() {
        let mut t = Throttle::default();
        for i in 0..3 * 16 {
            let peer = ip(&format!("2001:db8:0:{:x}::1", i * 256));
            assert!(t.allows(POLICY, "a", peer, 0) || i >= 3, "{i}");
            t.failed(POLICY, &format!("u{i}"), peer, 0);
        }
        assert!(!t.allows(POLICY, "b", ip("2001:db8:0:ff00::1"), 1), "the /48 has used up its share");
        assert!(t.allows(POLICY, "b", ip("2001:db8:1::1"), 1));
        t.succeeded(POLICY, "c", ip("2001:db8:0:ff00::1"), 1);
        assert!(t.allows(POLICY, "c", ip("2001:db8:0:ff00::1"), 1), "who is known does not pay for neighbours");
    }

    #[test]
    fn tables_are_bounded_and_cannot_be_flushed() {
        const LONG: Policy = Policy { failures: 3, wait_ms: u64::MAX };
        let mut t = Throttle::default();
        for _ in 0..3 {
            t.failed(LONG, "alice", ip("192.0.2.1"), 0);
        }
        t.succeeded(LONG, "bob", ip("192.0.2.9"), 0);
        let mut most = 0;
        for i in 0..3 * ENTRIES_MAX as u64 {
            // Names without end from one /48; and an account that logs in from everywhere.
            let peer = IpAddr::V6(((0x2001_0db8_u128 << 96) + (u128::from(i & 0xffff) << 64)).into());
            t.failed(LONG, &format!("nobody{i}"), peer, i + 1);
            t.succeeded(LONG, "mallory", IpAddr::V4((i as u32).into()), i + 1);
            most = most.max(t.networks.0.len()).max(t.names.0.len()).max(t.acquaintances.0.len());
        }
        assert!(most <= ENTRIES_MAX);
        assert!(!t.allows(LONG, "alice", ip("203.0.113.1"), 50_000), "the name that was guessed at still waits");
        assert!(!t.allows(LONG, "carol", ip("192.0.2.1"), 50_000), "and so does the network that guessed");
        for _ in 0..3 {
            t.failed(LONG, "bob", ip("198.51.100.1"), 50_000);
        }
        assert!(t.allows(LONG, "bob", ip("192.0.2.9"), 50_000), "an acquaintance stays one");
    }
}
