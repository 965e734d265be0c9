//! Dice: one session under random input, answers, nudges and time, from a seed.
//!
//! A seed makes a script (what the client sends, what troubles the host, when time passes). The script is played whole, cut at every byte
//! and cut at random places; [`crate::drive`] checks every promise of a session on the way, and what happened must be the same each time. A
//! failing seed prints itself; [`play`] with that seed alone brings it back.

pub mod corpus;
pub mod soup;
pub mod words;

use crate::{
    dialog::{self, Action, Dialog, Scene, Stage, Tap, Turn},
    model::Trouble,
};
use fastrand::Rng;
use soup::Recipe;
use std::collections::BTreeMap;

/// Turns of one script.
const TURNS: usize = 6;

/// Plays `seeds` scripts of a protocol. Returns how often each question was asked.
///
/// # Panics
/// With the seed and the script of the first that breaks a promise.
pub fn play<P: Stage>(hall: &str, recipe: &Recipe, seeds: std::ops::Range<u64>) -> BTreeMap<String, u32> {
    let mut asked = BTreeMap::new();
    for seed in seeds {
        let mut random = Rng::with_seed(seed);
        let script = script(recipe, &mut random);
        match check::<P>(hall, &script, seed) {
            Ok(scenes) => {
                for question in scenes.iter().flat_map(Scene::questions) {
                    let end = question.find(|c: char| !c.is_alphanumeric()).unwrap_or(question.len());
                    *asked.entry(question[..end].to_owned()).or_default() += 1;
                }
            }
            Err(what) => panic!("{hall}, seed {seed}: {what}\nthe script was\n{}", show(&script)),
        }
    }
    asked
}

/// Plays one script in several ways that must not differ, and returns what happened.
///
/// # Errors
/// What went wrong.
pub fn check<P: Stage>(hall: &str, script: &Dialog, seed: u64) -> Result<Vec<Scene>, String> {
    let played = |how: &str, cut: &mut dyn FnMut(usize) -> usize| {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| dialog::play::<P>(hall, script, cut)))
            .map_err(|panic| {
                let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
                format!("{how}: panicked: {}", text.unwrap_or("no message"))
            })?
            .map_err(|(turn, what)| format!("{how}: turn {turn}: {what}"))
    };
    let whole = played("whole", &mut |left| left)?;
    let mut random = Rng::with_seed(!seed);
    let ways: [(&str, &mut dyn FnMut(usize) -> usize); 2] =
        [("cut at every byte", &mut |_| 1), ("cut at random", &mut |left| random.usize(1..=left.min(200)))];
    for (how, cut) in ways {
        let other = played(how, cut)?;
        for (number, (whole, other)) in whole.iter().zip(&other).enumerate() {
            if whole != other {
                return Err(format!("{how}, turn {number} was\n{other}and whole\n{whole}"));
            }
        }
    }
    Ok(whole)
}

/// A script from dice.
fn script(recipe: &Recipe, random: &mut Rng) -> Dialog {
    let mut dialog = Dialog { options: recipe.options(random), turns: Vec::new() };
    let world = ["deliver alice times=3", "deliver alice file=multipart.eml", "deliver alice flags=\\Seen,$x size=70000"];
    let mut turn = Turn::default();
    turn.actions.extend(world.iter().map(|event| (0, Action::World((*event).into()))));
    dialog.turns.push(turn);
    for number in 1..=TURNS {
        let mut turn = Turn { line: number, ..Turn::default() };
        for _ in 0..random.usize(1..4) {
            let action = match random.u8(0..20) {
                0 => Action::Pass(random.u64(0..400_000)),
                1 => Action::Pass(1 << random.u8(0..24)),
                2 | 3 => Action::Tap(Tap::Changed),
                4 if random.u8(0..4) == 0 => Action::Tap(Tap::Shutdown),
                5 => Action::World(
                    random.choice(["deliver alice", "expunge alice 1:2", "flag alice 2:9 +\\Deleted"]).unwrap_or("deliver alice").into(),
                ),
                _ => Action::Send(recipe.breath(random, number == 1)),
            };
            turn.actions.push((number, action));
        }
        for _ in 0..random.usize(0..3) {
            let at = random.usize(0..8);
            match random.choice(Trouble::WORDS) {
                Some((_, trouble)) if random.u8(0..4) > 0 => turn.troubles.push((at, trouble)),
                _ => turn.shortened.push(at),
            }
        }
        dialog.turns.push(turn);
    }
    if random.bool() {
        dialog.turns.push(Turn { line: TURNS + 1, actions: vec![(TURNS + 1, Action::Tap(Tap::End))], ..Turn::default() });
    }
    dialog
}

fn show(script: &Dialog) -> String {
    let mut text = format!("@ {:?}\n", script.options);
    for turn in &script.turns {
        for (_, action) in &turn.actions {
            text += &match action {
                Action::Send(bytes) => format!("C= {}\n", bytes.escape_ascii()),
                Action::Pass(ms) => format!("~ {ms}\n"),
                Action::Tap(tap) => format!("> {tap:?}\n"),
                Action::World(event) => format!("* {event}\n"),
            };
        }
        text += &format!("! {:?} short {:?}\n", turn.troubles, turn.shortened);
    }
    text
}
