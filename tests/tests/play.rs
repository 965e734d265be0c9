//! Every session under dice, and under what real programs sent. `SEEDS=100000` throws more often, `SEED=n` plays one alone.

use hikyaku_tests::{
    dialog::{Client, Imap, Pop3, Smtp, Stage},
    play::{check, corpus::transcripts, play, soup::Recipe, words},
};
use std::ops::Range;

/// Scripts of each protocol in an ordinary run.
const USUAL: u64 = 150;

fn seeds() -> Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
    match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(USUAL),
    }
}

/// Dice that never get anywhere prove nothing: each of these questions must have been asked.
fn thrown<P: Stage>(hall: &str, recipe: &Recipe, questions: &[&str]) {
    let asked = play::<P>(hall, recipe, seeds());
    println!("{hall}: {asked:?}");
    if seeds().count() as u64 >= USUAL {
        let never: Vec<_> = questions.iter().filter(|q| !asked.contains_key(**q)).collect();
        assert!(never.is_empty(), "{hall} never asked {never:?}");
    }
}

#[test]
fn smtp() {
    thrown::<Smtp>("smtp", &words::SMTP, &["Sender", "Recipient", "Open", "Commit", "Abandon"]);
}

#[test]
fn submission() {
    thrown::<Smtp>("submission", &words::SUBMISSION, &["Login", "Sender", "Recipient", "Open", "Commit", "Abandon"]);
}

#[test]
fn lmtp() {
    thrown::<Smtp>("lmtp", &words::LMTP, &["Sender", "Recipient", "Open", "Commit", "Abandon"]);
}

#[test]
fn client() {
    thrown::<Client>("client", &words::CLIENT, &["Next", "Open", "Read", "Report", "Trouble"]);
}

#[test]
fn pop3() {
    thrown::<Pop3>("pop3", &words::POP3, &["Login", "Open", "Read", "Remove"]);
}

#[test]
fn imap() {
    let questions = [
        "Login",
        "List",
        "Create",
        "Delete",
        "Rename",
        "Subscribe",
        "Status",
        "Select",
        "Unselect",
        "Sync",
        "Watch",
        "Describe",
        "Read",
        "Store",
        "Expunge",
        "Copy",
        "Move",
        "Append",
        "Commit",
        "Abandon",
    ];
    thrown::<Imap>("imap", &words::IMAP, &questions);
}

#[test]
fn what_real_programs_sent() {
    for (name, script) in transcripts() {
        let pop3 = name.contains("pop3") || name.contains("mpop");
        let checked = if pop3 { check::<Pop3>("pop3", &script, 1) } else { check::<Imap>("imap", &script, 1) };
        let scenes = checked.unwrap_or_else(|what| panic!("{name}: {what}"));
        assert!(scenes.iter().flat_map(|s| s.questions()).count() > 0, "{name} asked nothing");
    }
}
