//! The command line of both binaries, as a newcomer uses it.

use hikyaku_tests::live::Runtime;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Output, Stdio},
};

/// A directory of our own.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, runtime: Runtime) -> Scratch {
        let dir = std::env::temp_dir().join(format!("hikyaku-cli-{name}-{}-{}", runtime.name(), std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).unwrap();
        Scratch(dir)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn run(runtime: Runtime, dir: &Path, args: &[&str], input: &str) -> Output {
    let mut child = Command::new(runtime.binary())
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn fine(output: Output) -> String {
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{out}{err}");
    out
}

#[test]
fn from_init_to_accounts() {
    for runtime in Runtime::ALL {
        let scratch = Scratch::new("init", runtime);
        let dir = &scratch.0;
        let config = ["--config", "mail/hikyaku.ron"];
        let said = fine(run(runtime, dir, &["init", "example.org", "--dir", "mail"], ""));
        assert!(said.contains(&format!("{} --config ", runtime.name())) && said.contains(" account add you@example.org"), "{said}");
        fine(run(runtime, dir, &[&config[..], &["account", "add", "alice@example.org"]].concat(), "secret\n"));
        assert!(fine(run(runtime, dir, &[&config[..], &["account", "list"]].concat(), "")).contains("argon2"));
        assert!(fine(run(runtime, dir, &[&config[..], &["check"]].concat(), "")).contains("1 accounts"));
        let said = fine(run(runtime, dir, &[&config[..], &["restored"]].concat(), ""));
        assert!(said.contains("new UIDVALIDITY") && said.contains("after run 65536."), "{said}");
        let store = Path::new(said.split_once(": taken").unwrap().0);
        let lock = fs::File::open(store.join("spool/lock")).unwrap();
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
        let refused = run(runtime, dir, &[&config[..], &["restored"]].concat(), "");
        assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("the server is running; stop it first"));
        drop(lock);
        // From the directory of the configuration, no option is needed, unless this machine has a server of its own.
        if !Path::new("/etc/hikyaku/hikyaku.ron").exists() {
            fine(run(runtime, &dir.join("mail"), &["account", "list"], ""));
            let lost = run(runtime, dir, &["serve"], "");
            assert_eq!(lost.status.code(), Some(1));
            assert!(String::from_utf8_lossy(&lost.stderr).contains("hikyaku demo"));
        }
        assert_eq!(run(runtime, dir, &["account", "add"], "").status.code(), Some(2));
        assert!(fine(run(runtime, dir, &["completions", "bash"], "")).contains(runtime.name()));
    }
}

/// A demo, its standard output, and the notes that it printed there when it was ready; `None` if it could not begin.
fn demo(runtime: Runtime, dir: &Path) -> Option<(u16, Child, BufReader<ChildStdout>, String)> {
    let given = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let ports = given.saturating_sub(2024).min(62_000);
    let mut child = Command::new(runtime.binary())
        .args(["demo", "--ports", &ports.to_string()])
        .env("TMPDIR", dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut out, mut said) = (BufReader::new(child.stdout.take().unwrap()), String::new());
    while !said.contains("From others") {
        if out.read_line(&mut said).unwrap() == 0 {
            assert!(!child.wait().unwrap().success());
            return None;
        }
    }
    Some((ports, child, out, said))
}

#[test]
fn a_demo_says_what_to_paste_and_leaves_nothing() {
    for runtime in Runtime::ALL {
        let scratch = Scratch::new("demo", runtime);
        // The ports lie around one that the system gave; if somebody has one of them all the same, others are tried.
        let (ports, mut demo, mut out, mut said) = (0..10).find_map(|_| demo(runtime, &scratch.0)).expect("free ports");
        assert!(said.contains("password: hikyaku") && said.contains(&format!("imaps://127.0.0.1:{}", 2993 + ports)), "{said}");
        let mut greeting = String::new();
        BufReader::new(TcpStream::connect(("127.0.0.1", 2525 + ports)).unwrap()).read_line(&mut greeting).unwrap();
        assert!(greeting.starts_with("220 mx.example.test ESMTP"), "{greeting}");
        kill_process(Pid::from_child(&demo), Signal::TERM).unwrap();
        assert!(demo.wait().unwrap().success());
        out.read_to_string(&mut said).unwrap();
        assert_eq!(fs::read_dir(&scratch.0).unwrap().count(), 0, "the scratch store is gone");
    }
}
