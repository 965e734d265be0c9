//! An entry: something that is being accepted, from the first thought of it until it is delivered.

use super::{Large, Lsn, Spool, commit::Room, segment};
use std::{io, ops::Deref};

/// An entry of the spool.
///
/// Once it is committed, the log keeps its record until [`Entry::delivered`] says that everything the record asks for has been done; the next
/// checkpoint may make that durable and let go of the record. One that is dropped without that word, by an early return or a panic, leaves its record
/// in the log: it is replayed at the next start. An entry that is dropped uncommitted never was.
#[derive(Debug)]
pub struct Entry<S: Deref<Target = Spool>> {
    spool: S,
    id: u64,
    /// Where its record is.
    at: Option<Lsn>,
    /// Whether it is counted among those that may still be committed.
    open: bool,
    large: bool,
}

impl<S: Deref<Target = Spool>> Entry<S> {
    pub(super) fn new(spool: S) -> Entry<S> {
        let id = spool.next_id();
        spool.state().open += 1;
        Entry { spool, id, at: None, open: true, large: false }
    }

    /// Where its record is, once it is committed.
    pub fn at(&self) -> Option<Lsn> {
        self.at
    }

    /// Its id.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Appends a record, given in pieces. When this returns it is durable. Concurrent commits share the flush.
    ///
    /// # Errors
    /// `StorageFull` if the log has reached its limit or the disk is full; `InvalidInput` if the record does not fit a segment; otherwise the disk
    /// failed. The record will not be replayed, unless the server stops before the log could go on elsewhere; it may be committed again.
    ///
    /// # Panics
    /// If it has been committed already.
    pub fn commit(&mut self, record: &[&[u8]]) -> io::Result<Lsn> {
        self.append(record, Room::Usual)
    }

    /// The same for a removal, or what else makes room: also when the disk is full, as long as something in reserve lasts.
    ///
    /// # Errors
    /// As [`Entry::commit`].
    ///
    /// # Panics
    /// As [`Entry::commit`].
    pub fn commit_removal(&mut self, record: &[&[u8]]) -> io::Result<Lsn> {
        match self.append(record, Room::Last) {
            // Whoever finds out that there is no room fails, and what is in reserve is there for the next.
            Err(error) if segment::is_full(&error) => self.append(record, Room::Last),
            done => done,
        }
    }

    fn append(&mut self, record: &[&[u8]], room: Room) -> io::Result<Lsn> {
        assert!(self.at.is_none(), "committed twice");
        let at = self.spool.commit_record(self.id, record, &mut self.open, room)?;
        self.at = Some(at);
        if self.large {
            self.spool.state().large.insert(self.id, Some(at));
        }
        Ok(at)
    }

    /// Begins a file for a message that is too large for a record. Name it in the record that is committed.
    ///
    /// # Errors
    /// If it cannot be made; `StorageFull` if the log takes nothing but removals.
    ///
    /// # Panics
    /// If the entry has one already.
    pub fn large(&mut self) -> io::Result<Large> {
        assert!(!self.large, "one large file for an entry");
        if self.spool.is_full() {
            // Nor does the number of a run that could not begin a segment hold at the next start, so nothing may be named by it.
            return Err(io::ErrorKind::StorageFull.into());
        }
        let large = Large::create(&self.spool, self.id)?;
        self.large = true;
        self.spool.state().large.insert(self.id, None);
        Ok(large)
    }

    /// Everything that its record asks for has been done.
    ///
    /// # Panics
    /// If it is not committed.
    pub fn delivered(self) {
        let at = self.at.expect("delivered what is not committed");
        self.spool.state().flight.remove(&(at, self.id));
    }

    /// It could not be delivered: the record stays in the log, and is replayed at the next start, or delivered later by who then calls
    /// [`Spool::unpin`] with its place and id.
    ///
    /// # Panics
    /// If it is not committed.
    pub fn pin(self) -> Lsn {
        let at = self.at.expect("pinned what is not committed");
        let mut state = self.spool.state();
        state.pinned.insert((at, self.id));
        state.flight.remove(&(at, self.id));
        drop(state);
        at
    }
}

impl<S: Deref<Target = Spool>> Drop for Entry<S> {
    fn drop(&mut self) {
        if self.at.is_some() {
            return;
        }
        let mut state = self.spool.state();
        state.open -= usize::from(self.open);
        if self.large {
            state.large.remove(&self.id);
            state.garbage.push(self.id);
        }
    }
}
