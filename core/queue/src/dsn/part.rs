//! The header of a message while it passes by.

use super::HEADER_MAX;

/// Passes the header of a message and nothing of its body, at most [`HEADER_MAX`] bytes.
#[derive(Debug, Clone, Default)]
pub struct HeaderOnly {
    passed: usize,
    /// Bytes of the current line but for a CR.
    line: usize,
    ended: bool,
}

impl HeaderOnly {
    /// At the start of a message.
    pub fn new() -> HeaderOnly {
        HeaderOnly::default()
    }

    /// What of these bytes is header. However the message is cut, the sum is the same. The empty line that ends it is left out.
    pub fn pass<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let mut n = 0;
        while !self.ended && n < bytes.len() {
            let byte = bytes[n];
            let blank = self.line == 0 && matches!(byte, b'\n' | b'\r');
            if blank || self.passed == HEADER_MAX {
                self.ended = true;
                break;
            }
            self.line = if byte == b'\n' { 0 } else { self.line + 1 };
            self.passed += 1;
            n += 1;
        }
        &bytes[..n]
    }

    /// Whether nothing more will pass.
    pub fn is_done(&self) -> bool {
        self.ended
    }
}
