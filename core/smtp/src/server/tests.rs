//! Sessions driven by a scripted host: what dialogs cannot say (bodies, cuts, misuse).

use super::*;
use crate::{Answer, Ask, OUTBOX_MARK, Offers, Receipt, Refusal, Role, TlsMode, Verdict};
use ::mail::{Address, Stamp};
use alloc::{format, string::String, vec, vec::Vec};
use wire::{Fault, Tls};

/// What a whole session led to.
#[derive(Debug, PartialEq, Eq)]
struct Record {
    output: String,
    asks: Vec<String>,
    bodies: Vec<String>,
    why: Why,
}

fn settings(role: Role) -> Settings {
    Settings {
        hostname: "mx.example.test".into(),
        role,
        message_max: 100,
        recipients_max: 3,
        tls: TlsMode::Never,
        plaintext_logins: true,
        offers: Offers::default(),
        trusted: false,
        mails_max: 0,
        clock: Stamp::utc(1_795_502_247),
    }
}

fn verdict(address: &Address) -> Verdict {
    match &*address.local {
        "full" => Err(Refusal::MailboxFull),
        "relay" => Err(Refusal::NoRelay),
        "later" => Err(Refusal::Fault(Fault::Later)),
        "nobody" => Err(Refusal::NoMailbox),
        _ => Ok(()),
    }
}

/// Feeds `input` in pieces of `cut` bytes until the session closes.
fn run(settings: Settings, input: &[u8], cut: usize) -> Record {
    let now = Tick(0);
    let (mut rx, mut tx) = (Inbox::new(INBOX_LIMIT), Outbox::new(OUTBOX_MARK));
    let mut server = Server::new(settings, now);
    let (mut output, mut asks, mut bodies) = (Vec::new(), Vec::new(), vec![]);
    let (mut body, mut recipients, mut fed) = (Vec::new(), 0, 0);
    loop {
        match server.step(now, &mut rx, &mut tx) {
            Step::Read if fed == input.len() => {
                assert!(!rx.ended(), "nothing can come and still it waits");
                rx.end();
            }
            Step::Read => {
                let piece = &input[fed..input.len().min(fed + cut)];
                let room = rx.spare();
                let n = piece.len().min(room.len());
                assert!(n > 0, "it waits for more than fits");
                room[..n].copy_from_slice(&piece[..n]);
                rx.filled(n);
                fed += n;
            }
            Step::Flush => {
                output.extend_from_slice(tx.bytes());
                tx.sent(tx.bytes().len());
            }
            Step::Body(bytes) => {
                assert!(!bytes.is_empty());
                body.extend_from_slice(bytes);
            }
            Step::Ask(ask) => {
                asks.push(format!("{ask:?}"));
                let answer = match ask {
                    Ask::Login(_) => Answer::Login(Ok(sasl::Login { account: "alice@example.test".into() })),
                    Ask::Sender(sender, _) => Answer::Sender(sender.map_or(Ok(()), |sender| verdict(&sender))),
                    Ask::Recipient(recipient) => Answer::Recipient(verdict(&recipient.address)),
                    Ask::Open(start) => {
                        recipients = start.envelope.recipients.len();
                        Answer::Open(Ok(()))
                    }
                    Ask::Commit => {
                        bodies.push(String::from_utf8(core::mem::take(&mut body)).unwrap());
                        Answer::Commit(Ok(Receipt { id: "1".into(), each: vec![Ok(()); recipients] }))
                    }
                    Ask::Abandon(_) => {
                        bodies.push(format!("abandoned: {}", String::from_utf8(core::mem::take(&mut body)).unwrap()));
                        Answer::Abandon
                    }
                };
                server.tell(now, News::Answer(answer), &mut tx);
            }
            Step::StartTls(_) => {
                assert!(rx.is_empty());
                server.tell(now, News::Secured(Ok(Tls::default())), &mut tx);
            }
            Step::Close(why) => {
                output.extend_from_slice(tx.bytes());
                assert!(body.is_empty(), "a message was left open");
                return Record { output: String::from_utf8(output).unwrap(), asks, bodies, why };
            }
        }
    }
}

/// Runs `input` under every small cut and some large ones; they all lead to the same.
fn play(role: Role, input: &str) -> Record {
    let whole = run(settings(role), input.as_bytes(), usize::MAX / 2);
    for cut in (1..=17).chain([64, 1000, 4096]) {
        assert_eq!(run(settings(role), input.as_bytes(), cut), whole, "cut by {cut}");
    }
    whole
}

fn replies(record: &Record) -> Vec<&str> {
    record.output.lines().filter(|line| !line.starts_with("250-")).map(|line| &line[..line.len().min(9)]).collect()
}

#[test]
fn a_message_pipelined_whole() {
    let record = play(
        Role::Relay,
        "EHLO c.test\r\nMAIL FROM:<a@c.test> SIZE=9\r\nRCPT TO:<bob@x.test>\r\nRCPT TO:<nobody@x.test>\r\nDATA\r\n..a\r\nb\r\n.\r\nQUIT\r\n",
    );
    assert_eq!(replies(&record), ["220 mx.ex", "250 ENHAN", "250 2.1.0", "250 2.1.5", "550 5.1.1", "354 End d", "250 2.0.0", "221 2.0.0"]);
    assert_eq!(record.bodies, [".a\r\nb\r\n"]);
    assert_eq!(record.why, Why::Done);
    assert_eq!(record.asks.len(), 5);
    assert!(record.asks[3].contains("with: \"ESMTP\""), "{}", record.asks[3]);
}

#[test]
fn smuggled_commands_stay_text() {
    for odd in ["\n.\n", "\r.\r", "\r.\n", "\n.\r", "\n.\r\n", "\r\n.\n", "\r.\r\n", "\r\n.\r", "\r\n\0.\r\n", "\r\n.\0\r\n"] {
        let record = play(
            Role::Relay,
            &format!(
                "EHLO c\r\nMAIL FROM:<a@c>\r\nRCPT TO:<bob@x>\r\nDATA\r\nx{odd}MAIL FROM:<evil@c>\r\nRCPT TO:<bob@x>\r\nDATA\r\ny\r\n.\r\nNOOP\r\n"
            ),
        );
        assert_eq!(replies(&record)[5..], ["554 5.6.0", "250 2.0.0"], "{}", odd.escape_debug());
        assert!(record.bodies.len() == 1 && record.bodies[0].starts_with("abandoned"), "{}", odd.escape_debug());
    }
}

#[test]
fn chunks_make_one_message() {
    let record = play(
        Role::Relay,
        "EHLO c\r\nMAIL FROM:<a@c>\r\nRCPT TO:<bob@x>\r\nBDAT 4\r\na\r\n.BDAT 2\r\n\r\nBDAT 0\r\nBDAT 3 LAST\r\nb\r\nBDAT 4 LAST\r\nQUITQUIT\r\n",
    );
    assert_eq!(replies(&record)[4..], ["250 2.0.0", "250 2.0.0", "250 2.0.0", "250 2.0.0", "503 5.5.1", "221 2.0.0"]);
    assert_eq!(record.bodies, ["a\r\n.\r\nb\r\n"]);
}

#[test]
fn every_octet_of_a_binary_message_counts() {
    let mut settings = settings(Role::Relay);
    settings.offers = Offers::all(0);
    let input =
        "EHLO c\r\nMAIL FROM:<a@c> BODY=BINARYMIME\r\nRCPT TO:<bob@x>\r\nDATA\r\nBDAT 6\r\n\ra\n\0\r.BDAT 7 LAST\r\n\n.\r\n.\n\rQUIT\r\n";
    for cut in 1..20 {
        let record = run(settings.clone(), input.as_bytes(), cut);
        assert_eq!(replies(&record)[4..], ["503 5.5.1", "250 2.0.0", "250 2.0.0", "221 2.0.0"], "cut by {cut}");
        assert_eq!(record.bodies, ["\ra\n\0\r.\n.\r\n.\n\r"], "cut by {cut}");
    }
}

#[test]
fn a_broken_chunk_ends_the_transaction() {
    let record = play(
        Role::Relay,
        "EHLO c\r\nMAIL FROM:<a@c>\r\nRCPT TO:<bob@x>\r\nBDAT 3\r\na\nbBDAT 4 LAST\r\nNOOPMAIL FROM:<a@c>\r\nRCPT TO:<bob@x>\r\nBDAT 101 LAST\r\n",
    );
    assert_eq!(replies(&record)[4..], ["554 5.6.0", "503 5.5.1", "250 2.1.0", "250 2.1.5"]);
    assert_eq!(record.bodies, ["abandoned: a", "abandoned: "]);
    assert_eq!(record.why, Why::Gone);
}

#[test]
fn too_large_by_word_and_by_deed() {
    let large = "x".repeat(101);
    let record = play(
        Role::Relay,
        &format!(
            "EHLO c\r\nMAIL FROM:<a@c> SIZE=101\r\nMAIL FROM:<a@c>\r\nRCPT TO:<b@x>\r\nDATA\r\n{large}\r\n.\r\nMAIL FROM:<a@c>\r\nRCPT TO:<b@x>\r\nBDAT 101 LAST\r\n{large}QUIT\r\n"
        ),
    );
    assert_eq!(
        replies(&record)[2..],
        ["552 5.3.4", "250 2.1.0", "250 2.1.5", "354 End d", "552 5.3.4", "250 2.1.0", "250 2.1.5", "552 5.3.4", "221 2.0.0"]
    );
}

#[test]
fn lmtp_answers_for_each() {
    let record = play(
        Role::Lmtp,
        "EHLO c\r\nLHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<bob@x>\r\nRCPT TO:<nobody@x>\r\nRCPT TO:<postmaster>\r\nDATA\r\na\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<bob@x>\r\nRCPT TO:<al@x>\r\nBDAT 1 LAST\r\n\nQUIT\r\n",
    );
    assert_eq!(
        replies(&record),
        [
            "220 mx.ex",
            "500 5.5.1",
            "250 ENHAN",
            "250 2.1.0",
            "250 2.1.5",
            "550 5.1.1",
            "250 2.1.5",
            "354 End d",
            "250 2.1.5",
            "250 2.1.5",
            "250 2.1.0",
            "250 2.1.5",
            "250 2.1.5",
            "554 5.6.0",
            "554 5.6.0",
            "221 2.0.0"
        ]
    );
    assert!(record.output.contains("250 2.1.5 <postmaster@mx.example.test> Ok: delivered as 1\r\n"));
}

#[test]
fn lines_that_are_none() {
    let long = "x".repeat(20_000);
    let record = play(Role::Relay, &format!("NOOP\nNOOP\r\nNOOP\rNOOP\r\n{long}\r\nNOOP {long}\n{long}\r\nNOOP\r\n{long}"));
    assert_eq!(replies(&record)[1..], ["500 5.5.2", "500 5.5.2", "500 5.5.2", "500 5.5.2", "250 2.0.0"]);
    // The CR of the line end is the last byte looked at.
    for len in LINE_MAX - 3..LINE_MAX + 3 {
        let record = run(settings(Role::Relay), format!("{}\r\nNOOP\r\n", "x".repeat(len)).as_bytes(), 4096);
        assert_eq!(replies(&record)[1..], ["500 5.5.2", "250 2.0.0"], "{len}");
    }
}

#[test]
fn auth_as_it_should_be() {
    let record = play(
        Role::Submission,
        "EHLO c\r\nMAIL FROM:<a@c>\r\nAUTH PLAIN\r\n*\r\nAUTH LOGIN\r\nYWxpY2U=\r\n!\r\nAUTH FOO\r\nAUTH PLAIN AGFsaWNlAGhpa3lha3U=\r\nAUTH PLAIN =\r\nMAIL FROM:<a@c> AUTH=<>\r\nRCPT TO:<a@x>\r\nDATA\r\n.\r\n",
    );
    assert_eq!(
        replies(&record)[2..],
        [
            "530 5.7.0",
            "334 ",
            "501 5.7.0",
            "334 VXNlc",
            "334 UGFzc",
            "501 5.5.2",
            "504 5.5.4",
            "235 2.7.0",
            "503 5.5.1",
            "250 2.1.0",
            "250 2.1.5",
            "354 End d",
            "250 2.0.0"
        ]
    );
    assert!(record.output.contains("250-AUTH PLAIN LOGIN\r\n"));
    assert!(!record.asks[0].contains("hikyaku"), "{}", record.asks[0]);
}

#[test]
fn starttls_forgets_what_was_said() {
    let mut settings = settings(Role::Submission);
    settings.tls = TlsMode::Start;
    settings.plaintext_logins = false;
    // Cut at the line end: what follows STARTTLS in the same read is thrown away.
    let input = b"EHLO c\r\nAUTH PLAIN =\r\nMAIL FROM:<a@c>\r\nSTARTTLS\r\nNOOP\r\n";
    let record = run(settings.clone(), input, 1000);
    assert_eq!(replies(&record)[2..], ["538 5.7.11", "530 5.7.0", "220 2.0.0"].map(|r| &r[..9]));
    assert!(record.output.contains("250-STARTTLS\r\n") && !record.output.contains("AUTH"));
    let record = run(settings, b"EHLO c\r\nSTARTTLS\r\nMAIL FROM:<a@c>\r\nSTARTTLS\r\nEHLO c\r\nAUTH PLAIN AGFsaWNlAGhpa3lha3U=\r\n", 1);
    assert_eq!(replies(&record)[1..], ["250 ENHAN", "220 2.0.0", "503 5.5.1", "503 5.5.1", "250 ENHAN", "235 2.7.0"]);
}

#[test]
fn every_budget_ends_the_session() {
    let ends = |input: String| {
        let record = play(Role::Relay, &input);
        assert_eq!(record.why, Why::Abuse);
        assert_eq!(record.output.lines().last().map(|line| &line[..9]), Some("421 4.7.0"));
    };
    ends("FOO\r\n".repeat(MISTAKES_MAX as usize + 2));
    ends("NOOP\r\n".repeat(IDLE_MAX as usize + 2));
    ends(format!("EHLO c\r\nMAIL FROM:<>\r\n{}", "RCPT TO:<nobody@x>\r\n".repeat(REFUSED_MAX as usize + 2)));
    ends("GET / HTTP/1.1\r\n".into());
    let record = play(Role::Relay, &format!("EHLO c\r\nMAIL FROM:<>\r\n{}", "RCPT TO:<bob@x>\r\n".repeat(5)));
    assert_eq!(replies(&record)[3..], ["250 2.1.5", "250 2.1.5", "250 2.1.5", "452 4.5.3", "452 4.5.3"]);
}

#[test]
fn a_stop_waits_for_the_message_and_for_nothing_else() {
    let now = Tick(0);
    let (mut rx, mut tx) = (Inbox::new(INBOX_LIMIT), Outbox::new(OUTBOX_MARK));
    let mut server = Server::new(settings(Role::Relay), now);
    let mut feed = |server: &mut Server, tx: &mut Outbox, text: &str| {
        rx.spare()[..text.len()].copy_from_slice(text.as_bytes());
        rx.filled(text.len());
        loop {
            match server.step(now, &mut rx, tx) {
                Step::Ask(ask) => {
                    let answer = match ask {
                        Ask::Sender(..) => Answer::Sender(Ok(())),
                        Ask::Recipient(_) => Answer::Recipient(Ok(())),
                        Ask::Open(_) => Answer::Open(Ok(())),
                        Ask::Commit => Answer::Commit(Ok(Receipt { id: "1".into(), each: vec![] })),
                        other => panic!("{other:?}"),
                    };
                    server.tell(now, News::Answer(answer), tx);
                }
                Step::Body(_) => {}
                Step::Read => return None,
                Step::Close(why) => return Some(why),
                other => panic!("{other:?}"),
            }
        }
    };
    assert_eq!(feed(&mut server, &mut tx, "EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<b@x>\r\nDATA\r\nab\r\n"), None);
    server.tell(now, News::Nudge(Nudge::Shutdown), &mut tx);
    tx.sent(tx.bytes().len());
    assert_eq!(feed(&mut server, &mut tx, "cd\r\n"), None);
    assert!(tx.is_empty());
    assert_eq!(feed(&mut server, &mut tx, ".\r\nNOOP\r\n"), Some(Why::Shutdown));
    assert!(tx.bytes().starts_with(b"250 2.0.0 Ok: queued as 1\r\n421 4.3.2 "));
}

#[test]
fn the_slow_are_told_so() {
    let (mut rx, mut tx) = (Inbox::new(INBOX_LIMIT), Outbox::new(OUTBOX_MARK));
    let mut server = Server::new(settings(Role::Relay), Tick(0));
    assert!(matches!(server.step(Tick(0), &mut rx, &mut tx), Step::Read));
    assert_eq!(server.deadline(), Some(Tick(COMMAND_MS)));
    // A byte now and then does not help.
    rx.spare()[0] = b'N';
    rx.filled(1);
    assert!(matches!(server.step(Tick(COMMAND_MS - 1), &mut rx, &mut tx), Step::Read));
    assert_eq!(server.deadline(), Some(Tick(COMMAND_MS)));
    assert!(matches!(server.step(Tick(COMMAND_MS), &mut rx, &mut tx), Step::Close(Why::Timeout)));
    assert!(tx.bytes().ends_with(b"421 4.4.2 Timeout\r\n"));
}
