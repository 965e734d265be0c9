//! What addresses mean beyond accounts: files of aliases, and the secret of rewritten senders.

use super::file;
use crate::{
    disk::{Disk, Stat},
    sandbox,
};
use config::Config;
use post::{Srs, Target};
use ring::rand::{SecureRandom as _, SystemRandom};
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

/// How deep files that are included may include others.
const DEPTH_MAX: u32 = 8;

/// Bytes of the secret.
const SECRET: usize = 32;

/// A file, and how it was when it was read.
pub(crate) type Seen = (PathBuf, Option<Stat>);

/// What is known of addresses that are no accounts.
#[derive(Debug)]
pub(crate) struct Paths {
    aliases: BTreeMap<String, Vec<Target>>,
    /// Not there if the secret is not.
    pub(crate) srs: Option<Srs>,
}

impl Paths {
    /// Reads what the configuration names. The secret is made if it is not there and `make` says so. `files` gets the files of aliases, also where one of them is wrong.
    ///
    /// # Errors
    /// Says which file is wrong, and where.
    pub(crate) fn load(disk: &dyn Disk, config: &Config, make: bool, files: &mut Vec<Seen>) -> Result<Paths, String> {
        let mut aliases = BTreeMap::new();
        for path in &config.aliases {
            let text = text(disk, path, files)?;
            for alias in post::parse_aliases(&text).map_err(|e| format!("{}:{}: {}", path.display(), e.line, e.why))? {
                let mut to = Vec::new();
                flatten(disk, path, alias.to, 0, &mut to, files)?;
                if aliases.insert(alias.name.clone(), to).is_some() {
                    return Err(format!("{}:{}: `{}` is in another file of aliases too", path.display(), alias.line, alias.name));
                }
            }
        }
        let path = config.srs_secret();
        let secret = secret(disk, &path, make).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Paths { aliases, srs: secret.map(|secret| Srs::new(&secret, config.srs_domain())) })
    }

    /// What an alias says of `name`, `name@domain` or `@domain`, in lower case.
    pub(crate) fn alias(&self, name: &str) -> Option<&Vec<Target>> {
        self.aliases.get(name)
    }
}

/// Puts the targets of included files in the place of their names.
fn flatten(
    disk: &dyn Disk,
    from: &Path,
    targets: Vec<Target>,
    depth: u32,
    into: &mut Vec<Target>,
    files: &mut Vec<Seen>,
) -> Result<(), String> {
    for target in targets {
        match target {
            Target::Include(name) => {
                if depth >= DEPTH_MAX {
                    return Err(format!("{}: files are included more than {DEPTH_MAX} deep", from.display()));
                }
                let path: PathBuf = from.parent().unwrap_or(Path::new("/")).join(name);
                let text = text(disk, &path, files)?;
                let targets = post::parse_included(&text).map_err(|e| format!("{}:{}: {}", path.display(), e.line, e.why))?;
                flatten(disk, &path, targets, depth + 1, into, files)?;
            }
            address => into.push(address),
        }
        if into.len() > post::STEPS_MAX {
            return Err(format!("{}: an alias with more than {} addresses", from.display(), post::STEPS_MAX));
        }
    }
    Ok(())
}

fn text(disk: &dyn Disk, path: &Path, files: &mut Vec<Seen>) -> Result<String, String> {
    // Before it is read: a change in between is noticed as one.
    if !files.iter().any(|(seen, _)| seen == path) {
        files.push((path.to_owned(), disk.stat(path).ok()));
    }
    let bytes = file::read(disk, path).map_err(|e| format!("{}: {}", path.display(), sandbox::explained(path, false, e)))?;
    String::from_utf8(bytes).map_err(|_| format!("{}: the file is not UTF-8", path.display()))
}

fn secret(disk: &dyn Disk, path: &Path, make: bool) -> io::Result<Option<Vec<u8>>> {
    match file::read(disk, path) {
        Ok(bytes) if bytes.len() >= SECRET / 2 => return Ok(Some(bytes)),
        Ok(_) => return Err(io::Error::new(io::ErrorKind::InvalidData, "the secret is too short to be one")),
        Err(error) if error.kind() == io::ErrorKind::NotFound && make => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    let mut bytes = [0; SECRET];
    SystemRandom::new().fill(&mut bytes).map_err(|_| io::Error::other("the system gives no random bytes"))?;
    let text: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    file::replace(disk, path, text.as_bytes())?;
    Ok(Some(text.into_bytes()))
}
