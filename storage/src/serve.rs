//! How a server begins, for both runtimes: ports are bound, root is given away, and what fails has words.

use crate::{
    admin::Source,
    house::{House, OpenError},
    logging, process,
};
use config::{Config, Listen};
use rustix::net::{AddressFamily, SocketType, bind, listen, socket, sockopt};
use std::{
    fmt, io,
    net::{SocketAddr, TcpListener},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

/// Connections that the system accepts ahead of us.
const BACKLOG: i32 = 1024;

/// Binds all ports, then becomes the user that the configuration names.
///
/// # Errors
/// The first thing that cannot be had.
pub fn begin(config: &Config) -> Result<Vec<Port>, ServeError> {
    let mut ports = Vec::new();
    for to in config.listeners() {
        match Port::bind(&to) {
            Ok(port) => ports.push(port),
            // Nobody asked for it by name.
            Err(error) if config.listen.is_empty() && process::has_no_ipv6(&error) => {
                tracing::warn!(on = %to.on, %error, "this machine has no IPv6");
            }
            Err(error) => return Err(ServeError::Bind(to, error)),
        }
    }
    if let Some(user) = &config.user {
        process::become_user(user).map_err(ServeError::User)?;
    }
    Ok(ports)
}

/// Reads the configuration again and takes it, or says in the log why everything stays as it was.
pub fn reload(house: &House, source: &Source) {
    let done = source.read().map_err(|e| e.to_string()).and_then(|config| {
        let log = config.log.clone();
        house.reload(config).map_err(|e| e.to_string())?;
        logging::start(&log);
        Ok(())
    });
    match done {
        Ok(()) => tracing::info!("reloaded"),
        Err(error) => tracing::error!(error, "reload failed, everything stays as it was"),
    }
}

/// A bound port. It does not block.
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
        tracing::info!(on = %listener.local_addr()?, speak = ?to.speak, tls = ?to.tls, "listening");
        Ok(Port { listen: to.clone(), on: listener.local_addr()?, listener })
    }

    /// Takes the next connection: a socket that does not block, and who is at its other end.
    ///
    /// # Errors
    /// `WouldBlock` if there is none. [`is_passing`] tells what is over with the next try.
    pub fn accept(&self) -> io::Result<(OwnedFd, SocketAddr)> {
        let (socket, peer) = self.listener.accept()?;
        socket.set_nonblocking(true)?;
        // Replies leave in one write; waiting for more would only delay them. Some systems refuse if the peer has hung up already.
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(%error, %peer, "no delay");
        }
        Ok((socket.into(), peer))
    }
}

impl AsFd for Port {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

/// Whether an accept failed for a reason that lies with that one connection: the peer was faster than we.
pub fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}

/// Why a server does not start.
#[derive(Debug)]
pub enum ServeError {
    /// The port cannot be had.
    Bind(Listen, io::Error),
    /// The user cannot be had.
    User(process::UserError),
    /// The house cannot be opened.
    Open(OpenError),
    /// The system gives no pipe or thread.
    System(io::Error),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServeError::Bind(to, e) if e.kind() == io::ErrorKind::PermissionDenied => {
                write!(f, "cannot listen on {}: {e}; ports below 1024 need root (say who to become then: `user`)", to.on)
            }
            ServeError::Bind(to, e) => write!(f, "cannot listen on {}: {e}", to.on),
            ServeError::User(e) => e.fmt(f),
            ServeError::Open(e) => e.fmt(f),
            ServeError::System(e) => e.fmt(f),
        }
    }
}

impl std::error::Error for ServeError {}

impl From<OpenError> for ServeError {
    fn from(error: OpenError) -> ServeError {
        ServeError::Open(error)
    }
}

impl From<io::Error> for ServeError {
    fn from(error: io::Error) -> ServeError {
        ServeError::System(error)
    }
}
