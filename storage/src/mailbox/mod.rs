//! Mailboxes: Maildir directories with an index beside them.
