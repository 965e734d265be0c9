//! Mail that leaves: the queue, ways, names, and what the runtimes are to carry.
//!
//! [`Outgoing`] holds the machines and hands events from one to the other: the queue wants a connection, the way is found from facts of DNS, a host is
//! dialled, its session asks for jobs and reports on them. `outbound` and `inquiry` are the offices of the sessions that travel, `report` tells senders,
//! `operator` answers those who look after the queue. Nothing here waits while it holds the lock, except for bytes in memory.

mod dice;
mod explain;
mod inquiry;
mod operator;
mod outbound;
mod report;
pub(crate) mod restore;
mod rules;
mod trip;

pub use inquiry::Inquiry;
pub use outbound::Outbound;
pub(crate) use rules::rules;
pub use trip::{Dial, Load, Transport, Traveller, Trip};

use crate::{depot::Depot, house::House, spool::Lsn, supervise::guarded, undelivered::Untold};
pub(crate) use dice::Dice;
use dns::{Query, Resolver};
use mail::Stamp;
use queue::{
    Accept, Action, Ended, Job, Outcome, Queue, Ticket,
    dsn::Templates,
    route::{self, Hop, NoRoute, Rules, Verdict},
};
use smtp::client::{self, Security};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    vec,
};
use wire::{Nudge, Ring, Tick};

/// How long a host may take to accept a connection. Others wait for the place meanwhile.
const CONNECT_MS: u64 = 30_000;

/// Last replies that are remembered, for reports and operators. Beyond, those of the oldest messages are forgotten.
const SAID_MAX: usize = 100_000;

/// How long what a peer has confirmed may wait for a flush of somebody else, in milliseconds; then it gets one of its own. A crash before that sends the
/// message again.
const CONFIRMED_MS: u64 = 50;

/// How long a report that could not be written rests.
const REPORT_AGAIN_MS: u64 = 30_000;

/// How often it is tried to read a message that is to be reported on, before nobody is told.
const UNREAD_MAX: u32 = 3;

/// How long it rests to look for trips after that panicked.
const REST_MS: u64 = 1000;

/// Everything that sends.
pub struct Outgoing {
    inner: Mutex<Inner>,
    bell: RwLock<Option<Arc<dyn Ring>>>,
    templates: RwLock<Arc<Templates>>,
}

struct Inner {
    queue: Queue,
    resolver: Resolver,
    rules: Arc<Rules>,
    /// Connections on their way: without a session that has had a job.
    roads: BTreeMap<Ticket, Road>,
    /// Who waits for which fact.
    asking: BTreeMap<Query, BTreeSet<Ticket>>,
    ready: VecDeque<Trip>,
    /// Sessions that can be nudged.
    bells: BTreeMap<Ticket, Arc<dyn Ring>>,
    said: BTreeMap<(u64, u16), Said>,
    /// What was last heard of a site that no job came to.
    said_of_site: BTreeMap<Box<str>, Said>,
    /// Reports that could not be written, and when they are tried again.
    put_off: BTreeMap<u64, u64>,
    /// How often a report could not be written because the message cannot be read.
    unread: BTreeMap<u64, u32>,
    /// When the log is flushed for the sake of what peers have confirmed.
    flush_at: Option<Tick>,
    /// When who takes trips asks again by itself; never, if it has not been said.
    asks_at: u64,
    /// Until when no trips are looked for, because something panicked.
    rest_until_ms: u64,
    dice: Dice,
}

/// A connection that is to be made.
struct Road {
    site: Box<str>,
    /// Thrown once: with other dice for each fact that comes in, a list of many exchangers would be another list each time.
    dice: u64,
    way: Way,
}

/// What is known of a way.
enum Way {
    /// It waits for these facts, or for none if it is to be looked for again.
    Asking(Vec<Query>),
    /// The hosts that are left to try. It waits for nothing: whoever asked twice would be dialled twice.
    Known(vec::IntoIter<Hop>),
}

/// What was last heard of a recipient.
#[derive(Debug, Clone, Default)]
pub(crate) struct Said {
    /// 0 if no peer said it.
    pub code: u16,
    /// With its enhanced code in front.
    pub text: String,
    /// Who.
    pub host: Option<String>,
    /// When, in seconds since 1970.
    pub at_s: i64,
    /// It was delivered, and the sender wishes to hear of it.
    pub relayed: bool,
}

/// A message that enters the queue.
pub(crate) struct Admission<'a> {
    pub id: u64,
    pub stamp: Stamp,
    /// The same moment as the queue counts time: the clock may have been set since the house was opened.
    pub arrived_ms: u64,
    pub wishes: &'a mail::Wishes,
    pub held: bool,
    /// Numbers of its recipients elsewhere, and their sites.
    pub sites: &'a [(u16, &'a str)],
}

impl Admission<'_> {
    fn entry(&self) -> queue::Entry<'_> {
        let ms = |stamp: Stamp| {
            let after = stamp.seconds.saturating_sub(self.stamp.seconds).saturating_mul(1000);
            self.arrived_ms.saturating_add_signed(after)
        };
        queue::Entry {
            id: self.id,
            arrived_ms: self.arrived_ms,
            priority: self.wishes.priority,
            not_before_ms: self.wishes.hold_until.map(ms),
            // RFC 2852 §4.1.3: what is to come back when it is late comes back then; otherwise its sender is told then, and it goes on.
            give_up_ms: self.wishes.by.filter(|by| by.or_return).map(|by| ms(by.at)),
            due_ms: self.wishes.by.filter(|by| !by.or_return).map(|by| ms(by.at)),
            held: self.held,
            recipients: self.sites,
        }
    }
}

impl Outgoing {
    /// With the queue as an earlier run left it ([`restore`]).
    ///
    /// # Errors
    /// If the configuration names files that cannot be read.
    pub(crate) fn new(config: &config::Config, rules: Rules, queue: Queue, dice: Dice) -> io::Result<Outgoing> {
        let inner = Inner {
            queue,
            resolver: Resolver::new(rules::resolver(config)),
            rules: Arc::new(rules),
            roads: BTreeMap::new(),
            asking: BTreeMap::new(),
            ready: VecDeque::new(),
            bells: BTreeMap::new(),
            said: BTreeMap::new(),
            said_of_site: BTreeMap::new(),
            put_off: BTreeMap::new(),
            unread: BTreeMap::new(),
            flush_at: None,
            asks_at: u64::MAX,
            rest_until_ms: 0,
            dice,
        };
        let templates = RwLock::new(Arc::new(report::templates(config)?));
        Ok(Outgoing { inner: Mutex::new(inner), bell: RwLock::default(), templates })
    }

    /// What of a configuration has to be read before it can be taken.
    ///
    /// # Errors
    /// If it names files that cannot be read.
    pub(crate) fn read(config: &config::Config) -> io::Result<(Rules, Templates)> {
        Ok((rules::rules(config)?, report::templates(config)?))
    }

    /// Another configuration, from now on, with what was read of it. Connections that are open stay.
    pub(crate) fn reload(&self, config: &config::Config, (rules, templates): (Rules, Templates)) {
        *self.templates.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(templates);
        let mut inner = self.inner();
        inner.rules = Arc::new(rules);
        inner.queue.set(crate::house::queue_settings(&config.queue));
        inner.resolver = Resolver::new(rules::resolver(config));
        // Those who waited for the old one ask again.
        for ticket in std::mem::take(&mut inner.asking).into_values().flatten().collect::<BTreeSet<_>>() {
            inner.asking.entry(no_query()).or_default().insert(ticket);
        }
        drop(inner);
        self.ring();
    }

    /// The site that mail for an address goes to.
    pub(crate) fn site(&self, domain: &str) -> Box<str> {
        route::site(domain, &self.inner().rules)
    }

    /// Whether something waits.
    pub(crate) fn waits(&self) -> bool {
        !self.inner().queue.is_empty()
    }

    /// Takes a message into the queue. The depot knows of it, and its entry of the spool has not ended.
    pub(crate) fn admit(&self, now_ms: u64, admission: &Admission<'_>) {
        let mut inner = self.inner();
        inner.queue.admit(now_ms, &admission.entry());
        self.stir(inner, now_ms);
    }

    /// Whether a message is in the queue.
    pub(crate) fn holds(&self, id: u64) -> bool {
        self.inner().queue.contains(id)
    }

    /// Tells the queue of a record at `at` what it was not told when that was made.
    pub(crate) fn tell_again(&self, depot: &Depot, now_ms: u64, at: Lsn, accept: &Accept<'_>, untold: Untold) {
        let mut inner = self.inner();
        let rules = inner.rules.clone();
        // Told of what it knows, it would send again what is done meanwhile.
        let remotes = if untold.leaves { accept.remotes } else { queue::Remotes::NONE };
        let settles = accept.settles.filter(|_| untold.settles);
        let record = queue::Record::Accept(Accept { remotes, settles, ..*accept });
        restore::replay(&mut inner.queue, depot, &rules, now_ms, at, &record);
        self.stir(inner, now_ms);
    }

    /// The queue was told something: rings for whom that means something. In a busy queue that is at most a connection that has nothing to do; who
    /// takes trips is left alone, for to wake it would cost as much as to send the message.
    fn stir(&self, mut inner: MutexGuard<'_, Inner>, now_ms: u64) {
        let wakes: Vec<Ticket> = std::iter::from_fn(|| inner.queue.wake()).collect();
        let bells: Vec<_> = wakes.iter().filter_map(|ticket| inner.bells.get(ticket).cloned()).collect();
        let trips = inner.queue.is_due(now_ms) || inner.queue.deadline().is_some_and(|at| at < inner.asks_at);
        drop(inner);
        bells.iter().for_each(|bell| bell.ring(Nudge::Changed));
        if trips {
            self.ring();
        }
    }

    /// What a peer has confirmed was jotted: who takes trips sees to it that it is flushed soon, together with what comes meanwhile.
    fn flush_soon(&self, now: Tick) {
        let mut inner = self.inner();
        if inner.flush_at.is_none() {
            inner.flush_at = Some(now.after(CONFIRMED_MS));
            drop(inner);
            self.ring();
        }
    }

    /// Puts the state of every queued message, for a snapshot.
    pub(crate) fn states(&self, put: &mut crate::depot::Put<'_>) {
        restore::put_states(put, |after, most, put| self.inner().queue.save_after(after, most, put));
    }

    /// A name that nobody can guess, for a report on a message.
    pub(crate) fn unguessable(&self, id: u64) -> String {
        format!("{id:x}.{:x}", self.inner().dice.u64())
    }

    pub(crate) fn templates(&self) -> Arc<Templates> {
        self.templates.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn ring(&self) {
        if let Some(bell) = &*self.bell.read().unwrap_or_else(PoisonError::into_inner) {
            bell.ring(Nudge::Changed);
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl House {
    /// The next trip to carry, if there is one. May commit reports to disk: call it where waiting is allowed.
    pub fn next_trip(self: &Arc<House>, now: Tick) -> Option<Trip> {
        let found = guarded("dispatcher", || self.find_trip(now));
        if found.is_none() {
            // What it panicked at may be there again at once.
            self.outgoing().inner().rest_until_ms = self.queue_ms() + REST_MS;
        }
        found.flatten()
    }

    fn find_trip(self: &Arc<House>, now: Tick) -> Option<Trip> {
        loop {
            if self.is_closing() {
                return None;
            }
            let now_ms = self.queue_ms();
            let mut inner = self.outgoing().inner();
            if now_ms < inner.rest_until_ms {
                return None;
            }
            if self.spool().is_fenced() {
                // Another server has this queue now, and what was sent here could not be written down.
                inner.rest_until_ms = now_ms + REST_MS;
                return None;
            }
            if let Some(trip) = inner.ready.pop_front() {
                return Some(trip);
            }
            if inner.flush_at.is_some_and(|at| at <= now) {
                inner.flush_at = None;
                drop(inner);
                if let Err(error) = self.spool().flush() {
                    // The chores try again.
                    tracing::warn!(%error, "what peers have confirmed is not in the log yet");
                }
                continue;
            }
            let missed = inner.resolver.missed(now);
            inner.known(self, now, &missed);
            let Inner { resolver, dice, .. } = &mut *inner;
            if let Some(exchange) = resolver.next(now, &mut || dice.u64()) {
                return Some(Inquiry::trip(self, exchange));
            }
            let again = inner.asking.remove(&no_query()).unwrap_or_default();
            for ticket in again {
                inner.find_way(self, now, ticket);
            }
            let due: Vec<u64> = inner.put_off.iter().filter(|(_, at)| **at <= now_ms).map(|(id, _)| *id).collect();
            for id in due {
                inner.put_off.remove(&id);
                inner.queue.report_failed(id);
            }
            match inner.queue.poll(now_ms) {
                Some(Action::Connect { ticket, site }) => {
                    let dice = inner.dice.u64();
                    inner.roads.insert(ticket, Road { site, dice, way: Way::Asking(Vec::new()) });
                    inner.find_way(self, now, ticket);
                }
                Some(Action::Wake(ticket)) => match inner.bells.get(&ticket).cloned() {
                    Some(bell) => bell.ring(Nudge::Changed),
                    // It has just gone, and its office will say so.
                    None => tracing::debug!(?ticket, "nobody to wake"),
                },
                // It has nothing to do, and others wait for its place.
                Some(Action::Leave(ticket)) => {
                    if let Some(bell) = inner.bells.get(&ticket) {
                        bell.ring(Nudge::Shutdown);
                    }
                }
                // One that panics keeps no other message from its way.
                Some(Action::Report { id, recipients }) => {
                    drop(inner);
                    if guarded("report", || self.report_owed(id, &recipients)).is_none() {
                        let at = self.queue_ms() + REPORT_AGAIN_MS;
                        self.outgoing().inner().put_off.insert(id, at);
                    }
                }
                Some(Action::Warn { id, recipients }) => {
                    drop(inner);
                    guarded("report", || self.report_late(id, &recipients));
                }
                Some(Action::Expired { id, recipients }) => {
                    for number in recipients {
                        inner.expired(id, number);
                    }
                }
                None if inner.ready.is_empty() => return None,
                None => {}
            }
        }
    }

    /// When to ask for the next trip even if nobody rings.
    pub fn trips_due(&self) -> Option<Tick> {
        if self.is_closing() {
            return None;
        }
        let mut inner = self.outgoing().inner();
        let (now_ms, now) = (self.queue_ms(), Tick(self.now_ms()));
        if now_ms < inner.rest_until_ms {
            inner.asks_at = inner.rest_until_ms;
            return Some(now.after(inner.rest_until_ms - now_ms));
        }
        let queue = inner.queue.deadline().into_iter().chain(inner.put_off.values().copied()).min();
        inner.asks_at = queue.unwrap_or(u64::MAX);
        let queue = queue.map(|at| now.after(at.saturating_sub(now_ms)));
        [queue, inner.resolver.deadline(), inner.flush_at].into_iter().flatten().min()
    }

    /// Whom to ring when there may be a trip to carry.
    pub fn on_trips(&self, bell: Arc<dyn Ring>) {
        bell.ring(Nudge::Changed);
        *self.outgoing().bell.write().unwrap_or_else(PoisonError::into_inner) = Some(bell);
    }
}

impl Inner {
    /// Facts came in: whoever waited for them goes on.
    fn known(&mut self, house: &Arc<House>, now: Tick, queries: &[Query]) {
        let mut tickets = BTreeSet::new();
        for query in queries {
            tickets.extend(self.asking.remove(query).into_iter().flatten());
        }
        for ticket in tickets {
            self.find_way(house, now, ticket);
        }
    }

    /// Finds the hosts of a site, as far as is known.
    fn find_way(&mut self, house: &Arc<House>, now: Tick, ticket: Ticket) {
        let Some(Road { site, dice, way: Way::Asking(waits) }) = self.roads.get_mut(&ticket) else { return };
        // Whatever it waited for, it is asked for anew.
        for query in std::mem::take(waits) {
            if let Some(tickets) = self.asking.get_mut(&query) {
                tickets.remove(&ticket);
                if tickets.is_empty() {
                    self.asking.remove(&query);
                }
            }
        }
        let resolver = RefCell::new(&mut self.resolver);
        let facts = |query: &Query| resolver.borrow_mut().look_up(now, query);
        match route::route(site, &self.rules, &facts, *dice) {
            Verdict::Need(queries) => {
                for query in &queries {
                    self.asking.entry(query.clone()).or_default().insert(ticket);
                }
                *waits = queries;
            }
            Verdict::Known(Ok(hops)) => {
                self.roads.get_mut(&ticket).expect("it was there").way = Way::Known(hops.into_iter());
                self.dial_next(house, now, ticket, None);
            }
            Verdict::Known(Err(none)) => self.no_way(house, ticket, none),
        }
    }

    /// Dials the next host of a road; without another one, the road ends. `said` is what the last one said.
    fn dial_next(&mut self, house: &Arc<House>, now: Tick, ticket: Ticket, said: Option<Said>) {
        let Some(Road { way: Way::Known(hops), .. }) = self.roads.get_mut(&ticket) else { return };
        match hops.next() {
            Some(hop) => self.dial(house, now, ticket, &hop),
            None => {
                let road = self.roads.remove(&ticket).expect("it was there");
                let said = said.unwrap_or_else(|| Said { text: "4.4.1 no host could be reached".into(), ..Said::default() });
                tracing::info!(site = &*road.site, reply = said.text, "site cannot be reached");
                self.say_of_site(road.site, said);
                self.queue.closed(house.queue_ms(), ticket, Ended::Failed);
            }
        }
    }

    /// Dials a host.
    fn dial(&mut self, house: &Arc<House>, now: Tick, ticket: Ticket, hop: &Hop) {
        let config = house.config();
        let nonce = format!("{:016x}{:016x}", self.dice.u64(), self.dice.u64());
        let login = hop.login.as_ref().map(|login| client::Credentials {
            user: login.user.clone(),
            password: login.password.clone(),
            nonce: nonce.into(),
        });
        let pair = |login: &route::Login| (login.user.clone(), login.password.clone());
        let socks = hop.socks.as_ref().map(|socks| client::Socks {
            to: client::Destination::Address(hop.address.ip()),
            port: hop.address.port(),
            login: socks.login.as_ref().map(pair),
        });
        let security = match hop.security {
            route::Security::Never => Security::Never,
            route::Security::May => Security::May,
            route::Security::Must { verified } => Security::Must { verified },
            route::Security::Implicit { verified } => Security::Implicit { verified },
        };
        let protocol = match hop.protocol {
            route::Protocol::Smtp => client::Protocol::Smtp,
            route::Protocol::Lmtp => client::Protocol::Lmtp,
        };
        let settings = client::Settings {
            helo: config.helo().into(),
            protocol,
            security,
            name: hop.host.clone(),
            login,
            plaintext_login: security == Security::Never,
            socks,
            idle_ms: u64::from(config.queue.idle) * 1000,
        };
        let to: SocketAddr = hop.socks.as_ref().map_or(hop.address, |socks| socks.proxy);
        let from = hop.from.filter(|_| hop.socks.is_none());
        let dial = Dial { to, from, transport: Transport::Tcp, timeout_ms: CONNECT_MS };
        // The session's patience begins when it is connected.
        let session = client::Client::new(settings, now.after(CONNECT_MS));
        let office = Outbound::new(house.clone(), ticket, hop.clone());
        self.ready.push_back(Trip { dial, load: Load::Smtp(Box::new(session), Box::new(office)) });
    }

    /// There is no way to a site. Where that will stay so, its messages fail.
    fn no_way(&mut self, house: &Arc<House>, ticket: Ticket, none: NoRoute) {
        let road = self.roads.remove(&ticket).expect("it was there");
        let now_ms = house.queue_ms();
        let said = Said { text: format!("{} {}", none.status(), none.words()), at_s: house.now().seconds, ..Said::default() };
        tracing::info!(site = &*road.site, reply = said.text, "no way");
        if none.permanent() {
            while let Some(Job { id, recipients, .. }) = self.queue.take(ticket, usize::MAX) {
                let outcomes: Vec<(u16, Outcome)> = recipients.iter().map(|n| (*n, Outcome::Failed)).collect();
                self.queue.settle(now_ms, ticket, &outcomes);
                for number in recipients {
                    self.say(id, number, said.clone());
                }
            }
            self.queue.closed(now_ms, ticket, Ended::Fine);
        } else {
            self.say_of_site(road.site, said);
            self.queue.closed(now_ms, ticket, Ended::Failed);
        }
    }

    /// Notes what was heard of a recipient.
    fn say(&mut self, id: u64, number: u16, said: Said) {
        if self.said.len() >= SAID_MAX {
            self.said.pop_first();
        }
        self.said.insert((id, number), said);
    }

    /// Notes what was heard of a site.
    fn say_of_site(&mut self, site: Box<str>, said: Said) {
        if self.said_of_site.len() >= SAID_MAX {
            self.said_of_site.pop_first();
        }
        self.said_of_site.insert(site, said);
    }

    /// A recipient was not reached in time: the report says what was last heard.
    fn expired(&mut self, id: u64, number: u16) {
        let last = self.said.get(&(id, number)).cloned().unwrap_or_default();
        let text = match &*last.text {
            "" => "4.4.7 it could not be delivered in time".to_owned(),
            text => text.to_owned(),
        };
        self.say(id, number, Said { text, relayed: false, ..last });
    }

    /// A message that is to be reported on cannot be read. Whether that is the end of it, and not of the way to the disk.
    fn strike(&mut self, id: u64) -> bool {
        let tries = self.unread.entry(id).or_default();
        *tries += 1;
        *tries >= UNREAD_MAX
    }

    /// Forgets what was heard of a message that is gone.
    fn hush(&mut self, id: u64) {
        self.unread.remove(&id);
        let gone: Vec<(u64, u16)> = self.said.range((id, 0)..=(id, u16::MAX)).map(|(key, _)| *key).collect();
        for key in gone {
            self.said.remove(&key);
        }
    }
}

/// Stands for "ask again", which no answer is waited for.
fn no_query() -> Query {
    Query { name: "".into(), kind: dns::Kind::Txt }
}
