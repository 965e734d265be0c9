//! Who is connected: sessions end when their account does or an operator says so, and when places are short those who do nothing go.

use hikyaku_tests::live::{Live, Mailer, Runtime, Setup, Talk};
use std::{
    process::Command,
    thread,
    time::{Duration, Instant},
};

/// Each test on both runtimes.
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

on_both!(
    an_account_that_goes_takes_its_sessions_along,
    a_password_counts_from_the_moment_it_is_changed,
    who_reads_nothing_is_kicked_too,
    when_places_are_short_the_oldest_strangers_go,
    a_server_that_lost_its_store_sends_everybody_away,
);

/// `{SSHA}` of `quite another`.
const OTHER: &str = "{SSHA}vxRIrh0xN1Mo952UOVutneLf2npzYWx0c2FsdA==";

fn tell(live: &Live, args: &[&str]) -> String {
    let output = Command::new(live.runtime.binary()).arg("--config").arg(live.dir.join("hikyaku.ron")).args(args).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {said}");
    said
}

/// Logs in with a password; says whether that was right.
fn is_let_in(live: &Live, password: &str) -> bool {
    let mut pop3 = live.connect(live.ports.pop3);
    pop3.expect("+OK");
    pop3.send("USER alice\r\n");
    pop3.expect("+OK");
    pop3.send(&format!("PASS {password}\r\n"));
    pop3.line().starts_with("+OK")
}

fn is_over(talk: &mut Talk) -> bool {
    matches!(talk.read(&mut [0; 100]), Ok(0) | Err(_))
}

/// Connections that the server still has in its hands.
fn held(live: &Live) -> u64 {
    let status = tell(live, &["status", "--json"]);
    let after = status.split("\"sessions\": ").nth(1).unwrap();
    after.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
}

fn an_account_that_goes_takes_its_sessions_along(runtime: Runtime) {
    let live = Live::new(runtime);
    let login = |user: &str| {
        let mut imap = live.connect(live.ports.imap);
        imap.imap_login(user);
        imap
    };
    let (mut alice, mut bob, mut idle) = (login("alice"), login("bob"), login("alice"));
    idle.imap("SELECT INBOX");
    idle.send("i IDLE\r\n");
    idle.expect("+");
    let mut pop3 = live.connect(live.ports.pop3);
    pop3.pop3_login("alice");
    let list = tell(&live, &["sessions", "list"]);
    assert!(list.matches("alice@example.test").count() == 3 && list.contains("bob@example.test"), "{list}");
    // How many were ended is said by whoever ended them: the command, or the round that the server makes each second.
    tell(&live, &["account", "disable", "alice"]);
    alice.expect("* BYE");
    idle.expect("* BYE");
    pop3.expect("-ERR [SYS/TEMP]");
    assert!(is_over(&mut alice) && is_over(&mut idle) && is_over(&mut pop3));
    bob.imap("NOOP");
    assert!(!is_let_in(&live, "hikyaku"));
    tell(&live, &["account", "enable", "alice"]);
    assert!(is_let_in(&live, "hikyaku"));
    // The file says it too, whoever wrote it.
    let path = live.dir.join("store/accounts.ron");
    let text = std::fs::read_to_string(&path).unwrap();
    let without: String = text.lines().filter(|line| !line.contains("bob@")).map(|line| format!("{line}\n")).collect();
    std::fs::write(&path, without).unwrap();
    bob.expect("* BYE");
    assert!(is_over(&mut bob));
    let mut alice = login("alice");
    tell(&live, &["account", "remove", "alice"]);
    alice.expect("* BYE");
}

fn a_password_counts_from_the_moment_it_is_changed(runtime: Runtime) {
    let live = Live::new(runtime);
    for _ in 0..3 {
        assert!(is_let_in(&live, "hikyaku") && is_let_in(&live, "hikyaku"));
        tell(&live, &["account", "passwd", "alice", "--hash", OTHER]);
        assert!(!is_let_in(&live, "hikyaku"), "the old one is of no use");
        assert!(is_let_in(&live, "quite another"));
        let old = std::fs::read_to_string(live.dir.join("store/accounts.ron")).unwrap();
        let hash = old.lines().find(|line| line.contains("bob@")).unwrap().split('"').nth(3).unwrap().to_owned();
        tell(&live, &["account", "passwd", "alice", "--hash", &hash]);
        assert!(!is_let_in(&live, "quite another"));
    }
}

fn who_reads_nothing_is_kicked_too(runtime: Runtime) {
    let live = Live::new(runtime);
    let large = format!("Subject: large\r\n\r\n{}", format!("{}\r\n", "x".repeat(998)).repeat(8000));
    Mailer::new(live.connect(live.ports.smtp), "EHLO").mail("carol@example.org", &["alice@example.test"], &large);
    let before = held(&live);
    let mut imap = live.connect(live.ports.imap);
    imap.imap_login("alice");
    imap.imap("SELECT INBOX");
    // More than a system keeps for a socket.
    imap.send(&"f FETCH 1 BODY.PEEK[]\r\n".repeat(20));
    thread::sleep(Duration::from_millis(300));
    assert!(held(&live) > before, "it waits");
    assert!(tell(&live, &["sessions", "kick", "--account", "alice"]).contains("1 sessions ended"));
    assert!(!tell(&live, &["sessions", "list"]).contains("alice"));
    let begin = Instant::now();
    while held(&live) > before {
        assert!(begin.elapsed() < Duration::from_secs(20), "the server still waits for a peer that was sent away");
        thread::sleep(Duration::from_millis(50));
    }
}

fn when_places_are_short_the_oldest_strangers_go(runtime: Runtime) {
    let extra = "limits: (connections: 20, connections_per_address: 100),".into();
    let live = Live::start(runtime, &Setup { extra, ..Setup::default() });
    let mut strangers: Vec<Talk> = Vec::new();
    for _ in 0..60 {
        let mut talk = live.connect(live.ports.smtp);
        // Each is let in, and so is the last.
        talk.expect("220 ");
        strangers.push(talk);
    }
    strangers[0].expect("421 4.3.2 This connection cannot be kept");
    assert!(is_over(&mut strangers[0]));
    assert!(tell(&live, &["status"]).contains("places are short on 127.0.0.1"));
    let last = strangers.pop().unwrap();
    drop(strangers);
    let mut mailer = Mailer::new(live.connect(live.ports.smtp), "EHLO");
    mailer.mail("carol@example.org", &["alice@example.test"], "Subject: x\r\n\r\nx\r\n");
    drop(last);
}

/// Another server says that the store is its own, as over a network file system without locks.
fn a_server_that_lost_its_store_sends_everybody_away(runtime: Runtime) {
    let live = Live::new(runtime);
    let mut imap = live.connect(live.ports.imap);
    imap.imap_login("alice");
    imap.imap("SELECT INBOX");
    imap.send("i IDLE\r\n");
    imap.expect("+");
    let mut smtp = live.connect(live.ports.smtp);
    smtp.expect("220");
    let path = live.dir.join("store/format");
    let line = "generation 1 run 1000000 log 0 uidvalidity 0";
    std::fs::write(live.dir.join("format"), format!("{line} check {:08x}\n", queue::frame::checksum(&[line.as_bytes()]))).unwrap();
    std::fs::rename(live.dir.join("format"), path).unwrap();
    imap.expect("* BYE");
    smtp.expect("421");
    assert!(is_over(&mut imap) && is_over(&mut smtp));
    live.connect(live.ports.smtp).expect("421 4.3.2 Another server");
    live.connect(live.ports.imap).expect("* BYE [UNAVAILABLE] Another server");
    live.connect(live.ports.pop3).expect("-ERR [SYS/TEMP] Another server");
    assert!(tell(&live, &["status"]).contains("another server has opened the store"));
}
