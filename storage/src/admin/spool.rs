//! `spool list` and `spool check`, also while a server runs: nothing is changed.

use super::{Console, Done, Failure, size, table};
use crate::{
    disk::Posix,
    spool::{Report, inspect},
};
use config::{Config, cli};
use queue::{Content, Record};
use std::{collections::BTreeMap, io};

/// Most problems that are shown one by one.
const SHOWN_MAX: usize = 100;

pub(super) fn obey(command: cli::Spool, config: &Config, console: &mut Console<'_>) -> Done {
    match command {
        cli::Spool::List => list(config, console),
        cli::Spool::Check => check(config, console),
    }
}

fn list(config: &Config, console: &mut Console<'_>) -> Done {
    let mut rows = vec![["ID", "ACCEPTED", "SIZE", "FROM", "FOR"].map(String::from).to_vec()];
    let mut unread = 0;
    let report = walk(config, &mut |live, record| match record {
        Some(Record::Accept(accept)) if live => {
            let bytes = match accept.content {
                Content::Inline(bytes) => bytes.len() as u64,
                Content::Large { size, .. } => size,
            };
            let whom: Vec<String> = accept
                .targets
                .iter()
                .map(|t| if t.mailbox == "INBOX" { t.account.to_owned() } else { format!("{} ({})", t.account, t.mailbox) })
                .collect();
            rows.push(vec![
                format!("{:x}", accept.id),
                accept.stamp.internal().to_string(),
                size(bytes),
                accept.sender.unwrap_or("<>").to_owned(),
                whom.join(", "),
            ]);
        }
        Some(_) => {}
        None => unread += 1,
    })?;
    if rows.len() > 1 {
        console.out.write_all(table(&rows).as_bytes())?;
    }
    let (files, bytes) = report.large;
    writeln!(
        console.err,
        "{} messages in {} segments, {files} of them large ({}); they are in their mailboxes and wait for the next checkpoint",
        rows.len() - 1,
        report.segments,
        size(bytes)
    )?;
    if unread > 0 { Err(Failure::new(format!("{unread} records cannot be read; run `spool check`"))) } else { Ok(()) }
}

fn check(config: &Config, console: &mut Console<'_>) -> Done {
    let (mut records, mut unread) = (BTreeMap::<&str, u64>::new(), 0u64);
    let report = walk(config, &mut |live, record| {
        let kind = match record {
            Some(Record::Accept(_)) => "accepted",
            Some(Record::Gone(_)) => "removed",
            Some(Record::Renamed { .. } | Record::Removed { .. }) => "of mailboxes",
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
    console.out.flush()?;
    if report.damage.is_empty() && unread == 0 {
        return Ok(writeln!(console.out, "all checksums are right")?);
    }
    Err(Failure::new(format!("{} damaged places, {unread} records that cannot be read", report.damage.len())))
}

/// Gives `each` whether a record would be replayed, and the record unless it cannot be read.
fn walk(config: &Config, each: &mut dyn FnMut(bool, Option<Record<'_>>)) -> Result<Report, Failure> {
    let dir = config.store.join("spool");
    match inspect(&Posix, &dir, &mut |seen| each(seen.live, Record::decode(seen.record).ok())) {
        Ok(report) => Ok(report),
        // Before the first start there is none, and nothing in it.
        Err(e) if e.kind() == io::ErrorKind::NotFound && !dir.exists() => Ok(Report::default()),
        Err(e) => Err(Failure::at(&dir, e)),
    }
}
