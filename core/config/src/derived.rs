//! What follows from a configuration.

use crate::{Config, Listen, Speak, TlsMode};
use mail::Address;
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
};

/// An address whose Maildir could be somebody else's or lie outside of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsafe;

/// The standard ports (RFC 5321, 6409, 8314, 1939, 3501). LMTP has none: it is there if configured.
const PORTS: [(u16, Speak, TlsMode); 7] = [
    (25, Speak::Smtp, TlsMode::Start),
    (587, Speak::Submission, TlsMode::Start),
    (465, Speak::Submission, TlsMode::Implicit),
    (143, Speak::Imap, TlsMode::Start),
    (993, Speak::Imap, TlsMode::Implicit),
    (110, Speak::Pop3, TlsMode::Start),
    (995, Speak::Pop3, TlsMode::Implicit),
];

impl Config {
    /// Where to listen: `listen`, or all standard ports on all addresses of IPv6 and IPv4, without those of implicit TLS if there is no
    /// certificate. An IPv6 socket must be for IPv6 only, or the two clash.
    pub fn listeners(&self) -> Vec<Listen> {
        if !self.listen.is_empty() {
            return self.listen.clone();
        }
        let any = [IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::UNSPECIFIED)];
        let ports = PORTS.iter().filter(|(_, _, tls)| *tls != TlsMode::Implicit || !self.certificates.is_empty());
        ports.flat_map(|&(port, speak, tls)| any.map(|ip| Listen { on: SocketAddr::new(ip, port), speak, tls })).collect()
    }

    /// The name of this host.
    ///
    /// # Panics
    /// If there is no domain either, which a parsed configuration never lacks.
    pub fn hostname(&self) -> &str {
        self.hostname.as_deref().or(self.domains.first().map(String::as_str)).expect("a checked configuration has a domain")
    }

    /// Whether mail for `domain` is delivered here. Any case.
    pub fn is_local(&self, domain: &str) -> bool {
        self.domains.iter().any(|d| d == domain) || {
            let domain = domain.to_lowercase();
            self.domains.contains(&domain)
        }
    }

    /// The file of accounts.
    pub fn accounts_path(&self) -> PathBuf {
        self.accounts.clone().unwrap_or_else(|| self.store.join("accounts.ron"))
    }

    /// What this host calls itself towards others.
    pub fn helo(&self) -> &str {
        self.outgoing.helo.as_deref().unwrap_or_else(|| self.hostname())
    }

    /// The socket of the commands.
    pub fn control_socket(&self) -> PathBuf {
        self.control.socket.clone().unwrap_or_else(|| self.store.join("control.sock"))
    }

    /// The file with the secret of rewritten senders.
    pub fn srs_secret(&self) -> PathBuf {
        self.srs.secret_file.clone().unwrap_or_else(|| self.store.join("srs.secret"))
    }

    /// The domain of rewritten senders.
    pub fn srs_domain(&self) -> &str {
        self.srs.domain.as_deref().or(self.domains.first().map(String::as_str)).unwrap_or_else(|| self.hostname())
    }

    /// Whether a client at `ip` may send to anybody without login.
    pub fn is_relay_client(&self, ip: IpAddr) -> bool {
        self.relay.clients.iter().any(|network| network.contains(ip))
    }

    /// Whether a client may send to anybody without login because it shows the certificate whose DER has this SHA-256.
    pub fn is_relay_certificate(&self, sha256: &str) -> bool {
        self.relay.certificates.iter().any(|print| print.eq_ignore_ascii_case(sha256))
    }

    /// Whether others deliver mail for `domain` (lower case) and this host keeps it while they cannot be reached.
    pub fn is_backup(&self, domain: &str) -> bool {
        self.relay.domains.iter().any(|d| d == domain)
    }

    /// Whether a rule holds a message from this sender to one of these recipients.
    pub fn is_held(&self, sender: Option<&Address>, recipients: &[mail::Recipient], client: IpAddr) -> bool {
        let sender = sender.map(ToString::to_string).unwrap_or_default();
        self.queue.hold.iter().any(|rule| {
            rule.sender.as_deref().is_none_or(|pattern| matches(pattern, &sender))
                && rule.recipient.as_deref().is_none_or(|p| recipients.iter().any(|r| matches(p, &r.address.to_string())))
                && rule.client.is_none_or(|network| network.contains(client))
        })
    }

    /// Where the Maildir of `address` is. Local parts differ in no case here, so the path is lower case.
    ///
    /// # Errors
    /// If a part of the address could change the path otherwise than by one name: a slash, a leading dot, a control character, or a
    /// name that file systems refuse for its length.
    pub fn maildir_of(&self, address: &Address) -> Result<PathBuf, Unsafe> {
        let fits = |part: &str| {
            !part.is_empty()
                && part.len() <= 200
                && !part.starts_with('.')
                && !part.contains(|c: char| c.is_control() || matches!(c, '/' | '\\'))
        };
        let local = address.local.to_lowercase();
        if !fits(&local) || !fits(&address.domain) {
            return Err(Unsafe);
        }
        // In one pass, so that a local part `{domain}` stays what it is.
        let mut path = String::with_capacity(self.maildirs.len() + local.len() + address.domain.len());
        let mut rest = &*self.maildirs;
        while let Some(at) = rest.find('{') {
            path.push_str(&rest[..at]);
            let (put, skip) = match &rest[at..] {
                r if r.starts_with("{local}") => (&*local, "{local}".len()),
                r if r.starts_with("{domain}") => (&*address.domain, "{domain}".len()),
                _ => ("{", 1),
            };
            path.push_str(put);
            rest = &rest[at + skip..];
        }
        path.push_str(rest);
        Ok(self.store.join(path))
    }

    /// The same, with every relative path taken from `base`, the directory of the file it came from.
    #[must_use]
    pub fn rooted(mut self, base: &Path) -> Config {
        self.store = base.join(&self.store);
        if let Some(accounts) = &mut self.accounts {
            *accounts = base.join(&accounts);
        }
        let routes = self.outgoing.routes.iter_mut().filter_map(|route| route.login.as_mut());
        let logins = routes.chain(self.outgoing.socks5.iter_mut().filter_map(|socks| socks.login.as_mut()));
        let optional = [&mut self.outgoing.trust, &mut self.reports.templates, &mut self.srs.secret_file, &mut self.control.socket];
        let files = self.aliases.iter_mut().chain(logins.map(|login| &mut login.password_file)).chain(optional.into_iter().flatten());
        for file in files {
            *file = base.join(&*file);
        }
        for certificate in &mut self.certificates {
            certificate.chain = base.join(&certificate.chain);
            certificate.key = base.join(&certificate.key);
        }
        self
    }
}

/// Whether a text matches a pattern in which `*` stands for anything, whatever the case.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.to_lowercase(), text.to_lowercase());
    let mut parts = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config { domains: vec!["example.test".into()], store: "/s".into(), ..Config::default() }
    }

    #[test]
    fn maildirs_stay_in_the_store() {
        let c = config();
        let of = |local: &str, domain: &str| c.maildir_of(&Address { local: local.into(), domain: domain.into() });
        assert_eq!(of("Alice", "example.test"), Ok(PathBuf::from("/s/mail/example.test/alice/Maildir")));
        assert_eq!(of("{domain}", "x"), Ok(PathBuf::from("/s/mail/x/{domain}/Maildir")));
        for bad in ["", ".", "..", ".hidden", "a/b", "../../etc", "a\0b", "a\nb", "a\\b"] {
            assert_eq!(of(bad, "x"), Err(Unsafe), "{bad:?}");
            assert_eq!(of("x", bad), Err(Unsafe), "{bad:?}");
        }
        assert_eq!(of(&"a".repeat(201), "x"), Err(Unsafe));
    }

    #[test]
    fn patterns() {
        for (pattern, text, fits) in [
            ("*@x.test", "Alice@X.test", true),
            ("*@x.test", "alice@y.test", false),
            ("alice@*", "alice@y.test", true),
            ("a*b*c", "a1b2c", true),
            ("a*b*c", "a1c", false),
            ("a*a", "a", false),
            ("*", "", true),
            ("x", "xx", false),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn the_default_ports() {
        let mut c = config();
        assert_eq!(c.listeners().len(), 8);
        c.certificates.push(crate::Certificate { chain: "c".into(), key: "k".into() });
        assert_eq!(c.listeners().len(), 14);
        assert!(c.listeners().iter().all(|l| l.speak != Speak::Lmtp));
    }

    #[test]
    fn certificates_are_known_by_their_hash() {
        let print = "00:FF:".to_owned() + &"ab:".repeat(29) + "cd";
        let c =
            crate::parse("f", &format!("(domains: [\"x.test\"], relay: (domains: [\"B.test\"], certificates: [\"{print}\"]))")).unwrap();
        let sha256 = "00ff".to_owned() + &"ab".repeat(29);
        let (shown, other) = (sha256.clone() + "cd", sha256 + "ce");
        assert!(c.is_relay_certificate(&shown));
        assert!(!c.is_relay_certificate(&other) && !config().is_relay_certificate(&shown) && !c.is_relay_certificate(""));
        assert!(c.is_backup("b.test") && !c.is_backup("x.test"));
    }

    #[test]
    fn relative_paths_are_beside_the_file() {
        let mut c = config();
        c.store = "store".into();
        c.accounts = Some("/etc/a.ron".into());
        let c = c.rooted(Path::new("/etc/hikyaku"));
        assert_eq!(c.store, Path::new("/etc/hikyaku/store"));
        assert_eq!(c.accounts_path(), Path::new("/etc/a.ron"));
        assert!(c.is_local("EXAMPLE.test") && !c.is_local("example.org"));
    }
}
