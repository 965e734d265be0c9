//! The stub resolver: what to ask whom next, and what is known.

use crate::{
    cache::Cache,
    codec::{Answer, Question},
    conf::Settings,
    exchange::{Exchange, Outcome, Transport},
    fact::{Found, Query},
    limits::{
        CHAIN_MAX, FAILED_TTL_S, FLIGHTS_MAX, JOBS_MAX, LOST_MS, NEGATIVE_TTL_MAX_S, PAUSE_MS, PENALTY_MS, SERVERS_MAX, TIMEOUT_MAX_MS,
        TTL_MAX_S, TTL_MIN_S,
    },
};
use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use core::{mem, net::SocketAddr};
use wire::Tick;

/// A stub resolver without a socket. Time and randomness are handed in.
#[derive(Debug)]
pub struct Resolver {
    settings: Settings,
    servers: Vec<Server>,
    /// Whose turn it is among the servers, if they take turns.
    turn: usize,
    cache: Cache,
    jobs: BTreeMap<Query, Job>,
    /// Jobs that are to be sent, by when and in order of arrival.
    waiting: BTreeSet<(Tick, u64, Query)>,
    /// What is out: by number, until when it is waited for.
    flights: BTreeMap<u64, (Tick, Query)>,
    /// The last number of a job or a flight.
    serial: u64,
}

/// What is remembered of a server.
#[derive(Debug)]
struct Server {
    address: SocketAddr,
    /// It was silent: until then it is asked last.
    slow_until: Tick,
    /// It understands EDNS0, as far as is known.
    edns: bool,
}

/// A question that is not answered yet.
#[derive(Debug)]
struct Job {
    serial: u64,
    /// The name that is asked for now; another one behind an alias.
    name: Box<str>,
    hops: usize,
    /// The TTL of the aliases behind it.
    ttl: u32,
    /// Whether all parts of the way were validated.
    secure: bool,
    /// The server that is asked first.
    first: usize,
    /// Attempts that failed.
    tried: usize,
    /// Servers (bits) that answered that they cannot help.
    refused: u16,
    transport: Transport,
}

impl Resolver {
    /// A resolver that knows nothing yet.
    pub fn new(mut settings: Settings) -> Resolver {
        settings.servers.truncate(SERVERS_MAX);
        settings.flights = settings.flights.clamp(1, FLIGHTS_MAX);
        let servers = settings.servers.iter().map(|s| Server { address: *s, slow_until: Tick(0), edns: settings.edns }).collect();
        Resolver {
            servers,
            turn: 0,
            cache: Cache::new(settings.cache_max),
            jobs: BTreeMap::new(),
            waiting: BTreeSet::new(),
            flights: BTreeMap::new(),
            serial: 0,
            settings,
        }
    }

    /// What is known. If that is nothing, the question will be asked ([`Resolver::next`]); whoever comes meanwhile waits for the same answer.
    pub fn look_up(&mut self, now: Tick, query: &Query) -> Option<Found> {
        if let Some(found) = query.special().or_else(|| self.cache.find(now, query)) {
            return Some(found);
        }
        if self.jobs.contains_key(query) {
            return None;
        }
        if self.servers.is_empty() || self.jobs.len() >= JOBS_MAX {
            return Some(Found::Failed);
        }
        self.serial += 1;
        let first = self.first_server(now);
        let job = Job {
            serial: self.serial,
            name: query.name.clone(),
            hops: 0,
            ttl: u32::MAX,
            secure: true,
            first,
            tried: 0,
            refused: 0,
            transport: Transport::Udp,
        };
        self.waiting.insert((now, job.serial, query.clone()));
        self.jobs.insert(query.clone(), job);
        None
    }

    /// The next exchange to carry, if one is due and not too many are out. Every exchange must come back to [`Resolver::done`].
    ///
    /// `dice` makes ids and the case of letters. They guard against those who cannot see the questions, and whoever owns a name server sees those that
    /// come to it: numbers that tell the next ones, as those of a fast generator do, would guard nothing. In production, take a cryptographic one.
    pub fn next(&mut self, now: Tick, dice: &mut dyn FnMut() -> u64) -> Option<Exchange> {
        if self.flights.len() >= self.settings.flights || self.waiting.first().is_none_or(|(at, ..)| *at > now) {
            return None;
        }
        let (_, _, query) = self.waiting.pop_first()?;
        let job = self.jobs.get(&query).expect("who waits has a job");
        let count = self.servers.len();
        let server = &self.servers[(job.first + job.tried) % count];
        let round = (job.tried / count) as u32;
        let timeout_ms = self.settings.timeout_ms.saturating_mul(1 << round.min(10)).min(TIMEOUT_MAX_MS);
        self.serial += 1;
        let id = (dice() >> 48) as u16;
        let question = Question::new(&job.name, query.kind, id, server.edns, dice).expect("names were checked before");
        self.flights.insert(self.serial, (now.after(timeout_ms + LOST_MS), query.clone()));
        Some(Exchange::new(self.serial, query, question, server.address, job.transport, timeout_ms))
    }

    /// Takes back an exchange that has ended or could not begin. Gives what became known by it: look it up again.
    pub fn done(&mut self, now: Tick, exchange: Exchange) -> Vec<Query> {
        // One that was missed for too long has been given up: its question is out again with another.
        // One of another resolver (before a reload) may have the same number, and its answer is to another question.
        match self.flights.get(&exchange.flight) {
            Some((_, query)) if query == exchange.query() => {}
            _ => return Vec::new(),
        }
        match self.flights.remove(&exchange.flight) {
            Some((_, query)) => self.settle(now, query, exchange.edns(), exchange.outcome),
            None => Vec::new(),
        }
    }

    /// Gives up exchanges that never came back, so that a host that lost one does not wait forever. Gives what became known by it. Call
    /// when the deadline has passed.
    pub fn missed(&mut self, now: Tick) -> Vec<Query> {
        let mut known = Vec::new();
        while let Some((&flight, _)) = self.flights.iter().find(|(_, (until, _))| *until <= now) {
            if let Some((_, query)) = self.flights.remove(&flight) {
                known.append(&mut self.settle(now, query, false, Outcome::Silence));
            }
        }
        known
    }

    /// When to call [`Resolver::missed`] and [`Resolver::next`] again even if nothing comes back.
    pub fn deadline(&self) -> Option<Tick> {
        let room = self.flights.len() < self.settings.flights;
        let due = self.waiting.first().filter(|_| room).map(|(at, ..)| *at);
        let lost = self.flights.values().map(|(until, _)| *until).min();
        [due, lost].into_iter().flatten().min()
    }

    /// How many questions are not answered yet.
    pub fn pending(&self) -> usize {
        self.jobs.len()
    }

    /// Where to begin: the first server that was not silent lately, or the next in turn.
    fn first_server(&mut self, now: Tick) -> usize {
        let count = self.servers.len();
        let turn = if self.settings.rotate { self.turn % count } else { 0 };
        self.turn = self.turn.wrapping_add(1);
        (turn..turn + count).map(|at| at % count).find(|at| self.servers[*at].slow_until <= now).unwrap_or(turn)
    }

    fn settle(&mut self, now: Tick, query: Query, edns: bool, outcome: Outcome) -> Vec<Query> {
        let Some(job) = self.jobs.get_mut(&query) else { return Vec::new() };
        let at = (job.first + job.tried) % self.servers.len();
        let server = &mut self.servers[at];
        match outcome {
            Outcome::Answer(answer) => {
                server.slow_until = Tick(0);
                return self.answered(now, query, answer);
            }
            Outcome::Truncated | Outcome::Doubt if job.transport == Transport::Udp => {
                job.transport = Transport::Tcp;
                self.wait(now, query);
            }
            Outcome::NotUnderstood if edns => {
                server.edns = false;
                self.wait(now, query);
            }
            Outcome::Silence => {
                server.slow_until = now.after(PENALTY_MS);
                return self.failed(now, query);
            }
            Outcome::Truncated | Outcome::Doubt | Outcome::NotUnderstood | Outcome::Refused => {
                job.refused |= 1 << at;
                return self.failed(now, query);
            }
        }
        Vec::new()
    }

    fn answered(&mut self, now: Tick, query: Query, answer: Answer) -> Vec<Query> {
        let Some(job) = self.jobs.get_mut(&query) else { return Vec::new() };
        let (mut found, mut ttl) = match answer {
            Answer::Known(found, ttl) => (found, ttl.min(job.ttl)),
            Answer::Chase(target, ttl, hops) => {
                job.hops += hops;
                if let Some(next) = Query::new(&target, query.kind).filter(|_| job.hops <= CHAIN_MAX) {
                    // What the first half of the way said of validation was not kept: the whole is not known to be validated.
                    (job.name, job.ttl, job.secure) = (next.name, ttl.min(job.ttl), false);
                    (job.tried, job.refused, job.transport) = (0, 0, Transport::Udp);
                    self.wait(now, query);
                    return Vec::new();
                }
                (Found::Failed, FAILED_TTL_S)
            }
        };
        if let Found::Records { records, alias, secure, ttl: told } = &mut found {
            ttl = ttl.min(TTL_MAX_S);
            *told = ttl;
            *secure &= job.secure && self.settings.trust_ad;
            if job.name != query.name && alias.is_none() {
                *alias = Some(mem::take(&mut job.name));
            }
            records.shrink_to_fit();
        } else {
            ttl = ttl.min(NEGATIVE_TTL_MAX_S);
        }
        self.know(now, query, found, ttl)
    }

    /// One attempt failed: on to the next server, or give up.
    fn failed(&mut self, now: Tick, query: Query) -> Vec<Query> {
        let count = self.servers.len();
        let Some(job) = self.jobs.get_mut(&query) else { return Vec::new() };
        let rounds = self.settings.attempts.max(1) as usize;
        job.transport = Transport::Udp;
        let before = job.tried / count;
        loop {
            job.tried += 1;
            if job.tried >= rounds * count {
                return self.know(now, query, Found::Failed, FAILED_TTL_S);
            }
            if job.refused & 1 << ((job.first + job.tried) % count) == 0 {
                break;
            }
        }
        let round = job.tried / count;
        let pause = if round > before { PAUSE_MS << (round - 1).min(10) } else { 0 };
        self.wait(now.after(pause), query);
        Vec::new()
    }

    fn wait(&mut self, at: Tick, query: Query) {
        if let Some(job) = self.jobs.get(&query) {
            self.waiting.insert((at, job.serial, query));
        }
    }

    fn know(&mut self, now: Tick, query: Query, found: Found, ttl: u32) -> Vec<Query> {
        self.jobs.remove(&query);
        self.cache.keep(query.clone(), found, now.after(u64::from(ttl.max(TTL_MIN_S)) * 1000));
        Vec::from([query])
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
