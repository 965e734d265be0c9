//! How a server begins, for both runtimes: ports are bound, root is given away, and what fails has words.

use crate::{
    admin::Source,
    house::{House, OpenError},
    logging, means, process,
    sandbox::{self, Needs},
};
use config::{Config, Listen};
use nix::unistd::{Group, chown};
use rustix::net::{AddressFamily, SocketType, bind, listen, socket, sockopt};
use std::{
    fmt,
    fs::{self, DirBuilder},
    io,
    net::{SocketAddr, TcpListener},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{
            fs::{DirBuilderExt as _, PermissionsExt as _},
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
};

/// Connections that the system accepts ahead of us.
const BACKLOG: i32 = 1024;

/// Binds all ports, becomes the user that the configuration names, and closes itself in. Call it while there is one thread: what it does to the
/// process holds for threads that begin later.
///
/// # Errors
/// The first thing that cannot be had.
pub fn begin(config: &Config, source: &Source) -> Result<Vec<Port>, ServeError> {
    if config.user.is_none() && rustix::process::geteuid().is_root() {
        return Err(ServeError::Root);
    }
    if let Some(means) = means::means() {
        let (each, wanted) = (means.places(config.listeners().len()).min(config.limits.connections), config.limits.connections);
        tracing::warn!(connections_per_listener = each, configured = wanted, "{means}");
    }
    let mut ports = Vec::new();
    for to in config.listeners() {
        match tcp(to.on) {
            Ok(listener) => ports.push(Port::tcp(Door::Mail(to), listener)?),
            // Nobody asked for it by name.
            Err(error) if config.listen.is_empty() && process::has_no_ipv6(&error) => {
                tracing::warn!(on = %to.on, %error, "this machine has no IPv6");
            }
            Err(error) => return Err(ServeError::Bind(to.on.to_string(), error)),
        }
    }
    if let Some(on) = config.control.metrics {
        let listener = tcp(on).map_err(|error| ServeError::Bind(on.to_string(), error))?;
        ports.push(Port::tcp(Door::Metrics, listener)?);
    }
    if let Some(user) = &config.user {
        process::become_user(user).map_err(ServeError::User)?;
    }
    // What is made later in a closed place cannot be let out of it. What is wrong with the store is said by who opens it.
    let _ = DirBuilder::new().recursive(true).mode(0o700).create(&config.store);
    let held = if config.sandbox { sandbox::enter(Needs::of(config, source)) } else { sandbox::stay_out() };
    tracing::info!(held = held.by.join(", "), "closed in");
    for missing in held.missing {
        tracing::warn!(missing, "not closed in");
    }
    Ok(ports)
}

/// Binds the local sockets of a house that is open: nobody else has the store now, so a socket that is there already is one that was left behind.
/// One that cannot be had is left out if nobody asked for it by name: a path may be too long for a socket, and mail goes on without.
///
/// # Errors
/// If it cannot be had.
pub fn control(house: &House) -> Result<Vec<Port>, ServeError> {
    let config = house.config();
    let mut ports = Vec::new();
    let asked_for = config.control.socket.is_some() || config.control.group.is_some();
    let sockets = [
        (Door::Control, config.control_socket(), 0o660, config.control.group.as_deref(), asked_for),
        // Whoever may leave a message may say so.
        (Door::Drop, config.store.join(crate::drop::BELL), 0o666, None, false),
    ];
    for (door, path, mode, group, asked_for) in sockets {
        let on = path.display().to_string();
        match unix(&path, mode, group) {
            Ok(listener) => ports.push(Port { door, on, listener: Listener::Unix(listener, path) }),
            Err(error) if !asked_for => tracing::error!(on, ?door, %error, "no local socket"),
            Err(error) => return Err(ServeError::Bind(on, error)),
        }
    }
    Ok(ports)
}

/// Reads the configuration again and takes it.
///
/// # Errors
/// Why everything stays as it was; the log has it too.
pub fn reload(house: &House) -> Result<(), String> {
    let done = house.source().ok_or_else(|| "nobody knows where the configuration came from".to_owned());
    let done = done.and_then(|source| source.read().map_err(|e| e.to_string())).and_then(|config| {
        sandbox::check(&config)?;
        let log = config.log.clone();
        house.reload(config).map_err(|e| e.to_string())?;
        logging::start(&log);
        Ok(())
    });
    match &done {
        Ok(()) => tracing::info!("reloaded"),
        Err(error) => tracing::error!(error, "reload failed, everything stays as it was"),
    }
    done
}

/// What is behind a port.
#[derive(Debug, Clone, PartialEq)]
pub enum Door {
    /// Sessions of mail.
    Mail(Listen),
    /// Metrics, for whoever can connect.
    Metrics,
    /// Control, for those who may.
    Control,
    /// The bell of the drop folder, for every process of this host.
    Drop,
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// Somebody at that address.
    Net(SocketAddr),
    /// A process on this machine that runs as this user and group; `None` if the system does not tell.
    Local(Option<(u32, u32)>),
}

/// A bound port. It does not block.
pub struct Port {
    /// What is behind it.
    pub door: Door,
    /// Where it really listens: the system chooses a port for 0.
    pub on: String,
    listener: Listener,
}

enum Listener {
    Tcp(TcpListener),
    /// Its file goes with it.
    Unix(UnixListener, PathBuf),
}

impl Port {
    fn tcp(door: Door, listener: TcpListener) -> Result<Port, ServeError> {
        let on = listener.local_addr()?.to_string();
        match &door {
            Door::Mail(listen) => tracing::info!(on, speak = ?listen.speak, tls = ?listen.tls, "listening"),
            Door::Metrics | Door::Control | Door::Drop => tracing::info!(on, "metrics"),
        }
        Ok(Port { door, on, listener: Listener::Tcp(listener) })
    }

    /// Takes the next connection: a socket that does not block, and who is at its other end.
    ///
    /// # Errors
    /// `WouldBlock` if there is none. [`is_passing`] tells what is over with the next try.
    pub fn accept(&self) -> io::Result<(OwnedFd, Caller)> {
        match &self.listener {
            Listener::Tcp(listener) => {
                let (socket, peer) = listener.accept()?;
                socket.set_nonblocking(true)?;
                // Replies leave in one write; waiting for more would only delay them. Some systems refuse if the peer has hung up already.
                if let Err(error) = socket.set_nodelay(true) {
                    tracing::debug!(%error, %peer, "no delay");
                }
                Ok((socket.into(), Caller::Net(peer)))
            }
            Listener::Unix(listener, _) => {
                let (socket, _) = listener.accept()?;
                socket.set_nonblocking(true)?;
                let who = peer(&socket).ok();
                Ok((socket.into(), Caller::Local(who)))
            }
        }
    }
}

impl AsFd for Port {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.listener {
            Listener::Tcp(listener) => listener.as_fd(),
            Listener::Unix(listener, _) => listener.as_fd(),
        }
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        if let Listener::Unix(_, path) = &self.listener {
            // The next start removes it too.
            let _ = fs::remove_file(path);
        }
    }
}

fn tcp(on: SocketAddr) -> io::Result<TcpListener> {
    let family = if on.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let fd = socket(family, SocketType::STREAM, None)?;
    rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)?;
    sockopt::set_socket_reuseaddr(&fd, true)?;
    if on.is_ipv6() {
        // Or `[::]:25` and `0.0.0.0:25` clash.
        sockopt::set_ipv6_v6only(&fd, true)?;
    }
    bind(&fd, &on)?;
    listen(&fd, BACKLOG)?;
    let listener = TcpListener::from(fd);
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn unix(path: &Path, mode: u32, group: Option<&str>) -> io::Result<UnixListener> {
    match fs::symlink_metadata(path) {
        Ok(there) if std::os::unix::fs::FileTypeExt::is_socket(&there.file_type()) => fs::remove_file(path)?,
        // Whatever it is, it is not ours.
        Ok(_) => return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is something else in its place")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    if let Some(name) = group {
        let group =
            Group::from_name(name)?.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("there is no group {name:?}")))?;
        chown(path, None, Some(group.gid))?;
    }
    listener.set_nonblocking(true)?;
    Ok(listener)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn peer(socket: &UnixStream) -> io::Result<(u32, u32)> {
    let peer = sockopt::socket_peercred(socket)?;
    Ok((peer.uid.as_raw(), peer.gid.as_raw()))
}

#[cfg(any(target_vendor = "apple", target_os = "freebsd", target_os = "dragonfly", target_os = "netbsd", target_os = "openbsd"))]
fn peer(socket: &UnixStream) -> io::Result<(u32, u32)> {
    let (uid, gid) = nix::unistd::getpeereid(socket)?;
    Ok((uid.as_raw(), gid.as_raw()))
}

#[cfg(not(any(
    target_os = "linux",
    target_os = "android",
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "dragonfly",
    target_os = "netbsd",
    target_os = "openbsd"
)))]
fn peer(_: &UnixStream) -> io::Result<(u32, u32)> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Whether an accept failed for a reason that lies with that one connection: the peer was faster than we.
pub fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}

/// Why a server does not start.
#[derive(Debug)]
pub enum ServeError {
    /// The port cannot be had.
    Bind(String, io::Error),
    /// Root started it, and nobody said that root is what it is to be.
    Root,
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
                write!(f, "cannot listen on {to}: {e}; ports below 1024 need root (say who to become then: `user`)")
            }
            ServeError::Bind(to, e) => write!(f, "cannot listen on {to}: {e}"),
            ServeError::Root => f.write_str(
                "root started this server, and its configuration does not say whom to become: give `user` a user of its own, to whom the store \
                 belongs, or `user: \"root\"` if a mistake in it may cost the whole machine",
            ),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_socket_takes_the_place_of_one_that_was_left_behind() {
        let dir = std::env::temp_dir().join(format!("hikyaku-serve-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join("sock");
        // As after a crash: nobody listens, the name is still there.
        drop(UnixListener::bind(&path).unwrap());
        let listener = unix(&path, 0o660, None).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        let port = Port { door: Door::Control, on: String::new(), listener: Listener::Unix(listener, path.clone()) };
        assert_eq!(port.accept().err().map(|e| e.kind()), Some(io::ErrorKind::WouldBlock));
        let _client = UnixStream::connect(&path).unwrap();
        let me = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        assert_eq!(port.accept().unwrap().1, Caller::Local(Some(me)));
        drop(port);
        assert!(!path.exists());
        fs::write(&path, "precious").unwrap();
        assert_eq!(unix(&path, 0o660, None).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        assert!(unix(&dir.join("other"), 0o660, Some("no-such-group")).unwrap_err().to_string().contains("there is no group"));
        fs::remove_dir_all(dir).unwrap();
    }
}
