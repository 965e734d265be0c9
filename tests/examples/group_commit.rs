//! How many flushes a message costs, by the number of sessions: `cargo run --release -p hikyaku-tests --example group_commit [DIR] [WORK_US]`.
//!
//! Each session commits a record of a 1 KiB message, then computes for `WORK_US` microseconds (200 unless told), half of it with an entry
//! open, as a session does that reads and delivers a message. DIR must be on the disk to measure; `target` unless told.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use storage::{
    disk::{Disk, File, How, Left, Lock, Posix, Stat, Volume},
    spool::{Options, Spool},
};

/// How long each number of sessions is measured.
const MEASURED: Duration = Duration::from_secs(3);

fn main() -> io::Result<()> {
    let mut args = std::env::args_os().skip(1);
    let dir = args.next().map_or_else(|| PathBuf::from("target"), PathBuf::from).join("group-commit");
    let work = args.next().and_then(|a| a.to_str()?.parse().ok()).unwrap_or(200);
    println!("sessions  messages/s  flushes/message  commit median, 99 % (ms)");
    for sessions in [1, 2, 10, 50] {
        remove(&dir)?;
        let flushes = Arc::new(AtomicU64::new(0));
        let spool = Spool::open(Arc::new(Counting(flushes.clone())), &dir, Options::default(), &mut |_, _| {})?;
        for _ in 0..4 {
            spool.prepare()?;
        }
        let before = flushes.load(Ordering::Relaxed);
        let times = Mutex::new(Vec::new());
        let start = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..sessions {
                scope.spawn(|| {
                    let mine = session(&spool, start, Duration::from_micros(work)).expect("the disk works");
                    times.lock().expect("nobody panics").extend(mine);
                });
            }
        });
        let seconds = start.elapsed().as_secs_f64();
        let mut times = times.into_inner().expect("nobody panics");
        times.sort_unstable();
        let count = times.len();
        let ms = |part: usize| times[(count - 1) * part / 100].as_secs_f64() * 1e3;
        let flushes = (flushes.load(Ordering::Relaxed) - before) as f64;
        println!("{sessions:8}  {:10.0}  {:15.3}  {:.3}, {:.3}", count as f64 / seconds, flushes / count as f64, ms(50), ms(99));
    }
    remove(&dir)
}

fn session(spool: &Spool, start: Instant, work: Duration) -> io::Result<Vec<Duration>> {
    let message = [b'x'; 1024];
    let mut times = Vec::new();
    while start.elapsed() < MEASURED {
        compute(work / 2);
        let mut entry = spool.entry();
        compute(work / 4);
        let asked = Instant::now();
        entry.commit(&[&[7; 200], &message])?;
        times.push(asked.elapsed());
        compute(work / 4);
        entry.delivered();
        if spool.live_bytes() > 32 << 20 {
            spool.release(spool.mark())?;
        }
    }
    Ok(times)
}

fn compute(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        std::hint::spin_loop();
    }
}

fn remove(dir: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Posix, and a count of flushes.
struct Counting(Arc<AtomicU64>);

impl Counting {
    fn count(&self) -> &dyn Disk {
        self.0.fetch_add(1, Ordering::Relaxed);
        &Posix
    }
}

struct CountingFile(Box<dyn File>, Arc<AtomicU64>);

impl Disk for Counting {
    fn open(&self, path: &Path, how: How) -> io::Result<Box<dyn File>> {
        Ok(Box::new(CountingFile(Posix.open(path, how)?, self.0.clone())))
    }
    fn open_left(&self, path: &Path) -> io::Result<(Box<dyn File>, Left)> {
        Posix.open_left(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Posix.rename(from, to)
    }
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        Posix.link(from, to)
    }
    fn unlink(&self, path: &Path) -> io::Result<()> {
        Posix.unlink(path)
    }
    fn make_dir(&self, path: &Path) -> io::Result<()> {
        Posix.make_dir(path)
    }
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        Posix.remove_dir(path)
    }
    fn list(&self, dir: &Path, each: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        Posix.list(dir, each)
    }
    fn stat(&self, path: &Path) -> io::Result<Stat> {
        Posix.stat(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.count().sync_dir(dir)
    }
    fn volume(&self, path: &Path) -> io::Result<Box<dyn Volume>> {
        self.count().volume(path)
    }
    fn set_modified(&self, path: &Path, seconds: i64) -> io::Result<()> {
        Posix.set_modified(path, seconds)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        Posix.lock(path)
    }
}

impl File for CountingFile {
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        self.0.read_at(buf, at)
    }
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.0.write_at(bytes, at)
    }
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        self.0.append(bytes)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn sync(&self) -> io::Result<()> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.sync()
    }
}
