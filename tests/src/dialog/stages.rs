//! The protocols dialogs are played in: options of a dialog become settings of a session.

use super::stage::{Stage, take};
use crate::{
    drive::Host,
    model::{HOST, Hall, ImapOffice, PopOffice, Shared, SmtpOffice},
};
use mail::Stamp;
use std::str::FromStr;
use wire::Tls;

/// SMTP, submission and LMTP, by the name of the folder.
pub struct Smtp;

/// POP3.
pub struct Pop3;

/// IMAP.
pub struct Imap;

/// Options of a dialog with their lines.
type Options = Vec<(usize, String, String)>;
/// A line and what is wrong with it.
type Wrong = (usize, String);

impl Stage for Smtp {
    type Session = smtp::Server;
    type Office = SmtpOffice;

    fn open(hall: &str, options: &mut Options, world: Shared) -> Result<Host<smtp::Server, SmtpOffice>, Wrong> {
        let (role, hall) = match hall {
            "submission" => (smtp::Role::Submission, Hall::Submission),
            "lmtp" => (smtp::Role::Lmtp, Hall::Lmtp),
            _ => (smtp::Role::Relay, Hall::Smtp),
        };
        let settings = smtp::Settings {
            hostname: text(options, "hostname", HOST).as_str().into(),
            role,
            message_max: number(options, "size", 100 << 20)?,
            recipients_max: number(options, "recipients", 100)?,
            tls: match tls(options)? {
                Protection::Never => smtp::TlsMode::Never,
                Protection::Start => smtp::TlsMode::Start,
                Protection::Already => smtp::TlsMode::Already(handshake()),
            },
            plaintext_logins: yes(options, "plaintext")?,
            offers: offers(options)?,
            trusted: yes(options, "trusted")?,
            mails_max: number(options, "mails", 0)?,
            clock: Stamp::utc(world.borrow().now),
        };
        world.borrow_mut().max_size = settings.message_max;
        let office = SmtpOffice::new(world, hall);
        Ok(Host::new(|now| smtp::Server::new(settings, now), office, smtp::INBOX_LIMIT, smtp::OUTBOX_MARK))
    }
}

impl Stage for Pop3 {
    type Session = pop3::Server;
    type Office = PopOffice;

    fn open(_: &str, options: &mut Options, world: Shared) -> Result<Host<pop3::Server, PopOffice>, Wrong> {
        let settings = pop3::Settings {
            hostname: text(options, "hostname", HOST).as_str().into(),
            tls: match tls(options)? {
                Protection::Never => pop3::TlsMode::Never,
                Protection::Start => pop3::TlsMode::Start,
                Protection::Already => pop3::TlsMode::Already(handshake()),
            },
            plaintext_logins: yes(options, "plaintext")?,
        };
        let office = PopOffice::new(world);
        Ok(Host::new(|now| pop3::Server::new(settings, now), office, pop3::INBOX_LIMIT, pop3::OUTBOX_MARK))
    }
}

impl Stage for Imap {
    type Session = imap::Server;
    type Office = ImapOffice;

    fn open(_: &str, options: &mut Options, world: Shared) -> Result<Host<imap::Server, ImapOffice>, Wrong> {
        let settings = imap::Settings {
            hostname: text(options, "hostname", HOST).as_str().into(),
            tls: match tls(options)? {
                Protection::Never => imap::Tls::Never,
                Protection::Start => imap::Tls::Start,
                Protection::Already => imap::Tls::Already(handshake()),
            },
            plaintext_logins: yes(options, "plaintext")?,
            separator: text(options, "separator", "/").chars().next().unwrap_or('/'),
            inbox_prefix: yes(options, "prefix")?,
            append_max: number(options, "size", 100 << 20)?,
        };
        world.borrow_mut().max_size = settings.append_max;
        let office = ImapOffice::new(world);
        Ok(Host::new(|now| imap::Server::new(settings, now), office, imap::INBOX_LIMIT, imap::OUTBOX_MARK))
    }
}

/// `offers=all`, and `hold=` and `by=` for its numbers.
fn offers(options: &mut Options) -> Result<smtp::Offers, Wrong> {
    let mut offers = smtp::Offers::default();
    if let Some((line, word)) = take(options, "offers") {
        offers = match word.as_str() {
            "all" => smtp::Offers::all(number(options, "hold", 1_000_000)?),
            "none" => offers,
            _ => return Err((line, format!("offers is all or none: {word}"))),
        };
        offers.deliver_by = offers.deliver_by.map(|least| number(options, "by", least)).transpose()?;
    }
    Ok(offers)
}

enum Protection {
    Never,
    Start,
    Already,
}

fn tls(options: &mut Options) -> Result<Protection, Wrong> {
    match take(options, "tls") {
        None => Ok(Protection::Start),
        Some((line, word)) => match word.as_str() {
            "never" => Ok(Protection::Never),
            "start" => Ok(Protection::Start),
            "already" | "implicit" => Ok(Protection::Already),
            _ => Err((line, format!("tls is never, start or already: {word}"))),
        },
    }
}

fn handshake() -> Tls {
    Tls { version: "TLSv1.3".into(), cipher: "TLS13_AES_256_GCM_SHA384".into(), server_name: None, certificate: None }
}

fn text(options: &mut Options, key: &str, default: &str) -> String {
    take(options, key).map_or(default.into(), |(_, value)| value)
}

fn number<T: FromStr>(options: &mut Options, key: &str, default: T) -> Result<T, Wrong> {
    match take(options, key) {
        None => Ok(default),
        Some((line, value)) => value.parse().map_err(|_| (line, format!("{key} is a number: {value}"))),
    }
}

fn yes(options: &mut Options, key: &str) -> Result<bool, Wrong> {
    match take(options, key) {
        None => Ok(false),
        Some((line, value)) => match value.as_str() {
            "yes" => Ok(true),
            "no" => Ok(false),
            _ => Err((line, format!("{key} is yes or no: {value}"))),
        },
    }
}
