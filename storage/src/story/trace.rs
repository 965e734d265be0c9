//! Reading the story again: what became of one message, or of the last messages of an address.

use super::{Deed, Story, Told};
use crate::disk::{File, How};
use maildir::sealed::Seal;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, io};

/// The most messages that are told of; of more, the latest.
const TALES_MAX: usize = 100;
/// The most that is told of one message: a mailing to thousands of recipients has thousands of attempts.
const DEEDS_MAX: usize = 5000;
/// How much of a file is read at once.
const PIECE: usize = 256 << 10;
/// A line longer than this is none that was written here.
const LINE_MAX: usize = 4 << 20;

/// Which messages are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query {
    /// The one with this id, and the reports on it.
    Id(String),
    /// Those from or for this address.
    Address(String),
    /// Those that call themselves so.
    MessageId(String),
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tale {
    /// Its id.
    pub id: String,
    /// What happened, in order.
    pub told: Vec<Told>,
    /// Whether more happened than is told.
    pub cut: bool,
}

impl Query {
    /// What somebody may mean: an id is a number in hexadecimal, a Message-ID has angle brackets, an address has an `@`. What has an `@` may still be a
    /// Message-ID whose brackets the shell would have wanted quoted: both are looked for.
    pub fn of(text: &str) -> Vec<Query> {
        if text.starts_with('<') && text.ends_with('>') && text.len() > 2 {
            vec![Query::MessageId(text.to_owned())]
        } else if text.contains('@') {
            vec![Query::Address(text.to_lowercase()), Query::MessageId(format!("<{text}>"))]
        } else {
            vec![Query::Id(text.trim_start_matches('0').to_lowercase())]
        }
    }

    /// Whether an acceptance is of a message that is meant.
    fn finds(&self, told: &Told) -> bool {
        let Deed::Accepted { sender, recipients, message_id, about, .. } = &told.deed else {
            return matches!(self, Query::Id(id) if *id == told.id);
        };
        match self {
            Query::Id(id) => *id == told.id || about.as_ref() == Some(id),
            Query::Address(address) => sender.to_lowercase() == *address || recipients.iter().any(|r| r.to_lowercase() == *address),
            Query::MessageId(id) => message_id.as_ref() == Some(id),
        }
    }

    /// Whether a line may be about it, before it is understood: most are not.
    fn may_find(&self, line: &[u8]) -> bool {
        match self {
            Query::Id(id) => memchr::memmem::find(line, id.as_bytes()).is_some(),
            // The case of an address is anybody's.
            Query::Address(_) => memchr::memmem::find(line, b"\"accepted\"").is_some(),
            Query::MessageId(id) => memchr::memmem::find(line, id.trim_matches(['<', '>']).as_bytes()).is_some(),
        }
    }
}

impl Story {
    /// What is told of the messages that are meant, the latest message last. May read everything there is.
    ///
    /// # Errors
    /// A fault of the disk.
    pub fn trace(&self, queries: &[Query]) -> io::Result<Vec<Tale>> {
        let mut tales: BTreeMap<String, Tale> = BTreeMap::new();
        let mut order: Vec<String> = Vec::new();
        for day in self.days()? {
            let file = self.disk.open(&self.dir().join(format!("{day}.log")), How::Read)?;
            let mut damaged = 0u64;
            lines(&*file, &mut |line| {
                let (line, seal) = super::open(line);
                damaged += u64::from(matches!(seal, Seal::Mended | Seal::Broken));
                // Nobody is told what did not happen.
                let Some(line) = line.as_deref() else { return };
                // The id stands at the same place in each line, so no line has to be understood for it.
                let known = id_of(line).is_some_and(|id| tales.contains_key(id));
                if !known && !queries.iter().any(|q| q.may_find(line)) {
                    return;
                }
                // A crash may have left a line in part.
                let Ok(told) = serde_json::from_slice::<Told>(line) else { return };
                if !known {
                    if !queries.iter().any(|q| q.finds(&told)) {
                        return;
                    }
                    if order.len() == TALES_MAX {
                        tales.remove(&order.remove(0));
                    }
                    order.push(told.id.clone());
                    tales.insert(told.id.clone(), Tale { id: told.id.clone(), told: Vec::new(), cut: false });
                }
                let tale = tales.get_mut(&told.id).expect("it is known by now");
                if tale.told.len() < DEEDS_MAX {
                    tale.told.push(told);
                } else {
                    tale.cut = true;
                }
            })?;
            if damaged > 0 {
                tracing::warn!(
                    day,
                    damaged,
                    "lines of the story are not what was written; they are told only if it is known what that was"
                );
            }
        }
        Ok(order.iter().filter_map(|id| tales.remove(id)).collect())
    }
}

/// The id in a line as [`Told`] is written: `{"at":1,"id":"2f",...`.
fn id_of(line: &[u8]) -> Option<&str> {
    let rest = line.strip_prefix(b"{\"at\":")?;
    let digits = rest.iter().position(|b| !b.is_ascii_digit())?;
    let id = rest[digits..].strip_prefix(b",\"id\":\"")?;
    str::from_utf8(&id[..memchr::memchr(b'"', id)?]).ok()
}

/// Calls `each` with each whole line.
fn lines(file: &dyn File, each: &mut dyn FnMut(&[u8])) -> io::Result<()> {
    let (mut held, mut at) = (Vec::new(), 0u64);
    let mut room = vec![0; PIECE];
    loop {
        let n = file.read_at(&mut room, at)?;
        if n == 0 {
            return Ok(());
        }
        at += n as u64;
        held.extend_from_slice(&room[..n]);
        let mut from = 0;
        for end in memchr::memchr_iter(b'\n', &held) {
            each(&held[from..end]);
            from = end + 1;
        }
        held.drain(..from);
        if held.len() > LINE_MAX {
            held.clear();
        }
    }
}
