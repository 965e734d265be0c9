//! The content on its way: dots are stuffed (RFC 5321 §4.5.2), or chunks announced (RFC 3030).

use super::limits::{CHUNKS_MAX, RATE_MIN};
use super::{BLOCK_MS, Client, FINAL_MS, Next, Phase, Question, envelope::fate};
use alloc::{format, vec::Vec};
use wire::{Inbox, Outbox, Tick, Why};

/// Where in its lines a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Stuffing {
    /// At the beginning of a line.
    #[default]
    Begin,
    /// Within a line.
    Within,
    /// After a carriage return.
    Return,
}

impl Stuffing {
    /// Prints octets, with a dot before each line that begins with one.
    fn put(&mut self, bytes: &[u8], tx: &mut Outbox) {
        let mut from = 0;
        if *self == Stuffing::Begin && bytes.first() == Some(&b'.') {
            tx.put(b".");
        }
        for dot in memchr::memchr_iter(b'.', bytes) {
            let after_line = match dot {
                0 => false,
                1 => bytes[0] == b'\n' && *self == Stuffing::Return,
                _ => bytes[dot - 2..dot] == *b"\r\n",
            };
            if after_line {
                tx.put(&bytes[from..dot]);
                tx.put(b".");
                from = dot;
            }
        }
        tx.put(&bytes[from..]);
        *self = match bytes {
            [.., b'\r', b'\n'] => Stuffing::Begin,
            [b'\n'] if *self == Stuffing::Return => Stuffing::Begin,
            [.., b'\r'] => Stuffing::Return,
            [] => *self,
            _ => Stuffing::Within,
        };
    }
}

impl Client {
    /// Goes on to the content.
    pub(super) fn begin_content(&mut self, now: Tick) -> Next {
        let transaction = self.transaction.as_mut().expect("a job is in hand");
        transaction.content_by = now.after((transaction.size / RATE_MIN).saturating_mul(1000).saturating_add(BLOCK_MS));
        self.deadline = now.after(BLOCK_MS);
        self.turn(Phase::Content)
    }

    /// Asks for more of the content.
    pub(super) fn content(&mut self, now: Tick, rx: &mut Inbox, tx: &Outbox) -> Next {
        if rx.ended() {
            return self.cut_short(rx);
        }
        if tx.is_full() {
            return Next::Flush;
        }
        if self.transaction.as_ref().is_some_and(|transaction| now >= transaction.content_by) {
            return self.late();
        }
        let ask = self.read_ask();
        self.ask(Question::Read, ask)
    }

    /// The server hung up on the content. What it said before that says why; that it has taken the message is not believed.
    fn cut_short(&mut self, rx: &mut Inbox) -> Next {
        let reply = loop {
            match self.replies.next(rx, |_, _| {}) {
                Ok(Some(reply)) if reply.is_good() => {}
                Ok(Some(reply)) => break reply,
                Ok(None) => return self.lost(),
                Err(garbage) => return self.garbage(garbage),
            }
        };
        self.leaving = Some(Why::Gone);
        let transaction = self.transaction.as_mut().expect("a job is in hand");
        transaction.settle_rest(&reply, fate(&reply), true);
        self.turn(Phase::Report)
    }

    /// Sends what was read.
    pub(super) fn read(&mut self, now: Tick, buffer: Vec<u8>, n: usize, tx: &mut Outbox) {
        let transaction = self.transaction.as_mut().expect("a job is in hand");
        let bytes = &buffer[..n];
        (self.phase, self.deadline) = match (transaction.chunks, n) {
            (true, 0) => {
                tx.put(b"BDAT 0 LAST\r\n");
                (Phase::Final, now.after(FINAL_MS))
            }
            (true, _) => {
                tx.put(format!("BDAT {n}\r\n").as_bytes());
                tx.put(bytes);
                transaction.chunks_unanswered += 1;
                // How many go ahead is counted, not seen from what has arrived: that would depend on how the input is cut.
                let ahead = if self.offer.pipelining { CHUNKS_MAX } else { 1 };
                (if transaction.chunks_unanswered < ahead { Phase::Content } else { Phase::Chunk }, now.after(BLOCK_MS))
            }
            (false, 0) => {
                // The dot has to stand on a line of its own, whatever the last one lacks.
                tx.put(if transaction.stuffing == Stuffing::Begin { b".\r\n" } else { b"\r\n.\r\n" });
                (Phase::Final, now.after(FINAL_MS))
            }
            (false, _) => {
                transaction.stuffing.put(bytes, tx);
                (Phase::Content, now.after(BLOCK_MS))
            }
        };
        self.buffer = buffer;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_are_stuffed_however_the_content_is_cut() {
        let content = b".\r\n..a\r\nb.\r\n\r\n.c\n.d\r.e\r\n.";
        for cut in 1..=content.len() {
            let (mut tx, mut stuffing) = (Outbox::new(1024), Stuffing::default());
            content.chunks(cut).for_each(|chunk| stuffing.put(chunk, &mut tx));
            assert_eq!(tx.bytes(), b"..\r\n...a\r\nb.\r\n\r\n..c\n.d\r.e\r\n..", "cut into {cut}");
        }
    }
}
