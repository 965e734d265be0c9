//! Where a value stands in the text, so that a check that comes after parsing can point at it.

/// A step into a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    /// The field of this name.
    Field(&'a str),
    /// The element of this number, from 0.
    Item(usize),
}

/// The byte at which the value at `path` begins, or the nearest value around it that is there. `text` must be well-formed RON.
pub(crate) fn locate(text: &str, path: &[Step<'_>]) -> usize {
    let mut scan = Scan { text, at: 0 };
    scan.space();
    let mut found = scan.at;
    for step in path {
        match scan.enter(*step) {
            Some(at) => found = at,
            None => break,
        }
    }
    found
}

struct Scan<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Scan<'t> {
    /// From the start of a value to the start of a value in it.
    fn enter(&mut self, step: Step<'_>) -> Option<usize> {
        self.word();
        self.space();
        if !matches!(self.peek()?, '(' | '[' | '{') {
            return None;
        }
        self.bump();
        for n in 0.. {
            self.space();
            if matches!(self.peek()?, ')' | ']' | '}') {
                return None;
            }
            let start = self.at;
            let name = self.word();
            self.space();
            let named = !name.is_empty() && self.peek() == Some(':') && {
                self.bump();
                self.space();
                true
            };
            if !named {
                self.at = start;
            }
            let wanted = match step {
                Step::Field(field) => named && name == field,
                Step::Item(item) => n == item,
            };
            if wanted {
                return Some(self.at);
            }
            self.skip()?;
        }
        None
    }

    /// Past a value and the comma after it; before the bracket if one closes here.
    fn skip(&mut self) -> Option<()> {
        let mut depth = 0;
        loop {
            self.space();
            match self.peek()? {
                '(' | '[' | '{' => depth += 1,
                ')' | ']' | '}' if depth == 0 => return Some(()),
                ')' | ']' | '}' => depth -= 1,
                ',' if depth == 0 => {
                    self.bump();
                    return Some(());
                }
                '"' => {
                    self.string();
                    continue;
                }
                '\'' => {
                    self.bump();
                    if self.peek() == Some('\\') {
                        self.bump();
                    }
                    self.bump();
                    while self.peek().is_some_and(|c| c != '\'') {
                        self.bump();
                    }
                }
                'r' if self.text[self.at + 1..].trim_start_matches('#').starts_with('"') => {
                    self.raw_string();
                    continue;
                }
                c if c.is_alphanumeric() => {
                    self.word();
                    continue;
                }
                _ => {}
            }
            self.bump();
        }
    }

    fn string(&mut self) {
        self.bump();
        while let Some(c) = self.peek() {
            self.bump();
            match c {
                '\\' => self.bump(),
                '"' => break,
                _ => {}
            }
        }
    }

    fn raw_string(&mut self) {
        let hashes = self.text[self.at + 1..].bytes().take_while(|b| *b == b'#').count();
        let close = format!("\"{}", "#".repeat(hashes));
        let body = self.at + 2 + hashes;
        self.at = self.text[body..].find(&close).map_or(self.text.len(), |i| body + i + close.len());
    }

    fn word(&mut self) -> &'t str {
        let start = self.at;
        while self.peek().is_some_and(|c| c.is_alphanumeric() || c == '_') {
            self.bump();
        }
        &self.text[start..self.at]
    }

    /// Past white space and comments; block comments nest.
    fn space(&mut self) {
        loop {
            let rest = &self.text[self.at..];
            let trimmed = rest.trim_start();
            self.at += rest.len() - trimmed.len();
            if trimmed.starts_with("//") || trimmed.starts_with("#!") {
                self.at += trimmed.find('\n').unwrap_or(trimmed.len());
            } else if trimmed.starts_with("/*") {
                let mut depth = 0;
                loop {
                    let rest = &self.text[self.at..];
                    if rest.starts_with("/*") {
                        depth += 1;
                        self.at += 2;
                    } else if rest.starts_with("*/") {
                        depth -= 1;
                        self.at += 2;
                    } else if rest.is_empty() {
                        return;
                    } else {
                        self.bump();
                    }
                    if depth == 0 {
                        break;
                    }
                }
            } else {
                return;
            }
        }
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn bump(&mut self) {
        self.at += self.peek().map_or(0, char::len_utf8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Step::{Field, Item};

    fn at(text: &str, path: &[Step<'_>]) -> String {
        text[locate(text, path)..].chars().take(6).collect()
    }

    #[test]
    fn it_finds_values() {
        let text = r####"// (listen: no)
Config(
    domains: ["a,)", r#"b"]"#, 'x', "c\"d" /* e, /* f */ */],
    detail: '"', other: '\'', n: -1.5,
    listen: [(on: "1", speak: Imap), (on : "2", speak: Smtp)],
    limits: (message: 7),
)"####;
        assert_eq!(at(text, &[]), "Config");
        assert_eq!(at(text, &[Field("domains"), Item(1)]), "r#\"b\"]");
        assert_eq!(at(text, &[Field("domains"), Item(3)]), "\"c\\\"d\"");
        assert_eq!(at(text, &[Field("domains"), Item(4)]), "[\"a,)\"");
        assert_eq!(at(text, &[Field("n")]), "-1.5,\n");
        assert_eq!(at(text, &[Field("listen"), Item(1), Field("on")]), "\"2\", s");
        assert_eq!(at(text, &[Field("limits"), Field("message")]), "7),\n)");
        assert_eq!(at(text, &[Field("limits"), Field("absent")]), "(messa");
        assert_eq!(at(text, &[Field("absent"), Field("x")]), "Config");
    }

    #[test]
    fn it_never_panics() {
        for text in ["", "(", "(a:", "(a:\"", "/*", "(a: r#\"", "(a: 'é", "é(ü: [ö])"] {
            locate(text, &[Field("a"), Item(3), Field("b")]);
        }
    }
}
