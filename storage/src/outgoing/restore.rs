//! From the depot's snapshot and the log to the queue, and from the queue to the next snapshot.
//!
//! What is told here may be told twice, and of messages that are done; only the last word counts.

use super::Admission;
use crate::{
    depot::{self, Depot, Put},
    recover::decode,
    spool::Lsn,
};
use queue::{
    Accept, Change, Content, Fate, Queue, Record, Tells, Traits,
    route::{self, Rules},
};
use std::io;

/// States that are put while the queue is locked: others go on in between.
const BATCH: usize = 1000;

/// Takes a message back in from its state, or from its record if the state is lost. `record` reads the record, if the state alone does not do. A message of which
/// not so much is left is none any more, and the log says so.
///
/// # Errors
/// If this is no state, or the record cannot be read now.
pub(crate) fn restore(
    queue: &mut Queue,
    rules: &Rules,
    now_ms: u64,
    id: u64,
    state: &[u8],
    record: &dyn Fn() -> io::Result<Vec<u8>>,
) -> io::Result<()> {
    if state.is_empty() {
        let told = record().and_then(|bytes| {
            tell(queue, rules, now_ms, &decode(&bytes)?);
            Ok(())
        });
        return match told {
            Err(error) if depot::is_lost(&error) => {
                tracing::error!(id = format!("{id:x}"), %error, "a message that may have been queued is lost");
                Ok(())
            }
            told => told,
        };
    }
    let mut bytes = None;
    let site = |number: u16| {
        let bytes = bytes.get_or_insert_with(record).as_ref().ok()?;
        let Ok(Record::Accept(accept)) = decode(bytes) else { return None };
        Some(site_of(&accept.remotes.iter().nth(number.into())?, rules).into())
    };
    queue
        .restore(now_ms, id, state, site)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, format!("the state of message {id:x} cannot be read")))?;
    match bytes {
        Some(Err(error)) if depot::is_lost(&error) => {
            tracing::error!(id = format!("{id:x}"), %error, "a report is owed on a message, and for whom cannot be read any more: nobody is told");
            Ok(())
        }
        Some(Err(error)) => Err(error),
        _ => Ok(()),
    }
}

/// Does what a record at or after [`Depot::upto`] tells of mail that leaves.
pub(crate) fn replay(queue: &mut Queue, depot: &Depot, rules: &Rules, now_ms: u64, at: Lsn, record: &Record<'_>) {
    if let Record::Accept(accept) = record
        && accept.remotes.iter().next().is_some()
        && !depot.holds(accept.id)
    {
        depot.note(accept.id, at, matches!(accept.content, Content::Large { .. }));
    }
    if let Some(id) = tell(queue, rules, now_ms, record)
        && !queue.contains(id)
    {
        depot.forget(id);
    }
}

/// Tells the queue what a record says, and gives the message that it is about, besides the one that it may bring.
pub(crate) fn tell(queue: &mut Queue, rules: &Rules, now_ms: u64, record: &Record<'_>) -> Option<u64> {
    Some(match record {
        Record::Accept(accept) => {
            if accept.remotes.iter().next().is_some() {
                // One that is known already stays as it is.
                admit(queue, rules, now_ms, accept);
            }
            let settles = accept.settles.as_ref()?;
            match settles.tells {
                Tells::End => queue.settled(settles.id, &settles.recipients.iter().collect::<Vec<u16>>()),
                Tells::Delay => queue.warned(settles.id),
            }
            settles.id
        }
        Record::Tried(tried) => {
            // The clock was set back since, or this was counted by a wrong one.
            let ahead_ms = tried.at_ms.saturating_sub(now_ms);
            for attempt in tried.attempts.iter() {
                match attempt.fate {
                    Fate::Delivered | Fate::Relayed | Fate::Expanded | Fate::Failed => queue.settled(tried.id, &[attempt.recipient]),
                    Fate::Later { attempts, next_ms } => {
                        queue.again(tried.id, attempt.recipient, attempts, next_ms.saturating_sub(ahead_ms));
                    }
                    // No report on it came to be: the next attempt leads to one.
                    Fate::Owed => {}
                }
            }
            tried.id
        }
        Record::Changed(changed) => {
            let id = changed.id;
            match changed.change {
                Change::Hold => queue.hold(id),
                Change::Release => queue.release(now_ms, id),
                Change::Cancel => queue.cancel(id),
                Change::Retry => queue.retry(id),
                Change::Reroute(site) => queue.reroute(id, site),
                Change::At(when_ms) => {
                    let when_ms = queue.lapse().named_ms(when_ms);
                    queue.reschedule(id, when_ms)
                }
                Change::GiveUp(when_ms) => queue.give_up_again(id, when_ms),
            };
            id
        }
        Record::Warned(warned) => {
            queue.warned(warned.id);
            warned.id
        }
        Record::Gone(_)
        | Record::Missed(_)
        | Record::Back(_)
        | Record::Renamed { .. }
        | Record::Removed { .. }
        | Record::NotNamed { .. }
        | Record::Named { .. }
        | Record::Taken { .. }
        | Record::Unknown { .. } => return None,
    })
}

/// Takes in a message that was accepted for recipients elsewhere.
fn admit(queue: &mut Queue, rules: &Rules, now_ms: u64, accept: &Accept<'_>) {
    let sites: Vec<Box<str>> = accept.remotes.iter().map(|remote| site_of(&remote, rules)).collect();
    let sites: Vec<(u16, &str)> = (0..).zip(sites.iter().map(|site| &**site)).collect();
    let wishes = accept.wishes.into();
    let held = accept.traits.has(Traits::HELD);
    let stamp_ms = u64::try_from(accept.stamp.seconds).unwrap_or(0) * 1000;
    let arrived_ms = queue.arrived_ms(stamp_ms, now_ms);
    let admission = Admission { id: accept.id, stamp: accept.stamp, arrived_ms, wishes: &wishes, held, sites: &sites };
    let mut entry = admission.entry();
    if arrived_ms > stamp_ms {
        // It is taken for younger than its stamp says; what its sender named is the time of day all the same.
        let back = |ms: u64| ms.saturating_sub(arrived_ms - stamp_ms);
        entry.not_before_ms = entry.not_before_ms.map(back);
        entry.give_up_ms = entry.give_up_ms.map(back);
        entry.due_ms = entry.due_ms.map(back);
    }
    queue.admit(now_ms, &entry);
}

/// The site of a recipient elsewhere.
pub(super) fn site_of(remote: &queue::Remote<'_>, rules: &Rules) -> Box<str> {
    match remote.route {
        Some(route) => route.into(),
        None => route::site(remote.site(), rules),
    }
}

/// Puts the state of every queued message. New ones may come meanwhile; they are in the log. `save` puts those after an id, a number at a time, and says
/// which was the last; others go on in between.
pub(crate) fn put_states(put: &mut Put<'_>, mut save: impl FnMut(u64, usize, &mut Put<'_>) -> Option<u64>) {
    let mut after = 0;
    while let Some(last) = save(after, BATCH, put) {
        after = last;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        disk::Posix,
        spool::{self, Spool},
    };
    use mail::Stamp;
    use queue::{Attempt, Attempts, Changed, Indexes, Remote, Remotes, Settings, Settles, Tried};
    use std::{
        path::Path,
        sync::{Arc, Mutex},
    };

    fn accept(id: u64, remotes: &[&str], settles: Option<(u64, &[u16])>) -> Vec<u8> {
        let remotes: Vec<Remote<'_>> = remotes.iter().map(|recipient| Remote { recipient, ..Remote::default() }).collect();
        let settles = settles.map(|(id, list)| Settles { id, recipients: Indexes::new(list), tells: Tells::End });
        Record::Accept(Accept { id, stamp: Stamp::utc(1000), remotes: Remotes::new(&remotes), settles, ..Accept::default() }).encode()
    }

    fn tried(id: u64, attempts: &[(u16, Fate)]) -> Vec<u8> {
        let attempts: Vec<Attempt<'_>> =
            attempts.iter().map(|&(recipient, fate)| Attempt { recipient, fate, code: 0, reply: "" }).collect();
        Record::Tried(Tried { id, at_ms: 0, host: "", tls: "", attempts: Attempts::new(&attempts) }).encode()
    }

    fn open(dir: &Path) -> (Spool, Depot, Mutex<Queue>) {
        let disk = Arc::new(Posix);
        let mut queue = Queue::new(Settings::default(), 1);
        let locked = Spool::lock(disk.clone(), &dir.join("spool")).unwrap();
        let depot = Depot::open(disk, &dir.join("depot"), depot::Options::default(), &mut |id, state, record| {
            restore(&mut queue, &Rules::default(), 1_000_000, id, state, record).unwrap();
        });
        let depot = depot.unwrap();
        let options = spool::Options { segment: 64 << 10, patience: None, ..spool::Options::default() };
        let spool = locked.open(options, &mut |at, bytes| {
            if at >= depot.upto() {
                replay(&mut queue, &depot, &Rules::default(), 1_000_000, at, &decode(bytes).unwrap());
            }
        });
        (spool.unwrap(), depot, Mutex::new(queue))
    }

    fn shown(queue: &Mutex<Queue>) -> Vec<String> {
        let queue = queue.lock().unwrap();
        queue.list_after(None).map(|listed| format!("{listed:?}")).collect()
    }

    #[test]
    fn a_start_finds_the_queue_as_the_log_told_it() {
        let dir = std::env::temp_dir().join(format!("hikyaku-restore-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir(&dir).unwrap();
        let (spool, depot, queue) = open(&dir);
        let ids: Vec<u64> = (0..4).map(|_| spool.next_id()).collect();
        let report = spool.next_id();
        let records = [
            accept(ids[0], &["a@one.example", "b@one.example", "c@two.example"], None),
            accept(ids[1], &["d@one.example"], None),
            accept(ids[2], &["e@three.example"], None),
            accept(ids[3], &["f@three.example"], None),
            tried(ids[0], &[(0, Fate::Delivered), (1, Fate::Later { attempts: 3, next_ms: 9_000_000 }), (2, Fate::Owed)]),
            tried(ids[1], &[(0, Fate::Delivered)]),
            accept(report, &["sender@four.example"], Some((ids[0], &[2]))),
            Record::Changed(Changed { id: ids[2], at_ms: 0, change: Change::Hold }).encode(),
            Record::Changed(Changed { id: ids[3], at_ms: 0, change: Change::Cancel }).encode(),
            // Of a message that is done; nothing comes of it.
            tried(ids[1], &[(0, Fate::Later { attempts: 1, next_ms: 0 })]),
        ];
        let half = 5;
        for (n, record) in records.iter().enumerate() {
            let mut entry = spool.entry();
            let at = entry.commit(&[record]).unwrap();
            replay(&mut queue.lock().unwrap(), &depot, &Rules::default(), 1_000_000, at, &decode(record).unwrap());
            entry.delivered();
            if n == half {
                let mark = spool.mark();
                depot
                    .checkpoint(&spool, mark, &mut |put| {
                        put_states(put, |after, most, put| queue.lock().unwrap().save_after(after, most, put))
                    })
                    .unwrap();
                spool.release(mark).unwrap();
            }
        }
        let before = shown(&queue);
        assert_eq!((before.len(), depot.len(), depot.parked()), (3, 3, 2));
        drop((spool, depot, queue));
        // From the snapshot and the log, then from a snapshot alone.
        for parked in [2, 3] {
            let (spool, depot, queue) = open(&dir);
            assert_eq!((shown(&queue), depot.len(), depot.parked()), (before.clone(), 3, parked));
            let mark = spool.mark();
            depot
                .checkpoint(&spool, mark, &mut |put| put_states(put, |after, most, put| queue.lock().unwrap().save_after(after, most, put)))
                .unwrap();
            spool.release(mark).unwrap();
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
