//! FETCH (RFC 3501 §6.4.5): message by message, the text of each in chunks that never wait in memory.

use super::{
    desk::{Desk, Job, News, Next, answer},
    text::{Reading, Taken, locate},
};
use crate::{
    limits,
    name::print_astring,
    office::{Answer, Ask, Change, Detail, Need, Refusal},
    print,
    reply::{Reply, number},
    syntax::{Item, Name, Section, What},
    view::{Chosen, View},
};
use alloc::{vec, vec::Vec};
use core::fmt::Write;
use mail::{Flags, System, Uid};
use wire::{Outbox, Why};

/// Fetches messages.
pub(super) struct Fetch {
    chosen: Chosen,
    items: Vec<Item>,
    uid: bool,
    need: Need,
    /// Whether what is fetched sets `\Seen`.
    sees: bool,
    open: Open,
    batch: vec::IntoIter<Detail>,
    /// Those of the batch that have been seen by this.
    seen: Vec<Uid>,
    current: Option<Current>,
    /// Lent with every question for text.
    buf: Vec<u8>,
    /// Whether some of the messages are gone.
    missed: bool,
}

/// The question that is open.
enum Open {
    None,
    Describe(usize),
    /// `\Seen` is being set on some of these.
    Store(Vec<Detail>),
    Read,
}

/// The message that is being printed.
struct Current {
    detail: Detail,
    /// Its sequence number.
    n: usize,
    /// Items that have been looked at: those before it are printed or need no reading.
    cursor: usize,
    /// Items that have been printed.
    printed: usize,
    begun: bool,
    reading: Option<Reading>,
}

const MISSED: Reply = Reply::no("EXPUNGEISSUED", "Some of the messages are gone.");

impl Fetch {
    pub fn new(view: &View, chosen: Chosen, mut items: Vec<Item>, uid: bool) -> Fetch {
        // RFC 3501 §6.4.8: UID FETCH always tells the UID.
        if uid && !items.contains(&Item::Uid) {
            items.insert(0, Item::Uid);
        }
        let mut need = Need::default();
        for item in &items {
            match item {
                Item::Uid | Item::Flags => {}
                Item::InternalDate => need.date = true,
                Item::Size => need.size = true,
                Item::Section(section) if section.path.is_empty() && section.what == What::Whole => need.size = true,
                Item::Envelope | Item::Body | Item::BodyStructure | Item::Section(_) => need.structure = true,
            }
        }
        let sees = !view.read_only && items.iter().any(|item| matches!(item, Item::Section(section) if section.sees));
        Fetch {
            chosen,
            items,
            uid,
            need,
            sees,
            open: Open::None,
            batch: Vec::new().into_iter(),
            seen: Vec::new(),
            current: None,
            buf: Vec::new(),
            missed: false,
        }
    }

    fn done(&self, reply: Reply) -> Next {
        Next::Done(reply, if self.uid { News::All } else { News::NoExpunges })
    }

    /// Takes the answer to what is open; something comes back if that ends the step.
    fn take(&mut self, view: &mut View, answer: Option<Answer>, tx: &mut Outbox) -> Option<Next> {
        match core::mem::replace(&mut self.open, Open::None) {
            Open::None => None,
            Open::Describe(asked) => match answer!(answer, Describe) {
                Ok(details) => {
                    self.missed |= details.len() < asked;
                    self.seen.clear();
                    let unseen = |detail: &&Detail| !detail.flags.system.has(System::SEEN);
                    let unseen: Vec<Uid> = details.iter().filter(unseen).map(|detail| detail.uid).collect();
                    if self.sees && !unseen.is_empty() {
                        self.open = Open::Store(details);
                        return Some(Next::Ask(Ask::Store(unseen, Change::Add, Flags::system(System::SEEN))));
                    }
                    self.begin_batch(view, details, tx);
                    None
                }
                Err(refusal) => Some(self.done(refusal.into())),
            },
            Open::Store(mut details) => {
                // A message that cannot be marked can still be read, and reading is what was asked for.
                for (uid, flags, mod_seq) in answer!(answer, Store).unwrap_or_default() {
                    view.tell(uid, mod_seq);
                    if let Ok(at) = details.binary_search_by_key(&uid, |detail| detail.uid) {
                        details[at].flags = flags;
                        self.seen.push(uid);
                    }
                }
                self.begin_batch(view, details, tx);
                None
            }
            Open::Read => self.read(view, answer!(answer, Read), tx),
        }
    }

    fn begin_batch(&mut self, view: &mut View, details: Vec<Detail>, tx: &mut Outbox) {
        for detail in &details {
            if !detail.flags.keywords.is_empty() {
                view.learn(&detail.flags, tx);
            }
        }
        self.batch = details.into_iter();
    }

    /// A chunk of text came.
    fn read(&mut self, view: &View, chunk: Result<Vec<u8>, Refusal>, tx: &mut Outbox) -> Option<Next> {
        let Some(mut current) = self.current.take() else { unreachable!("a message is being read") };
        let Some(mut reading) = current.reading.take() else { unreachable!("a message is being read") };
        let taken = match chunk {
            Ok(chunk) => {
                let Item::Section(section) = &self.items[current.cursor] else { unreachable!("only sections are read") };
                let taken = reading.take(
                    section,
                    &chunk,
                    |size, tx| {
                        current.print(&self.items, current.cursor, view, tx);
                        tx.put(if current.printed > 0 { b" " } else { b"" });
                        print_name(section, tx);
                        _ = write!(tx, " {{{size}}}\r\n");
                    },
                    tx,
                );
                self.buf = chunk;
                taken
            }
            Err(Refusal::Gone) => Taken::Short,
            Err(refusal) if !current.begun => return Some(self.done(refusal.into())),
            Err(_) => Taken::Short,
        };
        match taken {
            Taken::More => {
                current.reading = Some(reading);
                self.current = Some(current);
            }
            Taken::All => {
                current.cursor += 1;
                current.printed = current.cursor;
                self.current = Some(current);
            }
            // Nothing of this message was said yet: it is as good as gone.
            Taken::Short if !current.begun => self.missed = true,
            // Octets were announced that are not to be had. To make them up would be a lie that clients keep for ever.
            Taken::Short => return Some(Next::Close(Why::Fault)),
        }
        None
    }

    /// Goes on with the current message; a question comes back if text must be read.
    fn advance(&mut self, view: &View, tx: &mut Outbox) -> Option<Next> {
        let Some(current) = &mut self.current else { unreachable!("a message is being printed") };
        while current.reading.is_none() && current.cursor < self.items.len() {
            if let Item::Section(section) = &self.items[current.cursor]
                && let Some(reading) = Reading::begin(section, &current.detail)
            {
                current.reading = Some(reading);
            } else {
                current.cursor += 1;
            }
        }
        if let Some(reading) = &current.reading {
            let mut buf = core::mem::take(&mut self.buf);
            buf.clear();
            let (span, at, most) = reading.next();
            if buf.capacity() < most {
                buf = Vec::with_capacity(most);
            }
            self.open = Open::Read;
            return Some(Next::Ask(Ask::Read { uid: current.detail.uid, span, at, buf }));
        }
        current.print(&self.items, self.items.len(), view, tx);
        if !self.seen.is_empty() && self.seen.binary_search(&current.detail.uid).is_ok() && !self.items.contains(&Item::Flags) {
            tx.put(b" FLAGS ");
            view.print_flags(current.detail.uid, &current.detail.flags, tx);
        }
        tx.put(b")\r\n");
        self.current = None;
        None
    }
}

impl Job for Fetch {
    fn step(&mut self, desk: &mut Desk, answer: Option<Answer>, tx: &mut Outbox) -> Next {
        let Some(view) = &mut desk.view else { unreachable!("a mailbox is selected") };
        if let Some(next) = self.take(view, answer, tx) {
            return next;
        }
        loop {
            if tx.is_full() {
                return Next::Flush;
            }
            if self.current.is_some() {
                if let Some(next) = self.advance(view, tx) {
                    return next;
                }
            } else if let Some(detail) = self.batch.next() {
                let Some(n) = view.number(detail.uid) else { continue };
                self.current = Some(Current { detail, n, cursor: 0, printed: 0, begun: false, reading: None });
            } else {
                let most = match self.need {
                    Need { structure: true, .. } => limits::BATCH_OF_STRUCTURES,
                    Need { size: true, .. } => limits::BATCH,
                    _ => limits::BATCH_OF_FACTS,
                };
                let uids = view.take(&mut self.chosen, most);
                if uids.is_empty() {
                    // RFC 2180 §4.1.2; of UIDs nobody can say that they ever were.
                    return self.done(if self.missed && !self.uid { MISSED } else { Reply::ok("That is all.") });
                }
                self.open = Open::Describe(uids.len());
                return Next::Ask(Ask::Describe(uids, self.need));
            }
        }
    }
}

impl Current {
    /// Prints the items before `upto` that have not been printed; none of them needs reading.
    fn print(&mut self, items: &[Item], upto: usize, view: &View, tx: &mut Outbox) {
        if !self.begun {
            self.begun = true;
            tx.put(b"* ");
            number(self.n as u64, tx);
            tx.put(b" FETCH (");
        }
        while self.printed < upto {
            if self.printed > 0 {
                tx.put(b" ");
            }
            self.print_item(&items[self.printed], view, tx);
            self.printed += 1;
        }
    }

    fn print_item(&self, item: &Item, view: &View, tx: &mut Outbox) {
        let detail = &self.detail;
        match item {
            Item::Uid => {
                tx.put(b"UID ");
                number(u64::from(detail.uid.get()), tx);
            }
            Item::Flags => {
                tx.put(b"FLAGS ");
                view.print_flags(detail.uid, &detail.flags, tx);
            }
            Item::InternalDate => _ = write!(tx, "INTERNALDATE \"{}\"", detail.date.internal()),
            Item::Size => {
                tx.put(b"RFC822.SIZE ");
                number(detail.span.wire, tx);
            }
            Item::Envelope | Item::Body | Item::BodyStructure => {
                let Some(structure) = &detail.structure else { panic!("a structure was asked for and not given") };
                match item {
                    Item::Envelope => {
                        tx.put(b"ENVELOPE ");
                        print::envelope(tx, &structure.envelope);
                    }
                    Item::Body => {
                        tx.put(b"BODY ");
                        print::body(tx, &structure.root);
                    }
                    _ => {
                        tx.put(b"BODYSTRUCTURE ");
                        print::body_structure(tx, &structure.root);
                    }
                }
            }
            Item::Section(section) => {
                print_name(section, tx);
                tx.put(if locate(section, detail).is_some() { b" \"\"" } else { b" NIL" });
            }
        }
    }
}

/// Prints what a section is called in a reply.
fn print_name(section: &Section, tx: &mut Outbox) {
    match section.name {
        Name::Body => {}
        Name::Rfc822 => return tx.put(b"RFC822"),
        Name::Rfc822Header => return tx.put(b"RFC822.HEADER"),
        Name::Rfc822Text => return tx.put(b"RFC822.TEXT"),
    }
    tx.put(b"BODY[");
    for (i, n) in section.path.iter().enumerate() {
        tx.put(if i == 0 { b"" } else { b"." });
        number(u64::from(*n), tx);
    }
    if !section.path.is_empty() && section.what != What::Whole {
        tx.put(b".");
    }
    match &section.what {
        What::Whole => {}
        What::Header => tx.put(b"HEADER"),
        What::Text => tx.put(b"TEXT"),
        What::Mime => tx.put(b"MIME"),
        What::Fields { not, names } => {
            tx.put(if *not { b"HEADER.FIELDS.NOT (" } else { b"HEADER.FIELDS (" });
            for (i, name) in names.iter().enumerate() {
                tx.put(if i == 0 { b"" } else { b" " });
                print_astring(name, tx);
            }
            tx.put(b")");
        }
    }
    tx.put(b"]");
    if let Some((first, _)) = section.partial {
        _ = write!(tx, "<{first}>");
    }
}
