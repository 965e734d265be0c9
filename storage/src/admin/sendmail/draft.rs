//! A file of the drop folder while it is written.

use crate::drop::{self, Letter, NEW};
use ::ring::rand::{SecureRandom as _, SystemRandom};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, connect, socket};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// A message that is being left: nobody looks at it before [`Draft::leave`], and it goes if it is dropped before that.
pub(super) struct Draft {
    dir: PathBuf,
    name: String,
    out: BufWriter<File>,
    remove: Remove,
    /// Bytes that the message may still have.
    room: u64,
}

impl Draft {
    /// Begins with the envelope; a message of at most `largest` bytes follows.
    ///
    /// # Errors
    /// `InvalidInput` if the envelope cannot be written down, otherwise what the disk says.
    pub(super) fn begin(dir: &Path, letter: &Letter, largest: u64) -> io::Result<Draft> {
        if letter.envelope.recipients.len() > queue::REMOTES_MAX {
            let error = format!("more than {} recipients; send it in parts", queue::REMOTES_MAX);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, error));
        }
        let mut random = [0; 16];
        SystemRandom::new().fill(&mut random).map_err(|_| io::Error::other("the system gives no random bytes"))?;
        let name = format!("{:x}-{:032x}", super::super::now().seconds, u128::from_ne_bytes(random));
        let new = dir.join(format!("{NEW}{name}"));
        // The server's user reads it; others would have to guess its name.
        let file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&new)?;
        let remove = Remove(new);
        rustix::fs::fchmod(&file, rustix::fs::Mode::from_raw_mode(0o644))?;
        let mut out = BufWriter::new(file);
        drop::write_envelope(letter, &mut out)?;
        Ok(Draft { dir: dir.into(), name, out, remove, room: largest })
    }

    /// Its name in the folder.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Leaves it. When this returns without an error, it survives a power cut.
    ///
    /// # Errors
    /// What the disk says. If the name was there already, the message may be taken in all the same.
    pub(super) fn leave(self) -> io::Result<()> {
        let file = self.out.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        fs::rename(&self.remove.0, self.dir.join(&self.name))?;
        std::mem::forget(self.remove);
        sync_name(&self.dir, &file)?;
        // Whether it runs or not: it looks every second anyway.
        if let Err(error) = ring(&self.dir, &self.name) {
            tracing::debug!(%error, "the server does not hear that something was left");
        }
        Ok(())
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.room = self.room.checked_sub(bytes.len() as u64).ok_or_else(|| {
            // The server would put it aside, and nobody would know.
            io::Error::new(io::ErrorKind::FileTooLarge, "the message is larger than `limits.message`")
        })?;
        self.out.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Tells the server what was left, and does not wait for its answer.
fn ring(dir: &Path, name: &str) -> io::Result<()> {
    let address = SocketAddrUnix::new(dir.with_file_name(drop::BELL))?;
    let fd = socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
    // A server that hangs has a full backlog, and would be waited for.
    rustix::io::ioctl_fionbio(&fd, true)?;
    connect(&fd, &address)?;
    let request = http::client::request(http::Method::Post, "/drop", name.as_bytes());
    rustix::io::write(&fd, &request)?;
    Ok(())
}

/// Makes the name durable. Who may not list a folder cannot open it to flush it; then everything is flushed.
fn sync_name(dir: &Path, file: &File) -> io::Result<()> {
    match File::open(dir) {
        Ok(dir) => dir.sync_all(),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            #[cfg(target_os = "linux")]
            rustix::fs::syncfs(file)?;
            #[cfg(not(target_os = "linux"))]
            {
                file.sync_all()?;
                rustix::fs::sync();
            }
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Takes a file away that did not get its name.
struct Remove(PathBuf);

impl Drop for Remove {
    fn drop(&mut self) {
        // Nobody looks at it under this name, so it does no harm if it stays.
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Posix;
    use mail::{Address, Envelope};
    use nix::unistd::Uid;

    #[test]
    fn what_is_left_can_be_taken_in() {
        let dir = std::env::temp_dir().join(format!("hikyaku-draft-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        drop::prepare(&dir).unwrap();
        let mut envelope = Envelope { recipients: vec![Address::new("b", "x.test").into()], ..Envelope::default() };
        envelope.recipients[0].original = Some("rfc822;B@x.test".into());
        let mut letter = Letter { uid: Uid::current().as_raw(), envelope, eight_bit: false, verp: false };
        let mut draft = Draft::begin(&dir, &letter, 3).unwrap();
        draft.write_all(b"hi\n").unwrap();
        draft.leave().unwrap();
        let mut large = Draft::begin(&dir, &letter, 3).unwrap();
        assert_eq!(large.write_all(b"high").unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        drop(large);
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1, "what failed leaves nothing");
        let mut seen = 0;
        let taken = drop::Folder::new(dir.clone()).take_in(&Posix, 100, 0, &mut |_, taken, message| {
            let mut text = String::new();
            message.read_to_string(&mut text)?;
            assert_eq!((taken, &*text), (&letter, "hi\n"));
            seen += 1;
            Ok(())
        });
        assert_eq!((taken.unwrap(), seen), (1, 1));
        letter.envelope.recipients = vec![Address::new("b", "x.test").into(); queue::REMOTES_MAX + 1];
        assert_eq!(Draft::begin(&dir, &letter, 3).err().unwrap().kind(), io::ErrorKind::InvalidInput);
        fs::remove_dir_all(dir).unwrap();
    }
}
