//! What a command line says (RFC 1939 §9, RFC 2449, 2595, 5034).

use crate::limits::COMMAND_MAX;
use crate::reply::{self, Reply};
use nom::{
    IResult, Parser,
    character::complete::{char, digit1},
    combinator::{all_consuming, map, opt},
    sequence::preceded,
};

/// A command, borrowed from the line it came on. Messages are numbered as they are on the wire, from 1.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command<'a> {
    User(&'a str),
    Pass(&'a str),
    Auth { mechanism: &'a str, initial: Option<&'a str> },
    Stls,
    Capa,
    Stat,
    List(Option<u32>),
    Uidl(Option<u32>),
    Retr(u32),
    Top { message: u32, lines: u32 },
    Dele(u32),
    Rset,
    Noop,
    Quit,
}

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SyntaxError {
    /// A control character (a lone CR among them) or broken UTF-8.
    Characters,
    /// Longer than a command may be.
    TooLong,
    /// No such command.
    Unknown,
    /// An argument that is missing, malformed or one too many.
    Argument,
}

impl SyntaxError {
    /// What to tell the client.
    pub(crate) const fn reply(self) -> Reply {
        match self {
            SyntaxError::Characters => reply::CHARACTERS,
            SyntaxError::TooLong => reply::LINE_TOO_LONG,
            SyntaxError::Unknown => reply::UNKNOWN,
            SyntaxError::Argument => reply::ARGUMENT,
        }
    }
}

/// Parses a line without its CRLF.
pub(crate) fn parse(line: &[u8]) -> Result<Command<'_>, SyntaxError> {
    let line = core::str::from_utf8(line).map_err(|_| SyntaxError::Characters)?;
    if line.chars().any(char::is_control) {
        return Err(SyntaxError::Characters);
    }
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    let is = |name: &str| verb.eq_ignore_ascii_case(name);
    if line.len() > COMMAND_MAX - 2 && !is("AUTH") {
        return Err(SyntaxError::TooLong);
    }
    if is("PASS") {
        // RFC 1939 §7: blanks belong to the password, the last ones too.
        return text(rest).map(Command::Pass);
    }
    let rest = rest.trim_end_matches(' ');
    let alone = |command| if rest.is_empty() { Ok(command) } else { Err(SyntaxError::Argument) };
    match verb.len() {
        4 if is("RETR") => arguments(number, rest).map(Command::Retr),
        4 if is("DELE") => arguments(number, rest).map(Command::Dele),
        4 if is("LIST") => arguments(opt(number), rest).map(Command::List),
        4 if is("UIDL") => arguments(opt(number), rest).map(Command::Uidl),
        3 if is("TOP") => arguments((number, preceded(char(' '), number)), rest).map(|(message, lines)| Command::Top { message, lines }),
        4 if is("STAT") => alone(Command::Stat),
        4 if is("NOOP") => alone(Command::Noop),
        4 if is("RSET") => alone(Command::Rset),
        4 if is("QUIT") => alone(Command::Quit),
        4 if is("CAPA") => alone(Command::Capa),
        4 if is("STLS") => alone(Command::Stls),
        4 if is("USER") => text(rest).map(Command::User),
        4 if is("AUTH") => match rest.split_once(' ') {
            Some((mechanism, initial)) => Ok(Command::Auth { mechanism, initial: Some(initial) }),
            None => text(rest).map(|mechanism| Command::Auth { mechanism, initial: None }),
        },
        _ => Err(SyntaxError::Unknown),
    }
}

fn text(rest: &str) -> Result<&str, SyntaxError> {
    if rest.is_empty() { Err(SyntaxError::Argument) } else { Ok(rest) }
}

fn arguments<'a, T>(parser: impl Parser<&'a str, Output = T, Error = nom::error::Error<&'a str>>, rest: &'a str) -> Result<T, SyntaxError> {
    all_consuming(parser).parse(rest).map(|(_, value)| value).map_err(|_| SyntaxError::Argument)
}

/// A number too large to be one stands for one that is too large to be true.
fn number(text: &str) -> IResult<&str, u32> {
    map(digit1, |digits: &str| digits.parse().unwrap_or(u32::MAX)).parse(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn commands_in_any_case() {
        assert_eq!(parse(b"retr 1"), Ok(Command::Retr(1)));
        assert_eq!(parse(b"List"), Ok(Command::List(None)));
        assert_eq!(parse(b"LIST 007 "), Ok(Command::List(Some(7))));
        assert_eq!(parse(b"UIDL 99999999999"), Ok(Command::Uidl(Some(u32::MAX))));
        assert_eq!(parse(b"TOP 1 0"), Ok(Command::Top { message: 1, lines: 0 }));
        assert_eq!(parse(b"PASS  a b "), Ok(Command::Pass(" a b ")));
        assert_eq!(parse(b"USER alice@example.test"), Ok(Command::User("alice@example.test")));
        assert_eq!(parse(b"AUTH plain ="), Ok(Command::Auth { mechanism: "plain", initial: Some("=") }));
    }

    #[test]
    fn what_is_wrong() {
        for line in ["RETR", "RETR x", "RETR -1", "RETR +1", "RETR 1 2", "TOP 1", "TOP 1  1", "DELE 1x", "STAT 1", "USER", "PASS", "AUTH"] {
            assert_eq!(parse(line.as_bytes()), Err(SyntaxError::Argument), "{line:?}");
        }
        for line in ["", " ", "XTND", "RETR1", "APOP a b"] {
            assert_eq!(parse(line.as_bytes()), Err(SyntaxError::Unknown), "{line:?}");
        }
        for line in [&b"NOOP\r"[..], b"USER \xff", b"PASS a\0"] {
            assert_eq!(parse(line), Err(SyntaxError::Characters));
        }
        assert_eq!(parse(format!("USER {}", "x".repeat(COMMAND_MAX)).as_bytes()), Err(SyntaxError::TooLong));
    }
}
