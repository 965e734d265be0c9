//! What can be asked and what can be known.

use alloc::{boxed::Box, string::String, vec::Vec};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A question. Two spellings of a name are one question.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Query {
    /// Lower case, ASCII, without a final dot.
    pub name: Box<str>,
    /// What is wanted.
    pub kind: Kind,
}

/// What is wanted of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses (RFC 3596).
    Aaaa,
    /// Mail exchangers.
    Mx,
    /// Texts.
    Txt,
    /// The name of an address ([`Query::reverse`]).
    Ptr,
    /// The alias itself; all other questions follow aliases.
    Cname,
    /// Certificates of a service (RFC 6698).
    Tlsa,
}

/// One record. Names are lower case without a final dot; the root is `.`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Record {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// A mail exchanger.
    Mx {
        /// The lower the better.
        preference: u16,
        /// Its host; `.` says that there is no mail (RFC 7505).
        exchange: Box<str>,
    },
    /// A text; its strings are joined (RFC 7208 §3.3, RFC 6376 §3.6.2.2).
    Txt(Box<[u8]>),
    /// The name of an address.
    Ptr(Box<str>),
    /// What a name is an alias of.
    Cname(Box<str>),
    /// A certificate or key of a service (RFC 6698 §2.1).
    Tlsa {
        /// Which of CA, certificate, trust anchor or own certificate.
        usage: u8,
        /// The whole certificate or its key.
        selector: u8,
        /// Itself or a hash.
        matching: u8,
        /// The octets to compare.
        data: Box<[u8]>,
    },
}

/// What is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// These, in the order they came (servers turn it to spread load).
    Records {
        /// At least one.
        records: Vec<Record>,
        /// The name that has them, if the one asked for is an alias.
        alias: Option<Box<str>>,
        /// Whether a server that is trusted says that it validated them (RFC 4035 §3.2.3).
        secure: bool,
        /// Seconds they may be believed from the moment they came.
        ttl: u32,
    },
    /// The name exists, but has nothing of the kind.
    NoData,
    /// There is no such name.
    NoDomain,
    /// Nobody could say: SERVFAIL, silence, garbage. Another time, perhaps.
    Failed,
}

impl Found {
    /// The records, if there are any.
    pub fn records(&self) -> &[Record] {
        match self {
            Found::Records { records, .. } => records,
            Found::NoData | Found::NoDomain | Found::Failed => &[],
        }
    }

    /// Bytes it takes, roughly.
    pub(crate) fn weight(&self) -> usize {
        let one = |record: &Record| {
            size_of::<Record>()
                + match record {
                    Record::A(_) | Record::Aaaa(_) => 0,
                    Record::Mx { exchange: name, .. } | Record::Ptr(name) | Record::Cname(name) => name.len(),
                    Record::Txt(data) | Record::Tlsa { data, .. } => data.len(),
                }
        };
        self.records().iter().map(one).sum()
    }
}

impl Query {
    /// A question about a name as people write it: in any case, with or without a final dot, with letters beyond ASCII (RFC 5890).
    /// `None` if no such name can exist.
    pub fn new(name: &str, kind: Kind) -> Option<Query> {
        let ascii;
        let name = if name.is_ascii() {
            name
        } else {
            ascii = idna::domain_to_ascii(name).ok()?;
            &ascii
        };
        let name = name.strip_suffix('.').unwrap_or(name);
        // RFC 1035 §2.3.4: 255 octets on the wire, which are two more than the text has.
        let fits = name.len() <= 253 && name.split('.').all(|label| (1..=63).contains(&label.len()));
        let plain = name.bytes().all(|c| c.is_ascii_graphic() && !matches!(c, b'\\' | b'"' | b'@' | b'[' | b']'));
        (fits && plain).then(|| Query { name: name.to_ascii_lowercase().into(), kind })
    }

    /// What is known of a name without asking anybody (RFC 6761 §6.3, §6.4): `localhost` is this machine, `invalid` is no domain.
    pub(crate) fn special(&self) -> Option<Found> {
        let record = match (self.name.rsplit('.').next(), self.kind) {
            (Some("localhost"), Kind::A) => Record::A(Ipv4Addr::LOCALHOST),
            (Some("localhost"), Kind::Aaaa) => Record::Aaaa(Ipv6Addr::LOCALHOST),
            (Some("localhost"), _) => return Some(Found::NoData),
            (Some("invalid"), _) => return Some(Found::NoDomain),
            _ => return None,
        };
        Some(Found::Records { records: Vec::from([record]), alias: None, secure: false, ttl: 0 })
    }

    /// Which names an address has (RFC 1035 §3.5, RFC 3596 §2.5).
    pub fn reverse(address: IpAddr) -> Query {
        let mut name = String::with_capacity(72);
        match address {
            IpAddr::V4(v4) => {
                for octet in v4.octets().iter().rev() {
                    name.push_str(&alloc::format!("{octet}."));
                }
                name.push_str("in-addr.arpa");
            }
            IpAddr::V6(v6) => {
                for octet in v6.octets().iter().rev() {
                    name.push_str(&alloc::format!("{:x}.{:x}.", octet & 15, octet >> 4));
                }
                name.push_str("ip6.arpa");
            }
        }
        Query { name: name.into(), kind: Kind::Ptr }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_spellings_are_one_question() {
        let query = Query::new("Example.TEST.", Kind::Mx);
        assert_eq!(query, Query::new("example.test", Kind::Mx));
        assert_eq!(Query::new("bücher.example", Kind::A).map(|q| q.name), Some("xn--bcher-kva.example".into()));
        assert_eq!(Query::new("_25._tcp.mx.test", Kind::Tlsa).map(|q| q.name), Some("_25._tcp.mx.test".into()));
    }

    #[test]
    fn names_that_cannot_exist_are_not_asked_for() {
        let (label, name) = ("a".repeat(64), "a.".repeat(127) + "b");
        for bad in ["", ".", "a..b", ".a", "a b", "a\0b", "a\\.b", "[192.0.2.1]", "\u{fffd}.test", &label, &name] {
            assert_eq!(Query::new(bad, Kind::A), None, "{bad:?}");
        }
        assert!(Query::new(&"a.".repeat(127), Kind::A).is_some());
    }

    #[test]
    fn addresses_are_asked_for_backwards() {
        assert_eq!(&*Query::reverse("192.0.2.10".parse().expect("v4")).name, "10.2.0.192.in-addr.arpa");
        let v6 = Query::reverse("2001:db8::567:89ab".parse().expect("v6"));
        assert_eq!(&*v6.name, "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa");
    }
}
