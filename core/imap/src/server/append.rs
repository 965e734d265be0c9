//! APPEND (RFC 3501 §6.3.11): the host is asked before the message is asked for, and the message streams by.

use super::{
    Mode, Server, Turn,
    desk::{NO_NAME, News, answer},
    swallow::Swallow,
};
use crate::{
    frame::Literal,
    limits,
    office::{Ask, Upload},
    reply::{Code, Reply, to_target},
    syntax,
};
use alloc::boxed::Box;
use wire::{Inbox, Outbox, Pace, Tick, Why};

/// A message that is being appended.
#[derive(Debug)]
pub(super) struct Receipt {
    tag: Box<[u8]>,
    literal: Literal,
    phase: Phase,
    pace: Option<Pace>,
}

#[derive(Debug)]
enum Phase {
    Ask(Option<Upload>),
    /// So many octets are still to come.
    Body(u64),
    /// The line end behind the message is to come.
    End,
    Commit,
    /// Something else stood there.
    Abandon,
}

const TRAILING: Reply = Reply::bad("One message, and then the line ends.");

impl Receipt {
    pub fn deadline(&self) -> Option<Tick> {
        self.pace.map(|pace| pace.deadline())
    }
}

impl Server {
    /// An APPEND has announced its message.
    pub(super) fn receive(&mut self, now: Tick, so_far: &[u8], literal: Literal, tx: &mut Outbox) {
        let tag: Box<[u8]> = syntax::tag_of(so_far).unwrap_or(b"*").into();
        let Some(append) = syntax::append_of(so_far) else { unreachable!("it was seen") };
        let upload = match self.desk.naming().read(&append.mailbox) {
            None => Err(NO_NAME),
            // There is no message without a header, and a client that gave up in the middle must not leave one (RFC 3502 §6.3.11).
            Some(_) if literal.size == 0 => Err(Reply::no("CANNOT", "The message is empty.")),
            Some(_) if literal.size > self.desk.settings.append_max => Err(Reply::no("TOOBIG", "The message is too large.")),
            Some(mailbox) => Ok(Upload { mailbox, flags: append.flags, date: append.date, size: literal.size }),
        };
        match upload {
            Ok(upload) => self.mode = Mode::Receipt(Box::new(Receipt { tag, literal, phase: Phase::Ask(Some(upload)), pace: None })),
            Err(reply) => self.refuse(now, tag, literal, reply, tx),
        }
    }

    /// The message is not taken: it is not asked for, or if it comes anyway, it is dropped.
    fn refuse(&mut self, now: Tick, tag: Box<[u8]>, literal: Literal, reply: Reply, tx: &mut Outbox) {
        if literal.waits {
            self.finish(now, tag, reply, News::All, tx);
        } else {
            self.mode = Mode::Swallow(Box::new(Swallow::message(tag, reply, literal.size)));
        }
    }

    pub(super) fn receipt(&mut self, now: Tick, rx: &mut Inbox, tx: &mut Outbox) -> Turn {
        let Mode::Receipt(receipt) = &mut self.mode else { unreachable!("it was seen") };
        match &mut receipt.phase {
            Phase::Ask(upload) => {
                if let Some(upload) = upload.take() {
                    return Turn::Ask(Ask::Append(upload));
                }
                match answer!(self.answer.take(), Append) {
                    Ok(()) => {
                        if receipt.literal.waits {
                            tx.put(b"+ OK\r\n");
                        }
                        receipt.phase = Phase::Body(receipt.literal.size);
                        receipt.pace = Some(Pace::new(now, limits::APPEND_GRACE_MS, limits::APPEND_RATE));
                    }
                    Err(refusal) => {
                        let (tag, literal) = (core::mem::take(&mut receipt.tag), receipt.literal);
                        self.refuse(now, tag, literal, to_target(refusal), tx);
                    }
                }
                Turn::Go
            }
            Phase::Body(0) => {
                receipt.phase = Phase::End;
                Turn::Go
            }
            Phase::Body(left) => {
                let n = rx.bytes().len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                if n == 0 {
                    return self.wait(now, rx, tx);
                }
                *left -= n as u64;
                if let Some(pace) = &mut receipt.pace {
                    pace.arrived(now, n);
                }
                Turn::Body(n)
            }
            Phase::End => {
                let end = match rx.bytes() {
                    [] | [b'\r'] => return self.wait(now, rx, tx),
                    [b'\r', b'\n', ..] => 2,
                    [b'\n', ..] => 1,
                    _ => {
                        receipt.phase = Phase::Abandon;
                        return Turn::Ask(Ask::Abandon);
                    }
                };
                rx.take(end);
                receipt.pace = None;
                receipt.phase = Phase::Commit;
                Turn::Ask(Ask::Commit)
            }
            Phase::Commit => {
                let tag = core::mem::take(&mut receipt.tag);
                let reply = match answer!(self.answer.take(), Commit) {
                    Ok((uid_validity, uid)) => Reply::ok("Appended.").with(Code::AppendUid(uid_validity, uid)),
                    Err(refusal) => to_target(refusal),
                };
                self.finish(now, tag, reply, News::All, tx);
                Turn::Go
            }
            Phase::Abandon => {
                let tag = core::mem::take(&mut receipt.tag);
                self.hear();
                self.mode = Mode::Swallow(Box::new(Swallow::line(tag, TRAILING)));
                Turn::Go
            }
        }
    }

    /// The host has heard what was said.
    pub(super) fn hear(&mut self) {
        match self.answer.take() {
            Some(crate::office::Answer::Heard) => {}
            other => panic!("the answer must be Heard, not {other:?}"),
        }
    }

    /// The host stops.
    pub(super) fn stop(&mut self, tx: &mut Outbox) -> Turn {
        self.bye(tx, "The server stops.", Why::Shutdown)
    }
}
