//! The loop that drives every session of every protocol. It decides nothing.

use crate::{bell::Ear, line::Line};
use blocking::unblock;
use std::io;
use storage::{clock::now, tls::Keys};
use wire::{Inbox, News, Outbox, Question, Session, Sink, Step, Want, Why};

/// A session, who answers it, and what lies between it and its peer. In one box: it goes to where waiting is allowed and comes back.
pub struct Desk<S, O> {
    /// Who decides.
    pub session: S,
    /// Who answers.
    pub office: O,
    /// What came.
    pub rx: Inbox,
    /// What goes.
    pub tx: Outbox,
    /// Who else has something to say.
    pub ear: Ear,
}

/// How many questions in a row are answered on one visit to where waiting is allowed. Then others get their turn: a search through all messages of
/// a large mailbox asks for minutes, and a few dozen of them would keep everybody's mail from the disk.
const QUESTIONS: u32 = 64;

/// What a desk cannot do by itself.
enum Next<A> {
    /// The answer may have to wait.
    Ask(A),
    /// The sink is full, and to empty it may have to wait.
    Drain,
    Read,
    Flush,
    StartTls(Want),
    Close(Why),
}

/// Drives a session until it ends, and hangs up. `keys` are for its handshakes.
pub async fn run<S, O>(mut desk: Box<Desk<S, O>>, mut line: Line, keys: &Keys) -> (Box<Desk<S, O>>, Why)
where
    S: Session + Send + 'static,
    S::Ask: Question<O, Answer = S::Answer> + Send + 'static,
    O: Sink + Send + 'static,
{
    let mut next = desk.work(0);
    let end = loop {
        let done = match next {
            Next::Ask(_) | Next::Drain => {
                // What follows is done over there as well, up to the next word with the peer: the way there and back is what costs.
                (desk, next) = unblock(move || {
                    desk.wait(next);
                    let next = desk.work(QUESTIONS);
                    (desk, next)
                })
                .await;
                continue;
            }
            Next::Read => line.wait(&mut desk.rx, &mut desk.tx, &mut desk.ear, desk.session.deadline()).await,
            Next::Flush => line.flush(&mut desk.tx).await,
            Next::StartTls(want) => {
                assert!(desk.rx.is_empty(), "a session kept input across a handshake");
                let secured = match keys.handshake(&want) {
                    Ok(handshake) => line.secure(handshake, &mut desk.tx).await,
                    Err(error) => Err(error),
                };
                keys.shook(&want, secured.as_ref().map_err(|e| &**e));
                desk.session.tell(now(), News::Secured(secured), &mut desk.tx);
                Ok(())
            }
            Next::Close(why) => break line.flush(&mut desk.tx).await.map(|()| why),
        };
        if let Err(e) = done
            && !line.hear_out(&mut desk.rx, &mut desk.tx).await
        {
            break Err(e);
        }
        next = desk.work(0);
    };
    let why = match end {
        Ok(why) => {
            // A peer that said goodbye has nothing more to send, unless it sent it already.
            line.hang_up(why != Why::Done || !desk.rx.is_empty()).await;
            why
        }
        Err(e) if e.kind() == io::ErrorKind::TimedOut => Why::Timeout,
        Err(_) => Why::Gone,
    };
    (desk, why)
}

impl<S, O> Desk<S, O>
where
    S: Session,
    S::Ask: Question<O, Answer = S::Answer>,
    O: Sink,
{
    /// Goes on without the peer as far as possible; it may have to wait so many times.
    fn work(&mut self, mut waits: u32) -> Next<S::Ask> {
        loop {
            while let Some(nudge) = self.ear.heard() {
                self.session.tell(now(), News::Nudge(nudge), &mut self.tx);
            }
            let next = match self.session.step(now(), &mut self.rx, &mut self.tx) {
                Step::Body(bytes) => {
                    self.office.body(bytes);
                    if !self.office.is_full() {
                        continue;
                    }
                    Next::Drain
                }
                Step::Ask(ask) if ask.waits() => Next::Ask(ask),
                Step::Ask(ask) => {
                    self.wait(Next::Ask(ask));
                    continue;
                }
                Step::Read => return Next::Read,
                Step::Flush => return Next::Flush,
                Step::StartTls(want) => return Next::StartTls(want),
                Step::Close(why) => return Next::Close(why),
            };
            let Some(left) = waits.checked_sub(1) else { return next };
            waits = left;
            self.wait(next);
        }
    }

    /// Does what may have to wait.
    fn wait(&mut self, next: Next<S::Ask>) {
        match next {
            Next::Ask(ask) => {
                let answer = ask.put_to(&mut self.office);
                self.session.tell(now(), News::Answer(answer), &mut self.tx);
            }
            Next::Drain => self.office.drain(),
            Next::Read | Next::Flush | Next::StartTls(_) | Next::Close(_) => unreachable!("this is between the line and its peer"),
        }
    }
}
