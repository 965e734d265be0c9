//! From text to a checked configuration.

use crate::{Config, ConfigError, Problem, check, error::nearest};
use ron::{Options, error::Error as Ron, extensions::Extensions};
use serde::de::DeserializeOwned;

/// Largest file that is read; a bound so that a mistaken path (a mailbox, a disk) is an error and not an hour.
pub const TEXT_BYTES_MAX: usize = 1 << 20;

/// Reads and checks a configuration. `file` is its name in errors. Domains come out in lower case.
///
/// # Errors
/// Says every problem with its place.
pub fn parse(file: &str, text: &str) -> Result<Config, ConfigError> {
    if text.len() > TEXT_BYTES_MAX {
        let problems = vec![Problem::at("", 0, format!("the file is larger than {TEXT_BYTES_MAX} bytes"))];
        return Err(ConfigError { file: file.into(), problems });
    }
    let mut config: Config = parse_as(file, text)?;
    let problems = check::check(&mut config, text);
    if problems.is_empty() { Ok(config) } else { Err(ConfigError { file: file.into(), problems }) }
}

/// Reads any RON file with the errors of a configuration: `Some` may be left out, and a misspelt name is told from the known ones.
///
/// # Errors
/// Says the first problem with its place.
pub fn parse_as<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, ConfigError> {
    let fail = |at, message| ConfigError { file: file.into(), problems: vec![Problem::at(text, at, message)] };
    let options = Options::default().with_default_extension(Extensions::IMPLICIT_SOME).with_recursion_limit(32);
    options.from_str(text).map_err(|e| {
        let at = place(text, &e);
        fail(at, message(&e.code))
    })
}

/// The byte the operator should look at.
fn place(text: &str, e: &ron::error::SpannedError) -> usize {
    let offset = |p: ron::error::Position| {
        let line = text.split_inclusive('\n').take(p.line - 1).map(str::len).sum::<usize>();
        line + text[line..].chars().take(p.col - 1).map(char::len_utf8).sum::<usize>()
    };
    let (start, end) = (offset(e.span.start), offset(e.span.end));
    // The white space that was skipped to reach a value is not what is wrong.
    let start = start + text[start..].find(|c: char| !c.is_whitespace()).unwrap_or(0);
    match &e.code {
        Ron::NoSuchStructField { found, .. } | Ron::NoSuchEnumVariant { found, .. } => {
            text[..end.min(text.len())].rfind(found.as_str()).unwrap_or(start)
        }
        // Found out behind the number.
        Ron::IntegerOutOfBounds => text[..start].trim_end_matches(|c: char| c.is_alphanumeric() || matches!(c, '-' | '+' | '_')).len(),
        _ => start,
    }
}

fn message(error: &Ron) -> String {
    let unknown = |kind: &str, found: &str, expected: &[&str]| match nearest(found, expected) {
        Some(name) => format!("there is no {kind} `{found}` here; did you mean `{name}`?"),
        None => format!("there is no {kind} `{found}` here; known are {}", listed(expected)),
    };
    match error {
        Ron::NoSuchStructField { expected, found, .. } => unknown("field", found, expected),
        Ron::NoSuchEnumVariant { expected, found, .. } => unknown("value", found, expected),
        Ron::MissingStructField { field, .. } => format!("the field `{field}` is missing"),
        Ron::DuplicateStructField { field, .. } => format!("the field `{field}` is given twice"),
        Ron::ExpectedChar => "expected a single character in single quotes, such as '+'".into(),
        Ron::ExpectedString => "expected a text in double quotes".into(),
        Ron::ExpectedBoolean => "expected true or false".into(),
        Ron::ExpectedArray => "expected a list in brackets, such as [\"example.org\"]".into(),
        Ron::ExpectedComma => "expected a comma".into(),
        Ron::ExpectedMapColon => "expected a colon after the name".into(),
        Ron::ExpectedInteger => "expected a whole number".into(),
        Ron::IntegerOutOfBounds => "the number is too large or negative".into(),
        Ron::ExpectedStructLike | Ron::ExpectedNamedStructLike(_) => "expected an opening `(`: fields stand in parentheses".into(),
        Ron::ExpectedStructLikeEnd => "expected a comma or a closing `)`".into(),
        Ron::ExpectedIdentifier => "expected the name of a field".into(),
        Ron::ExpectedDifferentStructName { .. } => "fields stand in parentheses: (domains: [\"example.org\"])".into(),
        Ron::Message(text) if text.contains("socket address") => {
            "expected an address and a port, such as \"0.0.0.0:25\" or \"[::]:993\"".into()
        }
        Ron::TrailingCharacters => "there is something behind the closing `)`".into(),
        Ron::Eof | Ron::ExpectedStringEnd => "the file ends too early: a bracket or a quote is not closed".into(),
        other => {
            let text = other.to_string();
            let mut letters = text.chars();
            letters.next().map_or_else(String::new, |c| c.to_lowercase().chain(letters).collect())
        }
    }
}

/// `a, b and c`, each in back quotes.
pub(crate) fn listed(names: &[&str]) -> String {
    match names {
        [] => "none".into(),
        [one] => format!("`{one}`"),
        [rest @ .., last] => {
            let rest: Vec<String> = rest.iter().map(|n| format!("`{n}`")).collect();
            format!("{} and `{last}`", rest.join(", "))
        }
    }
}
