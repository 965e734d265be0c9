//! SEARCH (RFC 3501 §6.4.4, 4731): what the view tells first, then the index, then envelopes, and only then the text of messages.

use super::{
    condition::{Condition, Facts, envelope_has},
    desk::{Desk, Job, News, Next, answer},
    probe::Probe,
};
use crate::{
    limits,
    office::{Answer, Ask, Detail, Need, Refusal},
    reply::{Code, Reply, Status, number, print_set},
    syntax::{self, Results},
    view::View,
};
use alloc::{boxed::Box, collections::VecDeque, vec::Vec};
use core::fmt::Write;
use mail::Uid;
use wire::Outbox;

/// Searches the selected mailbox.
pub(super) struct Search {
    tag: Box<[u8]>,
    results: Option<Results>,
    uid: bool,
    condition: Condition,
    needles: Vec<syntax::Needle>,
    folded: Vec<mime::Needle>,
    /// What the index must tell.
    need: Need,
    /// The next message to be looked at.
    index: usize,
    /// What the index told of the messages that are not decided by it.
    described: VecDeque<Detail>,
    /// The same with structures.
    structured: VecDeque<Detail>,
    open: Open,
    probe: Option<Box<Probe>>,
    found: Vec<u32>,
    /// Results that were printed, once all are known.
    printed: Option<usize>,
    buf: Vec<u8>,
}

/// The question that is open.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    None,
    Describe,
    Structure,
    Read,
}

const BAD_CHARSET: Reply =
    Reply { status: Status::No, code: Some(Code::Word("BADCHARSET (US-ASCII UTF-8)")), text: "Texts are UTF-8 here." };

impl Search {
    pub fn new(view: &View, search: syntax::Search<'_>, uid: bool, tag: &[u8]) -> Result<Search, Reply> {
        if search.charset.is_some_and(|charset| !charset.eq_ignore_ascii_case(b"UTF-8") && !charset.eq_ignore_ascii_case(b"US-ASCII")) {
            return Err(BAD_CHARSET);
        }
        let folded = |needle: &syntax::Needle| core::str::from_utf8(&needle.text).map(mime::Needle::new);
        let folded: Result<_, _> = search.texts.iter().map(folded).collect();
        let folded = folded.map_err(|_| Reply::bad("That is not UTF-8."))?;
        let condition = Condition::new(search.key, view);
        let need = Need {
            size: condition.asks(|one| matches!(one, Condition::Larger(_) | Condition::Smaller(_))),
            date: condition.asks(|one| matches!(one, Condition::Date(..))),
            structure: false,
        };
        Ok(Search {
            tag: tag.into(),
            results: search.results,
            uid,
            condition,
            needles: search.texts,
            folded,
            need,
            index: 0,
            described: VecDeque::new(),
            structured: VecDeque::new(),
            open: Open::None,
            probe: None,
            found: Vec::new(),
            printed: None,
            buf: Vec::new(),
        })
    }

    fn news(&self) -> News {
        if self.uid { News::All } else { News::NoExpunges }
    }

    fn find(&mut self, index: usize, uid: Uid) {
        self.found.push(if self.uid { uid.get() } else { index as u32 + 1 });
    }

    /// Takes the answer to what is open.
    fn take(&mut self, view: &View, answer: Option<Answer>) -> Result<(), Refusal> {
        match core::mem::replace(&mut self.open, Open::None) {
            Open::None => {}
            Open::Describe => {
                for detail in answer!(answer, Describe)? {
                    let Some(index) = view.number(detail.uid).map(|n| n - 1) else { continue };
                    match self.meets(view, index, Some(&detail), &self.unknown()) {
                        Some(true) => self.find(index, detail.uid),
                        Some(false) => {}
                        None => self.described.push_back(detail),
                    }
                }
            }
            Open::Structure => {
                for detail in answer!(answer, Describe)? {
                    let Some(index) = view.number(detail.uid).map(|n| n - 1) else { continue };
                    match self.meets(view, index, Some(&detail), &self.in_envelope(&detail)) {
                        Some(true) => self.find(index, detail.uid),
                        Some(false) => {}
                        None => self.structured.push_back(detail),
                    }
                }
            }
            Open::Read => {
                let Some(probe) = &mut self.probe else { unreachable!("a message is read") };
                match answer!(answer, Read) {
                    Ok(chunk) => {
                        probe.feed(&chunk);
                        self.buf = chunk;
                    }
                    // What is gone matches nothing any more.
                    Err(Refusal::Gone) => self.probe = None,
                    Err(refusal) => return Err(refusal),
                }
            }
        }
        Ok(())
    }

    fn meets(&self, view: &View, index: usize, detail: Option<&Detail>, texts: &[Option<bool>]) -> Option<bool> {
        let recent = view.is_recent(view.uid(index));
        self.condition.meets(&Facts { index, recent, detail, texts })
    }

    fn unknown(&self) -> Vec<Option<bool>> {
        alloc::vec![None; self.needles.len()]
    }

    fn in_envelope(&self, detail: &Detail) -> Vec<Option<bool>> {
        let Some(structure) = &detail.structure else { panic!("a structure was asked for and not given") };
        let has = |(needle, folded): (&syntax::Needle, _)| envelope_has(&needle.place, folded, &structure.envelope);
        self.needles.iter().zip(&self.folded).map(has).collect()
    }

    /// Looks at messages without asking; gives those that the index must tell of.
    fn browse(&mut self, view: &View) -> Vec<Uid> {
        let most = if self.need.size { limits::BATCH } else { limits::BATCH_OF_FACTS };
        let mut uids = Vec::new();
        let unknown = self.unknown();
        while self.index < view.len() && uids.len() < most {
            let index = self.index;
            self.index += 1;
            if view.is_gone(view.uid(index)) {
                continue;
            }
            match self.meets(view, index, None, &unknown) {
                Some(true) => self.find(index, view.uid(index)),
                Some(false) => {}
                None => uids.push(view.uid(index)),
            }
        }
        uids
    }

    /// Goes on with the message whose text is searched: the next question, or none if it is decided.
    fn go_on(&mut self, view: &View) -> Option<Ask> {
        loop {
            let mut probe = self.probe.take()?;
            if let Some((span, at)) = probe.next(&self.needles, &self.folded) {
                let mut buf = core::mem::take(&mut self.buf);
                buf.clear();
                if buf.capacity() == 0 {
                    buf.reserve_exact(limits::CHUNK);
                }
                let uid = probe.detail.uid;
                self.open = Open::Read;
                self.probe = Some(probe);
                return Some(Ask::Read { uid, span, at, buf });
            }
            match self.meets(view, probe.index, Some(&probe.detail), &probe.texts) {
                Some(true) => self.find(probe.index, probe.detail.uid),
                Some(false) => {}
                // When every place has been read, all is known.
                None => self.probe = probe.go_on(&self.needles).then_some(probe),
            }
        }
    }

    /// Prints what was found; false if the outbox must be flushed first.
    fn print(&mut self, tx: &mut Outbox) -> bool {
        if let Some(results) = self.results {
            self.print_extended(results, tx);
            return true;
        }
        let from = self.printed.unwrap_or_else(|| {
            self.found.sort_unstable();
            tx.put(b"* SEARCH");
            0
        });
        for (i, n) in self.found.iter().enumerate().skip(from) {
            if tx.is_full() {
                self.printed = Some(i);
                return false;
            }
            tx.put(b" ");
            number(u64::from(*n), tx);
        }
        tx.put(b"\r\n");
        true
    }

    /// RFC 4731 §3.1: nothing is said of what was not found, but for the count.
    fn print_extended(&mut self, results: Results, tx: &mut Outbox) {
        self.found.sort_unstable();
        tx.put(b"* ESEARCH (TAG \"");
        tx.put(&self.tag);
        tx.put(b"\")");
        tx.put(if self.uid { b" UID" } else { b"" });
        if let (Some(min), Some(max)) = (self.found.first(), self.found.last()) {
            if results.min {
                _ = write!(tx, " MIN {min}");
            }
            if results.max {
                _ = write!(tx, " MAX {max}");
            }
            if results.all {
                tx.put(b" ALL ");
                print_set(self.found.iter().copied(), tx);
            }
        }
        if results.count {
            _ = write!(tx, " COUNT {}", self.found.len());
        }
        tx.put(b"\r\n");
    }
}

impl Job for Search {
    fn step(&mut self, desk: &mut Desk, answer: Option<Answer>, tx: &mut Outbox) -> Next {
        let Some(view) = &desk.view else { unreachable!("a mailbox is selected") };
        if let Err(refusal) = self.take(view, answer) {
            return Next::Done(refusal.into(), self.news());
        }
        loop {
            if let Some(ask) = self.go_on(view) {
                return Next::Ask(ask);
            }
            if let Some(detail) = self.structured.pop_front() {
                let Some(n) = view.number(detail.uid) else { continue };
                let texts = self.in_envelope(&detail);
                self.probe = Some(Box::new(Probe::new(detail, n - 1, texts)));
                continue;
            }
            if !self.described.is_empty() {
                let n = self.described.len().min(limits::BATCH_OF_STRUCTURES);
                let uids = self.described.drain(..n).map(|detail| detail.uid).collect();
                self.open = Open::Structure;
                return Next::Ask(Ask::Describe(uids, Need { structure: true, ..self.need }));
            }
            let uids = self.browse(view);
            if !uids.is_empty() {
                self.open = Open::Describe;
                return Next::Ask(Ask::Describe(uids, self.need));
            }
            if !self.print(tx) {
                return Next::Flush;
            }
            return Next::Done(Reply::ok("That is all."), self.news());
        }
    }
}
