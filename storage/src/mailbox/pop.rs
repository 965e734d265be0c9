//! A mailbox as POP3 sees it: a list that stays as it was when it was opened.

use super::{describe::all_uids, limits, remove::Doomed, state::Mailbox};
use imap::{Need, Refusal};
use mail::{Span, Uid};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use wire::Fault;

/// An inbox that was opened.
pub struct Pop {
    mailbox: Arc<Mailbox>,
    messages: Vec<(Uid, Span)>,
}

impl Mailbox {
    /// Opens it as it is now, measuring messages that nobody measured yet.
    ///
    /// # Errors
    /// A fault of the disk.
    pub fn pop(self: &Arc<Mailbox>) -> Result<(Pop, Vec<pop3::Entry>), Refusal> {
        let uids = {
            let mut state = self.lock()?;
            state.refresh(None)?;
            all_uids(&state)
        };
        let details = self.describe(&uids, Need { size: true, ..Need::default() })?;
        let state = self.lock()?;
        let (mut messages, mut entries) = (Vec::with_capacity(details.len()), Vec::with_capacity(details.len()));
        for detail in details {
            if let Some(entry) = state.index.entry(detail.uid.get()) {
                messages.push((detail.uid, detail.span));
                entries.push(pop3::Entry { span: detail.span, uidl: uidl(state.index.base(entry)) });
            }
        }
        drop(state);
        Ok((Pop { mailbox: self.clone(), messages }, entries))
    }
}

impl Pop {
    /// Fills `buf` with wire octets of a message from octet `at` on; see [`Mailbox::read`].
    ///
    /// # Errors
    /// `Never` if it is gone.
    ///
    /// # Panics
    /// If the list is not that long.
    pub fn read(&self, cursor: &mut super::Cursor, index: u32, at: u64, buf: Vec<u8>) -> Result<Vec<u8>, Fault> {
        let (uid, span) = self.messages[index as usize];
        self.mailbox.read(cursor, uid, span, at, buf).map_err(|refusal| match refusal {
            Refusal::Fault(fault) => fault,
            _ => Fault::Never,
        })
    }

    /// Those of these messages that are still there, to be removed with [`Mailbox::remove`] once that is durable.
    ///
    /// # Errors
    /// A fault of the disk.
    ///
    /// # Panics
    /// If the list is not that long.
    pub fn doomed(&self, indexes: &[u32]) -> Result<Vec<Doomed>, Refusal> {
        let uids: Vec<Uid> = indexes.iter().map(|i| self.messages[*i as usize].0).collect();
        self.mailbox.doomed(Some(&uids), false)
    }

    /// The mailbox.
    pub fn mailbox(&self) -> &Arc<Mailbox> {
        &self.mailbox
    }
}

/// The base name, which never changes, if POP3 can print it (RFC 1939 §7); a hash of it otherwise.
fn uidl(base: &[u8]) -> Box<str> {
    let fits = base.len() <= limits::UIDL && base.iter().all(|b| (0x21..=0x7e).contains(b));
    match std::str::from_utf8(base) {
        Ok(text) if fits => text.into(),
        _ => Sha256::digest(base).iter().take(20).map(|b| format!("{b:02x}")).collect::<String>().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_base_name_has_a_uidl() {
        assert_eq!(&*uidl(b"1.2.h,S=1"), "1.2.h,S=1");
        assert_eq!(uidl(b"with space").len(), 40);
        assert_eq!(uidl(&[b'x'; 71]).len(), 40);
        assert_ne!(uidl(&[b'x'; 71]), uidl(&[b'x'; 72]));
    }
}
