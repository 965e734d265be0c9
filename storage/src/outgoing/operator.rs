//! What an operator asks of the queue, and does with it.

use super::{Said, outbound::spoken};
use crate::{
    control::{Action, Effect, Filter, Listing, Operator, Page, QueueStatus, Refused, State, Summary, Waiting, Whole, Whom, queue_id},
    house::House,
    recover::decode,
    story::{Deed, moment},
};
use queue::{Accept, Change, Changed, Content, Listed, PartState, Record, dsn::Kind};
use std::sync::Arc;

/// How much of the queue is looked at while sessions wait for it.
const LOOK: usize = 500;
/// Recipients that a line of a list names.
const NAMED_MAX: usize = 5;
/// Dead sites that are named.
const DEAD_MAX: usize = 100;
/// Messages that one order may be for.
const ORDER_MAX: usize = 1_000_000;

impl Operator for Arc<House> {
    fn list(&self, filter: &Filter, page: Page) -> Result<Listing, Refused> {
        let mut listing = Listing::default();
        let mut after = page.after;
        // One more is looked for, to know whether there is one.
        while listing.messages.len() <= page.most {
            let (found, last) = self.look(filter, after, LOOK);
            let Some(last) = last else { break };
            after = Some(last);
            for listed in found {
                if listing.messages.len() > page.most {
                    break;
                }
                // A message that is gone meanwhile is not listed.
                let Ok(record) = self.depot().read(self.spool(), listed.id) else { continue };
                let Ok(Record::Accept(accept)) = decode(&record) else { continue };
                if names(filter, &accept, &listed) {
                    listing.messages.push(self.summary(&accept, &listed));
                }
            }
        }
        if listing.messages.len() > page.most {
            listing.messages.truncate(page.most);
            listing.next = listing.messages.last().map(|m| m.id.clone());
        }
        Ok(listing)
    }

    fn show(&self, id: u64) -> Result<Whole, Refused> {
        let gone = || Refused::NoSuchMessage(format!("{id:x}"));
        let listed = self.outgoing().inner().queue.show(id).ok_or_else(gone)?;
        let record = self.depot().read(self.spool(), id).map_err(|error| Refused::Later(error.to_string()))?;
        let Ok(Record::Accept(accept)) = decode(&record) else { return Err(Refused::Later("its record cannot be read".into())) };
        let each = accept.remotes.iter().enumerate().map(|(n, remote)| {
            let part = listed.recipients.iter().find(|(number, ..)| usize::from(*number) == n);
            let (site, attempts, state) =
                part.map_or((remote.site(), 0, None), |(_, site, attempts, state)| (&**site, *attempts, Some(*state)));
            Waiting {
                address: remote.recipient.to_owned(),
                site: site.to_owned(),
                state: state.map_or(State::Done, |state| place(listed.held, state)),
                attempts: u32::from(attempts),
                next: state.and_then(|state| self.next(state)),
                reply: part.and_then(|(number, site, ..)| self.heard(id, *number, site)),
            }
        });
        Ok(Whole {
            each: each.collect(),
            summary: self.summary(&accept, &listed),
            gives_up: Some(listed.give_up_ms / 1000),
            priority: listed.priority,
            envid: accept.wishes.envid.map(Into::into),
        })
    }

    fn act(&self, whom: &Whom, action: &Action, who: &str) -> Result<Effect, Refused> {
        let ids = self.meant(whom)?;
        if *action == (Action::Schedule { next: None, give_up: None }) {
            return Err(Refused::Nonsense("a schedule needs `next`, `give_up` or both".into()));
        }
        let to = match action {
            Action::Reroute { to } => Some(self.site_of(to, &ids)?),
            _ => None,
        };
        let (now_ms, silent) = (self.queue_ms(), matches!(action, Action::Cancel { silent: true }));
        if matches!(action, Action::Cancel { .. }) {
            let inner = self.outgoing().inner();
            if let Some(id) = ids.iter().find(|id| inner.queue.show(**id).is_some_and(|listed| is_sent(&listed))) {
                return Err(being_sent(*id));
            }
        }
        let mut done = 0;
        for id in ids {
            let site = to.as_deref().unwrap_or_default();
            let mut inner = self.outgoing().inner();
            let queue = &mut inner.queue;
            let (is_done, changes, what) = match action {
                // Not in the log: after a crash it is tried when it would have been.
                Action::Retry => (queue.retry(id), vec![], "tried at once".to_owned()),
                Action::Hold => (queue.hold(id), vec![Change::Hold], String::new()),
                Action::Release => (queue.release(now_ms, id), vec![Change::Release], "released".into()),
                Action::Reroute { to } => (queue.reroute(id, site), vec![Change::Reroute(site)], format!("rerouted to {to}")),
                Action::Schedule { next, give_up } => {
                    let (mut is_done, mut changes, mut what) = (false, Vec::new(), Vec::new());
                    if let Some(next) = next {
                        let at_ms = self.queue_ms_at(*next);
                        is_done |= queue.reschedule(id, at_ms);
                        changes.push(Change::At(at_ms));
                        what.push(format!("put off until {} UTC", moment(*next)));
                    }
                    if let Some(give_up) = give_up {
                        let at_ms = self.queue_ms_at(*give_up);
                        is_done |= queue.give_up_at(id, at_ms);
                        changes.push(Change::GiveUp(at_ms));
                        what.push(format!("to be given up at {} UTC", moment(*give_up)));
                    }
                    (is_done, changes, what.join(" and "))
                }
                Action::Cancel { .. } if silent => (queue.cancel(id), vec![Change::Cancel], "cancelled, and nobody is told,".into()),
                Action::Cancel { .. } => {
                    drop(inner);
                    if self.give_up(id)? {
                        self.tell(id, Deed::Changed { by: who.to_owned(), what: "cancelled".into() });
                        done += 1;
                    }
                    continue;
                }
            };
            if silent && is_done {
                inner.hush(id);
            }
            drop(inner);
            if !is_done {
                continue;
            }
            done += 1;
            for change in changes {
                let record = Record::Changed(Changed { id, at_ms: now_ms, change }).encode();
                self.spool().jot(&[&record]).map_err(|error| Refused::Later(error.to_string()))?;
            }
            if silent {
                self.depot().forget(id);
            }
            let by = who.to_owned();
            self.tell(id, if *action == Action::Hold { Deed::Held { by } } else { Deed::Changed { by, what } });
        }
        self.spool().flush().map_err(|error| Refused::Later(error.to_string()))?;
        self.outgoing().ring();
        Ok(Effect { messages: done })
    }

    fn queue_status(&self) -> QueueStatus {
        self.queue_numbers()
    }

    fn explain(&self, address: &str) -> Result<crate::control::Explanation, Refused> {
        self.explanation(address)
    }
}

impl House {
    /// How the queue is.
    pub(crate) fn queue_numbers(&self) -> QueueStatus {
        let inner = self.outgoing().inner();
        let (waiting, active, held) = inner.queue.count();
        let (sites, dead_count) = inner.queue.sites();
        let oldest = inner.queue.ids().next().and_then(|id| inner.queue.show(id)).map(|m| m.arrived_ms / 1000);
        let dead = inner.queue.dead_sites().take(DEAD_MAX).map(str::to_owned).collect();
        QueueStatus {
            waiting: waiting as u64,
            active: active as u64,
            held: held as u64,
            oldest,
            sites: sites as u64,
            dead,
            dead_count: dead_count as u64,
        }
    }

    /// Seconds that the clock says have passed before the start and that make no message older.
    pub(crate) fn uncounted_s(&self) -> u64 {
        self.outgoing().inner().queue.lapse().age_ms.max(0).unsigned_abs() / 1000
    }

    /// Counts them after all, and says how many they were.
    pub(crate) fn count_lapse(&self) -> u64 {
        let (now_ms, first) = (self.queue_ms(), self.spool().first_id());
        let seconds = self.outgoing().inner().queue.trust(now_ms, first) / 1000;
        self.outgoing().ring();
        seconds
    }

    /// Of the next messages, those that the queue itself can tell that they are meant; and the last that was looked at.
    fn look(&self, filter: &Filter, after: Option<u64>, most: usize) -> (Vec<Listed>, Option<u64>) {
        let inner = self.outgoing().inner();
        let mut last = None;
        let looked = inner.queue.list_after(after).take(most).inspect(|m| last = Some(m.id));
        let found = looked
            .filter(|m| {
                let site = filter.site.as_deref();
                filter.state.is_none_or(|state| state == of_message(m))
                    && filter.before.is_none_or(|before| m.arrived_ms / 1000 < before)
                    && site.is_none_or(|site| m.recipients.iter().any(|(_, s, ..)| **s == *site))
            })
            .collect();
        (found, last)
    }

    /// The messages an order is for.
    fn meant(&self, whom: &Whom) -> Result<Vec<u64>, Refused> {
        let mut ids = Vec::new();
        match whom {
            Whom::Ids(list) => {
                let inner = self.outgoing().inner();
                for text in list {
                    let id = queue_id(text)?;
                    if !inner.queue.contains(id) {
                        return Err(Refused::NoSuchMessage(format!("{id:x}")));
                    }
                    ids.push(id);
                }
            }
            Whom::All(filter) => {
                let reads = filter.sender.is_some() || filter.recipient.is_some();
                let mut after = None;
                while let (found, Some(last)) = self.look(filter, after, LOOK) {
                    after = Some(last);
                    for listed in found {
                        let is_meant = !reads || {
                            let record = self.depot().read(self.spool(), listed.id).map_err(|error| Refused::Later(error.to_string()))?;
                            matches!(decode(&record), Ok(Record::Accept(accept)) if names(filter, &accept, &listed))
                        };
                        if is_meant {
                            ids.push(listed.id);
                        }
                    }
                    if ids.len() > ORDER_MAX {
                        return Err(Refused::Conflict(format!("more than {ORDER_MAX} messages are meant; say it more narrowly")));
                    }
                }
            }
        }
        Ok(ids)
    }

    /// The site of a way that an operator names.
    fn site_of(&self, to: &str, ids: &[u64]) -> Result<Box<str>, Refused> {
        if to != "mx" {
            let (host, port) = to.rsplit_once(':').filter(|(host, _)| !host.contains(':')).unwrap_or((to, "25"));
            let port: u16 = port.parse().map_err(|_| Refused::Nonsense(format!("{port:?} is no port")))?;
            if !config::is_domain(host) && host.parse::<std::net::Ipv4Addr>().is_err() {
                return Err(Refused::Nonsense(format!("{host:?} is no host; give NAME, NAME:PORT or mx")));
            }
            return Ok(format!("={host}:{port}").into());
        }
        let mut domains = Vec::new();
        for id in ids {
            let record = self.depot().read(self.spool(), *id).map_err(|error| Refused::Later(error.to_string()))?;
            let Ok(Record::Accept(accept)) = decode(&record) else { continue };
            domains.extend(accept.remotes.iter().filter_map(|r| r.recipient.rsplit_once('@').map(|(_, domain)| domain.to_lowercase())));
        }
        domains.sort();
        domains.dedup();
        match &domains[..] {
            [one] => Ok(self.outgoing().site(one)),
            _ => Err(Refused::Conflict("these messages are for several domains; give them back to DNS domain by domain".into())),
        }
    }

    /// Ends a message with a report to its sender; false if it is gone.
    fn give_up(self: &Arc<House>, id: u64) -> Result<bool, Refused> {
        let mut inner = self.outgoing().inner();
        let Some(listed) = inner.queue.show(id) else { return Ok(false) };
        if is_sent(&listed) {
            return Err(being_sent(id));
        }
        // Nobody takes it while the report is written, or it would be delivered and reported on.
        inner.queue.hold(id);
        // Those that have failed already are owed a report of their own.
        let numbers: Vec<u16> = listed.recipients.iter().filter(|r| r.3 != PartState::Owed).map(|r| r.0).collect();
        for number in &numbers {
            let said =
                Said { text: "5.7.1 it was cancelled by the operator of this server".into(), at_s: self.now().seconds, ..Said::default() };
            inner.say(id, *number, said);
        }
        drop(inner);
        let reported = self.report(id, &numbers, |_| Kind::Failed);
        if reported.is_err() && !listed.held {
            self.outgoing().inner().queue.release(self.queue_ms(), id);
        }
        reported.map_err(|error| Refused::Later(error.to_string()))?;
        Ok(true)
    }

    fn summary(&self, accept: &Accept<'_>, listed: &Listed) -> Summary {
        let remotes: Vec<_> = accept.remotes.iter().collect();
        let address = |n: u16| remotes.get(usize::from(n)).map(|r| r.recipient.to_owned());
        let first = listed.recipients.first();
        Summary {
            id: format!("{:x}", listed.id),
            accepted: listed.arrived_ms / 1000,
            size: match accept.content {
                Content::Inline(bytes) => bytes.len() as u64,
                Content::Large { size, .. } => size,
            },
            sender: accept.sender.unwrap_or_default().to_owned(),
            state: of_message(listed),
            recipients: u32::try_from(remotes.len()).unwrap_or(u32::MAX),
            waiting: listed.recipients.iter().take(NAMED_MAX).filter_map(|r| address(r.0)).collect(),
            left: u32::try_from(listed.recipients.len()).unwrap_or(u32::MAX),
            next: listed.recipients.iter().filter_map(|r| self.next(r.3)).min(),
            reason: first.and_then(|(number, site, ..)| self.heard(listed.id, *number, site)),
        }
    }

    /// What was last heard of a recipient, or else of its site.
    fn heard(&self, id: u64, number: u16, site: &str) -> Option<String> {
        let inner = self.outgoing().inner();
        inner.said.get(&(id, number)).or_else(|| inner.said_of_site.get(site)).map(spoken).filter(|said| !said.is_empty())
    }

    /// When a recipient is tried next, in seconds since 1970.
    fn next(&self, state: PartState) -> Option<u64> {
        match state {
            PartState::Waiting(ms) | PartState::Resting(ms) => Some(ms / 1000),
            PartState::Ready => Some(self.queue_ms() / 1000),
            PartState::Flying | PartState::Held | PartState::Owed => None,
        }
    }
}

fn is_sent(listed: &Listed) -> bool {
    listed.recipients.iter().any(|r| r.3 == PartState::Flying)
}

fn being_sent(id: u64) -> Refused {
    Refused::Conflict(format!("{id:x} is being sent at this moment; it is not cancelled"))
}

fn of_message(listed: &Listed) -> State {
    if is_sent(listed) {
        State::Active
    } else if listed.held {
        State::Held
    } else {
        State::Waiting
    }
}

fn place(held: bool, state: PartState) -> State {
    match state {
        PartState::Flying => State::Active,
        PartState::Held => State::Held,
        _ if held => State::Held,
        PartState::Waiting(_) | PartState::Ready | PartState::Resting(_) => State::Waiting,
        PartState::Owed => State::Done,
    }
}

/// Whether the addresses of a message are those that are asked for.
fn names(filter: &Filter, accept: &Accept<'_>, listed: &Listed) -> bool {
    let is = |wanted: &str, address: &str| match wanted {
        "<>" | "" => address.is_empty(),
        domain if domain.starts_with('@') => address.to_lowercase().ends_with(&domain.to_lowercase()),
        wanted => address.eq_ignore_ascii_case(wanted),
    };
    let waits = |n: usize| listed.recipients.iter().any(|(number, ..)| usize::from(*number) == n);
    filter.sender.as_deref().is_none_or(|wanted| is(wanted, accept.sender.unwrap_or_default()))
        && filter
            .recipient
            .as_deref()
            .is_none_or(|wanted| accept.remotes.iter().enumerate().any(|(n, r)| waits(n) && is(wanted, r.recipient)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::Clock, disk::Posix, spool};
    use std::sync::atomic::{AtomicI64, Ordering};

    #[test]
    fn who_names_a_time_means_the_time_of_day_although_the_clock_was_set() {
        let at = std::env::temp_dir().join(format!("hikyaku-operator-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&at);
        std::fs::create_dir(&at).unwrap();
        let wall = Arc::new(AtomicI64::new(1_000_000));
        let hands = wall.clone();
        let clock = Clock::new(Arc::new(move || i128::from(hands.load(Ordering::Relaxed)) * 1_000_000_000), || 0);
        let config = config::Config { domains: vec!["example.test".into()], store: at.clone(), ..config::Config::default() };
        let house = House::open_at(config, Arc::new(Posix), clock, spool::Options::default()).unwrap();
        assert_eq!(house.queue_ms_at(1_003_600), house.queue_ms() + 3_600_000);
        wall.store(1_086_400, Ordering::Relaxed);
        assert_eq!(house.queue_ms_at(1_090_000), house.queue_ms() + 3_600_000, "in an hour");
        assert_eq!(house.queue_ms_at(1_086_399), house.queue_ms() - 1000);
        house.close();
        drop(house);
        std::fs::remove_dir_all(&at).unwrap();
    }
}
