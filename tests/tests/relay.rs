//! Mail leaves: between two live servers, on each runtime in each direction. What is refused there comes back.

use hikyaku_tests::live::{Live, Mailer, Runtime, Setup};
use std::{
    fs, thread,
    time::{Duration, Instant},
};

/// How long mail may take from one server to the other.
const PATIENCE: Duration = Duration::from_secs(20);

/// The messages in the inbox of a user, as they are stored.
fn inbox(live: &Live, user: &str) -> Vec<String> {
    let Ok(files) = fs::read_dir(live.dir.join(format!("store/mail/example.test/{user}/Maildir/new"))) else { return Vec::new() };
    files.map(|file| String::from_utf8_lossy(&fs::read(file.unwrap().path()).unwrap()).into_owned()).collect()
}

/// The first message of a user that holds the text.
fn wait_for(live: &Live, user: &str, text: &str) -> String {
    let begin = Instant::now();
    loop {
        if let Some(found) = inbox(live, user).into_iter().find(|message| message.contains(text)) {
            return found;
        }
        assert!(begin.elapsed() < PATIENCE, "{user} on {} gets nothing with {text:?}: {}", live.runtime.name(), live.log());
        thread::sleep(Duration::from_millis(20));
    }
}

fn relay(from: Runtime, to: Runtime) {
    let there = Live::start(to, &Setup { extra: "domain_aliases: {\"far.test\": \"example.test\"},".into(), ..Setup::default() });
    let routes = format!("routes: [(domain: \"far.test\", host: Some(\"[127.0.0.1]\"), port: Some({}))]", there.ports.smtp);
    let extra = format!("relay: (clients: [\"127.0.0.0/8\"]), queue: (retry: List([1])), outgoing: ({routes}),");
    let mut here = Live::start(from, &Setup { extra, ..Setup::default() });
    let mut mailer = Mailer::new(here.connect(here.ports.smtp), "EHLO");
    mailer.mail("alice@example.test", &["bob@far.test", "nobody@far.test"], "Subject: far\r\n\r\nOver the hills\r\n.and away\r\n");
    let letter = wait_for(&there, "bob", "Over the hills");
    assert!(
        letter.contains("\n.and away\n") && letter.starts_with("Return-Path: <alice@example.test>\nDelivered-To: bob@far.test\n"),
        "{letter}"
    );
    assert!(letter.contains("with ESMTPS id"), "STARTTLS is taken where it is offered: {letter}");
    let report = wait_for(&here, "alice", "nobody@far.test");
    for part in ["Return-Path: <>\n", "Final-Recipient: rfc822; nobody@far.test", "Status: 5.1.1", "Action: failed", "Subject: far"] {
        assert!(report.contains(part), "no {part:?} in {report}");
    }
    // What is queued survives a kill, and goes when the other is there again.
    let mut there = there;
    there.stop();
    mailer.mail("alice@example.test", &["bob@far.test"], "Subject: later\r\n\r\nAfter the storm\r\n");
    here.kill();
    there.restart();
    here.restart();
    wait_for(&there, "bob", "After the storm");
    assert_eq!(inbox(&there, "bob").len(), 2, "each once");
    assert_eq!(inbox(&here, "alice").len(), 1, "one report");
    // Who sets a time (RFC 2852) hears when it has passed; one message goes on, the other comes back.
    there.stop();
    let mut mailer = Mailer::new(here.connect(here.ports.smtp), "EHLO");
    for (by, about, told) in [("1;N", "soon", "Action: delayed\nStatus: 4.4.7\n"), ("1;R", "now", "Action: failed\nStatus: 5.4.7\n")] {
        mailer.0.send(&format!("MAIL FROM:<alice@example.test> BY={by}\r\nRCPT TO:<bob@far.test>\r\nDATA\r\n"));
        ["250", "250", "354"].iter().for_each(|code| drop(mailer.0.expect(code)));
        mailer.0.send(&format!("Subject: {about}\r\n\r\nIn time?\r\n.\r\n"));
        mailer.0.expect("250");
        let report = wait_for(&here, "alice", &format!("Subject: {about}\n"));
        assert!(report.contains(told), "{report}");
    }
}

#[test]
fn from_threads_to_smol() {
    relay(Runtime::Threads, Runtime::Smol);
}

#[test]
fn from_smol_to_threads() {
    relay(Runtime::Smol, Runtime::Threads);
}
