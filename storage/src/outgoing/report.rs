//! Telling senders what became of their mail (RFC 3461 §6). A report enters as a message, and its record settles what it tells.

use super::{
    Said,
    outbound::{address, spoken},
};
use crate::{accept::Leaving, depot, house::House, recover::decode, story::Deed};
use config::Config;
use mail::{Address, Envelope, Notify, Recipient, Stamp};
use queue::{
    Attempt, Attempts, Fate, Record, Tells, Traits, Tried,
    dsn::{self, About, Case, HeaderOnly, Kind, Original, Policy, Returned, Strangers, Template, Templates, Told},
};
use std::{collections::BTreeMap, fs, io, sync::Arc};

/// Bytes of an original that are copied at a time.
const CHUNK: usize = 64 << 10;

/// The texts, with those of the operator in their places.
///
/// # Errors
/// If one of them cannot be read or makes no sense.
pub(super) fn templates(config: &Config) -> io::Result<Templates> {
    let mut templates = Templates::default();
    let Some(dir) = &config.reports.templates else { return Ok(templates) };
    for (name, kind) in Templates::FILES {
        let path = dir.join(name);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
        };
        let template =
            Template::parse(&text).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error:?}", path.display())))?;
        templates.replace(kind, template);
    }
    Ok(templates)
}

/// Who is told what about which recipients.
type Telling = BTreeMap<(u8, Address), (Kind, Vec<u16>)>;

impl House {
    /// Tells a sender who wishes to hear of success that mail was passed on to a host which tells nothing (RFC 3461 §5.2.2).
    ///
    /// # Errors
    /// If it cannot be made durable.
    pub(super) fn report_relayed(self: &Arc<House>, id: u64, record: &[u8], relayed: &[(u16, Said)]) -> io::Result<()> {
        let Record::Accept(accept) = decode(record)? else { return Err(io::ErrorKind::InvalidData.into()) };
        let Some(sender) = accept.sender.and_then(address) else { return Ok(()) };
        let numbers: Vec<u16> = relayed.iter().map(|(n, _)| *n).collect();
        let said: Vec<Said> = relayed.iter().map(|(_, said)| said.clone()).collect();
        self.tell_sender(id, &accept, &sender, Kind::Relayed, &numbers, &numbers, &said, true)
    }

    /// Tells what is owed about recipients that failed, or that were passed on when no report could be written.
    pub(super) fn report_owed(self: &Arc<House>, id: u64, recipients: &[u16]) {
        let reported = self.report(id, recipients, |said| if said.relayed { Kind::Relayed } else { Kind::Failed });
        if let Err(error) = reported {
            tracing::error!(id = format!("{id:x}"), %error, "a report cannot be written; it is tried again");
            let at = self.queue_ms() + super::REPORT_AGAIN_MS;
            self.outgoing().inner().put_off.insert(id, at);
        }
    }

    /// Tells that a message is late.
    pub(super) fn report_late(self: &Arc<House>, id: u64, recipients: &[u16]) {
        match self.report(id, recipients, |_| Kind::Delayed) {
            Ok(()) => self.outgoing().inner().queue.warned(id),
            // It is a courtesy; the report of the end is owed.
            Err(error) => tracing::warn!(id = format!("{id:x}"), %error, "a report of delay cannot be written"),
        }
    }

    pub(super) fn report(self: &Arc<House>, id: u64, recipients: &[u16], kind: impl Fn(&Said) -> Kind) -> io::Result<()> {
        let record = match self.depot().read(self.spool(), id) {
            Err(error) if depot::is_lost(&error) && self.outgoing().inner().strike(id) => {
                let said = self.last_said(id, recipients, &[]);
                if recipients.iter().zip(&said).any(|(_, said)| kind(said) != Kind::Delayed) {
                    tracing::error!(id = format!("{id:x}"), %error, "a message was not delivered, and who sent it cannot be read any more: nobody is told");
                    self.settle_silently(id, recipients, recipients, &said, &[]);
                }
                return Ok(());
            }
            record => record?,
        };
        let Record::Accept(accept) = decode(&record)? else { return Err(io::ErrorKind::InvalidData.into()) };
        let remotes: Vec<queue::Remote<'_>> = accept.remotes.iter().collect();
        let said = self.last_said(id, recipients, &remotes);
        let policy = self.report_policy();
        let known = self.is_known(&accept);
        let mut telling = Telling::new();
        let mut nobody = Vec::new();
        for (number, said) in recipients.iter().zip(&said) {
            let Some(remote) = remotes.get(usize::from(*number)).filter(|remote| address(remote.recipient).is_some()) else {
                tracing::error!(id = format!("{id:x}"), number, "the record of a message does not say for whom it is; nobody can be told");
                nobody.push(*number);
                continue;
            };
            let sender = remote.sender.or(accept.sender).and_then(address);
            let double = accept.traits.has(Traits::DOUBLE);
            let kind = kind(said);
            let case = Case { kind, sender: sender.as_ref(), notify: remote.notify, known, double };
            match dsn::whom_to_tell(&case, &policy) {
                Told::Sender(to) => telling.entry((kind as u8, to.clone())).or_insert((kind, Vec::new())).1.push(*number),
                Told::Postmaster(to) => {
                    telling.entry((Kind::Double as u8, to.clone())).or_insert((Kind::Double, Vec::new())).1.push(*number);
                }
                Told::Nobody => nobody.push(*number),
            }
        }
        for ((_, to), (kind, numbers)) in telling {
            self.tell_sender(id, &accept, &to, kind, &numbers, recipients, &said, known)?;
        }
        // Of those that are only late nobody is told, and they go on.
        nobody.retain(|number| recipients.iter().zip(&said).any(|(n, said)| n == number && kind(said) != Kind::Delayed));
        self.settle_silently(id, &nobody, recipients, &said, &remotes);
        Ok(())
    }

    /// Writes one report and settles what it tells.
    #[allow(clippy::too_many_arguments, reason = "what is told has so many parts, and they are nowhere together otherwise")]
    fn tell_sender(
        self: &Arc<House>,
        id: u64,
        accept: &queue::Accept<'_>,
        to: &Address,
        kind: Kind,
        numbers: &[u16],
        all: &[u16],
        said: &[Said],
        known: bool,
    ) -> io::Result<()> {
        let config = self.config();
        let of = |number: u16| all.iter().position(|n| *n == number).map(|at| said[at].clone()).unwrap_or_default();
        let remotes: Vec<queue::Remote<'_>> = accept.remotes.iter().collect();
        let heard: Vec<(queue::Remote<'_>, Address, Said)> =
            numbers.iter().filter_map(|n| Some((remotes[usize::from(*n)], address(remotes[usize::from(*n)].recipient)?, of(*n)))).collect();
        // An operator may have changed when that is, and so may its sender have.
        let give_up = self.outgoing().inner().queue.show(id).map_or(0, |listed| listed.give_up_ms / 1000);
        let give_up = Stamp::utc(i64::try_from(give_up).unwrap_or(i64::MAX));
        let about: Vec<About<'_>> = heard
            .iter()
            .map(|(remote, address, said)| About {
                address,
                original: remote.original,
                code: said.code,
                reply: &said.text,
                remote: said.host.as_deref(),
                attempted: (said.at_s > 0).then(|| Stamp::utc(said.at_s)),
                until: (kind == Kind::Delayed).then_some(give_up),
                overdue: accept.wishes.by.is_some_and(|by| by.at.seconds <= self.now().seconds),
            })
            .collect();
        if about.is_empty() {
            return Ok(());
        }
        let policy = self.report_policy();
        let size = match accept.content {
            queue::Content::Inline(bytes) => bytes.len() as u64,
            queue::Content::Large { size, .. } => size,
        };
        let binary = accept.traits.has(Traits::BINARY);
        let returned = dsn::returned(kind, accept.wishes.ret, size, binary, known, &policy);
        let postmaster = Address::new("postmaster", config.hostname());
        let name = self.outgoing().unguessable(id);
        let shown = format!("{id:x}");
        let original = Original {
            id: &shown,
            envid: accept.wishes.envid,
            arrived: accept.stamp,
            message_id: None,
            utf8: accept.traits.has(Traits::UTF8),
            eight_bit: accept.traits.has(Traits::EIGHT_BIT),
            returned,
        };
        let report = dsn::Report {
            kind,
            host: config.hostname(),
            to,
            postmaster: &postmaster,
            name: &name,
            date: self.now(),
            original,
            recipients: &about,
        };
        let message = report.message(&self.outgoing().templates());
        let mut traits = Traits::REPORT;
        traits = traits.with_if(Traits::DOUBLE, kind == Kind::Double);
        let tells = if kind == Kind::Delayed { Tells::Delay } else { Tells::End };
        let recipient = Recipient { address: to.clone(), notify: Notify::NEVER, original: None };
        let envelope = Envelope { sender: None, recipients: vec![recipient], ..Envelope::default() };
        let settles = Some((id, numbers, tells));
        let leaving = Leaving { traits, settles, ..Leaving::default() };
        let report_id = self.submit(envelope, "report", "this server", leaving, |intake| {
            intake.feed(&message.head);
            match self.is_as_written(id, &accept.content) {
                // It goes without the original.
                Err(error) if depot::is_lost(&error) => tracing::error!(id = shown, %error, "what is told of cannot be read any more"),
                Err(error) => return Err(error),
                Ok(()) => self.feed_original(id, accept, message.returned, intake)?,
            }
            intake.feed(&message.tail);
            Ok(())
        })?;
        tracing::info!(id = shown, report = format!("{report_id:x}"), to = %to, ?kind, "sender told");
        let report = Some(format!("{report_id:x}"));
        if kind == Kind::Delayed {
            let recipients = heard.iter().map(|(_, address, _)| address.to_string()).collect();
            self.tell(id, Deed::Warned { recipients, report });
            return Ok(());
        }
        for (_, address, said) in &heard {
            let recipient = address.to_string();
            let deed = match kind {
                Kind::Relayed => continue,
                _ => Deed::Bounced { recipient, peer: None, reply: spoken(said), report: report.clone() },
            };
            self.tell(id, deed);
        }
        Ok(())
    }

    /// Settles those whom nobody is told of.
    fn settle_silently(&self, id: u64, numbers: &[u16], all: &[u16], said: &[Said], remotes: &[queue::Remote<'_>]) {
        if numbers.is_empty() {
            return;
        }
        let mut attempts = Vec::with_capacity(numbers.len());
        for number in numbers {
            let Some(at) = all.iter().position(|n| n == number) else { continue };
            attempts.push(Attempt { recipient: *number, fate: Fate::Failed, code: said[at].code, reply: &said[at].text });
            let recipient = remotes.get(usize::from(*number)).map(|r| r.recipient.to_owned()).unwrap_or_default();
            tracing::info!(id = format!("{id:x}"), to = recipient, reply = said[at].text, "failed, and nobody is told");
            self.tell(id, Deed::Bounced { recipient, peer: None, reply: spoken(&said[at]), report: None });
        }
        let tried = Tried { id, at_ms: self.queue_ms(), host: "", tls: "", attempts: Attempts::new(&attempts) };
        if let Err(error) = self.spool().jot(&[&Record::Tried(tried).encode()]) {
            tracing::error!(id = format!("{id:x}"), %error, "an attempt is not in the log");
        }
        self.settled(id, numbers);
    }

    /// Recipients are done, and the log knows it.
    pub(crate) fn settled(&self, id: u64, numbers: &[u16]) {
        let mut inner = self.outgoing().inner();
        inner.queue.settled(id, numbers);
        if !inner.queue.contains(id) {
            inner.hush(id);
            drop(inner);
            self.depot().forget(id);
        }
    }

    /// What was last heard of each recipient; of those of whom nothing was, what was heard of their sites.
    fn last_said(&self, id: u64, recipients: &[u16], remotes: &[queue::Remote<'_>]) -> Vec<Said> {
        let inner = self.outgoing().inner();
        let of = |number: &u16| {
            let site = remotes.get(usize::from(*number)).map(queue::Remote::site).unwrap_or_default();
            let said = inner.said.get(&(id, *number)).filter(|said| !said.text.starts_with("4.4.7 it could"));
            said.or_else(|| inner.said_of_site.get(site)).or_else(|| inner.said.get(&(id, *number))).cloned().unwrap_or_default()
        };
        recipients.iter().map(of).collect()
    }

    /// Whether the sender of a message is known: a client said who it is, or may relay, or a program of this host left it.
    fn is_known(&self, accept: &queue::Accept<'_>) -> bool {
        let config = self.config();
        // No client can have said `local`.
        accept.trace.is_some_and(|trace| {
            !trace.login.is_empty() || trace.with == "local" || trace.peer.parse().is_ok_and(|peer| config.is_relay_client(peer))
        })
    }

    /// Whether the sender of a message is told of success, if they wish to be.
    pub(super) fn tells_success(&self, accept: &queue::Accept<'_>) -> bool {
        self.config().reports.strangers == config::Strangers::Asked || self.is_known(accept)
    }

    fn report_policy(&self) -> Policy {
        let config = self.config();
        let reports = &config.reports;
        let double_bounces = reports.double_bounces.as_deref().and_then(Address::parse);
        Policy {
            strangers: match reports.strangers {
                config::Strangers::Asked => Strangers::Asked,
                config::Strangers::Failures => Strangers::Failures,
                config::Strangers::Nothing => Strangers::Nothing,
            },
            double_bounces: double_bounces.or_else(|| Some(Address::new("postmaster", config.hostname()))),
            unsaid_max: reports.return_max,
            full_max: reports.return_max_asked,
        }
    }

    /// Puts what comes back of the original into its report.
    fn feed_original(
        &self,
        id: u64,
        accept: &queue::Accept<'_>,
        returned: Returned,
        intake: &mut crate::office::intake::Intake,
    ) -> io::Result<()> {
        let mut header = HeaderOnly::new();
        let mut pass = |bytes: &[u8]| {
            match returned {
                Returned::Whole => intake.feed(bytes),
                Returned::Header => intake.feed(header.pass(bytes)),
            }
            if intake.is_full() {
                intake.drain();
            }
        };
        match accept.content {
            queue::Content::Inline(bytes) => pass(bytes),
            queue::Content::Large { size, .. } => {
                let file = self.depot().open_large(self.spool(), id)?;
                let mut chunk = vec![0; CHUNK];
                let mut at = 0;
                while at < size {
                    match file.read_at(&mut chunk, at)? {
                        0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                        n => {
                            pass(&chunk[..n]);
                            at += n as u64;
                        }
                    }
                    if returned == Returned::Header && at > dsn::HEADER_MAX as u64 {
                        break;
                    }
                }
            }
        }
        Ok(())
    }
}
