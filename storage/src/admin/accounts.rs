//! `account add`, `list`, `passwd`, `disable`, `enable` and `remove`.

use super::{Console, Done, Failure, console::fit, size, table};
use crate::{
    account::{
        Account, Accounts, Hash,
        file::{self, Record},
    },
    disk::Posix,
};
use config::{Config, cli, nearest};
use mail::Address;
use std::{fs, io, sync::Arc};

/// Most lines that are read from standard input at once.
const LINES_MAX: usize = 1_000_000;

pub(super) fn obey(command: cli::Account, config: &Config, console: &mut Console<'_>) -> Done {
    match command {
        cli::Account::Add(add) if add.stdin => add_many(&add, config, console),
        cli::Account::Add(add) => add_one(add, config, console),
        cli::Account::List => list(config, console),
        cli::Account::Passwd { address, hash } => change_password(&address, hash.as_deref(), config, console),
        cli::Account::Disable { address } => set_disabled(&address, true, config, console),
        cli::Account::Enable { address } => set_disabled(&address, false, config, console),
        cli::Account::Remove { address, delete_mail, keep_mail: _ } => remove(&address, delete_mail, config, console),
    }
}

fn add_one(add: cli::AccountAdd, config: &Config, console: &mut Console<'_>) -> Done {
    let address = new_address(config, &add.address.unwrap_or_default())?;
    if config.maildir_of(&address).is_err() && add.maildir.is_none() {
        return Err(Failure::new(format!(
            "{address}: this cannot be the name of a directory; say where its Maildir is with --maildir DIR"
        )));
    }
    let accounts = file::load(&Posix, &config.accounts_path())?.0;
    not_there(&accounts, &address)?;
    let hash = new_hash(&address, add.hash.as_deref(), console)?;
    append(config, vec![Record { maildir: add.maildir, quota: add.quota, ..Record::new(address.clone(), hash) }])?;
    Ok(writeln!(console.out, "{address} is added")?)
}

/// All of them or none: a line that is wrong is told by its number before anything is written.
fn add_many(add: &cli::AccountAdd, config: &Config, console: &mut Console<'_>) -> Done {
    let mut lines = Vec::new();
    let mut line = String::new();
    while console.input.read_line(&mut line)? > 0 {
        if lines.len() >= LINES_MAX {
            return Err(Failure::new(format!("there are more than {LINES_MAX} lines")));
        }
        lines.push(std::mem::take(&mut line));
    }
    let bar = console.bar(lines.len());
    let mut records = Vec::with_capacity(lines.len());
    for (i, line) in lines.iter().enumerate() {
        bar.inc(1);
        let line = line.trim_end_matches(['\r', '\n']);
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let at = |what: String| Failure::new(format!("line {}: {what}", i + 1));
        let (address, secret) =
            line.split_once([' ', '\t']).ok_or_else(|| at("expected an address, a space, and a password or hash".into()))?;
        let address = new_address(config, address).map_err(|e| at(e.to_string()))?;
        if config.maildir_of(&address).is_err() {
            return Err(at(format!("{address}: this cannot be the name of a directory")));
        }
        let hash = if add.hashed {
            Hash::parse(secret.trim()).map_err(|e| at(e.to_string()))?
        } else {
            Hash::of(&fit(secret.to_owned()).map_err(|e| at(e.to_string()))?)
        };
        records.push(Record { quota: add.quota, ..Record::new(address, hash) });
    }
    bar.finish_and_clear();
    let n = records.len();
    append(config, records)?;
    Ok(writeln!(console.out, "{n} accounts are added")?)
}

fn list(config: &Config, console: &mut Console<'_>) -> Done {
    let accounts = load(config)?;
    let mut rows = vec![["ADDRESS", "PASSWORD", "QUOTA", "LOGIN", "MAILDIR"].map(String::from).to_vec()];
    for a in accounts.all() {
        rows.push(vec![
            a.address.to_string(),
            a.hash.kind().into(),
            if a.quota == 0 { "-".into() } else { size(a.quota) },
            if a.disabled { "disabled" } else { "yes" }.into(),
            a.maildir.display().to_string(),
        ]);
    }
    if rows.len() == 1 {
        writeln!(console.err, "there are no accounts; add one with `hikyaku account add ADDRESS`")?;
        return Ok(());
    }
    Ok(console.out.write_all(table(&rows).as_bytes())?)
}

fn change_password(address: &str, hash: Option<&str>, config: &Config, console: &mut Console<'_>) -> Done {
    let address = existing(&load(config)?, address)?.address.clone();
    let hash = new_hash(&address, hash, console)?;
    file::change(&Posix, &config.accounts_path(), |records| {
        let record = records.iter_mut().find(|r| r.address == address).ok_or_else(|| gone(&address))?;
        record.hash = hash;
        Ok::<_, Failure>(())
    })?;
    Ok(writeln!(console.out, "the password of {address} is changed")?)
}

fn set_disabled(address: &str, disabled: bool, config: &Config, console: &mut Console<'_>) -> Done {
    let address = existing(&load(config)?, address)?.address.clone();
    file::change(&Posix, &config.accounts_path(), |records| {
        let record = records.iter_mut().find(|r| r.address == address).ok_or_else(|| gone(&address))?;
        record.disabled = disabled;
        Ok::<_, Failure>(())
    })?;
    Ok(writeln!(console.out, "{address} is {}", if disabled { "disabled" } else { "enabled" })?)
}

fn remove(address: &str, delete_mail: bool, config: &Config, console: &mut Console<'_>) -> Done {
    let account = existing(&load(config)?, address)?;
    let (address, maildir) = (&account.address, &account.maildir);
    // First the account, so that no mail arrives while its Maildir goes.
    file::change(&Posix, &config.accounts_path(), |records| {
        let before = records.len();
        records.retain(|r| r.address != *address);
        if records.len() == before { Err(gone(address)) } else { Ok(()) }
    })?;
    if !delete_mail {
        writeln!(console.out, "{address} is removed")?;
        if maildir.exists() {
            writeln!(console.out, "its mail stays in {}", maildir.display())?;
        }
        return Ok(());
    }
    match fs::remove_dir_all(maildir) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            return Err(Failure::at(maildir, format!("{address} is removed, but not all of its mail: {e}")));
        }
        _ => {}
    }
    // The directory of the account, if nothing else is in it; it does not matter if something is.
    let _ = maildir.parent().filter(|p| *p != config.store).map(fs::remove_dir);
    Ok(writeln!(console.out, "{address} and its mail are removed")?)
}

pub(super) fn load(config: &Config) -> Result<Accounts, Failure> {
    Ok(Accounts::load(Arc::new(Posix), config)?)
}

fn append(config: &Config, new: Vec<Record>) -> Done {
    file::change(&Posix, &config.accounts_path(), |records| {
        let known: std::collections::BTreeSet<&Address> = records.iter().map(|r| &r.address).collect();
        let mut fresh = std::collections::BTreeSet::new();
        if let Some(twice) = new.iter().find(|r| known.contains(&r.address) || !fresh.insert(&r.address)) {
            return Err(already(&twice.address));
        }
        records.extend(new);
        Ok(())
    })
}

/// An address that can have an account here, in lower case.
fn new_address(config: &Config, text: &str) -> Result<Address, Failure> {
    let address =
        Address::parse(text).ok_or_else(|| Failure::new(format!("`{text}` is no address; write it as user@{}", config.domains[0])))?;
    if !config.is_local(&address.domain) {
        let domains: Vec<&str> = config.domains.iter().map(String::as_str).collect();
        let hint = nearest(&address.domain, &domains).map_or_else(
            || "; add it to `domains` in the configuration first".into(),
            |n| format!("; did you mean {}@{n}?", address.local),
        );
        return Err(Failure::new(format!("`{}` is not a domain of this server{hint}", address.domain)));
    }
    Ok(Address { local: address.local.to_lowercase().into(), ..address })
}

/// The account that somebody means by its address or its local part.
pub(super) fn existing(accounts: &Accounts, text: &str) -> Result<Arc<Account>, Failure> {
    accounts.named(text).ok_or_else(|| {
        let names: Vec<String> = accounts.all().iter().map(|a| a.name()).collect();
        let hint = nearest(text, &names.iter().map(String::as_str).collect::<Vec<_>>());
        Failure::new(format!("there is no account `{text}`{}", hint.map_or(String::new(), |n| format!("; did you mean {n}?"))))
    })
}

fn new_hash(address: &Address, hash: Option<&str>, console: &mut Console<'_>) -> Result<Hash, Failure> {
    match hash {
        Some(text) => Hash::parse(text).map_err(|e| Failure::new(e.to_string())),
        None => Ok(Hash::of(&console.new_password(&address.to_string())?)),
    }
}

fn not_there(records: &[Record], address: &Address) -> Done {
    if records.iter().any(|r| r.address == *address) { Err(already(address)) } else { Ok(()) }
}

fn already(address: &Address) -> Failure {
    Failure::new(format!("there is an account {address} already; nothing is changed"))
}

fn gone(address: &Address) -> Failure {
    Failure::new(format!("{address} was removed meanwhile"))
}
