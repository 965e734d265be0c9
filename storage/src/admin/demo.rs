//! `demo`: a mail server to play with, from nothing.

use super::{Boot, Failure, Scratch, Source, Welcome, certificate::self_signed};
use crate::{
    accept::Leaving,
    account::{
        Hash,
        file::{self, Record},
    },
    disk::Posix,
    house::House,
    office::intake::{Form, Intake},
};
use config::{Certificate, Config, Listen, Speak, TlsMode, cli};
use mail::{Address, Flags, MailboxName, Stamp};
use std::{
    fs::DirBuilder,
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The domain; `.test` never exists outside (RFC 6761 §6.2).
const DOMAIN: &str = "example.test";
/// The accounts and their password.
const USERS: [&str; 2] = ["alice", "bob"];
const PASSWORD: &str = "hikyaku";
/// How many ports there are.
pub(super) const LISTENERS: usize = 8;
/// Port, protocol, when TLS starts.
const PORTS: [(u16, Speak, TlsMode); LISTENERS] = [
    (2525, Speak::Smtp, TlsMode::Start),
    (2587, Speak::Submission, TlsMode::Start),
    (2465, Speak::Submission, TlsMode::Implicit),
    (2143, Speak::Imap, TlsMode::Start),
    (2993, Speak::Imap, TlsMode::Implicit),
    (2110, Speak::Pop3, TlsMode::Start),
    (2995, Speak::Pop3, TlsMode::Implicit),
    (2024, Speak::Lmtp, TlsMode::Never),
];
/// So many of the usual ports may be somebody else's; if more are, it is another demo.
const STAND_INS: usize = 3;
/// How many names are tried for a scratch directory.
const SCRATCH_TRIES: u32 = 100;

/// Makes the store, the accounts and the certificate, or finds them in a directory that was kept.
pub(super) fn prepare(demo: &cli::Demo) -> Result<Boot, Failure> {
    // Before a directory is made: the usual case is that another demo is running.
    let ports = ports(demo.ports)?;
    let listen = PORTS.iter().zip(ports);
    let listen = listen.map(|(&(_, speak, tls), port)| Listen { on: SocketAddr::from((Ipv4Addr::LOCALHOST, port)), speak, tls }).collect();
    let (dir, scratch) = match &demo.dir {
        Some(dir) => {
            let dir = std::path::absolute(dir).map_err(|e| Failure::at(dir, e))?;
            DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(|e| Failure::at(&dir, e))?;
            (dir, None)
        }
        None => {
            let dir = scratch_dir()?;
            (dir.clone(), Some(Scratch(dir)))
        }
    };
    let certificate = Certificate { chain: dir.join("tls/cert.pem"), key: dir.join("tls/key.pem") };
    let config = Config {
        domains: vec![DOMAIN.into()],
        hostname: Some(format!("mx.{DOMAIN}")),
        store: dir.clone(),
        listen,
        certificates: vec![certificate.clone()],
        // Root may play too. What a demo serves is on this machine only, and goes with it.
        user: rustix::process::geteuid().is_root().then(|| "root".into()),
        ..Config::default()
    };
    let now = super::now();
    if !certificate.chain.exists() {
        self_signed(&["localhost", config.hostname(), "127.0.0.1"], &certificate.chain, &certificate.key, now)?;
    }
    let welcome = new_accounts(&config)?.into_iter().map(|to| Welcome { message: welcome_message(&to, now), to }).collect();
    let notes = notes(&dir, scratch.is_some(), demo.ports, &ports);
    Ok(Boot { source: Source::Made(Arc::new(config.clone())), config, welcome, notes, scratch })
}

impl House {
    /// Delivers the first messages, with the promise that all mail has. One that cannot be delivered is told to the log: it is no reason not to
    /// serve.
    pub fn welcome(&self, messages: &[Welcome]) {
        for Welcome { to, message } in messages {
            if let Err(error) = self.welcome_one(to, message) {
                tracing::error!(%to, error, "the welcome message is not delivered");
            }
        }
    }

    fn welcome_one(&self, to: &Address, message: &[u8]) -> Result<(), String> {
        let account = self.accounts().find(to).ok_or("there is no such account")?;
        let mut intake = Intake::new(self.spool().own_entry(), Form::Lines, "", message.len() as u64, self.claim(None));
        intake.feed(message);
        let taken = intake.finish().map_err(|e| format!("{e:?}"))?;
        let now = self.now();
        let inbox = self.destination(&account, MailboxName::inbox(), Flags::default(), now, Some(to)).map_err(|e| format!("{e:?}"))?;
        self.accept(taken, now, None, &[inbox], &Leaving::default()).map(drop).map_err(|e| e.to_string())
    }
}

/// Adds the accounts that are missing and says which.
fn new_accounts(config: &Config) -> Result<Vec<Address>, Failure> {
    file::change(&Posix, &config.accounts_path(), |records| {
        let mut added = Vec::new();
        for user in USERS {
            let address = Address::new(user, DOMAIN);
            if records.iter().all(|r| r.address != address) {
                let hash = Hash::of(PASSWORD);
                records.push(Record::new(address.clone(), hash));
                added.push(address);
            }
        }
        Ok(added)
    })
}

/// The first message of an account, with CRLF line ends.
pub fn welcome_message(to: &Address, now: Stamp) -> Vec<u8> {
    let other = if &*to.local == USERS[0] { USERS[1] } else { USERS[0] };
    let text = format!(
        "From: Hikyaku <postmaster@{DOMAIN}>\n\
         To: {to}\n\
         Subject: Welcome\n\
         Date: {}\n\
         Message-ID: <welcome.{}.{}@mx.{DOMAIN}>\n\
         MIME-Version: 1.0\n\
         Content-Type: text/plain; charset=utf-8\n\
         Content-Transfer-Encoding: 8bit\n\
         \n\
         Hello {},\n\
         \n\
         this is your own mail server. It keeps this message in a Maildir, which any\n\
         mail program on this machine can read, and serves it by IMAP and POP3.\n\
         \n\
         Write to {other}@{DOMAIN}, who has the same password as you: {PASSWORD}.\n\
         \n\
         \u{98db}\u{811a} (hikyaku) were the express couriers of old Japan.\n",
        now.header(),
        to.local,
        now.seconds,
        to.local,
    );
    text.replace('\n', "\r\n").into_bytes()
}

/// The ports to listen on, those of [`PORTS`] and `base` added. If other programs have a few of the usual ones, others stand in for them; who asks for ports of
/// their own gets those or none.
fn ports(base: u16) -> Result<[u16; 8], Failure> {
    let bind = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    let mut ports = PORTS.map(|(port, ..)| port + base);
    let taken = ports.iter().filter(|port| bind(**port).is_err()).count();
    for port in &mut ports {
        let Err(error) = bind(*port) else { continue };
        let other =
            if base == 0 && taken <= STAND_INS { (1..6).map(|n| *port + n * 10_000).find(|port| bind(*port).is_ok()) } else { None };
        *port = other
            .ok_or_else(|| Failure::new(format!("127.0.0.1:{port}: {error}\nIs another demo running? Try `hikyaku demo --ports 1000`")))?;
    }
    Ok(ports)
}

/// What to paste.
fn notes(dir: &Path, scratch: bool, base: u16, ports: &[u16; 8]) -> String {
    let p = |usual: u16| PORTS.iter().zip(ports).find(|((port, ..), _)| *port == usual).map_or(usual, |(_, port)| *port);
    let moved: String = PORTS
        .iter()
        .zip(ports)
        .filter(|((usual, ..), port)| usual + base != **port)
        .map(|((usual, ..), port)| format!("  Note         another program has port {usual}, so {port} stands in for it\n"))
        .collect();
    let keep = if scratch { "removed at the end; keep it with --dir DIR" } else { "kept" };
    format!(
        "\
Hikyaku is ready, for this machine only. Ctrl-C ends it.

  Accounts     alice@{DOMAIN} and bob@{DOMAIN}, password: {PASSWORD}
  Store        {dir} ({keep})
  Certificate  {dir}/tls/cert.pem, signed by itself: programs will ask whether to trust it
{moved}
Send a message from bob to alice:

  printf 'From: bob@{DOMAIN}\\r\\nTo: alice@{DOMAIN}\\r\\nSubject: Hello\\r\\n\\r\\nHello, Alice!\\r\\n' |
    curl -k smtps://127.0.0.1:{submissions} -u bob@{DOMAIN}:{PASSWORD} \\
      --mail-from bob@{DOMAIN} --mail-rcpt alice@{DOMAIN} -T -

Read the newest one by IMAP, and the first one by POP3:

  curl -k 'imaps://127.0.0.1:{imaps}/INBOX;MAILINDEX=*' -u alice@{DOMAIN}:{PASSWORD}
  curl -k pop3s://127.0.0.1:{pop3s}/1 -u alice@{DOMAIN}:{PASSWORD}

Speak to it yourself:

  openssl s_client -quiet -crlf -connect 127.0.0.1:{imaps}
  openssl s_client -quiet -crlf -connect 127.0.0.1:{submission} -starttls smtp

Settings of a mail program (user name: the whole address; password: normal):

  Incoming     IMAP  127.0.0.1  port {imaps} SSL/TLS, or {imap} STARTTLS
               POP3  127.0.0.1  port {pop3s} SSL/TLS, or {pop3} STARTTLS
  Outgoing     SMTP  127.0.0.1  port {submissions} SSL/TLS, or {submission} STARTTLS
  From others  SMTP  127.0.0.1  port {smtp};  LMTP  port {lmtp}
",
        dir = dir.display(),
        smtp = p(2525),
        submission = p(2587),
        submissions = p(2465),
        imap = p(2143),
        imaps = p(2993),
        pop3 = p(2110),
        pop3s = p(2995),
        lmtp = p(2024),
    )
}

/// A directory nobody else has, for its owner only.
fn scratch_dir() -> Result<PathBuf, Failure> {
    let base = std::env::temp_dir();
    for n in 0..SCRATCH_TRIES {
        let dir = base.join(format!("hikyaku-demo-{}-{n}", std::process::id()));
        match DirBuilder::new().mode(0o700).create(&dir) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(Failure::at(&dir, e)),
            Ok(()) => return Ok(dir),
        }
    }
    Err(Failure::at(&base, "too many demos have left their directories here"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_taken_has_a_stand_in() {
        // Whoever has port 2024 already serves as well.
        let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 2024));
        let others = PORTS.iter().filter(|(port, ..)| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_err()).count();
        let ports = ports(0);
        assert_eq!(ports.is_ok(), others <= STAND_INS, "{others} ports are taken");
        // A demo of somebody who works here.
        let Ok(ports) = ports else { return };
        assert_ne!(ports[7], 2024);
        let said = notes(Path::new("/x"), true, 0, &ports);
        assert!(said.contains(&format!("another program has port 2024, so {} stands in for it", ports[7])), "{said}");
        assert!(said.contains(&format!("LMTP  port {}", ports[7])), "{said}");
    }
}
