//! The server side of a session: what it remembers and what it does next.
//!
//! A session is always in one [`Phase`]. Reading a command is one of them; the files beside this one are the others: `enter` (all that
//! leads to a login), `list` (STAT, LIST, UIDL, DELE, RSET and the end) and `retrieve` (RETR, TOP).

mod enter;
mod list;
mod retrieve;
#[cfg(test)]
mod tests;

use crate::limits::{COMMAND_MAX, HURRIED_MS, IDLE_MS, LINE_MAX, LOGINS_MAX, MISTAKES_MAX};
use crate::maildrop::Maildrop;
use crate::reply::{self, Reply};
use crate::syntax::{self, Command};
use crate::{Answer, Ask, INBOX_LIMIT, Settings};
use alloc::{boxed::Box, vec::Vec};
use sasl::Exchange;
use wire::{Inbox, Lines, News, Nudge, Outbox, Scan, Session, Step, Tick, Want, Why};

use self::{list::Listing, retrieve::Sending};

// A line that fits the limit must also fit the inbox, and a command the line.
const _: () = assert!(COMMAND_MAX <= LINE_MAX && LINE_MAX < INBOX_LIMIT);

/// A session with a client. Takes an [`Inbox`] of [`INBOX_LIMIT`] and an [`Outbox`] of [`crate::OUTBOX_MARK`].
#[derive(Debug)]
pub struct Server {
    settings: Settings,
    phase: Phase,
    lines: Lines,
    state: State,
    mistakes: u32,
    logins: u32,
    deadline: Tick,
    stopping: bool,
    /// Places are short.
    hurried: bool,
    /// The client is sent away.
    dismissed: bool,
    /// The buffer that is lent to read messages; kept while commands wait, given up when the session is idle.
    spare: Vec<u8>,
}

/// The states of RFC 1939 §3. UPDATE is the question that QUIT asks.
#[derive(Debug)]
enum State {
    Authorization { user: Option<Box<str>> },
    Transaction(Maildrop),
}

/// Where a session is.
#[derive(Debug)]
enum Phase {
    /// Nothing was said yet.
    Greeting,
    /// A command is due.
    Command,
    /// Drops what is no line up to the next CRLF, then says this.
    Skip(Reply),
    /// A response of the client is due.
    Auth(Exchange),
    /// The login is good; the inbox is to be opened.
    Open,
    /// Prints a list.
    List(Listing),
    /// Prints a message.
    Send(Sending),
    /// An answer is due.
    Asked(Question),
    /// A handshake is due.
    Handshake,
    /// All is said.
    Closing(Why),
}

/// What was asked, with what is needed to go on.
#[derive(Debug)]
enum Question {
    Login,
    Open,
    Read(Sending),
    Remove,
}

/// What a phase wants. [`Step`] without its borrow.
enum Next {
    Again,
    Wait,
    Flush,
    Ask(Ask),
    StartTls,
    Close(Why),
}

impl Server {
    /// A session that greets at its first step.
    pub fn new(settings: Settings, now: Tick) -> Server {
        Server {
            settings,
            phase: Phase::Greeting,
            lines: Lines::new(),
            state: State::Authorization { user: None },
            mistakes: 0,
            logins: 0,
            deadline: now.after(IDLE_MS),
            stopping: false,
            hurried: false,
            dismissed: false,
            spare: Vec::new(),
        }
    }

    fn next(&mut self, now: Tick, rx: &mut Inbox, tx: &mut Outbox) -> Next {
        match self.phase {
            Phase::Greeting => self.greet(tx),
            Phase::Command => self.line(now, rx, tx),
            Phase::Skip(reply) => self.skip(now, reply, rx, tx),
            Phase::Auth(_) => self.response(rx, tx),
            Phase::Open => self.ask(Question::Open, Ask::Open),
            Phase::List(_) => self.list(now, tx),
            Phase::Send(_) => self.send(tx),
            Phase::Asked(_) => panic!("stepped before the answer was told"),
            Phase::Handshake => panic!("stepped before the handshake was told"),
            Phase::Closing(why) => Next::Close(why),
        }
    }

    /// Finds a whole command line and obeys it.
    fn line(&mut self, now: Tick, rx: &mut Inbox, tx: &mut Outbox) -> Next {
        if self.stopping {
            return self.hang_up(reply::STOPPING, Why::Shutdown, tx);
        }
        if self.mistakes > MISTAKES_MAX {
            return self.hang_up(reply::TOO_MANY_MISTAKES, Why::Abuse, tx);
        }
        if tx.is_full() {
            return Next::Flush;
        }
        let len = match self.lines.find(rx, LINE_MAX) {
            Scan::Line(len) => len,
            Scan::Short => return Next::Wait,
            Scan::Bare(len) => {
                rx.take(len);
                return self.turn(Phase::Skip(reply::BARE_LF));
            }
            Scan::Long => return self.turn(Phase::Skip(reply::LINE_TOO_LONG)),
        };
        self.heard(now);
        let next = match syntax::parse(&rx.bytes()[..len - 2]) {
            Ok(command) => self.obey(command, tx),
            Err(error) => self.mistake(error.reply(), tx),
        };
        rx.take(len);
        next
    }

    fn obey(&mut self, command: Command<'_>, tx: &mut Outbox) -> Next {
        match (command, &mut self.state) {
            (Command::Capa, _) => self.capabilities(tx),
            (Command::Quit, State::Authorization { .. }) => self.hang_up(reply::BYE, Why::Done, tx),
            (Command::Stls, State::Authorization { .. }) => self.start_tls(tx),
            (Command::User(name), State::Authorization { .. }) => self.user(name, tx),
            (Command::Pass(password), State::Authorization { .. }) => self.pass(password, tx),
            (Command::Auth { mechanism, initial }, State::Authorization { .. }) => self.auth(mechanism, initial, tx),
            (_, State::Authorization { .. }) => self.mistake(reply::LOG_IN_FIRST, tx),
            (Command::Stls | Command::User(_) | Command::Pass(_) | Command::Auth { .. }, State::Transaction(_)) => {
                self.mistake(reply::LOGGED_IN, tx)
            }
            (Command::Noop, _) => self.say(reply::OK, tx),
            (Command::Stat, State::Transaction(maildrop)) => list::stat(maildrop, tx),
            (Command::Rset, State::Transaction(maildrop)) => list::reset(maildrop, tx),
            (Command::List(number), State::Transaction(_)) => self.list_command(list::What::Sizes, number, tx),
            (Command::Uidl(number), State::Transaction(_)) => self.list_command(list::What::Uidls, number, tx),
            (Command::Dele(number), State::Transaction(maildrop)) => match maildrop.delete(number) {
                true => self.say(reply::DELETED, tx),
                false => self.mistake(reply::NO_MESSAGE, tx),
            },
            (Command::Retr(number), State::Transaction(_)) => self.retrieve(number, None, tx),
            (Command::Top { message, lines }, State::Transaction(_)) => self.retrieve(message, Some(lines), tx),
            (Command::Quit, State::Transaction(maildrop)) => {
                let marked = maildrop.marked();
                if marked.is_empty() { self.hang_up(reply::BYE, Why::Done, tx) } else { self.ask(Question::Remove, Ask::Remove(marked)) }
            }
        }
    }

    /// Drops input up to the next CRLF.
    fn skip(&mut self, now: Tick, reply: Reply, rx: &mut Inbox, tx: &mut Outbox) -> Next {
        if self.stopping {
            return self.hang_up(reply::STOPPING, Why::Shutdown, tx);
        }
        match self.lines.find(rx, LINE_MAX) {
            Scan::Short => return Next::Wait,
            Scan::Bare(len) => {
                rx.take(len);
            }
            Scan::Long => {
                let len = rx.bytes().len().min(LINE_MAX);
                // A last CR may belong to the line end that is looked for.
                let kept = usize::from(rx.bytes()[len - 1] == b'\r');
                rx.take(len - kept);
            }
            Scan::Line(len) => {
                rx.take(len);
                self.heard(now);
                self.phase = Phase::Command;
                return self.mistake(reply, tx);
            }
        }
        Next::Again
    }

    /// A line came. Only a client that has logged in gets its time anew for that.
    fn heard(&mut self, now: Tick) {
        if matches!(self.state, State::Transaction(_)) {
            self.deadline = now.after(IDLE_MS);
        }
    }

    /// Places are short: who has not logged in has little time to do so.
    fn hurry(&mut self, now: Tick) {
        self.hurried = true;
        if matches!(self.state, State::Authorization { .. }) {
            self.deadline = self.deadline.min(now.after(HURRIED_MS));
        }
    }

    /// Ends because the client is sent away. It is told so unless it is in the middle of an answer.
    fn dismiss(&mut self, tx: &mut Outbox) {
        match self.phase {
            Phase::Asked(_) | Phase::Handshake | Phase::Closing(_) => {}
            Phase::List(_) | Phase::Send(_) | Phase::Open => self.phase = Phase::Closing(Why::Dismissed),
            Phase::Greeting | Phase::Command | Phase::Skip(_) | Phase::Auth(_) => {
                let _ = self.hang_up(reply::DISMISSED, Why::Dismissed, tx);
            }
        }
    }

    fn turn(&mut self, phase: Phase) -> Next {
        self.phase = phase;
        Next::Again
    }

    fn ask(&mut self, question: Question, ask: Ask) -> Next {
        self.phase = Phase::Asked(question);
        Next::Ask(ask)
    }

    /// Says `reply` and goes on.
    fn say(&self, reply: Reply, tx: &mut Outbox) -> Next {
        reply.put(tx);
        Next::Again
    }

    /// Says `reply` and notes that the client was wrong.
    fn mistake(&mut self, reply: Reply, tx: &mut Outbox) -> Next {
        self.mistakes += 1;
        self.say(reply, tx)
    }

    /// Says `reply` and ends.
    fn hang_up(&mut self, reply: Reply, why: Why, tx: &mut Outbox) -> Next {
        reply.put(tx);
        self.turn(Phase::Closing(why))
    }

    fn answered(&mut self, now: Tick, answer: Answer, tx: &mut Outbox) {
        let Phase::Asked(question) = core::mem::replace(&mut self.phase, Phase::Command) else {
            panic!("an answer to no question");
        };
        if !matches!(question, Question::Login) {
            // However long the host thought, the client gets its time.
            self.deadline = now.after(IDLE_MS);
        }
        match (question, answer) {
            (Question::Login, Answer::Login(Ok(_))) => self.phase = Phase::Open,
            (Question::Login, Answer::Login(Err(denied))) => {
                self.logins += 1;
                Reply::from(denied).put(tx);
                if self.logins >= LOGINS_MAX {
                    self.phase = Phase::Closing(Why::Abuse);
                }
            }
            (Question::Open, Answer::Open(Ok(entries))) => {
                let maildrop = Maildrop::new(entries);
                let _ = list::summary(&maildrop, tx);
                self.state = State::Transaction(maildrop);
            }
            (Question::Open, Answer::Open(Err(fault))) => reply::not_opened(fault).put(tx),
            (Question::Read(sending), Answer::Read(piece)) => self.read(sending, piece, tx),
            (Question::Remove, Answer::Remove(removed)) => {
                match removed {
                    Ok(()) => reply::BYE,
                    Err(fault) => reply::not_removed(fault),
                }
                .put(tx);
                self.phase = Phase::Closing(Why::Done);
            }
            (question, answer) => panic!("{answer:?} does not answer {question:?}"),
        }
    }
}

impl Session for Server {
    type Ask = Ask;
    type Answer = Answer;

    fn step<'a>(&mut self, now: Tick, rx: &'a mut Inbox, tx: &mut Outbox) -> Step<'a, Ask> {
        loop {
            if self.dismissed {
                self.dismiss(tx);
            }
            match self.next(now, rx, tx) {
                Next::Again => {}
                Next::Wait if rx.ended() => self.phase = Phase::Closing(Why::Gone),
                // RFC 1939 §3: without a response, and nothing is removed.
                Next::Wait if now >= self.deadline => self.phase = Phase::Closing(Why::Timeout),
                Next::Wait => {
                    self.spare = Vec::new();
                    return Step::Read;
                }
                // A client that does not take what it asked for.
                Next::Flush if now >= self.deadline => self.phase = Phase::Closing(Why::Timeout),
                Next::Flush => return Step::Flush,
                Next::Ask(ask) => return Step::Ask(ask),
                Next::StartTls => {
                    // RFC 2595 §4: nothing that came in clear may be taken for what comes protected.
                    rx.clear();
                    return Step::StartTls(Want::Accept);
                }
                Next::Close(why) => return Step::Close(why),
            }
        }
    }

    fn tell(&mut self, now: Tick, news: News<Answer>, tx: &mut Outbox) {
        match news {
            News::Answer(answer) => self.answered(now, answer, tx),
            News::Secured(outcome) => self.secured(now, outcome),
            News::Nudge(Nudge::Shutdown) => self.stopping = true,
            News::Nudge(Nudge::Hurry) => self.hurry(now),
            News::Nudge(Nudge::Leave) => self.dismissed = true,
            News::Nudge(Nudge::Changed) => {}
        }
    }

    fn deadline(&self) -> Option<Tick> {
        match self.phase {
            Phase::Asked(_) | Phase::Handshake | Phase::Closing(_) => None,
            _ => Some(self.deadline),
        }
    }
}
