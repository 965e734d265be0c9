//! What a random client says: words of the protocol, whole commands, and damage.

use fastrand::Rng;

/// How a protocol is spoken at random.
pub struct Recipe {
    /// How sessions begin: each brings the session somewhere.
    pub openings: &'static [&'static str],
    /// Whole commands without their line ends.
    pub commands: &'static [&'static str],
    /// Words.
    pub words: &'static [&'static str],
    /// What a message may look like on this wire.
    pub bodies: &'static [&'static str],
    /// Whether commands carry tags.
    pub tagged: bool,
    /// Options of the session to choose from.
    pub settings: &'static [&'static str],
}

impl Recipe {
    /// Options of one session.
    pub fn options(&self, random: &mut Rng) -> Vec<(usize, String, String)> {
        let chosen = random.choice(self.settings).unwrap_or(&"");
        chosen.split_whitespace().filter_map(|pair| pair.split_once('=')).map(|(k, v)| (0, k.to_owned(), v.to_owned())).collect()
    }

    /// What is sent in one go; the first breath of most sessions gets somewhere.
    pub fn breath(&self, random: &mut Rng, first: bool) -> Vec<u8> {
        let mut bytes = Vec::new();
        if first && random.u8(0..10) > 0 {
            bytes.extend_from_slice(random.choice(self.openings).unwrap_or(&"").as_bytes());
        }
        for _ in 0..random.usize(1..8) {
            match random.u8(0..12) {
                0..=5 => self.command(random, &mut bytes),
                6 | 7 => self.line_of_words(random, &mut bytes),
                8 | 9 => bytes.extend_from_slice(random.choice(self.bodies).unwrap_or(&"").as_bytes()),
                10 => noise(random, &mut bytes),
                _ => bytes.extend(std::iter::repeat_n(
                    random.u8(..),
                    if random.u8(0..8) > 0 { random.usize(1..1200) } else { random.choice([9000, 70_000]).unwrap_or(1) },
                )),
            }
        }
        if random.u8(0..3) == 0 {
            damage(random, &mut bytes);
        }
        bytes
    }

    fn command(&self, random: &mut Rng, bytes: &mut Vec<u8>) {
        self.tag(random, bytes);
        bytes.extend_from_slice(random.choice(self.commands).unwrap_or(&"").as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }

    fn line_of_words(&self, random: &mut Rng, bytes: &mut Vec<u8>) {
        self.tag(random, bytes);
        for _ in 0..random.usize(1..12) {
            bytes.extend_from_slice(random.choice(self.words).unwrap_or(&"").as_bytes());
            bytes.extend_from_slice(random.choice([" ", " ", " ", "", "(", ")", "\"", ":", "\t"]).unwrap_or("").as_bytes());
        }
        bytes.extend_from_slice(random.choice(["\r\n", "\r\n", "\r\n", "\n", "\r"]).unwrap_or("").as_bytes());
    }

    fn tag(&self, random: &mut Rng, bytes: &mut Vec<u8>) {
        if self.tagged {
            bytes.extend_from_slice(random.choice(["a1 ", "tag ", "9 ", "x.y "]).unwrap_or("").as_bytes());
        }
    }
}

fn noise(random: &mut Rng, bytes: &mut Vec<u8>) {
    for _ in 0..random.usize(1..40) {
        bytes.push(random.u8(..));
    }
}

/// Turns, drops, doubles and inserts a few bytes.
fn damage(random: &mut Rng, bytes: &mut Vec<u8>) {
    for _ in 0..random.usize(1..4) {
        if bytes.is_empty() {
            return;
        }
        let at = random.usize(0..bytes.len());
        match random.u8(0..5) {
            0 => bytes[at] ^= 1 << random.u8(0..8),
            1 => _ = bytes.remove(at),
            2 => bytes.insert(at, random.choice(*b"\r\n\0\"\\(){}*%:,.<>@ \xff").unwrap_or(0)),
            3 => bytes.truncate(at),
            _ => {
                let end = (at + random.usize(1..60)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
        }
    }
}
