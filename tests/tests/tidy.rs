//! The house rules as a test: who may know whom, purity, sizes, first lines, links, words.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Who may use whom. What is not listed here uses nobody.
const ARROWS: [(&str, &[&str]); 24] = [
    ("wire", &[]),
    ("mail", &[]),
    ("config", &["mail"]),
    ("mime", &["mail"]),
    ("sasl", &["wire"]),
    ("dns", &["wire"]),
    ("maildir", &["mail"]),
    ("smtp", &["wire", "mail", "sasl", "dns"]),
    ("imap", &["wire", "mail", "mime", "sasl"]),
    ("pop3", &["wire", "mail", "sasl"]),
    ("http", &["wire"]),
    ("trust", &["mail", "mime", "dns", "wire"]),
    ("filter", &["mail", "mime"]),
    ("lists", &["mail", "mime"]),
    ("queue", &["wire", "mail", "mime", "dns"]),
    ("post", &["mail", "mime", "dns", "trust", "filter", "lists", "queue"]),
    ("webmail", &["http", "mail", "mime"]),
    ("storage", &["core"]),
    ("runtime-std", &["core", "storage"]),
    ("runtime-smol", &["core", "storage"]),
    ("tests", &["core", "storage"]),
    ("bench", &["core", "storage"]),
    ("portability", &["core", "storage"]),
    ("fuzz", &["tests"]),
];

/// Crates of core/ that may use std (never its network, files, environment, threads or clocks).
const WITH_STD: [&str; 2] = ["config", "http"];

/// What even those never touch.
const IMPURE: [&str; 9] =
    ["std::net::Tcp", "std::net::Udp", "std::fs", "std::env", "std::thread", "std::process", "std::time", "SystemTime", "Instant::now"];

/// Lines of the longest file that is still read.
const LINES: usize = 700;

#[test]
fn nobody_knows_more_than_allowed() {
    let mut wrong = Vec::new();
    for manifest in files().iter().filter(|f| f.ends_with("Cargo.toml") && f.parent() != Some(&root())) {
        let folder = manifest.parent().expect("a file lies in a folder");
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some((_, allowed)) = ARROWS.iter().find(|(n, _)| *n == name) else {
            wrong.push(format!("{}: who may it use? Add it to ARROWS", show(manifest)));
            continue;
        };
        for used in ours(&read(manifest)) {
            let is_core = root().join("core").join(&used).is_dir();
            if !(allowed.contains(&used.as_str()) || (is_core && allowed.contains(&"core"))) {
                wrong.push(format!("{}: {name} must not use {used}", show(manifest)));
            }
        }
    }
    none(wrong);
}

/// Our crates that a manifest depends on. Development dependencies count: what a test knows, it may leak.
fn ours(manifest: &str) -> Vec<String> {
    let mut names: BTreeMap<String, ()> = BTreeMap::new();
    let mut section = String::new();
    for line in manifest.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
            continue;
        }
        if !section.ends_with("dependencies") || line.starts_with('#') {
            continue;
        }
        let Some(name) = line.split(['.', '=', ' ']).next().filter(|n| !n.is_empty()) else { continue };
        let path = line.split_once("path = \"").and_then(|(_, rest)| rest.split('"').next());
        let name = path.and_then(|p| p.rsplit('/').next()).filter(|n| *n != "..").unwrap_or(name);
        let name = name.strip_prefix("hikyaku-").unwrap_or(name);
        if ARROWS.iter().any(|(n, _)| *n == name) {
            names.insert(name.to_owned(), ());
        }
    }
    names.into_keys().collect()
}

#[test]
fn the_core_is_pure() {
    let mut wrong = Vec::new();
    for file in rust().iter().filter(|f| f.starts_with(root().join("core")) && f.components().any(|c| c.as_os_str() == "src")) {
        let text = read(file);
        let name = file
            .strip_prefix(root().join("core"))
            .ok()
            .and_then(|p| p.components().next())
            .map(|c| c.as_os_str().to_string_lossy().into_owned());
        let name = name.unwrap_or_default();
        let with_std = WITH_STD.contains(&name.as_str());
        let is_root = file.ends_with("src/lib.rs");
        if is_root && !with_std && !text.lines().any(|l| l == "#![no_std]") {
            wrong.push(format!("{}: no #![no_std]", show(file)));
        }
        if !with_std && text.contains("extern crate std") {
            wrong.push(format!("{}: takes std back in", show(file)));
        }
        for (number, line) in text.lines().enumerate().filter(|(_, l)| !l.trim_start().starts_with("//")) {
            if let Some(bad) = IMPURE.iter().find(|bad| line.contains(**bad)) {
                wrong.push(format!("{}:{}: {bad}", show(file), number + 1));
            }
        }
    }
    none(wrong);
}

#[test]
fn the_threaded_runtime_links_no_async_crate() {
    let text = read(&root().join("runtime-std/Cargo.toml"));
    let found = ["smol", "async-io", "async-executor", "async-signal", "futures-lite", "futures-rustls", "tokio"];
    none(found.iter().filter(|c| text.lines().any(|l| l.starts_with(**c))).map(|c| format!("runtime-std depends on {c}")).collect());
}

#[test]
fn every_file_says_what_it_is() {
    none(rust().iter().filter(|f| !read(f).starts_with("//! ")).map(|f| format!("{}: its first line is no `//! `", show(f))).collect());
}

#[test]
fn no_file_is_too_long() {
    let long = |f: &&PathBuf| read(f).lines().count() > LINES;
    none(rust().iter().filter(long).map(|f| format!("{}: more than {LINES} lines", show(f))).collect());
}

#[test]
fn nothing_is_left_for_later() {
    // Written in pieces, so that this file does not find itself.
    let words = [["TO", "DO"], ["FIX", "ME"], ["XX", "X:"], ["todo", "!("], ["unimplemented", "!("]].map(|w| w.concat());
    let mut wrong = Vec::new();
    for file in files().iter().filter(|f| is_text(f)) {
        for (number, line) in read(file).lines().enumerate() {
            if let Some(word) = words.iter().find(|w| line.contains(w.as_str())) {
                wrong.push(format!("{}:{}: {word}", show(file), number + 1));
            }
        }
    }
    none(wrong);
}

#[test]
fn nobody_speaks_of_the_workshop() {
    // What the project is made with is no part of it; also in pieces.
    let words =
        [["/wo", "rk/"], ["workt", "ree"], ["clau", "de"], ["chat", "gpt"], ["bri", "ef.md"], ["iss", "ues show"]].map(|w| w.concat());
    let mut wrong = Vec::new();
    for file in files().iter().filter(|f| is_text(f)) {
        for (number, line) in read(file).lines().enumerate() {
            let line = line.to_lowercase();
            if let Some(word) = words.iter().find(|w| line.contains(w.as_str())) {
                wrong.push(format!("{}:{}: {word}", show(file), number + 1));
            }
        }
    }
    none(wrong);
}

#[test]
fn links_lead_somewhere() {
    let mut wrong = Vec::new();
    for file in files().iter().filter(|f| f.extension().is_some_and(|e| e == "md")) {
        let text = read(file);
        let anchors = |text: &str| -> Vec<String> { text.lines().filter(|l| l.starts_with('#')).map(anchor).collect() };
        for target in links(&text) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (path, fragment) = target.split_once('#').unwrap_or((target, ""));
            let there = if path.is_empty() { file.clone() } else { file.parent().unwrap_or(Path::new("")).join(path) };
            if !there.exists() {
                wrong.push(format!("{}: {target} leads nowhere", show(file)));
            } else if !fragment.is_empty()
                && there.extension().is_some_and(|e| e == "md")
                && !anchors(&read(&there)).contains(&fragment.to_owned())
            {
                wrong.push(format!("{}: {target} leads to no heading", show(file)));
            }
        }
    }
    none(wrong);
}

/// Targets of `[text](target)` outside of code.
fn links(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        for piece in line.split('`').step_by(2) {
            found.extend(piece.match_indices("](").filter_map(|(at, _)| piece[at + 2..].split(')').next()));
        }
    }
    found
}

/// As a heading is linked to: lower case, words joined by hyphens, punctuation gone.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_')).map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn none(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

fn rust() -> Vec<PathBuf> {
    files().into_iter().filter(|f| f.extension().is_some_and(|e| e == "rs")).collect()
}

fn is_text(file: &Path) -> bool {
    let named = ["LICENSE-MIT", "LICENSE-APACHE", "run"].iter().any(|n| file.ends_with(n));
    named || file.extension().is_some_and(|e| ["rs", "toml", "md", "sh", "py", "txt", "yml", "ron"].iter().any(|t| e == *t))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace").to_owned()
}

fn show(file: &Path) -> String {
    file.strip_prefix(root()).unwrap_or(file).display().to_string()
}

fn read(file: &Path) -> String {
    String::from_utf8_lossy(&fs::read(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))).into_owned()
}

/// Every file of the project, build output and version control aside.
fn files() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a readable tree").map(|e| e.expect("a readable tree")) {
            let name = entry.file_name();
            match entry.file_type().expect("a readable tree") {
                kind if kind.is_dir() && ["target", ".git", "artifacts"].iter().all(|n| name != *n) => folders.push(entry.path()),
                kind if kind.is_file() => found.push(entry.path()),
                _ => {}
            }
        }
    }
    found.sort();
    found
}
