//! The accounts file: RON of its own shape, replaced as a whole and never half.

use super::hash::{Hash, HashError};
use crate::disk::{Disk, How, Stat};
use config::{
    ConfigError, Problem,
    Step::{Field, Item},
    parse_as,
};
use mail::Address;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt::{self, Write as _},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

/// The shape of the file that this program writes; it reads no other.
const VERSION: u32 = 1;
/// Largest file: some hundred thousand accounts.
const FILE_BYTES_MAX: u64 = 128 << 20;
/// How long a change waits for another program's change, in steps of [`LOCK_STEP`].
const LOCK_TRIES: u32 = 250;
const LOCK_STEP: Duration = Duration::from_millis(20);

/// An account as it is kept. `Debug` hides the hash.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// Where its mail comes, in lower case.
    pub address: Address,
    /// Of its password.
    pub hash: Hash,
    /// Its Maildir, if not where the configuration says; below the store unless absolute.
    pub maildir: Option<PathBuf>,
    /// Bytes of mail it may hold, 0 for no limit, if not what the configuration says.
    pub quota: Option<u64>,
    /// Whether nobody may log in. Mail still arrives.
    pub disabled: bool,
    /// Where it wants its mail besides, or instead if no copy is kept.
    pub forward: Vec<Address>,
    /// Whether a copy of what is forwarded stays.
    pub keep: bool,
}

/// Why the file could not be read or changed.
#[derive(Debug)]
pub enum FileError {
    /// The disk refused.
    Io(PathBuf, io::Error),
    /// It says something wrong; the hashes in the lines shown are masked.
    Text(ConfigError),
    /// Somebody else is changing it all the time.
    Busy(PathBuf),
}

/// On disk. Apart from [`Record`], so that the file's shape changes only on purpose.
#[derive(Deserialize)]
#[serde(rename = "Accounts", deny_unknown_fields)]
struct Text {
    version: u32,
    accounts: Vec<Line>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename = "Account", deny_unknown_fields)]
struct Line {
    address: String,
    hash: String,
    #[serde(default)]
    maildir: Option<PathBuf>,
    #[serde(default)]
    quota: Option<u64>,
    #[serde(default)]
    disabled: bool,
    #[serde(default)]
    forward: Vec<String>,
    #[serde(default = "yes")]
    keep: bool,
}

fn yes() -> bool {
    true
}

impl Record {
    /// With everything as the configuration says.
    pub fn new(address: Address, hash: Hash) -> Record {
        Record { address, hash, maildir: None, quota: None, disabled: false, forward: Vec::new(), keep: true }
    }
}

/// Reads the file, and what stat(2) said of it before. A file that is not there holds no accounts.
///
/// # Errors
/// If it cannot be read, or says something wrong.
pub fn load(disk: &dyn Disk, path: &Path) -> Result<(Vec<Record>, Option<Stat>), FileError> {
    let fail = |e| FileError::Io(path.into(), e);
    let stat = match disk.stat(path) {
        Ok(stat) => stat,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), None)),
        Err(e) => return Err(fail(e)),
    };
    let bytes = read(disk, path).map_err(fail)?;
    let text = String::from_utf8(bytes).map_err(|_| fail(io::Error::new(io::ErrorKind::InvalidData, "the file is not UTF-8")))?;
    Ok((parse(&path.to_string_lossy(), &text)?, Some(stat)))
}

/// Lets `edit` change the accounts and writes them back: a new file, synced, takes the place of the old one, so that a crash leaves the one
/// or the other. Two programs never change it at a time.
///
/// # Errors
/// If it cannot be read or written; or whatever `edit` says, and nothing is written then.
pub fn change<T, E: From<FileError>>(disk: &dyn Disk, path: &Path, edit: impl FnOnce(&mut Vec<Record>) -> Result<T, E>) -> Result<T, E> {
    let _lock = lock(disk, &beside(path, ".lock"))?;
    let (mut records, _) = load(disk, path)?;
    let done = edit(&mut records)?;
    replace(disk, path, print(&records).as_bytes()).map_err(|e| FileError::Io(path.into(), e))?;
    Ok(done)
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?}, disabled: {})", self.address, self.hash, self.disabled)
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileError::Io(path, error) => write!(f, "{}: {error}", path.display()),
            FileError::Text(error) => error.fmt(f),
            FileError::Busy(path) => write!(f, "{}: another program holds the lock", path.display()),
        }
    }
}

impl std::error::Error for FileError {}

fn parse(file: &str, text: &str) -> Result<Vec<Record>, FileError> {
    let masked = |mut error: ConfigError| {
        for problem in &mut error.problems {
            problem.text = mask(&problem.text);
        }
        FileError::Text(error)
    };
    let fail = |problems| masked(ConfigError { file: file.into(), problems });
    let whole: Text = parse_as(file, text).map_err(masked)?;
    if whole.version != VERSION {
        let message = format!("version {} of this file is not known here; this program knows {VERSION}", whole.version);
        return Err(fail(vec![Problem::on(text, &[Field("version")], message)]));
    }
    let mut problems = Vec::new();
    let mut records: Vec<Record> = Vec::with_capacity(whole.accounts.len());
    let mut seen: BTreeMap<Address, usize> = BTreeMap::new();
    for (i, line) in whole.accounts.into_iter().enumerate() {
        let mut say = |field, message: String| problems.push(Problem::on(text, &[Field("accounts"), Item(i), Field(field)], message));
        let address = Address::parse(&line.address).map(|a| canonical(&a));
        match (&address, Hash::parse(&line.hash)) {
            (None, _) => say("address", "this is no address".into()),
            (Some(address), _) if seen.contains_key(address) => {
                say("address", format!("this account is given twice; it is also number {}", seen[address] + 1));
            }
            (_, Err(e @ (HashError::Unknown | HashError::TooDear))) => say("hash", e.to_string()),
            (Some(address), Ok(hash)) => {
                seen.insert(address.clone(), i);
                let Line { maildir, quota, disabled, forward, keep, .. } = line;
                let mut to = Vec::with_capacity(forward.len());
                for text in forward {
                    match Address::parse(&text) {
                        Some(address) => to.push(address),
                        None => say("forward", format!("`{text}` is no address")),
                    }
                }
                records.push(Record { address: address.clone(), hash, maildir, quota, disabled, forward: to, keep });
            }
        }
    }
    if problems.is_empty() { Ok(records) } else { Err(fail(problems)) }
}

/// As accounts are compared: all in lower case. No other server is known to tell `Alice` from `alice`.
pub(crate) fn canonical(address: &Address) -> Address {
    Address { local: address.local.to_lowercase().into(), domain: address.domain.to_lowercase().into() }
}

fn print(records: &[Record]) -> String {
    let mut out = String::from(
        "// The accounts of Hikyaku. `hikyaku account` changes this file and keeps no comments; a running server sees changes by itself.\n",
    );
    let quoted = |text: &str| ron::to_string(text).expect("a string can be written");
    let _ = writeln!(out, "(\n    version: {VERSION},\n    accounts: [");
    for r in records {
        let _ = write!(
            out,
            "        (address: {}, hash: {}",
            quoted(&format!("{}@{}", r.address.local, r.address.domain)),
            quoted(r.hash.reveal())
        );
        if let Some(maildir) = &r.maildir {
            let _ = write!(out, ", maildir: {}", quoted(&maildir.to_string_lossy()));
        }
        if let Some(quota) = r.quota {
            let _ = write!(out, ", quota: {quota}");
        }
        if r.disabled {
            out.push_str(", disabled: true");
        }
        if !r.forward.is_empty() {
            let to: Vec<String> = r.forward.iter().map(|a| quoted(&format!("{}@{}", a.local, a.domain))).collect();
            let _ = write!(out, ", forward: [{}]", to.join(", "));
        }
        if !r.keep {
            out.push_str(", keep: false");
        }
        out.push_str("),\n");
    }
    out.push_str("    ],\n)\n");
    out
}

/// A line without its hash: everything in quotes behind `hash` becomes stars, one for a character, so that a caret stays where it is.
fn mask(line: &str) -> String {
    let Some(start) = line.find("hash").and_then(|h| line[h..].find('"').map(|q| h + q + 1)) else {
        // Without the word it may be the rest of a broken string.
        return if line.contains(['$', '{']) { line.chars().map(|_| '*').collect() } else { line.to_owned() };
    };
    let end = line[start..].find('"').map_or(line.len(), |e| start + e);
    let stars: String = line[start..end].chars().map(|_| '*').collect();
    format!("{}{stars}{}", &line[..start], &line[end..])
}

/// The bytes of a file that is not too large to be one of these.
pub(crate) fn read(disk: &dyn Disk, path: &Path) -> io::Result<Vec<u8>> {
    let file = disk.open(path, How::Read)?;
    let len = file.len()?;
    if len > FILE_BYTES_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut bytes = vec![0; usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?];
    let mut at = 0;
    while at < bytes.len() {
        match file.read_at(&mut bytes[at..], at as u64)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => at += n,
        }
    }
    Ok(bytes)
}

/// Puts a whole new file in the place of an old one, durably.
pub(crate) fn replace(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = beside(path, ".new");
    match disk.unlink(&new) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let file = disk.open(&new, How::Create)?;
    file.append(bytes)?;
    file.sync()?;
    disk.rename(&new, path)?;
    disk.sync_dir(path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")))
}

fn lock(disk: &dyn Disk, path: &Path) -> Result<Box<dyn crate::disk::Lock>, FileError> {
    for _ in 0..LOCK_TRIES {
        match disk.lock(path) {
            Ok(lock) => return Ok(lock),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(LOCK_STEP),
            Err(e) => return Err(FileError::Io(path.into(), e)),
        }
    }
    Err(FileError::Busy(path.into()))
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "{SSHA}5en6G6MezRroT3XKqkdPOmY/BfQ=";

    fn record(address: &str) -> Record {
        Record::new(Address::parse(address).unwrap(), Hash::parse(HASH).unwrap())
    }

    #[test]
    fn what_is_printed_is_read() {
        let mut records = vec![record("alice@example.test"), record("b\u{f6}b@example.test"), record("x'y@example.test")];
        records[1].maildir = Some("/home/\"b\\ob/Maildir".into());
        records[2].quota = Some(0);
        records[2].disabled = true;
        records[0].forward = vec![Address::parse("a@b").unwrap(), Address::parse("c@d").unwrap()];
        records[0].keep = false;
        assert_eq!(parse("f", &print(&records)).unwrap(), records);
        assert_eq!(parse("f", &print(&[])).unwrap(), []);
    }

    #[test]
    fn the_manual_shows_a_file() {
        let manual = include_str!("../../../docs/configuration.md");
        let (_, example) = manual.split_once("```accounts\n").unwrap();
        let records = parse("docs/configuration.md", example.split_once("```").unwrap().0).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!((records.len(), records[1].quota, records[2].disabled), (3, Some(1_000_000_000), true));
        assert!(records.iter().all(|r| r.hash.verify("secret")));
    }

    #[test]
    fn errors_show_no_hash() {
        let text = format!("(version: 1, accounts: [\n (address: \"a@x\", hash: \"{HASH}\"),\n (adress: \"a@x\", hash: \"{HASH}\")])");
        let error = parse("f", &text).unwrap_err().to_string();
        assert!(
            error.starts_with("f:3:3: there is no field `adress` here; did you mean `address`?\n 3 |  (adress: \"a@x\", hash: \"****"),
            "{error}"
        );
        let text = format!(
            "(version: 1, accounts: [\n (address: \"A@x\", hash: \"{HASH}\"),\n (address: \"a@X\", hash: \"{HASH}\"),\n (address: \"a\", hash: \"{HASH}\"),\n (address: \"b@x\", hash: \"secret\")])"
        );
        let error = parse("f", &text).unwrap_err().to_string();
        for part in ["f:3:12: this account is given twice; it is also number 1", "f:4:12: this is no address", "f:5:25: not a known hash"] {
            assert!(error.contains(part), "{error}");
        }
        assert!(!error.contains("secret") && !error.contains("5en6"), "{error}");
        for broken in [&text[..text.len() - 40], &text[..60]] {
            let error = parse("f", broken).unwrap_err().to_string();
            assert!(!error.contains("5en6"), "{error}");
        }
        assert!(parse("f", "(version: 2, accounts: [])").unwrap_err().to_string().contains("version 2"));
    }
}
