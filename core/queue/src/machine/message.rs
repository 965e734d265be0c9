//! A message as the queue keeps it: numbers only. Its addresses and its content are read where they are stored when it is its turn.

use alloc::{boxed::Box, vec::Vec};
use core::ops::Deref;

/// A message that waits.
#[derive(Debug)]
pub(super) struct Message {
    /// When it was accepted, in seconds since 1970.
    pub(super) arrived_s: u32,
    /// When its age begins: later, if its sender held it back.
    pub(super) from_s: u32,
    /// When it is given up.
    pub(super) give_up_s: u32,
    /// When its sender wants to hear that it is late; 0 if that was left to the settings.
    pub(super) due_s: u32,
    pub(super) priority: i8,
    pub(super) held: bool,
    pub(super) warned: bool,
    /// Whether a report is due, and was not asked for yet.
    pub(super) reporting: bool,
    /// An operator gave it up while it was under way.
    pub(super) cancelled: bool,
    /// Somebody named the time at which it is given up: its age does not matter.
    pub(super) named: bool,
    pub(super) parts: Vec<Part>,
    /// Recipients that failed, until the record of their report settles them.
    pub(super) owed: Owed,
}

/// Numbers of recipients that failed. Hardly any message has one and a million have none, so that is worth no more than a pointer.
#[derive(Debug, Default)]
#[allow(clippy::box_collection, reason = "a third of the size of what is in the box, which counts in every message without it")]
pub(super) struct Owed(Option<Box<Vec<u16>>>);

impl Owed {
    pub(super) fn push(&mut self, number: u16) {
        self.0.get_or_insert_default().push(number);
    }

    pub(super) fn extend(&mut self, numbers: &[u16]) {
        numbers.iter().for_each(|number| self.push(*number));
    }

    /// Takes out those that are settled.
    pub(super) fn settle(&mut self, numbers: &[u16]) {
        if let Some(owed) = &mut self.0 {
            owed.retain(|number| !numbers.contains(number));
            if owed.is_empty() {
                self.0 = None;
            }
        }
    }
}

impl Deref for Owed {
    type Target = [u16];

    fn deref(&self) -> &[u16] {
        self.0.as_deref().map_or(&[], Vec::as_slice)
    }
}

/// Recipients of a message that go to one site in one transaction.
#[derive(Debug)]
pub(super) struct Part {
    /// While it waits: until when, in milliseconds since 1970. While it is ready: its turn. While it is under way: the ticket.
    pub(super) when: u64,
    pub(super) site: u32,
    pub(super) attempts: u16,
    pub(super) state: State,
    pub(super) to: Recipients,
}

/// Where a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Waiting,
    Ready,
    Flying,
    /// Its message is held.
    Held,
    Done,
}

/// Numbers of recipients; most messages have one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Recipients {
    One(u16),
    Many(Box<[u16]>),
}

impl Recipients {
    pub(super) fn as_slice(&self) -> &[u16] {
        match self {
            Recipients::One(one) => core::slice::from_ref(one),
            Recipients::Many(many) => many,
        }
    }
}

impl From<&[u16]> for Recipients {
    fn from(list: &[u16]) -> Recipients {
        match list {
            [one] => Recipients::One(*one),
            many => Recipients::Many(many.into()),
        }
    }
}

impl Message {
    /// When its sender is told that it is late.
    pub(super) fn warn_s(&self, warn_after_s: u32) -> u32 {
        if self.due_s > 0 { self.due_s } else { self.from_s.saturating_add(warn_after_s) }
    }

    /// Whether anything of it goes on at the moment, so that a report would not be the last word.
    pub(super) fn is_busy(&self, is_resting: impl Fn(u32) -> bool) -> bool {
        self.parts.iter().any(|part| part.state == State::Flying || part.state == State::Ready && !is_resting(part.site))
    }

    pub(super) fn is_done(&self) -> bool {
        self.owed.is_empty() && self.parts.iter().all(|part| part.state == State::Done)
    }
}
