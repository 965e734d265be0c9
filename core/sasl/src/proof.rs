//! What a client says of itself, and what comes of it.

use alloc::{string::String, vec::Vec};
use core::{fmt, hint::black_box, mem};

/// Text that must not reach a log. `Debug` hides it; memory is overwritten when it goes.
///
/// That is as good as safe code can make it: a compiler that sees through `black_box` could leave the overwriting out, a `String` that
/// was moved or grew before it came here may have left copies, and so have the inbox and the TLS layer the bytes came through.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text`.
    pub fn new(text: String) -> Secret {
        Secret(text)
    }

    /// Keeps `bytes` if they are UTF-8, and overwrites them otherwise.
    pub fn from_utf8(bytes: Vec<u8>) -> Option<Secret> {
        match String::from_utf8(bytes) {
            Ok(text) => Some(Secret(text)),
            Err(error) => {
                wipe(error.into_bytes());
                None
            }
        }
    }

    /// The text itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        wipe(mem::take(&mut self.0).into_bytes());
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

fn wipe(mut bytes: Vec<u8>) {
    bytes.fill(0);
    // Somebody might look at it: without this the writes are dead and go away with the allocation.
    black_box(&bytes[..]);
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
