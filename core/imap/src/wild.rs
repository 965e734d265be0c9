//! LIST patterns: `*` matches anything, `%` anything but the hierarchy separator (RFC 3501 §6.3.8).

use crate::limits;
use alloc::{vec, vec::Vec};

/// A pattern, ready to be matched against many names.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    text: Vec<u8>,
    separator: u8,
    /// Which places in the pattern have been reached; after a match, and what comes of them.
    reached: Vec<bool>,
    next: Vec<bool>,
}

impl Pattern {
    /// From UTF-8. `None` if it is too long to match any name.
    pub fn new(text: &str, separator: char) -> Option<Pattern> {
        let mut text = text.as_bytes().to_vec();
        // Repeated wild cards say nothing more.
        text.dedup_by(|b, a| a == b && matches!(a, b'*' | b'%'));
        let places = text.len() + 1;
        (places <= limits::PATTERN).then(|| Pattern {
            text,
            separator: separator as u8,
            reached: vec![false; places],
            next: vec![false; places],
        })
    }

    /// Whether `name` matches. INBOX, alone or as the first level, is compared without case (RFC 3501 §5.1).
    ///
    /// All ways to match are followed at once, so that no pattern costs more than its length times that of the name.
    pub fn matches(&mut self, name: &str) -> bool {
        let folded = match name.strip_prefix("INBOX") {
            Some(rest) if rest.is_empty() || rest.as_bytes()[0] == self.separator => "INBOX".len(),
            _ => 0,
        };
        self.reached.fill(false);
        self.reached[0] = true;
        self.skip_wild();
        for (i, &b) in name.as_bytes().iter().enumerate() {
            self.next.fill(false);
            for (place, &p) in self.text.iter().enumerate() {
                if !self.reached[place] {
                    continue;
                }
                match p {
                    b'*' => self.next[place] = true,
                    b'%' if b != self.separator => self.next[place] = true,
                    _ if p == b || i < folded && p.eq_ignore_ascii_case(&b) => self.next[place + 1] = true,
                    _ => {}
                }
            }
            core::mem::swap(&mut self.reached, &mut self.next);
            self.skip_wild();
        }
        self.reached[self.text.len()]
    }

    /// A wild card may match nothing.
    fn skip_wild(&mut self) {
        for (place, p) in self.text.iter().enumerate() {
            if self.reached[place] && matches!(p, b'*' | b'%') {
                self.reached[place + 1] = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        Pattern::new(pattern, '/').unwrap().matches(name)
    }

    #[test]
    fn wild_cards() {
        for (pattern, name) in [
            ("*", "a/b"),
            ("%", "a"),
            ("a/%", "a/b"),
            ("%/%", "a/b"),
            ("*b", "a/b"),
            ("%t*4", "test3/test4"),
            ("inbox", "INBOX"),
            ("iN%", "INBOX"),
            ("inbox/*", "INBOX/x"),
            ("%*", "a/b"),
            ("a*c%", "abcd"),
            ("", ""),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("%", "a/b"),
            ("a", "A"),
            ("inbox/X", "INBOX/x"),
            ("inboxes", "INBOX"),
            ("*a", "b"),
            ("%b", "a/b"),
            ("a%", "b"),
            ("", "a"),
            ("a", ""),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn no_pattern_blows_up() {
        let pattern = "*a%".repeat(100);
        let name = "a".repeat(199) + "b";
        assert!(matches(&pattern, &name));
        assert!(!matches(&("*a%".repeat(100) + "c"), &name));
        assert!(Pattern::new(&"a".repeat(600), '/').is_none());
    }
}
