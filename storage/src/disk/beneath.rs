//! Directories in which somebody else may write: no link beneath them is followed, and nothing but ordinary files is opened there.
//!
//! A Maildir is such a directory. Whoever may write there could otherwise put a link in the place of a message and read another's mail, or in the place of
//! a book of ours and have us cut off the spool. The way to the Maildir is the operator's and may have links (`mail/` on another disk); they are
//! followed once, when it is first used, and only those that root or we ourselves made: the owner of a directory on the way may not lead elsewhere.
//!
//! What is here is found by its path each time, also where a descriptor is kept for the next time ([`super::handles`]): a Maildir may be moved away and back,
//! or mounted again. On Linux one openat2(2) without links costs no more than open(2); elsewhere each level is opened without following.

use super::{
    Disk, File, How, Left, Lock, Posix, Stat, Volume,
    handles::Handles,
    posix::{FILE_MODE, Open, PATH_ONLY, facts, full_sync, left, retry},
};
use rustix::{
    fs::{self, AtFlags, CWD, Mode, OFlags},
    io::Errno,
};
use std::{
    collections::HashMap,
    ffi::{OsStr, OsString},
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::{Component, Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

/// How many links a way may have, as in Linux.
const LINKS: u32 = 40;

/// The machine's file system, careful beneath the directories it was told of.
#[derive(Default)]
pub(super) struct Beneath {
    /// By the path that the operator gave; where that leads, once it is there.
    roots: RwLock<HashMap<Box<[u8]>, Option<PathBuf>>>,
    handles: Handles,
}

/// A path beneath one of the directories, or that of the directory itself.
struct Spot {
    /// Free of links as far as the directory, and plain names only behind it.
    path: PathBuf,
    /// Bytes of the directory.
    root: usize,
}

impl Beneath {
    /// Where a path is; `None` if it is beneath none of the directories.
    fn spot(&self, path: &Path) -> io::Result<Option<Spot>> {
        let bytes = trimmed(path);
        let mut end = bytes.len();
        loop {
            let found = self.roots.read().unwrap_or_else(PoisonError::into_inner).get(&bytes[..end]).cloned();
            if let Some(known) = found {
                let rest = Path::new(OsStr::from_bytes(bytes[end..].strip_prefix(b"/").unwrap_or_default()));
                if !rest.components().all(|c| matches!(c, Component::Normal(_))) {
                    return Err(io::ErrorKind::InvalidInput.into());
                }
                let mut path = match known {
                    Some(root) => root,
                    None => self.follow(&bytes[..end])?,
                };
                let root = path.as_os_str().len();
                if !rest.as_os_str().is_empty() {
                    path.push(rest);
                }
                return Ok(Some(Spot { path, root }));
            }
            match bytes[..end].iter().rposition(|&b| b == b'/') {
                Some(at) if at > 0 => end = at,
                _ => return Ok(None),
            }
        }
    }

    /// Follows the operator's links. A directory that is not there yet may still come by one, so that is not remembered.
    fn follow(&self, root: &[u8]) -> io::Result<PathBuf> {
        let (real, is_there) = resolve(Path::new(OsStr::from_bytes(root)))?;
        if is_there {
            self.roots.write().unwrap_or_else(PoisonError::into_inner).insert(root.into(), Some(real.clone()));
        }
        Ok(real)
    }
}

impl Disk for Beneath {
    fn confine(&self, root: &Path) {
        self.roots.write().unwrap_or_else(PoisonError::into_inner).entry(trimmed(root).into()).or_default();
    }

    fn open(&self, path: &Path, how: How) -> io::Result<Box<dyn File>> {
        let Some(spot) = self.spot(path)? else { return Posix.open(path, how) };
        Ok(Box::new(Open(spot.open_ordinary(how)?.0)))
    }

    fn open_book(&self, path: &Path, how: How) -> io::Result<Box<dyn File>> {
        let Some(spot) = self.spot(path)? else { return Posix.open(path, how) };
        if how != How::Append {
            let (file, stat) = spot.open_ordinary(how)?;
            self.check_book(&stat, how)?;
            return Ok(Box::new(Open(file)));
        }
        // Each message is noted in the same ones.
        if let Some((file, stat)) = self.handles.get(&spot.path) {
            self.check_book(&stat, how)?;
            return Ok(Box::new(Open(file)));
        }
        let (file, stat) = spot.open_ordinary(how)?;
        self.check_book(&stat, how)?;
        Ok(Box::new(Open(self.handles.keep(spot.path, file, &stat))))
    }

    fn open_left(&self, path: &Path) -> io::Result<(Box<dyn File>, Left)> {
        let Some(spot) = self.spot(path)? else { return Posix.open_left(path) };
        let (file, stat) = spot.open_ordinary(How::Read)?;
        Ok((Box::new(Open(file)), left(&stat)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let ((from, old), (to, new)) = (self.parent(from)?, self.parent(to)?);
        Ok(fs::renameat(from, old, to, new)?)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let ((from, old), (to, new)) = (self.parent(from)?, self.parent(to)?);
        Ok(fs::linkat(from, old, to, new, AtFlags::empty())?)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        let (dir, name) = self.parent(path)?;
        Ok(fs::unlinkat(dir, name, AtFlags::empty())?)
    }

    fn make_dir(&self, path: &Path) -> io::Result<()> {
        let (dir, name) = self.parent(path)?;
        Ok(fs::mkdirat(dir, name, Mode::RWXU)?)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let (dir, name) = self.parent(path)?;
        Ok(fs::unlinkat(dir, name, AtFlags::REMOVEDIR)?)
    }

    fn list(&self, dir: &Path, each: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        self.list_kinds(dir, &mut |name, _| each(name))
    }

    fn list_kinds(&self, dir: &Path, each: &mut dyn FnMut(&[u8], bool)) -> io::Result<()> {
        let Some(spot) = self.spot(dir)? else { return Posix.list_kinds(dir, each) };
        super::posix::list(spot.open(OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?, each)
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        let Some(spot) = self.spot(path)? else { return Posix.stat(path) };
        if spot.names().nth(1).is_none() {
            // Nothing between the directory and this can be a link.
            return Ok(facts(&fs::statat(CWD, &spot.path, AtFlags::SYMLINK_NOFOLLOW)?));
        }
        let (dir, name) = self.parent_of(&spot)?;
        Ok(facts(&fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let Some(spot) = self.spot(dir)? else { return Posix.sync_dir(dir) };
        full_sync(&spot.open(OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?)
    }

    fn volume(&self, path: &Path) -> io::Result<Box<dyn Volume>> {
        Posix.volume(path)
    }

    fn set_modified(&self, path: &Path, seconds: i64) -> io::Result<()> {
        let (dir, name) = self.parent(path)?;
        Ok(fs::utimensat(dir, name, &super::posix::modified(seconds), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        Posix.lock(path)
    }

    fn uid(&self) -> u32 {
        Posix.uid()
    }
}

impl Beneath {
    /// Whether a book may be used like this.
    fn check_book(&self, stat: &fs::Stat, how: How) -> io::Result<()> {
        let facts = left(stat);
        // What root made, a backup that was played back, is nobody's trick.
        if facts.uid != self.uid() && facts.uid != 0 {
            return Err(odd("it belongs to somebody else"));
        }
        if facts.links != 1 && how != How::Read {
            return Err(odd("it has another name somewhere"));
        }
        Ok(())
    }

    /// The directory that something beneath one of ours is in, and its name there.
    fn parent_of<'a>(&self, spot: &'a Spot) -> io::Result<(Arc<OwnedFd>, &'a OsStr)> {
        let (Some(dir), Some(name)) = (spot.path.parent(), spot.path.file_name()) else { return Err(io::ErrorKind::InvalidInput.into()) };
        if let Some((dir, _)) = self.handles.get(dir) {
            return Ok((dir, name));
        }
        let dir = Spot { path: dir.to_owned(), root: spot.root };
        let file = dir.open(PATH_ONLY | OFlags::DIRECTORY, Mode::empty())?;
        let stat = fs::fstat(&file)?;
        Ok((self.handles.keep(dir.path, file, &stat), name))
    }

    /// The directory that a name is in, and the name.
    fn parent(&self, path: &Path) -> io::Result<(Arc<OwnedFd>, OsString)> {
        match self.spot(path)? {
            Some(spot) if spot.names().next().is_some() => self.parent_of(&spot).map(|(dir, name)| (dir, name.to_owned())),
            // The directory itself, or one elsewhere: the way there is the operator's.
            _ => {
                let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
                let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
                let dir = retry(|| fs::open(dir, PATH_ONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()))?;
                Ok((Arc::new(dir), name.to_owned()))
            }
        }
    }
}

impl Spot {
    /// What is behind the directory.
    fn names(&self) -> impl Iterator<Item = &OsStr> {
        let rest = &self.path.as_os_str().as_bytes()[self.root..];
        rest.split(|&b| b == b'/').filter(|name| !name.is_empty()).map(OsStr::from_bytes)
    }

    /// Opens a file if it is an ordinary one. Nothing is waited for: a FIFO or a device ends here too.
    fn open_ordinary(&self, how: How) -> io::Result<(OwnedFd, fs::Stat)> {
        let mode = if matches!(how, How::Create | How::Append) { FILE_MODE } else { Mode::empty() };
        let file = self.open(super::posix::flags(how) | OFlags::NONBLOCK, mode)?;
        let stat = fs::fstat(&file)?;
        if !left(&stat).is_file {
            return Err(odd("it is no ordinary file"));
        }
        Ok((file, stat))
    }

    /// Opens what is there, following no link.
    fn open(&self, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if has_openat2() {
            return retry(|| fs::openat2(CWD, &self.path, flags, mode, fs::ResolveFlags::NO_SYMLINKS)).map_err(explain);
        }
        self.open_by_levels(flags, mode).map_err(explain)
    }

    /// The same where the system has no such call. What is above the directory is followed: only its owners can change it.
    fn open_by_levels(&self, flags: OFlags, mode: Mode) -> rustix::io::Result<OwnedFd> {
        let level = PATH_ONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root = OsStr::from_bytes(&self.path.as_os_str().as_bytes()[..self.root]);
        let mut names = self.names().peekable();
        if names.peek().is_none() {
            return retry(|| fs::open(root, flags, mode));
        }
        let mut dir = retry(|| fs::open(root, level, Mode::empty()))?;
        while let Some(name) = names.next() {
            if names.peek().is_none() {
                return retry(|| fs::openat(&dir, name, flags, mode));
            }
            dir = retry(|| fs::openat(dir.as_fd(), name, level, Mode::empty()))?;
        }
        Err(Errno::INVAL)
    }
}

/// Whether the kernel has openat2(2) and lets us use it: Linux 5.6, and some containers forbid what their makers did not know.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn has_openat2() -> bool {
    static HAS: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *HAS.get_or_init(|| {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        fs::openat2(CWD, "/", flags, Mode::empty(), fs::ResolveFlags::NO_SYMLINKS).is_ok()
    })
}

/// Links, sockets and FIFOs have many errors and one meaning.
fn explain(error: Errno) -> io::Error {
    match error {
        // FreeBSD says EMLINK of a link.
        Errno::LOOP | Errno::MLINK => odd("it is a link, or behind one"),
        Errno::NXIO | Errno::OPNOTSUPP | Errno::ISDIR => odd("it is no ordinary file"),
        error => error.into(),
    }
}

/// Not what it should be; see [`Disk::open_book`].
fn odd(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Follows the links on a way, and says whether there is something at its end.
fn resolve(path: &Path) -> io::Result<(PathBuf, bool)> {
    let me = Posix.uid();
    let mut todo: Vec<OsString> = parts(&std::path::absolute(path)?);
    let (mut real, mut links, mut is_there) = (PathBuf::from("/"), 0, true);
    while let Some(part) = todo.pop() {
        if part == ".." {
            real.pop();
            continue;
        }
        let next = real.join(&part);
        match fs::lstat(&next) {
            Ok(stat) if fs::FileType::from_raw_mode(stat.st_mode as _) == fs::FileType::Symlink => {
                links += 1;
                if links > LINKS {
                    return Err(Errno::LOOP.into());
                }
                if stat.st_uid != 0 && stat.st_uid != me {
                    let why = format!("{} is a link that somebody else made", next.display());
                    return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
                }
                let target = PathBuf::from(OsString::from_vec(fs::readlink(&next, Vec::new())?.into_bytes()));
                if target.is_absolute() {
                    real = PathBuf::from("/");
                }
                todo.extend(parts(&target));
            }
            Ok(_) => real = next,
            Err(Errno::NOENT) => (real, is_there) = (next, false),
            Err(error) => return Err(error.into()),
        }
    }
    Ok((real, is_there))
}

/// Names of a path, last first.
fn parts(path: &Path) -> Vec<OsString> {
    let names = path.components().filter(|c| matches!(c, Component::Normal(_) | Component::ParentDir));
    let mut names: Vec<OsString> = names.map(|c| c.as_os_str().to_owned()).collect();
    names.reverse();
    names
}

/// A path without slashes at its end.
fn trimmed(path: &Path) -> &[u8] {
    let bytes = path.as_os_str().as_bytes();
    &bytes[..bytes.iter().rposition(|&b| b != b'/').map_or(0, |at| at + 1)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A directory of our own, with a guarded one in it.
    fn scratch(name: &str) -> (PathBuf, PathBuf, Beneath) {
        let dir = std::env::temp_dir().join(format!("hikyaku-beneath-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        let root = dir.join("mail/bob");
        std::fs::create_dir_all(root.join("cur")).unwrap();
        std::fs::write(dir.join("secret"), "secret").unwrap();
        let disk = Beneath::default();
        disk.confine(&root);
        (dir, root, disk)
    }

    fn kind<T>(result: io::Result<T>) -> io::ErrorKind {
        result.err().expect("an error").kind()
    }

    #[test]
    fn nothing_beneath_leads_out() {
        let (dir, root, disk) = scratch("links");
        symlink(dir.join("secret"), root.join("cur/a")).unwrap();
        symlink(&dir, root.join("out")).unwrap();
        symlink("cur", root.join("in")).unwrap();
        std::fs::write(root.join("cur/b"), "b").unwrap();
        for how in [How::Read, How::Write, How::Append] {
            assert_eq!(kind(disk.open(&root.join("cur/a"), how)), io::ErrorKind::InvalidData);
            assert_eq!(kind(disk.open(&root.join("out/secret"), how)), io::ErrorKind::InvalidData);
            assert_eq!(kind(disk.open(&root.join("in/b"), how)), io::ErrorKind::InvalidData);
        }
        assert_eq!(kind(disk.open(&root.join("cur/a"), How::Create)), io::ErrorKind::AlreadyExists);
        assert_eq!(kind(disk.open(&root.join("../../secret"), How::Read)), io::ErrorKind::InvalidInput);
        assert!(disk.list(&root.join("out"), &mut |_| {}).is_err());
        assert!(disk.rename(&root.join("cur/b"), &root.join("out/b")).is_err());
        assert!(disk.link(&root.join("out/secret"), &root.join("cur/c")).is_err());
        assert!(disk.unlink(&root.join("out/secret")).is_err());
        assert!(disk.make_dir(&root.join("out/d")).is_err());
        assert!(disk.stat(&root.join("out/secret")).is_err());
        let stat = disk.stat(&root.join("cur/a")).unwrap();
        assert!(!stat.is_file && !stat.is_dir);
        let mut kinds = Vec::new();
        disk.list_kinds(&root.join("cur"), &mut |name, is_file| kinds.push((name.to_vec(), is_file))).unwrap();
        kinds.sort();
        assert_eq!(kinds, [(b"a".to_vec(), false), (b"b".to_vec(), true)]);
        // The link itself may be moved and removed.
        disk.rename(&root.join("cur/a"), &root.join("cur/z")).unwrap();
        disk.unlink(&root.join("cur/z")).unwrap();
        assert_eq!(std::fs::read(dir.join("secret")).unwrap(), b"secret");
        // Elsewhere links are followed as ever.
        symlink(dir.join("secret"), dir.join("other")).unwrap();
        disk.open(&dir.join("other"), How::Read).unwrap();
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn level_by_level_is_the_same() {
        let (dir, root, _) = scratch("levels");
        symlink(dir.join("secret"), root.join("cur/a")).unwrap();
        symlink(&dir, root.join("out")).unwrap();
        std::fs::write(root.join("cur/b"), "b").unwrap();
        let open = |rest: &str| {
            let spot = Spot { path: root.join(rest), root: root.as_os_str().len() };
            spot.open_by_levels(OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).map_err(explain)
        };
        assert!(open("cur/b").is_ok() && open("cur").is_ok() && open("").is_ok());
        assert_eq!(kind(open("cur/a")), io::ErrorKind::InvalidData);
        assert!(open("out/secret").is_err());
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn the_way_there_is_the_operators() {
        let (dir, root, disk) = scratch("way");
        std::fs::write(root.join("cur/b"), "b").unwrap();
        symlink("mail", dir.join("linked")).unwrap();
        let linked = dir.join("linked/bob");
        disk.confine(&linked);
        disk.open(&linked.join("cur/b"), How::Read).unwrap();
        // What came in its place later is not followed.
        std::fs::rename(&root, dir.join("elsewhere")).unwrap();
        symlink(dir.join("elsewhere"), &root).unwrap();
        assert_eq!(kind(disk.open(&linked.join("cur/b"), How::Read)), io::ErrorKind::InvalidData);
        assert!(!disk.stat(&linked).unwrap().is_dir);
        // Moved back it is found again.
        std::fs::remove_file(&root).unwrap();
        std::fs::rename(dir.join("elsewhere"), &root).unwrap();
        disk.open(&linked.join("cur/b"), How::Read).unwrap();
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_book_is_ours_alone() {
        let (dir, root, disk) = scratch("book");
        let book = root.join("hikyaku.index");
        disk.open_book(&book, How::Append).unwrap().append(b"x").unwrap();
        std::fs::hard_link(&book, dir.join("backup")).unwrap();
        assert_eq!(kind(disk.open_book(&book, How::Append)), io::ErrorKind::InvalidData);
        assert_eq!(kind(disk.open_book(&book, How::Write)), io::ErrorKind::InvalidData);
        disk.open_book(&book, How::Read).unwrap();
        std::fs::remove_file(&book).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&book).status().unwrap().success());
        for how in [How::Read, How::Write, How::Append] {
            assert_eq!(kind(disk.open_book(&book, how)), io::ErrorKind::InvalidData);
        }
        std::fs::remove_file(&book).unwrap();
        std::fs::create_dir(&book).unwrap();
        assert_eq!(kind(disk.open_book(&book, How::Append)), io::ErrorKind::InvalidData);
        assert_eq!(kind(disk.open_book(&book, How::Read)), io::ErrorKind::InvalidData);
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn what_is_kept_open_is_used_only_while_it_is_what_its_path_leads_to() {
        let (dir, root, disk) = scratch("kept");
        let book = root.join("hikyaku.index");
        let note = |text: &[u8]| disk.open_book(&book, How::Append).and_then(|file| file.append(text));
        let moved = |name: &str| {
            std::fs::write(root.join("cur").join(name), name).unwrap();
            disk.rename(&root.join("cur").join(name), &root.join("new").join(name))
        };
        std::fs::create_dir(root.join("new")).unwrap();
        note(b"a").unwrap();
        note(b"b").unwrap();
        moved("1").unwrap();
        assert_eq!(std::fs::read(&book).unwrap(), b"ab");
        // Another file in the place of the book.
        std::fs::write(dir.join("other"), "").unwrap();
        std::fs::rename(dir.join("other"), &book).unwrap();
        note(b"c").unwrap();
        assert_eq!(std::fs::read(&book).unwrap(), b"c");
        std::fs::hard_link(&book, dir.join("backup")).unwrap();
        assert_eq!(kind(note(b"d")), io::ErrorKind::InvalidData);
        std::fs::remove_file(&book).unwrap();
        symlink(dir.join("secret"), &book).unwrap();
        assert_eq!(kind(note(b"e")), io::ErrorKind::InvalidData);
        // Another directory in the place of one that is known, and a link.
        std::fs::rename(root.join("new"), dir.join("away")).unwrap();
        std::fs::create_dir(root.join("new")).unwrap();
        moved("2").unwrap();
        assert!(root.join("new/2").exists() && !dir.join("away/2").exists());
        std::fs::remove_dir_all(root.join("new")).unwrap();
        symlink(dir.join("away"), root.join("new")).unwrap();
        assert!(moved("3").is_err() && !dir.join("away/3").exists());
        assert_eq!(std::fs::read(dir.join("secret")).unwrap(), b"secret");
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_file_system_is_opened_by_no_link_and_no_pipe() {
        let (dir, root, disk) = scratch("volume");
        symlink("/dev/shm", root.join("out")).unwrap();
        nix::unistd::mkfifo(&root.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let link = disk.volume(&root.join("out")).map(drop).map_err(|e| e.to_string());
        let (done, is_done) = std::sync::mpsc::channel();
        let (disk, path) = (std::sync::Arc::new(disk), root.join("pipe"));
        std::thread::spawn(move || done.send(disk.volume(&path).map(drop).map_err(|e| e.to_string())));
        let pipe = is_done.recv_timeout(std::time::Duration::from_secs(3));
        let _ = std::fs::remove_dir_all(&dir);
        assert!(link.is_err() && pipe.is_ok_and(|said| said.is_err()));
    }
}
