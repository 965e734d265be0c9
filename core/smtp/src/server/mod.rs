//! The server side of a session: what it remembers and what it does next.
//!
//! A session is always in one [`Phase`]. Reading a command is one of them; the files beside this one are the others: `hello` (EHLO,
//! STARTTLS), `auth`, `mail` (MAIL, RCPT, RSET), `data` (DATA, BDAT and what follows).

mod auth;
mod data;
mod hello;
mod mail;
#[cfg(test)]
mod tests;

use crate::content::Incoming;
use crate::limits::{
    BEFORE_DATA_MS, COMMAND_MAX, COMMAND_MS, HURRIED_BEFORE_DATA_MS, HURRIED_IDLE_MAX, HURRIED_MS, IDLE_MAX, LINE_MAX, LOGINS_MAX,
    MISTAKES_MAX, PUT_OFF_MAX, REFUSED_MAX,
};
use crate::reply::{self, Reply};
use crate::syntax::{self, Command, SyntaxError};
use crate::{Answer, Ask, INBOX_LIMIT, Loss, Settings};
use alloc::boxed::Box;
use sasl::Exchange;
use wire::{Inbox, Lines, News, Nudge, Outbox, Pace, Scan, Session, Step, Tick, Want, Why};

use self::{data::Report, mail::Transaction};

// A line that fits the limit must also fit the inbox, and a command the line.
const _: () = assert!(COMMAND_MAX <= LINE_MAX && LINE_MAX < INBOX_LIMIT);

/// A session with a client. Takes an [`Inbox`] of [`INBOX_LIMIT`] and an [`Outbox`] of [`crate::OUTBOX_MARK`].
#[derive(Debug)]
pub struct Server {
    settings: Settings,
    phase: Phase,
    lines: Lines,
    /// Who said hello.
    client: Option<Client>,
    authenticated: bool,
    /// From a MAIL that was taken to the end of its message.
    transaction: Option<Transaction>,
    /// The office has an open message exactly while this is there.
    message: Option<Incoming>,
    tally: Tally,
    /// MAIL commands so far, whatever became of them.
    mails: u32,
    /// When the session was made: the tick of `settings.clock`.
    began: Tick,
    deadline: Tick,
    /// When a client that has not logged in has to have begun its next message.
    data_due: Tick,
    stopping: bool,
    /// Places are short.
    hurried: bool,
    /// The client is sent away.
    dismissed: bool,
}

/// What a client said of itself.
#[derive(Debug)]
struct Client {
    name: Box<str>,
    /// Whether it said EHLO or LHLO.
    extended: bool,
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
    /// The message is due, up to the lone dot.
    Data,
    /// So many octets of a chunk are due.
    Chunk { size: u64, left: u64, last: bool },
    /// So many octets of a chunk are due that nobody wants (RFC 3030 §2); then says this.
    Discard { left: u64, reply: Reply, pace: Pace },
    /// Tells each recipient of a message what became of it (LMTP).
    Report(Report),
    /// The open message is to be forgotten; then goes on, or ends.
    Abandon(Loss, Option<Why>),
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
    Sender,
    Recipient,
    Open(Opening),
    Commit,
    Abandon(Option<Why>),
}

/// Which command opens a message.
#[derive(Debug, Clone, Copy)]
enum Opening {
    Data,
    Chunk { size: u64, last: bool },
}

/// What a client has on its account.
#[derive(Debug, Default)]
struct Tally {
    mistakes: u32,
    refused: u32,
    put_off: u32,
    logins: u32,
    idle: u32,
}

/// What a phase wants. [`Step`] without its borrow.
enum Next {
    Again,
    Wait,
    Flush,
    Body(usize),
    Ask(Box<Ask>),
    StartTls,
    Close(Why),
}

impl Server {
    /// A session that greets at its first step.
    ///
    /// # Panics
    /// If the settings allow no recipient, or holding for longer than RFC 4865 has words for.
    pub fn new(settings: Settings, now: Tick) -> Server {
        assert!(settings.recipients_max > 0, "a message needs a recipient");
        assert!(settings.offers.hold_max < 1_000_000_000, "nine digits of seconds");
        Server {
            settings,
            phase: Phase::Greeting,
            lines: Lines::new(),
            client: None,
            authenticated: false,
            transaction: None,
            message: None,
            tally: Tally::default(),
            mails: 0,
            began: now,
            deadline: now.after(COMMAND_MS),
            data_due: now.after(BEFORE_DATA_MS),
            stopping: false,
            hurried: false,
            dismissed: false,
        }
    }

    fn next(&mut self, now: Tick, rx: &mut Inbox, tx: &mut Outbox) -> Next {
        match self.phase {
            Phase::Greeting => self.greet(tx),
            Phase::Command => self.line(now, rx, tx),
            Phase::Skip(reply) => self.skip(now, reply, rx, tx),
            Phase::Auth(_) => self.response(now, rx, tx),
            Phase::Data => self.data(now, rx, tx),
            Phase::Chunk { .. } => self.chunk(now, rx, tx),
            Phase::Discard { .. } => self.discard(now, rx, tx),
            Phase::Report(_) => self.report(now, tx),
            Phase::Abandon(loss, then) => self.ask(Question::Abandon(then), Ask::Abandon(loss)),
            Phase::Asked(_) => panic!("stepped before the answer was told"),
            Phase::Handshake => panic!("stepped before the handshake was told"),
            Phase::Closing(why) => Next::Close(why),
        }
    }

    /// Finds a whole command line and obeys it.
    fn line(&mut self, now: Tick, rx: &mut Inbox, tx: &mut Outbox) -> Next {
        if let Some((reply, why)) = self.verdict() {
            return self.hang_up(reply, why, tx);
        }
        if tx.is_full() {
            return Next::Flush;
        }
        let len = match self.lines.find(rx, LINE_MAX) {
            Scan::Line(len) => len,
            Scan::Short => return Next::Wait,
            // RFC 3030 has no way to go on after a BDAT that is none: the octets that follow would be taken for commands.
            Scan::Bare(_) | Scan::Long if syntax::is_bdat(rx.bytes()) => return self.hang_up(reply::CHUNK_SYNTAX, Why::Abuse, tx),
            // A line feed alone ends nothing: whoever sends "NOOP\nMAIL ..." said one thing, and it is nonsense.
            Scan::Bare(len) => {
                rx.take(len);
                return self.turn(Phase::Skip(reply::BARE_LF));
            }
            Scan::Long => return self.turn(Phase::Skip(reply::LINE_TOO_LONG)),
        };
        self.allow_time(now);
        let next = match syntax::parse(&rx.bytes()[..len - 2]) {
            Ok(command) => self.obey(now, command, tx),
            Err(SyntaxError::Http) => self.hang_up(reply::NO_HTTP, Why::Abuse, tx),
            Err(SyntaxError::Chunk) => self.hang_up(reply::CHUNK_SYNTAX, Why::Abuse, tx),
            Err(error) => self.mistake(error.reply(), tx),
        };
        rx.take(len);
        next
    }

    fn obey(&mut self, now: Tick, command: Command<'_>, tx: &mut Outbox) -> Next {
        match command {
            Command::Mail(sender, said) => self.mail(now, sender, said, tx),
            Command::Rcpt(recipient, said) => self.rcpt(recipient, said, tx),
            Command::Data => self.data_command(tx),
            Command::Bdat { size, last } => self.bdat(now, size, last),
            Command::Ehlo(name) => self.hello(now, name, true, tx),
            Command::Helo(name) => self.hello(now, name, false, tx),
            Command::Lhlo(name) => self.lhlo(now, name, tx),
            Command::StartTls => self.start_tls(tx),
            Command::Auth { mechanism, initial } => self.auth(mechanism, initial, tx),
            Command::Rset => self.rset(tx),
            Command::Noop => self.idle(reply::OK, tx),
            Command::Vrfy => self.idle(reply::MAYBE, tx),
            Command::Help => self.idle(reply::HELP, tx),
            Command::Expn => self.mistake(reply::NOT_HERE, tx),
            Command::Quit => self.hang_up(reply::BYE, Why::Done, tx),
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
                self.allow_time(now);
                self.phase = Phase::Command;
                return self.mistake(reply, tx);
            }
        }
        Next::Again
    }

    /// Whether the session has to end here, between two commands.
    fn verdict(&self) -> Option<(Reply, Why)> {
        let Tally { mistakes, refused, put_off, logins, idle } = self.tally;
        if self.stopping {
            Some((reply::STOPPING, Why::Shutdown))
        } else if mistakes > MISTAKES_MAX || refused > REFUSED_MAX || logins > LOGINS_MAX {
            Some((reply::TOO_MANY_MISTAKES, Why::Abuse))
        } else if put_off > PUT_OFF_MAX {
            Some((reply::TOO_MANY_PUT_OFF, Why::Abuse))
        } else if idle > if self.is_hurried() { HURRIED_IDLE_MAX } else { IDLE_MAX } {
            Some((reply::TOO_IDLE, Why::Abuse))
        } else {
            None
        }
    }

    /// Whether places are short and the client is nobody's.
    fn is_hurried(&self) -> bool {
        self.hurried && !self.authenticated
    }

    /// The client gets its time for what it says next.
    fn allow_time(&mut self, now: Tick) {
        self.deadline = now.after(if self.is_hurried() { HURRIED_MS } else { COMMAND_MS });
    }

    /// The client gets its time for the next message.
    fn allow_message(&mut self, now: Tick) {
        self.data_due = now.after(if self.hurried { HURRIED_BEFORE_DATA_MS } else { BEFORE_DATA_MS });
    }

    /// What is to come keeps up with this.
    fn pace(&self, now: Tick) -> Pace {
        let mut pace = Incoming::pace(now);
        if self.is_hurried() {
            pace.hurry(now, HURRIED_MS);
        }
        pace
    }

    /// Places are short from now on.
    fn hurry(&mut self, now: Tick) {
        self.hurried = true;
        if self.authenticated {
            return;
        }
        self.deadline = self.deadline.min(now.after(HURRIED_MS));
        self.data_due = self.data_due.min(now.after(HURRIED_BEFORE_DATA_MS));
        if let Some(message) = &mut self.message {
            message.pace.hurry(now, HURRIED_MS);
        }
        if let Phase::Discard { pace, .. } = &mut self.phase {
            pace.hurry(now, HURRIED_MS);
        }
    }

    /// Whether the client is sent away, and there is somebody to send. What was taken is told to the end first, or it would be sent again.
    fn is_dismissed(&self) -> bool {
        let busy = matches!(self.phase, Phase::Asked(_) | Phase::Handshake | Phase::Report(_) | Phase::Abandon(..) | Phase::Closing(_));
        self.dismissed && !busy
    }

    /// The wall clock, in seconds.
    fn wall(&self, now: Tick) -> i64 {
        self.settings.clock.seconds.saturating_add_unsigned(now.since(self.began) / 1000)
    }

    fn turn(&mut self, phase: Phase) -> Next {
        self.phase = phase;
        Next::Again
    }

    fn ask(&mut self, question: Question, ask: Ask) -> Next {
        self.phase = Phase::Asked(question);
        Next::Ask(Box::new(ask))
    }

    /// Says `reply` and goes on.
    fn say(&self, reply: Reply, tx: &mut Outbox) -> Next {
        reply.put(tx);
        Next::Again
    }

    /// Says `reply` and notes that the client was wrong.
    fn mistake(&mut self, reply: Reply, tx: &mut Outbox) -> Next {
        self.tally.mistakes += 1;
        self.say(reply, tx)
    }

    /// Says `reply` and notes that no mail came of it.
    fn idle(&mut self, reply: Reply, tx: &mut Outbox) -> Next {
        self.tally.idle += 1;
        self.say(reply, tx)
    }

    /// Says `reply` and ends.
    fn hang_up(&mut self, reply: Reply, why: Why, tx: &mut Outbox) -> Next {
        reply.put(tx);
        self.leave(why)
    }

    /// Ends. The office is not left with half a message.
    fn leave(&mut self, why: Why) -> Next {
        self.transaction = None;
        let open = self.message.take();
        self.turn(open.map_or(Phase::Closing(why), |message| Phase::Abandon(message.loss(), Some(why))))
    }

    /// Forgets the transaction, and goes on.
    fn reset(&mut self) -> Next {
        self.transaction = None;
        let open = self.message.take();
        self.turn(open.map_or(Phase::Command, |message| Phase::Abandon(message.loss(), None)))
    }

    fn answered(&mut self, now: Tick, answer: Answer, tx: &mut Outbox) {
        let Phase::Asked(question) = core::mem::replace(&mut self.phase, Phase::Command) else {
            panic!("an answer to no question");
        };
        // However long the host thought, the client gets its time.
        self.allow_time(now);
        match (question, answer) {
            (Question::Login, Answer::Login(login)) => self.login_answered(login, tx),
            (Question::Sender, Answer::Sender(verdict)) => self.sender_answered(verdict, tx),
            (Question::Recipient, Answer::Recipient(verdict)) => self.recipient_answered(verdict, tx),
            (Question::Open(opening), Answer::Open(opened)) => self.opened(now, opening, opened, tx),
            (Question::Commit, Answer::Commit(receipt)) => self.committed(now, receipt, tx),
            (Question::Abandon(None), Answer::Abandon) => self.phase = Phase::Command,
            (Question::Abandon(Some(why)), Answer::Abandon) => self.phase = Phase::Closing(why),
            (question, answer) => panic!("{answer:?} does not answer {question:?}"),
        }
    }
}

impl Session for Server {
    type Ask = Ask;
    type Answer = Answer;

    fn step<'a>(&mut self, now: Tick, rx: &'a mut Inbox, tx: &mut Outbox) -> Step<'a, Ask> {
        loop {
            if self.is_dismissed() {
                let _ = self.hang_up(reply::DISMISSED, Why::Dismissed, tx);
            }
            match self.next(now, rx, tx) {
                Next::Again => {}
                Next::Wait if rx.ended() => {
                    let _ = self.leave(Why::Gone);
                }
                Next::Wait if self.deadline().is_some_and(|deadline| now >= deadline) => {
                    let _ = self.hang_up(reply::TIMEOUT, Why::Timeout, tx);
                }
                Next::Wait => return Step::Read,
                // A client that does not take its replies. There is no way to tell it.
                Next::Flush if now >= self.deadline => {
                    let _ = self.leave(Why::Timeout);
                }
                Next::Flush => return Step::Flush,
                Next::Body(n) => return Step::Body(rx.take(n)),
                Next::Ask(ask) => return Step::Ask(*ask),
                Next::StartTls => {
                    // RFC 3207 §4.2: nothing that came in clear may be taken for what comes protected.
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
        match &self.phase {
            Phase::Asked(_) | Phase::Handshake | Phase::Closing(_) => None,
            Phase::Data | Phase::Chunk { .. } => self.message.as_ref().map(|message| message.pace.deadline()),
            Phase::Discard { pace, .. } => Some(pace.deadline()),
            // Between chunks the message has to keep up as well, or one octet a command would hold the connection for years.
            _ => Some(self.deadline.min(match &self.message {
                Some(message) => message.pace.deadline(),
                None if self.authenticated => self.deadline,
                None => self.data_due,
            })),
        }
    }
}
