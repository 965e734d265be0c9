//! Mailboxes: Maildir directories with an index beside them.
//!
//! The files are the truth and other programs may add, rename and remove them at any time; the index beside them is disposable. The format
//! of everything that is written here, and what survives a crash, is in `docs/maildir.md`.
//!
//! A [`Mailbox`] is shared by all sessions and deliveries that have to do with it. Its lock covers its index and short disk work, never
//! the reading of message bodies and never a peer.

mod account;
mod aside;
mod check;
mod checkpoint;
mod chores;
mod copy;
mod deliver;
mod describe;
mod device;
mod folders;
mod guard;
mod ledger;
mod limits;
mod load;
mod pop;
mod read;
mod refresh;
mod remove;
mod restore;
mod shelf;
mod state;
mod store;
mod turn;
mod view;
mod watch;

pub use account::Refused;
pub(crate) use account::last_validity;
pub use aside::Aside;
pub use check::{Report, Step};
pub use deliver::{Content, Deposit, Placed};
pub use folders::Moves;
pub(crate) use guard::objection;
pub use ledger::{Charge, Failed, Owed};
pub use pop::Pop;
pub use read::Cursor;
pub use remove::Doomed;
pub use shelf::{Clock, Mailboxes, Missed, Options, system_clock};
pub use state::{Mailbox, Reserved};
pub use view::View;

use imap::Refusal;
use std::{
    ffi::OsStr,
    io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};
use wire::Fault;

/// Logs what a disk could not do, and says it in the words of sessions.
fn trouble(what: &'static str, path: &Path, error: &io::Error) -> Refusal {
    tracing::error!(what, path = %path.display(), %error, "disk trouble");
    Refusal::Fault(Fault::Later)
}

/// A path below `dir` whose rest is bytes of a listing.
fn below(dir: &Path, rest: &[u8]) -> PathBuf {
    dir.join(OsStr::from_bytes(rest))
}

/// Nanoseconds of a file system as the index keeps them.
fn ns(time: i128) -> i64 {
    time.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}
