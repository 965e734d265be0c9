//! Passwords that were verified a moment ago, so that a client that logs in every minute does not cost an argon2 each time.

use ring::{
    hmac,
    rand::{SecureRandom as _, SystemRandom},
};
use std::collections::BTreeMap;
use subtle::ConstantTimeEq as _;

/// Most accounts that are remembered, about 100 bytes each; the one that ends first goes first.
const ENTRIES_MAX: usize = 50_000;

/// What is kept of a password is a keyed hash over account, stored hash and password, whose key never leaves the process. A changed hash
/// or a new process forgets. Failures are never kept: they would be free guesses.
pub(crate) struct Memory {
    key: hmac::Key,
    entries: BTreeMap<String, Entry>,
}

struct Entry {
    tag: [u8; 32],
    until_ms: u64,
}

impl Memory {
    /// With a fresh key.
    ///
    /// # Panics
    /// If the system has no random numbers.
    pub(crate) fn new() -> Memory {
        let mut key = [0; 32];
        SystemRandom::new().fill(&mut key).expect("the system has random numbers");
        Memory { key: hmac::Key::new(hmac::HMAC_SHA256, &key), entries: BTreeMap::new() }
    }

    /// The tag of a password; to be made without the lock of the memory.
    pub(crate) fn tag(key: &hmac::Key, account: &str, hash: &str, password: &str) -> [u8; 32] {
        let mut context = hmac::Context::with_key(key);
        for part in [account, hash, password] {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part.as_bytes());
        }
        let mut tag = [0; 32];
        tag.copy_from_slice(context.sign().as_ref());
        tag
    }

    /// The key of the tags.
    pub(crate) fn key(&self) -> hmac::Key {
        self.key.clone()
    }

    /// Whether this tag was verified and not too long ago.
    pub(crate) fn knows(&self, account: &str, tag: &[u8; 32], now_ms: u64) -> bool {
        self.entries.get(account).is_some_and(|e| now_ms < e.until_ms && e.tag.ct_eq(tag).into())
    }

    /// Remembers a tag.
    pub(crate) fn keep(&mut self, account: &str, tag: [u8; 32], until_ms: u64) {
        if self.entries.len() >= ENTRIES_MAX && !self.entries.contains_key(account) {
            let first = self.entries.iter().min_by_key(|(_, e)| e.until_ms).map(|(k, _)| k.clone());
            first.map(|k| self.entries.remove(&k));
        }
        self.entries.insert(account.to_owned(), Entry { tag, until_ms });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_knows_for_a_while() {
        let mut m = Memory::new();
        let tag = Memory::tag(&m.key(), "a@x", "$h", "secret");
        assert!(!m.knows("a@x", &tag, 0));
        m.keep("a@x", tag, 100);
        assert!(m.knows("a@x", &tag, 99));
        assert!(!m.knows("a@x", &tag, 100));
        assert!(!m.knows("b@x", &tag, 0));
        for (account, hash, password) in [("a@x", "$h2", "secret"), ("a@x", "$h", "Secret"), ("a@x", "$hs", "ecret")] {
            assert!(!m.knows("a@x", &Memory::tag(&m.key(), account, hash, password), 0));
        }
        assert_ne!(Memory::tag(&Memory::new().key(), "a@x", "$h", "secret"), tag);
    }
}
