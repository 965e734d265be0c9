//! What a client says of itself, and what comes of it.

use alloc::string::String;
use core::fmt;

/// Text that must not reach a log. `Debug` hides it; memory is overwritten when it goes.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text`.
    pub fn new(text: String) -> Secret {
        Secret(text)
    }

    /// The text itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What a client offers to prove who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// A name and a password (PLAIN, LOGIN, USER and PASS, IMAP LOGIN).
    Password {
        /// Whom to act as, if not `user` (the authorization identity of RFC 4616); empty if not given.
        act_as: String,
        /// Who they say they are, as they typed it.
        user: String,
        /// The password.
        password: Secret,
    },
}

/// A login that succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The account, as `alice@example.test`.
    pub account: String,
}

/// Why there is no login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// Wrong name or password; nobody says which (535 5.7.8, `NO [AUTHENTICATIONFAILED]`, `-ERR [AUTH]`).
    Wrong,
    /// Too many failures from this address or for this account; wait (454 4.7.0, `NO [UNAVAILABLE]`, `-ERR [SYS/TEMP]`).
    TooMany,
    /// Right, but the account may not (525 5.7.13, `NO [AUTHORIZATIONFAILED]`, `-ERR [AUTH]`).
    Disabled,
    /// The host cannot tell now (454 4.7.0, `NO [UNAVAILABLE]`, `-ERR [SYS/TEMP]`).
    Later,
}
