//! A sender that says to whom a copy went (Bernstein, "Variable Envelope Return Paths", 1997), so that a report tells whose address is wrong even where it
//! says nothing else: `list+bob=example.org@lists.test`.

use alloc::format;
use mail::Address;

/// Longest local part. RFC 5321 §4.5.3.1.1 wants 64 of every host; what takes part in bounces takes more.
const LOCAL_MAX: usize = 200;

/// The sender for one recipient. Nothing if it would be longer than hosts take, or the recipient has no domain as they are.
pub fn verp(sender: &Address, separator: char, recipient: &Address) -> Option<Address> {
    let local = format!("{}{separator}{}={}", sender.local, recipient.local, recipient.domain);
    (local.len() <= LOCAL_MAX && !recipient.domain.contains('=')).then(|| Address::new(&local, &sender.domain))
}

/// The recipient that a sender made by [`verp`] names.
pub fn unverp(path: &Address, separator: char, sender: &Address) -> Option<Address> {
    let at = sender.local.len();
    let same = path.domain == sender.domain && path.local.get(..at)?.eq_ignore_ascii_case(&sender.local);
    let named = path.local.get(at..)?.strip_prefix(separator).filter(|_| same)?;
    let (local, domain) = named.rsplit_once('=')?;
    (!local.is_empty() && !domain.is_empty()).then(|| Address::new(local, domain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let list = Address::new("list-owner", "lists.test");
        for bob in ["bob@far.test", "a+b=c@far.test", "bö@fär.test", "x@[192.0.2.1]"] {
            let bob = Address::parse(bob).unwrap_or_else(|| Address::new("x", "[192.0.2.1]"));
            let sender = verp(&list, '+', &bob).unwrap();
            assert_eq!(unverp(&sender, '+', &list), Some(bob.clone()));
            assert_eq!(unverp(&Address::new(&sender.local.replace("list", "LIST"), "lists.test"), '+', &list), Some(bob));
            assert_eq!(unverp(&sender, '+', &Address::new("list-owner", "other.test")), None);
            assert_eq!(unverp(&sender, '+', &Address::new("other", "lists.test")), None);
        }
        for none in ["list-owner", "list-owner+", "list-owner+x", "list-owner+=x", "list-owner+x=", "list-ownerx=y", "lé"] {
            assert_eq!(unverp(&Address::new(none, "lists.test"), '+', &list), None, "{none}");
        }
        assert_eq!(verp(&list, '+', &Address::new("x", "a=b")), None);
        assert_eq!(verp(&list, '+', &Address::new(&"x".repeat(190), "far.test")), None);
    }
}
