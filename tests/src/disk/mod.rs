//! A disk in memory that can crash: what survives is what POSIX promises and no more.
//!
//! - The bytes of a file survive if it was synced after the write. Of other writes any subset survives, each whole, torn at any byte, or in
//!   any of its sectors; where the file grew and the bytes did not survive there are zeros or garbage.
//! - A change of names survives if a directory that it touches was synced after it. Of other changes any subset survives; a rename is one change.
//! - Another program may do what it likes, a directory may be walled off for a while, and bits may flip: see [`Crashing::another`], [`World::wall`] and
//!   [`Crashing::flip`].
//! - After a failed sync the disk behaves as if all were well, and what was to be synced may be lost at any later crash. Who had the file, or its file system,
//!   open before is told of the failure once, whoever's sync met it; who opens it after somebody was told is not.
//!
//! A test runs its work on a [`Crashing`] disk and looks, before every operation, at disks that a crash at this point could leave.

mod file;
mod world;

pub use world::{Seeded, World};

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
        Whole::of(self, path)?.sync()
    }

    /// Nobody can sync the file system of this path as a whole from now on.
    ///
    /// # Errors
    /// If there is no such path.
    pub fn sync_singly(&self, path: &Path) -> io::Result<()> {
        self.world().sync_singly(path)
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

    /// The same before operation number `op` (see [`Crashing::ops`]), and perhaps another program is told of it at once.
    ///
    /// # Errors
    /// If there is no such path.
    pub fn lose_writes_at(&self, op: u64, path: &Path, another_is_told: bool) -> io::Result<()> {
        let mut world = self.world();
        let device = world.find(path).map(|ino| world.device(ino))?;
        world.losses.insert(op, (device, another_is_told));
        Ok(())
    }

    /// Lets a call panic, one after so many others of whatever kind. What it has in it is [`Seeded`].
    pub fn panic_after(&self, calls: u64) {
        let mut world = self.world();
        world.panics = Some(world.calls + calls);
    }

    /// Operations that failed, losses of writes and panics so far.
    pub fn pains(&self) -> u64 {
        self.world().pains
    }

    /// Another program changes something, with all rights. It is an operation that never fails.
    ///
    /// # Errors
    /// Those of what it does.
    pub fn another<T>(&self, act: impl FnOnce(&mut World) -> io::Result<T>) -> io::Result<T> {
        let mut world = self.world();
        world.ops += 1;
        world.is_root = true;
        let done = act(&mut world);
        world.is_root = false;
        done
    }

    /// Every directory can be used again ([`World::wall`]).
    pub fn unwall(&self) {
        self.world().unwall();
    }

    /// Looks at it, with all rights, without being noticed.
    pub fn peek<T>(&self, look: impl FnOnce(&World) -> T) -> T {
        let mut world = self.world();
        world.is_root = true;
        let seen = look(&world);
        world.is_root = false;
        seen
    }

    /// A byte of a file becomes another one, on the disk.
    ///
    /// # Errors
    /// If there is no such file, or not so many bytes.
    pub fn flip(&self, path: &Path, at: usize, mask: u8) -> io::Result<()> {
        self.world().flip(path, at, mask)
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

    /// Forgets which operations were to fail, before which writes were to be lost, and which call was to panic.
    pub fn heal(&self) {
        let mut world = self.world();
        world.faults.clear();
        world.losses.clear();
        world.panics = None;
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
        self.world().content(path)
    }

    /// Everything as it is, for a call that changes nothing.
    fn look(&self) -> MutexGuard<'_, World> {
        let mut world = self.world();
        world.call();
        world
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
        world.call();
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
        let found = self.look().find(path);
        let ino = match (how, found) {
            (How::Create, Ok(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
            (How::Read | How::Write | How::Append, Ok(ino)) => ino,
            (How::Read | How::Write, Err(error)) => return Err(error),
            (How::Create | How::Append, Err(error)) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            (How::Create | How::Append, Err(_)) => self.change(whole(|world| world.create(path)))?,
        };
        let mut world = self.world();
        world.file(ino)?;
        let known = world.failures(ino).known().into();
        Ok(Box::new(Handle { disk: self.clone(), ino, writable: how != How::Read, known }))
    }

    fn open_book(&self, path: &Path, how: How) -> io::Result<Box<dyn File>> {
        let stat = self.look().stat(path);
        match stat {
            Ok(stat) if !stat.is_file || stat.uid != 0 => Err(io::ErrorKind::InvalidData.into()),
            _ => self.open(path, how),
        }
    }

    fn open_left(&self, path: &Path) -> io::Result<(Box<dyn File>, Left)> {
        let stat = self.look().stat(path)?;
        if !stat.is_file {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok((
            self.open(path, How::Read)?,
            Left { uid: stat.uid, is_file: true, links: 1, len: stat.len, inode: stat.inode, modified_ns: stat.modified_ns },
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
        self.list_kinds(dir, &mut |name, _| each(name))
    }

    fn list_kinds(&self, dir: &Path, each: &mut dyn FnMut(&[u8], bool)) -> io::Result<()> {
        let names = self.look().list(dir)?;
        names.iter().for_each(|(name, is_file)| each(name, *is_file));
        Ok(())
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        self.look().stat(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.change(whole(|world| world.sync_dir(dir)))
    }

    fn volume(&self, path: &Path) -> io::Result<Box<dyn Volume>> {
        let volume = Whole::of(self, path)?;
        if self.look().is_singly(volume.device) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(Box::new(volume))
    }

    fn free_space(&self, _: &Path) -> io::Result<u64> {
        self.world().free.ok_or_else(|| io::ErrorKind::Unsupported.into())
    }

    fn set_modified(&self, path: &Path, seconds: i64) -> io::Result<()> {
        self.change(whole(|world| world.set_modified(path, i128::from(seconds) * 1_000_000_000)))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        if self.look().find(path).is_err() {
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

impl Whole {
    /// Opens it.
    fn of(disk: &Crashing, path: &Path) -> io::Result<Whole> {
        let mut world = disk.world();
        let device = world.find(path).map(|ino| world.device(ino))?;
        let known = world.device_failures(device).known().into();
        drop(world);
        Ok(Whole { disk: disk.clone(), device, known })
    }
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
                (_, None) => Err(world.tells()),
                (_, Some(errno)) => Err(io::Error::from_raw_os_error(errno)),
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
