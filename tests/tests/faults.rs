//! Every call that storage makes of the system fails once, under load, with errors that systems have: `strace` does it to a real server. Nothing that was
//! promised is lost, nothing is there twice, and the service is back within a minute. `FAULTS=all` tries every call with every error; without it a few of
//! them are, chosen by `SEED`. tests/faults/run does it for both runtimes.

use hikyaku_tests::{
    live::{Live, Runtime},
    promise::Ledger,
};
use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// What storage asks a system for, by what it is about; names of one group are the same call on different machines.
const CALLS: [&str; 22] = [
    "open,openat",
    "openat2",
    "read",
    "pread64",
    "write",
    "pwrite64",
    "fsync",
    "fdatasync",
    "syncfs",
    "rename,renameat,renameat2",
    "link,linkat",
    "unlink,unlinkat",
    "rmdir",
    "mkdir,mkdirat",
    "ftruncate",
    "fstat",
    "stat,lstat,newfstatat,statx",
    "utimensat",
    "getdents64",
    "flock",
    "statfs,fstatfs",
    "fcntl",
];

/// What they say.
const ERRORS: [&str; 5] = ["EIO", "ENOSPC", "EMFILE", "EINTR", "EACCES"];

/// Pairs in an ordinary run.
const USUAL: usize = 6;

/// How long the load goes on before a call fails, and after it.
const LOAD: Duration = Duration::from_millis(400);

/// How soon the service must be back.
const BACK: Duration = Duration::from_secs(60);

/// Somebody who makes calls of a server fail; not any more when it is dropped.
struct Saboteur(Child);

impl Saboteur {
    /// Lets one of so many calls of each thread fail. `None` where no process may look into another.
    fn new(live: &Live, calls: &str, error: &str, nth: u32) -> Option<Saboteur> {
        // Calls that this machine does not have are left out by their question mark.
        let calls = calls.split(',').map(|call| format!("?{call}")).collect::<Vec<_>>().join(",");
        let mut child = Command::new("strace")
            .args([
                "-f",
                "-p",
                &live.pid().to_string(),
                "-e",
                &format!("trace={calls}"),
                "-e",
                &format!("inject={calls}:error={error}:when={nth}"),
            ])
            .args(["-o", "/dev/null"])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .ok()?;
        let mut said = BufReader::new(child.stderr.take()?);
        let mut line = String::new();
        said.read_line(&mut line).ok()?;
        thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        line.contains("attached").then_some(Saboteur(child))
    }
}

impl Drop for Saboteur {
    fn drop(&mut self) {
        // SIGINT lets it go of the server first.
        _ = rustix::process::kill_process(rustix::process::Pid::from_child(&self.0), rustix::process::Signal::INT);
        _ = self.0.wait();
    }
}

/// The pairs of a call and an error to be tried.
fn pairs() -> Vec<(&'static str, &'static str)> {
    let mut all: Vec<_> = CALLS.iter().flat_map(|calls| ERRORS.iter().map(|error| (*calls, *error))).collect();
    let said = std::env::var("FAULTS").unwrap_or_default();
    if let Some((call, error)) = said.split_once('=') {
        all.retain(|(calls, each)| calls.split(',').any(|each| each == call) && *each == error);
    } else if said != "all" {
        fastrand::Rng::with_seed(seed()).shuffle(&mut all);
        all.truncate(USUAL);
    }
    all
}

fn seed() -> u64 {
    std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1)
}

/// As [`Ledger::check`]; it sends, which may be put off while mail waits for a mailbox.
fn check(ledger: &Ledger, live: &Live) -> Result<String, String> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| ledger.check(live))).unwrap_or_else(|_| Err("mail is not taken".into()))
}

fn fail_everything(runtime: Runtime) {
    if Command::new("strace").arg("-V").output().is_err() {
        println!("skipped: no strace, so nothing that makes calls fail");
        return;
    }
    let ledger = Ledger::default();
    let mut live = Live::start(runtime, &ledger.setup());
    let mut wrong = Vec::new();
    for (n, (calls, error)) in (0..).zip(pairs()) {
        let mut dice = fastrand::Rng::with_seed(seed() + n);
        let mut allowed = true;
        ledger.load(&mut live, seed() * 1000 + n, LOAD, |live| {
            let saboteur = Saboteur::new(live, calls, error, dice.u32(1..4));
            allowed = saboteur.is_some();
            thread::sleep(LOAD);
        });
        if !allowed {
            println!("skipped: no process may look into another here (ptrace)");
            return;
        }
        let (begin, mut said) = (Instant::now(), String::new());
        let back = loop {
            match live.is_up().then(|| check(&ledger, &live)) {
                Some(Ok(there)) => break Ok(there),
                Some(Err(not_yet)) => said = not_yet,
                None => {
                    // Who cannot go on may end, if a start makes all good.
                    said = "it ended".into();
                    live.restart();
                }
            }
            if begin.elapsed() > BACK {
                break Err(said.clone());
            }
            thread::sleep(Duration::from_millis(200));
        };
        match back {
            Ok(there) if said.is_empty() => println!("{} {calls} {error}: {there}", runtime.name()),
            Ok(there) => println!("{} {calls} {error}: {there}; not at once: {said}", runtime.name()),
            Err(said) => wrong.push(format!("{calls} {error}, SEED={}: {said}", seed())),
        }
        // What is in memory must not be all there is of it.
        if n % 5 == 4 || error == "EIO" {
            live.kill();
            live.restart();
            if let Err(lost) = check(&ledger, &live) {
                wrong.push(format!("{calls} {error}, SEED={}, after kill -9: {lost}", seed()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}\n{}", runtime.name(), wrong.join("\n"));
    live.stop();
}

#[test]
#[ignore = "takes minutes, and strace: tests/faults/run"]
fn calls_fail_on_threads() {
    fail_everything(Runtime::Threads);
}

#[test]
#[ignore = "takes minutes, and strace: tests/faults/run"]
fn calls_fail_on_smol() {
    fail_everything(Runtime::Smol);
}
