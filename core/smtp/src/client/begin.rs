//! From the connection to the first job: greeting, EHLO, STARTTLS, AUTH.

use super::socks;
use super::{COMMAND_MS, GREETING_MS, PROXY_MS};
use super::{Client, Next, Phase, Protocol, Reply, Security, Stage, Trouble};
use crate::client::office::Offer;
use alloc::{boxed::Box, format};
use wire::{Inbox, Outbox, Tick, Tls};

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
                let implicit = matches!(self.settings.security, Security::Implicit { .. });
                self.turn(if implicit { Phase::Handshake(false) } else { Phase::Greeting })
            }
            socks::Outcome::Refused(text) => {
                self.leaving = true;
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
        self.mechanisms.clear();
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
            self.offer.name = reply.text.split_ascii_whitespace().next().unwrap_or_default().into();
        }
        if self.offer.tls.is_some() {
            return self.log_in(now, tx);
        }
        let offered = self.mechanisms.contains(" STARTTLS ");
        match self.settings.security {
            Security::May | Security::Must { .. } if offered => {
                tx.put(b"STARTTLS\r\n");
                self.turn(Phase::StartTls)
            }
            Security::Must { .. } => {
                self.trouble(Stage::Tls, Reply::own(450, (4, 7, 4), "TLS is required, and the server does not offer it"))
            }
            _ => self.log_in(now, tx),
        }
    }

    pub(super) fn start_tls_answered(&mut self, reply: Reply, rx: &Inbox) -> Next {
        if reply.code == 220 && !rx.is_empty() {
            // Whoever put these bytes there wants them to be taken for what comes protected.
            self.leaving = true;
            return self
                .trouble(Stage::Tls, Reply::own(450, (4, 7, 5), "the server said more than its reply to STARTTLS before the handshake"));
        }
        if reply.code == 220 {
            return self.turn(Phase::Handshake(false));
        }
        // Offered and refused. Where nobody insists, a new connection goes without: this one has lost its state.
        let without_tls = self.settings.security == Security::May;
        self.turn(Phase::Trouble(Trouble { at: Stage::Tls, reply, without_tls }))
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
                self.leaving = true;
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
        let Some(mut exchange) = sasl::Client::choose(self.mechanisms.split_ascii_whitespace(), private, login) else {
            let text = "the server offers no way to log in that can be used here";
            return self.trouble(Stage::Login, Reply::own(450, (4, 7, 0), text));
        };
        let name = exchange.name();
        match exchange.initial() {
            // RFC 4954 §4: a line is no longer than 512 octets with it; what is longer waits for the server's turn. No name is that long.
            Some(initial) => tx.put(format!("AUTH {name} {initial}\r\n").as_bytes()),
            None => tx.put(format!("AUTH {name}\r\n").as_bytes()),
        }
        self.turn(Phase::Login(exchange))
    }

    pub(super) fn login_answered(&mut self, mut exchange: sasl::Client, reply: Reply, tx: &mut Outbox) -> Next {
        match reply.code {
            235 if exchange.is_satisfied() => self.turn(Phase::Ready),
            235 => {
                self.leaving = true;
                self.trouble(Stage::Login, Reply::own(450, (4, 7, 0), "the server let us in without proving that it knows the password"))
            }
            334 => match exchange.respond(&reply.text) {
                Ok(response) => {
                    tx.put(response.as_bytes());
                    tx.put(b"\r\n");
                    self.turn(Phase::Login(exchange))
                }
                Err(_) => {
                    self.leaving = true;
                    self.trouble(Stage::Login, Reply::own(450, (4, 7, 0), "the server's side of the login makes no sense"))
                }
            },
            _ => self.trouble(Stage::Login, reply),
        }
    }
}
