//! What happened in a world: a hash that two runs of one seed share, and the last lines of a story if somebody reads it.

use std::collections::VecDeque;

/// Lines of the story that are kept.
const TAIL: usize = 400;

/// A tape of one world.
#[derive(Debug)]
pub struct Tape {
    hash: u64,
    events: u64,
    lines: Option<VecDeque<String>>,
    now: u64,
}

impl Tape {
    /// An empty one; `told` says whether the story is written down or only hashed.
    pub fn new(told: bool) -> Tape {
        Tape { hash: 0xcbf2_9ce4_8422_2325, events: 0, lines: told.then(VecDeque::new), now: 0 }
    }

    /// It is that late, in milliseconds.
    pub fn at(&mut self, now: u64) {
        self.now = now;
    }

    /// Something happened: these numbers are part of the hash, the words of the story.
    pub fn note(&mut self, numbers: &[u64], words: impl FnOnce() -> String) {
        self.events += 1;
        for number in [self.now].iter().chain(numbers) {
            // FNV-1a, a word at a time.
            self.hash = (self.hash ^ number).wrapping_mul(0x0100_0000_01b3).rotate_left(29);
        }
        self.say(words);
    }

    /// A line of the story that is not part of the hash.
    pub fn say(&mut self, words: impl FnOnce() -> String) {
        let now = self.now;
        if let Some(lines) = &mut self.lines {
            if lines.len() == TAIL && std::env::var_os("STORY").is_none() {
                lines.pop_front();
            }
            lines.push_back(format!("{:>10}.{:03} {}", now / 1000, now % 1000, words()));
        }
    }

    /// What happened, in one number.
    pub fn hash(&self) -> u64 {
        self.hash ^ self.events
    }

    /// The end of the story.
    pub fn tail(&self) -> Vec<String> {
        self.lines.iter().flatten().cloned().collect()
    }
}

/// Bytes as a number for the hash.
pub fn sum(bytes: &[u8]) -> u64 {
    u64::from(crc32fast::hash(bytes)) << 32 | bytes.len() as u64
}
