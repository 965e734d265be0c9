//! Who counts as one peer: an address and the networks around it. Limits, rates and throttles all ask here.
//!
//! An IPv6 customer has a /64 at least, often a /56 or a /48, and each of their addresses costs nothing. IPv4 addresses cost something, but whoever
//! rents some gets them side by side.

use core::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

/// How wide the networks around an IPv4 address are, and how many times the limit of the narrowest each of them has.
const V4: [(u8, u32); 2] = [(32, 1), (24, 16)];
/// The same for IPv6. A /48 of a company with many people has as much as a /24 of IPv4.
const V6: [(u8, u32); 3] = [(64, 1), (56, 4), (48, 16)];

/// A network that counts as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// The narrowest network of an address: what counts as one peer.
    pub fn of(ip: IpAddr) -> Network {
        let canonical = ip.to_canonical();
        Network::cut(canonical, widths(canonical)[0].0)
    }

    /// The widest network of an address: who may belong together.
    pub fn around(ip: IpAddr) -> Network {
        let canonical = ip.to_canonical();
        Network::cut(canonical, widths(canonical)[widths(canonical).len() - 1].0)
    }

    /// The networks of an address, the narrowest first, each with how many times the limit of a single peer it has. An IPv4 address counts as such
    /// also where it came as IPv6 (`::ffff:192.0.2.1`).
    pub fn all(ip: IpAddr) -> impl Iterator<Item = (Network, u32)> + Clone {
        let canonical = ip.to_canonical();
        widths(canonical).iter().map(move |(bits, share)| (Network::cut(canonical, *bits), *share))
    }

    fn cut(ip: IpAddr, bits: u8) -> Network {
        let address = match ip {
            IpAddr::V4(ip) => IpAddr::V4((ip.to_bits() & u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0)).into()),
            IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0))),
        };
        Network { address, bits }
    }
}

fn widths(ip: IpAddr) -> &'static [(u8, u32)] {
    match ip {
        // Around this machine is nobody else.
        _ if ip.is_loopback() => {
            if ip.is_ipv4() {
                &V4[..1]
            } else {
                &V6[..1]
            }
        }
        IpAddr::V4(_) => &V4,
        IpAddr::V6(_) => &V6,
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.address, self.bits) {
            (IpAddr::V4(ip), 32) => ip.fmt(f),
            (address, bits) => write!(f, "{address}/{bits}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{
        string::{String, ToString as _},
        vec::Vec,
    };

    fn all(ip: &str) -> Vec<(String, u32)> {
        Network::all(ip.parse().expect("an address")).map(|(network, share)| (network.to_string(), share)).collect()
    }

    #[test]
    fn an_address_has_networks() {
        let (one, four, many) = (1, 4, 16);
        assert_eq!(all("192.0.2.7"), [("192.0.2.7".into(), one), ("192.0.2.0/24".into(), many)]);
        assert_eq!(all("::ffff:192.0.2.7"), all("192.0.2.7"));
        assert_eq!((all("127.0.0.2"), all("::1")), ([("127.0.0.2".into(), one)].into(), [("::/64".into(), one)].into()));
        let v6 = [("2001:db8:1:2::/64".into(), one), ("2001:db8:1::/56".into(), four), ("2001:db8:1::/48".into(), many)];
        assert_eq!(all("2001:db8:1:2:3:4:5:6"), v6);
        let ip = "2001:db8:1:2::1".parse().expect("an address");
        assert_eq!((Network::of(ip).to_string(), Network::around(ip).to_string()), (v6[0].0.clone(), v6[2].0.clone()));
    }
}
