//! How often somebody may guess.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
};

/// Most addresses, accounts and acquaintances that are remembered; the one that was silent for longest goes first. A table takes about
/// a megabyte then.
const ENTRIES_MAX: usize = 10_000;

/// Failures by network and by name. A network (an IPv4 address, or a /64 of IPv6) or a name with too many failures has to wait. Whoever
/// logged in from a network before is not kept out by strangers who guess at the name.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    networks: Table<Ipv6Addr>,
    names: Table<String>,
    acquaintances: Table<(String, Ipv6Addr)>,
}

/// How many failures, and how long to wait after them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Policy {
    pub failures: u32,
    pub wait_ms: u64,
}

#[derive(Debug)]
struct Table<K>(BTreeMap<K, Entry>);

#[derive(Debug, Clone, Copy)]
struct Entry {
    failures: u32,
    last_ms: u64,
}

impl Throttle {
    /// Whether `name` may try a password from `peer` now.
    pub(crate) fn allows(&self, policy: Policy, name: &str, peer: IpAddr, now_ms: u64) -> bool {
        let network = network(peer);
        let known = || self.acquaintances.0.contains_key(&(name.to_owned(), network));
        // What comes from this machine is everybody's: a proxy or a webmail must not be shut out as a whole, nor be a friend of all.
        let (network_waits, name_waits) = (self.networks.waits(policy, &network, now_ms), self.names.waits(policy, name, now_ms));
        if peer.is_loopback() { !name_waits } else { !network_waits && (!name_waits || known()) }
    }

    /// A wrong password, or an unknown name.
    pub(crate) fn failed(&mut self, policy: Policy, name: &str, peer: IpAddr, now_ms: u64) {
        self.networks.add(policy, network(peer), now_ms);
        self.names.add(policy, name.to_owned(), now_ms);
    }

    /// The right one: the name starts afresh. The network does not, or one good account would pay for guesses at all others.
    pub(crate) fn succeeded(&mut self, policy: Policy, name: &str, peer: IpAddr, now_ms: u64) {
        self.names.0.remove(name);
        if !peer.is_loopback() {
            self.acquaintances.add(policy, (name.to_owned(), network(peer)), now_ms);
        }
    }
}

impl<K: Ord + Clone> Table<K> {
    fn waits<Q: Ord + ?Sized>(&self, policy: Policy, key: &Q, now_ms: u64) -> bool
    where
        K: std::borrow::Borrow<Q>,
    {
        self.0.get(key).is_some_and(|e| e.failures >= policy.failures && now_ms < e.last_ms.saturating_add(policy.wait_ms))
    }

    fn add(&mut self, policy: Policy, key: K, now_ms: u64) {
        if let Some(entry) = self.0.get_mut(&key) {
            // Failures that are long ago are forgiven.
            let fresh = now_ms < entry.last_ms.saturating_add(policy.wait_ms);
            *entry = Entry { failures: if fresh { entry.failures.saturating_add(1) } else { 1 }, last_ms: now_ms };
            return;
        }
        if self.0.len() >= ENTRIES_MAX {
            let oldest = self.0.iter().min_by_key(|(_, e)| e.last_ms).map(|(k, _)| k.clone());
            oldest.map(|k| self.0.remove(&k));
        }
        self.0.insert(key, Entry { failures: 1, last_ms: now_ms });
    }
}

impl<K> Default for Table<K> {
    fn default() -> Table<K> {
        Table(BTreeMap::new())
    }
}

/// An IPv4 address, or the /64 that a subscriber has.
fn network(peer: IpAddr) -> Ipv6Addr {
    match peer.to_canonical() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)),
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
    fn tables_are_bounded() {
        let mut t = Throttle::default();
        for i in 0..ENTRIES_MAX as u32 + 100 {
            t.failed(POLICY, &i.to_string(), IpAddr::V4(i.into()), u64::from(i));
        }
        assert_eq!((t.networks.0.len(), t.names.0.len()), (ENTRIES_MAX, ENTRIES_MAX));
        assert!(!t.names.0.contains_key("0") && t.names.0.contains_key("100"));
    }
}
