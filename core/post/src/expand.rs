//! What a forward path becomes: mailboxes here, and paths elsewhere.

use crate::{Ruling, alias::Target, recipient::Directory, rule};
use alloc::{collections::BTreeSet, format, vec::Vec};
use mail::{Address, Notify, Recipient};

/// Most addresses that one path is followed through. An alias file of a company has lists of some hundred.
pub const STEPS_MAX: usize = 10_000;

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
                    ways.push(Way { address: other, sent_on: true, ..way });
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Client, alias::parse_aliases, may_send};
    use alloc::{
        collections::BTreeMap,
        string::{String, ToString as _},
        vec,
    };

    #[derive(Default)]
    struct Facts {
        aliases: BTreeMap<String, Vec<Target>>,
        forwards: BTreeMap<&'static str, (Vec<&'static str>, bool)>,
        catch_all: Option<&'static str>,
    }

    impl Directory for Facts {
        fn is_local_domain(&self, domain: &str) -> bool {
            domain == "here.test"
        }
        fn account(&self, address: &Address) -> Option<Address> {
            ["alice", "bob", "carol"]
                .contains(&&*address.local.to_lowercase())
                .then(|| Address::new(&address.local.to_lowercase(), "here.test"))
        }
        fn postmaster(&self) -> Option<Address> {
            Address::parse("alice@here.test")
        }
        fn hostname(&self) -> &str {
            "mx.here.test"
        }
        fn detail_separator(&self) -> char {
            '+'
        }
    }

    impl Addresses for Facts {
        fn domain_alias(&self, domain: &str) -> Option<&str> {
            (domain == "old.test").then_some("here.test")
        }
        fn alias(&self, address: &Address) -> Option<Vec<Target>> {
            let local = address.local.to_lowercase();
            self.aliases.get(&format!("{local}@{}", address.domain)).or_else(|| self.aliases.get(&local)).cloned()
        }
        fn forward(&self, account: &Address) -> Option<(Vec<Address>, bool)> {
            let (to, keep) = self.forwards.get(&*account.local)?;
            Some((to.iter().map(|t| Address::parse(t).unwrap()).collect(), *keep))
        }
        fn catch_all(&self, _: &str) -> Option<Address> {
            self.catch_all.and_then(Address::parse)
        }
        fn is_backup_domain(&self, domain: &str) -> bool {
            domain == "backup.test"
        }
        fn default_domain(&self) -> &str {
            "here.test"
        }
        fn unwrap_sender(&self, address: &Address) -> Option<Address> {
            address.local.starts_with("SRS0=").then(|| Address::new("back", "far.test"))
        }
    }

    fn facts(aliases: &str) -> Facts {
        let aliases = parse_aliases(aliases).unwrap().into_iter().map(|a| (a.name, a.to)).collect();
        Facts { aliases, ..Facts::default() }
    }

    fn go(facts: &Facts, path: &str) -> Result<Vec<String>, Refused> {
        let shown = |to: &Destiny| match to {
            Destiny::Mailbox { account, .. } => account.to_string(),
            Destiny::Remote { recipient, forwarded, .. } => {
                format!("{}{}", if *forwarded { "sent on to " } else { "to " }, recipient.address)
            }
        };
        expand(&Address::parse(path).unwrap().into(), facts).map(|e| e.to.iter().map(shown).collect())
    }

    #[test]
    fn every_path_leads_somewhere_or_is_refused() {
        let mut facts = facts(
            "staff: alice, bob+work, carol@here.test, far@far.test\n\
             all: staff, alice\n\
             bob: bob, bob@phone.test\n\
             a: b\nb: a\n\
             gone: nobody, alice\n\
             void: nobody\n\
             twice: void, void\n",
        );
        facts.forwards.insert("carol", (vec!["carol@far.test"], false));
        let yes = |list: &[&str]| Ok(list.iter().map(|s| (*s).to_string()).collect::<Vec<_>>());
        for (path, want) in [
            ("Alice@here.test", yes(&["alice@here.test"])),
            ("alice+x@old.test", yes(&["alice@here.test"])),
            ("x@far.test", yes(&["to x@far.test"])),
            ("bob@here.test", yes(&["bob@here.test", "sent on to bob@phone.test"])),
            ("carol@here.test", yes(&["sent on to carol@far.test"])),
            (
                "staff@here.test",
                yes(&[
                    "alice@here.test",
                    "bob@here.test",
                    "sent on to bob@phone.test",
                    "sent on to carol@far.test",
                    "sent on to far@far.test",
                ]),
            ),
            (
                "all@here.test",
                yes(&[
                    "alice@here.test",
                    "bob@here.test",
                    "sent on to bob@phone.test",
                    "sent on to carol@far.test",
                    "sent on to far@far.test",
                ]),
            ),
            ("a@here.test", Err(Refused::Loop)),
            ("gone@here.test", yes(&["alice@here.test"])),
            ("void@here.test", Err(Refused::NoMailbox)),
            ("twice@here.test", Err(Refused::NoMailbox)),
            ("nobody@here.test", Err(Refused::NoMailbox)),
            ("postmaster@mx.here.test", yes(&["alice@here.test"])),
            ("SRS0=x@here.test", yes(&["to back@far.test"])),
        ] {
            assert_eq!(go(&facts, path), want, "{path}");
        }
        facts.catch_all = Some("alice@here.test");
        assert_eq!(go(&facts, "nobody@here.test"), yes(&["alice@here.test"]));
    }

    #[test]
    fn wishes_of_one_go_on_and_those_of_many_are_answered_here() {
        let facts = facts("one: x@far.test\nmany: x@far.test, alice\n");
        let path = |name| Recipient { address: Address::new(name, "here.test"), notify: Notify::SUCCESS, original: None };
        let one = expand(&path("one"), &facts).unwrap();
        assert!(!one.expanded);
        let Destiny::Remote { recipient, owner, .. } = &one.to[0] else { panic!() };
        assert_eq!((recipient.notify, recipient.original.as_deref(), owner), (Notify::SUCCESS, Some("rfc822;one@here.test"), &None));
        let many = expand(&path("many"), &facts).unwrap();
        assert!(many.expanded && !many.listed);
        let wishes = many.to.iter().map(|to| {
            let (Destiny::Remote { recipient, .. } | Destiny::Mailbox { recipient, .. }) = to;
            (recipient.notify, recipient.original.as_deref())
        });
        assert!(wishes.eq([(Notify::NEVER, Some("rfc822;many@here.test")); 2]));
    }

    #[test]
    fn an_owner_gets_the_reports_of_a_list_and_wishes_end_there() {
        let facts = facts("list: x@far.test, alice\nowner-list: bob\nmixed: list, carol, y@far.test\n");
        let notify = Notify::SUCCESS.with(Notify::DELAY);
        let path = |name| Recipient { address: Address::new(name, "here.test"), notify, original: Some("rfc822;x@y".into()) };
        let shown = |expansion: &Expansion| -> Vec<String> {
            let shown = expansion.to.iter().map(|to| {
                let owner = if let Destiny::Remote { owner: Some(owner), .. } = to { format!(" from {owner}") } else { String::new() };
                let (Destiny::Remote { recipient, .. } | Destiny::Mailbox { recipient, .. }) = to;
                format!("{} {} {}{owner}", recipient.address, recipient.notify.0, recipient.original.as_deref().unwrap_or("-"))
            });
            shown.collect()
        };
        let list = expand(&path("list"), &facts).unwrap();
        assert!(list.listed && !list.expanded);
        assert_eq!(shown(&list), ["x@far.test 0 - from owner-list@here.test", "alice@here.test 0 -"]);
        let mixed = expand(&path("mixed"), &facts).unwrap();
        assert!(mixed.expanded && !mixed.listed);
        assert_eq!(
            shown(&mixed),
            ["x@far.test 0 - from owner-list@here.test", "alice@here.test 0 -", "carol@here.test 8 rfc822;x@y", "y@far.test 8 rfc822;x@y"]
        );
    }

    #[test]
    fn nobody_unknown_sends_elsewhere() {
        let facts = facts("away: x@far.test\n");
        let nobody = Client::default();
        let trusted = [Client { login: true, ..nobody }, Client { network: true, ..nobody }, Client { certificate: true, ..nobody }];
        for (path, open) in [
            ("alice@here.test", true),
            ("nobody@here.test", true),
            ("away@here.test", true),
            ("alice@old.test", true),
            ("x@backup.test", true),
            ("postmaster@mx.here.test", true),
            ("x@sub.backup.test", false),
            ("x@sub.here.test", false),
            ("x@far.test", false),
            ("alice@mx.here.test", false),
            ("postmaster@far.test", false),
            ("alice@[127.0.0.1]", false),
            // These are names of ours, whatever other hosts once read into them.
            ("x%far.test@here.test", true),
            ("far.test!x@here.test", true),
        ] {
            let path = Address::parse(path).unwrap_or_else(|| panic!("{path}"));
            assert_eq!(may_send(nobody, &path, &facts), open, "{path}");
            assert!(trusted.iter().all(|client| may_send(*client, &path, &facts)), "{path}");
        }
        for hack in ["x%far.test", "far.test!x", "@far.test:x", "x@far.test"] {
            assert_eq!(expand(&Address::new(hack, "here.test").into(), &facts), Err(Refused::NoMailbox), "{hack}");
        }
    }

    #[test]
    fn who_may_send_as_an_alias() {
        let facts = facts("info: sales\nsales: bob\nall: alice, bob\naway: x@far.test\nround: round2\nround2: round\nalice: bob\n");
        for (path, who) in [
            ("bob@here.test", Some("bob")),
            ("Bob+x@old.test", Some("bob")),
            ("info@here.test", Some("bob")),
            ("info+x@here.test", Some("bob")),
            ("alice@here.test", Some("alice")),
            ("all@here.test", None),
            ("away@here.test", None),
            ("round@here.test", None),
            ("nobody@here.test", None),
            ("bob@far.test", None),
        ] {
            let owner = crate::owner(&Address::parse(path).unwrap(), &facts);
            assert_eq!(owner.as_ref().map(|owner| &*owner.local), who, "{path}");
        }
    }
}
