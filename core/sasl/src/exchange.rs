//! One exchange, seen from the server.

use crate::{LINE_MAX, Mechanism, Proof, Secret, login, plain};
use alloc::string::String;
use base64::{Engine as _, engine::general_purpose::STANDARD};

/// An exchange that is going on. Drop it when a step says [`SaslStep::Proof`] or [`SaslStep::Failed`].
#[derive(Debug)]
pub struct Exchange(State);

#[derive(Debug)]
enum State {
    Plain,
    Login(login::State),
}

/// What comes of a response.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum SaslStep {
    /// Send this (base64, perhaps nothing) after the protocol's own mark (`334 `, `+ `) and wait for a line.
    Challenge(String),
    /// The client said all it had to say: ask the host about it.
    Proof(Proof),
    /// The exchange is over without a proof.
    Failed(SaslError),
}

/// Why there is no proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaslError {
    /// The client sent `*`.
    Cancelled,
    /// Not base64, or not what the mechanism expects.
    Malformed,
    /// Longer than [`LINE_MAX`] or than a name or password may be.
    TooLong,
}

impl Exchange {
    /// Before the first step.
    pub const fn new(mechanism: Mechanism) -> Exchange {
        Exchange(match mechanism {
            Mechanism::Plain => State::Plain,
            Mechanism::Login => State::Login(login::State::User),
        })
    }

    /// Begins. `initial` is the initial response as the client wrote it: base64, or `=` for an empty one (RFC 4954 §4, RFC 4959 §3,
    /// RFC 5034 §4). It cannot cancel.
    pub fn start(&mut self, initial: Option<&[u8]>) -> SaslStep {
        match initial {
            None => self.prompt(),
            Some(b"=") => self.take(&Secret::default()),
            // Only `=` says "empty"; nothing at all is a slip of the client.
            Some(b"") => SaslStep::Failed(SaslError::Malformed),
            Some(line) => self.decode(line),
        }
    }

    /// Goes on with the next line of the client, without its CRLF: base64, nothing for an empty response, or `*` to cancel.
    pub fn respond(&mut self, line: &[u8]) -> SaslStep {
        if line == b"*" {
            return SaslStep::Failed(SaslError::Cancelled);
        }
        self.decode(line)
    }

    fn prompt(&self) -> SaslStep {
        SaslStep::Challenge(match &self.0 {
            State::Plain => String::new(),
            State::Login(state) => STANDARD.encode(state.prompt()),
        })
    }

    fn decode(&mut self, line: &[u8]) -> SaslStep {
        if line.len() > LINE_MAX {
            return SaslStep::Failed(SaslError::TooLong);
        }
        // Strict: padding must be there and unused bits must be zero (RFC 4648 §3.5).
        match STANDARD.decode(line).ok().and_then(Secret::from_utf8) {
            Some(text) => self.take(&text),
            None => SaslStep::Failed(SaslError::Malformed),
        }
    }

    fn take(&mut self, response: &Secret) -> SaslStep {
        let proof = match &mut self.0 {
            State::Plain => plain::take(response).map(Some),
            State::Login(state) => state.take(response),
        };
        match proof {
            Ok(Some(proof)) => SaslStep::Proof(proof),
            Ok(None) => self.prompt(),
            Err(error) => SaslStep::Failed(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn run(mechanism: Mechanism, initial: Option<&str>, lines: &[&str]) -> SaslStep {
        let mut exchange = Exchange::new(mechanism);
        let mut step = exchange.start(initial.map(str::as_bytes));
        for line in lines {
            assert!(matches!(step, SaslStep::Challenge(_)), "{step:?} before {line}");
            step = exchange.respond(line.as_bytes());
        }
        step
    }

    fn proof(act_as: &str, user: &str, password: &str) -> SaslStep {
        SaslStep::Proof(Proof::Password { act_as: act_as.into(), user: user.into(), password: Secret::new(password.into()) })
    }

    const BAD: SaslStep = SaslStep::Failed(SaslError::Malformed);

    #[test]
    fn plain_as_in_its_rfc() {
        // RFC 4616 §4: "\0tim\0tanstaaftanstaaf" and "Ursel\0Kurt\0xipj3plmq".
        let tim = STANDARD.encode("\0tim\0tanstaaftanstaaf");
        assert_eq!(run(Mechanism::Plain, Some(&tim), &[]), proof("", "tim", "tanstaaftanstaaf"));
        assert_eq!(run(Mechanism::Plain, None, &[&tim]), proof("", "tim", "tanstaaftanstaaf"));
        let kurt = STANDARD.encode("Ursel\0Kurt\0xipj3plmq");
        assert_eq!(run(Mechanism::Plain, None, &[&kurt]), proof("Ursel", "Kurt", "xipj3plmq"));
        assert_eq!(run(Mechanism::Plain, None, &[]), SaslStep::Challenge(String::new()));
    }

    #[test]
    fn plain_refuses_what_is_not_three_parts() {
        for text in ["", "a", "a\0b", "\0\0pw", "\0user\0", "\0a\0b\0c", "a\0b\0c\0", "\0a\r\nb\0c", "a\n\0b\0c"] {
            assert_eq!(run(Mechanism::Plain, None, &[&STANDARD.encode(text)]), BAD, "{text:?}");
        }
        assert_eq!(run(Mechanism::Plain, Some("="), &[]), BAD);
        assert_eq!(run(Mechanism::Plain, Some(""), &[]), BAD);
        assert_eq!(run(Mechanism::Plain, None, &[&STANDARD.encode(b"\0a\0\xff")]), BAD);
    }

    #[test]
    fn login_prompts_twice_or_once() {
        let (user, pass) = (STANDARD.encode("alice"), STANDARD.encode("hi kyaku"));
        assert_eq!(run(Mechanism::Login, None, &[]), SaslStep::Challenge("VXNlcm5hbWU6".into()));
        assert_eq!(run(Mechanism::Login, None, &[&user]), SaslStep::Challenge("UGFzc3dvcmQ6".into()));
        assert_eq!(run(Mechanism::Login, None, &[&user, &pass]), proof("", "alice", "hi kyaku"));
        assert_eq!(run(Mechanism::Login, Some(&user), &[&pass]), proof("", "alice", "hi kyaku"));
        assert_eq!(run(Mechanism::Login, None, &[""]), BAD);
        assert_eq!(run(Mechanism::Login, None, &[&user, ""]), BAD);
        assert_eq!(run(Mechanism::Login, None, &[&STANDARD.encode("a\0b")]), BAD);
        assert_eq!(run(Mechanism::Login, None, &[&STANDARD.encode("a\nb")]), BAD);
    }

    #[test]
    fn a_star_cancels_and_base64_is_strict() {
        assert_eq!(run(Mechanism::Plain, None, &["*"]), SaslStep::Failed(SaslError::Cancelled));
        assert_eq!(run(Mechanism::Plain, Some("*"), &[]), BAD);
        for line in ["AHRpbQ", "AHRpbQ= ", " AHRpbQ==", "AHRpbQ==\r", "AHRpbR==", "A*", "====", "AHRp-_=="] {
            assert_eq!(run(Mechanism::Plain, None, &[line]), BAD, "{line:?}");
        }
    }

    #[test]
    fn nothing_too_long_gets_in() {
        let long = STANDARD.encode(vec![b'a'; 1025]);
        assert_eq!(run(Mechanism::Login, None, &[&long]), SaslStep::Failed(SaslError::TooLong));
        let longer = STANDARD.encode(vec![b'a'; LINE_MAX]);
        assert_eq!(run(Mechanism::Plain, None, &[&longer]), SaslStep::Failed(SaslError::TooLong));
    }
}
