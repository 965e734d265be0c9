//! COPY and MOVE (RFC 3501 §6.4.7, 4315, 6851).

use super::desk::{Desk, Job, News, Next, answer};
use crate::{
    office::{Answer, Ask, Copied},
    reply::{Code, Reply, to_target},
    view::Chosen,
};
use mail::MailboxName;
use wire::Outbox;

/// Copies messages, all or none.
pub(super) struct Copy {
    chosen: Chosen,
    to: Option<MailboxName>,
}

impl Copy {
    pub fn new(chosen: Chosen, to: MailboxName) -> Copy {
        Copy { chosen, to: Some(to) }
    }
}

impl Job for Copy {
    fn step(&mut self, desk: &mut Desk, answer: Option<Answer>, _: &mut Outbox) -> Next {
        let Some(view) = &desk.view else { unreachable!("a mailbox is selected") };
        if let Some(to) = self.to.take() {
            let uids = view.take(&mut self.chosen, usize::MAX);
            if uids.is_empty() {
                return Next::Done(Reply::ok("There was nothing to copy."), News::All);
            }
            return Next::Ask(Ask::Copy(uids, to));
        }
        let reply = match answer!(answer, Copy) {
            Ok(copied) => match copy_uid(copied) {
                Some(code) => Reply::ok("Copied.").with(code),
                None => Reply::ok("Copied."),
            },
            Err(refusal) => to_target(refusal),
        };
        Next::Done(reply, News::All)
    }
}

/// Moves messages, all or none.
pub(super) struct Move(Copy);

impl Move {
    pub fn new(chosen: Chosen, to: MailboxName) -> Move {
        Move(Copy::new(chosen, to))
    }
}

impl Job for Move {
    fn step(&mut self, desk: &mut Desk, answer: Option<Answer>, tx: &mut Outbox) -> Next {
        let Some(view) = &desk.view else { unreachable!("a mailbox is selected") };
        if let Some(to) = self.0.to.take() {
            let uids = view.take(&mut self.0.chosen, usize::MAX);
            if uids.is_empty() {
                return Next::Done(Reply::ok("There was nothing to move."), News::All);
            }
            return Next::Ask(Ask::Move(uids, to));
        }
        let reply = match answer!(answer, Move) {
            Ok(copied) => {
                // RFC 6851 §4.3: before the EXPUNGEs, while the client still knows the numbers.
                if let Some(code) = copy_uid(copied) {
                    tx.put(b"* OK ");
                    code.print(tx);
                    tx.put(b" Moved.\r\n");
                }
                Reply::ok("Done.")
            }
            Err(refusal) => to_target(refusal),
        };
        Next::Done(reply, News::All)
    }
}

fn copy_uid(copied: Copied) -> Option<Code> {
    (!copied.uids.is_empty()).then(|| Code::CopyUid(copied.uid_validity, copied.uids.into_boxed_slice()))
}
