//! Trips: what the house sends out is dialed and driven, a thread for each.

use crate::{
    bell::{Ear, bell},
    crew::Crew,
    drive,
    line::Line,
    lobby::Lobby,
};
use rustix::event::PollFlags;
use std::{
    io::{self, PipeReader},
    os::fd::OwnedFd,
    sync::Arc,
};
use storage::{
    clock::now,
    house::House,
    outgoing::{Dial, Load, Traveller, Trip},
    tls::Keys,
};
use wire::{Inbox, Nudge, Outbox, Question, Session, Why};

/// Takes trips until the other end of `stop` is closed.
pub fn dispatch(house: &Arc<House>, lobby: &Arc<Lobby>, crew: &Arc<Crew>, stop: &PipeReader) -> io::Result<()> {
    let (rung, mut ear) = bell()?;
    house.on_trips(rung);
    while !ear.wait(stop, PollFlags::IN, house.trips_due().map(|due| due.since(now())))? {
        while ear.heard().is_some() {}
        while let Some(trip) = house.next_trip(now()) {
            let (house, lobby) = (house.clone(), lobby.clone());
            // The office of a trip that is dropped knows what to do.
            if let Err(error) = crew.hand(move || travel(trip, &house, &lobby)) {
                tracing::error!(%error, "no thread to send mail with");
            }
        }
    }
    Ok(())
}

/// A trip from the dial to the last byte.
fn travel(Trip { dial, load }: Trip, house: &Arc<House>, lobby: &Arc<Lobby>) {
    match load {
        Load::Smtp(session, office) => {
            let (rx, tx) = (Inbox::new(smtp::client::INBOX_LIMIT), Outbox::new(smtp::client::OUTBOX_MARK));
            carry(&dial, *session, *office, rx, tx, house, lobby);
        }
        Load::Dns(session, office) => {
            let (rx, tx) = (Inbox::new(dns::INBOX_LIMIT), Outbox::new(dns::OUTBOX_MARK));
            carry(&dial, *session, *office, rx, tx, house, lobby);
        }
    }
}

/// Dials, drives and tells the office how it ended.
fn carry<O>(dial: &Dial, mut session: O::Session, mut office: O, rx: Inbox, tx: Outbox, house: &Arc<House>, lobby: &Arc<Lobby>)
where
    O: Traveller,
    O::Session: Session,
    <O::Session as Session>::Ask: Question<O, Answer = <O::Session as Session>::Answer>,
{
    let (bell, mut ear) = match bell() {
        Ok(both) => both,
        Err(error) => return office.unreachable(session, &error),
    };
    let Some(_away) = house.set_out(bell.clone()) else { return office.closed(session, Why::Shutdown) };
    office.bell(bell);
    let socket = match dial.begin() {
        Ok(socket) => Arc::new(socket),
        Err(error) => return office.unreachable(session, &error),
    };
    let _place = lobby.enter(socket.clone());
    match connected(&socket, dial.timeout_ms, &mut ear) {
        Ok(true) => {
            let keys = Keys::new(house.clone());
            let why = drive::run(&mut session, &mut office, Line::dialed(socket), &mut ear, rx, tx, &keys);
            office.closed(session, why);
        }
        Ok(false) => office.closed(session, Why::Shutdown),
        Err(error) => office.unreachable(session, &error),
    }
}

/// Waits for a connection to be made; false if the server stops meanwhile.
fn connected(socket: &OwnedFd, timeout_ms: u64, ear: &mut Ear) -> io::Result<bool> {
    let limit = now().after(timeout_ms);
    while !ear.wait(socket, PollFlags::OUT, Some(limit.since(now())))? {
        // There is nobody yet to whom a change would mean anything.
        while let Some(nudge) = ear.heard() {
            if nudge == Nudge::Shutdown {
                return Ok(false);
            }
        }
        if now() >= limit {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
    Dial::finish(socket).map(|()| true)
}

#[cfg(test)]
mod tests;
