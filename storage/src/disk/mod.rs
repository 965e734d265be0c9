//! What Hikyaku wants of a file system, as a trait: POSIX in production, a crashing one in tests.
//!
//! All of storage goes through [`Disk`], so a test can stop the world after any operation and look at every state a power
//! cut could leave. The rules a crash obeys are those of POSIX and no better ones: data survives if its file was synced after
//! the write; a name survives if its directory was synced after the change; everything else may survive in part, in any order.

mod beneath;
mod handles;
mod posix;

pub use posix::Posix;

use std::{io, path::Path, sync::Arc};

/// A file system. Calls may block; none of them is a cancellation point.
pub trait Disk: Send + Sync {
    /// The same disk for whoever has to do with directories in which others may write, if there is such a thing as a link on it: see [`Disk::confine`].
    fn careful(&self) -> Option<Arc<dyn Disk>> {
        None
    }
    /// From now on nothing beneath this directory is reached by a link, and only ordinary files are opened there: `InvalidData` otherwise. Whether the way
    /// to it has links is the operator's business.
    fn confine(&self, _root: &Path) {}
    /// As whom files are made.
    fn uid(&self) -> u32 {
        0
    }
    /// Opens a file of our own in a directory where others may write.
    ///
    /// # Errors
    /// `InvalidData` if it is no ordinary file, belongs to somebody else, or has another name and would be written to: what is written would appear where
    /// that name is. Else as [`Disk::open`].
    fn open_book(&self, path: &Path, how: How) -> io::Result<Box<dyn File>> {
        self.open(path, how)
    }
    /// Opens a file.
    ///
    /// # Errors
    /// As open(2).
    fn open(&self, path: &Path, how: How) -> io::Result<Box<dyn File>>;
    /// Opens a file that somebody else left, to read: no link is followed and nothing is waited for.
    ///
    /// # Errors
    /// `InvalidData` if it is a link or nothing that can be read; else as open(2).
    fn open_left(&self, path: &Path) -> io::Result<(Box<dyn File>, Left)>;
    /// rename(2): atomic, replaces.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// link(2): fails if `to` exists.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// unlink(2).
    fn unlink(&self, path: &Path) -> io::Result<()>;
    /// mkdir(2), one level, for the owner only; an existing directory is an error of kind `AlreadyExists`.
    fn make_dir(&self, path: &Path) -> io::Result<()>;
    /// rmdir(2).
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
    /// Calls `each` with the name of every entry except `.` and `..`, in no particular order.
    fn list(&self, dir: &Path, each: &mut dyn FnMut(&[u8])) -> io::Result<()>;
    /// The same, and says of each whether it is an ordinary file.
    fn list_kinds(&self, dir: &Path, each: &mut dyn FnMut(&[u8], bool)) -> io::Result<()> {
        self.list(dir, &mut |name| each(name, true))
    }
    /// stat(2); in a confined directory lstat(2).
    fn stat(&self, path: &Path) -> io::Result<Stat>;
    /// Makes the names in `dir` durable: fsync(2) of the directory.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// The file system that holds `path`, opened to be synced as a whole. Keep it: it vouches only for what was written after this call.
    ///
    /// # Errors
    /// As open(2). `Unsupported` where the system cannot sync a file system and say whether that went well: sync each file through the descriptor
    /// that wrote it, and each directory, then.
    fn volume(&self, path: &Path) -> io::Result<Box<dyn Volume>>;
    /// Bytes that somebody without privileges may still write to the file system that holds `path` (statvfs(3)).
    ///
    /// # Errors
    /// `Unsupported` where nobody knows.
    fn free_space(&self, path: &Path) -> io::Result<u64> {
        let _ = path;
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Sets the modification time to `seconds` since the epoch.
    fn set_modified(&self, path: &Path, seconds: i64) -> io::Result<()>;
    /// Takes the lock that the file at `path` stands for (it is made if it does not exist), so that two servers never share a store. It is
    /// advisory, is never waited for, and ends when it is dropped or the process ends, however it ends.
    ///
    /// # Errors
    /// `WouldBlock` if somebody else has it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>>;
}

/// A file system that was opened to be synced as a whole (syncfs(2)).
pub trait Volume: Send + Sync {
    /// Makes everything durable that was written to it.
    ///
    /// # Errors
    /// If anything that was written since the last call, or since this was opened, did not reach the disk, whether this call tried to write it or
    /// the system did so before, and whoever else was told of it. Each failure is told once, so nothing written before may be trusted then.
    fn sync(&self) -> io::Result<()>;
}

/// A lock that is held until this is dropped.
pub trait Lock: Send + Sync {}

/// How to open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// To read; must exist.
    Read,
    /// To read and write; must exist.
    Write,
    /// To read and write; must not exist.
    Create,
    /// To read and append; made if it does not exist.
    Append,
}

/// Facts about an open file that somebody else left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// Whose it is.
    pub uid: u32,
    /// Whether it is an ordinary file.
    pub is_file: bool,
    /// How many names it has.
    pub links: u64,
    /// Bytes.
    pub len: u64,
    /// The inode: another file may have it once this one is gone.
    pub inode: u64,
    /// Modification time in nanoseconds since the epoch.
    pub modified_ns: i128,
}

/// An open file. Shared by threads: positions are explicit.
#[allow(clippy::len_without_is_empty)]
pub trait File: Send + Sync {
    /// pread(2).
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize>;
    /// pwrite(2), all of it.
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()>;
    /// write(2) to a file opened with [`How::Append`] or [`How::Create`], at its end, all of it. A file that was created is filled either with
    /// this or with [`File::write_at`]: where the end is after both is not said.
    fn append(&self, bytes: &[u8]) -> io::Result<()>;
    /// ftruncate(2).
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// The length.
    fn len(&self) -> io::Result<u64>;
    /// fdatasync(2): the data, and what is needed to find it, is durable.
    fn sync(&self) -> io::Result<()>;
}

/// Facts about a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Bytes.
    pub len: u64,
    /// Modification time in nanoseconds since the epoch.
    pub modified_ns: i128,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// Whether it is an ordinary file.
    pub is_file: bool,
    /// Whose it is.
    pub uid: u32,
    /// Whether others than its owner may write it: its group, or everybody.
    pub is_shared: bool,
    /// The inode: two names of one file have the same.
    pub inode: u64,
    /// The file system it is on.
    pub device: u64,
}
