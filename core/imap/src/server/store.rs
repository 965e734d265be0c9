//! STORE and EXPUNGE (RFC 3501 §6.4.3, §6.4.6, 4315).

use super::desk::{Desk, Job, News, Next, answer};
use crate::{
    limits,
    office::{Answer, Ask, Change},
    reply::{Reply, number},
    view::Chosen,
};
use alloc::vec::Vec;
use mail::{Flags, ModSeq, Uid};
use wire::Outbox;

/// Changes flags, batch by batch.
pub(super) struct Store {
    chosen: Chosen,
    change: Change,
    silent: bool,
    flags: Flags,
    uid: bool,
    /// How many messages the last question was about.
    asked: usize,
    /// What came of it, from the first that is to be printed on.
    done: alloc::vec::IntoIter<(Uid, Flags, ModSeq)>,
    /// Whether some of the messages are gone.
    missed: bool,
}

impl Store {
    pub fn new(chosen: Chosen, change: Change, silent: bool, flags: Flags, uid: bool) -> Store {
        Store { chosen, change, silent, flags, uid, asked: 0, done: Vec::new().into_iter(), missed: false }
    }

    fn news(&self) -> News {
        if self.uid { News::All } else { News::NoExpunges }
    }
}

impl Job for Store {
    fn step(&mut self, desk: &mut Desk, answer: Option<Answer>, tx: &mut Outbox) -> Next {
        let Some(view) = &mut desk.view else { unreachable!("a mailbox is selected") };
        if answer.is_some() {
            match answer!(answer, Store) {
                Ok(done) => {
                    self.missed |= done.len() < self.asked;
                    for (uid, flags, mod_seq) in &done {
                        view.tell(*uid, *mod_seq);
                        view.learn(flags, tx);
                    }
                    if !self.silent {
                        self.done = done.into_iter();
                    }
                }
                Err(refusal) => return Next::Done(refusal.into(), self.news()),
            }
        }
        for (uid, flags, _) in self.done.by_ref() {
            let Some(n) = view.number(uid) else { continue };
            tx.put(b"* ");
            number(n as u64, tx);
            tx.put(b" FETCH (");
            if self.uid {
                tx.put(b"UID ");
                number(u64::from(uid.get()), tx);
                tx.put(b" ");
            }
            tx.put(b"FLAGS ");
            view.print_flags(uid, &flags, tx);
            tx.put(b")\r\n");
            if tx.is_full() {
                return Next::Flush;
            }
        }
        let uids = view.take(&mut self.chosen, limits::BATCH_OF_FACTS);
        if !uids.is_empty() {
            self.asked = uids.len();
            return Next::Ask(Ask::Store(uids, self.change, self.flags.clone()));
        }
        // RFC 2180 §4.2.1: say so where the client named messages by numbers that it believes in; UIDs may be anybody's guess.
        let reply =
            if self.missed && !self.uid { Reply::no("EXPUNGEISSUED", "Some of the messages are gone.") } else { Reply::ok("Stored.") };
        Next::Done(reply, self.news())
    }
}

/// Removes messages with `\Deleted`.
pub(super) struct Expunge {
    /// Only these, if any are named.
    those: Option<Chosen>,
    asked: bool,
}

impl Expunge {
    pub fn all() -> Expunge {
        Expunge { those: None, asked: false }
    }

    pub fn those(chosen: Chosen) -> Expunge {
        Expunge { those: Some(chosen), asked: false }
    }
}

impl Job for Expunge {
    fn step(&mut self, desk: &mut Desk, answer: Option<Answer>, _: &mut Outbox) -> Next {
        if !self.asked {
            self.asked = true;
            let Some(view) = &desk.view else { unreachable!("a mailbox is selected") };
            let uids = self.those.as_mut().map(|chosen| view.take(chosen, usize::MAX));
            return Next::Ask(Ask::Expunge(uids));
        }
        // The client is told by what Sync says: it may be more than went now.
        let reply = answer!(answer, Expunge).map_or_else(Reply::from, |_| Reply::ok("Expunged."));
        Next::Done(reply, News::All)
    }
}
