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
mod foreign;
mod host;
mod letters;
mod loiterer;
mod names;
mod net;
mod plan;
mod talk;
mod tape;
mod travel;

pub use canary::Canary;
pub use plan::Plan;

use books::{Books, Order, Ordered};
use client::Client;
use foreign::{Conversation, Site};
use host::Host;
use loiterer::Loiterer;
use names::{NameServer, NameStream, Zone};
use net::{Actor, End, Event, Knock, Net};
use plan::Deed;
use std::{
    cell::RefCell,
    collections::BTreeMap,
    io,
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
};
use storage::{
    control::{Action, Filter, Operator as _, Page, State, Whom, queue_id},
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
    let played = catch_unwind(AssertUnwindSafe(|| world.play()));
    let mut wrong = std::mem::take(&mut world.stage.books.wrong);
    if let Err(panic) = played {
        let words = panic.downcast_ref::<String>().cloned();
        let words = words.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_default();
        wrong.push(format!("panicked: {words}"));
    }
    let mut counts = std::mem::take(&mut world.counts);
    counts.insert("virtual seconds", world.stage.net.now / 1000);
    Outcome { hash: world.stage.net.tape.hash(), wrong, counts, tail: world.stage.net.tape.tail() }
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
        self.actors.is_empty() && self.hosts.iter().all(|h| h.house.as_ref().is_some_and(|house| house.trips_due().is_none()))
    }

    fn start(&mut self, n: usize) {
        let now = self.stage.net.now;
        let host = &mut self.hosts[n];
        if host.house.is_some() {
            return;
        }
        let started = host.start(now, self.plan.canary);
        self.stage.net.tape.note(&[41, n as u64, u64::from(started.is_ok())], || format!("house {n} starts: {started:?}"));
        *self.counts.entry("starts").or_default() += 1;
        if let Err(error) = started {
            let host = &mut self.hosts[n];
            if !host.is_dark() && self.calm {
                self.stage.books.wrong(format!("house {n} does not start: {error}"));
                return;
            }
            host.crash(&mut self.stage);
            let soon = now + self.stage.net.dice.u64(1..30_000);
            self.restart(n, soon);
        }
        self.rests[n] = 1000;
        self.stage.net.wake(self.keepers[n], now);
        self.release(n);
    }

    /// In the end operators hold nothing back.
    fn release(&self, n: usize) {
        if let Some(house) = self.hosts[n].house.as_ref().filter(|_| self.calm) {
            let _ = house.act(&Whom::All(Filter::default()), &Action::Release, "world");
        }
    }

    /// An operator does something to a message of a house.
    fn order(&mut self, n: usize, order: Order) {
        let host = &self.hosts[n];
        let Some(house) = host.house.clone().filter(|_| !host.stopping) else { return };
        let Ok(listing) = house.list(&Filter::default(), Page { after: None, most: 1000 }) else { return };
        let Some(chosen) = self.stage.net.dice.choice(&listing.messages) else { return };
        let id = chosen.id.clone();
        // Whoever gives up a report without a word loses what it tells, and nobody could say of whom.
        let order = if order == Order::Drop && chosen.sender.is_empty() { Order::Cancel } else { order };
        let Ok(whole) = queue_id(&id).and_then(|id| house.show(id)) else { return };
        let wall_s = (host.hands.wall_ns() / 1_000_000_000) as u64;
        let action = match order {
            Order::Retry => Action::Retry,
            Order::Hold => Action::Hold,
            Order::Release => Action::Release,
            Order::Cancel => Action::Cancel { silent: false },
            Order::Drop => Action::Cancel { silent: true },
            Order::Reroute => Action::Reroute { to: self.plan.sites[0].ip.to_string() },
            Order::RerouteBack => Action::Reroute { to: "mx".into() },
            Order::Schedule => Action::Schedule { next: Some(wall_s + 1800), give_up: None },
            Order::Limit => Action::Schedule { next: None, give_up: Some(wall_s + 3600) },
        };
        let result = house.act(&Whom::Ids(vec![id.clone()]), &action, "world");
        let active = whole.summary.state == State::Active;
        let waiting = whole.each.into_iter().filter(|w| w.state != State::Done).map(|w| w.address).collect();
        self.stage.net.tape.note(&[51, n as u64], || format!("{order:?} of {id} in house {n}, under way: {active}: {result:?}"));
        *self.counts.entry("orders").or_default() += 1;
        let done = result.is_ok_and(|effect| effect.messages > 0);
        self.stage.books.orders.push(Ordered { host: n, id, at: self.stage.net.now, order, done, active, waiting });
    }

    fn restart(&mut self, n: usize, at: u64) {
        self.plan.deeds.push((at, Deed::Start(n)));
        self.stage.net.plan(at, Event::Other(self.plan.deeds.len() as u64 - 1));
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
                let life = act.dialled(actor, &mut self.stage, result);
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
        let life = act.act(actor, &mut self.stage);
        self.leave(actor, act, life);
    }

    /// A house has something to do: its keeper looks after it soon.
    fn touch(&mut self, act: &dyn Act) {
        if let Some(n) = act.host() {
            self.rests[n] = 1000;
            self.stage.net.wake(self.keepers[n], self.stage.net.now + 1000);
        }
    }

    fn leave(&mut self, actor: Actor, act: Box<dyn Act>, life: Life) {
        match life {
            Life::Goes => drop(self.actors.insert(actor, act)),
            Life::Ends => self.stage.net.forget(actor),
        }
    }

    fn keep(&mut self, n: usize) {
        let now = self.stage.net.now;
        self.hosts[n].chores(now);
        if self.hosts[n].house.is_some() {
            self.stage.net.wake(self.keepers[n], now + self.rests[n]);
            self.rests[n] = (self.rests[n] * 2).min(REST);
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

    fn deed(&mut self, deed: Deed) {
        let now = self.stage.net.now;
        self.stage.net.tape.note(&[50], || format!("{deed:?}"));
        match deed {
            Deed::Client(ip, to, style, letters) => {
                let actor = self.stage.net.actor();
                *self.counts.entry("letters").or_default() += letters.len() as u64;
                self.actors.insert(actor, Box::new(Client::new(style, letters)));
                let port = match (style.lmtp, style.login) {
                    (true, _) => host::LMTP,
                    (false, Some(_)) => host::SUBMISSION,
                    (false, None) => 25,
                };
                self.stage.net.dial(actor, ip, SocketAddr::new(to, port), 60_000);
            }
            Deed::Loiter(ip, to, until) => {
                let actor = self.stage.net.actor();
                *self.counts.entry("loiterers").or_default() += 1;
                self.actors.insert(actor, Box::new(Loiterer::new(until)));
                self.stage.net.dial(actor, ip, SocketAddr::new(to, 25), 60_000);
            }
            Deed::Crash { host, ops } => {
                let host = &self.hosts[host];
                if host.house.is_some() {
                    host.disk.stop(host.disk.ops() + ops);
                }
            }
            Deed::Stop(n) => {
                if let Some(house) = &self.hosts[n].house {
                    house.stop_guests();
                    self.hosts[n].stopping = true;
                    let at = now + self.stage.net.dice.u64(1..600_000);
                    self.restart(n, at);
                }
            }
            Deed::Start(n) => {
                if self.hosts[n].stopping {
                    // Whoever has not left by now is not waited for.
                    self.power_off(n);
                }
                self.start(n);
            }
            Deed::Trouble { host, ops, errno, chance } => {
                let disk = &self.hosts[host].disk;
                for op in disk.ops()..disk.ops() + ops {
                    if self.stage.net.happens(chance) {
                        disk.fail(op, errno);
                    }
                }
                *self.counts.entry("troubles").or_default() += 1;
            }
            Deed::Heal(n) => self.hosts[n].disk.heal(),
            Deed::Jump(n, ms) => {
                let wrong = &self.hosts[n].hands.wrong;
                wrong.fetch_add(ms, std::sync::atomic::Ordering::Relaxed);
                self.hosts[n].set_clock(now);
            }
            Deed::Order(n, order) => self.order(n, order),
            Deed::Calm => {
                self.calm = true;
                self.stage.net.weather = net::Weather::default();
                self.names.borrow_mut().lies = names::Lies::default();
                for n in 0..self.hosts.len() {
                    self.hosts[n].disk.heal();
                    // What a disk that failed has lost is seen at the next start; an operator who mended it begins with that.
                    if self.hosts[n].house.is_some() && (self.plan.hosts[n].restarted || self.hosts[n].stopping) {
                        self.power_off(n);
                    }
                    self.start(n);
                    self.release(n);
                }
            }
        }
    }

    /// What follows from a step: bells are heard, and whoever has no power any more is gone.
    fn settle(&mut self) {
        for n in 0..self.hosts.len() {
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

    /// A house is gone from one moment to the next, and all its sessions with it.
    fn power_off(&mut self, n: usize) {
        *self.counts.entry("crashes").or_default() += 1;
        // Whatever ends now finds no disk.
        self.hosts[n].disk.stop(0);
        let silent = self.stage.net.dice.bool();
        let gone: Vec<Actor> = self.actors.iter().filter(|(_, act)| act.host() == Some(n)).map(|(a, _)| *a).collect();
        for actor in gone {
            if let Some(end) = self.actors.remove(&actor).and_then(|act| act.end()) {
                self.stage.net.lose(end, silent && !self.calm);
            }
            self.stage.net.forget(actor);
        }
        self.hosts[n].crash(&mut self.stage);
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
            let houses = self.hosts.iter().filter_map(|host| host.house.as_ref().filter(|house| house.trips_due().is_some()));
            let queues: Vec<_> = houses.map(|house| (house.trips_due(), house.queue_status())).collect();
            self.stage.books.wrong(format!("not quiet at the end: {actors} actors, {open} ends open, {queues:?}"));
        }
        check::check(&self.plan, &self.hosts, &mut self.stage);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smtp::client::Fate;
    use storage::outgoing::Transport;

    /// The scripts by themselves: foreign clients bring their letters to foreign servers.
    #[test]
    fn strangers_get_along() {
        let mut copies = 0;
        for seed in 0..50 {
            let mut plan = Plan::new(seed, None);
            let site = plan.sites[0].ip;
            for (_, deed) in &mut plan.deeds {
                if let Deed::Client(_, to, ..) = deed {
                    *to = site;
                }
            }
            let mut world = World::new(plan, false);
            world.play();
            assert_eq!(world.stage.books.wrong, [""; 0], "seed {seed}");
            copies += world.stage.books.copies.len();
        }
        assert!(copies > 100, "{copies} letters arrived");
    }

    /// Our client among servers that behave badly: whatever happens, each recipient has a fate, and it is the true one.
    #[test]
    fn a_client_knows_what_became_of_its_letters() {
        let mut fates = [0_u64; 2];
        let seeds = std::env::var("SEEDS").map_or(150, |n| n.parse().expect("a number"));
        for seed in 0..seeds {
            let mut plan = Plan::new(seed, None);
            let site = plan.sites[0].ip;
            let mut trips = Vec::new();
            for (_, deed) in &mut plan.deeds {
                if let Deed::Client(from, _, _, letters) = deed {
                    for letter in &mut *letters {
                        letter.recipients.sort();
                        letter.recipients.dedup_by(|a, b| a.0 == b.0);
                    }
                    trips.push((*from, std::mem::take(letters)));
                }
            }
            plan.deeds.retain(|(_, deed)| matches!(deed, Deed::Calm));
            let mut world = World::new(plan, true);
            let told = Rc::new(RefCell::new(courier::Told::default()));
            for (from, letters) in trips {
                let net = &mut world.stage.net;
                let me = net.actor();
                let dial = Dial { to: SocketAddr::new(site, 25), from: None, transport: Transport::Tcp, timeout_ms: 30_000 };
                let session = courier::Courier::session(net);
                let start = courier::start(from, talk::Bells::default().of(Some(me)));
                let office = courier::Courier::new(letters, told.clone());
                let travel = travel::Travel::new(me, &dial, session, office, start, &mut world.stage);
                world.actors.insert(me, Box::new(travel));
            }
            world.play();
            let story = || world.stage.net.tape.tail().join("\n");
            assert_eq!(world.stage.books.wrong, [""; 0], "seed {seed}\n{}", story());
            let told = told.borrow();
            for (number, path, fate) in &told.fates {
                let id = format!("Message-ID: <t{number}@world.test>").into_bytes();
                let mut copies =
                    world.stage.books.copies.iter().filter(|c| c.recipients.contains(path) && c.text.windows(id.len()).any(|w| w == id));
                let there = copies.clone().count();
                let shaky = copies.any(|c| world.stage.net.was_faulty(c.conn));
                let good = matches!(fate, Fate::Delivered | Fate::Relayed);
                fates[usize::from(good)] += 1;
                assert!(
                    shaky || there == usize::from(good),
                    "seed {seed}: {fate:?}, {path} of letter {number} is there {there} times\n{}",
                    story()
                );
            }
        }
        assert!(fates.iter().all(|n| *n > seeds), "{fates:?}");
    }
}
