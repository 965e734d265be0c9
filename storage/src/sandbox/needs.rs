//! Which files a server needs, as a configuration and its accounts tell.

use crate::{account::Accounts, admin::Source, disk::Posix, tls::BUNDLES};
use config::Config;
use std::{
    collections::BTreeSet,
    fs,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

/// What libraries and we read of the system: its configuration, name services and their plugins, authorities, time zones, random numbers, limits.
const SYSTEM: [&str; 12] = [
    "/etc",
    "/usr",
    "/lib",
    "/lib64",
    "/nix/store",
    "/gnu/store",
    "/var/lib/sss",
    "/proc/self",
    "/sys/fs/cgroup",
    "/dev/null",
    "/dev/random",
    "/dev/urandom",
];

/// Its symbolic link leads to where a name service keeps it, which replaces it there.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Paths without symbolic links, each with all that is below it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// To read.
    pub read: BTreeSet<PathBuf>,
    /// To read, write, make and remove. All the same rights, so that a file may be linked from one into another.
    pub write: BTreeSet<PathBuf>,
    /// To make and remove sockets in.
    pub sockets: BTreeSet<PathBuf>,
    /// To remove empty directories from: the store of a demo goes with it.
    pub ends: BTreeSet<PathBuf>,
}

impl Needs {
    /// What a server with this configuration needs.
    ///
    /// A file is read again after it was replaced, which gives it another inode under the same name: so its directory is what is named here, as it is
    /// written and where links lead today (`/etc/letsencrypt/live` leads to `archive`).
    pub fn of(config: &Config, source: &Source) -> Needs {
        let mut needs = Needs { read: SYSTEM.map(PathBuf::from).into(), ..Needs::default() };
        for path in readable(config).chain(match source {
            Source::File(path) => Some(path.clone()),
            Source::Made(_) => None,
        }) {
            needs.read_beside(&path);
        }
        for path in BUNDLES.iter().chain([&RESOLV_CONF]) {
            needs.read_beside(Path::new(path));
        }
        needs.store(&config.store);
        for path in writable(config) {
            needs.write_beside(&path);
        }
        needs.sockets.extend(around(&config.control_socket()));
        if let Source::Made(_) = source {
            needs.ends.extend(around(&config.store));
        }
        // What is wrong with accounts is said by who opens the house.
        for maildir in maildirs(config) {
            if !needs.covers(&maildir, true) {
                needs.write_beside(&maildir);
            }
        }
        needs
    }

    /// Whether a path is among them, or will be once it is made.
    pub fn covers(&self, path: &Path, write: bool) -> bool {
        let path = real(path);
        let mut roots = self.write.iter().chain(self.read.iter().filter(|_| !write));
        roots.any(|root| path.starts_with(root))
    }

    /// The store and where links in it lead: `mail` may be on another disk.
    fn store(&mut self, store: &Path) {
        self.write.insert(real(store));
        for entry in fs::read_dir(store).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
                self.write.insert(real(&entry.path()));
            }
        }
    }

    fn read_beside(&mut self, path: &Path) {
        // Where it is said to be, where it is, and for a directory all that is in it.
        self.read.extend(around(path));
        self.read.extend(fs::canonicalize(path).ok().and_then(|real| around(&real)));
        if path.is_dir() {
            self.read.insert(real(path));
        }
    }

    /// A Maildir may be moved away and back, or be mounted later: what is around it stays.
    fn write_beside(&mut self, path: &Path) {
        self.write.extend(around(&real(path)));
    }
}

/// What of a new configuration cannot be reached.
///
/// # Errors
/// A sentence for the operator.
pub(crate) fn check(config: &Config) -> Result<(), String> {
    if super::REACH.get().is_none() {
        return Ok(());
    }
    readable(config).try_for_each(|path| super::reaches(&path, false))?;
    writable(config).try_for_each(|path| super::reaches(&path, true))?;
    maildirs(config).iter().try_for_each(|path| super::reaches(path, true))
}

fn readable(config: &Config) -> impl Iterator<Item = PathBuf> {
    let outgoing = &config.outgoing;
    let logins = outgoing.routes.iter().filter_map(|route| route.login.as_ref());
    let logins = logins.chain(outgoing.socks5.iter().filter_map(|socks| socks.login.as_ref()));
    let certificates = config.certificates.iter().flat_map(|pair| [&pair.chain, &pair.key]);
    let files = certificates.chain(&config.aliases).chain(&outgoing.trust).chain(&config.reports.templates);
    let files = files.chain(logins.map(|login| &login.password_file)).cloned();
    files.chain([config.accounts_path()]).collect::<Vec<_>>().into_iter()
}

/// Files that are made if they are not there.
fn writable(config: &Config) -> impl Iterator<Item = PathBuf> {
    Some(config.srs_secret()).filter(|path| !path.exists()).into_iter()
}

fn maildirs(config: &Config) -> Vec<PathBuf> {
    let prefix: PathBuf =
        Path::new(&config.maildirs).components().take_while(|part| !part.as_os_str().to_string_lossy().contains('{')).collect();
    let prefix = Some(config.store.join(prefix)).filter(|prefix| *prefix != config.store);
    let accounts = Accounts::load(Arc::new(Posix), config).map(|accounts| accounts.all()).unwrap_or_default();
    // As if it were a Maildir: what is around it is what counts. Of a root of all Maildirs that is itself.
    let prefix = prefix.map(|prefix| prefix.join("x"));
    prefix.into_iter().chain(accounts.iter().map(|account| account.maildir.clone())).collect()
}

/// The directory of a path, or what of it there is; never the root of everything, whose place the path itself takes.
fn around(path: &Path) -> Option<PathBuf> {
    let there = path.ancestors().skip(1).find(|dir| dir.exists())?;
    let there = fs::canonicalize(there).ok()?;
    if there.parent().is_some() { Some(there) } else { Some(path.to_owned()).filter(|path| path.exists()) }
}

/// The path without symbolic links, as far as it is there, and the rest as it is.
fn real(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    let mut rest = Vec::new();
    loop {
        if let Ok(mut there) = fs::canonicalize(&path) {
            there.extend(rest.iter().rev());
            return there;
        }
        match (path.components().next_back(), path.parent()) {
            (Some(Component::Normal(name)), Some(parent)) => {
                rest.push(name.to_owned());
                path = parent.to_owned();
            }
            _ => return path,
        }
    }
}
