//! An address.

use alloc::{boxed::Box, string::String};
use core::fmt;

/// `local@domain`, as in an envelope. The local part is unquoted and kept as it came; the domain is lower case, without a
/// final dot; an address literal keeps its brackets (`[192.0.2.1]`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// Without quotes; may hold any character, so print it with [`fmt::Display`], which quotes where needed.
    pub local: Box<str>,
    /// Lower case.
    pub domain: Box<str>,
}

impl Address {
    /// From parts that a protocol has parsed. Lowers the domain.
    pub fn new(local: &str, domain: &str) -> Address {
        let domain = domain.strip_suffix('.').unwrap_or(domain);
        Address { local: local.into(), domain: domain.to_lowercase().into() }
    }

    /// Parses the plain form `local@domain` that configuration and logins use: no quoting, no comments, no spaces, no
    /// control characters.
    pub fn parse(text: &str) -> Option<Address> {
        let (local, domain) = text.rsplit_once('@')?;
        let bad = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '<' | '>' | '"' | ',' | ';' | ':' | '\\' | '(' | ')');
        if local.is_empty() || text.len() > 254 || local.contains(bad) || domain.contains(bad) || local.contains('@') {
            return None;
        }
        let address = Address::new(local, domain);
        // A domain of several dots would be another one each time it is read.
        (!address.domain.split('.').any(str::is_empty)).then_some(address)
    }

    /// Whether any character is beyond ASCII, so that the address needs SMTPUTF8 (RFC 6531).
    pub fn is_utf8(&self) -> bool {
        !self.local.is_ascii() || !self.domain.is_ascii()
    }

    /// The local part without its detail: `alice` of `alice+lists`. The separator of a leading `+` is not one.
    pub fn without_detail(&self, separator: char) -> Address {
        match self.local.find(separator) {
            Some(at) if at > 0 => Address { local: self.local[..at].into(), domain: self.domain.clone() },
            _ => self.clone(),
        }
    }
}

/// As it stands between `<` and `>`: the local part quoted if it is no dot-atom (RFC 5321 §4.1.2).
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let atom = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || !c.is_ascii();
        if !self.local.is_empty() && self.local.split('.').all(|word| !word.is_empty() && word.chars().all(atom)) {
            write!(f, "{}@{}", self.local, self.domain)
        } else {
            let mut quoted = String::with_capacity(self.local.len() + 2);
            for c in self.local.chars() {
                if matches!(c, '"' | '\\') {
                    quoted.push('\\');
                }
                quoted.push(c);
            }
            write!(f, "\"{}\"@{}", quoted, self.domain)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn it_quotes_what_is_no_dot_atom() {
        assert_eq!(Address::new("alice", "Example.TEST.").to_string(), "alice@example.test");
        assert_eq!(Address::new("a b\"c", "x").to_string(), "\"a b\\\"c\"@x");
        assert_eq!(Address::new("a..b", "x").to_string(), "\"a..b\"@x");
        assert_eq!(Address::new("", "x").to_string(), "\"\"@x");
    }

    #[test]
    fn it_parses_plain_addresses_only() {
        assert_eq!(Address::parse("bob@Example.test"), Some(Address::new("bob", "example.test")));
        for bad in ["bob", "@x", "bob@", "b ob@x", "bob@x\r\n", "<bob@x>", "a@b@c"] {
            assert_eq!(Address::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn the_detail_goes() {
        assert_eq!(Address::new("alice+tag", "x").without_detail('+'), Address::new("alice", "x"));
        assert_eq!(Address::new("+tag", "x").without_detail('+'), Address::new("+tag", "x"));
    }
}
