//! The search itself: folded text in, found or not.

use alloc::{boxed::Box, string::String, sync::Arc};
use memchr::memmem;

/// How much folded text is gathered before it is searched, in bytes.
pub(super) const CHUNK: usize = 4 << 10;

/// A text to look for. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needle(Arc<str>);

impl Needle {
    /// Folds it once.
    pub fn new(text: &str) -> Needle {
        let mut folded = String::with_capacity(text.len());
        text.chars().for_each(|c| fold(c, &mut folded));
        Needle(folded.into())
    }
}

/// Upper and lower case alike (RFC 3501 §6.4.4 asks for that in US-ASCII, RFC 5051 beyond it).
fn fold(c: char, out: &mut String) {
    match c {
        '\0'..='\x7f' => out.push(c.to_ascii_lowercase()),
        // The two small sigmas are one letter.
        'ς' => out.push('σ'),
        _ => out.extend(c.to_lowercase()),
    }
}

/// Looks for needles in text that comes in pieces. Holds a chunk of text, and of the text before it as much as the longest needle may
/// have begun in.
#[derive(Debug)]
pub(super) struct Seeker {
    needles: Box<[(Needle, bool)]>,
    text: String,
    overlap: usize,
    /// Whether any text, even an empty one, was there to be searched.
    touched: bool,
}

impl Seeker {
    pub(super) fn new(needles: &[Needle]) -> Seeker {
        let overlap = needles.iter().map(|n| n.0.len()).max().unwrap_or(0).saturating_sub(1);
        Seeker { needles: needles.iter().map(|n| (n.clone(), false)).collect(), text: String::new(), overlap, touched: false }
    }

    /// There is something, if only an empty value.
    pub(super) fn touch(&mut self) {
        self.touched = true;
    }

    pub(super) fn push(&mut self, c: char) {
        fold(c, &mut self.text);
        self.touched = true;
        if self.text.len() >= self.overlap + CHUNK {
            self.flush();
        }
    }

    pub(super) fn push_str(&mut self, text: &str) {
        if text.len() > CHUNK || !text.is_ascii() {
            return text.chars().for_each(|c| self.push(c));
        }
        let from = self.text.len();
        self.text.push_str(text);
        self.text[from..].make_ascii_lowercase();
        if self.text.len() >= self.overlap + CHUNK {
            self.flush();
        }
    }

    /// Text that no needle may span ends here.
    pub(super) fn stop(&mut self) {
        self.flush();
        self.text.clear();
    }

    /// Searches what was gathered.
    pub(super) fn flush(&mut self) {
        for (needle, found) in &mut self.needles {
            if !*found && (!needle.0.is_empty() || self.touched) {
                *found = memmem::find(self.text.as_bytes(), needle.0.as_bytes()).is_some();
            }
        }
        let mut keep = self.text.len().saturating_sub(self.overlap);
        while !self.text.is_char_boundary(keep) {
            keep -= 1;
        }
        self.text.drain(..keep);
    }

    pub(super) fn found(&self, needle: usize) -> bool {
        self.needles[needle].1
    }

    pub(super) fn all(&self) -> bool {
        self.needles.iter().all(|(_, found)| *found)
    }
}
