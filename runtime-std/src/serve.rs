//! From the first port to the last connection: open the house, let people in, and close it again.

use crate::{crew::Crew, listen, lobby::Lobby, travel};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};
use std::{
    io::{self, Write as _},
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};
use storage::{
    admin::Boot,
    disk::Disk,
    house::House,
    logging, process,
    serve::{self, ServeError},
};

/// How often the house does what is due.
const CHORES: Duration = Duration::from_secs(1);
/// How often a second signal is looked for while connections end.
const LOOK: Duration = Duration::from_millis(100);
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
    let mut ports = serve::begin(&config, &source)?;
    // Signals that come while the house opens wait here.
    let (tell, told) = mpsc::channel();
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    let hand = signals.handle();
    let listener = thread::spawn(move || signals.forever().try_for_each(|signal| tell.send(signal)));

    let house = House::open(config, disk)?;
    house.comes_from(source);
    house.welcome(&welcome);
    ports.extend(serve::control(&house)?);
    // Those who came, and those who were sent out: neither takes the place of the other.
    let (lobby, away) = (Arc::new(Lobby::default()), Arc::new(Lobby::default()));
    let crew = Arc::new(Crew::default());
    let (stop, stopper) = io::pipe()?;
    let stop = Arc::new(stop);
    let mut doors = Vec::new();
    for port in ports {
        let (house, lobby, crew, stop) = (house.clone(), lobby.clone(), crew.clone(), stop.clone());
        doors.push(thread::spawn(move || {
            if let Err(error) = listen::serve(&port, &house, &lobby, &crew, &stop) {
                tracing::error!(%error, "listener ended");
            }
        }));
    }
    doors.push(thread::spawn({
        let (house, away, crew, stop) = (house.clone(), away.clone(), crew.clone(), stop.clone());
        move || {
            if let Err(error) = travel::dispatch(&house, &away, &crew, &stop) {
                tracing::error!(%error, "no mail is sent any more");
            }
        }
    }));
    tracing::info!(version = env!("CARGO_PKG_VERSION"), runtime = "std", open_files = files, "ready");
    // Nobody reads it if this fails, and the server serves all the same.
    let _ = io::stdout().write_all(notes.as_bytes());

    let signal = loop {
        match told.recv_timeout(CHORES) {
            Ok(SIGHUP) => drop(serve::reload(&house)),
            Ok(signal) => break signal,
            Err(RecvTimeoutError::Timeout) => house.chores(),
            Err(RecvTimeoutError::Disconnected) => unreachable!("the thread of signals runs until it is told to end"),
        }
    };
    tracing::info!(signal, connections = lobby.count(), away = away.count(), "stopping");
    drop(stopper);
    for door in doors {
        // Its panic was logged by the hook.
        let _ = door.join();
    }
    house.stop_guests();
    let grace = Instant::now() + Duration::from_secs(house.config().limits.shutdown_grace.into());
    let all_gone = |limit: Instant| lobby.wait_for(0, limit) && away.wait_for(0, limit);
    // Whoever sends the signal twice means it.
    while !all_gone(grace.min(Instant::now() + LOOK)) && Instant::now() < grace && told.try_recv().is_err() {}
    let cut = lobby.cut() + away.cut();
    if cut > 0 {
        tracing::warn!(connections = cut, "cut");
        all_gone(Instant::now() + AFTER_CUT);
    }
    house.close();
    drop((house, scratch));
    hand.close();
    let _ = listener.join();
    tracing::info!("stopped");
    Ok(())
}
