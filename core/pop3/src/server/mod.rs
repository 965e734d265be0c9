//! The server side of a session.

use crate::{Answer, Ask, Settings};
use core::fmt::Write as _;
use wire::{Inbox, Lines, News, Outbox, Scan, Session, Step, Tick, Why};

/// A session with a client.
#[derive(Debug)]
pub struct Server {
    settings: Settings,
    lines: Lines,
    greeted: bool,
    deadline: Tick,
}

impl Server {
    /// Greets at the first step.
    pub fn new(settings: Settings, now: Tick) -> Server {
        Server { settings, lines: Lines::new(), greeted: false, deadline: now.after(300_000) }
    }
}

impl Session for Server {
    type Ask = Ask;
    type Answer = Answer;

    fn step<'a>(&mut self, now: Tick, rx: &'a mut Inbox, tx: &mut Outbox) -> Step<'a, Ask> {
        if !self.greeted {
            self.greeted = true;
            let _ = write!(tx, "+OK {} POP3 Hikyaku\r\n", self.settings.hostname);
        }
        loop {
            match self.lines.find(rx, 2048) {
                Scan::Line(n) | Scan::Bare(n) => {
                    if rx.take(n).eq_ignore_ascii_case(b"QUIT\r\n") {
                        tx.put(b"+OK Bye\r\n");
                        return Step::Close(Why::Done);
                    }
                    tx.put(b"-ERR Not yet\r\n");
                }
                Scan::Long => return Step::Close(Why::Abuse),
                Scan::Short if rx.ended() => return Step::Close(Why::Gone),
                Scan::Short if now >= self.deadline => return Step::Close(Why::Timeout),
                Scan::Short => return Step::Read,
            }
        }
    }

    fn tell(&mut self, _: Tick, _: News<Answer>, _: &mut Outbox) {}

    fn deadline(&self) -> Option<Tick> {
        Some(self.deadline)
    }
}
