//! Sender rewriting for mail that is sent on (SRS): the next host sees a sender of ours, so that what our address records say about who may send holds
//! for it, and a report finds its way back through us.
//!
//! The form is the one all implementations share (Shevek, "The Sender Rewriting Scheme", 2004); hash and day are ours to choose, for nobody else reads them.

use alloc::{
    format,
    string::{String, ToString as _},
    vec::Vec,
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use mail::Address;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

/// How many days ahead one may be made: a clock that was set back, be it by a second at midnight, must not lose what comes back.
const AHEAD: i64 = 2;

/// For how many days a rewritten sender leads back. A message is given up after five; some hosts are more patient.
const DAYS: i64 = 21;

/// Days are counted modulo this: two characters.
const ROUND: i64 = 32 * 32;

/// Characters of the hash: fifty bits, which nobody guesses by sending mail.
const HASH: usize = 10;

/// Base 32: other hosts may change the case of a local part.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Longest local part (RFC 5321 §4.5.3.1.1). Beyond, a sender is not rewritten: the next hosts would refuse it.
const LOCAL_MAX: usize = 128;

/// The secret, and the domain that rewritten senders are in.
#[derive(Clone)]
pub struct Srs {
    secret: Vec<u8>,
    domain: String,
}

/// Nothing secret in logs.
impl core::fmt::Debug for Srs {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Srs").field("domain", &self.domain).finish_non_exhaustive()
    }
}

impl Srs {
    /// With a secret and a domain in lower case.
    pub fn new(secret: &[u8], domain: &str) -> Srs {
        Srs { secret: secret.to_vec(), domain: domain.to_string() }
    }

    /// The sender that stands for `sender` in mail that is sent on today, `day` days after 1970. Nothing if it would be too long.
    pub fn wrap(&self, sender: &Address, day: i64) -> Option<Address> {
        if sender.domain.contains('=') {
            return None;
        }
        let (tag, rest) = match prefix(&sender.local) {
            // Rewritten before, by the host of its domain: that one alone can undo it.
            Some((0, rest)) => ("SRS1", format!("{}={}", sender.domain, &sender.local[4..4 + 1 + rest.len()])),
            // Twice: the first host is all that matters, so it gets no longer.
            Some((_, rest)) if first_host(rest).is_some() => ("SRS1", rest.split_once('=')?.1.to_string()),
            // What only begins like one is a name as any other.
            _ => ("SRS0", format!("{}={}={}", stamp(day), sender.domain, sender.local)),
        };
        let local = format!("{tag}={}={rest}", self.hash(tag, &rest));
        (local.len() <= LOCAL_MAX).then(|| Address::new(&local, &self.domain))
    }

    /// The sender behind a rewritten one; nothing if it was not made here, or too long ago.
    pub fn unwrap(&self, address: &Address, day: i64) -> Option<Address> {
        if *address.domain != *self.domain {
            return None;
        }
        let (kind, rest) = prefix(&address.local)?;
        let (hash, rest) = rest.split_once('=')?;
        let tag = if kind == 0 { "SRS0" } else { "SRS1" };
        let wanted = self.hash(tag, rest);
        if !bool::from(hash.to_ascii_lowercase().as_bytes().ct_eq(wanted.as_bytes())) {
            return None;
        }
        if kind == 0 {
            let (made, rest) = rest.split_once('=')?;
            let (domain, local) = rest.split_once('=')?;
            let age = (day + AHEAD - days(made)?).rem_euclid(ROUND);
            return (age <= DAYS + AHEAD).then(|| Address::new(local, domain));
        }
        let (domain, rest) = split_host(rest)?;
        Some(Address::new(&format!("SRS0{rest}"), domain))
    }

    fn hash(&self, tag: &str, rest: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret).expect("any length of key will do");
        // What others may have changed the case of must have the same hash.
        mac.update(format!("{tag}={rest}").to_lowercase().as_bytes());
        mac.finalize().into_bytes().iter().take(HASH).map(|b| char::from(ALPHABET[usize::from(b % 32)])).collect()
    }
}

/// Whether a local part was rewritten, once (0) or more often (1), and what follows its first separator.
fn prefix(local: &str) -> Option<(u8, &str)> {
    let tag = local.get(..4)?;
    let rest = local.get(4..)?.strip_prefix(['=', '+', '-'])?;
    match () {
        () if tag.eq_ignore_ascii_case("SRS0") => Some((0, rest)),
        () if tag.eq_ignore_ascii_case("SRS1") => Some((1, rest)),
        () => None,
    }
}

/// The first host in what follows the separator of an SRS1 address, and what that host is to hear.
fn first_host(rest: &str) -> Option<(&str, &str)> {
    split_host(rest.split_once('=')?.1)
}

fn split_host(rest: &str) -> Option<(&str, &str)> {
    rest.split_once('=').filter(|(domain, rest)| !domain.is_empty() && rest.starts_with(['=', '+', '-']))
}

fn stamp(day: i64) -> String {
    let day = day.rem_euclid(ROUND);
    [day / 32, day % 32].iter().map(|digit| char::from(ALPHABET[*digit as usize])).collect()
}

fn days(stamp: &str) -> Option<i64> {
    let digit = |b: u8| ALPHABET.iter().position(|a| *a == b.to_ascii_lowercase()).map(|at| at as i64);
    match stamp.as_bytes() {
        [high, low] => Some(digit(*high)? * 32 + digit(*low)?),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let (here, there) = (Srs::new(b"secret", "here.test"), Srs::new(b"other", "there.test"));
        let alice = Address::new("alice=x", "a.test");
        let once = here.wrap(&alice, 20_000).unwrap();
        assert!(once.local.starts_with("SRS0=") && &*once.domain == "here.test");
        assert_eq!(here.unwrap(&once, 20_000 + DAYS), Some(alice.clone()));
        assert_eq!(here.unwrap(&Address::new(&once.local.to_uppercase(), "here.test"), 20_000).map(|a| a.domain), Some("a.test".into()));
        assert_eq!(here.unwrap(&once, 20_000 + DAYS + 1), None, "too late");
        assert_eq!(here.unwrap(&once, 20_000 - AHEAD), Some(alice.clone()), "the clock was set back");
        assert_eq!(here.unwrap(&once, 20_000 - AHEAD - 1), None, "from the future");
        assert_eq!(there.unwrap(&once, 20_000), None, "not made there");
        let twice = there.wrap(&once, 20_000).unwrap();
        assert!(twice.local.starts_with("SRS1="));
        assert_eq!(there.unwrap(&twice, 20_000), Some(once.clone()));
        let third = Srs::new(b"third", "third.test");
        let thrice = third.wrap(&twice, 20_000).unwrap();
        assert_eq!(third.unwrap(&thrice, 20_000), Some(once), "it leads to the first host at once");
    }

    #[test]
    fn what_only_looks_rewritten_leads_back_too() {
        let here = Srs::new(b"secret", "here.test");
        for local in ["SRS1", "SRS1=", "SRS1=x", "SRS1=x=y", "SRS1=x=y=z", "SRS1=x==z", "SRS0=", "SRS0=x", "srs0+x"] {
            let sender = Address::new(local, "far.test");
            let back = here.unwrap(&here.wrap(&sender, 0).unwrap(), 0).unwrap();
            assert_eq!((back.local.to_uppercase(), &back.domain), (local.to_uppercase(), &sender.domain), "{local}");
        }
        assert_eq!(here.wrap(&Address::new("x", "a=b"), 0), None);
    }

    #[test]
    fn nobody_else_can_make_one() {
        let here = Srs::new(b"secret", "here.test");
        let day = 20_000;
        let once = here.wrap(&Address::new("alice", "a.test"), day).unwrap();
        let forged = once.local.replace("alice", "bob");
        assert_eq!(here.unwrap(&Address::new(&forged, "here.test"), day), None);
        for bad in ["SRS0=", "SRS0=x", "SRS0=x=y", "SRS1=x=y", "SRS0=aaaaaaaaaa=aa=a.test=alice", "SRS2=x", "SRSé=x", ""] {
            assert_eq!(here.unwrap(&Address::new(bad, "here.test"), day), None, "{bad}");
        }
        assert_eq!(here.wrap(&Address::new(&"x".repeat(120), "a.test"), day), None);
    }
}
