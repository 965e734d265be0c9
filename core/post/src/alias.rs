//! Files of aliases: `name: target, target`, as Sendmail and Courier write them.

use alloc::{
    borrow::ToOwned as _,
    collections::BTreeMap,
    string::{String, ToString as _},
    vec::Vec,
};
use core::fmt;
use mail::Address;

/// One line of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// In lower case: `name`, `name@domain`, or `@domain` for all that nobody else there gets.
    pub name: String,
    /// What it stands for.
    pub to: Vec<Target>,
    /// Its line, from 1.
    pub line: usize,
}

/// What an alias stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// An address, or a name without a domain.
    Address(String),
    /// Another file, with targets in its lines.
    Include(String),
}

/// Why a file is none of aliases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AliasError {
    /// The line, from 1.
    pub line: usize,
    /// Why.
    pub why: Why,
}

/// See [`AliasError`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// There is no colon.
    NoColon,
    /// There is nothing before the colon.
    NoName,
    /// There is nothing behind it.
    NoTarget,
    /// This is no address.
    NoAddress(String),
    /// It was given before, in that line.
    Twice(usize),
    /// `|command`: mail starts no programs here.
    Command,
    /// `/file`: mail is written to no files here.
    File,
}

impl Target {
    /// The address; a name gets this domain. None for a file.
    pub fn address(&self, domain: &str) -> Option<Address> {
        match self {
            Target::Address(text) if text.contains('@') => Address::parse(text),
            Target::Address(text) => Some(Address::new(text, domain)),
            Target::Include(_) => None,
        }
    }
}

/// Reads a file: comments begin with `#`, lines that begin with a blank continue the one before.
///
/// # Errors
/// The first line that makes no sense.
pub fn parse_aliases(text: &str) -> Result<Vec<Alias>, AliasError> {
    let mut aliases: Vec<Alias> = Vec::new();
    let mut lines = BTreeMap::new();
    for (line, logical) in logical_lines(text) {
        let wrong = |why| AliasError { line, why };
        let (name, targets) = split_name(&logical).ok_or_else(|| wrong(Why::NoColon))?;
        let name = unquote(name.trim()).to_lowercase();
        if name.is_empty() {
            return Err(wrong(Why::NoName));
        }
        let to = parse_targets(targets).map_err(wrong)?;
        if to.is_empty() {
            return Err(wrong(Why::NoTarget));
        }
        if let Some(before) = lines.insert(name.clone(), line) {
            return Err(wrong(Why::Twice(before)));
        }
        aliases.push(Alias { name, to, line });
    }
    Ok(aliases)
}

/// Reads a file that `:include:` names: targets, on lines or between commas.
///
/// # Errors
/// The first line that makes no sense.
pub fn parse_included(text: &str) -> Result<Vec<Target>, AliasError> {
    let mut targets = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if !line.is_empty() && !line.starts_with('#') {
            targets.extend(parse_targets(line).map_err(|why| AliasError { line: at + 1, why })?);
        }
    }
    Ok(targets)
}

fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        match lines.last_mut() {
            Some((_, before)) if line.starts_with([' ', '\t']) => {
                before.push(' ');
                before.push_str(line.trim());
            }
            _ => lines.push((at + 1, line.trim().to_owned())),
        }
    }
    lines
}

/// At the first colon outside of quotes.
fn split_name(line: &str) -> Option<(&str, &str)> {
    let mut quoted = false;
    let at = line.char_indices().find(|(_, c)| {
        quoted ^= *c == '"';
        *c == ':' && !quoted
    })?;
    Some((&line[..at.0], &line[at.0 + 1..]))
}

fn parse_targets(text: &str) -> Result<Vec<Target>, Why> {
    let mut targets = Vec::new();
    let (mut quoted, mut from) = (false, 0);
    let ends = text.char_indices().filter(|(_, c)| {
        quoted ^= *c == '"';
        *c == ',' && !quoted
    });
    let ends: Vec<usize> = ends.map(|(at, _)| at).chain([text.len()]).collect();
    for end in ends {
        let word = text.get(from..end).unwrap_or_default().trim();
        from = end + 1;
        if word.is_empty() {
            continue;
        }
        let bare = unquote(word);
        if let Some(path) = bare.strip_prefix(":include:") {
            targets.push(Target::Include(path.trim().to_string()));
        } else if bare.starts_with('|') {
            return Err(Why::Command);
        } else if bare.starts_with('/') {
            return Err(Why::File);
        } else {
            // Sendmail's mark for "no further aliases", which a name in its own list does not need here.
            let bare = bare.strip_prefix('\\').unwrap_or(bare);
            let fits = if bare.contains('@') { Address::parse(bare).is_some() } else { Address::parse(&[bare, "@x"].concat()).is_some() };
            if !fits {
                return Err(Why::NoAddress(bare.to_string()));
            }
            targets.push(Target::Address(bare.to_string()));
        }
    }
    Ok(targets)
}

fn unquote(word: &str) -> &str {
    word.strip_prefix('"').and_then(|w| w.strip_suffix('"')).unwrap_or(word)
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::NoColon => f.write_str("a colon is missing: `name: address, address`"),
            Why::NoName => f.write_str("there is no name before the colon"),
            Why::NoTarget => f.write_str("there is no address behind the colon"),
            Why::NoAddress(text) => write!(f, "`{text}` is no address"),
            Why::Twice(line) => write!(f, "this name was given in line {line} already"),
            Why::Command => f.write_str("`|command` is not done here: mail starts no programs"),
            Why::File => f.write_str("`/file` is not done here: mail is written to no files; forward it to an account"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn files_of_both_kinds() {
        let text = "# a comment\nroot: alice\n\nStaff: bob,\n\tcarol@here.test,\n  \"d d\"@x\n";
        assert_eq!(parse_aliases(text), Err(AliasError { line: 4, why: Why::NoAddress("\"d d\"@x".into()) }));
        let text = "# a comment\nroot: alice\n\nStaff: bob,\n\tcarol@here.test,\n  :include:/etc/list\n@old.test: \\alice\n\"quoted: name\": alice\n";
        let address = |a: &str| Target::Address(a.into());
        assert_eq!(
            parse_aliases(text).unwrap(),
            [
                Alias { name: "root".into(), to: vec![address("alice")], line: 2 },
                Alias {
                    name: "staff".into(),
                    to: vec![address("bob"), address("carol@here.test"), Target::Include("/etc/list".into())],
                    line: 4
                },
                Alias { name: "@old.test".into(), to: vec![address("alice")], line: 7 },
                Alias { name: "quoted: name".into(), to: vec![address("alice")], line: 8 },
            ]
        );
        assert_eq!(parse_included("# x\na@b\nc, d\n"), Ok(vec![address("a@b"), address("c"), address("d")]));
    }

    #[test]
    fn what_makes_no_sense_has_a_line() {
        for (text, line, why) in [
            ("a", 1, Why::NoColon),
            ("\n: b", 2, Why::NoName),
            ("a:", 1, Why::NoTarget),
            ("a: b\na: c", 2, Why::Twice(1)),
            ("a: \"|/bin/sh\"", 1, Why::Command),
            ("a: /var/mail/x", 1, Why::File),
            ("a: b c", 1, Why::NoAddress("b c".into())),
        ] {
            assert_eq!(parse_aliases(text), Err(AliasError { line, why }), "{text}");
        }
    }
}
