//! Configuration errors as an operator sees them.

use hikyaku_config::{Config, parse};
use std::fmt::Write;

/// Cases in `errors.txt`: the text, `---`, its error, `===`. With `BLESS=1` in the environment the errors are written anew.
#[test]
fn errors_say_what_and_where() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/errors.txt");
    let cases = std::fs::read_to_string(path).unwrap();
    let mut now = String::new();
    for case in cases.split_terminator("===\n") {
        let (text, _) = case.split_once("---\n").unwrap();
        let error = parse("hikyaku.ron", text).expect_err(text);
        writeln!(now, "{text}---\n{error}\n===").unwrap();
    }
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, &now).unwrap();
    }
    for (was, is) in cases.split("===\n").zip(now.split("===\n")) {
        assert_eq!(was, is);
    }
}

#[test]
fn a_domain_is_enough() {
    let c = parse("f", "(domains: [\"Example.test.\"])").unwrap();
    assert_eq!(c, Config { domains: vec!["example.test".into()], ..Config::default() });
    assert_eq!(c.hostname(), "example.test");
}

#[test]
fn some_may_be_left_out_or_said() {
    for text in ["hostname: \"mx.example.test\"", "hostname: Some(\"mx.example.test\")"] {
        let c = parse("f", &format!("#![enable(implicit_some)]\n(domains: [\"example.test\"], {text})")).unwrap();
        assert_eq!(c.hostname(), "mx.example.test");
    }
}

#[test]
fn any_text_has_an_answer() {
    let seed =
        "(domains: [\"x.test\"], listen: [(on: \"[::1]:25\", speak: Smtp, tls: Start)], imap: (separator: '/'), hostname: Some(\"é\"))";
    for cut in 0..=seed.len() {
        if !seed.is_char_boundary(cut) {
            continue;
        }
        let _ = parse("f", &seed[..cut]).map_err(|e| e.to_string());
        for junk in ["\"", "'", "(", ")", "[", ",", ":", "/*", "//", "é", "-9", "\n\t", "r#\"", "\0"] {
            let _ = parse("f", &format!("{}{junk}{}", &seed[..cut], &seed[cut..])).map_err(|e| e.to_string());
        }
    }
    assert!(parse("f", &"(".repeat(100_000)).is_err());
}
