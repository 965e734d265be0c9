//! The loop that drives every session of every protocol. It decides nothing.

use crate::{bell::Ear, line::Line};
use std::io;
use storage::{clock::now, tls::Keys};
use wire::{Inbox, News, Outbox, Question, Session, Sink, Step, Why};

/// Drives a session until it ends, and hangs up. `keys` are for its handshakes.
pub fn run<S, O>(session: &mut S, office: &mut O, mut line: Line, ear: &mut Ear, mut rx: Inbox, mut tx: Outbox, keys: &Keys) -> Why
where
    S: Session,
    S::Ask: Question<O, Answer = S::Answer>,
    O: Sink,
{
    let end = loop {
        while let Some(nudge) = ear.heard() {
            session.tell(now(), News::Nudge(nudge), &mut tx);
        }
        let done = match session.step(now(), &mut rx, &mut tx) {
            Step::Read => line.wait(&mut rx, &mut tx, ear, session.deadline()),
            Step::Flush => line.flush(&mut tx),
            Step::Body(bytes) => {
                office.body(bytes);
                if office.is_full() {
                    office.drain();
                }
                Ok(())
            }
            Step::Ask(ask) => {
                let answer = ask.put_to(office);
                session.tell(now(), News::Answer(answer), &mut tx);
                Ok(())
            }
            Step::StartTls(want) => {
                assert!(rx.is_empty(), "a session kept input across a handshake");
                let secured = keys.handshake(&want).and_then(|handshake| line.secure(handshake, &mut tx));
                keys.shook(&want, secured.as_ref().map_err(|e| &**e));
                session.tell(now(), News::Secured(secured), &mut tx);
                Ok(())
            }
            Step::Close(why) => break line.flush(&mut tx).map(|()| why),
        };
        if let Err(e) = done
            && !line.hear_out(&mut rx, &mut tx)
        {
            break Err(e);
        }
    };
    match end {
        Ok(why) => {
            // A peer that said goodbye has nothing more to send, unless it sent it already.
            line.hang_up(why != Why::Done || !rx.is_empty());
            why
        }
        Err(e) if e.kind() == io::ErrorKind::TimedOut => Why::Timeout,
        Err(_) => Why::Gone,
    }
}
