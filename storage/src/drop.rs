//! The drop folder: where programs of this host leave mail whether or not the server runs, and from where it is taken in.
//!
//! Everybody may create a file there and nobody may list it (mode 1733), so no program needs another's rights. A file is written and flushed under a name that is
//! not looked at (`.new-`), renamed, and the folder flushed; then its mail is promised. Its name is random, so that those who may not list cannot
//! read it, although the server's user must. Whose mail it is says the owner of the file, not what is in it.
//!
//! A file goes after its mail is durable in the log, whose record has the name of the file. So after a crash in between, or if the file cannot be removed, it is
//! known to be taken. The log keeps telling of it until its removal is durable.

use crate::{
    disk::{Disk, File, Posix, Stat},
    supervise::guarded,
};
use mail::{Address, Envelope, Notify, Recipient, Ret};
use rustix::fs::Mode;
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    io::{self, BufRead as _, BufReader, Read, Write},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// The first line of a file.
const MAGIC: &str = "hikyaku drop 1";
/// Longest envelope, in bytes: ten thousand recipients.
const ENVELOPE_MAX: u64 = 4 << 20;
/// Its name in the store.
pub const FOLDER: &str = "drop";
/// The socket in the store where the server hears that something was left.
pub const BELL: &str = "drop.sock";
/// Before the name of a file that is being written.
pub const NEW: &str = ".new-";
/// Behind the name of a file that cannot be taken in. It stays for the operator.
const BAD: &str = ".bad";
/// Files that are looked at at one time; the rest waits for the next.
const BATCH: usize = 1000;
/// Names that may be looked at in a second, on average: where there are more, it is looked less often, but at least so often, in seconds.
const LOOKED_AT_A_SECOND: i64 = 20_000;
const LOOK_REST_MAX_S: i64 = 60;
/// How often, in seconds, it is looked for drafts that nobody goes on with.
const DRAFTS_EVERY_S: u64 = 3600;
/// Files that failed and are remembered. Others are tried each time, a batch at a time.
const AGAIN_MAX: usize = 10_000;
/// How often a file that failed is tried without a rest; then each rest is twice the one before, up to one of these, in seconds: for what may pass, and for what
/// somebody has to look at.
const AT_ONCE: u32 = 3;
const REST_S: i64 = 60;
const REST_LONG_S: i64 = 3600;
/// A file at which it panics more often is put aside.
const PANICS_MAX: u32 = 5;
/// The longest name of what is put aside: far from what a file system allows.
const ASIDE_MAX: usize = 100;
/// Seconds after which nobody goes on with a file that is being written: a job that says nothing for so long is told when it ends that its message was not
/// taken.
const STALE_S: i64 = 5 * 86_400;

/// Longest id of an envelope (RFC 3461 §4.4) and longest original recipient (§4.2): what is longer, no record holds.
const ENVID_MAX: usize = 100;
const ORCPT_MAX: usize = 500;

/// What a file says besides its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Who left it: the owner of the file.
    pub uid: u32,
    /// From whom and for whom, and what they wish.
    pub envelope: Envelope,
    /// Whether it was said to be 8-bit.
    pub eight_bit: bool,
    /// Whether each recipient elsewhere gets a sender that names it (VERP).
    pub verp: bool,
}

/// Makes the folder.
///
/// # Errors
/// If it cannot be made, not be given its mode, or its own name not be made durable: then what is left in it would be lost with it.
pub fn prepare(dir: &Path) -> io::Result<()> {
    match rustix::fs::mkdir(dir, Mode::RWXU) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    // mkdir(2) heeds the umask, chmod(2) does not.
    rustix::fs::chmod(dir, Mode::from_raw_mode(0o1733))?;
    Posix.sync_dir(dir.parent().unwrap_or(dir))
}

/// Writes the envelope; the message follows it, with LF line ends.
///
/// # Errors
/// If it cannot be written, or holds a line end.
pub fn write_envelope(letter: &Letter, out: &mut dyn Write) -> io::Result<()> {
    let mut text = format!("{MAGIC}\n");
    let mut line = |words: String| {
        if words.contains(['\n', '\r', '\0']) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a line end in an address"));
        }
        text += &words;
        text.push('\n');
        Ok(())
    };
    let Envelope { sender, recipients, wishes } = &letter.envelope;
    if let Some(Address { local, domain }) = sender {
        line(format!("from {domain} {local}"))?;
    }
    match wishes.ret {
        Some(Ret::Full) => line("ret full".into())?,
        Some(Ret::Headers) => line("ret headers".into())?,
        None => {}
    }
    if let Some(envid) = &wishes.envid {
        line(format!("envid {envid}"))?;
    }
    if letter.eight_bit {
        line("body 8bit".into())?;
    }
    if letter.verp {
        line("verp".into())?;
    }
    for Recipient { address: Address { local, domain }, notify, original } in recipients {
        if !notify.is_unsaid() {
            line(format!("notify {}", notify.0))?;
        }
        if let Some(original) = original {
            line(format!("orcpt {original}"))?;
        }
        line(format!("to {domain} {local}"))?;
    }
    text.push('\n');
    out.write_all(text.as_bytes())
}

/// Reads the envelope. Returns where the message begins.
fn read_envelope(uid: u32, file: &mut dyn io::BufRead) -> io::Result<(Letter, u64)> {
    let bad = || io::Error::from(io::ErrorKind::InvalidData);
    let mut letter = Letter { uid, envelope: Envelope::default(), eight_bit: false, verp: false };
    let mut lines = Read::take(file, ENVELOPE_MAX);
    let mut line = String::new();
    let (mut notify, mut original) = (Notify::default(), None);
    for n in 0.. {
        line.clear();
        lines.read_line(&mut line)?;
        let text = line.strip_suffix('\n').ok_or_else(bad)?;
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        let address = || rest.split_once(' ').filter(|(domain, _)| !domain.is_empty()).map(|(domain, local)| Address::new(local, domain));
        match word {
            _ if n == 0 => {
                if text != MAGIC {
                    return Err(bad());
                }
            }
            "from" => letter.envelope.sender = Some(address().ok_or_else(bad)?),
            "ret" => letter.envelope.wishes.ret = Some(if rest == "full" { Ret::Full } else { Ret::Headers }),
            "envid" if rest.len() <= ENVID_MAX && rest.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) => {
                letter.envelope.wishes.envid = Some(rest.into())
            }
            "body" => letter.eight_bit = true,
            "verp" => letter.verp = true,
            "notify" => notify = Notify(rest.parse().ok().filter(|bits| *bits < 16).ok_or_else(bad)?),
            "orcpt" if rest.len() <= ORCPT_MAX && rest.contains(';') && !rest.contains(char::is_control) => original = Some(rest.into()),
            "to" => {
                let address = address().ok_or_else(bad)?;
                letter.envelope.recipients.push(Recipient { address, notify: std::mem::take(&mut notify), original: original.take() });
            }
            "" => break,
            _ => return Err(bad()),
        }
    }
    if letter.envelope.recipients.is_empty() { Err(bad()) } else { Ok((letter, ENVELOPE_MAX - lines.limit())) }
}

/// What makes a letter of that name and its message durable, together with the name.
pub type Take<'a> = &'a mut dyn FnMut(&str, &Letter, &mut dyn Read) -> io::Result<()>;

/// The folder, and which of its files were taken in.
#[derive(Debug)]
pub struct Folder {
    dir: PathBuf,
    /// Held while files are taken in: two at a time would take the same.
    alone: Mutex<()>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Taken in, and their names may still be there after a crash. The log has to tell of them.
    taken: BTreeSet<Box<str>>,
    /// What failed, and rests.
    again: BTreeMap<Vec<u8>, Again>,
    /// After which name it goes on.
    from: Vec<u8>,
    /// The same of drafts, and when they were last looked through.
    drafts_from: Vec<u8>,
    drafts_at_s: i64,
    /// When the folder is looked through next.
    look_at_s: i64,
    /// A flush of the folder failed: what was removed before may come back whatever a later flush says.
    doubtful: bool,
}

/// A file that failed.
#[derive(Debug, Default)]
struct Again {
    tries: u32,
    /// When it is tried next.
    at_s: i64,
}

impl Again {
    fn is_due(&self, now_s: i64) -> bool {
        // Nothing rests for longer than that: the clock was set.
        now_s >= self.at_s || self.at_s - now_s > REST_LONG_S
    }
}

impl State {
    fn is_due(&self, name: &[u8], now_s: i64) -> bool {
        self.again.get(name).is_none_or(|again| again.is_due(now_s))
    }

    fn tries(&self, name: &[u8]) -> u32 {
        self.again.get(name).map_or(0, |again| again.tries)
    }
}

/// What is to be done next.
#[derive(Default)]
struct Found {
    names: BTreeSet<Vec<u8>>,
    drafts: BTreeSet<Vec<u8>>,
    /// Of those that were taken in, which are still there.
    taken: BTreeSet<Box<str>>,
}

/// Whether a file of that name may be mail.
fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && !name.starts_with(b".") && !name.ends_with(BAD.as_bytes())
}

/// Adds a name, and keeps the least so many.
fn keep_least(names: &mut BTreeSet<Vec<u8>>, name: &[u8], most: usize) {
    if names.len() < most || names.last().is_some_and(|last| name < &last[..]) {
        names.insert(name.to_vec());
        if names.len() > most {
            names.pop_last();
        }
    }
}

impl Folder {
    /// Of the store's.
    pub fn new(dir: PathBuf) -> Folder {
        Folder { dir, alone: Mutex::default(), state: Mutex::default() }
    }

    /// A file was taken in: the log says so.
    pub fn note(&self, name: &str) {
        self.state().taken.insert(name.into());
    }

    /// Files that were taken in and may still be there, or again.
    pub fn taken(&self) -> Vec<Box<str>> {
        self.state().taken.iter().cloned().collect()
    }

    /// Takes in what lies in the folder: some of it, the rest the next time, from where this stopped. What `take` fails at stays for later, and rests the
    /// longer the more often it failed. Gives how many were taken.
    ///
    /// # Errors
    /// If the folder cannot be listed or flushed.
    pub fn take_in(&self, disk: &dyn Disk, largest: u64, now_s: i64, take: Take<'_>) -> io::Result<usize> {
        let _alone = self.alone.lock().unwrap_or_else(PoisonError::into_inner);
        if (1..=LOOK_REST_MAX_S).contains(&(self.state().look_at_s - now_s)) {
            return Ok(0);
        }
        let found = self.look(disk, now_s)?;
        let mut gone: Vec<Box<str>> = self.taken().into_iter().filter(|name| !found.taken.contains(name)).collect();
        let mut count = 0;
        for name in &found.names {
            count += usize::from(self.deal_with(disk, name, largest, now_s, take, &mut gone));
        }
        for name in &found.drafts {
            let path = self.dir.join(OsStr::from_bytes(name));
            let is_old = |stat: Stat| now_s.saturating_sub(i64::try_from(stat.modified_ns / 1_000_000_000).unwrap_or(i64::MAX)) > STALE_S;
            if disk.stat(&path).is_ok_and(is_old)
                && let Err(error) = disk.unlink(&path)
            {
                self.put_off(name, now_s, REST_LONG_S, &error, "what a program of this host did not finish cannot be removed");
            }
        }
        self.flush(disk, &gone).map(|()| count)
    }

    /// Takes in one file, whose name somebody says: nobody has to look for it among what others left.
    ///
    /// # Errors
    /// If the folder cannot be flushed.
    pub fn take_named(&self, disk: &dyn Disk, name: &[u8], largest: u64, now_s: i64, take: Take<'_>) -> io::Result<()> {
        if !is_name(name) || name.contains(&b'/') || !self.state().is_due(name, now_s) {
            return Ok(());
        }
        let _alone = self.alone.lock().unwrap_or_else(PoisonError::into_inner);
        let mut gone = Vec::new();
        self.deal_with(disk, name, largest, now_s, take, &mut gone);
        self.flush(disk, &gone)
    }

    /// Finds what is to be done next. However many names there are, little of them is kept.
    fn look(&self, disk: &dyn Disk, now_s: i64) -> io::Result<Found> {
        let mut found = Found::default();
        let mut put_off = BTreeSet::new();
        let mut state = self.state();
        // Drafts are there for days before they are removed, so that is seldom looked for; nobody waits for it.
        let drafts_too = now_s.abs_diff(state.drafts_at_s) >= DRAFTS_EVERY_S;
        let (from, drafts_from) = (state.from.clone(), state.drafts_from.clone());
        let taken: BTreeSet<Box<str>> = state.taken.clone();
        let resting: BTreeSet<Vec<u8>> =
            state.again.iter().filter(|(_, again)| !again.is_due(now_s)).map(|(name, _)| name.clone()).collect();
        let known: BTreeSet<Vec<u8>> = state.again.keys().cloned().collect();
        drop(state);
        let mut beyond = BTreeSet::new();
        let mut seen = 0;
        disk.list(&self.dir, &mut |name| {
            seen += 1;
            if known.contains(name) {
                put_off.insert(name.to_vec());
            }
            if name.starts_with(NEW.as_bytes()) {
                if drafts_too && name > &drafts_from[..] && !resting.contains(name) {
                    keep_least(&mut found.drafts, name, BATCH);
                }
            } else if is_name(name) {
                if let Some(name) = str::from_utf8(name).ok().filter(|name| taken.contains(*name)) {
                    found.taken.insert(name.into());
                }
                if !resting.contains(name) {
                    keep_least(if name > &from[..] { &mut beyond } else { &mut found.names }, name, BATCH);
                }
            }
        })?;
        // After the last name come the first again.
        let room = BATCH - beyond.len();
        found.names = beyond.into_iter().chain(std::mem::take(&mut found.names).into_iter().take(room)).collect();
        state = self.state();
        // Much that is there costs little time: who rings for a file of theirs does not wait for this.
        state.look_at_s = now_s + (seen / LOOKED_AT_A_SECOND).min(LOOK_REST_MAX_S);
        state.again.retain(|name, _| put_off.contains(name));
        state.from = if found.names.len() == BATCH { found.names.last().cloned().unwrap_or_default() } else { Vec::new() };
        if drafts_too {
            let is_over = found.drafts.len() < BATCH;
            state.drafts_from = if is_over { Vec::new() } else { found.drafts.last().cloned().unwrap_or_default() };
            state.drafts_at_s = if is_over { now_s } else { state.drafts_at_s };
        }
        Ok(found)
    }

    /// Takes in a file or puts it aside. Says whether it was taken in; a name that is not there any more is added to `gone`.
    fn deal_with(&self, disk: &dyn Disk, name: &[u8], largest: u64, now_s: i64, take: Take<'_>, gone: &mut Vec<Box<str>>) -> bool {
        let path = self.dir.join(OsStr::from_bytes(name));
        let taken = guarded("drop folder", || self.take_one(disk, name, &path, largest, take));
        // It may have panicked when it was taken in already.
        let is_in = || str::from_utf8(name).is_ok_and(|name| self.state().taken.contains(name));
        let taken = match taken {
            Some(taken) => taken,
            None if is_in() => Ok(true),
            None if self.state().tries(name) >= PANICS_MAX => Err(io::Error::new(io::ErrorKind::InvalidData, "whoever reads it panics")),
            None => Err(io::Error::other("whoever reads it panics")),
        };
        match taken {
            Ok(new) => {
                match disk.unlink(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        self.put_off(name, now_s, REST_LONG_S, &error, "a file of the drop folder was taken in and cannot be removed");
                    }
                    _ => gone.extend(str::from_utf8(name).ok().map(Into::into)),
                }
                return new;
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::FileTooLarge) => {
                let what = "a file of the drop folder is no mail that can be taken; it is put aside";
                if let Err(error) = self.put_aside(disk, name, &path, &error, what) {
                    self.put_off(name, now_s, REST_LONG_S, &error, "a file of the drop folder is no mail, and cannot be put aside");
                }
            }
            // Whose it is took it back.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => self.put_off(name, now_s, REST_S, &error, "a file of the drop folder cannot be taken in now"),
        }
        false
    }

    /// Gives a file a name that is not looked at: its own with a suffix, or a short one of ours if that is too long or there already.
    fn put_aside(&self, disk: &dyn Disk, name: &[u8], path: &Path, why: &io::Error, what: &str) -> io::Result<()> {
        let own = [name, BAD.as_bytes()].concat();
        let number = disk.stat(path).map_or(0, |stat| stat.inode);
        let short = format!("{number:x}{BAD}");
        let mut done = Err(io::ErrorKind::InvalidFilename.into());
        for aside in [&own[..], short.as_bytes()] {
            let to = self.dir.join(OsStr::from_bytes(aside));
            if done.is_err() && aside.len() <= ASIDE_MAX && disk.stat(&to).is_err() {
                done = disk.rename(path, &to);
                tracing::error!(file = %name.escape_ascii(), aside = %aside.escape_ascii(), error = %why, "{what}");
            }
        }
        done
    }

    /// Makes it durable that these names are gone.
    fn flush(&self, disk: &dyn Disk, gone: &[Box<str>]) -> io::Result<()> {
        if gone.is_empty() || self.state().doubtful {
            return Ok(());
        }
        let flushed = disk.sync_dir(&self.dir);
        let mut state = self.state();
        match &flushed {
            Ok(()) => gone.iter().for_each(|name| _ = state.taken.remove(name)),
            Err(_) => state.doubtful = true,
        }
        flushed
    }

    /// Takes a file in, unless it was before. Returns whether it had to.
    fn take_one(&self, disk: &dyn Disk, name: &[u8], path: &Path, largest: u64, take: Take<'_>) -> io::Result<bool> {
        let name = str::from_utf8(name).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        if self.state().taken.contains(name) {
            return Ok(false);
        }
        let (file, left) = disk.open_left(path)?;
        // Another name of a file may be somebody else's wish to send it.
        if !left.is_file || left.links != 1 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not a file of its own"));
        }
        if left.len > largest.saturating_add(ENVELOPE_MAX) {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let from = |at| BufReader::new(Bytes { file: &*file, at, end: left.len });
        let mut bytes = from(0);
        let (mut letter, at) = read_envelope(left.uid, &mut bytes)?;
        // Before anything else of it is read.
        let Envelope { sender, recipients, .. } = &letter.envelope;
        if recipients.iter().map(|r| &r.address).chain(sender).any(|address| smtp::path(&address.to_string()).is_none()) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "an address that no command can hold"));
        }
        if recipients.len() > queue::REMOTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "more recipients than one message may have"));
        }
        // Few programs say that a message is 8-bit.
        while !letter.eight_bit {
            let piece = bytes.fill_buf()?;
            if piece.is_empty() {
                break;
            }
            letter.eight_bit = !piece.is_ascii();
            let n = piece.len();
            bytes.consume(n);
        }
        take(name, &letter, &mut from(at))?;
        self.note(name);
        Ok(true)
    }

    /// Lets a file rest, and says what is wrong with it the first time.
    fn put_off(&self, name: &[u8], now_s: i64, longest_s: i64, error: &io::Error, what: &str) {
        let mut state = self.state();
        if state.again.len() >= AGAIN_MAX && !state.again.contains_key(name) {
            return;
        }
        let again = state.again.entry(name.to_vec()).or_default();
        again.tries += 1;
        again.at_s = now_s + if again.tries > AT_ONCE { (1 << (again.tries - AT_ONCE).min(20)).min(longest_s) } else { 0 };
        let is_new = again.tries == 1;
        drop(state);
        if is_new {
            tracing::error!(file = %name.escape_ascii(), %error, "{what}");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bytes of a file from one place to another.
struct Bytes<'a> {
    file: &'a dyn File,
    at: u64,
    end: u64,
}

impl Read for Bytes<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(buf.len());
        let n = self.file.read_at(&mut buf[..room], self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("hikyaku-drop-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        prepare(&dir).unwrap();
        dir
    }

    fn letter() -> Letter {
        let mut envelope = Envelope { sender: Address::parse("a@x.test"), ..Envelope::default() };
        envelope.recipients.push(Address::new("b c", "y.test").into());
        envelope.recipients.push(Recipient { notify: Notify::DELAY, ..Address::new("d", "z.test").into() });
        envelope.wishes.ret = Some(Ret::Headers);
        envelope.wishes.envid = Some("1 2".into());
        Letter { uid: rustix::process::getuid().as_raw(), envelope, eight_bit: true, verp: true }
    }

    fn put(dir: &Path, name: &str, text: &[u8]) {
        let mut bytes = Vec::new();
        write_envelope(&letter(), &mut bytes).unwrap();
        bytes.extend_from_slice(text);
        fs::write(dir.join(name), bytes).unwrap();
    }

    #[test]
    fn what_was_left_is_taken_once() {
        let dir = scratch("once");
        assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o7777, 0o1733);
        put(&dir, "2", b"two\n");
        put(&dir, "1", b"one\n");
        put(&dir, ".new-3", b"not yet\n");
        let mut seen = Vec::new();
        let folder = Folder::new(dir.clone());
        let mut take = |_: &str, letter: &Letter, message: &mut dyn Read| {
            let mut text = String::new();
            message.read_to_string(&mut text)?;
            if text == "two\n" && seen.len() == 1 {
                seen.push((letter.clone(), String::new()));
                return Err(io::ErrorKind::StorageFull.into());
            }
            seen.push((letter.clone(), text));
            Ok(())
        };
        for count in [1, 1, 0] {
            assert_eq!(folder.take_in(&Posix, 1000, 0, &mut take).unwrap(), count);
            assert!(folder.taken().is_empty(), "their names are gone for good");
        }
        let texts: Vec<&str> = seen.iter().map(|(_, text)| &**text).collect();
        assert_eq!(texts, ["one\n", "", "two\n"]);
        assert_eq!(seen[0].0, letter());
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn what_nobody_finished_goes_after_some_days() {
        let dir = scratch("stale");
        for (name, seconds) in [(".new-old", 1000), (".new-young", 2000)] {
            put(&dir, name, b"half\n");
            Posix.set_modified(&dir.join(name), seconds).unwrap();
        }
        let taken = Folder::new(dir.clone()).take_in(&Posix, 1000, 1500 + STALE_S, &mut |_, _, _| panic!("nothing is to be taken"));
        assert_eq!((taken.unwrap(), dir.join(".new-old").exists(), dir.join(".new-young").exists()), (0, false, true));
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn words_that_no_record_holds_are_no_letter() {
        for (word, most) in [("envid ", ENVID_MAX), ("orcpt x;", ORCPT_MAX - 2)] {
            for (len, taken) in [(most, true), (most + 1, false), (100_000, false)] {
                let text = format!("{MAGIC}\n{word}{}\nto x.test a\n\n", "A".repeat(len));
                assert_eq!(read_envelope(0, &mut text.as_bytes()).is_ok(), taken, "{word}{len}");
            }
        }
    }

    #[test]
    fn what_is_no_letter_is_put_aside() {
        let dir = scratch("bad");
        fs::write(dir.join("1"), "hello\n").unwrap();
        fs::write(dir.join("2"), format!("{MAGIC}\n\nno recipient\n")).unwrap();
        fs::write(dir.join("3"), format!("{MAGIC}\nto x.test a")).unwrap();
        put(&dir, "4", b"linked\n");
        fs::hard_link(dir.join("4"), dir.join(".other")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", dir.join("5")).unwrap();
        put(&dir, "6", &[b'x'; 6 << 20]);
        fs::create_dir(dir.join("7")).unwrap();
        // Whoever opens a pipe that nobody writes to waits for ever.
        nix::unistd::mkfifo(&dir.join("8"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let taken = Folder::new(dir.clone()).take_in(&Posix, 1000, 0, &mut |_, _, _| panic!("nothing is to be taken")).unwrap();
        assert_eq!(taken, 0);
        for name in 1..=8 {
            assert!(dir.join(format!("{name}.bad")).symlink_metadata().is_ok(), "{name}");
        }
        assert!(
            write_envelope(
                &Letter {
                    envelope: Envelope { recipients: vec![Address::new("a\nfrom x", "y").into()], ..Envelope::default() },
                    ..letter()
                },
                &mut Vec::new()
            )
            .is_err()
        );
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_name_that_is_too_long_and_one_that_is_there_are_put_aside_under_short_ones() {
        let dir = scratch("names");
        let long = "x".repeat(255);
        fs::write(dir.join(&long), "no mail").unwrap();
        fs::write(dir.join("1"), "no mail").unwrap();
        // Whoever made it can keep a file from its place.
        fs::create_dir(dir.join("1.bad")).unwrap();
        let folder = Folder::new(dir.clone());
        folder.take_in(&Posix, 1000, 0, &mut |_, _, _| panic!("nothing is to be taken")).unwrap();
        assert!(!dir.join(long).exists() && !dir.join("1").exists());
        let aside = fs::read_dir(&dir).unwrap().filter(|entry| entry.as_ref().unwrap().file_name().as_bytes().ends_with(b".bad"));
        assert_eq!(aside.count(), 3);
        assert!(folder.state().again.is_empty());
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn what_fails_rests_and_what_panics_is_put_aside() {
        let dir = scratch("rest");
        put(&dir, "1", b"fails\n");
        put(&dir, "2", b"panics\n");
        put(&dir, "3", b"fine\n");
        let folder = Folder::new(dir.clone());
        let mut tries = BTreeMap::<String, u32>::new();
        let mut take = |name: &str, _: &Letter, _: &mut dyn Read| {
            *tries.entry(name.to_owned()).or_default() += 1;
            match name {
                "1" => Err(io::ErrorKind::StorageFull.into()),
                "2" => std::panic::resume_unwind(Box::new("a letter at which somebody panics")),
                _ => Ok(()),
            }
        };
        for second in 0..1000 {
            assert_eq!(folder.take_in(&Posix, 1000, second, &mut take).unwrap(), usize::from(second == 0));
        }
        // At once, then with rests of 2, 4, 8, 16, 32, and 60 from then on.
        assert!(tries["1"] < 30 && tries["2"] == PANICS_MAX + 1 && tries["3"] == 1, "{tries:?}");
        assert!(dir.join("1").exists() && dir.join("2.bad").exists() && !dir.join("3").exists());
        // Whoever says its name does not end its rest.
        let (before, mut called) = (dir.join("1").exists(), 0);
        folder
            .take_named(&Posix, b"1", 1000, 1000, &mut |_, _, _| {
                called += 1;
                Ok(())
            })
            .unwrap();
        assert!(before && called == 0);
        put(&dir, "4", b"named\n");
        folder
            .take_named(&Posix, b"4", 1000, 1000, &mut |_, _, _| {
                called += 1;
                Ok(())
            })
            .unwrap();
        assert!(called == 1 && !dir.join("4").exists());
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn however_much_lies_there_a_look_takes_some_of_it() {
        let dir = scratch("much");
        for n in 0..3000 {
            put(&dir, &format!("{n:05}"), b"x\n");
        }
        let folder = Folder::new(dir.clone());
        let counts: Vec<usize> = (0..4).map(|second| folder.take_in(&Posix, 1000, second, &mut |_, _, _| Ok(())).unwrap()).collect();
        assert_eq!(counts, [BATCH, BATCH, BATCH, 0]);
        fs::remove_dir_all(dir).unwrap();
    }
}
