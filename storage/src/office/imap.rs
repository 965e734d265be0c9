//! Answers IMAP.

use super::{
    Desk,
    intake::{Form, Intake, Refused},
};
use crate::{
    accept::Leaving,
    account::Account,
    mailbox::{Cursor, View},
    space::Shortage,
};
use imap::{Change, Changes, Copied, Counts, Detail, Listed, Need, Office, Refusal, Selected, Upload};
use mail::{Flags, MailboxName, ModSeq, Span, SpecialUse, Uid, UidValidity};
use queue::Naming;
use sasl::{Denied, Login, Proof};
use std::{io, sync::Arc};
use wire::{Fault, Sink, Why};

/// The office of one IMAP connection.
pub struct Imap {
    desk: Desk,
    view: Option<View>,
    cursor: Cursor,
    upload: Option<Box<(Upload, Intake)>>,
}

impl Imap {
    pub(crate) fn new(desk: Desk) -> Imap {
        Imap { desk, view: None, cursor: Cursor::default(), upload: None }
    }

    /// The connection ends: writes its last line.
    pub fn closed(&self, why: Why) {
        self.desk.closed(why);
    }

    fn account(&self) -> Result<Arc<Account>, Refusal> {
        self.desk.account().ok_or(Refusal::Fault(Fault::Later))
    }

    /// The account, which is about to change its mailboxes: that syncs a disk which others wait for as well.
    fn changing(&self) -> Result<Arc<Account>, Refusal> {
        let account = self.account()?;
        self.desk.house.check_changes(&account)?;
        Ok(account)
    }

    fn view(&self) -> &View {
        self.view.as_ref().expect("no mailbox is selected")
    }

    /// The selected mailbox, to be changed.
    fn writable(&self) -> Result<&View, Refusal> {
        if self.desk.house.spool().is_fenced() {
            return Err(Refusal::Fault(Fault::Later));
        }
        let view = self.view();
        if view.is_read_only() { Err(Refusal::ReadOnly) } else { Ok(view) }
    }

    /// Renaming the inbox moves its messages into a new mailbox (RFC 3501 §6.3.5).
    fn empty_inbox(&self, account: &Account, to: &MailboxName) -> Result<(), Refusal> {
        let mailboxes = self.desk.house.mailboxes();
        self.desk.house.create_mailbox(account, to, None)?;
        let inbox = mailboxes.open(&account.maildir, &MailboxName::inbox())?;
        let doomed = inbox.doomed(None, false)?;
        let uids: Vec<Uid> = doomed.iter().map(|d| d.uid).collect();
        inbox.copy(&uids, &*mailboxes.open(&account.maildir, to)?)?;
        self.desk.remove(account, &inbox, &doomed)?;
        Ok(())
    }

    fn disk(&self, error: &io::Error) -> Refusal {
        tracing::error!(conn = self.desk.guest.number, %error, "disk trouble");
        match error.kind() {
            // It is the server's disk, not the account that is full.
            _ if Shortage::of(error).is_some() => Refusal::Fault(Fault::Later),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Refusal::OverQuota,
            _ => Refusal::Fault(Fault::Later),
        }
    }
}

impl Sink for Imap {
    fn body(&mut self, bytes: &[u8]) {
        self.upload.as_mut().expect("bytes came for a message that is not open").1.feed(bytes);
    }

    fn is_full(&self) -> bool {
        self.upload.as_ref().is_some_and(|upload| upload.1.is_full())
    }

    fn drain(&mut self) {
        if let Some(upload) = &mut self.upload {
            upload.1.drain();
        }
    }
}

impl Office for Imap {
    fn login(&mut self, proof: Proof) -> Result<Login, Denied> {
        self.desk.login(proof)
    }

    fn list(&mut self) -> Result<Vec<Listed>, Refusal> {
        self.desk.house.mailboxes().list(&self.account()?.maildir)
    }

    fn create(&mut self, name: MailboxName, special_use: Option<SpecialUse>) -> Result<(), Refusal> {
        let account = self.changing()?;
        self.desk.house.create_mailbox(&account, &name, special_use)
    }

    fn delete(&mut self, name: MailboxName) -> Result<(), Refusal> {
        let account = self.changing()?;
        self.desk.house.change_names(&account, Naming::Remove { mailbox: name })
    }

    fn rename(&mut self, from: MailboxName, to: MailboxName) -> Result<(), Refusal> {
        let account = self.changing()?;
        if from.is_inbox() {
            return self.empty_inbox(&account, &to);
        }
        self.desk.house.change_names(&account, Naming::Rename { from, to })
    }

    fn subscribe(&mut self, name: MailboxName, on: bool) -> Result<(), Refusal> {
        let account = self.changing()?;
        self.desk.house.mailboxes().subscribe(&account.maildir, &name, on)
    }

    fn status(&mut self, name: MailboxName) -> Result<Counts, Refusal> {
        self.desk.house.mailboxes().open(&self.account()?.maildir, &name)?.counts()
    }

    fn select(&mut self, name: MailboxName, read_only: bool) -> Result<Box<Selected>, Refusal> {
        self.view = None;
        let mailbox = self.desk.house.mailboxes().open(&self.account()?.maildir, &name)?;
        let (view, selected) = mailbox.select(read_only)?;
        self.view = Some(view);
        Ok(Box::new(selected))
    }

    fn unselect(&mut self) {
        self.view = None;
        self.cursor.rest();
    }

    fn sync(&mut self) -> Result<Changes, Refusal> {
        self.view.as_mut().expect("no mailbox is selected").sync()
    }

    fn watch(&mut self, on: bool) {
        if let Some(view) = &self.view {
            view.watch(on.then(|| self.desk.guest.bell.clone()));
        }
    }

    fn describe(&mut self, uids: Vec<Uid>, need: Need) -> Result<Vec<Detail>, Refusal> {
        self.view().mailbox().describe(&uids, need)
    }

    fn read(&mut self, uid: Uid, span: Span, at: u64, buf: Vec<u8>) -> Result<Vec<u8>, Refusal> {
        let view = self.view.as_ref().expect("no mailbox is selected");
        view.mailbox().read(&mut self.cursor, uid, span, at, buf)
    }

    fn store(&mut self, uids: Vec<Uid>, change: Change, flags: Flags) -> Result<Vec<(Uid, Flags, ModSeq)>, Refusal> {
        self.writable()?.mailbox().store(&uids, change, &flags)
    }

    fn expunge(&mut self, uids: Option<Vec<Uid>>) -> Result<Vec<Uid>, Refusal> {
        let mailbox = self.writable()?.mailbox();
        let doomed = mailbox.doomed(uids.as_deref(), true)?;
        self.desk.remove(&*self.account()?, mailbox, &doomed)
    }

    fn copy(&mut self, uids: Vec<Uid>, to: MailboxName) -> Result<Copied, Refusal> {
        let (house, account) = (&self.desk.house, self.account()?);
        let target = house.mailboxes().open(&account.maildir, &to)?;
        // What the copies add is not known before they are measured; whoever is over the quota already gets no more.
        house.check_quota(&account, 1)?;
        self.view().mailbox().copy(&uids, &target)
    }

    fn move_to(&mut self, uids: Vec<Uid>, to: MailboxName) -> Result<Copied, Refusal> {
        let account = self.account()?;
        let mailbox = self.writable()?.mailbox();
        let target = self.desk.house.mailboxes().open(&account.maildir, &to)?;
        let copied = mailbox.copy(&uids, &target)?;
        let doomed = mailbox.doomed(Some(&uids), false)?;
        self.desk.remove(&account, mailbox, &doomed)?;
        Ok(copied)
    }

    fn append(&mut self, upload: Upload) -> Result<(), Refusal> {
        let house = &self.desk.house;
        let limit = house.config().limits.message;
        if upload.size > limit {
            return Err(Refusal::TooLarge);
        }
        let account = self.account()?;
        if !house.mailboxes().exists(&account.maildir, &upload.mailbox)? {
            return Err(Refusal::NoMailbox);
        }
        house.check_quota(&account, upload.size)?;
        house.check_space(upload.size).map_err(|shortage| {
            tracing::warn!(conn = self.desk.guest.number, %shortage, "append refused");
            Refusal::Fault(Fault::Later)
        })?;
        let claim = house.claim(Some(self.desk.guest.peer.ip()));
        let intake = Intake::new(house.spool().own_entry(), Form::Lines, "", limit, claim);
        self.upload = Some(Box::new((upload, intake)));
        Ok(())
    }

    fn commit(&mut self) -> Result<(UidValidity, Uid), Refusal> {
        let (upload, intake) = *self.upload.take().expect("no message is open");
        let taken = match intake.finish() {
            Ok(taken) => taken,
            Err(Refused::TooLarge) => return Err(Refusal::TooLarge),
            Err(Refused::Disk(error)) => return Err(self.disk(&error)),
            Err(Refused::Binary(_)) => unreachable!("lines are not converted"),
        };
        let (house, account) = (&self.desk.house, self.account()?);
        let (now, id, size) = (house.now(), taken.entry.id(), taken.stored);
        let destination = house.destination(&account, upload.mailbox, upload.flags, upload.date.unwrap_or(now), None)?;
        let placed = house.accept(taken, now, None, &[destination], &Leaving::default()).map_err(|error| self.disk(&error))?;
        let placed = placed.into_iter().next().expect("one destination, one place")?;
        let conn = self.desk.guest.number;
        tracing::info!(conn, protocol = "imap", id = format!("{id:x}"), account = account.name(), size, "append");
        Ok((placed.uid_validity, placed.uid))
    }

    fn abandon(&mut self) {
        self.upload = None;
    }
}
