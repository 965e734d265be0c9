//! `mailbox list`, `mailbox check` and `mailbox rebuild`.

use super::{Console, Done, Failure, accounts, size, table};
use crate::{
    account::Account,
    disk::{Disk, Posix},
    house::{House, OpenError},
    mailbox::{Mailboxes, Options, Report, Step},
};
use config::{Config, cli};
use indicatif::ProgressStyle;
use mail::{MailboxName, System};
use maildir::{FileName, Marks, Sizes, mailbox_name};
use std::{
    ffi::OsStr,
    io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

/// How many messages are held in memory: those of the mailbox in work.
const BUDGET: usize = 0;

/// What files say of a mailbox.
#[derive(Default)]
struct Count {
    messages: u64,
    unseen: u64,
    bytes: u64,
}

pub(super) fn obey(command: cli::Mailbox, config: &Config, console: &mut Console<'_>) -> Done {
    match command {
        cli::Mailbox::List { account } => list(&chosen(config, account.as_deref())?, console),
        cli::Mailbox::Check { account } => check(config, &chosen(config, account.as_deref())?, console),
        cli::Mailbox::Rebuild { account } => rebuild(config, &chosen(config, account.as_deref())?, console),
    }
}

/// Reads every message and changes nothing. While a server runs, what arrives meanwhile may look wrong.
fn check(config: &Config, accounts: &[Arc<Account>], console: &mut Console<'_>) -> Done {
    let shelf = shelf(config);
    let mut wrong = 0;
    walk(
        accounts,
        console,
        |maildir, name, progress| shelf.check(maildir, name, progress),
        |report| {
            wrong += usize::from(!report.is_sound());
            let notes = [
                (report.unknown, "files are not in the index"),
                (report.missing, "are in the index and have no file"),
                (report.renamed, "files have other names or flags now"),
                (report.wrong, "have another size than the index says"),
                (report.torn, "bytes of the index cannot be read"),
            ];
            notes.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect()
        },
    )?;
    match wrong {
        0 => Ok(()),
        n => Err(Failure::new(format!(
            "{n} indexes differ from their Maildirs. A server sees that by itself when it opens the mailbox; `mailbox rebuild` reads everything anew"
        ))),
    }
}

/// Opens the house for it: no server may run meanwhile, and what a crash left in the spool comes first, or UIDs that it names could be used
/// again.
fn rebuild(config: &Config, accounts: &[Arc<Account>], console: &mut Console<'_>) -> Done {
    let house = House::open(config.clone(), Arc::new(Posix)).map_err(|e| match e {
        OpenError::InUse(_) => Failure::new("the server is running; stop it first"),
        e => Failure::new(e.to_string()),
    })?;
    let work = |maildir: &Path, name: &MailboxName, progress: &mut dyn FnMut(Step)| house.mailboxes().rebuild(maildir, name, progress);
    let done = walk(accounts, console, work, |report| {
        let notes = [(report.missing, "messages went away meanwhile"), (report.wrong, "had another size than the index said")];
        notes.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect()
    });
    house.close();
    done
}

/// Does something to each mailbox with a bar for its messages, and prints what was found and what `tell` says of it.
fn walk(
    accounts: &[Arc<Account>],
    console: &mut Console<'_>,
    mut work: impl FnMut(&Path, &MailboxName, &mut dyn FnMut(Step)) -> Result<Report, imap::Refusal>,
    mut tell: impl FnMut(&Report) -> Vec<String>,
) -> Done {
    for account in accounts {
        for (name, _) in mailboxes(&account.maildir)? {
            let title = format!("{} {name}", account.name());
            let bar = console.bar(0).with_message(title.clone()).with_style(style());
            let done = work(&account.maildir, &name, &mut |step| {
                bar.set_length(step.total);
                bar.set_position(step.done);
            });
            bar.finish_and_clear();
            let report = done.map_err(|e| Failure::new(format!("{title}: {}", reason(e))))?;
            let notes = tell(&report);
            let word = if notes.is_empty() { "ok    " } else { "differs" };
            writeln!(console.out, "{word} {title}: {} messages, {}", report.messages, size(report.bytes))?;
            for note in notes {
                writeln!(console.out, "        {note}")?;
            }
        }
    }
    Ok(console.out.flush()?)
}

fn shelf(config: &Config) -> Mailboxes {
    let options = Options { host: config.hostname().into(), root: config.store.clone(), budget: BUDGET, ..Options::default() };
    Mailboxes::new(Arc::new(Posix), options)
}

fn style() -> ProgressStyle {
    // The template is ours, so a mistake in it shows in the first test.
    ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {eta}").expect("a template that indicatif knows")
}

/// The disk's own words are in the log, just above.
fn reason(refusal: imap::Refusal) -> &'static str {
    match refusal {
        imap::Refusal::NoMailbox => "it was removed meanwhile",
        _ => "the disk refused; are its files and directories those of the user who runs the server?",
    }
}

/// Counts files, so a server may run meanwhile.
fn list(accounts: &[Arc<Account>], console: &mut Console<'_>) -> Done {
    let mut rows = vec![["ACCOUNT", "MAILBOX", "MESSAGES", "UNSEEN", "SIZE"].map(String::from).to_vec()];
    for account in accounts {
        for (name, dir) in mailboxes(&account.maildir)? {
            let count = count(&dir)?;
            let cells = [count.messages.to_string(), count.unseen.to_string(), size(count.bytes)];
            rows.push([account.name(), name.to_string()].into_iter().chain(cells).collect());
        }
    }
    if rows.len() == 1 {
        return Ok(writeln!(console.err, "there are no mailboxes yet; the first message makes one")?);
    }
    Ok(console.out.write_all(table(&rows).as_bytes())?)
}

/// The one account, or all.
fn chosen(config: &Config, name: Option<&str>) -> Result<Vec<Arc<Account>>, Failure> {
    let accounts = accounts::load(config)?;
    name.map_or_else(|| Ok(accounts.all()), |name| Ok(vec![accounts::existing(&accounts, name)?]))
}

/// The mailboxes of a Maildir and their directories, the inbox first. None if the Maildir is not there yet.
fn mailboxes(maildir: &Path) -> Result<Vec<(MailboxName, PathBuf)>, Failure> {
    let mut found = Vec::new();
    let is_mailbox = |dir: &Path| dir.join("cur").is_dir();
    if is_mailbox(maildir) {
        found.push((MailboxName::inbox(), maildir.to_owned()));
    }
    let mut folders = Vec::new();
    match Posix.list(maildir, &mut |name| folders.extend(mailbox_name(name).map(|n| (n, maildir.join(OsStr::from_bytes(name)))))) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(Failure::at(maildir, e)),
        _ => {}
    }
    folders.retain(|(_, dir)| is_mailbox(dir));
    folders.sort();
    found.extend(folders);
    Ok(found)
}

fn count(mailbox: &Path) -> Result<Count, Failure> {
    let mut count = Count::default();
    for place in ["new", "cur"] {
        let dir = mailbox.join(place);
        let mut unsized_names = Vec::new();
        let listed = Posix.list(&dir, &mut |name| {
            let Some(file) = FileName::split(name) else { return };
            count.messages += 1;
            count.unseen += u64::from(!Marks::parse(file.info).system.has(System::SEEN));
            match Sizes::parse(file.base).stored {
                Some(bytes) => count.bytes += bytes,
                None => unsized_names.push(dir.join(OsStr::from_bytes(name))),
            }
        });
        match listed {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(Failure::at(&dir, e)),
            _ => {}
        }
        for path in unsized_names {
            match Posix.stat(&path) {
                Ok(stat) => count.bytes += stat.len,
                // Removed or renamed since the directory was read.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(Failure::at(&path, e)),
            }
        }
    }
    Ok(count)
}
