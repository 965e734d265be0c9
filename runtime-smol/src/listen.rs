//! Listeners: accept, and a task for each connection.

use crate::{
    bell::bell,
    drive::{self, Desk},
    line::Line,
    lobby::Lobby,
};
use async_executor::Executor;
use async_io::{Async, Timer};
use config::TlsMode;
use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};
use storage::{
    clock::now,
    house::{House, Seat},
    means::most_at_once,
    serve::{Caller, Door, Port, is_passing},
    tls::Keys,
};
use wire::{Inbox, Outbox, Want};

/// How long to wait when the process has no file left for another connection.
const BREATH: Duration = Duration::from_millis(100);

/// Accepts connections until it is dropped.
pub async fn serve(port: Arc<Port>, house: Arc<House>, lobby: Arc<Lobby>, executor: Arc<Executor<'static>>) -> io::Result<()> {
    let port = Async::new_nonblocking(port)?;
    loop {
        let came = port.read_with(|port| port.accept()).await;
        match came.and_then(|(socket, caller)| Ok((Async::new_nonblocking(socket)?, caller))) {
            Ok((socket, caller)) => {
                while !lobby.wait_for(most_at_once(&house.config()), Instant::now() + BREATH).await {}
                lobby.admit(&executor, attend(port.get_ref().door.clone(), Line::accepted(socket), caller, house.clone()));
            }
            Err(e) if is_passing(&e) => {}
            Err(error) => {
                // No file or memory left, most likely: what is open may end meanwhile.
                tracing::error!(%error, on = %port.get_ref().on, "cannot accept");
                Timer::after(BREATH).await;
            }
        }
    }
}

/// A connection from its first to its last byte.
async fn attend(door: Door, mut line: Line, caller: Caller, house: Arc<House>) {
    let (bell, ear) = bell();
    let mut keys = Keys::new(house.clone());
    let seat = match (&door, caller) {
        (Door::Mail(listen), Caller::Net(peer)) => {
            line.heed(bell.clone());
            let guest = match house.knock(listen, peer, bell) {
                Ok(guest) => guest,
                // Boxed, as what happens to few must not make the state of everybody larger.
                Err(reply) => return Box::pin(line.refuse(&reply)).await,
            };
            keys = house.keys(&guest);
            let mut tls = None;
            if listen.tls == TlsMode::Implicit {
                let secured = match keys.handshake(&Want::Accept) {
                    Ok(handshake) => Box::pin(line.secure(handshake, &mut Outbox::new(0))).await,
                    Err(error) => Err(error),
                };
                keys.shook(&Want::Accept, secured.as_ref().map_err(|e| &**e));
                match secured {
                    Ok(secured) => tls = Some(secured),
                    Err(error) => return tracing::info!(error = &*error, %peer, on = %listen.on, "handshake failed"),
                }
            }
            house.seat(guest, listen, tls, now())
        }
        _ => match house.counter(&door, caller, bell, now()) {
            Ok(seat) => seat,
            Err(reply) => return Box::pin(line.refuse(&reply)).await,
        },
    };
    macro_rules! drive {
        ($protocol:ident, $session:ident, $office:ident) => {{
            let (rx, tx) = (Inbox::new($protocol::INBOX_LIMIT), Outbox::new($protocol::OUTBOX_MARK));
            let desk = Box::new(Desk { session: *$session, office: *$office, rx, tx, ear });
            // Boxed one by one: each connection carries the state of its own protocol, not room for the largest.
            let (desk, why) = Box::pin(drive::run(desk, line, &keys)).await;
            desk.office.closed(why);
        }};
    }
    match seat {
        Seat::Smtp(session, office) => drive!(smtp, session, office),
        Seat::Pop3(session, office) => drive!(pop3, session, office),
        Seat::Imap(session, office) => drive!(imap, session, office),
        Seat::Http(session, office) => drive!(http, session, office),
    }
}
