//! Searching the text of one message, piece by piece.

use crate::{
    office::Detail,
    syntax::{Needle, Place},
};
use alloc::{collections::VecDeque, vec::Vec};
use mail::Span;
use mime::{Matcher, Piece};

/// A message whose text is searched.
pub(super) struct Probe {
    pub detail: Detail,
    /// Its index in the view.
    pub index: usize,
    /// For each needle whether it is there, as far as that is known.
    pub texts: Vec<Option<bool>>,
    /// Where it was not looked yet.
    places: &'static [Where],
    place: Where,
    /// What is to be read of the current place.
    pieces: VecDeque<Source>,
    /// What looks through the first of them.
    looking: Option<Looking>,
}

/// Where texts are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Where {
    /// In the header, for fields by name.
    Fields,
    Body,
    /// In header and body.
    Text,
}

/// The cheapest first.
const PLACES: &[Where] = &[Where::Fields, Where::Body, Where::Text];

/// Something to be read.
enum Source {
    Header(Span),
    Piece(Piece),
}

/// A piece that is being read.
struct Looking {
    span: Span,
    /// The next wire octet.
    at: u64,
    matchers: Vec<Matcher>,
    /// Which needles they look for.
    which: Vec<usize>,
}

impl Where {
    fn holds(self, place: &Place) -> bool {
        match place {
            Place::Envelope(_) => false,
            Place::Field(_) => self == Where::Fields,
            Place::Body => self == Where::Body,
            Place::Text => self == Where::Text,
        }
    }
}

impl Probe {
    /// Of a message that has its structure; `texts` is what its envelope has told.
    pub fn new(detail: Detail, index: usize, texts: Vec<Option<bool>>) -> Probe {
        Probe { detail, index, texts, places: PLACES, place: Where::Fields, pieces: VecDeque::new(), looking: None }
    }

    /// Where to look next: a span and from where. None once the place is through; [`Probe::go_on`] to the next one then.
    pub fn next(&mut self, needles: &[Needle], folded: &[mime::Needle]) -> Option<(Span, u64)> {
        if self.looking.is_none() {
            let which: Vec<usize> =
                (0..needles.len()).filter(|&i| self.place.holds(&needles[i].place) && self.texts[i] != Some(true)).collect();
            if which.is_empty() {
                self.pieces.clear();
            }
            self.looking = Some(match self.pieces.pop_front()? {
                Source::Header(span) => {
                    let matcher = |&i: &usize| match &needles[i].place {
                        Place::Field(name) => Matcher::field(name, core::slice::from_ref(&folded[i])),
                        _ => unreachable!("the place holds fields"),
                    };
                    Looking { span, at: 0, matchers: which.iter().map(matcher).collect(), which }
                }
                Source::Piece(piece) => {
                    let wanted: Vec<mime::Needle> = which.iter().map(|&i| folded[i].clone()).collect();
                    Looking { span: piece.span, at: 0, matchers: alloc::vec![Matcher::new(&piece, &wanted)], which }
                }
            });
        }
        self.looking.as_ref().map(|looking| (looking.span, looking.at))
    }

    /// To the next place where any needle is to be found. False if there is none: everything is known.
    pub fn go_on(&mut self, needles: &[Needle]) -> bool {
        let Some(structure) = &self.detail.structure else { panic!("a structure was asked for and not given") };
        while let Some((&place, rest)) = self.places.split_first() {
            self.places = rest;
            let mut any = false;
            for (i, needle) in needles.iter().enumerate() {
                if place.holds(&needle.place) {
                    self.texts[i] = Some(false);
                    any = true;
                }
            }
            if any {
                self.place = place;
                self.pieces = match place {
                    Where::Fields => VecDeque::from([Source::Header(structure.root.header)]),
                    Where::Body => structure.pieces(false).into_iter().map(Source::Piece).collect(),
                    Where::Text => structure.pieces(true).into_iter().map(Source::Piece).collect(),
                };
                return true;
            }
        }
        false
    }

    /// The next bytes of what is read; none if the message ends before it should.
    pub fn feed(&mut self, chunk: &[u8]) {
        let Some(looking) = &mut self.looking else { unreachable!("something is read") };
        looking.at += chunk.len() as u64;
        looking.matchers.iter_mut().for_each(|matcher| matcher.feed(chunk));
        if looking.at < looking.span.wire && !chunk.is_empty() && !looking.matchers.iter().all(Matcher::all) {
            return;
        }
        looking.matchers.iter_mut().for_each(Matcher::finish);
        for (n, &i) in looking.which.iter().enumerate() {
            let found = match self.place {
                Where::Fields => looking.matchers[n].found(0),
                Where::Body | Where::Text => looking.matchers[0].found(n),
            };
            if found {
                self.texts[i] = Some(true);
            }
        }
        self.looking = None;
    }
}
