//! `check`: everything that can be found wrong without serving, in one run.

use super::{Console, Done, Failure, Source, certificate::end_of, now};
use crate::{
    account::Accounts,
    disk::{Disk as _, Posix},
    mailbox,
    means::{self, Needs},
    process, sandbox, tls,
};
use config::Config;
use nix::unistd::{Group, Uid, User};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use std::{
    fmt::Display,
    fs, io,
    net::TcpListener,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

/// A certificate that ends within so many seconds is worth a word: two weeks.
const SOON: i64 = 14 * 86_400;

/// What was found, in order.
struct Findings {
    lines: Vec<(Grade, String)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Grade {
    Good,
    Worth,
    Bad,
}

pub(super) fn check(path: &Path, needs: Needs, console: &mut Console<'_>) -> Done {
    let config = Source::File(path.into()).read()?;
    let mut found = Findings { lines: Vec::new() };
    found.good(path.display(), "the configuration is right");
    if fs::metadata(path).is_ok_and(|facts| facts.mode() & 0o004 == 0) {
        found.worth(path.display(), "other users may not read it, so their programs cannot send by sendmail; it should hold no secret");
    }
    accounts(&config, &mut found);
    certificates(&config, &mut found);
    store(&config, &mut found);
    file_systems(&config, &mut found);
    privileges(&config, &mut found);
    memory(&config, needs, &mut found);
    ports(&config, &mut found);
    control(&config, &mut found);
    let bad = found.lines.iter().filter(|(g, _)| *g == Grade::Bad).count();
    for (grade, line) in found.lines {
        let word = match grade {
            Grade::Good => "ok     ",
            Grade::Worth => "notice ",
            Grade::Bad => "WRONG  ",
        };
        writeln!(console.out, "{word}{}", line.replace('\n', "\n       "))?;
    }
    console.out.flush()?;
    match bad {
        0 => Ok(()),
        1 => Err(Failure::new("1 thing is wrong")),
        n => Err(Failure::new(format!("{n} things are wrong"))),
    }
}

fn accounts(config: &Config, found: &mut Findings) {
    let path = config.accounts_path();
    let accounts = match Accounts::load(Arc::new(Posix), config) {
        Ok(accounts) => accounts.all(),
        Err(error) => return found.bad("accounts", error),
    };
    for a in accounts.iter().filter(|a| !config.is_local(&a.address.domain)) {
        found.worth(&a.address, format!("gets no mail: {} is not among `domains`", a.address.domain));
    }
    if accounts.is_empty() {
        found.worth(path.display(), "there are no accounts yet; add one with `hikyaku account add ADDRESS`");
    } else {
        found.good(path.display(), format!("{} accounts", accounts.len()));
    }
    private(config, &path, found);
    maildirs(config, accounts.iter().map(|a| a.maildir.as_path()), found);
}

/// Maildirs that the server would not use, because somebody else may write there.
fn maildirs<'a>(config: &Config, maildirs: impl Iterator<Item = &'a Path>, found: &mut Findings) {
    let user = config.user.as_deref().and_then(|name| User::from_name(name).ok().flatten());
    let uid = user.map_or(Uid::effective(), |user| user.uid).as_raw();
    let Some(disk) = Posix.careful() else { return };
    for maildir in maildirs {
        disk.confine(maildir);
        for path in [maildir.to_owned(), maildir.join("cur"), maildir.join("new"), maildir.join("tmp")] {
            match disk.stat(&path) {
                Ok(stat) => {
                    let Some(why) = mailbox::objection(&path, &stat, uid) else { continue };
                    found.bad(maildir.display(), format!("this Maildir is not used: {why}"));
                }
                // It is made when the first mail comes.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                // The server may be allowed what whoever checks is not.
                Err(error) => found.worth(maildir.display(), format!("{}: {error}", path.display())),
            }
            break;
        }
    }
}

fn certificates(config: &Config, found: &mut Findings) {
    if config.certificates.is_empty() {
        let word = if config.plaintext_logins { "passwords travel in the clear" } else { "nobody can log in" };
        found.worth("certificates", format!("there are none, so there is no TLS and {word}"));
    }
    let now = now().seconds;
    for certificate in &config.certificates {
        let chain = certificate.chain.display();
        if let Err(error) = tls::load(std::slice::from_ref(certificate)) {
            found.bad("certificate", error);
            continue;
        }
        let end = CertificateDer::from_pem_file(&certificate.chain).ok().and_then(|der| end_of(&der));
        match end.map(|end| (end - now, mail::Stamp::utc(end).internal().to_string())) {
            None => found.worth(chain, "it cannot be told when this certificate ends"),
            Some((left, date)) if left < 0 => found.bad(chain, format!("this certificate ended on {date}")),
            Some((left, date)) if left < SOON => found.worth(chain, format!("this certificate ends soon, on {date}")),
            Some((_, date)) => found.good(chain, format!("valid until {date}")),
        }
        private(config, &certificate.key, found);
    }
}

fn store(config: &Config, found: &mut Findings) {
    let (path, name) = (&config.store, config.store.display());
    let facts = match std::fs::metadata(path) {
        Ok(facts) if facts.is_dir() => facts,
        Ok(_) => return found.bad(name, "the store is no directory"),
        Err(error) => return found.bad(name, error),
    };
    let user = match config.user.as_deref().map(|u| (u, User::from_name(u))) {
        Some((name, Ok(None))) => return found.bad("user", format!("there is no user `{name}`")),
        Some((name, Err(error))) => return found.bad("user", format!("{name}: {error}")),
        Some((_, Ok(user))) => user,
        None => None,
    };
    let before = found.lines.len();
    let uid = user.as_ref().map_or(Uid::effective(), |u| u.uid);
    if facts.uid() != uid.as_raw() && !uid.is_root() {
        let whom = user.map_or_else(|| uid.to_string(), |u| u.name);
        found.bad(&name, format!("the store does not belong to {whom}, whom the server will be"));
    }
    // To pass it they may: the drop folder is in it.
    if facts.mode() & 0o066 != 0 {
        found.worth(&name, format!("others may look into the store (mode {:o}); 711 is better", facts.mode() & 0o777));
    }
    if facts.mode() & 0o001 == 0 {
        let mode = facts.mode() & 0o777;
        found.worth(
            &name,
            format!("other users may not pass the store (mode {mode:o}), so their programs cannot send by sendmail; 711 lets them"),
        );
    }
    if facts.mode() & 0o700 != 0o700 {
        found.bad(&name, format!("its owner may not use the store (mode {:o})", facts.mode() & 0o777));
    }
    if found.lines.len() == before {
        found.good(name, "the store can be used");
    }
}

/// Where mail lies, and how it is made durable there.
fn file_systems(config: &Config, found: &mut Findings) {
    let mut seen = std::collections::BTreeMap::new();
    // What is wrong with the accounts was told already.
    let accounts = Accounts::load(Arc::new(Posix), config).map_or_else(|_| Vec::new(), |accounts| accounts.all());
    let maildirs: Vec<PathBuf> = accounts.iter().map(|a| a.maildir.clone()).collect();
    for dir in [config.store.clone(), config.store.join("mail")].into_iter().chain(maildirs) {
        // A Maildir that is not there yet will be on the file system of what is.
        let Some((there, stat)) = dir.ancestors().find_map(|dir| Some((dir, Posix.stat(dir).ok()?))) else { continue };
        seen.entry(stat.device).or_insert_with(|| there.to_owned());
    }
    for there in seen.into_values() {
        match fs::canonicalize(&there).and_then(|dir| Posix.volume(&dir)) {
            Ok(_) => found.good(there.display(), "this file system is synced as a whole, and tells of writes that failed"),
            Err(error) if error.kind() == io::ErrorKind::Unsupported => found.worth(
                there.display(),
                "this file system does not tell of writes that failed when it is synced as a whole, so each file is synced: slower, and as safe",
            ),
            Err(error) => found.bad(there.display(), error),
        }
    }
}

/// Whom the server becomes, and what holds it then.
fn privileges(config: &Config, found: &mut Findings) {
    match config.user.as_deref() {
        None if Uid::effective().is_root() => {
            found.bad("user", "root starts no server whose configuration does not say whom to become; give `user`");
        }
        Some("root") => {
            found.worth("user", "the server stays root, and a mistake in it may cost the whole machine; give it a user of its own")
        }
        _ => {}
    }
    match sandbox::lacks() {
        _ if !config.sandbox => found.worth("sandbox", "the server does not close itself in"),
        Some(lacks) => found.worth("sandbox", format!("the server cannot close itself in entirely: {lacks}")),
        None => found.good("sandbox", "the server can close itself in"),
    }
}

/// What a server would have that is started as this command was.
fn memory(config: &Config, needs: Needs, found: &mut Findings) {
    let listeners = config.listeners().len();
    match means::foresee(needs, listeners) {
        Ok(None) => {}
        Ok(Some(means)) if means.places(listeners) >= config.limits.connections => found.good("memory", means),
        Ok(Some(means)) => {
            let (places, wanted) = (means.places(listeners), config.limits.connections);
            found.worth("memory", format!("started so, {means}: {places} to each listener instead of {wanted}"));
        }
        Err(error) => found.bad("memory", error),
    }
}

fn control(config: &Config, found: &mut Findings) {
    let group = config.control.group.as_deref().map(|name| (name, Group::from_name(name)));
    match group {
        Some((name, Ok(None))) => found.bad("control", format!("there is no group `{name}`")),
        Some((name, Err(error))) => found.bad("control", format!("{name}: {error}")),
        Some((name, Ok(Some(_)))) if config.control_socket().starts_with(&config.store) => {
            found.worth(
                "control",
                format!("members of `{name}` cannot enter the store, where the socket is; give `control.socket` another place"),
            );
        }
        Some((_, Ok(Some(_)))) | None => {}
    }
    if let Some(on) = config.control.metrics.filter(|on| !on.ip().is_loopback()) {
        found.worth("control", format!("metrics are shown to everybody who can connect to {on}"));
    }
}

fn ports(config: &Config, found: &mut Findings) {
    let before = found.lines.len();
    let listeners = config.listeners();
    for l in &listeners {
        match TcpListener::bind(l.on) {
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::AddrInUse => found.worth(l.on, "the port is taken; is the server running?"),
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
                found.worth(l.on, "only root may listen here; the server must be started as root")
            }
            // A machine without IPv6 serves its IPv4.
            Err(e) if config.listen.is_empty() && process::has_no_ipv6(&e) => found.worth(l.on, e),
            Err(e) => found.bad(l.on, e),
        }
    }
    if found.lines.len() == before {
        found.good("listen", format!("{} ports are free", listeners.len()));
    }
}

/// A file that holds secrets should be its owner's only, who should be the user of the server.
fn private(config: &Config, path: &Path, found: &mut Findings) {
    let user = config.user.as_deref().and_then(|name| User::from_name(name).ok().flatten()).filter(|u| !u.uid.is_root());
    if let (Some(user), Ok(facts)) = (user, std::fs::metadata(path)) {
        let by_group = facts.gid() == user.gid.as_raw() && facts.mode() & 0o040 != 0;
        if facts.uid() != user.uid.as_raw() && !by_group && facts.mode() & 0o004 == 0 {
            // It may be in another of the file's groups, which only the system can tell.
            found.worth(path.display(), format!("{} must be able to read this file again on SIGHUP", user.name));
        }
    }
    if let Ok(facts) = std::fs::metadata(path)
        && facts.mode() & 0o077 != 0
    {
        let mode = facts.mode() & 0o777;
        let grade = if mode & 0o007 != 0 { Grade::Bad } else { Grade::Worth };
        found.add(grade, path.display(), format!("others may read this file (mode {mode:o}); chmod 600 it"));
    }
}

impl Findings {
    fn good(&mut self, what: impl Display, word: impl Display) {
        self.add(Grade::Good, what, word);
    }

    fn worth(&mut self, what: impl Display, word: impl Display) {
        self.add(Grade::Worth, what, word);
    }

    fn bad(&mut self, what: impl Display, word: impl Display) {
        self.add(Grade::Bad, what, word);
    }

    fn add(&mut self, grade: Grade, what: impl Display, word: impl Display) {
        self.lines.push((grade, format!("{what}: {word}")));
    }
}
