//! Who may send mail that is for others.

use crate::{Ruling, expand::Addresses, limits::ALIASES_MAX, rule};
use mail::Address;

/// What is known of a client. By default nothing is, and it may send to nobody but us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Client {
    /// It logged in to an account.
    pub login: bool,
    /// It is in a network that may relay.
    pub network: bool,
    /// It showed a certificate that may.
    pub certificate: bool,
}

impl Client {
    /// Whether it may send to anybody.
    pub fn may_relay(self) -> bool {
        self.login || self.network || self.certificate
    }
}

/// The account that may send as `path`: whose address it is, with any detail and in any of its domains, or the only one behind an alias.
pub fn owner(path: &Address, facts: &impl Addresses) -> Option<Address> {
    let mut path = path.clone();
    for _ in 0..ALIASES_MAX {
        if let Some(domain) = facts.domain_alias(&path.domain) {
            path.domain = domain.into();
        }
        match rule(&path, facts) {
            Ruling::Deliver(account) => return Some(account),
            Ruling::Foreign => return None,
            Ruling::NoMailbox => {}
        }
        let targets = facts.alias(&path).or_else(|| facts.alias(&path.without_detail(facts.detail_separator())))?;
        match &targets[..] {
            [one] => path = one.address(facts.default_domain())?,
            _ => return None,
        }
    }
    None
}

/// Whether this client may name this path: one of ours, one of a domain that we keep mail for, or any if it may relay. What an alias or a forward of
/// ours makes of it is no matter of the client.
pub fn may_send(client: Client, path: &Address, facts: &impl Addresses) -> bool {
    let ours = rule(path, facts) != Ruling::Foreign || facts.domain_alias(&path.domain).is_some();
    ours || client.may_relay() || facts.is_backup_domain(&path.domain)
}
