//! Answers an IMAP session from memory.

use super::{Account, Mailbox, Shared, World};
use imap::{Change, Changes, Copied, Counts, Detail, Listed, Need, Refusal, Selected, Upload};
use mail::{Flags, Keyword, MailboxName, ModSeq, Span, SpecialUse, Stamp, System, Uid, UidValidity};
use sasl::{Denied, Login, Proof};
use std::{
    cell::RefMut,
    collections::{BTreeMap, BTreeSet},
};
use wire::Sink;

/// Answers one session.
#[derive(Debug)]
pub struct ImapOffice {
    world: Shared,
    account: Option<String>,
    selected: Option<View>,
    upload: Option<(Upload, Vec<u8>)>,
    /// Whether the session wants its bell rung.
    pub watching: bool,
}

/// What the session was told of the selected mailbox.
#[derive(Debug)]
struct View {
    name: MailboxName,
    uid_validity: UidValidity,
    read_only: bool,
    known: BTreeMap<Uid, (Flags, ModSeq)>,
}

impl ImapOffice {
    /// For one connection.
    pub fn new(world: Shared) -> ImapOffice {
        ImapOffice { world, account: None, selected: None, upload: None, watching: false }
    }

    fn account(&self) -> RefMut<'_, Account> {
        let name = self.account.as_ref().expect("nothing is asked before a login");
        RefMut::map(self.world.borrow_mut(), |world: &mut World| world.accounts.get_mut(name).expect("accounts stay"))
    }

    fn mailbox(&self, name: &MailboxName) -> Result<RefMut<'_, Mailbox>, Refusal> {
        RefMut::filter_map(self.account(), |account| account.mailboxes.get_mut(name)).map_err(|_| Refusal::NoMailbox)
    }

    fn view(&self) -> &View {
        self.selected.as_ref().expect("asked of no selected mailbox")
    }

    /// The selected mailbox, if it is still the same.
    fn here(&self) -> Result<RefMut<'_, Mailbox>, Refusal> {
        let view = self.view();
        let mailbox = self.mailbox(&view.name).map_err(|_| Refusal::Gone)?;
        if mailbox.uid_validity == view.uid_validity { Ok(mailbox) } else { Err(Refusal::Gone) }
    }

    fn writable(&self) -> Result<RefMut<'_, Mailbox>, Refusal> {
        let mailbox = self.here()?;
        if self.view().read_only || mailbox.read_only { Err(Refusal::ReadOnly) } else { Ok(mailbox) }
    }

    /// Puts what `pieces` holds into another mailbox.
    fn transfer(&self, uids: &[Uid], to: &MailboxName) -> Result<Copied, Refusal> {
        let from = self.here()?;
        let messages: Vec<_> = uids.iter().map(|uid| from.find(*uid).cloned()).collect::<Option<_>>().ok_or(Refusal::Gone)?;
        drop(from);
        if !self.account().fits(messages.iter().map(|m| m.bytes.len() as u64).sum()) {
            self.mailbox(to)?;
            return Err(Refusal::OverQuota);
        }
        let mut target = self.mailbox(to)?;
        if target.read_only {
            return Err(Refusal::ReadOnly);
        }
        let uids = messages.into_iter().map(|m| (m.uid, target.put(&m.bytes, m.flags, m.date))).collect();
        Ok(Copied { uid_validity: target.uid_validity, uids })
    }
}

impl Sink for ImapOffice {
    fn body(&mut self, bytes: &[u8]) {
        let (upload, held) = self.upload.as_mut().expect("bytes only for an announced message");
        held.extend_from_slice(bytes);
        assert!(held.len() as u64 <= upload.size, "more than was announced");
    }

    fn is_full(&self) -> bool {
        false
    }

    fn drain(&mut self) {}
}

impl imap::Office for ImapOffice {
    fn login(&mut self, proof: Proof) -> Result<Login, Denied> {
        let login = self.world.borrow().login(&proof)?;
        self.account = Some(login.account.clone());
        Ok(login)
    }

    fn list(&mut self) -> Result<Vec<Listed>, Refusal> {
        let account = self.account();
        let mut names: BTreeSet<&MailboxName> = account.mailboxes.keys().collect();
        names.extend(&account.subscribed);
        let listed = names.into_iter().map(|name| Listed {
            name: name.clone(),
            exists: account.mailboxes.contains_key(name),
            subscribed: account.subscribed.contains(name),
            special_use: account.mailboxes.get(name).and_then(|m| m.special_use),
        });
        Ok(listed.collect())
    }

    fn create(&mut self, name: MailboxName, special_use: Option<SpecialUse>) -> Result<(), Refusal> {
        if self.mailbox(&name).is_ok() {
            return Err(Refusal::Exists);
        }
        let account = self.account.clone().expect("logged in");
        self.world.borrow_mut().make(&account, &name, special_use);
        Ok(())
    }

    fn delete(&mut self, name: MailboxName) -> Result<(), Refusal> {
        if name.is_inbox() {
            return Err(Refusal::Cannot);
        }
        self.account().mailboxes.remove(&name).map(drop).ok_or(Refusal::NoMailbox)
    }

    fn rename(&mut self, from: MailboxName, to: MailboxName) -> Result<(), Refusal> {
        if self.mailbox(&to).is_ok() {
            return Err(Refusal::Exists);
        }
        self.mailbox(&from)?;
        if to.is_below(&from) {
            return Err(Refusal::Cannot);
        }
        let owner = self.account.clone().expect("logged in");
        if from.is_inbox() {
            self.world.borrow_mut().make(&owner, &to, None);
            let moved = std::mem::take(&mut self.mailbox(&from)?.messages);
            let mut target = self.mailbox(&to)?;
            for m in moved {
                target.put(&m.bytes, m.flags, m.date);
            }
            return Ok(());
        }
        if let Some(parent) = to.parent() {
            self.world.borrow_mut().make(&owner, &parent, None);
        }
        let mut account = self.account();
        let moving: Vec<MailboxName> = account.mailboxes.keys().filter(|n| **n == from || n.is_below(&from)).cloned().collect();
        for old in moving {
            let mailbox = account.mailboxes.remove(&old).expect("just listed");
            let new = format!("{to}{}", &old.as_str()[from.as_str().len()..]);
            account.mailboxes.insert(MailboxName::new(&new).map_err(|_| Refusal::Cannot)?, mailbox);
        }
        Ok(())
    }

    fn subscribe(&mut self, name: MailboxName, on: bool) -> Result<(), Refusal> {
        let mut account = self.account();
        if on {
            account.subscribed.insert(name);
        } else {
            account.subscribed.remove(&name);
        }
        Ok(())
    }

    fn status(&mut self, name: MailboxName) -> Result<Counts, Refusal> {
        let mailbox = self.mailbox(&name)?;
        let count = |what: fn(&super::Message) -> bool| mailbox.messages.iter().filter(|m| what(m)).count() as u32;
        Ok(Counts {
            messages: count(|_| true),
            recent: count(|m| m.recent),
            unseen: count(|m| !m.is_seen()),
            uid_next: mailbox.uid_next,
            uid_validity: mailbox.uid_validity,
            highest_mod_seq: ModSeq(mailbox.mod_seq),
            size: mailbox.size(),
        })
    }

    fn select(&mut self, name: MailboxName, read_only: bool) -> Result<Box<Selected>, Refusal> {
        self.selected = None;
        let mut mailbox = self.mailbox(&name)?;
        let keywords: BTreeSet<Keyword> = mailbox.messages.iter().flat_map(|m| m.flags.keywords.iter().cloned()).collect();
        let selected = Selected {
            uids: mailbox.messages.iter().map(|m| m.uid).collect(),
            recent: mailbox.messages.iter().filter(|m| m.recent).map(|m| m.uid).collect(),
            first_unseen: mailbox.messages.iter().find(|m| !m.is_seen()).map(|m| m.uid),
            keywords: keywords.into_iter().collect(),
            uid_next: mailbox.uid_next,
            uid_validity: mailbox.uid_validity,
            highest_mod_seq: ModSeq(mailbox.mod_seq),
            read_only: mailbox.read_only,
        };
        if !read_only {
            mailbox.messages.iter_mut().for_each(|m| m.recent = false);
        }
        let known = mailbox.messages.iter().map(|m| (m.uid, (m.flags.clone(), m.mod_seq))).collect();
        drop(mailbox);
        self.selected = Some(View { name, uid_validity: selected.uid_validity, read_only, known });
        Ok(Box::new(selected))
    }

    fn unselect(&mut self) {
        self.selected = None;
    }

    fn sync(&mut self) -> Result<Changes, Refusal> {
        let mut view = self.selected.take().expect("asked of no selected mailbox");
        let mut changes = Changes::default();
        match self.mailbox(&view.name) {
            Ok(mut mailbox) if mailbox.uid_validity == view.uid_validity => {
                changes.gone = view.known.keys().filter(|uid| mailbox.find(**uid).is_none()).copied().collect();
                for message in &mut mailbox.messages {
                    match view.known.get(&message.uid) {
                        Some((flags, _)) if *flags == message.flags => {}
                        Some(_) => changes.flags.push((message.uid, message.flags.clone(), message.mod_seq)),
                        None => {
                            changes.new.push(message.uid);
                            if message.recent {
                                changes.recent.push(message.uid);
                                message.recent = view.read_only;
                            }
                        }
                    }
                }
                view.known = mailbox.messages.iter().map(|m| (m.uid, (m.flags.clone(), m.mod_seq))).collect();
            }
            _ => changes.lost = true,
        }
        self.selected = Some(view);
        Ok(changes)
    }

    fn watch(&mut self, on: bool) {
        self.watching = on;
    }

    fn describe(&mut self, uids: Vec<Uid>, need: Need) -> Result<Vec<Detail>, Refusal> {
        assert!(uids.len() <= if need.size || need.structure { 64 } else { 1024 }, "too many at a time");
        assert!(uids.is_sorted_by(|a, b| a < b), "in ascending order");
        let mailbox = self.here()?;
        let detail = |m: &super::Message| Detail {
            uid: m.uid,
            flags: m.flags.clone(),
            mod_seq: m.mod_seq,
            span: if need.size { m.span() } else { Span::default() },
            date: if need.date { m.date } else { Stamp::default() },
            structure: need.structure.then(|| m.structure.clone()),
        };
        Ok(uids.iter().filter_map(|uid| mailbox.find(*uid)).map(detail).collect())
    }

    fn read(&mut self, uid: Uid, span: Span, at: u64, buf: Vec<u8>) -> Result<Vec<u8>, Refusal> {
        self.here()?.find(uid).map(|m| m.read(span, at, buf)).ok_or(Refusal::Gone)
    }

    fn store(&mut self, uids: Vec<Uid>, change: Change, flags: Flags) -> Result<Vec<(Uid, Flags, ModSeq)>, Refusal> {
        let mut mailbox = self.writable()?;
        let mut stored = Vec::new();
        for uid in uids {
            mailbox.flag(uid, |now| match change {
                Change::Replace => *now = flags.clone(),
                Change::Add => now.add(&flags),
                Change::Remove => now.remove(&flags),
            });
            stored.extend(mailbox.find(uid).map(|m| (uid, m.flags.clone(), m.mod_seq)));
        }
        Ok(stored)
    }

    fn expunge(&mut self, uids: Option<Vec<Uid>>) -> Result<Vec<Uid>, Refusal> {
        let named = |uid: &Uid| uids.as_ref().is_none_or(|uids| uids.contains(uid));
        Ok(self.writable()?.remove(|m| m.flags.system.has(System::DELETED) && named(&m.uid)))
    }

    fn copy(&mut self, uids: Vec<Uid>, to: MailboxName) -> Result<Copied, Refusal> {
        self.transfer(&uids, &to)
    }

    fn move_to(&mut self, uids: Vec<Uid>, to: MailboxName) -> Result<Copied, Refusal> {
        self.mailbox(&to)?;
        drop(self.writable()?);
        let copied = self.transfer(&uids, &to)?;
        self.here()?.remove(|m| uids.contains(&m.uid));
        Ok(copied)
    }

    fn append(&mut self, upload: Upload) -> Result<(), Refusal> {
        assert!(self.upload.is_none(), "one message at a time");
        if self.mailbox(&upload.mailbox)?.read_only {
            return Err(Refusal::ReadOnly);
        }
        if upload.size > self.world.borrow().max_size {
            return Err(Refusal::TooLarge);
        }
        if !self.account().fits(upload.size) {
            return Err(Refusal::OverQuota);
        }
        self.upload = Some((upload, Vec::new()));
        Ok(())
    }

    fn commit(&mut self) -> Result<(UidValidity, Uid), Refusal> {
        let (upload, bytes) = self.upload.take().expect("only an announced message is committed");
        assert_eq!(bytes.len() as u64, upload.size, "less than was announced");
        let date = upload.date.unwrap_or(Stamp::utc(self.world.borrow().now));
        let mut mailbox = self.mailbox(&upload.mailbox)?;
        let uid = mailbox.put(&bytes, upload.flags, date);
        Ok((mailbox.uid_validity, uid))
    }

    fn abandon(&mut self) {
        self.upload = None;
    }
}
