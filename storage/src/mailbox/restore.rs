//! Delivering again what a crash may have damaged.

use super::{
    deliver::{Content, Deposit, Placed, link_or_copy_over},
    limits,
    load::higher,
    shelf::Mailboxes,
    state::{Locked, Mailbox, Reserved},
    trouble,
};
use crate::disk::Disk;
use imap::Refusal;
use mail::MailboxName;
use maildir::Bounds;
use std::{path::Path, sync::Arc};
use wire::Fault;

impl Mailboxes {
    /// Opens a mailbox after a crash with what the spool says of its numbering, before messages of it are delivered again. The files may be all that
    /// was left of it: then the numbering of the spool is the only one there is.
    ///
    /// # Errors
    /// As [`Mailboxes::open`].
    pub fn recover(&self, maildir: &Path, name: &MailboxName, reserved: &Reserved) -> Result<Arc<Mailbox>, Refusal> {
        let bounds =
            Bounds { uid_validity: reserved.uid_validity.0.get(), uid_upto: reserved.uid_upto, mod_seq_upto: reserved.mod_seq_upto };
        let mailbox = self.slot(maildir, name)?;
        {
            let mut slot = mailbox.slot()?;
            slot.floor = Some(slot.floor.map_or(bounds, |floor| higher(floor, bounds)));
        }
        let mailbox = self.open(maildir, name)?;
        mailbox.lock()?.recover(bounds);
        Ok(mailbox)
    }
}

impl Mailbox {
    /// Delivers a message of the spool again, after a crash or a sync that failed. If a file of its base name is there, another takes its place under the
    /// name it has now: a name that survived may stand for bytes that did not, and what can be read may be what a write that failed left in memory,
    /// which no later sync would write.
    ///
    /// # Errors
    /// As [`Mailbox::deliver`].
    pub fn restore(&self, deposit: &Deposit) -> Result<Placed, Refusal> {
        if self.holds(deposit.base.as_bytes())? {
            self.replace(deposit)?;
        }
        self.deliver(deposit)
    }

    /// Skips as many numbers as so many messages may have used of which nothing is known any more. Durable on return.
    ///
    /// # Errors
    /// A fault of the disk, the mailbox was removed, or there are not so many left.
    pub fn skip(&self, messages: u32) -> Result<(), Refusal> {
        let mut state = self.lock()?;
        // What was reserved last was so much beyond what was in use.
        let uids = messages.checked_add(limits::UID_BLOCK).ok_or(Refusal::Fault(Fault::Never))?;
        let uid_upto = state.durable.uid_upto.max(state.index.uid_next).checked_add(uids).ok_or(Refusal::Fault(Fault::Never))?;
        let changes = u64::from(messages).saturating_add(limits::MOD_SEQ_BLOCK);
        let mod_seq_upto = state.durable.mod_seq_upto.max(state.index.mod_seq).saturating_add(changes);
        let bounds = Bounds { uid_validity: state.index.uid_validity, uid_upto, mod_seq_upto };
        state.write_bounds(bounds, true)?;
        state.recover(bounds);
        Ok(())
    }

    /// Puts a new file in the place of a message's.
    fn replace(&self, deposit: &Deposit) -> Result<(), Refusal> {
        let disk = &*self.account.disk;
        let (dir, device) = {
            let state = self.lock()?;
            (state.dir().to_owned(), state.device.clone())
        };
        let failures = device.failures();
        let mut draft = match deposit.content {
            Content::Bytes(pieces) => Some(self.draft(&device, &dir, deposit.base, pieces).map_err(|e| trouble("write", &dir, &e))?),
            Content::Link(_) => None,
        };
        // Nobody here renames the file under the lock; if another program did, there would be two of it.
        let mut state = self.lock()?;
        state.refresh(None)?;
        let found = state.index.find(deposit.base.as_bytes()).map(|at| state.index.entries()[at]);
        let Some(path) = found.map(|entry| state.path(&entry)) else { return Ok(()) };
        state.check(deposit)?;
        state.unsettle(deposit.base.as_bytes());
        let replaced = match (&draft, deposit.content) {
            (Some(draft), _) => disk.rename(&draft.path, &path),
            // The file of a large message was synced before it was promised, so only its name here can be wrong.
            (None, Content::Link(from)) if is_same(disk, from, &path)? => Ok(()),
            (None, Content::Link(from)) => link_or_copy_over(disk, from, &path, &dir, deposit.base),
            (None, Content::Bytes(_)) => unreachable!("bytes were written into a draft"),
        };
        // The time is the message's, for other programs.
        let replaced = replaced.and_then(|()| disk.set_modified(&path, deposit.date.seconds));
        replaced.map_err(|e| trouble("write", &path, &e))?;
        state.kept.extend(draft.as_mut().and_then(|draft| draft.kept.take()));
        // A sync that failed meanwhile may have been about the draft, and the next would not tell.
        if device.failures() != failures { Err(Refusal::Fault(Fault::Later)) } else { Ok(()) }
    }
}

impl Locked<'_> {
    /// The file of a message may have to be made durable, although its UID is an old one.
    fn unsettle(&mut self, base: &[u8]) {
        if let Some(uid) = self.index.find(base).map(|at| self.index.entries()[at].uid) {
            self.synced_uid = self.synced_uid.min(uid);
            self.dirty = true;
        }
    }
}

fn is_same(disk: &dyn Disk, a: &Path, b: &Path) -> Result<bool, Refusal> {
    let stat = |path: &Path| disk.stat(path).map_err(|e| trouble("stat", path, &e));
    let (a, b) = (stat(a)?, stat(b)?);
    Ok((a.device, a.inode) == (b.device, b.inode))
}
