//! Answers an SMTP, submission or LMTP session from memory.

use super::{Shared, World};
use mail::{Address, Flags, MailboxName, Recipient, Stamp};
use sasl::{Denied, Login, Proof};
use smtp::{Receipt, Refusal, Start, Verdict};
use wire::{Fault, Sink};

/// Where a session comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hall {
    /// Other servers: local recipients only.
    Smtp,
    /// Users: logged in, with a sender that is theirs.
    Submission,
    /// A local mail server: a verdict for each recipient.
    Lmtp,
}

/// Answers one session.
#[derive(Debug)]
pub struct SmtpOffice {
    world: Shared,
    hall: Hall,
    account: Option<String>,
    open: Option<(Start, Vec<u8>)>,
}

impl SmtpOffice {
    /// For one connection.
    pub fn new(world: Shared, hall: Hall) -> SmtpOffice {
        SmtpOffice { world, hall, account: None, open: None }
    }

    fn judge(world: &World, recipient: &Address, size: u64) -> Verdict {
        if !world.is_local(recipient) {
            return Err(Refusal::NoRelay);
        }
        let name = world.account_of(recipient).ok_or(Refusal::NoMailbox)?;
        if world.accounts[&name].fits(size) { Ok(()) } else { Err(Refusal::MailboxFull) }
    }
}

impl Sink for SmtpOffice {
    fn body(&mut self, bytes: &[u8]) {
        let (_, held) = self.open.as_mut().expect("bytes only for an open message");
        held.extend_from_slice(bytes);
    }

    fn is_full(&self) -> bool {
        false
    }

    fn drain(&mut self) {}
}

impl smtp::Office for SmtpOffice {
    fn login(&mut self, proof: Proof) -> Result<Login, Denied> {
        let login = self.world.borrow().login(&proof)?;
        self.account = Some(login.account.clone());
        Ok(login)
    }

    fn sender(&mut self, sender: Option<Address>, size: Option<u64>) -> Verdict {
        let world = self.world.borrow();
        if size.is_some_and(|size| size > world.max_size) {
            return Err(Refusal::TooLarge);
        }
        if self.hall == Hall::Submission {
            let owner = sender.as_ref().and_then(|s| world.account_of(s));
            if owner.is_none() || owner != self.account {
                return Err(Refusal::NotYours);
            }
        }
        Ok(())
    }

    fn recipient(&mut self, recipient: Recipient) -> Verdict {
        SmtpOffice::judge(&self.world.borrow(), &recipient.address, 0)
    }

    fn open(&mut self, start: Start) -> Result<(), Fault> {
        assert!(self.open.is_none(), "one message at a time");
        assert!(!start.envelope.recipients.is_empty(), "a message for nobody");
        self.open = Some((start, Vec::new()));
        Ok(())
    }

    fn commit(&mut self) -> Result<Receipt, Refusal> {
        let (start, bytes) = self.open.take().expect("only an open message is committed");
        let mut world = self.world.borrow_mut();
        let size = bytes.len() as u64;
        if size > world.max_size {
            return Err(Refusal::TooLarge);
        }
        let verdicts: Vec<Verdict> = start.envelope.recipients.iter().map(|r| SmtpOffice::judge(&world, &r.address, size)).collect();
        if let (Hall::Smtp | Hall::Submission, Some(refusal)) = (self.hall, verdicts.iter().find_map(|v| v.err())) {
            return Err(refusal);
        }
        let id = format!("M{}", world.number());
        let date = Stamp::utc(world.now);
        for (recipient, verdict) in start.envelope.recipients.iter().zip(&verdicts) {
            let name = world.account_of(&recipient.address).filter(|_| verdict.is_ok());
            if let Some(account) = name.and_then(|name| world.accounts.get_mut(&name)) {
                let inbox = account.mailboxes.get_mut(&MailboxName::inbox()).expect("there is always an inbox");
                inbox.put(&bytes, Flags::default(), date);
            }
        }
        Ok(Receipt { id: id.into(), each: if self.hall == Hall::Lmtp { verdicts } else { Vec::new() } })
    }

    fn abandon(&mut self, _: smtp::Loss) {
        self.open = None;
    }
}
