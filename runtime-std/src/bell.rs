//! The bell of a connection: how other threads wake the one that waits for its peer.

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use std::{
    cell::RefCell,
    io::{self, PipeReader, PipeWriter, Read as _, Write as _},
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering::SeqCst},
    },
};
use wire::{Nudge, Ring};

const CHANGED: u8 = 1;
const SHUTDOWN: u8 = 2;
const HURRY: u8 = 8;
const LEAVE: u8 = 16;
/// The thread waits, or is about to: the next ring has to write to the pipe.
const WAITING: u8 = 4;
/// How often a ring is tried.
const RINGS: u32 = 3;

/// What others ring.
///
/// The pipe gets a byte only while the thread waits, so it never fills up and a ring never blocks.
pub struct Bell {
    state: AtomicU8,
    /// The peer was sent away, whether its session has heard of it or not.
    sent_away: AtomicBool,
    pipe: Arc<PipeWriter>,
}

impl Bell {
    /// Whether the peer was sent away: nobody waits for it any more.
    pub fn is_sent_away(&self) -> bool {
        self.sent_away.load(SeqCst)
    }
}

impl Ring for Bell {
    fn ring(&self, nudge: Nudge) {
        let bit = match nudge {
            Nudge::Changed => CHANGED,
            Nudge::Shutdown => SHUTDOWN,
            Nudge::Hurry => HURRY,
            Nudge::Leave => LEAVE,
        };
        if nudge == Nudge::Leave {
            self.sent_away.store(true, SeqCst);
        }
        if self.state.fetch_or(bit, SeqCst) == WAITING {
            // Nobody writes again until this is heard, so one that fails is tried again. In the end it fails only if the other end is gone, and then
            // nobody is left to be woken.
            let _ = (0..RINGS).find(|_| (&*self.pipe).write(&[0]).is_ok());
        }
    }
}

/// The end of the bell that is heard: it belongs to the connection's thread.
pub struct Ear {
    bell: Arc<Bell>,
    pipe: Arc<PipeReader>,
}

type Pipe = (Arc<PipeReader>, Arc<PipeWriter>);

thread_local! {
    /// One pipe for all connections that a thread attends to, one after the other. The bell of one that is over is never waited for again,
    /// so it writes nothing; a byte that comes late wakes the next once for nothing.
    static PIPE: RefCell<Option<Pipe>> = const { RefCell::new(None) };
}

/// Makes a bell for a connection of this thread.
pub fn bell() -> io::Result<(Arc<Bell>, Ear)> {
    let (reader, writer) = PIPE.with_borrow_mut(|pipe| match pipe {
        Some(pipe) => Ok(pipe.clone()),
        None => io::pipe().map(|(reader, writer)| pipe.insert((reader.into(), writer.into())).clone()),
    })?;
    let bell = Arc::new(Bell { state: AtomicU8::new(0), sent_away: AtomicBool::new(false), pipe: writer });
    Ok((bell.clone(), Ear { bell, pipe: reader }))
}

impl Ear {
    /// What was rung since the last call, one by one.
    pub fn heard(&self) -> Option<Nudge> {
        let rung = self.bell.state.load(SeqCst);
        let (bit, nudge) = match rung {
            0 => return None,
            _ if rung & SHUTDOWN != 0 => (SHUTDOWN, Nudge::Shutdown),
            _ if rung & LEAVE != 0 => (LEAVE, Nudge::Leave),
            _ if rung & HURRY != 0 => (HURRY, Nudge::Hurry),
            _ => (CHANGED, Nudge::Changed),
        };
        self.bell.state.fetch_and(!bit, SeqCst);
        Some(nudge)
    }

    /// Waits until one of `events` happens to `socket` (or it fails), the bell rings or `timeout_ms` have passed. Says whether it was the socket.
    pub fn wait(&mut self, socket: impl AsFd, events: PollFlags, timeout_ms: Option<u64>) -> io::Result<bool> {
        if self.bell.state.fetch_or(WAITING, SeqCst) != 0 {
            self.bell.state.fetch_and(!WAITING, SeqCst);
            return Ok(false);
        }
        let mut fds = [PollFd::new(&socket, events), PollFd::new(&self.pipe, PollFlags::IN)];
        let polled = poll(&mut fds, timeout_ms.map(timespec).as_ref());
        let [happened, rung] = fds.map(|fd| !fd.revents().is_empty());
        self.bell.state.fetch_and(!WAITING, SeqCst);
        match polled {
            Err(Errno::INTR) => return Ok(false),
            polled => polled?,
        };
        if rung {
            let _ = (&*self.pipe).read(&mut [0; 64])?;
        }
        Ok(happened)
    }
}

/// Waits until one of `events` happens to `fd` (or it fails); false if `timeout_ms` passed first.
pub fn wait_for(fd: impl AsFd, events: PollFlags, timeout_ms: u64) -> io::Result<bool> {
    match poll(&mut [PollFd::new(&fd, events)], Some(&timespec(timeout_ms))) {
        Ok(0) => Ok(false),
        Ok(_) | Err(Errno::INTR) => Ok(true),
        Err(e) => Err(e.into()),
    }
}

fn timespec(ms: u64) -> Timespec {
    // Longer than anybody waits, and still fit for systems that count milliseconds in an int.
    let ms = ms.min(i32::MAX as u64) as i64;
    Timespec { tv_sec: ms / 1000, tv_nsec: (ms % 1000 * 1_000_000) as _ }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{thread, time::Instant};

    #[test]
    fn a_ring_wakes_and_is_heard_once() {
        let (bell, mut ear) = bell().unwrap();
        let (quiet, _other) = io::pipe().unwrap();
        let began = Instant::now();
        let ringer = thread::spawn({
            let bell = bell.clone();
            move || {
                for _ in 0..100_000 {
                    bell.ring(Nudge::Changed);
                }
                bell.ring(Nudge::Shutdown);
            }
        });
        let mut heard = Vec::new();
        while !heard.contains(&Nudge::Shutdown) {
            assert!(!ear.wait(&quiet, PollFlags::IN, Some(10_000)).unwrap());
            heard.extend(std::iter::from_fn(|| ear.heard()));
        }
        ringer.join().unwrap();
        assert!(began.elapsed().as_secs() < 9 && heard.contains(&Nudge::Changed));
        while ear.heard().is_some() {}
        // A byte that came late wakes once more at most; then there is silence.
        let _ = ear.wait(&quiet, PollFlags::IN, Some(1));
        let began = Instant::now();
        assert!(!ear.wait(&quiet, PollFlags::IN, Some(20)).unwrap());
        assert!(began.elapsed().as_millis() >= 20);
    }

    #[test]
    fn a_socket_wakes() {
        let (_bell, mut ear) = bell().unwrap();
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"x").unwrap();
        assert!(ear.wait(&reader, PollFlags::IN, None).unwrap());
    }
}
