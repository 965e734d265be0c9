//! The checks of what leaves: domains, routes, the queue.

use crate::{
    Config, Retry,
    check::is_domain,
    locate::Step::{self, Field, Item},
};
use mail::Address;

/// The longest that a message may wait, in seconds: a year. Longer is a mistake in the unit.
const WAIT_MAX: u32 = 366 * 86_400;

/// Says what makes no sense; lowers domains on the way.
pub(crate) fn check(config: &mut Config, say: &mut dyn FnMut(&[Step<'_>], String)) {
    for (i, domain) in config.relay.domains.iter_mut().enumerate() {
        lower(domain);
        if !is_domain(domain) {
            say(&[Field("relay"), Field("domains"), Item(i)], format!("`{domain}` is no domain name"));
        } else if config.domains.contains(domain) {
            say(&[Field("relay"), Field("domains"), Item(i)], format!("`{domain}` is delivered here: it is among `domains`"));
        }
    }
    for (i, print) in config.relay.certificates.iter_mut().enumerate() {
        *print = print.replace(':', "").to_lowercase();
        if print.len() != 64 || !print.bytes().all(|b| b.is_ascii_hexdigit()) {
            say(&[Field("relay"), Field("certificates"), Item(i)], "this is no SHA-256 in hexadecimal digits (64 of them)".into());
        }
    }
    config.domain_aliases = lowered(&config.domain_aliases);
    config.catch_all = lowered(&config.catch_all);
    for (domain, target) in &config.domain_aliases {
        if !is_domain(domain) || !is_domain(target) {
            say(&[Field("domain_aliases")], format!("`{domain}` and `{target}` are to be domain names"));
        } else if config.domains.contains(domain) {
            say(&[Field("domain_aliases")], format!("`{domain}` is among `domains`: it cannot be another one too"));
        } else if !config.domains.contains(&target.to_lowercase()) {
            say(&[Field("domain_aliases")], format!("`{target}` is not among `domains`"));
        }
    }
    for (domain, address) in &config.catch_all {
        if !config.domains.contains(domain) {
            say(&[Field("catch_all")], format!("`{domain}` is not among `domains`"));
        }
        if Address::parse(address).is_none() {
            say(&[Field("catch_all")], format!("`{address}` is no address"));
        }
    }
    routes(config, say);
    queue(config, say);
    if config.reports.double_bounces.as_deref().is_some_and(|address| Address::parse(address).is_none()) {
        say(&[Field("reports"), Field("double_bounces")], "this is no address".into());
    }
    if let Some(domain) = &mut config.srs.domain {
        lower(domain);
        if !config.domains.contains(domain) {
            say(&[Field("srs"), Field("domain")], format!("`{domain}` is not among `domains`: what comes back would not come here"));
        }
    }
}

fn routes(config: &mut Config, say: &mut dyn FnMut(&[Step<'_>], String)) {
    let outgoing = &mut config.outgoing;
    if let Some(helo) = &outgoing.helo
        && !(is_domain(helo) && helo.is_ascii())
    {
        say(&[Field("outgoing"), Field("helo")], format!("`{helo}` is no host name"));
    }
    if encoding_rs::Encoding::for_label(outgoing.charset.as_bytes()).is_none_or(|charset| !charset.is_ascii_compatible()) {
        say(&[Field("outgoing"), Field("charset")], format!("`{}` is no charset that ASCII is part of", outgoing.charset));
    }
    if outgoing.source4.is_some_and(|ip| !ip.is_ipv4()) {
        say(&[Field("outgoing"), Field("source4")], "this is no IPv4 address".into());
    }
    if outgoing.source6.is_some_and(|ip| !ip.is_ipv6()) {
        say(&[Field("outgoing"), Field("source6")], "this is no IPv6 address".into());
    }
    let mut seen = Vec::new();
    for (i, route) in outgoing.routes.iter_mut().enumerate() {
        let at = |field| [Field("outgoing"), Field("routes"), Item(i), Field(field)];
        lower(&mut route.domain);
        let name = route.domain.strip_prefix('.').unwrap_or(&route.domain);
        if route.domain != "*" && !is_domain(name) {
            say(&at("domain"), format!("`{}` is no domain; write \"example.org\", \".example.org\" or \"*\"", route.domain));
        } else if seen.contains(&route.domain) {
            say(&at("domain"), format!("there are two routes for `{}`", route.domain));
        }
        seen.push(route.domain.clone());
        if let Some(host) = &mut route.host {
            lower(host);
            let literal = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
            let literal = literal.map(|l| l.strip_prefix("ipv6:").unwrap_or(l));
            match literal {
                Some(address) if address.parse::<std::net::IpAddr>().is_ok() => {}
                None if is_domain(host) => {}
                _ => say(&at("host"), format!("`{host}` is no host; write \"relay.example.org\" or \"[192.0.2.1]\"")),
            }
        } else if route.mx {
            say(&at("mx"), "without a host, the MX records of the domain are looked up in any case".into());
        }
        if route.port == Some(0) {
            say(&at("port"), "no port is 0".into());
        }
    }
}

fn queue(config: &Config, say: &mut dyn FnMut(&[Step<'_>], String)) {
    let queue = &config.queue;
    let positive = [
        ("connections", queue.connections),
        ("per_destination", queue.per_destination),
        ("recipients", queue.recipients),
        ("give_up_after", queue.give_up_after),
    ];
    for (name, value) in positive {
        if value == 0 {
            say(&[Field("queue"), Field(name)], format!("`{name}` must be at least 1"));
        }
    }
    for (name, value) in [("give_up_after", queue.give_up_after), ("warn_after", queue.warn_after)] {
        if value > WAIT_MAX {
            say(&[Field("queue"), Field(name)], format!("`{name}` is in seconds, at most {WAIT_MAX}"));
        }
    }
    if let Retry::List(list) = &queue.retry
        && (list.is_empty() || list.iter().any(|s| *s == 0 || *s > WAIT_MAX))
    {
        say(&[Field("queue"), Field("retry")], format!("the list needs numbers of seconds from 1 to {WAIT_MAX}"));
    }
}

fn lower(name: &mut String) {
    *name = name.strip_suffix('.').unwrap_or(name).to_lowercase();
}

fn lowered(addresses: &crate::Addresses) -> crate::Addresses {
    let mut lowered = crate::Addresses::new();
    for (domain, target) in addresses {
        let mut domain = domain.clone();
        lower(&mut domain);
        lowered.insert(domain, target.to_lowercase());
    }
    lowered
}

#[cfg(test)]
mod tests {
    use crate::parse;

    #[test]
    fn what_makes_no_sense_is_said_where_it_stands() {
        let cases = [
            ("relay: (domains: [\"example.org\"])", "delivered here"),
            ("relay: (clients: [\"192.0.2.0/40\"])", "no network"),
            ("relay: (certificates: [\"ab\"])", "no SHA-256"),
            ("domain_aliases: {\"old.test\": \"other.test\"}", "not among `domains`"),
            ("catch_all: {\"example.org\": \"nobody\"}", "no address"),
            ("outgoing: (routes: [(domain: \"x..y\")])", "is no domain"),
            ("outgoing: (routes: [(domain: \"*\"), (domain: \"*\")])", "two routes"),
            ("outgoing: (routes: [(domain: \"*\", host: Some(\"[1.2.3]\"))])", "is no host"),
            ("outgoing: (source4: Some(\"::1\"))", "no IPv4"),
            ("queue: (retry: List([]))", "numbers of seconds"),
            ("queue: (connections: 0)", "at least 1"),
            ("srs: (domain: Some(\"elsewhere.test\"))", "not among `domains`"),
        ];
        for (text, words) in cases {
            let error = parse("f", &format!("(domains: [\"example.org\"], {text})")).unwrap_err();
            assert!(error.to_string().contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn what_makes_sense_is_taken() {
        let text = "(domains: [\"example.org\"], domain_aliases: {\"OLD.test\": \"Example.org\"}, catch_all: {\"example.org\": \"alice@example.org\"},
            relay: (domains: [\"backup.test\"], clients: [\"127.0.0.0/8\", \"::1\"]),
            outgoing: (tls: Must, routes: [(domain: \".test\", host: Some(\"[192.0.2.1]\"), port: Some(2525), tls: Some(Never))]),
            queue: (retry: List([1, 2]), hold: [(sender: Some(\"*@x.test\"))]))";
        let config = parse("f", text).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(config.domain_aliases["old.test"], "example.org");
        assert!(config.is_relay_client("127.0.0.1".parse().unwrap()) && !config.is_relay_client("192.0.2.1".parse().unwrap()));
    }
}
