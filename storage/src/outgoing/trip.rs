//! A trip: where to connect to, and the client session that speaks there with the office that answers it.

use rustix::{
    io::Errno,
    net::{AddressFamily, SocketType, bind, connect, socket, sockopt},
};
use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};
use wire::{Ring, Sink, Why};

/// What a runtime carries: it dials and drives the load, as it drives the sessions of guests.
///
/// The end is told to the office of the load ([`Traveller`]). An office that is dropped without a word (no thread was left, a session panicked) takes
/// that as a fault of this host.
pub struct Trip {
    /// Where to.
    pub dial: Dial,
    /// Who speaks there.
    pub load: Load,
}

/// Where to connect to, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dial {
    /// The peer.
    pub to: SocketAddr,
    /// The address of this host to come from; the system chooses if there is none.
    pub from: Option<IpAddr>,
    /// How bytes get there.
    pub transport: Transport,
    /// How long the connection may take to be made.
    pub timeout_ms: u64,
}

impl Dial {
    /// Begins to connect: a socket that does not block. When it can be written to, [`Dial::finish`] says whether it is connected.
    ///
    /// # Errors
    /// What can be said at once.
    pub fn begin(&self) -> io::Result<OwnedFd> {
        let family = if self.to.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
        let kind = match self.transport {
            Transport::Tcp => SocketType::STREAM,
            Transport::Udp => SocketType::DGRAM,
        };
        let fd = socket(family, kind, None)?;
        rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&fd, true)?;
        if self.transport == Transport::Tcp {
            // What is said leaves in one write; waiting for more would only delay it.
            sockopt::set_tcp_nodelay(&fd, true)?;
        }
        if let Some(from) = self.from {
            bind(&fd, &SocketAddr::new(from, 0))?;
        }
        match connect(&fd, &self.to) {
            // POSIX: a connect that was interrupted goes on all the same.
            Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => Ok(fd),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether a socket that can be written to is connected.
    ///
    /// # Errors
    /// Why it is not.
    pub fn finish(socket: impl AsFd) -> io::Result<()> {
        Ok(sockopt::socket_error(socket)??)
    }
}

/// How bytes get there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// A stream.
    Tcp,
    /// Datagrams of one peer: each fills the inbox by itself, and what is in the outbox leaves as one.
    Udp,
}

/// A client session and the office that answers it.
pub enum Load {
    /// Mail.
    Smtp(Box<smtp::client::Client>, Box<super::Outbound>),
    /// A question to a name server.
    Dns(Box<dns::Exchange>, Box<super::Inquiry>),
}

/// What a runtime tells the office of a load besides answers to its questions. Exactly one of the last two is called, at the end.
pub trait Traveller: Sink {
    /// The session it answers. It comes back: what it heard may be its result.
    type Session;

    /// Before the drive: whom to ring to nudge the session.
    fn bell(&mut self, bell: Arc<dyn Ring>);

    /// There is no connection.
    fn unreachable(self, session: Self::Session, error: &io::Error);

    /// The connection is over.
    fn closed(self, session: Self::Session, why: Why);
}
