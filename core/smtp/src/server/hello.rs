//! The greeting, EHLO, HELO, LHLO and STARTTLS.

use super::{Client, Next, Phase, Server};
use crate::{Role, TlsMode, reply};
use ::mail::{Civil, Stamp};
use alloc::boxed::Box;
use core::fmt::Write as _;
use sasl::Mechanism;
use wire::{Lines, Outbox, Tick, Tls, Why};

impl Server {
    pub(super) fn greet(&mut self, tx: &mut Outbox) -> Next {
        if self.stopping {
            // RFC 5321 §3.8: 421 may stand in for the greeting.
            return self.hang_up(reply::STOPPING, Why::Shutdown, tx);
        }
        let protocol = if self.settings.role == Role::Lmtp { "LMTP" } else { "ESMTP" };
        let _ = write!(tx, "220 {} {protocol} Hikyaku\r\n", self.settings.hostname);
        self.turn(Phase::Command)
    }

    pub(super) fn hello(&mut self, now: Tick, name: &str, extended: bool, tx: &mut Outbox) -> Next {
        // RFC 2033 §4.1: an LMTP server knows neither HELO nor EHLO.
        if self.settings.role == Role::Lmtp {
            return self.mistake(reply::WRONG_HELLO, tx);
        }
        self.welcome(now, name, extended, tx)
    }

    pub(super) fn lhlo(&mut self, now: Tick, name: &str, tx: &mut Outbox) -> Next {
        if self.settings.role != Role::Lmtp {
            return self.mistake(reply::WRONG_HELLO, tx);
        }
        self.welcome(now, name, true, tx)
    }

    fn welcome(&mut self, now: Tick, name: &str, extended: bool, tx: &mut Outbox) -> Next {
        // A second hello moves nothing.
        self.tally.idle += u32::from(self.client.is_some());
        self.client = Some(Client { name: name.into(), extended });
        if extended {
            self.extensions(now, tx);
        } else {
            let _ = write!(tx, "250 {}\r\n", self.settings.hostname);
        }
        // RFC 5321 §4.1.4: as if RSET had been said.
        self.reset()
    }

    fn extensions(&self, now: Tick, tx: &mut Outbox) {
        let settings = &self.settings;
        let _ = write!(tx, "250-{}\r\n250-PIPELINING\r\n250-SIZE {}\r\n", settings.hostname, settings.message_max);
        if settings.tls == TlsMode::Start {
            tx.put(b"250-STARTTLS\r\n");
        }
        if self.offers_auth() {
            tx.put(b"250-AUTH");
            for mechanism in Mechanism::ALL {
                let _ = write!(tx, " {}", mechanism.name());
            }
            tx.put(b"\r\n");
        }
        // RFC 9422 §3.
        tx.put(b"250-LIMITS ");
        if settings.mails_max > 0 {
            let _ = write!(tx, "MAILMAX={} ", settings.mails_max);
        }
        let _ = write!(tx, "RCPTMAX={}\r\n", settings.recipients_max);
        tx.put(b"250-8BITMIME\r\n250-CHUNKING\r\n");
        self.offers(now, tx);
        tx.put(b"250-SMTPUTF8\r\n250 ENHANCEDSTATUSCODES\r\n");
    }

    fn offers(&self, now: Tick, tx: &mut Outbox) {
        let offers = &self.settings.offers;
        if offers.binary {
            tx.put(b"250-BINARYMIME\r\n");
        }
        if offers.dsn {
            tx.put(b"250-DSN\r\n");
        }
        match offers.deliver_by {
            Some(0) => tx.put(b"250-DELIVERBY\r\n"),
            Some(least) => _ = write!(tx, "250-DELIVERBY {least}\r\n"),
            None => {}
        }
        if self.holds() {
            let latest = Stamp::utc(self.wall(now).saturating_add(offers.hold_max.into())).civil();
            let Civil { year, month, day, hour, minute, second } = latest;
            let _ =
                write!(tx, "250-FUTURERELEASE {} {year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z\r\n", offers.hold_max);
        }
        // RFC 6710 §3 item 3: all nineteen priorities are told apart, which is no policy that has a name.
        if offers.priority {
            tx.put(b"250-MT-PRIORITY\r\n");
        }
        if offers.require_tls && self.is_secure() {
            tx.put(b"250-REQUIRETLS\r\n");
        }
    }

    /// RFC 4865 §4.2: on no port but that of submission.
    pub(super) fn holds(&self) -> bool {
        self.settings.offers.hold_max > 0 && self.settings.role == Role::Submission
    }

    pub(super) fn is_secure(&self) -> bool {
        matches!(self.settings.tls, TlsMode::Already(_))
    }

    /// RFC 4954 §4: a mechanism that shows the password is not offered where others can see it.
    pub(super) fn offers_auth(&self) -> bool {
        self.settings.role == Role::Submission && (self.is_secure() || self.settings.plaintext_logins)
    }

    pub(super) fn start_tls(&mut self, tx: &mut Outbox) -> Next {
        match self.settings.tls {
            TlsMode::Never => self.mistake(reply::NOT_HERE, tx),
            TlsMode::Already(_) => self.mistake(reply::TLS_ALREADY, tx),
            TlsMode::Start if self.transaction.is_some() => self.mistake(reply::IN_TRANSACTION, tx),
            TlsMode::Start => {
                reply::START_TLS.put(tx);
                self.phase = Phase::Handshake;
                Next::StartTls
            }
        }
    }

    /// The handshake is over. RFC 3207 §4.2: all that was said before it is forgotten.
    pub(super) fn secured(&mut self, now: Tick, outcome: Result<Tls, Box<str>>) {
        assert!(matches!(self.phase, Phase::Handshake), "a handshake nobody asked for");
        self.allow_time(now);
        match outcome {
            Ok(tls) => {
                self.settings.tls = TlsMode::Already(tls);
                self.client = None;
                self.authenticated = false;
                self.lines = Lines::new();
                self.phase = Phase::Command;
            }
            Err(_) => self.phase = Phase::Closing(Why::Tls),
        }
    }
}
