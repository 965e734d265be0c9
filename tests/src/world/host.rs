//! A machine of a world: a house on a disk that may crash, and its sessions.

use super::{
    Act, Life, Stage,
    books::{Crash, Guestbook},
    canary::{self, Canary, Clerk},
    net::{Actor, End, Knock},
    rot::{self, Rot},
    talk::{Bells, Came, Socket, Talk},
};
use crate::disk::{Crashing, Seeded};
use config::{Listen, Speak, TlsMode};
use std::{
    net::IpAddr,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};
use storage::{
    clock::Clock,
    disk::{Disk, How},
    house::{House, Seat},
    spool,
};
use wire::{Nudge, Tick, Why};

/// When worlds begin, in seconds since 1970.
pub const DAWN: i64 = 1_795_502_247;

/// The least time between two rounds of chores, in milliseconds.
const CHORES_MS: u64 = 1000;

/// The port where users submit (RFC 6409).
pub const SUBMISSION: u16 = 587;

/// The port where LMTP is spoken.
pub const LMTP: u16 = 24;

/// The aliases of each house.
const ALIASES: &str = "team: alice, bob, user7@d0.test\n";

const SECRET: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// So long what could not be delivered rests, in milliseconds.
const AGAIN_MS: u64 = 31_000;

/// Bytes that the log may keep when there is nothing in it but marks.
const KEPT: u64 = 1000;

/// Bytes of a segment of the log: small, so that there are several.
const SEGMENT: u64 = 32 << 10;

/// The clocks of a machine.
#[derive(Debug, Clone, Default)]
pub struct Hands {
    /// Milliseconds since the world began.
    pub now: Arc<AtomicU64>,
    /// By how many milliseconds the time of day is wrong.
    pub wrong: Arc<AtomicI64>,
}

impl Hands {
    /// The time of day in nanoseconds.
    pub fn wall_ns(&self) -> i128 {
        let ms = i128::from(DAWN) * 1000 + i128::from(self.now.load(Ordering::Relaxed)) + i128::from(self.wrong.load(Ordering::Relaxed));
        ms * 1_000_000
    }

    fn clock(&self) -> Clock {
        let (wall, ticks) = (self.clone(), self.now.clone());
        Clock::new(Arc::new(move || wall.wall_ns()), move || ticks.load(Ordering::Relaxed))
    }
}

/// A machine.
pub struct Host {
    /// Its number.
    pub number: usize,
    /// Its domain.
    pub domain: String,
    /// Its addresses.
    pub ips: [IpAddr; 2],
    /// Its configuration.
    pub config: String,
    /// Its disk.
    pub disk: Crashing,
    /// The house, while it runs.
    pub house: Option<Arc<House>>,
    /// Bells that were rung in it.
    pub bells: Bells,
    /// Its clocks.
    pub hands: Hands,
    /// Whether the house said that there may be a trip.
    pub rung: bool,
    /// Whether it was told to stop.
    pub stopping: bool,
    /// Whether it is about to be killed: the system stays.
    pub is_doomed: bool,
    /// Bits that flip before it starts again.
    pub rot: Vec<Rot>,
    /// When its sessions or chores last did something.
    pub busy_at: u64,
    /// When its chores were last done.
    pub chored_at: u64,
    /// Until when it is looked after each second.
    pub alert_until: u64,
    pains: u64,
    chores_at: u64,
    seed: u64,
    starts: u64,
}

impl Host {
    /// A machine with an empty store but for its accounts.
    pub fn new(number: usize, domain: &str, ips: [IpAddr; 2], config: String, accounts: &str, seed: u64) -> Host {
        let disk = Crashing::new();
        disk.make_dir(Path::new("/store")).expect("an empty disk");
        // The secret of rewritten senders would be made by chance that no seed knows.
        for (name, text) in [("accounts.ron", accounts), ("aliases", ALIASES), ("srs.secret", SECRET)] {
            let file = disk.open(&Path::new("/store").join(name), How::Create).expect("an empty disk");
            file.append(text.as_bytes()).expect("a good disk");
        }
        disk.sync_all(Path::new("/")).expect("a good disk");
        let (bells, hands) = (Bells::default(), Hands::default());
        Host {
            number,
            domain: domain.to_owned(),
            ips,
            config,
            disk,
            house: None,
            bells,
            hands,
            rung: true,
            stopping: false,
            is_doomed: false,
            rot: Vec::new(),
            busy_at: 0,
            chored_at: 0,
            alert_until: 0,
            pains: 0,
            chores_at: 0,
            seed,
            starts: 0,
        }
    }

    /// Gives it its file systems.
    pub fn furnish(&self, mounts: &[PathBuf], singly: bool) {
        for path in mounts {
            let above: Vec<&Path> = path.ancestors().skip(1).collect();
            for dir in above.into_iter().rev() {
                let _ = self.disk.make_dir(dir);
            }
            self.disk.mount(path).expect("nothing is there yet");
        }
        for path in mounts.iter().map(PathBuf::as_path).chain([Path::new("/")]) {
            self.disk.sync_all(path).expect("a good disk");
        }
        for path in mounts.iter().map(PathBuf::as_path).chain([Path::new("/")]).filter(|_| singly) {
            self.disk.sync_singly(path).expect("it is there");
        }
    }

    /// Whether something went wrong with its disk, or it panicked, since this was asked last.
    pub fn was_pained(&mut self) -> bool {
        let pains = self.disk.pains();
        std::mem::replace(&mut self.pains, pains) != pains
    }

    /// Whether the power failed at an operation of the disk.
    pub fn is_dark(&self) -> bool {
        self.disk.is_stopped()
    }

    /// Starts the house; says why not.
    ///
    /// # Errors
    /// If the disk does not let it.
    pub fn start(&mut self, now: u64, canary: Option<Canary>, stage: &mut Stage) -> Result<(), String> {
        self.set_clock(now);
        let rotten = self.rot(stage);
        self.starts += 1;
        let seed = self.seed.wrapping_add(self.starts);
        let options = spool::Options { segment: SEGMENT, limit: 1 << 30, spares: 2, patience: None, seed, ..spool::Options::default() };
        let config = config::parse("world", &self.config).map_err(|e| e.to_string())?;
        let disk = canary::disk(&self.disk, canary);
        let opened = survives(|| House::open_at(config, disk, self.hands.clock(), options));
        let house = opened.ok_or("it panicked")?.map_err(|e| e.to_string())?;
        self.is_told(rotten, stage);
        house.on_trips(self.bells.of(None));
        self.house = Some(house);
        self.rung = true;
        self.chores_at = now;
        Ok(())
    }

    /// Bits flip. Says how many damaged segments had been put aside before, if there have to be more now.
    fn rot(&mut self, stage: &mut Stage) -> Option<usize> {
        let (mut is_lost, mut is_seen) = (false, false);
        for one in std::mem::take(&mut self.rot) {
            let (mut lost, seen) = one.strike(self, stage);
            (is_lost, is_seen) = (is_lost || !lost.is_empty(), is_seen || seen && !lost.is_empty());
            stage.books.lost.append(&mut lost);
        }
        // The last group is vouched for by the chores after it; until then nobody can tell damage from what a crash cut short.
        let fell = stage.books.crashes.iter().rfind(|c| c.host == self.number);
        let is_quiet = self.chored_at > self.busy_at && !stage.books.was_pained(self.number, 0, stage.net.now);
        // What vouches for it may be what another bit has hit.
        let is_alone = stage.books.rotten.iter().filter(|one| **one == (self.number, stage.net.now)).count() == 1;
        let is_vouched = is_quiet && is_alone && fell.is_some_and(|c| !c.is_cut);
        (is_lost && (is_seen || is_vouched)).then(|| rot::aside(self))
    }

    /// What was damaged was put aside.
    fn is_told(&self, before: Option<usize>, stage: &mut Stage) {
        if before.is_some_and(|before| rot::aside(self) <= before) {
            stage.books.wrong(format!("house {} started with a damaged log, and nobody is told", self.number));
        }
    }

    /// Lets time pass: the clocks of the house and of its disk.
    pub fn set_clock(&self, now: u64) {
        self.hands.now.store(now, Ordering::Relaxed);
        self.disk.set_time(self.hands.wall_ns());
    }

    /// What is done about once a second. Returns whether it was time.
    pub fn chores(&mut self, now: u64) -> bool {
        let Some(house) = &self.house else { return false };
        if now < self.chores_at {
            return false;
        }
        self.chores_at = now + CHORES_MS;
        house.chores();
        house.pick_up();
        if !self.is_dark() {
            self.chored_at = now;
        }
        true
    }

    /// Whether it runs, and has nothing more to do.
    pub fn is_quiet(&self) -> bool {
        let Some(house) = &self.house else { return false };
        // Mail that waits for a mailbox is tried again now and then.
        house.trips_due().is_none() && house.mailboxes().aside().is_empty() && house.levels().undelivered == 0
    }

    /// The end: all is durable and nothing is owed to anybody, so that the worst power cut takes nothing and the next start has nothing to do.
    ///
    /// # Errors
    /// Says why it is not so.
    pub fn rest(&mut self, stage: &mut Stage) -> Result<(), String> {
        let house = self.house.take().ok_or("it does not run")?;
        // Whatever was still to come.
        self.disk.heal();
        self.disk.stop(u64::MAX);
        for round in 1.. {
            house.checkpoint().map_err(|error| format!("no checkpoint: {error}"))?;
            if house.mailboxes().aside().is_empty() || round == 3 {
                break;
            }
            // That the disk lost something may be news.
            self.set_clock(stage.net.now + round * AGAIN_MS);
            house.chores();
        }
        let (levels, aside) = (house.levels(), house.mailboxes().aside());
        if levels.undelivered > 0 || !aside.is_empty() || levels.log_bytes > KEPT {
            return Err(format!("{} records wait, {} bytes of the log are kept, {aside:?}", levels.undelivered, levels.log_bytes));
        }
        self.disk.stop(0);
        drop(house);
        self.disk = self.disk.lose();
        self.start(self.hands.now.load(Ordering::Relaxed), None, stage)
    }

    /// Lets somebody in: a session, or what is said before hanging up.
    pub fn welcome(&self, actor: Actor, end: End, knock: &Knock, canary: Option<Canary>) -> Result<Visit, Vec<u8>> {
        let house = self.house.as_ref().expect("somebody knocked at a house that is open");
        let speak = match knock.to.port() {
            SUBMISSION => Speak::Submission,
            LMTP => Speak::Lmtp,
            _ => Speak::Smtp,
        };
        let listen = Listen { on: knock.to, speak, tls: TlsMode::Start };
        let guest = house.knock(&listen, knock.from, self.bells.of(Some(actor)))?;
        let Seat::Smtp(session, office) = house.seat(guest, &listen, None, Tick(self.hands.now.load(Ordering::Relaxed))) else {
            panic!("asked for SMTP")
        };
        let talk = Talk::new(*session, Clerk::new(*office, canary), Socket::Stream(end), smtp::INBOX_LIMIT, smtp::OUTBOX_MARK);
        let book = Guestbook::new(self.number, knock.from.ip(), end.conn);
        Ok(Visit { host: self.number, disk: self.disk.clone(), talk, book, end })
    }

    /// The last session is over: the house closes. What it could not write by now is as after a crash.
    pub fn stop(&mut self) {
        if let Some(house) = self.house.take() {
            survives(|| house.close());
        }
        self.stopping = false;
        let _ = self.bells.heard();
        if !self.is_dark() {
            self.disk = self.disk.kill();
        }
    }

    /// The power fails now, or the house is killed. What is on the disk after a power cut is chance's; the house is gone.
    pub fn fall(&mut self, stage: &mut Stage) {
        let (is_cut, ops) = (!std::mem::take(&mut self.is_doomed), self.disk.ops());
        stage.books.crashes.push(Crash { host: self.number, at: stage.net.now, is_cut });
        let how = if is_cut { "crashes" } else { "is killed" };
        stage
            .net
            .tape
            .note(&[40, self.number as u64, ops, u64::from(is_cut)], || format!("house {} {how} at operation {ops}", self.number));
        // What runs when it is dropped finds no disk.
        self.disk.stop(0);
        self.stopping = false;
        self.house = None;
        let _ = self.bells.heard();
        self.disk = if is_cut { self.disk.crash(&mut stage.net.dice) } else { self.disk.kill() };
        if is_cut {
            stage.books.undo(self.number, stage.net.now);
        }
    }
}

/// Somebody at the door of a house.
pub struct Visit {
    host: usize,
    disk: Crashing,
    talk: Talk<smtp::Server, Clerk>,
    book: Guestbook,
    end: End,
}

impl Act for Visit {
    fn act(&mut self, me: Actor, stage: &mut Stage) -> Life {
        let disk = &self.disk;
        let came = self.talk.run(&mut stage.net, &|| !disk.is_stopped(), &mut self.book);
        if came == Came::Dark {
            // Nobody heard it.
            self.book.refused.clear();
        }
        self.book.hand_in(me, &mut stage.net, &mut stage.books);
        match came {
            Came::Waits(until) => {
                let until = until.expect("a server always has a deadline");
                stage.net.wake(me, until.0);
                Life::Goes
            }
            Came::Ended(why) => {
                if why == Why::Timeout {
                    stage.net.blame(self.end.conn);
                }
                self.talk.office.office.closed(why);
                self.talk.close(&mut stage.net);
                Life::Ends
            }
            Came::Dark => Life::Ends,
        }
    }

    fn panicked(&mut self, me: Actor, stage: &mut Stage) {
        self.book.hand_in(me, &mut stage.net, &mut stage.books);
    }

    fn nudge(&mut self, nudge: Nudge) {
        self.talk.nudges.push(nudge);
    }

    fn end(&self) -> Option<End> {
        Some(self.end)
    }

    fn host(&self) -> Option<usize> {
        Some(self.host)
    }
}

/// What somebody does, or nothing if a panic that the seed wanted ended it. Any other goes on.
pub fn survives<T>(act: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(act)) {
        Ok(done) => Some(done),
        Err(panic) if panic.is::<Seeded>() => None,
        Err(panic) => resume_unwind(panic),
    }
}
