//! One of our sessions on the network of a world: the loop every runtime has, under virtual time.

use super::net::{Actor, End, Got, Net};
use crate::drive::REPLY;
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};
use wire::{Inbox, News, Nudge, Outbox, Question, Ring, Session, Sink, Step, Tick, Tls, Want, Why};

/// Steps in a row that neither take, print nor ask. A session that needs more is spinning.
const IDLE_STEPS: u32 = 64;

/// Bells that were rung and not yet heard, in order, with whom they are to wake.
#[derive(Debug, Clone, Default)]
pub struct Bells(Arc<Mutex<Vec<Rung>>>);

/// Whom a bell wakes, nobody for the house itself, and what they are told.
type Rung = (Option<Actor>, Nudge);

/// A bell of somebody; of the house itself if of nobody.
pub struct Bell {
    bells: Bells,
    who: Option<Actor>,
}

impl Bells {
    /// A bell that wakes somebody, or the house.
    pub fn of(&self, who: Option<Actor>) -> Arc<dyn Ring> {
        Arc::new(Bell { bells: self.clone(), who })
    }

    /// What was rung since the last time.
    pub fn heard(&self) -> Vec<Rung> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Ring for Bell {
    fn ring(&self, nudge: Nudge) {
        let mut rung = self.bells.0.lock().unwrap_or_else(PoisonError::into_inner);
        if rung.last() != Some(&(self.who, nudge)) {
            rung.push((self.who, nudge));
        }
    }
}

/// What bytes travel on.
#[derive(Debug, Clone, Copy)]
pub enum Socket {
    /// Nothing yet.
    Dialling,
    /// A stream.
    Stream(End),
    /// Datagrams with one peer.
    Datagrams {
        /// Our address.
        from: SocketAddr,
        /// The peer's.
        to: SocketAddr,
    },
}

/// Who listens to what a session asks.
pub trait Watch<S: Session> {
    /// Before a question is answered.
    fn asked(&mut self, now: u64, ask: &S::Ask);
    /// Its answer.
    fn answered(&mut self, now: u64, answer: &S::Answer);
    /// Message bytes.
    fn body(&mut self, bytes: &[u8]);
}

/// Nobody listens.
impl<S: Session> Watch<S> for () {
    fn asked(&mut self, _: u64, _: &S::Ask) {}
    fn answered(&mut self, _: u64, _: &S::Answer) {}
    fn body(&mut self, _: &[u8]) {}
}

/// A session, its office, and the line between it and its peer.
pub struct Talk<S, O> {
    session: S,
    /// Who answers.
    pub office: O,
    rx: Inbox,
    tx: Outbox,
    mark: usize,
    /// What it speaks on.
    pub socket: Socket,
    /// Datagrams that arrived.
    pub datagrams: Vec<Vec<u8>>,
    /// Taps that it has not felt.
    pub nudges: Vec<Nudge>,
}

/// How far a session came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Came {
    /// It waits, at most until then.
    Waits(Option<Tick>),
    /// It hung up.
    Ended(Why),
    /// The power is off.
    Dark,
}

impl<S, O> Talk<S, O>
where
    S: Session,
    S::Ask: Question<O, Answer = S::Answer>,
    O: Sink,
{
    /// A session that nobody has stepped. `inbox` and `mark` are what its crate says it wants.
    pub fn new(session: S, office: O, socket: Socket, inbox: usize, mark: usize) -> Talk<S, O> {
        let (rx, tx) = (Inbox::new(inbox), Outbox::new(mark));
        Talk { session, office, rx, tx, mark, socket, datagrams: Vec::new(), nudges: Vec::new() }
    }

    /// Steps until it waits or ends. `lit` says whether the machine still has power; what it would say afterwards nobody hears.
    pub fn run(&mut self, net: &mut Net, lit: &dyn Fn() -> bool, watch: &mut impl Watch<S>) -> Came {
        let now = Tick(net.now);
        let mut idle = 0;
        let mut waited = false;
        for nudge in std::mem::take(&mut self.nudges) {
            self.session.tell(now, News::Nudge(nudge), &mut self.tx);
        }
        loop {
            let before = (self.rx.bytes().len(), self.tx.bytes().len());
            let mut busy = true;
            let step = self.session.step(now, &mut self.rx, &mut self.tx);
            match step {
                Step::Read => {
                    if let Some(end) = self.flush(net, lit) {
                        return end;
                    }
                    match self.fill(net) {
                        Got::Bytes(_) => {
                            waited = false;
                            idle = 0;
                            continue;
                        }
                        // A session hears of neither more than that nothing comes any more.
                        Got::End | Got::Reset if !self.rx.ended() => {
                            self.rx.end();
                            waited = false;
                            continue;
                        }
                        Got::End | Got::Reset | Got::Nothing => {
                            assert!(!self.rx.ended(), "the peer is gone and the session waits for it");
                            let deadline = self.session.deadline();
                            if deadline.is_none_or(|d| d > now) {
                                return Came::Waits(deadline);
                            }
                            assert!(!waited, "a deadline that has passed: the host would spin");
                            waited = true;
                        }
                    }
                }
                Step::Flush => {
                    busy = !self.tx.is_empty();
                    if let Some(end) = self.flush(net, lit) {
                        return end;
                    }
                }
                Step::Body(bytes) => {
                    busy = !bytes.is_empty();
                    self.office.body(bytes);
                    watch.body(bytes);
                    if self.office.is_full() {
                        self.office.drain();
                    }
                }
                Step::Ask(ask) => {
                    watch.asked(now.0, &ask);
                    let answer = ask.put_to(&mut self.office);
                    watch.answered(now.0, &answer);
                    self.session.tell(now, News::Answer(answer), &mut self.tx);
                }
                Step::StartTls(want) => {
                    assert!(self.rx.is_empty(), "what came in clear text is still there at the handshake");
                    if let Some(end) = self.flush(net, lit) {
                        return end;
                    }
                    let server_name = match want {
                        Want::Accept => None,
                        Want::Connect(expect) => Some(expect.name.into_string()),
                    };
                    let fails = server_name.is_some() && net.happens(net.weather.shake);
                    // The handshake is pretended: both ends of a line take part in it, and its bytes are nobody's subject here.
                    let tls = Tls { version: "TLSv1.3".into(), cipher: "TLS13_AES_256_GCM_SHA384".into(), server_name, certificate: None };
                    let outcome = if fails { Err("the world would not have it".into()) } else { Ok(tls) };
                    self.session.tell(now, News::Secured(outcome), &mut self.tx);
                }
                Step::Close(why) => {
                    return self.flush(net, lit).unwrap_or(Came::Ended(why));
                }
            }
            if !lit() {
                return Came::Dark;
            }
            assert!(self.tx.bytes().len() <= self.mark + REPLY, "the outbox grew past its mark: {} bytes", self.tx.bytes().len());
            busy |= before != (self.rx.bytes().len(), self.tx.bytes().len());
            idle = if busy { 0 } else { idle + 1 };
            assert!(idle < IDLE_STEPS, "the session spins");
        }
    }

    /// The session and its office, when all is over.
    pub fn part(self) -> (S, O) {
        (self.session, self.office)
    }

    /// Hangs up.
    pub fn close(&self, net: &mut Net) {
        if let Socket::Stream(end) = self.socket {
            net.close(end);
        }
    }

    /// Sends what waits; what ends the session if that cannot be done.
    fn flush(&mut self, net: &mut Net, lit: &dyn Fn() -> bool) -> Option<Came> {
        if !lit() {
            return Some(Came::Dark);
        }
        let n = self.tx.bytes().len();
        if n > 0 {
            match self.socket {
                Socket::Stream(end) => {
                    if !net.send(end, self.tx.bytes()) {
                        return Some(Came::Ended(Why::Gone));
                    }
                }
                Socket::Datagrams { from, to } => net.datagram(from, to, self.tx.bytes()),
                Socket::Dialling => unreachable!("nobody is there to hear it"),
            }
            self.tx.sent(n);
        }
        None
    }

    /// Moves what arrived into the inbox.
    fn fill(&mut self, net: &mut Net) -> Got {
        match self.socket {
            Socket::Stream(end) => {
                let room = self.rx.spare();
                let full = room.is_empty();
                let got = net.receive(end, room);
                if let Got::Bytes(n) = got {
                    self.rx.filled(n);
                }
                assert!(!(full && got == Got::Nothing && self.rx.is_full()), "waits for input although the inbox is full");
                got
            }
            Socket::Dialling => Got::Nothing,
            Socket::Datagrams { .. } if self.datagrams.is_empty() => Got::Nothing,
            Socket::Datagrams { .. } => {
                let datagram = self.datagrams.remove(0);
                // The inbox takes one datagram at a time; what does not fit is cut, as recv(2) does.
                let room = self.rx.spare();
                let n = room.len().min(datagram.len());
                room[..n].copy_from_slice(&datagram[..n]);
                self.rx.filled(n);
                Got::Bytes(n)
            }
        }
    }
}
