//! Names of message files: `BASE:2,FLAGS`, where the base never changes and the flags do.

use crate::limits;
use alloc::{string::String, vec::Vec};
use core::fmt::Write;
use mail::System;

/// A file name taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileName<'a> {
    /// What identifies the message: everything before the first `:`. Not empty, no leading dot.
    pub base: &'a [u8],
    /// The rest with its `:`; empty if there is none, as in `new/`.
    pub info: &'a [u8],
}

impl<'a> FileName<'a> {
    /// Splits the name of a directory entry; `None` if it cannot be a message: a leading dot, nothing before the `:`, longer than file
    /// systems allow.
    pub fn split(name: &'a [u8]) -> Option<FileName<'a>> {
        let at = name.iter().position(|&b| b == b':').unwrap_or(name.len());
        let (base, info) = name.split_at(at);
        (!base.is_empty() && base[0] != b'.' && name.len() <= limits::FILE_NAME).then_some(FileName { base, info })
    }
}

/// What the letters of a file name say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Marks {
    /// `D` draft, `F` flagged, `R` replied, `S` seen, `T` trashed.
    pub system: System,
    /// Bit 0 for `a` to bit 25 for `z`, and [`Marks::PASSED`].
    pub keywords: u32,
}

impl Marks {
    /// The bit of `P` (passed on), which is the keyword `$Forwarded`.
    pub const PASSED: u32 = 1 << 26;
    /// Upper case letters in the order that Maildir asks for (ASCII); `P` among them.
    const LETTERS: [(u8, Option<System>); 6] = [
        (b'D', Some(System::DRAFT)),
        (b'F', Some(System::FLAGGED)),
        (b'P', None),
        (b'R', Some(System::ANSWERED)),
        (b'S', Some(System::SEEN)),
        (b'T', Some(System::DELETED)),
    ];

    /// Reads the info part of a name. Unknown letters and infos of another kind than `:2,` say nothing.
    pub fn parse(info: &[u8]) -> Marks {
        let mut marks = Marks::default();
        for &letter in letters(info) {
            match Marks::LETTERS.iter().find(|(l, _)| *l == letter) {
                Some((_, Some(system))) => marks.system = marks.system.with(*system),
                Some((_, None)) => marks.keywords |= Marks::PASSED,
                None if letter.is_ascii_lowercase() => marks.keywords |= 1 << (letter - b'a'),
                None => {}
            }
        }
        marks
    }

    /// Prints the info part of a name in `cur/`. Letters that others put into `old` and that mean nothing here are kept, and so is what
    /// follows a second comma (Dovecot's extension).
    pub fn print(self, old: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(b":2,");
        let start = out.len();
        for (letter, system) in Marks::LETTERS {
            if system.map_or(self.keywords & Marks::PASSED != 0, |s| self.system.has(s)) {
                out.push(letter);
            }
        }
        out.extend((0..limits::KEYWORDS as u8).filter(|i| self.keywords & (1 << i) != 0).map(|i| b'a' + i));
        let known = |l: &u8| l.is_ascii_lowercase() || Marks::LETTERS.iter().any(|(k, _)| k == l);
        let before = out.len();
        out.extend(letters(old).iter().filter(|l| !known(l)));
        if out.len() > before {
            out[start..].sort_unstable();
        }
        if let Some(rest) = old.strip_prefix(b":2,") {
            out.extend_from_slice(&rest[letters(old).len()..]);
        }
    }

    /// Whether `info` is exactly what [`Marks::print`] makes of these marks, so that it need not be remembered.
    pub fn is_plain(self, info: &[u8]) -> bool {
        let mut plain = Vec::with_capacity(16);
        self.print(b"", &mut plain);
        plain == info
    }
}

/// The letters between `:2,` and the next comma.
fn letters(info: &[u8]) -> &[u8] {
    let rest = info.strip_prefix(b":2,").unwrap_or_default();
    &rest[..rest.iter().position(|&b| b == b',').unwrap_or(rest.len())]
}

/// Sizes that a base name tells, as Maildir++ and Dovecot write them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sizes {
    /// `,S=`: bytes of the file.
    pub stored: Option<u64>,
    /// `,W=`: octets with CRLF line ends.
    pub wire: Option<u64>,
}

impl Sizes {
    /// Reads them off a base name.
    pub fn parse(base: &[u8]) -> Sizes {
        let mut sizes = Sizes::default();
        for field in base.split(|&b| b == b',').skip(1) {
            match field {
                [b'S', b'=', digits @ ..] => sizes.stored = number(digits).or(sizes.stored),
                [b'W', b'=', digits @ ..] => sizes.wire = number(digits).or(sizes.wire),
                _ => {}
            }
        }
        sizes
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    let text = core::str::from_utf8(digits).ok()?;
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

/// The time that a base name begins with, in seconds since 1970; 0 if there is none. Messages that appear together get their UIDs in
/// the order of it.
pub(crate) fn time_of(base: &[u8]) -> u64 {
    number(&base[..base.iter().position(|b| !b.is_ascii_digit()).unwrap_or(base.len())]).unwrap_or(0)
}

/// The unique part of the base name of a message that comes by the log: the id of its entry, and which of its targets this is.
pub fn log_unique(id: u64, target: usize) -> String {
    let mut unique = String::with_capacity(24);
    let _ = write!(unique, "L{id:x}N{target}");
    unique
}

/// The id of the log's entry that a message came by, if its base name says so ([`log_unique`]).
pub fn log_id(base: &[u8]) -> Option<u64> {
    let unique = base.split(|&b| b == b'.').nth(1)?;
    let (id, target) = core::str::from_utf8(unique.strip_prefix(b"L")?).ok()?.split_once('N')?;
    number(target.as_bytes())?;
    u64::from_str_radix(id, 16).ok()
}

/// Whether a base name was made from an entry of the log (`L<id>N<target>`, both as [`base_name`] gets them): then it is of one message and no other.
pub fn is_of_log(base: &[u8]) -> bool {
    let unique = base.split(|b| *b == b'.').nth(1).and_then(|unique| unique.strip_prefix(b"L"));
    let parts = unique.and_then(|unique| unique.iter().position(|b| *b == b'N').map(|at| (&unique[..at], &unique[at + 1..])));
    parts.is_some_and(|(id, target)| {
        !id.is_empty() && id.iter().all(u8::is_ascii_hexdigit) && !target.is_empty() && target.iter().all(u8::is_ascii_digit)
    })
}

/// A base name of ours: `<seconds>.<unique>.<host>,S=<size>,W=<wire>`.
///
/// # Panics
/// If `unique` holds `.`, `:`, `,` or `/`: it is made here, not by a peer.
pub fn base_name(seconds: i64, unique: &str, host: &str, size: u64, wire: u64) -> String {
    let mut name = String::with_capacity(host.len() + unique.len() + 48);
    write_base_name(&mut name, seconds, unique, host, size, wire);
    name
}

/// As [`base_name`], into a string at hand.
pub fn write_base_name(name: &mut String, seconds: i64, unique: &str, host: &str, size: u64, wire: u64) {
    assert!(!unique.contains(['.', ':', ',', '/']), "the unique part of a base name holds a separator");
    let start = name.len();
    let _ = write!(name, "{}.{unique}.", seconds.max(0));
    for c in host.chars().filter(|c| c.is_ascii_graphic()) {
        match c {
            // The escapes of Maildir, as everybody writes them.
            '/' => name.push_str("\\057"),
            ':' => name.push_str("\\072"),
            ',' => name.push_str("\\054"),
            c => name.push(c),
        }
        // Room for sizes and for all flags there are.
        if name.len() - start > limits::FILE_NAME - 90 {
            break;
        }
    }
    let _ = write!(name, ",S={size},W={wire}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(marks: Marks, old: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        marks.print(old, &mut out);
        out
    }

    #[test]
    fn a_name_is_base_and_info() {
        let name = FileName::split(b"1.2.h,S=3:2,SF").unwrap();
        assert_eq!((name.base, name.info), (&b"1.2.h,S=3"[..], &b":2,SF"[..]));
        assert_eq!(FileName::split(b"1.2.h").unwrap().info, b"");
        for bad in [&b".hidden"[..], b"", b":2,S", &[b'x'; 256]] {
            assert_eq!(FileName::split(bad), None);
        }
    }

    #[test]
    fn marks_come_back() {
        for system in 0..32 {
            for keywords in [0, 1, 1 << 25, Marks::PASSED, 0b1011, (1 << 27) - 1] {
                let marks = Marks { system: System(system), keywords };
                let info = print(marks, b"");
                assert_eq!(Marks::parse(&info), marks);
                assert!(marks.is_plain(&info));
                assert!(info[3..].is_sorted());
            }
        }
    }

    #[test]
    fn what_others_wrote_is_kept() {
        let seen = Marks { system: System::SEEN, keywords: 0 };
        assert_eq!(print(seen, b":2,FXa"), b":2,SX");
        assert_eq!(print(seen, b":2,A,ext=1"), b":2,AS,ext=1");
        assert_eq!(print(seen, b":1,odd"), b":2,S");
        assert!(!seen.is_plain(b":2,SX"));
        assert!(!Marks::default().is_plain(b""));
    }

    #[test]
    fn a_base_name_knows_its_entry() {
        let name = base_name(5, &log_unique(0x6a05_00ff, 12), "mx.test", 1, 2);
        assert_eq!(log_id(name.as_bytes()), Some(0x6a05_00ff));
        for other in ["5.M1P2Q3.mx", "5.LxN0.mx", "5.L1.mx", "5.L1Nx.mx", "5", "", "5.L11111111111111111N0.mx"] {
            assert_eq!(log_id(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn sizes_and_time_are_in_the_base() {
        assert_eq!(Sizes::parse(b"1.2.h,S=12,W=13"), Sizes { stored: Some(12), wire: Some(13) });
        assert_eq!(Sizes::parse(b"S=12"), Sizes::default());
        assert_eq!(Sizes::parse(b"1,S=x,S=+5,W=99999999999999999999"), Sizes::default());
        assert_eq!(time_of(b"1700000000.M1P2.h"), 1_700_000_000);
        assert_eq!(time_of(b"x"), 0);
    }

    #[test]
    fn our_names_never_hold_a_separator_of_the_host() {
        let name = base_name(5, "L1fN0", "a/b:c,d", 10, 11);
        assert_eq!(name, "5.L1fN0.a\\057b\\072c\\054d,S=10,W=11");
        assert!(base_name(5, "L1", &"h".repeat(400), u64::MAX, u64::MAX).len() < 255 - 35);
    }

    #[test]
    fn names_of_the_log_are_known() {
        for (base, is) in [
            (&b"1700000000.L1aN0.mx.test,S=9,W=9"[..], true),
            (b"1.L10000000001N12.mx", true),
            (b"1700000000.M1P2Q3.mx.test,S=9", false),
            (b"1.LN0.mx", false),
            (b"1.L1N.mx", false),
            (b"1.L1.mx", false),
            (b"L1N0", false),
        ] {
            assert_eq!(is_of_log(base), is, "{}", base.escape_ascii());
        }
    }
}
