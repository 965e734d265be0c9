//! `status`, `reload` and `stop`: how the running server is, and what it is to do.

use super::{Console, Done, now, queue::print, size, table};
use crate::{
    control::{Client, Status},
    story::span,
};
use serde_json::Value;

/// Dead sites that are named.
const NAMED_MAX: usize = 10;

pub(super) fn status(json: bool, client: &Client, console: &mut Console<'_>) -> Done {
    let status: Status = client.get("/status", &[])?;
    if json {
        return print(&status, console);
    }
    let queue = &status.queue;
    let oldest = queue.oldest.map(|at| span(u64::try_from(now().seconds).unwrap_or(0).saturating_sub(at)));
    let mut rows = vec![
        ["server".into(), format!("{}, hikyaku {}, process {}, up {}", status.hostname, status.version, status.pid, span(status.up_s))],
        ["clients".into(), format!("{} connections", status.sessions)],
        ["sending".into(), format!("{} connections", status.away)],
        ["queue".into(), format!("{} waiting, {} being sent, {} held", queue.waiting, queue.active, queue.held)],
        ["oldest".into(), oldest.map_or_else(|| "-".into(), |age| format!("{age} old"))],
        ["sites".into(), format!("{}, {} of them do not answer", queue.sites, queue.dead_count)],
    ];
    if status.fenced {
        rows.push(["fenced".into(), "another server has opened the store: nobody is served here any more, stop this one".into()]);
    }
    if !status.stressed.is_empty() {
        rows.push(["stress".into(), format!("places are short on {}", status.stressed.join(", "))]);
    }
    for dead in queue.dead.iter().take(NAMED_MAX) {
        rows.push([String::new(), dead.clone()]);
    }
    rows.push(["log".into(), size(status.log_bytes)]);
    if let Some(memory) = &status.memory {
        let most = format!("{} at most, {} to each listener", size(memory.limit_bytes), memory.connections_per_listener);
        rows.push(["memory".into(), format!("{most} and {} to other servers", memory.connections_out)]);
    }
    if let Some(free) = status.free_bytes {
        rows.push(["disk".into(), format!("{} free", size(free))]);
    }
    rows.push(["sandbox".into(), status.closed_in.join(", ")]);
    for missing in &status.not_closed_in {
        rows.push([String::new(), format!("without {missing}")]);
    }
    if status.lost_records > 0 {
        rows.push(["lost".into(), format!("{} records that waited in the log and could not be read any more", status.lost_records)]);
    }
    if status.lost_log_lines > 0 {
        rows.push(["lost".into(), format!("{} lines of the log on standard error, which nobody read", status.lost_log_lines)]);
    }
    if status.uncounted != 0 {
        rows.push([
            "clock".into(),
            format!("{} not counted as age: hikyaku queue clock --trust counts them", super::queue::lapse(status.uncounted)),
        ]);
    }
    for aside in &status.aside {
        let age = span(u64::try_from(now().seconds).unwrap_or(0).saturating_sub(aside.since));
        rows.push(["set aside".into(), format!("{} of {}: {}, for {age}", aside.mailbox, aside.maildir, aside.why)]);
    }
    for (account, count) in &status.undelivered {
        rows.push(["undelivered".into(), format!("{count} for {account} wait in the log")]);
    }
    for (part, count) in &status.panics {
        rows.push(["panics".into(), format!("{count} in {part}: the log says more")]);
    }
    for name in &status.set_aside {
        rows.push(["damaged".into(), format!("{name} was put aside; see `hikyaku spool check` and `hikyaku spool salvage`")]);
    }
    let rows: Vec<Vec<String>> = rows.into_iter().map(Vec::from).collect();
    Ok(console.out.write_all(table(&rows).as_bytes())?)
}

pub(super) fn reload(client: &Client, console: &mut Console<'_>) -> Done {
    client.post::<Value>("/reload", b"")?;
    Ok(writeln!(console.err, "reloaded")?)
}

pub(super) fn stop(client: &Client, console: &mut Console<'_>) -> Done {
    client.post::<Value>("/stop", b"")?;
    Ok(writeln!(console.err, "stopping")?)
}
