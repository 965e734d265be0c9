//! What an account says about its mailboxes beyond their being there: the file `hikyaku.mailboxes` in its Maildir.

use crate::{
    limits,
    sealed::{self, Seal},
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
    vec::Vec,
};
use mail::{MailboxName, SpecialUse};

/// Subscriptions and special uses. A line for each: `subscribed NAME`, `\Drafts NAME`; and their checksum.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Register {
    /// Names that are subscribed to, whether there is such a mailbox or not.
    pub subscribed: BTreeSet<MailboxName>,
    /// What mailboxes are for.
    pub uses: BTreeMap<MailboxName, SpecialUse>,
}

impl Register {
    /// What holds if there is no file: the inbox is subscribed to.
    pub fn fresh() -> Register {
        Register { subscribed: [MailboxName::inbox()].into(), uses: BTreeMap::new() }
    }

    /// Reads the file, and says how it was found. If it is not what was written, its lines count that make sense: who subscribed sees what is wrong.
    pub fn load(text: &[u8]) -> (Register, Seal) {
        let (opened, seal) = sealed::open(text, sealed::FILE);
        (Register::parse(opened.as_deref().map_or(text, str::as_bytes)), seal)
    }

    /// Reads the lines. Those that make no sense are skipped.
    pub fn parse(text: &[u8]) -> Register {
        let mut register = Register::default();
        for line in text.split(|&b| b == b'\n') {
            let Some((word, name)) = core::str::from_utf8(line).ok().and_then(|l| l.split_once(' ')) else { continue };
            let Ok(name) = MailboxName::new(name) else { continue };
            if word == "subscribed" {
                register.subscribed.insert(name);
            } else if let Some((special_use, _)) = SpecialUse::NAMES.iter().find(|(_, n)| *n == word) {
                register.uses.insert(name, *special_use);
            }
        }
        register
    }

    /// Prints the file.
    pub fn print(&self) -> String {
        let subscribed = self.subscribed.iter().map(|name| format!("subscribed {name}"));
        let uses = self.uses.iter().map(|(name, special_use)| format!("{} {name}", special_use.name()));
        let lines: Vec<String> = subscribed.chain(uses).collect();
        sealed::seal(&lines.join("\n"), sealed::FILE) + "\n"
    }

    /// Whether nothing more may be added.
    pub fn is_full(&self) -> bool {
        self.subscribed.len() + self.uses.len() >= limits::REGISTER
    }

    /// A mailbox has another name; its use follows it, its subscription does not (RFC 3501 §6.3.9: a name may be subscribed to that does not exist).
    pub fn rename(&mut self, from: &MailboxName, to: &MailboxName) {
        if let Some(special_use) = self.uses.remove(from) {
            self.uses.insert(to.clone(), special_use);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_back() {
        let mut register = Register::fresh();
        register.uses.insert(MailboxName::new("Entwürfe").unwrap(), SpecialUse::Drafts);
        register.subscribed.insert(MailboxName::new("a b/c").unwrap());
        assert_eq!(Register::load(register.print().as_bytes()), (register.clone(), Seal::Whole));
        assert_eq!(Register::parse(register.print().as_bytes()), register);
        assert_eq!(Register::parse(b"subscribed a//b\nnonsense\n\\None x\n\xff"), Register::default());
    }
}
