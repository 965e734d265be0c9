//! What an operator sees of the queue and does with it.

use super::{
    Queue,
    message::{Owed, Recipients, State},
};
use alloc::{boxed::Box, collections::BTreeSet, vec::Vec};

/// How long a message that was held past its time is tried when it is released, in seconds.
const RELEASED_S: u32 = 86_400;

/// A message as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its id.
    pub id: u64,
    /// When it was accepted, in milliseconds since 1970.
    pub arrived_ms: u64,
    /// When it is given up.
    pub give_up_ms: u64,
    /// From -9 to 9.
    pub priority: i8,
    /// Whether it waits for an operator.
    pub held: bool,
    /// Its recipients that are not done: number, site, attempts so far, and where it is.
    pub recipients: Vec<(u16, Box<str>, u16, PartState)>,
}

/// Where a recipient is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartState {
    /// Until that time, in milliseconds since 1970.
    Waiting(u64),
    /// For a connection.
    Ready,
    /// For its site, which seems dead, until that time.
    Resting(u64),
    /// It is being sent.
    Flying,
    /// For an operator.
    Held,
    /// For the report of its failure.
    Owed,
}

impl Queue {
    /// A message; nothing if it is not here.
    pub fn show(&self, id: u64) -> Option<Listed> {
        let message = self.messages.get(&id)?;
        let mut recipients = Vec::new();
        for part in message.parts.iter().filter(|part| part.state != State::Done) {
            let site = self.sites[part.site as usize].as_ref().expect("a part has a site");
            let state = match (part.state, site.dead_until) {
                (State::Waiting, _) => PartState::Waiting(part.when),
                (State::Ready, Some(until)) => PartState::Resting(until),
                (State::Ready, None) => PartState::Ready,
                (State::Flying, _) => PartState::Flying,
                (State::Held | State::Done, _) => PartState::Held,
            };
            recipients.extend(part.to.as_slice().iter().map(|n| (*n, site.name.clone(), part.attempts, state)));
        }
        recipients.extend(message.owed.iter().map(|n| (*n, "".into(), 0, PartState::Owed)));
        recipients.sort_unstable_by_key(|r| r.0);
        Some(Listed {
            id,
            arrived_ms: u64::from(message.arrived_s) * 1000,
            give_up_ms: u64::from(message.give_up_s) * 1000,
            priority: message.priority,
            held: message.held,
            recipients,
        })
    }

    /// Messages after this id, the oldest first, without end.
    pub fn list_after(&self, after: Option<u64>) -> impl Iterator<Item = Listed> + '_ {
        let from = after.map_or(0, |id| id.saturating_add(1));
        self.messages.range(from..).filter_map(|(id, _)| self.show(*id))
    }

    /// Messages that wait, that are being sent and that are held.
    pub fn count(&self) -> (usize, usize, usize) {
        // Asked for by whoever watches, while others wait: a long queue is not looked through.
        let active: BTreeSet<u64> = self.connections.values().filter_map(|connection| Some(connection.job?.0)).collect();
        let both = active.iter().filter(|id| self.messages.get(id).is_some_and(|message| message.held)).count();
        let held = self.held - both;
        (self.messages.len() - active.len() - held, active.len(), held)
    }

    /// Every site with how many parts of messages it has, its connections, and until when it rests if it seems dead.
    #[cfg(test)]
    pub(super) fn each_site(&self) -> impl Iterator<Item = (&str, u32, u32, Option<u64>)> {
        self.sites.iter().flatten().map(|site| (&*site.name, site.parts, site.open, site.dead_until))
    }

    /// Names of sites that seem dead, those first that are tried again first.
    pub fn dead_sites(&self) -> impl Iterator<Item = &str> {
        self.resting.iter().filter_map(|(_, number)| self.sites[*number as usize].as_ref()).map(|site| &*site.name)
    }

    /// Lets a message wait for an operator. What is under way ends first. False if there is no such message.
    pub fn hold(&mut self, id: u64) -> bool {
        let Some(message) = self.messages.get_mut(&id) else { return false };
        self.held += usize::from(!core::mem::replace(&mut message.held, true));
        for at in 0..message.parts.len() as u32 {
            let before = self.messages[&id].parts[at as usize].state;
            if matches!(before, State::Waiting | State::Ready) {
                self.unschedule(id, at);
                let part = &mut self.messages.get_mut(&id).expect("it is there").parts[at as usize];
                part.state = State::Held;
                if before == State::Ready {
                    part.when = 0;
                }
            }
        }
        true
    }

    /// Lets a held message go. False if there is no such message.
    pub fn release(&mut self, now_ms: u64, id: u64) -> bool {
        let Some(message) = self.messages.get_mut(&id) else { return false };
        if core::mem::take(&mut message.held) {
            self.held -= 1;
            // What was held past its time is tried before it is given up.
            let before = message.give_up_s;
            message.give_up_s = before.max(super::seconds(now_ms).saturating_add(RELEASED_S));
            self.late.remove(&(before, id));
            self.watch(id);
        }
        for at in 0..self.messages[&id].parts.len() as u32 {
            let part = &self.messages[&id].parts[at as usize];
            if part.state == State::Held {
                let when = part.when;
                if when > now_ms { self.put(id, at, when) } else { self.make_ready(id, at) }
            }
        }
        true
    }

    /// Forgets a message, without a report. A transaction that is under way may still deliver it, and is not made again. False if there is no such message.
    pub fn cancel(&mut self, id: u64) -> bool {
        let Some(message) = self.messages.get_mut(&id) else { return false };
        message.owed = Owed::default();
        message.cancelled = true;
        for at in 0..message.parts.len() as u32 {
            let numbers = self.messages.get(&id).map(|m| m.parts[at as usize].to.as_slice().to_vec()).unwrap_or_default();
            self.strike(id, at, &numbers);
        }
        self.forget(id);
        true
    }

    /// Tries a message at once, and its sites too if they seem dead. False if there is no such message.
    pub fn retry(&mut self, id: u64) -> bool {
        let Some(message) = self.messages.get(&id) else { return false };
        let parts: Vec<(u32, u32, State)> = message.parts.iter().enumerate().map(|(at, p)| (at as u32, p.site, p.state)).collect();
        for (at, site, state) in parts {
            if state == State::Waiting {
                self.unschedule(id, at);
                self.make_ready(id, at);
            }
            if matches!(state, State::Waiting | State::Ready) {
                self.wake_site(site);
            }
        }
        true
    }

    /// Tries all that waits for a site at once. Returns how many parts of messages that are.
    pub fn flush_site(&mut self, name: &str) -> usize {
        let Some(&number) = self.names.get(name) else { return 0 };
        // Rare enough to look at all that waits.
        let of_site = |(_, id, at): &(u64, u64, u32)| self.messages[id].parts[*at as usize].site == number;
        let due: Vec<(u64, u64, u32)> = self.waiting.iter().filter(|w| of_site(w)).copied().collect();
        for (_, id, at) in &due {
            self.unschedule(*id, *at);
            self.make_ready(*id, *at);
        }
        self.wake_site(number);
        self.sites[number as usize].as_ref().map_or(0, |site| site.ready.len())
    }

    /// Sends what is left of a message to another site, at once. False if there is no such message.
    pub fn reroute(&mut self, id: u64, name: &str) -> bool {
        let Some(message) = self.messages.get(&id) else { return false };
        let old: Vec<(u32, Vec<u16>, u16)> = message
            .parts
            .iter()
            .enumerate()
            .filter(|(_, p)| matches!(p.state, State::Waiting | State::Ready | State::Held))
            .map(|(at, p)| (at as u32, p.to.as_slice().to_vec(), p.attempts))
            .collect();
        let site = self.intern(name);
        for (at, numbers, attempts) in old {
            let before = self.messages[&id].parts[at as usize].site;
            self.add_part(id, site, Recipients::from(&*numbers), attempts);
            let new = self.messages[&id].parts.len() as u32 - 1;
            self.strike(id, at, &numbers);
            self.make_ready(id, new);
            self.forget_site(before);
        }
        self.wake_site(site);
        true
    }

    /// Tries what is left of a message at that time, in milliseconds since 1970. False if there is no such message.
    pub fn reschedule(&mut self, id: u64, when_ms: u64) -> bool {
        let Some(message) = self.messages.get(&id) else { return false };
        for at in 0..message.parts.len() as u32 {
            if matches!(self.messages[&id].parts[at as usize].state, State::Waiting | State::Ready | State::Held) {
                self.unschedule(id, at);
                self.put(id, at, when_ms);
            }
        }
        true
    }

    /// Gives what is left of a message up at that time, in milliseconds since 1970. False if there is no such message.
    pub fn give_up_at(&mut self, id: u64, when_ms: u64) -> bool {
        let Some(message) = self.messages.get_mut(&id) else { return false };
        let before = core::mem::replace(&mut message.give_up_s, super::seconds(when_ms));
        message.named = true;
        self.late.remove(&(before, id));
        self.watch(id);
        true
    }

    fn wake_site(&mut self, number: u32) {
        let Some(site) = &mut self.sites[number as usize] else { return };
        if let Some(until) = site.dead_until {
            site.flush();
            self.resting.remove(&(until, number));
        }
        self.look_at(number);
    }
}
