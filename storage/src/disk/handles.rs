//! Descriptors of what was used lately in Maildirs: the directories that files are moved between, and the books that each message is noted in. Opening them
//! anew for each message costs more than all else that is done with them.
//!
//! A path is what counts, not a descriptor: somebody may have moved the Maildir away and back, or put another file in the place of a book. So each use asks
//! what is at the path now, and the descriptor is only used if it is the same file. There are few of them, so that there may be more Maildirs than
//! descriptors.

use rustix::{
    fs::{self, AtFlags, CWD, Stat},
    process::{Resource, getrlimit},
};
use std::{
    collections::HashMap,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

/// How many are kept at most: those of some hundred busy mailboxes.
const MOST: usize = 1024;
/// One in so many of the descriptors that the process may have: most are for connections.
const SHARE: u64 = 16;

#[derive(Default)]
pub(super) struct Handles(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    by_path: HashMap<PathBuf, Handle>,
    /// Counts uses.
    ticket: u64,
}

struct Handle {
    file: Arc<OwnedFd>,
    /// Which file it is.
    id: (u64, u64),
    used: u64,
}

impl Handles {
    /// The descriptor of what is at this path now, which has no links on its way, and what that is; nothing if there is none.
    pub fn get(&self, path: &Path) -> Option<(Arc<OwnedFd>, Stat)> {
        let (file, id) = {
            let mut kept = self.kept();
            kept.ticket += 1;
            let used = kept.ticket;
            let handle = kept.by_path.get_mut(path)?;
            handle.used = used;
            (handle.file.clone(), handle.id)
        };
        let now = fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).ok().filter(|now| id_of(now) == id);
        if now.is_none() {
            let gone = self.kept().by_path.remove(path);
            // Not under the lock: closing may wait for a server of files that does not answer.
            drop(gone);
        }
        now.map(|now| (file, now))
    }

    /// Keeps one that was opened, in the place of the one that was unused for longest.
    pub fn keep(&self, path: PathBuf, file: OwnedFd, stat: &Stat) -> Arc<OwnedFd> {
        let file = Arc::new(file);
        // What makes room is closed behind the lock.
        let mut gone = [None, None];
        {
            let mut kept = self.kept();
            if kept.by_path.len() >= most()
                && let Some(oldest) = kept.by_path.iter().min_by_key(|(_, handle)| handle.used).map(|(path, _)| path.clone())
            {
                gone[0] = kept.by_path.remove(&oldest);
            }
            kept.ticket += 1;
            let handle = Handle { file: file.clone(), id: id_of(stat), used: kept.ticket };
            gone[1] = kept.by_path.insert(path, handle);
        }
        drop(gone);
        file
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn most() -> usize {
    static LIMIT: OnceLock<usize> = OnceLock::new();
    *LIMIT.get_or_init(|| {
        let all = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        usize::try_from(all / SHARE).map_or(MOST, |share| share.min(MOST))
    })
}

/// Device and inode. That of a file that is open is given to no other.
#[allow(clippy::unnecessary_cast)]
fn id_of(stat: &Stat) -> (u64, u64) {
    (stat.st_dev as u64, stat.st_ino as u64)
}
