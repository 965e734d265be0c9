//! Listeners: accept, and a thread for each connection.

use crate::{
    bell::{bell, wait_for},
    crew::Crew,
    drive,
    line::Line,
    lobby::Lobby,
};
use config::TlsMode;
use rustix::event::{PollFd, PollFlags, poll};
use std::{
    io::{self, PipeReader},
    os::fd::OwnedFd,
    sync::Arc,
    thread,
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

/// How long to wait when the process has no file or thread left for another connection.
const BREATH: Duration = Duration::from_millis(100);

/// Accepts connections until the other end of `stop` is closed.
pub fn serve(port: &Port, house: &Arc<House>, lobby: &Arc<Lobby>, crew: &Arc<Crew>, stop: &PipeReader) -> io::Result<()> {
    loop {
        match port.accept() {
            Ok((socket, caller)) => {
                while !lobby.wait_for(most_at_once(&house.config()), Instant::now() + BREATH) {
                    if stopped(stop)? {
                        return Ok(());
                    }
                }
                let socket = Arc::new(socket);
                let place = lobby.enter(socket.clone());
                let handed = crew.hand({
                    let (door, house, socket) = (port.door.clone(), house.clone(), socket.clone());
                    move || {
                        let _place = place;
                        attend(&door, socket, caller, &house);
                    }
                });
                if let Err(error) = handed {
                    tracing::warn!(%error, ?caller, "connection refused: there is no thread for it");
                    // What does not go out at once does not: others wait for this thread.
                    let _ = rustix::io::write(&socket, house.turn_away(&port.door));
                    thread::sleep(BREATH);
                }
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                let mut fds = [PollFd::new(port, PollFlags::IN), PollFd::new(stop, PollFlags::IN)];
                match poll(&mut fds, None) {
                    Err(rustix::io::Errno::INTR) => {}
                    polled => drop(polled?),
                }
                if !fds[1].revents().is_empty() {
                    return Ok(());
                }
            }
            Err(e) if is_passing(&e) => {}
            Err(error) => {
                // No file or memory left, most likely: what is open may end meanwhile.
                tracing::error!(%error, on = %port.on, "cannot accept");
                if stopped(stop)? {
                    return Ok(());
                }
                thread::sleep(BREATH);
            }
        }
    }
}

fn stopped(stop: &PipeReader) -> io::Result<bool> {
    wait_for(stop, PollFlags::IN, 0)
}

/// A connection from its first to its last byte.
fn attend(door: &Door, socket: Arc<OwnedFd>, caller: Caller, house: &Arc<House>) {
    let (bell, mut ear) = match bell() {
        Ok(both) => both,
        Err(error) => return tracing::warn!(%error, ?caller, "connection dropped"),
    };
    let mut line = Line::accepted(socket);
    let mut keys = Keys::new(house.clone());
    let seat = match (door, caller) {
        (Door::Mail(listen), Caller::Net(peer)) => {
            line.heed(bell.clone());
            let guest = match house.knock(listen, peer, bell) {
                Ok(guest) => guest,
                Err(reply) => return line.refuse(&reply),
            };
            keys = house.keys(&guest);
            let mut tls = None;
            if listen.tls == TlsMode::Implicit {
                let secured = keys.handshake(&Want::Accept).and_then(|handshake| line.secure(handshake, &mut Outbox::new(0)));
                keys.shook(&Want::Accept, secured.as_ref().map_err(|e| &**e));
                match secured {
                    Ok(secured) => tls = Some(secured),
                    Err(error) => return tracing::info!(error = &*error, %peer, on = %listen.on, "handshake failed"),
                }
            }
            house.seat(guest, listen, tls, now())
        }
        _ => match house.counter(door, caller, bell, now()) {
            Ok(seat) => seat,
            Err(reply) => return line.refuse(&reply),
        },
    };
    macro_rules! drive {
        ($protocol:ident, $session:ident, $office:ident) => {{
            let (rx, tx) = (Inbox::new($protocol::INBOX_LIMIT), Outbox::new($protocol::OUTBOX_MARK));
            let why = drive::run(&mut *$session, &mut *$office, line, &mut ear, rx, tx, &keys);
            $office.closed(why);
        }};
    }
    match seat {
        Seat::Smtp(mut session, mut office) => drive!(smtp, session, office),
        Seat::Pop3(mut session, mut office) => drive!(pop3, session, office),
        Seat::Imap(mut session, mut office) => drive!(imap, session, office),
        Seat::Http(mut session, mut office) => drive!(http, session, office),
    }
}
