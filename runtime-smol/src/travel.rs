//! Trips: what the house sends out is dialed and driven, a task for each.

use crate::{
    bell::{Ear, bell},
    drive::{self, Desk},
    line::{Alarm, Line},
    lobby::Lobby,
};
use async_executor::Executor;
use async_io::Async;
use blocking::unblock;
use futures_lite::future::poll_fn;
use std::{io, os::fd::OwnedFd, sync::Arc, task::Poll};
use storage::{
    clock::now,
    house::House,
    outgoing::{Dial, Load, Traveller, Trip},
    tls::Keys,
};
use wire::{Inbox, Nudge, Outbox, Question, Session, Why};

/// Takes trips until it is dropped.
pub async fn dispatch(house: Arc<House>, lobby: Arc<Lobby>, executor: Arc<Executor<'static>>) -> io::Result<()> {
    let (rung, mut ear) = bell();
    house.on_trips(rung);
    let mut alarm = Alarm::new();
    loop {
        let asked = house.clone();
        // A report may be committed on the way.
        if let Some(trip) = unblock(move || asked.next_trip(now())).await {
            lobby.admit(&executor, travel(trip, house.clone()));
            continue;
        }
        let due = house.trips_due();
        poll_fn(|cx| if ear.poll_rung(cx).is_ready() || alarm.poll(cx, due).is_ready() { Poll::Ready(()) } else { Poll::Pending }).await;
        while ear.heard().is_some() {}
    }
}

/// A trip from the dial to the last byte.
async fn travel(Trip { dial, load }: Trip, house: Arc<House>) {
    match load {
        Load::Smtp(session, office) => {
            let (rx, tx) = (Inbox::new(smtp::client::INBOX_LIMIT), Outbox::new(smtp::client::OUTBOX_MARK));
            carry(dial, *session, *office, rx, tx, house).await;
        }
        Load::Dns(session, office) => {
            let (rx, tx) = (Inbox::new(dns::INBOX_LIMIT), Outbox::new(dns::OUTBOX_MARK));
            carry(dial, *session, *office, rx, tx, house).await;
        }
    }
}

/// Dials, drives and tells the office how it ended.
async fn carry<O>(dial: Dial, session: O::Session, mut office: O, rx: Inbox, tx: Outbox, house: Arc<House>)
where
    O: Traveller + Send + 'static,
    O::Session: Session + Send + 'static,
    <O::Session as Session>::Ask: Question<O, Answer = <O::Session as Session>::Answer> + Send + 'static,
{
    let (bell, mut ear) = bell();
    let Some(_away) = house.set_out(bell.clone()) else { return unblock(|| office.closed(session, Why::Shutdown)).await };
    office.bell(bell);
    let socket = match dial.begin().and_then(Async::new_nonblocking) {
        Ok(socket) => connected(&socket, dial.timeout_ms, &mut ear).await.map(|is| is.then_some(socket)),
        Err(error) => Err(error),
    };
    match socket {
        Ok(Some(socket)) => {
            let desk = Box::new(Desk { session, office, rx, tx, ear });
            let keys = Keys::new(house);
            let (desk, why) = Box::pin(drive::run(desk, Line::dialed(socket), &keys)).await;
            unblock(move || desk.office.closed(desk.session, why)).await;
        }
        Ok(None) => unblock(|| office.closed(session, Why::Shutdown)).await,
        Err(error) => unblock(move || office.unreachable(session, &error)).await,
    }
}

/// Waits for a connection to be made; false if the server stops meanwhile.
async fn connected(socket: &Async<OwnedFd>, timeout_ms: u64, ear: &mut Ear) -> io::Result<bool> {
    let limit = now().after(timeout_ms);
    let mut alarm = Alarm::new();
    poll_fn(|cx| {
        if let Poll::Ready(ready) = socket.poll_writable(cx) {
            return Poll::Ready(ready.and_then(|()| Dial::finish(socket)).map(|()| true));
        }
        // There is nobody yet to whom a change would mean anything.
        while let Some(nudge) = ear.heard() {
            if nudge == Nudge::Shutdown {
                return Poll::Ready(Ok(false));
            }
        }
        if alarm.poll(cx, Some(limit)).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        // Rung since it was asked: once more.
        if ear.poll_rung(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests;
