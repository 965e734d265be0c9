//! Where test data that others made is found.

use std::path::PathBuf;

/// A folder of the corpora, if it is there: below `$HIKYAKU_CORPUS`, or beside the working tree in `shared/corpus`.
///
/// # Panics
/// If it is missing and `CI` is `true`: there, nothing may be skipped in silence.
pub fn folder(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("HIKYAKU_CORPUS")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus"), PathBuf::from);
    let path = root.join(name);
    if path.is_dir() {
        return Some(path);
    }
    assert!(std::env::var("CI").as_deref() != Ok("true"), "the corpus {name} is missing: {}", path.display());
    eprintln!("skipped: the corpus {name} is missing ({})", path.display());
    None
}
