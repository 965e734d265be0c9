//! The server side of a session.
//!
//! A command is framed, parsed where it lies in the inbox, and begun: it ends at once, or becomes a [`Job`] that asks and prints until it is done.
//! Then the client is told what changed in the selected mailbox, and how the command ended.

mod append;
mod begin;
mod condition;
mod copy;
mod desk;
mod fetch;
mod hello;
mod idle;
mod list;
mod login;
mod mailbox;
mod probe;
mod search;
mod select;
mod store;
mod swallow;

mod text;

use crate::{
    frame::{Framer, Literal, Scan},
    limits,
    office::{Answer, Ask},
    reply::{Reply, Status},
    syntax::{self, Bad},
};
use alloc::{boxed::Box, sync::Arc};
use append::Receipt;
use desk::{Desk, Job, News, Next};
use idle::Idle;
use login::Dialogue;
use swallow::Swallow;
use wire::{Inbox, Nudge, Outbox, Session, Step, Tick, Want, Why};

/// What a listener decides for its sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Said in the greeting.
    pub hostname: Arc<str>,
    /// Whether the connection is or can be encrypted.
    pub tls: Tls,
    /// Whether passwords are taken in clear text, too. For tests, and where something else protects the connection.
    pub plaintext_logins: bool,
    /// Between levels of mailbox names: `/` or `.`.
    pub separator: char,
    /// Whether every mailbox is shown below INBOX, as Courier does.
    pub inbox_prefix: bool,
    /// The largest message that is taken, in octets.
    pub append_max: u64,
}

/// Encryption of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tls {
    /// Not to be had.
    Never,
    /// STARTTLS is offered.
    Start,
    /// It is on.
    Already(wire::Tls),
}

/// A session of a client with an IMAP server.
pub struct Server {
    desk: Desk,
    mode: Mode,
    framer: Framer,
    /// The answer that came, until it is used.
    answer: Option<Answer>,
    /// Whether a question is open.
    asked: bool,
    /// When the connection began or, after a login, the last command ended.
    since: Tick,
    /// When the first part of a command was seen.
    begun: Option<Tick>,
    /// `BAD` replies since the last command that was understood.
    bads: u32,
    shutdown: bool,
    changed: bool,
    /// Places are short: until when a client may log in.
    hurried: Option<Tick>,
    /// The client is sent away.
    dismissed: bool,
}

/// What a session is at.
enum Mode {
    Greet,
    /// Waiting for a command.
    Listen,
    /// A command is refused, but must be read to its end.
    Swallow(Box<Swallow>),
    Work {
        tag: Box<[u8]>,
        job: Box<dyn Job>,
    },
    /// The command is done; the selected mailbox is asked for changes.
    Sync {
        tag: Box<[u8]>,
        reply: Reply,
        expunges: bool,
    },
    Dialogue(Box<Dialogue>),
    Receipt(Box<Receipt>),
    Idle(Box<Idle>),
    StartTls,
    /// Waiting for the handshake.
    Handshake,
    End(Why),
}

/// What a mode does to the session.
enum Turn {
    /// On with whatever the mode is now.
    Go,
    Read,
    Ask(Ask),
    Body(usize),
}

impl Server {
    /// A session that begins with the greeting.
    ///
    /// # Panics
    /// If the separator is neither `/` nor `.`.
    pub fn new(settings: Settings, now: Tick) -> Server {
        assert!(matches!(settings.separator, '/' | '.'), "the separator is / or .");
        Server {
            desk: Desk { settings, logged_in: false, view: None, failures: 0 },
            mode: Mode::Greet,
            framer: Framer::default(),
            answer: None,
            asked: false,
            since: now,
            begun: None,
            bads: 0,
            shutdown: false,
            changed: false,
            hurried: None,
            dismissed: false,
        }
    }

    /// Looks for a command and begins it.
    fn listen(&mut self, now: Tick, rx: &mut Inbox, tx: &mut Outbox) -> Turn {
        if self.shutdown {
            return self.bye(tx, "The server stops.", Why::Shutdown);
        }
        let limit = if self.desk.logged_in { limits::INBOX_LIMIT } else { limits::FRAME_BEFORE_LOGIN };
        match self.framer.find(rx, limit.min(rx.limit())) {
            Scan::Command(n) => {
                self.begun = None;
                self.begin(now, &rx.bytes()[..n], tx);
                rx.take(n);
                // The bytes behind STARTTLS came in clear text: nobody knows who sent them (RFC 3501 §6.2.1, CVE-2011-0411).
                if matches!(self.mode, Mode::StartTls) {
                    rx.clear();
                }
                Turn::Go
            }
            Scan::Literal { upto, literal } => self.literal(now, rx, upto, literal, limit, tx),
            Scan::Long(before) => {
                let tag = syntax::tag_of(rx.bytes()).unwrap_or(b"*").into();
                // What came in literals goes first: read as lines it would be commands, whoever wrote it.
                rx.take(before);
                self.mode = Mode::Swallow(Box::new(Swallow::line(tag, TOO_LONG)));
                Turn::Go
            }
            Scan::Short => {
                if self.framer.has_begun() {
                    self.begun.get_or_insert(now);
                }
                self.wait(now, rx, tx)
            }
        }
    }

    /// Decides what becomes of a literal.
    fn literal(&mut self, now: Tick, rx: &mut Inbox, upto: usize, literal: Literal, limit: usize, tx: &mut Outbox) -> Turn {
        let so_far = &rx.bytes()[..upto];
        let tag = syntax::tag_of(so_far);
        let refusal = match tag {
            None => NO_TAG,
            Some(_) if self.desk.logged_in && syntax::append_of(so_far).is_some() => {
                self.begun = None;
                self.receive(now, so_far, literal, tx);
                self.framer.reset();
                rx.take(upto);
                return Turn::Go;
            }
            Some(_) if self.desk.logged_in && syntax::is_bad_append(so_far) => Bad::Syntax.into(),
            Some(_) if self.framer.hold(upto, literal, limit) => {
                if literal.waits {
                    tx.put(b"+ OK\r\n");
                }
                return Turn::Go;
            }
            // RFC 7888 §4
            Some(_) => TOO_LONG,
        };
        let tag: Box<[u8]> = tag.unwrap_or(b"*").into();
        self.framer.reset();
        rx.take(upto);
        if literal.waits {
            // Without a `+` the client does not send it, and the command is over.
            self.finish(now, tag, refusal, News::All, tx);
        } else {
            self.mode = Mode::Swallow(Box::new(Swallow::literal(tag, refusal, literal.size)));
        }
        Turn::Go
    }

    /// Nothing to do until something arrives, unless the peer or the time is gone.
    fn wait(&mut self, now: Tick, rx: &Inbox, tx: &mut Outbox) -> Turn {
        if rx.ended() {
            self.mode = Mode::End(Why::Gone);
            return Turn::Go;
        }
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            return self.bye(tx, "You were silent for too long.", Why::Timeout);
        }
        Turn::Read
    }

    /// Ends because the client is sent away. It is told so unless it is in the middle of an answer. What was done is told first, or it would be done
    /// again.
    fn dismiss(&mut self, tx: &mut Outbox) {
        match self.mode {
            _ if self.answer.is_some() => {}
            Mode::StartTls | Mode::Handshake | Mode::Sync { .. } | Mode::End(_) => {}
            Mode::Work { .. } => self.mode = Mode::End(Why::Dismissed),
            _ => _ = self.bye(tx, "This connection cannot be kept.", Why::Dismissed),
        }
    }

    fn bye(&mut self, tx: &mut Outbox, text: &str, why: Why) -> Turn {
        tx.put(b"* BYE ");
        tx.put(text.as_bytes());
        tx.put(b"\r\n");
        self.mode = Mode::End(why);
        Turn::Go
    }

    /// Ends a command: tells what changed, then how it ended.
    fn finish(&mut self, now: Tick, tag: Box<[u8]>, reply: Reply, news: News, tx: &mut Outbox) {
        if self.desk.view.is_some() && news != News::Told {
            self.mode = Mode::Sync { tag, reply, expunges: news == News::All };
        } else {
            self.conclude(now, &tag, &reply, tx);
        }
    }

    fn conclude(&mut self, now: Tick, tag: &[u8], reply: &Reply, tx: &mut Outbox) {
        reply.print(tag, tx);
        self.begun = None;
        if self.desk.logged_in {
            self.since = now;
        }
        self.mode = Mode::Listen;
        if reply.status == Status::Bad {
            self.bads += 1;
        } else if self.desk.logged_in {
            self.bads = 0;
        }
        if self.bads >= if self.desk.logged_in { limits::BADS } else { limits::BADS_BEFORE_LOGIN } {
            self.bye(tx, "Too many bad commands.", Why::Abuse);
        } else if self.desk.is_guessed() {
            self.bye(tx, "Too many failed logins.", Why::Abuse);
        }
    }

    /// Does what the mode is about, until it needs something.
    fn turn(&mut self, now: Tick, rx: &mut Inbox, tx: &mut Outbox) -> Turn {
        match &mut self.mode {
            Mode::Greet => self.greet(now, tx),
            Mode::Listen => self.listen(now, rx, tx),
            Mode::Swallow(_) => self.swallow(now, rx, tx),
            Mode::Work { tag, job } => match job.step(&mut self.desk, self.answer.take(), tx) {
                Next::Ask(ask) => Turn::Ask(ask),
                Next::Flush => Turn::Go,
                Next::Done(reply, news) => {
                    let tag = core::mem::take(tag);
                    self.finish(now, tag, reply, news, tx);
                    Turn::Go
                }
                Next::Close(why) => {
                    self.mode = Mode::End(why);
                    Turn::Go
                }
            },
            Mode::Sync { .. } => self.sync(now, tx),
            Mode::Dialogue(_) => self.converse(now, rx, tx),
            Mode::Receipt(_) => self.receipt(now, rx, tx),
            Mode::Idle(_) => self.idle(now, rx, tx),
            Mode::StartTls | Mode::Handshake | Mode::End(_) => unreachable!("step knows them"),
        }
    }

    fn sync(&mut self, now: Tick, tx: &mut Outbox) -> Turn {
        let Some(answer) = self.answer.take() else { return Turn::Ask(Ask::Sync) };
        let Mode::Sync { tag, reply, expunges } = core::mem::replace(&mut self.mode, Mode::Listen) else { unreachable!("it was seen") };
        let changes = desk::answer!(Some(answer), Sync);
        if self.take_in(changes, expunges, tx) {
            self.conclude(now, &tag, &reply, tx);
        }
        Turn::Go
    }

    /// Tells the client of changes; false if the mailbox is lost and the session with it.
    fn take_in(&mut self, changes: Result<crate::office::Changes, crate::office::Refusal>, expunges: bool, tx: &mut Outbox) -> bool {
        match (changes, &mut self.desk.view) {
            (Ok(changes), _) if changes.lost => {
                self.bye(tx, "The mailbox is gone.", Why::Fault);
                false
            }
            (Ok(changes), Some(view)) => {
                view.update(changes, expunges, tx);
                true
            }
            // What could not be found out now is found out after the next command.
            _ => true,
        }
    }
}

const NO_TAG: Reply = Reply::bad("A command begins with a tag.");
const TOO_LONG: Reply = Reply { status: Status::Bad, code: Some(crate::reply::Code::Word("TOOBIG")), text: "The command is too long." };

impl From<Bad> for Reply {
    fn from(bad: Bad) -> Reply {
        match bad {
            Bad::Tag => NO_TAG,
            Bad::Unknown => Reply::bad("There is no such command."),
            Bad::Syntax => Reply::bad("The arguments are wrong."),
            Bad::Limit => Reply::bad("That is too much at once.").with(crate::reply::Code::Word("LIMIT")),
        }
    }
}

impl Session for Server {
    type Ask = Ask;
    type Answer = Answer;

    fn step<'a>(&mut self, now: Tick, rx: &'a mut Inbox, tx: &mut Outbox) -> Step<'a, Ask> {
        assert!(!self.asked || self.answer.is_some(), "a question is open");
        self.asked = false;
        loop {
            if self.dismissed {
                self.dismiss(tx);
            }
            match self.mode {
                Mode::End(why) => return Step::Close(why),
                Mode::StartTls => {
                    self.mode = Mode::Handshake;
                    return Step::StartTls(Want::Accept);
                }
                Mode::Handshake => return Step::Read,
                _ if tx.is_full() => return Step::Flush,
                _ => {}
            }
            match self.turn(now, rx, tx) {
                Turn::Go => {}
                Turn::Read => return Step::Read,
                // The answer before was the last one that is waited for.
                Turn::Ask(_) if self.dismissed && matches!(self.mode, Mode::Work { .. }) => {}
                Turn::Ask(ask) => {
                    self.asked = true;
                    return Step::Ask(ask);
                }
                Turn::Body(n) => return Step::Body(rx.take(n)),
            }
        }
    }

    fn tell(&mut self, now: Tick, news: wire::News<Answer>, _: &mut Outbox) {
        match news {
            wire::News::Answer(answer) => {
                assert!(self.asked && self.answer.is_none(), "nothing was asked");
                self.answer = Some(answer);
            }
            wire::News::Secured(secured) => {
                assert!(matches!(self.mode, Mode::Handshake), "no handshake was asked for");
                self.since = now;
                self.hurried = self.hurried.map(|_| now.after(limits::HURRIED_MS));
                self.mode = match secured {
                    Ok(tls) => {
                        self.desk.settings.tls = Tls::Already(tls);
                        Mode::Listen
                    }
                    Err(_) => Mode::End(Why::Tls),
                };
            }
            wire::News::Nudge(Nudge::Changed) => self.changed = true,
            wire::News::Nudge(Nudge::Hurry) => self.hurried = Some(now.after(limits::HURRIED_MS)),
            wire::News::Nudge(Nudge::Leave) => self.dismissed = true,
            wire::News::Nudge(Nudge::Shutdown) => self.shutdown = true,
        }
    }

    fn deadline(&self) -> Option<Tick> {
        if self.asked {
            return None;
        }
        let login = || self.since.after(limits::LOGIN_MS).min(self.hurried.unwrap_or(Tick(u64::MAX)));
        match &self.mode {
            Mode::Listen | Mode::Swallow(_) if !self.desk.logged_in => Some(login()),
            Mode::Listen => Some(match self.begun {
                Some(begun) => begun.after(limits::COMMAND_MS),
                None => self.since.after(limits::AUTOLOGOUT_MS),
            }),
            Mode::Swallow(swallow) => swallow.deadline(),
            Mode::Dialogue(_) => Some(login()),
            Mode::Receipt(receipt) => receipt.deadline(),
            Mode::Idle(idle) => Some(idle.deadline()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use sasl::Login;

    /// Says `pieces` to a fresh session of somebody who may log in, and gives what it prints and how it ends.
    fn say(pieces: impl Iterator<Item = &'static [u8]>) -> (String, Option<Why>) {
        let settings = Settings {
            hostname: "mx.example.test".into(),
            tls: Tls::Never,
            plaintext_logins: true,
            separator: '/',
            inbox_prefix: false,
            append_max: 1000,
        };
        let mut server = Server::new(settings, Tick(0));
        let (mut rx, mut tx) = (Inbox::new(limits::INBOX_LIMIT), Outbox::new(limits::OUTBOX_MARK));
        let mut output = String::new();
        for piece in pieces {
            let mut rest = piece;
            while !rest.is_empty() {
                let room = rx.spare();
                let n = room.len().min(rest.len());
                room[..n].copy_from_slice(&rest[..n]);
                rx.filled(n);
                rest = &rest[n..];
                loop {
                    match server.step(Tick(0), &mut rx, &mut tx) {
                        Step::Read => break,
                        Step::Ask(Ask::Login(_)) => {
                            let login = Login { account: "alice@example.test".into() };
                            server.tell(Tick(0), wire::News::Answer(Answer::Login(Ok(login))), &mut tx);
                        }
                        Step::Close(why) => {
                            output.push_str(core::str::from_utf8(tx.bytes()).unwrap());
                            return (output, Some(why));
                        }
                        other => panic!("{other:?}"),
                    }
                }
                assert!(!rx.is_full(), "it waits for more with a full inbox");
            }
            output.push_str(core::str::from_utf8(tx.bytes()).unwrap());
            let n = tx.bytes().len();
            tx.sent(n);
        }
        (output, None)
    }

    const LOGIN: &[u8] = b"a LOGIN alice x\r\n";
    const KIB: &[u8] = &[b'x'; 1024];

    fn many(n: usize) -> impl Iterator<Item = &'static [u8]> {
        core::iter::repeat_n(KIB, n)
    }

    #[test]
    fn a_long_line_is_dropped_and_forgiven() {
        let before = [LOGIN, b"b SEARCH TEXT "].into_iter();
        let (output, end) = say(before.chain(many(100)).chain([&b"\r\nc NOOP\r\n"[..]]));
        assert_eq!(end, None);
        assert!(output.ends_with("b BAD [TOOBIG] The command is too long.\r\nc OK Done.\r\n"), "{output}");
    }

    #[test]
    fn a_literal_before_a_long_line_is_no_command() {
        let mut literal = b"evil CREATE x\r\n".to_vec();
        literal.resize(60_000, b'x');
        let before = [LOGIN, b"b SEARCH TEXT {60000}\r\n", literal.leak(), b" TEXT "].into_iter();
        let (output, end) = say(before.chain(many(100)).chain([&b"\r\nc NOOP\r\n"[..]]));
        assert_eq!(end, None);
        assert!(output.ends_with("+ OK\r\nb BAD [TOOBIG] The command is too long.\r\nc OK Done.\r\n"), "{output}");
    }

    #[test]
    fn a_line_without_end_is_not() {
        let (output, end) = say([LOGIN, b"b SEARCH TEXT "].into_iter().chain(many(2000)));
        assert_eq!(end, Some(Why::Abuse));
        assert!(output.ends_with("* BYE That is too much.\r\n"), "{output}");
        let (_, end) = say(many(2000));
        assert_eq!(end, Some(Why::Abuse));
    }

    #[test]
    fn a_literal_that_nobody_asked_for_is_dropped_up_to_a_limit() {
        let small = [LOGIN, b"b SELECT {102400+}\r\n"].into_iter();
        let (output, end) = say(small.chain(many(100)).chain([&b" {3+}\r\nabc\r\nc NOOP\r\n"[..]]));
        assert_eq!(end, None);
        assert!(output.ends_with("b BAD [TOOBIG] The command is too long.\r\nc OK Done.\r\n"), "{output}");
        let (_, end) = say([LOGIN, b"b SELECT {9000000000000000000+}\r\n"].into_iter().chain(many(2000)));
        assert_eq!(end, Some(Why::Abuse));
    }

    #[test]
    fn the_message_of_a_refused_append_is_dropped_whatever_its_length() {
        let append = [LOGIN, b"b APPEND INBOX {3072000+}\r\n"].into_iter();
        let (output, end) = say(append.chain(many(3000)).chain([&b"\r\nc NOOP\r\n"[..]]));
        assert_eq!(end, None);
        assert!(output.ends_with("b NO [TOOBIG] The message is too large.\r\nc OK Done.\r\n"), "{output}");
    }

    #[test]
    fn an_idle_session_is_small() {
        assert!(size_of::<Server>() <= 512, "{}", size_of::<Server>());
    }
}
