//! What IMAP replies are made of, as far as a comparison needs it.

use std::fmt;

/// An argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arg {
    /// `NIL`
    Nil,
    /// Neither quoted nor a literal.
    Atom(Vec<u8>),
    /// Quoted or a literal.
    Text(Vec<u8>),
    /// In parentheses.
    List(Vec<Arg>),
}

impl Arg {
    /// Its bytes, if it has any.
    pub fn text(&self) -> Option<&[u8]> {
        match self {
            Arg::Atom(text) | Arg::Text(text) => Some(text),
            Arg::Nil | Arg::List(_) => None,
        }
    }

    /// Whether it is this atom, in any case.
    pub fn is(&self, word: &str) -> bool {
        matches!(self, Arg::Atom(text) if text.eq_ignore_ascii_case(word.as_bytes()))
    }
}

impl fmt::Display for Arg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Arg::Nil => f.write_str("NIL"),
            Arg::Atom(text) => write!(f, "{}", text.escape_ascii()),
            Arg::Text(text) => write!(f, "\"{}\"", text.escape_ascii()),
            Arg::List(list) => write!(f, "({})", show(list)),
        }
    }
}

/// As one line.
pub fn show(args: &[Arg]) -> String {
    args.iter().map(Arg::to_string).collect::<Vec<_>>().join(" ")
}

/// Takes a whole reply apart, literals included; without its last line end.
///
/// # Errors
/// Says what is wrong with it.
pub fn parse(line: &[u8]) -> Result<Vec<Arg>, String> {
    let mut stack = vec![Vec::new()];
    let mut rest = line;
    while let [first, tail @ ..] = rest {
        let top = stack.last_mut().ok_or("too many )")?;
        match first {
            b' ' => rest = tail,
            b'(' => {
                stack.push(Vec::new());
                rest = tail;
            }
            b')' => {
                let list = stack.pop().unwrap_or_default();
                stack.last_mut().ok_or("too many )")?.push(Arg::List(list));
                rest = tail;
            }
            b'"' => {
                let (text, after) = quoted(tail)?;
                top.push(Arg::Text(text));
                rest = after;
            }
            b'{' | b'~' if literal(rest).is_some() => {
                let (text, after) = literal(rest).unwrap_or_default();
                top.push(Arg::Text(text.to_vec()));
                rest = after;
            }
            _ => {
                let end = rest.iter().position(|b| matches!(b, b' ' | b'(' | b')' | b'\r' | b'\n')).unwrap_or(rest.len());
                if end == 0 {
                    return Err(format!("a stray line end in {}", line.escape_ascii()));
                }
                let (atom, after) = rest.split_at(end);
                top.push(if atom.eq_ignore_ascii_case(b"NIL") { Arg::Nil } else { Arg::Atom(atom.to_vec()) });
                rest = after;
            }
        }
    }
    match stack.pop() {
        Some(args) if stack.is_empty() => Ok(args),
        _ => Err(format!("a missing ) in {}", line.escape_ascii())),
    }
}

fn quoted(text: &[u8]) -> Result<(Vec<u8>, &[u8]), String> {
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(b) = text.get(at) {
        match b {
            b'"' => return Ok((out, &text[at + 1..])),
            b'\\' => {
                out.extend(text.get(at + 1));
                at += 2;
            }
            _ => {
                out.push(*b);
                at += 1;
            }
        }
    }
    Err("a missing quote".into())
}

/// `{n}` CRLF and n bytes, or the same after `~`.
fn literal(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = text.strip_prefix(b"~").unwrap_or(text).strip_prefix(b"{")?;
    let end = text.iter().position(|b| *b == b'}')?;
    let digits = text[..end].strip_suffix(b"+").unwrap_or(&text[..end]);
    let size: usize = std::str::from_utf8(digits).ok()?.parse().ok()?;
    text[end + 1..].strip_prefix(b"\r\n")?.split_at_checked(size)
}

/// The size of the literal that a line without its line end announces last, and whether it waits for leave.
pub fn announced(line: &[u8]) -> Option<(usize, bool)> {
    let inner = line.strip_suffix(b"}")?;
    let at = inner.iter().rposition(|b| *b == b'{')?;
    let digits = &inner[at + 1..];
    let (digits, waits) = digits.strip_suffix(b"+").map_or((digits, true), |digits| (digits, false));
    Some((std::str::from_utf8(digits).ok()?.parse().ok()?, waits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_comes_apart() {
        let args = parse(b"1 FETCH (BODY[HEADER.FIELDS (From)] {3}\r\na)b FLAGS (\\Seen) X \"q\\\"\" NIL)").unwrap();
        assert_eq!(show(&args), "1 FETCH (BODY[HEADER.FIELDS (From) ] \"a)b\" FLAGS (\\\\Seen) X \"q\\\"\" NIL)");
        assert_eq!(announced(b"a login {5+}"), Some((5, false)));
        assert_eq!(announced(b"a login {5}"), Some((5, true)));
        parse(b"(a").unwrap_err();
        parse(b"a)").unwrap_err();
    }
}
