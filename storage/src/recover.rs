//! After a crash: what the log promised is done again, under the same names.
//!
//! Everything here can be done twice without harm, so a crash during recovery only means another recovery.

use crate::{
    house::House,
    mailbox::{Charge, Content, Deposit, Mailbox, Owed, Reserved},
    spool::Lsn,
    supervise::guarded,
    undelivered::{Left, Task, Waiting},
};
use imap::Refusal;
use mail::{MailboxName, UidValidity};
use queue::{Place, Record, Replay, Wanted};
use std::{collections::BTreeMap, io, num::NonZeroU32, sync::Arc};

/// Which targets of which records are to be delivered again.
type Work = BTreeMap<Lsn, Vec<Left>>;

impl House {
    /// Does again what a replay of the log asks for. Returns how many records it delivered. What cannot be done now is kept in the log and done later.
    pub(crate) fn recover(&self, replay: &Replay) -> usize {
        self.do_names_again(replay);
        let mut work = Work::new();
        for place in replay.places() {
            let back = match guarded("recovery", || self.recover_mailbox(replay, place)) {
                Some(Ok(back)) => back,
                Some(Err(_)) | None => {
                    tracing::error!(account = %place.account, mailbox = %place.mailbox, "mailbox cannot be recovered now; what it gets waits");
                    self.recover_later(replay, place);
                    Vec::new()
                }
            };
            want(replay.wanted(place).chain(back), place, &mut work);
        }
        let count = work.len();
        for (at, lefts) in work {
            let (id, waits) = self.recover_record(at, lefts);
            if !waits.is_empty() {
                tracing::error!(id = format!("{id:x}"), mailboxes = waits.len(), "accepted, but not delivered yet");
                self.spool().pin(at, id);
                // Nothing of these mailboxes is vouched for before they have what they wait for: its owner may see a torn file.
                for left in &waits {
                    self.wait_for_mail(&left.account, &left.mailbox);
                }
                self.undelivered().note(Waiting::new(at, id, waits));
            }
        }
        count
    }

    /// Delivers one record again. Gives its id, 0 if it cannot be read, and where it cannot be delivered now.
    fn recover_record(&self, at: Lsn, mut lefts: Vec<Left>) -> (u64, Vec<Left>) {
        let read = self.spool().read(at);
        let record = read.as_ref().map_err(io::Error::to_string).and_then(|bytes| decode(bytes).map_err(|error| error.to_string()));
        match record {
            Ok(record) => {
                let id = if let Record::Accept(accept) = &record { accept.id } else { 0 };
                lefts.retain(|left| guarded("recovery", || self.replay_one(at, id, &record, left, &|| true)) != Some(true));
                (id, lefts)
            }
            Err(error) => {
                // It could be a moment ago.
                tracing::error!(at = format!("{at:#x}"), %error, "a record of the log cannot be read; it is tried again");
                (0, lefts)
            }
        }
    }

    /// Returns the messages that another program took away and that are there all the same: they came back, and are to be as they were promised.
    fn recover_mailbox<'a>(&self, replay: &'a Replay, place: &Place) -> Result<Vec<(&'a [u8], Wanted)>, Refusal> {
        let reserved = replay.reserved(place).and_then(bounds);
        if self.accounts().named(&place.account).is_none() {
            // It may come back. What the log knows of its mailboxes waits with its mail.
            return Err(Refusal::Fault(wire::Fault::Later));
        }
        if self.accounts().named(&place.account).is_some_and(|account| self.is_stuck(&account)) {
            return Err(Refusal::Fault(wire::Fault::Later));
        }
        let make = replay.wanted(place).next().is_some();
        if let Some(mailbox) = self.open_for_replay(&place.account, &place.mailbox, reserved, make)? {
            let unwanted: Vec<&[u8]> = replay.unwanted(place).collect();
            if !unwanted.is_empty() {
                let removals = replay.removals(place).iter();
                let charges: Vec<Charge> = removals.map(|&at| mailbox.charge(Owed { at, id: 0, target: None }, b"")).collect();
                mailbox.bury(&unwanted, &charges)?;
            }
            let mut back = Vec::new();
            for (base, wanted) in replay.missed(place) {
                if mailbox.holds(base)? {
                    back.push((base, wanted));
                }
            }
            return Ok(back);
        }
        Ok(Vec::new())
    }

    /// What was promised to a mailbox waits.
    fn wait_for_mail(&self, account: &str, mailbox: &str) {
        // Without an account, or with a name that is none, there is no mailbox that anybody could look into.
        let found = self.accounts().named(account).zip(MailboxName::new(mailbox).ok());
        if let Some(Ok(mailbox)) = found.map(|(account, name)| self.mailboxes().slot(&account.maildir, &name)) {
            mailbox.wait_for_mail();
        }
    }

    /// What the log says of a mailbox that cannot be opened stays: which messages are gone from it, and which numbers were used.
    fn recover_later(&self, replay: &Replay, place: &Place) {
        let wait = |(at, id), task| {
            self.spool().pin(at, id);
            let left = Left { task, account: place.account.clone(), mailbox: place.mailbox.clone() };
            self.undelivered().note(Waiting::new(at, id, vec![left]));
        };
        replay.removals(place).iter().for_each(|&at| wait((at, 0), Task::Remove));
        let Some(bounds) = replay.reserved(place) else { return };
        // Records that say it may be let go of, so one of its own does.
        match self.say_numbers(place, bounds) {
            Ok(key) => wait(key, Task::Remove),
            Err(error) => {
                tracing::error!(%error, "the log cannot be written; all of it stays until it can");
                wait((self.spool().released(), self.spool().next_id()), Task::Number(bounds));
            }
        }
    }

    /// Does again what a record of the log asks for in one mailbox. A message that is there gets another file. False if it cannot be done now. Nothing is done
    /// that is not `wanted` any more.
    pub(crate) fn replay_one(&self, at: Lsn, id: u64, record: &Record<'_>, left: &Left, wanted: &dyn Fn() -> bool) -> bool {
        let shown = format!("{id:x}");
        let account = self.accounts().named(&left.account);
        // Its mailboxes may not have their names yet.
        if account.as_ref().is_some_and(|account| self.is_stuck(account)) {
            return false;
        }
        let (accept, n) = match (record, &left.task) {
            (Record::Accept(accept), Task::Deliver { target, .. }) => (accept, *target),
            (Record::Gone(gone), Task::Remove) => return self.replay_gone(gone, Owed { at, id, target: None }, left),
            _ => return false,
        };
        let Some(target) = accept.targets.iter().nth(n) else { return false };
        let path;
        let pieces: [&[u8]; 1];
        let (content, size) = match accept.content {
            queue::Content::Inline(bytes) => {
                pieces = [bytes];
                (Content::Bytes(&pieces), bytes.len() as u64)
            }
            queue::Content::Large { id, size, .. } => {
                match self.spool().has_large(id) {
                    Ok(true) => {}
                    Ok(false) => {
                        // A record whose commit failed, so that its file was removed, and which the disk has all the same: nobody was promised it. Or
                        // somebody removed the file; waiting brings nothing back, and would keep all further mail from its mailboxes.
                        tracing::error!(id = shown, "the file of a large message is gone; it cannot be delivered again");
                        return true;
                    }
                    Err(error) => {
                        tracing::error!(id = shown, %error, "the file of a large message cannot be looked at");
                        return false;
                    }
                }
                path = self.spool().large_path(id);
                (Content::Link(&path), size)
            }
        };
        if account.is_none() {
            if !self.times().gives_up(accept.stamp.seconds, self.queue_ms()) {
                tracing::warn!(id = shown, account = %left.account, "the log has mail for an account that does not exist; it waits");
                return false;
            }
            tracing::error!(id = shown, account = %left.account, "mail for an account that did not come back is given up");
            return true;
        }
        let flags = target.flags();
        let restore = |mailbox: &Mailbox| {
            let charge = mailbox.charge(Owed { at, id, target: u32::try_from(n).ok() }, target.base.as_bytes());
            // Looked at behind the charge: who removes the message from now on takes that away.
            if !wanted() {
                return Ok(());
            }
            let deposit = Deposit {
                base: target.base,
                content,
                flags: &flags,
                date: target.date,
                size,
                wire: accept.wire_size,
                structure: None,
                record: Some(&charge),
            };
            mailbox.restore(&deposit).map(drop)
        };
        let restored = match self.open_for_replay(&left.account, &left.mailbox, None, true) {
            Ok(Some(mailbox)) => restore(&mailbox),
            Ok(None) => Ok(()),
            Err(refusal) => Err(refusal),
        };
        if let Err(error) = &restored {
            tracing::warn!(id = shown, account = %left.account, ?error, "could not be delivered again");
        }
        restored.is_ok()
    }

    fn replay_gone(&self, gone: &queue::Gone<'_>, owed: Owed, left: &Left) -> bool {
        if self.accounts().named(&left.account).is_none() {
            return self.gives_up_on_who_is_away();
        }
        let bases: Vec<&[u8]> = gone.bases.iter().collect();
        let reserved = gone.bounds.and_then(bounds);
        match self.open_for_replay(&left.account, &left.mailbox, reserved, false) {
            Ok(Some(mailbox)) => mailbox.bury(&bases, &[mailbox.charge(owed, b"")]).is_ok(),
            Ok(None) => true,
            Err(_) => false,
        }
    }

    /// Whether what waits for accounts that are not there is given up, as their mail is; whether that is known by its age, which nothing else has.
    pub(crate) fn gives_up_on_who_is_away(&self) -> bool {
        self.times().gives_up(self.ready_at().cast_signed(), self.queue_ms())
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
}

/// Notes what a mailbox has to get.
fn want<'a>(messages: impl Iterator<Item = (&'a [u8], Wanted)>, place: &Place, work: &mut Work) {
    for (base, wanted) in messages {
        let task = Task::Deliver { target: wanted.target, base: String::from_utf8_lossy(base).into() };
        let left = Left { task, account: place.account.clone(), mailbox: place.mailbox.clone() };
        work.entry(wanted.at).or_default().push(left);
    }
}

/// Numbers as mailboxes know them.
fn bounds(reserved: queue::Reserved) -> Option<Reserved> {
    let uid_validity = UidValidity(NonZeroU32::new(reserved.uid_validity)?);
    Some(Reserved { uid_validity, uid_upto: reserved.uid_upto, mod_seq_upto: reserved.mod_seq_upto })
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
