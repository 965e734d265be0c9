//! Verbs and their arguments.

use super::{MailParameters, RcptParameters, SyntaxError, parameter, path};
use crate::limits::{COMMAND_MAX, DOMAIN_MAX};
use mail::Address;

/// A command, borrowed from the line it came on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command<'a> {
    Ehlo(&'a str),
    Helo(&'a str),
    Lhlo(&'a str),
    Mail(Option<Address>, MailParameters),
    /// `None` is the bare `<postmaster>` (RFC 5321 §4.1.1.3).
    Rcpt(Option<Address>, RcptParameters),
    Data,
    Bdat {
        size: u64,
        last: bool,
    },
    Rset,
    Noop,
    Vrfy,
    Expn,
    Help,
    Quit,
    StartTls,
    Auth {
        mechanism: &'a str,
        initial: Option<&'a str>,
    },
}

/// Whether a line, if it is one, announces a chunk.
pub(crate) fn is_bdat(line: &[u8]) -> bool {
    line.get(..4).is_some_and(|verb| verb.eq_ignore_ascii_case(b"BDAT"))
}

/// Parses a line without its CRLF.
pub(crate) fn parse(line: &[u8]) -> Result<Command<'_>, SyntaxError> {
    well_formed(line).map_err(|error| if is_bdat(line) { SyntaxError::Chunk } else { error })
}

fn well_formed(line: &[u8]) -> Result<Command<'_>, SyntaxError> {
    let line = core::str::from_utf8(line).map_err(|_| SyntaxError::Characters)?;
    if line.chars().any(char::is_control) {
        return Err(SyntaxError::Characters);
    }
    // Some clients leave blanks at the end (RFC 5321 §4.1.1).
    let line = line.trim_end_matches(' ');
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    let is = |name: &str| verb.eq_ignore_ascii_case(name);
    if line.len() > COMMAND_MAX - 2 && !is("AUTH") {
        return Err(SyntaxError::TooLong);
    }
    let alone = |command| if rest.is_empty() { Ok(command) } else { Err(SyntaxError::NoArgument) };
    match verb.len() {
        4 if is("MAIL") => mail(rest),
        4 if is("RCPT") => rcpt(rest),
        4 if is("DATA") => alone(Command::Data),
        4 if is("EHLO") => hello_name(rest).map(Command::Ehlo),
        4 if is("QUIT") => alone(Command::Quit),
        4 if is("RSET") => alone(Command::Rset),
        4 if is("BDAT") => bdat(rest),
        4 if is("LHLO") => hello_name(rest).map(Command::Lhlo),
        4 if is("HELO") => hello_name(rest).map(Command::Helo),
        4 if is("AUTH") => auth(rest),
        4 if is("NOOP") => Ok(Command::Noop),
        4 if is("VRFY") => {
            if rest.is_empty() {
                Err(SyntaxError::Argument)
            } else {
                Ok(Command::Vrfy)
            }
        }
        4 if is("EXPN") => Ok(Command::Expn),
        4 if is("HELP") => Ok(Command::Help),
        8 if is("STARTTLS") => alone(Command::StartTls),
        3 | 4 | 7 if is("GET") || is("PUT") || is("POST") || is("HEAD") || is("OPTIONS") || is("CONNECT") => Err(SyntaxError::Http),
        _ => Err(SyntaxError::Unknown),
    }
}

/// RFC 5321 §4.1.4: a name that means nothing is no reason to refuse, but one that would break a trace header is.
fn hello_name(rest: &str) -> Result<&str, SyntaxError> {
    let name = rest.trim_start_matches(' ');
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-._:[]+/=~#%&!*".contains(&b);
    if !name.is_empty() && name.len() <= DOMAIN_MAX && name.bytes().all(fits) { Ok(name) } else { Err(SyntaxError::HelloName) }
}

fn mail(rest: &str) -> Result<Command<'_>, SyntaxError> {
    let (rest, sender) = path::reverse(rest).map_err(|error| match error {
        path::PathError::Syntax => SyntaxError::Sender,
        path::PathError::TooLong => SyntaxError::SenderTooLong,
    })?;
    Ok(Command::Mail(sender, parameter::of_mail(rest)?))
}

fn rcpt(rest: &str) -> Result<Command<'_>, SyntaxError> {
    let (rest, recipient) = path::forward(rest).map_err(|error| match error {
        path::PathError::Syntax => SyntaxError::Recipient,
        path::PathError::TooLong => SyntaxError::RecipientTooLong,
    })?;
    Ok(Command::Rcpt(recipient, parameter::of_rcpt(rest)?))
}

/// RFC 3030 §2: `BDAT SP 1*DIGIT [SP LAST]`.
fn bdat(rest: &str) -> Result<Command<'_>, SyntaxError> {
    let (size, last) = match rest.split_once(' ') {
        None => (rest, false),
        Some((size, last)) if last.eq_ignore_ascii_case("LAST") => (size, true),
        Some(_) => return Err(SyntaxError::Chunk),
    };
    // A `+` is no digit, though `u64` would take it.
    if size.is_empty() || !size.bytes().all(|b| b.is_ascii_digit()) {
        return Err(SyntaxError::Chunk);
    }
    Ok(Command::Bdat { size: size.parse().map_err(|_| SyntaxError::Chunk)?, last })
}

/// RFC 4954 §4: `AUTH SP mechanism [SP initial-response]`.
fn auth(rest: &str) -> Result<Command<'_>, SyntaxError> {
    match rest.split_once(' ') {
        None if rest.is_empty() => Err(SyntaxError::Argument),
        None => Ok(Command::Auth { mechanism: rest, initial: None }),
        Some((mechanism, initial)) => Ok(Command::Auth { mechanism, initial: Some(initial) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{format, string::String};

    #[test]
    fn verbs_in_any_case_with_blanks_behind() {
        assert_eq!(parse(b"data"), Ok(Command::Data));
        assert_eq!(parse(b"Rset   "), Ok(Command::Rset));
        assert_eq!(parse(b"noop whatever"), Ok(Command::Noop));
        assert_eq!(parse(b"EHLO  [192.0.2.1]"), Ok(Command::Ehlo("[192.0.2.1]")));
        assert_eq!(parse(b"auth plain ="), Ok(Command::Auth { mechanism: "plain", initial: Some("=") }));
        assert_eq!(parse(b"BDAT 0 last"), Ok(Command::Bdat { size: 0, last: true }));
    }

    #[test]
    fn what_is_wrong() {
        for (line, error) in [
            ("", SyntaxError::Unknown),
            (" NOOP", SyntaxError::Unknown),
            ("XNOOP", SyntaxError::Unknown),
            ("NOOP\tx", SyntaxError::Characters),
            ("NOOP\rNOOP", SyntaxError::Characters),
            ("NOOP \0", SyntaxError::Characters),
            ("DATA now", SyntaxError::NoArgument),
            ("EHLO", SyntaxError::HelloName),
            ("EHLO a b", SyntaxError::HelloName),
            ("EHLO a(b", SyntaxError::HelloName),
            ("VRFY", SyntaxError::Argument),
            ("AUTH", SyntaxError::Argument),
            ("BDAT", SyntaxError::Chunk),
            ("BDAT +1", SyntaxError::Chunk),
            ("BDAT\t1", SyntaxError::Chunk),
            ("bdat 1 \0", SyntaxError::Chunk),
            ("BDAT1", SyntaxError::Chunk),
            ("BDAT 1 2", SyntaxError::Chunk),
            ("BDAT 1  LAST", SyntaxError::Chunk),
            ("BDAT 99999999999999999999", SyntaxError::Chunk),
            ("POST / HTTP/1.1", SyntaxError::Http),
        ] {
            assert_eq!(parse(line.as_bytes()), Err(error), "{line:?}");
        }
        assert_eq!(parse(b"NOOP \xff"), Err(SyntaxError::Characters));
    }

    #[test]
    fn only_auth_may_be_long() {
        let long: String = "a".repeat(COMMAND_MAX);
        assert_eq!(parse(format!("NOOP {long}").as_bytes()), Err(SyntaxError::TooLong));
        assert!(parse(format!("AUTH PLAIN {long}").as_bytes()).is_ok());
    }
}
