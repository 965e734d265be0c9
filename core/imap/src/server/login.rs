//! LOGIN and AUTHENTICATE (RFC 3501 §6.2, 4959).

use super::{
    Mode, Server, Turn,
    begin::Begun,
    desk::{Desk, Job, News, Next, answer},
    swallow::Swallow,
};
use crate::{
    frame::strip_line_end,
    office::{Answer, Ask},
    reply::Reply,
};
use alloc::{borrow::ToOwned, boxed::Box};
use sasl::{Exchange, LINE_MAX, Mechanism, Proof, SaslError, SaslStep, Secret};
use wire::{Inbox, Lines, Outbox, Scan, Tick};

/// Asks whether a proof is good.
pub(super) struct Login {
    proof: Option<Proof>,
}

/// AUTHENTICATE while it goes on.
pub(super) struct Dialogue {
    tag: Box<[u8]>,
    exchange: Exchange,
    lines: Lines,
}

const IN_CLEAR_TEXT: Reply = Reply::no("PRIVACYREQUIRED", "Begin TLS first.");
const CANCELLED: Reply = Reply::bad("Cancelled.");
const MALFORMED: Reply = Reply::bad("That is no such response.");

impl Login {
    pub fn new(desk: &Desk, user: &[u8], password: &[u8]) -> Result<Login, Reply> {
        if !desk.takes_passwords() {
            return Err(IN_CLEAR_TEXT);
        }
        // Names and passwords are UTF-8; what is not cannot be anybody's, and is told so without asking.
        let text = |bytes| core::str::from_utf8(bytes).map(ToOwned::to_owned).map_err(|_| Reply::from(sasl::Denied::Wrong));
        let proof = Proof::Password { act_as: "".into(), user: text(user)?, password: Secret::new(text(password)?) };
        Ok(Login { proof: Some(proof) })
    }
}

impl Job for Login {
    fn step(&mut self, desk: &mut Desk, answer: Option<Answer>, _: &mut Outbox) -> Next {
        if let Some(proof) = self.proof.take() {
            return Next::Ask(Ask::Login(proof));
        }
        match answer!(answer, Login) {
            Ok(_) => {
                desk.logged_in = true;
                Next::Done(Reply::ok("Welcome.").with(desk.capability_code()), News::Told)
            }
            Err(denied) => {
                desk.failures += 1;
                Next::Done(denied.into(), News::Told)
            }
        }
    }
}

/// Begins AUTHENTICATE.
pub(super) fn authenticate(desk: &Desk, tag: &[u8], mechanism: &[u8], initial: Option<&[u8]>, tx: &mut Outbox) -> Result<Begun, Reply> {
    let mechanism = core::str::from_utf8(mechanism).ok().and_then(Mechanism::from_name);
    let mechanism = mechanism.ok_or(Reply::no("CANNOT", "There is no such mechanism."))?;
    if mechanism.is_plaintext() && !desk.takes_passwords() {
        return Err(IN_CLEAR_TEXT);
    }
    let mut exchange = Exchange::new(mechanism);
    match exchange.start(initial) {
        SaslStep::Challenge(challenge) => {
            print_challenge(&challenge, tx);
            Ok(Begun::Mode(Mode::Dialogue(Box::new(Dialogue { tag: tag.into(), exchange, lines: Lines::new() }))))
        }
        SaslStep::Proof(proof) => Ok(Begun::job(Login { proof: Some(proof) })),
        SaslStep::Failed(error) => Err(error.into()),
    }
}

impl From<SaslError> for Reply {
    fn from(error: SaslError) -> Reply {
        match error {
            SaslError::Cancelled => CANCELLED,
            SaslError::Malformed | SaslError::TooLong => MALFORMED,
        }
    }
}

fn print_challenge(challenge: &str, tx: &mut Outbox) {
    tx.put(b"+ ");
    tx.put(challenge.as_bytes());
    tx.put(b"\r\n");
}

impl Server {
    /// Goes on with AUTHENTICATE.
    pub(super) fn converse(&mut self, now: Tick, rx: &mut Inbox, tx: &mut Outbox) -> Turn {
        let Mode::Dialogue(dialogue) = &mut self.mode else { unreachable!("it was seen") };
        let step = match dialogue.lines.find(rx, LINE_MAX) {
            Scan::Line(n) | Scan::Bare(n) => dialogue.exchange.respond(strip_line_end(rx.take(n))),
            Scan::Long => {
                let tag = core::mem::take(&mut dialogue.tag);
                self.mode = Mode::Swallow(Box::new(Swallow::line(tag, MALFORMED)));
                return Turn::Go;
            }
            Scan::Short if self.shutdown => return self.stop(tx),
            Scan::Short => return self.wait(now, rx, tx),
        };
        match step {
            SaslStep::Challenge(challenge) => print_challenge(&challenge, tx),
            SaslStep::Proof(proof) => {
                let tag = core::mem::take(&mut dialogue.tag);
                self.mode = Mode::Work { tag, job: Box::new(Login { proof: Some(proof) }) };
            }
            SaslStep::Failed(error) => {
                let tag = core::mem::take(&mut dialogue.tag);
                self.finish(now, tag, error.into(), News::Told, tx);
            }
        }
        Turn::Go
    }
}
