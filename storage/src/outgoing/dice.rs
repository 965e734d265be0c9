//! Numbers that nobody can guess, whatever others of them are known: the names of reports go to strangers, and what comes after them protects logins and
//! questions to name servers. From one seed, so that a simulated world plays again.

use ring::hmac;

/// The generator: HMAC-SHA-256 of a count.
pub(super) struct Dice {
    key: hmac::Key,
    count: u64,
}

impl Dice {
    pub(super) fn new(seed: u64) -> Dice {
        Dice { key: hmac::Key::new(hmac::HMAC_SHA256, &seed.to_le_bytes()), count: 0 }
    }

    pub(super) fn u64(&mut self) -> u64 {
        self.count += 1;
        let tag = hmac::sign(&self.key, &self.count.to_le_bytes());
        u64::from_le_bytes(tag.as_ref()[..8].try_into().expect("a tag has 32 bytes"))
    }
}
