//! What the server may still do once its ports are bound: whoever takes it over through a mistake of ours finds no more than it needs.
//!
//! [`enter`] is called once, while there is one thread, as the user the server is from then on. It cannot be undone, and threads that begin later have
//! it too. What each system can do:
//!
//! - **Linux**: no new privileges, no core dump, no tracing; Landlock (files, new ports, other processes) and a seccomp filter (`linux.rs`).
//! - **OpenBSD**: unveil(2) for files and pledge(2) for calls (`openbsd.rs`).
//! - **FreeBSD**: capsicum(4) takes away every path, and a Maildir is nothing but paths; without a process that opens files for the server it cannot be used.
//! - **Elsewhere**: a file mode mask and no core dump. There is nothing else that a program can do to itself without unsafe code.

mod needs;

#[cfg(target_os = "linux")]
#[path = "sandbox/linux.rs"]
mod system;
#[cfg(target_os = "openbsd")]
#[path = "sandbox/openbsd.rs"]
mod system;
#[cfg(not(any(target_os = "linux", target_os = "openbsd")))]
#[path = "sandbox/none.rs"]
mod system;

pub use needs::Needs;
pub(crate) use needs::check;

use rustix::{
    fs::Mode,
    process::{Resource, Rlimit, setrlimit, umask},
};
use std::{io, path::Path, sync::OnceLock};

/// What a system can do about each part. A part that it cannot do has a reason.
trait Walls {
    /// Lets nothing dump, trace or read the memory of this process.
    fn hide(&self) -> Result<(), String>;
    /// Lets it reach no other files than it needs. Says what else that holds.
    fn files(&self, needs: &Needs) -> Result<&'static str, String>;
    /// Lets it make no calls that it does not need.
    fn calls(&self) -> Result<&'static str, String>;
    /// What of this it could not do on this machine, as far as can be told without doing it.
    fn lacks(&self) -> Option<String>;
}

/// What holds since [`enter`].
#[derive(Debug, Clone, Default)]
pub struct Held {
    /// What is held back, in a few words.
    pub by: Vec<&'static str>,
    /// What this system cannot do, or did not, and why.
    pub missing: Vec<String>,
}

/// What may be reached since [`enter`]; not there if everything may.
static REACH: OnceLock<Needs> = OnceLock::new();
static HELD: OnceLock<Held> = OnceLock::new();

/// Closes this process in. What the system cannot do is told, and no reason not to serve: older kernels and other systems have mail too. Only the first
/// call counts.
pub fn enter(needs: Needs) -> Held {
    let mut held = closed();
    let walls = system::System;
    let mut note = |done: Result<&'static str, String>, what: &str| match done {
        Ok(by) => held.by.push(by),
        Err(why) => held.missing.push(format!("{what}: {why}")),
    };
    note(no_core().map(|()| "no core dumps"), "core dumps");
    note(walls.hide().map(|()| "no tracing"), "tracing");
    let files = walls.files(&needs);
    let is_shut = files.is_ok();
    note(files, "files");
    note(walls.calls(), "system calls");
    if is_shut {
        let _ = REACH.set(needs);
    }
    let _ = HELD.set(held.clone());
    held
}

/// The same without walls, for an operator who looks for a fault: what is written is for nobody else all the same.
pub fn stay_out() -> Held {
    let mut held = closed();
    held.missing.push("the rest: `sandbox: false`".into());
    let _ = HELD.set(held.clone());
    held
}

/// What holds in this process; nothing before [`enter`].
pub fn held() -> Held {
    HELD.get().cloned().unwrap_or_default()
}

/// What this machine lacks to close a server in, if anything.
pub fn lacks() -> Option<String> {
    system::System.lacks()
}

/// Whether a path can be reached, to write there or to read it.
///
/// # Errors
/// A sentence for the operator.
pub fn reaches(path: &Path, write: bool) -> Result<(), String> {
    match REACH.get() {
        Some(reach) if !reach.covers(path, write) => {
            Err(format!("{}: this lies outside of what the server closed itself in with at its start; restart it", path.display()))
        }
        _ => Ok(()),
    }
}

/// The error of a path, with a word more if it comes from here: "permission denied" alone sends people to look at modes.
pub fn explained(path: &Path, write: bool, error: io::Error) -> io::Error {
    match reaches(path, write) {
        Err(why) if error.kind() == io::ErrorKind::PermissionDenied => io::Error::new(error.kind(), format!("{error}: {why}")),
        _ => error,
    }
}

fn closed() -> Held {
    // Whatever a library makes without a mode of its own is not for others either.
    umask(Mode::from_raw_mode(0o077));
    Held { by: vec!["files of its own only"], missing: Vec::new() }
}

/// A core dump would have passwords, keys and mail in it.
fn no_core() -> Result<(), String> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests;
