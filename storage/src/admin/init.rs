//! `init`: a configuration, a certificate and a store for a domain, and what is left to do.

use super::{Console, Done, Failure, certificate::self_signed};
use crate::drop;
use config::{Config, cli, is_domain};
use nix::unistd::{Gid, Uid, User, chown};
use std::{
    fs::{DirBuilder, OpenOptions},
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// Where everything is without `--dir`.
const SYSTEM_CONFIG: &str = "/etc/hikyaku/hikyaku.ron";
const SYSTEM_STORE: &str = "/var/lib/hikyaku";

pub(super) fn init(program: &str, init: &cli::Init, file: Option<&Path>, console: &mut Console<'_>) -> Done {
    let domain = init.domain.strip_suffix('.').unwrap_or(&init.domain).to_lowercase();
    if !is_domain(&domain) {
        return Err(Failure::new(format!("`{}` is no domain name", init.domain)));
    }
    let hostname = init.hostname.clone().unwrap_or_else(|| format!("mail.{domain}")).to_lowercase();
    let config_path = match (file, &init.dir) {
        (Some(file), _) => file.into(),
        (None, Some(dir)) => dir.join("hikyaku.ron"),
        (None, None) => PathBuf::from(SYSTEM_CONFIG),
    };
    let config_path = std::path::absolute(&config_path).map_err(|e| Failure::at(&config_path, e))?;
    if config_path.exists() {
        return Err(Failure::at(&config_path, "this file exists already; nothing is changed"));
    }
    let owner = if init.dir.is_none() { Some(owner(&init.user)?) } else { None };
    let base = config_path.parent().unwrap_or(Path::new("/"));
    let text = text(&domain, &hostname, owner.as_ref().map(|u| &*u.name));
    // What is written here must be what is read later, so it is read first.
    let config = config::parse(&config_path.to_string_lossy(), &text)?.rooted(base);

    directory(base, 0o755, None)?;
    // Users pass it on their way to the drop folder; what else is in it is closed to them.
    directory(&config.store, 0o711, owner.as_ref())?;
    // So that programs can send from now on; the server takes it in when it begins.
    let folder = config.store.join(drop::FOLDER);
    drop::prepare(&folder).map_err(|e| Failure::at(&folder, e))?;
    give(&folder, owner.as_ref())?;
    let pair = &config.certificates[0];
    if !pair.chain.exists() && !pair.key.exists() {
        self_signed(&[config.hostname(), &domain], &pair.chain, &pair.key, super::now())?;
        give(&pair.key, owner.as_ref())?;
    }
    let mut out =
        OpenOptions::new().write(true).create_new(true).mode(0o644).open(&config_path).map_err(|e| Failure::at(&config_path, e))?;
    out.write_all(text.as_bytes()).and_then(|()| out.sync_all()).map_err(|e| Failure::at(&config_path, e))?;
    let say =
        if config_path == Path::new(SYSTEM_CONFIG) { program.into() } else { format!("{program} --config {}", config_path.display()) };
    Ok(console.out.write_all(next_steps(&say, &domain, &config, &config_path, init.dir.is_some()).as_bytes())?)
}

/// The user the server will be, who must exist: it owns the store.
fn owner(name: &str) -> Result<User, Failure> {
    if !Uid::effective().is_root() {
        return Err(Failure::new("only root can set up a server for the whole machine; use --dir DIR for one of your own"));
    }
    let found = User::from_name(name).map_err(|e| Failure::new(format!("user {name}: {e}")))?;
    found.ok_or_else(|| {
        Failure::new(format!(
            "there is no user `{name}` for the server to be; make one, then try again:\n  \
             useradd --system --home-dir {SYSTEM_STORE} --shell /usr/sbin/nologin {name}"
        ))
    })
}

/// Makes the store of a configuration that was written by hand, if it is not there: whoever adds accounts first finds no place for them otherwise.
pub(super) fn store(config: &Config) -> Done {
    let user = config.user.as_deref().filter(|_| Uid::effective().is_root());
    let owner = user.and_then(|name| User::from_name(name).ok().flatten());
    // What is wrong with the user is said by who becomes it.
    if user.is_some() && owner.is_none() { Ok(()) } else { directory(&config.store, 0o711, owner.as_ref()) }
}

fn directory(path: &Path, mode: u32, owner: Option<&User>) -> Done {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(mode).create(path).map_err(|e| Failure::at(path, e))?;
    give(path, owner)
}

fn give(path: &Path, owner: Option<&User>) -> Done {
    let (uid, gid): (Option<Uid>, Option<Gid>) = (owner.map(|u| u.uid), owner.map(|u| u.gid));
    if owner.is_some() { chown(path, uid, gid).map_err(|e| Failure::at(path, e)) } else { Ok(()) }
}

fn text(domain: &str, hostname: &str, user: Option<&str>) -> String {
    let stays_root = if Uid::effective().is_root() {
        "\n    // Whom to become once the ports are bound. Better name somebody else, and let the store belong to them.\n    user: \"root\",\n"
    } else {
        ""
    };
    let (place, listen) = match user {
        Some(user) => (
            format!(
                "    // Where mail, spool and accounts are.\n    store: \"{SYSTEM_STORE}\",\n\n    \
                 // Whom to become once the ports are bound.\n    user: \"{user}\",\n"
            ),
            "    // Where to listen. Without this list: all standard ports (25, 465, 587, 143, 993, 110, 995) on all addresses.\n    \
             // listen: [\n    //     (on: \"0.0.0.0:25\", speak: Smtp),\n    //     (on: \"0.0.0.0:993\", speak: Imap, tls: Implicit),\n    // ],\n"
                .to_owned(),
        ),
        None => (
            format!("    // Where mail, spool and accounts are; relative to this file.\n    store: \"store\",\n{stays_root}"),
            "    // Where to listen: ports that need no root, for this machine only. Put 0.0.0.0 or [::] to be reached from outside;\n    \
             // without this list, all standard ports (25, 465, 587, 143, 993, 110, 995) on all addresses.\n    listen: [\n        \
             (on: \"127.0.0.1:2525\", speak: Smtp),\n        \
             (on: \"127.0.0.1:2587\", speak: Submission),\n        \
             (on: \"127.0.0.1:2465\", speak: Submission, tls: Implicit),\n        \
             (on: \"127.0.0.1:2143\", speak: Imap),\n        \
             (on: \"127.0.0.1:2993\", speak: Imap, tls: Implicit),\n        \
             (on: \"127.0.0.1:2110\", speak: Pop3),\n        \
             (on: \"127.0.0.1:2995\", speak: Pop3, tls: Implicit),\n    ],\n"
                .to_owned(),
        ),
    };
    format!(
        "// Hikyaku. docs/configuration.md explains every field; what is not here has a default that works.\n\
         (\n    \
         // The domains whose mail is delivered here.\n    domains: [\"{domain}\"],\n\n    \
         // The name of this host, as DNS knows it.\n    hostname: \"{hostname}\",\n\n\
         {place}\n    \
         // Replace these by a certificate that clients trust; they are read again on SIGHUP.\n    \
         certificates: [(chain: \"tls/cert.pem\", key: \"tls/key.pem\")],\n\n\
         {listen}\n    \
         // Who gets mail for postmaster; the first account if not given.\n    // postmaster: \"you@{domain}\",\n\n    \
         limits: (\n        // Largest message, in bytes.\n        message: 104_857_600,\n    ),\n)\n"
    )
}

fn next_steps(say: &str, domain: &str, config: &Config, path: &Path, own: bool) -> String {
    let host = config.hostname();
    let unit = if own {
        String::new()
    } else {
        format!(
            "\n\
             Start it with the machine (systemd), as /etc/systemd/system/hikyaku.service:\n\n  \
             [Unit]\n  After=network.target\n  [Service]\n  ExecStart={say} serve\n  ExecReload=/bin/kill -HUP $MAINPID\n  Restart=on-failure\n  \
             LimitNOFILE=65536\n  [Install]\n  WantedBy=multi-user.target\n"
        )
    };
    format!(
        "{} is written. Next:\n\n  \
         {say} account add you@{domain}\n  \
         {say} check\n  \
         {say} serve\n\n\
         The certificate {} signs itself; replace it and its key by one that clients trust.\n\n\
         What DNS should say (put the addresses of this machine, and let their reverse name be {host}):\n\n  \
         {host}.  A     192.0.2.1\n  \
         {host}.  AAAA  2001:db8::1\n  \
         {domain}.  MX    10 {host}.\n  \
         {domain}.  TXT   \"v=spf1 mx -all\"\n  \
         _submissions._tcp.{domain}.  SRV  0 1 465 {host}.\n  \
         _imaps._tcp.{domain}.  SRV  0 1 993 {host}.\n  \
         _pop3s._tcp.{domain}.  SRV  0 1 995 {host}.\n{unit}",
        path.display(),
        config.certificates[0].chain.display(),
    )
}
