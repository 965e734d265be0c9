//! The story of each message, from its acceptance to its last recipient: one line of JSON for each thing that happened, a file for each day.
//!
//! Nobody waits for it: lines gather in memory, and the chores write them. What happened in the last second before a crash is not told. Mail never
//! depends on it; what is owed is in the log.

mod deed;
mod trace;

pub use deed::{Deed, Peer, Told};
pub(crate) use deed::{moment, span};

pub use trace::{Query, Tale};

use crate::disk::{Disk, How};
use mail::Stamp;
use maildir::sealed::{self, Seal};
use std::{
    borrow::Cow,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// Lines that may wait to be written. A disk that stands still for a second at some thousand messages a second fills it.
const WAITING_MAX: usize = 8 << 20;

/// Writes what happens, and reads it again.
pub struct Story {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    waiting: Mutex<Waiting>,
    /// One writes at a time, so that the lines of a file are in order.
    pen: Mutex<Pen>,
}

#[derive(Default)]
struct Waiting {
    lines: Vec<u8>,
    lost: u64,
}

#[derive(Default)]
struct Pen {
    /// The day that was written last: with a new one, old ones go.
    day: String,
}

impl Story {
    /// The story in that directory, which is made when there is something to tell.
    pub fn new(disk: Arc<dyn Disk>, dir: PathBuf) -> Story {
        Story { disk, dir, waiting: Mutex::default(), pen: Mutex::default() }
    }

    /// Notes what happened to a message. Never waits for a disk; if too much waits already, it is not told.
    pub fn tell(&self, at_ms: u64, id: u64, deed: Deed) {
        let told = Told { at: at_ms, id: format!("{id:x}"), deed };
        let line = match serde_json::to_string(&told) {
            Ok(line) => seal(&line),
            Err(error) => return tracing::error!(%error, "what happened cannot be told"),
        };
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.lines.len() + line.len() > WAITING_MAX {
            waiting.lost += 1;
        } else {
            waiting.lines.extend_from_slice(line.as_bytes());
        }
    }

    /// Writes what waits, and forgets what happened more than `days` ago. May wait for the disk.
    ///
    /// # Errors
    /// A fault of the disk; what could not be written is lost, as it would fill the memory otherwise.
    pub fn write(&self, now: Stamp, days: u32) -> io::Result<()> {
        let mut pen = self.pen.lock().unwrap_or_else(PoisonError::into_inner);
        let Waiting { lines, lost } = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        if lost > 0 {
            tracing::warn!(lost, "the disk is too slow for the story of all messages");
        }
        let today = day(now.seconds);
        if !lines.is_empty() {
            let path = self.dir.join(format!("{today}.log"));
            let file = match self.disk.open(&path, How::Append) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.disk.make_dir(&self.dir)?;
                    self.disk.open(&path, How::Append)?
                }
                file => file?,
            };
            file.append(&lines)?;
            if pen.day != today {
                pen.day = today;
                self.forget(&day(now.seconds - i64::from(days) * 86_400))?;
            }
        }
        Ok(())
    }

    /// Removes the days before `first`.
    fn forget(&self, first: &str) -> io::Result<()> {
        for old in self.days()?.iter().filter(|d| d.as_str() < first) {
            self.disk.unlink(&self.dir.join(format!("{old}.log")))?;
        }
        Ok(())
    }

    /// The days there are, in order.
    fn days(&self) -> io::Result<Vec<String>> {
        let mut days = Vec::new();
        let listed = self.disk.list(&self.dir, &mut |name| {
            let day = str::from_utf8(name).ok().and_then(|n| n.strip_suffix(".log"));
            // Nothing but what was written here is read or removed.
            if let Some(day) = day.filter(|d| d.len() == 10 && d.bytes().all(|b| b.is_ascii_digit() || b == b'-')) {
                days.push(day.to_owned());
            }
        });
        match listed {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(days),
            listed => listed?,
        }
        days.sort();
        Ok(days)
    }

    fn dir(&self) -> &Path {
        &self.dir
    }
}

/// What stands between what a line tells and its checksum: the checksum is its last field, and of what comes before.
const SUM: &str = ",\"sum\":\"";

/// What stands behind the checksum.
const END: &[u8] = b"\"}";

/// A line, its checksum added.
fn seal(line: &str) -> String {
    sealed::seal(line.strip_suffix('}').unwrap_or(line), SUM) + "\"}\n"
}

/// A line as it was written, without its checksum; nothing if that cannot be known. One of an earlier version has none.
fn open(line: &[u8]) -> (Option<Cow<'_, [u8]>>, Seal) {
    let (front, end) = line.split_at(line.len().saturating_sub(END.len()));
    match sealed::open(front, SUM) {
        (Some(text), seal) => (Some([text.as_bytes(), b"}"].concat().into()), if end == END { seal } else { Seal::Mended }),
        (None, Seal::Missing) => (Some(line.into()), Seal::Missing),
        (None, seal) => (None, seal),
    }
}

/// The name of the day a moment is in, in UTC.
fn day(seconds: i64) -> String {
    let day = Stamp::utc(seconds).civil();
    format!("{:04}-{:02}-{:02}", day.year, day.month, day.day)
}

#[cfg(test)]
mod tests;
