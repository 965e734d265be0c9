//! Inputs for the bodies where no fuzzer is: the committed corpus, and what dice make of it.

use fastrand::Rng;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Longest input that dice make, in bytes.
const LONGEST: usize = 4 << 10;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz")
}

/// The committed inputs of a target, by name.
pub fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let Ok(folder) = fs::read_dir(root().join("corpus").join(target)) else { return Vec::new() };
    let mut seeds: Vec<_> = folder
        .map(|entry| {
            let path = entry.expect("a readable folder").path();
            (path.file_name().unwrap_or_default().to_string_lossy().into_owned(), fs::read(&path).expect("a readable file"))
        })
        .collect();
    seeds.sort();
    seeds
}

/// The words of a target's dictionary, in libFuzzer's format.
///
/// # Panics
/// If a line is none of that format.
pub fn dictionary(target: &str) -> Vec<Vec<u8>> {
    let Ok(text) = fs::read_to_string(root().join("dict").join(format!("{target}.dict"))) else { return Vec::new() };
    let words = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
    words.map(|line| word(line).unwrap_or_else(|| panic!("{target}.dict: no word: {line}"))).collect()
}

/// `"..."` or `name="..."`, with `\\`, `\"` and `\xNN`.
fn word(line: &str) -> Option<Vec<u8>> {
    let quoted = &line[line.find('"')?..];
    let mut rest = quoted.strip_prefix('"')?.strip_suffix('"')?.as_bytes();
    let mut word = Vec::new();
    while let [byte, after @ ..] = rest {
        rest = after;
        if *byte != b'\\' {
            word.push(*byte);
            continue;
        }
        match rest {
            [b'\\' | b'"', after @ ..] => {
                word.push(rest[0]);
                rest = after;
            }
            [b'x', a, b, after @ ..] => {
                word.push(u8::from_str_radix(std::str::from_utf8(&[*a, *b]).ok()?, 16).ok()?);
                rest = after;
            }
            _ => return None,
        }
    }
    (!word.is_empty()).then_some(word)
}

/// An input from dice: a seed that was damaged, two that were crossed, words, or bytes.
pub fn noise(random: &mut Rng, seeds: &[(String, Vec<u8>)], words: &[Vec<u8>]) -> Vec<u8> {
    let pick = |random: &mut Rng| random.choice(seeds).map(|(_, s)| s.clone()).unwrap_or_default();
    let mut input = pick(random);
    if random.u8(0..4) == 0 {
        let other = pick(random);
        input.truncate(random.usize(0..=input.len()));
        input.extend_from_slice(&other[random.usize(0..=other.len())..]);
    }
    for _ in 0..random.usize(0..12) {
        let at = random.usize(0..=input.len());
        let end = (at + random.usize(0..32)).min(input.len());
        match random.u8(0..7) {
            0 if at < input.len() => input[at] ^= 1 << random.u8(0..8),
            1 => drop(input.drain(at..end)),
            2 => input.insert(at, random.u8(..)),
            3 => {
                let piece = input[at..end].to_vec();
                input.splice(at..at, piece);
            }
            _ => {
                let word = random.choice(words).cloned().unwrap_or_else(|| vec![random.u8(..); 3]);
                input.splice(at..if random.bool() { at } else { end }, word);
            }
        }
    }
    input.truncate(LONGEST);
    input
}
