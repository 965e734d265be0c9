//! The queue as a machine: what is to be sent, to whom, when, over how many connections.
//!
//! It has no thread, no clock and no socket. A host tells it what happened and asks [`Queue::poll`] what to do; a connection that it asked for comes back with
//! its [`Ticket`] and takes jobs until there are none. Nothing is scanned to find what is due: what waits is ordered by time, what is ready by turn.

mod age;
mod lapse;
mod message;
mod operate;
mod schedule;
mod site;
mod state;
#[cfg(test)]
mod tests;
mod types;

pub use lapse::Lapse;
pub use operate::{Listed, PartState};
pub use schedule::Retry;
pub use state::BadState;
pub use types::{Action, Ended, Entry, Job, Outcome, Settings, Ticket, Verdict};

use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet, VecDeque},
    vec::Vec,
};
use message::{Message, Owed, Part, Recipients, State};
use site::Site;

/// Jobs that a connection does before it makes room, if all connections are in use and another site waits for one.
const JOBS_MAX: u32 = 50;

/// How long no new connection is asked for after one failed for reasons of this host, in milliseconds.
const OURS_MS: u64 = 1_000;

#[derive(Debug)]
struct Connection {
    site: u32,
    /// What it is doing.
    job: Option<(u64, u32)>,
    /// It has not asked for a job since it was asked for or woken.
    coming: bool,
    /// It has had a job.
    proved: bool,
    /// It was asked for to find out whether its site is there, and has not told yet.
    probe: bool,
    /// Jobs that it took.
    jobs: u32,
    /// It was told to leave.
    leaving: bool,
}

/// The queue.
#[derive(Debug)]
pub struct Queue {
    settings: Settings,
    messages: BTreeMap<u64, Message>,
    /// How many of them wait for an operator.
    held: usize,
    sites: Vec<Option<Site>>,
    free: Vec<u32>,
    names: BTreeMap<Box<str>, u32>,
    /// Parts that wait, by time.
    waiting: BTreeSet<(u64, u64, u32)>,
    /// When messages are late or too late, in seconds.
    late: BTreeSet<(u32, u64)>,
    /// When dead sites are tried again.
    resting: BTreeSet<(u64, u32)>,
    /// Sites that answered and may want a connection, the one that was served longest ago first.
    hungry: BTreeSet<(u64, u32)>,
    /// The same for sites of which nothing is known.
    strangers: BTreeSet<(u64, u32)>,
    /// Connections that find out whether a site is there.
    probes: u32,
    /// Connections that have nothing to do.
    idle: BTreeSet<u64>,
    /// How many of them were told to leave and have not.
    leaving: u32,
    /// Idle connections that have something to do.
    wakes: VecDeque<u64>,
    /// No new connection before this time, for this host is in trouble.
    paused_until: u64,
    /// Messages whose reports are due.
    reports: VecDeque<u64>,
    connections: BTreeMap<u64, Connection>,
    next_ticket: u64,
    dice: u64,
    /// What the clocks did before this run.
    lapse: Lapse,
}

impl Queue {
    /// An empty queue. The seed spreads retries.
    pub fn new(settings: Settings, seed: u64) -> Queue {
        Queue {
            settings,
            messages: BTreeMap::new(),
            held: 0,
            sites: Vec::new(),
            free: Vec::new(),
            names: BTreeMap::new(),
            waiting: BTreeSet::new(),
            late: BTreeSet::new(),
            resting: BTreeSet::new(),
            hungry: BTreeSet::new(),
            strangers: BTreeSet::new(),
            probes: 0,
            idle: BTreeSet::new(),
            leaving: 0,
            wakes: VecDeque::new(),
            paused_until: 0,
            reports: VecDeque::new(),
            connections: BTreeMap::new(),
            next_ticket: 0,
            dice: seed | 1,
            lapse: Lapse::default(),
        }
    }

    /// Other settings, from now on.
    pub fn set(&mut self, settings: Settings) {
        self.settings = settings;
        let all: Vec<u32> = self.names.values().copied().collect();
        all.into_iter().for_each(|site| self.look_at(site));
    }

    /// Takes a message in. One that is known already stays as it is.
    pub fn admit(&mut self, now_ms: u64, entry: &Entry<'_>) {
        if entry.recipients.is_empty() || self.messages.contains_key(&entry.id) {
            return;
        }
        let arrived_s = seconds(entry.arrived_ms);
        // RFC 4865 §4.1: what its sender held back is as old as the moment when it may go.
        let from_s = arrived_s.max(entry.not_before_ms.map_or(0, seconds));
        let usual = from_s.saturating_add(self.settings.give_up_after_s);
        // What comes back from an earlier run and would be too late is tried once more: the clock may be wrong.
        let usual = if usual <= seconds(now_ms) { seconds(now_ms) + lapse::ONCE_MORE_S } else { usual };
        let message = Message {
            arrived_s,
            from_s,
            give_up_s: entry.give_up_ms.map_or(usual, |ms| seconds(ms).min(usual)),
            due_s: entry.due_ms.map_or(0, seconds),
            priority: entry.priority,
            held: entry.held,
            warned: self.settings.warn_after_s == 0 && entry.due_ms.is_none(),
            reporting: false,
            cancelled: false,
            named: entry.give_up_ms.is_some_and(|ms| seconds(ms) < usual),
            parts: Vec::new(),
            owed: Owed::default(),
        };
        self.held += usize::from(entry.held);
        self.messages.insert(entry.id, message);
        let mut by_site: BTreeMap<&str, Vec<u16>> = BTreeMap::new();
        for (number, site) in entry.recipients {
            by_site.entry(site).or_default().push(*number);
        }
        let most = usize::from(self.settings.recipients.max(1));
        for (name, numbers) in by_site {
            let site = self.intern(name);
            for chunk in numbers.chunks(most) {
                self.add_part(entry.id, site, chunk.into(), 0);
            }
        }
        self.schedule(entry.id, now_ms, entry.not_before_ms.unwrap_or(0));
        self.watch_new(entry.id);
    }

    /// The next thing to do; nothing until something happens, or [`Queue::deadline`] passes.
    pub fn poll(&mut self, now_ms: u64) -> Option<Action> {
        while let Some(&(when, id, part)) = self.waiting.first()
            && when <= now_ms
        {
            self.waiting.pop_first();
            self.make_ready(id, part);
        }
        while let Some(&(when, site)) = self.resting.first()
            && when <= now_ms
        {
            self.resting.pop_first();
            self.site(site).revive();
            self.look_at(site);
            self.forget_site(site);
        }
        while let Some(&(when, id)) = self.late.first()
            && u64::from(when) * 1000 <= now_ms
        {
            self.late.pop_first();
            if let Some(action) = self.is_late(id, now_ms) {
                return Some(action);
            }
        }
        while let Some(id) = self.reports.pop_front() {
            let sites = &self.sites;
            if let Some(message) = self.messages.get_mut(&id) {
                message.reporting = false;
                if !message.owed.is_empty() && !message.is_busy(|site| age::is_resting(sites, site)) {
                    return Some(Action::Report { id, recipients: message.owed.to_vec() });
                }
            }
        }
        self.wake().map(Action::Wake).or_else(|| self.connect(now_ms))
    }

    /// The next connection to wake. [`Queue::poll`] says so too; whoever has just told of something that can go need not wait for who polls.
    pub fn wake(&mut self) -> Option<Ticket> {
        while let Some(ticket) = self.wakes.pop_front() {
            // It may have been closed meanwhile, or have asked by itself.
            if self.connections.get(&ticket).is_some_and(|c| c.coming && c.job.is_none()) {
                return Some(Ticket(ticket));
            }
        }
        None
    }

    /// Whether [`Queue::poll`] has something to do. It may say yes where there is nothing, never the other way round: most of what is told of a busy
    /// queue changes nothing for who polls, and to wake it each time would cost as much as to send the message.
    pub fn is_due(&self, now_ms: u64) -> bool {
        let room = self.connections.len() < self.settings.connections as usize || !self.idle.is_empty();
        let connects = room && now_ms >= self.paused_until && !(self.hungry.is_empty() && self.strangers.is_empty());
        connects
            || !(self.wakes.is_empty() && self.reports.is_empty())
            || self.waiting.first().is_some_and(|w| w.0 <= now_ms)
            || self.resting.first().is_some_and(|r| r.0 <= now_ms)
            || self.late.first().is_some_and(|l| u64::from(l.0) * 1000 <= now_ms)
    }

    /// The next connection to ask for.
    fn connect(&mut self, now_ms: u64) -> Option<Action> {
        if now_ms < self.paused_until {
            return None;
        }
        // Or it would be a deadline for ever, and be polled for again and again while all connections are in use.
        self.paused_until = 0;
        // Sites that may not be there never get all connections: a quarter is left for those that answered.
        let probes_max = (self.settings.connections - self.settings.connections / 4).max(1);
        loop {
            let strangers = if self.probes < probes_max { self.strangers.first() } else { None };
            let (_, number) = *[self.hungry.first(), strangers].into_iter().flatten().min()?;
            let site = self.sites[number as usize].as_mut().expect("only sites that are there are hungry");
            let place = (site.served, number);
            if !site.wants(&self.settings) {
                self.hungry.remove(&place);
                self.strangers.remove(&place);
                continue;
            }
            if self.connections.len() >= self.settings.connections as usize {
                return self.make_room();
            }
            self.hungry.remove(&place);
            self.strangers.remove(&place);
            self.next_ticket += 1;
            let ticket = self.next_ticket;
            site.open += 1;
            site.coming += 1;
            site.served = ticket;
            let (name, probe) = (site.name.clone(), !site.answered);
            self.probes += u32::from(probe);
            self.connections
                .insert(ticket, Connection { site: number, job: None, coming: true, proved: false, probe, jobs: 0, leaving: false });
            self.look_at(number);
            return Some(Action::Connect { ticket: Ticket(ticket), site: name });
        }
    }

    /// All connections are in use: one that has nothing to do gives its place to a site that waits, one for each.
    fn make_room(&mut self) -> Option<Action> {
        if self.leaving as usize >= self.hungry.len() + self.strangers.len() {
            return None;
        }
        let ticket = self.idle.pop_first()?;
        self.leaving += 1;
        let connection = self.connections.get_mut(&ticket).expect("what is idle is open");
        connection.leaving = true;
        self.sites[connection.site as usize].as_mut().expect("a connection has a site").idle.remove(&ticket);
        Some(Action::Leave(Ticket(ticket)))
    }

    /// When to poll again even if nothing happens, in milliseconds since 1970.
    pub fn deadline(&self) -> Option<u64> {
        let waiting = self.waiting.first().map(|w| w.0);
        let late = self.late.first().map(|l| u64::from(l.0) * 1000);
        let resting = self.resting.first().map(|r| r.0);
        let wanted = !(self.hungry.is_empty() && self.strangers.is_empty());
        let paused = (wanted && self.paused_until > 0).then_some(self.paused_until);
        [waiting, late, resting, paused].into_iter().flatten().min()
    }

    /// The next job for a connection that is ready for one, with at most so many recipients; nothing if there is none at the moment.
    ///
    /// # Panics
    /// If the connection has a job in hand, or is closed.
    pub fn take(&mut self, ticket: Ticket, room: usize) -> Option<Job> {
        let connection = self.connections.get_mut(&ticket.0).expect("only an open connection takes jobs");
        assert!(connection.job.is_none(), "one job at a time");
        let number = connection.site;
        let site = self.sites[number as usize].as_mut().expect("a connection has a site");
        if core::mem::take(&mut connection.coming) {
            site.coming -= 1;
        }
        self.probes -= u32::from(core::mem::take(&mut connection.probe));
        site.idle.remove(&ticket.0);
        self.idle.remove(&ticket.0);
        if connection.leaving {
            return None;
        }
        if !core::mem::replace(&mut site.answered, true) {
            self.strangers.remove(&(site.served, number));
        }
        if connection.jobs >= JOBS_MAX && self.connections.len() >= self.settings.connections as usize && self.others_want(number) {
            // It is told to leave as if it had nothing to do.
            self.idle.insert(ticket.0);
            self.look_at(number);
            return None;
        }
        let site = self.sites[number as usize].as_mut().expect("a connection has a site");
        let Some((_, turn, id, at)) = site.ready.pop_first() else {
            site.idle.insert(ticket.0);
            self.idle.insert(ticket.0);
            return None;
        };
        let connection = self.connections.get_mut(&ticket.0).expect("it is open");
        connection.jobs += 1;
        site.went(turn);
        connection.job = Some((id, at));
        let message = self.messages.get_mut(&id).expect("what is ready is there");
        let part = &mut message.parts[at as usize];
        (part.state, part.when) = (State::Flying, ticket.0);
        let (attempts, list) = (part.attempts, part.to.as_slice());
        let (mine, rest) = list.split_at(room.clamp(1, list.len()));
        let (mine, rest): (Vec<u16>, Vec<u16>) = (mine.to_vec(), rest.to_vec());
        if !rest.is_empty() {
            part.to = mine.as_slice().into();
            self.add_part(id, number, rest.as_slice().into(), attempts);
            let last = self.messages[&id].parts.len() as u32 - 1;
            self.make_ready(id, last);
        }
        self.look_at(number);
        Some(Job { id, recipients: mine, attempts })
    }

    /// Takes back the job of a connection with what came of each of its recipients, and says what becomes of them, in the same order.
    ///
    /// # Panics
    /// If it has no job in hand, or the recipients are not its.
    pub fn settle(&mut self, now_ms: u64, ticket: Ticket, outcomes: &[(u16, Outcome)]) -> Vec<Verdict> {
        let connection = self.connections.get_mut(&ticket.0).expect("only an open connection has a job");
        let (id, at) = connection.job.take().expect("there is a job");
        let proved = core::mem::replace(&mut connection.proved, true);
        let number = connection.site;
        // Each message that goes, not only the first of a connection: those to a smart host are kept for ever, and its window would stay as it began.
        if !proved || outcomes.iter().any(|(_, outcome)| *outcome == Outcome::Done) {
            let most = self.settings.per_site;
            self.site(number).succeeded(most);
            self.look_at(number);
        }
        self.land(now_ms, id, at, outcomes)
    }

    /// A connection is closed, or could not be made. A job that it still had is tried again soon.
    pub fn closed(&mut self, now_ms: u64, ticket: Ticket, ended: Ended) {
        let Some(connection) = self.connections.remove(&ticket.0) else { return };
        let number = connection.site;
        let dice = self.roll();
        self.probes -= u32::from(connection.probe);
        self.leaving -= u32::from(connection.leaving);
        self.idle.remove(&ticket.0);
        if ended == Ended::Ours {
            // Without a pause it would be asked for again at once, and fail again.
            self.paused_until = now_ms + OURS_MS;
        }
        let site = self.site(number);
        site.open -= 1;
        site.coming -= u32::from(connection.coming);
        site.idle.remove(&ticket.0);
        // One that never asked for a job did not get through, whatever it says; or the next would be asked for at once, for ever.
        let failed = ended == Ended::Failed || ended == Ended::Fine && connection.coming && connection.jobs == 0;
        if failed && !connection.proved && site.dead_until.is_none() && site.failed(now_ms, dice) {
            let until = site.dead_until.expect("it has just died");
            // Those that wait for it may be owed a report on others, which does not wait for it.
            let ids: BTreeSet<u64> = site.ready.iter().map(|place| place.2).collect();
            self.resting.insert((until, number));
            ids.into_iter().for_each(|id| self.due_for_report(id));
        }
        if let Some((id, at)) = connection.job {
            let numbers = self.messages[&id].parts[at as usize].to.clone();
            let outcomes: Vec<(u16, Outcome)> = numbers.as_slice().iter().map(|n| (*n, Outcome::Later)).collect();
            self.land(now_ms, id, at, &outcomes);
        }
        self.look_at(number);
        self.forget_site(number);
    }

    /// Recipients are done: the record of their report is written, or an earlier run got so far.
    pub fn settled(&mut self, id: u64, recipients: &[u16]) {
        let Some(message) = self.messages.get_mut(&id) else { return };
        message.owed.settle(recipients);
        for at in 0..message.parts.len() as u32 {
            self.strike(id, at, recipients);
        }
        self.forget(id);
    }

    /// What an earlier run found out about a recipient: it is tried again then. Only before the first poll.
    pub fn again(&mut self, id: u64, recipient: u16, attempts: u16, next_ms: u64) {
        let Some(message) = self.messages.get(&id) else { return };
        let holds = |part: &Part| part.state != State::Done && part.to.as_slice().contains(&recipient);
        let Some(at) = message.parts.iter().position(holds) else { return };
        let (site, many) = (message.parts[at].site, message.parts[at].to.as_slice().len() > 1);
        // Those that were deferred together go together again.
        let with =
            |p: &Part| p.site == site && p.attempts == attempts && p.when == next_ms && matches!(p.state, State::Waiting | State::Held);
        let most = usize::from(self.settings.recipients.max(1));
        let together = message.parts.iter().position(|p| with(p) && p.to.as_slice().len() < most);
        if let Some(to) = together.filter(|to| *to != at) {
            self.strike(id, at as u32, &[recipient]);
            let part = &mut self.messages.get_mut(&id).expect("it is there").parts[to];
            let numbers: Vec<u16> = part.to.as_slice().iter().copied().chain([recipient]).collect();
            part.to = numbers.as_slice().into();
            return;
        }
        let at = if many {
            // It has a time of its own now.
            self.strike(id, at as u32, &[recipient]);
            self.add_part(id, site, Recipients::One(recipient), attempts);
            self.messages[&id].parts.len() as u32 - 1
        } else {
            at as u32
        };
        self.unschedule(id, at);
        let Some(message) = self.messages.get_mut(&id) else { return };
        message.parts[at as usize].attempts = attempts;
        self.put(id, at, next_ms);
    }

    /// Messages in it.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Whether it has this message.
    pub fn contains(&self, id: u64) -> bool {
        self.messages.contains_key(&id)
    }

    /// Ids of all messages, the oldest first.
    pub fn ids(&self) -> impl Iterator<Item = u64> + '_ {
        self.messages.keys().copied()
    }

    /// The same, from the one after this.
    pub fn ids_after(&self, after: Option<u64>) -> impl Iterator<Item = u64> + '_ {
        let from = after.map_or(0, |id| id.saturating_add(1));
        self.messages.range(from..).map(|(id, _)| *id)
    }

    /// Connections that are open or asked for.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Sites that have messages, and of these the dead ones.
    pub fn sites(&self) -> (usize, usize) {
        (self.names.len(), self.resting.len())
    }

    fn land(&mut self, now_ms: u64, id: u64, at: u32, outcomes: &[(u16, Outcome)]) -> Vec<Verdict> {
        let dice = self.roll();
        let message = self.messages.get_mut(&id).expect("what is under way is there");
        let part = &mut message.parts[at as usize];
        let numbers = part.to.as_slice();
        assert!(numbers.len() == outcomes.len() && outcomes.iter().all(|(n, _)| numbers.contains(n)), "the recipients of the job");
        let attempts = part.attempts.saturating_add(1);
        let next_ms = now_ms + self.settings.retry.pause_ms(attempts, dice);
        let late = !message.held && now_ms >= u64::from(message.give_up_s) * 1000;
        let mut verdicts = Vec::with_capacity(outcomes.len());
        let mut later = Vec::new();
        for (number, outcome) in outcomes {
            verdicts.push(match outcome {
                Outcome::Done => Verdict::AsSaid,
                // Nobody waits for it any more, and nobody hears of it.
                _ if message.cancelled => Verdict::AsSaid,
                Outcome::Failed => {
                    message.owed.push(*number);
                    Verdict::AsSaid
                }
                Outcome::Later if late => {
                    message.owed.push(*number);
                    Verdict::TooLate
                }
                Outcome::Later => {
                    later.push(*number);
                    Verdict::Again { attempts, next_ms }
                }
            });
        }
        part.attempts = attempts;
        if later.is_empty() {
            part.state = State::Done;
            let site = part.site;
            self.site(site).parts -= 1;
        } else {
            part.to = later.as_slice().into();
            part.state = State::Done;
            self.put(id, at, next_ms);
        }
        self.due_for_report(id);
        self.forget(id);
        verdicts
    }

    /// Forgets a message that is done.
    fn forget(&mut self, id: u64) {
        if !self.messages.get(&id).is_some_and(Message::is_done) {
            return;
        }
        let message = self.messages.remove(&id).expect("it was there");
        self.held -= usize::from(message.held);
        self.late.remove(&(message.warn_s(self.settings.warn_after_s), id));
        self.late.remove(&(message.give_up_s, id));
        for part in &message.parts {
            self.forget_site(part.site);
        }
    }

    fn add_part(&mut self, id: u64, site: u32, to: Recipients, attempts: u16) {
        self.site(site).parts += 1;
        let message = self.messages.get_mut(&id).expect("it is there");
        if message.parts.is_empty() {
            // Most messages have one, and room for more would be most of what the queue needs.
            message.parts.reserve_exact(1);
        }
        message.parts.push(Part { when: 0, site, attempts, state: State::Done, to });
    }

    /// Places every part of a message that is in no place yet.
    fn schedule(&mut self, id: u64, now_ms: u64, not_before_ms: u64) {
        for at in 0..self.messages[&id].parts.len() as u32 {
            if not_before_ms > now_ms {
                self.put(id, at, not_before_ms);
            } else {
                self.make_ready(id, at);
            }
        }
    }

    /// Lets a part wait until then.
    fn put(&mut self, id: u64, at: u32, when: u64) {
        let message = self.messages.get_mut(&id).expect("it is there");
        let part = &mut message.parts[at as usize];
        part.when = when;
        if message.held {
            part.state = State::Held;
        } else {
            part.state = State::Waiting;
            self.waiting.insert((when, id, at));
        }
    }

    /// A part could go now.
    fn make_ready(&mut self, id: u64, at: u32) {
        let message = self.messages.get_mut(&id).expect("it is there");
        let number = message.parts[at as usize].site;
        if message.held {
            (message.parts[at as usize].state, message.parts[at as usize].when) = (State::Held, 0);
            return;
        }
        // Those of a message that wait here already: each costs the next one a turn, so that a large mailing lets others pass.
        let before = message.parts.iter().filter(|p| p.site == number && p.state == State::Ready).count() as u64;
        let site = self.sites[number as usize].as_mut().expect("a part has a site");
        let turn = site.turn(before);
        site.ready.insert((-message.priority, turn, id, at));
        let part = &mut message.parts[at as usize];
        (part.state, part.when) = (State::Ready, turn);
        if site.dead_until.is_none()
            && (site.coming as usize) < site.ready.len()
            && let Some(ticket) = site.idle.pop_first()
        {
            site.coming += 1;
            self.idle.remove(&ticket);
            self.connections.get_mut(&ticket).expect("what is idle is open").coming = true;
            self.wakes.push_back(ticket);
        }
        self.look_at(number);
    }

    /// Takes a part out of its place, if it is in one.
    fn unschedule(&mut self, id: u64, at: u32) {
        let Some(message) = self.messages.get_mut(&id) else { return };
        let part = &mut message.parts[at as usize];
        match part.state {
            State::Waiting => {
                self.waiting.remove(&(part.when, id, at));
            }
            State::Ready => {
                let site = self.sites[part.site as usize].as_mut().expect("a part has a site");
                site.ready.remove(&(-message.priority, part.when, id, at));
            }
            State::Held | State::Done | State::Flying => return,
        }
        part.state = State::Done;
    }

    /// Takes recipients out of a part that is not under way.
    fn strike(&mut self, id: u64, at: u32, recipients: &[u16]) {
        let Some(message) = self.messages.get(&id) else { return };
        let part = &message.parts[at as usize];
        if matches!(part.state, State::Done | State::Flying) || !part.to.as_slice().iter().any(|n| recipients.contains(n)) {
            return;
        }
        let left: Vec<u16> = part.to.as_slice().iter().filter(|n| !recipients.contains(n)).copied().collect();
        if left.is_empty() {
            self.unschedule(id, at);
        }
        let message = self.messages.get_mut(&id).expect("it is there");
        let part = &mut message.parts[at as usize];
        if left.is_empty() {
            part.state = State::Done;
            let site = part.site;
            self.site(site).parts -= 1;
        } else {
            part.to = left.as_slice().into();
        }
    }

    fn intern(&mut self, name: &str) -> u32 {
        if let Some(number) = self.names.get(name) {
            return *number;
        }
        let site = Some(Site::new(name));
        let number = match self.free.pop() {
            Some(number) => {
                self.sites[number as usize] = site;
                number
            }
            None => {
                self.sites.push(site);
                self.sites.len() as u32 - 1
            }
        };
        self.names.insert(name.into(), number);
        number
    }

    fn site(&mut self, number: u32) -> &mut Site {
        self.sites[number as usize].as_mut().expect("the site is there")
    }

    /// Forgets a site that nothing is known of and nobody needs.
    fn forget_site(&mut self, number: u32) {
        let Some(site) = &self.sites[number as usize] else { return };
        if site.parts == 0 && site.open == 0 && site.dead_until.is_none() {
            self.hungry.remove(&(site.served, number));
            self.strangers.remove(&(site.served, number));
            self.names.remove(&site.name);
            self.sites[number as usize] = None;
            self.free.push(number);
        }
    }

    /// A site may want a connection now.
    fn look_at(&mut self, number: u32) {
        let Some(site) = &self.sites[number as usize] else { return };
        if site.wants(&self.settings) {
            let set = if site.answered { &mut self.hungry } else { &mut self.strangers };
            set.insert((site.served, number));
        }
    }

    /// Whether another site waits for a connection.
    fn others_want(&self, number: u32) -> bool {
        self.hungry.iter().chain(&self.strangers).any(|(_, other)| *other != number)
    }

    /// SplitMix64: spreads, and hides nothing.
    fn roll(&mut self) -> u64 {
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.dice;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

fn seconds(ms: u64) -> u32 {
    u32::try_from(ms / 1000).unwrap_or(u32::MAX)
}
