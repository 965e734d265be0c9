//! Numbers that nobody can guess, whatever others of them are known: the names of reports go to strangers, and what comes after them protects logins and
//! questions to name servers. From one key: a simulated world plays again.

use ring::{
    hmac,
    rand::{SecureRandom as _, SystemRandom},
};
use std::io;

/// The generator: HMAC-SHA-256 of a count.
pub(crate) struct Dice {
    key: hmac::Key,
    count: u64,
}

impl Dice {
    /// From the system's own random numbers, as many as the key has room for.
    ///
    /// # Errors
    /// If the system gives none.
    pub(crate) fn random() -> io::Result<Dice> {
        let mut key = [0; 32];
        SystemRandom::new().fill(&mut key).map_err(|_| io::Error::other("the system gives no random bytes"))?;
        Ok(Dice::new(&key))
    }

    /// The same numbers each time, for tests.
    pub(crate) fn seeded(seed: u64) -> Dice {
        Dice::new(&seed.to_le_bytes())
    }

    fn new(key: &[u8]) -> Dice {
        Dice { key: hmac::Key::new(hmac::HMAC_SHA256, key), count: 0 }
    }

    pub(super) fn u64(&mut self) -> u64 {
        self.count += 1;
        let tag = hmac::sign(&self.key, &self.count.to_le_bytes());
        u64::from_le_bytes(tag.as_ref()[..8].try_into().expect("a tag has 32 bytes"))
    }
}
