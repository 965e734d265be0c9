//! Names and files of the crashing disk, and which of their changes are durable.

use super::{
    Crashing, EIO,
    file::{Content, Failures},
};
use fastrand::Rng;
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    io,
    ops::Range,
    os::unix::ffi::OsStrExt,
    panic::resume_unwind,
    path::{Component, Path},
};
use storage::disk::Stat;

/// Inode of the root directory.
const ROOT: usize = 0;

/// When the world began, in seconds since the epoch. Each operation takes a microsecond.
const DAWN: i128 = 1_795_502_247;

/// The error of a disk without power.
const OFF: &str = "the power is off";

/// What a panic has in it that a test wanted.
#[derive(Debug, Clone, Copy)]
pub struct Seeded;

type Names = BTreeMap<Box<[u8]>, usize>;

/// The whole disk at one moment.
#[derive(Clone)]
pub struct World {
    nodes: Vec<Node>,
    /// Changes of names that are not durable, in order.
    renames: Vec<Renaming>,
    devices: Vec<Device>,
    /// Inodes whose lock is held.
    pub(super) locks: BTreeSet<usize>,
    pub(super) ops: u64,
    pub(super) faults: BTreeMap<u64, i32>,
    pub(super) stop: Option<u64>,
    /// What is said to be left.
    pub(super) free: Option<u64>,
    /// Pieces of files that the disk does not give any more.
    spoiled: Vec<(usize, Range<usize>)>,
    /// Operations before which the writes of a file system are lost, and whether somebody else is told of that.
    pub(super) losses: BTreeMap<u64, (usize, bool)>,
    /// Calls so far, also those that only look.
    pub(super) calls: u64,
    /// The call that panics.
    pub(super) panics: Option<u64>,
    /// Operations that failed, writes that were lost, those who were told of it, and panics.
    pub(super) pains: u64,
    /// Whether walls and owners mean nothing to whoever is at work.
    pub(super) is_root: bool,
    /// What the time would have been before the first operation.
    dawn_ns: i128,
}

/// A file system.
#[derive(Clone, Copy, Default)]
struct Device {
    /// Writes to it that failed.
    failures: Failures,
    /// Whether it cannot be synced as a whole.
    singly: bool,
}

#[derive(Clone)]
struct Node {
    modified_ns: i128,
    /// The file system it is on.
    device: usize,
    failures: Failures,
    uid: u32,
    is_shared: bool,
    /// For a directory: how whatever has to do with a name in it fails.
    wall: Option<i32>,
    what: What,
}

#[derive(Clone)]
enum What {
    File(Content),
    Dir {
        now: Names,
        durable: Names,
    },
    /// A link, a FIFO, a device: nothing that is opened.
    Odd,
}

impl Node {
    fn new(modified_ns: i128, device: usize, what: What) -> Node {
        Node { modified_ns, device, failures: Failures::default(), uid: 0, is_shared: false, wall: None, what }
    }
}

/// One atomic change of names.
#[derive(Clone)]
struct Renaming {
    /// The operation that did it.
    op: u64,
    /// Directory, name, and what the name stands for from then on.
    changes: Vec<(usize, Box<[u8]>, Option<usize>)>,
}

impl World {
    pub(super) fn new() -> World {
        let what = What::Dir { now: Names::new(), durable: Names::new() };
        let root = Node::new(DAWN * 1_000_000_000, 0, what);
        World {
            nodes: vec![root],
            renames: Vec::new(),
            devices: vec![Device::default()],
            locks: BTreeSet::new(),
            ops: 0,
            faults: BTreeMap::new(),
            stop: None,
            free: None,
            spoiled: Vec::new(),
            losses: BTreeMap::new(),
            calls: 0,
            panics: None,
            pains: 0,
            is_root: false,
            dawn_ns: DAWN * 1_000_000_000,
        }
    }

    /// Operations so far.
    pub fn ops(&self) -> u64 {
        self.ops
    }

    /// A disk that a power cut now could leave. The dice first choose between disks that keep nothing, little, half, most, or all of what is
    /// not durable, for data and names apart.
    pub fn crash(&self, dice: &mut Rng) -> Crashing {
        let luck = |dice: &mut Rng| dice.choice([0, 32, 128, 224, 255]).unwrap_or(0);
        let (data, names) = (luck(dice), luck(dice));
        self.lose(dice, data, names)
    }

    /// A disk that keeps what is not durable with these chances of 256, for data and names.
    pub(super) fn lose(&self, dice: &mut Rng, data: u8, names: u8) -> Crashing {
        let mut world = self.kill_world();
        // The machine starts again and knows of nothing.
        world.devices.iter_mut().for_each(|device| device.failures = Failures::default());
        for node in &mut world.nodes {
            node.failures = Failures::default();
            match &mut node.what {
                What::File(content) => *content = content.crash(dice, data),
                What::Dir { now, durable } => *now = durable.clone(),
                What::Odd => {}
            }
        }
        for renaming in std::mem::take(&mut world.renames) {
            if names == 255 || dice.u8(..) < names {
                world.apply(&renaming);
            }
        }
        for node in &mut world.nodes {
            if let What::Dir { now, durable } = &mut node.what {
                *durable = now.clone();
            }
        }
        Crashing::of(world)
    }

    /// The disk as it is after the program was killed.
    pub fn kill(&self) -> Crashing {
        Crashing::of(self.kill_world())
    }

    fn kill_world(&self) -> World {
        let (faults, losses) = (BTreeMap::new(), BTreeMap::new());
        World { locks: BTreeSet::new(), faults, losses, panics: None, stop: None, ..self.clone() }
    }

    /// Counts an operation; says whether it is to fail.
    pub(super) fn begin(&mut self) -> io::Result<Option<i32>> {
        if self.is_stopped() {
            return Err(io::Error::other(OFF));
        }
        if let Some((device, told)) = self.losses.remove(&self.ops) {
            self.fail_all(device);
            if told {
                self.another_syncs(device);
            }
            self.pains += 1;
        }
        self.ops += 1;
        let fault = self.faults.remove(&(self.ops - 1));
        self.pains += u64::from(fault.is_some());
        Ok(fault)
    }

    /// Counts a call of whatever kind; it may be the one that panics.
    pub(super) fn call(&mut self) {
        self.calls += 1;
        if self.panics.is_some_and(|call| self.calls > call) && !self.is_stopped() {
            self.panics = None;
            self.pains += 1;
            // No hook hears of it: that is for those that nobody wanted.
            resume_unwind(Box::new(Seeded));
        }
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.is_some_and(|stop| self.ops >= stop)
    }

    pub(super) fn find(&self, path: &Path) -> io::Result<usize> {
        let mut ino = ROOT;
        for part in path.components() {
            match part {
                Component::RootDir | Component::CurDir => {}
                Component::Normal(name) => ino = *self.names(ino)?.get(name.as_bytes()).ok_or(io::ErrorKind::NotFound)?,
                Component::ParentDir | Component::Prefix(_) => panic!("no such path here: {}", path.display()),
            }
        }
        Ok(ino)
    }

    pub(super) fn file(&self, ino: usize) -> io::Result<&Content> {
        match &self.nodes[ino].what {
            What::File(content) => Ok(content),
            What::Dir { .. } => Err(io::ErrorKind::IsADirectory.into()),
            What::Odd => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// # Panics
    /// If it is no file: nobody can have opened it.
    pub(super) fn file_mut(&mut self, ino: usize) -> &mut Content {
        self.nodes[ino].modified_ns = self.time();
        match &mut self.nodes[ino].what {
            What::File(content) => content,
            What::Dir { .. } | What::Odd => panic!("what is no file was opened"),
        }
    }

    pub(super) fn create(&mut self, path: &Path) -> io::Result<usize> {
        self.add(path, What::File(Content::default()))
    }

    /// mkdir(2).
    ///
    /// # Errors
    /// As that.
    pub fn make_dir(&mut self, path: &Path) -> io::Result<()> {
        self.add(path, What::Dir { now: Names::new(), durable: Names::new() }).map(drop)
    }

    /// Makes something that is neither a file nor a directory: a link, or a FIFO.
    ///
    /// # Errors
    /// As mknod(2).
    pub fn plant(&mut self, path: &Path) -> io::Result<()> {
        self.add(path, What::Odd).map(drop)
    }

    /// Makes a file with this content.
    ///
    /// # Errors
    /// As open(2).
    pub fn write(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let ino = self.create(path)?;
        self.file_mut(ino).write(0, bytes);
        Ok(())
    }

    /// From now on whatever has to do with a name in this directory fails with this error.
    ///
    /// # Errors
    /// If there is no such path.
    pub fn wall(&mut self, path: &Path, errno: i32) -> io::Result<()> {
        let ino = self.find(path)?;
        self.nodes[ino].wall = Some(errno);
        Ok(())
    }

    /// All directories can be used again, wherever they are now.
    pub(super) fn unwall(&mut self) {
        self.nodes.iter_mut().for_each(|node| node.wall = None);
    }

    /// Gives something to somebody, and perhaps lets everybody write there.
    ///
    /// # Errors
    /// If there is no such path.
    pub fn give(&mut self, path: &Path, uid: u32, is_shared: bool) -> io::Result<()> {
        let ino = self.find(path)?;
        (self.nodes[ino].uid, self.nodes[ino].is_shared) = (uid, is_shared);
        Ok(())
    }

    /// Flips bits of a file behind everybody's back, on the disk.
    ///
    /// # Errors
    /// If there is no such file, or not so many bytes.
    pub(super) fn flip(&mut self, path: &Path, at: usize, mask: u8) -> io::Result<()> {
        let ino = self.find(path)?;
        self.file(ino)?.now.get(at).ok_or(io::ErrorKind::UnexpectedEof)?;
        if let What::File(content) = &mut self.nodes[ino].what {
            content.flip(at, mask);
        }
        Ok(())
    }

    fn add(&mut self, path: &Path, what: What) -> io::Result<usize> {
        let (dir, name) = self.place(path)?;
        if self.names(dir)?.contains_key(&name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let device = self.nodes[dir].device;
        self.nodes.push(Node::new(self.time(), device, what));
        let ino = self.nodes.len() - 1;
        self.change(vec![(dir, name, Some(ino))]);
        Ok(ino)
    }

    /// Makes a directory that is a file system of its own. It is mounted by whoever starts the machine, so its name is durable.
    pub(super) fn mount(&mut self, path: &Path) -> io::Result<()> {
        let ino = self.add(path, What::Dir { now: Names::new(), durable: Names::new() })?;
        self.nodes[ino].device = self.devices.len();
        self.devices.push(Device::default());
        let mount = self.renames.pop().into_iter().collect();
        self.settle(mount);
        Ok(())
    }

    /// Nobody can sync the file system of this path as a whole.
    pub(super) fn sync_singly(&mut self, path: &Path) -> io::Result<()> {
        let device = self.device(self.find(path)?);
        self.devices[device].singly = true;
        Ok(())
    }

    pub(super) fn is_singly(&self, device: usize) -> bool {
        self.devices[device].singly
    }

    /// rename(2).
    ///
    /// # Errors
    /// As that.
    pub fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let (from_dir, from_name) = self.place(from)?;
        let (to_dir, to_name) = self.place(to)?;
        let ino = *self.names(from_dir)?.get(&from_name).ok_or(io::ErrorKind::NotFound)?;
        if self.nodes[from_dir].device != self.nodes[to_dir].device {
            return Err(io::ErrorKind::CrossesDevices.into());
        }
        if let Some(&over) = self.names(to_dir)?.get(&to_name) {
            if over == ino {
                return Ok(());
            }
            match (&self.nodes[ino].what, &self.nodes[over].what) {
                (What::Dir { .. }, What::Dir { now, .. }) if now.is_empty() => {}
                (What::Dir { .. }, What::Dir { .. }) => return Err(io::ErrorKind::DirectoryNotEmpty.into()),
                (What::Dir { .. }, _) => return Err(io::ErrorKind::NotADirectory.into()),
                (_, What::Dir { .. }) => return Err(io::ErrorKind::IsADirectory.into()),
                _ => {}
            }
        }
        self.change(vec![(from_dir, from_name, None), (to_dir, to_name, Some(ino))]);
        Ok(())
    }

    pub(super) fn link(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let ino = self.find(from)?;
        self.file(ino)?;
        let (dir, name) = self.place(to)?;
        if self.nodes[dir].device != self.nodes[ino].device {
            return Err(io::ErrorKind::CrossesDevices.into());
        }
        if self.names(dir)?.contains_key(&name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.change(vec![(dir, name, Some(ino))]);
        Ok(())
    }

    /// unlink(2).
    ///
    /// # Errors
    /// As that.
    pub fn unlink(&mut self, path: &Path) -> io::Result<()> {
        let ino = self.find(path)?;
        if matches!(self.nodes[ino].what, What::Dir { .. }) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let (dir, name) = self.place(path)?;
        self.change(vec![(dir, name, None)]);
        Ok(())
    }

    /// rmdir(2).
    ///
    /// # Errors
    /// As that.
    pub fn remove_dir(&mut self, path: &Path) -> io::Result<()> {
        let ino = self.find(path)?;
        if !self.names(ino)?.is_empty() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        let (dir, name) = self.place(path)?;
        self.change(vec![(dir, name, None)]);
        Ok(())
    }

    /// Every name in a directory, and whether it is that of an ordinary file.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn list(&self, dir: &Path) -> io::Result<Vec<(Box<[u8]>, bool)>> {
        let names = self.names(self.find(dir)?)?.iter();
        Ok(names.map(|(name, ino)| (name.clone(), matches!(self.nodes[*ino].what, What::File(_)))).collect())
    }

    /// The whole content of a file.
    ///
    /// # Errors
    /// If there is no such file.
    pub fn content(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.find(path).and_then(|ino| self.file(ino)).map(|file| file.now.to_vec())
    }

    /// stat(2) of what is no link.
    ///
    /// # Errors
    /// As that.
    pub fn stat(&self, path: &Path) -> io::Result<Stat> {
        let inode = self.find(path)?;
        let node = &self.nodes[inode];
        let len = match &node.what {
            What::File(content) => content.now.len() as u64,
            What::Dir { .. } | What::Odd => 0,
        };
        let (is_dir, is_file) = (matches!(node.what, What::Dir { .. }), matches!(node.what, What::File(_)));
        let (modified_ns, uid, is_shared) = (node.modified_ns, node.uid, node.is_shared);
        Ok(Stat { len, modified_ns, is_dir, is_file, uid, is_shared, inode: inode as u64, device: node.device as u64 })
    }

    pub(super) fn set_modified(&mut self, path: &Path, ns: i128) -> io::Result<()> {
        let ino = self.find(path)?;
        self.nodes[ino].modified_ns = ns;
        Ok(())
    }

    /// fsync(2) of a directory.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn sync_dir(&mut self, dir: &Path) -> io::Result<()> {
        let ino = self.find(dir)?;
        self.names(ino)?;
        let (durable, rest) = std::mem::take(&mut self.renames).into_iter().partition(|r| r.changes.iter().any(|(dir, ..)| *dir == ino));
        self.renames = rest;
        self.settle(durable);
        Ok(())
    }

    pub(super) fn sync_all(&mut self, device: usize) {
        let all = std::mem::take(&mut self.renames);
        let (durable, rest) = all.into_iter().partition(|r| r.changes.iter().all(|(dir, ..)| self.nodes[*dir].device == device));
        self.renames = rest;
        self.settle(durable);
        for node in self.nodes.iter_mut().filter(|node| node.device == device) {
            if let What::File(content) = &mut node.what {
                content.sync();
            }
        }
    }

    pub(super) fn device(&self, ino: usize) -> usize {
        self.nodes[ino].device
    }

    /// What is dirty in a file cannot be written, and is lost at the next crash. Whoever syncs the file or its file system is to hear of it.
    pub(super) fn fail_sync(&mut self, ino: usize) {
        let node = &mut self.nodes[ino];
        if let What::File(content) = &mut node.what
            && content.fail_sync()
        {
            node.failures.add();
            self.devices[node.device].failures.add();
        }
    }

    /// The same for every file of a file system, as if the system had tried to write them by itself.
    pub(super) fn fail_all(&mut self, device: usize) {
        (0..self.nodes.len())
            .filter(|&ino| self.nodes[ino].device == device)
            .collect::<Vec<_>>()
            .into_iter()
            .for_each(|ino| self.fail_sync(ino));
    }

    /// Somebody is told of writes that failed.
    pub(super) fn tells(&mut self) -> io::Error {
        self.pains += 1;
        io::Error::from_raw_os_error(EIO)
    }

    /// Writes of a file that failed.
    pub(super) fn failures(&mut self, ino: usize) -> &mut Failures {
        &mut self.nodes[ino].failures
    }

    /// Writes to a file system that failed.
    pub(super) fn device_failures(&mut self, device: usize) -> &mut Failures {
        &mut self.devices[device].failures
    }

    /// Another program syncs a file system, through a descriptor of its own. Whether it was told of a failure.
    pub(super) fn another_syncs(&mut self, device: usize) -> bool {
        let known = self.device_failures(device).known().into();
        self.sync_all(device);
        self.device_failures(device).tell(&known)
    }

    /// Makes changes of names durable.
    fn settle(&mut self, settled: Vec<Renaming>) {
        for renaming in settled {
            for (dir, name, ino) in renaming.changes {
                // What this name was before is history, and cannot come back after what is durable now.
                for earlier in self.renames.iter_mut().take_while(|r| r.op < renaming.op) {
                    earlier.changes.retain(|(d, n, _)| (*d, n) != (dir, &name));
                }
                if let What::Dir { durable, .. } = &mut self.nodes[dir].what {
                    set(durable, name, ino);
                }
            }
        }
    }

    fn change(&mut self, changes: Vec<(usize, Box<[u8]>, Option<usize>)>) {
        let renaming = Renaming { op: self.ops, changes };
        self.apply(&renaming);
        let time = self.time();
        for (dir, ..) in &renaming.changes {
            self.nodes[*dir].modified_ns = time;
        }
        self.renames.push(renaming);
    }

    fn apply(&mut self, renaming: &Renaming) {
        for (dir, name, ino) in &renaming.changes {
            if let What::Dir { now, .. } = &mut self.nodes[*dir].what {
                set(now, name.clone(), *ino);
            }
        }
    }

    fn names(&self, ino: usize) -> io::Result<&Names> {
        let node = &self.nodes[ino];
        match (&node.what, node.wall) {
            (What::Dir { .. }, Some(errno)) if !self.is_root => Err(io::Error::from_raw_os_error(errno)),
            (What::Dir { now, .. }, _) => Ok(now),
            _ => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    /// The directory of a path, and the name in it.
    fn place(&self, path: &Path) -> io::Result<(usize, Box<[u8]>)> {
        let name = path.file_name().map(OsStr::as_bytes).ok_or(io::ErrorKind::InvalidInput)?;
        Ok((self.find(path.parent().unwrap_or(Path::new("/")))?, name.into()))
    }

    pub(super) fn spoil(&mut self, path: &Path, piece: Range<usize>) -> io::Result<()> {
        let ino = self.find(path)?;
        self.spoiled.push((ino, piece));
        Ok(())
    }

    /// What can be read of a file from `at` on, of `len` bytes: up to what is spoiled, if that is not at the very place.
    pub(super) fn read(&self, ino: usize, at: usize, len: usize) -> io::Result<&[u8]> {
        let now = &self.file(ino)?.now;
        let end = now.len().min(at.saturating_add(len));
        let hit = self.spoiled.iter().filter(|(other, piece)| *other == ino && piece.start < end && at < piece.end);
        match hit.map(|(_, piece)| piece.start).min() {
            Some(start) if start <= at => Err(io::Error::from_raw_os_error(super::EIO)),
            Some(start) => Ok(&now[at..start]),
            None => Ok(now.get(at..end).unwrap_or_default()),
        }
    }

    pub(super) fn set_time(&mut self, ns: i128) {
        self.dawn_ns = ns - i128::from(self.ops) * 1000;
    }

    pub(super) fn time(&self) -> i128 {
        self.dawn_ns + i128::from(self.ops) * 1000
    }
}

fn set(names: &mut Names, name: Box<[u8]>, ino: Option<usize>) {
    match ino {
        Some(ino) => drop(names.insert(name, ino)),
        None => drop(names.remove(&name)),
    }
}
