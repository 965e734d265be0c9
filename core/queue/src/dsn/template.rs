//! Texts for people, which an operator can replace.

use super::Kind;
use alloc::{boxed::Box, string::String, vec::Vec};

/// A text with `{placeholders}`: a first line `Subject: ...`, an empty line, paragraphs.
///
/// A paragraph that names `{recipient}` is repeated for each. A line with a placeholder for which there is nothing is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    pub(super) subject: Box<str>,
    /// Paragraphs, in lines.
    pub(super) paragraphs: Vec<Vec<Box<str>>>,
}

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadTemplate {
    /// Its first line is no `Subject: `.
    NoSubject,
    /// No paragraph names the recipient, so nobody would learn whom it is about.
    NoRecipient,
    /// There is no such placeholder, or it makes no sense at that place: the line (from 1) and the name.
    Unknown(usize, Box<str>),
    /// A brace that is never closed, in that line.
    Open(usize),
    /// A control character, in that line.
    Control(usize),
}

/// Placeholders that say the same for all recipients.
const COMMON: [&str; 5] = ["host", "postmaster", "arrived", "id", "count"];

/// Placeholders of a paragraph for each recipient.
const EACH: [&str; 8] = ["recipient", "original", "reason", "advice", "remote", "reply", "status", "until"];

impl Template {
    /// Reads and checks a text.
    pub fn parse(text: &str) -> Result<Template, BadTemplate> {
        let mut lines = text.lines().map(str::trim_end).enumerate();
        let subject = lines.next().and_then(|(_, line)| line.strip_prefix("Subject: ")).ok_or(BadTemplate::NoSubject)?;
        check(1, subject, &COMMON)?;
        let mut paragraphs: Vec<Vec<(usize, &str)>> = Vec::new();
        let mut fresh = true;
        for (at, line) in lines {
            if line.is_empty() {
                fresh = true;
                continue;
            }
            if core::mem::take(&mut fresh) {
                paragraphs.push(Vec::new());
            }
            if let Some(paragraph) = paragraphs.last_mut() {
                paragraph.push((at + 1, line));
            }
        }
        let mut names_recipient = false;
        for paragraph in &paragraphs {
            let each = paragraph.iter().any(|(_, line)| line.contains("{recipient}"));
            names_recipient |= each;
            let known: Vec<&str> = COMMON.iter().chain(if each { &EACH[..] } else { &[] }).copied().collect();
            for (at, line) in paragraph {
                check(*at, line, &known)?;
            }
        }
        if !names_recipient {
            return Err(BadTemplate::NoRecipient);
        }
        let paragraphs = paragraphs.into_iter().map(|p| p.into_iter().map(|(_, line)| line.into()).collect()).collect();
        Ok(Template { subject: subject.into(), paragraphs })
    }
}

fn check(at: usize, line: &str, known: &[&str]) -> Result<(), BadTemplate> {
    if line.contains(|c: char| c.is_control()) {
        return Err(BadTemplate::Control(at));
    }
    for piece in line.split('{').skip(1) {
        let (name, _) = piece.split_once('}').ok_or(BadTemplate::Open(at))?;
        if !known.contains(&name) {
            return Err(BadTemplate::Unknown(at, name.into()));
        }
    }
    Ok(())
}

/// Puts values in. `None` if one of them is not there.
pub(super) fn fill(line: &str, value: &impl Fn(&str) -> Option<String>) -> Option<String> {
    let mut pieces = line.split('{');
    let mut filled = String::from(pieces.next().unwrap_or_default());
    for piece in pieces {
        let (name, rest) = piece.split_once('}')?;
        filled += &value(name)?;
        filled += rest;
    }
    Some(filled)
}

/// The texts in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Templates([Template; 6]);

impl Templates {
    /// Names of files that replace a text, and what each is for.
    pub const FILES: [(&'static str, Kind); 6] = [
        ("failed.txt", Kind::Failed),
        ("delayed.txt", Kind::Delayed),
        ("delivered.txt", Kind::Delivered),
        ("relayed.txt", Kind::Relayed),
        ("expanded.txt", Kind::Expanded),
        ("double.txt", Kind::Double),
    ];

    /// The text of a kind.
    pub fn of(&self, kind: Kind) -> &Template {
        &self.0[kind as usize]
    }

    /// Replaces one.
    pub fn replace(&mut self, kind: Kind, template: Template) {
        self.0[kind as usize] = template;
    }

    /// The text that comes with the program, to begin with.
    pub const fn text(kind: Kind) -> &'static str {
        match kind {
            Kind::Failed => include_str!("texts/failed.txt"),
            Kind::Delayed => include_str!("texts/delayed.txt"),
            Kind::Delivered => include_str!("texts/delivered.txt"),
            Kind::Relayed => include_str!("texts/relayed.txt"),
            Kind::Expanded => include_str!("texts/expanded.txt"),
            Kind::Double => include_str!("texts/double.txt"),
        }
    }
}

impl Default for Templates {
    fn default() -> Templates {
        Templates(Templates::FILES.map(|(_, kind)| Template::parse(Templates::text(kind)).expect("our own texts are templates")))
    }
}
