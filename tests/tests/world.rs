//! Worlds: whole houses among foreign servers, bad networks, bad names and bad disks, each from one seed.

use hikyaku_tests::world::{Canary, run};

/// Seeds that failed once: a clock that was set back gave a report up at once (22), what was passed on and owed a report was sent again after a stop (35), a
/// house that stopped was asked for trips for ever (102), and what was late and whose sender wants no word of that was taken for failed (25, 33, 83, 163, 176).
const REGRESSIONS: [u64; 8] = [22, 25, 33, 35, 83, 102, 163, 176];

/// Seeds that break a promise by a fault that is not mended yet. They are played and told of, and fail nothing; take them out with the fault.
const OPEN: [u64; 2] = [111, 132];

/// How many seeds every run of the tests plays.
const SEEDS: u64 = 200;

fn play(seed: u64) {
    let outcome = run(seed, None, false);
    if OPEN.contains(&seed) {
        println!("open: seed {seed}: {:?}", outcome.wrong);
    } else if !outcome.wrong.is_empty() {
        let told = run(seed, None, true);
        panic!("seed {seed}:\n{}\n{}", told.tail.join("\n"), told.wrong.join("\n"));
    }
}

#[test]
fn promises_are_kept_whatever_goes_wrong() {
    for seed in REGRESSIONS.into_iter().chain(0..SEEDS) {
        play(seed);
    }
}

#[test]
fn a_seed_replays_exactly() {
    for seed in 0..10 {
        assert_eq!(run(seed, None, false).hash, run(seed, None, true).hash, "seed {seed}");
    }
}

#[test]
fn canaries_are_caught() {
    for canary in [Canary::Forgets, Canary::SkipsFlush] {
        let caught = (0..100).find(|seed| !run(*seed, Some(canary), false).wrong.is_empty());
        assert!(caught.is_some(), "nobody noticed that a house {canary:?}");
    }
}
