//! What is wrong with a configuration, and where.

use crate::locate::{Step, locate};
use std::fmt;

/// Everything that is wrong with a file: one problem if it cannot be read at all, every problem if it can.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The name of the file, as the operator gave it.
    pub file: String,
    /// At least one, in the order of the file.
    pub problems: Vec<Problem>,
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Line from 1.
    pub line: usize,
    /// Character of the line from 1.
    pub column: usize,
    /// That line.
    pub text: String,
    /// What is wrong and, if known, what to write instead.
    pub message: String,
}

impl Problem {
    /// At the value that `path` leads to in a text that was read before, or at what is around it if it is not there.
    pub fn on(text: &str, path: &[Step<'_>], message: String) -> Problem {
        Problem::at(text, locate(text, path), message)
    }

    /// At the byte `at` of `text`; beyond its end, at its end.
    pub(crate) fn at(text: &str, at: usize, message: String) -> Problem {
        let mut at = at.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        let start = text[..at].rfind('\n').map_or(0, |i| i + 1);
        let end = text[at..].find('\n').map_or(text.len(), |i| at + i);
        Problem {
            line: text[..start].matches('\n').count() + 1,
            column: text[start..at].chars().count() + 1,
            text: text[start..end].trim_end_matches('\r').to_owned(),
            message,
        }
    }
}

/// `file:line:column: message`, the line, and a caret under the place; problems are separated by empty lines.
impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            if i > 0 {
                f.write_str("\n\n")?;
            }
            let number = problem.line.to_string();
            writeln!(f, "{}:{}:{}: {}", self.file, problem.line, problem.column, problem.message)?;
            writeln!(f, " {number} | {}", problem.text)?;
            // A tab stays a tab, so that the caret stands under its character however wide tabs are.
            let pad: String = problem.text.chars().take(problem.column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
            write!(f, " {:width$} | {pad}^", "", width = number.len())?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// The name in `known` that `found` was probably meant to be: at most a third of its letters (and one at least) are wrong.
pub fn nearest<'k>(found: &str, known: &[&'k str]) -> Option<&'k str> {
    let allowed = (found.chars().count() / 3).max(1);
    let found = found.to_lowercase();
    known
        .iter()
        .map(|name| (distance(&found, &name.to_lowercase()), *name))
        .filter(|(d, name)| *d <= allowed || (found.len() >= 4 && name.to_lowercase().starts_with(&found)))
        .min()
        .map(|(_, name)| name)
}

/// How many letters must be added, dropped, replaced or swapped with their neighbour (the optimal string alignment distance).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = last;
        last = row;
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_finger() {
        let known = ["domains", "hostname", "store", "limits", "log"];
        assert_eq!(nearest("domain", &known), Some("domains"));
        assert_eq!(nearest("hsotname", &known), Some("hostname"));
        assert_eq!(nearest("Host", &known), Some("hostname"));
        assert_eq!(nearest("lgo", &known), Some("log"));
        assert_eq!(nearest("greylisting", &known), None);
        assert_eq!(distance("ca", "abc"), 3);
        assert_eq!(distance("", "abc"), 3);
    }

    #[test]
    fn places_in_a_text() {
        let text = "a\n\tbé!\r\nc";
        let at = text.find('!').unwrap();
        let problem = Problem::at(text, at, "no".into());
        assert_eq!((problem.line, problem.column, &*problem.text), (2, 4, "\tbé!"));
        let error = ConfigError { file: "f".into(), problems: vec![problem] };
        assert_eq!(error.to_string(), "f:2:4: no\n 2 | \tbé!\n   | \t  ^");
        assert_eq!(Problem::at(text, 99, String::new()).line, 3);
    }
}
