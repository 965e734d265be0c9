//! Worlds: whole houses among foreign servers, bad networks, bad names and bad disks, each from one seed.

use hikyaku_tests::world::{Canary, run};

/// Seeds that failed once, and why.
const REGRESSIONS: [(&[u64], &str); 7] = [
    (&[22], "a clock that was set back gave a report up at once"),
    (&[25, 33, 83, 163, 176], "what was late and whose sender wants no word of that was taken for failed"),
    (&[35], "what was passed on and owed a report was sent again after a stop"),
    (&[102], "a house that stopped was asked for trips for ever"),
    (&[111, 424, 430, 960], "at a start with a clock that was set back, mail from later than now was kept for a day too long"),
    (&[132], "of a report that could not be delivered the postmaster got the header, which does not say whose mail was lost"),
    (&[385], "two houses forward to each other, and so does the report on what went round in circles"),
];

/// How many seeds every run of the tests plays.
const SEEDS: u64 = 200;

fn play(seed: u64) {
    if !run(seed, None, false).wrong.is_empty() {
        let told = run(seed, None, true);
        panic!("seed {seed}:\n{}\n{}", told.tail.join("\n"), told.wrong.join("\n"));
    }
}

#[test]
fn promises_are_kept_whatever_goes_wrong() {
    let regressions = REGRESSIONS.iter().flat_map(|(seeds, _)| *seeds).copied();
    for seed in (0..SEEDS).chain(regressions.filter(|seed| *seed >= SEEDS)) {
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
