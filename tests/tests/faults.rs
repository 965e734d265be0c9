//! Every call that storage makes of the system fails once, under load, with errors that systems have: `strace` does it to a real server. Nothing that was
//! promised is lost, nothing is there twice, and the service is back within a minute. `FAULTS=all` tries every call with every error, `FAULTS=rename=EIO` one;
//! without it a few are tried. `SEED=n` loads otherwise, `LANES=3` has more servers at a time, `KEEP=dir` keeps the store of one that broke its promise.
//! tests/faults/run does it for both runtimes.

use hikyaku_tests::{
    live::{Live, Runtime},
    promise::Ledger,
};
use std::{
    fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};
use storage::control::{Client as Operator, Status};

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

/// Pairs in an ordinary run: each is about another step of what is promised, and some of them make mail wait.
const USUAL: [(&str, &str); 6] =
    [("openat", "EACCES"), ("pwrite64", "ENOSPC"), ("fdatasync", "EIO"), ("rename", "EIO"), ("unlink", "EMFILE"), ("pread64", "EINTR")];

/// Servers at a time: most of the time they are waited for.
const USUAL_LANES: usize = 2;

/// After so many pairs a server has got enough mail, and another takes its place.
const TURNS: usize = 10;

/// How long the load goes on before a call fails, and after it.
const LOAD: Duration = Duration::from_millis(400);

/// How soon the service must be back.
const BACK: Duration = Duration::from_secs(60);

/// Pairs to be tried, with their numbers.
type Pairs = Mutex<std::iter::Zip<std::ops::RangeFrom<u64>, std::vec::IntoIter<(&'static str, &'static str)>>>;

/// Somebody who makes calls of a server fail; not any more when it is dropped.
struct Saboteur {
    strace: Child,
    /// What it writes down.
    notes: PathBuf,
}

impl Saboteur {
    /// Lets one of so many calls of each thread fail. `None` where no process may look into another.
    fn new(live: &Live, calls: &str, error: &str, nth: u32) -> Option<Saboteur> {
        // Calls that this machine does not have are left out by their question mark.
        let calls = calls.split(',').map(|call| format!("?{call}")).collect::<Vec<_>>().join(",");
        let notes = live.dir.join("strace");
        let mut strace = Command::new("strace")
            .args([
                "-f",
                "-p",
                &live.pid().to_string(),
                "-e",
                &format!("trace={calls}"),
                "-e",
                &format!("inject={calls}:error={error}:when={nth}"),
            ])
            .arg("-o")
            .arg(&notes)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .ok()?;
        let mut said = BufReader::new(strace.stderr.take()?);
        let mut line = String::new();
        said.read_line(&mut line).ok()?;
        thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        line.contains("attached").then_some(Saboteur { strace, notes })
    }

    /// Lets it go. How many calls failed.
    fn end(self) -> usize {
        let notes = self.notes.clone();
        drop(self);
        fs::read(notes).map_or(0, |notes| String::from_utf8_lossy(&notes).matches("(INJECTED)").count())
    }
}

impl Drop for Saboteur {
    fn drop(&mut self) {
        // SIGINT lets it go of the server first.
        _ = rustix::process::kill_process(rustix::process::Pid::from_child(&self.strace), rustix::process::Signal::INT);
        _ = self.strace.wait();
    }
}

/// The pairs of a call and an error to be tried.
fn pairs() -> Vec<(&'static str, &'static str)> {
    let mut all: Vec<_> = CALLS.iter().flat_map(|calls| ERRORS.iter().map(|error| (*calls, *error))).collect();
    let said = std::env::var("FAULTS").unwrap_or_default();
    let is = |(calls, error): (&str, &str), (call, of): (&str, &str)| error == of && calls.split(',').any(|each| each == call);
    match said.split_once('=') {
        Some(one) => all.retain(|pair| is(*pair, one)),
        None if said == "all" => {}
        None => all.retain(|pair| USUAL.iter().any(|usual| is(*pair, *usual))),
    }
    assert!(!all.is_empty(), "FAULTS={said} names no call of storage and error that is tried");
    all
}

fn seed() -> u64 {
    std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1)
}

/// What a server says of itself.
fn status(live: &Live) -> Result<Status, String> {
    Operator::new(&live.dir.join("store/control.sock")).get("/status", &[]).map_err(|error| error.to_string())
}

/// As [`Ledger::check`], when the server says that nothing waits for a mailbox; it sends, which may be put off while something does.
fn check(ledger: &Ledger, live: &Live) -> Result<String, String> {
    let status = status(live)?;
    if !status.undelivered.is_empty() || !status.aside.is_empty() {
        return Err(format!("{:?} wait, {:?} are aside", status.undelivered, status.aside));
    }
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| ledger.check(live))).unwrap_or_else(|_| Err("mail is not taken".into()))
}

/// Checks until all is well. Also what was acknowledged and is not there would have to come by itself: a check that finds something wrong keeps its books.
fn wait(ledger: &Ledger, live: &mut Live) -> Result<String, String> {
    let (begin, mut said) = (Instant::now(), String::new());
    loop {
        match live.is_up().then(|| check(ledger, live)) {
            Some(Ok(there)) if said.is_empty() => return Ok(there),
            Some(Ok(there)) => return Ok(format!("{there}; after {:.0?}: {said}", begin.elapsed())),
            Some(Err(not_yet)) => said = not_yet,
            None => {
                // Who cannot go on may end, if a start makes all good.
                said = "it ended".into();
                live.restart();
            }
        }
        if begin.elapsed() > BACK {
            return Err(said);
        }
        thread::sleep(Duration::from_millis(200));
    }
}

/// One pair after the other, on a server of its own. Returns how many calls failed and what went wrong; `None` where no process may look
/// into another.
fn fail_some(runtime: Runtime, pairs: &Pairs) -> Option<(usize, Vec<String>)> {
    let (mut wrong, mut all) = (Vec::new(), 0);
    let mut house: Option<(Ledger, Live)> = None;
    for turn in 1.. {
        let Some((n, (calls, error))) = pairs.lock().unwrap().next() else { break };
        let (ledger, live) = house.get_or_insert_with(|| {
            let ledger = Ledger::default();
            let live = Live::start(runtime, &ledger.setup());
            (ledger, live)
        });
        match fail(ledger, live, n, calls, error)? {
            Ok((failed, there)) => {
                println!("{} {calls} {error}: {failed} failed; {there}", runtime.name());
                all += failed;
            }
            Err(said) => {
                let said = format!("{calls} {error}, SEED={}: {said}", seed());
                if let Some(keep) = std::env::var_os("KEEP") {
                    Command::new("cp").arg("-r").arg(&live.dir).arg(keep).status().unwrap();
                }
                println!("WRONG {} {said}\nits log:\n{}", runtime.name(), live.log());
                wrong.push(said);
                // Its books are of no use any more.
                house = None;
            }
        }
        // Each check reads all there is.
        if turn % TURNS == 0
            && let Some((_, mut live)) = house.take()
        {
            live.stop();
        }
    }
    if let Some((_, mut live)) = house {
        live.stop();
    }
    Some((all, wrong))
}

/// One pair. Returns how many calls failed and what there is then, or what is wrong; `None` where no process may look into another.
fn fail(ledger: &Ledger, live: &mut Live, n: u64, calls: &str, error: &str) -> Option<Result<(usize, String), String>> {
    let nth = fastrand::Rng::with_seed(seed() + n).u32(1..4);
    let mut failed = None;
    ledger.load(live, seed() * 1000 + n, LOAD, |live| {
        let saboteur = Saboteur::new(live, calls, error, nth);
        thread::sleep(LOAD);
        failed = saboteur.map(Saboteur::end);
    });
    let failed = failed?;
    let there = wait(ledger, live).map(|there| (failed, there));
    // What is in memory must not be all there is of it.
    if there.is_ok() && (n % 5 == 4 || error == "EIO") {
        live.kill();
        live.restart();
        return Some(wait(ledger, live).map_err(|wrong| format!("after kill -9: {wrong}")).and(there));
    }
    Some(there)
}

fn fail_everything(runtime: Runtime) {
    if Command::new("strace").arg("-V").output().is_err() {
        println!("skipped faults: no strace, so nothing that makes calls fail");
        return;
    }
    let pairs: Pairs = Mutex::new((0..).zip(pairs()));
    let lanes = std::env::var("LANES").ok().and_then(|lanes| lanes.parse().ok()).unwrap_or(USUAL_LANES);
    let done = thread::scope(|scope| {
        let lanes: Vec<_> = (0..lanes).map(|_| scope.spawn(|| fail_some(runtime, &pairs))).collect();
        lanes.into_iter().map(|lane| lane.join().expect("a server that starts")).collect::<Option<Vec<_>>>()
    });
    let Some(done) = done else {
        println!("skipped faults: no process may look into another here (ptrace)");
        return;
    };
    let failed: usize = done.iter().map(|(failed, _)| failed).sum();
    let wrong = done.into_iter().flat_map(|(_, wrong)| wrong).collect::<Vec<_>>();
    assert!(failed > 0 || !wrong.is_empty(), "no call of {} failed, so this proves nothing", runtime.name());
    assert!(wrong.is_empty(), "{}\n{}", runtime.name(), wrong.join("\n"));
}

#[test]
fn calls_fail_on_threads() {
    fail_everything(Runtime::Threads);
}

#[test]
fn calls_fail_on_smol() {
    fail_everything(Runtime::Smol);
}
