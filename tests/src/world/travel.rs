//! What leaves a house: a client session that dials, speaks and ends, as a runtime would carry it.

use super::{
    Act, Life, Stage,
    net::{Actor, End},
    talk::{Came, Socket, Talk},
};
use crate::disk::Crashing;
use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};
use storage::{
    office::guests::Away,
    outgoing::{Dial, Transport, Traveller},
};
use wire::{Nudge, Question, Ring, Session, Why};

/// A trip.
pub struct Travel<S, O> {
    host: Option<usize>,
    disk: Option<Crashing>,
    talk: Option<Talk<S, O>>,
    end: Option<End>,
    /// The place among those who are away; free again when this is dropped.
    _place: Option<Away>,
}

/// Where a trip begins.
pub struct Start {
    /// The house, if it is one's.
    pub host: Option<usize>,
    /// Its disk.
    pub disk: Option<Crashing>,
    /// Our address.
    pub from: IpAddr,
    /// Whom to ring to nudge the session.
    pub bell: Arc<dyn Ring>,
    /// What is held meanwhile.
    pub place: Option<Away>,
    /// Bytes of input that the session needs room for.
    pub inbox: usize,
    /// Bytes of output from which on they should be flushed.
    pub mark: usize,
}

impl<S, O> Travel<S, O>
where
    S: Session,
    S::Ask: Question<O, Answer = S::Answer>,
    O: Traveller<Session = S>,
{
    /// Sets out.
    pub fn new(me: Actor, dial: &Dial, session: S, mut office: O, start: Start, stage: &mut Stage) -> Self {
        office.bell(start.bell);
        let socket = match dial.transport {
            Transport::Udp => {
                let from = SocketAddr::new(start.from, stage.net.port());
                stage.net.bind(from, me);
                stage.net.wake(me, stage.net.now);
                Socket::Datagrams { from, to: dial.to }
            }
            Transport::Tcp => {
                stage.net.dial(me, start.from, dial.to, dial.timeout_ms);
                Socket::Dialling
            }
        };
        let talk = Some(Talk::new(session, office, socket, start.inbox, start.mark));
        Travel { host: start.host, disk: start.disk, talk, end: None, _place: start.place }
    }

    fn over(&mut self, why: Why, stage: &mut Stage) -> Life {
        let talk = self.talk.take().expect("it ends once");
        stage.net.tape.note(&[60], || format!("house {:?}: {:?} ends: {}", self.host, talk.socket, why.word()));
        if let (Why::Timeout, Some(end)) = (why, self.end) {
            stage.net.blame(end.conn);
        }
        talk.close(&mut stage.net);
        let (session, office) = talk.part();
        office.closed(session, why);
        Life::Ends
    }
}

impl<S, O> Act for Travel<S, O>
where
    S: Session,
    S::Ask: Question<O, Answer = S::Answer>,
    O: Traveller<Session = S>,
{
    fn act(&mut self, me: Actor, stage: &mut Stage) -> Life {
        let Some(talk) = &mut self.talk else { return Life::Ends };
        if matches!(talk.socket, Socket::Dialling) {
            // There is nobody yet to whom a change would mean anything.
            let stop = std::mem::take(&mut talk.nudges).contains(&Nudge::Shutdown);
            return if stop { self.over(Why::Shutdown, stage) } else { Life::Goes };
        }
        let disk = &self.disk;
        match talk.run(&mut stage.net, &|| disk.as_ref().is_none_or(|disk| !disk.is_stopped()), &mut ()) {
            Came::Waits(until) => {
                let until = until.expect("a client always has a deadline");
                stage.net.wake(me, until.0);
                Life::Goes
            }
            Came::Ended(why) => self.over(why, stage),
            Came::Dark => Life::Ends,
        }
    }

    fn dialled(&mut self, me: Actor, stage: &mut Stage, result: Result<End, io::ErrorKind>) -> Life {
        match result {
            Ok(end) => {
                self.end = Some(end);
                self.talk.as_mut().expect("it has not ended").socket = Socket::Stream(end);
                self.act(me, stage)
            }
            Err(kind) => {
                let talk = self.talk.take().expect("it ends once");
                stage.net.tape.note(&[61], || format!("house {:?}: not connected: {kind}", self.host));
                let (session, office) = talk.part();
                office.unreachable(session, &kind.into());
                Life::Ends
            }
        }
    }

    fn datagram(&mut self, bytes: Vec<u8>) {
        if let Some(talk) = &mut self.talk {
            talk.datagrams.push(bytes);
        }
    }

    fn nudge(&mut self, nudge: Nudge) {
        if let Some(talk) = &mut self.talk {
            talk.nudges.push(nudge);
        }
    }

    fn end(&self) -> Option<End> {
        self.end
    }

    fn host(&self) -> Option<usize> {
        self.host
    }
}
