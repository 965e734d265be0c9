//! LOGIN: a prompt for the name, a prompt for the password.

use crate::{Proof, SaslError, Secret, limits::TEXT_MAX};
use alloc::string::String;

/// What the client is to say next.
#[derive(Debug)]
pub(crate) enum State {
    User,
    Password { user: String },
}

impl State {
    /// Clients compare these texts, so they are what everybody sends.
    pub(crate) const fn prompt(&self) -> &'static str {
        match self {
            State::User => "Username:",
            State::Password { .. } => "Password:",
        }
    }

    /// Moves on; a proof when both are there.
    pub(crate) fn take(&mut self, response: &Secret) -> Result<Option<Proof>, SaslError> {
        let text = response.reveal();
        if text.is_empty() || text.contains('\0') {
            return Err(SaslError::Malformed);
        }
        if text.len() > TEXT_MAX {
            return Err(SaslError::TooLong);
        }
        match self {
            State::User if text.contains(char::is_control) => Err(SaslError::Malformed),
            State::User => {
                *self = State::Password { user: text.into() };
                Ok(None)
            }
            State::Password { user } => {
                Ok(Some(Proof::Password { act_as: String::new(), user: core::mem::take(user), password: Secret::new(text.into()) }))
            }
        }
    }
}
