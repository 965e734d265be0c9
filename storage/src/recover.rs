//! After a crash: what the log promised is done again, under the same names.
//!
//! Everything here can be done twice without harm, so a crash during recovery only means another recovery.

use crate::{
    accept::{Left, Untold, Waiting},
    house::House,
    mailbox::{Content, Deposit, Mailbox, Reserved},
    spool::Lsn,
    supervise::guarded,
};
use imap::Refusal;
use mail::{MailboxName, UidValidity};
use queue::{Place, Record, Replay};
use std::{collections::BTreeMap, io, num::NonZeroU32, sync::Arc};
use wire::Fault;

/// Which targets of which records are to be delivered again.
type Work = BTreeMap<Lsn, Vec<Left>>;

impl House {
    /// Does again what a replay of the log asks for. Returns how many records it delivered.
    ///
    /// # Errors
    /// If the log itself cannot be read. A mailbox that cannot be written to keeps its records in the log and gets them later.
    pub(crate) fn recover(&self, replay: &Replay) -> io::Result<usize> {
        self.do_names_again(replay);
        let mut work = Work::new();
        for place in replay.places() {
            if let Err(error) = self.recover_mailbox(replay, place, &mut work) {
                tracing::error!(account = %place.account, mailbox = %place.mailbox, ?error, "mailbox cannot be recovered now");
                // Its records wait; delivering them again later also opens it.
                want(replay, place, &mut work);
            }
        }
        let count = work.len();
        for (at, targets) in work {
            let left = self.replay_one(at, &targets)?;
            if !left.is_empty() {
                let id = self.record_id(at)?;
                tracing::error!(id = format!("{id:x}"), mailboxes = left.len(), "accepted, but not delivered yet");
                self.spool().pin(at, id);
                self.undelivered().note(Waiting { at, id, left, untold: Untold::default() });
            }
        }
        Ok(count)
    }

    fn recover_mailbox(&self, replay: &Replay, place: &Place, work: &mut Work) -> Result<(), Refusal> {
        let reserved = replay.reserved(place).and_then(|r| {
            let uid_validity = UidValidity(NonZeroU32::new(r.uid_validity)?);
            Some(Reserved { uid_validity, uid_upto: r.uid_upto, mod_seq_upto: r.mod_seq_upto })
        });
        if self.accounts().named(&place.account).is_some_and(|account| self.is_stuck(&account)) {
            return Err(Refusal::Fault(Fault::Later));
        }
        let make = replay.wanted(place).next().is_some();
        if let Some(mailbox) = self.open_for_replay(&place.account, &place.mailbox, reserved, make)? {
            let unwanted: Vec<&[u8]> = replay.unwanted(place).collect();
            if !unwanted.is_empty() {
                mailbox.bury(&unwanted)?;
            }
        }
        want(replay, place, work);
        Ok(())
    }

    /// Delivers a record of the log to these targets again. A file that is there and whole stays as it is. Returns the targets whose mailbox could
    /// not be written to.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub(crate) fn replay_one(&self, at: Lsn, wanted: &[Left]) -> io::Result<Vec<Left>> {
        let bytes = self.spool().read(at)?;
        let mut left = Vec::new();
        let Record::Accept(accept) = decode(&bytes)? else { return Ok(left) };
        let path;
        let pieces: [&[u8]; 1];
        let (content, size) = match accept.content {
            queue::Content::Inline(bytes) => {
                pieces = [bytes];
                (Content::Bytes(&pieces), bytes.len() as u64)
            }
            queue::Content::Large { id, size } => {
                if !self.spool().has_large(id)? {
                    // A record whose commit failed, so that its file was removed, and which the disk has all the same: nobody was promised it. Or
                    // somebody removed the file; waiting brings nothing back, and would keep all further mail from its mailboxes.
                    tracing::error!(id = format!("{:x}", accept.id), "the file of a large message is gone; it cannot be delivered again");
                    return Ok(left);
                }
                path = self.spool().large_path(id);
                (Content::Link(&path), size)
            }
        };
        for (n, target) in accept.targets.iter().enumerate() {
            let Some(to) = wanted.iter().find(|to| to.target == n) else { continue };
            let account = self.accounts().named(&to.account);
            // Its mailboxes may not have their names yet.
            if account.as_ref().is_some_and(|account| self.is_stuck(account)) {
                left.push(to.clone());
                continue;
            }
            if account.is_none() {
                let id = format!("{:x}", accept.id);
                if !self.times().gives_up(accept.stamp.seconds, self.queue_ms()) {
                    tracing::warn!(id, account = %to.account, "the log has mail for an account that does not exist; it waits");
                    left.push(to.clone());
                } else {
                    tracing::error!(id, account = %to.account, "mail for an account that did not come back is given up");
                }
                continue;
            }
            let flags = target.flags();
            let deposit =
                Deposit { base: target.base, content, flags: &flags, date: target.date, size, wire: accept.wire_size, structure: None };
            let restored = guarded("delivery", || match self.open_for_replay(&to.account, &to.mailbox, None, true) {
                Ok(Some(mailbox)) => mailbox.restore(&deposit).map(drop),
                Ok(None) => Ok(()),
                Err(refusal) => Err(refusal),
            });
            if let Err(error) = restored.unwrap_or(Err(Refusal::Fault(Fault::Later))) {
                tracing::warn!(id = format!("{:x}", accept.id), account = target.account, ?error, "could not be delivered again");
                left.push(to.clone());
            }
        }
        Ok(left)
    }

    /// The mailbox of a record, made if its directory was lost and `make` says so; nothing if there is no such account any more.
    fn open_for_replay(
        &self,
        account: &str,
        mailbox: &str,
        reserved: Option<Reserved>,
        make: bool,
    ) -> Result<Option<Arc<Mailbox>>, Refusal> {
        let Some(found) = self.accounts().named(account) else { return Ok(None) };
        let Ok(name) = MailboxName::new(mailbox) else { return Ok(None) };
        let open = || match &reserved {
            Some(reserved) => self.mailboxes().recover(&found.maildir, &name, reserved),
            None => self.mailboxes().open(&found.maildir, &name),
        };
        match open() {
            Err(Refusal::NoMailbox) if !make => Ok(None),
            Err(Refusal::NoMailbox) => {
                self.mailboxes().create(&found.maildir, &name, None)?;
                open().map(Some)
            }
            opened => opened.map(Some),
        }
    }

    /// Part of the log is lost, and with it the bounds of UIDs that were in use: no mailbox uses a number again that may have been given out there.
    /// So all mailboxes skip as many as there can have been.
    pub(crate) fn skip_numbers(&self, lost: u64) {
        // No record with the bounds of a mailbox is shorter than that.
        let messages = u32::try_from(lost / 32).unwrap_or(u32::MAX);
        let mut failed = 0;
        for account in self.accounts().all() {
            let names = match self.mailboxes().list(&account.maildir) {
                Ok(listed) => listed,
                Err(error) => {
                    tracing::error!(account = %account.name(), ?error, "the mailboxes cannot be listed, so their UIDs skip nothing");
                    failed += 1;
                    continue;
                }
            };
            for listed in names {
                let skipped = self.mailboxes().open(&account.maildir, &listed.name).and_then(|mailbox| mailbox.skip(messages));
                match skipped {
                    Ok(()) | Err(Refusal::NoMailbox) => {}
                    Err(error) => {
                        tracing::error!(account = %account.name(), mailbox = %listed.name, ?error, "its UIDs cannot skip what may have been in use");
                        failed += 1;
                    }
                }
            }
        }
        tracing::warn!(bytes = lost, failed, "part of the log is lost: all mailboxes skip the UIDs that may have been in use");
    }

    fn record_id(&self, at: Lsn) -> io::Result<u64> {
        match decode(&self.spool().read(at)?)? {
            Record::Accept(accept) => Ok(accept.id),
            _ => Ok(0),
        }
    }
}

/// Notes what a mailbox has to get.
fn want(replay: &Replay, place: &Place, work: &mut Work) {
    for (_, wanted) in replay.wanted(place) {
        let left = Left { target: wanted.target, account: place.account.clone(), mailbox: place.mailbox.clone() };
        work.entry(wanted.at).or_default().push(left);
    }
}

/// Reads a record.
///
/// # Errors
/// If it is none, or one of a later version that must not be skipped.
pub(crate) fn decode(bytes: &[u8]) -> io::Result<Record<'_>> {
    match Record::decode(bytes) {
        Ok(Record::Unknown { kind, skip: false }) => {
            Err(io::Error::new(io::ErrorKind::InvalidData, format!("the log has records of kind {kind}, which a later version wrote")))
        }
        Ok(record) => Ok(record),
        Err(error) => Err(io::Error::new(io::ErrorKind::InvalidData, format!("the log has a record that is none: {error:?}"))),
    }
}
