//! Runs scripts written for imaptest: commands for one or more connections and the replies they must, may or must not bring.
//!
//! The scripts belong to the corpora; their format is told there in `docs/scripted_test.md`. They run against a live server over a socket
//! and, without one, against sessions over the model: what differs then is storage's doing.

mod args;
mod client;
mod matching;
mod run;
mod script;

pub use args::Arg;
pub use client::{Client, Line, Wire};
pub use script::Script;

use crate::corpus;
use std::{collections::BTreeSet, fs};

/// Groups that do not run, each with its reason.
pub const DISABLED: &[(&str, &str)] = &[];

/// How a group ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As it should.
    Passed,
    /// The server does not say that it can do this.
    Skipped(String),
    /// It is in [`DISABLED`].
    Disabled(&'static str),
    /// It went otherwise.
    Failed(String),
}

/// Somebody to run the scripts against.
pub trait Server {
    /// A fresh account for each group: its address and password.
    fn account(&mut self, group: &str) -> (String, String);

    /// A fresh connection that nothing was read from.
    fn connect(&mut self) -> Box<dyn Wire>;
}

/// Runs every group of the corpus whose name holds `only`. `None` if the corpus is missing.
///
/// # Panics
/// If the corpus cannot be read.
pub fn run_all(server: &mut dyn Server, only: &str) -> Option<Vec<(String, Outcome)>> {
    let folder = corpus::folder("imaptest-scripts")?.join("src/tests");
    let mut names: BTreeSet<String> = BTreeSet::new();
    for entry in fs::read_dir(&folder).expect("a readable corpus").map(|e| e.expect("a readable corpus")) {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_file() && !name.ends_with(".mbox") && name.contains(only) {
            names.insert(name);
        }
    }
    let outcomes = names.into_iter().map(|name| {
        let outcome = match DISABLED.iter().find(|(n, _)| *n == name) {
            Some((_, why)) => Outcome::Disabled(why),
            None => match Script::load(&folder, &name) {
                Ok(script) => run::run(&script, server),
                Err(what) => Outcome::Failed(what),
            },
        };
        (name, outcome)
    });
    Some(outcomes.collect())
}

/// Prints what became of the groups.
///
/// # Panics
/// If one failed.
pub fn report(who: &str, outcomes: &[(String, Outcome)]) {
    let mut failed = String::new();
    let (mut passed, mut skipped) = (0, 0);
    for (name, outcome) in outcomes {
        match outcome {
            Outcome::Passed => passed += 1,
            Outcome::Skipped(_) => skipped += 1,
            Outcome::Disabled(why) => println!("{who}: {name} is disabled: {why}"),
            Outcome::Failed(what) => failed += &format!("\n{name}: {what}\n"),
        }
    }
    println!("{who}: {passed} groups passed, {skipped} skipped for want of a capability");
    assert!(failed.is_empty(), "{who}:\n{failed}");
}
