//! Binary messages (RFC 3030 §3) on each runtime: octet by octet to a server that takes them so, encoded for one that does not and for mailboxes.

use base64::prelude::{BASE64_STANDARD, Engine};
use hikyaku_tests::live::{Live, Mailer, Runtime, Setup};
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

/// How long mail may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// What no line can hold: NULs, line feeds and carriage returns alone, all octets, a line of 3000.
fn octets() -> Vec<u8> {
    let mut octets: Vec<u8> = (0..=255).collect();
    octets.extend_from_slice(b"\n\n\r\r\n.\r\n\0");
    octets.extend_from_slice(&[0xfe; 3000]);
    octets
}

fn message(id: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "From: <alice@example.test>\r\nMessage-ID: <{id}@example.test>\r\nMIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\n\
         Content-Transfer-Encoding: binary\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// A server that offers what is said and takes whatever comes; tells of each message how it was announced, and its content.
fn server(offers: &'static [&'static str]) -> (u16, mpsc::Receiver<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = listener.local_addr().expect("it is bound").port();
    let (tx, rx) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, tx) = (stream.expect("a client"), tx.clone());
            thread::spawn(move || serve(stream, offers, &tx));
        }
    });
    (port, rx)
}

fn serve(mut stream: TcpStream, offers: &[&str], tx: &mpsc::Sender<(String, Vec<u8>)>) {
    let mut lines = BufReader::new(stream.try_clone().expect("a socket has two ends"));
    let mut say = |text: &str| stream.write_all(text.as_bytes()).expect("the client listens");
    say("220 there.test ESMTP\r\n");
    let (mut mail, mut content) = (String::new(), Vec::new());
    let mut line = String::new();
    loop {
        line.clear();
        if lines.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[0] {
            "EHLO" => {
                say("250-there.test\r\n");
                offers.iter().for_each(|offer| say(&format!("250-{offer}\r\n")));
                say("250 ENHANCEDSTATUSCODES\r\n");
            }
            "MAIL" => {
                mail.clone_from(&line);
                say("250 2.1.0 OK\r\n");
            }
            "BDAT" => {
                let mut chunk = vec![0; words[1].parse().expect("a size")];
                lines.read_exact(&mut chunk).expect("a chunk is whole");
                content.append(&mut chunk);
                if words.get(2) == Some(&"LAST") {
                    tx.send((mail.clone(), std::mem::take(&mut content))).expect("the test waits");
                }
                say("250 2.0.0 OK\r\n");
            }
            "DATA" => {
                say("354 go on\r\n");
                loop {
                    let mut line = Vec::new();
                    lines.read_until(b'\n', &mut line).expect("a line");
                    if line == b".\r\n" {
                        break;
                    }
                    content.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
                }
                tx.send((mail.clone(), std::mem::take(&mut content))).expect("the test waits");
                say("250 2.0.0 OK\r\n");
            }
            "QUIT" => {
                say("221 2.0.0 bye\r\n");
                return;
            }
            _ => say("250 2.0.0 OK\r\n"),
        }
    }
}

/// Sends a message in three chunks, and returns the last reply.
fn bdat(mailer: &mut Mailer, to: &[&str], message: &[u8]) -> String {
    let talk = &mut mailer.0;
    talk.send("MAIL FROM:<alice@example.test> BODY=BINARYMIME\r\n");
    talk.expect("250");
    for to in to {
        talk.send(&format!("RCPT TO:<{to}>\r\n"));
        talk.expect("250");
    }
    let (first, rest) = message.split_at(message.len() / 3);
    let (second, third) = rest.split_at(rest.len() / 2);
    for chunk in [first, second] {
        talk.try_send(&[format!("BDAT {}\r\n", chunk.len()).as_bytes(), chunk].concat()).expect("it listens");
        talk.expect("250");
    }
    talk.try_send(&[format!("BDAT {} LAST\r\n", third.len()).as_bytes(), third].concat()).expect("it listens");
    talk.line()
}

/// The body of a message, decoded.
fn decoded(message: &[u8]) -> Vec<u8> {
    let text = String::from_utf8(message.to_vec()).expect("it was encoded").replace("\r\n", "\n");
    let (head, body) = text.split_once("\n\n").expect("a header");
    assert!(head.contains("Content-Transfer-Encoding: base64"), "{head}");
    BASE64_STANDARD.decode(body.replace('\n', "")).expect("base64")
}

fn binary(runtime: Runtime) {
    let (able, takes) = server(&["BINARYMIME", "CHUNKING", "8BITMIME", "PIPELINING"]);
    let (plain, lines) = server(&["8BITMIME"]);
    let route = |domain: &str, port: u16| format!("(domain: \"{domain}\", host: Some(\"[127.0.0.1]\"), port: Some({port}))");
    let routes = format!("routes: [{}, {}]", route("able.test", able), route("plain.test", plain));
    let extra = format!("relay: (clients: [\"127.0.0.0/8\"]), outgoing: ({routes}),");
    let live = Live::start(runtime, &Setup { extra, ..Setup::default() });
    let mut mailer = Mailer::new(live.connect(live.ports.smtp), "EHLO");

    // A message that is kept in the log, and one that becomes a file.
    for (id, body) in [("short", octets()), ("long", octets().repeat(100))] {
        let sent = message(id, &body);
        assert!(bdat(&mut mailer, &["bob@able.test", "bob@plain.test"], &sent).starts_with("250"));
        let (mail, content) = takes.recv_timeout(PATIENCE).expect("it arrives");
        assert!(mail.contains("BODY=BINARYMIME"), "{mail}");
        assert!(content.starts_with(b"Received: ") && content.ends_with(&sent), "octet by octet: {}", content.escape_ascii());
        let ahead = String::from_utf8_lossy(&content[..content.len() - sent.len()]).into_owned();
        assert_eq!(ahead.matches('\n').count(), ahead.matches("\r\n").count(), "{ahead}");
        let (mail, content) = lines.recv_timeout(PATIENCE).expect("it arrives");
        assert!(!mail.contains("BINARYMIME"), "{mail}");
        assert_eq!(decoded(&content), body);

        // Where a mailbox is among the recipients.
        assert!(bdat(&mut mailer, &["alice@example.test", "bob@able.test"], &sent).starts_with("250"));
        let (_, content) = takes.recv_timeout(PATIENCE).expect("it arrives");
        assert_eq!(decoded(&content), body);
        assert_eq!(decoded(&inbox(&live, id)), body);
    }

    // What is signed would not be what was signed any more.
    let signed = message("signed", b"--x\r\n\r\nA\0B\r\n--x--\r\n");
    let kind = "multipart/signed; boundary=x; protocol=\"application/pgp-signature\"; micalg=pgp-sha256";
    let signed = String::from_utf8(signed).expect("it has no more than a NUL").replace("application/octet-stream", kind);
    assert!(bdat(&mut mailer, &["alice@example.test"], signed.as_bytes()).starts_with("554 5.6.3"));
    assert!(bdat(&mut mailer, &["bob@plain.test"], signed.as_bytes()).starts_with("250"));
    let report = inbox(&live, "Status: 5.6.3");
    assert!(String::from_utf8_lossy(&report).contains("Final-Recipient: rfc822; bob@plain.test"));
    assert!(bdat(&mut mailer, &["bob@able.test"], signed.as_bytes()).starts_with("250"));
    let (_, content) = takes.recv_timeout(PATIENCE).expect("it arrives");
    assert!(content.ends_with(signed.as_bytes()));
}

/// The message of the first user that holds a text.
fn inbox(live: &Live, text: &str) -> Vec<u8> {
    let begin = Instant::now();
    loop {
        let files = fs::read_dir(live.dir.join("store/mail/example.test/alice/Maildir/new")).into_iter().flatten();
        let mut messages = files.map(|file| fs::read(file.expect("an entry").path()).expect("a message"));
        if let Some(found) = messages.find(|message| String::from_utf8_lossy(message).contains(text)) {
            return found;
        }
        assert!(begin.elapsed() < PATIENCE, "alice gets nothing with {text:?}: {}", live.log());
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn binary_of_threads() {
    binary(Runtime::Threads);
}

#[test]
fn binary_of_smol() {
    binary(Runtime::Smol);
}
