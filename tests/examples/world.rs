//! Plays many worlds: `world FROM..TO` runs these seeds on two threads, `world SEED` tells the story of one (all of it with `STORY=1`).

use hikyaku_tests::world::run;
use std::{
    collections::BTreeMap,
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

const THREADS: usize = 2;

fn main() -> ExitCode {
    let what = std::env::args().nth(1).unwrap_or_else(|| "0..1000".to_owned());
    let number = |text: &str| text.parse::<u64>().expect("a number");
    match what.split_once("..") {
        Some((from, to)) => many(number(from), number(to)),
        None => one(number(&what)),
    }
}

fn one(seed: u64) -> ExitCode {
    let outcome = run(seed, None, true);
    outcome.tail.iter().for_each(|line| println!("{line}"));
    println!("hash {:x} {:?}", outcome.hash, outcome.counts);
    outcome.wrong.iter().for_each(|wrong| println!("WRONG {wrong}"));
    ExitCode::from(u8::from(!outcome.wrong.is_empty()))
}

fn many(from: u64, to: u64) -> ExitCode {
    std::panic::set_hook(Box::new(|_| {}));
    let (next, start) = (AtomicU64::new(from), Instant::now());
    let sums: Mutex<BTreeMap<&str, u64>> = Mutex::default();
    let failed: Mutex<Vec<u64>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= to {
                        return;
                    }
                    let outcome = run(seed, None, false);
                    for (name, n) in &outcome.counts {
                        *sums.lock().expect("no panic here").entry(name).or_default() += n;
                    }
                    if !outcome.wrong.is_empty() {
                        println!("seed {seed}: {}", outcome.wrong.join("; "));
                        failed.lock().expect("no panic here").push(seed);
                    }
                    if (seed + 1 - from).is_multiple_of(1000) {
                        println!("{} seeds, {:.1} s", seed + 1 - from, start.elapsed().as_secs_f64());
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().expect("no panic here");
    println!("{} seeds in {:.1} s, {} failed: {failed:?}", to - from, start.elapsed().as_secs_f64(), failed.len());
    println!("{:?}", sums.into_inner().expect("no panic here"));
    ExitCode::from(u8::from(!failed.is_empty()))
}
