//! Loops: a message that was handed on too often is going in circles, and so is one that comes again for whom it was sent on before.

use crate::limits::{LINE_MAX, MAX_HOPS};
use alloc::{string::String, vec::Vec};
use mail::Address;

/// Reads the trace of a message while it streams by, whatever its line ends and however it is cut.
#[derive(Debug, Clone, Default)]
pub struct Hops {
    received: u32,
    /// What `Delivered-To:` fields say, in lower case; at most one for each hop.
    delivered: Vec<String>,
    /// The beginning of the line at hand.
    line: Vec<u8>,
    /// The header is over.
    body: bool,
}

impl Hops {
    /// Looks at the next bytes.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while !self.body && !bytes.is_empty() {
            let end = bytes.iter().position(|b| *b == b'\n');
            let piece = &bytes[..end.unwrap_or(bytes.len())];
            self.line.extend_from_slice(&piece[..piece.len().min(LINE_MAX - self.line.len())]);
            let Some(end) = end else { return };
            self.look();
            self.line.clear();
            bytes = &bytes[end + 1..];
        }
    }

    /// Whether the header is not over yet.
    pub fn is_in_header(&self) -> bool {
        !self.body
    }

    /// Whether it has been handed on too often.
    pub fn is_loop(&self) -> bool {
        self.received > MAX_HOPS
    }

    /// Whether it went to this address before. Whoever sends it on again from there sends it in circles.
    pub fn was_delivered_to(&self, address: &Address) -> bool {
        !self.delivered.is_empty() && self.delivered.contains(&alloc::format!("{address}").to_lowercase())
    }

    fn look(&mut self) {
        let value = |name: &str| {
            let (start, value) = self.line.split_at_checked(name.len())?;
            start.eq_ignore_ascii_case(name.as_bytes()).then_some(value)
        };
        if self.line.trim_ascii_end().is_empty() && !self.line.starts_with(b" ") && !self.line.starts_with(b"\t") {
            self.body = true;
        } else if value("received:").is_some() {
            self.received = self.received.saturating_add(1);
        } else if let Some(to) = value("delivered-to:").and_then(|to| core::str::from_utf8(to.trim_ascii()).ok())
            && self.delivered.len() <= MAX_HOPS as usize
        {
            let to = to.to_lowercase();
            self.delivered.push(to);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_fields_of_the_header_only() {
        let mut message = String::new();
        for _ in 0..=MAX_HOPS {
            message.push_str("RECEIVED: from a\r\n\tby b\r\nX-Received: no\r\n");
        }
        let mut whole = Hops::default();
        whole.feed(message.as_bytes());
        assert!(whole.is_loop());
        let mut cut = Hops::default();
        message.bytes().for_each(|b| cut.feed(&[b]));
        assert_eq!(cut.received, MAX_HOPS + 1);
        let mut body = Hops::default();
        body.feed(b"Subject: x\n\n");
        body.feed(message.as_bytes());
        assert_eq!(body.received, 0);
    }

    #[test]
    fn it_knows_where_it_was() {
        let long = "x".repeat(100_000);
        let message = alloc::format!("Delivered-To: Alice+x@Here.test\r\nX: {long}\r\ndelivered-to:bob@b\r\n\r\nDelivered-To: carol@c\r\n");
        for cut in [1, 7, message.len()] {
            let mut hops = Hops::default();
            message.as_bytes().chunks(cut).for_each(|piece| hops.feed(piece));
            let was = |local, domain| hops.was_delivered_to(&Address::new(local, domain));
            assert!(was("alice+X", "here.test") && was("bob", "b"));
            assert!(!was("alice", "here.test") && !was("carol", "c"));
            assert!(hops.line.len() <= LINE_MAX && hops.delivered.len() == 2);
        }
    }
}
