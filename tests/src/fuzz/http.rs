//! HTTP: requests of any bytes, in any cut.

use http::{Answer, Ask, Body, INBOX_LIMIT, OUTBOX_MARK, Request, Response, Server};
use wire::{Inbox, News, Outbox, Session as _, Step, Tick, Why};

/// What a session said, what it asked and how it ended; `None` if it waits for more.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    said: Vec<u8>,
    asked: Vec<Request>,
    end: Option<Why>,
}

/// The first byte says whether the client hangs up at the end; the rest is what it sends. However that is cut, the session says and asks the same; it
/// never holds more than its budget, and never asks for a body that is larger than allowed.
pub fn http_session(data: &[u8]) {
    let [hangs_up, said @ ..] = data else { return };
    let hangs_up = hangs_up & 1 == 1;
    let whole = play(said, usize::MAX, hangs_up);
    for cut in [1, 2, 7, 100] {
        assert_eq!(play(said, cut, hangs_up), whole, "cut into {cut}");
    }
    for request in &whole.asked {
        assert!(request.path.starts_with('/') && request.body.len() <= http::BODY_MAX);
        assert!(!request.path.contains(['?', '#', ' ', '\r', '\n']));
    }
    // Whatever was said begins with a status line.
    assert!(whole.said.is_empty() || whole.said.starts_with(b"HTTP/1.1 "));
}

fn play(mut input: &[u8], cut: usize, hangs_up: bool) -> Outcome {
    let (mut rx, mut tx) = (Inbox::new(INBOX_LIMIT), Outbox::new(OUTBOX_MARK));
    let mut server = Server::new(Tick(0));
    let (mut said, mut asked) = (Vec::new(), Vec::new());
    let mut pieces = 0;
    let end = loop {
        match server.step(Tick(1), &mut rx, &mut tx) {
            Step::Read if input.is_empty() && !hangs_up => break None,
            Step::Read if input.is_empty() => {
                assert!(!rx.ended(), "it waits for a peer that is gone");
                rx.end();
            }
            Step::Read => {
                let room = rx.spare();
                assert!(!room.is_empty(), "it waits for what has no room");
                let n = room.len().min(input.len()).min(cut);
                room[..n].copy_from_slice(&input[..n]);
                rx.filled(n);
                input = &input[n..];
            }
            Step::Flush => {
                said.extend_from_slice(tx.bytes());
                tx.sent(tx.bytes().len());
            }
            Step::Ask(Ask::Request(request)) => {
                pieces = request.path.len() % 4;
                let body = if pieces == 3 { Body::Pieces } else { Body::Whole(request.body.clone()) };
                asked.push(request);
                server.tell(Tick(1), News::Answer(Answer::Response(Response { status: 200, kind: "x/y", body })), &mut tx);
            }
            Step::Ask(Ask::Piece) => {
                pieces -= 1;
                server.tell(Tick(1), News::Answer(Answer::Piece(vec![b'p'; pieces * 20])), &mut tx);
            }
            Step::Close(why) => break Some(why),
            step => panic!("{step:?}"),
        }
    };
    said.extend_from_slice(tx.bytes());
    Outcome { said, asked, end }
}
