//! From the first port to the last connection: open the house, let people in, and close it again.

use crate::{listen::Port, lobby::Lobby};
use async_executor::Executor;
use async_io::{Timer, block_on};
use async_signal::{Signal, Signals};
use config::Listen;
use futures_lite::{FutureExt as _, StreamExt as _, future};
use std::{
    fmt,
    io::{self, Write as _},
    num::NonZeroUsize,
    sync::Arc,
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
/// What connections get after they were cut, to be gone.
const AFTER_CUT: Duration = Duration::from_secs(1);
/// Threads for questions that wait for the disk. As many sessions can wait for one flush together; a few hundred make it no faster.
const WAITERS: NonZeroUsize = NonZeroUsize::new(128).expect("not zero");

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
    let mut signals = Signals::new([Signal::Term, Signal::Int, Signal::Hup]).map_err(ServeError::System)?;
    let mut told = move |limit: Duration| {
        block_on(async { signals.next().await.transpose() }.or(async {
            Timer::after(limit).await;
            Ok(None)
        }))
    };

    blocking::set_max_blocking_threads(WAITERS);
    let house = House::open(config, disk).map_err(ServeError::Open)?;
    house.welcome(&welcome);
    let lobby = Arc::new(Lobby::default());
    let executor = Arc::new(Executor::new());
    for _ in 0..thread::available_parallelism().map_or(1, NonZeroUsize::get) {
        let executor = executor.clone();
        thread::Builder::new().spawn(move || block_on(executor.run(future::pending::<()>()))).map_err(ServeError::System)?;
    }
    let mut doors = Vec::new();
    for port in ports {
        tracing::info!(on = %port.on, speak = ?port.listen.speak, tls = ?port.listen.tls, "listening");
        let served = port.serve(house.clone(), lobby.clone(), executor.clone());
        doors.push(executor.spawn(async move {
            if let Err(error) = served.await {
                tracing::error!(%error, "listener ended");
            }
        }));
    }
    tracing::info!(version = env!("CARGO_PKG_VERSION"), runtime = "smol", open_files = files, "ready");
    // Nobody reads it if this fails, and the server serves all the same.
    let _ = io::stdout().write_all(notes.as_bytes());

    let signal = loop {
        match told(CHORES) {
            Ok(Some(Signal::Hup)) => reload(&house, &source),
            Ok(Some(signal)) => break signal,
            Ok(None) => house.chores(),
            Err(error) => tracing::error!(%error, "signals"),
        }
    };
    tracing::info!(?signal, connections = lobby.count(), "stopping");
    drop(doors);
    house.stop_guests();
    let grace = Instant::now() + Duration::from_secs(house.config().limits.shutdown_grace.into());
    // Whoever sends the signal twice means it.
    while lobby.count() > 0 && Instant::now() < grace && !matches!(told(Duration::from_millis(20)), Ok(Some(_))) {}
    let cut = lobby.cut();
    if cut > 0 {
        tracing::warn!(connections = cut, "cut");
        block_on(lobby.wait_for(0, Instant::now() + AFTER_CUT));
    }
    house.close();
    drop((house, scratch));
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
