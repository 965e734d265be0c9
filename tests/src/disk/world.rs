//! Names and files of the crashing disk, and which of their changes are durable.

use super::{
    Crashing,
    file::{Content, Failures},
};
use fastrand::Rng;
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    io,
    ops::Range,
    os::unix::ffi::OsStrExt,
    path::{Component, Path},
};
use storage::disk::Stat;

/// Inode of the root directory.
const ROOT: usize = 0;

/// When the world began, in seconds since the epoch. Each operation takes a microsecond.
const DAWN: i128 = 1_795_502_247;

/// The error of a disk without power.
const OFF: &str = "the power is off";

type Names = BTreeMap<Box<[u8]>, usize>;

/// The whole disk at one moment.
#[derive(Clone)]
pub struct World {
    nodes: Vec<Node>,
    /// Changes of names that are not durable, in order.
    renames: Vec<Renaming>,
    /// Writes that failed, of each file system.
    devices: Vec<Failures>,
    /// Inodes whose lock is held.
    pub(super) locks: BTreeSet<usize>,
    pub(super) ops: u64,
    pub(super) faults: BTreeMap<u64, i32>,
    pub(super) stop: Option<u64>,
    /// What is said to be left.
    pub(super) free: Option<u64>,
    /// Pieces of files that the disk does not give any more.
    spoiled: Vec<(usize, Range<usize>)>,
    /// What the time would have been before the first operation.
    dawn_ns: i128,
}

#[derive(Clone)]
struct Node {
    modified_ns: i128,
    /// The file system it is on.
    device: usize,
    failures: Failures,
    what: What,
}

#[derive(Clone)]
enum What {
    File(Content),
    Dir { now: Names, durable: Names },
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
        let root = Node { modified_ns: DAWN * 1_000_000_000, device: 0, failures: Failures::default(), what };
        World {
            nodes: vec![root],
            renames: Vec::new(),
            devices: vec![Failures::default()],
            locks: BTreeSet::new(),
            ops: 0,
            faults: BTreeMap::new(),
            stop: None,
            free: None,
            spoiled: Vec::new(),
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
        world.devices.iter_mut().for_each(|failures| *failures = Failures::default());
        for node in &mut world.nodes {
            node.failures = Failures::default();
            match &mut node.what {
                What::File(content) => *content = content.crash(dice, data),
                What::Dir { now, durable } => *now = durable.clone(),
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
        World { locks: BTreeSet::new(), faults: BTreeMap::new(), stop: None, ..self.clone() }
    }

    /// Counts an operation; says whether it is to fail.
    pub(super) fn begin(&mut self) -> io::Result<Option<i32>> {
        if self.is_stopped() {
            return Err(io::Error::other(OFF));
        }
        self.ops += 1;
        Ok(self.faults.remove(&(self.ops - 1)))
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
        }
    }

    /// # Panics
    /// If it is a directory: nobody can have opened one.
    pub(super) fn file_mut(&mut self, ino: usize) -> &mut Content {
        self.nodes[ino].modified_ns = self.time();
        match &mut self.nodes[ino].what {
            What::File(content) => content,
            What::Dir { .. } => panic!("a directory was opened"),
        }
    }

    pub(super) fn create(&mut self, path: &Path) -> io::Result<usize> {
        self.add(path, What::File(Content::default()))
    }

    pub(super) fn make_dir(&mut self, path: &Path) -> io::Result<()> {
        self.add(path, What::Dir { now: Names::new(), durable: Names::new() }).map(drop)
    }

    fn add(&mut self, path: &Path, what: What) -> io::Result<usize> {
        let (dir, name) = self.place(path)?;
        if self.names(dir)?.contains_key(&name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let device = self.nodes[dir].device;
        self.nodes.push(Node { modified_ns: self.time(), device, failures: Failures::default(), what });
        let ino = self.nodes.len() - 1;
        self.change(vec![(dir, name, Some(ino))]);
        Ok(ino)
    }

    /// Makes a directory that is a file system of its own. It is mounted by whoever starts the machine, so its name is durable.
    pub(super) fn mount(&mut self, path: &Path) -> io::Result<()> {
        let ino = self.add(path, What::Dir { now: Names::new(), durable: Names::new() })?;
        self.nodes[ino].device = self.devices.len();
        self.devices.push(Failures::default());
        let mount = self.renames.pop().into_iter().collect();
        self.settle(mount);
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
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
                (What::Dir { .. }, What::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
                (What::File(_), What::Dir { .. }) => return Err(io::ErrorKind::IsADirectory.into()),
                (What::File(_), What::File(_)) => {}
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

    pub(super) fn unlink(&mut self, path: &Path) -> io::Result<()> {
        let ino = self.find(path)?;
        self.file(ino)?;
        let (dir, name) = self.place(path)?;
        self.change(vec![(dir, name, None)]);
        Ok(())
    }

    pub(super) fn remove_dir(&mut self, path: &Path) -> io::Result<()> {
        let ino = self.find(path)?;
        if !self.names(ino)?.is_empty() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        let (dir, name) = self.place(path)?;
        self.change(vec![(dir, name, None)]);
        Ok(())
    }

    pub(super) fn list(&self, dir: &Path) -> io::Result<Vec<Box<[u8]>>> {
        Ok(self.names(self.find(dir)?)?.keys().cloned().collect())
    }

    pub(super) fn stat(&self, path: &Path) -> io::Result<Stat> {
        let inode = self.find(path)?;
        let node = &self.nodes[inode];
        let len = match &node.what {
            What::File(content) => content.now.len() as u64,
            What::Dir { .. } => 0,
        };
        let is_dir = matches!(node.what, What::Dir { .. });
        let device = node.device as u64;
        Ok(Stat { len, modified_ns: node.modified_ns, is_dir, is_file: !is_dir, uid: 0, is_shared: false, inode: inode as u64, device })
    }

    pub(super) fn set_modified(&mut self, path: &Path, ns: i128) -> io::Result<()> {
        let ino = self.find(path)?;
        self.nodes[ino].modified_ns = ns;
        Ok(())
    }

    pub(super) fn sync_dir(&mut self, dir: &Path) -> io::Result<()> {
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
            self.devices[node.device].add();
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

    /// Writes of a file that failed.
    pub(super) fn failures(&mut self, ino: usize) -> &mut Failures {
        &mut self.nodes[ino].failures
    }

    /// Writes to a file system that failed.
    pub(super) fn device_failures(&mut self, device: usize) -> &mut Failures {
        &mut self.devices[device]
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
        match &self.nodes[ino].what {
            What::Dir { now, .. } => Ok(now),
            What::File(_) => Err(io::ErrorKind::NotADirectory.into()),
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
