//! `sendmail`, `mailq` and `newaliases`: what other programs of this host call to send mail, by these names or as commands.
//!
//! A message always goes into the drop folder ([`crate::drop`]), whether the server runs or not: when this ends with 0, it survives a power cut.

mod args;
mod message;

use super::{Console, Failure, Source, find};
use crate::{
    control::Client,
    drop::{self, Letter, NEW},
};
use args::{Mode, Said};
use config::{Config, cli};
use mail::{Address, Envelope, Recipient};
use message::Lines;
use nix::unistd::{Uid, User};
use ring::rand::{SecureRandom as _, SystemRandom};
use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, BufWriter},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// Codes of sysexits.h, by which programs that call `sendmail` know what to do.
const USAGE: u8 = 64;
const DATA: u8 = 65;
const NO_USER: u8 = 67;
const UNAVAILABLE: u8 = 69;
const TEMPORARY: u8 = 75;
const CONFIG: u8 = 78;

/// Why it ends otherwise than well, with its code.
type Ended = Result<(), (u8, String)>;

/// Whether this is one of the names, called by it or as the first argument; and the arguments that follow.
pub(super) fn called(args: &[OsString]) -> Option<(&'static str, &[OsString])> {
    let name = |arg: &OsString| {
        let base = Path::new(arg).file_name()?;
        ["sendmail", "mailq", "newaliases"].into_iter().find(|known| base == *known)
    };
    let (first, rest) = args.split_first()?;
    match (name(first), rest.split_first()) {
        (Some(known), _) => Some((known, rest)),
        (None, Some((second, rest))) if !second.to_string_lossy().contains('/') => name(second).map(|known| (known, rest)),
        _ => None,
    }
}

/// Does it, and gives the exit code.
pub(super) fn run(name: &str, file: Option<&Path>, args: &[OsString], console: &mut Console<'_>) -> u8 {
    let done = args::read(args).map_err(|error| (USAGE, error)).and_then(|mut said| {
        match name {
            "mailq" => said.mode = Mode::Queue,
            "newaliases" => said.mode = Mode::Aliases,
            _ => {}
        }
        obey(&said, file, console)
    });
    match done {
        Ok(()) => 0,
        Err((code, error)) => {
            // Without standard error the code has to do.
            let _ = writeln!(console.err, "{name}: {error}");
            code
        }
    }
}

fn obey(said: &Said, file: Option<&Path>, console: &mut Console<'_>) -> Ended {
    let path = find(said.config.as_ref().map(Path::new).or(file)).map_err(|e| (CONFIG, e.to_string()))?;
    let config = Source::File(path).read().map_err(|e| (CONFIG, e.to_string()))?;
    let client = Client::new(&config.control_socket());
    let asked = |done: Result<(), Failure>| done.map_err(|e| (UNAVAILABLE, e.to_string()));
    let which = cli::Which::default();
    match said.mode {
        Mode::Send => send(said, &config, console),
        Mode::Queue => asked(super::queue::obey(cli::Queue::List { which, most: u64::from(u32::MAX), json: false }, &client, console)),
        Mode::Flush => asked(super::queue::obey(cli::Queue::Flush { site: None }, &client, console)),
        Mode::Aliases => asked(super::status::reload(&client, console)),
        Mode::Verify => {
            for recipient in &said.recipients {
                let address = one(recipient, &host(&config))?.ok_or_else(|| (USAGE, format!("no address: {recipient}")))?;
                asked(super::trace::explain(&address.to_string(), false, &client, console))?;
            }
            Ok(())
        }
    }
}

/// What stands behind the @ of a name alone: the name of this host if mail for it comes here, else the first domain.
fn host(config: &Config) -> String {
    let own = config.hostname();
    match config.domains.first() {
        Some(first) if !config.domains.iter().any(|domain| domain == own) => first.clone(),
        _ => own.to_owned(),
    }
}

fn one(text: &str, host: &str) -> Result<Option<Address>, (u8, String)> {
    let mut found = message::addresses(text.as_bytes(), host).map_err(|e| (NO_USER, e))?;
    Ok(if found.len() == 1 { found.pop() } else { None })
}

fn send(said: &Said, config: &Config, console: &mut Console<'_>) -> Ended {
    let host = host(config);
    let uid = Uid::current();
    let user = User::from_uid(uid).ok().flatten();
    let login = user.as_ref().map_or_else(|| format!("uid{uid}"), |user| user.name.clone());
    let sender = match said.sender.as_deref() {
        None => Some(Address::new(&login, &host)),
        Some("") => None,
        Some(text) => Some(one(text, &host)?.ok_or_else(|| (USAGE, format!("-f is no address: {text}")))?),
    };
    let mut to = Vec::new();
    for recipient in &said.recipients {
        let found = message::addresses(recipient.as_bytes(), &host).map_err(|e| (NO_USER, e))?;
        if found.is_empty() {
            return Err((NO_USER, format!("no address: {recipient}")));
        }
        to.extend(found);
    }
    if to.is_empty() && !said.from_header {
        return Err((USAGE, "no recipients; name some, or take them from the header with -t".into()));
    }
    let mut lines = Lines::new(&mut *console.input, said.dots);
    let (header, rest) = lines.header().map_err(|e| (DATA, e.to_string()))?;
    if said.from_header {
        to.extend(message::recipients(&header, &host).map_err(|e| (DATA, e))?);
        if to.is_empty() {
            return Err((USAGE, "the header names no recipients".into()));
        }
    }
    let mut recipients: Vec<Recipient> = Vec::new();
    for address in to {
        if !recipients.iter().any(|known| known.address == address) {
            recipients.push(Recipient { address, notify: said.notify, original: None });
        }
    }
    let mut envelope = Envelope { sender, recipients, ..Envelope::default() };
    envelope.wishes.ret = said.ret;
    envelope.wishes.envid = said.envid.as_deref().map(Into::into);
    let letter = Letter { uid: uid.as_raw(), envelope, eight_bit: said.eight_bit };
    let mut header = message::without_bcc(&header);
    if let Some(from) = letter.envelope.sender.as_ref().filter(|_| !mime::fields(&header).any(|field| field.is(b"From"))) {
        let full = said.name.clone().or_else(|| user.map(|user| user.gecos.to_string_lossy().split(',').next().unwrap_or("").to_owned()));
        header = [from_field(full.as_deref().unwrap_or(""), from).as_bytes(), &header].concat();
    }
    let dir = config.store.join(drop::FOLDER);
    leave(&dir, &letter, &mut |out| {
        out.write_all(&header)?;
        out.write_all(&rest)?;
        lines.copy(out)
    })
    .map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => (TEMPORARY, format!("{}: there is no drop folder; the server makes it when it starts", dir.display())),
        io::ErrorKind::PermissionDenied => {
            (TEMPORARY, format!("{}: {error}; users need the right to pass (x) the directories above it", dir.display()))
        }
        io::ErrorKind::InvalidInput => (NO_USER, error.to_string()),
        _ => (TEMPORARY, format!("{}: {error}", dir.display())),
    })?;
    if said.verbose {
        let _ = writeln!(console.err, "taken for {} recipients", letter.envelope.recipients.len());
    }
    Ok(())
}

/// `From:` with a name, quoted if it has to be.
fn from_field(name: &str, address: &Address) -> String {
    let name: String = name.chars().filter(|c| !c.is_control()).collect();
    if name.is_empty() {
        return format!("From: {address}\n");
    }
    let quoted = name.replace('\\', "\\\\").replace('"', "\\\"");
    format!("From: \"{quoted}\" <{address}>\n")
}

/// Writes a letter so that it survives a power cut, or leaves nothing.
fn leave(dir: &Path, letter: &Letter, message: &mut dyn FnMut(&mut dyn io::Write) -> io::Result<()>) -> io::Result<()> {
    let mut random = [0; 16];
    SystemRandom::new().fill(&mut random).map_err(|_| io::Error::other("the system gives no random bytes"))?;
    let name = format!("{:x}-{:032x}", super::now().seconds, u128::from_ne_bytes(random));
    let new = dir.join(format!("{NEW}{name}"));
    // The server's user reads it; others would have to guess its name.
    let file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&new)?;
    let remove = Remove(new);
    rustix::fs::fchmod(&file, rustix::fs::Mode::from_raw_mode(0o644))?;
    let mut out = BufWriter::new(file);
    drop::write_envelope(letter, &mut out)?;
    message(&mut out)?;
    let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    fs::rename(&remove.0, dir.join(&name))?;
    std::mem::forget(remove);
    sync_name(dir, &file)
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

    #[test]
    fn it_is_known_by_its_names() {
        let args = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        assert_eq!(called(&args("/usr/sbin/sendmail -t")).map(|(n, rest)| (n, rest.len())), Some(("sendmail", 1)));
        assert_eq!(called(&args("hikyaku mailq")).map(|(n, rest)| (n, rest.len())), Some(("mailq", 0)));
        assert_eq!(called(&args("hikyaku serve")), None);
    }

    #[test]
    fn what_is_left_can_be_taken_in() {
        let dir = std::env::temp_dir().join(format!("hikyaku-sendmail-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        drop::prepare(&dir).unwrap();
        let envelope = Envelope { recipients: vec![Address::new("b", "x.test").into()], ..Envelope::default() };
        let letter = Letter { uid: Uid::current().as_raw(), envelope, eight_bit: false };
        leave(&dir, &letter, &mut |out| out.write_all(b"hi\n")).unwrap();
        assert!(leave(&dir, &letter, &mut |_| Err(io::ErrorKind::StorageFull.into())).is_err());
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1, "what failed leaves nothing");
        let mut seen = 0;
        let taken = drop::take_in(&Posix, &dir, 100, &mut |taken, message| {
            let mut text = String::new();
            message.read_to_string(&mut text)?;
            assert_eq!((taken, &*text), (&letter, "hi\n"));
            seen += 1;
            Ok(())
        });
        assert_eq!((taken.unwrap(), seen), (1, 1));
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_name_cannot_make_a_field() {
        let address = Address::new("a", "x.test");
        assert_eq!(from_field("A \"B\"\nTo: c", &address), "From: \"A \\\"B\\\"To: c\" <a@x.test>\n");
        assert_eq!(from_field("", &address), "From: a@x.test\n");
    }
}
