//! IDLE (RFC 2177): news as it comes.
//!
//! An idling client is not logged out: that it is still there is found out by telling it from time to time that the server is.

use super::{
    Mode, Server, Turn,
    desk::{News, answer},
    swallow::Swallow,
};
use crate::{frame::strip_line_end, limits, office::Ask, reply::Reply};
use alloc::boxed::Box;
use wire::{Inbox, Lines, Outbox, Scan, Tick};

/// IDLE while it goes on.
#[derive(Debug)]
pub(super) struct Idle {
    tag: Box<[u8]>,
    phase: Phase,
    lines: Lines,
    /// When to say that the server is still here.
    next: Tick,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The bell is to be hung up.
    Begin,
    /// That was asked for.
    Watching,
    /// Changes were asked for.
    Syncing,
    /// Until something happens.
    Quiet,
    /// The bell is taken down.
    Leaving { good: bool },
}

const NO_DONE: Reply = Reply::bad("DONE was expected.");

impl Idle {
    pub fn new(now: Tick, tag: &[u8]) -> Idle {
        Idle { tag: tag.into(), phase: Phase::Begin, lines: Lines::new(), next: now.after(limits::STILL_HERE_MS) }
    }

    pub fn deadline(&self) -> Tick {
        self.next
    }
}

impl Server {
    pub(super) fn idle(&mut self, now: Tick, rx: &mut Inbox, tx: &mut Outbox) -> Turn {
        let selected = self.desk.view.is_some();
        let Mode::Idle(idle) = &mut self.mode else { unreachable!("it was seen") };
        match idle.phase {
            Phase::Begin if selected => {
                idle.phase = Phase::Watching;
                return Turn::Ask(Ask::Watch(true));
            }
            Phase::Begin => {
                idle.phase = Phase::Quiet;
                tx.put(IDLING);
            }
            Phase::Watching => {
                self.hear();
                tx.put(IDLING);
                // What changed before the bell was hung up did not ring it.
                self.changed = true;
                self.enter(Phase::Quiet);
            }
            Phase::Syncing => {
                let changes = answer!(self.answer.take(), Sync);
                if self.take_in(changes, true, tx) {
                    self.enter(Phase::Quiet);
                }
            }
            Phase::Quiet => return self.rest(now, rx, tx, selected),
            Phase::Leaving { good } => {
                if selected {
                    self.hear();
                }
                self.leave(now, good, tx);
            }
        }
        Turn::Go
    }

    fn rest(&mut self, now: Tick, rx: &mut Inbox, tx: &mut Outbox, selected: bool) -> Turn {
        let Mode::Idle(idle) = &mut self.mode else { unreachable!("it was seen") };
        if selected && self.changed {
            self.changed = false;
            idle.phase = Phase::Syncing;
            return Turn::Ask(Ask::Sync);
        }
        match idle.lines.find(rx, limits::FRAME_BEFORE_LOGIN) {
            Scan::Line(n) | Scan::Bare(n) => {
                let good = strip_line_end(rx.take(n)).eq_ignore_ascii_case(b"DONE");
                idle.phase = Phase::Leaving { good };
                if selected { Turn::Ask(Ask::Watch(false)) } else { Turn::Go }
            }
            Scan::Long => {
                let tag = core::mem::take(&mut idle.tag);
                self.mode = Mode::Swallow(Box::new(Swallow::line(tag, NO_DONE)));
                Turn::Go
            }
            Scan::Short if self.shutdown => self.stop(tx),
            Scan::Short if idle.next <= now && !rx.ended() => {
                idle.next = now.after(limits::STILL_HERE_MS);
                tx.put(b"* OK Still here.\r\n");
                Turn::Go
            }
            Scan::Short => self.wait(now, rx, tx),
        }
    }

    fn enter(&mut self, phase: Phase) {
        if let Mode::Idle(idle) = &mut self.mode {
            idle.phase = phase;
        }
    }

    fn leave(&mut self, now: Tick, good: bool, tx: &mut Outbox) {
        if let Mode::Idle(idle) = core::mem::replace(&mut self.mode, Mode::Listen) {
            let reply = if good { Reply::ok("Done.") } else { NO_DONE };
            self.finish(now, idle.tag, reply, News::All, tx);
        }
    }
}

const IDLING: &[u8] = b"+ idling\r\n";
