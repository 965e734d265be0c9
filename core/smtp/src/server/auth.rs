//! AUTH (RFC 4954).

use super::{Next, Phase, Question, Server};
use crate::limits::LINE_MAX;
use crate::{Ask, Role, reply};
use sasl::{Denied, Exchange, Login, Mechanism, SaslError, SaslStep};
use wire::{Inbox, Outbox, Scan, Tick, Why};

impl Server {
    pub(super) fn auth(&mut self, mechanism: &str, initial: Option<&str>, tx: &mut Outbox) -> Next {
        if self.settings.role != Role::Submission {
            return self.mistake(reply::NOT_HERE, tx);
        }
        if !self.client.as_ref().is_some_and(|client| client.extended) {
            return self.mistake(reply::EHLO_FIRST, tx);
        }
        if self.authenticated {
            return self.mistake(reply::AUTH_ALREADY, tx);
        }
        if self.transaction.is_some() {
            return self.mistake(reply::IN_TRANSACTION, tx);
        }
        let Some(mechanism) = Mechanism::from_name(mechanism) else {
            return self.mistake(reply::NO_MECHANISM, tx);
        };
        if mechanism.is_plaintext() && !self.offers_auth() {
            return self.mistake(reply::AUTH_NEEDS_TLS, tx);
        }
        let mut exchange = Exchange::new(mechanism);
        let step = exchange.start(initial.map(str::as_bytes));
        self.exchanged(exchange, step, tx)
    }

    /// A response of the client.
    pub(super) fn response(&mut self, now: Tick, rx: &mut Inbox, tx: &mut Outbox) -> Next {
        if self.stopping {
            return self.hang_up(reply::STOPPING, Why::Shutdown, tx);
        }
        let len = match self.lines.find(rx, LINE_MAX) {
            Scan::Line(len) => len,
            Scan::Short => return Next::Wait,
            Scan::Bare(len) => {
                rx.take(len);
                return self.turn(Phase::Skip(reply::BARE_LF));
            }
            Scan::Long => return self.turn(Phase::Skip(reply::RESPONSE_TOO_LONG)),
        };
        self.allow_time(now);
        let Phase::Auth(mut exchange) = core::mem::replace(&mut self.phase, Phase::Command) else {
            unreachable!("only an exchange waits for a response");
        };
        let step = exchange.respond(&rx.bytes()[..len - 2]);
        rx.take(len);
        self.exchanged(exchange, step, tx)
    }

    fn exchanged(&mut self, exchange: Exchange, step: SaslStep, tx: &mut Outbox) -> Next {
        match step {
            SaslStep::Challenge(text) => {
                tx.put(b"334 ");
                tx.put(text.as_bytes());
                tx.put(b"\r\n");
                self.turn(Phase::Auth(exchange))
            }
            SaslStep::Proof(proof) => self.ask(Question::Login, Ask::Login(proof)),
            SaslStep::Failed(error) => {
                self.phase = Phase::Command;
                let reply = match error {
                    SaslError::Cancelled => reply::AUTH_CANCELLED,
                    SaslError::Malformed => reply::AUTH_MALFORMED,
                    SaslError::TooLong => reply::RESPONSE_TOO_LONG,
                };
                self.mistake(reply, tx)
            }
        }
    }

    pub(super) fn login_answered(&mut self, login: Result<Login, Denied>, tx: &mut Outbox) {
        let reply = match login {
            Ok(_) => {
                self.authenticated = true;
                reply::LOGGED_IN
            }
            Err(denied) => {
                self.tally.logins += 1;
                match denied {
                    Denied::Wrong => reply::LOGIN_WRONG,
                    Denied::Disabled => reply::LOGIN_DISABLED,
                    Denied::TooMany => reply::LOGIN_TOO_MANY,
                    Denied::Later => reply::LOGIN_LATER,
                }
            }
        };
        reply.put(tx);
    }
}
