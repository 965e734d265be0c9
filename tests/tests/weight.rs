//! A huge message passes through a small server, in and out, and hostile peers do not make it grow. `MIB=1024` for a message of a gibibyte.

use hikyaku_tests::live::{Live, Mailer, Runtime, Setup, Talk};
use std::time::Instant;

/// The message of an ordinary run, in MiB: many times what the server may hold.
const USUAL: usize = 192;
/// Most memory the process may ever have, in KiB.
const PEAK_KIB: u64 = 64 << 10;
/// One piece of what is sent.
const PIECE: usize = 1 << 20;

fn mebibytes() -> usize {
    std::env::var("MIB").ok().and_then(|n| n.parse().ok()).unwrap_or(USUAL)
}

/// A mebibyte of lines.
fn piece() -> Vec<u8> {
    let line = format!("{}\r\n", "x".repeat(62));
    line.repeat(PIECE / line.len()).into_bytes()
}

fn send_all(talk: &mut Talk) {
    let piece = piece();
    for sent in 0..mebibytes() {
        talk.try_send(&piece).unwrap_or_else(|e| panic!("after {sent} MiB: {e}"));
    }
}

fn weigh(live: &Live, what: &str, act: impl FnOnce()) {
    let begin = Instant::now();
    act();
    let peak = live.peak_kib();
    println!("{}: {what}: {:.1} s, peak {} MiB", live.runtime.name(), begin.elapsed().as_secs_f64(), peak >> 10);
    assert!(peak < PEAK_KIB, "{what}: the process had {peak} KiB");
}

fn a_huge_message(runtime: Runtime) {
    let live = Live::start(runtime, &Setup { extra: "limits: (message: 3000000000),".into(), ..Setup::default() });
    let size = mebibytes() * PIECE;
    weigh(&live, "SMTP DATA", || {
        let mut mailer = Mailer::new(live.connect(live.ports.smtp), "EHLO");
        mailer.0.send("MAIL FROM:<carol@example.org>\r\nRCPT TO:<alice@example.test>\r\nDATA\r\n");
        mailer.0.reply("250");
        mailer.0.reply("250");
        mailer.0.reply("354");
        send_all(&mut mailer.0);
        mailer.0.send(".\r\n");
        mailer.0.reply("250");
    });
    weigh(&live, "IMAP APPEND", || {
        let mut imap = live.connect(live.ports.imap);
        imap.imap_login("alice");
        imap.send(&format!("a APPEND INBOX {{{size}}}\r\n"));
        imap.expect("+");
        send_all(&mut imap);
        imap.send("\r\n");
        imap.expect("a OK");
    });
    weigh(&live, "IMAP FETCH", || {
        let mut imap = live.connect(live.ports.imap);
        imap.imap_login("alice");
        imap.imap("SELECT INBOX");
        imap.send("f FETCH 2 BODY.PEEK[]\r\n");
        imap.expect(&format!("* 2 FETCH (BODY[] {{{size}}}"));
        let mut buf = vec![0; PIECE];
        let mut left = size;
        while left > 0 {
            let most = left.min(PIECE);
            let n = imap.read(&mut buf[..most]).expect("more of the message");
            assert!(n > 0, "the end with {left} bytes to come");
            left -= n;
        }
        imap.expect(")");
        imap.expect("f OK");
    });
    weigh(&live, "POP3 RETR", || {
        let mut pop = live.connect(live.ports.pop3);
        pop.pop3_login("alice");
        pop.send("RETR 1\r\n");
        pop.expect("+OK");
        let (mut buf, mut have, mut tail) = (vec![0; PIECE], 0, Vec::new());
        while !tail.ends_with(b"\r\n.\r\n") {
            let n = pop.read(&mut buf).expect("more of the message");
            assert!(n > 0, "the end after {have} bytes");
            have += n;
            tail.extend_from_slice(&buf[n.saturating_sub(5)..n]);
            tail.drain(..tail.len().saturating_sub(5));
        }
        assert!(have > size, "only {have} bytes came");
    });
}

fn hostile_peers(runtime: Runtime) {
    let live = Live::new(runtime);
    let junk = vec![b'x'; PIECE];
    for (name, port, begin) in [
        ("SMTP", live.ports.smtp, "EHLO a\r\n"),
        ("LMTP", live.ports.lmtp, "LHLO a\r\n"),
        ("submission", live.ports.submission, "EHLO a\r\nAUTH PLAIN "),
        ("IMAP", live.ports.imap, "a login "),
        ("IMAP", live.ports.imap, "a login alice@example.test hikyaku\r\na search text "),
        ("IMAP", live.ports.imap, "a login alice@example.test hikyaku\r\na select inbox\r\na append inbox {99999999+}\r\n"),
        ("POP3", live.ports.pop3, "USER "),
    ] {
        weigh(&live, &format!("{name}: {begin:?} and 100 MB"), || {
            let mut talk = live.connect(port);
            talk.send(begin);
            // It may hang up on the way.
            _ = (0..100).try_for_each(|_| talk.try_send(&junk));
        });
    }
    // Nested as deep as it goes, through DATA and the index.
    weigh(&live, "a million-deep nesting", || {
        let mut mailer = Mailer::new(live.connect(live.ports.smtp), "EHLO");
        mailer.0.send("MAIL FROM:<>\r\nRCPT TO:<alice@example.test>\r\nDATA\r\n");
        mailer.0.reply("250");
        mailer.0.reply("250");
        mailer.0.reply("354");
        for from in (0..1_000_000).step_by(10_000) {
            let text: String =
                (from..from + 10_000).map(|n| format!("Content-Type: multipart/mixed; boundary=b{n}\r\n\r\n--b{n}\r\n")).collect();
            mailer.0.send(&text);
        }
        mailer.0.send("\r\n.\r\n");
        mailer.0.reply("250");
        let mut imap = live.connect(live.ports.imap);
        imap.imap_login("alice");
        imap.imap("SELECT INBOX");
        imap.imap("FETCH 1 (BODYSTRUCTURE ENVELOPE RFC822.SIZE)");
    });
    let mut imap = live.connect(live.ports.imap);
    imap.imap_login("bob");
}

#[test]
fn a_huge_message_on_threads() {
    a_huge_message(Runtime::Threads);
}

#[test]
fn a_huge_message_on_smol() {
    a_huge_message(Runtime::Smol);
}

#[test]
fn hostile_peers_on_threads() {
    hostile_peers(Runtime::Threads);
}

#[test]
fn hostile_peers_on_smol() {
    hostile_peers(Runtime::Smol);
}
