//! RETR and TOP: a message streams through one buffer.

use super::{Next, Phase, Question, Server, State};
use crate::limits::{CHUNK, CHUNK_MIN};
use crate::stuffing::Stuffing;
use crate::{Ask, reply};
use alloc::vec::Vec;
use core::fmt::Write as _;
use wire::{Fault, Outbox, Why};

/// A message that is being printed.
#[derive(Debug)]
pub(super) struct Sending {
    index: u32,
    /// Its octets as they were listed.
    octets: u64,
    /// Where to go on.
    at: u64,
    /// What the lent buffer could hold.
    room: usize,
    stuffing: Stuffing,
    whole: bool,
}

impl Server {
    pub(super) fn retrieve(&mut self, number: u32, top: Option<u32>, tx: &mut Outbox) -> Next {
        let State::Transaction(maildrop) = &self.state else {
            unreachable!("nothing is retrieved before the login");
        };
        match maildrop.message(number) {
            Some((index, entry)) => {
                let octets = entry.span.wire;
                self.turn(Phase::Send(Sending { index, octets, at: 0, room: 0, stuffing: Stuffing::new(top), whole: top.is_none() }))
            }
            None => self.mistake(reply::NO_MESSAGE, tx),
        }
    }

    /// Asks for the next piece, unless what is printed should leave first: a slow client stops the reading.
    pub(super) fn send(&mut self, tx: &mut Outbox) -> Next {
        if tx.is_full() {
            return Next::Flush;
        }
        let Phase::Send(mut sending) = core::mem::replace(&mut self.phase, Phase::Command) else {
            unreachable!("only a message is sent");
        };
        let mut buf = core::mem::take(&mut self.spare);
        buf.clear();
        // One octet more than is left, so that the answer falls short and the end shows without another question.
        let wanted = sending.octets.saturating_sub(sending.at).saturating_add(1).clamp(CHUNK_MIN as u64, CHUNK as u64) as usize;
        if buf.capacity() < wanted {
            buf = Vec::with_capacity(wanted);
        }
        sending.room = buf.capacity();
        let (index, at) = (sending.index, sending.at);
        self.ask(Question::Read(sending), Ask::Read { index, at, buf })
    }

    pub(super) fn read(&mut self, mut sending: Sending, piece: Result<Vec<u8>, Fault>, tx: &mut Outbox) {
        let piece = match piece {
            Ok(piece) => piece,
            Err(fault) if sending.at == 0 => return reply::not_read(fault).put(tx),
            // Half a message is out. Whatever is said now would be taken for the rest of it.
            Err(_) => return self.phase = Phase::Closing(Why::Fault),
        };
        assert!(piece.len() <= sending.room, "more was read than was asked for");
        if sending.at == 0 {
            let _ = if sending.whole { write!(tx, "+OK {} octets\r\n", sending.octets) } else { write!(tx, "+OK\r\n") };
        }
        let more = sending.stuffing.put(&piece, tx) && piece.len() == sending.room;
        sending.at += piece.len() as u64;
        self.spare = piece;
        if more {
            self.phase = Phase::Send(sending);
        } else {
            sending.stuffing.end(tx);
        }
    }
}
