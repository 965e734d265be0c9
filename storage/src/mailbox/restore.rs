//! Delivering again what a crash may have damaged.

use super::{
    deliver::{Content, Deposit, Placed, link_or_copy, write_draft},
    limits,
    shelf::Mailboxes,
    state::{Mailbox, Reserved},
    trouble,
};
use crate::disk::{Disk, How};
use imap::Refusal;
use mail::MailboxName;
use maildir::Bounds;
use std::{io, path::Path, sync::Arc};
use wire::Fault;

/// How much of two files is compared at a time.
const PIECE: usize = 64 << 10;

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
        mailbox.slot().floor = Some(bounds);
        let mailbox = self.open(maildir, name)?;
        mailbox.lock()?.recover(bounds);
        Ok(mailbox)
    }
}

impl Mailbox {
    /// Delivers a message of the spool again after a crash. If a file of its base name is there it is compared, because a name that survived may stand
    /// for bytes that did not, and in any case written again under the name it has now.
    ///
    /// # Errors
    /// As [`Mailbox::deliver`].
    pub fn restore(&self, deposit: &Deposit) -> Result<Placed, Refusal> {
        if self.holds(deposit.base.as_bytes())? {
            let (path, dir) = {
                let mut state = self.lock()?;
                let found = state.index.find(deposit.base.as_bytes()).map(|at| state.index.entries()[at]);
                (found.map(|entry| state.path(&entry)), state.dir().to_owned())
            };
            let Some(path) = path else { return self.deliver(deposit) };
            self.unsettle(deposit.base.as_bytes())?;
            let disk = &*self.common.disk;
            let whole = match is_whole(disk, &path, &deposit.content) {
                // Since it was listed, another program put something else in its place.
                Err(e) if e.kind() == io::ErrorKind::InvalidData => false,
                other => other.map_err(|e| trouble("compare", &path, &e))?,
            };
            let done = whole
                && match write_again(disk, &path, &deposit.content) {
                    Ok(()) => true,
                    // Somebody made it read-only; a file of ours can take its place.
                    Err(e) if e.kind() == io::ErrorKind::PermissionDenied => false,
                    Err(e) => return Err(trouble("write", &path, &e)),
                };
            if !done {
                tracing::warn!(path = %path.display(), damaged = !whole, "this message is written anew after a crash");
                let rewritten = match deposit.content {
                    Content::Bytes(pieces) => write_draft(disk, &dir, deposit.base, pieces).and_then(|draft| disk.rename(&draft, &path)),
                    // The file of a large message was synced before it was promised, so only its name here can be wrong.
                    Content::Link(from) => disk.unlink(&path).and_then(|()| link_or_copy(disk, from, &path, &dir, deposit.base)),
                };
                rewritten.map_err(|e| trouble("write", &path, &e))?;
            }
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

    /// The file of a message may have to be made durable, although its UID is an old one.
    fn unsettle(&self, base: &[u8]) -> Result<(), Refusal> {
        let mut state = self.lock()?;
        if let Some(uid) = state.index.find(base).map(|at| state.index.entries()[at].uid) {
            state.synced_uid = state.synced_uid.min(uid);
            state.dirty = true;
        }
        Ok(())
    }
}

/// Writes what is there already. What can be read may be what a flush that failed left in memory, and no later flush would tell, unless it has something
/// to write. In place: another name for it could come to stand beside the old one.
fn write_again(disk: &dyn Disk, path: &Path, content: &Content<'_>) -> io::Result<()> {
    let stat = disk.stat(path)?;
    match content {
        Content::Bytes(pieces) => {
            let file = disk.open(path, How::Write)?;
            let mut at = 0;
            for piece in *pieces {
                file.write_at(piece, at)?;
                at += piece.len() as u64;
            }
        }
        // The file of a large message was synced before it was promised.
        Content::Link(from) if disk.stat(from)?.inode == stat.inode => return Ok(()),
        Content::Link(_) => {
            let file = disk.open(path, How::Write)?;
            let (mut piece, mut at) = (vec![0; PIECE], 0);
            loop {
                match file.read_at(&mut piece, at)? {
                    0 => break,
                    n => {
                        file.write_at(&piece[..n], at)?;
                        at += n as u64;
                    }
                }
            }
        }
    }
    // The time is the message's, for other programs.
    disk.set_modified(path, i64::try_from(stat.modified_ns.div_euclid(1_000_000_000)).unwrap_or(0))
}

/// Whether the file at `path` has exactly this content.
fn is_whole(disk: &dyn Disk, path: &Path, content: &Content<'_>) -> io::Result<bool> {
    let file = disk.open(path, How::Read)?;
    let mut at = 0;
    let mut matches = |expected: &[u8]| -> io::Result<bool> {
        let mut found = vec![0; expected.len()];
        let mut have = 0;
        while have < found.len() {
            match file.read_at(&mut found[have..], at + have as u64)? {
                0 => return Ok(false),
                n => have += n,
            }
        }
        at += have as u64;
        Ok(found == expected)
    };
    let len = match content {
        Content::Bytes(pieces) => {
            for piece in pieces.iter().flat_map(|p| p.chunks(PIECE)) {
                if !matches(piece)? {
                    return Ok(false);
                }
            }
            pieces.iter().map(|p| p.len() as u64).sum()
        }
        Content::Link(from) => {
            if disk.stat(from)?.inode == disk.stat(path)?.inode {
                return Ok(true);
            }
            let source = disk.open(from, How::Read)?;
            let mut piece = vec![0; PIECE];
            let mut read = 0;
            loop {
                let n = source.read_at(&mut piece, read)?;
                if n == 0 {
                    break read;
                }
                if !matches(&piece[..n])? {
                    return Ok(false);
                }
                read += n as u64;
            }
        }
    };
    Ok(file.len()? == len)
}
