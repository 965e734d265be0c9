//! A server closes itself in: what it may no longer do, on both runtimes, and that mail goes on all the same.

use hikyaku_tests::live::{Live, Mailer, Runtime, Setup};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, runtime: Runtime) -> Scratch {
        let path = std::env::temp_dir().canonicalize().unwrap().join(format!("hikyaku-{name}-{}-{}", runtime.name(), std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(path.join("outside")).unwrap();
        fs::create_dir_all(path.join("server")).unwrap();
        fs::write(path.join("outside/list"), "alice@example.test\n").unwrap();
        fs::write(path.join("server/aliases"), "").unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn run(runtime: Runtime, dir: &Path, command: &str) -> Output {
    Command::new(runtime.binary()).args(["--config", "hikyaku.ron", command]).current_dir(dir).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// What must be refused, and with which words.
fn refused(output: &Output, words: &[&str]) {
    let said = said(output);
    assert!(!output.status.success() && words.iter().all(|word| said.contains(word)), "{said}");
}

fn it_goes_nowhere_else(runtime: Runtime) {
    let scratch = Scratch::new("closed", runtime);
    let (dir, outside) = (scratch.0.join("server"), scratch.0.join("outside"));
    let setup = Setup { dir: Some(dir.clone()), extra: "aliases: [\"aliases\"],".into(), ..Setup::default() };
    let mut live = Live::start(runtime, &setup);
    let log = live.log();
    assert!(log.contains("closed in") && log.contains("no core dumps"), "{log}");
    if cfg!(target_os = "linux") && !log.contains("not closed in") {
        let tasks: Vec<PathBuf> = fs::read_dir(format!("/proc/{}/task", live.id())).unwrap().map(|task| task.unwrap().path()).collect();
        assert!(tasks.len() > 1);
        for task in tasks {
            // One may have ended meanwhile.
            let Ok(status) = fs::read_to_string(task.join("status")) else { continue };
            assert!(status.contains("NoNewPrivs:\t1") && status.contains("Seccomp:\t2"), "{status}");
        }
        // The system itself refuses what no check of ours looks for, in whichever thread it happens.
        fs::write(dir.join("aliases"), format!("staff: :include:{}\n", outside.join("list").display())).unwrap();
        refused(&run(runtime, &dir, "reload"), &["ermission denied", "outside of what the server closed itself in with", "restart"]);
        // What a check of ours finds is said before anything changes.
        let config = fs::read_to_string(dir.join("hikyaku.ron")).unwrap();
        fs::write(dir.join("hikyaku.ron"), config.replace("aliases: [\"aliases\"]", &format!("aliases: [{:?}]", outside.join("list"))))
            .unwrap();
        refused(&run(runtime, &dir, "reload"), &["outside of what the server closed itself in with", "restart"]);
        fs::write(dir.join("hikyaku.ron"), config).unwrap();
    }
    // Files are replaced, as editors and programs that renew certificates do it.
    fs::write(dir.join("aliases.new"), "staff: alice\n").unwrap();
    fs::rename(dir.join("aliases.new"), dir.join("aliases")).unwrap();
    for name in ["server.pem", "server.key", "hikyaku.ron"] {
        fs::copy(dir.join(name), dir.join("new")).unwrap();
        fs::rename(dir.join("new"), dir.join(name)).unwrap();
    }
    let done = run(runtime, &dir, "reload");
    assert!(done.status.success(), "{}", said(&done));
    let status = said(&run(runtime, &dir, "status"));
    assert!(status.contains("sandbox ") && status.contains("no core dumps"), "{status}");
    Mailer::new(live.connect(live.ports.smtp), "EHLO").mail("carol@example.org", &["staff@example.test"], "Subject: in\r\n\r\nHello\r\n");
    let mut pop = live.connect_tls(live.ports.pop3s);
    pop.pop3_login("alice");
    pop.send("RETR 1\r\nQUIT\r\n");
    pop.expect("+OK");
    assert!(pop.dotted().contains(&"Subject: in".to_owned()));
    // An account that comes with a Maildir outside is told to wait, in words for the operator; nobody else notices.
    let accounts = fs::read_to_string(dir.join("store/accounts.ron")).unwrap();
    let line = accounts.lines().find(|line| line.contains("bob@")).unwrap();
    let dave = line.replace("bob@", "dave@").replace("\"),", &format!("\", maildir: {:?}),", outside.join("dave/Maildir")));
    fs::write(dir.join("store/new"), accounts.replace(line, &format!("{line}\n{dave}"))).unwrap();
    fs::rename(dir.join("store/new"), dir.join("store/accounts.ron")).unwrap();
    let replies = Mailer::new(live.connect(live.ports.lmtp), "LHLO")
        .try_mail("carol@example.org", &["dave@example.test"], "Subject: waits\r\n\r\n", 1)
        .unwrap();
    if live.log().contains("landlock") {
        assert!(replies.iter().all(|reply| !reply.starts_with('2') && !reply.starts_with("550")), "{replies:?}");
        assert!(
            live.log().contains("this lies outside of what the server closed itself in with at its start; restart it"),
            "{}",
            live.log()
        );
        assert!(!outside.join("dave").exists());
        live.stop();
        live.restart();
        Mailer::new(live.connect(live.ports.smtp), "EHLO").mail("carol@example.org", &["dave@example.test"], "Subject: in\r\n\r\n");
        assert_eq!(fs::read_dir(outside.join("dave/Maildir/new")).unwrap().count(), 1);
    }
    live.stop();
    // Nothing that it has to do was refused on the way, to the end.
    let log = live.log();
    let troubles: Vec<&str> =
        log.lines().filter(|line| line.contains("level=error") && !line.contains("reload failed") && !line.contains("dave")).collect();
    assert!(troubles.is_empty() && log.contains("event=closed") && log.contains("stopped"), "{troubles:?}");
}

fn root_stays_root_only_where_it_says_so(runtime: Runtime) {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can be refused");
        return;
    }
    let scratch = Scratch::new("root", runtime);
    fs::write(
        scratch.0.join("hikyaku.ron"),
        "(domains: [\"example.test\"], store: \"store\", listen: [(on: \"127.0.0.1:0\", speak: Lmtp, tls: Never)])",
    )
    .unwrap();
    refused(&run(runtime, &scratch.0, "serve"), &["whom to become", "user: \"root\""]);
    refused(&run(runtime, &scratch.0, "check"), &["whom to become"]);
    assert!(!scratch.0.join("store").exists());
}

macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod on_threads {
            $(#[test] fn $name() { super::$name(super::Runtime::Threads); })*
        }
        mod on_smol {
            $(#[test] fn $name() { super::$name(super::Runtime::Smol); })*
        }
    };
}

on_both!(it_goes_nowhere_else, root_stays_root_only_where_it_says_so);
