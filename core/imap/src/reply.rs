//! Tagged replies and their response codes.

use crate::office::Refusal;
use alloc::boxed::Box;
use core::fmt::Write;
use mail::{Uid, UidValidity};
use sasl::Denied;
use wire::{Fault, Outbox};

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub status: Status,
    pub code: Option<Code>,
    pub text: &'static str,
}

/// RFC 3501 §7.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Ok,
    No,
    Bad,
}

/// Response codes (RFC 3501 §7.1, 4315, 5530, 7888).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Code {
    /// A code that is one word, or is always the same.
    Word(&'static str),
    /// `APPENDUID`
    AppendUid(UidValidity, Uid),
    /// `COPYUID`
    CopyUid(UidValidity, Box<[(Uid, Uid)]>),
    /// `CAPABILITY`
    Capability(Box<str>),
}

impl Reply {
    pub const fn ok(text: &'static str) -> Reply {
        Reply { status: Status::Ok, code: None, text }
    }

    pub const fn no(code: &'static str, text: &'static str) -> Reply {
        Reply { status: Status::No, code: Some(Code::Word(code)), text }
    }

    pub const fn bad(text: &'static str) -> Reply {
        Reply { status: Status::Bad, code: None, text }
    }

    pub fn with(self, code: Code) -> Reply {
        Reply { code: Some(code), ..self }
    }

    /// Prints it with its tag (`*` for none).
    pub fn print(&self, tag: &[u8], tx: &mut Outbox) {
        tx.put(tag);
        tx.put(match self.status {
            Status::Ok => b" OK ",
            Status::No => b" NO ",
            Status::Bad => b" BAD ",
        });
        if let Some(code) = &self.code {
            code.print(tx);
            tx.put(b" ");
        }
        tx.put(self.text.as_bytes());
        tx.put(b"\r\n");
    }
}

impl Code {
    pub fn print(&self, tx: &mut Outbox) {
        match self {
            Code::Word(word) => _ = write!(tx, "[{word}]"),
            Code::AppendUid(validity, uid) => _ = write!(tx, "[APPENDUID {validity} {uid}]"),
            Code::CopyUid(validity, uids) => {
                _ = write!(tx, "[COPYUID {validity} ");
                print_set(uids.iter().map(|(from, _)| from.get()), tx);
                tx.put(b" ");
                print_set(uids.iter().map(|(_, to)| to.get()), tx);
                tx.put(b"]");
            }
            Code::Capability(all) => _ = write!(tx, "[CAPABILITY {all}]"),
        }
    }
}

/// Prints numbers as a sequence set, in their order: runs that ascend by one become ranges.
pub(crate) fn print_set(numbers: impl Iterator<Item = u32>, tx: &mut Outbox) {
    let mut run: Option<(u32, u32)> = None;
    let mut first = true;
    let mut put = |(a, b): (u32, u32), tx: &mut Outbox| {
        if !core::mem::take(&mut first) {
            tx.put(b",");
        }
        _ = if a == b { write!(tx, "{a}") } else { write!(tx, "{a}:{b}") };
    };
    for n in numbers {
        run = match run {
            Some((a, b)) if b.checked_add(1) == Some(n) => Some((a, n)),
            Some(done) => {
                put(done, tx);
                Some((n, n))
            }
            None => Some((n, n)),
        };
    }
    if let Some(last) = run {
        put(last, tx);
    }
}

/// What a refusal sounds like.
impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Reply {
        match refusal {
            Refusal::NoMailbox => Reply::no("NONEXISTENT", "No such mailbox."),
            Refusal::Exists => Reply::no("ALREADYEXISTS", "There is a mailbox of that name."),
            Refusal::Cannot => Reply::no("CANNOT", "This cannot be done to that mailbox."),
            Refusal::ReadOnly => Reply::no("NOPERM", "The mailbox is read-only."),
            Refusal::OverQuota => Reply::no("OVERQUOTA", "The mailbox is full."),
            Refusal::TooLarge => Reply::no("TOOBIG", "The message is too large."),
            Refusal::Limit => Reply::no("LIMIT", "There are too many of them."),
            Refusal::Gone => Reply::no("EXPUNGEISSUED", "Some of the messages are gone."),
            Refusal::Fault(Fault::Later) => Reply::no("UNAVAILABLE", "Not now, try again later."),
            Refusal::Fault(Fault::Never) => Reply::no("SERVERBUG", "This went wrong on the server."),
        }
    }
}

impl From<Denied> for Reply {
    fn from(denied: Denied) -> Reply {
        match denied {
            Denied::Wrong => Reply::no("AUTHENTICATIONFAILED", "Wrong name or password."),
            Denied::TooMany => Reply::no("UNAVAILABLE", "Too many failed logins, try again later."),
            Denied::Disabled => Reply::no("AUTHORIZATIONFAILED", "The account may not log in."),
            Denied::Later => Reply::no("UNAVAILABLE", "Logins cannot be checked now, try again later."),
        }
    }
}

/// In COPY, MOVE and APPEND a missing target is something that the client can help (RFC 3501 §7.1).
pub(crate) fn to_target(refusal: Refusal) -> Reply {
    match refusal {
        Refusal::NoMailbox => Reply::no("TRYCREATE", "No such mailbox, create it first."),
        other => other.into(),
    }
}

/// Prints a number. A mailbox has many of them.
pub(crate) fn number(n: u64, tx: &mut Outbox) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = n;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    tx.put(&digits[at..]);
}

/// Everything that was put into an outbox of a test.
#[cfg(test)]
pub(crate) fn printed(print: impl FnOnce(&mut Outbox)) -> alloc::string::String {
    let mut tx = Outbox::new(1 << 20);
    print(&mut tx);
    alloc::string::String::from_utf8(tx.bytes().to_vec()).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syntax::SequenceSet;

    #[test]
    fn numbers() {
        for n in [0, 9, 10, 12_345, u64::MAX] {
            assert_eq!(printed(|tx| number(n, tx)), alloc::format!("{n}"));
        }
    }

    #[test]
    fn sets_keep_their_order() {
        assert_eq!(printed(|tx| print_set([3, 4, 5, 9, 7, 8, 1].into_iter(), tx)), "3:5,9,7:8,1");
        // They come back as they were.
        let text = printed(|tx| print_set([3, 4, 5, 9, 7, 8, 1].into_iter(), tx));
        let SequenceSet(ranges) = crate::syntax::parse_set(&text).unwrap();
        let numbers: alloc::vec::Vec<u32> = ranges.into_iter().flat_map(|(a, b)| a..=b).collect();
        assert_eq!(numbers, [3, 4, 5, 9, 7, 8, 1]);
        assert_eq!(printed(|tx| print_set([u32::MAX, u32::MAX].into_iter(), tx)), "4294967295,4294967295");
    }
}
