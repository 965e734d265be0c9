//! What happens in a world besides what its people do: houses start and fall, disks fail, operators intervene.

use super::{
    Actor, World,
    books::{Order, Ordered},
    client::Client,
    host::{self, survives},
    ills::{Ill, Walled, home},
    loiterer::Loiterer,
    names, net,
    net::Event,
    plan::Deed,
    pranks::{self, Prank},
};
use std::net::SocketAddr;
use storage::control::{Action, Filter, Operator as _, Page, State, Whom, queue_id};

/// So long a house is looked after each second when something went wrong with it.
const ALERT: u64 = 120_000;

impl World {
    pub(super) fn start(&mut self, n: usize) {
        let now = self.stage.net.now;
        let host = &mut self.hosts[n];
        if host.house.is_some() {
            return;
        }
        let started = host.start(now, self.plan.canary, &mut self.stage);
        self.stage.net.tape.note(&[41, n as u64, u64::from(started.is_ok())], || format!("house {n} starts: {started:?}"));
        *self.counts.entry("starts").or_default() += 1;
        if let Err(error) = started {
            let host = &mut self.hosts[n];
            if !host.is_dark() && self.calm {
                self.stage.books.wrong(format!("house {n} does not start: {error}"));
                return;
            }
            host.is_doomed = !host.is_dark();
            host.fall(&mut self.stage);
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
            survives(|| drop(house.act(&Whom::All(Filter::default()), &Action::Release, "world")));
        }
    }

    /// An operator does something to a message of a house.
    fn order(&mut self, n: usize, order: Order) {
        let host = &self.hosts[n];
        let Some(house) = host.house.clone().filter(|_| !host.stopping) else { return };
        // One that panics is a connection that ends: the operator does not know what was done.
        let Some(Ok(listing)) = survives(|| house.list(&Filter::default(), Page { after: None, most: 1000 })) else { return };
        let Some(chosen) = self.stage.net.dice.choice(&listing.messages) else { return };
        let id = chosen.id.clone();
        // Whoever gives up a report without a word loses what it tells, and nobody could say of whom.
        let order = if order == Order::Drop && chosen.sender.is_empty() { Order::Cancel } else { order };
        let Some(Ok(whole)) = survives(|| queue_id(&id).and_then(|id| house.show(id))) else { return };
        let wall_s = u64::try_from(host.hands.wall_ns() / 1_000_000_000).unwrap_or(0);
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
        let result = survives(|| house.act(&Whom::Ids(vec![id.clone()]), &action, "world"));
        let active = whole.summary.state == State::Active;
        let waiting = whole.each.into_iter().filter(|w| w.state != State::Done).map(|w| w.address).collect();
        self.stage.net.tape.note(&[51, n as u64], || format!("{order:?} of {id} in house {n}, under way: {active}: {result:?}"));
        *self.counts.entry("orders").or_default() += 1;
        let done = result.is_some_and(|result| result.is_ok_and(|effect| effect.messages > 0));
        self.stage.books.orders.push(Ordered { host: n, id, at: self.stage.net.now, order, done, active, waiting });
    }

    pub(super) fn restart(&mut self, n: usize, at: u64) {
        self.plan.deeds.push((at, Deed::Start(n)));
        self.stage.net.plan(at, Event::Other(self.plan.deeds.len() as u64 - 1));
    }

    pub(super) fn deed(&mut self, deed: Deed) {
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
            Deed::Ill(n, ill) => self.ill(n, ill),
            Deed::Calm => {
                self.calm = true;
                self.stage.net.weather = net::Weather::default();
                self.names.borrow_mut().lies = names::Lies::default();
                for n in 0..self.hosts.len() {
                    self.hosts[n].disk.heal();
                    self.unwall(n);
                    // What a disk that failed has lost is seen at the next start; an operator who mended it begins with that.
                    if self.hosts[n].house.is_some() && (self.plan.hosts[n].restarted || self.hosts[n].stopping) {
                        self.power_off(n);
                    }
                    self.start(n);
                    self.release(n);
                    self.alert(n);
                }
            }
        }
    }

    fn ill(&mut self, n: usize, ill: Ill) {
        let (host, now) = (&mut self.hosts[n], self.stage.net.now);
        *self.counts.entry(ill.name()).or_default() += 1;
        match ill {
            Ill::Lose { path, ops, told } => {
                // Mailboxes that were never opened may have no directory.
                let _ = host.disk.lose_writes_at(host.disk.ops() + ops, &path, told);
            }
            Ill::Panic(calls) => host.disk.panic_after(calls),
            Ill::Kill { ops, rot } => {
                host.rot.extend(rot);
                if host.house.is_some() {
                    host.is_doomed = true;
                    host.disk.stop(host.disk.ops() + ops);
                }
            }
            Ill::Prank(user, prank) => {
                if prank.is_to_be_repaired() {
                    self.stage.books.begin(n, user, false, now);
                }
                pranks::play(host, user, prank, &mut self.stage);
                if prank == Prank::Repair {
                    self.stage.books.end(n, Some(user), now);
                }
            }
            Ill::Wall(Walled { user, place, errno }) => {
                let path = home(&host.domain, user).join(place);
                if host.disk.another(|world| world.wall(&path, errno)).is_ok() {
                    self.stage.books.begin(n, user, true, now);
                }
            }
            Ill::Unwall => self.unwall(n),
        }
        self.alert(n);
    }

    /// What could not be used works again.
    fn unwall(&mut self, n: usize) {
        let now = self.stage.net.now;
        self.hosts[n].disk.unwall();
        self.stage.books.end(n, None, now);
    }

    /// Writes down whether something went wrong in a house.
    pub(super) fn feel(&mut self, n: usize) {
        if self.hosts[n].was_pained() {
            self.stage.books.pains.push((n, self.stage.net.now));
            self.stage.net.tape.note(&[43, n as u64], || format!("something went wrong in house {n}"));
            self.alert(n);
        }
    }

    /// A house is looked after each second for a while, as it always is outside of worlds.
    pub(super) fn alert(&mut self, n: usize) {
        let now = self.stage.net.now;
        self.hosts[n].alert_until = now + ALERT;
        self.rests[n] = 1000;
        self.stage.net.wake(self.keepers[n], now + 1000);
    }

    /// A house is gone from one moment to the next, and all its sessions with it.
    pub(super) fn power_off(&mut self, n: usize) {
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
        self.hosts[n].fall(&mut self.stage);
    }
}
