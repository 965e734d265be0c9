//! Every fuzz body with its committed corpus, and with noise from a seed. `MINUTES=5` goes on longer, `TARGET=mime` is one alone.

use hikyaku_tests::fuzz::{TARGETS, dictionary, noise, seeds};
use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    time::{Duration, Instant},
};

/// How long noise is made for one target in an ordinary run, in milliseconds.
const USUAL_MS: u64 = 1000;

fn chosen() -> impl Iterator<Item = &'static (&'static str, fn(&[u8]))> {
    let only = std::env::var("TARGET").ok();
    TARGETS.iter().filter(move |(name, _)| only.as_deref().is_none_or(|o| o == *name))
}

#[test]
fn every_target_is_known_on_both_sides() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/fuzz_targets");
    let mut files: Vec<String> = fs::read_dir(folder)
        .expect("the fuzz targets are in the tree")
        .map(|f| f.expect("a readable folder").path().file_stem().unwrap_or_default().to_string_lossy().into_owned())
        .collect();
    files.sort();
    assert!(files.iter().map(String::as_str).eq(TARGETS.iter().map(|(name, _)| *name)), "{files:?}");
    for (name, _) in TARGETS {
        assert!(!seeds(name).is_empty(), "{name} has no seeds");
        let _ = dictionary(name);
    }
}

#[test]
fn the_corpus() {
    for (name, body) in chosen() {
        for (file, input) in seeds(name) {
            assert!(catch_unwind(|| body(&input)).is_ok(), "fuzz/corpus/{name}/{file}");
        }
    }
}

#[test]
fn noise_from_a_seed() {
    let minutes = std::env::var("MINUTES").ok().and_then(|m| m.parse::<u64>().ok());
    let time = Duration::from_millis(minutes.map_or(USUAL_MS, |m| m * 60_000));
    for (name, body) in chosen() {
        let (seeds, words) = (seeds(name), dictionary(name));
        let mut random = fastrand::Rng::with_seed(1);
        let (start, mut rounds) = (Instant::now(), 0);
        while start.elapsed() < time {
            let input = noise(&mut random, &seeds, &words);
            rounds += 1;
            if catch_unwind(AssertUnwindSafe(|| body(&input))).is_err() {
                let file = std::env::temp_dir().join(format!("hikyaku-{name}-{rounds}"));
                fs::write(&file, &input).expect("room for the input that failed");
                panic!("{name}, round {rounds}: the input is in {}", file.display());
            }
        }
        println!("{name}: {rounds} rounds");
    }
}
