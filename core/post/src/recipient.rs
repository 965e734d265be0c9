//! Whom a forward path means.

use mail::Address;

/// The facts about local addresses.
pub trait Directory {
    /// Whether mail for this domain (lower case) is delivered here.
    fn is_local_domain(&self, domain: &str) -> bool;
    /// The account that has exactly this address, by its canonical address; the case of the local part does not matter.
    fn account(&self, address: &Address) -> Option<Address>;
    /// The account that reads mail for `postmaster`.
    fn postmaster(&self) -> Option<Address>;
    /// The name of this host, lower case.
    fn hostname(&self) -> &str;
    /// The separator of user and detail.
    fn detail_separator(&self) -> char;
}

/// What a forward path comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ruling {
    /// The mailbox of an account, by its canonical address.
    Deliver(Address),
    /// The domain is ours and has no such mailbox.
    NoMailbox,
    /// The domain is not ours.
    Foreign,
}

/// Decides on a forward path: an account, an account with a detail (`alice+tag`), or the postmaster that every domain and the
/// host itself must have (RFC 5321 §4.5.1).
pub fn rule(path: &Address, facts: &impl Directory) -> Ruling {
    let local = facts.is_local_domain(&path.domain);
    let postmaster = path.local.eq_ignore_ascii_case("postmaster");
    if !(local || postmaster && *path.domain == *facts.hostname()) {
        return Ruling::Foreign;
    }
    let separator = facts.detail_separator();
    facts
        .account(path)
        .or_else(|| path.local.contains(separator).then(|| facts.account(&path.without_detail(separator))).flatten())
        .or_else(|| postmaster.then(|| facts.postmaster()).flatten())
        .map_or(Ruling::NoMailbox, Ruling::Deliver)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Facts;
    impl Directory for Facts {
        fn is_local_domain(&self, domain: &str) -> bool {
            domain == "example.test"
        }
        fn account(&self, address: &Address) -> Option<Address> {
            address.local.eq_ignore_ascii_case("alice").then(|| Address::new("alice", &address.domain))
        }
        fn postmaster(&self) -> Option<Address> {
            Some(Address::new("alice", "example.test"))
        }
        fn hostname(&self) -> &str {
            "mx.example.test"
        }
        fn detail_separator(&self) -> char {
            '+'
        }
    }

    #[test]
    fn every_path_gets_its_ruling() {
        let alice = Ruling::Deliver(Address::new("alice", "example.test"));
        for (path, ruling) in [
            ("Alice@Example.test", alice.clone()),
            ("alice+lists@example.test", alice.clone()),
            ("postmaster@example.test", alice.clone()),
            ("Postmaster@mx.example.test", alice),
            ("bob@example.test", Ruling::NoMailbox),
            ("alice@mx.example.test", Ruling::Foreign),
            ("postmaster@elsewhere.test", Ruling::Foreign),
        ] {
            assert_eq!(rule(&Address::parse(path).unwrap(), &Facts), ruling, "{path}");
        }
    }
}
