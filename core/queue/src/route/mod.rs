//! Where mail goes: from a domain, the operator's rules and facts of DNS to a list of hosts to try (RFC 5321 §5).
//!
//! A fact function: with a fact that is missing it says which one, and is called again when that is known.

mod rules;

pub use rules::{Families, Login, Pattern, Protocol, Route, Rules, Security, Socks, To};

use alloc::{boxed::Box, collections::BTreeSet, sync::Arc, vec::Vec};
use core::net::{IpAddr, SocketAddr};
use dns::{Found, Kind, Query, Record};

/// Hosts to try for one message at one time (RFC 5321 §5.1 allows a limit and wants at least two). Beyond: not tried.
const HOPS_MAX: usize = 20;

/// Mail exchangers whose addresses are asked for at a time. The next ones follow only if none of these has an address.
const EXCHANGERS_MAX: usize = 20;

/// Of a list that is longer than that, so many are the best; the other places are drawn from all the rest, so that even the worst has its day when all
/// better ones are dead.
const BEST: usize = 15;

/// Mail exchangers whose addresses are asked for on one trip, so that a hostile zone cannot make us ask for ever. Beyond: another time, never for good.
const ASKED_MAX: usize = 100;

/// What a fact function comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict<T> {
    /// This.
    Known(T),
    /// These have to be known first; ask for all of them at once.
    Need(Vec<Query>),
}

/// One host to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// Its name: what its certificate is verified against. Of a host that is only an address, the address.
    pub host: Box<str>,
    /// Where it is.
    pub address: SocketAddr,
    /// The address of this host to come from.
    pub from: Option<IpAddr>,
    /// What is asked of TLS.
    pub security: Security,
    /// Who we are there.
    pub login: Option<Arc<Login>>,
    /// The proxy to dial instead; it is told `address`.
    pub socks: Option<Arc<Socks>>,
    /// What is spoken.
    pub protocol: Protocol,
}

/// Why there is no way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoRoute {
    /// The domain takes no mail (RFC 7505).
    NullMx,
    /// There is no such domain.
    NoSuchDomain,
    /// The domain has nothing that mail can be sent to.
    Nowhere,
    /// The best mail exchanger is this host, which does not know the domain as its own.
    Loop,
    /// No domain: an address literal of an unknown kind, or what no name can be.
    BadName,
    /// The place that a route of the operator names has no host to try. Mail waits until somebody has put that right: a slip in the
    /// configuration must not send everything back.
    BadRoute,
    /// DNS could not say. Another time, perhaps.
    Later,
    /// The domain is served here and has no such mailbox.
    NoMailbox,
    /// The message, or the address by aliases and forwards, comes back to where it was.
    Circle,
    /// The address stands for more places than anybody means.
    TooMany,
    /// The mailbox has no room.
    Full,
}

impl NoRoute {
    /// Whether it is of no use to try again.
    pub const fn permanent(self) -> bool {
        !matches!(self, NoRoute::Later | NoRoute::BadRoute)
    }

    /// The enhanced status code (RFC 3463, RFC 7505 §4.2).
    pub const fn status(self) -> &'static str {
        match self {
            NoRoute::NullMx => "5.1.10",
            NoRoute::NoSuchDomain | NoRoute::BadName => "5.1.2",
            NoRoute::Nowhere => "5.4.4",
            NoRoute::Loop | NoRoute::Circle => "5.4.6",
            NoRoute::NoMailbox => "5.1.1",
            NoRoute::TooMany => "5.7.1",
            NoRoute::Full => "5.2.2",
            NoRoute::BadRoute => "4.3.5",
            NoRoute::Later => "4.4.3",
        }
    }

    /// Words for people.
    pub const fn words(self) -> &'static str {
        match self {
            NoRoute::NullMx => "the domain does not accept mail (null MX)",
            NoRoute::NoSuchDomain => "the domain does not exist",
            NoRoute::Nowhere => "the domain has no host that takes mail",
            NoRoute::Loop => "mail for the domain loops back to this host",
            NoRoute::BadName => "the domain is not a valid name",
            NoRoute::BadRoute => "the route that is configured leads to no host",
            NoRoute::Later => "the domain could not be looked up",
            NoRoute::NoMailbox => "there is no such mailbox here",
            NoRoute::Circle => "it goes round in a circle",
            NoRoute::TooMany => "the address leads to too many places",
            NoRoute::Full => "the mailbox is full",
        }
    }

    /// The site of a recipient of whom it was known when its message was taken that it has no way: [`route`] says so again, whenever it is
    /// asked, and the queue tells the sender as of any other failure. Nothing for what only DNS or the operator's rules can say.
    pub const fn site(self) -> Option<&'static str> {
        match self {
            NoRoute::NoMailbox => Some("!mailbox"),
            NoRoute::Circle => Some("!circle"),
            NoRoute::TooMany => Some("!many"),
            NoRoute::Full => Some("!full"),
            _ => None,
        }
    }

    fn of_site(site: &str) -> Option<NoRoute> {
        [NoRoute::NoMailbox, NoRoute::Circle, NoRoute::TooMany, NoRoute::Full].into_iter().find(|no| no.site() == Some(site))
    }
}

/// The name of the next hop of a domain, so that domains behind one smart host share its connections: `=relay.example.net:587` or
/// `@example.net` (its mail exchangers) where a route leads to one place, otherwise the domain itself. [`route`] understands all three.
pub fn site(domain: &str, rules: &Rules) -> Box<str> {
    let domain = rules::ascii(domain).unwrap_or_else(|| domain.into());
    rules.find(&domain).and_then(Route::site).unwrap_or(domain)
}

/// The hosts to try for a site, the best first, at most 20. `dice` decides among exchangers of the same preference, and which of very many are tried; it
/// stays the same until the way is known.
pub fn route(site: &str, rules: &Rules, facts: &impl Fn(&Query) -> Option<Found>, dice: u64) -> Verdict<Result<Vec<Hop>, NoRoute>> {
    let mut way = Way { rules, route: None, facts, need: BTreeSet::new(), named: false, failed: false, hops: Vec::new() };
    let by_operator = |no: NoRoute| if no.permanent() { NoRoute::BadRoute } else { no };
    let result = way.find(site, dice).map_err(|no| if way.named { by_operator(no) } else { no });
    if way.need.is_empty() { Verdict::Known(result.map(|()| way.hops)) } else { Verdict::Need(way.need.into_iter().collect()) }
}

/// A way while it is looked for.
struct Way<'a, F> {
    rules: &'a Rules,
    route: Option<&'a Route>,
    facts: &'a F,
    need: BTreeSet<Query>,
    /// The place was named by the operator, not by the address of a recipient.
    named: bool,
    /// Some fact could not be found out.
    failed: bool,
    hops: Vec<Hop>,
}

/// What is at the end of a name.
enum Place {
    /// These addresses; perhaps none.
    At(Vec<IpAddr>),
    /// This host.
    Here,
}

impl<F: Fn(&Query) -> Option<Found>> Way<'_, F> {
    fn find(&mut self, site: &str, dice: u64) -> Result<(), NoRoute> {
        if let Some(no) = NoRoute::of_site(site) {
            return Err(no);
        }
        if let Some(target) = site.strip_prefix(['=', '@']) {
            self.route = self.rules.leading_to(site);
            self.named = true;
            let (name, port) = split_port(target);
            let port = self.route.and_then(|r| r.port).or(port);
            return if site.starts_with('=') { self.by_host(name, port) } else { self.by_domain(name, port, dice) };
        }
        let domain = rules::ascii(site).ok_or(NoRoute::BadName)?;
        self.route = self.rules.find(&domain);
        let port = self.route.and_then(|r| r.port);
        self.named = self.route.is_some_and(|r| r.to != To::Mx);
        match self.route.map(|r| &r.to) {
            Some(To::Host(host)) => self.by_host(host, port),
            Some(To::MxOf(other)) => self.by_domain(other, port, dice),
            Some(To::Mx) | None => self.by_domain(&domain, port, dice),
        }
    }

    /// To one host that the operator named; it may be on this machine.
    fn by_host(&mut self, host: &str, port: Option<u16>) -> Result<(), NoRoute> {
        if let Some(ip) = bare_address(host) {
            self.add(host, &[ip], port);
            return Ok(());
        }
        let query = Query::new(host, Kind::A).ok_or(NoRoute::BadName)?;
        let (addresses, no_domain) = self.addresses(&query.name);
        self.add(&query.name, &addresses, port);
        self.end(if no_domain { NoRoute::NoSuchDomain } else { NoRoute::Nowhere })
    }

    /// To whoever takes mail for a domain (RFC 5321 §5.1).
    fn by_domain(&mut self, domain: &str, port: Option<u16>, dice: u64) -> Result<(), NoRoute> {
        if domain.starts_with('[') {
            let ip = literal(domain).ok_or(NoRoute::BadName)?;
            if self.is_own(ip) {
                return Err(NoRoute::Loop);
            }
            self.add(domain, &[ip], port);
            return self.end(NoRoute::Nowhere);
        }
        // Four numbers are no domain without brackets (RFC 5321 §4.1.3), and no top-level domain is a number.
        let query = Query::new(domain, Kind::Mx).filter(|q| !is_numeric(&q.name)).ok_or(NoRoute::BadName)?;
        let (exchangers, domain) = match self.ask(&query) {
            None => return Ok(()),
            Some(Found::Failed) => return Err(NoRoute::Later),
            Some(Found::NoDomain) => return Err(NoRoute::NoSuchDomain),
            Some(Found::NoData) => (Vec::new(), query.name),
            Some(Found::Records { records, alias, .. }) => (exchangers(&records, dice), alias.unwrap_or(query.name)),
        };
        if exchangers.is_empty() {
            // The implicit exchanger.
            let (addresses, no_domain) = match self.place(&domain) {
                Place::Here => return Err(NoRoute::Loop),
                Place::At(addresses) if addresses.is_empty() => self.addresses(&domain),
                Place::At(addresses) => (addresses, false),
            };
            self.add(&domain, &addresses, port);
            return self.end(if no_domain { NoRoute::NoSuchDomain } else { NoRoute::Nowhere });
        }
        self.by_exchangers(&exchangers, port, dice)
    }

    fn by_exchangers(&mut self, exchangers: &[(u16, Box<str>)], port: Option<u16>, dice: u64) -> Result<(), NoRoute> {
        // RFC 7505 §3: the null exchanger stands alone. Beside others it means nothing.
        let mut usable: Vec<&(u16, Box<str>)> = exchangers.iter().filter(|(_, host)| **host != *".").collect();
        if usable.is_empty() {
            return Err(NoRoute::NullMx);
        }
        // Of the names all are looked at, of the addresses only those of the hosts that would be tried.
        let mut own = usable.iter().find(|(_, host)| self.rules.names.contains(host)).map(|(preference, _)| *preference);
        // RFC 5321 §5.1: where we are named, that preference and all worse ones are discarded.
        let worse = |own: Option<u16>, preference: u16| own.is_some_and(|own| preference >= own);
        // RFC 5321 §5.1: an exchanger is a name. Addresses in its place are of no use, as they have none in turn. A name that is an alias is
        // outside the standard too, but its meaning is clear, and the resolver has followed it.
        usable.retain(|(preference, host)| !worse(own, *preference) && Query::new(host, Kind::A).is_some() && !is_numeric(host));
        if usable.len() > EXCHANGERS_MAX {
            fastrand::Rng::with_seed(dice).shuffle(&mut usable[BEST..]);
        }
        let mut found: Vec<(u16, &str, Vec<IpAddr>)> = Vec::new();
        let mut asked = 0;
        // What was asked for is asked for again in each call, so it has to be the same names until a way is known: hence the same dice.
        while found.iter().all(|(.., addresses)| addresses.is_empty()) && self.need.is_empty() && asked < usable.len().min(ASKED_MAX) {
            let next = (asked + EXCHANGERS_MAX).min(usable.len());
            for (preference, host) in &usable[asked..next] {
                if worse(own, *preference) {
                    continue;
                }
                match self.place(host) {
                    Place::At(addresses) => found.push((*preference, host, addresses)),
                    Place::Here => own = Some(own.map_or(*preference, |own| own.min(*preference))),
                }
            }
            found.retain(|(preference, ..)| !worse(own, *preference));
            asked = next;
        }
        let nobody_better = own.is_some() && found.is_empty();
        found.retain(|(.., addresses)| !addresses.is_empty());
        found.sort_by_key(|(preference, ..)| *preference);
        // What was not tried is no reason to give up.
        self.failed |= usable[asked..].iter().any(|(preference, _)| !worse(own, *preference));
        // One with many addresses leaves the others some places.
        let many = found.iter().map(|(.., addresses)| addresses.len()).sum::<usize>() > HOPS_MAX;
        let share = if many { HOPS_MAX / found.len() } else { HOPS_MAX };
        for (_, host, addresses) in &found {
            self.add(host, &addresses[..addresses.len().min(share)], port);
        }
        self.end(if nobody_better { NoRoute::Loop } else { NoRoute::Nowhere })
    }

    /// Enough was found, or why not.
    fn end(&self, otherwise: NoRoute) -> Result<(), NoRoute> {
        match (self.hops.is_empty(), self.failed) {
            (false, _) => Ok(()),
            (true, true) => Err(NoRoute::Later),
            (true, false) => Err(otherwise),
        }
    }

    fn ask(&mut self, query: &Query) -> Option<Found> {
        let found = (self.facts)(query);
        if found.is_none() {
            self.need.insert(query.clone());
        }
        found
    }

    /// Where a name that DNS led to is.
    fn place(&mut self, host: &str) -> Place {
        if self.rules.names.iter().any(|own| **own == *host) {
            return Place::Here;
        }
        let addresses = self.addresses(host).0;
        if addresses.iter().any(|ip| self.is_own(*ip)) { Place::Here } else { Place::At(addresses) }
    }

    /// The addresses of a name, families taking turns; and whether there is no such name.
    fn addresses(&mut self, host: &str) -> (Vec<IpAddr>, bool) {
        let kinds: &[Kind] = match self.rules.families {
            Families::PreferV6 => &[Kind::Aaaa, Kind::A],
            Families::PreferV4 => &[Kind::A, Kind::Aaaa],
            Families::OnlyV4 => &[Kind::A],
            Families::OnlyV6 => &[Kind::Aaaa],
        };
        let mut lists = [Vec::new(), Vec::new()];
        let mut no_domain = true;
        for (list, kind) in lists.iter_mut().zip(kinds) {
            let found = Query::new(host, *kind).and_then(|query| self.ask(&query));
            no_domain &= matches!(found, Some(Found::NoDomain));
            self.failed |= matches!(found, Some(Found::Failed));
            list.extend(found.iter().flat_map(Found::records).filter_map(|record| match record {
                Record::A(ip) => Some(IpAddr::V4(*ip)),
                Record::Aaaa(ip) => Some(IpAddr::V6(*ip)),
                _ => None,
            }));
        }
        let longest = lists[0].len().max(lists[1].len());
        let turns = (0..longest).flat_map(|at| lists.iter().filter_map(move |list| list.get(at).copied()));
        (turns.collect(), no_domain)
    }

    /// Whether an address that DNS led to is this host, or no host at all, which leads back here too (`0.0.0.0`).
    fn is_own(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        ip.is_unspecified() || (ip.is_loopback() && !self.rules.loopback) || self.rules.addresses.iter().any(|own| own.to_canonical() == ip)
    }

    fn add(&mut self, host: &str, addresses: &[IpAddr], port: Option<u16>) {
        let (rules, route) = (self.rules, self.route);
        for ip in addresses.iter().map(IpAddr::to_canonical) {
            let nobody = ip.is_multicast() || matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
            if nobody || self.hops.len() >= HOPS_MAX || self.hops.iter().any(|hop| hop.address.ip() == ip) {
                continue;
            }
            let dialled = rules.socks.as_ref().map_or(ip, |socks| socks.proxy.ip());
            let source = if dialled.is_ipv4() { rules.source4 } else { rules.source6 };
            self.hops.push(Hop {
                host: bare_address(host).map_or_else(|| host.into(), |ip| alloc::format!("{ip}").into()),
                address: SocketAddr::new(ip, port.unwrap_or(rules.port)),
                from: route.and_then(|r| r.source).filter(|from| from.is_ipv4() == dialled.is_ipv4()).or(source),
                security: route.and_then(|r| r.security).unwrap_or(rules.security),
                login: route.and_then(|r| r.login.clone()),
                socks: rules.socks.clone(),
                protocol: route.map_or(Protocol::Smtp, |r| r.protocol),
            });
        }
    }
}

/// By preference, and at random within it (RFC 5321 §5.1).
fn exchangers(records: &[Record], dice: u64) -> Vec<(u16, Box<str>)> {
    let mut list: Vec<(u16, Box<str>)> = records
        .iter()
        .filter_map(|record| match record {
            Record::Mx { preference, exchange } => Some((*preference, exchange.clone())),
            _ => None,
        })
        .collect();
    // The order in which they came must not matter, or the same dice would mean another thing with each answer.
    list.sort();
    list.dedup();
    fastrand::Rng::with_seed(dice).shuffle(&mut list);
    list.sort_by_key(|(preference, _)| *preference);
    list
}

/// An address literal (RFC 5321 §4.1.3): `[192.0.2.1]`, `[IPv6:2001:db8::1]`.
fn literal(domain: &str) -> Option<IpAddr> {
    let inner = domain.strip_prefix('[')?.strip_suffix(']')?;
    match inner.get(..5) {
        Some(tag) if tag.eq_ignore_ascii_case("ipv6:") => inner[5..].parse().map(IpAddr::V6).ok(),
        _ => inner.parse().map(IpAddr::V4).ok(),
    }
}

/// An address with or without brackets, as operators write it.
fn bare_address(host: &str) -> Option<IpAddr> {
    literal(host).or_else(|| host.trim_start_matches('[').trim_end_matches(']').parse().ok())
}

/// `host:port`, but not the end of an IPv6 address.
fn split_port(target: &str) -> (&str, Option<u16>) {
    match target.rsplit_once(':') {
        Some((host, port)) if host.ends_with(']') || !host.contains(':') => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (target, None),
        },
        _ => (target, None),
    }
}

/// Whether the last label is a number: an address without brackets, never a name.
fn is_numeric(name: &str) -> bool {
    name.rsplit('.').next().is_some_and(|label| label.bytes().all(|c| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests;
