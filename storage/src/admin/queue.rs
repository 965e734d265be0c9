//! `queue`: asks the running server what waits, and tells it what to do with it.

use super::{Console, Done, Failure, now, size, table};
use crate::{
    control::{Action, Client, Effect, Filter, Listing, Order, State, Summary, Uncounted, Whole, Whom},
    story::{moment, span},
};
use config::cli;

/// Characters of a reply that are shown in a list.
const REASON_MAX: usize = 90;

pub(super) fn obey(command: cli::Queue, client: &Client, console: &mut Console<'_>) -> Done {
    let (whom, action) = match command {
        cli::Queue::List { which, most, json } => return list(&filter(which), most, json, client, console),
        cli::Queue::Show { id, json } => return show(&id, json, client, console),
        cli::Queue::Clock { trust } => return clock(trust, client, console),
        cli::Queue::Retry(whom) => (whom, Action::Retry),
        cli::Queue::Hold(whom) => (whom, Action::Hold),
        cli::Queue::Release(whom) => (whom, Action::Release),
        cli::Queue::Cancel { whom, silent } => (whom, Action::Cancel { silent }),
        cli::Queue::Flush { site } => {
            let which = cli::Which { site, ..cli::Which::default() };
            (cli::Whom { ids: Vec::new(), all: false, which }, Action::Retry)
        }
        cli::Queue::Reroute { whom, to } => (whom, Action::Reroute { to }),
        cli::Queue::Schedule { whom, next, give_up } => {
            let from_now = |after: u64| seconds_now() + after;
            (whom, Action::Schedule { next: next.map(from_now), give_up: give_up.map(from_now) })
        }
    };
    let whom = if whom.ids.is_empty() { Whom::All(filter(whom.which)) } else { Whom::Ids(whom.ids) };
    let order = serde_json::to_vec(&Order { whom, action }).map_err(|error| Failure::new(error.to_string()))?;
    let Effect { messages } = client.post("/queue", &order)?;
    Ok(writeln!(console.err, "{messages} {}", if messages == 1 { "message" } else { "messages" })?)
}

/// What passed before the last start and makes no message older, unless it is to.
fn clock(trust: bool, client: &Client, console: &mut Console<'_>) -> Done {
    if trust {
        let Uncounted { seconds } = client.post("/clock", b"")?;
        let said =
            if seconds == 0 { "nothing was left to count".into() } else { format!("{} counted as age of queued mail", lapse(seconds)) };
        return Ok(writeln!(console.err, "{said}")?);
    }
    let status: crate::control::Status = client.get("/status", &[])?;
    let said = match status.uncounted {
        0 => "all that passed counts as age".into(),
        seconds => format!("{} not counted as age of queued mail", lapse(seconds)),
    };
    Ok(writeln!(console.out, "{said}")?)
}

/// What the clock did, as `status` says it too.
pub(super) fn lapse(seconds: u64) -> String {
    format!("{} before the last start are", span(seconds))
}

fn filter(which: cli::Which) -> Filter {
    Filter {
        sender: which.sender,
        recipient: which.recipient,
        site: which.site,
        state: which.state.map(|state| match state {
            cli::QueueState::Waiting => State::Waiting,
            cli::QueueState::Active => State::Active,
            cli::QueueState::Held => State::Held,
        }),
        before: which.older.map(|older| seconds_now().saturating_sub(older)),
    }
}

/// The whole queue, between the words by which programs that watch it know Postfix's `mailq`.
pub(super) fn mailq(client: &Client, console: &mut Console<'_>) -> Done {
    let (messages, _) = fetch(&Filter::default(), u64::MAX, client)?;
    if messages.is_empty() {
        return Ok(writeln!(console.out, "Mail queue is empty")?);
    }
    console.out.write_all(shown(&messages).as_bytes())?;
    let bytes: u64 = messages.iter().map(|m| m.size).sum();
    let (kib, n) = (bytes.div_ceil(1024), messages.len());
    Ok(writeln!(console.out, "-- {kib} Kbytes in {n} Request{}.", if n == 1 { "" } else { "s" })?)
}

fn list(filter: &Filter, most: u64, json: bool, client: &Client, console: &mut Console<'_>) -> Done {
    let (messages, more) = fetch(filter, most, client)?;
    if json {
        return print(&messages, console);
    }
    if !messages.is_empty() {
        console.out.write_all(shown(&messages).as_bytes())?;
    }
    let bytes = size(messages.iter().map(|m| m.size).sum());
    let rest = if more { ", and there are more (--most)" } else { "" };
    Ok(writeln!(console.err, "{} {}, {bytes}{rest}", messages.len(), if messages.len() == 1 { "message" } else { "messages" })?)
}

/// The messages that are meant, at most so many, and whether there are more.
fn fetch(filter: &Filter, most: u64, client: &Client) -> Result<(Vec<Summary>, bool), Failure> {
    let mut left = most;
    let mut after: Option<String> = None;
    let mut messages: Vec<Summary> = Vec::new();
    let more = loop {
        let (before, piece) = (filter.before.map(|b| b.to_string()), left.min(10_000).to_string());
        let state = filter.state.map(State::word);
        let asks = [
            ("sender", filter.sender.as_deref()),
            ("recipient", filter.recipient.as_deref()),
            ("site", filter.site.as_deref()),
            ("state", state),
            ("before", before.as_deref()),
            ("after", after.as_deref()),
            ("most", Some(&*piece)),
        ];
        let asks: Vec<(&str, &str)> = asks.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        let listing: Listing = client.get("/queue", &asks)?;
        left = left.saturating_sub(listing.messages.len() as u64);
        messages.extend(listing.messages);
        if let Some(error) = listing.error {
            return Err(Failure::new(error));
        }
        after = listing.next;
        if after.is_none() || left == 0 {
            break after.is_some();
        }
    };
    Ok((messages, more))
}

fn shown(messages: &[Summary]) -> String {
    let now = seconds_now();
    let mut rows = vec![["ID", "AGE", "SIZE", "STATE", "NEXT", "FROM", "FOR", "WHY"].map(String::from).to_vec()];
    rows.extend(messages.iter().map(|m| row(m, now)));
    table(&rows)
}

fn row(m: &Summary, now: u64) -> Vec<String> {
    let more = (m.left as usize).saturating_sub(1);
    let first = m.waiting.first().map_or("-", String::as_str);
    vec![
        m.id.clone(),
        span(now.saturating_sub(m.accepted)),
        size(m.size),
        m.state.word().into(),
        m.next.map_or_else(|| "-".into(), |next| format!("in {}", span(next.saturating_sub(now)))),
        format!("<{}>", m.sender),
        if more == 0 { first.into() } else { format!("{first} and {more} more") },
        m.reason.as_deref().map_or_else(String::new, short),
    ]
}

fn show(id: &str, json: bool, client: &Client, console: &mut Console<'_>) -> Done {
    let whole: Whole = client.get(&format!("/queue/{}", path(id)?), &[])?;
    if json {
        return print(&whole, console);
    }
    let m = &whole.summary;
    let mut rows = vec![
        vec!["id".into(), m.id.clone()],
        vec!["from".into(), format!("<{}>", m.sender)],
        vec!["accepted".into(), format!("{} UTC, {} ago", moment(m.accepted), span(seconds_now().saturating_sub(m.accepted)))],
        vec!["size".into(), size(m.size)],
        vec!["state".into(), m.state.word().into()],
    ];
    if let Some(gives_up) = whole.gives_up {
        rows.push(vec!["given up".into(), format!("{} UTC", moment(gives_up))]);
    }
    if whole.priority != 0 {
        rows.push(vec!["priority".into(), whole.priority.to_string()]);
    }
    if let Some(envid) = &whole.envid {
        rows.push(vec!["envid".into(), envid.clone()]);
    }
    console.out.write_all(table(&rows).as_bytes())?;
    let mut rows = vec![["FOR", "STATE", "ATTEMPTS", "NEXT", "SITE", "WHY"].map(String::from).to_vec()];
    rows.extend(whole.each.iter().map(|r| {
        vec![
            r.address.clone(),
            r.state.word().into(),
            r.attempts.to_string(),
            r.next.map_or_else(|| "-".into(), moment),
            r.site.clone(),
            r.reply.clone().unwrap_or_default(),
        ]
    }));
    Ok(writeln!(console.out, "\n{}", table(&rows).trim_end())?)
}

/// An id that is to stand in a path: nothing else gets there.
fn path(id: &str) -> Result<&str, Failure> {
    if !id.is_empty() && id.bytes().all(|b| b.is_ascii_hexdigit()) {
        Ok(id)
    } else {
        Err(Failure::new(format!("{id:?} is no id of a message")))
    }
}

pub(super) fn print(value: &impl serde::Serialize, console: &mut Console<'_>) -> Done {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::new(error.to_string()))?;
    Ok(writeln!(console.out, "{text}")?)
}

fn short(reason: &str) -> String {
    if reason.chars().count() <= REASON_MAX { reason.into() } else { reason.chars().take(REASON_MAX).chain("...".chars()).collect() }
}

fn seconds_now() -> u64 {
    u64::try_from(now().seconds).unwrap_or(0)
}
