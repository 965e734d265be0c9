//! The command line of both binaries, as a newcomer uses it.

use hikyaku_tests::live::Runtime;
use queue::{Accept, Record, Remote, Remotes};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Output, Stdio},
    sync::Arc,
};
use storage::{
    depot::{self, Depot},
    disk::Posix,
    spool::{self, Spool},
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

/// A store with three messages in its log and three parked in its depot, as a server left them.
fn with_mail(store: &Path) {
    let disk = Arc::new(Posix);
    let spool = Spool::open(disk.clone(), &store.join("spool"), spool::Options::default(), &mut |_, _| {}).unwrap();
    let depot = Depot::open(disk, &store.join("depot"), depot::Options::default(), &mut |_, _, _| {}).unwrap();
    let mut parked = Vec::new();
    for n in 0..6 {
        let mut entry = spool.entry();
        let (recipient, text) = (format!("user{n}@far.test"), format!("Subject: message {n}\n\nHello {n}\n"));
        let remotes = [Remote { recipient: &recipient, ..Remote::default() }];
        let (remotes, content) = (Remotes::new(&remotes), queue::Content::Inline(text.as_bytes()));
        let accept = Accept { id: entry.id(), sender: Some("alice@example.org"), remotes, content, ..Accept::default() };
        let at = entry.commit(&[&Record::Accept(accept).encode()]).unwrap();
        if n < 3 {
            depot.note(entry.id(), at, false);
            parked.push(entry.id());
        }
        entry.delivered();
        if n == 2 {
            let mark = spool.mark();
            depot.checkpoint(&spool, mark, &mut |put| parked.iter().for_each(|&id| put(id, b"state"))).unwrap();
            spool.release(mark).unwrap();
        }
    }
    spool.vouch().unwrap();
}

/// Changes a byte of the file of that kind in which this text is, and perhaps one at its end.
fn damage(dir: &Path, kind: &str, text: &str, end_too: bool) {
    let mut paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let (path, mut bytes, at) = paths
        .find_map(|path| {
            let bytes = fs::read(path.to_str().filter(|path| path.ends_with(kind))?).ok()?;
            let at = bytes.windows(text.len()).position(|piece| piece == text.as_bytes())?;
            Some((path, bytes, at))
        })
        .expect("it is there");
    bytes[at] ^= 1;
    if end_too {
        *bytes.last_mut().unwrap() ^= 1;
    }
    fs::write(path, bytes).unwrap();
}

#[test]
fn what_is_whole_of_a_damaged_store_is_salvaged() {
    for runtime in Runtime::ALL {
        let scratch = Scratch::new("salvage", runtime);
        let dir = &scratch.0;
        fine(run(runtime, dir, &["init", "example.org", "--dir", "mail"], ""));
        let ask = |args: &[&str]| {
            let output = run(runtime, dir, &[&["--config", "mail/hikyaku.ron", "spool"], args].concat(), "");
            let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
            (output.status.success(), out, err)
        };
        let store = Path::new(&fine(run(runtime, dir, &["--config", "mail/hikyaku.ron", "restored"], ""))).to_owned();
        let store = PathBuf::from(store.to_str().unwrap().split_once(": taken").unwrap().0);
        // Nothing is wrong: nothing is salvaged.
        with_mail(&store);
        let (well, out, _) = ask(&["check"]);
        assert!(well && out.contains("6 accepted") && out.ends_with("all checksums are right\n"), "{out}");
        let (well, out, err) = ask(&["salvage", "--into", "out"]);
        assert!(well && out.is_empty() && err.starts_with("0 files: 0 messages"), "{out}{err}");
        assert_eq!(fs::read_dir(dir.join("out")).unwrap().count(), 0);
        // A byte of the log and two of a pack; the server finds them and puts the files aside.
        damage(&store.join("spool"), ".log", "message 4", false);
        damage(&store.join("depot"), ".pack", "message 1", true);
        let (well, out, err) = ask(&["check"]);
        assert!(!well && out.contains("cannot be read") && err.contains("damaged places"), "{out}{err}");
        {
            let disk = Arc::new(Posix);
            let spool = Spool::open(disk.clone(), &store.join("spool"), spool::Options::default(), &mut |_, _| {}).unwrap();
            let mut queued = Vec::new();
            let depot = Depot::open(disk, &store.join("depot"), depot::Options::default(), &mut |id, _, _| queued.push(id)).unwrap();
            assert_eq!(queued.iter().filter(|&&id| depot.read(&spool, id).is_err()).count(), 1);
        }
        let (well, out, _) = ask(&["check"]);
        assert!(!well && out.contains("-1.damaged was damaged and is put aside"), "{out}");
        assert!(out.contains("00000001-1.damaged of the depot was damaged"), "{out}");
        let (well, out, err) = ask(&["salvage"]);
        assert!(well && err.starts_with("2 files: "), "{out}{err}");
        // What was parked is in both: the segment still has it.
        let count = |n: usize| out.matches(&format!("user{n}@far.test")).count();
        assert_eq!([0, 1, 2, 3, 4, 5].map(count), [2, 1, 2, 1, 0, 1], "{out}");
        let listed = ["00000001-1.damaged", "depot/00000001-1.damaged"].map(|file| {
            let file = if file.contains('/') { store.join(file).to_str().unwrap().to_owned() } else { file.to_owned() };
            ask(&["salvage", &file])
        });
        assert!(listed[0].0 && listed[0] == listed[1] && listed[0].1.contains("user2@far.test") && !listed[0].1.contains("user1@far.test"));
        for _ in 0..2 {
            // The second time writes over nothing.
            assert!(ask(&["salvage", "--into", "out"]).0);
            let mut texts: Vec<String> =
                fs::read_dir(dir.join("out")).unwrap().map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap()).collect();
            texts.sort();
            assert!(texts.len() == 5 && texts.contains(&"Subject: message 5\n\nHello 5\n".to_owned()), "{texts:?}");
            assert!(!texts.iter().any(|text| text.contains("message 4")), "{texts:?}");
        }
        let mode = fs::read_dir(dir.join("out")).unwrap().next().unwrap().unwrap().metadata().unwrap().mode();
        assert_eq!(mode & 0o777, 0o600, "somebody's mail");
        let (well, _, err) = ask(&["salvage", "nothing.damaged"]);
        assert!(!well && err.contains("nothing.damaged"), "{err}");
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
