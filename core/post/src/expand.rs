//! What a forward path becomes: mailboxes here, and paths elsewhere.

use crate::{Ruling, alias::Target, limits::STEPS_MAX, recipient::Directory, rule};
use alloc::{collections::BTreeSet, format, vec::Vec};
use mail::{Address, Notify, Recipient};

/// The facts about addresses that are not accounts.
pub trait Addresses: Directory {
    /// The domain whose addresses this domain (lower case) has.
    fn domain_alias(&self, domain: &str) -> Option<&str>;
    /// What an alias file says of an address, in lower case: by `local@domain`, or by `local` for every domain of ours.
    fn alias(&self, address: &Address) -> Option<Vec<Target>>;
    /// Where the owner of an account wants its mail, and whether a copy stays; nothing if it stays here.
    fn forward(&self, account: &Address) -> Option<(Vec<Address>, bool)>;
    /// Who gets the mail of a domain that nobody else there gets.
    fn catch_all(&self, domain: &str) -> Option<Address>;
    /// Whether others deliver mail for this domain (lower case) and we keep it while they cannot be reached.
    fn is_backup_domain(&self, domain: &str) -> bool;
    /// The domain that names without one belong to.
    fn default_domain(&self) -> &str;
    /// The original sender behind a rewritten one that came back (SRS); nothing if the address is none, or was not made here.
    fn unwrap_sender(&self, address: &Address) -> Option<Address>;
}

/// What a path became.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Expansion {
    /// Where it goes, each place once.
    pub to: Vec<Destiny>,
    /// What an alias or a forward named and is not there.
    pub missing: Vec<Address>,
    /// Whether it became several, so that who wished to hear of success hears that it was expanded (RFC 3461 §5.2.7.3).
    pub expanded: bool,
    /// Whether it reached a list with an owner: that is a delivery, and who wished to hear of success hears so (RFC 3461 §5.2.7.1).
    pub listed: bool,
}

/// One place a message goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destiny {
    /// The mailbox of an account.
    Mailbox {
        /// Its canonical address.
        account: Address,
        /// The path that named it, with the wishes that hold for it.
        recipient: Recipient,
    },
    /// A host elsewhere.
    Remote {
        /// The path.
        recipient: Recipient,
        /// Who gets the reports instead of the sender: the owner of the list. Then the name and the return that the sender wished for the message
        /// (ENVID, RET) do not go with it.
        owner: Option<Address>,
        /// Whether somebody here sent it on, so that the sender has to be rewritten (SRS).
        forwarded: bool,
    },
}

/// Why a path is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The domain is ours and has no such mailbox.
    NoMailbox,
    /// It only leads back to itself.
    Loop,
    /// It leads to more places than anybody means.
    TooMany,
}

/// Follows a path to where it leads.
///
/// # Errors
/// If it leads nowhere.
pub fn expand(path: &Recipient, facts: &impl Addresses) -> Result<Expansion, Refused> {
    let mut missing = Vec::new();
    // Each with whether it is on a list, behind an alias with an owner.
    let mut found: Vec<(Destiny, bool)> = Vec::new();
    let mut accounts = BTreeSet::new();
    let mut seen = BTreeSet::new();
    // Deepest first, so that places come in the order in which they are written.
    let mut ways = Vec::from([Way { address: path.address.clone(), owner: None, sent_on: false, plain: false }]);
    let mut looped = false;
    while let Some(way) = ways.pop() {
        let mut address = way.address.clone();
        if let Some(domain) = facts.domain_alias(&address.domain) {
            address.domain = domain.into();
        }
        if !way.plain && !seen.insert(key(&address)) {
            looped = true;
            continue;
        }
        if seen.len() > STEPS_MAX || ways.len() > STEPS_MAX {
            return Err(Refused::TooMany);
        }
        if let Some(sender) = facts.unwrap_sender(&address) {
            found.push((Destiny::Remote { recipient: sender.into(), owner: None, forwarded: false }, false));
            continue;
        }
        let ruling = rule(&address, facts);
        if ruling == Ruling::Foreign {
            let recipient = Recipient::from(address);
            let on_list = way.owner.is_some();
            found.push((Destiny::Remote { recipient, owner: way.owner, forwarded: way.sent_on }, on_list));
            continue;
        }
        let alias = if way.plain { None } else { alias(&address, facts) };
        if let Some((name, targets)) = alias {
            let owner = Address::new(&format!("owner-{}", name.local), &name.domain);
            let owner = (facts.alias(&owner).is_some() || matches!(rule(&owner, facts), Ruling::Deliver(_))).then_some(owner);
            for target in targets.iter().rev() {
                let Some(to) = target.address(facts.default_domain()) else { continue };
                // A name in its own list means the mailbox behind it.
                let plain = key(&to) == key(&address);
                ways.push(Way { address: to, owner: owner.clone().or_else(|| way.owner.clone()), sent_on: true, plain });
            }
            continue;
        }
        let account = match ruling {
            Ruling::Deliver(account) => account,
            _ => match facts.catch_all(&address.domain) {
                Some(other) => {
                    // Another name, whose alias counts: taken as plain it could lead to itself for ever.
                    ways.push(Way { address: other, sent_on: true, owner: way.owner, plain: false });
                    continue;
                }
                None => {
                    missing.push(address);
                    continue;
                }
            },
        };
        let (to, keep) = facts.forward(&account).filter(|_| !way.plain).unwrap_or((Vec::new(), true));
        for to in to.into_iter().rev() {
            let plain = key(&to) == key(&account);
            ways.push(Way { address: to, owner: way.owner.clone(), sent_on: true, plain });
        }
        if keep && accounts.insert(key(&account)) {
            found.push((Destiny::Mailbox { account, recipient: Recipient::from(address) }, way.owner.is_some()));
        }
    }
    if found.is_empty() {
        return Err(if looped && missing.is_empty() { Refused::Loop } else { Refused::NoMailbox });
    }
    let on_list = found.iter().any(|(_, on_list)| *on_list);
    let one = found.iter().filter(|(_, on_list)| !on_list).count() + usize::from(on_list) == 1;
    for (to, on_list) in &mut found {
        let (Destiny::Mailbox { recipient, .. } | Destiny::Remote { recipient, .. }) = to;
        // RFC 3461 §5.2.7.1: what the sender wished for ends at a list.
        if !*on_list {
            wish(path, recipient, one);
        }
    }
    Ok(Expansion { to: found.into_iter().map(|(to, _)| to).collect(), missing, expanded: !one, listed: one && on_list })
}

/// A path that is still to be followed.
struct Way {
    address: Address,
    owner: Option<Address>,
    sent_on: bool,
    /// It names itself: not through the alias or the forward again.
    plain: bool,
}

/// What an alias says of an address, with its detail or without.
fn alias(address: &Address, facts: &impl Addresses) -> Option<(Address, Vec<Target>)> {
    let bare = address.without_detail(facts.detail_separator());
    [address, &bare].into_iter().find_map(|name| facts.alias(name).map(|targets| (name.clone(), targets)))
}

/// RFC 3461 §5.2.7.2 and §5.2.7.3 (c): one place takes over what was wished for; of several none tells of success, for that is told here.
fn wish(path: &Recipient, recipient: &mut Recipient, one: bool) {
    recipient.notify = path.notify;
    recipient.original.clone_from(&path.original);
    if !one && recipient.notify.has(Notify::SUCCESS) {
        recipient.notify = Notify(recipient.notify.0 & !Notify::SUCCESS.0);
        if recipient.notify.is_unsaid() {
            recipient.notify = Notify::NEVER;
        }
    }
    if recipient.address != path.address && recipient.original.is_none() {
        let kind = if path.address.is_utf8() { "utf-8" } else { "rfc822" };
        recipient.original = Some(format!("{kind};{}", path.address).into());
    }
}

/// Addresses that are one.
fn key(address: &Address) -> (alloc::string::String, alloc::boxed::Box<str>) {
    (address.local.to_lowercase(), address.domain.clone())
}
