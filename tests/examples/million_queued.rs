//! What a long queue costs: `cargo run --release -p hikyaku-tests --example million_queued [DIR] [MESSAGES]`.
//!
//! Fills a spool and a depot with messages for many destinations, then opens a house on them in a process of its own and says how long that took and
//! what memory it has. DIR must be on the disk to measure and have 1.5 KiB for each message; `target` unless told. A million messages unless told.

use mail::Stamp;
use queue::{Accept, Content, Entry, Queue, Record, Remote, Remotes, Settings};
use std::{
    io,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};
use storage::{depot::Depot, disk::Posix, house::House, spool::Spool};

/// Bytes of a message.
const CONTENT: usize = 512;

/// Messages of a checkpoint.
const ROUND: u64 = 100_000;

fn main() -> io::Result<()> {
    let mut args = std::env::args_os().skip(1);
    let dir = args.next().map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let messages: u64 = args.next().and_then(|a| a.to_str()?.parse().ok()).unwrap_or(1_000_000);
    if args.next().is_some() {
        return open(&dir, messages);
    }
    let dir = dir.join("million-queued");
    remove(&dir)?;
    std::fs::create_dir_all(&dir)?;
    fill(&dir, messages)?;
    let ended = Command::new(std::env::current_exe()?).arg(&dir).arg(messages.to_string()).arg("open").status()?;
    assert!(ended.success(), "the house opens");
    remove(&dir)
}

fn fill(dir: &Path, messages: u64) -> io::Result<()> {
    let spool = Spool::open(Arc::new(Posix), &dir.join("spool"), storage::spool::Options::default(), &mut |_, _| {})?;
    let depot = Depot::open(Arc::new(Posix), &dir.join("depot"), storage::depot::Options::default(), &mut |_, _, _| {})?;
    let queue = Mutex::new(Queue::new(Settings::default(), 1));
    let (start, mut parked, next) = (Instant::now(), 0.0, AtomicU64::new(0));
    for upto in (0..messages).step_by(ROUND as usize).map(|n| (n + ROUND).min(messages)) {
        std::thread::scope(|scope| {
            for _ in 0..64 {
                scope.spawn(|| {
                    while next
                        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < upto).then_some(n + 1))
                        .is_ok_and(|n| accept(&spool, &depot, &queue, n).is_ok())
                    {}
                });
            }
        });
        let before = Instant::now();
        let mark = spool.mark();
        depot.checkpoint(&spool, mark, &mut |put| {
            queue.lock().expect("nobody panics").save_after(0, usize::MAX, put);
        })?;
        spool.release(mark)?;
        parked += before.elapsed().as_secs_f64();
    }
    assert_eq!(depot.parked() as u64, messages);
    let seconds = start.elapsed().as_secs_f64();
    println!("{messages} messages of {CONTENT} bytes accepted in {seconds:.1} s, of which their checkpoints took {parked:.1} s");
    let before = Instant::now();
    depot.checkpoint(&spool, spool.mark(), &mut |put| {
        queue.lock().expect("nobody panics").save_after(0, usize::MAX, put);
    })?;
    println!("one more checkpoint: {:.2} s, {} MB of states", before.elapsed().as_secs_f64(), depot.snapshot_bytes() / 1_000_000);
    Ok(())
}

fn accept(spool: &Spool, depot: &Depot, queue: &Mutex<Queue>, n: u64) -> io::Result<()> {
    let mut entry = spool.entry();
    let id = entry.id();
    let recipient = format!("somebody.{n}@destination-{}.example", n % 10_000);
    let remotes = [Remote { recipient: &recipient, ..Remote::default() }];
    let content = [b'x'; CONTENT];
    let record = Record::Accept(Accept {
        id,
        stamp: Stamp::utc(1_800_000_000),
        sender: Some("sender@example.org"),
        remotes: Remotes::new(&remotes),
        content: Content::Inline(&content),
        ..Accept::default()
    });
    let at = entry.commit(&[&record.encode()])?;
    depot.note(id, at, false);
    let recipients = [(0, remotes[0].site())];
    let arrived_ms = 1_800_000_000_000;
    // They wait, as they do for a server that is down.
    let message = Entry {
        id,
        arrived_ms,
        priority: 0,
        not_before_ms: Some(arrived_ms + 3_600_000 + n),
        give_up_ms: None,
        due_ms: None,
        held: false,
        recipients: &recipients,
    };
    queue.lock().expect("nobody panics").admit(arrived_ms, &message);
    entry.delivered();
    Ok(())
}

fn open(dir: &Path, messages: u64) -> io::Result<()> {
    let text = format!("(domains: [\"example.test\"], store: {dir:?})");
    let config = config::parse("million", &text).map_err(|error| io::Error::other(format!("{error:?}")))?;
    let before = memory()?;
    let start = Instant::now();
    let house = House::open(config, Arc::new(Posix)).map_err(|error| io::Error::other(error.to_string()))?;
    let seconds = start.elapsed().as_secs_f64();
    let bytes = memory()? - before;
    println!("a house opened with them in {seconds:.2} s; {} MB of memory, {} bytes a message", bytes / 1_000_000, bytes / messages);
    drop(house);
    Ok(())
}

/// Bytes of memory this process has.
fn memory() -> io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or(io::ErrorKind::NotFound)?;
    line.trim().trim_end_matches(" kB").parse::<u64>().map(|kib| kib * 1024).map_err(io::Error::other)
}

fn remove(dir: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
