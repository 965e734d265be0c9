//! `sendmail`, `mailq` and `newaliases` of both binaries, while their server runs and while it does not.

use hikyaku_tests::live::{Live, Runtime, Setup};
use std::{
    fs,
    io::Write as _,
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

/// How long a message may take from the drop folder to a mailbox.
const PATIENCE: Duration = Duration::from_secs(20);

/// Calls a command with the configuration of a server.
fn call(live: &Live, name: &str, args: &[&str], input: &str) -> Output {
    let mut child = Command::new(live.runtime.binary())
        .arg("--config")
        .arg(live.dir.join("hikyaku.ron"))
        .arg(name)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may end without reading.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// Calls `sendmail`, which must say nothing, and end well.
fn send(live: &Live, args: &[&str], input: &str) {
    let output = call(live, "sendmail", args, input);
    let said = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.is_empty(), "{args:?}: {} {said}", output.status);
}

/// Waits until `sendmail` ends well with these arguments.
fn within(live: &Live, args: &[&str]) {
    let begin = Instant::now();
    while !call(live, "sendmail", args, "").status.success() {
        assert!(begin.elapsed() < PATIENCE, "{args:?} on {}", live.runtime.name());
        thread::sleep(Duration::from_millis(20));
    }
}

fn inbox(live: &Live, user: &str) -> Vec<String> {
    let Ok(files) = fs::read_dir(live.dir.join(format!("store/mail/example.test/{user}/Maildir/new"))) else { return Vec::new() };
    files.map(|file| String::from_utf8_lossy(&fs::read(file.unwrap().path()).unwrap()).into_owned()).collect()
}

/// The first message of a user that holds all of these.
fn wait_for(live: &Live, user: &str, texts: &[&str]) -> String {
    let begin = Instant::now();
    loop {
        if let Some(found) = inbox(live, user).into_iter().find(|message| texts.iter().all(|text| message.contains(text))) {
            return found;
        }
        assert!(begin.elapsed() < PATIENCE, "{user} on {} gets nothing with {texts:?}: {:#?}", live.runtime.name(), inbox(live, user));
        thread::sleep(Duration::from_millis(20));
    }
}

fn codes(live: &Live) {
    for (name, args, input, code) in [
        ("sendmail", &[][..], "hi\n", 64),
        ("sendmail", &["-t"], "Subject: to nobody\n\nhi\n", 64),
        ("sendmail", &["-Z", "bob"], "", 64),
        ("sendmail", &["-bx", "bob"], "", 64),
        ("sendmail", &["-N", "often", "bob"], "", 64),
        ("sendmail", &["-f", "a@b@c d", "bob"], "", 64),
        ("sendmail", &["a b@example.test"], "", 67),
        ("sendmail", &["bob@exa mple.test"], "", 67),
        ("sendmail", &["-bv", "nobody"], "", 67),
        ("sendmail", &["-bv", "bob", "carol@far.example"], "", 0),
        ("sendmail", &["-qI1f"], "", 69),
        ("sendmail", &["-q15m"], "", 0),
        ("sendmail", &["-qRfar.example"], "", 0),
        ("sendmail", &["-C", "/nonexistent.ron", "bob"], "", 78),
        ("sendmail", &["-bi"], "", 0),
        ("newaliases", &[], "", 0),
        ("mailq", &[], "", 0),
    ] {
        let output = call(live, name, args, input);
        assert_eq!(output.status.code(), Some(code), "{name} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(code == 0 || !output.stderr.is_empty(), "{name} {args:?} says why");
    }
}

fn all(runtime: Runtime) {
    let extra = "limits: (message: 65536), queue: (hold: [(recipient: Some(\"*@held.example\"))]),".to_owned();
    let mut live = Live::start(runtime, &Setup { extra, ..Setup::default() });
    codes(&live);
    let body = "Subject: both\n\nA body.\n";

    // Whom it cannot be delivered to is told of in a report, as the sender wishes, and the others get it.
    send(&live, &["-f", "alice", "-V", "env1", "-R", "hdrs", "bob", "nobody"], body);
    let letter = wait_for(&live, "bob", &["Subject: both"]);
    assert!(letter.starts_with("Return-Path: <alice@example.test>\n") && letter.ends_with("\n\nA body.\n"), "{letter}");
    assert!(letter.contains("From: alice@example.test\n") || letter.contains("<alice@example.test>\n"), "{letter}");
    let report = wait_for(&live, "alice", &["Original-Envelope-Id: env1"]);
    for part in [
        "Return-Path: <>\n",
        "Content-Type: multipart/report; report-type=delivery-status",
        "Final-Recipient: rfc822; nobody@example.test\n",
        "Action: failed\n",
        "Status: 5.1.1\n",
        "Content-Type: text/rfc822-headers",
        "Subject: both\n",
    ] {
        assert!(report.contains(part), "no {part:?} in {report}");
    }
    assert!(!report.contains("A body."), "only the header was asked for: {report}");
    send(&live, &["-f", "alice", "-N", "success", "bob"], "Subject: told\n\nhi\n");
    wait_for(&live, "alice", &["Action: delivered", "Final-Recipient: rfc822; bob@example.test"]);
    // Who sends from this host is known, so all of it comes back.
    send(&live, &["-f", "alice", "-N", "never", "never"], "Subject: silent\n\nhi\n");
    send(&live, &["-f", "alice", "whole"], "Subject: whole\n\nAll of it.\n");
    wait_for(&live, "alice", &["Final-Recipient: rfc822; whole@example.test", "Content-Type: message/rfc822", "All of it."]);
    // What nobody sent comes to the postmaster, who is the first account.
    send(&live, &["-f", "<>", "void"], "Subject: void\n\nhi\n");
    wait_for(&live, "alice", &["Final-Recipient: rfc822; void@example.test"]);
    // A report tells by its own recipient whom it is about.
    send(&live, &["-XV", "-f", "alice", "bob@[127.0.0.1]"], "Subject: verp\n\nhi\n");
    wait_for(&live, "alice", &["Delivered-To: \"alice+bob=[127.0.0.1]\"@example.test\n", "Subject: verp"]);
    // A program that sends on whatever it gets comes to an end.
    send(&live, &["-f", "alice", "bob"], &format!("{}Subject: round\n\nhi\n", "Received: from here by here; now\n".repeat(120)));
    wait_for(&live, "alice", &["Final-Recipient: rfc822; bob@example.test", "Status: 5.4.6"]);
    let large = call(&live, "sendmail", &["bob"], &"a line of text\n".repeat(6000));
    assert_eq!(large.status.code(), Some(65), "larger than is taken");

    // Nor does a full mailbox take more of it: carol's has room for less than one message, and is full with it.
    let added = call(&live, "account", &["add", "carol@example.test", "--quota", "100"], "secret\n");
    assert!(added.status.success(), "{added:?}");
    within(&live, &["-bv", "carol"]);
    send(&live, &["-f", "alice", "carol"], "Subject: fits\n\nhi\n");
    wait_for(&live, "carol", &["Subject: fits"]);
    send(&live, &["-f", "alice", "carol"], "Subject: too much\n\nhi\n");
    wait_for(&live, "alice", &["Final-Recipient: rfc822; carol@example.test", "Status: 5.2.2"]);
    assert_eq!(inbox(&live, "carol").len(), 1);

    // SMTP on standard input, as scripts and mail programs speak it.
    let talk = |n: u32| {
        format!(
            "EHLO me\r\nMAIL FROM:<alice@example.test>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\nSubject: spoken {n}\r\n\r\n..\r\n.\r\nQUIT\r\n"
        )
    };
    let spoken = call(&live, "sendmail", &["-bs"], &talk(1));
    assert!(spoken.status.success() && String::from_utf8_lossy(&spoken.stdout).contains("\r\n221 "), "{spoken:?}");
    assert!(wait_for(&live, "bob", &["Subject: spoken 1"]).ends_with("\n\n.\n"));

    // Nobody is there to take it in. It is promised all the same.
    live.stop();
    send(&live, &["-f", "alice", "-t"], "To: bob, nobody2\nBcc: bob@example.test\nSubject: later\n\nhi\n");
    assert!(call(&live, "sendmail", &["-bs"], &talk(2)).status.success());
    for (name, args, code) in [("mailq", &[][..], 69), ("newaliases", &[], 0), ("sendmail", &["-q"], 69), ("sendmail", &["-bv", "bob"], 69)]
    {
        assert_eq!(call(&live, name, args, "").status.code(), Some(code), "{name} {args:?}");
    }
    live.restart();
    let later = wait_for(&live, "bob", &["Subject: later"]);
    assert!(!later.contains("Bcc:"), "{later}");
    wait_for(&live, "bob", &["Subject: spoken 2"]);
    wait_for(&live, "alice", &["Final-Recipient: rfc822; nobody2@example.test"]);
    let bob: Vec<String> = inbox(&live, "bob");
    assert_eq!(bob.len(), 5, "each once: {bob:#?}");
    assert!(!inbox(&live, "alice").iter().any(|m| m.contains("never@example.test")), "who wishes to hear nothing hears nothing");
    assert_eq!(inbox(&live, "alice").len(), 8, "a report each");
    let empty = call(&live, "mailq", &[], "");
    assert!(empty.status.success() && empty.stdout == b"Mail queue is empty\n", "{empty:?}");

    // What waits for an operator is listed, whether there is somebody to ask or not.
    send(&live, &["-f", "alice", "dave@held.example", "bob", "erin@held.example"], "Subject: held\n\nhi\n");
    wait_for(&live, "bob", &["Subject: held"]);
    let shown = |name: &str, args: &[&str]| String::from_utf8(call(&live, name, args, "").stdout).unwrap();
    let queued = shown("mailq", &[]);
    assert!(queued.contains("alice@example.test") && queued.contains("dave@held.example") && queued.contains("held"), "{queued}");
    assert!(queued.ends_with("\n-- 1 Kbytes in 1 Request.\n"), "{queued}");
    let logged = shown("spool", &["list"]);
    assert!(logged.contains("bob@example.test, dave@held.example, erin@held.example"), "{logged}");
    live.stop();
    let parked = call(&live, "spool", &["list"], "");
    let (list, sum) = (String::from_utf8(parked.stdout).unwrap(), String::from_utf8(parked.stderr).unwrap());
    assert!(list.contains("dave@held.example, erin@held.example") && !list.contains("bob@"), "{list}");
    assert!(sum.contains("1 messages, 1 of them wait for other servers"), "{sum}");
}

#[test]
fn of_threads() {
    all(Runtime::Threads);
}

#[test]
fn of_smol() {
    all(Runtime::Smol);
}
