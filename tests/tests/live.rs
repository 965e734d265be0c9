//! Mail goes in and comes out, over sockets, on both runtimes.

use hikyaku_tests::{
    live::{Live, Mailer, Runtime, Setup, Talk},
    model::PASSWORD,
};
use rustix::process::Signal;
use std::{
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
    smtp_in_imap_and_pop3_out,
    lmtp_answers_for_each,
    users_submit_over_tls,
    idle_hears_at_once,
    starttls_everywhere,
    append_copy_move_expunge,
    pop3_removes_at_quit,
    it_stops_when_asked_and_keeps_the_mail,
    a_reload_keeps_connections,
    nobody_gets_in_without_a_password,
);

const LETTER: &str = "From: carol@example.org\r\nTo: alice@example.test\r\nSubject: Tea\r\n\r\nAt five?\r\n.dotted\r\n";

fn deliver(live: &Live, message: &str) {
    Mailer::new(live.connect(live.ports.smtp), "EHLO").mail("carol@example.org", &["alice@example.test"], message);
}

/// The message of that number, whole, from alice's INBOX.
fn fetched(live: &Live, number: u32) -> String {
    let mut imap = live.connect_tls(live.ports.imaps);
    imap.imap_login("alice");
    imap.imap("SELECT INBOX");
    fetch(&mut imap, number)
}

fn fetch(imap: &mut Talk, number: u32) -> String {
    imap.send(&format!("f FETCH {number} BODY.PEEK[]\r\n"));
    let line = imap.expect("* ");
    let size = line.trim_end_matches('}').rsplit('{').next().and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("no literal: {line}"));
    let text = String::from_utf8(imap.bytes(size)).unwrap();
    imap.expect(")");
    imap.expect("f OK");
    text
}

fn smtp_in_imap_and_pop3_out(runtime: Runtime) {
    let live = Live::new(runtime);
    deliver(&live, LETTER);
    let text = fetched(&live, 1);
    assert!(text.ends_with(LETTER), "{text}");
    assert!(text.contains("Return-Path: <carol@example.org>") && text.contains("Received: "), "{text}");

    let mut pop = live.connect_tls(live.ports.pop3s);
    pop.pop3_login("alice");
    pop.send("LIST\r\nRETR 1\r\nUIDL\r\nQUIT\r\n");
    pop.expect("+OK");
    assert_eq!(pop.dotted(), [format!("1 {}", text.len())]);
    pop.expect("+OK");
    assert_eq!(pop.dotted().join("\r\n") + "\r\n", text);
    pop.expect("+OK");
    assert_eq!(pop.dotted().len(), 1);
    pop.expect("+OK");
}

fn lmtp_answers_for_each(runtime: Runtime) {
    let live = Live::start(runtime, &Setup { extra: "limits: (quota: 100000),".into(), ..Setup::default() });
    let mut lmtp = Mailer::new(live.connect(live.ports.lmtp), "LHLO");
    let to = ["alice@example.test", "bob+tag@example.test"];
    let replies = lmtp.try_mail("carol@example.org", &to, LETTER, 2).unwrap();
    assert!(replies.iter().all(|r| r.starts_with("250 2.")), "{replies:?}");
    lmtp.0.send("MAIL FROM:<>\r\nRCPT TO:<nobody@example.test>\r\nRCPT TO:<x@elsewhere.test>\r\nQUIT\r\n");
    lmtp.0.reply("250");
    lmtp.0.reply("550");
    lmtp.0.reply("550");
    lmtp.0.reply("221");
    for user in ["alice", "bob"] {
        let mut imap = live.connect(live.ports.imap);
        imap.imap_login(user);
        assert!(imap.imap("SELECT INBOX").iter().any(|l| l == "* 1 EXISTS"), "{user}");
    }
}

fn users_submit_over_tls(runtime: Runtime) {
    let live = Live::new(runtime);
    let mut mailer = Mailer::new(live.connect_tls(live.ports.submissions), "EHLO");
    mailer.0.send("MAIL FROM:<bob@example.test>\r\n");
    mailer.0.reply("530");
    mailer.0.send("AUTH PLAIN AGJvYgB3cm9uZw==\r\n");
    mailer.0.reply("535");
    // \0bob@example.test\0hikyaku
    mailer.0.send("AUTH PLAIN AGJvYkBleGFtcGxlLnRlc3QAaGlreWFrdQ==\r\n");
    mailer.0.reply("235");
    mailer.0.send("MAIL FROM:<alice@example.test>\r\n");
    assert!(mailer.0.line().starts_with("55"), "not his address");
    mailer.mail("bob@example.test", &["alice@example.test"], LETTER);
    assert!(fetched(&live, 1).contains("ESMTPSA"));
}

fn idle_hears_at_once(runtime: Runtime) {
    let live = Live::new(runtime);
    let mut imap = live.connect(live.ports.imap);
    imap.imap_login("alice");
    imap.imap("SELECT INBOX");
    let mut slowest = Duration::ZERO;
    imap.send("i IDLE\r\n");
    imap.expect("+");
    for number in 1..=5 {
        let mut mailer = Mailer::new(live.connect(live.ports.smtp), "EHLO");
        mailer.mail("carol@example.org", &["alice@example.test"], LETTER);
        let begin = Instant::now();
        while imap.line() != format!("* {number} EXISTS") {}
        slowest = slowest.max(begin.elapsed());
    }
    imap.send("DONE\r\n");
    while !imap.line().starts_with("i OK") {}
    assert!(slowest < Duration::from_secs(1), "the slowest push took {slowest:?}");
}

fn starttls_everywhere(runtime: Runtime) {
    let live = Live::new(runtime);
    let mut smtp = Mailer::new(live.connect(live.ports.smtp), "EHLO");
    smtp.0.send("STARTTLS\r\n");
    smtp.0.reply("220");
    let mut smtp = live.secure(smtp.0);
    smtp.send("EHLO again\r\n");
    smtp.reply("250");
    Mailer(smtp).mail("carol@example.org", &["alice@example.test"], LETTER);

    let mut pop = live.connect(live.ports.pop3);
    pop.expect("+OK");
    pop.send("STLS\r\n");
    pop.expect("+OK");
    let mut pop = live.secure(pop);
    pop.send(&format!("USER alice@example.test\r\nPASS {PASSWORD}\r\nSTAT\r\n"));
    pop.expect("+OK");
    pop.expect("+OK");
    pop.expect("+OK 1 ");

    let mut imap = live.connect(live.ports.imap);
    imap.expect("* OK");
    imap.imap("STARTTLS");
    let mut imap = live.secure(imap);
    imap.imap(&format!("LOGIN alice@example.test {PASSWORD}"));
    assert!(imap.imap("STATUS INBOX (MESSAGES)").iter().any(|l| l.contains("MESSAGES 1")));
}

fn append_copy_move_expunge(runtime: Runtime) {
    let live = Live::new(runtime);
    let mut imap = live.connect(live.ports.imap);
    imap.imap_login("alice");
    imap.imap("CREATE Work/2026");
    imap.send(&format!("a APPEND INBOX (\\Seen $Mine) {{{}+}}\r\n{LETTER}\r\n", LETTER.len()));
    imap.expect("a OK [APPENDUID ");
    imap.imap("SELECT INBOX");
    assert_eq!(fetch(&mut imap, 1), LETTER);
    assert!(imap.imap("COPY 1 Work/2026").last().unwrap().contains("COPYUID"));
    let lines = imap.imap("MOVE 1 Work/2026");
    assert!(lines.iter().any(|l| l == "* 1 EXPUNGE"), "{lines:?}");
    let lines = imap.imap("SELECT Work/2026");
    assert!(lines.iter().any(|l| l == "* 2 EXISTS"), "{lines:?}");
    let lines = imap.imap("FETCH 1:* (FLAGS)");
    assert_eq!(lines.iter().filter(|l| l.contains("$Mine")).count(), 2, "{lines:?}");
    imap.imap("STORE 1 +FLAGS (\\Deleted)");
    imap.imap("EXPUNGE");
    assert!(imap.imap("STATUS Work/2026 (MESSAGES)").iter().any(|l| l.contains("MESSAGES 1")));
}

fn pop3_removes_at_quit(runtime: Runtime) {
    let live = Live::new(runtime);
    deliver(&live, LETTER);
    deliver(&live, LETTER);
    for (quit, left) in [(false, 2), (true, 1)] {
        let mut pop = live.connect(live.ports.pop3);
        pop.pop3_login("alice");
        pop.send("DELE 1\r\n");
        pop.expect("+OK");
        if quit {
            pop.send("QUIT\r\n");
            pop.expect("+OK");
        }
        drop(pop);
        let mut pop = live.connect(live.ports.pop3);
        pop.pop3_login("alice");
        pop.send("STAT\r\n");
        pop.expect(&format!("+OK {left} "));
    }
}

fn it_stops_when_asked_and_keeps_the_mail(runtime: Runtime) {
    let mut live = Live::new(runtime);
    deliver(&live, LETTER);
    let before = fetched(&live, 1);
    let mut idle = live.connect(live.ports.imap);
    idle.imap_login("alice");
    idle.send("i IDLE\r\n");
    idle.expect("+");
    live.stop();
    let last = std::iter::from_fn(|| idle.try_line().ok()).last().unwrap_or_default();
    assert!(last.starts_with("* BYE"), "{last}");
    live.restart();
    assert_eq!(fetched(&live, 1), before);
}

fn a_reload_keeps_connections(runtime: Runtime) {
    let live = Live::new(runtime);
    let mut imap = live.connect_tls(live.ports.imaps);
    imap.imap_login("alice");
    live.signal(Signal::HUP);
    thread::sleep(Duration::from_millis(100));
    imap.imap("NOOP");
    let mut other = live.connect_tls(live.ports.imaps);
    other.imap_login("bob");
}

fn nobody_gets_in_without_a_password(runtime: Runtime) {
    let live = Live::new(runtime);
    let mut imap = live.connect(live.ports.imap);
    imap.expect("* OK");
    imap.send("a LOGIN alice@example.test wrong\r\nb SELECT INBOX\r\nc LOGIN nobody@example.test hikyaku\r\n");
    imap.expect("a NO [AUTHENTICATIONFAILED]");
    imap.expect("b BAD");
    imap.expect("c NO [AUTHENTICATIONFAILED]");
    let mut pop = live.connect(live.ports.pop3);
    pop.expect("+OK");
    pop.send("USER alice@example.test\r\nPASS wrong\r\n");
    pop.expect("+OK");
    pop.expect("-ERR [AUTH]");
    assert!(!live.log().contains(PASSWORD), "a password in the log");
}
