//! From the first port to the last connection: open the house, let people in, and close it again.

use crate::{bell::wait_for, crew::Crew, listen, lobby::Lobby, travel};
use rustix::event::PollFlags;
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};
use std::{
    io::{self, PipeReader, Write as _},
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
    logging,
    means::{self, Needs},
    process,
    serve::{self, ServeError},
    supervise::guarded,
};

/// How often the house does what is due.
const CHORES: Duration = Duration::from_secs(1);
/// How long what ended by itself rests before it is started again.
const REST_MS: u64 = if cfg!(test) { 10 } else { 1000 };
/// How long the last lines of the log are waited for.
const LAST_LINES: Duration = Duration::from_secs(1);
/// How often a second signal is looked for while connections end.
const LOOK: Duration = Duration::from_millis(100);
/// Twenty threads whoever is connected, and for each connection its thread and what its
/// session and TLS hold, which was 600 KiB of 400 that were busy.
pub fn needs() -> Needs {
    Needs { threads: 20 * means::THREAD, connection: 768 << 10 }
}
/// What connections get after they were cut, to notice it.
const AFTER_CUT: Duration = Duration::from_secs(1);

/// Serves until SIGTERM or SIGINT; SIGHUP reads the configuration again.
///
/// # Errors
/// If it cannot begin. Once it is ready, nothing but a signal ends it.
pub fn serve(boot: Boot, disk: Arc<dyn Disk>) -> Result<(), ServeError> {
    logging::start(&boot.config.log);
    logging::hold();
    let served = guarded("server", || run(boot, disk)).unwrap_or_else(|| Err(io::Error::other("it panicked: the log says where").into()));
    logging::finish(LAST_LINES);
    served
}

fn run(boot: Boot, disk: Arc<dyn Disk>) -> Result<(), ServeError> {
    let Boot { config, source, welcome, notes, scratch } = boot;
    let files = process::raise_open_files();
    let mut ports = serve::begin(&config, &source)?;
    // Not before: what starts as root and closes itself in has one thread.
    thread::Builder::new().name("log".into()).spawn(logging::pour)?;
    // Signals that come while the house opens wait here.
    let (tell, told) = mpsc::channel();
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    let hand = signals.handle();
    let listener = thread::Builder::new().spawn(move || signals.forever().try_for_each(|signal| tell.send(signal)))?;

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
        let serve = move || supervise("listener", &stop, || listen::serve(&port, &house, &lobby, &crew, &stop));
        doors.push(thread::Builder::new().spawn(serve)?);
    }
    doors.push(thread::Builder::new().spawn({
        let (house, away, crew, stop) = (house.clone(), away.clone(), crew.clone(), stop.clone());
        move || supervise("dispatcher", &stop, || travel::dispatch(&house, &away, &crew, &stop))
    })?);
    doors.push(thread::Builder::new().spawn({
        let (house, stop) = (house.clone(), stop.clone());
        move || supervise("drop folder", &stop, || pick_up(&house, &stop))
    })?);
    tracing::info!(version = env!("CARGO_PKG_VERSION"), runtime = "std", open_files = files, "ready");
    // Nobody reads it if this fails, and the server serves all the same.
    let _ = io::stdout().write_all(notes.as_bytes());

    let signal = loop {
        match told.recv_timeout(CHORES) {
            Ok(SIGHUP) => drop(guarded("reload", || serve::reload(&house))),
            Ok(signal) => break signal,
            Err(RecvTimeoutError::Timeout) => chores(&house),
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

/// Does what is due, on a thread of its own: it may wait for a disk, and signals do not.
fn chores(house: &Arc<House>) {
    if let Some(shift) = house.tick()
        && let Err(error) = thread::Builder::new().name("chores".into()).spawn(|| shift.work())
    {
        tracing::error!(%error, "there is no thread for the chores");
    }
}

/// Does what goes on until `stop` is closed, and begins it again if it ends before that.
fn supervise(what: &'static str, stop: &PipeReader, mut work: impl FnMut() -> io::Result<()>) {
    loop {
        match guarded(what, &mut work) {
            Some(Ok(())) => return,
            Some(Err(error)) => tracing::error!(%error, what, "it ended, and is started again"),
            None => {}
        }
        match wait_for(stop, PollFlags::IN, REST_MS) {
            Ok(true) => return,
            Ok(false) => {}
            Err(_) => thread::sleep(Duration::from_millis(REST_MS)),
        }
    }
}

/// Takes in what programs of this host leave, apart from all else: it may be much.
fn pick_up(house: &Arc<House>, stop: &PipeReader) -> io::Result<()> {
    loop {
        house.pick_up();
        if wait_for(stop, PollFlags::IN, REST_MS)? {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::Config;
    use storage::{
        control::{Client, Status},
        disk::Posix,
        serve::Door,
    };

    #[test]
    fn who_panics_or_fails_is_started_again_and_serves() {
        let at = std::env::temp_dir().join(format!("hikyaku-std-supervise-{}", std::process::id()));
        let config = Config { domains: vec!["example.test".into()], store: at.clone(), ..Config::default() };
        let house = House::open(config, Arc::new(Posix)).unwrap();
        let port = serve::control(&house).unwrap().into_iter().find(|port| port.door == Door::Control).unwrap();
        let (lobby, crew) = (Arc::new(Lobby::default()), Arc::new(Crew::default()));
        let (stop, stopper) = io::pipe().unwrap();
        let mut starts = 0;
        thread::scope(|scope| {
            scope.spawn(|| {
                supervise("listener", &stop, || {
                    starts += 1;
                    match starts {
                        1 => panic!("a seeded panic"),
                        2 => Err(io::ErrorKind::Other.into()),
                        _ => listen::serve(&port, &house, &lobby, &crew, &stop),
                    }
                });
            });
            // Who comes meanwhile waits in the backlog.
            let status: Status = Client::new(&at.join("control.sock")).get("/status", &[]).unwrap();
            assert_eq!(status.panics.get("listener"), Some(&1));
            drop(stopper);
        });
        assert_eq!(starts, 3);
        drop((port, house));
        std::fs::remove_dir_all(at).unwrap();
    }
}
