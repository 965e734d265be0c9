//! The drop folder: where programs of this host leave mail whether or not the server runs, and from where it is taken in.
//!
//! Everybody may create a file there and nobody may list it (mode 1733), so no program needs another's rights. A file is written and flushed under a name that is
//! not looked at (`.new-`), renamed, and the folder flushed; then its mail is promised. Its name is random, so that those who may not list cannot
//! read it, although the server's user must. Whose mail it is says the owner of the file, not what is in it.
//!
//! A file goes after its mail is durable in the log, whose record has the name of the file. So after a crash in between, or if the file cannot be removed, it is
//! known to be taken. The log keeps telling of it until its removal is durable.

use crate::disk::{Disk, File, Posix, Stat};
use mail::{Address, Envelope, Notify, Recipient, Ret};
use rustix::fs::Mode;
use std::{
    collections::BTreeSet,
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
/// Files that are taken in at one time; the rest waits for the next.
const BATCH: usize = 1000;
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
    /// Names whose trouble is in the log of this run.
    told: BTreeSet<Vec<u8>>,
    /// A flush of the folder failed: what was removed before may come back whatever a later flush says.
    doubtful: bool,
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

    /// Takes in what lies in the folder, the oldest names first. What `take` fails at stays for the next time. Gives how many were taken.
    ///
    /// # Errors
    /// If the folder cannot be listed or flushed.
    pub fn take_in(&self, disk: &dyn Disk, largest: u64, now_s: i64, take: Take<'_>) -> io::Result<usize> {
        let _alone = self.alone.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut names, mut drafts) = (BTreeSet::new(), BTreeSet::new());
        disk.list(&self.dir, &mut |name| {
            if name.starts_with(NEW.as_bytes()) {
                drafts.insert(name.to_vec());
            } else if !name.starts_with(b".") && !name.ends_with(BAD.as_bytes()) {
                names.insert(name.to_vec());
            }
        })?;
        self.state().told.retain(|name| names.contains(name) || drafts.contains(name));
        let mut gone: Vec<Box<str>> = self.taken().into_iter().filter(|name| !names.contains(name.as_bytes())).collect();
        let mut count = 0;
        for name in &names {
            if count == BATCH {
                break;
            }
            let path = self.dir.join(OsStr::from_bytes(name));
            match self.take_one(disk, name, &path, largest, take) {
                Ok(new) => {
                    count += usize::from(new);
                    match disk.unlink(&path) {
                        Err(error) if error.kind() != io::ErrorKind::NotFound => {
                            self.complain(name, &error, "a file of the drop folder was taken in and cannot be removed");
                        }
                        _ => gone.extend(str::from_utf8(name).ok().map(Into::into)),
                    }
                }
                Err(error) if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::FileTooLarge) => {
                    self.complain(name, &error, "a file of the drop folder is no mail that can be taken; it is put aside");
                    let mut aside = path.clone().into_os_string();
                    aside.push(BAD);
                    if let Err(error) = disk.rename(&path, Path::new(&aside)) {
                        tracing::debug!(path = %path.display(), %error, "it cannot be put aside");
                    }
                }
                // Whose it is took it back.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => self.complain(name, &error, "a file of the drop folder cannot be taken in now"),
            }
        }
        for name in drafts {
            let path = self.dir.join(OsStr::from_bytes(&name));
            let is_old = |stat: Stat| now_s.saturating_sub(i64::try_from(stat.modified_ns / 1_000_000_000).unwrap_or(i64::MAX)) > STALE_S;
            if disk.stat(&path).is_ok_and(is_old)
                && let Err(error) = disk.unlink(&path)
            {
                self.complain(&name, &error, "what a program of this host did not finish cannot be removed");
            }
        }
        if gone.is_empty() || self.state().doubtful {
            return Ok(count);
        }
        let flushed = disk.sync_dir(&self.dir);
        let mut state = self.state();
        match &flushed {
            Ok(()) => gone.iter().for_each(|name| _ = state.taken.remove(name)),
            Err(_) => state.doubtful = true,
        }
        flushed.map(|()| count)
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

    /// Says once in a run what is wrong with a file.
    fn complain(&self, name: &[u8], error: &io::Error, what: &str) {
        if self.state().told.insert(name.to_vec()) {
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
}
