//! A naive mailbox: a list of messages.

use mail::{Flags, ModSeq, Span, SpecialUse, Stamp, System, Uid, UidValidity};
use std::{num::NonZeroU32, rc::Rc, sync::Arc};

/// Messages in the order they came.
#[derive(Debug, Clone)]
pub struct Mailbox {
    /// The numbering.
    pub uid_validity: UidValidity,
    /// The next UID.
    pub uid_next: Uid,
    /// The number of the last change.
    pub mod_seq: u64,
    /// Ascending by UID.
    pub messages: Vec<Message>,
    /// What it is for.
    pub special_use: Option<SpecialUse>,
    /// Whether nothing can be changed.
    pub read_only: bool,
}

/// A message as it goes over the wire.
#[derive(Debug, Clone)]
pub struct Message {
    /// Its number.
    pub uid: Uid,
    /// What is set on it.
    pub flags: Flags,
    /// The number of its last change.
    pub mod_seq: ModSeq,
    /// When it came.
    pub date: Stamp,
    /// Whether no session was told of it yet.
    pub recent: bool,
    /// With CRLF line ends.
    pub bytes: Rc<[u8]>,
    /// Taken apart.
    pub structure: Arc<mime::Structure>,
}

impl Mailbox {
    /// Empty, with a numbering of its own.
    pub fn new(number: u32, special_use: Option<SpecialUse>) -> Mailbox {
        let number = NonZeroU32::new(number).expect("numbers start at 1");
        Mailbox { uid_validity: UidValidity(number), uid_next: Uid::MIN, mod_seq: 1, messages: Vec::new(), special_use, read_only: false }
    }

    /// The number of a new change.
    pub fn change(&mut self) -> ModSeq {
        self.mod_seq += 1;
        ModSeq(self.mod_seq)
    }

    /// Puts a message in at the end. Line ends become CRLF.
    pub fn put(&mut self, bytes: &[u8], flags: Flags, date: Stamp) -> Uid {
        let uid = self.uid_next;
        self.uid_next = Uid::new(uid.get() + 1).expect("a test that uses up all UIDs");
        let bytes = on_the_wire(bytes);
        let structure = Arc::new(structure(&bytes));
        let mod_seq = self.change();
        self.messages.push(Message { uid, flags, mod_seq, date, recent: true, bytes: bytes.into(), structure });
        uid
    }

    /// The message of that number.
    pub fn find(&self, uid: Uid) -> Option<&Message> {
        self.messages.iter().find(|m| m.uid == uid)
    }

    /// Bytes of all messages.
    pub fn size(&self) -> u64 {
        self.messages.iter().map(|m| m.bytes.len() as u64).sum()
    }

    /// Changes flags of one message if it is there and that changes anything.
    pub fn flag(&mut self, uid: Uid, change: impl Fn(&mut Flags)) {
        let mod_seq = ModSeq(self.mod_seq + 1);
        let Some(message) = self.messages.iter_mut().find(|m| m.uid == uid) else { return };
        let before = message.flags.clone();
        change(&mut message.flags);
        if before != message.flags {
            message.mod_seq = mod_seq;
            self.mod_seq += 1;
        }
    }

    /// Removes those messages that `goes` names and returns their UIDs.
    pub fn remove(&mut self, goes: impl Fn(&Message) -> bool) -> Vec<Uid> {
        let gone: Vec<Uid> = self.messages.iter().filter(|m| goes(m)).map(|m| m.uid).collect();
        if !gone.is_empty() {
            self.messages.retain(|m| !goes(m));
            self.mod_seq += 1;
        }
        gone
    }
}

impl Message {
    /// The whole of it.
    pub fn span(&self) -> Span {
        let len = self.bytes.len() as u64;
        Span { at: 0, len, wire: len }
    }

    /// Octets of a piece from `at` on, as many as fit into `buf`.
    pub fn read(&self, span: Span, at: u64, mut buf: Vec<u8>) -> Vec<u8> {
        assert!(buf.is_empty(), "a lent buffer is empty");
        assert!(span.at + span.len <= self.bytes.len() as u64, "a span of another message");
        let piece = &self.bytes[span.at as usize..(span.at + span.len) as usize];
        let rest = &piece[(at as usize).min(piece.len())..];
        buf.extend_from_slice(&rest[..rest.len().min(buf.capacity())]);
        buf
    }

    /// Whether `\Seen`.
    pub fn is_seen(&self) -> bool {
        self.flags.system.has(System::SEEN)
    }
}

/// Bare line feeds become CRLF.
pub fn on_the_wire(bytes: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(bytes.len());
    for &b in bytes {
        if b == b'\n' && wire.last() != Some(&b'\r') {
            wire.push(b'\r');
        }
        wire.push(b);
    }
    wire
}

/// What a message is made of.
fn structure(wire: &[u8]) -> mime::Structure {
    let mut scanner = mime::Scanner::new();
    scanner.feed(wire);
    scanner.finish()
}
