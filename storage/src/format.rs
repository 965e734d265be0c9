//! Whose a store is, and how it is written: a small file, `format`, of which a start reads the generation before it touches anything else.
//!
//! It is also the fence between two servers that share a store although a lock should keep them apart, as over NFS: each start writes the number of its run there
//! before it looks at the log, and whoever finds a later number than its own has lost the store. docs/backup.md tells the rest.

use crate::disk::{Disk, How};
use maildir::sealed::{self, Seal};
use std::{
    io,
    path::{Path, PathBuf},
};

/// What this program writes. One more when an older program must not touch a store any more. A store without the file is of the first.
const GENERATION: u32 = 1;

/// The longest such file: one line, and room for words of later programs.
const LEN_MAX: usize = 1000;

/// How many runs a store that was put back may have had since the copy was made: a restart each minute for 45 days. There is room for 256 such jumps.
const JUMP: u64 = 1 << 16;

/// What the file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Format {
    /// The greatest number of a run that was given out.
    pub run: u64,
    /// The number of a run that the log knew of, for good.
    pub log: u64,
    /// Mailboxes with a lesser UIDVALIDITY get a new one: the store is an older copy of what clients have seen.
    pub uidvalidity: u32,
}

/// What is at the place of the file.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Known(Format),
    /// Of a later generation.
    Later(u32),
    Damaged,
}

impl Format {
    /// Where it is.
    pub(crate) fn path(store: &Path) -> PathBuf {
        store.join("format")
    }

    /// What is written there; nothing if no program wrote one.
    ///
    /// # Errors
    /// `Unsupported` if the store is of a later generation; or a fault of the disk.
    pub(crate) fn read(disk: &dyn Disk, store: &Path) -> io::Result<Option<Format>> {
        let path = Format::path(store);
        let text = match content(disk, &path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text?,
        };
        match parse(&text) {
            (Found::Known(format), seal) => {
                if seal == Seal::Mended {
                    tracing::error!(path = %path.display(), "the format of the store is damaged, and known all the same");
                }
                Ok(Some(format))
            }
            (Found::Later(generation), _) => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                format!(
                    "the store is of format generation {generation} and this program knows {GENERATION}: a newer hikyaku has used it, so start that one, \
                     or restore a copy that is older"
                ),
            )),
            (Found::Damaged, _) => {
                // Every file beside it has a version of its own, and the log its own number of the run.
                tracing::error!(path = %path.display(), "the format of the store is damaged; it is written anew");
                Ok(None)
            }
        }
    }

    /// Replaces what is written there. Durable on return.
    ///
    /// # Errors
    /// If it cannot be written; what was there stays.
    pub(crate) fn write(&self, disk: &dyn Disk, store: &Path) -> io::Result<()> {
        let (path, fresh) = (Format::path(store), store.join("format.tmp"));
        match disk.unlink(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = disk.open(&fresh, How::Create)?;
        file.append(self.print().as_bytes())?;
        file.sync()?;
        disk.rename(&fresh, &path)?;
        disk.sync_dir(store)
    }

    /// Takes the store for a run, before anything but the lock is touched. `log` is the last run that the log knows of, if all of it can be read. `validity` says
    /// above what a UIDVALIDITY is new. Returns what held before, with the UIDVALIDITY that holds now.
    ///
    /// # Errors
    /// If the store is of a later generation, or was put back in part and that cannot be written.
    pub(crate) fn claim(disk: &dyn Disk, store: &Path, log: Option<u64>, validity: impl FnOnce() -> u32) -> io::Result<Format> {
        let mut format = Format::read(disk, store)?.unwrap_or_default();
        let went_back = log.is_some_and(|log| log < format.log);
        if went_back {
            tracing::error!(
                is = log,
                was = format.log,
                "the log is older than the store: it was put back or removed; no id is used again, and every mailbox gets a new UIDVALIDITY"
            );
            (format.uidvalidity, format.log) = (validity(), 0);
        }
        format.run = format.run.max(log.unwrap_or(0));
        match (Format { run: format.run + 1, ..format }).write(disk, store) {
            Err(error) if !went_back => {
                // On a full disk people can still read their mail.
                tracing::error!(%error, "the run is not written into the store: another server would not fence this one");
                Ok(format)
            }
            written => written.map(|()| format),
        }
    }

    /// The log is open for this run, and knows it for good.
    pub(crate) fn opened(&self, disk: &dyn Disk, store: &Path, run: u64) {
        if let Err(error) = (Format { run, log: run, ..*self }).write(disk, store) {
            tracing::error!(%error, "the run is not written into the store: another server would not fence this one");
        }
    }

    /// The store is an older copy of what clients have seen: no run and no UIDVALIDITY that may have been given out since is given out again.
    ///
    /// # Errors
    /// If it is of a later generation, or cannot be written.
    pub(crate) fn restored(disk: &dyn Disk, store: &Path, log: Option<u64>, uidvalidity: u32) -> io::Result<Format> {
        let before = Format::read(disk, store)?.unwrap_or_default();
        let run = before.run.max(log.unwrap_or(0)) + JUMP;
        let format = Format { run, log: 0, uidvalidity: uidvalidity.max(before.uidvalidity.saturating_add(1)) };
        format.write(disk, store)?;
        Ok(format)
    }

    fn print(&self) -> String {
        let Format { run, log, uidvalidity } = self;
        let line = format!("generation {GENERATION} run {run} log {log} uidvalidity {uidvalidity}");
        sealed::seal(&line, sealed::LINE) + "\n"
    }
}

/// The greatest number of a run that the file names; nothing if it cannot be read.
pub(crate) fn run_at(disk: &dyn Disk, path: &Path) -> Option<u64> {
    match parse(&content(disk, path).ok()?).0 {
        Found::Known(format) => Some(format.run),
        // Whoever wrote that is another program than this one.
        Found::Later(_) => Some(u64::MAX),
        Found::Damaged => None,
    }
}

/// A line of words and numbers by turns. The generation comes first in all generations, and the checksum last; words that are not known say nothing here.
fn parse(text: &[u8]) -> (Found, Seal) {
    let known = |front: &str| {
        let words: Vec<&str> = front.split(' ').collect();
        let (pairs, []) = words.as_chunks::<2>() else { return None };
        let (["generation", generation], rest) = pairs.split_first()? else { return None };
        let generation = generation.parse().ok()?;
        if generation > GENERATION {
            return Some(Found::Later(generation));
        }
        let mut format = Format::default();
        for [word, number] in rest {
            match *word {
                "run" => format.run = number.parse().ok()?,
                "log" => format.log = number.parse().ok()?,
                "uidvalidity" => format.uidvalidity = number.parse().ok()?,
                _ => {}
            }
        }
        Some(Found::Known(format))
    };
    let (front, seal) = sealed::open(text, sealed::LINE);
    (front.as_deref().and_then(known).unwrap_or(Found::Damaged), seal)
}

fn content(disk: &dyn Disk, path: &Path) -> io::Result<Vec<u8>> {
    let file = disk.open(path, How::Read)?;
    let mut bytes = vec![0; LEN_MAX];
    let got = crate::spool::read_full(&*file, &mut bytes, 0)?;
    bytes.truncate(got);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT: Format = Format { run: 7, log: 6, uidvalidity: 1_795_502_247 };

    fn with_sum(line: &str) -> Vec<u8> {
        (sealed::seal(line, sealed::LINE) + "\n").into_bytes()
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(parse(FORMAT.print().as_bytes()), (Found::Known(FORMAT), Seal::Whole));
        let more = with_sum("generation 1 run 7 colour 3 log 6 uidvalidity 1795502247");
        assert_eq!(parse(&more).0, Found::Known(FORMAT), "words of a later program of this generation");
        assert_eq!(parse(&with_sum("generation 2 shape square")).0, Found::Later(2));
        assert_eq!(parse(&with_sum("generation 2 odd")).0, Found::Damaged);
        assert_eq!(parse(b"").0, Found::Damaged);
        assert_eq!(parse(b"generation 1 run 7 check 00000000\n").0, Found::Damaged);
    }

    #[test]
    fn every_flipped_bit_is_seen_and_put_right() {
        let line = FORMAT.print().into_bytes();
        for at in 0..line.len() * 8 {
            let mut bad = line.clone();
            bad[at / 8] ^= 1 << (at % 8);
            assert_eq!(parse(&bad), (Found::Known(FORMAT), Seal::Mended), "bit {at}");
        }
    }
}
