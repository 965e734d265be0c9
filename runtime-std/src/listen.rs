//! Listeners: bind, accept, and a thread for each connection.

use crate::{
    bell::{bell, wait_for},
    crew::Crew,
    drive::{self, now},
    line::Line,
    lobby::Lobby,
};
use config::{Listen, TlsMode};
use rustix::{
    event::{PollFd, PollFlags, poll},
    net::{AddressFamily, SocketType, bind, listen, socket, sockopt},
};
use std::{
    io::{self, PipeReader},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use storage::house::{House, Seat};
use wire::{Inbox, Outbox};

/// Connections that the system accepts ahead of us.
const BACKLOG: i32 = 1024;
/// Connections beyond the limit of all listeners that are taken in order to be told that there are too many. More wait in the backlog.
const SPARE: usize = 64;
/// How long to wait when the process has no file or thread left for another connection.
const BREATH: Duration = Duration::from_millis(100);

/// A bound port.
pub struct Port {
    /// As configured.
    pub listen: Listen,
    /// Where it really listens: the system chooses a port for 0.
    pub on: SocketAddr,
    listener: TcpListener,
}

impl Port {
    /// Binds.
    ///
    /// # Errors
    /// As bind(2).
    pub fn bind(to: &Listen) -> io::Result<Port> {
        let family = if to.on.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
        let fd = socket(family, SocketType::STREAM, None)?;
        rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)?;
        sockopt::set_socket_reuseaddr(&fd, true)?;
        if to.on.is_ipv6() {
            // Or `[::]:25` and `0.0.0.0:25` clash.
            sockopt::set_ipv6_v6only(&fd, true)?;
        }
        bind(&fd, &to.on)?;
        listen(&fd, BACKLOG)?;
        let listener = TcpListener::from(fd);
        listener.set_nonblocking(true)?;
        Ok(Port { listen: to.clone(), on: listener.local_addr()?, listener })
    }

    /// Accepts connections until the other end of `stop` is closed.
    pub fn serve(self, house: &Arc<House>, lobby: &Arc<Lobby>, crew: &Arc<Crew>, stop: &PipeReader) -> io::Result<()> {
        loop {
            match self.listener.accept() {
                Ok((stream, peer)) => {
                    let most = house.config().limits.connections as usize * house.config().listeners().len();
                    while !lobby.wait_for(most + SPARE, Instant::now() + BREATH) {
                        if stopped(stop)? {
                            return Ok(());
                        }
                    }
                    if let Err(error) = self.welcome(stream, peer, house, lobby, crew) {
                        tracing::warn!(%error, %peer, "connection dropped");
                        thread::sleep(BREATH);
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    let mut fds = [PollFd::new(&self.listener, PollFlags::IN), PollFd::new(stop, PollFlags::IN)];
                    match poll(&mut fds, None) {
                        Err(rustix::io::Errno::INTR) => {}
                        polled => drop(polled?),
                    }
                    if !fds[1].revents().is_empty() {
                        return Ok(());
                    }
                }
                // The peer was faster than we.
                Err(e)
                    if matches!(
                        e.kind(),
                        io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
                    ) => {}
                Err(error) => {
                    // No file or memory left, most likely: what is open may end meanwhile.
                    tracing::error!(%error, on = %self.on, "cannot accept");
                    if stopped(stop)? {
                        return Ok(());
                    }
                    thread::sleep(BREATH);
                }
            }
        }
    }

    fn welcome(&self, stream: TcpStream, peer: SocketAddr, house: &Arc<House>, lobby: &Arc<Lobby>, crew: &Arc<Crew>) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        // Replies leave in one write; waiting for more would only delay them.
        stream.set_nodelay(true)?;
        let socket = Arc::new(stream);
        let place = lobby.enter(socket.clone());
        let (listen, house) = (self.listen.clone(), house.clone());
        crew.hand(move || {
            let _place = place;
            attend(&listen, socket, peer, &house);
        })
    }
}

fn stopped(stop: &PipeReader) -> io::Result<bool> {
    wait_for(stop, PollFlags::IN, 0)
}

/// A connection from its first to its last byte.
fn attend(listen: &Listen, socket: Arc<TcpStream>, peer: SocketAddr, house: &Arc<House>) {
    let (bell, mut ear) = match bell() {
        Ok(both) => both,
        Err(error) => return tracing::warn!(%error, %peer, "connection dropped"),
    };
    let mut line = Line::new(socket);
    let guest = match house.knock(listen, peer, bell) {
        Ok(guest) => guest,
        Err(reply) => return line.refuse(&reply),
    };
    let mut tls = None;
    if listen.tls == TlsMode::Implicit {
        match line.secure(house.tls(), &mut Outbox::new(0)) {
            Ok(secured) => tls = Some(secured),
            Err(error) => return tracing::info!(error = &*error, %peer, on = %listen.on, "handshake failed"),
        }
    }
    let certificates = || house.tls();
    macro_rules! drive {
        ($protocol:ident, $session:ident, $office:ident) => {{
            let (rx, tx) = (Inbox::new($protocol::INBOX_LIMIT), Outbox::new($protocol::OUTBOX_MARK));
            let why = drive::run(&mut *$session, &mut *$office, line, &mut ear, rx, tx, certificates);
            $office.closed(why);
        }};
    }
    match house.seat(guest, listen, tls, now()) {
        Seat::Smtp(mut session, mut office) => drive!(smtp, session, office),
        Seat::Pop3(mut session, mut office) => drive!(pop3, session, office),
        Seat::Imap(mut session, mut office) => drive!(imap, session, office),
    }
}
