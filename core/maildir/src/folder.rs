//! Directory names of mailboxes, as Maildir++ has them: all beside each other in the Maildir, levels joined by dots.

use crate::limits;
use alloc::string::String;
use mail::MailboxName;

/// The directory of a mailbox within its Maildir: `.Level.Level` in UTF-8, with `%2E` and `%25` for a dot and a percent sign within
/// a level; empty for INBOX, which is the Maildir itself. `None` if the name would be too long for a file system.
///
/// It always begins with a dot and holds no `/`, so it never leaves the Maildir and never meets `cur`, `new` or `tmp`.
pub fn folder_name(name: &MailboxName) -> Option<String> {
    let mut folder = String::new();
    if !name.is_inbox() {
        for level in name.levels() {
            folder.push('.');
            for c in level.chars() {
                match c {
                    '.' => folder.push_str("%2E"),
                    '%' => folder.push_str("%25"),
                    c => folder.push(c),
                }
            }
        }
    }
    (folder.len() <= limits::FILE_NAME).then_some(folder)
}

/// The mailbox of a directory name; `None` if no mailbox of ours is called so. Inverse of [`folder_name`]: other spellings of the same
/// name are not taken, so no two directories are one mailbox.
pub fn mailbox_name(folder: &[u8]) -> Option<MailboxName> {
    let text = core::str::from_utf8(folder).ok()?.strip_prefix('.')?;
    let mut name = String::with_capacity(text.len());
    for (i, level) in text.split('.').enumerate() {
        if i > 0 {
            name.push('/');
        }
        if level.contains('/') {
            return None;
        }
        name.push_str(&level.replace("%2E", ".").replace("%25", "%"));
    }
    let name = MailboxName::new(&name).ok()?;
    (!name.is_inbox() && folder_name(&name)?.as_bytes() == folder).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        for text in ["Sent", "a/b", "INBOX/x", "INBOX/INBOX", "v1.0/..", "Entwürfe/été", "~", "cur", "...", "a\\b", "-rf"] {
            let name = MailboxName::new(text).unwrap();
            let folder = folder_name(&name).unwrap();
            assert!(folder.starts_with('.') && !folder.contains('/') && folder != "." && folder != "..", "{folder}");
            assert_eq!(mailbox_name(folder.as_bytes()), Some(name), "{text}");
        }
        assert_eq!(folder_name(&MailboxName::inbox()).unwrap(), "");
    }

    #[test]
    fn a_dot_within_a_level_is_escaped() {
        assert_eq!(folder_name(&MailboxName::new("v1.0/a").unwrap()).unwrap(), ".v1%2E0.a");
    }

    #[test]
    fn other_spellings_are_no_mailboxes() {
        for bad in [&b".INBOX"[..], b".inbox", b".inbox.x", b".", b"..", b"..a", b".a.", b".a%2eb", b".a%", b"cur", b"", b".a/b", b".\xff"]
        {
            assert_eq!(mailbox_name(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn too_long_is_said() {
        assert_eq!(folder_name(&MailboxName::new(&".".repeat(200)).unwrap()), None);
    }
}
