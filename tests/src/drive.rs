//! A host for one session without sockets: the loop every runtime has, with everything written down and every promise checked.

use crate::model::{Trouble, Troubled};
use std::{collections::BTreeMap, fmt::Debug, mem};
use wire::{Inbox, News, Nudge, Outbox, Question, Session, Sink, Step, Tick, Tls, Why};

/// The longest reply a session may print past the mark in one go: some command lines echo or expand what they got, none without end.
pub const REPLY: usize = 128 << 10;
/// Steps in a row that neither take, print nor ask. A session that needs more is spinning.
const IDLE_STEPS: u32 = 64;
/// Where time begins, so that a session that subtracts from it is found.
const DAWN: Tick = Tick(1000);

/// What happened, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A question, as it prints.
    Asked(String),
    /// Message bytes, however they were cut.
    Body(Vec<u8>),
    /// A handshake was wanted.
    Handshake,
    /// The session closed.
    Closed(Why),
}

/// A session, its office and everything that passed between them.
#[derive(Debug)]
pub struct Host<S, O> {
    session: S,
    /// Who answers.
    pub office: O,
    rx: Inbox,
    tx: Outbox,
    mark: usize,
    now: Tick,
    /// What the session printed and was not yet looked at.
    pub output: Vec<u8>,
    /// What happened and was not yet looked at.
    pub events: Vec<Event>,
    /// Trouble by the number of the question, from 0.
    pub troubles: BTreeMap<usize, Trouble>,
    /// Questions whose bytes are cut short.
    pub shortened: Vec<usize>,
    /// Whether handshakes fail.
    pub bad_handshakes: bool,
    /// Whether nothing is written down and message bytes go nowhere: for more input than fits into memory.
    pub forgetful: bool,
    /// Questions so far.
    pub asked: usize,
    /// Why the session closed, once it did.
    pub closed: Option<Why>,
    handshakes: usize,
}

impl<S, O> Host<S, O>
where
    S: Session,
    S::Ask: Question<O, Answer = S::Answer> + Debug,
    O: Sink + Troubled<S::Ask>,
{
    /// A connection that nobody has said anything on, not even the session. `start` makes the session from the time; `inbox` and
    /// `mark` are what its crate says it wants.
    pub fn new(start: impl FnOnce(Tick) -> S, office: O, inbox: usize, mark: usize) -> Host<S, O> {
        Host {
            session: start(DAWN),
            office,
            rx: Inbox::new(inbox),
            tx: Outbox::new(mark),
            mark,
            now: DAWN,
            output: Vec::new(),
            events: Vec::new(),
            troubles: BTreeMap::new(),
            shortened: Vec::new(),
            bad_handshakes: false,
            forgetful: false,
            asked: 0,
            closed: None,
            handshakes: 0,
        }
    }

    /// Sends bytes in the pieces `cut` makes (it is told what is left and says how much goes now). What follows a handshake in the same
    /// breath is dropped, as a TLS library drops what is no TLS.
    pub fn send(&mut self, mut bytes: &[u8], cut: &mut dyn FnMut(usize) -> usize) {
        let handshakes = self.handshakes;
        while !bytes.is_empty() && self.closed.is_none() && self.handshakes == handshakes {
            let spare = self.rx.spare();
            assert!(!spare.is_empty(), "the session waits for input although the inbox is full");
            let n = cut(bytes.len()).clamp(1, bytes.len()).min(spare.len());
            spare[..n].copy_from_slice(&bytes[..n]);
            self.rx.filled(n);
            bytes = &bytes[n..];
            self.drive();
        }
    }

    /// The peer says no more.
    pub fn end(&mut self) {
        self.rx.end();
        self.drive();
        assert!(self.closed.is_some(), "the peer is gone and the session waits for it");
    }

    /// Taps the session.
    pub fn nudge(&mut self, nudge: Nudge) {
        if self.closed.is_none() {
            self.session.tell(self.now, News::Nudge(nudge), &mut self.tx);
            self.drive();
        }
    }

    /// Lets time pass, stopping at every deadline on the way.
    pub fn pass(&mut self, ms: u64) {
        let then = self.now.after(ms);
        while self.closed.is_none() {
            let deadline = self.session.deadline().expect("a session always has a deadline");
            self.now = self.now.max(deadline.min(then));
            self.drive();
            if self.now == then {
                break;
            }
        }
    }

    /// Milliseconds until the session wants to be stepped.
    pub fn patience(&self) -> u64 {
        self.session.deadline().map_or(u64::MAX, |deadline| deadline.since(self.now))
    }

    /// Steps until the session waits or closes.
    pub fn drive(&mut self) {
        let mut idle = 0;
        let mut waited = false;
        while self.closed.is_none() {
            let before = (self.rx.bytes().len(), self.tx.bytes().len());
            let step = self.session.step(self.now, &mut self.rx, &mut self.tx);
            let mut busy = true;
            match step {
                Step::Read => {
                    assert!(!(waited && self.tx.bytes().len() > before.1), "said Read with something left to say");
                    self.flush();
                    let deadline = self.session.deadline().expect("a session always has a deadline");
                    assert!(deadline > self.now, "a deadline that has passed: the host would spin");
                    if mem::replace(&mut waited, true) {
                        assert!(!self.rx.ended(), "the peer is gone and the session waits for it");
                        return;
                    }
                    continue;
                }
                Step::Flush => {
                    busy = !self.tx.is_empty();
                    self.flush();
                }
                Step::Body(bytes) if self.forgetful => busy = !bytes.is_empty(),
                Step::Body(bytes) => {
                    self.office.body(bytes);
                    busy = !bytes.is_empty();
                    match self.events.last_mut() {
                        Some(Event::Body(held)) => held.extend_from_slice(bytes),
                        _ => self.events.push(Event::Body(bytes.to_vec())),
                    }
                    if self.office.is_full() {
                        self.office.drain();
                    }
                }
                Step::Ask(ask) => {
                    if !self.forgetful {
                        self.events.push(Event::Asked(format!("{ask:?}")));
                    }
                    let mut answer = match self.troubles.get(&self.asked) {
                        Some(trouble) => self.office.fail(ask, *trouble),
                        None => ask.put_to(&mut self.office),
                    };
                    if self.shortened.contains(&self.asked) {
                        self.office.shorten(&mut answer);
                    }
                    self.asked += 1;
                    self.session.tell(self.now, News::Answer(answer), &mut self.tx);
                }
                Step::StartTls(_) => {
                    assert!(self.rx.is_empty(), "what came in clear text is still there at the handshake");
                    self.flush();
                    self.handshakes += 1;
                    self.events.push(Event::Handshake);
                    let tls =
                        Tls { version: "TLSv1.3".into(), cipher: "TLS13_AES_256_GCM_SHA384".into(), server_name: None, certificate: None };
                    let secured = if self.bad_handshakes { Err("no common cipher".into()) } else { Ok(tls) };
                    self.session.tell(self.now, News::Secured(secured), &mut self.tx);
                }
                Step::Close(why) => {
                    self.flush();
                    self.closed = Some(why);
                    self.events.push(Event::Closed(why));
                }
            }
            assert!(!waited || self.closed.is_some(), "said Read with something left to do");
            assert!(self.tx.bytes().len() <= self.mark + REPLY, "the outbox grew past its mark: {} bytes", self.tx.bytes().len());
            busy |= before != (self.rx.bytes().len(), self.tx.bytes().len());
            idle = if busy { 0 } else { idle + 1 };
            assert!(idle < IDLE_STEPS, "the session spins");
        }
    }

    fn flush(&mut self) {
        let n = self.tx.bytes().len();
        if !self.forgetful {
            self.output.extend_from_slice(self.tx.bytes());
        }
        self.tx.sent(n);
    }
}
