//! Whether a message meets the conditions of a SEARCH, as far as it is known.

use crate::{
    office::Detail,
    syntax::{EnvelopeField, Key, Place, When},
    view::{Chosen, View},
};
use alloc::{boxed::Box, vec::Vec};
use mail::{Keyword, Stamp, System};
use mime::{Correspondent, text_matches};

/// A condition; sets are messages of the view by now.
#[derive(Debug)]
pub(super) enum Condition {
    And(Vec<Condition>),
    Or(Box<(Condition, Condition)>),
    Not(Box<Condition>),
    Within(Chosen),
    Recent,
    Flag(System),
    Keyword(Keyword),
    Never,
    Larger(u64),
    Smaller(u64),
    Date(When, i64),
    Sent(When, i64),
    Text(usize),
}

/// What is known of a message.
pub(super) struct Facts<'a> {
    /// Its index in the view.
    pub index: usize,
    pub recent: bool,
    /// Its flags, and whatever else the conditions need; the structure only if it was asked for.
    pub detail: Option<&'a Detail>,
    /// For each text whether it is there.
    pub texts: &'a [Option<bool>],
}

impl Condition {
    pub fn new(key: Key, view: &View) -> Condition {
        match key {
            Key::And(all) => Condition::And(all.into_iter().map(|key| Condition::new(key, view)).collect()),
            Key::Or(both) => Condition::Or(Box::new((Condition::new(both.0, view), Condition::new(both.1, view)))),
            Key::Not(key) => Condition::Not(Box::new(Condition::new(*key, view))),
            Key::Set(set) => Condition::Within(view.by_number_where_possible(&set)),
            Key::Uid(set) => Condition::Within(view.by_uid(&set)),
            Key::Recent => Condition::Recent,
            Key::Flag(flag) => Condition::Flag(flag),
            Key::Keyword(keyword) => Condition::Keyword(keyword),
            Key::Never => Condition::Never,
            Key::Larger(n) => Condition::Larger(n),
            Key::Smaller(n) => Condition::Smaller(n),
            Key::Date(when, day) => Condition::Date(when, day),
            Key::Sent(when, day) => Condition::Sent(when, day),
            Key::Text(n) => Condition::Text(n),
        }
    }

    /// Whether `part` is asked anywhere.
    pub fn asks(&self, part: fn(&Condition) -> bool) -> bool {
        part(self)
            || match self {
                Condition::And(all) => all.iter().any(|test| test.asks(part)),
                Condition::Or(both) => both.0.asks(part) || both.1.asks(part),
                Condition::Not(test) => test.asks(part),
                _ => false,
            }
    }

    /// Yes, no, or not yet known.
    pub fn meets(&self, facts: &Facts<'_>) -> Option<bool> {
        match self {
            Condition::And(all) => {
                let mut sure = true;
                for test in all {
                    match test.meets(facts) {
                        Some(false) => return Some(false),
                        Some(true) => {}
                        None => sure = false,
                    }
                }
                sure.then_some(true)
            }
            Condition::Or(both) => match (both.0.meets(facts), both.1.meets(facts)) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            },
            Condition::Not(test) => test.meets(facts).map(|yes| !yes),
            Condition::Within(chosen) => Some(chosen.has(facts.index)),
            Condition::Recent => Some(facts.recent),
            Condition::Flag(flag) => facts.detail.map(|detail| detail.flags.system.has(*flag)),
            Condition::Keyword(keyword) => facts.detail.map(|detail| detail.flags.keywords.contains(keyword)),
            Condition::Never => Some(false),
            Condition::Larger(n) => facts.detail.map(|detail| detail.span.wire > *n),
            Condition::Smaller(n) => facts.detail.map(|detail| detail.span.wire < *n),
            // RFC 3501 §6.4.4: time and time zone are disregarded.
            Condition::Date(when, day) => facts.detail.map(|detail| when.is(detail.date, *day)),
            Condition::Sent(when, day) => facts.detail.and_then(|detail| detail.structure.as_ref()).map(|structure| {
                let date = structure.envelope.date.as_deref().and_then(mime::date);
                date.is_some_and(|date| when.is(date, *day))
            }),
            Condition::Text(n) => facts.texts[*n],
        }
    }
}

impl When {
    fn is(self, date: Stamp, day: i64) -> bool {
        match self {
            When::Before => date.day() < day,
            When::On => date.day() == day,
            When::Since => date.day() >= day,
        }
    }
}

/// Whether the envelope has a text, if that is where it is looked for.
pub(super) fn envelope_has(place: &Place, needle: &mime::Needle, envelope: &mime::Envelope) -> Option<bool> {
    let Place::Envelope(field) = place else { return None };
    let addresses = |list: &[Correspondent]| !list.is_empty() && text_matches(&written(list), needle);
    Some(match field {
        EnvelopeField::Subject => envelope.subject.as_ref().is_some_and(|subject| text_matches(subject, needle)),
        EnvelopeField::From => addresses(&envelope.from),
        EnvelopeField::To => addresses(&envelope.to),
        EnvelopeField::Cc => addresses(&envelope.cc),
        EnvelopeField::Bcc => addresses(&envelope.bcc),
    })
}

/// Addresses as people write them, without quotes and comments.
fn written(list: &[Correspondent]) -> Vec<u8> {
    let mut text = Vec::new();
    for who in list {
        match who {
            Correspondent { mailbox: None, .. } => text.push(b';'),
            Correspondent { mailbox: Some(group), host: None, .. } => {
                text.extend_from_slice(group);
                text.push(b':');
            }
            Correspondent { name, mailbox: Some(mailbox), host: Some(host), .. } => {
                if let Some(name) = name {
                    text.extend_from_slice(name);
                    text.extend_from_slice(b" <");
                }
                text.extend_from_slice(mailbox);
                text.push(b'@');
                text.extend_from_slice(host);
                text.extend_from_slice(if name.is_some() { b">" } else { b"" });
            }
        }
        text.extend_from_slice(b", ");
    }
    text
}
