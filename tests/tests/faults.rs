//! Every call that storage makes of the system fails once, under load, with errors that systems have: `strace` does it to a real server. Nothing that was
//! promised is lost, nothing is there twice, and the service is back within a minute. `FAULTS=all` tries every call with every error, `FAULTS=rename=EIO` one;
//! without it a few are tried. `FAULTS=start` lets each fail while a server that fell starts again. `SEED=n` loads otherwise, `LANES=3` has more servers at a time, `KEEP=dir` keeps the store of one that broke its promise.
//! A pair of which no call failed has proved nothing, and is wrong. tests/faults/run does it for both runtimes.

use hikyaku_tests::{
    live::{Live, Mailer, Runtime, Setup, Talk},
    promise::{Ledger, sink::Sink},
};
use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};
use storage::control::{Client as Operator, Effect, Status};

/// What storage asks a system for, by what it is about; names of one group are the same call on different machines.
const CALLS: [&str; 21] = [
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
    "unlink,unlinkat,rmdir",
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

/// What a server asks for at its start only.
const ONLY_AT_START: [&str; 1] = ["flock"];

/// What it may not ask for at all while it starts.
const SELDOM_AT_START: [&str; 6] = ["syncfs", "link,linkat", "ftruncate", "utimensat", "statfs,fstatfs", "fcntl"];

/// What is also said of connections: one that breaks before the peer has answered is followed by another with the same mail.
const OF_LINES: [&str; 2] = ["read", "write"];

/// What they say.
const ERRORS: [&str; 5] = ["EIO", "ENOSPC", "EMFILE", "EINTR", "EACCES"];

/// Pairs in an ordinary run: each is about another step of what is promised, and some of them make mail wait.
const USUAL: [(&str, &str); 6] =
    [("openat", "EACCES"), ("pwrite64", "ENOSPC"), ("fdatasync", "EIO"), ("rename", "EIO"), ("unlink", "EMFILE"), ("pread64", "EINTR")];

/// Servers at a time: most of the time they are waited for.
const USUAL_LANES: usize = 2;

/// After so many pairs a server has got enough mail, and another takes its place.
const TURNS: usize = 10;

/// How long the load goes on before calls fail, and at least while they do.
const LOAD: Duration = Duration::from_millis(400);

/// How long a call is waited for that is made seldom, with each choice of which fails.
const SELDOM: Duration = Duration::from_secs(5);

/// How long a server may take to start, or to say why it does not.
const START: Duration = Duration::from_secs(30);

/// How often it is looked.
const LOOK: Duration = Duration::from_millis(20);

/// How soon the service must be back.
const BACK: Duration = Duration::from_secs(60);

/// Pairs to be tried, with their numbers.
type Pairs = Mutex<std::iter::Zip<std::ops::RangeFrom<u64>, std::vec::IntoIter<(&'static str, &'static str)>>>;

/// What lets those calls of each thread fail that `when` says (strace(1)), and writes that down.
fn strace(calls: &str, error: &str, when: &str, notes: &Path) -> Command {
    // Calls that this machine does not have are left out by their question mark.
    let calls = calls.split(',').map(|call| format!("?{call}")).collect::<Vec<_>>().join(",");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-e", &format!("trace={calls}"), "-e", &format!("inject={calls}:error={error}:when={when}")]);
    strace.arg("-o").arg(notes);
    strace
}

/// Somebody who makes calls of a server fail; not any more when it is dropped.
struct Saboteur {
    strace: Child,
    /// What it writes down.
    notes: PathBuf,
}

impl Saboteur {
    /// Lets those calls of each thread fail that `when` says. `None` where no process may look into another.
    fn new(live: &Live, calls: &str, error: &str, when: &str) -> Option<Saboteur> {
        let notes = live.dir.join("strace");
        let mut strace = strace(calls, error, when, &notes)
            .args(["-p", &live.pid().to_string()])
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

    /// How many calls failed.
    fn count(&self) -> usize {
        injected(&self.notes)
    }

    /// Lets it go. How many calls failed.
    fn end(self) -> usize {
        let notes = self.notes.clone();
        drop(self);
        injected(&notes)
    }
}

fn injected(notes: &Path) -> usize {
    fs::read(notes).map_or(0, |notes| String::from_utf8_lossy(&notes).matches("(INJECTED)").count())
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
        None if is_at_start() => all.retain(|(calls, _)| !SELDOM_AT_START.contains(calls)),
        None => all.retain(|pair| USUAL.iter().any(|usual| is(*pair, *usual))),
    }
    assert!(!all.is_empty(), "FAULTS={said} names no call of storage and error that is tried");
    all
}

/// Whether all that fails fails while a server starts.
fn is_at_start() -> bool {
    std::env::var("FAULTS").is_ok_and(|said| said == "start")
}

fn seed() -> u64 {
    std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1)
}

fn operator(live: &Live) -> Operator {
    Operator::new(&live.dir.join("store/control.sock"))
}

/// What a server says of itself.
fn status(live: &Live) -> Result<Status, String> {
    operator(live).get("/status", &[]).map_err(|error| error.to_string())
}

/// Whether a server takes mail.
fn greets(live: &Live) -> bool {
    Talk::try_plain(([127, 0, 0, 1], live.ports.smtp).into()).and_then(|mut talk| talk.try_line()).is_ok()
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
    ledger.set_breaks(OF_LINES.contains(&calls));
    ledger.load(live, seed() * 1000 + n, LOAD, |live| {
        failed = match is_at_start() || ONLY_AT_START.contains(&calls) {
            true => fail_at_start(ledger, live, calls, error, nth * nth * nth),
            false => fail_under_load(live, calls, error, nth),
        };
    });
    let there = match failed? {
        0 => Err("no call failed, so this proves nothing".into()),
        failed => wait(ledger, live).map(|there| (failed, there)),
    };
    // What is in memory must not be all there is of it.
    if there.is_ok() && (n % 5 == 4 || error == "EIO") {
        live.kill();
        live.restart();
        return Some(wait(ledger, live).map_err(|wrong| format!("after kill -9: {wrong}")).and(there));
    }
    Some(there)
}

/// How many calls failed; `None` where no process may look into another.
fn fail_under_load(live: &Live, calls: &str, error: &str, nth: u32) -> Option<usize> {
    // A thread that makes a call once in a while may never make a second one.
    for nth in [nth, 1, 1, 1] {
        let saboteur = Saboteur::new(live, calls, error, &nth.to_string())?;
        thread::sleep(LOAD);
        let begin = Instant::now();
        while saboteur.count() == 0 && begin.elapsed() < SELDOM {
            thread::sleep(LOOK);
        }
        let failed = saboteur.end();
        if failed > 0 {
            return Some(failed);
        }
    }
    Some(0)
}

/// Falls and starts, and a call fails while it does; in the end it runs. How many calls failed; `None` where no process may look into another.
fn fail_at_start(ledger: &Ledger, live: &mut Live, calls: &str, error: &str, nth: u32) -> Option<usize> {
    live.kill();
    // Few make so many of them.
    let failed = [nth, 1].into_iter().map(|nth| start_badly(ledger, live, calls, error, nth)).find(|failed| *failed != Some(0));
    live.restart();
    failed.unwrap_or(Some(0))
}

/// A start during which a call fails, and another fall. How many calls failed.
fn start_badly(ledger: &Ledger, live: &Live, calls: &str, error: &str, nth: u32) -> Option<usize> {
    ledger.fell();
    let notes = live.dir.join("strace");
    let logged = live.log().len();
    // The server is our child, and who traces it is its.
    let mut command = strace(calls, error, &nth.to_string(), &notes);
    let log = || fs::File::options().append(true).open(live.dir.join("log")).unwrap();
    command.arg("-D").arg(live.runtime.binary()).args(["--config", "hikyaku.ron", "serve"]).current_dir(&live.dir);
    let mut child = command.stdin(Stdio::null()).stdout(log()).stderr(log()).spawn().ok()?;
    let begin = Instant::now();
    let ended = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status);
        }
        // A line of the log may be what is lost, or the control socket.
        if greets(live) {
            break None;
        }
        assert!(begin.elapsed() < START, "it neither starts nor says why not:\n{}", live.log());
        thread::sleep(LOOK);
    };
    // Whoever does not start says why; who finds no library (ld.so(8) ends with 127) is not there yet.
    let is_right = |status: ExitStatus| matches!(status.code(), Some(1 | 127)) && live.log().len() > logged;
    assert!(ended.is_none_or(is_right), "{ended:?}\n{}", live.log());
    child.kill().unwrap();
    child.wait().unwrap();
    ledger.fell();
    Some(injected(&notes))
}

/// The system has no thread for anybody any more.
fn refuse_threads(runtime: Runtime) {
    let mut live = Live::new(runtime);
    let Some(saboteur) = Saboteur::new(&live, "clone,clone3", "EAGAIN", "1+") else {
        println!("skipped: no strace, or no process may look into another here (ptrace)");
        return;
    };
    // A few threads that are idle find work first.
    let greetings = |port, refusal| {
        let mut talks: Vec<_> = (0..20).map(|_| live.connect(port)).collect();
        let lines: Vec<String> = talks.iter_mut().map(Talk::line).collect();
        lines.iter().filter(|line| line.starts_with(refusal)).count()
    };
    let refused = greetings(live.ports.smtp, "421 4.7.0 ") + greetings(live.ports.imap, "* BYE [UNAVAILABLE] ");
    assert!(refused > 0 || runtime == Runtime::Smol, "each has a thread although there is none");
    saboteur.end();
    Mailer::new(live.connect(live.ports.smtp), "EHLO").mail("carol@example.org", &["alice@example.test"], "Subject: in\r\n\r\n");
    live.stop();
}

/// Whoever brings mail for elsewhere cannot wake who sends it, once.
fn fail_to_wake(runtime: Runtime) {
    let sink = Sink::new();
    let extra = format!("relay: (clients: [\"127.0.0.0/8\"]), queue: (retry: List([1])), {}", sink.routes());
    let mut live = Live::start(runtime, &Setup { extra, ..Setup::default() });
    let address = "takes-1@telling.test";
    let mut talk = live.connect(live.ports.smtp);
    talk.reply("220");
    for (line, code) in
        [("EHLO x", "250"), ("MAIL FROM:<dave@example.org>", "250"), (&format!("RCPT TO:<{address}>"), "250"), ("DATA", "354")]
    {
        talk.send(&format!("{line}\r\n"));
        talk.reply(code);
    }
    let Some(saboteur) = Saboteur::new(&live, "write", "EIO", "1") else {
        println!("skipped: no strace, or no process may look into another here (ptrace)");
        return;
    };
    // Its next write is to wake, and the one after that to answer.
    talk.send(".\r\n");
    _ = talk.try_line();
    saboteur.end();
    let (begin, operator) = (Instant::now(), operator(&live));
    while sink.copies(address).is_empty() {
        assert!(begin.elapsed() < BACK, "it is never sent:\n{}", live.log());
        // What failed on its way rests otherwise.
        _ = operator.post::<Effect>("/queue", br#"{"whom":{"all":{}},"action":"retry"}"#);
        thread::sleep(LOOK);
    }
    live.stop();
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
fn who_could_not_be_woken_once_is_woken_on_threads() {
    fail_to_wake(Runtime::Threads);
}

#[test]
fn who_could_not_be_woken_once_is_woken_on_smol() {
    fail_to_wake(Runtime::Smol);
}

#[test]
fn without_a_thread_connections_are_refused_on_threads() {
    refuse_threads(Runtime::Threads);
}

#[test]
fn without_a_thread_connections_are_refused_on_smol() {
    refuse_threads(Runtime::Smol);
}

#[test]
fn calls_fail_on_threads() {
    fail_everything(Runtime::Threads);
}

#[test]
fn calls_fail_on_smol() {
    fail_everything(Runtime::Smol);
}
