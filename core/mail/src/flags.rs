//! Message flags and keywords.

use alloc::{boxed::Box, collections::BTreeSet};
use core::fmt;

/// The flags every mailbox has (RFC 3501 §2.3.2), as bits. `\Recent` is not among them: it is a fact about a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct System(pub u8);

impl System {
    /// `\Answered`
    pub const ANSWERED: System = System(1);
    /// `\Flagged`
    pub const FLAGGED: System = System(2);
    /// `\Deleted`
    pub const DELETED: System = System(4);
    /// `\Seen`
    pub const SEEN: System = System(8);
    /// `\Draft`
    pub const DRAFT: System = System(16);
    /// Each flag with its IMAP name, in the order Dovecot and Courier print them.
    pub const NAMES: [(System, &'static str); 5] = [
        (System::ANSWERED, "\\Answered"),
        (System::FLAGGED, "\\Flagged"),
        (System::DELETED, "\\Deleted"),
        (System::SEEN, "\\Seen"),
        (System::DRAFT, "\\Draft"),
    ];

    /// Whether all of `other` is set here.
    pub const fn has(self, other: System) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both together.
    pub const fn with(self, other: System) -> System {
        System(self.0 | other.0)
    }

    /// These but not those.
    pub const fn without(self, other: System) -> System {
        System(self.0 & !other.0)
    }
}

/// A keyword: a flag that users and programs invent (`$Forwarded`, `Junk`). An IMAP atom of at most 64 bytes; two that
/// differ in ASCII case are the same keyword, the spelling that came first is kept.
#[derive(Debug, Clone)]
pub struct Keyword(Box<str>);

impl Keyword {
    /// Longest keyword in bytes.
    pub const MAX: usize = 64;

    /// Checks that `text` can be printed as an atom without a backslash (RFC 3501 §9, `flag-keyword`).
    pub fn new(text: &str) -> Option<Keyword> {
        let fits = |b: u8| b > b' ' && b < 0x7f && !matches!(b, b'(' | b')' | b'{' | b'%' | b'*' | b'"' | b'\\' | b']' | b'[');
        (!text.is_empty() && text.len() <= Keyword::MAX && text.bytes().all(fits)).then(|| Keyword(text.into()))
    }

    /// The spelling.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl PartialEq for Keyword {
    fn eq(&self, other: &Keyword) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Keyword {}

impl PartialOrd for Keyword {
    fn partial_cmp(&self, other: &Keyword) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Keyword {
    fn cmp(&self, other: &Keyword) -> core::cmp::Ordering {
        let lower = |k: &'_ Keyword| -> [u8; Keyword::MAX] {
            let mut room = [0; Keyword::MAX];
            room[..k.0.len()].copy_from_slice(k.0.as_bytes());
            room.make_ascii_lowercase();
            room
        };
        lower(self).cmp(&lower(other))
    }
}

impl fmt::Display for Keyword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// All that is set on a message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Flags {
    /// The five that every mailbox has.
    pub system: System,
    /// The rest.
    pub keywords: BTreeSet<Keyword>,
}

impl Flags {
    /// No keyword, only these.
    pub const fn system(system: System) -> Flags {
        Flags { system, keywords: BTreeSet::new() }
    }

    /// Sets what `other` has.
    pub fn add(&mut self, other: &Flags) {
        self.system = self.system.with(other.system);
        self.keywords.extend(other.keywords.iter().cloned());
    }

    /// Clears what `other` has.
    pub fn remove(&mut self, other: &Flags) {
        self.system = self.system.without(other.system);
        self.keywords.retain(|k| !other.keywords.contains(k));
    }
}
