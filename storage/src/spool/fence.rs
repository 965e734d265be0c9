//! Another server may have opened the same log, where the lock is not worth much: over NFS without its locks, or with a copy of a virtual machine. Who comes later has
//! the store, and says so in a file; who was there before finds that and writes nothing any more.

use super::Spool;
use crate::format;
use std::{io, sync::atomic::Ordering};

impl Spool {
    /// Looks whether another server has opened this log since. Call it about once a second: it reads a short file.
    ///
    /// # Errors
    /// If so; from then on nothing is written here, and every commit fails.
    pub fn look_at_fence(&self) -> io::Result<()> {
        self.unfenced()?;
        let Some(path) = &self.options.fence else { return Ok(()) };
        match format::run_at(&*self.disk, path) {
            Some(run) if run > self.run => {
                if !self.fenced.swap(true, Ordering::Relaxed) {
                    tracing::error!(
                        run,
                        ours = self.run,
                        "another server has opened this store: nobody is served here any more; stop one of the two, this one unless you know better"
                    );
                }
                self.unfenced()
            }
            _ => Ok(()),
        }
    }

    /// Whether another server has the log now.
    pub fn is_fenced(&self) -> bool {
        self.fenced.load(Ordering::Relaxed)
    }

    pub(super) fn unfenced(&self) -> io::Result<()> {
        match self.is_fenced() {
            true => Err(io::Error::other("another server has opened this store since")),
            false => Ok(()),
        }
    }
}
