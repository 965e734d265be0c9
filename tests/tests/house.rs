//! The house as its offices see it: what comes in by one protocol is there for the others, and what a crash undid is done again.

use config::{Listen, Speak};
use mail::{Address, Envelope, Flags, MailboxName, Notify, Recipient, Span, Wishes};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};
use storage::{
    control::{Action, Filter, Operator, Page, Refused, State, Whom},
    disk::Posix,
    house::{House, Seat},
    office,
};
use wire::{Nudge, Ring, Sink, Tick};

struct Deaf;
impl Ring for Deaf {
    fn ring(&self, _: Nudge) {}
}

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("hikyaku-house-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        // {SSHA} of "hikyaku" with the salt "salt": cheap, so that the test is about something else.
        let account = |local: &str| format!("(address: \"{local}@example.test\", hash: \"{{SSHA}}ev3P3p8pGsxpYfBqdhSjbVQRyidzYWx0\")");
        std::fs::write(path.join("accounts.ron"), format!("(version: 1, accounts: [{}, {}])", account("alice"), account("bob"))).unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn open(store: &Path) -> Arc<House> {
    open_with(store, "relay: (clients: [\"127.0.0.1\"])")
}

fn open_with(store: &Path, extra: &str) -> Arc<House> {
    let text = format!("(domains: [\"example.test\"], store: {store:?}, plaintext_logins: true, {extra})");
    House::open(config::parse("test", &text).unwrap(), Arc::new(Posix)).unwrap()
}

fn seat(house: &Arc<House>, speak: Speak) -> Seat {
    let peer: SocketAddr = "127.0.0.1:9".parse().unwrap();
    let listen = Listen { on: "127.0.0.1:25".parse().unwrap(), speak, tls: config::TlsMode::Never };
    let guest = house.knock(&listen, peer, Arc::new(Deaf)).unwrap();
    house.seat(guest, &listen, None, Tick(0))
}

fn send(house: &Arc<House>, to: &[&str], text: &[u8]) -> smtp::Receipt {
    send_from(house, "carol@elsewhere.test", to, text)
}

fn send_from(house: &Arc<House>, from: &str, to: &[&str], text: &[u8]) -> smtp::Receipt {
    send_as(house, from, to.iter().map(|t| Address::parse(t).unwrap().into()).collect(), text)
}

fn send_as(house: &Arc<House>, from: &str, recipients: Vec<Recipient>, text: &[u8]) -> smtp::Receipt {
    hand_in(house, Speak::Smtp, from, recipients, text)
}

fn hand_in(house: &Arc<House>, speak: Speak, from: &str, recipients: Vec<Recipient>, text: &[u8]) -> smtp::Receipt {
    let Seat::Smtp(_, mut office) = seat(house, speak) else { panic!() };
    use smtp::Office;
    let start = smtp::Start {
        envelope: Envelope { sender: Address::parse(from), recipients, wishes: Wishes::default() },
        helo: "elsewhere.test".into(),
        with: "ESMTP",
        body: smtp::Body::SevenBit,
        utf8: false,
        tls: None,
    };
    office.open(start).unwrap();
    for piece in text.chunks(50_000) {
        office.body(piece);
        if office.is_full() {
            office.drain();
        }
    }
    office.commit().unwrap()
}

fn imap(house: &Arc<House>, who: &str) -> Box<office::Imap> {
    let Seat::Imap(_, mut office) = seat(house, Speak::Imap) else { panic!() };
    let proof = sasl::Proof::Password { act_as: String::new(), user: who.into(), password: sasl::Secret::new("hikyaku".into()) };
    imap::Office::login(&mut *office, proof).unwrap();
    office
}

fn whole(office: &mut office::Imap, uid: mail::Uid) -> Vec<u8> {
    use imap::Office;
    let need = imap::Need { size: true, ..imap::Need::default() };
    let span: Span = office.describe(vec![uid], need).unwrap()[0].span;
    let mut text = Vec::new();
    loop {
        let piece = office.read(uid, span, text.len() as u64, Vec::with_capacity(10_000)).unwrap();
        text.extend_from_slice(&piece);
        if piece.len() < 10_000 {
            assert_eq!(text.len() as u64, span.wire, "RFC822.SIZE");
            return text;
        }
    }
}

fn texts(house: &Arc<House>, who: &str, mailbox: &str) -> Vec<(u32, Vec<u8>)> {
    use imap::Office;
    let mut office = imap(house, who);
    let selected = office.select(MailboxName::new(mailbox).unwrap(), true).unwrap();
    selected.uids.iter().map(|uid| (uid.get(), whole(&mut office, *uid))).collect()
}

#[test]
fn what_comes_in_is_there_for_everybody() {
    let scratch = Scratch::new("trip");
    let house = open(&scratch.0);
    let large = [&b"Subject: large\r\n\r\n"[..], &b"0123456789 a line of a large message\r\n".repeat(20_000)].concat();
    send(&house, &["alice@example.test", "alice+tag@example.test", "bob@example.test"], b"Subject: small\r\n\r\nHello\r\n");
    send(&house, &["alice@example.test"], &large);
    let alice = texts(&house, "alice@example.test", "INBOX");
    assert_eq!(alice.len(), 2, "two paths to one mailbox are one message");
    assert!(alice[0].1.ends_with(b"\r\nSubject: small\r\n\r\nHello\r\n"));
    assert!(alice[0].1.starts_with(b"Return-Path: <carol@elsewhere.test>\r\nReceived: from elsewhere.test ([127.0.0.1])\r\n"));
    assert!(alice[1].1.ends_with(&large));

    let Seat::Pop3(_, mut pop) = seat(&house, Speak::Pop3) else { panic!() };
    use pop3::Office;
    let proof = sasl::Proof::Password { act_as: String::new(), user: "alice".into(), password: sasl::Secret::new("hikyaku".into()) };
    pop.login(proof).unwrap();
    let entries = pop.open().unwrap();
    assert_eq!(entries.iter().map(|e| e.span.wire).collect::<Vec<_>>(), alice.iter().map(|(_, t)| t.len() as u64).collect::<Vec<_>>());
    assert_eq!(pop.read(0, 0, Vec::with_capacity(1 << 20)).unwrap(), alice[0].1);
    pop.remove(vec![0]).unwrap();
    assert_eq!(texts(&house, "alice@example.test", "INBOX"), alice[1..]);
    assert_eq!(texts(&house, "bob@example.test", "INBOX").len(), 1);
}

#[test]
fn nothing_of_a_message_becomes_part_of_our_trace_fields() {
    let scratch = Scratch::new("foreign");
    let house = open(&scratch.0);
    let to = |address: &str| vec![Address::parse(address).unwrap().into()];
    // Larger than what is kept in memory, so that it is a file of the spool.
    let large = b"0123456789 a line of a large message\r\n".repeat(20_000);
    let cases: [(&[u8], &[u8]); 5] = [
        (b" folds, if one lets it\r\n", b"\r\n folds, if one lets it\r\n"),
        (b"No header\r\nBcc: at all\r\n", b"\r\nNo header\r\nBcc: at all\r\n"),
        (b"Return-Path: <x@y>\r\nSubject: x\r\n\r\ny\r\n", b"Subject: x\r\n\r\ny\r\n"),
        (
            b"Subject: x\r\nreturn-path:\r\n <x@y>\r\n\t(z)\r\nTo: z\r\n\r\nReturn-Path: y\r\n",
            b"Subject: x\r\nTo: z\r\n\r\nReturn-Path: y\r\n",
        ),
        (b"Return-Path: <x@y>\r\n", b"\r\n"),
    ];
    let mut sent = 0;
    for speak in [Speak::Smtp, Speak::Lmtp, Speak::Submission] {
        for (message, want) in cases {
            for tail in [&b""[..], &large] {
                hand_in(&house, speak, "carol@elsewhere.test", to("alice@example.test"), &[message, tail].concat());
                let (_, text) = texts(&house, "alice@example.test", "INBOX").pop().unwrap();
                sent += 1;
                let shown = String::from_utf8_lossy(&text[..text.len().min(900)]);
                let paths = mime::fields(&text).filter(|field| field.is(b"return-path")).count();
                assert_eq!(paths, 1, "{speak:?}: {shown}");
                let received = mime::fields(&text).find(|field| field.is(b"received")).unwrap().unfolded();
                assert!(received.ends_with(b" +0000"), "{speak:?}: {shown}");
                // What a user's header lacks comes before the empty line.
                let tidied = match (speak, want.strip_prefix(b"\r\n")) {
                    (Speak::Submission, None) => &want[want.windows(4).position(|w| w == b"\r\n\r\n").unwrap()..],
                    _ => want,
                };
                // A header alone has no body to be kept apart from, but for a large one, whose first line is no field.
                if *want != *b"\r\n" || !tail.is_empty() {
                    assert!(text.ends_with(&[tidied, tail].concat()), "{speak:?}: {shown}");
                }
            }
        }
    }
    // Names, quota and POP3 have the sizes of what is stored.
    let files = std::fs::read_dir(scratch.0.join("mail/example.test/alice/Maildir/new")).unwrap().map(|file| file.unwrap());
    let right = files.filter(|file| file.file_name().to_string_lossy().contains(&format!(",S={},", file.metadata().unwrap().len())));
    assert_eq!(right.count(), sent);
    let Seat::Pop3(_, mut pop) = seat(&house, Speak::Pop3) else { panic!() };
    use pop3::Office;
    let proof = sasl::Proof::Password { act_as: String::new(), user: "alice".into(), password: sasl::Secret::new("hikyaku".into()) };
    pop.login(proof).unwrap();
    for (n, entry) in (0..).zip(pop.open().unwrap()) {
        assert_eq!(pop.read(n, 0, Vec::with_capacity(2 << 20)).unwrap().len() as u64, entry.span.wire);
    }
}

#[test]
fn an_account_changes_so_many_names_in_an_hour() {
    use imap::Office;
    let scratch = Scratch::new("names");
    let house = open_with(&scratch.0, "limits: (mailbox_changes: 5)");
    let name = |name| MailboxName::new(name).unwrap();
    let alice = || imap(&house, "alice@example.test");
    let mut office = alice();
    office.create(name("a"), None).unwrap();
    office.subscribe(name("a"), true).unwrap();
    office.rename(name("a"), name("b")).unwrap();
    office.delete(name("b")).unwrap();
    assert_eq!(alice().delete(name("b")), Err(imap::Refusal::NoMailbox));
    assert_eq!(office.create(name("c"), None), Err(imap::Refusal::Limit));
    assert_eq!(alice().subscribe(name("c"), true), Err(imap::Refusal::Limit));
    imap(&house, "bob@example.test").create(name("c"), None).unwrap();
    send(&house, &["alice@example.test"], b"Subject: one\r\n\r\n");
}

#[test]
fn what_was_promised_comes_back_and_what_was_removed_does_not() {
    use imap::Office;
    let scratch = Scratch::new("crash");
    let house = open(&scratch.0);
    for n in 0..4 {
        send(&house, &["alice@example.test"], format!("Subject: {n}\r\n\r\n").as_bytes());
    }
    let mut office = imap(&house, "alice@example.test");
    office.select(MailboxName::inbox(), false).unwrap();
    let inbox = texts(&house, "alice@example.test", "INBOX");
    office.store(vec![mail::Uid::new(inbox[1].0).unwrap()], imap::Change::Add, Flags::system(mail::System::DELETED)).unwrap();
    assert_eq!(office.expunge(None).unwrap().len(), 1);
    let archive = MailboxName::new("Archive").unwrap();
    office.create(archive.clone(), None).unwrap();
    office.move_to(vec![mail::Uid::new(inbox[2].0).unwrap()], archive).unwrap();
    drop(office);
    // The server dies without a word; then a power cut takes names and bytes that nobody synced.
    drop(house);
    let maildir = scratch.0.join("mail/example.test/alice/Maildir");
    let mut files: Vec<PathBuf> =
        ["new", "cur"].iter().flat_map(|d| std::fs::read_dir(maildir.join(d)).unwrap()).map(|e| e.unwrap().path()).collect();
    files.retain(|f| f.to_str().unwrap().contains("N0."));
    files.sort();
    std::fs::remove_file(&files[0]).unwrap();
    std::fs::write(files.last().unwrap(), b"").unwrap();
    std::fs::remove_file(maildir.join("hikyaku.index")).unwrap();

    let house = open(&scratch.0);
    let after = texts(&house, "alice@example.test", "INBOX");
    let mut expected = vec![inbox[0].1.clone(), inbox[3].1.clone()];
    expected.sort();
    let mut found: Vec<Vec<u8>> = after.iter().map(|(_, text)| text.clone()).collect();
    found.sort();
    assert_eq!(found, expected);
    assert!(after.iter().all(|(uid, text)| inbox.iter().all(|(old, same)| old != uid || same == text)), "a UID means another message now");
    assert_eq!(texts(&house, "alice@example.test", "Archive")[0].1, inbox[2].1);
}

#[test]
fn mail_waits_for_an_account_that_went_missing() {
    let scratch = Scratch::new("orphan");
    let house = open(&scratch.0);
    send(&house, &["alice@example.test"], b"Subject: mine\r\n\r\n");
    let before = texts(&house, "alice@example.test", "INBOX");
    drop(house);
    std::fs::remove_dir_all(scratch.0.join("mail/example.test/alice/Maildir/new")).unwrap();
    let (here, away) = (scratch.0.join("accounts.ron"), scratch.0.join("away"));
    std::fs::rename(&here, &away).unwrap();
    let house = open(&scratch.0);
    house.checkpoint().unwrap();
    drop(house);
    std::fs::rename(&away, &here).unwrap();
    let house = open(&scratch.0);
    let after = texts(&house, "alice@example.test", "INBOX");
    assert_eq!(after.iter().map(|(_, text)| text).collect::<Vec<_>>(), before.iter().map(|(_, text)| text).collect::<Vec<_>>());
}

fn listed(house: &Arc<House>, filter: &Filter) -> Vec<String> {
    let (mut ids, mut after) = (Vec::new(), None);
    // A page at a time: what is between two pages is neither lost nor told twice.
    loop {
        let listing = house.list(filter, Page { after, most: 1 }).unwrap();
        ids.extend(listing.messages.into_iter().map(|m| m.id));
        let Some(next) = listing.next else { return ids };
        after = Some(u64::from_str_radix(&next, 16).unwrap());
    }
}

#[test]
fn an_operator_sees_and_steers_what_waits() {
    let scratch = Scratch::new("operator");
    let house = open(&scratch.0);
    for to in ["dave@one.test", "erin@two.test", "frank@two.test"] {
        send_from(&house, "alice@example.test", &[to], b"Subject: out\r\n\r\nHello\r\n");
    }
    let ids = listed(&house, &Filter::default());
    assert_eq!(ids.len(), 3);
    let of = |recipient: &str| Filter { recipient: Some(recipient.into()), ..Filter::default() };
    assert_eq!(listed(&house, &of("@TWO.test")), ids[1..]);
    assert_eq!(listed(&house, &of("dave@one.test")), ids[..1]);
    assert!(listed(&house, &Filter { sender: Some("<>".into()), ..Filter::default() }).is_empty());

    let number = |n: usize| u64::from_str_radix(&ids[n], 16).unwrap();
    let one = |n: usize| Whom::Ids(vec![ids[n].clone()]);
    let whole = house.show(number(0)).unwrap();
    assert_eq!((whole.summary.sender.as_str(), whole.summary.state), ("alice@example.test", State::Waiting));
    assert_eq!((whole.each[0].address.as_str(), whole.each[0].site.as_str()), ("dave@one.test", "one.test"));

    let held = Filter { state: Some(State::Held), ..Filter::default() };
    assert_eq!(house.act(&Whom::All(of("@two.test")), &Action::Hold, "root").unwrap().messages, 2);
    assert_eq!(house.act(&one(2), &Action::Release, "root").unwrap().messages, 1);
    assert_eq!(listed(&house, &held), ids[1..2]);
    // One that is not there: nothing is done to the other.
    let mixed = Whom::Ids(vec![ids[0].clone(), "1".into()]);
    assert!(matches!(house.act(&mixed, &Action::Hold, "root"), Err(Refused::NoSuchMessage(_))));
    assert_eq!(listed(&house, &held), ids[1..2]);

    let nothing = Action::Schedule { next: None, give_up: None };
    assert!(matches!(house.act(&one(1), &nothing, "root"), Err(Refused::Nonsense(_))));
    let far = Action::Schedule { next: None, give_up: Some(4_000_000_000) };
    assert_eq!(house.act(&one(1), &far, "root").unwrap().messages, 1);
    assert_eq!(house.show(number(1)).unwrap().gives_up, Some(4_000_000_000));

    assert_eq!(house.act(&one(2), &Action::Cancel { silent: true }, "root").unwrap().messages, 1);
    assert!(texts(&house, "alice@example.test", "INBOX").is_empty(), "silence was asked for");
    assert_eq!(house.act(&one(0), &Action::Cancel { silent: false }, "root").unwrap().messages, 1);
    let status = house.queue_status();
    assert_eq!((status.waiting, status.active, status.held, status.sites), (0, 0, 1, 1));
    drop(house);

    let house = open(&scratch.0);
    assert_eq!(listed(&house, &Filter::default()), ids[1..2], "what was cancelled is gone after a start too");
    assert_eq!(listed(&house, &held), ids[1..2]);
    assert_eq!(house.show(number(1)).unwrap().gives_up, Some(4_000_000_000));
    assert!(matches!(house.show(number(0)), Err(Refused::NoSuchMessage(_))));
    let reports = texts(&house, "alice@example.test", "INBOX");
    assert_eq!(reports.len(), 1, "one report, and none again after a start");
    let report = String::from_utf8_lossy(&reports[0].1).into_owned();
    for part in ["Return-Path: <>", "Final-Recipient: rfc822;dave@one.test", "Action: failed", "Status: 5.7.1", "cancelled by the operator"]
    {
        assert!(report.to_lowercase().replace("; ", ";").contains(&part.to_lowercase()), "{part}: {report}");
    }
}

#[test]
fn strangers_are_told_what_the_operator_wants() {
    for (strangers, reports) in [("Asked", 2), ("Failures", 1), ("Nothing", 0)] {
        let scratch = Scratch::new(strangers);
        // A backup MX: what it took of strangers may fail later. Alice's address is one that a stranger may have forged.
        let house =
            open_with(&scratch.0, &format!("relay: (domains: [\"backup.test\"]), reports: (strangers: {strangers}, return_max: 1000000)"));
        let told = Recipient { notify: Notify::SUCCESS, ..Address::new("bob", "example.test").into() };
        send_as(&house, "alice@example.test", vec![told], b"Subject: in\r\n\r\nHello\r\n");
        send_from(&house, "alice@example.test", &["dave@backup.test"], b"Subject: out\r\n\r\nHello\r\n");
        let all = Whom::All(Filter::default());
        assert_eq!(house.act(&all, &Action::Cancel { silent: false }, "root").unwrap().messages, 1);
        assert!(listed(&house, &Filter::default()).is_empty(), "whether it was told or not");
        let got = texts(&house, "alice@example.test", "INBOX");
        assert_eq!(got.len(), reports, "{strangers}");
        assert!(got.iter().all(|(_, text)| !text.windows(5).any(|w| w == b"Hello")), "a stranger's body never goes to whom they name");
        assert_eq!(texts(&house, "bob@example.test", "INBOX").len(), 1);
    }
}
