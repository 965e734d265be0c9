//! `spool list`, `spool check` and `spool salvage`, also while a server runs: nothing is changed.

use super::{Console, Done, Failure, size, table};
use crate::{
    depot,
    disk::Posix,
    outgoing::restore,
    spool::{self, Lsn, Report, inspect},
};
use config::{Config, cli};
use queue::{Accept, Content, Queue, Record, Settings, route::Rules};
use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// Most problems that are shown one by one.
const SHOWN_MAX: usize = 100;

pub(super) fn obey(command: cli::Spool, config: &Config, console: &mut Console<'_>) -> Done {
    match command {
        cli::Spool::List => list(config, console),
        cli::Spool::Check => check(config, console),
        cli::Spool::Salvage { file, into } => salvage(config, file.as_deref(), into.as_deref(), console),
    }
}

/// A message that is shown.
struct Row {
    accepted: String,
    size: u64,
    from: String,
    /// Mailboxes that have it, although the log keeps it.
    here: Vec<String>,
    /// All its recipients elsewhere, done or not.
    elsewhere: Vec<String>,
}

impl Row {
    fn of(accept: &Accept<'_>) -> Row {
        let here = accept.targets.iter();
        Row {
            accepted: accept.stamp.internal().to_string(),
            size: match accept.content {
                Content::Inline(bytes) => bytes.len() as u64,
                Content::Large { size, .. } => size,
            },
            from: accept.sender.unwrap_or("<>").to_owned(),
            here: here
                .map(|t| if t.mailbox == "INBOX" { t.account.to_owned() } else { format!("{} ({})", t.account, t.mailbox) })
                .collect(),
            elsewhere: accept.remotes.iter().map(|remote| remote.recipient.to_owned()).collect(),
        }
    }
}

/// What the log still has, and what waits for other servers, in the log or in the depot: as a start would find it.
fn list(config: &Config, console: &mut Console<'_>) -> Done {
    let (mut queue, rules) = (Queue::new(Settings::default(), 0), Rules::default());
    let now_ms = u64::try_from(super::now().seconds).unwrap_or(0) * 1000;
    let mut messages: BTreeMap<u64, Row> = BTreeMap::new();
    let mut unread = 0u64;
    let depot = config.store.join("depot");
    let upto = depot::inspect(&Posix, &depot, &mut |id, state, record| {
        let restored = restore::restore(&mut queue, &rules, now_ms, id, state, record).and_then(|()| record());
        match restored.as_deref().map(Record::decode) {
            Ok(Ok(Record::Accept(accept))) => drop(messages.insert(id, Row { here: Vec::new(), ..Row::of(&accept) })),
            _ => unread += 1,
        }
    });
    let upto = upto.map_err(|e| Failure::at(&depot, e))?;
    let report = walk(config, &mut |at, live, record| match record {
        Some(record) => {
            if let Record::Accept(accept) = &record
                && live
            {
                messages.insert(accept.id, Row::of(accept));
            }
            if live && at >= upto {
                restore::tell(&mut queue, &rules, now_ms, &record);
            }
        }
        None => unread += 1,
    })?;
    let mut rows = vec![["ID", "ACCEPTED", "SIZE", "FROM", "FOR"].map(String::from).to_vec()];
    let mut waiting = 0;
    for (id, row) in messages {
        let left = queue.show(id).map(|listed| listed.recipients).unwrap_or_default();
        waiting += u64::from(!left.is_empty());
        let mut whom = row.here;
        whom.extend(left.iter().filter_map(|(number, ..)| row.elsewhere.get(usize::from(*number)).cloned()));
        if !whom.is_empty() {
            rows.push(vec![format!("{id:x}"), row.accepted, size(row.size), row.from, whom.join(", ")]);
        }
    }
    if rows.len() > 1 {
        console.out.write_all(table(&rows).as_bytes())?;
    }
    let (files, bytes) = report.large;
    writeln!(
        console.err,
        "{} messages, {waiting} of them wait for other servers; what is for here is in its mailboxes and waits for the next checkpoint\n\
         the log has {} segments and {files} large messages ({})",
        rows.len() - 1,
        report.segments,
        size(bytes)
    )?;
    if unread > 0 { Err(Failure::new(format!("{unread} records cannot be read; run `spool check`"))) } else { Ok(()) }
}

fn check(config: &Config, console: &mut Console<'_>) -> Done {
    let (mut records, mut unread) = (BTreeMap::<&str, u64>::new(), 0u64);
    let report = walk(config, &mut |_, live, record| {
        let kind = match record {
            Some(Record::Accept(_)) => "accepted",
            Some(Record::Gone(_)) => "removed",
            Some(Record::Missed(_) | Record::Back(_)) => "of other programs",
            Some(Record::Renamed { .. } | Record::Removed { .. } | Record::NotNamed { .. } | Record::Named { .. }) => "of mailboxes",
            Some(Record::Tried(_)) => "tried",
            Some(Record::Changed(_) | Record::Warned(_)) => "of the queue",
            Some(Record::Taken { .. }) => "of the drop folder",
            Some(Record::Unknown { skip: true, .. }) => "of a later version",
            // Mail may hang on it, and this version would not know.
            Some(Record::Unknown { skip: false, .. }) | None => {
                unread += u64::from(live);
                "unreadable"
            }
        };
        *records.entry(kind).or_default() += 1;
    })?;
    let kinds: Vec<String> = records.iter().map(|(kind, n)| format!("{n} {kind}")).collect();
    writeln!(
        console.out,
        "{} segments and {} in reserve, {} runs, {} bytes of log to replay\n{}\n{} large files ({}), {} to be removed",
        report.segments,
        report.spares,
        report.runs,
        report.end.saturating_sub(report.mark),
        if kinds.is_empty() { "no records".to_owned() } else { format!("records: {}", kinds.join(", ")) },
        report.large.0,
        size(report.large.1),
        report.garbage
    )?;
    for damage in report.damage.iter().take(SHOWN_MAX) {
        writeln!(console.out, "WRONG  {damage}")?;
    }
    for aside in &report.aside {
        writeln!(console.out, "WRONG  {} was damaged and is put aside; see `spool salvage`, then remove it", aside.name)?;
    }
    let dir = config.store.join("depot");
    let parked = depot::check(&Posix, &dir).map_err(|e| Failure::at(&dir, e))?;
    for wrong in parked.iter().take(SHOWN_MAX) {
        writeln!(console.out, "WRONG  {wrong}")?;
    }
    let parked_aside = depot::aside(&Posix, &dir).map_err(|e| Failure::at(&dir, e))?;
    for name in &parked_aside {
        writeln!(console.out, "WRONG  {name} of the depot was damaged and is put aside; see `spool salvage`, then remove it")?;
    }
    console.out.flush()?;
    let (damaged, aside) = (report.damage.len() + parked.len(), report.aside.len() + parked_aside.len());
    if damaged + aside == 0 && unread == 0 {
        return Ok(writeln!(console.out, "all checksums are right")?);
    }
    Err(Failure::new(format!("{damaged} damaged places, {aside} files put aside, {unread} records that cannot be read")))
}

/// What can be read of damaged segments and packs, and where it goes if somebody wants it. Nothing says what of it has been delivered since.
fn salvage(config: &Config, file: Option<&Path>, into: Option<&Path>, console: &mut Console<'_>) -> Done {
    let (dir, depot) = (config.store.join("spool"), config.store.join("depot"));
    let files: Vec<PathBuf> = match file {
        Some(file) if file.components().count() > 1 => vec![file.to_owned()],
        Some(file) => vec![if dir.join(file).exists() { dir.join(file) } else { depot.join(file) }],
        None => {
            let segments = spool::aside(&Posix, &dir).map_err(|e| Failure::at(&dir, e))?.into_iter().map(|aside| dir.join(aside.name));
            segments.chain(depot::aside(&Posix, &depot).map_err(|e| Failure::at(&depot, e))?.iter().map(|name| depot.join(name))).collect()
        }
    };
    if let Some(into) = into {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(into).map_err(|e| Failure::at(into, e))?;
    }
    let mut rows = vec![["ID", "ACCEPTED", "SIZE", "FROM", "FOR"].map(String::from).to_vec()];
    let (mut others, mut unread, mut failed) = (0u64, 0u64, None);
    let mut lost = 0u64;
    for path in &files {
        let mut each = |id: u64, record: &[u8]| match Record::decode(record) {
            Ok(Record::Accept(accept)) => {
                let row = Row::of(&accept);
                let whom: Vec<String> = row.here.into_iter().chain(row.elsewhere).collect();
                rows.push(vec![format!("{:x}", accept.id), row.accepted, size(row.size), row.from, whom.join(", ")]);
                if let (Some(into), Content::Inline(bytes)) = (into, accept.content)
                    && let Err(error) = write(&into.join(format!("{id:x}.eml")), bytes)
                {
                    failed.get_or_insert(Failure::at(into, error));
                }
            }
            Ok(_) => others += 1,
            Err(_) => unread += 1,
        };
        let parked = path.parent().is_some_and(|parent| parent == depot);
        let read = match parked {
            true => depot::salvage(&Posix, path, &mut each),
            false => spool::salvage(&Posix, path, &mut |_, id, record| each(id, record)),
        };
        lost += read.map_err(|e| Failure::at(path, e))?;
    }
    if rows.len() > 1 {
        console.out.write_all(table(&rows).as_bytes())?;
    }
    writeln!(
        console.err,
        "{} files: {} messages and {others} other records can be read, {unread} records are of no use and {lost} bytes are none.\n\
         Most of the messages have been delivered since; the content of large ones is not in them",
        files.len(),
        rows.len() - 1
    )?;
    failed.map_or(Ok(()), Err)
}

/// Somebody's mail: for nobody else to read, and nothing is written over.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use io::Write as _;
    match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        // The segment was put aside twice.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        file => file?.write_all(bytes),
    }
}

/// Gives `each` where a record is, whether it would be replayed, and the record unless it cannot be read.
fn walk(config: &Config, each: &mut dyn FnMut(Lsn, bool, Option<Record<'_>>)) -> Result<Report, Failure> {
    let dir = config.store.join("spool");
    match inspect(&Posix, &dir, &mut |seen| each(seen.at, seen.live, Record::decode(seen.record).ok())) {
        Ok(report) => Ok(report),
        // Before the first start there is none, and nothing in it.
        Err(e) if e.kind() == io::ErrorKind::NotFound && !dir.exists() => Ok(Report::default()),
        Err(e) => Err(Failure::at(&dir, e)),
    }
}
