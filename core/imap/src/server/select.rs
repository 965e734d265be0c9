//! SELECT, EXAMINE, CLOSE, UNSELECT (RFC 3501 §6.3.1, 3691).

use super::desk::{Desk, Job, News, Next, answer};
use crate::{
    office::{Answer, Ask, Selected},
    reply::{Code, Reply},
    view::View,
};
use alloc::boxed::Box;
use core::fmt::Write;
use mail::MailboxName;
use wire::Outbox;

/// Opens a mailbox.
pub(super) struct Select {
    /// A name that cannot be is refused only when the mailbox before was left, as any other.
    name: Result<MailboxName, Reply>,
    read_only: bool,
    phase: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Begin,
    Leaving,
    Selecting,
}

impl Select {
    pub fn new(name: Result<MailboxName, Reply>, read_only: bool) -> Select {
        Select { name, read_only, phase: Phase::Begin }
    }

    fn ask(&mut self) -> Next {
        match &self.name {
            Ok(name) => {
                self.phase = Phase::Selecting;
                Next::Ask(Ask::Select(name.clone(), self.read_only))
            }
            Err(reply) => Next::Done(reply.clone(), News::Told),
        }
    }
}

impl Job for Select {
    fn step(&mut self, desk: &mut Desk, answer: Option<Answer>, tx: &mut Outbox) -> Next {
        match self.phase {
            // RFC 3501 §6.3.1: whatever becomes of the new one, the old one is not selected any more.
            Phase::Begin if desk.view.take().is_some() => {
                self.phase = Phase::Leaving;
                Next::Ask(Ask::Unselect)
            }
            Phase::Begin | Phase::Leaving => self.ask(),
            Phase::Selecting => match answer!(answer, Select) {
                Ok(selected) => {
                    let Ok(name) = self.name.clone() else { unreachable!("it was asked for") };
                    let read_only = self.read_only || selected.read_only;
                    desk.view = Some(open(name, read_only, *selected, tx));
                    let code = Code::Word(if read_only { "READ-ONLY" } else { "READ-WRITE" });
                    Next::Done(Reply::ok("Selected.").with(code), News::Told)
                }
                Err(refusal) => Next::Done(refusal.into(), News::Told),
            },
        }
    }
}

/// Prints what SELECT has to tell.
fn open(name: MailboxName, read_only: bool, selected: Selected, tx: &mut Outbox) -> Box<View> {
    let (first_unseen, uid_next, uid_validity) = (selected.first_unseen, selected.uid_next, selected.uid_validity);
    let view = View::new(name, read_only, selected);
    view.print_known(tx);
    _ = write!(tx, "* {} EXISTS\r\n* {} RECENT\r\n", view.len(), view.recent_len());
    if let Some(n) = first_unseen.and_then(|uid| view.number(uid)) {
        _ = write!(tx, "* OK [UNSEEN {n}] The first that is not seen.\r\n");
    }
    _ = write!(tx, "* OK [UIDVALIDITY {uid_validity}] UIDs are valid.\r\n* OK [UIDNEXT {uid_next}] The next UID.\r\n");
    Box::new(view)
}

/// Leaves the selected mailbox.
pub(super) struct Leave {
    /// Whether messages with `\Deleted` are removed first.
    expunge: bool,
    phase: Left,
}

enum Left {
    Begin,
    Expunging,
    Leaving,
}

impl Leave {
    /// CLOSE: RFC 3501 §6.4.2 removes nothing if the mailbox is read-only.
    pub fn closing(desk: &Desk) -> Leave {
        Leave { expunge: desk.view.as_ref().is_some_and(|view| !view.read_only), phase: Left::Begin }
    }

    /// UNSELECT.
    pub fn only() -> Leave {
        Leave { expunge: false, phase: Left::Begin }
    }
}

impl Job for Leave {
    fn step(&mut self, desk: &mut Desk, answer: Option<Answer>, _: &mut Outbox) -> Next {
        match self.phase {
            Left::Begin if self.expunge => {
                self.phase = Left::Expunging;
                return Next::Ask(Ask::Expunge(None));
            }
            Left::Expunging => {
                // The mailbox stays open if what CLOSE promises could not be done, so that the client may try again.
                if let Err(refusal) = answer!(answer, Expunge) {
                    return Next::Done(refusal.into(), News::All);
                }
            }
            Left::Begin => {}
            Left::Leaving => return Next::Done(Reply::ok("Closed."), News::Told),
        }
        self.phase = Left::Leaving;
        desk.view = None;
        Next::Ask(Ask::Unselect)
    }
}
