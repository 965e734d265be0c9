//! `restored`: the store is an older copy of itself.

use super::{Console, Done, Failure};
use crate::{
    clock::Clock,
    disk::{Disk, Posix},
    house::{House, OpenError},
};
use config::Config;
use std::sync::Arc;

pub(super) fn restored(config: &Config, console: &mut Console<'_>) -> Done {
    let disk: Arc<dyn Disk> = Arc::new(Posix);
    let restored = House::restored(config, &disk, &Clock::system()).map_err(|e| match e {
        OpenError::InUse(_) => Failure::new("the server is running; stop it first"),
        e => Failure::new(e.to_string()),
    })?;
    writeln!(
        console.out,
        "{}: taken for an older copy.\nEach mailbox gets a new UIDVALIDITY, {} or greater, when it is opened next, and clients read it anew.\n\
         Ids of messages go on after run {}.",
        config.store.display(),
        restored.uidvalidity,
        restored.run
    )?;
    Ok(())
}
