//! The commands: everything that the program does besides serving.
//!
//! Both binaries call [`run`] and serve if it says so. Commands work on the store as the user that the configuration names, so that what they
//! write can be read by the server.

mod accounts;
mod certificate;
mod check;
mod console;
pub mod demo;
mod init;
mod mailbox;
mod pages;
mod queue;
mod restored;
mod sendmail;
mod sessions;
mod spool;
mod status;
mod trace;

pub use console::Console;

use crate::{
    control::{AskError, Client},
    logging,
    means::{self, MeansError, Needs},
    process,
};
use config::{
    Config, Logging,
    cli::{self, Cli, Command},
};
use mail::{Address, Stamp};
use std::{
    ffi::OsString,
    fmt::{self, Write as _},
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

/// Where the configuration is looked for if nobody says where, in this order. A file in the current directory comes last: root may be
/// anywhere.
const CONFIG_PATHS: [&str; 2] = ["/etc/hikyaku/hikyaku.ron", "hikyaku.ron"];

/// What the binary does next.
#[derive(Debug)]
pub enum Outcome {
    /// End with this code: 0 if all is well, 1 if something is wrong or went wrong, 2 if the arguments are wrong.
    Exit(ExitCode),
    /// Serve.
    Serve(Box<Boot>),
}

/// What to serve.
#[derive(Debug)]
pub struct Boot {
    /// Checked, with absolute paths.
    pub config: Config,
    /// Where it comes from, to read it again.
    pub source: Source,
    /// To deliver before anybody is let in: the first messages of a demo.
    pub welcome: Vec<Welcome>,
    /// To print when every port is bound: what can be done with a demo. Empty otherwise.
    pub notes: String,
    /// Removes the store of a demo that is not kept; to be dropped when the house is closed.
    pub scratch: Option<Scratch>,
}

/// A message to deliver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// To whom.
    pub to: Address,
    /// The whole message with CRLF line ends.
    pub message: Vec<u8>,
}

/// Where a configuration comes from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// Made up; reading it again gives the same.
    Made(Arc<Config>),
}

/// A directory that goes when this is dropped.
#[derive(Debug)]
pub struct Scratch(PathBuf);

/// Why a command did not do what it should, ready to print.
#[derive(Debug)]
pub struct Failure(String);

type Done = Result<(), Failure>;

/// Reads the arguments, the first of which is the name of the program, and does what they say. `program` names the binary in manual pages and
/// completions, and `needs` are those of its runtime.
pub fn run(program: &'static str, needs: Needs, args: impl IntoIterator<Item = OsString>, console: &mut Console<'_>) -> Outcome {
    let args: Vec<OsString> = args.into_iter().collect();
    if let Some((name, rest, file)) = sendmail::called(&args) {
        return Outcome::Exit(ExitCode::from(sendmail::run(name, file, rest, console)));
    }
    let cli = match Cli::read(args) {
        Ok(cli) => cli,
        Err(error) => {
            let (to, code) = if error.use_stderr() { (&mut *console.err, 2) } else { (&mut *console.out, 0) };
            let text = error.render();
            let shown = if console.colours { write!(to, "{}", text.ansi()) } else { write!(to, "{text}") };
            return Outcome::Exit(ExitCode::from(if shown.is_ok() { code } else { 1 }));
        }
    };
    // The exit codes of these are not ours to choose.
    let file = cli.config.as_deref();
    let face = match &cli.command {
        Command::Sendmail { args } => Some(sendmail::run("sendmail", file, args, console)),
        Command::Mailq => Some(sendmail::run("mailq", file, &[], console)),
        Command::Newaliases => Some(sendmail::run("newaliases", file, &[], console)),
        _ => None,
    };
    if let Some(code) = face {
        return Outcome::Exit(ExitCode::from(code));
    }
    match obey(program, needs, cli, console) {
        Ok(None) => Outcome::Exit(ExitCode::SUCCESS),
        Ok(Some(boot)) => Outcome::Serve(Box::new(boot)),
        Err(Failure(message)) => {
            // Without standard error there is nobody to tell.
            let _ = writeln!(console.err, "{message}");
            Outcome::Exit(ExitCode::FAILURE)
        }
    }
}

fn obey(program: &'static str, needs: Needs, cli: Cli, console: &mut Console<'_>) -> Result<Option<Boot>, Failure> {
    let (file, socket) = (cli.config.as_deref(), cli.socket.as_deref());
    match cli.command {
        Command::Demo(demo) => {
            means::settle(needs, demo::LISTENERS)?;
            return demo::prepare(&demo).map(Some);
        }
        Command::Serve => {
            let source = Source::File(find(file)?);
            let config = source.read()?;
            means::settle(needs, config.listeners().len())?;
            return Ok(Some(Boot { config, source, welcome: Vec::new(), notes: String::new(), scratch: None }));
        }
        Command::Sendmail { .. } | Command::Mailq | Command::Newaliases => unreachable!("done before"),
        Command::Init(init) => init::init(program, &init, file, console)?,
        Command::Check => check::check(&find(file)?, needs, console)?,
        Command::Account(command) => {
            if matches!(command, cli::Account::Add(_)) {
                init::store(&Source::File(find(file)?).read()?)?;
            }
            let ends_sessions = matches!(command, cli::Account::Remove { .. } | cli::Account::Disable { .. });
            let config = opened(file)?;
            let server = socket.map_or_else(|| config.control_socket(), Path::to_owned);
            accounts::obey(command, &config, console)?;
            if ends_sessions {
                sessions::look_at_accounts(&Client::new(&server), console)?;
            }
        }
        Command::Man { dir } => pages::man(program, &dir)?,
        Command::Completions { shell } => pages::completions(program, shell, console)?,
        Command::Restored => restored::restored(&opened(file)?, console)?,
        // Writes nothing in the store, and what it reads may be meant for a place of root's.
        Command::Spool(command @ cli::Spool::Salvage { .. }) => spool::obey(command, &Source::File(find(file)?).read()?, console)?,
        Command::Spool(command) => spool::obey(command, &opened(file)?, console)?,
        Command::Sessions(command) => sessions::obey(command, &client(socket, file)?, console)?,
        Command::Queue(command) => queue::obey(command, &client(socket, file)?, console)?,
        Command::Trace { of, json } => trace::trace(&of, json, &client(socket, file)?, console)?,
        Command::Explain { address, json } => trace::explain(&address, json, &client(socket, file)?, console)?,
        Command::Status { json } => status::status(json, &client(socket, file)?, console)?,
        Command::Reload => status::reload(&client(socket, file)?, console)?,
        Command::Stop => status::stop(&client(socket, file)?, console)?,
        Command::Mailbox(command) => mailbox::obey(command, &opened(file)?, console)?,
    }
    console.out.flush()?;
    Ok(None)
}

/// The configuration, for a command that works on the store: from here on as the user who owns it.
fn opened(file: Option<&Path>) -> Result<Config, Failure> {
    let config = Source::File(find(file)?).read()?;
    if let Some(user) = config.user.as_deref().filter(|_| rustix::process::geteuid().is_root()) {
        process::become_user(user)?;
    }
    // What the disk says of a mailbox goes to the log.
    logging::start(&Logging { level: "warn".into(), ..config.log.clone() });
    Ok(config)
}

/// Whom to ask: the server behind that socket, or behind the one of the configuration.
fn client(socket: Option<&Path>, file: Option<&Path>) -> Result<Client, Failure> {
    match socket {
        Some(socket) => Ok(Client::new(socket)),
        None => Ok(Client::new(&Source::File(find(file)?).read()?.control_socket())),
    }
}

fn find(file: Option<&Path>) -> Result<PathBuf, Failure> {
    let found = file.or_else(|| CONFIG_PATHS.iter().map(Path::new).find(|p| p.exists()));
    let found = found.ok_or_else(|| {
        Failure::new(format!(
            "there is no configuration: neither {} nor {} exists\nTry `hikyaku demo`, make one with `hikyaku init DOMAIN`, or name one with --config FILE",
            CONFIG_PATHS[0], CONFIG_PATHS[1]
        ))
    })?;
    std::path::absolute(found).map_err(|e| Failure::at(found, e))
}

impl Source {
    /// Reads the configuration (again).
    ///
    /// # Errors
    /// If it cannot be read or is wrong.
    pub fn read(&self) -> Result<Config, Failure> {
        match self {
            Source::Made(config) => Ok((**config).clone()),
            Source::File(path) => {
                let text = fs::read_to_string(path).map_err(|e| Failure::at(path, e))?;
                let config = config::parse(&path.to_string_lossy(), &text)?;
                Ok(config.rooted(path.parent().unwrap_or(Path::new("/"))))
            }
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "the scratch store stays");
        }
    }
}

impl Failure {
    fn new(message: impl Into<String>) -> Failure {
        Failure(message.into())
    }

    fn at(path: &Path, error: impl fmt::Display) -> Failure {
        Failure(format!("{}: {error}", path.display()))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! failures {
    ($($error:ty),*) => { $(impl From<$error> for Failure {
        fn from(error: $error) -> Failure {
            Failure(error.to_string())
        }
    })* };
}

failures!(
    io::Error,
    MeansError,
    config::ConfigError,
    crate::account::file::FileError,
    crate::account::LoadError,
    process::UserError,
    rcgen::Error,
    AskError
);

/// A table: columns as wide as their widest cell, the last one open.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> =
        (0..columns).map(|c| rows.iter().filter_map(|r| r.get(c)).map(|cell| cell.chars().count()).max().unwrap_or(0)).collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:width$}  ");
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// The time of day, in UTC.
fn now() -> Stamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    Stamp::utc(i64::try_from(since).unwrap_or(i64::MAX))
}

/// Bytes as people read them.
fn size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let step = (0..units.len() - 1).find(|i| bytes >> (10 * (i + 1)) == 0).unwrap_or(units.len() - 1);
    if step == 0 { format!("{bytes} B") } else { format!("{:.1} {}", bytes as f64 / (1u64 << (10 * step)) as f64, units[step]) }
}

#[cfg(test)]
mod tests;
