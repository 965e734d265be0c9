//! The opened inbox as one session sees it: numbered from 1, with marks for what is to go.

use crate::Entry;
use alloc::{vec, vec::Vec};

/// What `Open` found. The list never changes while the session lasts (RFC 1939 §5).
#[derive(Debug)]
pub(crate) struct Maildrop {
    entries: Vec<Entry>,
    deleted: Vec<bool>,
    /// Messages that are not marked.
    pub(crate) count: usize,
    /// Their octets.
    pub(crate) octets: u64,
}

impl Maildrop {
    pub(crate) fn new(entries: Vec<Entry>) -> Maildrop {
        let mut maildrop = Maildrop { deleted: vec![false; entries.len()], entries, count: 0, octets: 0 };
        maildrop.undelete();
        maildrop
    }

    /// The message of that number and its index, unless it is marked.
    pub(crate) fn message(&self, number: u32) -> Option<(u32, &Entry)> {
        let index = number.checked_sub(1)?;
        let entry = self.entries.get(index as usize)?;
        (!self.deleted[index as usize]).then_some((index, entry))
    }

    /// The first message that is not marked and has at least that number, with its number.
    pub(crate) fn from(&self, number: u32) -> Option<(u32, &Entry)> {
        let start = number.saturating_sub(1) as usize;
        let found = start + self.deleted.get(start..)?.iter().position(|deleted| !deleted)?;
        Some((found as u32 + 1, &self.entries[found]))
    }

    /// Marks a message; says whether there was one to mark.
    pub(crate) fn delete(&mut self, number: u32) -> bool {
        let Some((index, entry)) = self.message(number) else { return false };
        let octets = entry.span.wire;
        self.deleted[index as usize] = true;
        self.count -= 1;
        self.octets -= octets;
        true
    }

    /// Takes all marks away.
    pub(crate) fn undelete(&mut self) {
        self.deleted.fill(false);
        self.count = self.entries.len();
        self.octets = self.entries.iter().map(|entry| entry.span.wire).sum();
    }

    /// The indexes of what is marked.
    pub(crate) fn marked(&self) -> Vec<u32> {
        (0..).zip(&self.deleted).filter(|(_, deleted)| **deleted).map(|(index, _)| index).collect()
    }
}
