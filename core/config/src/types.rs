//! What can be configured. Field names are the names in the file.

use crate::sending::{Addresses, Control, Outgoing, Queue, Rate, Relay, Reports, Resolver, Srs};
use serde::{Deserialize, Serialize};
use std::{net::SocketAddr, path::PathBuf};

/// The whole configuration. Everything but `domains` has a default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The domains whose mail is delivered here.
    pub domains: Vec<String>,
    /// The name of this host in greetings and `Received:`; the first domain if not given.
    pub hostname: Option<String>,
    /// Where everything is kept: `mail/`, `spool/`, `accounts.ron`.
    pub store: PathBuf,
    /// Where an account's Maildir is, below `store` unless absolute; `{domain}` and `{local}` stand for the parts of its address.
    pub maildirs: String,
    /// The file of accounts; `accounts.ron` in `store` if not given.
    pub accounts: Option<PathBuf>,
    /// Where to listen and what to speak there; all standard ports if not given.
    pub listen: Vec<Listen>,
    /// Certificates, the first one is for clients that name no server.
    pub certificates: Vec<Certificate>,
    /// Whether passwords may be sent without TLS. Keep this off outside of tests.
    pub plaintext_logins: bool,
    /// The separator between user and detail in `alice+tag@`.
    pub detail_separator: char,
    /// The account that gets mail for `postmaster@` every domain; the first account if not given.
    pub postmaster: Option<String>,
    /// Whom to become after the ports are bound, if started as root.
    pub user: Option<String>,
    /// Whether the server closes itself in when its ports are bound.
    pub sandbox: bool,
    /// Whether the `Received:` field of mail that an account sends says which account it was.
    pub show_login: bool,
    /// Domains whose addresses are those of another domain: `{"old.example": "example.org"}`.
    pub domain_aliases: Addresses,
    /// Who gets the mail of a domain that nobody else there gets: `{"example.org": "alice@example.org"}`.
    pub catch_all: Addresses,
    /// Files of aliases.
    pub aliases: Vec<PathBuf>,
    /// Whose mail is passed on, and for whom.
    pub relay: Relay,
    /// How mail leaves.
    pub outgoing: Outgoing,
    /// Who is asked for DNS records.
    pub resolver: Resolver,
    /// The queue.
    pub queue: Queue,
    /// What senders are told.
    pub reports: Reports,
    /// Sender rewriting for forwarded mail.
    pub srs: Srs,
    /// How the server is asked and told things while it runs.
    pub control: Control,
    /// How much may be sent.
    pub rate: Rate,
    /// Budgets.
    pub limits: Limits,
    /// IMAP's taste.
    pub imap: Imap,
    /// Logs.
    pub log: Logging,
}

/// A port.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// Address and port, as in `0.0.0.0:25` or `[::]:993`.
    pub on: SocketAddr,
    /// The protocol.
    pub speak: Speak,
    /// Whether TLS starts at once, on request, or never.
    #[serde(default)]
    pub tls: TlsMode,
}

/// A protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Speak {
    /// Mail from other servers: local recipients only, no login.
    Smtp,
    /// Mail from users: login required (RFC 6409).
    Submission,
    /// Mail from a local mail server, a reply for each recipient (RFC 2033).
    Lmtp,
    /// IMAP4rev1.
    Imap,
    /// POP3.
    Pop3,
}

/// When TLS starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum TlsMode {
    /// With STARTTLS (STLS), if there is a certificate.
    #[default]
    Start,
    /// With the connection.
    Implicit,
    /// Never.
    Never,
}

/// A certificate chain and its key, as PEM files. Read again on reload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// The chain, the server's own certificate first.
    pub chain: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Budgets. Times in seconds, sizes in bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Largest message.
    pub message: u64,
    /// Recipients of one message.
    pub recipients: u32,
    /// Connections to one listener.
    pub connections: u32,
    /// Connections from one address.
    pub connections_per_address: u32,
    /// Bytes of mail in one account; no limit if 0.
    pub quota: u64,
    /// Bytes that stay free on the disk: beyond, no mail is taken.
    pub free_space: u64,
    /// Bytes on the disk of all messages that are on their way in.
    pub uncommitted: u64,
    /// Mailboxes that one account may make, remove, rename or subscribe to in an hour; no limit if 0.
    pub mailbox_changes: u32,
    /// Failed logins from one address, or for one account, before it has to wait.
    pub login_failures: u32,
    /// How long it has to wait.
    pub login_wait: u32,
    /// How long a verified password is remembered.
    pub login_memory: u32,
    /// How long a stopping server waits for connections to end.
    pub shutdown_grace: u32,
}

/// IMAP's taste.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Imap {
    /// The separator of levels on the wire: `/` or `.`.
    pub separator: char,
    /// Whether all mailboxes appear below `INBOX`, as Courier shows them.
    pub inbox_prefix: bool,
}

/// Logs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Logging {
    /// How a line looks.
    pub format: LogFormat,
    /// The least important level that is written: `error`, `warn`, `info` or `debug`.
    pub level: String,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum LogFormat {
    /// `key=value`
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            domains: Vec::new(),
            hostname: None,
            store: PathBuf::from("/var/lib/hikyaku"),
            maildirs: "mail/{domain}/{local}/Maildir".into(),
            accounts: None,
            listen: Vec::new(),
            certificates: Vec::new(),
            plaintext_logins: false,
            detail_separator: '+',
            postmaster: None,
            user: None,
            sandbox: true,
            show_login: false,
            domain_aliases: Addresses::new(),
            catch_all: Addresses::new(),
            aliases: Vec::new(),
            relay: Relay::default(),
            outgoing: Outgoing::default(),
            resolver: Resolver::default(),
            queue: Queue::default(),
            reports: Reports::default(),
            srs: Srs::default(),
            control: Control::default(),
            rate: Rate::default(),
            limits: Limits::default(),
            imap: Imap::default(),
            log: Logging::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            message: 100 << 20,
            recipients: 1000,
            connections: 2000,
            connections_per_address: 100,
            quota: 0,
            free_space: 64 << 20,
            uncommitted: 1 << 30,
            mailbox_changes: 3000,
            login_failures: 10,
            login_wait: 300,
            login_memory: 300,
            shutdown_grace: 10,
        }
    }
}

impl Default for Imap {
    fn default() -> Imap {
        Imap { separator: '/', inbox_prefix: false }
    }
}

impl Default for Logging {
    fn default() -> Logging {
        Logging { format: LogFormat::Text, level: "info".into() }
    }
}
