//! Dialogs as text: what a client says, what the session answers and asks. The format is told in tests/dialogs/README.md.
//!
//! Every dialog runs as it stands, and again cut at every byte and at random places: nothing may differ but the pieces.

mod client;
mod parse;
mod stage;
mod stages;
mod world;

pub use client::Client;
pub use parse::{Action, Dialog, Expect, Tap, Turn, parse, unescape};
pub use stage::{Scene, Stage, play};
pub use stages::{Imap, Pop3, Smtp};

use std::{fs, path::Path};

/// Random cuts of each dialog, besides whole and byte by byte.
const SEEDS: u64 = 8;

/// Plays every dialog of a folder of tests/dialogs.
///
/// # Panics
/// With a report of all dialogs that went otherwise.
pub fn play_folder<P: Stage>(folder: &str) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("dialogs").join(folder);
    let mut files: Vec<_> = fs::read_dir(&dir)
        .unwrap_or_else(|e| panic!("{}: {e}", dir.display()))
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|e| e == "txt"))
        .collect();
    files.sort();
    let only = std::env::var("DIALOG").unwrap_or_default();
    let mut reports = Vec::new();
    for file in &files {
        let name = format!("{folder}/{}", file.file_name().unwrap_or_default().to_string_lossy());
        if !name.contains(&only) {
            continue;
        }
        let text = fs::read_to_string(file).unwrap_or_else(|e| panic!("{name}: {e}"));
        if let Err(report) = check::<P>(folder, &name, &text) {
            reports.push(report);
        }
    }
    println!("{folder}: {} dialogs, {} went otherwise", files.len(), reports.len());
    assert!(reports.is_empty(), "\n\n{}", reports.join("\n"));
}

/// A dialog with its sides exchanged, so that the session under test is always the one that is called `S`.
fn swap(text: &str) -> String {
    let mut swapped = String::with_capacity(text.len());
    for line in text.lines() {
        match line.as_bytes() {
            [b'C', b':', ..] => swapped.push('S'),
            [b'S', b':' | b'-' | b'=', ..] => swapped.push('C'),
            _ => swapped.push_str(line.get(..1).unwrap_or(line)),
        }
        swapped.push_str(line.get(1..).unwrap_or(""));
        swapped.push('\n');
    }
    swapped
}

/// Plays one dialog whole and cut.
///
/// # Errors
/// A readable report.
pub fn check<P: Stage>(hall: &str, name: &str, text: &str) -> Result<(), String> {
    let swapped = if P::IS_CLIENT { swap(text) } else { text.to_owned() };
    let dialog = parse(&swapped).map_err(|(line, what)| format!("{name}:{line}: {what}\n"))?;
    let played = |seed: Option<u64>, dialog: &Dialog| {
        std::panic::catch_unwind(|| {
            let mut random = fastrand::Rng::with_seed(seed.unwrap_or(0));
            match seed {
                None => play::<P>(hall, dialog, &mut |left| left),
                Some(0) => play::<P>(hall, dialog, &mut |_| 1),
                Some(_) => play::<P>(hall, dialog, &mut |left| if random.bool() { 1 } else { random.usize(1..=left) }),
            }
        })
        .unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
            Err((0, format!("panicked: {}", text.unwrap_or("no message"))))
        })
    };
    let whole = played(None, &dialog).map_err(|(line, what)| format!("{name}:{line}: {what}\n"))?;
    for (turn, scene) in dialog.turns.iter().zip(&whole) {
        scene.compare(turn, if P::IS_CLIENT { 'C' } else { 'S' }).map_err(|report| format!("{name}:{}:\n{report}", turn.line))?;
    }
    for seed in 0..SEEDS {
        let how = if seed == 0 { "cut at every byte".to_owned() } else { format!("cut with seed {seed}") };
        let cut = played(Some(seed), &dialog).map_err(|(line, what)| format!("{name}:{line}: {how}: {what}\n"))?;
        for ((turn, whole), cut) in dialog.turns.iter().zip(&whole).zip(&cut) {
            if whole != cut {
                return Err(format!("{name}:{}: {how}, it went\n{cut}and uncut\n{whole}", turn.line));
            }
        }
    }
    Ok(())
}
