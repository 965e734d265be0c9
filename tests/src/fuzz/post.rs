//! What becomes of mail: files of aliases, and headers that are tidied.

use mail::{Address, Stamp};
use post::{
    Addresses, Destiny, Directory, Foreign, Hops, Refused, STEPS_MAX, Srs, Target, Tidy, TidyFacts, expand, parse_aliases, parse_included,
    unverp, verp,
};
use std::collections::{BTreeMap, BTreeSet};

/// One domain with one account and the aliases of a file.
struct Facts(BTreeMap<String, Vec<Target>>, Srs);

/// The bytes are a file. If it is one of aliases, every name in it leads somewhere or is refused, nowhere twice, and the parser and who prints an error
/// agree about lines. A second use: its lines are addresses that senders are made of and found in again.
pub fn post_aliases(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let lines = text.lines().count();
    if let Err(error) = parse_included(text) {
        assert!((1..=lines).contains(&error.line), "an error is on a line of the file");
    }
    let srs = Srs::new(b"secret", "here.test");
    senders(text, &srs);
    let aliases = match parse_aliases(text) {
        Ok(aliases) => aliases,
        Err(error) => {
            assert!((1..=lines).contains(&error.line), "an error is on a line of the file");
            return;
        }
    };
    for alias in &aliases {
        assert!(!alias.name.is_empty() && !alias.to.is_empty());
        assert!(
            alias.to.iter().all(|to| matches!(to, Target::Include(_)) || to.address("here.test").is_some()),
            "a target that was taken is an address"
        );
    }
    let names: Vec<String> = aliases.iter().map(|alias| alias.name.clone()).collect();
    let facts = Facts(aliases.into_iter().map(|alias| (alias.name, alias.to)).collect(), srs);
    for name in names.iter().take(20) {
        let path = Address::parse(name).unwrap_or_else(|| Address::new(name, "here.test"));
        let _ = post::owner(&path, &facts);
        match expand(&path.into(), &facts) {
            Ok(expansion) => {
                assert!(!expansion.to.is_empty() && expansion.to.len() <= STEPS_MAX + 1);
                let mut seen = BTreeSet::new();
                for to in &expansion.to {
                    let place = match to {
                        Destiny::Mailbox { account, .. } => account,
                        Destiny::Remote { recipient, .. } => &recipient.address,
                    };
                    assert!(seen.insert((place.local.to_lowercase(), place.domain.clone())), "{place} twice");
                }
            }
            Err(Refused::NoMailbox | Refused::Loop | Refused::TooMany) => {}
        }
    }
}

/// Rewritten senders lead back, and nothing that was not made here is taken for one.
fn senders(text: &str, srs: &Srs) {
    let list = Address::new("list", "here.test");
    for line in text.lines().take(20) {
        assert_eq!(srs.unwrap(&Address::new(line, "here.test"), 0), None, "nobody guesses a hash");
        let Some(address) = Address::parse(line) else { continue };
        if let Some(wrapped) = srs.wrap(&address, 0) {
            let back = srs.unwrap(&wrapped, 21).expect("it comes back in time");
            // What had been rewritten elsewhere goes to where that was, with the separator that its host put there.
            assert!(back == address || address.local.to_lowercase().starts_with("srs"), "{back} is not {address}");
            assert_eq!(srs.unwrap(&wrapped, 22).is_some(), wrapped.local.starts_with("SRS1"), "in time, and not later");
        }
        if let Some(sender) = verp(&list, '+', &address) {
            assert_eq!(unverp(&sender, '+', &list), Some(address));
        }
    }
}

/// The bytes are a message. However it is cut, it becomes the same; no field that is to go is left, none that is to be there is missing; and it is tidy then:
/// tidied again, it stays as it is. A second use: it comes from elsewhere, and nothing of it becomes part of the field that goes before it.
pub fn post_tidy(data: &[u8]) {
    foreign(data);
    let (whole, pieces) = (tidied(data, data.len().max(1)), tidied(data, 1));
    assert!(whole == pieces, "it depends on where the message is cut");
    assert!(tidied(&whole, 7) == whole, "what is tidy is changed again");
    let mut scanner = mime::Scanner::new();
    scanner.feed(&whole);
    let envelope = scanner.finish().envelope;
    assert!(envelope.bcc.is_empty(), "somebody reads who got a blind copy");
    let header = whole.split(|b| *b == b'\n').take_while(|line| !line.is_empty() && *line != b"\r");
    let names: Vec<String> = header
        .filter(|line| !line.starts_with(b" ") && !line.starts_with(b"\t"))
        .filter_map(|line| line.split(|b| *b == b':').next())
        .map(|name| String::from_utf8_lossy(name).trim_end().to_lowercase())
        .collect();
    for needed in ["from", "date", "message-id"] {
        assert!(names.iter().any(|name| name == needed), "{needed} is missing");
    }
    assert!(!names.iter().any(|name| ["bcc", "resent-bcc", "return-path"].contains(&&**name)));
    let (mut one, mut each) = (Hops::default(), Hops::default());
    one.feed(data);
    data.iter().for_each(|b| each.feed(&[*b]));
    assert_eq!(format!("{one:?}"), format!("{each:?}"), "it depends on where the message is cut");
}

fn foreign(data: &[u8]) {
    for is_final in [true, false] {
        let (whole, pieces) = (passed(data, is_final, data.len().max(1)), passed(data, is_final, 1));
        assert!(whole == pieces, "it depends on where the message is cut");
        assert!(is_final || whole.ends_with(data) || whole.starts_with(b"X-Mailbox-Line: "), "what passes through changes");
        let stored = [b"Received: here\n", &whole[..]].concat();
        let mut fields = mime::fields(&stored);
        assert_eq!(fields.next().map(|field| field.value), Some(&b" here\n"[..]), "it folds into ours");
    }
}

fn passed(message: &[u8], is_final: bool, cut: usize) -> Vec<u8> {
    let (mut foreign, mut out) = (Foreign::new(is_final), Vec::new());
    message.chunks(cut).for_each(|piece| foreign.feed(piece, &mut out));
    foreign.finish(&mut out);
    out
}

fn tidied(message: &[u8], cut: usize) -> Vec<u8> {
    let alice = Address::new("alice", "here.test");
    let mut tidy = Tidy::new(TidyFacts { from: Some(&alice), date: Stamp::utc(0), id: "1f", hostname: "mx.here.test" });
    let mut out = Vec::new();
    message.chunks(cut).for_each(|piece| tidy.feed(piece, &mut out));
    tidy.finish(&mut out);
    out
}

impl Directory for Facts {
    fn is_local_domain(&self, domain: &str) -> bool {
        domain == "here.test"
    }
    fn account(&self, address: &Address) -> Option<Address> {
        address.local.eq_ignore_ascii_case("alice").then(|| Address::new("alice", "here.test"))
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
        self.0.get(&format!("{local}@{}", address.domain)).or_else(|| self.0.get(&local)).cloned()
    }
    fn forward(&self, account: &Address) -> Option<(Vec<Address>, bool)> {
        self.0.contains_key("forward").then(|| (vec![Address::new("forward", &account.domain)], false))
    }
    fn catch_all(&self, domain: &str) -> Option<Address> {
        self.0.get(&format!("@{domain}"))?.first()?.address("here.test")
    }
    fn is_backup_domain(&self, _: &str) -> bool {
        false
    }
    fn default_domain(&self) -> &str {
        "here.test"
    }
    fn unwrap_sender(&self, address: &Address) -> Option<Address> {
        self.1.unwrap(address, 0)
    }
}
