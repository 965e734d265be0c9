//! A machine of a world: a house on a disk that may crash, and its sessions.

use super::{
    Act, Life, Stage,
    books::{Crash, Guestbook},
    canary::{self, Canary, Clerk},
    net::{Actor, End, Knock},
    talk::{Bells, Came, Socket, Talk},
};
use crate::disk::Crashing;
use config::{Listen, Speak, TlsMode};
use std::{
    net::IpAddr,
    path::Path,
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
    chores_at: u64,
    seed: u64,
    starts: u64,
}

impl Host {
    /// A machine with an empty store but for its accounts.
    pub fn new(number: usize, ips: [IpAddr; 2], config: String, accounts: &str, seed: u64) -> Host {
        let disk = Crashing::new();
        disk.make_dir(Path::new("/store")).expect("an empty disk");
        // The secret of rewritten senders would be made by chance that no seed knows.
        for (name, text) in [("accounts.ron", accounts), ("aliases", ALIASES), ("srs.secret", SECRET)] {
            let file = disk.open(&Path::new("/store").join(name), How::Create).expect("an empty disk");
            file.append(text.as_bytes()).expect("a good disk");
        }
        disk.sync_all(Path::new("/")).expect("a good disk");
        let (bells, hands) = (Bells::default(), Hands::default());
        Host { number, ips, config, disk, house: None, bells, hands, rung: true, stopping: false, chores_at: 0, seed, starts: 0 }
    }

    /// Whether the power failed at an operation of the disk.
    pub fn is_dark(&self) -> bool {
        self.disk.is_stopped()
    }

    /// Starts the house; says why not.
    ///
    /// # Errors
    /// If the disk does not let it.
    pub fn start(&mut self, now: u64, canary: Option<Canary>) -> Result<(), String> {
        self.set_clock(now);
        self.starts += 1;
        let seed = self.seed.wrapping_add(self.starts);
        let options = spool::Options { segment: SEGMENT, limit: 1 << 30, spares: 2, patience: None, seed, ..spool::Options::default() };
        let config = config::parse("world", &self.config).map_err(|e| e.to_string())?;
        let house = House::open_at(config, canary::disk(&self.disk, canary), self.hands.clock(), options).map_err(|e| e.to_string())?;
        house.on_trips(self.bells.of(None));
        self.house = Some(house);
        self.rung = true;
        self.chores_at = now;
        Ok(())
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
        true
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
            house.close();
        }
        self.stopping = false;
        let _ = self.bells.heard();
        if !self.is_dark() {
            self.disk = self.disk.kill();
        }
    }

    /// The power fails now. What is on the disk afterwards is chance's; the house is gone.
    pub fn crash(&mut self, stage: &mut Stage) {
        stage.books.crashes.push(Crash { host: self.number, at: stage.net.now });
        stage
            .net
            .tape
            .note(&[40, self.number as u64, self.disk.ops()], || format!("house {} crashes at operation {}", self.number, self.disk.ops()));
        // What runs when it is dropped finds no disk.
        self.disk.stop(0);
        self.stopping = false;
        self.house = None;
        let _ = self.bells.heard();
        self.disk = self.disk.crash(&mut stage.net.dice);
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
