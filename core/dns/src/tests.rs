//! The resolver against scripted servers that lie, are silent, truncate and answer what was not asked.

use crate::{
    Exchange, Found, INBOX_LIMIT, Kind, OUTBOX_MARK, Query, Record, Resolver, Settings, Transport,
    limits::{FLIGHTS_MAX, LIES_MAX, LOST_MS, TTL_MIN_S},
};
use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};
use hickory_proto::{
    op::{Message, MessageType, ResponseCode},
    rr::{
        Name, RData, Record as Line,
        rdata::{A, CNAME, MX, SOA, TXT},
    },
};
use wire::{Inbox, News, Nudge, Outbox, Session, Step, Tick, Why};

fn name(text: &str) -> Name {
    Name::from_ascii(text).expect("a name")
}

fn ask(text: &str, kind: Kind) -> Query {
    Query::new(text, kind).expect("a name")
}

fn resolver(servers: usize) -> Resolver {
    let servers = (1..=servers).map(|n| format!("192.0.2.{n}:53").parse().expect("an address")).collect();
    Resolver::new(Settings { servers, timeout_ms: 1000, attempts: 2, trust_ad: false, ..Settings::default() })
}

/// Numbers that are different at every call.
fn dice() -> impl FnMut() -> u64 {
    static SEED: core::sync::atomic::AtomicU64 = core::sync::atomic::AtomicU64::new(0);
    let mut rng = fastrand::Rng::with_seed(SEED.fetch_add(1, core::sync::atomic::Ordering::Relaxed));
    move || rng.u64(..)
}

/// The answer to a question, to be filled.
fn reply(question: &[u8]) -> Message {
    let mut message = Message::from_vec(question).expect("our own question");
    assert!(message.metadata.recursion_desired && message.metadata.authentic_data);
    message.metadata.message_type = MessageType::Response;
    message.metadata.recursion_available = true;
    message.metadata.authentic_data = false;
    message.edns = None;
    message
}

fn bytes(message: &Message) -> Vec<u8> {
    message.to_vec().expect("a message")
}

fn line(owner: &str, ttl: u32, data: RData) -> Line {
    Line::from_rdata(name(owner), ttl, data)
}

fn address(owner: &str, ttl: u32) -> Line {
    line(owner, ttl, RData::A(A([192, 0, 2, 80].into())))
}

fn alias(owner: &str, target: &str) -> Line {
    line(owner, 300, RData::CNAME(CNAME(name(target))))
}

fn soa(minimum: u32) -> Line {
    line("test.", 3600, RData::SOA(SOA::new(name("ns.test."), name("root.test."), 1, 1, 1, 1, minimum)))
}

fn with(question: &[u8], answers: &[Line]) -> Vec<u8> {
    let mut message = reply(question);
    message.add_answers(answers.iter().cloned());
    bytes(&message)
}

fn coded(question: &[u8], code: ResponseCode, authority: Option<Line>) -> Vec<u8> {
    let mut message = reply(question);
    message.metadata.response_code = code;
    message.add_authorities(authority);
    bytes(&message)
}

/// Carries an exchange to a server that answers a question with these datagrams, or over TCP with the first of them in pieces of one octet.
/// When it has said all, time passes.
fn carry(now: &mut Tick, exchange: &mut Exchange, server: &mut dyn FnMut(&[u8]) -> Vec<Vec<u8>>) -> Why {
    let (mut rx, mut tx) = (Inbox::new(INBOX_LIMIT), Outbox::new(OUTBOX_MARK));
    assert_eq!(exchange.deadline(), None);
    assert!(matches!(exchange.step(*now, &mut rx, &mut tx), Step::Read));
    let tcp = exchange.transport() == Transport::Tcp;
    let question = tx.bytes()[if tcp { 2 } else { 0 }..].to_vec();
    tx.sent(tx.bytes().len());
    let mut pieces = server(&question);
    if tcp {
        let message = pieces.swap_remove(0);
        pieces = (message.len() as u16).to_be_bytes().iter().chain(&message).map(|b| vec![*b]).collect();
    }
    for piece in pieces {
        rx.spare()[..piece.len()].copy_from_slice(&piece);
        rx.filled(piece.len());
        match exchange.step(*now, &mut rx, &mut tx) {
            Step::Read => {}
            Step::Close(why) => return why,
            step => panic!("{step:?}"),
        }
    }
    *now = exchange.deadline().expect("an exchange waits for something");
    match exchange.step(*now, &mut rx, &mut tx) {
        Step::Close(why) => why,
        step => panic!("{step:?}"),
    }
}

/// How a scripted server was asked.
struct Seen {
    server: String,
    transport: Transport,
    timeout_ms: u64,
    edns: bool,
}

type Script<'a> = &'a mut dyn FnMut(&Seen, &[u8]) -> Vec<Vec<u8>>;

/// Asks until something is known; how often, and what.
fn resolve(resolver: &mut Resolver, now: &mut Tick, query: &Query, server: Script<'_>) -> (usize, Found) {
    for asked in 0..100 {
        if let Some(found) = resolver.look_up(*now, query) {
            return (asked, found);
        }
        *now = resolver.deadline().expect("something is to be done").max(*now);
        let mut exchange = resolver.next(*now, &mut dice()).expect("the deadline has passed");
        let seen = Seen {
            server: exchange.server().ip().to_string(),
            transport: exchange.transport(),
            timeout_ms: exchange.timeout_ms(),
            edns: exchange.edns(),
        };
        carry(now, &mut exchange, &mut |question| server(&seen, question));
        let known = resolver.done(*now, exchange);
        assert!(known.iter().all(|q| q == query));
    }
    panic!("it never ends");
}

fn is_address(found: &Found) -> bool {
    found.records() == [Record::A([192, 0, 2, 80].into())]
}

#[test]
fn an_answer_is_remembered_and_asked_for_once() {
    let (mut r, mut now) = (resolver(2), Tick(0));
    let query = ask("www.test", Kind::A);
    assert_eq!(r.deadline(), None);
    assert_eq!(r.look_up(now, &query), None);
    assert_eq!(r.look_up(now, &query), None);
    let mut exchange = r.next(now, &mut dice()).expect("one exchange");
    assert!(r.next(now, &mut dice()).is_none(), "one question, one exchange");
    let why = carry(&mut now, &mut exchange, &mut |q| vec![with(q, &[address("www.test.", 300), address("other.test.", 300)])]);
    assert_eq!(why, Why::Done);
    assert_eq!(r.done(now, exchange), core::slice::from_ref(&query));
    let found = r.look_up(now, &query).expect("known");
    assert!(is_address(&found), "{found:?}");
    assert!(matches!(found, Found::Records { secure: false, ttl: 300, alias: None, .. }));
    assert!(r.look_up(Tick(299_999), &query).is_some());
    assert_eq!(r.look_up(Tick(300_000), &query), None);
}

#[test]
fn what_does_not_belong_to_the_question_is_not_heard() {
    let (mut r, mut now) = (resolver(1), Tick(0));
    let (asked, found) = resolve(&mut r, &mut now, &ask("www.test", Kind::A), &mut |_, q| {
        let good = reply(q);
        let evil = || line("www.test.", 60, RData::A(A([203, 0, 113, 66].into())));
        let mut wrong = Vec::new();
        let mut message = good.clone();
        message.metadata.id ^= 1;
        message.add_answer(evil());
        wrong.push(bytes(&message));
        let mut message = good.clone();
        message.queries[0].name = name("xxx.test.");
        message.add_answer(evil());
        wrong.push(bytes(&message));
        let mut message = good.clone();
        message.metadata.message_type = MessageType::Query;
        message.add_answer(evil());
        wrong.push(bytes(&message));
        let mut message = good.clone();
        message.queries.clear();
        message.add_answer(evil());
        wrong.push(bytes(&message));
        wrong.push(vec![]);
        wrong.push(vec![0xff; 30]);
        wrong.retain(|w| !w.is_empty());
        wrong.push(with(q, &[address("www.test.", 300)]));
        wrong
    });
    assert_eq!(asked, 1);
    assert!(is_address(&found));
}

#[test]
fn who_guesses_the_case_wrong_is_not_believed() {
    let (mut r, mut now) = (resolver(1), Tick(0));
    let mut transports = Vec::new();
    let (_, found) = resolve(&mut r, &mut now, &ask("a-long-name-with-many-letters.test", Kind::A), &mut |x, q| {
        transports.push(x.transport);
        let mut message = reply(q);
        message.queries[0].name = message.queries[0].name.to_lowercase();
        let data = if x.transport == Transport::Udp { [203, 0, 113, 66] } else { [192, 0, 2, 80] };
        message.add_answer(line("a-long-name-with-many-letters.test.", 60, RData::A(A(data.into()))));
        vec![bytes(&message)]
    });
    assert_eq!(transports, [Transport::Udp, Transport::Tcp]);
    assert!(is_address(&found));
}

#[test]
fn a_flood_of_lies_leads_to_tcp() {
    let (mut r, mut now) = (resolver(1), Tick(0));
    let mut transports = Vec::new();
    let (_, found) = resolve(&mut r, &mut now, &ask("www.test", Kind::A), &mut |x, q| {
        transports.push(x.transport);
        if x.transport == Transport::Tcp {
            return vec![with(q, &[address("www.test.", 60)])];
        }
        (0..=LIES_MAX)
            .map(|n| {
                let mut lie = with(q, &[address("www.test.", 60)]);
                lie[1] ^= n + 1;
                lie
            })
            .collect()
    });
    assert_eq!(transports, [Transport::Udp, Transport::Tcp]);
    assert!(is_address(&found));
}

#[test]
fn silence_leads_to_the_next_server_and_to_longer_patience() {
    let (mut r, mut now) = (resolver(2), Tick(0));
    let mut seen = Vec::new();
    let (asked, found) = resolve(&mut r, &mut now, &ask("www.test", Kind::A), &mut |x, _| {
        seen.push((x.server.clone(), x.timeout_ms));
        Vec::new()
    });
    assert_eq!((asked, found), (4, Found::Failed));
    let server = |n: u8| format!("192.0.2.{n}");
    assert_eq!(seen, [(server(1), 1000), (server(2), 1000), (server(1), 2000), (server(2), 2000)]);
    // It is remembered for a while, and a silent server is asked last.
    assert_eq!(r.look_up(now, &ask("www.test", Kind::A)), Some(Found::Failed));
    let later = now.after(u64::from(TTL_MIN_S) * 1000);
    assert_eq!(r.look_up(later, &ask("www.test", Kind::A)), None);
}

#[test]
fn a_server_that_was_silent_is_asked_last() {
    let (mut r, mut now) = (resolver(2), Tick(0));
    for n in 0..3 {
        let host = format!("h{n}.test");
        let mut first = None;
        let (_, found) = resolve(&mut r, &mut now, &ask(&host, Kind::A), &mut |x, q| {
            first.get_or_insert(x.server.clone());
            if x.server == "192.0.2.1" { Vec::new() } else { vec![with(q, &[address(&format!("{host}."), 60)])] }
        });
        assert!(is_address(&found));
        assert_eq!(first.as_deref(), Some(if n == 0 { "192.0.2.1" } else { "192.0.2.2" }));
    }
}

#[test]
fn what_does_not_fit_comes_over_tcp() {
    let (mut r, mut now) = (resolver(1), Tick(0));
    let text = vec!["x".repeat(250); 200];
    let (asked, found) = resolve(&mut r, &mut now, &ask("big.test", Kind::Txt), &mut |x, q| {
        let mut message = reply(q);
        if x.transport == Transport::Udp {
            message.metadata.truncation = true;
            // Broken off in the midst of a record, as some do.
            message.add_answer(line("big.test.", 60, RData::TXT(TXT::new(text[..2].to_vec()))));
            let mut bytes = bytes(&message);
            bytes.truncate(bytes.len() - 100);
            return vec![bytes];
        }
        message.add_answer(line("big.test.", 60, RData::TXT(TXT::new(text.clone()))));
        vec![bytes(&message)]
    });
    assert_eq!(asked, 2);
    assert_eq!(found.records(), [Record::Txt(text.concat().into_bytes().into())]);
}

#[test]
fn a_server_that_knows_no_edns_is_asked_without_from_then_on() {
    let (mut r, mut now) = (resolver(1), Tick(0));
    for n in 0..2 {
        let host = format!("h{n}.test");
        let mut edns = Vec::new();
        let (_, found) = resolve(&mut r, &mut now, &ask(&host, Kind::A), &mut |x, q| {
            edns.push(x.edns);
            assert_eq!(Message::from_vec(q).expect("ours").edns.is_some(), x.edns);
            let code = if x.edns { ResponseCode::FormErr } else { ResponseCode::NXDomain };
            vec![coded(q, code, None)]
        });
        assert_eq!(found, Found::NoDomain);
        assert_eq!(edns, if n == 0 { vec![true, false] } else { vec![false] });
    }
}

#[test]
fn servers_that_refuse_are_not_asked_twice() {
    for code in [ResponseCode::ServFail, ResponseCode::Refused, ResponseCode::YXDomain] {
        let (mut r, mut now) = (resolver(3), Tick(0));
        let result = resolve(&mut r, &mut now, &ask("www.test", Kind::A), &mut |_, q| vec![coded(q, code, Some(soa(60)))]);
        assert_eq!(result, (3, Found::Failed), "{code}");
        assert_eq!(now, Tick(0));
    }
}

#[test]
fn that_there_is_nothing_is_remembered_as_long_as_the_zone_says() {
    let cases = [
        (ResponseCode::NXDomain, Some(soa(600)), Found::NoDomain, 600),
        (ResponseCode::NoError, Some(soa(900)), Found::NoData, 900),
        (ResponseCode::NoError, Some(soa(999_999)), Found::NoData, 3600),
        (ResponseCode::NXDomain, None, Found::NoDomain, u64::from(TTL_MIN_S)),
        (ResponseCode::NoError, None, Found::NoData, u64::from(TTL_MIN_S)),
    ];
    for (code, authority, expected, seconds) in cases {
        let (mut r, mut now) = (resolver(1), Tick(0));
        let query = ask("none.test", Kind::Mx);
        let (_, found) = resolve(&mut r, &mut now, &query, &mut |_, q| vec![coded(q, code, authority.clone())]);
        assert_eq!(found, expected);
        assert!(r.look_up(Tick(seconds * 1000 - 1), &query).is_some());
        assert!(r.look_up(Tick(seconds * 1000), &query).is_none());
    }
}

#[test]
fn a_referral_is_no_answer() {
    let (mut r, mut now) = (resolver(1), Tick(0));
    let (_, found) = resolve(&mut r, &mut now, &ask("www.test", Kind::A), &mut |_, q| {
        let mut message = reply(q);
        message.metadata.recursion_available = false;
        message.add_authority(line("test.", 60, RData::NS(hickory_proto::rr::rdata::NS(name("ns.test.")))));
        vec![bytes(&message)]
    });
    assert_eq!(found, Found::Failed);
}

#[test]
fn aliases_are_followed_within_an_answer_and_by_new_questions() {
    let (mut r, mut now) = (resolver(1), Tick(0));
    let (asked, found) = resolve(&mut r, &mut now, &ask("a.test", Kind::A), &mut |_, q| {
        let name = Message::from_vec(q).expect("ours").queries[0].name.to_lowercase().to_ascii();
        vec![match name.as_str() {
            "a.test." => with(q, &[alias("B.test.", "c.test."), alias("a.test.", "b.TEST.")]),
            "c.test." => with(q, &[alias("c.test.", "d.test."), address("d.test.", 100)]),
            other => panic!("{other}"),
        }]
    });
    assert_eq!(asked, 2);
    assert!(is_address(&found));
    assert!(matches!(found, Found::Records { alias: Some(alias), ttl: 100, .. } if &*alias == "d.test"));
}

#[test]
fn an_alias_of_nothing_is_nothing() {
    let (mut r, mut now) = (resolver(1), Tick(0));
    let (_, found) = resolve(&mut r, &mut now, &ask("a.test", Kind::A), &mut |_, q| {
        let mut message = reply(q);
        message.metadata.response_code = ResponseCode::NXDomain;
        message.add_answer(alias("a.test.", "b.test.")).add_authority(soa(60));
        vec![bytes(&message)]
    });
    assert_eq!(found, Found::NoDomain);
    let (_, found) = resolve(&mut r, &mut now, &ask("c.test", Kind::Aaaa), &mut |_, q| {
        let mut message = reply(q);
        message.add_answer(alias("c.test.", "d.test.")).add_authority(soa(60));
        vec![bytes(&message)]
    });
    assert_eq!(found, Found::NoData);
    let (_, found) = resolve(&mut r, &mut now, &ask("e.test", Kind::Cname), &mut |_, q| vec![with(q, &[alias("e.test.", "f.test.")])]);
    assert_eq!(found.records(), [Record::Cname("f.test".into())]);
}

#[test]
fn aliases_in_a_circle_end() {
    let (mut r, mut now) = (resolver(1), Tick(0));
    let within = [alias("a.test.", "b.test."), alias("b.test.", "a.test.")];
    let (_, found) = resolve(&mut r, &mut now, &ask("a.test", Kind::A), &mut |_, q| vec![with(q, &within)]);
    assert_eq!(found, Found::Failed);
    let (asked, found) = resolve(&mut r, &mut now, &ask("c.test", Kind::A), &mut |_, q| {
        let name = Message::from_vec(q).expect("ours").queries[0].name.to_lowercase().to_ascii();
        vec![with(q, &[alias(&name, if name == "c.test." { "d.test." } else { "c.test." })])]
    });
    assert_eq!(found, Found::Failed);
    assert!(asked < 12, "{asked}");
    let own = [alias("e.test.", "e.test.")];
    let (_, found) = resolve(&mut r, &mut now, &ask("e.test", Kind::Mx), &mut |_, q| vec![with(q, &own)]);
    assert_eq!(found, Found::Failed);
}

#[test]
fn only_a_trusted_server_is_believed_about_validation() {
    for trusted in [false, true] {
        let mut r = Resolver::new(Settings { trust_ad: trusted, ..Settings::default() });
        let (_, found) = resolve(&mut r, &mut Tick(0), &ask("test", Kind::Mx), &mut |_, q| {
            let mut message = reply(q);
            message.metadata.authentic_data = true;
            message.add_answer(line("test.", 60, RData::MX(MX::new(10, name("MX.test.")))));
            message.add_answer(line("test.", 60, RData::MX(MX::new(0, name(".")))));
            vec![bytes(&message)]
        });
        let mx = |preference, exchange: &str| Record::Mx { preference, exchange: exchange.into() };
        let records = vec![mx(10, "mx.test"), mx(0, ".")];
        assert_eq!(found, Found::Records { records, alias: None, secure: trusted, ttl: 60 });
    }
}

#[test]
fn special_names_are_known_without_asking() {
    let mut r = resolver(1);
    let mut known = |name: &str, kind| r.look_up(Tick(0), &ask(name, kind)).expect("known at once");
    assert_eq!(known("localhost", Kind::A).records(), [Record::A([127, 0, 0, 1].into())]);
    assert_eq!(known("mail.localhost", Kind::Aaaa).records(), [Record::Aaaa(core::net::Ipv6Addr::LOCALHOST)]);
    assert_eq!(known("localhost", Kind::Mx), Found::NoData);
    assert_eq!(known("mail.invalid", Kind::Mx), Found::NoDomain);
    assert_eq!(r.deadline(), None);
}

#[test]
fn exchanges_are_bounded_and_the_rest_waits() {
    let (mut r, mut now) = (resolver(1), Tick(0));
    for n in 0..FLIGHTS_MAX + 5 {
        assert_eq!(r.look_up(now, &ask(&format!("h{n}.test"), Kind::A)), None);
    }
    let mut out: Vec<Exchange> = core::iter::from_fn(|| r.next(now, &mut dice())).collect();
    assert_eq!(out.len(), FLIGHTS_MAX);
    assert!(r.deadline() > Some(now), "nothing is due while there is no room");
    let ids: alloc::collections::BTreeSet<u16> = out.iter().map(Exchange::id).collect();
    assert!(ids.len() > FLIGHTS_MAX - 4, "ids are random");
    let mut one = out.pop().expect("one");
    carry(&mut now, &mut one, &mut |q| vec![coded(q, ResponseCode::NXDomain, None)]);
    assert_eq!(r.done(now, one).len(), 1);
    assert!(r.next(now, &mut dice()).is_some() && r.next(now, &mut dice()).is_none());
}

#[test]
fn an_exchange_that_never_comes_back_is_missed() {
    let (mut r, now) = (resolver(1), Tick(0));
    let query = ask("www.test", Kind::A);
    assert_eq!(r.look_up(now, &query), None);
    let first = r.next(now, &mut dice()).expect("one");
    let later = r.deadline().expect("patience ends");
    assert_eq!(later, Tick(1000 + LOST_MS));
    assert!(r.missed(later).is_empty());
    let again = later.after(250);
    let second = r.next(again, &mut dice()).expect("another");
    assert!(r.done(again, first).is_empty(), "it was given up");
    assert_eq!(r.done(again, second), core::slice::from_ref(&query), "it could not even begin");
    assert_eq!(r.look_up(again, &query), Some(Found::Failed));
    assert_eq!(r.deadline(), None);
}

#[test]
fn an_exchange_ends_when_the_line_or_the_server_does() {
    let (mut r, now) = (resolver(1), Tick(0));
    for shutdown in [false, true] {
        assert_eq!(r.look_up(now, &ask(&format!("{shutdown}.test"), Kind::A)), None);
        let mut exchange = r.next(now, &mut dice()).expect("one");
        let (mut rx, mut tx) = (Inbox::new(INBOX_LIMIT), Outbox::new(OUTBOX_MARK));
        assert!(matches!(exchange.step(now, &mut rx, &mut tx), Step::Read));
        exchange.tell(now, News::Nudge(Nudge::Changed), &mut tx);
        assert!(matches!(exchange.step(now, &mut rx, &mut tx), Step::Read));
        if shutdown {
            exchange.tell(now, News::Nudge(Nudge::Shutdown), &mut tx);
        } else {
            rx.end();
        }
        assert!(matches!(exchange.step(now, &mut rx, &mut tx), Step::Close(_)));
    }
}

#[test]
fn ids_and_the_case_of_letters_are_what_was_handed_in() {
    let (mut r, now) = (resolver(1), Tick(0));
    for (number, shown) in [(u64::MAX, "WWW"), (0x1234 << 48, "www")] {
        assert_eq!(r.look_up(now, &ask(&format!("www.t{number}"), Kind::A)), None);
        let mut exchange = r.next(now, &mut || number).expect("one");
        assert_eq!(exchange.id(), (number >> 48) as u16, "no generator of the resolver's own stands between");
        let (mut rx, mut tx) = (Inbox::new(INBOX_LIMIT), Outbox::new(OUTBOX_MARK));
        assert!(matches!(exchange.step(now, &mut rx, &mut tx), Step::Read));
        assert!(tx.bytes().windows(3).any(|w| w == shown.as_bytes()));
    }
}

#[test]
fn broken_messages_do_no_harm() {
    let mut dice = fastrand::Rng::with_seed(3);
    for round in 0..3000 {
        let (mut r, mut now) = (resolver(1), Tick(0));
        let (_, found) = resolve(&mut r, &mut now, &ask("a.test", Kind::Mx), &mut |_, q| {
            let mut message = reply(q);
            message.add_answer(alias("a.test.", "b.test.")).add_authority(soa(60));
            message.add_answer(line("b.test.", 60, RData::MX(MX::new(10, name("mx.test.")))));
            let mut bytes = bytes(&message);
            for _ in 0..dice.usize(1..6) {
                let at = dice.usize(2..bytes.len());
                bytes[at] = dice.u8(..);
            }
            if round % 3 == 0 {
                bytes.truncate(dice.usize(1..bytes.len()));
            }
            vec![bytes]
        });
        assert!(found.records().len() <= 1);
    }
}

#[test]
fn an_exchange_of_another_resolver_answers_nothing_here() {
    let (mut before, mut after) = (resolver(1), resolver(1));
    let mut now = Tick(0);
    before.look_up(now, &ask("one.example", Kind::A));
    after.look_up(now, &ask("two.example", Kind::A));
    let mut stale = before.next(now, &mut dice()).unwrap();
    let own = after.next(now, &mut dice()).unwrap();
    carry(&mut now, &mut stale, &mut |question| vec![with(question, &[address("one.example", 60)])]);
    assert_eq!(after.done(now, stale), []);
    assert_eq!(after.look_up(now, &ask("two.example", Kind::A)), None, "it is still being asked");
    assert_eq!(own.query(), &ask("two.example", Kind::A));
}
