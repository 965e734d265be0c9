//! `sendmail`, `mailq` and `newaliases`: what other programs of this host call to send mail, by these names or as commands.
//!
//! A message always goes into the drop folder ([`crate::drop`]), whether the server runs or not: when this ends with 0, it survives a power cut.

mod args;
mod draft;
mod message;
mod speak;

use super::{CONFIG_PATHS, Console, Source, find, trace};
use crate::{
    control::{AskError, Client, Explanation},
    drop::{self, Letter},
};
use args::{Mode, Part, Said};
use config::{Config, cli};
use draft::Draft;
use mail::{Address, Envelope, Recipient};
use message::Lines;
use nix::unistd::{Uid, User};
use std::{
    ffi::OsString,
    io::{self, Write as _},
    path::Path,
};

/// Codes of sysexits.h, by which programs that call `sendmail` know what to do.
const USAGE: u8 = 64;
const DATA: u8 = 65;
const NO_USER: u8 = 67;
const UNAVAILABLE: u8 = 69;
const OUTPUT: u8 = 74;
const TEMPORARY: u8 = 75;
const NO_PERMISSION: u8 = 77;
const CONFIG: u8 = 78;

/// Why it ends otherwise than well, with its code.
type Ended = Result<(), (u8, String)>;

/// Whether this is one of the names, called by it or as the first argument; the arguments that follow; and the only configuration that counts, if
/// that is so.
pub(super) fn called(args: &[OsString]) -> Option<(&'static str, &[OsString], Option<&'static Path>)> {
    let name = |arg: &OsString| {
        let base = Path::new(arg).file_name()?;
        ["sendmail", "mailq", "newaliases"].into_iter().find(|known| base == *known)
    };
    let (first, rest) = args.split_first()?;
    match (name(first), rest.split_first()) {
        // Called from anywhere by programs that think of no configuration: one that lies where they happen to be is somebody else's.
        (Some(known), _) => Some((known, rest, Some(Path::new(CONFIG_PATHS[0])))),
        (None, Some((second, rest))) if !second.to_string_lossy().contains('/') => name(second).map(|known| (known, rest, None)),
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
    match &said.mode {
        Mode::Send => send(said, &config, console),
        Mode::Speak => speak::speak(&config, config.store.join(drop::FOLDER), Uid::current().as_raw(), super::now(), console),
        Mode::Queue => super::queue::mailq(&reach(&config)?, console).map_err(|e| (UNAVAILABLE, e.to_string())),
        Mode::Flush(part) => {
            let retry = |ids, which| cli::Queue::Retry(cli::Whom { ids, all: false, which });
            let which = cli::Which::default();
            let flush = match part.clone() {
                Some(Part::Id(id)) => retry(vec![id], which),
                Some(Part::Sender(sender)) => retry(Vec::new(), cli::Which { sender: Some(sender), ..which }),
                Some(Part::Recipient(to)) => retry(Vec::new(), cli::Which { recipient: Some(to), ..which }),
                Some(Part::Site(site)) => cli::Queue::Flush { site: Some(site) },
                None => cli::Queue::Flush { site: None },
            };
            operate(flush, &config, console)
        }
        Mode::Aliases => match reach(&config) {
            Ok(client) => super::status::reload(&client, console).map_err(|e| (CONFIG, e.to_string())),
            Err((UNAVAILABLE, _)) => {
                // Nothing is made of them in advance, so there is nothing to fail at.
                let _ = writeln!(console.err, "no server is running; it reads the aliases when it starts");
                Ok(())
            }
            Err(error) => Err(error),
        },
        Mode::Verify => verify(&said.recipients, &config, console),
    }
}

/// The running server, if it answers whoever asks.
fn reach(config: &Config) -> Result<Client, (u8, String)> {
    let client = Client::new(&config.control_socket());
    match client.get::<serde_json::Value>("/status", &[]) {
        Ok(_) => Ok(client),
        Err(error) => {
            let code = match &error {
                AskError::NoServer(_, why) if why.kind() == io::ErrorKind::PermissionDenied => NO_PERMISSION,
                AskError::Refused(403, _) => NO_PERMISSION,
                _ => UNAVAILABLE,
            };
            Err((code, error.to_string()))
        }
    }
}

fn operate(command: cli::Queue, config: &Config, console: &mut Console<'_>) -> Ended {
    super::queue::obey(command, &reach(config)?, console).map_err(|e| (UNAVAILABLE, e.to_string()))
}

/// Says where mail to each would go; the code tells whether it goes anywhere.
fn verify(recipients: &[String], config: &Config, console: &mut Console<'_>) -> Ended {
    let client = reach(config)?;
    let mut refused = Vec::new();
    for recipient in recipients {
        let address = one(recipient, &host(config))?.ok_or_else(|| (USAGE, format!("no address: {recipient}")))?;
        let explanation: Explanation =
            client.get("/explain", &[("address", &address.to_string())]).map_err(|e| (UNAVAILABLE, e.to_string()))?;
        if explanation.steps.iter().any(|step| step.what == "refused") {
            refused.push(explanation.address.clone());
        }
        trace::print_explanation(&explanation, console).map_err(|e| (OUTPUT, e.to_string()))?;
    }
    if refused.is_empty() { Ok(()) } else { Err((NO_USER, format!("not taken: {}", refused.join(", ")))) }
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
        Some(text) => {
            let address = one(text, &host).ok().flatten();
            Some(address.ok_or_else(|| (USAGE, format!("-f is no address: {text}")))?)
        }
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
    let letter = Letter { uid: uid.as_raw(), envelope, eight_bit: said.eight_bit, verp: said.verp };
    let mut header = message::without_bcc(&header);
    if let Some(from) = letter.envelope.sender.as_ref().filter(|_| !mime::fields(&header).any(|field| field.is(b"From"))) {
        let full = said.name.clone().or_else(|| user.map(|user| user.gecos.to_string_lossy().split(',').next().unwrap_or("").to_owned()));
        header = [from_field(full.as_deref().unwrap_or(""), from).as_bytes(), &header].concat();
    }
    let dir = config.store.join(drop::FOLDER);
    let left = Draft::begin(&dir, &letter, config.limits.message).and_then(|mut draft| {
        draft.write_all(&header)?;
        draft.write_all(&rest)?;
        lines.copy(&mut draft)?;
        draft.leave()
    });
    left.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            (TEMPORARY, format!("{}: there is no drop folder; `hikyaku init` makes it, or the server when it starts", dir.display()))
        }
        io::ErrorKind::PermissionDenied => {
            (TEMPORARY, format!("{}: {error}; users need the right to pass (x) the directories above it", dir.display()))
        }
        io::ErrorKind::InvalidInput | io::ErrorKind::FileTooLarge => (DATA, error.to_string()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_known_by_its_names() {
        let args = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        assert_eq!(
            called(&args("/usr/sbin/sendmail -t")).map(|(n, rest, file)| (n, rest.len(), file.is_some())),
            Some(("sendmail", 1, true))
        );
        assert_eq!(called(&args("hikyaku mailq")).map(|(n, rest, file)| (n, rest.len(), file.is_some())), Some(("mailq", 0, false)));
        assert!(called(&args("hikyaku serve")).is_none());
    }

    #[test]
    fn a_name_cannot_make_a_field() {
        let address = Address::new("a", "x.test");
        assert_eq!(from_field("A \"B\"\nTo: c", &address), "From: \"A \\\"B\\\"To: c\" <a@x.test>\n");
        assert_eq!(from_field("", &address), "From: a@x.test\n");
    }
}
