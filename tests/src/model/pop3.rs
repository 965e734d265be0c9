//! Answers a POP3 session from memory.

use super::{Account, Mailbox, Shared};
use mail::{MailboxName, Span, Uid};
use pop3::Entry;
use sasl::{Denied, Login, Proof};
use wire::{Fault, Sink};

/// Answers one session.
#[derive(Debug)]
pub struct PopOffice {
    world: Shared,
    account: Option<String>,
    opened: Vec<(Uid, Span)>,
}

impl PopOffice {
    /// For one connection.
    pub fn new(world: Shared) -> PopOffice {
        PopOffice { world, account: None, opened: Vec::new() }
    }

    fn inbox<T>(&self, act: impl FnOnce(&mut Mailbox) -> T) -> T {
        let mut world = self.world.borrow_mut();
        let name = self.account.as_ref().expect("nothing is asked before a login");
        let account: &mut Account = world.accounts.get_mut(name).expect("accounts stay");
        act(account.mailboxes.get_mut(&MailboxName::inbox()).expect("there is always an inbox"))
    }
}

/// POP3 takes no messages in.
impl Sink for PopOffice {
    fn body(&mut self, _: &[u8]) {
        unreachable!("a POP3 session has no body");
    }

    fn is_full(&self) -> bool {
        false
    }

    fn drain(&mut self) {}
}

impl pop3::Office for PopOffice {
    fn login(&mut self, proof: Proof) -> Result<Login, Denied> {
        let login = self.world.borrow().login(&proof)?;
        self.account = Some(login.account.clone());
        Ok(login)
    }

    fn open(&mut self) -> Result<Vec<Entry>, Fault> {
        let list = self.inbox(|inbox| {
            inbox.messages.iter().map(|m| (m.uid, m.span(), format!("{}.{}", inbox.uid_validity, m.uid))).collect::<Vec<_>>()
        });
        self.opened = list.iter().map(|(uid, span, _)| (*uid, *span)).collect();
        Ok(list.into_iter().map(|(_, span, uidl)| Entry { span, uidl: uidl.into() }).collect())
    }

    fn read(&mut self, index: u32, at: u64, buf: Vec<u8>) -> Result<Vec<u8>, Fault> {
        let (uid, span) = self.opened[index as usize];
        self.inbox(|inbox| inbox.find(uid).map(|m| m.read(span, at, buf)).ok_or(Fault::Never))
    }

    fn remove(&mut self, indexes: Vec<u32>) -> Result<(), Fault> {
        let uids: Vec<Uid> = indexes.iter().map(|i| self.opened[*i as usize].0).collect();
        self.inbox(|inbox| inbox.remove(|m| uids.contains(&m.uid)));
        Ok(())
    }
}
