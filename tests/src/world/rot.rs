//! Bits that flip while a house is down, and what may be missing because of that: the record that was hit, and nothing else.

use super::{Stage, host::Host, ills::home, plan::USERS};
use fastrand::Rng;
use queue::Record;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};
use storage::spool;

/// The directory of the log.
const LOG: &str = "/store/spool";

/// Where a bit flips.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rot {
    /// In the last segment of the log that has a record.
    Log,
    /// In an older one, if there is one.
    OldLog,
    /// In one of these files of a Maildir.
    Book(&'static str),
    /// In the times that are kept for the next start.
    Clock,
}

/// A record of the log that cannot be read any more.
#[derive(Debug, Clone)]
pub struct Lost {
    /// In which house.
    pub host: usize,
    /// When it was seen that it is lost.
    pub at: u64,
    /// What it was.
    pub what: What,
}

/// What such a record was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The message with this id; if it was a report, what it was about.
    Message(String, Option<String>),
    /// What became of the message with this id.
    News(String),
    /// What another program took away, or brought back.
    Missed,
    /// Something else.
    Other,
}

impl Rot {
    /// One of them.
    pub fn draw(d: &mut Rng) -> Rot {
        let book = d.choice(["hikyaku.index", "hikyaku.uids", "hikyaku.cache", "hikyaku.uidvalidity"]).unwrap_or_default();
        d.choice([Rot::Log, Rot::Log, Rot::OldLog, Rot::Book(book), Rot::Book(book), Rot::Clock]).unwrap_or(Rot::Log)
    }

    /// Flips a bit, if there is such a file. Says what is lost by it, and whether somebody who looks is told of new damage.
    pub fn strike(self, host: &Host, stage: &mut Stage) -> (Vec<Lost>, bool) {
        let Some(path) = self.path(host, &mut stage.net.dice) else { return (Vec::new(), false) };
        let bytes = host.disk.content(&path).unwrap_or_default();
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        if used == 0 {
            return (Vec::new(), false);
        }
        if matches!(self, Rot::Log | Rot::OldLog) {
            stage.books.rotten.push((host.number, stage.net.now));
        }
        let (at, mask) = (stage.net.dice.usize(0..used), 1 << stage.net.dice.u8(0..8));
        let (before, told_before) = records(host);
        host.disk.flip(&path, at, mask).expect("it is there");
        let (after, told) = records(host);
        stage
            .net
            .tape
            .note(&[45, host.number as u64, at as u64], || format!("byte {at} of {} in house {}: {mask:#x}", path.display(), host.number));
        let gone: Vec<&Vec<u8>> = before.iter().filter(|(at, _)| !after.contains_key(at)).map(|(_, record)| record).collect();
        if gone.len() > 1 {
            stage.books.wrong(format!(
                "house {}: one bit at {at} of {} made {} records unreadable",
                host.number,
                path.display(),
                gone.len()
            ));
        }
        let lost: Vec<Lost> = gone.into_iter().map(|record| Lost { host: host.number, at: stage.net.now, what: what(record) }).collect();
        lost.iter().for_each(|lost| stage.net.tape.say(|| format!("lost by that: {:?}", lost.what)));
        (lost, told > told_before)
    }

    fn path(self, host: &Host, d: &mut Rng) -> Option<PathBuf> {
        match self {
            Rot::Log | Rot::OldLog => {
                let mut names: Vec<String> = Vec::new();
                let list = host.disk.peek(|world| world.list(Path::new(LOG))).unwrap_or_default();
                names.extend(list.iter().map(|(name, _)| String::from_utf8_lossy(name).into_owned()));
                names.retain(|name| name.ends_with(".log"));
                names.sort_unstable();
                if self == Rot::OldLog {
                    return d.choice(&names).map(|name| Path::new(LOG).join(name));
                }
                names
                    .iter()
                    .rev()
                    .map(|name| Path::new(LOG).join(name))
                    .find(|path| host.disk.content(path).is_ok_and(|b| b.len() > 512 && b[512] != 0))
            }
            Rot::Book(name) => Some(home(&host.domain, USERS[d.usize(0..USERS.len())]).join("Maildir").join(name)),
            Rot::Clock => Some(PathBuf::from("/store/clock")),
        }
    }
}

/// The records of the log that a start would read again, by their place, and how much damage there is.
fn records(host: &Host) -> (BTreeMap<u64, Vec<u8>>, usize) {
    let mut records = BTreeMap::new();
    // Whoever looks is not to be what panics.
    let report = spool::inspect(&host.disk.kill(), Path::new(LOG), &mut |seen| {
        if seen.live {
            records.insert(seen.at, seen.record.to_vec());
        }
    });
    // A log that was never there has none.
    (records, report.map_or(0, |report| report.damage.len()))
}

/// Segments that were put aside because they were damaged.
pub fn aside(host: &Host) -> usize {
    spool::aside(&host.disk.kill(), Path::new(LOG)).map_or(0, |aside| aside.len())
}

fn what(record: &[u8]) -> What {
    let id = |id: u64| format!("{id:x}");
    match Record::decode(record) {
        Ok(Record::Accept(accept)) => What::Message(id(accept.id), accept.settles.map(|settles| id(settles.id))),
        Ok(Record::Tried(tried)) => What::News(id(tried.id)),
        Ok(Record::Changed(changed)) => What::News(id(changed.id)),
        Ok(Record::Warned(warned)) => What::News(id(warned.id)),
        Ok(Record::Missed(_) | Record::Back(_)) => What::Missed,
        _ => What::Other,
    }
}
