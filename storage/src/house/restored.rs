//! A store that is an older copy of itself.

use super::{House, OpenError};
use crate::{account::Accounts, clock::Clock, disk::Disk, format::Format, mailbox, spool::Spool};
use config::Config;
use std::{io, sync::Arc};

/// From where numbers go on in a store that was put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    /// No mailbox has a lesser UIDVALIDITY from now on.
    pub uidvalidity: u32,
    /// Ids of messages are of later runs than this.
    pub run: u64,
}

impl House {
    /// Says of a store, which nobody has open, that it is an older copy of what clients have seen: no UID under the UIDVALIDITY they know and no id is given out
    /// twice. Only a small file is changed; each mailbox gets its number when it is read the next time.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn restored(config: &Config, disk: &Arc<dyn Disk>, clock: &Clock) -> Result<Restored, OpenError> {
        let accounts = Accounts::load_at(disk.clone(), config, clock.clone()).map_err(OpenError::Accounts)?;
        let dir = config.store.join("spool");
        let wrong = |error: io::Error| match error.kind() {
            io::ErrorKind::WouldBlock => OpenError::InUse(dir.clone()),
            _ => OpenError::Store(config.store.clone(), error),
        };
        let locked = Spool::lock(disk.clone(), &dir).map_err(wrong)?;
        let last_run = locked.last_run().map_err(wrong)?;
        let format = Format::restored(&**disk, &config.store, last_run, new_validity(disk, &accounts, clock)).map_err(wrong)?;
        Ok(Restored { uidvalidity: format.uidvalidity, run: format.run })
    }
}

/// A UIDVALIDITY above all that these accounts have given out, as far as their files and the clock tell.
pub(super) fn new_validity(disk: &Arc<dyn Disk>, accounts: &Accounts, clock: &Clock) -> u32 {
    let now = u32::try_from(clock.wall_ns() / 1_000_000_000).unwrap_or(1);
    let maildirs = accounts.all().into_iter().map(|account| account.maildir.clone());
    now.max(mailbox::last_validity(disk, maildirs).saturating_add(1))
}
