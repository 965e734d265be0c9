//! The server side of a session: one request after the other, each answered before the next is read.

use crate::{
    Answer, Ask, Body, Method, Response,
    head::{self, Framing, Head},
    limits::{BODY_GRACE_MS, BODY_MAX, BODY_RATE, CHUNK_LINE_MAX, HEAD_MAX, HEAD_MS, IDLE_MS, TRAILERS_MAX},
    message::phrase,
};
use alloc::boxed::Box;
use core::fmt::Write as _;
use wire::{Inbox, Lines, News, Nudge, Outbox, Pace, Scan, Session, Step, Tick, Why};

/// A session with a client. Takes an [`Inbox`] of [`crate::INBOX_LIMIT`] and an [`Outbox`] of [`crate::OUTBOX_MARK`].
#[derive(Debug)]
pub struct Server {
    phase: Phase,
    lines: Lines,
    deadline: Tick,
    stopping: bool,
}

/// Where a session is.
#[derive(Debug)]
enum Phase {
    /// A head is due; so many bytes of it were looked at.
    Head { seen: usize, begun: bool },
    /// The body of this request is due.
    Body(Box<Incoming>),
    /// An answer is due, to be said like this.
    Asked(Saying),
    /// The next piece of a response is due.
    Pieces(Saying),
    /// All is said.
    Closing(Why),
}

/// A request whose body comes.
#[derive(Debug)]
struct Incoming {
    head: Head,
    pace: Pace,
    part: Part,
}

/// Where a body is.
#[derive(Debug, Clone, Copy)]
enum Part {
    /// So many bytes are due, and then, in a chunk, its line end.
    Bytes(usize),
    /// The line that says how long the next chunk is.
    Size,
    /// The line end of a chunk.
    End,
    /// Fields after the last chunk, so many of them so far.
    Trailer(u32),
}

/// How a response is to be said.
#[derive(Debug, Clone, Copy)]
struct Saying {
    method: Method,
    keep: bool,
    chunks: bool,
}

/// What a phase wants. [`Step`] without its borrow.
enum Next {
    Again,
    Wait,
    Flush,
    Ask(Ask),
    Close(Why),
}

impl Server {
    /// A session that waits for a request.
    pub fn new(now: Tick) -> Server {
        Server { phase: Phase::Head { seen: 0, begun: false }, lines: Lines::new(), deadline: now.after(HEAD_MS), stopping: false }
    }

    fn next(&mut self, now: Tick, rx: &mut Inbox, tx: &mut Outbox) -> Next {
        match self.phase {
            Phase::Head { seen, begun } => self.head(now, seen, begun, rx, tx),
            Phase::Body(_) => self.body(now, rx, tx),
            Phase::Pieces(_) if tx.is_full() => Next::Flush,
            Phase::Pieces(_) => Next::Ask(Ask::Piece),
            Phase::Asked(_) => panic!("stepped before the answer was told"),
            Phase::Closing(why) => Next::Close(why),
        }
    }

    fn head(&mut self, now: Tick, seen: usize, begun: bool, rx: &mut Inbox, tx: &mut Outbox) -> Next {
        if self.stopping {
            return Next::Close(Why::Shutdown);
        }
        // RFC 9112 §2.2: an empty line before a request is left over from the one before.
        if seen == 0 && rx.bytes().starts_with(b"\r\n") {
            rx.take(2);
            return Next::Again;
        }
        let bytes = rx.bytes();
        // A lone carriage return may yet become an empty line.
        if !begun && !bytes.is_empty() && bytes != b"\r" {
            self.deadline = now.after(HEAD_MS);
            self.phase = Phase::Head { seen, begun: true };
            return Next::Again;
        }
        let from = seen.saturating_sub(3);
        let Some(len) = bytes[from..].windows(4).position(|w| w == b"\r\n\r\n").map(|at| from + at + 4) else {
            let seen = if bytes == b"\r" { 0 } else { bytes.len() };
            if bytes.len() >= HEAD_MAX {
                return self.refuse(431, "the head is too long", tx);
            }
            if now >= self.deadline {
                return if begun { self.refuse(408, "the request took too long", tx) } else { Next::Close(Why::Timeout) };
            }
            self.phase = Phase::Head { seen, begun };
            return if rx.ended() { Next::Close(if begun { Why::Gone } else { Why::Done }) } else { Next::Wait };
        };
        if tx.is_full() {
            return Next::Flush;
        }
        let head = match head::parse(&bytes[..len]) {
            Ok(head) => head,
            Err((status, why)) => return self.refuse(status, why, tx),
        };
        rx.take(len);
        if head.expects {
            tx.put(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        let part = match head.framing {
            Framing::Sized(n) => Part::Bytes(n),
            Framing::Chunked => Part::Size,
        };
        self.lines = Lines::new();
        self.phase = Phase::Body(Box::new(Incoming { head, pace: Pace::new(now, BODY_GRACE_MS, BODY_RATE), part }));
        Next::Again
    }

    fn body(&mut self, now: Tick, rx: &mut Inbox, tx: &mut Outbox) -> Next {
        let Phase::Body(incoming) = &mut self.phase else { unreachable!("the phase was looked at") };
        let chunked = incoming.head.framing == Framing::Chunked;
        let body = &mut incoming.head.request.body;
        let wanted = match incoming.part {
            Part::Bytes(0) if chunked => {
                incoming.part = Part::End;
                return Next::Again;
            }
            Part::Bytes(0) => return self.asked(),
            Part::Bytes(left) => {
                let n = left.min(rx.bytes().len());
                body.extend_from_slice(rx.take(n));
                incoming.pace.arrived(now, n);
                incoming.part = Part::Bytes(left - n);
                if n > 0 {
                    return Next::Again;
                }
                Scan::Short
            }
            Part::Size | Part::End | Part::Trailer(_) => self.lines.find(rx, CHUNK_LINE_MAX),
        };
        let len = match wanted {
            Scan::Line(len) => len,
            Scan::Short if rx.ended() => return Next::Close(Why::Gone),
            Scan::Short if now >= incoming.pace.deadline() => return self.refuse(408, "the body took too long", tx),
            Scan::Short => return Next::Wait,
            Scan::Bare(_) | Scan::Long => return self.refuse(400, "this is no chunk", tx),
        };
        let line = &rx.take(len)[..len - 2];
        incoming.pace.arrived(now, len);
        incoming.part = match incoming.part {
            Part::Size => match chunk_size(line) {
                Some(0) => Part::Trailer(0),
                Some(size) if size > BODY_MAX - body.len() => return self.refuse(413, "the body is too large", tx),
                Some(size) => Part::Bytes(size),
                None => return self.refuse(400, "this is no chunk", tx),
            },
            Part::End if line.is_empty() => Part::Size,
            Part::Trailer(_) if line.is_empty() => return self.asked(),
            Part::Trailer(n) if n < TRAILERS_MAX => Part::Trailer(n + 1),
            _ => return self.refuse(400, "this is no chunk", tx),
        };
        Next::Again
    }

    /// The request is whole.
    fn asked(&mut self) -> Next {
        let Phase::Body(incoming) = core::mem::replace(&mut self.phase, Phase::Closing(Why::Fault)) else {
            unreachable!("the phase was looked at")
        };
        let Head { request, keep, chunks, .. } = incoming.head;
        self.phase = Phase::Asked(Saying { method: request.method, keep: keep && !self.stopping, chunks });
        Next::Ask(Ask::Request(request))
    }

    /// Says what is wrong and ends: what follows may be anything.
    fn refuse(&mut self, status: u16, why: &str, tx: &mut Outbox) -> Next {
        let saying = Saying { method: Method::Get, keep: false, chunks: false };
        self.say(Response::text(status, why), saying, tx);
        self.phase = Phase::Closing(if status == 408 { Why::Timeout } else { Why::Abuse });
        Next::Again
    }

    /// Prints a response, or the head of one that comes in pieces.
    fn say(&mut self, response: Response, saying: Saying, tx: &mut Outbox) {
        let Response { status, kind, body } = response;
        // `write!` to an outbox never fails. RFC 9110 §6.6.1: who has no clock says no date.
        let _ = write!(
            tx,
            "HTTP/1.1 {status} {}\r\nContent-Type: {kind}\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n",
            phrase(status)
        );
        match &body {
            Body::Whole(bytes) => drop(write!(tx, "Content-Length: {}\r\n", bytes.len())),
            Body::Pieces if saying.chunks => tx.put(b"Transfer-Encoding: chunked\r\n"),
            // The end of the connection is the end of the body.
            Body::Pieces => {}
        }
        if !saying.keep {
            tx.put(b"Connection: close\r\n");
        }
        tx.put(b"\r\n");
        match body {
            Body::Whole(bytes) if saying.method != Method::Head => tx.put(&bytes),
            Body::Pieces if saying.method != Method::Head => self.phase = Phase::Pieces(saying),
            Body::Whole(_) | Body::Pieces => {}
        }
    }

    /// A response is said: the next request may come.
    fn said(&mut self, now: Tick, keep: bool) {
        self.deadline = now.after(IDLE_MS);
        self.phase = if keep { Phase::Head { seen: 0, begun: false } } else { Phase::Closing(Why::Done) };
    }
}

impl Session for Server {
    type Ask = Ask;
    type Answer = Answer;

    fn step<'a>(&mut self, now: Tick, rx: &'a mut Inbox, tx: &mut Outbox) -> Step<'a, Ask> {
        loop {
            return match self.next(now, rx, tx) {
                Next::Again => continue,
                Next::Wait => Step::Read,
                Next::Flush => Step::Flush,
                Next::Ask(ask) => Step::Ask(ask),
                Next::Close(why) => Step::Close(why),
            };
        }
    }

    fn tell(&mut self, now: Tick, news: News<Answer>, tx: &mut Outbox) {
        match (news, &self.phase) {
            (News::Answer(Answer::Response(response)), Phase::Asked(saying)) => {
                let saying = *saying;
                let keep = saying.keep && (saying.chunks || response.body != Body::Pieces);
                self.said(now, keep);
                self.say(response, Saying { keep, ..saying }, tx);
            }
            (News::Answer(Answer::Piece(piece)), Phase::Pieces(saying)) => {
                let saying = *saying;
                if saying.chunks {
                    // An empty piece is the last chunk, and no field follows it (RFC 9112 §7.1).
                    let _ = write!(tx, "{:x}\r\n", piece.len());
                    tx.put(&piece);
                    tx.put(b"\r\n");
                } else {
                    tx.put(&piece);
                }
                if piece.is_empty() {
                    self.said(now, saying.keep);
                }
            }
            (News::Nudge(Nudge::Shutdown | Nudge::Leave), _) => self.stopping = true,
            (News::Nudge(Nudge::Changed | Nudge::Hurry), _) => {}
            (news, phase) => panic!("told {news:?} in {phase:?}"),
        }
    }

    fn deadline(&self) -> Option<Tick> {
        match &self.phase {
            Phase::Head { .. } => Some(self.deadline),
            Phase::Body(incoming) => Some(incoming.pace.deadline()),
            // The host takes the time it takes.
            Phase::Asked(_) | Phase::Pieces(_) | Phase::Closing(_) => None,
        }
    }
}

/// The size in the line before a chunk, its extensions unread.
fn chunk_size(line: &[u8]) -> Option<usize> {
    let digits = line.split(|b| *b == b';').next()?.trim_ascii_end();
    // More digits than any size within the limit has, but for zeros that nobody sends.
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    usize::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests;
