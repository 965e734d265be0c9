//! Whether content can go as it is.

use super::{Form, Target};

/// Longest line without its CRLF (RFC 5321 §4.5.3.1.6, RFC 2045 §2.7).
pub(super) const LINE: usize = 998;

/// Looks at content in the form it has on the wire.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Check {
    column: usize,
    cr: bool,
}

impl Check {
    /// Whether these bytes, after those before, are lines the peer takes. A CR at the end of all is not known to be bad until [`Check::ends`].
    pub(super) fn is_clean(&mut self, bytes: &[u8], form: Form) -> bool {
        let ascii = form.target == Target::SevenBit;
        for &byte in bytes {
            match (self.cr, byte) {
                (true, b'\n') => *self = Check::default(),
                (true, _) | (false, b'\n' | 0) => return false,
                (false, b'\r') => self.cr = true,
                (false, byte) => {
                    self.column += 1;
                    if self.column > LINE || ascii && byte >= 0x80 {
                        return false;
                    }
                }
            }
        }
        true
    }

    /// Whether the content may end here.
    pub(super) const fn ends(&self) -> bool {
        !self.cr
    }
}
