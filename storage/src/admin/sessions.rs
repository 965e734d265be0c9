//! `sessions`: who is connected, and whom to end.

use super::{Console, Done, Failure, queue::print, table};
use crate::{
    control::{AskError, Client, Kick, Kicked, Sessions},
    story::span,
};
use config::cli;

pub(super) fn obey(command: cli::Sessions, client: &Client, console: &mut Console<'_>) -> Done {
    match command {
        cli::Sessions::List { account, json } => list(account.as_deref(), json, client, console),
        cli::Sessions::Kick { ids, account, from } => kick(&Kick { ids, account, network: from }, client, console),
    }
}

fn list(account: Option<&str>, json: bool, client: &Client, console: &mut Console<'_>) -> Done {
    let mut all: Sessions = client.get("/sessions", &[])?;
    if let Some(account) = account {
        all.sessions.retain(|session| session.account.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(account)));
    }
    if json {
        return print(&all, console);
    }
    let mut rows = vec![["ID", "PROTOCOL", "FROM", "ACCOUNT", "AGE"].map(String::from).to_vec()];
    rows.extend(all.sessions.into_iter().map(|session| {
        vec![session.id.to_string(), session.protocol, session.peer, session.account.unwrap_or_else(|| "-".into()), span(session.age_s)]
    }));
    Ok(console.out.write_all(table(&rows).as_bytes())?)
}

fn kick(whom: &Kick, client: &Client, console: &mut Console<'_>) -> Done {
    let body = serde_json::to_vec(whom).map_err(|error| Failure::new(error.to_string()))?;
    let Kicked { sessions } = client.post("/sessions", &body)?;
    Ok(writeln!(console.err, "{sessions} sessions ended")?)
}

/// Has the server look at the accounts, so that sessions of one that is gone end at once. It does so by itself within a second or two, and if none is
/// running there is nothing to end.
pub(super) fn look_at_accounts(client: &Client, console: &mut Console<'_>) -> Done {
    match client.post::<Kicked>("/accounts", b"{}") {
        Ok(Kicked { sessions: 0 }) | Err(AskError::NoServer(..)) => Ok(()),
        Ok(Kicked { sessions }) => Ok(writeln!(console.err, "{sessions} sessions ended")?),
        Err(error) => Ok(writeln!(console.err, "the running server could not be told, it will notice by itself: {error}")?),
    }
}
