//! Paths and what they become; who may send; RFC 3461 §5.2.7.

use crate::*;
use alloc::{
    collections::BTreeMap,
    format,
    string::{String, ToString as _},
    vec,
    vec::Vec,
};
use mail::{Address, Notify, Recipient};

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
            yes(&["alice@here.test", "bob@here.test", "sent on to bob@phone.test", "sent on to carol@far.test", "sent on to far@far.test"]),
        ),
        (
            "all@here.test",
            yes(&["alice@here.test", "bob@here.test", "sent on to bob@phone.test", "sent on to carol@far.test", "sent on to far@far.test"]),
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
    // Whoever gets what nobody gets is nobody either, which is no way to go on for ever.
    facts.catch_all = Some("nobody@here.test");
    facts.aliases.insert("self".into(), vec![Target::Address("self".into())]);
    for path in ["nobody@here.test", "other@here.test", "self@here.test"] {
        assert_eq!(go(&facts, path), Err(Refused::Loop), "{path}");
    }
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
