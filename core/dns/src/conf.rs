//! Which servers to ask and how.

use crate::limits::{FLIGHTS_MAX, SERVERS_MAX};
use alloc::{vec, vec::Vec};
use core::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Which servers to ask and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Recursive servers, the best first.
    pub servers: Vec<SocketAddr>,
    /// How long to wait for the first reply; each further round over the servers waits twice as long.
    pub timeout_ms: u64,
    /// Rounds over all servers.
    pub attempts: u32,
    /// Answers to remember.
    pub cache_max: usize,
    /// Questions that are out at a time, [`FLIGHTS_MAX`](crate::limits) at most.
    pub flights: usize,
    /// Whether each question begins with another server.
    pub rotate: bool,
    /// Whether to speak EDNS0 (RFC 6891).
    pub edns: bool,
    /// Whether what a server says about validation is believed: the way to it must be safe (RFC 6840 §5.7).
    pub trust_ad: bool,
}

impl Default for Settings {
    /// A server on this host (which is what no `nameserver` line means).
    fn default() -> Settings {
        Settings {
            servers: vec![SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 53)],
            timeout_ms: 3000,
            attempts: 3,
            cache_max: 20_000,
            flights: FLIGHTS_MAX,
            rotate: false,
            edns: true,
            trust_ad: true,
        }
    }
}

/// Reads `/etc/resolv.conf`. Nothing in it is an error: what is not understood is passed over, as every resolver does. `search` and
/// `domain` are passed over on purpose: the domain of an address is complete (RFC 5321 §2.3.5).
pub fn resolv_conf(text: &str) -> Settings {
    let mut settings = Settings::default();
    let mut servers = Vec::new();
    let mut trust_ad = false;
    for line in text.lines() {
        let line = line.split(['#', ';']).next().unwrap_or_default();
        let mut words = line.split_ascii_whitespace();
        match words.next() {
            Some("nameserver") => servers.extend(words.next().and_then(server)),
            Some("options") => {
                for word in words {
                    let (name, value) = word.split_once(':').unwrap_or((word, ""));
                    match (name, value.parse::<u32>()) {
                        // The caps of resolv.conf(5).
                        ("timeout", Ok(seconds)) => settings.timeout_ms = u64::from(seconds.clamp(1, 30)) * 1000,
                        ("attempts", Ok(n)) => settings.attempts = n.clamp(1, 5),
                        ("rotate", _) => settings.rotate = true,
                        ("edns0", _) => settings.edns = true,
                        ("no-edns0", _) => settings.edns = false,
                        ("trust-ad", _) => trust_ad = true,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    servers.truncate(SERVERS_MAX);
    if !servers.is_empty() {
        settings.servers = servers;
    }
    settings.trust_ad = trust_ad || settings.servers.iter().all(|s| s.ip().is_loopback());
    settings
}

/// An address as it stands behind `nameserver`. A zone (`fe80::1%eth0`) is the number of an interface here: its name would have to be
/// looked up outside.
fn server(word: &str) -> Option<SocketAddr> {
    if let Ok(ip) = word.parse::<IpAddr>() {
        return Some(SocketAddr::new(ip, 53));
    }
    let (ip, zone) = word.split_once('%')?;
    let (ip, zone) = (ip.parse().ok()?, zone.parse().ok()?);
    Some(SocketAddr::V6(core::net::SocketAddrV6::new(ip, 53, 0, zone)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_what_resolvers_read() {
        let text = "# made by hand\nsearch example.test\nnameserver 192.0.2.1 ; first\nnameserver 2001:db8::1\n\
                    nameserver fe80::1%2\nnameserver nonsense\noptions timeout:2 attempts:9 rotate no-edns0 trust-ad ndots:3\n";
        let settings = resolv_conf(text);
        let servers: Vec<_> = settings.servers.iter().map(alloc::string::ToString::to_string).collect();
        assert_eq!(servers, ["192.0.2.1:53", "[2001:db8::1]:53", "[fe80::1%2]:53"]);
        assert_eq!((settings.timeout_ms, settings.attempts), (2000, 5));
        assert!(settings.rotate && !settings.edns && settings.trust_ad);
    }

    #[test]
    fn without_servers_it_asks_this_host() {
        assert_eq!(resolv_conf("nameserver\noptions\n\0\n"), Settings::default());
    }

    #[test]
    fn a_server_elsewhere_is_not_believed_about_validation() {
        assert!(!resolv_conf("nameserver 192.0.2.1").trust_ad);
        assert!(resolv_conf("nameserver 127.0.0.53").trust_ad);
        assert!(!resolv_conf("nameserver ::1\nnameserver 192.0.2.1").trust_ad);
    }
}
