//! A disk in memory that can crash: what survives is what POSIX promises and no more.
//!
//! - The bytes of a file survive if it was synced after the write. Of other writes any subset survives, each whole, torn at any byte, or in
//!   any of its sectors; where the file grew and the bytes did not survive there are zeros or garbage.
//! - A change of names survives if a directory that it touches was synced after it. Of other changes any subset survives; a rename is one change.
//! - After a failed sync the disk behaves as if all were well, and what was to be synced may be lost at any later crash. Who had the file, or its file system,
//!   open before is told of the failure once, whoever's sync met it; who opens it after somebody was told is not.
//!
//! A test runs its work on a [`Crashing`] disk and looks, before every operation, at disks that a crash at this point could leave.

mod file;
mod world;

pub use world::World;

use fastrand::Rng;
use file::Handle;
use std::{
    io,
    ops::Range,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
};
use storage::disk::{Disk, File, How, Left, Lock, Stat, Volume};

/// What looks at the world before every operation that changes it.
type Watcher = Box<dyn FnMut(&World) + Send>;

/// What a program hears of a write that failed.
const EIO: i32 = 5;

/// The disk. Clones are the same disk.
#[derive(Clone)]
pub struct Crashing {
    shared: Arc<Shared>,
}

struct Shared {
    world: Mutex<World>,
    watcher: Mutex<Option<Watcher>>,
}

impl Default for Crashing {
    fn default() -> Crashing {
        Crashing::new()
    }
}

impl Crashing {
    /// An empty disk.
    pub fn new() -> Crashing {
        Crashing::of(World::new())
    }

    fn of(world: World) -> Crashing {
        Crashing { shared: Arc::new(Shared { world: Mutex::new(world), watcher: Mutex::new(None) }) }
    }

    /// Calls `watcher` before every operation that changes something or makes it durable; it sees the world as the operation before left it.
    pub fn watch(&self, watcher: impl FnMut(&World) + Send + 'static) {
        *self.shared.watcher.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(watcher));
    }

    /// Lets nobody look any more.
    pub fn unwatch(&self) {
        *self.shared.watcher.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Makes a directory that is a file system of its own.
    ///
    /// # Errors
    /// If its parent does not exist.
    pub fn mount(&self, path: &Path) -> io::Result<()> {
        self.world().mount(path)
    }

    /// Makes the whole file system durable that holds `path`, for a test that begins.
    ///
    /// # Errors
    /// If there is no such path.
    pub fn sync_all(&self, path: &Path) -> io::Result<()> {
        self.volume(path)?.sync()
    }

    /// The system tries to write what is dirty on the file system that holds `path`, and fails.
    pub fn lose_writes(&self, path: &Path) {
        let mut world = self.world();
        let device = world.find(path).map(|ino| world.device(ino)).expect("a path of this disk");
        world.fail_all(device);
    }

    /// Another program syncs the file system that holds `path`, with a descriptor of its own. Whether it was told of a failure.
    pub fn another_syncs(&self, path: &Path) -> bool {
        self.sync_all(path).is_err()
    }

    /// Lets operation number `op` (see [`Crashing::ops`]) fail with this error of the system.
    pub fn fail(&self, op: u64, errno: i32) {
        self.world().faults.insert(op, errno);
    }

    /// A piece of a file cannot be read any more, whatever is written there.
    ///
    /// # Errors
    /// If there is no such file.
    pub fn spoil(&self, path: &Path, piece: Range<usize>) -> io::Result<()> {
        self.world().spoil(path, piece)
    }

    /// What is said to be left on the file systems of this disk; nothing if nobody knows. It holds nobody back who writes.
    pub fn set_free(&self, bytes: Option<u64>) {
        self.world().free = bytes;
    }

    /// From operation number `op` on everything fails, as if the power were off.
    pub fn stop(&self, op: u64) {
        self.world().stop = Some(op);
    }

    /// Whether the power is off: nothing works any more.
    pub fn is_stopped(&self) -> bool {
        self.world().is_stopped()
    }

    /// Sets the time by which files are stamped, in nanoseconds since the epoch.
    pub fn set_time(&self, ns: i128) {
        self.world().set_time(ns);
    }

    /// Forgets which operations were to fail.
    pub fn heal(&self) {
        self.world().faults.clear();
    }

    /// Operations so far that changed something or made it durable.
    pub fn ops(&self) -> u64 {
        self.world().ops
    }

    /// The time by which files are stamped, in nanoseconds since the epoch: a microsecond for each operation.
    pub fn time(&self) -> i128 {
        self.world().time()
    }

    /// A disk that a power cut now could leave.
    pub fn crash(&self, dice: &mut Rng) -> Crashing {
        self.world().crash(dice)
    }

    /// The disk that the worst power cut now leaves: nothing but what is durable.
    pub fn lose(&self) -> Crashing {
        self.world().lose(&mut Rng::with_seed(0), 0, 0)
    }

    /// The disk as it is after the program was killed: nothing is lost yet, what was not durable still is not, locks are gone.
    pub fn kill(&self) -> Crashing {
        self.world().kill()
    }

    /// The whole content of a file, to look at.
    pub fn content(&self, path: &Path) -> io::Result<Vec<u8>> {
        let world = self.world();
        let ino = world.find(path)?;
        world.file(ino).map(|f| f.now.to_vec())
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.shared.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does an operation that changes something.
    fn change<T>(&self, act: impl FnOnce(&mut World, Option<i32>) -> io::Result<T>) -> io::Result<T> {
        // Whoever looks may take as long as they like; meanwhile nobody else changes anything.
        let mut watcher = self.shared.watcher.lock().unwrap_or_else(PoisonError::into_inner);
        let mut world = self.world();
        if let Some(watcher) = watcher.as_mut() {
            watcher(&world);
        }
        drop(watcher);
        let fault = world.begin()?;
        act(&mut world, fault)
    }
}

/// Most operations fail without any effect.
fn whole<T>(act: impl FnOnce(&mut World) -> io::Result<T>) -> impl FnOnce(&mut World, Option<i32>) -> io::Result<T> {
    |world, fault| match fault {
        Some(errno) => Err(io::Error::from_raw_os_error(errno)),
        None => act(world),
    }
}

impl Disk for Crashing {
    fn open(&self, path: &Path, how: How) -> io::Result<Box<dyn File>> {
        let found = self.world().find(path);
        let ino = match (how, found) {
            (How::Create, Ok(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
            (How::Read | How::Write | How::Append, Ok(ino)) => ino,
            (How::Read | How::Write, Err(error)) => return Err(error),
            (How::Create | How::Append, Err(_)) => self.change(whole(|world| world.create(path)))?,
        };
        let mut world = self.world();
        world.file(ino)?;
        let known = world.failures(ino).known().into();
        Ok(Box::new(Handle { disk: self.clone(), ino, writable: how != How::Read, known }))
    }

    fn open_left(&self, path: &Path) -> io::Result<(Box<dyn File>, Left)> {
        let stat = self.world().stat(path)?;
        if stat.is_dir {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok((
            self.open(path, How::Read)?,
            Left { uid: 0, is_file: true, links: 1, len: stat.len, inode: stat.inode, modified_ns: stat.modified_ns },
        ))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change(whole(|world| world.rename(from, to)))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change(whole(|world| world.link(from, to)))
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.change(whole(|world| world.unlink(path)))
    }

    fn make_dir(&self, path: &Path) -> io::Result<()> {
        self.change(whole(|world| world.make_dir(path)))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.change(whole(|world| world.remove_dir(path)))
    }

    fn list(&self, dir: &Path, each: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        let names = self.world().list(dir)?;
        names.iter().for_each(|name| each(name));
        Ok(())
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        self.world().stat(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.change(whole(|world| world.sync_dir(dir)))
    }

    fn volume(&self, path: &Path) -> io::Result<Box<dyn Volume>> {
        let mut world = self.world();
        let device = world.find(path).map(|ino| world.device(ino))?;
        let known = world.device_failures(device).known().into();
        Ok(Box::new(Whole { disk: self.clone(), device, known }))
    }

    fn free_space(&self, _: &Path) -> io::Result<u64> {
        self.world().free.ok_or_else(|| io::ErrorKind::Unsupported.into())
    }

    fn set_modified(&self, path: &Path, seconds: i64) -> io::Result<()> {
        self.change(whole(|world| world.set_modified(path, i128::from(seconds) * 1_000_000_000)))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        if self.world().find(path).is_err() {
            self.change(whole(|world| world.create(path)))?;
        }
        let mut world = self.world();
        let ino = world.find(path)?;
        if !world.locks.insert(ino) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(Held { disk: self.clone(), ino }))
    }
}

/// A file system of this disk.
struct Whole {
    disk: Crashing,
    device: usize,
    known: AtomicU64,
}

impl Volume for Whole {
    fn sync(&self) -> io::Result<()> {
        self.disk.change(|world, fault| {
            match fault {
                Some(_) => world.fail_all(self.device),
                None => world.sync_all(self.device),
            }
            match (world.device_failures(self.device).tell(&self.known), fault) {
                (false, None) => Ok(()),
                (_, fault) => Err(io::Error::from_raw_os_error(fault.unwrap_or(EIO))),
            }
        })
    }
}

/// A lock of this disk.
struct Held {
    disk: Crashing,
    ino: usize,
}

impl Lock for Held {}

impl Drop for Held {
    fn drop(&mut self) {
        self.disk.world().locks.remove(&self.ino);
    }
}

#[cfg(test)]
mod tests;
