//! What becomes of a message because of its age, and when it is reported on.

use super::{Action, Queue, message::State, site::Site};
use alloc::vec::Vec;

impl Queue {
    /// A report of delay was sent, or is not wanted.
    pub fn warned(&mut self, id: u64) {
        if let Some(message) = self.messages.get_mut(&id) {
            message.warned = true;
        }
        self.watch(id);
    }

    /// A message is late, or too late.
    pub(super) fn is_late(&mut self, id: u64, now_ms: u64) -> Option<Action> {
        let message = self.messages.get_mut(&id)?;
        if message.held {
            // An operator thinks about it; its time goes on when it is released.
            return None;
        }
        if u64::from(message.give_up_s) * 1000 > now_ms {
            let due = message.warn_s(self.settings.warn_after_s);
            let warn = u64::from(due) * 1000 <= now_ms && !core::mem::replace(&mut message.warned, true);
            let open = message.parts.iter().filter(|part| part.state != State::Done);
            let recipients: Vec<u16> = open.flat_map(|part| part.to.as_slice()).copied().collect();
            self.watch(id);
            return (warn && !recipients.is_empty()).then_some(Action::Warn { id, recipients });
        }
        let mut expired = Vec::new();
        for at in 0..self.messages[&id].parts.len() as u32 {
            let part = &self.messages[&id].parts[at as usize];
            if matches!(part.state, State::Waiting | State::Ready) {
                let numbers = part.to.as_slice().to_vec();
                self.strike(id, at, &numbers);
                expired.extend(numbers);
            }
        }
        let message = self.messages.get_mut(&id).expect("it was there");
        message.owed.extend(&expired);
        self.due_for_report(id);
        // What is under way is looked at when it lands.
        (!expired.is_empty()).then_some(Action::Expired { id, recipients: expired })
    }

    /// Asks for the report of a message, if one is owed and nothing of it goes on.
    pub(super) fn due_for_report(&mut self, id: u64) {
        let sites = &self.sites;
        if let Some(message) = self.messages.get_mut(&id)
            && !message.owed.is_empty()
            && !message.is_busy(|site| is_resting(sites, site))
            && !core::mem::replace(&mut message.reporting, true)
        {
            self.reports.push_back(id);
        }
    }

    /// The report that was asked for could not be written: it is asked for again when the host comes back.
    pub fn report_failed(&mut self, id: u64) {
        self.due_for_report(id);
    }

    /// Notes anew when a message is to be looked at because of its age.
    pub(super) fn watch(&mut self, id: u64) {
        self.unwatch(id);
        self.watch_new(id);
    }

    /// A message is not looked at because of its age.
    pub(super) fn unwatch(&mut self, id: u64) {
        let Some(message) = self.messages.get(&id) else { return };
        self.late.remove(&(message.warn_s(self.settings.warn_after_s), id));
        self.late.remove(&(message.give_up_s, id));
    }

    /// The same for a message that has just come: there is nothing to take back, which counts when a million of them come back.
    pub(super) fn watch_new(&mut self, id: u64) {
        let Some(message) = self.messages.get(&id) else { return };
        let warn = message.warn_s(self.settings.warn_after_s);
        self.late.insert((if message.warned { message.give_up_s } else { warn.min(message.give_up_s) }, id));
    }
}

/// Whether a site seems dead: what waits for it is no reason to put a report off.
pub(super) fn is_resting(sites: &[Option<Site>], site: u32) -> bool {
    sites[site as usize].as_ref().is_some_and(|site| site.dead_until.is_some())
}
