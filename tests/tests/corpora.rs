//! What others wrote down about SMTP, against our sessions: smuggling, whole dialogues, addresses.

use hikyaku_tests::{
    corpus,
    dialog::{Smtp, Stage, unescape},
    drive::{Event, Host},
    model::{Shared, SmtpOffice, World},
};
use std::fs;

type Session = Host<smtp::Server, SmtpOffice>;

fn open(hall: &str, options: &[(&str, &str)], world: Shared) -> Session {
    let mut options = options.iter().map(|(k, v)| (0, (*k).to_owned(), (*v).to_owned())).collect();
    let mut host = Smtp::open(hall, &mut options, world).unwrap();
    host.drive();
    host
}

fn whole(left: usize) -> usize {
    left
}

fn output(host: &mut Session) -> String {
    String::from_utf8_lossy(&std::mem::take(&mut host.output)).into_owned()
}

/// RFC 5321 §4.1.1.4: nothing but CRLF.CRLF ends the data, however it arrives.
#[test]
fn nothing_is_smuggled() {
    let Some(folder) = corpus::folder("smtp-smuggling-smtpsmug") else { return };
    let text = fs::read_to_string(folder.join("variants.txt")).unwrap();
    let variants: Vec<(&str, Vec<u8>)> = text
        .lines()
        .filter(|l| !l.starts_with('#'))
        .filter_map(|l| l.split_once('\t'))
        .map(|(name, bytes)| (name, unescape(bytes.trim()).unwrap_or_else(|| panic!("{name}: {bytes}"))))
        .collect();
    assert!(variants.len() >= 10, "variants of the corpus are missing");
    let halls = [("smtp", "EHLO a\r\n"), ("lmtp", "LHLO a\r\n"), ("submission", "EHLO a\r\nAUTH PLAIN AGFsaWNlAGhpa3lha3U=\r\n")];
    for (hall, hello) in halls {
        for (name, variant) in &variants {
            let begin = format!("{hello}MAIL FROM:<alice@example.test>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\n");
            let hidden = b"MAIL FROM:<evil@example.test>\r\nRCPT TO:<alice@example.test>\r\nDATA\r\nSubject: smuggled\r\n\r\nx";
            let data = [b"Subject: x\r\n\r\nfirst", variant.as_slice(), hidden, b"\r\n.\r\n"].concat();
            for at in 0..=data.len() {
                let world = World::new().shared();
                let mut host = open(hall, &[("tls", "never"), ("plaintext", "yes")], world.clone());
                host.send(begin.as_bytes(), &mut whole);
                assert!(output(&mut host).lines().last().is_some_and(|l| l.starts_with("354")), "{hall}");
                host.send(&data[..at], &mut whole);
                host.send(&data[at..], &mut whole);
                let said = output(&mut host);
                assert_eq!(said.lines().count(), 1, "{hall}, {name} cut at {at}: more than one reply to one message:\n{said}");
                assert!(!host.events.iter().any(|e| matches!(e, Event::Asked(q) if q.contains("evil"))), "{hall}, {name} cut at {at}");
                // What could end the data at the next hop must not be passed on.
                let naked = variant.iter().zip(variant.iter().skip(1)).any(|(a, b)| (*a == b'\r') != (*b == b'\n'))
                    || variant.first() == Some(&b'\n')
                    || variant.last() == Some(&b'\r');
                let taken = world.borrow().accounts.values().any(|a| a.used() > 0);
                assert!(!(naked && taken), "{hall}, {name} cut at {at}: a bare CR or LF was taken");
            }
        }
    }
}

/// Where our reply differs from theirs, on purpose: file, what they say, what we say, why.
const OTHERWISE: &[(&str, &str, &str, &str)] = &[
    ("auth_multi_dialog", "534", "504 5.5.4", "RFC 4954 §4: a mechanism that is not known is 504"),
    ("auth_not_tls", "503 5.7.10", "502 5.5.1", "port 25 takes no logins at all"),
    ("auth_too_many_failures", "421 4.5.0", "501 5.5.2", "more errors are borne"),
    ("bad_data", "554 5.6.0", "250 2.", "a message is not refused for what its header looks like"),
    ("bad_data_dot", "521 5.5.2", "554 5.6.0", "RFC 7504 keeps 521 for hosts that take no mail"),
    ("bad_data_dot_2", "521 5.5.2", "554 5.6.0", "RFC 7504 keeps 521 for hosts that take no mail"),
    ("bad_data_dot_on_message_too_big", "521 5.5.2", "55", "RFC 7504 keeps 521 for hosts that take no mail"),
    ("bad_mail_from", "500 5.5.2", "501 5.1.7", "MAIL is known, its argument is wrong"),
    ("bad_mail_from", "500", "501 5.1.7", "MAIL is known, its argument is wrong"),
    ("bad_mail_from", "501 5.1.8", "501 5.1.7", "5.1.8 is for domains that do not exist"),
    ("bad_rcpt_to", "500 5.5.2", "501 5.1.3", "RCPT is known, its argument is wrong"),
    ("bad_rcpt_to", "500", "501 5.1.3", "RCPT is known, its argument is wrong"),
    ("bad_rcpt_to", "501 5.1.2", "501 5.1.3", "the syntax is wrong before the domain is looked at"),
    ("bad_rcpt_to", "550 5.1.3", "553 5.6.7", "RFC 6531 §3.5: the client did not say SMTPUTF8"),
    ("line_too_long", "554", "50", "too long a line is a syntax error"),
    ("wrong_proto", "502 5.7.0", "421 4.7.0", "a browser is hung up on"),
];

/// Reply codes, and enhanced codes where the dialogue names them, of dialogues written for chasquid.
#[test]
fn dialogues_of_chasquid() {
    let Some(folder) = corpus::folder("smtp-dialogs-chasquid") else { return };
    let mut files: Vec<_> = fs::read_dir(folder.join("test/t-12-minor_dialogs")).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "cmy"));
    files.sort();
    assert!(files.len() >= 17, "dialogues of the corpus are missing");
    let mut wrong = Vec::new();
    for file in files {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        let mut world = World::new();
        world.add_account("user@testserver", "secretpassword");
        let world = world.shared();
        let mut host: Option<Session> = None;
        let mut said = String::new();
        for (number, line) in fs::read_to_string(&file).unwrap().lines().enumerate() {
            let Some(rest) = line.strip_prefix("c ") else { continue };
            let (verb, text) = rest.split_once(' ').unwrap_or((rest, ""));
            match verb {
                "tcp_connect" | "tls_connect" => {
                    let hall = if text.ends_with(":1025") { "smtp" } else { "submission" };
                    let tls = if verb == "tls_connect" { "already" } else { "start" };
                    host = Some(open(hall, &[("tls", tls), ("size", "1048576")], world.clone()));
                    said.clear();
                }
                "close" => host = None,
                // They take a path without its angle brackets, which RFC 5321 §4.1.2 knows nothing of.
                "->" if text.starts_with("RCPT TO: user@") => {
                    let path = text.trim_start_matches("RCPT TO: ");
                    host.as_mut().unwrap().send(format!("RCPT TO:<{path}>\r\n").as_bytes(), &mut whole);
                }
                "->" => host.as_mut().unwrap().send(format!("{text}\r\n").as_bytes(), &mut whole),
                "~>" => host.as_mut().unwrap().send(&expression(text), &mut whole),
                _ => {
                    said += &output(host.as_mut().unwrap());
                    let reply = reply(&mut said);
                    let want: String = text.chars().take_while(|c| c.is_ascii_digit() || matches!(c, '.' | ' ')).collect();
                    let want = if verb == "<..." { "250" } else { want.trim() };
                    let known = OTHERWISE.iter().any(|(f, theirs, ours, _)| *f == name && *theirs == want && reply.starts_with(ours));
                    if !reply.starts_with(want) && !known {
                        wrong.push(format!("{name}:{}: they say {want:?}, we say {reply:?}", number + 1));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

/// Takes the last line of the first reply.
fn reply(said: &mut String) -> String {
    while let Some(end) = said.find("\r\n") {
        let line: String = said.drain(..end + 2).collect();
        if line.as_bytes().get(3) != Some(&b'-') {
            return line.trim_end().to_owned();
        }
    }
    "nothing".into()
}

/// `('a' * 3 + '\r\n') * 2`
fn expression(text: &str) -> Vec<u8> {
    fn sum<'a>(mut text: &'a str, out: &mut Vec<u8>) -> &'a str {
        loop {
            let mut piece = Vec::new();
            text = text.trim_start();
            if let Some(rest) = text.strip_prefix('(') {
                text = sum(rest, &mut piece).strip_prefix(')').expect("a closing parenthesis");
            } else {
                let (inner, rest) = text.strip_prefix('\'').and_then(|t| t.split_once('\'')).expect("a string");
                piece = unescape(inner).expect("known escapes");
                text = rest;
            }
            text = text.trim_start();
            if let Some(rest) = text.strip_prefix('*') {
                let rest = rest.trim_start();
                let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
                piece = piece.repeat(rest[..digits].parse().expect("a number"));
                text = rest[digits..].trim_start();
            }
            out.extend(piece);
            match text.strip_prefix('+') {
                Some(rest) => text = rest,
                None => return text,
            }
        }
    }
    let mut out = Vec::new();
    assert_eq!(sum(text, &mut out), "", "{text}");
    out
}

/// Diagnoses that do not keep an address out, and why.
const BORNE: &[(&str, &str)] = &[
    ("ISEMAIL_RFC5322_LOCAL_TOOLONG", "RFC 5321 §4.5.3.1: limits are what must be taken, and better none than these"),
    ("ISEMAIL_RFC5322_TOOLONG", "RFC 5321 §4.5.3.1, likewise"),
    ("ISEMAIL_RFC5321_IPV6DEPRECATED", "`::` for a single group is only bad style"),
];

/// Which addresses can stand in a path (RFC 5321 §4.1.2).
#[test]
fn addresses_of_isemail() {
    let Some(folder) = corpus::folder("address-isemail") else { return };
    let text = fs::read_to_string(folder.join("test/tests.xml")).unwrap();
    let (mut wrong, mut count) = (Vec::new(), 0);
    for test in text.split("<test id=").skip(1) {
        let field = |name: &str| {
            let from = test.find(&format!("<{name}>"))? + name.len() + 2;
            Some(&test[from..from + test[from..].find(&format!("</{name}>"))?])
        };
        let address = unxml(field("address").unwrap_or(""));
        let (category, diagnosis) = (field("category").unwrap_or(""), field("diagnosis").unwrap_or(""));
        // A line end within a path makes two commands of it, and nothing at all is the null path.
        if address.is_empty() || address.contains(['\r', '\n']) {
            continue;
        }
        count += 1;
        let right = matches!(category, "ISEMAIL_VALID_CATEGORY" | "ISEMAIL_DNSWARN" | "ISEMAIL_RFC5321");
        let right = right || BORNE.iter().any(|(d, _)| *d == diagnosis);
        let mut host = open("smtp", &[], World::new().shared());
        host.send(b"EHLO a\r\n", &mut whole);
        output(&mut host);
        host.send(format!("MAIL FROM:<{address}> SMTPUTF8\r\n").as_bytes(), &mut whole);
        let said = output(&mut host);
        if said.starts_with("250") != right {
            wrong.push(format!("{address:?} ({diagnosis}): we say {said:?}"));
        }
    }
    assert!(count >= 100, "addresses of the corpus are missing");
    assert!(wrong.is_empty(), "{} of {count}:\n{}\n", wrong.len(), wrong.join("\n"));
}

/// Control characters stand there as the symbols that picture them.
fn unxml(text: &str) -> String {
    let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&apos;", "'");
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some(at) = rest.find("&#x") {
        out += &rest[..at];
        let (code, after) = rest[at + 3..].split_once(';').expect("an entity ends");
        out.extend(u32::from_str_radix(code, 16).ok().and_then(char::from_u32));
        rest = after;
    }
    out += rest;
    let out = out.replace("&amp;", "&");
    out.chars().map(|c| if ('\u{2400}'..='\u{241f}').contains(&c) { char::from(c as u32 as u8) } else { c }).collect()
}
