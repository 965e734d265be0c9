//! The bell of a connection: how others wake the task that waits for its peer.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU8, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker},
};
use wire::{Nudge, Ring};

const CHANGED: u8 = 1;
const SHUTDOWN: u8 = 2;
const HURRY: u8 = 8;
const LEAVE: u8 = 16;

/// What others ring.
#[derive(Default)]
pub struct Bell {
    state: AtomicU8,
    /// The peer was sent away, whether its session has heard of it or not.
    sent_away: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Bell {
    /// Ready if the peer was sent away: nobody waits for it any more. Else the task is woken when it is.
    pub fn poll_sent_away(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.wakes(cx);
        if self.sent_away.load(SeqCst) { Poll::Ready(()) } else { Poll::Pending }
    }

    /// What is looked at after this and changes later wakes the task.
    fn wakes(&self, cx: &mut Context<'_>) {
        let mut waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        if !waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
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
        // Who waits for a peer to read looks at nothing else, and may have left another nudge unheard.
        if self.state.fetch_or(bit, SeqCst) == 0 || nudge == Nudge::Leave {
            let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

/// The end of the bell that is heard: it belongs to the connection's task.
pub struct Ear {
    bell: Arc<Bell>,
}

/// Makes a bell.
pub fn bell() -> (Arc<Bell>, Ear) {
    let bell = Arc::<Bell>::default();
    (bell.clone(), Ear { bell })
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

    /// Ready if the bell was rung; else the task is woken when it is.
    pub fn poll_rung(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Looked at after the waker is in its place: a ring from here on finds it.
        self.bell.wakes(cx);
        if self.bell.state.load(SeqCst) == 0 { Poll::Pending } else { Poll::Ready(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::{block_on, poll_fn};
    use std::thread;

    #[test]
    fn a_ring_wakes_and_is_heard_once() {
        let (bell, mut ear) = bell();
        let ringer = thread::spawn(move || {
            for _ in 0..100_000 {
                bell.ring(Nudge::Changed);
            }
            bell.ring(Nudge::Shutdown);
        });
        let mut heard = Vec::new();
        while !heard.contains(&Nudge::Shutdown) {
            block_on(poll_fn(|cx| ear.poll_rung(cx)));
            heard.extend(std::iter::from_fn(|| ear.heard()));
        }
        ringer.join().unwrap();
        assert!(heard.contains(&Nudge::Changed));
        while ear.heard().is_some() {}
        assert!(block_on(futures_lite::future::poll_once(poll_fn(|cx| ear.poll_rung(cx)))).is_none());
    }
}
