//! Listeners: bind, accept, and a task for each connection.

use crate::{
    bell::bell,
    drive::{self, Desk, now},
    line::Line,
    lobby::Lobby,
};
use async_executor::Executor;
use async_io::{Async, Timer};
use config::{Listen, TlsMode};
use rustix::net::{AddressFamily, SocketType, bind, listen, socket, sockopt};
use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::{Duration, Instant},
};
use storage::house::{House, Seat};
use wire::{Inbox, Outbox};

/// Connections that the system accepts ahead of us.
const BACKLOG: i32 = 1024;
/// Connections beyond the limit of all listeners that are taken in order to be told that there are too many. More wait in the backlog.
const SPARE: usize = 64;
/// How long to wait when the process has no file left for another connection.
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
        Ok(Port { listen: to.clone(), on: listener.local_addr()?, listener })
    }

    /// Accepts connections until it is dropped.
    pub async fn serve(self, house: Arc<House>, lobby: Arc<Lobby>, executor: Arc<Executor<'static>>) -> io::Result<()> {
        let listener = Async::new(self.listener)?;
        loop {
            match listener.accept().await {
                Ok((socket, peer)) => {
                    let most = house.config().limits.connections as usize * house.config().listeners().len();
                    while !lobby.wait_for(most + SPARE, Instant::now() + BREATH).await {}
                    // Replies leave in one write; waiting for more would only delay them.
                    if let Err(error) = socket.get_ref().set_nodelay(true) {
                        tracing::debug!(%error, %peer, "no delay");
                    }
                    lobby.admit(&executor, attend(self.listen.clone(), Line::new(socket), peer, house.clone()));
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
                    Timer::after(BREATH).await;
                }
            }
        }
    }
}

/// A connection from its first to its last byte.
async fn attend(listen: Listen, mut line: Line, peer: SocketAddr, house: Arc<House>) {
    let (bell, ear) = bell();
    let guest = match house.knock(&listen, peer, bell) {
        Ok(guest) => guest,
        // Boxed, as what happens to few must not make the state of everybody larger.
        Err(reply) => return Box::pin(line.refuse(&reply)).await,
    };
    let mut tls = None;
    if listen.tls == TlsMode::Implicit {
        match Box::pin(line.secure(house.tls(), &mut Outbox::new(0))).await {
            Ok(secured) => tls = Some(secured),
            Err(error) => return tracing::info!(error = &*error, %peer, on = %listen.on, "handshake failed"),
        }
    }
    let certificates = || house.tls();
    macro_rules! drive {
        ($protocol:ident, $session:ident, $office:ident) => {{
            let (rx, tx) = (Inbox::new($protocol::INBOX_LIMIT), Outbox::new($protocol::OUTBOX_MARK));
            let desk = Box::new(Desk { session: *$session, office: *$office, rx, tx, ear });
            // Boxed one by one: each connection carries the state of its own protocol, not room for the largest.
            let (desk, why) = Box::pin(drive::run(desk, line, certificates)).await;
            desk.office.closed(why);
        }};
    }
    match house.seat(guest, &listen, tls, now()) {
        Seat::Smtp(session, office) => drive!(smtp, session, office),
        Seat::Pop3(session, office) => drive!(pop3, session, office),
        Seat::Imap(session, office) => drive!(imap, session, office),
    }
}
