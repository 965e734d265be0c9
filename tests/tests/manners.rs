//! What a runtime owes a peer, whatever the protocol: whole replies, a last word that arrives, a place when there is one, and nobody in its way.

use hikyaku_tests::live::{Live, Mailer, Runtime, Setup};
use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
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
    pipelined_replies_leave_together,
    the_last_word_arrives,
    a_peer_that_hangs_up_is_answered,
    places_are_counted_and_come_back,
    nobody_waits_for_the_slow,
    a_silent_handshake_ends_with_the_server,
    nobody_waits_for_who_reads_the_log,
);

const PATIENCE: Duration = Duration::from_secs(20);

/// A raw socket: what counts here is what is in one read and how it ends.
fn call(port: u16) -> TcpStream {
    let stream = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn hear(stream: &mut TcpStream) -> String {
    let mut buf = [0; 4096];
    let n = stream.read(&mut buf).unwrap();
    String::from_utf8_lossy(&buf[..n]).into_owned()
}

fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("an end, not a reset");
    String::from_utf8_lossy(&bytes).into_owned()
}

fn pipelined_replies_leave_together(runtime: Runtime) {
    let live = Live::new(runtime);
    let mut smtp = call(live.ports.smtp);
    hear(&mut smtp);
    smtp.write_all(b"EHLO x\r\n").unwrap();
    hear(&mut smtp);
    smtp.write_all(b"MAIL FROM:<a@example.org>\r\nRCPT TO:<alice@example.test>\r\nRCPT TO:<nobody@example.test>\r\nDATA\r\n").unwrap();
    // Three of them are questions; their answers must not leave one by one.
    let replies = hear(&mut smtp);
    assert_eq!(replies.lines().map(|l| &l[..3]).collect::<Vec<_>>(), ["250", "250", "550", "354"]);
}

fn the_last_word_arrives(runtime: Runtime) {
    let live = Live::new(runtime);
    for port in [live.ports.smtp, live.ports.pop3] {
        let mut stream = call(port);
        stream.write_all(b"QUIT\r\n").unwrap();
        // Nobody reads this; a socket that is closed over it would reset the connection and take the reply away.
        stream.write_all(&[b'x'; 20_000]).unwrap();
        thread::sleep(Duration::from_millis(100));
        let said = rest(&mut stream);
        assert!(said.lines().count() == 2, "{said}");
    }
}

fn a_peer_that_hangs_up_is_answered(runtime: Runtime) {
    let live = Live::new(runtime);
    let mut imap = call(live.ports.imap);
    imap.write_all(b"a NOOP\r\nb CAPABILITY\r\nc NOO").unwrap();
    imap.shutdown(Shutdown::Write).unwrap();
    let said = rest(&mut imap);
    assert!(said.contains("a OK") && said.contains("b OK") && !said.contains("\nc "), "{said}");
}

fn places_are_counted_and_come_back(runtime: Runtime) {
    let setup = Setup { extra: "limits: (connections: 2),".into(), ..Setup::default() };
    let live = Live::start(runtime, &setup);
    // The connections that Setup made to see whether it listens may still be on their way out.
    let greeted = |port| {
        let begin = Instant::now();
        loop {
            let mut stream = call(port);
            let greeting = hear(&mut stream);
            if greeting.starts_with("220") {
                return stream;
            }
            assert!(begin.elapsed() < PATIENCE, "no place comes back: {greeting}");
            thread::sleep(Duration::from_millis(10));
        }
    };
    let first = greeted(live.ports.smtp);
    let _second = greeted(live.ports.smtp);
    let refused = rest(&mut call(live.ports.smtp));
    assert!(refused.starts_with("421 "), "{refused}");
    // Each listener has its own.
    assert!(hear(&mut call(live.ports.imap)).starts_with("* OK"));
    drop(first);
    let _third = greeted(live.ports.smtp);
}

fn nobody_waits_for_the_slow(runtime: Runtime) {
    let live = Live::new(runtime);
    // More than there are processors: each asks for much and reads nothing of it.
    let mut slow: Vec<TcpStream> = (0..16).map(|_| call(live.ports.imap)).collect();
    for stream in &mut slow {
        stream.set_nonblocking(true).unwrap();
        let flood = "a CAPABILITY\r\n".repeat(1000);
        while stream.write(flood.as_bytes()).is_ok() {}
    }
    let began = Instant::now();
    for _ in 0..20 {
        let mut quick = call(live.ports.smtp);
        hear(&mut quick);
        quick.write_all(b"QUIT\r\n").unwrap();
        rest(&mut quick);
    }
    assert!(began.elapsed() < Duration::from_secs(10), "it took {:?}", began.elapsed());
}

fn a_silent_handshake_ends_with_the_server(runtime: Runtime) {
    let setup = Setup { extra: "limits: (shutdown_grace: 1),".into(), ..Setup::default() };
    let mut live = Live::start(runtime, &setup);
    let mut silent = call(live.ports.imaps);
    let mut idle = call(live.ports.imap);
    hear(&mut idle);
    let began = Instant::now();
    live.stop();
    assert!(began.elapsed() < Duration::from_secs(10));
    assert!(rest(&mut idle).contains("BYE"), "somebody was not told");
    let mut bytes = Vec::new();
    // An end or a reset: it never began.
    _ = silent.read_to_end(&mut bytes);
    assert!(bytes.is_empty());
}

fn nobody_waits_for_who_reads_the_log(runtime: Runtime) {
    let mut live = Live::new(runtime);
    live.stop();
    let (reader, mut writer) = std::io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    while writer.write(&[b'x'; 4096]).is_ok() {}
    rustix::io::ioctl_fionbio(&writer, false).unwrap();
    // Whoever writes a line now waits until somebody reads, and nobody does.
    live.restart_logging_to(writer);
    let mut smtp = Mailer::new(live.connect(live.ports.smtp), "EHLO").0;
    smtp.send("MAIL FROM:<a@example.org>\r\n");
    smtp.reply("250");
    for _ in 0..10 {
        smtp.send("RCPT TO:<nobody@example.test>\r\n");
        smtp.reply("550");
    }
    Mailer::new(live.connect(live.ports.smtp), "EHLO").mail("a@example.org", &["alice@example.test"], "Subject: x\r\n\r\nx\r\n");
    let mut imap = live.connect(live.ports.imap);
    imap.imap_login("alice");
    assert!(imap.imap("SELECT INBOX").iter().any(|line| line.contains("1 EXISTS")));
    drop((smtp, imap));
    live.stop();
    drop(reader);
}
