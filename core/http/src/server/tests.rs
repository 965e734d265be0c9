//! Requests in every cut, and what peers must not get away with.

use super::*;
use crate::{INBOX_LIMIT, OUTBOX_MARK, Request};
use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

/// Feeds `input` in pieces of `cut` bytes to a host that echoes; gives what was said, asked, and why it ended (`None`: it waits).
fn play(mut input: &[u8], cut: usize) -> (String, Vec<Request>, Option<Why>) {
    let (mut rx, mut tx) = (Inbox::new(INBOX_LIMIT), Outbox::new(OUTBOX_MARK));
    let mut server = Server::new(Tick(0));
    let (mut said, mut asked) = (Vec::new(), Vec::new());
    let mut pieces = 0;
    let end = loop {
        let step = server.step(Tick(1), &mut rx, &mut tx);
        let flush = |tx: &mut Outbox, said: &mut Vec<u8>| {
            said.extend_from_slice(tx.bytes());
            tx.sent(tx.bytes().len());
        };
        match step {
            Step::Read if input.is_empty() => break None,
            Step::Read => {
                let room = rx.spare();
                let n = room.len().min(input.len()).min(cut);
                room[..n].copy_from_slice(&input[..n]);
                rx.filled(n);
                input = &input[n..];
            }
            Step::Flush => flush(&mut tx, &mut said),
            Step::Ask(Ask::Request(request)) => {
                pieces = 0;
                let body = match &*request.path {
                    "/pieces" => Body::Pieces,
                    _ => Body::Whole(request.body.clone()),
                };
                asked.push(request);
                server.tell(Tick(1), News::Answer(Answer::Response(Response { status: 200, kind: "x/y", body })), &mut tx);
            }
            Step::Ask(Ask::Piece) => {
                pieces += 1;
                let piece = if pieces < 3 { vec![b'p'; 20] } else { vec![] };
                server.tell(Tick(1), News::Answer(Answer::Piece(piece)), &mut tx);
            }
            Step::Close(why) => break Some(why),
            step => panic!("{step:?}"),
        }
    };
    said.extend_from_slice(tx.bytes());
    (String::from_utf8(said).unwrap(), asked, end)
}

/// The same however it is cut.
fn all_cuts(input: &[u8]) -> (String, Vec<Request>, Option<Why>) {
    let whole = play(input, 4096);
    for cut in [1, 2, 3, 7, 64] {
        assert_eq!(play(input, cut), whole, "cut into {cut}");
    }
    whole
}

#[test]
fn requests_in_a_row_are_answered_in_order() {
    let (said, asked, end) = all_cuts(
        b"GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n\r\nPOST /d HTTP/1.1\r\nHost: x\r\nContent-Type: t/u\r\nContent-Length: 5\r\n\r\nhello\
          POST /e HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n00a\r\n0123456789\r\n0\r\nT: r\r\n\r\n\
          HEAD /f HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi",
    );
    let seen: Vec<_> = asked.iter().map(|r| (r.method, &*r.path, &*r.query, &*r.kind, r.body.as_slice())).collect();
    assert_eq!(
        seen,
        [
            (Method::Get, "/a", "b=c", "", &b""[..]),
            (Method::Post, "/d", "", "t/u", b"hello"),
            (Method::Post, "/e", "", "", b"abc0123456789"),
            (Method::Head, "/f", "", "", b"hi"),
        ]
    );
    assert_eq!(said.matches("HTTP/1.1 200 OK\r\nContent-Type: x/y\r\n").count(), 4);
    // RFC 9110 §9.3.2: the length of what a GET would say, and nothing more.
    assert!(said.ends_with("Content-Length: 2\r\n\r\n"));
    assert_eq!(end, None);
}

#[test]
fn a_post_without_a_length_has_no_body() {
    let (said, asked, _) = all_cuts(b"POST /reload HTTP/1.1\r\nHost: localhost\r\nUser-Agent: curl\r\n\r\n");
    assert!(said.contains("Content-Length: 0\r\n") && asked.len() == 1);
}

#[test]
fn pieces_leave_in_chunks_or_up_to_the_end() {
    let piece = "p".repeat(20);
    let (said, _, end) = all_cuts(b"GET /pieces HTTP/1.1\r\nHost: x\r\n\r\nGET /z HTTP/1.1\r\nHost: x\r\nConnection: a, Close\r\n\r\n");
    assert!(said.contains(&format!("Transfer-Encoding: chunked\r\n\r\n14\r\n{piece}\r\n14\r\n{piece}\r\n0\r\n\r\nHTTP/1.1 200")));
    assert!(said.contains("Connection: close\r\n") && end == Some(Why::Done));
    let (said, _, end) = all_cuts(b"GET /pieces HTTP/1.0\r\n\r\n");
    assert!(said.ends_with(&format!("Connection: close\r\n\r\n{piece}{piece}")) && end == Some(Why::Done));
    let (said, _, end) = all_cuts(b"HEAD /pieces HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(said.ends_with("chunked\r\n\r\n") && end.is_none());
}

#[test]
fn a_client_that_waits_for_a_word_gets_it() {
    let head = b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    let (said, asked, _) = all_cuts(head);
    assert!(said == "HTTP/1.1 100 Continue\r\n\r\n" && asked.is_empty());
}

#[test]
fn abuse_ends_with_a_word() {
    let refused = |input: &[u8]| {
        let (said, asked, end) = all_cuts(input);
        assert!(asked.is_empty() && end == Some(Why::Abuse) && said.contains("Connection: close\r\n"), "{said}");
        said[9..12].to_string()
    };
    let chunked = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(refused(b"NONSENSE\r\n\r\n"), "400");
    assert_eq!(refused(format!("{chunked}-1\r\n").as_bytes()), "400");
    assert_eq!(refused(format!("{chunked}3\r\nabcd\r\n").as_bytes()), "400");
    assert_eq!(refused(format!("{chunked}3\nabc").as_bytes()), "400");
    assert_eq!(refused(format!("{chunked}10001\r\n").as_bytes()), "413");
    assert_eq!(refused(format!("{chunked}{}", "1".repeat(300)).as_bytes()), "400");
    assert_eq!(refused(format!("{chunked}0\r\n{}", "a: b\r\n".repeat(40)).as_bytes()), "400");
    assert_eq!(refused(format!("GET /{} HTTP/1.1\r\n", "a".repeat(HEAD_MAX)).as_bytes()), "431");
    assert_eq!(refused(format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "a: b\r\n".repeat(64)).as_bytes()), "431");
}

#[test]
fn who_drips_ends() {
    let (mut rx, mut tx) = (Inbox::new(INBOX_LIMIT), Outbox::new(OUTBOX_MARK));
    let mut server = Server::new(Tick(0));
    assert!(matches!(server.step(Tick(0), &mut rx, &mut tx), Step::Read));
    rx.spare()[..4].copy_from_slice(b"GET ");
    rx.filled(4);
    let mut now = Tick(HEAD_MS - 1);
    assert!(matches!(server.step(now, &mut rx, &mut tx), Step::Read));
    while server.deadline().unwrap() > now {
        now = now.after(1000);
        rx.spare()[0] = b'/';
        rx.filled(1);
        match server.step(now, &mut rx, &mut tx) {
            Step::Read => assert!(now.0 < 2 * HEAD_MS),
            step => {
                assert!(matches!(step, Step::Close(Why::Timeout)));
                return assert!(tx.bytes().starts_with(b"HTTP/1.1 408 "));
            }
        }
    }
    assert!(matches!(server.step(now, &mut rx, &mut tx), Step::Close(Why::Timeout)));
    assert!(tx.bytes().starts_with(b"HTTP/1.1 408 "));
}

#[test]
fn a_server_that_stops_finishes_what_it_does() {
    let (mut rx, mut tx) = (Inbox::new(INBOX_LIMIT), Outbox::new(OUTBOX_MARK));
    let mut server = Server::new(Tick(0));
    let bytes = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    rx.spare()[..bytes.len()].copy_from_slice(bytes);
    rx.filled(bytes.len());
    assert!(matches!(server.step(Tick(0), &mut rx, &mut tx), Step::Ask(_)));
    server.tell(Tick(0), News::Nudge(Nudge::Shutdown), &mut tx);
    server.tell(Tick(0), News::Answer(Answer::Response(Response::text(200, "hi"))), &mut tx);
    assert!(matches!(server.step(Tick(0), &mut rx, &mut tx), Step::Close(Why::Shutdown)));
    assert!(tx.bytes().ends_with(b"hi\n"));
}
