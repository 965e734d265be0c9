//! Fuzz bodies: ordinary functions that take any bytes and panic if a promise is broken.
//!
//! A target of fuzz/ is one line that calls one of these. On stable, tests/fuzz.rs calls them with the committed corpus and with noise.

mod mime;

pub use mime::{mime, mime_cache, mime_field, mime_match};

/// A body by the name of its target.
pub type Body = fn(&[u8]);

/// Every target. Each has a file of that name in fuzz/fuzz_targets, may have a folder in fuzz/corpus and a dictionary in fuzz/dict.
pub const TARGETS: &[(&str, Body)] = &[("mime", mime), ("mime_cache", mime_cache), ("mime_field", mime_field), ("mime_match", mime_match)];
