//! The file `hikyaku.uids`: whose UIDs these are, and below which bounds they may have been used.

use crate::{
    limits,
    sealed::{self, Seal},
};
use alloc::{format, string::String};

/// A line of the file. The last whole line counts.
///
/// Lines are appended, never written over, so a torn write leaves the line before it. Text, so that a person can read it:
/// `uidvalidity 1700000000 uids below 1001 changes below 1048576 check 1a2b3c4d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The numbering; not 0.
    pub uid_validity: u32,
    /// UIDs below may have been used.
    pub uid_upto: u32,
    /// Change numbers below may have been used.
    pub mod_seq_upto: u64,
}

impl Bounds {
    /// Reads the file: its last line with a true checksum; `None` if there is none.
    pub fn parse(text: &[u8]) -> Option<Bounds> {
        Bounds::load(text).0
    }

    /// The same, and whether the last line is as it was written. If only a bit of it is another, the line counts all the same: the one before it may allow UIDs
    /// that were given out.
    pub fn load(text: &[u8]) -> (Option<Bounds>, bool) {
        let mut whole = true;
        for line in text.split(|&b| b == b'\n').rev().filter(|line| !line.is_empty()) {
            let (front, seal) = sealed::open(line, sealed::LINE);
            whole &= seal == Seal::Whole;
            if let Some(bounds) = front.and_then(|front| Bounds::parse_line(&front)) {
                return (Some(bounds), whole);
            }
        }
        (None, whole)
    }

    fn parse_line(front: &str) -> Option<Bounds> {
        let mut words = front.split(' ');
        let mut after = |name: &str| name.split(' ').all(|w| words.next() == Some(w)).then(|| words.next()).flatten();
        let uid_validity = after("uidvalidity")?.parse().ok().filter(|v| *v != 0)?;
        let uid_upto = after("uids below")?.parse().ok()?;
        // The numbers go on from here: a line that leaves no room, however true its checksum, is no line.
        let mod_seq_upto = after("changes below")?.parse().ok().filter(|n| *n <= limits::MOD_SEQ)?;
        Some(Bounds { uid_validity, uid_upto, mod_seq_upto })
    }

    /// Prints a line. It begins with a line end, so that it is whole even behind a torn one.
    pub fn print(&self) -> String {
        let Bounds { uid_validity, uid_upto, mod_seq_upto } = self;
        let line = format!("uidvalidity {uid_validity} uids below {uid_upto} changes below {mod_seq_upto}");
        format!("\n{}\n", sealed::seal(&line, sealed::LINE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_whole_line_counts() {
        let first = Bounds { uid_validity: 5, uid_upto: 1001, mod_seq_upto: 1 << 20 };
        let second = Bounds { uid_validity: 5, uid_upto: 7, mod_seq_upto: limits::MOD_SEQ };
        let mut text = first.print();
        let one = text.len();
        text.push_str(&second.print());
        // Without its final line end the line is whole all the same.
        for cut in one..text.len() - 1 {
            assert_eq!(Bounds::parse(&text.as_bytes()[..cut]), Some(first));
        }
        assert_eq!(Bounds::parse(text.as_bytes()), Some(second));
        let torn = alloc::format!("{}{}", &text[..one + 20], first.print());
        assert_eq!(Bounds::parse(torn.as_bytes()), Some(first));
        let spent = Bounds { mod_seq_upto: u64::MAX, ..first };
        assert_eq!(Bounds::parse(alloc::format!("{}{}", first.print(), spent.print()).as_bytes()), Some(first));
        assert_eq!(Bounds::parse(b""), None);
        assert_eq!(Bounds::parse(&[0; 100]), None);
    }
}
