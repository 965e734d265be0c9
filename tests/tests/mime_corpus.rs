//! Messages that others collected, many of them malformed: what must hold of any structure, and the trees that mime4j sees in its own.

use hikyaku_tests::{corpus, fuzz};
use mime::{Kind, Part, Scanner, Structure};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Files below a folder with one of these extensions.
fn files(folder: &str, extensions: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = corpus::folder(folder).into_iter().collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a readable corpus") {
            let path = entry.expect("a readable corpus").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| extensions.iter().any(|x| e == *x)) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn scan(message: &[u8]) -> Structure {
    let mut scanner = Scanner::new();
    scanner.feed(message);
    scanner.finish()
}

#[test]
fn every_message_keeps_what_holds_of_any() {
    for (folder, extension) in [("mime-mime4j", "msg"), ("mime-mail-parser", "eml"), ("mime-cpython", "txt")] {
        let files = files(folder, &[extension]);
        for file in &files {
            let message = fs::read(file).expect("a readable corpus");
            let checked = std::panic::catch_unwind(|| {
                fuzz::mime(&message);
                fuzz::mime_field(&message);
                fuzz::mime_match(&[b"the\n", &message[..]].concat());
            });
            assert!(checked.is_ok(), "in {}", file.display());
        }
        println!("{folder}: {} messages", files.len());
    }
}

#[test]
fn messages_that_want_all_they_can_get() {
    let quotes = "\"".repeat(900);
    let addresses = format!("\"{}\" <{quotes}@b>,", "\\\"".repeat(400));
    let header = format!("Subject: {quotes}\nTo: {}\nCc: {}\n", addresses.repeat(20), "a,".repeat(8000)).repeat(20);
    let part = format!("--b\nContent-Description: {quotes}\nContent-Type: a/b; {}\n\n", "a=\"\\\\\";".repeat(100));
    let multipart = "Content-Type: multipart/mixed; boundary=b\n\n";
    fuzz::mime(format!("{header}{multipart}{}", "--b\n".repeat(1100)).as_bytes());
    fuzz::mime(format!("{multipart}{}", part.repeat(1100)).as_bytes());
    fuzz::mime(format!("{multipart}{}", "--b\nContent-Type: multipart/x; boundary=c\n\n--c\n".repeat(1100)).as_bytes());
    fuzz::mime(format!("{multipart}{}", "--b\nContent-Type: message/rfc822\n\n\n".repeat(1100)).as_bytes());
}

/// Messages whose tree we see differently, and why.
const OTHERWISE: &[(&str, &str)] = &[
    ("multi-2gifs-base64", ENCODED),
    ("bad-newlines-multiple-parts-base64", ENCODED),
    ("base64encoded-rfc822message-nested", ENCODED),
    ("base64encoded-rfc822message", ENCODED),
    ("very-very-long-boundary", "a boundary of 7000 characters fits no line of RFC 5322"),
    ("very-long-boundary", SPACES),
    ("weird-boundary", SPACES),
];
const SPACES: &str = "a boundary never ends with white space (RFC 2046 §5.1.1): nothing can hang on what relays may strip";
const ENCODED: &str =
    "a message in a message is never encoded (RFC 2046 §5.2.1), and an encoded one has no parts whose bytes could be fetched";

#[test]
fn trees_are_those_of_mime4j() {
    let mut wrong = Vec::new();
    for file in files("mime-mime4j", &["msg"]) {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let Ok(expected) = fs::read_to_string(file.with_extension("xml")).or_else(|_| latin1(&file.with_extension("xml"))) else {
            continue;
        };
        let message = fs::read(&file).expect("a readable corpus");
        let (ours, theirs) = (show(&scan(&message)), tree(&expected));
        let excused = OTHERWISE.iter().any(|(n, _)| *n == name);
        if (ours == theirs) == excused {
            wrong.push(format!("{name}:\n  ours   {ours}\n  theirs {theirs}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn latin1(file: &Path) -> std::io::Result<String> {
    Ok(fs::read(file)?.into_iter().map(char::from).collect())
}

/// `m` a message, `M` a multipart, `b` a body.
fn tree(xml: &str) -> String {
    let mut tree = String::new();
    for line in xml.lines() {
        match line.split(['>', ' ']).next() {
            Some("<message") => tree += "m(",
            Some("<multipart") => tree += "M(",
            Some("<body-part") => tree += "p(",
            Some("<body" | "<text-body" | "<binary-body") => tree += "b",
            Some("</message" | "</multipart" | "</body-part") => tree += ")",
            _ => {}
        }
    }
    tree
}

fn show(structure: &Structure) -> String {
    format!("m({})", inside(&structure.root))
}

fn inside(part: &Part) -> String {
    match &part.kind {
        Kind::Leaf => "b".into(),
        Kind::Message(inner) => show(inner),
        Kind::Multipart(parts) => format!("M({})", parts.iter().map(|p| format!("p({})", inside(p))).collect::<String>()),
    }
}
