//! Sessions driven by a scripted host: what dialogs cannot say (large messages, long lists, misuse).

use super::*;
use crate::{Entry, OUTBOX_MARK, TlsMode, limits::CHUNK};
use alloc::{format, string::String, vec, vec::Vec};
use mail::Span;
use wire::{Fault, Tls};

/// What a whole session led to.
#[derive(Debug, PartialEq, Eq)]
struct Record {
    output: Vec<u8>,
    /// Each as `index@at`.
    reads: Vec<String>,
    removed: Vec<u32>,
    why: Why,
}

/// Plays a session of a client that logged in and sends `input` in pieces of `cut` bytes. `lost` is the read that fails.
fn run(messages: &[Vec<u8>], input: &str, cut: usize, lost: Option<usize>) -> Record {
    let now = Tick(0);
    let settings = Settings { hostname: "mx.example.test".into(), tls: TlsMode::Already(Tls::default()), plaintext_logins: false };
    let (mut rx, mut tx) = (Inbox::new(INBOX_LIMIT), Outbox::new(OUTBOX_MARK));
    let mut server = Server::new(settings, now);
    let input = format!("USER alice\r\nPASS hikyaku\r\n{input}");
    let mut input = input.as_bytes();
    let mut record = Record { output: Vec::new(), reads: Vec::new(), removed: Vec::new(), why: Why::Fault };
    loop {
        assert!(tx.bytes().len() <= OUTBOX_MARK + 2 * CHUNK, "the outbox grew by more than a piece");
        match server.step(now, &mut rx, &mut tx) {
            Step::Read if input.is_empty() => rx.end(),
            Step::Read => {
                assert_eq!(server.spare.capacity(), 0, "an idle session holds no buffer");
                let room = rx.spare();
                let n = room.len().min(input.len()).min(cut);
                room[..n].copy_from_slice(&input[..n]);
                rx.filled(n);
                input = &input[n..];
            }
            Step::Flush => {
                record.output.extend_from_slice(tx.bytes());
                tx.sent(tx.bytes().len());
            }
            Step::Ask(ask) => {
                let answer = match ask {
                    Ask::Login(_) => Answer::Login(Ok(sasl::Login { account: "alice@example.test".into() })),
                    Ask::Open => {
                        let entry = |(i, m): (usize, &Vec<u8>)| Entry {
                            span: Span { at: 0, len: m.len() as u64, wire: m.len() as u64 },
                            uidl: format!("u{i}").into(),
                        };
                        Answer::Open(Ok(messages.iter().enumerate().map(entry).collect()))
                    }
                    Ask::Read { index, at, mut buf } => {
                        record.reads.push(format!("{index}@{at}"));
                        assert!(buf.is_empty() && buf.capacity() > 0);
                        let rest = &messages[index as usize][at as usize..];
                        buf.extend_from_slice(&rest[..rest.len().min(buf.capacity())]);
                        Answer::Read(if lost == Some(record.reads.len()) { Err(Fault::Never) } else { Ok(buf) })
                    }
                    Ask::Remove(indexes) => {
                        record.removed = indexes;
                        Answer::Remove(Ok(()))
                    }
                };
                server.tell(now, News::Answer(answer), &mut tx);
            }
            Step::Close(why) => {
                record.output.extend_from_slice(tx.bytes());
                record.why = why;
                return record;
            }
            other => panic!("{other:?}"),
        }
    }
}

/// A message of `len` octets full of dots at starts of lines.
fn dotty(len: usize) -> Vec<u8> {
    let lines = b".\r\n..x\r\ny\r\n";
    let mut message = lines.repeat(len / lines.len() + 1);
    message.truncate(len);
    message
}

/// What a client makes of the last response.
fn unstuffed(output: &[u8]) -> Vec<u8> {
    let text = String::from_utf8(output.to_vec()).unwrap();
    let body = text.rsplit_once("octets\r\n").unwrap().1.strip_suffix(".\r\n").unwrap();
    body.split_inclusive("\r\n").flat_map(|line| line.strip_prefix('.').unwrap_or(line).bytes()).collect()
}

#[test]
fn sizes_around_a_piece() {
    for len in [0, 1, 3, 11, CHUNK - 2, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 7] {
        let message = dotty(len);
        let record = run(core::slice::from_ref(&message), "RETR 1\r\n", 1000, None);
        let mut whole = message;
        if !whole.is_empty() && !whole.ends_with(b"\n") {
            whole.extend_from_slice(b"\r\n");
        }
        assert_eq!(unstuffed(&record.output), whole, "{len}");
        assert!(len >= CHUNK || record.reads.len() == 1, "{len}: one question for a small message, not {:?}", record.reads);
    }
}

#[test]
fn cuts_change_nothing() {
    let messages = [dotty(100), dotty(40_000), dotty(0)];
    let input = "LIST\r\nRETR 1\r\nRETR 2\r\nDELE 2\r\nTOP 1 3\r\nUIDL\r\nRETR 3\r\nQUIT\r\n";
    let whole = run(&messages, input, 10_000, None);
    assert_eq!((whole.why, whole.removed.as_slice()), (Why::Done, &[1][..]));
    for cut in 1..20 {
        assert_eq!(run(&messages, input, cut, None), whole, "cut by {cut}");
    }
}

#[test]
fn what_is_lost_midway_ends_the_session() {
    let record = run(&[dotty(70_000)], "RETR 1\r\nNOOP\r\n", 1000, Some(2));
    assert_eq!(record.reads, ["0@0", "0@32768"]);
    assert_eq!(record.why, Why::Fault);
    assert!(!record.output.ends_with(b"\r\n.\r\n"));
    let record = run(&[dotty(70_000)], "RETR 1\r\nNOOP\r\n", 1000, Some(1));
    assert!(record.output.ends_with(b"-ERR The message is gone\r\n+OK\r\n"));
}

#[test]
fn a_long_list_leaves_in_pieces() {
    let messages = vec![dotty(3); 20_000];
    let record = run(&messages, "DELE 20000\r\nLIST\r\nUIDL\r\nSTAT\r\n", 1000, None);
    let text = String::from_utf8(record.output).unwrap();
    assert_eq!(text.lines().count(), 1 + 2 + 1 + 2 * (1 + 19_999 + 1) + 1);
    assert!(text.contains("\r\n19999 3\r\n.\r\n") && text.contains("\r\n19999 u19998\r\n.\r\n"));
    assert!(text.ends_with("+OK 19999 59997\r\n"));
}

#[test]
fn half_a_line_does_not_move_the_timer() {
    let settings = Settings { hostname: "mx.example.test".into(), tls: TlsMode::Never, plaintext_logins: true };
    let (mut rx, mut tx) = (Inbox::new(INBOX_LIMIT), Outbox::new(OUTBOX_MARK));
    let mut server = Server::new(settings, Tick(0));
    assert!(matches!(server.step(Tick(0), &mut rx, &mut tx), Step::Read));
    tx.sent(tx.bytes().len());
    rx.spare()[0] = b'N';
    rx.filled(1);
    assert!(matches!(server.step(Tick(IDLE_MS - 1), &mut rx, &mut tx), Step::Read));
    assert_eq!(server.deadline(), Some(Tick(IDLE_MS)));
    assert!(matches!(server.step(Tick(IDLE_MS), &mut rx, &mut tx), Step::Close(Why::Timeout)));
    assert!(tx.is_empty());
}
