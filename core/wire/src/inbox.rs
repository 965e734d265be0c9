//! Bytes that arrived and were not yet understood.

use alloc::vec::Vec;

/// What a fresh inbox allocates; it doubles up to its limit when a peer sends more at once.
const FIRST: usize = 4 << 10;

/// A bounded buffer for input. A full inbox is the back-pressure: nobody reads until the session took some.
///
/// Memory is held only while there are bytes: [`Inbox::rest`] gives it back, so an idle connection costs none.
#[derive(Debug)]
pub struct Inbox {
    room: Vec<u8>,
    start: usize,
    end: usize,
    limit: usize,
    ended: bool,
}

impl Inbox {
    /// An empty inbox that holds at most `limit` bytes.
    pub const fn new(limit: usize) -> Inbox {
        Inbox { room: Vec::new(), start: 0, end: 0, limit, ended: false }
    }

    /// Room for more input; empty only if the inbox is full. Say how much was used with [`Inbox::filled`].
    pub fn spare(&mut self) -> &mut [u8] {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
        if self.end == self.room.len() {
            if self.start > 0 {
                self.room.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.start = 0;
            }
            if self.end == self.room.len() && self.room.len() < self.limit {
                let size = (self.room.len() * 2).clamp(FIRST.min(self.limit), self.limit);
                self.room.resize(size, 0);
            }
        }
        &mut self.room[self.end..]
    }

    /// `n` bytes of [`Inbox::spare`] now hold input.
    ///
    /// # Panics
    /// If `n` is more than was spare.
    pub fn filled(&mut self, n: usize) {
        assert!(n <= self.room.len() - self.end, "more was filled than was spare");
        self.end += n;
    }

    /// The peer will send nothing more.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// Whether the peer has said its last byte (there may still be bytes to take).
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// Everything that arrived and was not taken.
    pub fn bytes(&self) -> &[u8] {
        &self.room[self.start..self.end]
    }

    /// Takes the first `n` bytes; they stay readable until the next call.
    ///
    /// # Panics
    /// If fewer than `n` bytes are there.
    pub fn take(&mut self, n: usize) -> &[u8] {
        assert!(n <= self.end - self.start, "took more than there is");
        let from = self.start;
        self.start += n;
        &self.room[from..self.start]
    }

    /// Forgets everything that arrived. Used before a TLS handshake: what came in clear text ahead of it may
    /// have been injected (RFC 3207 §4.2, CVE-2011-0411).
    pub fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
    }

    /// How many bytes it can ever hold.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Whether nothing more fits until something is taken.
    pub fn is_full(&self) -> bool {
        self.end - self.start == self.limit
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Gives the memory back if nothing waits.
    pub fn rest(&mut self) {
        if self.is_empty() {
            self.room = Vec::new();
            self.start = 0;
            self.end = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(rx: &mut Inbox, bytes: &[u8]) -> usize {
        let room = rx.spare();
        let n = room.len().min(bytes.len());
        room[..n].copy_from_slice(&bytes[..n]);
        rx.filled(n);
        n
    }

    #[test]
    fn it_grows_to_its_limit_and_no_further() {
        let mut rx = Inbox::new(10_000);
        let mut sent = 0;
        while !rx.is_full() {
            sent += push(&mut rx, &[7; 3000]);
        }
        assert_eq!(sent, 10_000);
        assert!(rx.spare().is_empty());
        assert_eq!(rx.take(4000).len(), 4000);
        assert_eq!(push(&mut rx, &[8; 5000]), 4000);
        assert_eq!(rx.bytes().len(), 10_000);
    }

    #[test]
    fn rest_frees_only_when_nothing_waits() {
        let mut rx = Inbox::new(100);
        push(&mut rx, b"abc");
        rx.rest();
        assert_eq!(rx.bytes(), b"abc");
        rx.take(3);
        rx.rest();
        assert_eq!(rx.room.capacity(), 0);
        push(&mut rx, b"def");
        assert_eq!(rx.bytes(), b"def");
    }
}
