//! Which command it is, whether it may come now, and what it becomes.

use super::{
    Mode, Server,
    copy::{Copy, Move},
    desk::{Job, News},
    fetch::Fetch,
    hello,
    idle::Idle,
    list::List,
    login::{self, Login},
    mailbox::Manage,
    search::Search,
    select::{Leave, Select},
    store::{Expunge, Store},
};
use crate::{
    reply::Reply,
    syntax::{self, Command},
};
use alloc::boxed::Box;
use wire::{Outbox, Tick, Why};

/// What becomes of a command.
pub(super) enum Begun {
    /// It is over already.
    Over(Reply),
    /// It works.
    Job(Box<dyn Job>),
    /// The session does something else now.
    Mode(Mode),
    /// It is over, and then the handshake comes.
    StartTls,
    Logout,
}

impl Begun {
    pub fn job(job: impl Job + 'static) -> Begun {
        Begun::Job(Box::new(job))
    }
}

/// A refusal ends a command.
impl From<Result<Begun, Reply>> for Begun {
    fn from(begun: Result<Begun, Reply>) -> Begun {
        begun.unwrap_or_else(Begun::Over)
    }
}

const LOG_IN: Reply = Reply::bad("Log in first.");
const LOGGED_IN: Reply = Reply::bad("You are logged in.");
const SELECT: Reply = Reply::bad("Select a mailbox first.");
const READ_ONLY: Reply = Reply::no("NOPERM", "The mailbox is read-only.");
const BAD_SET: Reply = Reply::bad("There are not so many messages.");

impl Server {
    /// Begins the command of a whole frame.
    pub(super) fn begin(&mut self, now: Tick, frame: &[u8], tx: &mut Outbox) {
        let tag: Box<[u8]> = syntax::tag_of(frame).unwrap_or(b"*").into();
        let begun = match syntax::command(frame) {
            Ok(command) => self.dispatch(now, command, &tag, tx).into(),
            Err(bad) => Begun::Over(bad.into()),
        };
        match begun {
            Begun::Over(reply) => self.finish(now, tag, reply, News::All, tx),
            Begun::Job(job) => self.mode = Mode::Work { tag, job },
            Begun::Mode(mode) => self.mode = mode,
            Begun::StartTls => {
                Reply::ok("Begin.").print(&tag, tx);
                self.mode = Mode::StartTls;
            }
            Begun::Logout => {
                hello::logout(tx);
                Reply::ok("Done.").print(&tag, tx);
                self.mode = Mode::End(Why::Done);
            }
        }
    }

    fn dispatch(&mut self, now: Tick, command: Command<'_>, tag: &[u8], tx: &mut Outbox) -> Result<Begun, Reply> {
        let desk = &mut self.desk;
        match &command {
            Command::Capability | Command::Noop | Command::Logout | Command::Id => {}
            Command::StartTls | Command::Authenticate { .. } | Command::Login { .. } if desk.logged_in => return Err(LOGGED_IN),
            Command::StartTls | Command::Authenticate { .. } | Command::Login { .. } => {}
            _ if !desk.logged_in => return Err(LOG_IN),
            Command::Check
            | Command::Close
            | Command::Unselect
            | Command::Expunge(_)
            | Command::Search { .. }
            | Command::Fetch { .. }
            | Command::Store { .. }
            | Command::Copy { .. }
            | Command::Move { .. }
                if desk.view.is_none() =>
            {
                return Err(SELECT);
            }
            Command::Expunge(_) | Command::Store { .. } | Command::Move { .. } if desk.view.as_ref().is_some_and(|view| view.read_only) => {
                return Err(READ_ONLY);
            }
            _ => {}
        }
        let choose = |set: &_, uid: bool| {
            let view = desk.view.as_ref().ok_or(SELECT)?;
            if uid { Ok(view.by_uid(set)) } else { view.by_number(set).ok_or(BAD_SET) }
        };
        Ok(match command {
            Command::Capability => hello::capability(desk, tx),
            Command::Noop => Begun::Over(Reply::ok("Done.")),
            Command::Check => Begun::Over(Reply::ok("Checked.")),
            Command::Logout => Begun::Logout,
            Command::Id => hello::id(tx),
            Command::Enable(_) => hello::enable(tx),
            Command::Namespace => hello::namespace(desk.naming(), tx),
            Command::StartTls => hello::starttls(desk),
            Command::Login { user, password } => Begun::job(Login::new(desk, &user, &password)?),
            Command::Authenticate { mechanism, initial } => login::authenticate(desk, tag, mechanism, initial, tx)?,
            Command::Create { mailbox, uses } => Manage::create(desk, &mailbox, &uses)?,
            Command::Delete(mailbox) => Manage::delete(desk, &mailbox)?,
            Command::Rename { from, to } => Manage::rename(desk, &from, &to)?,
            Command::Subscribe { mailbox, on } => Manage::subscribe(desk, &mailbox, on)?,
            Command::Status { mailbox, items } => Manage::status(desk, &mailbox, items)?,
            Command::List(list) => List::begin(desk, &list, tx),
            Command::Lsub { reference, pattern } => List::lsub(desk, &reference, pattern),
            Command::Select { mailbox, read_only } => Begun::job(Select::new(desk.name(&mailbox), read_only)),
            Command::Close => Begun::job(Leave::closing(desk)),
            Command::Unselect => Begun::job(Leave::only()),
            Command::Idle => Begun::Mode(Mode::Idle(Box::new(Idle::new(now, tag)))),
            Command::Expunge(None) => Begun::job(Expunge::all()),
            Command::Expunge(Some(set)) => Begun::job(Expunge::those(choose(&set, true)?)),
            Command::Store { set, change, silent, flags, uid } => Begun::job(Store::new(choose(&set, uid)?, change, silent, flags, uid)),
            Command::Copy { set, mailbox, uid } => Begun::job(Copy::new(choose(&set, uid)?, desk.name(&mailbox)?)),
            Command::Move { set, mailbox, uid } => Begun::job(Move::new(choose(&set, uid)?, desk.name(&mailbox)?)),
            Command::Fetch { fetch, uid } => {
                let chosen = choose(&fetch.set, uid)?;
                Begun::job(Fetch::new(desk.view.as_ref().ok_or(SELECT)?, chosen, fetch.items, uid))
            }
            Command::Search { search, uid } => Begun::job(Search::new(desk.view.as_ref().ok_or(SELECT)?, search, uid, tag)?),
        })
    }
}
