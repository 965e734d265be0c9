//! That docs/configuration.md names every field, with the default that it has, and no other.

use hikyaku_config::{Certificate, Config, Listen, Outgoing, Route, Speak, TlsMode, parse};
use std::collections::BTreeMap;

fn manual() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md")).unwrap()
}

/// Every field with its default as the file would say it, `None` if there is none.
fn fields() -> BTreeMap<String, Option<String>> {
    let route = Route { domain: "d".into(), host: None, mx: false, port: None, tls: None, login: None, lmtp: false, source: None };
    let config = Config {
        listen: vec![Listen { on: "0.0.0.0:25".parse().unwrap(), speak: Speak::Smtp, tls: TlsMode::default() }],
        certificates: vec![Certificate { chain: "c".into(), key: "k".into() }],
        outgoing: Outgoing { routes: vec![route], ..Outgoing::default() },
        ..Config::default()
    };
    let no_default = [
        "domains",
        "listen",
        "listen.on",
        "listen.speak",
        "certificates",
        "certificates.chain",
        "certificates.key",
        "outgoing.routes",
        "outgoing.routes.domain",
    ];
    let mut fields = BTreeMap::new();
    let pretty = ron::ser::PrettyConfig::new().depth_limit(4);
    let text = ron::ser::to_string_pretty(&config, pretty).unwrap();
    let mut path: Vec<String> = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some((name, value)) = line.split_once(": ") {
            path.push(name.into());
            let name = path.join(".");
            let opens = value.ends_with(['(', '[']);
            if !opens || no_default.contains(&&*name) {
                let value = value.trim_end_matches(',');
                let default = (value != "None" && !no_default.contains(&&*name)).then(|| value.to_owned());
                fields.insert(name, default);
            }
            if !opens {
                path.pop();
            }
        } else if line.starts_with(')') && path.last().is_some_and(|p| !["listen", "certificates", "routes"].contains(&&**p))
            || line.starts_with(']')
        {
            path.pop();
        }
    }
    fields
}

#[test]
fn every_field_is_explained() {
    let manual = manual();
    let (fields, _) = manual.split_once("## Accounts").unwrap();
    let mut explained = BTreeMap::new();
    for row in fields.lines().filter(|l| l.starts_with("| `")) {
        let mut cells = row.split(" | ");
        let name = cells.next().unwrap().trim_start_matches("| ").trim_matches('`').to_owned();
        let default = cells.next().unwrap().to_owned();
        assert!(cells.next().is_some_and(|meaning| meaning.len() > 10), "{row}");
        assert!(explained.insert(name, default).is_none(), "{row}");
    }
    for (name, default) in self::fields() {
        let said = explained.remove(&name).unwrap_or_else(|| panic!("{name} is not explained"));
        if let Some(default) = default {
            assert_eq!(said, format!("`{default}`"), "the default of {name}");
        }
    }
    assert_eq!(explained, BTreeMap::new(), "these do not exist");
}

#[test]
fn every_value_is_explained() {
    let manual = manual();
    for place in [
        "listen: [(on: \"[::]:1\", speak: Qqqqqq)]",
        "listen: [(on: \"[::]:1\", speak: Imap, tls: Qqqqqq)]",
        "log: (format: Qqqqqq)",
        "outgoing: (tls: Qqqqqq)",
        "queue: (retry: Qqqqqq)",
    ] {
        let error = parse("f", &format!("(domains: [\"x.test\"], {place})")).unwrap_err();
        let (_, known) = error.problems[0].message.split_once("known are").unwrap();
        for name in known.split('`').skip(1).step_by(2) {
            assert!(manual.contains(&format!("`{name}`")), "{name}");
        }
    }
}

#[test]
fn the_examples_are_right() {
    let manual = manual();
    let examples: Vec<&str> = manual.split("```ron\n").skip(1).map(|e| e.split("```").next().unwrap()).collect();
    assert_eq!(examples.len(), 3);
    for example in examples {
        parse("docs/configuration.md", example).unwrap_or_else(|e| panic!("{e}"));
    }
    let (_, error) = manual.split_once("```\nhikyaku.ron").unwrap();
    let (error, _) = error.split_once("\n```").unwrap();
    assert_eq!(parse("hikyaku.ron", "(domain: [\"example.org\"])").unwrap_err().to_string(), format!("hikyaku.ron{error}"));
}
