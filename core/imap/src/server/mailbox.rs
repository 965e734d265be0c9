//! CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE (RFC 3501 §6.3) and STATUS: one question each.

use super::{
    begin::Begun,
    desk::{Desk, Job, NO_NAME, News, Next, answer},
};
use crate::{
    name::Naming,
    office::{Answer, Ask, Counts},
    reply::Reply,
    syntax::StatusItems,
};
use core::fmt::Write;
use mail::{MailboxName, SpecialUse};
use wire::Outbox;

/// A command about a mailbox that asks one question.
pub(super) struct Manage {
    ask: Option<Ask>,
    after: After,
}

/// What follows if it went well.
enum After {
    Say(&'static str),
    /// The mailbox is gone from that name, and those below it if `below`: if it was selected, it is not any more.
    Deselect {
        name: MailboxName,
        below: bool,
        say: &'static str,
    },
    /// That was asked for.
    Deselected(&'static str),
    Print(MailboxName, StatusItems),
}

impl Manage {
    fn begin(ask: Ask, after: After) -> Result<Begun, Reply> {
        Ok(Begun::job(Manage { ask: Some(ask), after }))
    }

    pub fn create(desk: &Desk, wire: &[u8], uses: &[Option<SpecialUse>]) -> Result<Begun, Reply> {
        // RFC 6154 §3
        let special_use = match uses {
            [] => None,
            [Some(one)] => Some(*one),
            _ => return Err(Reply::no("USEATTR", "A mailbox cannot be for that here.")),
        };
        let name = desk.naming().read_new(wire).ok_or(NO_NAME)?;
        if name.is_inbox() {
            return Err(Reply::no("ALREADYEXISTS", "There is always an INBOX."));
        }
        Manage::begin(Ask::Create(name, special_use), After::Say("Created."))
    }

    pub fn delete(desk: &Desk, wire: &[u8]) -> Result<Begun, Reply> {
        let name = desk.name(wire)?;
        if name.is_inbox() {
            return Err(Reply::no("CANNOT", "There is always an INBOX."));
        }
        Manage::begin(Ask::Delete(name.clone()), After::Deselect { name, below: false, say: "Deleted." })
    }

    pub fn rename(desk: &Desk, from: &[u8], to: &[u8]) -> Result<Begun, Reply> {
        let from = desk.name(from)?;
        let to = desk.naming().read_new(to).ok_or(NO_NAME)?;
        if to.is_inbox() || to == from {
            return Err(Reply::no("ALREADYEXISTS", "There is a mailbox of that name."));
        }
        if to.is_below(&from) && !from.is_inbox() {
            return Err(Reply::no("CANNOT", "A mailbox cannot be below itself."));
        }
        // INBOX stays where it is, only its messages move (RFC 3501 §6.3.5).
        let after = match from.is_inbox() {
            true => After::Say("Renamed."),
            false => After::Deselect { name: from.clone(), below: true, say: "Renamed." },
        };
        Manage::begin(Ask::Rename(from, to), after)
    }

    pub fn subscribe(desk: &Desk, wire: &[u8], on: bool) -> Result<Begun, Reply> {
        let name = desk.naming().read_new(wire).ok_or(NO_NAME)?;
        Manage::begin(Ask::Subscribe(name, on), After::Say(if on { "Subscribed." } else { "Unsubscribed." }))
    }

    pub fn status(desk: &Desk, wire: &[u8], items: StatusItems) -> Result<Begun, Reply> {
        let name = desk.name(wire)?;
        Manage::begin(Ask::Status(name.clone()), After::Print(name, items))
    }
}

impl Job for Manage {
    fn step(&mut self, desk: &mut Desk, answer: Option<Answer>, tx: &mut Outbox) -> Next {
        if let Some(ask) = self.ask.take() {
            return Next::Ask(ask);
        }
        let done = match &self.after {
            After::Print(name, items) => answer!(answer, Status).map(|counts| {
                print_status(&desk.naming().show(name), counts, *items, tx);
                "Done."
            }),
            After::Say(text) => answer!(answer, Done).map(|()| *text),
            After::Deselect { name, below, say } => {
                let say = *say;
                match answer!(answer, Done) {
                    Ok(()) if desk.view.as_ref().is_some_and(|view| view.name == *name || *below && view.name.is_below(name)) => {
                        desk.view = None;
                        self.after = After::Deselected(say);
                        return Next::Ask(Ask::Unselect);
                    }
                    done => done.map(|()| say),
                }
            }
            After::Deselected(say) => Ok(*say),
        };
        Next::Done(done.map_or_else(Reply::from, Reply::ok), News::All)
    }
}

/// Prints what was asked of `counts` for a name as it is shown.
pub(super) fn print_status(shown: &str, counts: Counts, items: StatusItems, tx: &mut Outbox) {
    tx.put(b"* STATUS ");
    Naming::print(shown, tx);
    let all = [
        (StatusItems::MESSAGES, "MESSAGES", u64::from(counts.messages)),
        (StatusItems::RECENT, "RECENT", u64::from(counts.recent)),
        (StatusItems::UIDNEXT, "UIDNEXT", u64::from(counts.uid_next.get())),
        (StatusItems::UIDVALIDITY, "UIDVALIDITY", u64::from(counts.uid_validity.0.get())),
        (StatusItems::UNSEEN, "UNSEEN", u64::from(counts.unseen)),
        (StatusItems::SIZE, "SIZE", counts.size),
    ];
    let mut before = " (";
    for (_, name, n) in all.into_iter().filter(|(item, ..)| items.has(*item)) {
        _ = write!(tx, "{before}{name} {n}");
        before = " ";
    }
    tx.put(b")\r\n");
}
