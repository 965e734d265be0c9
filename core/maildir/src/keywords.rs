//! Which keyword each letter of a file name stands for: the file `hikyaku.keywords`.

use crate::{
    Marks, limits,
    sealed::{self, Seal},
};
use alloc::{collections::BTreeSet, format, string::String, vec::Vec};
use mail::{Flags, Keyword};

/// Letters and keywords of one mailbox. `$Forwarded` has the letter `P` of its own, as other Maildir programs use it.
///
/// The file has a line `NUMBER KEYWORD` for each, 0 for `a` to 25 for `z`, and their checksum. Dovecot's `dovecot-keywords` has the same form, without that.
#[derive(Debug, Clone, Default)]
pub struct Keywords {
    letters: [Option<Keyword>; limits::KEYWORDS],
}

const FORWARDED: &str = "$Forwarded";

impl Keywords {
    /// Reads the file, and says how it was found. If it is not what was written, no letter has a keyword: it might be another's.
    pub fn load(text: &[u8]) -> (Keywords, Seal) {
        match sealed::open(text, sealed::FILE) {
            (Some(text), seal) => (Keywords::parse(text.as_bytes()), seal),
            (None, Seal::Missing) => (Keywords::parse(text), Seal::Missing),
            (None, seal) => (Keywords::default(), seal),
        }
    }

    /// Reads the lines. Those that make no sense are skipped; the first of two lines of one letter counts.
    pub fn parse(text: &[u8]) -> Keywords {
        let mut keywords = Keywords::default();
        for line in text.split(|&b| b == b'\n') {
            let Some((number, name)) = core::str::from_utf8(line).ok().and_then(|l| l.split_once(' ')) else { continue };
            let (Ok(number), Some(keyword)) = (number.parse::<usize>(), Keyword::new(name)) else { continue };
            if let Some(slot @ None) = keywords.letters.get_mut(number) {
                *slot = Some(keyword);
            }
        }
        keywords
    }

    /// Prints the file.
    pub fn print(&self) -> String {
        let named = self.letters.iter().enumerate().filter_map(|(i, keyword)| Some(format!("{i} {}", keyword.as_ref()?)));
        let lines: Vec<String> = named.collect();
        sealed::seal(&lines.join("\n"), sealed::FILE) + "\n"
    }

    /// Whether no letter has a keyword.
    pub fn is_empty(&self) -> bool {
        self.letters.iter().all(Option::is_none)
    }

    /// All keywords that can be told apart here, `$Forwarded` first.
    pub fn names(&self) -> impl Iterator<Item = Keyword> + '_ {
        Keyword::new(FORWARDED).into_iter().chain(self.letters.iter().flatten().filter(|k| !is_forwarded(k)).cloned())
    }

    /// What marks mean. A letter without a keyword in the table means nothing.
    pub fn flags(&self, marks: Marks) -> Flags {
        let mut keywords = BTreeSet::new();
        if marks.keywords != 0 {
            keywords.extend(self.letters.iter().enumerate().filter(|(i, _)| marks.keywords & (1 << i) != 0).filter_map(|(_, k)| k.clone()));
            if marks.keywords & Marks::PASSED != 0 {
                keywords.extend(Keyword::new(FORWARDED));
            }
        }
        Flags { system: marks.system, keywords }
    }

    /// The bits of keywords; those that have no letter are left out.
    pub fn bits(&self, keywords: &BTreeSet<Keyword>) -> u32 {
        keywords.iter().filter_map(|k| self.bit(k)).fold(0, |mask, bit| mask | bit)
    }

    /// Gives each of these keywords a letter. `used` has the bits of letters that messages carry: when there is no free letter, the one
    /// of a keyword that no message carries is given away. Returns whether the table changed; `None` if there is no letter left.
    pub fn adopt(&mut self, keywords: &BTreeSet<Keyword>, used: u32) -> Option<bool> {
        let mut changed = false;
        let kept = used | self.bits(keywords);
        for keyword in keywords {
            if self.bit(keyword).is_none() {
                // A letter that is in use without a name was named in a table that is lost; it must not get another meaning.
                let free = |i: &usize| kept & (1 << i) == 0;
                let fresh = (0..limits::KEYWORDS).find(|i| self.letters[*i].is_none() && free(i));
                let idle = || (0..limits::KEYWORDS).find(|i| free(i) && self.letters[*i].as_ref().is_none_or(|k| !keywords.contains(k)));
                let i = fresh.or_else(idle)?;
                self.letters[i] = Some(keyword.clone());
                changed = true;
            }
        }
        Some(changed)
    }

    fn bit(&self, keyword: &Keyword) -> Option<u32> {
        if is_forwarded(keyword) {
            return Some(Marks::PASSED);
        }
        self.letters.iter().position(|k| k.as_ref() == Some(keyword)).map(|i| 1 << i)
    }
}

fn is_forwarded(keyword: &Keyword) -> bool {
    keyword.as_str().eq_ignore_ascii_case(FORWARDED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mail::System;

    fn set(names: &[&str]) -> BTreeSet<Keyword> {
        names.iter().map(|n| Keyword::new(n).unwrap()).collect()
    }

    #[test]
    fn dovecots_file_is_read() {
        let table = Keywords::parse(b"0 $Label1\n2 Junk\n99 Far\nx y\n2 Twice\n");
        let flags = table.flags(Marks { system: System::SEEN, keywords: 0b111 });
        assert_eq!(flags.keywords, set(&["$Label1", "junk"]));
        assert_eq!(table.print(), "0 $Label1\n2 Junk\ncheck b2a634b5\n");
        assert_eq!(Keywords::load(table.print().as_bytes()).0.print(), table.print());
        assert_eq!(Keywords::load(b"0 Junk\n").0.names().count(), 2, "one of an earlier version");
        assert_eq!(Keywords::load(b"0 Junk\ncheck 00000000\n").0.names().count(), 1);
        assert_eq!(Keywords::load(Keywords::default().print().as_bytes()).1, Seal::Whole);
    }

    #[test]
    fn letters_are_given_and_given_away() {
        let mut table = Keywords::default();
        for i in 0..26 {
            assert_eq!(table.adopt(&set(&[&format!("k{i}")]), (1 << i) - 1), Some(true));
        }
        assert_eq!(table.adopt(&set(&["K3"]), u32::MAX), Some(false));
        assert_eq!(table.adopt(&set(&["more"]), u32::MAX), None);
        assert_eq!(table.adopt(&set(&["more"]), !(1 << 7)), Some(true));
        assert_eq!(table.bits(&set(&["more", "k7", "$forwarded"])), 1 << 7 | Marks::PASSED);
    }
}
