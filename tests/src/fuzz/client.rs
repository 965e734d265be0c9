//! The client session: what a hostile server says.

use super::session::session;
use crate::{dialog::Client, play::words};

/// SMTP and LMTP as the one who dials; the first byte chooses which, and what is to be sent.
pub fn client_session(data: &[u8]) {
    session::<Client>("client", &words::CLIENT, data);
}
