//! Bytes that are to leave.

use alloc::vec::Vec;
use core::fmt;

/// Replies that wait to be written. A session may always finish the reply it is printing; it looks at
/// [`Outbox::is_full`] between replies and asks for a flush, so the outbox grows by at most one reply past its mark.
#[derive(Debug)]
pub struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
    mark: usize,
}

impl Outbox {
    /// An empty outbox that wants to be flushed from `mark` bytes on.
    pub const fn new(mark: usize) -> Outbox {
        Outbox { bytes: Vec::new(), sent: 0, mark }
    }

    /// Appends bytes to what leaves next.
    pub fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// What is still to be written.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// The first `n` bytes were written.
    ///
    /// # Panics
    /// If fewer than `n` bytes waited.
    pub fn sent(&mut self, n: usize) {
        assert!(n <= self.bytes.len() - self.sent, "more was sent than waited");
        self.sent += n;
        if self.sent == self.bytes.len() {
            self.bytes.clear();
            self.sent = 0;
        }
    }

    /// Whether it is at its mark: flush before printing more.
    pub fn is_full(&self) -> bool {
        self.bytes.len() - self.sent >= self.mark
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.sent == self.bytes.len()
    }

    /// Gives the memory back if nothing waits.
    pub fn rest(&mut self) {
        if self.is_empty() {
            self.bytes = Vec::new();
            self.sent = 0;
        }
    }
}

/// `write!(tx, ...)` never fails.
impl fmt::Write for Outbox {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.put(s.as_bytes());
        Ok(())
    }
}
