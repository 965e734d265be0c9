//! Names of mailboxes.

use alloc::{boxed::Box, string::String};
use core::fmt;

/// The name of a mailbox as a path of levels, joined by `/` here whatever a wire or a disk uses. UTF-8. `INBOX` is the inbox
/// in any case (RFC 3501 §5.1) and is kept in capitals; `INBOX/x` likewise.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MailboxName(Box<str>);

/// Why a text is no mailbox name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameError {
    /// Nothing, or a level of nothing (`a//b`, `/a`, `a/`).
    Empty,
    /// More than [`MailboxName::MAX`] bytes or [`MailboxName::LEVELS`] levels.
    TooLong,
    /// A control character or one of the wild cards `*` and `%`, which could never be listed.
    Character,
}

impl MailboxName {
    /// Longest name in bytes, so that its directory name (with escapes) stays within what file systems allow.
    pub const MAX: usize = 200;
    /// Deepest nesting.
    pub const LEVELS: usize = 16;

    /// The inbox.
    pub fn inbox() -> MailboxName {
        MailboxName("INBOX".into())
    }

    /// Checks a name whose levels `/` separates.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn new(text: &str) -> Result<MailboxName, NameError> {
        if text.split('/').any(str::is_empty) {
            return Err(NameError::Empty);
        }
        if text.len() > MailboxName::MAX || text.split('/').count() > MailboxName::LEVELS {
            return Err(NameError::TooLong);
        }
        if text.contains(|c: char| c.is_control() || matches!(c, '*' | '%')) {
            return Err(NameError::Character);
        }
        let first = text.split('/').next().unwrap_or(text);
        if first.eq_ignore_ascii_case("INBOX") {
            let mut name = String::from("INBOX");
            name.push_str(&text[first.len()..]);
            return Ok(MailboxName(name.into()));
        }
        Ok(MailboxName(text.into()))
    }

    /// The text, levels joined by `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its levels from the top.
    pub fn levels(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// Whether it is the inbox itself.
    pub fn is_inbox(&self) -> bool {
        &*self.0 == "INBOX"
    }

    /// The name one level up; none at the top.
    pub fn parent(&self) -> Option<MailboxName> {
        self.0.rsplit_once('/').map(|(up, _)| MailboxName(up.into()))
    }

    /// Whether it lies below `other`, at any depth.
    pub fn is_below(&self, other: &MailboxName) -> bool {
        self.0.strip_prefix(&*other.0).is_some_and(|rest| rest.starts_with('/'))
    }
}

impl fmt::Display for MailboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a mailbox is for (RFC 6154).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SpecialUse {
    /// `\Archive`
    Archive,
    /// `\Drafts`
    Drafts,
    /// `\Junk`
    Junk,
    /// `\Sent`
    Sent,
    /// `\Trash`
    Trash,
}

impl SpecialUse {
    /// Each with its attribute.
    pub const NAMES: [(SpecialUse, &'static str); 5] = [
        (SpecialUse::Archive, "\\Archive"),
        (SpecialUse::Drafts, "\\Drafts"),
        (SpecialUse::Junk, "\\Junk"),
        (SpecialUse::Sent, "\\Sent"),
        (SpecialUse::Trash, "\\Trash"),
    ];

    /// The attribute.
    pub fn name(self) -> &'static str {
        SpecialUse::NAMES.iter().find(|(u, _)| *u == self).map_or("", |(_, n)| n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inbox_has_one_spelling() {
        assert!(MailboxName::new("iNbOx").unwrap().is_inbox());
        assert_eq!(MailboxName::new("inbox/Work").unwrap().as_str(), "INBOX/Work");
        assert_eq!(MailboxName::new("inboxes").unwrap().as_str(), "inboxes");
    }

    #[test]
    fn what_is_no_name() {
        assert_eq!(MailboxName::new("a//b"), Err(NameError::Empty));
        assert_eq!(MailboxName::new(""), Err(NameError::Empty));
        assert_eq!(MailboxName::new("a*"), Err(NameError::Character));
        assert_eq!(MailboxName::new("a\0"), Err(NameError::Character));
        assert!(MailboxName::new("Entwürfe/été").is_ok());
    }
}
