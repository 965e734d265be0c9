//! Base64 (RFC 2045 §6.8), written in lines.

use alloc::vec::Vec;
use base64::{Engine as _, engine::general_purpose::STANDARD};

/// Octets of a line: 76 characters.
const LINE: usize = 57;

/// Encodes octets.
#[derive(Debug, Default)]
pub(super) struct Base64 {
    /// Of a line that is not full.
    held: Vec<u8>,
    begun: bool,
}

impl Base64 {
    pub(super) fn put(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        while !bytes.is_empty() {
            let n = bytes.len().min(LINE - self.held.len());
            self.held.extend_from_slice(&bytes[..n]);
            bytes = &bytes[n..];
            if self.held.len() == LINE {
                self.finish(out);
            }
        }
    }

    /// The content is over. The last line has no line end.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        if self.held.is_empty() {
            return;
        }
        if core::mem::replace(&mut self.begun, true) {
            out.extend_from_slice(b"\r\n");
        }
        let mut line = [0; 76];
        let n = STANDARD.encode_slice(&self.held, &mut line).unwrap_or(0);
        out.extend_from_slice(&line[..n]);
        self.held.clear();
    }
}
