//! Loops: a message that was handed on too often is going in circles.

/// `Received:` fields from which on a message is taken to loop. RFC 5321 §6.3 wants at least 100.
pub const MAX_HOPS: u32 = 100;

/// Counts the `Received:` fields of a message while it streams by, whatever its line ends and however it is cut.
#[derive(Debug, Clone)]
pub struct Hops {
    count: u32,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// So many bytes of a line matched the field name so far.
    Matching(usize),
    /// The rest of a line does not matter.
    Line,
    /// The header is over.
    Body,
}

const NAME: &[u8] = b"received:";

impl Default for Hops {
    fn default() -> Hops {
        Hops { count: 0, state: State::Matching(0) }
    }
}

impl Hops {
    /// Looks at the next bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        for &b in bytes {
            self.state = match self.state {
                State::Body => return,
                State::Matching(0) if b == b'\n' => State::Body,
                State::Matching(0) if b == b'\r' => State::Matching(0),
                State::Matching(at) if b.to_ascii_lowercase() == NAME[at] => {
                    if at + 1 == NAME.len() {
                        self.count += 1;
                        State::Line
                    } else {
                        State::Matching(at + 1)
                    }
                }
                State::Matching(_) | State::Line if b == b'\n' => State::Matching(0),
                State::Matching(_) | State::Line => State::Line,
            };
        }
    }

    /// Whether it has been handed on too often.
    pub fn is_loop(&self) -> bool {
        self.count > MAX_HOPS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;

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
        assert_eq!(cut.count, MAX_HOPS + 1);
        let mut body = Hops::default();
        body.feed(b"Subject: x\n\n");
        body.feed(message.as_bytes());
        assert_eq!(body.count, 0);
    }
}
