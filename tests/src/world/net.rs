//! The network of a world: byte streams and datagrams that take their time, and everything that goes wrong on the way.
//!
//! Nothing here knows who speaks. Whoever is woken looks at its end of a connection and says something; what arrives, and when, is decided here.

use super::tape::{Tape, sum};
use fastrand::Rng;
use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr},
};

/// Somebody who can be woken: a session, a scripted peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Actor(pub u32);

/// One end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct End {
    /// Which connection.
    pub conn: usize,
    /// 0 dialled, 1 accepted.
    pub side: usize,
}

/// What happens next somewhere.
#[derive(Debug)]
pub enum Event {
    /// A timer, or a bell.
    Wake(Actor),
    /// Somebody wants to connect.
    Knock(Knock),
    /// How that ended.
    Dialled(Actor, Result<End, io::ErrorKind>),
    /// Something arrives at an end.
    Arrive(End, Piece),
    /// A datagram arrives.
    Datagram(Datagram),
    /// Whatever else a world has planned, by number.
    Other(u64),
}

/// A wish to connect.
#[derive(Debug, Clone, Copy)]
pub struct Knock {
    /// Whose.
    pub dialler: Actor,
    /// From where.
    pub from: SocketAddr,
    /// Where to.
    pub to: SocketAddr,
    /// When the dialler gives up.
    pub until: u64,
}

/// What arrives on a stream.
#[derive(Debug)]
pub enum Piece {
    /// Some bytes.
    Bytes(Vec<u8>),
    /// No more bytes.
    Fin,
    /// The connection is gone.
    Reset,
}

/// A datagram.
#[derive(Debug, Clone)]
pub struct Datagram {
    /// From where.
    pub from: SocketAddr,
    /// Where to.
    pub to: SocketAddr,
    /// What it says.
    pub bytes: Vec<u8>,
}

/// How likely things go wrong, of 256 each.
#[derive(Debug, Clone, Copy, Default)]
pub struct Weather {
    /// A connection is cut at some byte.
    pub cut: u8,
    /// A connection falls silent at some byte: nobody is told.
    pub mute: u8,
    /// A connection is slow.
    pub slow: u8,
    /// A byte of a connection with a stranger is another one.
    pub flip: u8,
    /// A datagram is lost.
    pub loss: u8,
    /// It arrives twice.
    pub twice: u8,
    /// It takes a second or two.
    pub late: u8,
    /// Nobody hears a knock.
    pub deaf: u8,
    /// A TLS handshake of who dialled fails.
    pub shake: u8,
}

/// What will happen to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Fine,
    Cut(u64),
    Mute(u64),
}

#[derive(Debug)]
struct Conn {
    fate: Fate,
    /// Milliseconds a byte, if it is slow.
    slow: u64,
    flip: Option<u64>,
    flips: [bool; 2],
    latency: u64,
    carried: u64,
    mute: bool,
    faulty: bool,
    ends: [Half; 2],
}

#[derive(Debug, Default)]
struct Half {
    actor: Option<Actor>,
    address: Option<SocketAddr>,
    inbox: Vec<u8>,
    fin: bool,
    reset: bool,
    closed: bool,
    /// When the last thing that was sent to it arrives.
    last: u64,
}

/// What is to be had at an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Got {
    /// That many bytes.
    Bytes(usize),
    /// Nothing now.
    Nothing,
    /// The peer says no more.
    End,
    /// The connection is gone.
    Reset,
}

/// The network, and the clock that all share.
#[derive(Debug)]
pub struct Net {
    /// Milliseconds since the world began.
    pub now: u64,
    /// Chance, for everybody.
    pub dice: Rng,
    /// What goes wrong at the moment.
    pub weather: Weather,
    /// What happened.
    pub tape: Tape,
    events: BTreeMap<(u64, u64), Event>,
    wakes: BTreeMap<Actor, u64>,
    count: u64,
    actors: u32,
    port: u16,
    conns: Vec<Conn>,
    /// Who has an address for datagrams.
    bound: BTreeMap<SocketAddr, Actor>,
}

impl Net {
    /// One where nothing has happened.
    pub fn new(dice: Rng, weather: Weather, told: bool) -> Net {
        Net {
            now: 0,
            dice,
            weather,
            tape: Tape::new(told),
            events: BTreeMap::new(),
            wakes: BTreeMap::new(),
            count: 0,
            actors: 0,
            port: 20_000,
            conns: Vec::new(),
            bound: BTreeMap::new(),
        }
    }

    /// A new somebody.
    pub fn actor(&mut self) -> Actor {
        self.actors += 1;
        Actor(self.actors)
    }

    /// Something will happen at that time, after what was planned for it before.
    pub fn plan(&mut self, at: u64, event: Event) {
        self.count += 1;
        self.events.insert((at.max(self.now), self.count), event);
    }

    /// Wakes somebody at that time or earlier.
    pub fn wake(&mut self, actor: Actor, at: u64) {
        let at = at.max(self.now);
        if self.wakes.get(&actor).is_none_or(|before| *before > at) {
            self.wakes.insert(actor, at);
            self.plan(at, Event::Wake(actor));
        }
    }

    /// The next thing that happens, if it does so until then; the clock stands there.
    pub fn next(&mut self, until: u64) -> Option<Event> {
        loop {
            let entry = self.events.first_entry().filter(|e| e.key().0 <= until)?;
            let (at, _) = *entry.key();
            let event = entry.remove();
            if let Event::Wake(actor) = event {
                // Somebody who is to be woken earlier was woken earlier.
                if self.wakes.get(&actor) != Some(&at) {
                    continue;
                }
                self.wakes.remove(&actor);
            }
            self.now = at;
            self.tape.at(at);
            return Some(event);
        }
    }

    /// Somebody has an end: nothing is to wake it any more.
    pub fn forget(&mut self, actor: Actor) {
        self.wakes.remove(&actor);
        self.bound.retain(|_, a| *a != actor);
    }

    /// A port that nobody used lately.
    pub fn port(&mut self) -> u16 {
        self.port = if self.port == u16::MAX { 20_000 } else { self.port + 1 };
        self.port
    }

    /// Whether something of this chance happens.
    pub fn happens(&mut self, chance: u8) -> bool {
        chance > 0 && self.dice.u8(..) < chance
    }

    /// Somebody dials. The answer is an [`Event::Dialled`].
    pub fn dial(&mut self, dialler: Actor, from: IpAddr, to: SocketAddr, patience: u64) {
        let from = SocketAddr::new(from, self.port());
        let until = self.now + patience;
        self.tape.note(&[1, u64::from(dialler.0)], || format!("{from} dials {to}"));
        if self.happens(self.weather.deaf) {
            self.plan(until, Event::Dialled(dialler, Err(io::ErrorKind::TimedOut)));
            return;
        }
        let at = self.now + self.dice.u64(1..40);
        self.plan(at, Event::Knock(Knock { dialler, from, to, until }));
    }

    /// Nobody is there: `quick` says so at once.
    pub fn refuse(&mut self, knock: &Knock, quick: bool) {
        let (at, kind) = if quick { (self.now + 1, io::ErrorKind::ConnectionRefused) } else { (knock.until, io::ErrorKind::TimedOut) };
        self.plan(at, Event::Dialled(knock.dialler, Err(kind)));
    }

    /// Connects who knocked with who accepts. `flips` says of which sides a byte may be changed on the way.
    pub fn join(&mut self, knock: &Knock, acceptor: Actor, flips: [bool; 2]) -> End {
        let w = self.weather;
        let fate = match (self.happens(w.cut), self.happens(w.mute)) {
            (true, _) => Fate::Cut(self.place()),
            (_, true) => Fate::Mute(self.place()),
            _ => Fate::Fine,
        };
        let slow = if self.happens(w.slow) { self.dice.u64(1..40) } else { 0 };
        let flip = if flips != [false; 2] && self.happens(w.flip) { Some(self.place()) } else { None };
        let half = |actor, address| Half { actor: Some(actor), address: Some(address), ..Half::default() };
        let latency = self.dice.u64(1..60);
        self.conns.push(Conn {
            fate,
            slow,
            flip,
            flips,
            latency,
            carried: 0,
            mute: false,
            faulty: false,
            ends: [half(knock.dialler, knock.from), half(acceptor, knock.to)],
        });
        let conn = self.conns.len() - 1;
        self.tape.note(&[2, conn as u64], || format!("#{conn} {} -> {} fate {fate:?} slow {slow} flip {flip:?}", knock.from, knock.to));
        self.plan(self.now + latency, Event::Dialled(knock.dialler, Ok(End { conn, side: 0 })));
        End { conn, side: 1 }
    }

    /// Somewhere in a connection; the beginning is where most is said.
    fn place(&mut self) -> u64 {
        let most = self.dice.choice([40, 200, 400, 800, 2000]).unwrap_or(1);
        self.dice.u64(0..most)
    }

    /// Whether anything was not right with a connection, so that what was said last may not have been heard.
    pub fn was_faulty(&self, conn: usize) -> bool {
        self.conns[conn].faulty
    }

    /// Whether each byte of it takes its time.
    pub fn is_slow(&self, conn: usize) -> bool {
        self.conns[conn].slow > 0
    }

    /// Whoever has this connection gave up on it before it was told everything.
    pub fn blame(&mut self, conn: usize) {
        self.conns[conn].faulty = true;
    }

    /// The address of the other end.
    pub fn peer(&self, end: End) -> SocketAddr {
        self.conns[end.conn].ends[1 - end.side].address.expect("a connection has two ends")
    }

    /// Says something on a connection; false if it is known to be gone.
    pub fn send(&mut self, end: End, bytes: &[u8]) -> bool {
        if bytes.is_empty() {
            return true;
        }
        self.tape.note(&[3, end.conn as u64, end.side as u64, sum(bytes)], || {
            let arrow = if end.side == 0 { ">" } else { "<" };
            format!("#{} {arrow} {}", end.conn, show(bytes))
        });
        let other = End { side: 1 - end.side, ..end };
        let conn = &mut self.conns[end.conn];
        if conn.ends[end.side].reset || conn.ends[end.side].closed {
            return false;
        }
        if conn.mute {
            conn.faulty = true;
            return true;
        }
        if conn.ends[other.side].closed {
            conn.faulty = true;
            let at = self.now + conn.latency;
            self.plan(at, Event::Arrive(end, Piece::Reset));
            return true;
        }
        let mut bytes = bytes.to_vec();
        if let Some(at) = conn.flip.filter(|_| conn.flips[end.side])
            && let Some(byte) = at.checked_sub(conn.carried).and_then(|at| bytes.get_mut(at as usize))
        {
            *byte ^= 0x04;
            conn.faulty = true;
        }
        let before = conn.carried;
        conn.carried += bytes.len() as u64;
        let last_words = match conn.fate {
            Fate::Cut(at) | Fate::Mute(at) if conn.carried > at => {
                bytes.truncate(at.saturating_sub(before) as usize);
                conn.faulty = true;
                conn.mute = true;
                Some(conn.fate)
            }
            _ => None,
        };
        self.carry(other, &bytes);
        if let Some(Fate::Cut(_)) = last_words {
            let at = self.conns[end.conn].ends[other.side].last.max(self.now + 1);
            self.plan(at, Event::Arrive(other, Piece::Reset));
            self.plan(at, Event::Arrive(end, Piece::Reset));
        }
        true
    }

    /// Cuts bytes into pieces that arrive one after the other.
    fn carry(&mut self, to: End, mut bytes: &[u8]) {
        let (slow, latency) = (self.conns[to.conn].slow, self.conns[to.conn].latency);
        while !bytes.is_empty() {
            let n = match (slow, self.dice.u8(..4)) {
                (0, 0..3) => bytes.len(),
                (0, _) => self.dice.usize(1..=bytes.len()),
                _ => self.dice.usize(1..=bytes.len().min(200)),
            };
            let at = self.now + latency + self.dice.u64(0..4) + slow * n as u64;
            self.arrive(to, at, Piece::Bytes(bytes[..n].to_vec()));
            bytes = &bytes[n..];
        }
    }

    fn arrive(&mut self, to: End, at: u64, piece: Piece) {
        let last = &mut self.conns[to.conn].ends[to.side].last;
        *last = at.max(*last);
        let at = *last;
        self.plan(at, Event::Arrive(to, piece));
    }

    /// Hangs up: the peer hears everything that was said, and then that nothing more comes.
    pub fn close(&mut self, end: End) {
        let conn = &mut self.conns[end.conn];
        let half = &mut conn.ends[end.side];
        if half.closed {
            return;
        }
        half.closed = true;
        let unread = !half.inbox.is_empty();
        let (gone, latency) = (half.reset || conn.mute, conn.latency);
        half.inbox = Vec::new();
        self.tape.note(&[4, end.conn as u64, end.side as u64], || format!("#{} side {} closes", end.conn, end.side));
        if !gone {
            let other = End { side: 1 - end.side, ..end };
            if unread {
                // What was not read makes the system reset the connection.
                self.conns[end.conn].faulty = true;
            }
            self.arrive(other, self.now + latency, if unread { Piece::Reset } else { Piece::Fin });
        }
    }

    /// The machine of this end is gone. `silent` if nobody tells the peer.
    pub fn lose(&mut self, end: End, silent: bool) {
        let conn = &mut self.conns[end.conn];
        conn.faulty = true;
        conn.ends[end.side].closed = true;
        conn.ends[end.side].actor = None;
        if silent {
            conn.mute = true;
        } else if !conn.mute {
            let at = self.now + conn.latency;
            self.plan(at, Event::Arrive(End { side: 1 - end.side, ..end }, Piece::Reset));
        }
    }

    /// Something arrives; who is to be woken by it.
    pub fn arrived(&mut self, end: End, piece: Piece) -> Option<Actor> {
        let conn = &mut self.conns[end.conn];
        let half = &mut conn.ends[end.side];
        if half.closed || half.reset {
            return None;
        }
        match piece {
            Piece::Bytes(bytes) => half.inbox.extend_from_slice(&bytes),
            Piece::Fin => half.fin = true,
            Piece::Reset => {
                conn.faulty = true;
                half.reset = true;
                half.inbox = Vec::new();
            }
        }
        half.actor
    }

    /// Takes what has arrived.
    pub fn receive(&mut self, end: End, room: &mut [u8]) -> Got {
        let half = &mut self.conns[end.conn].ends[end.side];
        if half.reset {
            return Got::Reset;
        }
        let n = half.inbox.len().min(room.len());
        if n > 0 {
            room[..n].copy_from_slice(&half.inbox[..n]);
            half.inbox.drain(..n);
            return Got::Bytes(n);
        }
        if half.inbox.is_empty() && half.fin { Got::End } else { Got::Nothing }
    }

    /// Somebody has an address for datagrams from now on.
    pub fn bind(&mut self, at: SocketAddr, actor: Actor) {
        self.bound.insert(at, actor);
    }

    /// Who has that address.
    pub fn bound(&self, at: SocketAddr) -> Option<Actor> {
        self.bound.get(&at).copied()
    }

    /// Sends a datagram.
    pub fn datagram(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let w = self.weather;
        self.tape.note(&[5, sum(bytes)], || format!("datagram of {} from {from} to {to}", bytes.len()));
        let copies = u32::from(!self.happens(w.loss)) + u32::from(self.happens(w.twice));
        for _ in 0..copies {
            let late = if self.happens(w.late) { self.dice.u64(500..4000) } else { 0 };
            let at = self.now + self.dice.u64(1..30) + late;
            self.plan(at, Event::Datagram(Datagram { from, to, bytes: bytes.to_vec() }));
        }
    }

    /// Connections that are not closed at both ends, where an end still belongs to somebody.
    pub fn open(&self) -> usize {
        self.conns.iter().flat_map(|c| &c.ends).filter(|half| half.actor.is_some() && !half.closed && !half.reset).count()
    }
}

/// Bytes for the story.
fn show(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(300)];
    let text = String::from_utf8_lossy(cut).replace('\r', "").replace('\n', "|");
    if cut.len() < bytes.len() { format!("{text}... {} bytes", bytes.len()) } else { text }
}
