//! The world: whole houses, foreign servers and clients, names, networks and disks in one process, under virtual time, from one seed.
//!
//! [`run`] plays a seed to its end: things go wrong for a while (which, is the seed's choice), then nothing goes wrong any more and time runs on
//! until everybody is quiet. Then the books are compared ([`check`](self::check)): what was taken with a 250 is in a mailbox exactly once, was handed
//! on, or came back.
//!
//! One thread and one source of chance: a seed that fails once fails always, and two runs of a seed have the same hash.

mod books;
mod canary;
mod check;
mod client;
#[cfg(test)]
mod courier;
mod deeds;
mod excuses;
mod foreign;
mod host;
mod ills;
mod letters;
mod loiterer;
mod names;
mod neighbours;
mod net;
mod plan;
mod pranks;
mod rot;
mod talk;
mod tape;
mod travel;

pub use canary::Canary;
pub use plan::Plan;

use books::Books;
use foreign::{Conversation, Site};
use host::{Host, survives};
use names::{NameServer, NameStream, Zone};
use net::{Actor, End, Event, Knock, Net};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::Once,
};
use storage::{
    control::{Filter, Operator as _, Page},
    outgoing::{Dial, Load, Traveller, Trip},
};
use travel::Travel;
use wire::{Nudge, Question, Session, Tick, Why};

/// What everybody acts upon.
pub struct Stage {
    /// The network and its clock.
    pub net: Net,
    /// What is written down.
    pub books: Books,
}

/// Whether somebody goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// There is more to come.
    Goes,
    /// That was it.
    Ends,
}

/// Somebody in a world.
pub trait Act {
    /// Something arrived, or it is time.
    fn act(&mut self, me: Actor, stage: &mut Stage) -> Life;

    /// How dialling ended.
    fn dialled(&mut self, _: Actor, _: &mut Stage, _: Result<End, io::ErrorKind>) -> Life {
        unreachable!("it never dialled")
    }

    /// A datagram is there.
    fn datagram(&mut self, _: Vec<u8>) {}

    /// Somebody rang.
    fn nudge(&mut self, _: Nudge) {}

    /// Something in it panicked, as the seed wanted it. It is about to be dropped.
    fn panicked(&mut self, _: Actor, _: &mut Stage) {}

    /// Its end of a connection.
    fn end(&self) -> Option<End>;

    /// The house that it is part of.
    fn host(&self) -> Option<usize> {
        None
    }
}

/// How a seed went.
#[derive(Debug)]
pub struct Outcome {
    /// Of everything that happened.
    pub hash: u64,
    /// Broken promises.
    pub wrong: Vec<String>,
    /// What was counted, to see whether worlds are worth their time.
    pub counts: BTreeMap<&'static str, u64>,
    /// The end of the story, if it was told.
    pub tail: Vec<String>,
}

/// Plays a seed. `told` keeps the end of the story.
pub fn run(seed: u64, canary: Option<Canary>, told: bool) -> Outcome {
    let mut world = World::new(Plan::new(seed, canary), told);
    watch_panics();
    let before = PANICS.get();
    let played = catch_unwind(AssertUnwindSafe(|| world.play()));
    let mut wrong = std::mem::take(&mut world.stage.books.wrong);
    let panics = PANICS.get() - before;
    if panics > u64::from(played.is_err()) {
        wrong.push(format!("something panicked in a house that nobody wanted to panic, and was caught: {panics}"));
    }
    if let Err(panic) = played {
        let words = panic.downcast_ref::<String>().cloned();
        let words = words.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
        let words = words.unwrap_or_else(|| "as the seed wanted, but where nobody catches it".to_owned());
        wrong.push(format!("panicked: {words}"));
    }
    let mut counts = std::mem::take(&mut world.counts);
    counts.insert("virtual seconds", world.stage.net.now / 1000);
    Outcome { hash: world.stage.net.tape.hash(), wrong, counts, tail: world.stage.net.tape.tail() }
}

thread_local! {
    /// Panics of this thread that no seed wanted: houses catch what panics, and say it only to their log.
    static PANICS: Cell<u64> = const { Cell::new(0) };
}

/// Counts panics from now on. Those that a seed wants call no hook.
fn watch_panics() {
    static WATCHED: Once = Once::new();
    WATCHED.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICS.set(PANICS.get() + 1);
            before(info);
        }));
    });
}

/// A world.
struct World {
    plan: Plan,
    stage: Stage,
    hosts: Vec<Host>,
    /// Whom to wake for the sake of a house.
    keepers: Vec<Actor>,
    /// How long the next rest of each keeper is.
    rests: Vec<u64>,
    sites: Vec<Rc<RefCell<Site>>>,
    names: Rc<RefCell<Zone>>,
    actors: BTreeMap<Actor, Box<dyn Act>>,
    calm: bool,
    counts: BTreeMap<&'static str, u64>,
}

/// More events than any world has that comes to an end.
const EVENTS_MAX: u64 = 200_000;

/// More trips than a house of this size has at a time.
const TRIPS_MAX: u32 = 1000;

/// The longest rest of a keeper, in milliseconds.
const REST: u64 = 600_000;

impl World {
    fn new(plan: Plan, told: bool) -> World {
        let dice = fastrand::Rng::with_seed(plan.seed ^ 0x5eed_da7a);
        let mut net = Net::new(dice, plan.weather, told);
        net.tape.say(|| format!("{plan:#?}"));
        let hosts: Vec<Host> = plan.hosts.iter().map(plan::HostPlan::build).collect();
        let keepers = hosts.iter().map(|_| net.actor()).collect();
        let sites: Vec<_> = plan.sites.iter().map(|site| Rc::new(RefCell::new(site.build(plan.calm_at)))).collect();
        let names = Rc::new(RefCell::new(plan.zone()));
        for (n, (at, _)) in plan.deeds.iter().enumerate() {
            net.plan(*at, Event::Other(n as u64));
        }
        let rests = vec![1000; hosts.len()];
        let stage = Stage { net, books: Books::default() };
        World { plan, stage, hosts, keepers, rests, sites, names, actors: BTreeMap::new(), calm: false, counts: BTreeMap::new() }
    }

    /// From the beginning to the comparison of the books.
    fn play(&mut self) {
        for n in 0..self.hosts.len() {
            self.start(n);
        }
        let end = self.plan.end_at;
        while let Some(event) = self.stage.net.next(end) {
            *self.counts.entry("events").or_default() += 1;
            self.step(event);
            self.settle();
            if self.calm && self.is_quiet() {
                break;
            }
            if self.counts["events"] > EVENTS_MAX {
                self.stage.books.wrong("time does not go on".to_owned());
                break;
            }
        }
        self.finish();
    }

    /// Whether nothing is left to happen.
    fn is_quiet(&self) -> bool {
        self.actors.is_empty() && self.stage.net.now >= self.plan.settled_at() && self.hosts.iter().all(Host::is_quiet)
    }

    fn step(&mut self, event: Event) {
        let now = self.stage.net.now;
        for host in &self.hosts {
            host.set_clock(now);
        }
        match event {
            Event::Wake(actor) => match self.keepers.iter().position(|k| *k == actor) {
                Some(n) => self.keep(n),
                None => self.act(actor),
            },
            Event::Knock(knock) => self.knock(&knock),
            Event::Dialled(actor, result) => {
                let Some(mut act) = self.actors.remove(&actor) else {
                    // Whoever dialled is gone.
                    if let Ok(end) = result {
                        self.stage.net.lose(end, false);
                    }
                    return;
                };
                self.touch(&*act);
                let life = survives(|| act.dialled(actor, &mut self.stage, result));
                self.leave(actor, act, life);
            }
            Event::Arrive(end, piece) => {
                if let Some(actor) = self.stage.net.arrived(end, piece) {
                    self.act(actor);
                }
            }
            Event::Datagram(datagram) => {
                if datagram.to.port() == 53 {
                    NameServer { at: datagram.to, zone: self.names.clone() }.hear(&mut self.stage.net, &datagram);
                } else if let Some(actor) = self.stage.net.bound(datagram.to)
                    && let Some(act) = self.actors.get_mut(&actor)
                {
                    act.datagram(datagram.bytes);
                    self.act(actor);
                }
            }
            Event::Other(n) => {
                let (_, deed) = self.plan.deeds[n as usize].clone();
                self.deed(deed);
            }
        }
    }

    fn act(&mut self, actor: Actor) {
        let Some(mut act) = self.actors.remove(&actor) else { return };
        self.touch(&*act);
        let taken = self.stage.books.taken.len();
        let life = survives(|| act.act(actor, &mut self.stage));
        if let Some(n) = act.host() {
            self.feel(n);
        }
        self.leave(actor, act, life);
        neighbours::prompt(&self.plan, &self.hosts, &mut self.stage, taken);
    }

    /// A house has something to do: its keeper looks after it soon.
    fn touch(&mut self, act: &dyn Act) {
        if let Some(n) = act.host() {
            self.rests[n] = 1000;
            self.hosts[n].busy_at = self.stage.net.now;
            self.stage.net.wake(self.keepers[n], self.stage.net.now + 1000);
        }
    }

    /// Somebody goes on or not; if there was a panic, as in a runtime the connection ends, and nothing else.
    fn leave(&mut self, actor: Actor, mut act: Box<dyn Act>, life: Option<Life>) {
        match life {
            Some(Life::Goes) => drop(self.actors.insert(actor, act)),
            Some(Life::Ends) => self.stage.net.forget(actor),
            None => {
                self.stage.net.tape.note(&[44, u64::from(actor.0)], || format!("a connection of house {:?} panics", act.host()));
                act.panicked(actor, &mut self.stage);
                if let Some(end) = act.end() {
                    self.stage.net.lose(end, false);
                }
                self.stage.net.forget(actor);
                survives(|| drop(act));
            }
        }
    }

    fn keep(&mut self, n: usize) {
        let now = self.stage.net.now;
        self.hosts[n].chores(now);
        if self.hosts[n].house.is_some() {
            self.stage.net.wake(self.keepers[n], now + self.rests[n]);
            self.rests[n] = if now < self.hosts[n].alert_until { 1000 } else { (self.rests[n] * 2).min(REST) };
        }
    }

    fn knock(&mut self, knock: &Knock) {
        let (ip, port) = (knock.to.ip(), knock.to.port());
        if port == 53 {
            let zone = self.names.clone();
            let actor = self.stage.net.actor();
            let end = self.stage.net.join(knock, actor, [false; 2]);
            let until = self.stage.net.now + 60_000;
            self.actors.insert(actor, Box::new(NameStream { end, zone, held: Vec::new(), until }));
            self.stage.net.wake(actor, until);
        } else if let Some(n) = self.hosts.iter().position(|h| h.ips.contains(&ip)) {
            if self.hosts[n].house.is_none() || ![25, host::SUBMISSION, host::LMTP].contains(&port) {
                let quick = self.stage.net.dice.bool();
                return self.stage.net.refuse(knock, quick);
            }
            let actor = self.stage.net.actor();
            let stranger = self.hosts.iter().all(|h| !h.ips.contains(&knock.from.ip()));
            let end = self.stage.net.join(knock, actor, [stranger; 2]);
            match self.hosts[n].welcome(actor, end, knock, self.plan.canary) {
                Ok(visit) => {
                    self.actors.insert(actor, Box::new(visit));
                    self.stage.net.wake(actor, self.stage.net.now);
                }
                Err(words) => {
                    self.stage.net.send(end, &words);
                    self.stage.net.close(end);
                }
            }
        } else if let Some(n) = self.plan.sites.iter().position(|s| [s.ip, s.ip6].contains(&ip)) {
            let actor = self.stage.net.actor();
            // What is said may be changed, but not the message: its trace is how it is known.
            let end = self.stage.net.join(knock, actor, [false, true]);
            let mut conversation = Conversation::new(self.sites[n].clone(), end, port == host::LMTP);
            if conversation.act(actor, &mut self.stage) == Life::Goes {
                self.actors.insert(actor, Box::new(conversation));
            }
        } else {
            // Some dead hosts say so and some do not.
            let quick = matches!(ip, std::net::IpAddr::V4(v4) if v4.octets()[3] % 2 == 0);
            self.stage.net.refuse(knock, quick);
        }
    }

    /// What follows from a step: bells are heard, and whoever has no power any more is gone.
    fn settle(&mut self) {
        for n in 0..self.hosts.len() {
            self.feel(n);
            if self.hosts[n].house.is_some() && self.hosts[n].is_dark() {
                self.power_off(n);
                let least = if self.calm { 1 } else { self.stage.net.dice.u64(1..300_000) };
                let at = self.stage.net.now + least;
                self.restart(n, at);
                continue;
            }
            for (who, nudge) in self.hosts[n].bells.heard() {
                match who {
                    Some(actor) => {
                        if let Some(act) = self.actors.get_mut(&actor) {
                            act.nudge(nudge);
                            self.stage.net.wake(actor, self.stage.net.now);
                        }
                    }
                    None => self.hosts[n].rung = true,
                }
            }
            if self.hosts[n].stopping && self.actors.values().all(|act| act.host() != Some(n)) {
                self.stage.net.tape.note(&[42, n as u64], || format!("house {n} stops"));
                self.hosts[n].stop();
            }
            self.send_out(n);
        }
    }

    /// Sends out what a house has to send, once it rang or said that it would.
    fn send_out(&mut self, n: usize) {
        let now = Tick(self.stage.net.now);
        let host = &mut self.hosts[n];
        let Some(house) = host.house.clone() else { return };
        if !std::mem::take(&mut host.rung) && house.trips_due().is_none_or(|due| due > now) {
            return;
        }
        host.busy_at = now.0;
        for turn in 0.. {
            let Some(Trip { dial, load }) = house.next_trip(now) else { break };
            assert!(turn < TRIPS_MAX, "trips without end");
            *self.counts.entry("trips").or_default() += 1;
            match load {
                Load::Smtp(session, office) => {
                    self.carry(n, &dial, *session, *office, smtp::client::INBOX_LIMIT, smtp::client::OUTBOX_MARK)
                }
                Load::Dns(session, office) => self.carry(n, &dial, *session, *office, dns::INBOX_LIMIT, dns::OUTBOX_MARK),
            }
        }
        if let Some(due) = house.trips_due() {
            self.stage.net.wake(self.keepers[n], due.0);
        }
    }

    fn carry<S, O>(&mut self, n: usize, dial: &Dial, session: S, office: O, inbox: usize, mark: usize)
    where
        S: Session + 'static,
        S::Ask: Question<O, Answer = S::Answer>,
        O: Traveller<Session = S> + 'static,
    {
        let host = &self.hosts[n];
        let house = host.house.as_ref().expect("it sends");
        let me = self.stage.net.actor();
        let bell = host.bells.of(Some(me));
        let Some(place) = house.set_out(bell.clone()) else { return office.closed(session, Why::Shutdown) };
        let (disk, from) = (Some(host.disk.clone()), dial.from.unwrap_or(host.ips[usize::from(dial.to.is_ipv6())]));
        let start = travel::Start { host: Some(n), disk, from, bell, place: Some(place), inbox, mark };
        let travel = Travel::new(me, dial, session, office, start, &mut self.stage);
        self.actors.insert(me, Box::new(travel));
    }

    /// Nothing happens any more: compares the books.
    fn finish(&mut self) {
        for (name, n) in [
            ("taken", self.stage.books.taken.len()),
            ("copies", self.stage.books.copies.len()),
            ("thanked", self.stage.books.thanked.values().sum()),
        ] {
            self.counts.insert(name, n as u64);
        }
        if !self.is_quiet() {
            let actors = self.actors.len();
            let open = self.stage.net.open();
            let all = self.hosts.iter().filter_map(|host| host.house.as_ref().filter(|_| !host.is_quiet())).map(|house| {
                let listed = house.list(&Filter::default(), Page { after: None, most: 10 }).map(|listing| listing.messages);
                (house.trips_due(), house.mailboxes().aside(), house.levels().undelivered, listed)
            });
            let busy: Vec<_> = all.collect();
            self.stage.books.wrong(format!("not quiet at the end: {actors} actors, {open} ends open, {busy:?}"));
        }
        for n in 0..self.hosts.len() {
            let mut wrong = Vec::new();
            pranks::check(&self.hosts[n], &self.stage.books, &mut wrong);
            wrong.into_iter().for_each(|what| self.stage.books.wrong(what));
            if let Err(why) = self.hosts[n].rest(&mut self.stage) {
                self.stage.books.wrong(format!("house {n} has no rest at the end: {why}"));
            }
        }
        check::check(&self.plan, &self.hosts, &mut self.stage);
    }
}

#[cfg(test)]
mod tests;
