//! What the process is: its user, and how many files it may open.

use nix::unistd::{self, Gid, Uid, User};
use rustix::{
    io::Errno,
    process::{Resource, Rlimit, getrlimit, setrlimit},
};
use std::{ffi::CString, fmt, io};

/// Raises the limit of open files as far as it may be raised. Says what it is now; `None` if there is none.
pub fn raise_open_files() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        // Some systems say "no limit" but refuse more than a constant of theirs; the old limit holds then.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    }
    getrlimit(Resource::Nofile).current
}

/// Whether a port could not be had because its kind of address does not exist on this machine. Of IPv4 every machine has some.
pub fn has_no_ipv6(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL))
}

/// Gives root away for good: all threads become `user`, with its groups.
///
/// Without effect if the process is that user already. Call it while there is one thread: on systems where ids belong to threads, libc changes all
/// of them, but whoever started in between might have acted as root.
///
/// # Errors
/// If there is no such user, if this process may not become it, or if root could be had back.
pub fn become_user(name: &str) -> Result<(), UserError> {
    let user =
        User::from_name(name).map_err(|e| UserError::Refused("getpwnam", e.into()))?.ok_or_else(|| UserError::Unknown(name.into()))?;
    if !Uid::effective().is_root() && Uid::effective() == user.uid && Uid::current() == user.uid {
        return Ok(());
    }
    let name = CString::new(name).map_err(|_| UserError::Unknown(name.into()))?;
    // Groups first: once the user is another, nobody may change them.
    groups(&name, user.gid)?;
    unistd::setgid(user.gid).map_err(|e| UserError::Refused("setgid", e.into()))?;
    unistd::setuid(user.uid).map_err(|e| UserError::Refused("setuid", e.into()))?;
    let same = Uid::current() == user.uid && Uid::effective() == user.uid && Gid::current() == user.gid && Gid::effective() == user.gid;
    if !same || (!user.uid.is_root() && unistd::setuid(Uid::from_raw(0)).is_ok()) {
        return Err(UserError::Regained);
    }
    Ok(())
}

#[cfg(not(any(target_vendor = "apple", target_os = "redox", target_os = "haiku")))]
fn groups(name: &CString, gid: Gid) -> Result<(), UserError> {
    unistd::initgroups(name, gid).map_err(|e| UserError::Refused("initgroups", e.into()))
}

/// Where nix has no initgroups(3): to keep root's groups would be to keep half of root. Start as that user there.
#[cfg(any(target_vendor = "apple", target_os = "redox", target_os = "haiku"))]
fn groups(_: &CString, _: Gid) -> Result<(), UserError> {
    Err(UserError::Refused("initgroups", io::ErrorKind::Unsupported.into()))
}

/// Why the user did not change. Serving on as root would be worse than not serving.
#[derive(Debug)]
#[non_exhaustive]
pub enum UserError {
    /// No such user.
    Unknown(String),
    /// The system refused that call.
    Refused(&'static str, io::Error),
    /// It worked, and yet root could be had back.
    Regained,
}

impl fmt::Display for UserError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UserError::Unknown(name) => write!(f, "there is no user {name:?}"),
            UserError::Refused(call, e) => write!(f, "cannot change the user: {call}: {e}"),
            UserError::Regained => f.write_str("cannot change the user: root could be had back"),
        }
    }
}

impl std::error::Error for UserError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_many() {
        assert!(raise_open_files().is_none_or(|n| n >= 256));
    }

    #[test]
    fn users_exist() {
        assert!(matches!(become_user("no-such-user"), Err(UserError::Unknown(_))));
    }

    #[test]
    fn an_address_of_no_machine_is_none_here() {
        // What a machine without IPv6 says cannot be had from one that has it; an address for documentation is the nearest.
        let error = std::net::TcpListener::bind("[2001:db8::1]:0").unwrap_err();
        assert!(has_no_ipv6(&error), "{error}");
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(!has_no_ipv6(&std::net::TcpListener::bind(taken.local_addr().unwrap()).unwrap_err()));
    }
}
