//! What goes wrong with disks and mailboxes, and inside of a house: which of it a world has, and when. Each kind is drawn apart, so that the others stay as
//! they were.

use super::{
    plan::{Deed, MINUTE, Plan, USERS},
    pranks::Prank,
    rot::Rot,
};
use fastrand::Rng;
use rustix::io::Errno;
use std::path::{Path, PathBuf};

/// Which of them a world has: none in most, or few.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ills {
    /// The system loses writes of a file system, and mostly another program is told of it.
    pub lost_writes: bool,
    /// Mailboxes lie on file systems of their own.
    pub mounts: bool,
    /// No file system can be synced as a whole.
    pub singly: bool,
    /// Something panics in a house.
    pub panics: bool,
    /// Houses are killed.
    pub kills: bool,
    /// Bits flip while a house is down.
    pub rot: bool,
    /// Another program is at work in the Maildir of an account.
    pub pranks: bool,
    /// A Maildir cannot be used for a while.
    pub walls: bool,
}

/// One of them.
#[derive(Debug, Clone)]
pub enum Ill {
    /// After so many operations the system has lost what was written to the file system of this path. Perhaps another program is told at once.
    Lose {
        /// Where.
        path: PathBuf,
        /// How many operations later.
        ops: u64,
        /// Whether another program is told.
        told: bool,
    },
    /// After so many calls of the disk one panics.
    Panic(u64),
    /// The house is killed after so many operations, and bits flip before it starts again.
    Kill {
        /// How many operations later.
        ops: u64,
        /// Where bits flip.
        rot: Vec<Rot>,
    },
    /// Another program does something in somebody's Maildir.
    Prank(&'static str, Prank),
    /// Whatever has to do with this directory fails.
    Wall(Walled),
    /// All directories of the house can be used again.
    Unwall,
}

impl Ill {
    /// What it is called where such things are counted.
    pub fn name(&self) -> &'static str {
        match self {
            Ill::Lose { .. } => "lost writes",
            Ill::Panic(_) => "panics",
            Ill::Kill { rot, .. } if rot.is_empty() => "kills",
            Ill::Kill { .. } => "rot",
            Ill::Prank(..) => "pranks",
            Ill::Wall(_) | Ill::Unwall => "walls",
        }
    }
}

/// A directory of somebody's Maildir that cannot be used.
#[derive(Debug, Clone, Copy)]
pub struct Walled {
    /// Whose.
    pub user: &'static str,
    /// Which, below the directory of the account.
    pub place: &'static str,
    /// The error.
    pub errno: i32,
}

/// Where an account has its mail.
pub fn home(domain: &str, user: &str) -> PathBuf {
    Path::new("/store/mail").join(domain).join(user)
}

impl Plan {
    /// Draws them.
    pub fn ills(&mut self) {
        let seed = self.seed;
        let dice = |kind: u64| Rng::with_seed(seed ^ 0x696c_6c73_0000 ^ kind);
        let mut kinds = dice(0);
        let [lost_writes, mounts, singly, panics, kills, rot, pranks, walls] = std::array::from_fn(|_| kinds.u8(..8) == 0);
        self.ills = Ills { lost_writes, mounts, singly, panics, kills, rot, pranks, walls };
        let (mut mounting, mut syncing, mut losing, mut panicking) = (dice(1), dice(2), dice(3), dice(4));
        let (mut killing, mut rotting, mut pranking, mut walling) = (dice(5), dice(6), dice(7), dice(8));
        for host in 0..self.hosts.len() {
            if mounts {
                self.mounts(host, &mut mounting);
            }
            self.hosts[host].singly = singly && syncing.u8(..4) > 0;
            if lost_writes {
                self.lost_writes(host, &mut losing);
            }
            if panics {
                for _ in 0..panicking.u8(1..8) {
                    let calls = panicking.choice([10, 100, 1000]).map_or(0, |most| panicking.u64(0..most));
                    self.ill(when(&mut panicking), host, Ill::Panic(calls));
                }
            }
            if kills {
                for _ in 0..killing.u8(1..5) {
                    let ops = if killing.bool() { 0 } else { killing.u64(0..60) };
                    self.ill(when(&mut killing), host, Ill::Kill { ops, rot: Vec::new() });
                }
            }
            if rot {
                for _ in 0..rotting.u8(1..4) {
                    let rot = (0..rotting.u8(1..4)).map(|_| Rot::draw(&mut rotting)).collect();
                    let ops = if rotting.bool() { 0 } else { rotting.u64(0..30) };
                    self.ill(when(&mut rotting), host, Ill::Kill { ops, rot });
                }
            }
            if pranks {
                self.pranks(host, &mut pranking);
            }
            if walls {
                self.walls(host, &mut walling);
            }
        }
    }

    fn ill(&mut self, at: u64, host: usize, ill: Ill) {
        self.deeds.push((at, Deed::Ill(host, ill)));
    }

    fn mounts(&mut self, host: usize, d: &mut Rng) {
        let domain = &self.hosts[host].domain;
        let mounts = match d.u8(..4) {
            0 => vec![PathBuf::from("/store/mail")],
            1 => vec![home(domain, "alice")],
            2 => vec![home(domain, "alice"), home(domain, "bob")],
            _ => vec![PathBuf::from("/store/mail"), home(domain, "bob")],
        };
        self.hosts[host].mounts = mounts;
    }

    fn lost_writes(&mut self, host: usize, d: &mut Rng) {
        let places: Vec<PathBuf> = self.hosts[host].mounts.iter().cloned().chain([PathBuf::from("/store")]).collect();
        for _ in 0..d.u8(1..7) {
            let (at, path) = (when(d), places[d.usize(0..places.len())].clone());
            let ops = if d.bool() { 0 } else { d.u64(0..40) };
            self.ill(at, host, Ill::Lose { path, ops, told: d.u8(..4) > 0 });
            // A power cut shows what was lost.
            if d.bool() {
                self.deeds.push((at + d.u64(0..12 * MINUTE), Deed::Crash { host, ops: 0 }));
            }
        }
    }

    fn pranks(&mut self, host: usize, d: &mut Rng) {
        let user = USERS[d.usize(0..USERS.len())];
        for _ in 0..d.u8(1..16) {
            let prank = Prank::draw(d);
            self.ill(when(d), host, Ill::Prank(user, prank));
            if prank.is_to_be_repaired() {
                self.ill(when(d), host, Ill::Prank(user, Prank::Repair));
            }
        }
        // After those who start again when the trouble ends have started.
        self.ill(self.repaired_at(), host, Ill::Prank(user, Prank::Repair));
    }

    fn walls(&mut self, host: usize, d: &mut Rng) {
        let user = USERS[d.usize(0..USERS.len())];
        for _ in 0..d.u8(1..4) {
            let errno = d.choice([Errno::ACCESS, Errno::IO, Errno::NOSPC, Errno::MFILE]).unwrap_or(Errno::IO).raw_os_error();
            let place = d.choice(["", "Maildir", "Maildir/new", "Maildir/cur", "Maildir/tmp"]).unwrap_or_default();
            let (from, walled) = (when(d), Walled { user, place, errno });
            self.ill(from, host, Ill::Wall(walled));
            self.ill(from + d.u64(1..15 * MINUTE), host, Ill::Unwall);
        }
    }
}

fn when(d: &mut Rng) -> u64 {
    d.u64(0..20 * MINUTE)
}
