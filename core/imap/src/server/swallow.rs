//! Reading a refused command to its end, so that the next one can be understood.

use super::{Mode, Server, Turn, desk::News};
use crate::{frame::announced_anyhow, limits, reply::Reply};
use alloc::boxed::Box;
use memchr::memchr;
use wire::{Inbox, Outbox, Pace, Tick, Why};

/// How much of a line is kept to see what its end announces: more than `{9223372036854775807+}` CRLF.
const TAIL: usize = 32;

/// A command that is being dropped.
#[derive(Debug)]
pub(super) struct Swallow {
    tag: Box<[u8]>,
    reply: Reply,
    /// Octets of the current literal that are still to come.
    left: u64,
    /// Octets that were dropped on top of what was granted.
    dropped: u64,
    pace: Option<Pace>,
    /// Whether `left` is the message of an APPEND, which may be long.
    message: bool,
}

impl Swallow {
    /// In the midst of a line.
    pub fn line(tag: Box<[u8]>, reply: Reply) -> Swallow {
        Swallow::literal(tag, reply, 0)
    }

    /// At a literal that the client did not wait for.
    pub fn literal(tag: Box<[u8]>, reply: Reply, size: u64) -> Swallow {
        Swallow { tag, reply, left: size, dropped: 0, pace: None, message: false }
    }

    /// At the message of an APPEND.
    pub fn message(tag: Box<[u8]>, reply: Reply, size: u64) -> Swallow {
        Swallow { message: true, ..Swallow::literal(tag, reply, size) }
    }

    pub fn deadline(&self) -> Option<Tick> {
        self.pace.map(|pace| pace.deadline())
    }
}

impl Server {
    pub(super) fn swallow(&mut self, now: Tick, rx: &mut Inbox, tx: &mut Outbox) -> Turn {
        let Mode::Swallow(swallow) = &mut self.mode else { unreachable!("it was seen") };
        let pace = swallow.pace.get_or_insert_with(|| Pace::new(now, limits::APPEND_GRACE_MS, limits::APPEND_RATE));
        let there = rx.bytes().len();
        if swallow.left > 0 {
            let n = there.min(usize::try_from(swallow.left).unwrap_or(usize::MAX));
            swallow.left -= n as u64;
            if !swallow.message {
                swallow.dropped += n as u64;
            }
            if swallow.dropped > limits::SWALLOW {
                return self.bye(tx, "That is too much.", Why::Abuse);
            }
            pace.arrived(now, n);
            rx.take(n);
            return if n > 0 { Turn::Go } else { self.wait(now, rx, tx) };
        }
        swallow.message = false;
        match memchr(b'\n', rx.bytes()) {
            Some(at) => {
                let literal = announced_anyhow(rx.take(at + 1));
                match literal {
                    Some(literal) if !literal.waits => swallow.left = literal.size,
                    _ => {
                        let Mode::Swallow(swallow) = core::mem::replace(&mut self.mode, Mode::Listen) else { unreachable!("it was seen") };
                        self.finish(now, swallow.tag, swallow.reply, News::All, tx);
                    }
                }
                Turn::Go
            }
            None if there > 2 * TAIL => {
                let n = there - TAIL;
                swallow.dropped += n as u64;
                if swallow.dropped > limits::SWALLOW {
                    return self.bye(tx, "That is too much.", Why::Abuse);
                }
                pace.arrived(now, n);
                rx.take(n);
                Turn::Go
            }
            None => self.wait(now, rx, tx),
        }
    }
}
