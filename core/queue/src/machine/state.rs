//! The state of a message as bytes, for the snapshot that is written when the log lets go of its records.

use super::{
    Queue,
    lapse::ONCE_MORE_S,
    message::{Message, Owed, State},
    operate::PartState,
    seconds,
};
use crate::wire::Cursor;
use alloc::vec::Vec;

/// The version of this form.
const VERSION: u8 = 2;

/// Longest name of a site.
const SITE_MAX: usize = crate::limits::SITE_MAX;

/// Bytes that are no state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadState;

impl Queue {
    /// The state of a message as bytes. What is under way or owed a report is as if it were due: an attempt that was not confirmed is made again.
    ///
    /// # Panics
    /// If it is not here.
    pub fn save(&self, id: u64, out: &mut Vec<u8>) {
        let message = &self.messages[&id];
        out.push(VERSION);
        out.extend_from_slice(&message.arrived_s.to_le_bytes());
        out.extend_from_slice(&message.from_s.to_le_bytes());
        out.extend_from_slice(&message.give_up_s.to_le_bytes());
        out.extend_from_slice(&message.due_s.to_le_bytes());
        out.push(message.priority as u8);
        out.push(u8::from(message.held) | u8::from(message.warned) << 1 | u8::from(message.cancelled) << 2 | u8::from(message.named) << 3);
        for part in message.parts.iter().filter(|part| part.state != State::Done) {
            let when = match part.state {
                State::Waiting | State::Held => part.when,
                State::Ready | State::Flying | State::Done => 0,
            };
            let site = self.sites[part.site as usize].as_ref().expect("a part has a site");
            save_part(out, &site.name, part.attempts, when, part.to.as_slice());
        }
        if !message.owed.is_empty() {
            // Its site was forgotten with the part; the host knows the addresses and names it again.
            save_part(out, "", 0, 0, &message.owed);
        }
    }

    /// The states of the messages after this id, at most so many; says the last one's id, or nothing if there are no more.
    pub fn save_after(&self, after: u64, most: usize, put: &mut dyn FnMut(u64, &[u8])) -> Option<u64> {
        let mut state = Vec::new();
        let mut last = None;
        for (&id, _) in self.messages.range(after + 1..).take(most) {
            state.clear();
            self.save(id, &mut state);
            put(id, &state);
            last = Some(id);
        }
        last
    }

    /// Takes a message back in from its state. `site` names the site of a recipient whose state does not.
    ///
    /// # Errors
    /// If these bytes are none; nothing was taken then.
    pub fn restore(
        &mut self,
        now_ms: u64,
        id: u64,
        bytes: &[u8],
        mut site: impl FnMut(u16) -> Option<alloc::string::String>,
    ) -> Result<(), BadState> {
        let mut rest = Cursor(bytes);
        let bad = |_| BadState;
        if rest.u8().map_err(bad)? != VERSION {
            return Err(BadState);
        }
        let lapse = self.lapse;
        let arrived_s = lapse.aged_s(rest.u32().map_err(bad)?);
        // Nothing arrives in the future: the clock was set back since, and all times of the message with it, or it would be kept for longer than
        // anybody waits.
        let ahead_s = arrived_s.saturating_sub(seconds(now_ms));
        let arrived_s = arrived_s - ahead_s;
        let from_s = lapse.aged_s(rest.u32().map_err(bad)?).saturating_sub(ahead_s);
        let give_up_s = rest.u32().map_err(bad)?;
        let due_s = match rest.u32().map_err(bad)? {
            0 => 0,
            due_s => lapse.named_s(due_s).saturating_sub(ahead_s),
        };
        let priority = rest.u8().map_err(bad)? as i8;
        let flags = rest.u8().map_err(bad)?;
        let named = flags & 8 != 0;
        let usual_s = from_s.saturating_add(ahead_s).saturating_add(self.settings.give_up_after_s);
        let give_up_s = if named { lapse.named_end_s(give_up_s, usual_s) } else { lapse.aged_s(give_up_s) }.saturating_sub(ahead_s);
        let mut parts: Vec<(&str, u16, u64, Vec<u16>)> = Vec::new();
        while !rest.is_empty() {
            let name = rest.text(SITE_MAX).map_err(bad)?;
            let attempts = rest.u16().map_err(bad)?;
            let when = rest.u64().map_err(bad)?;
            // Where nothing was tried yet, somebody named the time.
            let when = if attempts == 0 { lapse.named_ms(when) } else { lapse.retry_ms(when) };
            let when = when.saturating_sub(u64::from(ahead_s) * 1000);
            let count = rest.u16().map_err(bad)?;
            let mut numbers = Vec::with_capacity(usize::from(count).min(rest.0.len() / 2));
            for _ in 0..count {
                numbers.push(rest.u16().map_err(bad)?);
            }
            parts.push((name, attempts, when, numbers));
        }
        if parts.is_empty() || !(-9..=9).contains(&priority) || parts.iter().any(|(_, _, _, numbers)| numbers.is_empty()) {
            return Err(BadState);
        }
        if self.messages.contains_key(&id) || flags & 4 != 0 {
            // Known already, or cancelled while it was under way.
            return Ok(());
        }
        let (held, warned) = (flags & 1 != 0, flags & 2 != 0);
        // It would be given up before anybody tries. The clock may be wrong, so it is tried once more, and at once.
        let once_more = !named && !held && give_up_s <= seconds(now_ms);
        let give_up_s = if once_more { seconds(now_ms) + ONCE_MORE_S } else { give_up_s };
        let message = Message {
            arrived_s,
            from_s,
            give_up_s,
            due_s,
            priority,
            held,
            warned,
            reporting: false,
            cancelled: false,
            named,
            parts: Vec::new(),
            owed: Owed::default(),
        };
        self.held += usize::from(message.held);
        let before = self.messages.insert(id, message);
        self.held -= usize::from(before.is_some_and(|message| message.held));
        for (name, attempts, when, numbers) in parts {
            let when = if once_more { 0 } else { when };
            if name.is_empty() {
                for number in numbers {
                    let Some(name) = site(number) else { continue };
                    let site = self.intern(&name);
                    self.restore_part(now_ms, id, site, &[number], attempts, when);
                }
            } else {
                let site = self.intern(name);
                self.restore_part(now_ms, id, site, &numbers, attempts, when);
            }
        }
        self.watch_new(id);
        self.forget(id);
        Ok(())
    }

    fn restore_part(&mut self, now_ms: u64, id: u64, site: u32, numbers: &[u16], attempts: u16, when: u64) {
        self.add_part(id, site, numbers.into(), attempts);
        let at = self.messages[&id].parts.len() as u32 - 1;
        if when > now_ms || self.messages[&id].held { self.put(id, at, when) } else { self.make_ready(id, at) }
    }

    /// When a recipient goes next, for tests and operators: see [`Queue::show`].
    pub fn next_of(&self, id: u64, recipient: u16) -> Option<PartState> {
        self.show(id)?.recipients.into_iter().find(|r| r.0 == recipient).map(|r| r.3)
    }
}

fn save_part(out: &mut Vec<u8>, site: &str, attempts: u16, when: u64, numbers: &[u16]) {
    crate::wire::put_bytes(out, site.as_bytes(), SITE_MAX);
    out.extend_from_slice(&attempts.to_le_bytes());
    out.extend_from_slice(&when.to_le_bytes());
    out.extend_from_slice(&(numbers.len() as u16).to_le_bytes());
    for number in numbers {
        out.extend_from_slice(&number.to_le_bytes());
    }
}
