//! Do dead sites delay the mail of living ones? A simulation in virtual time: `cargo run --release -p hikyaku-queue --example dead_sites`.
//!
//! Messages arrive evenly for a while, each for one of many sites. A living site takes 100 ms to connect to and 200 ms for a transaction; a dead one never
//! answers, and a connection to it fails after 30 s. The same messages are sent twice: once with the dead sites alive in nobody's way because nothing is sent to them,
//! once with them. What is measured is how long the messages for living sites take.

use hikyaku_queue::{Action, Ended, Entry, Outcome, Queue, Settings, Ticket};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

const CONNECT_MS: u64 = 100;
const TRANSACTION_MS: u64 = 200;
const TIMEOUT_MS: u64 = 30_000;
const IDLE_MS: u64 = 5_000;

/// What is simulated.
#[derive(Clone, Copy)]
pub struct Scene {
    /// Messages, of which one in ten is for a dead site.
    pub messages: u64,
    /// Sites, of which one in ten is dead.
    pub sites: u64,
    /// Messages that arrive in a second.
    pub rate: u64,
    /// Whether anything is sent to the dead ones.
    pub with_dead: bool,
}

/// Milliseconds from arrival to delivery, by share of the messages for living sites.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delays {
    /// Half of them were faster.
    pub p50: u64,
    /// All but one in a hundred.
    pub p99: u64,
    /// The slowest.
    pub max: u64,
    /// How many were delivered.
    pub delivered: u64,
    /// Connections to dead sites that were tried.
    pub in_vain: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrives(u64),
    Ready(Ticket),
    Fails(Ticket),
    Done(Ticket, u64),
    /// Idle since the count of its uses.
    Idle(Ticket, u32),
    Look,
}

/// Runs a scene until all mail for living sites is delivered.
pub fn simulate(scene: Scene) -> Delays {
    let mut queue = Queue::new(Settings::default(), 7);
    let mut events: BinaryHeap<Reverse<(u64, Event)>> = BinaryHeap::new();
    let mut arrived: BTreeMap<u64, u64> = BTreeMap::new();
    let mut uses: BTreeMap<Ticket, u32> = BTreeMap::new();
    let (mut delays, mut in_vain, mut expected) = (Vec::new(), 0, 0);
    for id in 0..scene.messages {
        // Sites in an order without a pattern, but the same in every run.
        let site = id.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        let dead = (site % scene.sites).is_multiple_of(10);
        expected += u64::from(!dead);
        if scene.with_dead || !dead {
            events.push(Reverse((id * 1000 / scene.rate, Event::Arrives(id))));
        }
    }
    while let Some(Reverse((now, event))) = events.pop() {
        match event {
            Event::Arrives(id) => {
                let site = (id.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) % scene.sites;
                let name = if site.is_multiple_of(10) { format!("dead{site}.test") } else { format!("alive{site}.test") };
                arrived.insert(id, now);
                let recipients = [(0, &*name)];
                let entry = Entry {
                    id,
                    arrived_ms: now,
                    priority: 0,
                    not_before_ms: None,
                    give_up_ms: None,
                    due_ms: None,
                    held: false,
                    recipients: &recipients,
                };
                queue.admit(now, &entry);
            }
            Event::Ready(ticket) => take(&mut queue, now, ticket, &mut events, &mut uses),
            Event::Fails(ticket) => {
                in_vain += 1;
                queue.closed(now, ticket, Ended::Failed);
            }
            Event::Done(ticket, id) => {
                queue.settle(now, ticket, &[(0, Outcome::Done)]);
                delays.push(now - arrived[&id]);
                take(&mut queue, now, ticket, &mut events, &mut uses);
            }
            Event::Idle(ticket, count) if uses.get(&ticket) == Some(&count) => {
                uses.remove(&ticket);
                queue.closed(now, ticket, Ended::Fine);
            }
            Event::Idle(..) | Event::Look => {}
        }
        while let Some(action) = queue.poll(now) {
            match action {
                Action::Connect { ticket, site } if site.starts_with("dead") => {
                    events.push(Reverse((now + TIMEOUT_MS, Event::Fails(ticket))))
                }
                Action::Connect { ticket, .. } => events.push(Reverse((now + CONNECT_MS, Event::Ready(ticket)))),
                Action::Wake(ticket) => take(&mut queue, now, ticket, &mut events, &mut uses),
                Action::Leave(ticket) => {
                    uses.remove(&ticket);
                    queue.closed(now, ticket, Ended::Fine);
                }
                other => panic!("nothing is late yet: {other:?}"),
            }
        }
        if delays.len() as u64 == expected {
            break;
        }
        if let Some(when) = queue.deadline().filter(|when| events.peek().is_none_or(|next| *when < next.0.0)) {
            events.push(Reverse((when, Event::Look)));
        }
    }
    delays.sort_unstable();
    let at = |share: usize| delays[(delays.len() * share / 100).min(delays.len() - 1)];
    Delays { p50: at(50), p99: at(99), max: at(100), delivered: delays.len() as u64, in_vain }
}

fn take(queue: &mut Queue, now: u64, ticket: Ticket, events: &mut BinaryHeap<Reverse<(u64, Event)>>, uses: &mut BTreeMap<Ticket, u32>) {
    let count = uses.entry(ticket).or_default();
    *count += 1;
    match queue.take(ticket, 100) {
        Some(job) => events.push(Reverse((now + TRANSACTION_MS, Event::Done(ticket, job.id)))),
        None => events.push(Reverse((now + IDLE_MS, Event::Idle(ticket, *count)))),
    }
}

#[allow(dead_code, reason = "the test of the same name includes this file and calls the simulation itself")]
fn main() {
    let scene = Scene { messages: 100_000, sites: 1_000, rate: 1_000, with_dead: false };
    println!(
        "{} messages to {} sites, {} a second; milliseconds until delivered, living sites only",
        scene.messages, scene.sites, scene.rate
    );
    println!("{:<24} {:>8} {:>8} {:>8} {:>10} {:>8}", "", "p50", "p99", "max", "delivered", "in vain");
    for with_dead in [false, true] {
        let Delays { p50, p99, max, delivered, in_vain } = simulate(Scene { with_dead, ..scene });
        let name = if with_dead { "one in ten is dead" } else { "nothing for dead ones" };
        println!("{name:<24} {p50:>8} {p99:>8} {max:>8} {delivered:>10} {in_vain:>8}");
    }
}
