//! SMTP on standard input and output (`-bs`): the session of the server, answered by the drop folder.
//!
//! What is taken is left like every other message of `sendmail`, so it does not matter whether the server runs. Nobody is asked to log in: whoever
//! speaks could call `sendmail` as well. Recipients are not looked up, because the one who speaks may not read the accounts; the report tells of those
//! that are unknown.

use super::{DATA, Ended, NO_PERMISSION, OUTPUT, draft::Draft};
use crate::{admin::Console, clock, drop::Letter};
use config::Config;
use mail::{Address, Recipient, Stamp};
use rustix::net::getpeername;
use sasl::{Denied, Login, Proof};
use smtp::{Loss, Office, Receipt, Refusal, Start, Verdict};
use std::{
    io::{self, BufRead, Write},
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};
use wire::{Fault, Inbox, News, Outbox, Question as _, Session as _, Sink, Step};

/// Speaks until the other side is done.
pub(super) fn speak(config: &Config, dir: PathBuf, uid: u32, now: Stamp, console: &mut Console<'_>) -> Ended {
    if let Some(ip) = caller().filter(|ip| !config.is_relay_client(*ip)) {
        // Put behind a port by inetd, it would let everybody send to everybody.
        let _ = console.out.write_all(b"554 5.7.1 This host may not send mail here\r\n").and_then(|()| console.out.flush());
        return Err((NO_PERMISSION, format!("{ip} speaks over a network and is not in relay.clients")));
    }
    let settings = smtp::Settings {
        hostname: config.hostname().into(),
        role: smtp::Role::Relay,
        message_max: config.limits.message,
        recipients_max: config.limits.recipients,
        tls: smtp::TlsMode::Never,
        plaintext_logins: false,
        // What a letter of the drop folder can say.
        offers: smtp::Offers { dsn: true, ..smtp::Offers::default() },
        trusted: true,
        mails_max: 0,
        clock: now,
    };
    let mut session = smtp::Server::new(settings, clock::now());
    let mut office = Folder { dir, uid, largest: config.limits.message, open: None, err: &mut *console.err };
    let (mut rx, mut tx) = (Inbox::new(smtp::INBOX_LIMIT), Outbox::new(smtp::OUTBOX_MARK));
    let mut ends = Ends::default();
    loop {
        match session.step(clock::now(), &mut rx, &mut tx) {
            Step::Read => {
                flush(&mut tx, &mut *console.out)?;
                hear(&mut *console.input, &mut rx, &mut ends).map_err(|error| (DATA, error.to_string()))?;
            }
            Step::Flush => flush(&mut tx, &mut *console.out)?,
            Step::Body(bytes) => office.body(bytes),
            Step::Ask(ask) => session.tell(clock::now(), News::Answer(ask.put_to(&mut office)), &mut tx),
            Step::StartTls(_) => unreachable!("TLS is not offered"),
            Step::Close(_) => return flush(&mut tx, &mut *console.out),
        }
    }
}

/// Who speaks, if that is somebody at the other end of a network.
fn caller() -> Option<IpAddr> {
    let peer = getpeername(io::stdin()).ok()??;
    SocketAddr::try_from(peer).ok().map(|peer| peer.ip().to_canonical())
}

fn flush(tx: &mut Outbox, out: &mut dyn Write) -> Ended {
    while !tx.is_empty() {
        let n = out.write(tx.bytes()).and_then(|n| if n == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(n) });
        tx.sent(n.map_err(|error| (OUTPUT, error.to_string()))?);
    }
    out.flush().map_err(|error| (OUTPUT, error.to_string()))
}

/// How the lines of standard input end.
#[derive(Debug, Default)]
struct Ends {
    /// With a line feed alone, as scripts write them, or not: whoever ends the first line so means all of them, otherwise the session refuses it.
    bare: Option<bool>,
    /// A carriage return was put, its line feed was not.
    half: bool,
}

/// Reads what there is, as much as there is room for.
fn hear(input: &mut dyn BufRead, rx: &mut Inbox, ends: &mut Ends) -> io::Result<()> {
    let bytes = match input.fill_buf() {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
        read => read?,
    };
    if bytes.is_empty() {
        rx.end();
        return Ok(());
    }
    if ends.bare.is_none() {
        ends.bare = memchr::memchr(b'\n', bytes).map(|at| at > 0 && bytes[at - 1] != b'\r');
    }
    let room = rx.spare();
    let (mut taken, mut put) = (0, 0);
    while taken < bytes.len() && put < room.len() {
        ends.half = ends.bare == Some(true) && bytes[taken] == b'\n' && !ends.half;
        room[put] = if ends.half { b'\r' } else { bytes[taken] };
        taken += usize::from(!ends.half);
        put += 1;
    }
    rx.filled(put);
    input.consume(taken);
    Ok(())
}

/// Answers the session from the drop folder.
struct Folder<'a> {
    dir: PathBuf,
    uid: u32,
    largest: u64,
    /// A message that is on its way in, or why it cannot be written.
    open: Option<io::Result<Draft>>,
    /// For what the replies do not say.
    err: &'a mut dyn Write,
}

impl Folder<'_> {
    fn trouble(&mut self, error: &io::Error) {
        // Without standard error the reply has to do.
        let _ = writeln!(self.err, "sendmail: {}: {error}", self.dir.display());
    }
}

impl Office for Folder<'_> {
    fn login(&mut self, _: Proof) -> Result<Login, Denied> {
        Err(Denied::Wrong)
    }

    fn sender(&mut self, _: Option<Address>, _: Option<u64>) -> Verdict {
        Ok(())
    }

    fn recipient(&mut self, _: Recipient) -> Verdict {
        Ok(())
    }

    fn open(&mut self, start: Start) -> Result<(), Fault> {
        let letter = Letter { uid: self.uid, envelope: start.envelope, eight_bit: start.body == smtp::Body::EightBit, verp: false };
        let draft = Draft::begin(&self.dir, &letter, self.largest).map_err(|error| {
            self.trouble(&error);
            Fault::Later
        })?;
        self.open = Some(Ok(draft));
        Ok(())
    }

    fn commit(&mut self) -> Result<Receipt, Refusal> {
        let draft = self.open.take().expect("a message is committed that is open");
        let left = draft.and_then(|draft| {
            let id = draft.name().into();
            draft.leave()?;
            Ok(Receipt { id, each: Vec::new() })
        });
        left.map_err(|error| match error.kind() {
            io::ErrorKind::FileTooLarge => Refusal::TooLarge,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Refusal::NoRoom,
            _ => {
                self.trouble(&error);
                Refusal::Fault(Fault::Later)
            }
        })
    }

    fn abandon(&mut self, _: Loss) {
        self.open = None;
    }
}

impl Sink for Folder<'_> {
    fn body(&mut self, bytes: &[u8]) {
        let open = self.open.as_mut().expect("bytes came for a message that is not open");
        let Ok(draft) = open else { return };
        // The session lets no carriage return pass that does not end a line.
        let mut lines = bytes.split(|b| *b == b'\r');
        if let Err(error) = lines.try_for_each(|piece| draft.write_all(piece)) {
            *open = Err(error);
        }
    }

    fn is_full(&self) -> bool {
        false
    }

    fn drain(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{disk::Posix, drop};
    use mail::{Envelope, Notify, Ret};
    use std::fs;

    /// What is said to a conversation, and what it leaves: envelope and text.
    fn talk(name: &str, said: &str) -> (String, Vec<(Letter, String)>) {
        let dir = std::env::temp_dir().join(format!("hikyaku-speak-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        drop::prepare(&dir).unwrap();
        let config = config::parse("test", "(domains: [\"x.test\"], limits: (message: 65536))").unwrap();
        let (mut input, mut out, mut err) = (said.as_bytes(), Vec::new(), Vec::new());
        let mut console = Console { input: &mut input, out: &mut out, err: &mut err, terminal: false, colours: false };
        speak(&config, dir.clone(), 7, Stamp::utc(0), &mut console).unwrap();
        let mut left = Vec::new();
        drop::Folder::new(dir.clone())
            .take_in(&Posix, 1 << 20, 0, &mut |_, letter, message| {
                let mut text = String::new();
                message.read_to_string(&mut text)?;
                left.push((letter.clone(), text));
                Ok(())
            })
            .unwrap();
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 0, "nothing else lies there");
        fs::remove_dir_all(dir).unwrap();
        (String::from_utf8(out).unwrap(), left)
    }

    fn codes(heard: &str) -> Vec<&str> {
        heard.lines().filter(|line| line.as_bytes().get(3) == Some(&b' ')).map(|line| &line[..3]).collect()
    }

    #[test]
    fn what_is_said_is_left() {
        let said = "EHLO me\r\nMAIL FROM:<a@x.test> RET=HDRS ENVID=e1\r\nRCPT TO:<b@y.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;B@y.test\r\n\
                    DATA\r\nSubject: hi\r\n\r\n..dot\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<c@y.test>\r\nBDAT 5 LAST\r\nA:b\r\n\
                    MAIL FROM:<a@x.test>\r\nRCPT TO:<c@y.test>\r\nDATA\r\ncut";
        let (heard, mut left) = talk("crlf", said);
        assert_eq!(codes(&heard).join(" "), "220 250 250 250 354 250 250 250 250 250 250 354", "{heard}");
        assert!(heard.contains("250-DSN\r\n") && !heard.contains("STARTTLS") && !heard.contains("AUTH"), "{heard}");
        left.sort_by_key(|(_, text)| text.clone());
        let texts: Vec<&str> = left.iter().map(|(_, text)| &**text).collect();
        assert_eq!(texts, ["A:b\n", "Subject: hi\n\n.dot\n"]);
        assert_eq!(left[0].0.envelope.sender, None);
        let Envelope { sender, recipients, wishes } = &left[1].0.envelope;
        assert_eq!(sender.as_ref().map(ToString::to_string).as_deref(), Some("a@x.test"));
        let wanted = Recipient {
            address: Address::new("b", "y.test"),
            notify: Notify::SUCCESS.with(Notify::FAILURE),
            original: Some("rfc822;B@y.test".into()),
        };
        assert_eq!((&recipients[..], wishes.ret, wishes.envid.as_deref()), (&[wanted][..], Some(Ret::Headers), Some("e1")));
    }

    #[test]
    fn scripts_end_lines_with_a_line_feed() {
        let long = "x".repeat(70_000);
        let said = format!(
            "HELO me\nMAIL FROM:<a@x.test>\nRCPT TO:<b@y.test>\nDATA\nA: b\n\nhi\n.\n\
             MAIL FROM:<a@x.test>\nRCPT TO:<b@y.test>\nDATA\n\n{long}\n.\nAUTH PLAIN\nQUIT\n"
        );
        let (heard, left) = talk("lf", &said);
        assert_eq!(codes(&heard).join(" "), "220 250 250 250 354 250 250 250 354 552 502 221", "{heard}");
        assert_eq!((left.len(), &*left[0].1), (1, "A: b\n\nhi\n"));
    }
}
