//! PLAIN (RFC 4616).

use crate::{Proof, SaslError, Secret, limits::TEXT_MAX};

/// `[authzid] NUL authcid NUL passwd`. SASLprep is left to the host, which may compare names as it likes and must hash a password
/// as it came.
pub(crate) fn take(response: &Secret) -> Result<Proof, SaslError> {
    let mut parts = response.reveal().split('\0');
    let (Some(act_as), Some(user), Some(password), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err(SaslError::Malformed);
    };
    // RFC 4616 §2: authcid and passwd are at least one character. A name with a line end in it would forge lines of a log.
    if user.is_empty() || password.is_empty() || [act_as, user].iter().any(|name| name.contains(char::is_control)) {
        return Err(SaslError::Malformed);
    }
    if [act_as, user, password].iter().any(|text| text.len() > TEXT_MAX) {
        return Err(SaslError::TooLong);
    }
    Ok(Proof::Password { act_as: act_as.into(), user: user.into(), password: Secret::new(password.into()) })
}
