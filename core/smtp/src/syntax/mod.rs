//! What a command line says.

mod command;
mod parameter;
pub(crate) mod path;
mod wish;
mod xtext;

pub(crate) use command::{Command, is_bdat, parse};
pub(crate) use parameter::{MailParameters, RcptParameters};
pub(crate) use wish::Hold;

use crate::reply::{self, Reply};

/// What is wrong with a line. Each knows its reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SyntaxError {
    /// A control character (a lone CR among them) or broken UTF-8.
    Characters,
    /// Longer than a command may be.
    TooLong,
    /// No such verb.
    Unknown,
    /// A verb of HTTP: a browser was made to speak to this port.
    Http,
    /// HELO without a name or with more than one.
    HelloName,
    /// An argument where none may be.
    NoArgument,
    /// No argument where one must be.
    Argument,
    /// MAIL that does not parse.
    Sender,
    /// MAIL with a path that is too long.
    SenderTooLong,
    /// RCPT that does not parse.
    Recipient,
    /// RCPT with a path that is too long.
    RecipientTooLong,
    /// A parameter with a bad value, or twice.
    Parameter,
    /// A parameter nobody knows.
    UnknownParameter,
    /// BDAT that does not parse. Nobody can tell what follows it.
    Chunk,
}

impl SyntaxError {
    /// What to tell the client.
    pub(crate) const fn reply(self) -> Reply {
        match self {
            SyntaxError::Characters => reply::CHARACTERS,
            SyntaxError::TooLong => reply::LINE_TOO_LONG,
            SyntaxError::Unknown => reply::UNKNOWN,
            SyntaxError::Http => reply::NO_HTTP,
            SyntaxError::HelloName => reply::HELLO_NAME,
            SyntaxError::NoArgument => reply::NO_ARGUMENT,
            SyntaxError::Argument => reply::ARGUMENT,
            SyntaxError::Sender => reply::SENDER_SYNTAX,
            SyntaxError::SenderTooLong => reply::SENDER_TOO_LONG,
            SyntaxError::Recipient => reply::RECIPIENT_SYNTAX,
            SyntaxError::RecipientTooLong => reply::RECIPIENT_TOO_LONG,
            SyntaxError::Parameter => reply::PARAMETER,
            SyntaxError::UnknownParameter => reply::UNKNOWN_PARAMETER,
            SyntaxError::Chunk => reply::CHUNK_SYNTAX,
        }
    }
}
