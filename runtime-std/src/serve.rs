//! From the first port to the last connection: open the house, let people in, and close it again.

use crate::{crew::Crew, listen::Port, lobby::Lobby};
use config::Listen;
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};
use std::{
    fmt,
    io::{self, Write as _},
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};
use storage::{
    admin::{Boot, Source},
    disk::Disk,
    house::{House, OpenError},
    logging, process,
};

/// How often the house does what is due.
const CHORES: Duration = Duration::from_secs(1);
/// What connections get after they were cut, to notice it.
const AFTER_CUT: Duration = Duration::from_secs(1);

/// Serves until SIGTERM or SIGINT; SIGHUP reads the configuration again.
///
/// # Errors
/// If it cannot begin. Once it is ready, nothing but a signal ends it.
pub fn serve(boot: Boot, disk: Arc<dyn Disk>) -> Result<(), ServeError> {
    let Boot { config, source, welcome, notes, scratch } = boot;
    logging::start(&config.log);
    let files = process::raise_open_files();
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
    // Signals that come while the house opens wait here.
    let (tell, told) = mpsc::channel();
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(ServeError::System)?;
    let hand = signals.handle();
    let listener = thread::spawn(move || signals.forever().try_for_each(|signal| tell.send(signal)));

    let house = House::open(config, disk).map_err(ServeError::Open)?;
    house.welcome(&welcome);
    let lobby = Arc::new(Lobby::default());
    let crew = Arc::new(Crew::default());
    let (stop, stopper) = io::pipe().map_err(ServeError::System)?;
    let stop = Arc::new(stop);
    let mut doors = Vec::new();
    for port in ports {
        tracing::info!(on = %port.on, speak = ?port.listen.speak, tls = ?port.listen.tls, "listening");
        let (house, lobby, crew, stop) = (house.clone(), lobby.clone(), crew.clone(), stop.clone());
        doors.push(thread::spawn(move || {
            if let Err(error) = port.serve(&house, &lobby, &crew, &stop) {
                tracing::error!(%error, "listener ended");
            }
        }));
    }
    tracing::info!(version = env!("CARGO_PKG_VERSION"), runtime = "std", open_files = files, "ready");
    // Nobody reads it if this fails, and the server serves all the same.
    let _ = io::stdout().write_all(notes.as_bytes());

    let signal = loop {
        match told.recv_timeout(CHORES) {
            Ok(SIGHUP) => reload(&house, &source),
            Ok(signal) => break signal,
            Err(RecvTimeoutError::Timeout) => house.chores(),
            Err(RecvTimeoutError::Disconnected) => unreachable!("the thread of signals runs until it is told to end"),
        }
    };
    tracing::info!(signal, connections = lobby.count(), "stopping");
    drop(stopper);
    for door in doors {
        // Its panic was logged by the hook.
        let _ = door.join();
    }
    house.stop_guests();
    let grace = Instant::now() + Duration::from_secs(house.config().limits.shutdown_grace.into());
    // Whoever sends the signal twice means it.
    while !lobby.wait_for(0, grace.min(Instant::now() + Duration::from_millis(100))) && Instant::now() < grace && told.try_recv().is_err() {
    }
    let cut = lobby.cut();
    if cut > 0 {
        tracing::warn!(connections = cut, "cut");
        lobby.wait_for(0, Instant::now() + AFTER_CUT);
    }
    house.close();
    drop((house, scratch));
    hand.close();
    let _ = listener.join();
    tracing::info!("stopped");
    Ok(())
}

fn reload(house: &House, source: &Source) {
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
