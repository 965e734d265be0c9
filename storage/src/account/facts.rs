//! What is known of addresses here, as the rules of post ask for it.

use super::State;
use mail::Address;
use post::Directory as _;
use std::borrow::Cow;

impl State {
    /// The same path in the domain that its domain is an alias of.
    pub(super) fn in_its_domain<'a>(&self, path: &'a Address) -> Cow<'a, Address> {
        match self.config.domain_aliases.get(&*path.domain) {
            Some(domain) => Cow::Owned(Address::new(&path.local, domain)),
            None => Cow::Borrowed(path),
        }
    }
}

impl post::Directory for State {
    fn is_local_domain(&self, domain: &str) -> bool {
        // `<postmaster>` needs no domain (RFC 5321 §4.1.1.3).
        domain.is_empty() || self.config.is_local(domain)
    }

    fn account(&self, address: &Address) -> Option<Address> {
        self.book.exact(address).map(|a| a.address.clone())
    }

    fn postmaster(&self) -> Option<Address> {
        self.book.postmaster().map(|a| a.address.clone())
    }

    fn hostname(&self) -> &str {
        self.config.hostname()
    }

    fn detail_separator(&self) -> char {
        self.config.detail_separator
    }
}

/// What is known of addresses on one day: rewritten senders do not lead back for ever.
pub(super) struct Facts<'a> {
    pub(super) state: &'a State,
    pub(super) day: i64,
}

impl post::Directory for Facts<'_> {
    fn is_local_domain(&self, domain: &str) -> bool {
        self.state.is_local_domain(domain)
    }

    fn account(&self, address: &Address) -> Option<Address> {
        self.state.account(address)
    }

    fn postmaster(&self) -> Option<Address> {
        self.state.postmaster()
    }

    fn hostname(&self) -> &str {
        self.state.hostname()
    }

    fn detail_separator(&self) -> char {
        self.state.detail_separator()
    }
}

impl post::Addresses for Facts<'_> {
    fn domain_alias(&self, domain: &str) -> Option<&str> {
        self.state.config.domain_aliases.get(domain).map(String::as_str)
    }

    fn alias(&self, address: &Address) -> Option<Vec<post::Target>> {
        let local = address.local.to_lowercase();
        let whole = format!("{local}@{}", address.domain);
        let paths = &self.state.paths;
        let named = || self.is_local_domain(&address.domain).then(|| paths.alias(&local)).flatten();
        paths.alias(&whole).or_else(named).cloned()
    }

    fn forward(&self, account: &Address) -> Option<(Vec<Address>, bool)> {
        let account = self.state.book.exact(account).filter(|account| !account.forward.is_empty())?;
        Some((account.forward.clone(), account.keep))
    }

    fn catch_all(&self, domain: &str) -> Option<Address> {
        let aliases = self.state.paths.alias(&format!("@{domain}")).and_then(|targets| targets.first());
        let alias = aliases.and_then(|target| target.address(self.default_domain()));
        alias.or_else(|| self.state.config.catch_all.get(domain).and_then(|address| Address::parse(address)))
    }

    fn is_backup_domain(&self, domain: &str) -> bool {
        self.state.config.is_backup(domain)
    }

    fn default_domain(&self) -> &str {
        self.state.config.domains.first().map_or_else(|| self.state.config.hostname(), String::as_str)
    }

    fn unwrap_sender(&self, address: &Address) -> Option<Address> {
        self.state.paths.srs.as_ref()?.unwrap(address, self.day)
    }
}
