//! The drop folder: where programs of this host leave mail whether or not the server runs, and from where it is taken in.
//!
//! Everybody may create a file there and nobody may list it (mode 1733), so no program needs another's rights. A file is written and flushed under a name that is
//! not looked at (`.new-`), renamed, and the folder flushed; then its mail is promised. Its name is random, so that those who may not list cannot
//! read it, although the server's user must. Whose mail it is says the owner of the file, not what is in it.
//!
//! A file goes after its mail is durable in the log. Whoever pulls the plug in between gets it twice; lost it is never.

use crate::disk::Disk;
use mail::{Address, Envelope, Notify, Recipient, Ret};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use std::{
    ffi::OsStr,
    fs::File,
    io::{self, BufRead as _, BufReader, Read, Seek as _, Write},
    os::unix::ffi::OsStrExt as _,
    path::Path,
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

/// What a file says besides its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Who left it: the owner of the file.
    pub uid: u32,
    /// From whom and for whom, and what they wish.
    pub envelope: Envelope,
    /// Whether it was said to be 8-bit.
    pub eight_bit: bool,
}

/// Makes the folder.
///
/// # Errors
/// If it cannot be made, or not be given its mode.
pub fn prepare(dir: &Path) -> io::Result<()> {
    match rustix::fs::mkdir(dir, Mode::RWXU) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    // mkdir(2) heeds the umask, chmod(2) does not.
    Ok(rustix::fs::chmod(dir, Mode::from_raw_mode(0o1733))?)
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

/// Reads the envelope; the message follows.
fn read_envelope(uid: u32, file: &mut dyn io::BufRead) -> io::Result<Letter> {
    let bad = || io::Error::from(io::ErrorKind::InvalidData);
    let mut letter = Letter { uid, envelope: Envelope::default(), eight_bit: false };
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
            "envid" if rest.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) => letter.envelope.wishes.envid = Some(rest.into()),
            "body" => letter.eight_bit = true,
            "notify" => notify = Notify(rest.parse().ok().filter(|bits| *bits < 16).ok_or_else(bad)?),
            "orcpt" if rest.contains(';') && !rest.contains(char::is_control) => original = Some(rest.into()),
            "to" => {
                let address = address().ok_or_else(bad)?;
                letter.envelope.recipients.push(Recipient { address, notify: std::mem::take(&mut notify), original: original.take() });
            }
            "" => break,
            _ => return Err(bad()),
        }
    }
    if letter.envelope.recipients.is_empty() { Err(bad()) } else { Ok(letter) }
}

/// Takes in what lies in the folder, the oldest names first. `take` makes a letter and its message durable; what it fails at stays for the next time. Gives how
/// many were taken.
///
/// # Errors
/// If the folder cannot be listed.
pub fn take_in(
    disk: &dyn Disk,
    dir: &Path,
    largest: u64,
    take: &mut dyn FnMut(&Letter, &mut dyn Read) -> io::Result<()>,
) -> io::Result<usize> {
    let mut names: Vec<Vec<u8>> = Vec::new();
    disk.list(dir, &mut |name| {
        if !name.starts_with(b".") && !name.ends_with(BAD.as_bytes()) {
            names.push(name.to_vec());
        }
    })?;
    names.sort();
    let mut taken = 0;
    for name in names.into_iter().take(BATCH) {
        let path = dir.join(OsStr::from_bytes(&name));
        match take_one(&path, largest, take) {
            Ok(()) => {
                disk.unlink(&path)?;
                taken += 1;
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::FileTooLarge) => {
                tracing::error!(path = %path.display(), %error, "a file of the drop folder is no mail that can be taken; it is put aside");
                let mut aside = path.clone().into_os_string();
                aside.push(BAD);
                disk.rename(&path, Path::new(&aside))?;
            }
            Err(error) => tracing::error!(path = %path.display(), %error, "a file of the drop folder cannot be taken in now"),
        }
    }
    if taken > 0 {
        disk.sync_dir(dir)?;
    }
    Ok(taken)
}

fn take_one(path: &Path, largest: u64, take: &mut dyn FnMut(&Letter, &mut dyn Read) -> io::Result<()>) -> io::Result<()> {
    // What is no file of its own is not followed and not waited for: a link would send somebody else's.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(CWD, path, flags, Mode::empty()).map_err(|error| match error {
        rustix::io::Errno::LOOP | rustix::io::Errno::ACCESS | rustix::io::Errno::NXIO => io::Error::new(io::ErrorKind::InvalidData, error),
        error => error.into(),
    })?;
    let stat = rustix::fs::fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || stat.st_nlink != 1 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a file of its own"));
    }
    let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
    if size > largest.saturating_add(ENVELOPE_MAX) {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut file = BufReader::new(File::from(file));
    let mut letter = read_envelope(stat.st_uid, &mut file)?;
    // Few programs say that a message is 8-bit.
    let at = file.stream_position()?;
    while !letter.eight_bit {
        let piece = file.fill_buf()?;
        if piece.is_empty() {
            break;
        }
        letter.eight_bit = !piece.is_ascii();
        let n = piece.len();
        file.consume(n);
    }
    file.seek(io::SeekFrom::Start(at))?;
    take(&letter, &mut file.take(size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Posix;
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
        Letter { uid: rustix::process::getuid().as_raw(), envelope, eight_bit: true }
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
        let mut take = |letter: &Letter, message: &mut dyn Read| {
            let mut text = String::new();
            message.read_to_string(&mut text)?;
            if text == "two\n" && seen.len() == 1 {
                seen.push((letter.clone(), String::new()));
                return Err(io::ErrorKind::StorageFull.into());
            }
            seen.push((letter.clone(), text));
            Ok(())
        };
        assert_eq!(take_in(&Posix, &dir, 1000, &mut take).unwrap(), 1);
        assert_eq!(take_in(&Posix, &dir, 1000, &mut take).unwrap(), 1);
        assert_eq!(take_in(&Posix, &dir, 1000, &mut take).unwrap(), 0);
        let texts: Vec<&str> = seen.iter().map(|(_, text)| &**text).collect();
        assert_eq!(texts, ["one\n", "", "two\n"]);
        assert_eq!(seen[0].0, letter());
        fs::remove_dir_all(dir).unwrap();
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
        let taken = take_in(&Posix, &dir, 1000, &mut |_, _| panic!("nothing is to be taken")).unwrap();
        assert_eq!(taken, 0);
        for name in 1..=7 {
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
