//! Sessions that others recorded or wrote, as scripts.

use crate::{
    corpus,
    dialog::{Action, Dialog, Turn},
};
use std::fs;

/// What real mail programs sent, one script a connection, by the name of the file.
pub fn transcripts() -> Vec<(String, Dialog)> {
    let Some(folder) = corpus::folder("client-transcripts") else { return Vec::new() };
    let mut files: Vec<_> = fs::read_dir(folder).expect("a readable corpus").map(|e| e.expect("a readable corpus").path()).collect();
    files.sort();
    let mut scripts = Vec::new();
    for file in files.iter().filter(|f| f.file_name().is_some_and(|n| n != "SOURCE.txt")) {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = String::from_utf8_lossy(&fs::read(file).expect("a readable corpus")).into_owned();
        let mut connections: Vec<(&str, Dialog)> = Vec::new();
        for line in text.lines() {
            let Some((connection, rest)) = line.split_once(' ') else { continue };
            let Some(said) = rest.strip_prefix("C: ").or((rest == "C:").then_some("")) else { continue };
            if said == "<EOF>" {
                continue;
            }
            if !connections.iter().any(|(c, _)| *c == connection) {
                connections.push((connection, Dialog { options: vec![(0, "plaintext".into(), "yes".into())], turns: Vec::new() }));
            }
            let (_, dialog) = connections.iter_mut().find(|(c, _)| *c == connection).expect("just made");
            let line = dialog.turns.len() + 1;
            dialog.turns.push(Turn { line, actions: vec![(line, Action::Send(format!("{said}\r\n").into_bytes()))], ..Turn::default() });
        }
        scripts.extend(connections.into_iter().map(|(c, dialog)| (format!("{name}:{c}"), dialog)));
    }
    scripts
}
