//! From the connection to the first job: greeting, EHLO, STARTTLS, AUTH.

use super::limits::AUTH_LINE_MAX;
use super::offer::{self, Way};
use super::socks;
use super::{COMMAND_MS, GREETING_MS, PROXY_MS};
use super::{Client, Next, Phase, Protocol, Reply, Security, Stage, Trouble};
use crate::client::office::Offer;
use alloc::{boxed::Box, format, string::String};
use wire::{Inbox, Outbox, Tick, Tls, Why};

impl Client {
    pub(super) fn proxy(&mut self, now: Tick, rx: &mut Inbox, tx: &mut Outbox) -> Next {
        let (Phase::Proxy(state), Some(socks)) = (&mut self.phase, &self.settings.socks) else {
            unreachable!("only a proxy is spoken to");
        };
        match state.go(socks, rx, tx) {
            socks::Outcome::Wait => Next::Wait,
            socks::Outcome::Again => {
                self.deadline = now.after(PROXY_MS);
                Next::Again
            }
            socks::Outcome::Through => {
                self.deadline = now.after(GREETING_MS);
                if !matches!(self.settings.security, Security::Implicit { .. }) {
                    return self.turn(Phase::Greeting);
                }
                if !rx.is_empty() {
                    self.leaving = Some(Why::Tls);
                    return self.trouble(Stage::Tls, Reply::own(450, (4, 7, 5), "the server spoke before the TLS handshake"));
                }
                self.turn(Phase::Handshake(false))
            }
            socks::Outcome::Refused(text) => {
                self.leaving = Some(Why::Fault);
                self.trouble(Stage::Proxy, Reply::own(450, (4, 4, 1), text))
            }
        }
    }

    pub(super) fn greeted(&mut self, reply: Reply, tx: &mut Outbox) -> Next {
        if reply.code != 220 {
            return self.trouble(Stage::Greeting, reply);
        }
        self.say_hello(tx)
    }

    fn say_hello(&mut self, tx: &mut Outbox) -> Next {
        let tls = self.offer.tls.take();
        self.offer = Offer { verified: tls.is_some() && self.expect().verified, tls, ..Offer::default() };
        self.way = Way::default();
        let verb = match self.settings.protocol {
            Protocol::Lmtp => "LHLO",
            Protocol::Smtp if self.plain_hello => "HELO",
            Protocol::Smtp => "EHLO",
        };
        tx.put(format!("{verb} {}\r\n", self.settings.helo).as_bytes());
        self.turn(Phase::Hello)
    }

    pub(super) fn helloed(&mut self, now: Tick, reply: Reply, tx: &mut Outbox) -> Next {
        if !reply.is_good() {
            // RFC 5321 §3.2: who does not know EHLO may know HELO.
            if reply.is_permanent() && !self.plain_hello && self.settings.protocol == Protocol::Smtp {
                self.plain_hello = true;
                return self.say_hello(tx);
            }
            return self.trouble(Stage::Hello, reply);
        }
        if self.plain_hello {
            self.offer.name = offer::name(reply.text.split_ascii_whitespace().next().unwrap_or_default());
        }
        if self.offer.tls.is_some() {
            return self.log_in(now, tx);
        }
        match self.settings.security {
            Security::May | Security::Must { .. } if self.way.start_tls => {
                tx.put(b"STARTTLS\r\n");
                self.turn(Phase::StartTls)
            }
            Security::Must { .. } => {
                self.trouble(Stage::Tls, Reply::own(450, (4, 7, 4), "TLS is required, and the server does not offer it"))
            }
            _ => self.log_in(now, tx),
        }
    }

    pub(super) fn start_tls_answered(&mut self, now: Tick, reply: Reply, rx: &Inbox, tx: &mut Outbox) -> Next {
        if reply.code == 220 && !rx.is_empty() {
            // Whoever put these bytes there wants them to be taken for what comes protected.
            self.leaving = Some(Why::Tls);
            return self
                .trouble(Stage::Tls, Reply::own(450, (4, 7, 5), "the server said more than its reply to STARTTLS before the handshake"));
        }
        if reply.code == 220 {
            return self.turn(Phase::Handshake(false));
        }
        // Offered and refused. Nothing has changed (RFC 3207 §4), so where nobody insists it goes on without.
        if self.settings.security == Security::May && self.leaving.is_none() {
            return self.log_in(now, tx);
        }
        self.trouble(Stage::Tls, reply)
    }

    pub(super) fn secured(&mut self, now: Tick, outcome: Result<Tls, Box<str>>, tx: &mut Outbox) {
        assert!(matches!(self.phase, Phase::Handshake(true)), "a handshake that nobody asked for");
        match outcome {
            Ok(tls) => {
                self.offer.tls = Some(tls);
                self.deadline = now.after(COMMAND_MS);
                if matches!(self.settings.security, Security::Implicit { .. }) {
                    self.phase = Phase::Greeting;
                    self.deadline = now.after(GREETING_MS);
                } else {
                    // RFC 3207 §4.2: what was offered in clear is forgotten.
                    let _ = self.say_hello(tx);
                }
            }
            Err(error) => {
                self.leaving = Some(Why::Tls);
                let reply = Reply::own(450, (4, 7, 5), &format!("the TLS handshake failed: {error}"));
                let without_tls = self.settings.security == Security::May;
                self.phase = Phase::Trouble(Trouble { at: Stage::Tls, reply, without_tls });
            }
        }
    }

    fn log_in(&mut self, now: Tick, tx: &mut Outbox) -> Next {
        self.deadline = now.after(COMMAND_MS);
        let Some(login) = self.settings.login.clone() else { return self.turn(Phase::Ready) };
        let private = self.offer.tls.is_some() || self.settings.plaintext_login;
        let Some(mut exchange) = sasl::Client::choose(self.way.mechanisms.split_ascii_whitespace(), private, login) else {
            let text = "the server offers no way to log in that can be used here";
            return self.trouble(Stage::Login, Reply::own(450, (4, 7, 0), text));
        };
        let mut line = format!("AUTH {}", exchange.name());
        // RFC 4954 §4: what makes the line too long waits for the server's turn.
        let first = exchange.initial().and_then(|first| {
            if line.len() + 1 + first.len() > AUTH_LINE_MAX {
                return Some(first);
            }
            line.push(' ');
            line.push_str(&first);
            None
        });
        line.push_str("\r\n");
        tx.put(line.as_bytes());
        self.turn(Phase::Login(exchange, first))
    }

    pub(super) fn login_answered(&mut self, mut exchange: sasl::Client, first: Option<String>, reply: Reply, tx: &mut Outbox) -> Next {
        match reply.code {
            235 if exchange.is_satisfied() => self.turn(Phase::Ready),
            235 => {
                self.leaving = Some(Why::Fault);
                self.trouble(Stage::Login, Reply::own(450, (4, 7, 0), "the server let us in without proving that it knows the password"))
            }
            334 => match first.map_or_else(|| exchange.respond(&reply.text), Ok) {
                Ok(response) => {
                    tx.put(response.as_bytes());
                    tx.put(b"\r\n");
                    self.turn(Phase::Login(exchange, None))
                }
                Err(_) => {
                    self.leaving = Some(Why::Fault);
                    self.trouble(Stage::Login, Reply::own(450, (4, 7, 0), "the server's side of the login makes no sense"))
                }
            },
            _ => self.trouble(Stage::Login, reply),
        }
    }
}
