//! Our client against our server, wired to each other in memory: whatever the settings and however the bytes are cut, each message arrives byte by
//! byte, for whom it was sent, or its sender is told. `SEEDS=100000` goes on longer, `SEED=n` plays one alone.

use fastrand::Rng;
use hikyaku_tests::model::{ClientOffice, Letter, Shared, World, in_seven_bits};
use mail::{Address, Envelope, Notify, Recipient, Ret, Wishes};
use smtp::client::{self, Credentials, Fate, Job, Protocol, Security};
use smtp::{Loss, Receipt, Refusal, Start, Verdict};
use std::collections::VecDeque;
use wire::{Fault, Inbox, News, Outbox, Question, Session, Sink, Step, Tick, Tls, Why};

const USUAL: u64 = 400;

/// What arrived: its envelope and its octets.
type Arrived = (Envelope, Vec<u8>);

/// The server's office: takes what it is told to take.
struct Desk {
    dice: Rng,
    lmtp: bool,
    tls: bool,
    open: Option<(Start, Vec<u8>)>,
    /// Refused with RCPT.
    refused: Vec<Address>,
    /// Committed, for whom it was taken.
    arrived: Vec<Arrived>,
    logins: usize,
}

impl Sink for Desk {
    fn body(&mut self, bytes: &[u8]) {
        self.open.as_mut().expect("bytes only for an open message").1.extend_from_slice(bytes);
    }
    fn is_full(&self) -> bool {
        false
    }
    fn drain(&mut self) {}
}

impl smtp::Office for Desk {
    fn login(&mut self, proof: sasl::Proof) -> Result<sasl::Login, sasl::Denied> {
        let sasl::Proof::Password { user, password, .. } = proof;
        assert_eq!((user.as_str(), password.reveal()), ("tim", "tanstaaf"));
        self.logins += 1;
        Ok(sasl::Login { account: "tim@example.test".into() })
    }
    fn sender(&mut self, _: Option<Address>, _: Option<u64>) -> Verdict {
        if self.dice.u8(0..20) == 0 { Err(Refusal::Fault(Fault::Later)) } else { Ok(()) }
    }
    fn recipient(&mut self, recipient: Recipient) -> Verdict {
        match self.dice.u8(0..8) {
            0 => {
                self.refused.push(recipient.address);
                Err(Refusal::NoMailbox)
            }
            1 if self.dice.bool() => Err(Refusal::MailboxFull),
            _ => Ok(()),
        }
    }
    fn open(&mut self, start: Start) -> Result<(), Fault> {
        assert!(self.open.is_none());
        if self.dice.u8(0..20) == 0 {
            return Err(Fault::Later);
        }
        self.open = Some((start, Vec::new()));
        Ok(())
    }
    fn commit(&mut self) -> Result<Receipt, Refusal> {
        let (start, bytes) = self.open.take().expect("only an open message is committed");
        if self.dice.u8(0..12) == 0 {
            return Err(Refusal::NoRoom);
        }
        let mut envelope = start.envelope;
        let mut each = Vec::new();
        if self.lmtp {
            each = envelope.recipients.iter().map(|_| if self.dice.u8(0..4) == 0 { Err(Refusal::MailboxFull) } else { Ok(()) }).collect();
            let mut verdicts = each.iter();
            envelope.recipients.retain(|_| verdicts.next().is_some_and(|verdict: &Verdict| verdict.is_ok()));
        }
        self.arrived.push((envelope, bytes));
        Ok(Receipt { id: "M1".into(), each })
    }
    fn abandon(&mut self, _: Loss) {
        self.open = None;
    }
}

/// One end of the line.
struct End<S, O> {
    session: S,
    office: O,
    rx: Inbox,
    tx: Outbox,
    shaking: bool,
    closed: Option<Why>,
}

impl<S, O> End<S, O>
where
    S: Session,
    S::Ask: Question<O, Answer = S::Answer>,
    O: Sink,
{
    fn new(session: S, office: O, inbox: usize, mark: usize) -> End<S, O> {
        End { session, office, rx: Inbox::new(inbox), tx: Outbox::new(mark), shaking: false, closed: None }
    }

    /// Steps until it waits. `line` is what travels to the other end.
    fn drive(&mut self, now: Tick, line: &mut VecDeque<u8>) {
        while self.closed.is_none() && !self.shaking {
            let waits = match self.session.step(now, &mut self.rx, &mut self.tx) {
                Step::Ask(ask) => {
                    let answer = ask.put_to(&mut self.office);
                    self.session.tell(now, News::Answer(answer), &mut self.tx);
                    continue;
                }
                Step::Body(bytes) => {
                    self.office.body(bytes);
                    continue;
                }
                Step::StartTls(_) => {
                    assert!(self.rx.is_empty(), "nothing is kept across a handshake");
                    self.shaking = true;
                    true
                }
                Step::Close(why) => {
                    self.closed = Some(why);
                    true
                }
                Step::Flush => false,
                Step::Read => true,
            };
            line.extend(self.tx.bytes());
            let n = self.tx.bytes().len();
            self.tx.sent(n);
            if waits {
                return;
            }
        }
    }

    fn hear(&mut self, dice: &mut Rng, line: &mut VecDeque<u8>) {
        let spare = self.rx.spare();
        let most = line.len().min(spare.len());
        if most > 0 {
            let n = if dice.bool() { dice.usize(1..=most.min(40)) } else { most };
            spare.iter_mut().zip(line.drain(..n)).for_each(|(room, byte)| *room = byte);
            self.rx.filled(n);
        }
    }
}

fn address(dice: &mut Rng) -> Address {
    let locals = ["alice", "bob", "a b", "x+y", "\"", "gr\u{fc}n", "o'neill", "a..b"];
    let domains = ["example.net", "b\u{fc}cher.example", "[192.0.2.1]", "xn--bcher-kva.example"];
    Address::new(dice.choice(locals).unwrap(), dice.choice(domains).unwrap())
}

fn content(dice: &mut Rng, kind: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    let pieces: &[&[u8]] = match kind {
        0 => &[b"\r\n", b".", b"..", b".\r\n", b"word ", b"Subject: x\r\n", b"\r\n.\r\n"],
        1 => &[b"\r\n", b".", b"\xc3\xbc", b"word ", b"\xff", b"\r\n.\r\n"],
        _ => &[b"\r\n", b"\n", b"\r", b".", b"\0", b"\xff", b"BDAT 5 LAST\r\n", b"\r\n.\r\n", b"\n.\n"],
    };
    let size = if dice.u8(0..10) == 0 { 200_000 } else { dice.usize(0..200) };
    let mut line = 0;
    while bytes.len() < size {
        let piece = dice.choice(pieces).unwrap();
        line = if piece.ends_with(b"\n") { 0 } else { line + piece.len() };
        bytes.extend_from_slice(piece);
        if kind < 2 && line > 900 {
            bytes.extend_from_slice(b"\r\n");
            line = 0;
        }
    }
    bytes
}

fn letter(dice: &mut Rng, id: u64) -> Letter {
    let kind = dice.u8(0..3);
    let content = content(dice, kind);
    let utf8 = dice.u8(0..6) == 0;
    let most = if dice.u8(0..10) == 0 { 150 } else { 6 };
    let recipients = (0..dice.usize(1..most))
        .map(|_| Recipient {
            address: address(dice),
            notify: dice.choice([Notify::default(), Notify::NEVER, Notify::SUCCESS.with(Notify::DELAY), Notify::FAILURE]).unwrap(),
            original: dice.choice([None, Some("rfc822;Bob+x=y z@x"), Some("utf-8;gr\u{fc}n\\+=@x")]).unwrap().map(Into::into),
        })
        .collect();
    let wishes = Wishes {
        ret: dice.choice([None, Some(Ret::Full), Some(Ret::Headers)]).unwrap(),
        envid: dice.bool().then(|| "a+b=c d".into()),
        require_tls: dice.u8(0..6) == 0,
        ..Wishes::default()
    };
    let job = Job {
        id,
        sender: dice.bool().then(|| address(dice)),
        recipients,
        wishes,
        due_in: None,
        size: content.len() as u64,
        eight_bit: !content.is_ascii(),
        binary: kind == 2,
        utf8,
        raw: false,
    };
    Letter { job, content }
}

/// As it is on the wire at the end: DATA ends a last line that has no end.
fn whole_lines(mut content: Vec<u8>) -> Vec<u8> {
    if !content.is_empty() && !content.ends_with(b"\r\n") {
        content.extend_from_slice(b"\r\n");
    }
    content
}

fn domain_matches(sent: &Address, got: &Address) -> bool {
    let ace = sent.domain.replace("b\u{fc}cher", "xn--bcher-kva");
    sent.local == got.local && (sent.domain == got.domain || *got.domain == *ace)
}

fn play(seed: u64, seen: &mut Seen) {
    let mut dice = Rng::with_seed(seed);
    let lmtp = dice.u8(0..4) == 0;
    let login = !lmtp && dice.u8(0..4) == 0;
    let tls_mode = dice.u8(0..3);
    let security = match tls_mode {
        0 => dice.choice([Security::May, Security::Never]).unwrap(),
        1 => dice.choice([Security::May, Security::Must { verified: true }, Security::Never]).unwrap(),
        _ => Security::Implicit { verified: dice.bool() },
    };
    let protected = tls_mode == 2 || (tls_mode == 1 && security != Security::Never);
    let offers = if dice.bool() { smtp::Offers::all(1000) } else { smtp::Offers::default() };
    let world: Shared = World::new().shared();
    let letters: Vec<Letter> = (0..dice.u64(1..6)).map(|id| letter(&mut dice, id)).collect();
    world.borrow_mut().letters.extend(letters.iter().cloned());
    let server = smtp::Settings {
        hostname: "mx.example.net".into(),
        role: if lmtp {
            smtp::Role::Lmtp
        } else if login {
            smtp::Role::Submission
        } else {
            smtp::Role::Relay
        },
        message_max: if dice.u8(0..4) == 0 { 1000 } else { 0 },
        recipients_max: if dice.u8(0..4) == 0 { 3 } else { 200 },
        tls: match tls_mode {
            0 => smtp::TlsMode::Never,
            1 => smtp::TlsMode::Start,
            _ => smtp::TlsMode::Already(Tls::default()),
        },
        plaintext_logins: true,
        offers,
        trusted: true,
        mails_max: if dice.u8(0..4) == 0 { 2 } else { 0 },
        clock: mail::Stamp::utc(1_795_502_247),
    };
    let client = client::Settings {
        helo: "client.example.test".into(),
        protocol: if lmtp { Protocol::Lmtp } else { Protocol::Smtp },
        security,
        name: "mx.example.net".into(),
        login: login.then(|| Credentials { user: "tim".into(), password: "tanstaaf".into(), nonce: "n".into() }),
        plaintext_login: true,
        socks: None,
        idle_ms: 1000,
    };
    let mut now = Tick(5000);
    let verified = matches!(security, Security::Must { verified: true } | Security::Implicit { verified: true });
    let desk = Desk { dice: Rng::with_seed(!seed), lmtp, tls: protected, open: None, refused: Vec::new(), arrived: Vec::new(), logins: 0 };
    let mut server = End::new(smtp::Server::new(server, now), desk, smtp::INBOX_LIMIT, smtp::OUTBOX_MARK);
    let mut client = End::new(client::Client::new(client, now), ClientOffice::new(world.clone()), client::INBOX_LIMIT, client::OUTBOX_MARK);
    let (mut up, mut down) = (VecDeque::new(), VecDeque::new());
    // A line that breaks somewhere, in a third of the plays.
    let breaks = (dice.u8(0..3) == 0).then(|| dice.usize(0..3000));
    let mut heard = 0;
    for _ in 0..1_000_000 {
        client.drive(now, &mut up);
        server.drive(now, &mut down);
        if client.closed.is_some() {
            break;
        }
        let implicit = tls_mode == 2 && client.shaking;
        if client.shaking && (implicit || (server.shaking && up.is_empty() && down.is_empty())) {
            client.shaking = false;
            client.session.tell(now, News::Secured(Ok(Tls::default())), &mut client.tx);
            if server.shaking {
                server.shaking = false;
                server.session.tell(now, News::Secured(Ok(Tls::default())), &mut server.tx);
            }
            continue;
        }
        heard += 1;
        if breaks.is_some_and(|at| heard > at) {
            client.rx.end();
            server.closed = Some(Why::Gone);
        }
        if up.is_empty() && down.is_empty() && !client.rx.ended() {
            if server.closed.is_some() {
                client.rx.end();
            } else {
                now = client.session.deadline().expect("it waits for something");
            }
        }
        if server.closed.is_some() {
            up.clear();
        }
        server.hear(&mut dice, &mut up);
        client.hear(&mut dice, &mut down);
    }
    assert!(client.closed.is_some(), "it ends");
    judge(&client.office, &server.office, &letters, breaks.is_some(), verified);
    seen.note(&client.office, &letters);
    assert!(client.office.told.len() + world.borrow().letters.len() == letters.len(), "each is told of or still waits");
    assert!(breaks.is_some() || client.office.trouble.is_none(), "{:?}", client.office.trouble);
    assert!(!login || breaks.is_some() || server.office.logins > 0);
}

/// What the client tells must be what the server has.
fn judge(client: &ClientOffice, server: &Desk, letters: &[Letter], broken: bool, verified: bool) {
    let mut arrived = server.arrived.iter().peekable();
    for ((told, report), sent) in client.told.iter().zip(letters) {
        let fates: Vec<Fate> = report.each.iter().map(|outcome| outcome.fate).collect();
        let had: Vec<&Recipient> = sent
            .job
            .recipients
            .iter()
            .zip(&fates)
            .filter(|(_, fate)| matches!(fate, Fate::Delivered | Fate::Relayed))
            .map(|(r, _)| r)
            .collect();
        let may_have = report.each.iter().any(|outcome| outcome.reply.text.contains("may arrive twice"));
        if sent.job.wishes.require_tls && !(verified && server.tls) {
            assert!(had.is_empty(), "sent without the protection it requires");
        }
        if had.is_empty()
            && !(may_have && arrived.peek().is_some_and(|(envelope, _)| envelope.sender.is_some() == sent.job.sender.is_some()))
        {
            // An LMTP server may commit a message of which it refuses every recipient.
            if arrived.peek().is_some_and(|(envelope, _)| envelope.recipients.is_empty()) {
                arrived.next();
            }
            continue;
        }
        let (envelope, bytes) = arrived.next().expect("what is told as delivered has arrived");
        let recoded = told.content != sent.content;
        assert!(*bytes == whole_lines(told.content.clone()) || *bytes == told.content, "byte by byte");
        if recoded {
            assert_eq!(told.content, in_seven_bits(&sent.content));
        }
        match (&envelope.sender, &sent.job.sender) {
            (Some(got), Some(sender)) => assert!(domain_matches(sender, got), "{sender} {got}"),
            (got, sender) => assert_eq!(got, sender),
        }
        if may_have {
            continue;
        }
        assert_eq!(envelope.recipients.len(), had.len(), "for whom it was sent: {envelope:?} {had:?}");
        for (got, recipient) in envelope.recipients.iter().zip(had) {
            assert!(domain_matches(&recipient.address, &got.address), "{recipient:?} {got:?}");
            if client.offers.last().is_some_and(|offer| offer.dsn) {
                assert_eq!((got.notify, &got.original), (recipient.notify, &recipient.original));
            }
        }
        if client.offers.last().is_some_and(|offer| offer.dsn) {
            assert_eq!((envelope.wishes.ret, &envelope.wishes.envid), (sent.job.wishes.ret, &sent.job.wishes.envid));
        }
        assert!(!sent.job.wishes.require_tls || envelope.wishes.require_tls);
    }
    assert!(broken || arrived.next().is_none(), "more arrived than was told");
}

/// How often something happened: dice that never get anywhere prove nothing.
#[derive(Debug, Default)]
struct Seen {
    delivered: usize,
    relayed: usize,
    refused: usize,
    unsent: usize,
    doubtful: usize,
    recoded: usize,
    binary: usize,
    tls: usize,
}

impl Seen {
    fn note(&mut self, client: &ClientOffice, letters: &[Letter]) {
        self.tls += usize::from(client.offers.iter().any(|offer| offer.tls.is_some()));
        for ((told, report), sent) in client.told.iter().zip(letters) {
            let good = report.each.iter().any(|o| matches!(o.fate, Fate::Delivered | Fate::Relayed));
            self.recoded += usize::from(good && told.content != sent.content);
            self.binary += usize::from(good && told.job.binary && told.content == sent.content);
            for outcome in &report.each {
                match outcome.fate {
                    Fate::Delivered => self.delivered += 1,
                    Fate::Relayed => self.relayed += 1,
                    _ if outcome.by_peer => self.refused += 1,
                    _ if outcome.reply.text.contains("may arrive twice") => self.doubtful += 1,
                    _ => self.unsent += 1,
                }
            }
        }
    }

    fn least(&self) -> usize {
        let all = [self.delivered, self.relayed, self.refused, self.unsent, self.doubtful, self.recoded, self.binary, self.tls];
        all.into_iter().min().unwrap_or(0)
    }
}

#[test]
fn what_is_told_is_what_arrived() {
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
    let seeds = number("SEED").map_or(0..number("SEEDS").unwrap_or(USUAL), |seed| seed..seed + 1);
    let (mut seen, all) = (Seen::default(), seeds.end - seeds.start);
    for seed in seeds {
        let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| play(seed, &mut seen)));
        assert!(played.is_ok(), "seed {seed}");
    }
    println!("{all} seeds: {seen:?}");
    assert!(all < USUAL || seen.least() > 0, "something never happened: {seen:?}");
}
