//! A real server: one of the two binaries with a scratch store on free ports of this machine, from its start to its end.

mod talk;
pub(crate) mod tls;

pub use talk::{Mailer, Talk};

use crate::model::{HOST, PASSWORD};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fmt::Write as _,
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

/// `{SSHA}` of the password everybody has here: cheap to verify, so that tests do not wait for argon2.
const HASH: &str = "{SSHA}ev3P3p8pGsxpYfBqdhSjbVQRyidzYWx0";
/// How long a start may take, recovery included.
const PATIENCE: Duration = Duration::from_secs(30);

/// Which binary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runtime {
    /// `hikyaku`
    Threads,
    /// `hikyaku-smol`
    Smol,
}

impl Runtime {
    /// Both.
    pub const ALL: [Runtime; 2] = [Runtime::Threads, Runtime::Smol];

    /// The name of its binary.
    pub fn name(self) -> &'static str {
        match self {
            Runtime::Threads => "hikyaku",
            Runtime::Smol => "hikyaku-smol",
        }
    }

    /// Where its binary is: in `$HIKYAKU_BINARIES`, or built with the profile of this test, beside it.
    ///
    /// # Panics
    /// If it was not built.
    pub fn binary(self) -> PathBuf {
        let dir = std::env::var_os("HIKYAKU_BINARIES").map(PathBuf::from).unwrap_or_else(|| {
            let test = std::env::current_exe().expect("a test knows its own path");
            test.parent().and_then(Path::parent).expect("a test lies in target/PROFILE/deps").to_owned()
        });
        let path = dir.join(self.name());
        assert!(path.exists(), "{} is not there: cargo build -p hikyaku-std -p hikyaku-smol", path.display());
        path
    }
}

/// The ports of a server.
#[derive(Debug, Clone, Copy)]
pub struct Ports {
    /// Mail from servers.
    pub smtp: u16,
    /// Mail from users, STARTTLS.
    pub submission: u16,
    /// Mail from users, TLS.
    pub submissions: u16,
    /// LMTP.
    pub lmtp: u16,
    /// IMAP, STARTTLS.
    pub imap: u16,
    /// IMAP, TLS.
    pub imaps: u16,
    /// POP3, STLS.
    pub pop3: u16,
    /// POP3, TLS.
    pub pop3s: u16,
}

/// What a server is started with.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Local parts of accounts at example.test.
    pub accounts: Vec<String>,
    /// Fields of the configuration beyond the ordinary ones, as RON.
    pub extra: String,
    /// Where store and configuration are; a scratch directory if not given.
    pub dir: Option<PathBuf>,
    /// KiB of address space that the process may have (`ulimit -v`); what the system gives if not given.
    pub address_space: Option<u64>,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup { accounts: vec!["alice".into(), "bob".into()], extra: String::new(), dir: None, address_space: None }
    }
}

/// A running server. It ends with this value; its log is printed if a test fails.
pub struct Live {
    /// Which binary.
    pub runtime: Runtime,
    /// Where it listens.
    pub ports: Ports,
    /// Configuration, certificates, log, `store/`.
    pub dir: PathBuf,
    scratch: bool,
    address_space: Option<u64>,
    child: Child,
}

impl Live {
    /// Alice, Bob and nothing special.
    pub fn new(runtime: Runtime) -> Live {
        Live::start(runtime, &Setup::default())
    }

    /// Starts a server and waits until it greets.
    ///
    /// # Panics
    /// If it does not.
    pub fn start(runtime: Runtime, setup: &Setup) -> Live {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let scratch = std::env::temp_dir().join(format!("hikyaku-test-{}-{number}", std::process::id()));
        let dir = setup.dir.clone().unwrap_or_else(|| scratch.clone());
        fs::create_dir_all(dir.join("store")).expect("a writable directory");
        let dir = dir.canonicalize().expect("just made");
        tls::make(&dir);
        write(&dir.join("store/accounts.ron"), &accounts(&setup.accounts));
        loop {
            let ports = free_ports();
            write(&dir.join("hikyaku.ron"), &configuration(&dir, ports, &setup.extra));
            let begin = read_log(&dir).len();
            let address_space = setup.address_space;
            let child = spawn(runtime, &dir, address_space);
            let mut live = Live { runtime, ports, dir: dir.clone(), scratch: false, address_space, child };
            if live.wait(begin) {
                live.scratch = setup.dir.is_none();
                return live;
            }
        }
    }

    /// Starts it again on the same store and ports, after [`Live::kill`] or [`Live::stop`].
    pub fn restart(&mut self) {
        loop {
            let begin = self.log().len();
            self.child = spawn(self.runtime, &self.dir, self.address_space);
            if self.wait(begin) {
                return;
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// The same, and its log goes elsewhere.
    pub fn restart_logging_to(&mut self, log: impl Into<Stdio>) {
        self.child = command(self.runtime, &self.dir, self.address_space)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("a program that can be started");
        assert!(self.wait(self.log().len()), "somebody took its ports");
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a child can be waited for");
    }

    /// SIGTERM, and waits until it is gone.
    ///
    /// # Panics
    /// If it does not end well, or not soon.
    pub fn stop(&mut self) {
        self.signal(Signal::TERM);
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                assert!(status.success(), "{} ended with {status}", self.runtime.name());
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        panic!("{} does not stop", self.runtime.name());
    }

    /// The number of its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("a child can be signalled");
    }

    /// The number of its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    ///
    /// # Panics
    /// If a child cannot be waited for.
    pub fn is_up(&mut self) -> bool {
        self.child.try_wait().expect("a child can be waited for").is_none()
    }

    /// Most memory it ever had, in KiB (`VmHWM`).
    pub fn peak_kib(&self) -> u64 {
        self.status("VmHWM:")
    }

    /// Most address space it ever had, in KiB (`VmPeak`).
    pub fn widest_kib(&self) -> u64 {
        self.status("VmPeak:")
    }

    /// Memory it has, in KiB (`VmRSS`).
    pub fn resident_kib(&self) -> u64 {
        self.status("VmRSS:")
    }

    fn status(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs on Linux");
        let line = status.lines().find_map(|l| l.strip_prefix(field)).expect("a field of status");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// A connection in clear text.
    pub fn connect(&self, port: u16) -> Talk {
        Talk::plain(local(port))
    }

    /// A connection that begins with TLS, the certificate verified.
    pub fn connect_tls(&self, port: u16) -> Talk {
        Talk::tls(local(port), &tls::client(&self.dir))
    }

    /// Goes over to TLS, after STARTTLS was agreed on.
    pub fn secure(&self, talk: Talk) -> Talk {
        talk.secure(&tls::client(&self.dir))
    }

    /// The certificate of the authority that signed the server's.
    pub fn authority(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    /// What it logged.
    pub fn log(&self) -> String {
        read_log(&self.dir)
    }

    /// Waits until it listens on every port and greets. False if somebody was faster and has one of them; its log is of interest from `logged` on.
    fn wait(&mut self, logged: usize) -> bool {
        let begin = Instant::now();
        let ports = self.ports;
        let all = [ports.submission, ports.submissions, ports.lmtp, ports.imap, ports.imaps, ports.pop3, ports.pop3s, ports.smtp];
        // A port that is bound takes connections before the server is ready for them, so the last one must greet.
        let is_up = |port| match port == ports.smtp {
            true => Talk::try_plain(local(port)).and_then(|mut talk| talk.try_line()).is_ok(),
            false => TcpStream::connect_timeout(&local(port), PATIENCE).is_ok(),
        };
        for port in all {
            while !is_up(port) {
                if let Some(ended) = self.child.try_wait().expect("a child can be waited for") {
                    let log = self.log();
                    if log.get(logged..).is_some_and(|log| log.contains("in use")) {
                        return false;
                    }
                    panic!("{} ended with {ended}:\n{log}", self.runtime.name());
                }
                assert!(begin.elapsed() < PATIENCE, "{} is not ready on {port}:\n{}", self.runtime.name(), self.log());
                thread::sleep(Duration::from_millis(5));
            }
        }
        true
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.signal(Signal::TERM);
            let begin = Instant::now();
            while matches!(self.child.try_wait(), Ok(None)) && begin.elapsed() < Duration::from_secs(3) {
                thread::sleep(Duration::from_millis(5));
            }
            _ = self.child.kill();
            _ = self.child.wait();
        }
        if thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("the last words of {}:\n{}", self.runtime.name(), lines[lines.len().saturating_sub(20)..].join("\n"));
        }
        if self.scratch {
            _ = fs::remove_dir_all(&self.dir);
        }
    }
}

fn read_log(dir: &Path) -> String {
    String::from_utf8_lossy(&fs::read(dir.join("log")).unwrap_or_default()).into_owned()
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn spawn(runtime: Runtime, dir: &Path, address_space: Option<u64>) -> Child {
    let log = fs::File::options().create(true).append(true).open(dir.join("log")).expect("a writable directory");
    let mut command = command(runtime, dir, address_space);
    command.stdout(log.try_clone().expect("a file can be shared")).stderr(log).spawn().expect("a program that can be started")
}

fn command(runtime: Runtime, dir: &Path, address_space: Option<u64>) -> Command {
    let mut command = match address_space {
        Some(kib) => {
            let mut shell = Command::new("sh");
            shell.args(["-c", &format!("ulimit -v {kib} && exec \"$0\" \"$@\"")]).arg(runtime.binary());
            shell
        }
        None => Command::new(runtime.binary()),
    };
    command.args(["--config", "hikyaku.ron", "serve"]).current_dir(dir).stdin(Stdio::null());
    command
}

/// Ports that nobody has. They are let go before the server takes them, so somebody else may be faster.
fn free_ports() -> Ports {
    let held: Vec<TcpListener> = (0..8).map(|_| TcpListener::bind(local(0)).expect("a free port")).collect();
    let port = |i: usize| held[i].local_addr().expect("it is bound").port();
    Ports {
        smtp: port(0),
        submission: port(1),
        submissions: port(2),
        lmtp: port(3),
        imap: port(4),
        imaps: port(5),
        pop3: port(6),
        pop3s: port(7),
    }
}

fn configuration(dir: &Path, ports: Ports, extra: &str) -> String {
    let listen = [
        (ports.smtp, "Smtp", "Start"),
        (ports.submission, "Submission", "Start"),
        (ports.submissions, "Submission", "Implicit"),
        (ports.lmtp, "Lmtp", "Never"),
        (ports.imap, "Imap", "Start"),
        (ports.imaps, "Imap", "Implicit"),
        (ports.pop3, "Pop3", "Start"),
        (ports.pop3s, "Pop3", "Implicit"),
    ];
    let mut text = format!(
        "(\n    domains: [\"example.test\"],\n    hostname: \"{HOST}\",\n    store: {:?},\n    plaintext_logins: true,\n",
        dir.join("store")
    );
    if rustix::process::geteuid().is_root() {
        text += "    user: \"root\",\n";
    }
    text += "    listen: [\n";
    for (port, speak, tls) in listen {
        _ = writeln!(text, "        (on: \"127.0.0.1:{port}\", speak: {speak}, tls: {tls}),");
    }
    _ = writeln!(
        text,
        "    ],\n    certificates: [(chain: {:?}, key: {:?})],\n    {extra}\n)",
        dir.join("server.pem"),
        dir.join("server.key")
    );
    text
}

fn accounts(local_parts: &[String]) -> String {
    let lines: Vec<String> = local_parts.iter().map(|a| format!("        (address: \"{a}@example.test\", hash: \"{HASH}\"),\n")).collect();
    assert_eq!(PASSWORD, "hikyaku", "the hash above is of this password");
    format!("(\n    version: 1,\n    accounts: [\n{}    ],\n)\n", lines.concat())
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}
