//! What the operator says about ways: routes of domains, sources, families, TLS.

use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::{
    fmt,
    net::{IpAddr, SocketAddr},
};
use dns::{Kind, Query};

/// Everything but DNS that a way depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Ways that are not found by DNS alone. Of several that fit a domain the exact one wins, then the longest suffix, then `*`.
    pub routes: Vec<Route>,
    /// Names this host is known by, lower case: mail exchangers among them are ourselves.
    pub names: Vec<Box<str>>,
    /// Addresses this host is reached at: never dialled by DNS.
    pub addresses: Vec<IpAddr>,
    /// Whether DNS may lead to this machine (`127.0.0.0/8`, `::1`). Nobody but a test wants that: any stranger's zone could make us speak to
    /// whatever listens here.
    pub loopback: bool,
    /// Address families in use.
    pub families: Families,
    /// The port unless a route has its own.
    pub port: u16,
    /// TLS unless a route has its own policy.
    pub security: Security,
    /// The address to come from over IPv4.
    pub source4: Option<IpAddr>,
    /// The address to come from over IPv6.
    pub source6: Option<IpAddr>,
    /// The proxy that all connections go through.
    pub socks: Option<Arc<Socks>>,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules {
            routes: Vec::new(),
            names: Vec::new(),
            addresses: Vec::new(),
            loopback: false,
            families: Families::PreferV6,
            port: 25,
            security: Security::May,
            source4: None,
            source6: None,
            socks: None,
        }
    }
}

/// Address families in use, the better one first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Families {
    /// Both.
    PreferV6,
    /// Both.
    PreferV4,
    /// A host without IPv6 asks for none.
    OnlyV4,
    /// A host without IPv4 asks for none.
    OnlyV6,
}

/// The way of some domains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Of which.
    pub domain: Pattern,
    /// Where to.
    pub to: To,
    /// The port, if not the usual one.
    pub port: Option<u16>,
    /// TLS, if not as usual.
    pub security: Option<Security>,
    /// Who we are there.
    pub login: Option<Arc<Login>>,
    /// What is spoken there.
    pub protocol: Protocol,
    /// The address to come from, for its family.
    pub source: Option<IpAddr>,
}

impl Route {
    /// By DNS, as if there were no route.
    pub fn new(domain: Pattern, to: To) -> Route {
        Route { domain, to, port: None, security: None, login: None, protocol: Protocol::Smtp, source: None }
    }
}

/// Where a route leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum To {
    /// To the mail exchangers of the domain itself.
    Mx,
    /// To the mail exchangers of another one.
    MxOf(Box<str>),
    /// To this host, a name or an address (with or without brackets). Its mail exchangers are not asked for.
    Host(Box<str>),
}

/// Which domains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// This one.
    Exact(Box<str>),
    /// What lies below this one; with its dot in front.
    Suffix(Box<str>),
    /// All.
    Any,
}

impl Pattern {
    /// `example.org`, `.example.org` or `*`. `None` if no domain can be meant.
    pub fn parse(text: &str) -> Option<Pattern> {
        match text.strip_prefix('.') {
            _ if text == "*" => Some(Pattern::Any),
            Some(below) => Some(Pattern::Suffix(alloc::format!(".{}", ascii(below)?).into())),
            None => Some(Pattern::Exact(ascii(text)?)),
        }
    }

    /// How well it fits; the more the better.
    fn fit(&self, domain: &str) -> Option<usize> {
        match self {
            Pattern::Exact(name) => (**name == *domain).then_some(usize::MAX),
            Pattern::Suffix(end) => domain.ends_with(&**end).then_some(end.len()),
            Pattern::Any => Some(0),
        }
    }
}

/// A domain as it is compared: lower case and ASCII (RFC 5890); address literals as they are.
pub(super) fn ascii(domain: &str) -> Option<Box<str>> {
    match domain.starts_with('[') {
        true => Some(domain.to_ascii_lowercase().into()),
        false => Query::new(domain, Kind::Mx).map(|q| q.name),
    }
}

impl Rules {
    /// The route of a domain in its ASCII form.
    pub(super) fn find(&self, domain: &str) -> Option<&Route> {
        // Of equals the first: `max_by_key` would take the last.
        self.routes.iter().rev().filter_map(|r| Some((r.domain.fit(domain)?, r))).max_by_key(|(fit, _)| *fit).map(|(_, r)| r)
    }

    /// The route that leads to a site that [`super::site`] named after its target.
    pub(super) fn leading_to(&self, site: &str) -> Option<&Route> {
        self.routes.iter().find(|r| r.site().as_deref() == Some(site))
    }
}

impl Route {
    /// The name of the site it leads to, if that is the same for all its domains.
    pub(super) fn site(&self) -> Option<Box<str>> {
        let (sign, name) = match &self.to {
            To::Mx => return None,
            To::MxOf(name) => ('@', name),
            To::Host(name) => ('=', name),
        };
        Some(match self.port {
            Some(port) => alloc::format!("{sign}{name}:{port}").into(),
            None => alloc::format!("{sign}{name}").into(),
        })
    }
}

/// What is asked of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// None, even if it is offered.
    Never,
    /// If it is offered.
    May,
    /// STARTTLS or nothing.
    Must {
        /// Whether the certificate must be valid for the name.
        verified: bool,
    },
    /// TLS from the first byte.
    Implicit {
        /// Whether the certificate must be valid for the name.
        verified: bool,
    },
}

/// What is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// To a server that relays or delivers.
    Smtp,
    /// To one that delivers (RFC 2033).
    Lmtp,
}

/// A user name and its password. Its password is in no log.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// Who.
    pub user: Box<str>,
    /// And the proof.
    pub password: Box<str>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

/// A SOCKS5 proxy (RFC 1928).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Socks {
    /// Where it listens.
    pub proxy: SocketAddr,
    /// Who we are there (RFC 1929).
    pub login: Option<Login>,
}
