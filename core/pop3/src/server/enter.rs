//! The AUTHORIZATION state: greeting, CAPA, STLS, USER, PASS, AUTH.

use super::{Next, Phase, Question, Server, State};
use crate::limits::{HURRIED_MS, IDLE_MS, LINE_MAX};
use crate::{Ask, TlsMode, reply};
use alloc::{boxed::Box, string::String};
use core::fmt::Write as _;
use sasl::{Exchange, Mechanism, Proof, SaslError, SaslStep, Secret};
use wire::{Inbox, Lines, Outbox, Scan, Tick, Tls, Why};

impl Server {
    pub(super) fn greet(&mut self, tx: &mut Outbox) -> Next {
        self.phase = Phase::Command;
        if !self.stopping {
            // No angle brackets: they would offer APOP (RFC 1939 §7).
            let _ = write!(tx, "+OK {} POP3 Hikyaku\r\n", self.settings.hostname);
        }
        Next::Again
    }

    /// RFC 2449 §5. STLS and USER are no use once logged in; SASL may be said in both states (§6.3).
    pub(super) fn capabilities(&self, tx: &mut Outbox) -> Next {
        let out = matches!(self.state, State::Authorization { .. });
        tx.put(b"+OK\r\nTOP\r\nUIDL\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\nEXPIRE NEVER\r\n");
        if out && self.settings.tls == TlsMode::Start {
            tx.put(b"STLS\r\n");
        }
        if self.takes_passwords() {
            if out {
                tx.put(b"USER\r\n");
            }
            tx.put(b"SASL");
            for mechanism in Mechanism::ALL {
                let _ = write!(tx, " {}", mechanism.name());
            }
            tx.put(b"\r\n");
        }
        tx.put(b"IMPLEMENTATION Hikyaku\r\n.\r\n");
        Next::Again
    }

    /// RFC 2595 §2.1: passwords do not cross the network in clear.
    fn takes_passwords(&self) -> bool {
        self.settings.plaintext_logins || matches!(self.settings.tls, TlsMode::Already(_))
    }

    pub(super) fn start_tls(&mut self, tx: &mut Outbox) -> Next {
        match self.settings.tls {
            TlsMode::Never => self.mistake(reply::TLS_NEVER, tx),
            TlsMode::Already(_) => self.mistake(reply::TLS_ALREADY, tx),
            TlsMode::Start => {
                reply::START_TLS.put(tx);
                self.phase = Phase::Handshake;
                Next::StartTls
            }
        }
    }

    /// The handshake is over. RFC 2595 §4: all that was said before it is forgotten.
    pub(super) fn secured(&mut self, now: Tick, outcome: Result<Tls, Box<str>>) {
        assert!(matches!(self.phase, Phase::Handshake), "a handshake nobody asked for");
        self.deadline = now.after(if self.hurried { HURRIED_MS } else { IDLE_MS });
        match outcome {
            Ok(tls) => {
                self.settings.tls = TlsMode::Already(tls);
                self.state = State::Authorization { user: None };
                self.lines = Lines::new();
                self.phase = Phase::Command;
            }
            Err(_) => self.phase = Phase::Closing(Why::Tls),
        }
    }

    pub(super) fn user(&mut self, name: &str, tx: &mut Outbox) -> Next {
        if !self.takes_passwords() {
            return self.mistake(reply::TLS_FIRST, tx);
        }
        self.state = State::Authorization { user: Some(name.into()) };
        // The same for a name that does not exist (RFC 1939 §13).
        self.say(reply::NAMED, tx)
    }

    pub(super) fn pass(&mut self, password: &str, tx: &mut Outbox) -> Next {
        let State::Authorization { user } = &mut self.state else {
            unreachable!("PASS is obeyed before the login only");
        };
        let Some(user) = user.take() else {
            return self.mistake(reply::USER_FIRST, tx);
        };
        let proof = Proof::Password { act_as: String::new(), user: user.into(), password: Secret::new(password.into()) };
        self.ask(Question::Login, Ask::Login(proof))
    }

    pub(super) fn auth(&mut self, mechanism: &str, initial: Option<&str>, tx: &mut Outbox) -> Next {
        let Some(mechanism) = Mechanism::from_name(mechanism) else {
            return self.mistake(reply::NO_MECHANISM, tx);
        };
        if mechanism.is_plaintext() && !self.takes_passwords() {
            return self.mistake(reply::TLS_FIRST, tx);
        }
        let mut exchange = Exchange::new(mechanism);
        let step = exchange.start(initial.map(str::as_bytes));
        self.exchanged(exchange, step, tx)
    }

    /// A response of the client.
    pub(super) fn response(&mut self, rx: &mut Inbox, tx: &mut Outbox) -> Next {
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
            Scan::Long => return self.turn(Phase::Skip(reply::LINE_TOO_LONG)),
        };
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
                tx.put(b"+ ");
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
                    SaslError::TooLong => reply::LINE_TOO_LONG,
                };
                self.mistake(reply, tx)
            }
        }
    }
}
