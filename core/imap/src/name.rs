//! Mailbox names between the wire and the house.
//!
//! Inside, `/` separates levels. On the wire it may be `.`; then the two characters change places, so that a level with a dot in it still
//! has a name. All names may be shown below `INBOX`, as Courier shows them.

use crate::{print, utf7};
use alloc::{format, string::String};
use mail::MailboxName;
use wire::Outbox;

/// How names look on the wire.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Naming {
    /// `/` or `.`
    pub separator: char,
    /// Whether all is shown below INBOX.
    pub below_inbox: bool,
}

impl Naming {
    /// What stands before every name but INBOX.
    pub fn prefix(self) -> &'static str {
        match (self.below_inbox, self.separator) {
            (false, _) => "",
            (true, '.') => "INBOX.",
            (true, _) => "INBOX/",
        }
    }

    /// From the wire. `None` if no mailbox can have that name.
    pub fn read(self, wire: &[u8]) -> Option<MailboxName> {
        let text = utf7::decode(wire)?;
        if self.below_inbox && !text.eq_ignore_ascii_case("INBOX") {
            let prefix = self.prefix();
            if !text.get(..prefix.len())?.eq_ignore_ascii_case(prefix) {
                return None;
            }
            let name = MailboxName::new(&self.swap(&text[prefix.len()..])).ok()?;
            // What is called INBOX there would be shown as INBOX.INBOX.
            return (!name.is_inbox()).then_some(name);
        }
        MailboxName::new(&self.swap(&text)).ok()
    }

    /// The name of a mailbox to be created: a separator at its end only says that others will be below it (RFC 3501 §6.3.3).
    pub fn read_new(self, wire: &[u8]) -> Option<MailboxName> {
        self.read(wire.strip_suffix(&[self.separator as u8]).unwrap_or(wire))
    }

    /// As a client sees it, in UTF-8.
    pub fn show(self, name: &MailboxName) -> String {
        if name.is_inbox() { name.as_str().into() } else { format!("{}{}", self.prefix(), self.swap(name.as_str())) }
    }

    fn swap(self, text: &str) -> String {
        let swapped = |c| match c {
            '.' => '/',
            '/' => '.',
            c => c,
        };
        if self.separator == '/' { text.into() } else { text.chars().map(swapped).collect() }
    }

    /// Prints a name as [`Naming::show`] gives it.
    pub fn print(shown: &str, tx: &mut Outbox) {
        print_astring(utf7::encode(shown).as_bytes(), tx);
    }
}

/// Prints an `astring`: as an atom if it can be one.
pub(crate) fn print_astring(text: &[u8], tx: &mut Outbox) {
    let atom = |b: &u8| b.is_ascii_graphic() && !matches!(b, b'(' | b')' | b'{' | b'%' | b'*' | b'"' | b'\\' | b']');
    if !text.is_empty() && text.iter().all(atom) && !text.eq_ignore_ascii_case(b"NIL") {
        tx.put(text);
    } else {
        print::string(tx, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::printed;

    const COURIER: Naming = Naming { separator: '.', below_inbox: true };
    const PLAIN: Naming = Naming { separator: '/', below_inbox: false };

    #[test]
    fn names_come_back() {
        for naming in [COURIER, PLAIN, Naming { below_inbox: false, ..COURIER }, Naming { below_inbox: true, ..PLAIN }] {
            for text in ["INBOX", "Sent", "v1.2/x", "INBOX/x", "Entwürfe & mehr"] {
                let name = MailboxName::new(text).unwrap();
                let shown = naming.show(&name);
                assert_eq!(naming.read(utf7::encode(&shown).as_bytes()), Some(name), "{shown}");
            }
        }
        assert_eq!(COURIER.show(&MailboxName::new("v1.2/x").unwrap()), "INBOX.v1/2.x");
    }

    #[test]
    fn what_is_no_name() {
        assert_eq!(COURIER.read(b"Sent"), None);
        assert_eq!(COURIER.read(b"INBOX."), None);
        assert_eq!(COURIER.read(b"INBOX.inbox"), None);
        assert_eq!(COURIER.read(b"inbox").unwrap(), MailboxName::inbox());
        assert_eq!(PLAIN.read(b"a//b"), None);
        assert_eq!(PLAIN.read(b""), None);
        assert_eq!(PLAIN.read_new(b"a/b/").unwrap().as_str(), "a/b");
    }

    #[test]
    fn strings() {
        for (text, wire) in [
            ("a", "a"),
            ("", "\"\""),
            ("nil", "\"nil\""),
            ("a b", "\"a b\""),
            ("q\"\\", "\"q\\\"\\\\\""),
            ("a\n", "{2}\r\na\n"),
            ("x]", "\"x]\""),
        ] {
            assert_eq!(printed(|tx| print_astring(text.as_bytes(), tx)), wire);
            assert_eq!(&*crate::syntax::parse_astring(wire.as_bytes()).unwrap(), text.as_bytes());
        }
    }
}
