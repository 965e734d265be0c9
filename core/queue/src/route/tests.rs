//! Every case of RFC 5321 §5 as a zone and a verdict.

use super::*;
use alloc::{
    collections::BTreeMap,
    format,
    string::{String, ToString},
    vec,
};

/// Facts from a zone: `name KIND value`, `name KIND -` (nothing of the kind), `name KIND !` (nobody could say). An alias is written
/// `name KIND @other`. What is not there does not exist, unless another line has the name.
struct Zone(BTreeMap<Query, Found>, Vec<String>);

impl Zone {
    fn new(text: &str) -> Zone {
        let mut facts = BTreeMap::new();
        let mut names = Vec::new();
        for line in text.lines().map(str::trim).filter(|l| !l.is_empty()) {
            let (name, rest) = line.split_once(' ').expect("a name");
            let (kind, value) = rest.split_once(' ').expect("a kind and a value");
            let kind = match kind {
                "A" => Kind::A,
                "AAAA" => Kind::Aaaa,
                "MX" => Kind::Mx,
                other => panic!("{other}"),
            };
            names.push(name.to_string());
            let query = Query::new(name, kind).expect("a query");
            let fresh = || Found::Records { records: Vec::new(), alias: None, secure: false, ttl: 60 };
            match (value, value.strip_prefix('@')) {
                ("-", _) => drop(facts.insert(query, Found::NoData)),
                ("!", _) => drop(facts.insert(query, Found::Failed)),
                (_, Some(other)) => {
                    let target = Query::new(other, kind).expect("a query");
                    let mut found = facts.get(&target).cloned().unwrap_or(Found::NoData);
                    if let Found::Records { alias, .. } = &mut found {
                        *alias = Some(target.name);
                    }
                    facts.insert(query, found);
                }
                _ => {
                    let record = match kind {
                        Kind::A => Record::A(value.parse().expect("v4")),
                        Kind::Aaaa => Record::Aaaa(value.parse().expect("v6")),
                        _ => {
                            let (preference, exchange) = value.split_once(' ').expect("two words");
                            Record::Mx { preference: preference.parse().expect("a number"), exchange: exchange.into() }
                        }
                    };
                    let Found::Records { records, .. } = facts.entry(query).or_insert_with(fresh) else { panic!("{line}") };
                    records.push(record);
                }
            }
        }
        Zone(facts, names)
    }

    fn say(&self, query: &Query) -> Found {
        let known = || if self.1.iter().any(|n| **n == *query.name) { Found::NoData } else { Found::NoDomain };
        self.0.get(query).cloned().unwrap_or_else(known)
    }

    /// Finds a way as a host does: knows nothing, asks for what is needed.
    fn ways(&self, site: &str, rules: &Rules, dice: u64) -> Result<Vec<Hop>, NoRoute> {
        let mut known = BTreeMap::new();
        for _ in 0..8 {
            match route(site, rules, &|q: &Query| known.get(q).cloned(), dice) {
                Verdict::Known(result) => return result,
                Verdict::Need(queries) => {
                    assert!(!queries.is_empty());
                    for query in queries {
                        let found = self.say(&query);
                        assert!(known.insert(query, found).is_none(), "asked for what is known");
                    }
                }
            }
        }
        panic!("it always needs more");
    }
}

/// `host address` of each hop, or the status.
fn show(result: Result<Vec<Hop>, NoRoute>) -> String {
    match result {
        Ok(hops) => hops.iter().map(|h| format!("{} {}", h.host, h.address.ip())).collect::<Vec<_>>().join(", "),
        Err(no) => no.status().to_string(),
    }
}

fn rules() -> Rules {
    Rules {
        names: vec!["us.test".into()],
        addresses: vec!["192.0.2.99".parse().expect("v4"), "2001:db8::99".parse().expect("v6")],
        ..Rules::default()
    }
}

#[test]
fn every_case_of_the_standard() {
    let cases: &[(&str, &str, &str, &str)] = &[
        ("one exchanger", "d.test MX 10 a.test\na.test A 192.0.2.1", "d.test", "a.test 192.0.2.1"),
        (
            "the better one first",
            "d.test MX 20 b.test\nd.test MX 10 a.test\na.test A 192.0.2.1\nb.test A 192.0.2.2",
            "d.test",
            "a.test 192.0.2.1, b.test 192.0.2.2",
        ),
        ("no MX: the host itself", "d.test A 192.0.2.1", "d.test", "d.test 192.0.2.1"),
        ("no MX, IPv6 alone", "d.test AAAA 2001:db8::1", "d.test", "d.test 2001:db8::1"),
        ("an alias is as its target", "e.test MX 10 a.test\nd.test MX @e.test\na.test A 192.0.2.1", "d.test", "a.test 192.0.2.1"),
        ("no such domain", "", "d.test", "5.1.2"),
        ("a name without anything", "d.test MX -", "d.test", "5.4.4"),
        ("MX cannot be found out: no fallback to the address", "d.test MX !\nd.test A 192.0.2.1", "d.test", "4.4.3"),
        ("MX there but unusable: no fallback to the address", "d.test MX 10 a.test\nd.test A 192.0.2.1", "d.test", "5.4.4"),
        ("null MX", "d.test MX 0 .\nd.test A 192.0.2.1", "d.test", "5.1.10"),
        ("null MX beside another", "d.test MX 0 .\nd.test MX 10 a.test\na.test A 192.0.2.1", "d.test", "a.test 192.0.2.1"),
        ("an exchanger that is an address", "d.test MX 10 192.0.2.1", "d.test", "5.4.4"),
        (
            "an exchanger that is an address, and a good one",
            "d.test MX 5 192.0.2.7\nd.test MX 10 a.test\na.test A 192.0.2.1",
            "d.test",
            "a.test 192.0.2.1",
        ),
        ("an exchanger that is no name", "d.test MX 5 a\\032b.test", "d.test", "5.4.4"),
        (
            "an exchanger that is an alias is followed",
            "b.test A 192.0.2.1\na.test A @b.test\nd.test MX 10 a.test",
            "d.test",
            "a.test 192.0.2.1",
        ),
        ("an exchanger that cannot be found out", "d.test MX 10 a.test\na.test A !\na.test AAAA -", "d.test", "4.4.3"),
        (
            "one that cannot be found out, and a worse one",
            "d.test MX 10 a.test\nd.test MX 20 b.test\na.test A !\nb.test A 192.0.2.2",
            "d.test",
            "b.test 192.0.2.2",
        ),
        ("IPv6 cannot be found out, IPv4 can", "d.test MX 10 a.test\na.test AAAA !\na.test A 192.0.2.1", "d.test", "a.test 192.0.2.1"),
        (
            "we are the second: it and worse ones go",
            "d.test MX 10 a.test\nd.test MX 20 us.test\nd.test MX 20 c.test\nd.test MX 30 b.test\na.test A 192.0.2.1\nb.test A 192.0.2.2\nc.test A 192.0.2.3",
            "d.test",
            "a.test 192.0.2.1",
        ),
        (
            "we are the second by address",
            "d.test MX 10 a.test\nd.test MX 20 other.test\nd.test MX 30 b.test\na.test A 192.0.2.1\nother.test A 192.0.2.99\nb.test A 192.0.2.2",
            "d.test",
            "a.test 192.0.2.1",
        ),
        ("we are the best", "d.test MX 10 us.test\nd.test MX 20 a.test\na.test A 192.0.2.1", "d.test", "5.4.6"),
        (
            "we are the best by address",
            "d.test MX 10 o.test\nd.test MX 20 a.test\no.test AAAA 2001:db8::99\na.test A 192.0.2.1",
            "d.test",
            "5.4.6",
        ),
        ("an equal of ours goes too", "d.test MX 10 a.test\nd.test MX 10 us.test\na.test A 192.0.2.1", "d.test", "5.4.6"),
        (
            "we are the second and the better one cannot be found out",
            "d.test MX 10 a.test\nd.test MX 20 us.test\na.test A !\na.test AAAA -",
            "d.test",
            "4.4.3",
        ),
        ("no MX, and it is us", "d.test A 192.0.2.99", "d.test", "5.4.6"),
        ("no MX, an alias of us", "us.test A 192.0.2.5\nus.test MX -\nd.test A @us.test", "us.test", "5.4.6"),
        ("this machine", "d.test MX 10 a.test\na.test A 127.0.0.1", "d.test", "5.4.6"),
        ("this machine in disguise", "d.test MX 10 a.test\na.test AAAA ::ffff:127.0.0.1", "d.test", "5.4.6"),
        ("no machine", "d.test MX 10 a.test\na.test A 0.0.0.0", "d.test", "5.4.6"),
        ("all machines", "d.test MX 10 a.test\na.test A 224.0.0.1\na.test A 255.255.255.255", "d.test", "5.4.4"),
        ("a literal", "", "[192.0.2.1]", "192.0.2.1 192.0.2.1"),
        ("a literal of IPv6", "", "[IPv6:2001:db8::1]", "2001:db8::1 2001:db8::1"),
        ("a literal of ours", "", "[192.0.2.99]", "5.4.6"),
        ("a literal of this machine", "", "[IPv6:::1]", "5.4.6"),
        ("a literal of an unknown kind", "", "[x400:abc]", "5.1.2"),
        ("a broken literal", "", "[192.0.2]", "5.1.2"),
        ("a literal without its tag", "", "[2001:db8::1]", "5.1.2"),
        ("an address without brackets", "192.0.2.1 A 192.0.2.1", "192.0.2.1", "5.1.2"),
        ("no name at all", "", "a..b", "5.1.2"),
        ("letters beyond ASCII", "xn--bcher-kva.test A 192.0.2.1", "Bücher.test", "xn--bcher-kva.test 192.0.2.1"),
        (
            "families take turns",
            "d.test A 192.0.2.1\nd.test A 192.0.2.2\nd.test A 192.0.2.3\nd.test AAAA 2001:db8::1",
            "d.test",
            "d.test 2001:db8::1, d.test 192.0.2.1, d.test 192.0.2.2, d.test 192.0.2.3",
        ),
        ("an address once", "d.test MX 1 a.test\nd.test MX 2 b.test\na.test A 192.0.2.1\nb.test A 192.0.2.1", "d.test", "a.test 192.0.2.1"),
    ];
    for (what, zone, site, expected) in cases {
        for dice in 0..4 {
            assert_eq!(show(Zone::new(zone).ways(site, &rules(), dice)), *expected, "{what}");
        }
    }
}

#[test]
fn equals_are_shuffled_and_dice_decide() {
    let mut zone = String::from("d.test MX 20 z.test\nz.test A 192.0.2.50\n");
    for n in 1..=4 {
        zone += &format!("d.test MX 10 h{n}.test\nh{n}.test A 192.0.2.{n}\n");
    }
    let zone = Zone::new(&zone);
    let mut firsts = BTreeMap::new();
    for dice in 0..400 {
        let hops = zone.ways("d.test", &rules(), dice).expect("a way");
        assert_eq!(hops.len(), 5);
        assert_eq!(&*hops[4].host, "z.test");
        assert_eq!(hops, zone.ways("d.test", &rules(), dice).expect("the same way"));
        *firsts.entry(hops[0].host.clone()).or_insert(0) += 1;
    }
    assert!(firsts.len() == 4 && firsts.values().all(|n| *n > 50), "{firsts:?}");
}

#[test]
fn a_hostile_zone_gives_no_endless_list() {
    let mut text = String::new();
    for n in 0..100 {
        text += &format!("d.test MX {n} h{n}.test\nh{n}.test A 198.51.100.{n}\nh{n}.test A 203.0.113.{n}\n");
    }
    let zone = Zone::new(&text);
    assert_eq!(zone.ways("d.test", &rules(), 1).expect("a way").len(), HOPS_MAX);
    let Verdict::Need(needs) = route("d.test", &rules(), &|q: &Query| (q.kind == Kind::Mx).then(|| zone.say(q)), 1) else {
        panic!("addresses are needed");
    };
    assert_eq!(needs.len(), 2 * EXCHANGERS_MAX);
}

#[test]
fn what_was_not_tried_is_no_reason_to_give_up() {
    let gone =
        |count: usize, preference: usize| -> String { (0..count).map(|n| format!("d.test MX {preference} gone{n}.test\n")).collect() };
    let living = |preference: usize| format!("d.test MX {preference} a.test\na.test A 192.0.2.1\n");
    for dice in 0..8 {
        let ways = |zone: String| show(Zone::new(&zone).ways("d.test", &rules(), dice));
        for count in [19, 20, 21, 60, 99] {
            assert_eq!(ways(gone(count, 10) + &living(20)), "a.test 192.0.2.1", "behind {count} without an address");
            assert_eq!(ways(gone(count, 10) + &living(10)), "a.test 192.0.2.1", "among {count} without an address");
            assert_eq!(ways(gone(count, 10)), "5.4.4", "all of {count} were looked at");
        }
        assert_eq!(ways(gone(200, 10) + &living(5)), "a.test 192.0.2.1", "the best stands last");
        assert_eq!(ways(gone(200, 10)), "4.4.3", "some were not looked at");
        assert_eq!(ways(gone(200, 10) + "d.test MX 5 us.test\n"), "5.4.6", "they count for nothing");
    }
}

#[test]
fn the_worst_of_many_has_its_day() {
    let text: String = (0..200).map(|n| format!("d.test MX {n} h{n}.test\nh{n}.test A 198.51.100.{n}\n")).collect();
    let zone = Zone::new(&text);
    let mut seen = BTreeSet::new();
    for dice in 0..700 {
        let hops = zone.ways("d.test", &rules(), dice).expect("a way");
        let preferences: Vec<u32> = hops.iter().map(|hop| hop.host[1..].trim_end_matches(".test").parse().expect("a number")).collect();
        assert!(preferences.is_sorted() && preferences[..BEST] == Vec::from_iter(0..BEST as u32), "{preferences:?}");
        seen.extend(preferences);
    }
    assert_eq!(seen.len(), 200);
}

#[test]
fn one_with_many_addresses_leaves_room_for_others() {
    let text: String = (0..40).map(|n| format!("a.test A 198.51.100.{n}\n")).collect();
    let zone = Zone::new(&(text + "d.test MX 10 a.test\nd.test MX 20 b.test\nb.test A 192.0.2.2\n"));
    let hops = zone.ways("d.test", &rules(), 1).expect("a way");
    assert_eq!((hops.len(), &*hops[10].host), (11, "b.test"));
}

#[test]
fn families_that_a_host_lacks_are_not_asked_for() {
    let zone = Zone::new("d.test A 192.0.2.1\nd.test AAAA 2001:db8::1");
    let ways = |families| show(zone.ways("d.test", &Rules { families, ..rules() }, 0));
    assert_eq!(ways(Families::PreferV4), "d.test 192.0.2.1, d.test 2001:db8::1");
    assert_eq!(ways(Families::OnlyV4), "d.test 192.0.2.1");
    assert_eq!(ways(Families::OnlyV6), "d.test 2001:db8::1");
    let rules = Rules { families: Families::OnlyV4, ..rules() };
    let Verdict::Need(needs) = route("d.test", &rules, &|q: &Query| (q.kind == Kind::Mx).then_some(Found::NoData), 0) else {
        panic!("an address is needed");
    };
    assert_eq!(needs, [Query::new("d.test", Kind::A).expect("a query")]);
}

#[test]
fn routes_of_domains_and_a_smart_host() {
    let login = Arc::new(Login { user: "us".into(), password: "secret".into() });
    assert!(!format!("{login:?}").contains("secret"));
    let route = |domain: &str, to| Route::new(Pattern::parse(domain).expect("a pattern"), to);
    let host = |name: &str| To::Host(name.into());
    let rules = Rules {
        routes: vec![
            Route {
                port: Some(587),
                security: Some(Security::Must { verified: true }),
                login: Some(login.clone()),
                source: Some("192.0.2.98".parse().expect("v4")),
                ..route("*", host("smart.test"))
            },
            Route { security: Some(Security::Implicit { verified: true }), ..route("bank.test", To::Mx) },
            route(".inside.test", host("192.0.2.7")),
            route(".deep.inside.test", To::MxOf("other.test".into())),
            Route { protocol: Protocol::Lmtp, port: Some(24), ..route("lists.test", host("[::1]")) },
            route("bücher.test", To::Mx),
        ],
        source4: Some("192.0.2.97".parse().expect("v4")),
        source6: Some("2001:db8::97".parse().expect("v6")),
        ..rules()
    };
    let zone = Zone::new(
        "smart.test MX 5 never.test\nsmart.test A 192.0.2.1\nsmart.test AAAA 2001:db8::1\nbank.test MX 5 mx.bank.test\nmx.bank.test A 192.0.2.2\n\
         other.test MX 5 mx.other.test\nmx.other.test A 192.0.2.3\nxn--bcher-kva.test A 192.0.2.4",
    );
    let expected = [
        ("a.test", "=smart.test:587", "smart.test 2001:db8::1, smart.test 192.0.2.1"),
        ("b.test", "=smart.test:587", "smart.test 2001:db8::1, smart.test 192.0.2.1"),
        ("[192.0.2.77]", "=smart.test:587", "smart.test 2001:db8::1, smart.test 192.0.2.1"),
        ("bank.test", "bank.test", "mx.bank.test 192.0.2.2"),
        ("x.inside.test", "=192.0.2.7", "192.0.2.7 192.0.2.7"),
        ("inside.test", "=smart.test:587", "smart.test 2001:db8::1, smart.test 192.0.2.1"),
        ("x.deep.inside.test", "@other.test", "mx.other.test 192.0.2.3"),
        ("lists.test", "=[::1]:24", "::1 ::1"),
        ("BÜCHER.test", "xn--bcher-kva.test", "xn--bcher-kva.test 192.0.2.4"),
    ];
    for (domain, at, hops) in expected {
        assert_eq!(&*site(domain, &rules), at, "{domain}");
        assert_eq!(show(zone.ways(at, &rules, 0)), hops, "{domain}");
        assert_eq!(zone.ways(domain, &rules, 0), zone.ways(at, &rules, 0), "{domain}: with or without the name of its site");
    }
    let smart = zone.ways("=smart.test:587", &rules, 0).expect("a way");
    assert_eq!(smart[0].address.to_string(), "[2001:db8::1]:587");
    assert_eq!((smart[0].security, &smart[0].login), (Security::Must { verified: true }, &Some(login)));
    assert_eq!(smart[0].from, rules.source6, "a source of another family does not fit");
    assert_eq!(smart[1].from, Some("192.0.2.98".parse().expect("v4")));
    let bank = zone.ways("bank.test", &rules, 0).expect("a way");
    assert_eq!((bank[0].security, bank[0].address.port(), bank[0].from), (Security::Implicit { verified: true }, 25, rules.source4));
    assert_eq!(zone.ways("lists.test", &rules, 0).expect("a way")[0].protocol, Protocol::Lmtp);
    // Where an operator sends a message by hand needs no route.
    let by_hand = zone.ways("=mx.bank.test:2525", &rules, 0).expect("a way");
    assert_eq!((by_hand[0].address.to_string().as_str(), &by_hand[0].login), ("192.0.2.2:2525", &None));
}

#[test]
fn a_slip_in_a_route_sends_nothing_back() {
    let rules = Rules { routes: vec![Route::new(Pattern::Any, To::Host("smart.test".into()))], ..rules() };
    for (zone, status) in [("", "4.3.5"), ("smart.test A -", "4.3.5"), ("smart.test A !", "4.4.3")] {
        assert_eq!(show(Zone::new(zone).ways("a.test", &rules, 0)), status);
        assert_eq!(show(Zone::new(zone).ways("=smart.test", &rules, 0)), status);
    }
}

#[test]
fn all_ways_lead_through_the_proxy() {
    let socks = Arc::new(Socks { proxy: "127.0.0.1:1080".parse().expect("an address"), login: None });
    let rules = Rules { socks: Some(socks.clone()), source6: Some("2001:db8::97".parse().expect("v6")), ..rules() };
    let hops = Zone::new("d.test AAAA 2001:db8::1").ways("d.test", &rules, 0).expect("a way");
    assert_eq!((hops[0].address.to_string().as_str(), &hops[0].socks), ("[2001:db8::1]:25", &Some(socks)));
    assert_eq!(hops[0].from, None, "the proxy is dialled over IPv4");
}

#[test]
fn whatever_a_zone_says_we_never_dial_ourselves() {
    let mut dice = fastrand::Rng::with_seed(5);
    let names = ["d.test", "us.test", "a.test", "b.test", "192.0.2.1", ".", "x\\032y"];
    let v4 = ["192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.99", "127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "127.9.9.9"];
    let v6 = ["2001:db8::1", "2001:db8::1", "2001:db8::1", "2001:db8::99", "::1", "::", "ff02::1", "::ffff:192.0.2.99", "::ffff:127.0.0.1"];
    let (mut found, mut lost) = (0, 0);
    for round in 0..3000 {
        let mut facts = BTreeMap::new();
        let mut pick = |list: &[&'static str]| list[dice.usize(..list.len())];
        for name in &names[..4] {
            for kind in [Kind::Mx, Kind::A, Kind::Aaaa] {
                let record = |pick: &mut dyn FnMut(&[&'static str]) -> &'static str| match kind {
                    Kind::A => Record::A(pick(&v4).parse().expect("v4")),
                    Kind::Aaaa => Record::Aaaa(pick(&v6).parse().expect("v6")),
                    _ => Record::Mx { preference: pick(&["10", "20", "30"]).parse().expect("a number"), exchange: pick(&names).into() },
                };
                let answer = match pick(&["records", "records", "records", "none", "no domain", "failed"]) {
                    "records" => Found::Records { records: vec![record(&mut pick), record(&mut pick)], alias: None, secure: false, ttl: 9 },
                    "none" => Found::NoData,
                    "no domain" => Found::NoDomain,
                    _ => Found::Failed,
                };
                facts.insert(Query::new(name, kind).expect("a query"), answer);
            }
        }
        let Verdict::Known(result) = route("d.test", &rules(), &|q: &Query| Some(facts.get(q).cloned().unwrap_or(Found::NoDomain)), round)
        else {
            panic!("all is known")
        };
        match result {
            Ok(hops) => {
                found += 1;
                assert!(!hops.is_empty());
                for hop in hops {
                    let ip = hop.address.ip().to_string();
                    assert!(["192.0.2.1", "2001:db8::1"].contains(&ip.as_str()), "{ip}: {facts:?}");
                    assert_ne!(&*hop.host, "us.test");
                }
            }
            Err(_) => lost += 1,
        }
    }
    assert!(found > 100 && lost > 100, "{found} {lost}");
}

#[test]
fn a_dead_end_stays_one_whatever_the_rules_say() {
    let rules =
        Rules { routes: vec![Route::new(Pattern::parse("*").expect("a pattern"), To::Host("relay.test".into()))], ..Rules::default() };
    for no in [NoRoute::NoMailbox, NoRoute::Circle, NoRoute::TooMany, NoRoute::Full] {
        assert!(no.permanent());
        assert_eq!(Zone::new("").ways(no.site().expect("it has one"), &rules, 0), Err(no));
    }
    assert_eq!((NoRoute::Loop.site(), NoRoute::of_site("!other")), (None, None));
}
