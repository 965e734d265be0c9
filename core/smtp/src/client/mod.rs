//! The client side of a session: mail leaves by SMTP or LMTP.
//!
//! A session connects nothing: a host dials, drives it, and answers its [`Office`]. When it is ready it asks for a job, again and again; every job ends in
//! a [`Report`] with an [`Outcome`] for each recipient. If the line breaks while a job is in hand, the host that sees it break knows that no report came.

mod begin;
mod content;
mod envelope;
mod limits;
mod offer;
mod office;
mod reply;
mod socks;
#[cfg(test)]
mod tests;
mod xtext;

pub use limits::{INBOX_LIMIT, OUTBOX_MARK};
pub use office::{Answer, Ask, Fate, Form, Job, Offer, Office, Outcome, Reply, Report, Stage, Trouble};
pub use sasl::Credentials;
pub use socks::{Destination, Socks};

use alloc::{boxed::Box, format, string::String, sync::Arc, vec::Vec};
use envelope::Transaction;
use limits::{BLOCK_MS, COMMAND_MS, DATA_MS, FINAL_MS, GREETING_MS, PROXY_MS, QUIT_MS};
use offer::Way;
use reply::{Garbage, Replies};
use wire::{Expect, Fault, Inbox, News, Nudge, Outbox, Session, Step, Tick, Want, Why};

/// What a session has to know of its peer.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What this host calls itself.
    pub helo: Arc<str>,
    /// The protocol.
    pub protocol: Protocol,
    /// What is wanted of TLS.
    pub security: Security,
    /// The name of the peer, for SNI and verification.
    pub name: Box<str>,
    /// Who to be there.
    pub login: Option<Credentials>,
    /// Whether that may be told without TLS by a mechanism that gives the password away.
    pub plaintext_login: bool,
    /// The proxy to speak to first.
    pub socks: Option<Socks>,
    /// How long the line is kept when there is no job.
    pub idle_ms: u64,
}

/// A protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// RFC 5321.
    Smtp,
    /// RFC 2033.
    Lmtp,
}

/// What is wanted of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// Not even where it is offered.
    Never,
    /// Where it is offered.
    May,
    /// Always.
    Must {
        /// With a certificate for the peer's name.
        verified: bool,
    },
    /// From the first byte on.
    Implicit {
        /// With a certificate for the peer's name.
        verified: bool,
    },
}

/// A session with a server. Takes an [`Inbox`] of [`INBOX_LIMIT`] and an [`Outbox`] of [`OUTBOX_MARK`].
#[derive(Debug)]
pub struct Client {
    settings: Settings,
    phase: Phase,
    replies: Replies,
    offer: Offer,
    way: Way,
    /// Whether EHLO was refused.
    plain_hello: bool,
    transaction: Option<Transaction>,
    /// MAIL commands so far.
    count: u32,
    /// Whether the peer may have a transaction open that is not ours any more.
    dirty: bool,
    /// The line is of no use any more: the peer closes it, or cannot be trusted with it.
    leaving: Option<Why>,
    stopping: bool,
    /// There may be a job since the host was asked for one.
    nudged: bool,
    deadline: Tick,
    /// Lent to the host again and again.
    buffer: Vec<u8>,
}

/// Where a session is.
#[derive(Debug)]
enum Phase {
    /// With the proxy.
    Proxy(socks::State),
    /// A handshake is due, or on its way.
    Handshake(bool),
    /// The greeting is due.
    Greeting,
    /// The reply to EHLO, LHLO or HELO is due.
    Hello,
    /// The reply to STARTTLS is due.
    StartTls,
    /// A reply to AUTH is due; a first response that was too long for its line waits.
    Login(sasl::Client, Option<String>),
    /// The reply to RSET is due.
    Reset,
    /// A job is due.
    Ready,
    /// There is no job at the moment, up to this time.
    Idle(Tick),
    /// The content is to be opened.
    Open(Form),
    /// Commands are sent and replies read.
    Envelope,
    /// The content is sent.
    Content,
    /// The reply to a chunk is due before more is sent.
    Chunk,
    /// The replies to the end of the content are due.
    Final,
    /// The job is over.
    Report,
    /// It cannot go on.
    Trouble(Trouble),
    /// The reply to QUIT is due.
    Quit,
    /// An answer is due.
    Asked(Question),
    /// All is said.
    Closing(Why),
}

#[derive(Debug)]
enum Question {
    Next,
    Open,
    Read,
    Report,
    Trouble(Why),
}

/// What a phase wants. [`Step`] without its borrow.
enum Next {
    Again,
    Wait,
    Flush,
    Ask(Ask),
    StartTls(Expect),
    Close(Why),
}

impl Client {
    /// A session over a connection that has just been made.
    pub fn new(settings: Settings, now: Tick) -> Client {
        let phase = match (&settings.socks, settings.security) {
            (Some(_), _) => Phase::Proxy(socks::State::Begin),
            (None, Security::Implicit { .. }) => Phase::Handshake(false),
            (None, _) => Phase::Greeting,
        };
        let patience = if settings.socks.is_some() { PROXY_MS } else { GREETING_MS };
        Client {
            settings,
            phase,
            replies: Replies::default(),
            offer: Offer::default(),
            way: Way::default(),
            plain_hello: false,
            transaction: None,
            count: 0,
            dirty: false,
            leaving: None,
            stopping: false,
            nudged: false,
            deadline: now.after(patience),
            buffer: Vec::new(),
        }
    }

    fn next(&mut self, now: Tick, rx: &mut Inbox, tx: &mut Outbox) -> Next {
        match &mut self.phase {
            Phase::Proxy(_) => self.proxy(now, rx, tx),
            Phase::Handshake(asked) => {
                assert!(!*asked, "stepped before the handshake was told");
                *asked = true;
                Next::StartTls(self.expect())
            }
            Phase::Ready => self.ready(now, tx),
            &mut Phase::Idle(until) => self.idle(now, until, rx, tx),
            Phase::Open(form) => {
                let form = *form;
                self.ask(Question::Open, Ask::Open(form))
            }
            Phase::Envelope => self.envelope(now, rx, tx),
            Phase::Content => self.content(now, rx, tx),
            Phase::Report => self.report(),
            Phase::Trouble(trouble) => {
                let (trouble, why) = (trouble.clone(), self.leaving.unwrap_or(Why::Fault));
                self.ask(Question::Trouble(why), Ask::Trouble(trouble))
            }
            Phase::Asked(_) => panic!("stepped before the answer was told"),
            Phase::Closing(why) => Next::Close(*why),
            _ => self.listen(now, rx, tx),
        }
    }

    /// Reads a reply and does what it means.
    fn listen(&mut self, now: Tick, rx: &mut Inbox, tx: &mut Outbox) -> Next {
        let hello = matches!(self.phase, Phase::Hello) && !self.plain_hello;
        let (offer, way) = (&mut self.offer, &mut self.way);
        let reply = self.replies.next(rx, |line, text| {
            if hello {
                offer::note(line, text, offer, way);
            }
        });
        match reply {
            Ok(None) => Next::Wait,
            Ok(Some(reply)) => self.heard(now, reply, rx, tx),
            Err(garbage) => self.garbage(garbage),
        }
    }

    fn heard(&mut self, now: Tick, reply: Reply, rx: &Inbox, tx: &mut Outbox) -> Next {
        if reply.code == 421 {
            // RFC 5321 §3.8: it hangs up now, whatever was asked.
            self.leaving = Some(Why::Gone);
        }
        self.deadline = now.after(COMMAND_MS);
        match core::mem::replace(&mut self.phase, Phase::Ready) {
            Phase::Greeting => self.greeted(reply, tx),
            Phase::Hello => self.helloed(now, reply, tx),
            Phase::StartTls => self.start_tls_answered(now, reply, rx, tx),
            Phase::Login(exchange, first) => self.login_answered(exchange, first, reply, tx),
            Phase::Reset if reply.is_good() => Next::Again,
            Phase::Reset => self.trouble(Stage::Ready, reply),
            Phase::Chunk => self.chunk_answered(&reply),
            Phase::Final => self.ended(now, &reply),
            Phase::Quit => self.turn(Phase::Closing(Why::Done)),
            phase => unreachable!("nobody waits for a reply in {phase:?}"),
        }
    }

    fn garbage(&mut self, garbage: Garbage) -> Next {
        let text = match garbage {
            Garbage::Syntax => "the server said something that is no reply",
            Garbage::Endless => "the server said too much",
        };
        self.broken((4, 5, 0), text, Why::Abuse)
    }

    /// The line cannot be used any more. Whoever is to be told of it is.
    fn broken(&mut self, status: (u8, u16, u16), text: &str, why: Why) -> Next {
        self.leaving = Some(why);
        let mut reply = Reply::own(450, status, text);
        if let Some(transaction) = &mut self.transaction {
            if matches!(self.phase, Phase::Final) && transaction.is_awaited() {
                // RFC 1047: nobody can know. Trying again may make a second copy, giving up may lose the only one.
                reply = Reply::own(450, status, &format!("{text} before it confirmed the message, which may arrive twice"));
            }
            transaction.settle_rest(&reply, Fate::Deferred, false);
            return self.turn(Phase::Report);
        }
        match self.phase {
            Phase::Quit | Phase::Closing(_) => self.turn(Phase::Closing(Why::Done)),
            // Nothing was lost: the peer was faster than our QUIT.
            Phase::Idle(_) => self.turn(Phase::Closing(why)),
            _ => {
                let at = self.stage();
                self.turn(Phase::Trouble(Trouble { at, reply, without_tls: false }))
            }
        }
    }

    fn stage(&self) -> Stage {
        match self.phase {
            Phase::Proxy(_) => Stage::Proxy,
            Phase::Greeting => Stage::Greeting,
            Phase::Hello => Stage::Hello,
            Phase::StartTls | Phase::Handshake(_) => Stage::Tls,
            Phase::Login(..) => Stage::Login,
            _ => Stage::Ready,
        }
    }

    /// Between two jobs.
    fn ready(&mut self, now: Tick, tx: &mut Outbox) -> Next {
        if let Some(why) = self.leaving {
            return self.turn(Phase::Closing(why));
        }
        if self.stopping || self.offer.mails_max.is_some_and(|max| self.count >= max) {
            return self.quit(now, tx);
        }
        if core::mem::take(&mut self.dirty) {
            tx.put(b"RSET\r\n");
            self.deadline = now.after(COMMAND_MS);
            return self.turn(Phase::Reset);
        }
        self.nudged = false;
        self.ask(Question::Next, Ask::Next(self.offer.clone()))
    }

    fn idle(&mut self, now: Tick, until: Tick, rx: &mut Inbox, tx: &mut Outbox) -> Next {
        if self.stopping || now >= until {
            return self.quit(now, tx);
        }
        if rx.is_empty() {
            return Next::Wait;
        }
        // It speaks unasked: 421, most likely.
        let _ = rx.take(rx.bytes().len());
        self.turn(Phase::Closing(Why::Gone))
    }

    fn quit(&mut self, now: Tick, tx: &mut Outbox) -> Next {
        tx.put(b"QUIT\r\n");
        self.deadline = now.after(QUIT_MS);
        self.turn(Phase::Quit)
    }

    fn report(&mut self) -> Next {
        let transaction = self.transaction.take().expect("only a job is reported on");
        self.dirty = transaction.leaves_traces();
        let report = transaction.into_report();
        self.ask(Question::Report, Ask::Report(report))
    }

    fn trouble(&mut self, at: Stage, reply: Reply) -> Next {
        self.turn(Phase::Trouble(Trouble { at, reply, without_tls: false }))
    }

    fn turn(&mut self, phase: Phase) -> Next {
        self.phase = phase;
        Next::Again
    }

    fn ask(&mut self, question: Question, ask: Ask) -> Next {
        self.phase = Phase::Asked(question);
        Next::Ask(ask)
    }

    fn expect(&self) -> Expect {
        let verified = matches!(self.settings.security, Security::Must { verified: true } | Security::Implicit { verified: true });
        Expect { name: self.settings.name.clone(), verified }
    }

    fn answered(&mut self, now: Tick, answer: Answer, tx: &mut Outbox) {
        let Phase::Asked(question) = core::mem::replace(&mut self.phase, Phase::Ready) else {
            panic!("an answer to no question");
        };
        self.deadline = now.after(COMMAND_MS);
        match (question, answer) {
            // What the nudge was about may have come too late for the answer.
            (Question::Next, Answer::Next(None)) if self.nudged => {}
            (Question::Next, Answer::Next(None)) => {
                self.buffer = Vec::new();
                self.phase = Phase::Idle(now.after(self.settings.idle_ms));
            }
            (Question::Next, Answer::Next(Some(job))) => self.begin(*job),
            (Question::Open, Answer::Open(Ok(size))) => self.opened(size),
            (Question::Open, Answer::Open(Err(fault))) => self.unreadable(fault),
            (Question::Read, Answer::Read(Ok((buffer, n)))) => self.read(now, buffer, n, tx),
            (Question::Read, Answer::Read(Err(fault))) => {
                // What was sent so far must not be taken for a message: only hanging up says that.
                self.unreadable(fault);
                self.leaving = Some(Why::Fault);
            }
            (Question::Report, Answer::Report) => {}
            (Question::Trouble(why), Answer::Trouble) => {
                // RFC 5321 §4.1.1.10: QUIT before hanging up, where the peer still listens.
                if self.leaving.is_none() {
                    tx.put(b"QUIT\r\n");
                }
                self.phase = Phase::Closing(why);
            }
            (question, answer) => panic!("{answer:?} does not answer {question:?}"),
        }
    }

    fn unreadable(&mut self, fault: Fault) {
        let transaction = self.transaction.as_mut().expect("a job is in hand");
        let (reply, fate) = match fault {
            Fault::Never if transaction.form == Form::Header => {
                (Reply::own(550, (5, 6, 7), "the message needs SMTPUTF8, which the server does not offer"), Fate::Failed)
            }
            Fault::Later => (Reply::own(450, (4, 3, 0), "the message cannot be read now"), Fate::Deferred),
            Fault::Never => (Reply::own(554, (5, 6, 3), "the message cannot be converted for this server"), Fate::Failed),
        };
        transaction.settle_rest(&reply, fate, false);
        self.phase = Phase::Report;
    }

    fn late(&mut self) -> Next {
        let text = if matches!(self.phase, Phase::Content) {
            "the server takes the message too slowly"
        } else {
            "the server did not answer in time"
        };
        self.broken((4, 4, 2), text, Why::Timeout)
    }

    fn lost(&mut self) -> Next {
        self.broken((4, 4, 2), "the server hung up", Why::Gone)
    }
}

impl Session for Client {
    type Ask = Ask;
    type Answer = Answer;

    fn step<'a>(&mut self, now: Tick, rx: &'a mut Inbox, tx: &mut Outbox) -> Step<'a, Ask> {
        loop {
            match self.next(now, rx, tx) {
                Next::Again => {}
                Next::Wait if rx.ended() => {
                    let _ = self.lost();
                }
                Next::Wait if self.deadline().is_some_and(|deadline| now >= deadline) => {
                    let _ = self.late();
                }
                Next::Wait => return Step::Read,
                Next::Flush if now >= self.deadline => {
                    let _ = self.late();
                }
                Next::Flush => return Step::Flush,
                Next::Ask(ask) => return Step::Ask(ask),
                Next::StartTls(expect) => return Step::StartTls(Want::Connect(expect)),
                Next::Close(why) => return Step::Close(why),
            }
        }
    }

    fn tell(&mut self, now: Tick, news: News<Answer>, tx: &mut Outbox) {
        match news {
            News::Answer(answer) => self.answered(now, answer, tx),
            News::Secured(outcome) => self.secured(now, outcome, tx),
            News::Nudge(Nudge::Shutdown | Nudge::Leave) => self.stopping = true,
            News::Nudge(Nudge::Hurry) => {}
            News::Nudge(Nudge::Changed) => {
                self.nudged = true;
                if matches!(self.phase, Phase::Idle(_)) {
                    self.phase = Phase::Ready;
                }
            }
        }
    }

    fn deadline(&self) -> Option<Tick> {
        match &self.phase {
            Phase::Asked(_) | Phase::Handshake(true) | Phase::Closing(_) => None,
            Phase::Idle(until) => Some(*until),
            _ => Some(self.deadline),
        }
    }
}
