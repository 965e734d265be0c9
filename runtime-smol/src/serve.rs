//! From the first port to the last connection: open the house, let people in, and close it again.

use crate::{listen, lobby::Lobby, travel};
use async_executor::Executor;
use async_io::{Timer, block_on};
use async_signal::{Signal, Signals};
use blocking::unblock;
use futures_lite::{FutureExt as _, StreamExt as _, future};
use std::{
    io::{self, Write as _},
    num::NonZeroUsize,
    panic::AssertUnwindSafe,
    sync::Arc,
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
    supervise::{caught, guarded},
};

/// How often the house does what is due.
const CHORES: Duration = Duration::from_secs(1);
/// How long what ended by itself rests before it is started again.
const REST: Duration = Duration::from_millis(if cfg!(test) { 10 } else { 1000 });
/// How long the last lines of the log are waited for.
const LAST_LINES: Duration = Duration::from_secs(1);
/// What connections get after they were cut, to be gone.
const AFTER_CUT: Duration = Duration::from_secs(1);
/// Threads for questions that wait for the disk. As many sessions can wait for one flush together; a few hundred make it no faster.
const WAITERS: NonZeroUsize = NonZeroUsize::new(128).expect("not zero");
/// The threads that wait, those that drive sessions, and a few; and for each connection what its session and TLS hold, which was 80 KiB
/// of 400 that were busy.
pub fn needs() -> Needs {
    let threads = WAITERS.get() + executors() + 4;
    Needs { threads: threads as u64 * means::THREAD, connection: 256 << 10 }
}

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
    let mut signals = Signals::new([Signal::Term, Signal::Int, Signal::Hup])?;
    let mut told = move |limit: Duration| {
        block_on(async { signals.next().await.transpose() }.or(async {
            Timer::after(limit).await;
            Ok(None)
        }))
    };

    blocking::set_max_blocking_threads(WAITERS);
    let house = House::open(config, disk)?;
    house.comes_from(source);
    house.welcome(&welcome);
    ports.extend(serve::control(&house)?);
    // Those who came, and those who were sent out: neither takes the place of the other.
    let (lobby, away) = (Arc::new(Lobby::default()), Arc::new(Lobby::default()));
    let executor = Arc::new(Executor::new());
    for _ in 0..executors() {
        let executor = executor.clone();
        thread::Builder::new().spawn(move || while guarded("executor", || block_on(executor.run(future::pending::<()>()))).is_none() {})?;
    }
    let mut doors = Vec::new();
    for port in ports {
        let (port, house, lobby, tasks) = (Arc::new(port), house.clone(), lobby.clone(), executor.clone());
        let serve = move || listen::serve(port.clone(), house.clone(), lobby.clone(), tasks.clone());
        doors.push(executor.spawn(supervise("listener", serve)));
    }
    doors.push(executor.spawn(supervise("dispatcher", {
        let (house, away, tasks) = (house.clone(), away.clone(), executor.clone());
        move || travel::dispatch(house.clone(), away.clone(), tasks.clone())
    })));
    doors.push(executor.spawn(supervise("drop folder", {
        let house = house.clone();
        move || pick_up(house.clone())
    })));
    tracing::info!(version = env!("CARGO_PKG_VERSION"), runtime = "smol", open_files = files, "ready");
    // Nobody reads it if this fails, and the server serves all the same.
    let _ = io::stdout().write_all(notes.as_bytes());

    let signal = loop {
        match told(CHORES) {
            Ok(Some(Signal::Hup)) => drop(guarded("reload", || serve::reload(&house))),
            Ok(Some(signal)) => break signal,
            Ok(None) => chores(&house),
            Err(error) => tracing::error!(%error, "signals"),
        }
    };
    tracing::info!(?signal, connections = lobby.count(), away = away.count(), "stopping");
    drop(doors);
    house.stop_guests();
    let grace = Instant::now() + Duration::from_secs(house.config().limits.shutdown_grace.into());
    let left = || lobby.count() + away.count();
    // Whoever sends the signal twice means it.
    while left() > 0 && Instant::now() < grace && !matches!(told(Duration::from_millis(20)), Ok(Some(_))) {}
    let cut = lobby.cut() + away.cut();
    if cut > 0 {
        tracing::warn!(connections = cut, "cut");
        let limit = Instant::now() + AFTER_CUT;
        block_on(async { lobby.wait_for(0, limit).await && away.wait_for(0, limit).await });
    }
    house.close();
    drop((house, scratch));
    tracing::info!("stopped");
    Ok(())
}

/// Threads that drive sessions.
fn executors() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// Does what is due, on a thread of its own: it may wait for a disk, and signals do not.
fn chores(house: &Arc<House>) {
    if let Some(shift) = house.tick()
        && let Err(error) = thread::Builder::new().name("chores".into()).spawn(|| shift.work())
    {
        tracing::error!(%error, "there is no thread for the chores");
    }
}

/// Does what goes on until it is dropped, and begins it again if it ends before that.
async fn supervise<F: Future<Output = io::Result<()>>>(what: &'static str, mut work: impl FnMut() -> F) {
    loop {
        match AssertUnwindSafe(work()).catch_unwind().await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => tracing::error!(%error, what, "it ended, and is started again"),
            Err(panic) => caught(what, &*panic),
        }
        Timer::after(REST).await;
    }
}

/// Takes in what programs of this host leave, apart from all else: it may be much.
async fn pick_up(house: Arc<House>) -> io::Result<()> {
    loop {
        let asked = house.clone();
        unblock(move || asked.pick_up()).await;
        Timer::after(REST).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_executor::Task;
    use config::Config;
    use std::sync::atomic::{AtomicU32, Ordering};
    use storage::{
        control::{Client, Status},
        disk::Posix,
        serve::{Door, Port},
    };

    /// Serves for a moment, and then panics or fails.
    async fn serve_badly(start: u32, port: Arc<Port>, house: Arc<House>, tasks: Arc<Executor<'static>>) -> io::Result<()> {
        let end = async {
            Timer::after(Duration::from_millis(50)).await;
            match start {
                1 => panic!("a seeded panic"),
                2 => Err(io::ErrorKind::Other.into()),
                _ => future::pending().await,
            }
        };
        listen::serve(port, house, Arc::default(), tasks).or(end).await
    }

    #[test]
    fn who_panics_or_fails_is_started_again_and_serves() {
        let at = std::env::temp_dir().join(format!("hikyaku-smol-supervise-{}", std::process::id()));
        let config = Config { domains: vec!["example.test".into()], store: at.clone(), ..Config::default() };
        let house = House::open(config, Arc::new(Posix)).unwrap();
        let port = Arc::new(serve::control(&house).unwrap().into_iter().find(|port| port.door == Door::Control).unwrap());
        let (executor, starts) = (Arc::new(Executor::new()), Arc::new(AtomicU32::new(0)));
        let listener: Task<()> = executor.spawn(supervise("listener", {
            let (house, executor, starts) = (house.clone(), executor.clone(), starts.clone());
            move || serve_badly(starts.fetch_add(1, Ordering::Relaxed) + 1, port.clone(), house.clone(), executor.clone())
        }));
        let socket = at.join("control.sock");
        let status = block_on(executor.run(async {
            let begin = Instant::now();
            while starts.load(Ordering::Relaxed) < 3 {
                assert!(begin.elapsed() < Duration::from_secs(30), "it is not started again");
                Timer::after(REST).await;
            }
            unblock(move || Client::new(&socket).get::<Status>("/status", &[])).await.unwrap()
        }));
        assert_eq!(status.panics.get("listener"), Some(&1));
        drop((listener, house));
        std::fs::remove_dir_all(at).unwrap();
    }
}
