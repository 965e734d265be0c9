//! The command line as data: what can be asked of the program. Nothing here reads the environment.

use crate::Network;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use std::{ffi::OsString, path::PathBuf};

/// A whole mail system in one program.
#[derive(Debug, Clone, PartialEq, Eq, Parser)]
#[command(
    name = "hikyaku",
    version,
    about = "A complete mail system: SMTP, submission, LMTP, IMAP and POP3 with Maildir storage",
    after_help = "Try it now, without root or a file:  hikyaku demo\nThen for your own domain:            hikyaku init example.org",
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 100
)]
pub struct Cli {
    /// The configuration [default: /etc/hikyaku/hikyaku.ron, or hikyaku.ron in the current directory]
    #[arg(long, short, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The control socket of the running server [default: what the configuration says]
    #[arg(long, global = true, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Run a mail server to play with: no root, no file, two accounts, only on this machine
    #[command(after_help = "The accounts are alice@example.test and bob@example.test, both with the password `hikyaku`.\n\
        SMTP 2525, submission 2587 and 2465, IMAP 2143 and 2993, POP3 2110 and 2995, LMTP 2024;\n\
        if another program has one of them, a port 10000 higher stands in for it.\n\n\
        Examples:\n  hikyaku demo\n  hikyaku demo --dir ~/mailplay      keep the mail")]
    Demo(Demo),
    /// Write a configuration and a certificate for a domain, and say what to do next
    #[command(after_help = "Examples:\n  hikyaku init example.org                     into /etc/hikyaku and /var/lib/hikyaku\n  \
        hikyaku init example.org --dir ./mail        everything in one directory, unprivileged ports")]
    Init(Init),
    /// Run the mail server
    #[command(after_help = "SIGTERM and SIGINT stop it when open commands are done; SIGHUP reads configuration, accounts and\n\
        certificates again.")]
    Serve,
    /// Check configuration, accounts, certificates, store and ports, and say everything that is wrong
    Check,
    /// Accounts: who gets mail here and who may log in
    #[command(subcommand)]
    Account(Account),
    /// Mailboxes: what is stored, and whether its index is right
    #[command(subcommand)]
    Mailbox(Mailbox),
    /// The spool: messages that were taken and are not yet everywhere they belong
    #[command(subcommand)]
    Spool(Spool),
    /// Say that the store was put back from an older copy, so that no number is given out twice
    #[command(
        after_help = "While no server runs, after the copy is in its place and before the next start: what arrived after the copy was made has numbers\n\
        (UIDs) that clients know, and new messages would get the same. Every mailbox gets a new UIDVALIDITY, so clients read it\n\
        anew; no message is changed. Doing it twice, or needlessly, costs that and no more."
    )]
    Restored,
    /// The queue of the running server: messages that wait to be sent, and what to do with them
    #[command(subcommand)]
    Queue(Queue),
    /// The connections of clients: who is here, and whom to end
    #[command(subcommand)]
    Sessions(Sessions),
    /// Tell what became of a message, from its acceptance to every attempt
    #[command(after_help = "Examples:\n  hikyaku trace 18f3                        by the id in `Received:` and in the log\n  \
        hikyaku trace alice@example.org           the last messages from and for an address\n  \
        hikyaku trace '<20261124@example.org>'    by its Message-ID")]
    Trace {
        /// An id, an address or a Message-ID
        of: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Say how the running server is
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Have the running server read its configuration, accounts and certificates again, and say what is wrong with them
    Reload,
    /// Stop the running server
    Stop,
    /// Show what would become of mail to an address, without sending any
    Explain {
        /// The address
        address: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Take a message from standard input and send it, as other programs expect of /usr/sbin/sendmail
    #[command(
        disable_help_flag = true,
        after_help = "Also done if the program is called `sendmail`, by a link of that name. The message goes into the drop folder of the\n\
            store, whether the server runs or not. Exit codes are those of sysexits.h.\n\n\
            Options: -t recipients from the header; -i no end at a lone dot; -f ADDRESS sender; -F NAME; -B 7BIT|8BITMIME;\n\
            -N never|success,failure,delay; -R full|hdrs; -V ENVID; -v; -C FILE configuration; -bm send, -bs speak SMTP,\n\
            -bp list the queue, -bi read the aliases again, -bv say where mail would go; -q try again what waits, -qIID,\n\
            -qRDOMAIN, -qRADDRESS or -qSADDRESS some of it. Other old options are ignored.\n\n\
            Example:\n  printf 'Subject: hello\\n\\nhi\\n' | hikyaku sendmail alice@example.org"
    )]
    Sendmail {
        /// Options and recipients
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTION|RECIPIENT")]
        args: Vec<OsString>,
    },
    /// List the queue; also as `mailq`
    Mailq,
    /// Have the server read its aliases again; also as `newaliases`
    Newaliases,
    /// Write a manual page for each command into a directory
    Man {
        /// Where to; made if it does not exist
        dir: PathBuf,
    },
    /// Print the completions for a shell
    #[command(after_help = "Example:\n  hikyaku completions bash > /usr/share/bash-completion/completions/hikyaku")]
    Completions {
        /// For which shell
        shell: Shell,
    },
}

/// See [`Command::Demo`].
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Demo {
    /// Keep the store here [default: a scratch directory]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Add this to every port, to run two demos or to avoid a port that is taken
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=62_000))]
    pub ports: u16,
}

/// See [`Command::Init`].
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Init {
    /// The domain whose mail is to be delivered here
    pub domain: String,
    /// Put everything into this directory and listen on unprivileged ports
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// The name of this host, as others reach it [default: mail.DOMAIN]
    #[arg(long, value_name = "NAME")]
    pub hostname: Option<String>,
    /// Whom the server shall be, if started as root
    #[arg(long, value_name = "USER", default_value = "hikyaku", conflicts_with = "dir")]
    pub user: String,
}

/// See [`Command::Account`].
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Account {
    /// Add an account
    #[command(after_help = "The password is asked for, or read from standard input if that is no terminal. It is never\n\
        an argument: other users see those.\n\n\
        Examples:\n  hikyaku account add alice@example.org\n  \
        echo 'her password' | hikyaku account add alice@example.org\n  \
        hikyaku account add bob@example.org --hash '$6$...'       from another server\n  \
        hikyaku account add --stdin < users                       lines: ADDRESS PASSWORD\n  \
        hikyaku account add --stdin --hashed < users              lines: ADDRESS HASH")]
    Add(AccountAdd),
    /// List the accounts
    List,
    /// Change a password
    Passwd {
        /// Of which account
        address: String,
        /// A hash instead of the password: argon2id, $5$, $6$, $y$, $2b$ or {SSHA}
        #[arg(long, value_name = "HASH")]
        hash: Option<String>,
    },
    /// Let nobody log in to an account and end its sessions; its mail still arrives
    Disable {
        /// Which account
        address: String,
    },
    /// Let a disabled account log in again
    Enable {
        /// Which account
        address: String,
    },
    /// Remove an account; its mail stays unless --delete-mail is given
    Remove {
        /// Which account
        address: String,
        /// Remove its Maildir too, for ever
        #[arg(long, conflicts_with = "keep_mail")]
        delete_mail: bool,
        /// Keep its Maildir (this is the default)
        #[arg(long)]
        keep_mail: bool,
    },
}

/// See [`Account::Add`].
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct AccountAdd {
    /// The address of the account
    #[arg(required_unless_present = "stdin", conflicts_with = "stdin")]
    pub address: Option<String>,
    /// A hash instead of a password: argon2id, $5$, $6$, $y$, $2b$ or {SSHA}
    #[arg(long, value_name = "HASH", conflicts_with = "stdin")]
    pub hash: Option<String>,
    /// Add many: a line `ADDRESS PASSWORD` for each, all or none
    #[arg(long)]
    pub stdin: bool,
    /// With --stdin, the second word of a line is a hash
    #[arg(long, requires = "stdin")]
    pub hashed: bool,
    /// Where its Maildir is, if not where the configuration says; below the store unless absolute
    #[arg(long, value_name = "DIR", conflicts_with = "stdin")]
    pub maildir: Option<PathBuf>,
    /// Bytes of mail it may hold, 0 for no limit, if not what the configuration says
    #[arg(long, value_name = "BYTES")]
    pub quota: Option<u64>,
}

/// See [`Command::Mailbox`].
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Mailbox {
    /// List mailboxes with their messages and sizes
    List {
        /// Of which account [default: all]
        account: Option<String>,
    },
    /// Compare each index with its Maildir; changes nothing
    Check {
        /// Of which account [default: all]
        account: Option<String>,
    },
    /// Build each index anew from its Maildir
    Rebuild {
        /// Of which account [default: all]
        account: Option<String>,
    },
}

/// See [`Command::Spool`].
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Spool {
    /// List the messages in it
    List,
    /// Read all of it and compare the checksums; changes nothing
    Check,
    /// List what can be read of damaged segments that a start put aside
    #[command(
        after_help = "Examples:\n  hikyaku spool salvage                        every message in every segment that was put aside\n  \
        hikyaku spool salvage --into /root/saved     and write them there, a file each"
    )]
    Salvage {
        /// A segment: one that was put aside, or any file; all that were put aside if none is named
        file: Option<std::path::PathBuf>,
        /// Write each message to a file of its own in this directory, which is made
        #[arg(long, value_name = "DIR")]
        into: Option<std::path::PathBuf>,
    },
}

/// See [`Command::Sessions`].
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Sessions {
    /// List the connections of clients, the oldest first
    List {
        /// Of this account
        #[arg(long, value_name = "ADDRESS")]
        account: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// End connections; whoever may log in can come back
    #[command(
        after_help = "Examples:\n  hikyaku sessions kick --account alice@example.org\n  hikyaku sessions kick --from 198.51.100.0/24\n  \
            hikyaku sessions kick 17 18"
    )]
    #[group(id = "which", required = true, multiple = true, args = ["ids", "account", "from"])]
    Kick {
        /// Their numbers, as the list and the log have them
        ids: Vec<u64>,
        /// All of this account
        #[arg(long, value_name = "ADDRESS")]
        account: Option<String>,
        /// All from this address or network
        #[arg(long, value_name = "NETWORK")]
        from: Option<Network>,
    },
}

/// See [`Command::Queue`].
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Queue {
    /// List the messages that wait, the oldest first
    #[command(
        after_help = "Examples:\n  hikyaku queue list --site example.net\n  hikyaku queue list --sender @example.org --state held --json"
    )]
    List {
        /// Which
        #[command(flatten)]
        which: Which,
        /// No more than so many
        #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
        most: u64,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show a message with all its recipients and what was last said about them
    Show {
        /// Its id
        id: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Try messages now
    Retry(Whom),
    /// Keep messages until they are released
    Hold(Whom),
    /// Let go of messages that are held
    Release(Whom),
    /// Give messages up and tell their senders
    Cancel {
        /// Which
        #[command(flatten)]
        whom: Whom,
        /// Tell nobody
        #[arg(long)]
        silent: bool,
    },
    /// Try everything for a domain now, or everything
    Flush {
        /// The next hop: a domain, or the name of a route [default: all]
        site: Option<String>,
    },
    /// Show what the clock did before the last start, which no message is older by
    #[command(after_help = "After a pause of more than four hours, or with a clock that was set, nobody knows how old mail is.")]
    Clock {
        /// The clock was right: count it as age after all
        #[arg(long)]
        trust: bool,
    },
    /// Send messages by another way than DNS and the configuration say
    #[command(
        after_help = "Examples:\n  hikyaku queue reroute --to relay.example.net:587 --site example.org\n  hikyaku queue reroute --to mx 18f3"
    )]
    Reroute {
        /// Which
        #[command(flatten)]
        whom: Whom,
        /// A host with an optional port, or `mx` for what DNS says
        #[arg(long, value_name = "HOST")]
        to: String,
    },
    /// Change when messages are tried next
    #[command(after_help = "Times are from now on: 90s, 15m, 4h, 2d.\n\nExamples:\n  hikyaku queue schedule 18f3 --next 2h\n  \
            hikyaku queue schedule --site example.net --give-up 10d")]
    #[group(id = "when", required = true, multiple = true, args = ["next", "give_up"])]
    Schedule {
        /// Which
        #[command(flatten)]
        whom: Whom,
        /// Try next after this time
        #[arg(long, value_name = "TIME", value_parser = seconds)]
        next: Option<u64>,
        /// Give up after this time, and tell the sender
        #[arg(long, value_name = "TIME", value_parser = seconds)]
        give_up: Option<u64>,
    },
}

/// Which messages: everything that is given must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Args)]
pub struct Which {
    /// From this address, or @DOMAIN; `<>` for reports
    #[arg(long, value_name = "ADDRESS")]
    pub sender: Option<String>,
    /// For this address, or @DOMAIN
    #[arg(long, value_name = "ADDRESS")]
    pub recipient: Option<String>,
    /// For this next hop: a domain, or the name of a route
    #[arg(long, value_name = "SITE")]
    pub site: Option<String>,
    /// In this state
    #[arg(long, value_name = "STATE")]
    pub state: Option<QueueState>,
    /// Accepted longer ago than this, as in 90s, 15m, 4h, 2d
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub older: Option<u64>,
}

/// Messages that something is done to: these, or all that are found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Args)]
pub struct Whom {
    /// Their ids
    #[arg(required_unless_present_any = ["all", "sender", "recipient", "site", "state", "older"])]
    pub ids: Vec<String>,
    /// All messages
    #[arg(long, conflicts_with_all = ["ids", "sender", "recipient", "site", "state", "older"])]
    pub all: bool,
    /// All that are found
    #[command(flatten)]
    pub which: Which,
}

/// A state of a message in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum QueueState {
    /// Its time will come
    Waiting,
    /// It is being sent
    Active,
    /// It stays until it is released
    Held,
}

/// A time as in `90s`, `15m`, `4h`, `2d`.
fn seconds(text: &str) -> Result<u64, String> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err("a time is a number with s, m, h or d after it".into()),
    };
    let count: u64 = digits.parse().map_err(|_| "a time begins with a number".to_owned())?;
    count.checked_mul(unit).filter(|s| *s <= 366 * 86_400).ok_or_else(|| "that is more than a year".to_owned())
}

/// A shell that has completions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// bash
    Bash,
    /// elvish
    Elvish,
    /// fish
    Fish,
    /// PowerShell
    Powershell,
    /// zsh
    Zsh,
}

impl Cli {
    /// Reads arguments, the first of which is the name of the program.
    ///
    /// # Errors
    /// The help or version that was asked for, or what is wrong: clap's error knows whether to print to standard output or standard
    /// error and how to exit.
    pub fn read(args: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(args)
    }

    /// The grammar, for manual pages and completions. `program` is `hikyaku` or `hikyaku-smol`.
    pub fn grammar(program: &'static str) -> clap::Command {
        Cli::command().name(program).bin_name(program)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Cli, clap::error::ErrorKind> {
        Cli::read(line.split(' ').map(OsString::from)).map_err(|e| e.kind())
    }

    #[test]
    fn the_grammar_is_sound() {
        Cli::grammar("hikyaku").debug_assert();
    }

    #[test]
    fn commands() {
        use clap::error::ErrorKind;
        assert_eq!(read("hikyaku serve --config x").unwrap(), Cli { config: Some("x".into()), socket: None, command: Command::Serve });
        assert_eq!(read("hikyaku -c x serve").unwrap(), Cli { config: Some("x".into()), socket: None, command: Command::Serve });
        let Command::Demo(demo) = read("hikyaku demo --ports 1000").unwrap().command else { panic!() };
        assert_eq!(demo, Demo { dir: None, ports: 1000 });
        assert!(read("hikyaku account add a@b").is_ok());
        assert!(read("hikyaku account add --stdin --hashed").is_ok());
        assert_eq!(read("hikyaku account add"), Err(ErrorKind::MissingRequiredArgument));
        assert_eq!(read("hikyaku account add a@b --stdin"), Err(ErrorKind::ArgumentConflict));
        assert_eq!(read("hikyaku account add a@b secret"), Err(ErrorKind::UnknownArgument));
        assert_eq!(read("hikyaku account remove a@b --keep-mail --delete-mail"), Err(ErrorKind::ArgumentConflict));
        assert_eq!(read("hikyaku demo --ports 65000"), Err(ErrorKind::ValueValidation));
        assert!(matches!(
            read("hikyaku queue list --older 2h").unwrap().command,
            Command::Queue(Queue::List { which: Which { older: Some(7200), .. }, most: 1000, json: false })
        ));
        assert!(read("hikyaku queue hold 1 2").is_ok() && read("hikyaku queue hold --site a.test --sender @b.test").is_ok());
        assert_eq!(read("hikyaku queue hold"), Err(ErrorKind::MissingRequiredArgument));
        assert_eq!(read("hikyaku queue cancel --all 1"), Err(ErrorKind::ArgumentConflict));
        assert_eq!(read("hikyaku queue schedule 1"), Err(ErrorKind::MissingRequiredArgument));
        assert_eq!(read("hikyaku queue schedule 1 --next 5"), Err(ErrorKind::ValueValidation));
        assert!(read("hikyaku queue schedule 1 --next 10d").is_ok());
        assert!(read("hikyaku queue schedule 1 2 --give-up 1h").is_ok());
        assert!(read("hikyaku trace a@b --socket s").is_ok_and(|cli| cli.socket == Some("s".into())));
        assert!(read("hikyaku sessions kick 1 2").is_ok() && read("hikyaku sessions kick --from 192.0.2.0/24 --account a@b").is_ok());
        assert!(read("hikyaku restored --config x").is_ok());
        assert_eq!(read("hikyaku sessions kick"), Err(ErrorKind::MissingRequiredArgument));
        assert_eq!(read("hikyaku sessions kick --from x"), Err(ErrorKind::ValueValidation));
        assert_eq!(read("hikyaku"), Err(ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand));
        assert_eq!(read("hikyaku --version"), Err(ErrorKind::DisplayVersion));
    }
}
