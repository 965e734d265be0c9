//! The loop that drives every session of every protocol. It decides nothing.

use crate::{bell::Ear, line::Line};
use blocking::unblock;
use futures_rustls::rustls::ServerConfig;
use std::{
    io,
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};
use wire::{Inbox, News, Outbox, Question, Session, Sink, Step, Tick, Want, Why};

/// Drives a session until it ends, and hangs up. `tls` gives the certificates of the moment.
pub async fn run<S, O>(
    mut session: Box<S>,
    mut office: Box<O>,
    mut line: Line,
    mut ear: Ear,
    mut rx: Inbox,
    mut tx: Outbox,
    tls: impl Fn() -> Option<Arc<ServerConfig>>,
) -> (Box<O>, Why)
where
    S: Session,
    S::Ask: Question<O, Answer = S::Answer> + Send + 'static,
    S::Answer: Send + 'static,
    O: Sink + Send + 'static,
{
    let end = loop {
        while let Some(nudge) = ear.heard() {
            session.tell(now(), News::Nudge(nudge), &mut tx);
        }
        let done = match session.step(now(), &mut rx, &mut tx) {
            Step::Read => line.wait(&mut rx, &mut tx, &mut ear, session.deadline()).await,
            Step::Flush => line.flush(&mut tx).await,
            Step::Body(bytes) => {
                office.body(bytes);
                if office.is_full() {
                    office = unblock(move || {
                        office.drain();
                        office
                    })
                    .await;
                }
                Ok(())
            }
            Step::Ask(ask) => {
                let answer;
                (office, answer) = put(ask, office).await;
                session.tell(now(), News::Answer(answer), &mut tx);
                Ok(())
            }
            Step::StartTls(Want::Accept) => {
                assert!(rx.is_empty(), "a session kept input across a handshake");
                let secured = line.secure(tls(), &mut tx).await;
                session.tell(now(), News::Secured(secured), &mut tx);
                Ok(())
            }
            Step::Close(why) => break line.flush(&mut tx).await.map(|()| why),
        };
        if let Err(e) = done {
            break Err(e);
        }
    };
    let why = match end {
        Ok(why) => {
            // A peer that said goodbye has nothing more to send, unless it sent it already.
            line.hang_up(why != Why::Done || !rx.is_empty()).await;
            why
        }
        Err(e) if e.kind() == io::ErrorKind::TimedOut => Why::Timeout,
        Err(_) => Why::Gone,
    };
    (office, why)
}

/// Asks where waiting is allowed, if the answer may have to wait.
async fn put<A, O>(ask: A, mut office: Box<O>) -> (Box<O>, A::Answer)
where
    A: Question<O> + Send + 'static,
    A::Answer: Send + 'static,
    O: Send + 'static,
{
    let waits = ask.waits();
    let answer = move || {
        let answer = ask.put_to(&mut office);
        (office, answer)
    };
    if waits { unblock(answer).await } else { answer() }
}

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The time that sessions know.
pub fn now() -> Tick {
    Tick(START.elapsed().as_millis() as u64)
}

/// The same moment as the system's clock says it.
pub fn instant(tick: Tick) -> Instant {
    // Farther than anybody waits, and still within what an `Instant` holds everywhere.
    *START + Duration::from_millis(tick.0.min(1 << 40))
}
