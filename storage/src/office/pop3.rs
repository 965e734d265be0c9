//! Answers POP3.

use super::Desk;
use crate::mailbox::{Cursor, Pop};
use imap::Refusal;
use mail::MailboxName;
use pop3::{Entry, Office};
use sasl::{Denied, Login, Proof};
use wire::{Fault, Sink, Why};

/// The office of one POP3 connection.
pub struct Pop3 {
    desk: Desk,
    opened: Option<Pop>,
    cursor: Cursor,
}

impl Pop3 {
    pub(crate) fn new(desk: Desk) -> Pop3 {
        Pop3 { desk, opened: None, cursor: Cursor::default() }
    }

    /// The connection ends: writes its last line.
    pub fn closed(&self, why: Why) {
        self.desk.closed(why);
    }
}

/// POP3 takes no messages in.
impl Sink for Pop3 {
    fn body(&mut self, _: &[u8]) {
        unreachable!("POP3 has no message bodies to take in");
    }

    fn is_full(&self) -> bool {
        false
    }

    fn drain(&mut self) {}
}

impl Office for Pop3 {
    fn login(&mut self, proof: Proof) -> Result<Login, Denied> {
        self.desk.login(proof)
    }

    fn open(&mut self) -> Result<Vec<Entry>, Fault> {
        let account = self.desk.account().ok_or(Fault::Later)?;
        let mailbox = self.desk.house.mailboxes().open(&account.maildir, &MailboxName::inbox()).map_err(fault)?;
        let (opened, entries) = mailbox.pop().map_err(fault)?;
        self.opened = Some(opened);
        Ok(entries)
    }

    fn read(&mut self, index: u32, at: u64, buf: Vec<u8>) -> Result<Vec<u8>, Fault> {
        self.opened.as_ref().expect("nothing is opened").read(&mut self.cursor, index, at, buf)
    }

    fn remove(&mut self, indexes: Vec<u32>) -> Result<(), Fault> {
        let account = self.desk.account().ok_or(Fault::Later)?;
        let opened = self.opened.as_ref().expect("nothing is opened");
        let doomed = opened.doomed(&indexes).map_err(fault)?;
        self.desk.remove(&account, opened.mailbox(), &doomed).map(drop).map_err(fault)
    }
}

fn fault(refusal: Refusal) -> Fault {
    match refusal {
        Refusal::Fault(fault) => fault,
        _ => Fault::Later,
    }
}
