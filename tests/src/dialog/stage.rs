//! Playing a dialog, and comparing what happened with what was expected.

use super::{
    parse::{Action, Dialog, Expect, Tap, Turn},
    world,
};
use crate::{
    drive::{Event, Host},
    model::{Shared, Troubled, World},
};
use std::fmt::{self, Debug, Write};
use wire::{Nudge, Question, Session, Sink};

/// A protocol that dialogs can be played in.
pub trait Stage {
    /// The session.
    type Session: Session<Ask: Question<Self::Office, Answer = <Self::Session as Session>::Answer> + Debug>;
    /// Who answers.
    type Office: Sink + Troubled<<Self::Session as Session>::Ask>;

    /// Whether the session is the one that dials.
    const IS_CLIENT: bool = false;

    /// A fresh connection; `hall` is the folder of the dialog. Each option it knows is taken out of the list.
    fn open(
        hall: &str,
        options: &mut Vec<(usize, String, String)>,
        world: Shared,
    ) -> Result<Host<Self::Session, Self::Office>, (usize, String)>;
}

/// What happened in a turn.
#[derive(Debug, PartialEq, Eq)]
pub struct Scene {
    output: Vec<u8>,
    events: Vec<Event>,
    /// The line of something that happened after the session had closed.
    unheard: Option<usize>,
}

/// Plays a dialog in pieces as `cut` makes them.
///
/// # Errors
/// The line at which it could not go on.
pub fn play<P: Stage>(hall: &str, dialog: &Dialog, cut: &mut dyn FnMut(usize) -> usize) -> Result<Vec<Scene>, (usize, String)> {
    let world = World::new().shared();
    let mut options = dialog.options.clone();
    let bad_handshakes = take(&mut options, "handshake").is_some_and(|(_, how)| how == "fail");
    let mut host = P::open(hall, &mut options, world.clone())?;
    host.bad_handshakes = bad_handshakes;
    if let Some((line, key, _)) = options.first() {
        return Err((*line, format!("no such option here: {key}")));
    }
    let mut scenes = Vec::new();
    for turn in &dialog.turns {
        host.troubles.extend(turn.troubles.iter().map(|(at, trouble)| (host.asked + at, *trouble)));
        host.shortened.extend(turn.shortened.iter().map(|at| host.asked + at));
        let mut unheard = None;
        let mut actions = turn.actions.iter().peekable();
        while let Some((line, action)) = actions.next() {
            if let Action::World(event) = action {
                world::happen(&mut world.borrow_mut(), event).map_err(|what| (*line, what))?;
                continue;
            }
            // The greeting comes before anything the client says.
            host.drive();
            if host.closed.is_some() {
                unheard = Some(*line);
                break;
            }
            match action {
                Action::Send(bytes) => {
                    let mut breath = bytes.clone();
                    while let Some((_, Action::Send(more))) = actions.peek() {
                        breath.extend_from_slice(more);
                        actions.next();
                    }
                    host.send(&breath, cut);
                }
                Action::Pass(ms) => {
                    host.pass(*ms);
                    world.borrow_mut().now += (*ms / 1000) as i64;
                }
                Action::Tap(Tap::Changed) => host.nudge(Nudge::Changed),
                Action::Tap(Tap::Hurry) => host.nudge(Nudge::Hurry),
                Action::Tap(Tap::Leave) => host.nudge(Nudge::Leave),
                Action::Tap(Tap::Shutdown) => host.nudge(Nudge::Shutdown),
                Action::Tap(Tap::End) => host.end(),
                Action::World(_) => unreachable!("done above"),
            }
        }
        host.drive();
        scenes.push(Scene { output: std::mem::take(&mut host.output), events: std::mem::take(&mut host.events), unheard });
    }
    Ok(scenes)
}

/// Takes an option out of the list.
pub fn take(options: &mut Vec<(usize, String, String)>, key: &str) -> Option<(usize, String)> {
    let at = options.iter().rposition(|(_, k, _)| k == key)?;
    let (line, _, value) = options.remove(at);
    Some((line, value))
}

impl Scene {
    /// Its output as lines without their ends; an end that is missing shows.
    fn lines(&self) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.output);
        let mut lines: Vec<String> = text.split("\r\n").map(str::to_owned).collect();
        match lines.pop() {
            Some(last) if !last.is_empty() => lines.push(format!("{last}<no line end>")),
            _ => {}
        }
        lines
    }

    /// What was asked.
    pub fn questions(&self) -> impl Iterator<Item = &str> {
        self.events.iter().filter_map(|event| match event {
            Event::Asked(question) => Some(question.as_str()),
            _ => None,
        })
    }

    fn close(&self) -> Option<&'static str> {
        self.events.iter().find_map(|event| match event {
            Event::Closed(why) => Some(why.word()),
            _ => None,
        })
    }

    /// Whether it is what the turn expects. `side` is how the session is called in the report.
    ///
    /// # Errors
    /// A report with `-` before what was expected and `+` before what came.
    pub fn compare(&self, turn: &Turn, side: char) -> Result<(), String> {
        let mut report = String::new();
        let mut good = true;
        let (lines, mut questions) = (self.lines(), self.questions());
        let wanted: Vec<&str> =
            turn.expects.iter().filter_map(|(_, e)| if let Expect::Line(l) = e { Some(l.as_str()) } else { None }).collect();
        for (_, expect) in &turn.expects {
            if let Expect::Question(want) = expect {
                match questions.next() {
                    Some(got) if matches(&format!("{want}..."), got) => _ = writeln!(report, "    ? {want}"),
                    got => {
                        good = false;
                        _ = writeln!(report, "  - ? {want}\n  + ? {}", got.unwrap_or("(nothing more was asked)"));
                    }
                }
            }
        }
        let common = wanted.iter().zip(&lines).take_while(|(want, got)| matches(want, got)).count();
        let tail = wanted[common..].iter().rev().zip(lines[common..].iter().rev()).take_while(|(want, got)| matches(want, got)).count();
        lines[..common].iter().for_each(|line| _ = writeln!(report, "    {side}: {line}"));
        wanted[common..wanted.len() - tail].iter().for_each(|line| _ = writeln!(report, "  - {side}: {line}"));
        lines[common..lines.len() - tail].iter().for_each(|line| _ = writeln!(report, "  + {side}: {line}"));
        lines[lines.len() - tail..].iter().for_each(|line| _ = writeln!(report, "    {side}: {line}"));
        good &= common == wanted.len() && common == lines.len();
        let want = turn.expects.iter().find_map(|(_, e)| if let Expect::Close(word) = e { Some(word.as_str()) } else { None });
        if want != self.close() {
            good = false;
            _ = writeln!(report, "  - X: {}\n  + X: {}", want.unwrap_or("(stays open)"), self.close().unwrap_or("(stays open)"));
        }
        if let Some(line) = self.unheard {
            good = false;
            _ = writeln!(report, "    and line {line} comes after the session has closed");
        }
        if good { Ok(()) } else { Err(report) }
    }
}

impl fmt::Display for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for event in &self.events {
            match event {
                Event::Asked(question) => writeln!(f, "    ? {question}")?,
                Event::Body(bytes) => writeln!(f, "    body {}", bytes.escape_ascii())?,
                Event::Handshake => writeln!(f, "    handshake")?,
                Event::Closed(why) => writeln!(f, "    X: {}", why.word())?,
            }
        }
        self.lines().iter().try_for_each(|line| writeln!(f, "    S: {line}"))
    }
}

/// Whether a line is as expected; `...` stands for any run of characters.
fn matches(want: &str, got: &str) -> bool {
    let mut pieces = want.split("...");
    let first = pieces.next().unwrap_or("");
    let Some(mut rest) = got.strip_prefix(first) else { return false };
    let mut pieces: Vec<&str> = pieces.collect();
    let Some(last) = pieces.pop() else { return rest.is_empty() };
    for piece in pieces {
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn dots_stand_for_anything() {
        assert!(matches("220 mx ...", "220 mx ESMTP"));
        assert!(matches("a...b...c", "axxbxxc"));
        assert!(matches("...", ""));
        assert!(!matches("a...b", "a"));
        assert!(!matches("250 ok", "250 ok!"));
        assert!(!matches("a...aa", "aa"));
    }
}
