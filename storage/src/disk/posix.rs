//! The file system of the machine, with nothing but POSIX calls; what a system has beyond them is used where it exists.

mod volume;

use super::{Disk, File, How, Left, Lock, Stat, Volume, beneath::Beneath};
use rustix::{
    fs::{self, AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT},
    io::Errno,
};
use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    sync::Arc,
};

/// Files are for the owner only: they are other people's mail.
pub(super) const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);

/// To reach what is in a directory one need not be able to read it, where the system knows the difference.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) const PATH_ONLY: OFlags = OFlags::PATH;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) const PATH_ONLY: OFlags = OFlags::RDONLY;

/// Directories likewise.
const DIR_MODE: Mode = Mode::RWXU;

/// The machine's own file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct Posix;

impl Disk for Posix {
    fn careful(&self) -> Option<Arc<dyn Disk>> {
        Some(Arc::new(Beneath::default()))
    }

    fn uid(&self) -> u32 {
        rustix::process::geteuid().as_raw()
    }

    fn open(&self, path: &Path, how: How) -> io::Result<Box<dyn File>> {
        Ok(Box::new(Open(retry(|| fs::open(path, flags(how) | OFlags::CLOEXEC, FILE_MODE))?)))
    }

    fn open_left(&self, path: &Path) -> io::Result<(Box<dyn File>, Left)> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = retry(|| fs::open(path, flags, Mode::empty())).map_err(not_left)?;
        let facts = left(&fs::fstat(&file)?);
        Ok((Box::new(Open(file)), facts))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Ok(fs::rename(from, to)?)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        Ok(fs::link(from, to)?)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        Ok(fs::unlink(path)?)
    }

    fn make_dir(&self, path: &Path) -> io::Result<()> {
        Ok(fs::mkdir(path, DIR_MODE)?)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        Ok(fs::rmdir(path)?)
    }

    fn list(&self, dir: &Path, each: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        self.list_kinds(dir, &mut |name, _| each(name))
    }

    fn list_kinds(&self, dir: &Path, each: &mut dyn FnMut(&[u8], bool)) -> io::Result<()> {
        list(open_dir(dir)?, each)
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        Ok(facts(&fs::stat(path)?))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        full_sync(&open_dir(dir)?)
    }

    fn volume(&self, path: &Path) -> io::Result<Box<dyn Volume>> {
        // A neighbour may have put something else in its place: no link, and nothing that is waited for.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        volume::open(retry(|| fs::open(path, flags, Mode::empty()))?)
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        let facts = fs::statvfs(path)?;
        Ok(facts.f_bavail.saturating_mul(facts.f_frsize))
    }

    fn set_modified(&self, path: &Path, seconds: i64) -> io::Result<()> {
        Ok(fs::utimensat(CWD, path, &modified(seconds), AtFlags::empty())?)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        let file = retry(|| fs::open(path, OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC, FILE_MODE))?;
        match exclusive(&file) {
            Ok(()) => Ok(Box::new(Held { _file: file })),
            // POSIX lets fcntl(2) say either.
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS) => Err(io::ErrorKind::WouldBlock.into()),
            Err(error) => Err(error.into()),
        }
    }
}

/// An open file.
pub(super) struct Open<F = OwnedFd>(pub(super) F);

impl<F: AsFd + Send + Sync> File for Open<F> {
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        Ok(retry(|| rustix::io::pread(&self.0, &mut *buf, at))?)
    }

    fn write_at(&self, mut bytes: &[u8], mut at: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            let n = some(retry(|| rustix::io::pwrite(&self.0, bytes, at))?)?;
            bytes = &bytes[n..];
            at += n as u64;
        }
        Ok(())
    }

    fn append(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let n = some(retry(|| rustix::io::write(&self.0, bytes))?)?;
            bytes = &bytes[n..];
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        Ok(retry(|| fs::ftruncate(&self.0, len))?)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(facts(&fs::fstat(&self.0)?).len)
    }

    fn sync(&self) -> io::Result<()> {
        data_sync(&self.0)
    }
}

/// A lock file; closing it lets go.
struct Held {
    _file: OwnedFd,
}

impl Lock for Held {}

/// flock(2) belongs to the open file, so it also keeps two stores of one process apart; where it is missing, fcntl(2) at least keeps
/// processes apart.
fn exclusive(file: &OwnedFd) -> rustix::io::Result<()> {
    #[cfg(not(target_os = "solaris"))]
    match fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Err(rustix::io::Errno::NOSYS | rustix::io::Errno::NOTSUP | rustix::io::Errno::INVAL) => {}
        other => return other,
    }
    fs::fcntl_lock(file, FlockOperation::NonBlockingLockExclusive)
}

/// Makes the data durable, and as much else as is needed to find it.
fn data_sync(file: &impl AsFd) -> io::Result<()> {
    #[cfg(any(target_vendor = "apple", target_os = "dragonfly", target_os = "haiku"))]
    return full_sync(file);
    #[cfg(not(any(target_vendor = "apple", target_os = "dragonfly", target_os = "haiku")))]
    Ok(retry(|| fs::fdatasync(file))?)
}

pub(super) fn flags(how: How) -> OFlags {
    match how {
        How::Read => OFlags::RDONLY,
        How::Write => OFlags::RDWR,
        How::Create => OFlags::RDWR | OFlags::CREATE | OFlags::EXCL,
        How::Append => OFlags::RDWR | OFlags::CREATE | OFlags::APPEND,
    }
}

pub(super) fn modified(seconds: i64) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT as _ },
        last_modification: Timespec { tv_sec: seconds as _, tv_nsec: 0 },
    }
}

/// Lists an open directory.
pub(super) fn list(dir: OwnedFd, each: &mut dyn FnMut(&[u8], bool)) -> io::Result<()> {
    let mut dir = fs::Dir::new(dir)?;
    while let Some(entry) = dir.read() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        let is_file = match entry.file_type() {
            // Some file systems do not say. What is gone by now is nothing.
            FileType::Unknown => fs::statat(dir.fd()?, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|stat| facts(&stat).is_file),
            kind => kind == FileType::RegularFile,
        };
        each(name, is_file);
    }
    Ok(())
}

/// Makes everything about the file durable.
pub(super) fn full_sync(file: &impl AsFd) -> io::Result<()> {
    // Apple's fsync(2) leaves the data in the drive's cache. File systems that do not know the full one say so.
    #[cfg(target_vendor = "apple")]
    match retry(|| fs::fcntl_fullfsync(file)) {
        Err(rustix::io::Errno::NOTSUP | rustix::io::Errno::NOTTY | rustix::io::Errno::INVAL) => {}
        other => return Ok(other?),
    }
    Ok(retry(|| fs::fsync(file))?)
}

fn open_dir(dir: &Path) -> io::Result<OwnedFd> {
    Ok(retry(|| fs::open(dir, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()))?)
}

/// The fields differ in type and sign from system to system.
#[allow(clippy::unnecessary_cast)]
pub(super) fn facts(stat: &fs::Stat) -> Stat {
    let kind = FileType::from_raw_mode(stat.st_mode as _);
    Stat {
        len: stat.st_size as u64,
        modified_ns: stat.st_mtime as i128 * 1_000_000_000 + stat.st_mtime_nsec as i128,
        is_dir: kind == FileType::Directory,
        is_file: kind == FileType::RegularFile,
        uid: stat.st_uid as u32,
        is_shared: stat.st_mode as u32 & 0o022 != 0,
        inode: stat.st_ino as u64,
        device: stat.st_dev as u64,
    }
}

#[allow(clippy::unnecessary_cast)]
pub(super) fn left(stat: &fs::Stat) -> Left {
    Left {
        uid: stat.st_uid as u32,
        is_file: FileType::from_raw_mode(stat.st_mode as _) == FileType::RegularFile,
        links: stat.st_nlink as u64,
        len: stat.st_size as u64,
        inode: stat.st_ino as u64,
        modified_ns: stat.st_mtime as i128 * 1_000_000_000 + stat.st_mtime_nsec as i128,
    }
}

/// Why what somebody left cannot be read. That it may not be is no reason to give it up: access modules and network file systems say so for a while, and
/// its mail was promised.
fn not_left(error: Errno) -> io::Error {
    match error {
        // FreeBSD says EMLINK of a link.
        Errno::LOOP | Errno::MLINK | Errno::NXIO | Errno::OPNOTSUPP => io::Error::new(io::ErrorKind::InvalidData, error),
        error => error.into(),
    }
}

/// A signal is no failure.
pub(super) fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    loop {
        match call() {
            Err(rustix::io::Errno::INTR) => {}
            other => return other,
        }
    }
}

/// A write of nothing would be tried for ever.
fn some(n: usize) -> io::Result<usize> {
    if n == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(n) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    /// A directory of our own, removed when the test passed.
    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("hikyaku-disk-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        Posix.make_dir(&dir).unwrap();
        dir
    }

    #[test]
    fn what_may_not_be_read_now_is_not_given_up() {
        assert_eq!(not_left(Errno::ACCESS).kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(not_left(Errno::LOOP).kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn what_was_written_is_read() {
        let dir = scratch("read");
        let path = dir.join("a");
        let file = Posix.open(&path, How::Create).unwrap();
        file.append(b"hello ").unwrap();
        file.append(b"world").unwrap();
        assert_eq!(Posix.open(&path, How::Create).err().unwrap().kind(), io::ErrorKind::AlreadyExists);
        file.write_at(b"W", 6).unwrap();
        file.sync().unwrap();
        let mut buf = [0; 20];
        assert_eq!(file.read_at(&mut buf, 0).unwrap(), 11);
        assert_eq!(&buf[..11], b"hello World");
        Posix.open(&path, How::Append).unwrap().append(b"!").unwrap();
        assert_eq!(file.len().unwrap(), 12);
        Posix.link(&path, &dir.join("b")).unwrap();
        Posix.set_modified(&path, 1_000_000_000).unwrap();
        let stat = Posix.stat(&dir.join("b")).unwrap();
        assert_eq!((stat.len, stat.is_dir, stat.modified_ns), (12, false, 1_000_000_000_000_000_000));
        assert_eq!(stat.inode, Posix.stat(&path).unwrap().inode);
        let mut names = Vec::new();
        Posix.list(&dir, &mut |name| names.push(name.to_vec())).unwrap();
        names.sort();
        assert_eq!(names, [b"a", b"b"]);
        Posix.sync_dir(&dir).unwrap();
        match Posix.volume(&dir).and_then(|volume| volume.sync()) {
            Ok(()) => {}
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::Unsupported),
        }
        assert!(Posix.stat(&dir).unwrap().is_dir);
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_lock_keeps_others_out_until_it_is_dropped() {
        let dir = scratch("lock");
        let path = dir.join("lock");
        let held = Posix.lock(&path).unwrap();
        assert_eq!(Posix.lock(&path).err().unwrap().kind(), io::ErrorKind::WouldBlock);
        drop(held);
        drop(Posix.lock(&path).unwrap());
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
