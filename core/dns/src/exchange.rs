//! One question to one server, as a session over one connection.

use crate::{
    codec::{Answer, Heard, Question},
    fact::Query,
    limits::LIES_MAX,
};
use core::net::SocketAddr;
use wire::{Inbox, News, Nudge, Outbox, Session, Step, Tick, Why};

/// What carries an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// A socket of its own, connected to the server, so that the port is random and nobody else is heard. What the outbox holds is one
    /// datagram; one received datagram goes into the inbox before the next step.
    Udp,
    /// A connection.
    Tcp,
}

/// An exchange asks nothing of its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {}

impl<H: ?Sized> wire::Question<H> for Ask {
    type Answer = Ask;

    fn put_to(self, _: &mut H) -> Ask {
        match self {}
    }

    fn waits(&self) -> bool {
        match *self {}
    }
}

/// One question to one server. Drive it as any session, then give it back to [`crate::Resolver::done`], whatever happened.
#[derive(Debug)]
pub struct Exchange {
    /// Which attempt of the resolver this is.
    pub(crate) flight: u64,
    query: Query,
    question: Question,
    server: SocketAddr,
    transport: Transport,
    timeout_ms: u64,
    until: Option<Tick>,
    lies: u8,
    pub(crate) outcome: Outcome,
}

/// How it ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Nobody answered.
    Silence,
    /// Somebody lies, or the server does not keep the case of letters: only TCP can tell.
    Doubt,
    /// There is more over TCP.
    Truncated,
    /// It might do without EDNS0.
    NotUnderstood,
    /// The server cannot help.
    Refused,
    /// This.
    Answer(Answer),
}

impl Exchange {
    pub(crate) fn new(
        flight: u64,
        query: Query,
        question: Question,
        server: SocketAddr,
        transport: Transport,
        timeout_ms: u64,
    ) -> Exchange {
        Exchange { flight, query, question, server, transport, timeout_ms, until: None, lies: 0, outcome: Outcome::Silence }
    }

    /// Whom to connect to.
    pub fn server(&self) -> SocketAddr {
        self.server
    }

    /// How.
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// The id of its message, for logs.
    pub fn id(&self) -> u16 {
        self.question.id
    }

    /// What it is about, for logs.
    pub fn query(&self) -> &Query {
        &self.query
    }

    /// How long it waits, and how long a connection may take to be made.
    pub fn timeout_ms(&self) -> u64 {
        self.timeout_ms
    }

    /// Whether EDNS0 was spoken.
    pub(crate) fn edns(&self) -> bool {
        self.question.edns
    }

    /// Takes one message. Whether it settles the matter.
    fn hear(&mut self, bytes: &[u8]) -> bool {
        let udp = self.transport == Transport::Udp;
        self.outcome = match self.question.hear(bytes, udp) {
            Heard::Foreign if udp && self.lies < LIES_MAX => {
                self.lies += 1;
                return false;
            }
            Heard::Foreign | Heard::OtherCase => Outcome::Doubt,
            Heard::Truncated => Outcome::Truncated,
            Heard::NotUnderstood => Outcome::NotUnderstood,
            Heard::Refused => Outcome::Refused,
            Heard::Answer(answer) => Outcome::Answer(answer),
        };
        true
    }
}

impl Session for Exchange {
    type Ask = Ask;
    type Answer = Ask;

    fn step<'a>(&mut self, now: Tick, rx: &'a mut Inbox, tx: &mut Outbox) -> Step<'a, Ask> {
        let Some(until) = self.until else {
            self.until = Some(now.after(self.timeout_ms));
            let bytes = self.question.bytes();
            if self.transport == Transport::Tcp {
                // RFC 1035 §4.2.2. A question is far below 64 KiB.
                tx.put(&(bytes.len() as u16).to_be_bytes());
            }
            tx.put(&bytes);
            return Step::Read;
        };
        let waiting = rx.bytes().len();
        match self.transport {
            Transport::Udp if waiting > 0 => {
                let heard = self.hear(rx.bytes());
                rx.take(waiting);
                if heard {
                    return Step::Close(Why::Done);
                }
            }
            Transport::Tcp if waiting >= 2 => {
                let size = 2 + usize::from(u16::from_be_bytes([rx.bytes()[0], rx.bytes()[1]]));
                if waiting >= size {
                    let message = &rx.take(size)[2..];
                    self.hear(message);
                    return Step::Close(Why::Done);
                }
            }
            _ => {}
        }
        if rx.ended() {
            Step::Close(Why::Gone)
        } else if now >= until {
            Step::Close(Why::Timeout)
        } else {
            Step::Read
        }
    }

    fn tell(&mut self, now: Tick, news: News<Ask>, _: &mut Outbox) {
        match news {
            News::Nudge(Nudge::Shutdown | Nudge::Leave) => self.until = Some(now),
            News::Nudge(Nudge::Changed | Nudge::Hurry) => {}
            News::Answer(answer) => match answer {},
            News::Secured(_) => panic!("no handshake was asked for"),
        }
    }

    fn deadline(&self) -> Option<Tick> {
        self.until
    }
}
