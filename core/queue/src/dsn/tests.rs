//! Reports: what the standards ask for, hostile texts, and what our own scanner makes of them.

use super::*;
use alloc::{
    format,
    string::{String, ToString},
    vec,
};
use mail::{Notify, Ret};
use mime::{Kind as Of, Scanner, Structure};

/// A Tuesday.
const NOW: Stamp = Stamp::utc(1_795_502_247);

fn address(text: &str) -> Address {
    let (local, domain) = text.rsplit_once('@').expect("an address");
    Address::new(local, domain)
}

fn about(address: &Address) -> About<'_> {
    About { address, original: None, code: 0, reply: "", remote: None, attempted: None, until: None, overdue: false }
}

fn original() -> Original<'static> {
    Original {
        id: "9f3a",
        envid: None,
        arrived: Stamp::utc(1_795_400_000),
        message_id: Some("<lunch@home.test>"),
        utf8: false,
        eight_bit: false,
        returned: Returned::Whole,
    }
}

fn made(kind: Kind, to: &Address, original: Original<'_>, recipients: &[About<'_>]) -> Message {
    let postmaster = address("postmaster@example.test");
    let report = Report { kind, host: "mx.example.test", to, postmaster: &postmaster, name: "77aa.1234", date: NOW, original, recipients };
    report.message(&Templates::default())
}

/// The whole, with an original between, and its structure.
fn whole(message: &Message, between: &str) -> (String, Structure) {
    let text = [&message.head[..], between.as_bytes(), &message.tail].concat();
    let mut scanner = Scanner::new();
    scanner.feed(&text);
    (String::from_utf8(text).expect("UTF-8"), scanner.finish())
}

/// The bodies of the parts and their media types.
fn parts(text: &str, structure: &Structure) -> Vec<(String, String)> {
    let Of::Multipart(parts) = &structure.root.kind else { panic!("no multipart: {text}") };
    let body = |at: u64, len: u64| text[at as usize..(at + len) as usize].to_string();
    let lower = |bytes: &[u8]| String::from_utf8_lossy(bytes).to_lowercase();
    parts.iter().map(|p| (format!("{}/{}", lower(&p.media.0), lower(&p.media.1)), body(p.body.at, p.body.len))).collect()
}

const LUNCH: &str = "From: alice@home.test\nSubject: Lunch\nMessage-ID: <lunch@home.test>\n\nAt noon?\n--77aa.1234\n";

#[test]
fn a_failure_has_all_that_the_standards_ask_for() {
    let (alice, bob, carol) = (address("alice@home.test"), address("Bob.B@Far.test"), address("carol@far.test"));
    let recipients = [
        About {
            original: Some("rfc822;bob@old.test"),
            code: 550,
            reply: "5.1.1 no such user here\n5.1.1 ask around",
            remote: Some("mx.far.test"),
            attempted: Some(Stamp::utc(1_795_402_000)),
            ..about(&bob)
        },
        About { reply: "5.4.6 mail for the domain loops back to this host", ..about(&carol) },
    ];
    let message = made(Kind::Failed, &alice, Original { envid: Some("QQ314159"), ..original() }, &recipients);
    assert!(!message.eight_bit && !message.utf8);
    let (text, structure) = whole(&message, LUNCH);
    for line in [
        "To: <alice@home.test>",
        "From: Mail Delivery System <MAILER-DAEMON@mx.example.test>",
        "Subject: Your message could not be delivered",
        "Message-ID: <77aa.1234@mx.example.test>",
        "References: <lunch@home.test>",
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        "Date: Tue, 24 Nov 2026 06:37:27 +0000",
    ] {
        assert_eq!(text.lines().filter(|l| *l == line).count(), 1, "{line}");
    }
    let root = &structure.root;
    assert_eq!((&*root.media.0, &*root.media.1), (&b"multipart"[..], &b"report"[..]));
    assert!(root.params.iter().any(|(name, value)| **name == *b"report-type" && **value == *b"delivery-status"));
    let parts = parts(&text, &structure);
    let media: Vec<&str> = parts.iter().map(|(media, _)| media.as_str()).collect();
    assert_eq!(media, ["text/plain", "message/delivery-status", "message/rfc822"]);
    assert_eq!(
        parts[1].1,
        "Original-Envelope-Id: QQ314159\nReporting-MTA: dns; mx.example.test\nArrival-Date: Mon, 23 Nov 2026 02:13:20 +0000\n\n\
         Original-Recipient: rfc822; bob@old.test\nFinal-Recipient: rfc822; Bob.B@far.test\nAction: failed\nStatus: 5.1.1\n\
         Remote-MTA: dns; mx.far.test\nDiagnostic-Code: smtp; 550-5.1.1 no such user here\n 550 5.1.1 ask around\n\
         Last-Attempt-Date: Mon, 23 Nov 2026 02:46:40 +0000\n\n\
         Final-Recipient: rfc822; carol@far.test\nAction: failed\nStatus: 5.4.6\n\
         Diagnostic-Code: x-hikyaku; 5.4.6 mail for the domain loops back to this host\n"
    );
    assert_eq!(parts[2].1, LUNCH, "the original is as it was");
    assert_eq!(
        parts[0].1,
        "This is the mail system of mx.example.test.\n\n\
         Your message of Mon, 23 Nov 2026 02:13:20 +0000\n\
         could not be delivered to the recipients below. It will not be tried again.\n\
         The message, or its beginning, is attached.\n\n\
         Bob.B@far.test\n  There is no such address.\n  You wrote to bob@old.test.\n\
         \x20 The server mx.far.test said: 550 5.1.1 no such user here ask around\n\
         \x20 Check the address for slips. If it is right, ask the recipient in another\n  way for a new one.\n\n\
         carol@far.test\n  Mail for the domain loops back to this host.\n\
         \x20 Only those who run the servers can put that right. Please tell them.\n\n\
         If you need help, write to postmaster@example.test and name the message 9f3a.\n"
    );
}

#[test]
fn a_delay_says_how_long_it_will_be_tried() {
    let (alice, bob) = (address("alice@home.test"), address("bob@far.test"));
    let recipients = [About { code: 451, reply: "later", remote: Some("mx.far.test"), until: Some(NOW), ..about(&bob) }];
    let header = Original { returned: Returned::Header, ..original() };
    let (text, structure) = whole(&made(Kind::Delayed, &alice, header, &recipients), "Subject: Lunch\n");
    let parts = parts(&text, &structure);
    assert_eq!(parts[2], ("text/rfc822-headers".into(), "Subject: Lunch\n".into()));
    assert!(parts[1].1.contains("Action: delayed\nStatus: 4.0.0\n"), "{}", parts[1].1);
    assert!(parts[1].1.ends_with("Will-Retry-Until: Tue, 24 Nov 2026 06:37:27 +0000\n"));
    assert!(parts[0].1.contains("It will be tried again until Tue, 24 Nov 2026 06:37:27 +0000."), "{}", parts[0].1);
    let (text, _) = whole(&made(Kind::Failed, &alice, header, &recipients), "");
    assert!(!text.contains("Will-Retry-Until"), "RFC 3464 §2.3.9");
    assert!(text.contains("Status: 4.0.0"), "why it was given up");
}

#[test]
fn what_is_overdue_says_so() {
    let (alice, bob) = (address("alice@home.test"), address("bob@far.test"));
    for (kind, code, reply, status) in [
        (Kind::Delayed, 451, "4.3.0 later", "4.4.7"),
        (Kind::Failed, 451, "4.3.0 later", "5.4.7"),
        (Kind::Failed, 0, "", "5.4.7"),
        (Kind::Failed, 550, "5.1.1 nobody", "5.1.1"),
        (Kind::Delivered, 0, "", "2.0.0"),
    ] {
        let (text, _) = whole(&made(kind, &alice, original(), &[About { code, reply, overdue: true, ..about(&bob) }]), LUNCH);
        assert!(text.contains(&format!("Status: {status}\n")), "{kind:?} {code}: {text}");
    }
}

#[test]
fn a_code_of_success_is_no_reason_to_fail() {
    let (alice, bob) = (address("alice@home.test"), address("bob@far.test"));
    for kind in [Kind::Failed, Kind::Double, Kind::Delayed] {
        for (code, reply) in [(250, "2.1.5 ok"), (250, ""), (354, "go ahead")] {
            let (text, _) = whole(&made(kind, &alice, original(), &[About { code, reply, ..about(&bob) }]), LUNCH);
            assert!(text.contains("Status: 4.5.0\n"), "{kind:?} {code}: {text}");
        }
    }
}

#[test]
fn success_and_double_bounces() {
    let (alice, bob) = (address("alice@home.test"), address("bob@far.test"));
    for (kind, action, status) in [
        (Kind::Delivered, "delivered", "2.0.0"),
        (Kind::Relayed, "relayed", "2.0.0"),
        (Kind::Expanded, "expanded", "2.0.0"),
        (Kind::Double, "failed", "5.0.0"),
    ] {
        let (text, structure) = whole(&made(kind, &alice, original(), &[about(&bob)]), LUNCH);
        let parts = parts(&text, &structure);
        assert!(parts[1].1.contains(&format!("Action: {action}\nStatus: {status}\n")), "{}", parts[1].1);
        assert!(!parts[0].1.contains(['{', '}']), "{}", parts[0].1);
        assert!(parts[0].1.contains("bob@far.test"));
    }
}

#[test]
fn letters_beyond_ascii_go_as_the_original_came() {
    let (alice, bob) = (address("älice@home.test"), address("böb@får.test"));
    let recipients = [About { original: Some("utf-8;b\\x{F6}b@x.test"), code: 550, reply: "5.1.1 niemand heißt so", ..about(&bob) }];
    let message = made(Kind::Failed, &alice, Original { utf8: true, ..original() }, &recipients);
    assert!(message.eight_bit && message.utf8);
    let (text, structure) = whole(&message, LUNCH);
    assert!(text.contains("To: <älice@home.test>\n"));
    let found = parts(&text, &structure);
    assert_eq!((found[1].0.as_str(), found[2].0.as_str()), ("message/global-delivery-status", "message/global"));
    assert!(found[1].1.contains("Original-Recipient: utf-8; böb@x.test\nFinal-Recipient: utf-8; böb@får.test\n"), "{}", found[1].1);
    assert!(found[1].1.contains("Diagnostic-Code: smtp; 550 5.1.1 niemand heißt so\n"));
    // The original came without SMTPUTF8; an alias led to such an address.
    let carol = address("carol@home.test");
    let message = made(Kind::Failed, &carol, original(), &recipients);
    assert!(!message.utf8);
    let (text, structure) = whole(&message, LUNCH);
    let found = parts(&text, &structure);
    assert_eq!((found[1].0.as_str(), found[2].0.as_str()), ("message/delivery-status", "message/rfc822"));
    assert!(found[1].1.contains("Original-Recipient: utf-8; b\\x{F6}b@x.test\nFinal-Recipient: utf-8; b\\x{F6}b@f\\x{E5}r.test\n"));
    assert!(found[1].1.is_ascii() && found[1].1.contains("550 5.1.1 niemand hei?t so"));
    assert!(text.lines().filter(|l| *l == "Content-Transfer-Encoding: 8bit").count() == 2, "the text for people, and so the whole: {text}");
}

#[test]
fn hostile_texts_break_nothing() {
    let (to, bob) = (address("a\r\nBcc: evil@x.test\n@home.test"), address("b\0ob\n\nX: y@far.test"));
    let long = format!("5.1.1 {}", "x".repeat(5000));
    let many = "5.1.1 a\n".repeat(1000);
    let umlauts = "ü".repeat(3000);
    for (reply, remote) in [
        ("5.1.1 a\r\n\r\nAction: delivered\r\n--77aa.1234/report--", "mx\r\nStatus: 2.0.0"),
        (&long, "mx"),
        (&many, "mx"),
        (&umlauts, "mx"),
        ("\u{85}\u{2028}\0\x1b[31m", "\n"),
    ] {
        for utf8 in [false, true] {
            let recipients =
                [About { original: Some("rfc822;x\r\nAction: relayed"), code: 550, reply, remote: Some(remote), ..about(&bob) }];
            let odd = Original { envid: Some("a\nb\n\nc"), message_id: Some("<a>\nBcc: <b>"), utf8, ..original() };
            let (text, structure) = whole(&made(Kind::Failed, &to, odd, &recipients), LUNCH);
            assert!(!text.contains(['\r', '\0', '\x1b']));
            assert!(text.lines().all(|line| line.len() <= 998));
            assert!(text.len() < 12_000);
            let head = &text[..structure.root.header.len as usize];
            assert!(mime::fields(head.as_bytes()).all(|f| f.name != b"Bcc"));
            let parts = parts(&text, &structure);
            assert_eq!(parts.len(), 3);
            let groups: Vec<&str> = parts[1].1.split("\n\n").collect();
            assert_eq!(groups.len(), 2, "{}", parts[1].1);
            let names: Vec<String> = mime::fields(groups[1].as_bytes()).map(|f| String::from_utf8_lossy(f.name).into_owned()).collect();
            assert_eq!(names, ["Original-Recipient", "Final-Recipient", "Action", "Status", "Remote-MTA", "Diagnostic-Code"]);
        }
    }
}

#[test]
fn thousands_of_recipients_are_all_named_to_programs() {
    let alice = address("alice@home.test");
    let all: Vec<Address> = (0..1000).map(|n| address(&format!("u{n}@far.test"))).collect();
    let recipients: Vec<About<'_>> = all.iter().map(about).collect();
    let (text, structure) = whole(&made(Kind::Failed, &alice, original(), &recipients), LUNCH);
    let parts = parts(&text, &structure);
    assert_eq!(parts[1].1.matches("Final-Recipient:").count(), 1000);
    assert_eq!(parts[0].1.matches("@far.test").count(), SHOWN_MAX);
    assert!(parts[0].1.contains("... and 900 more"));
}

#[test]
fn status_codes_fit_reply_codes() {
    for (kind, code, reply, expected) in [
        (Kind::Failed, 550, "5.1.1 no", "5.1.1"),
        (Kind::Failed, 550, "no", "5.0.0"),
        (Kind::Failed, 550, "4.1.1 no", "5.0.0"),
        (Kind::Failed, 550, "5.1.1.1 no", "5.0.0"),
        (Kind::Failed, 550, "5.01.1 no", "5.0.0"),
        (Kind::Failed, 550, "5.1000.1 no", "5.0.0"),
        (Kind::Failed, 451, "4.7.1 greylisted", "4.7.1"),
        (Kind::Failed, 0, "4.4.1 no connection", "4.4.1"),
        (Kind::Failed, 0, "", "5.0.0"),
        (Kind::Failed, 0, "2.0.0 what?", "5.0.0"),
        (Kind::Delayed, 0, "connection refused", "4.0.0"),
        (Kind::Delayed, 0, "5.4.4 no way", "4.0.0"),
        (Kind::Relayed, 250, "2.1.5 fine", "2.1.5"),
        (Kind::Relayed, 250, "", "2.0.0"),
        (Kind::Delivered, 0, "", "2.0.0"),
    ] {
        assert_eq!(status(kind, code, reply), expected, "{kind:?} {code} {reply}");
    }
}

#[test]
fn a_replaced_text_is_checked_and_used() {
    let bad = |text: &str| Template::parse(text).expect_err("no template");
    assert_eq!(bad("Hello\n\n{recipient}"), BadTemplate::NoSubject);
    assert_eq!(bad(""), BadTemplate::NoSubject);
    assert_eq!(bad("Subject: x\n\nHello {host}"), BadTemplate::NoRecipient);
    assert_eq!(bad("Subject: x\n\n{recipient} {mood}"), BadTemplate::Unknown(3, "mood".into()));
    assert_eq!(bad("Subject: {recipient}\n\n{recipient}"), BadTemplate::Unknown(1, "recipient".into()));
    assert_eq!(bad("Subject: x\n\n{recipient}\n\n{reply}"), BadTemplate::Unknown(5, "reply".into()));
    assert_eq!(bad("Subject: x\n\n{recipient} {reply"), BadTemplate::Open(3));
    assert_eq!(bad("Subject: x\n\n{recipient}\n\x07"), BadTemplate::Control(4));
    let text = "Subject: Zustellung gescheitert für {count}\r\n\r\nGrüße von {host}\r\n\r\n* {recipient}: {reply}\r\n  ({status})\r\n";
    let mut templates = Templates::default();
    templates.replace(Kind::Failed, Template::parse(text).expect("a template"));
    let (alice, bob, carol) = (address("alice@home.test"), address("bob@far.test"), address("carol@far.test"));
    let recipients = [About { code: 550, reply: "no", ..about(&bob) }, about(&carol)];
    let report = Report {
        kind: Kind::Failed,
        host: "mx",
        to: &alice,
        postmaster: &alice,
        name: "n",
        date: NOW,
        original: original(),
        recipients: &recipients,
    };
    let message = report.message(&templates);
    assert!(message.eight_bit && !message.utf8);
    let (text, structure) = whole(&message, LUNCH);
    assert!(text.contains("\nSubject: =?utf-8?q?Zustellung_gescheitert_f=C3=BCr_2?=\n"), "{text}");
    assert_eq!(parts(&text, &structure)[0].1, "Grüße von mx\n\n* bob@far.test: 550 no\n  (5.0.0)\n\n  (5.0.0)\n");
    assert!(text.contains("Reporting-MTA: x-local-hostname; mx\n"));
}

#[test]
fn who_is_told() {
    let (alice, postmaster) = (address("alice@home.test"), address("postmaster@example.test"));
    let with = Policy { double_bounces: Some(postmaster.clone()), ..Policy::default() };
    let case = Case { kind: Kind::Failed, sender: Some(&alice), notify: Notify::default(), known: true, double: false };
    let told = |case: Case<'_>, policy: &Policy| match whom_to_tell(&case, policy) {
        Told::Sender(to) => to == &alice,
        Told::Postmaster(_) => panic!("there is a sender"),
        Told::Nobody => false,
    };
    let (never, success, failure, delay) = (Notify::NEVER, Notify::SUCCESS, Notify::FAILURE, Notify::DELAY);
    let unsaid = Notify::default();
    // Columns: failed, delayed, delivered, relayed, expanded.
    let kinds = [Kind::Failed, Kind::Delayed, Kind::Delivered, Kind::Relayed, Kind::Expanded];
    for (known, strangers, notify, expected) in [
        (true, Strangers::Asked, unsaid, [1, 1, 0, 0, 0]),
        (true, Strangers::Asked, never, [0, 0, 0, 0, 0]),
        (true, Strangers::Nothing, success, [0, 0, 1, 1, 1]),
        (true, Strangers::Asked, failure, [1, 0, 0, 0, 0]),
        (true, Strangers::Asked, delay.with(success), [0, 1, 1, 1, 1]),
        (false, Strangers::Asked, unsaid, [1, 0, 0, 0, 0]),
        (false, Strangers::Asked, never, [0, 0, 0, 0, 0]),
        (false, Strangers::Asked, success.with(delay), [0, 1, 1, 1, 1]),
        (false, Strangers::Failures, failure.with(success).with(delay), [1, 0, 0, 0, 0]),
        (false, Strangers::Failures, unsaid, [1, 0, 0, 0, 0]),
        (false, Strangers::Nothing, failure.with(success).with(delay), [0, 0, 0, 0, 0]),
    ] {
        let policy = Policy { strangers, ..with.clone() };
        let found = kinds.map(|kind| u8::from(told(Case { kind, known, notify, ..case }, &policy)));
        assert_eq!(found, expected, "{known} {strangers:?} {notify:?}");
    }
    // Nobody sent it: once to the postmaster, then it ends.
    let nobody = Case { sender: None, ..case };
    assert_eq!(whom_to_tell(&nobody, &with), Told::Postmaster(&postmaster));
    assert_eq!(whom_to_tell(&Case { notify: never, known: false, ..nobody }, &with), Told::Postmaster(&postmaster));
    assert_eq!(whom_to_tell(&Case { double: true, ..nobody }, &with), Told::Nobody);
    assert_eq!(whom_to_tell(&nobody, &Policy::default()), Told::Nobody);
    for kind in &kinds[1..] {
        assert_eq!(whom_to_tell(&Case { kind: *kind, notify: success.with(delay), ..nobody }, &with), Told::Nobody);
    }
}

#[test]
fn how_much_comes_back() {
    let policy = Policy { unsaid_max: 100, full_max: 1000, ..Policy::default() };
    let whole = |kind, ret, size, binary, known| returned(kind, ret, size, binary, known, &policy) == Returned::Whole;
    assert!(whole(Kind::Failed, None, 100, false, true));
    assert!(!whole(Kind::Failed, None, 101, false, true));
    assert!(whole(Kind::Failed, Some(Ret::Full), 1000, false, true));
    assert!(!whole(Kind::Failed, Some(Ret::Full), 1001, false, true));
    assert!(!whole(Kind::Failed, Some(Ret::Headers), 1, false, true));
    assert!(!whole(Kind::Failed, Some(Ret::Full), 1, true, true), "binary");
    assert!(!whole(Kind::Failed, Some(Ret::Full), 1, false, false), "a stranger");
    assert!(whole(Kind::Double, None, 100, false, false), "for the postmaster");
    assert!(!whole(Kind::Double, None, 101, false, false));
    for kind in [Kind::Delayed, Kind::Delivered, Kind::Relayed, Kind::Expanded] {
        assert!(!whole(kind, Some(Ret::Full), 1, false, true), "{kind:?}");
    }
}

#[test]
fn a_header_passes_however_it_is_cut() {
    let long = format!("X: {}\n", "x".repeat(HEADER_MAX));
    for (text, expected) in [
        (LUNCH, &LUNCH[..LUNCH.find("\n\n").expect("a body") + 1]),
        ("A: b\r\nC: d\r\n\r\nbody\n", "A: b\r\nC: d\r\n"),
        ("A: b\n c\n\td\n", "A: b\n c\n\td\n"),
        ("\nbody\n", ""),
        ("", ""),
        (&long, &long[..HEADER_MAX]),
    ] {
        for size in [1, 2, 3, 7, 100_000] {
            let mut pass = HeaderOnly::new();
            let mut out = vec![];
            for chunk in text.as_bytes().chunks(size) {
                out.extend_from_slice(pass.pass(chunk));
            }
            assert!(out == expected.as_bytes(), "{:?} in pieces of {size}", &text[..text.len().min(40)]);
        }
    }
}
