//! Every session under dice, and under what real programs sent. `SEEDS=100000` throws more often, `SEED=n` plays one alone.

use hikyaku_tests::{
    dialog::{Imap, Pop3, Smtp},
    play::{check, corpus::transcripts, play, words},
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

#[test]
fn smtp() {
    play::<Smtp>("smtp", &words::SMTP, seeds());
}

#[test]
fn submission() {
    play::<Smtp>("submission", &words::SUBMISSION, seeds());
}

#[test]
fn lmtp() {
    play::<Smtp>("lmtp", &words::LMTP, seeds());
}

#[test]
fn pop3() {
    play::<Pop3>("pop3", &words::POP3, seeds());
}

#[test]
fn imap() {
    play::<Imap>("imap", &words::IMAP, seeds());
}

#[test]
fn what_real_programs_sent() {
    for (name, script) in transcripts() {
        let pop3 = name.contains("pop3") || name.contains("mpop");
        let checked = if pop3 { check::<Pop3>("pop3", &script, 1) } else { check::<Imap>("imap", &script, 1) };
        checked.unwrap_or_else(|what| panic!("{name}: {what}"));
    }
}
