//! From a script's text to groups of commands.

use super::{
    args::{self, Arg},
    matching::add_defaults,
};
use std::{fs, path::Path, time::Duration};

/// A script with the messages it uses.
#[derive(Debug)]
pub struct Script {
    /// What it is called.
    pub name: String,
    /// What the server must be able to do.
    pub capabilities: Vec<String>,
    /// Connections.
    pub connections: usize,
    /// Messages to append before it begins.
    pub messages: usize,
    /// Where it begins.
    pub state: State,
    /// The commands, in the order they are sent.
    pub groups: Vec<Group>,
    /// Messages with CRLF line ends, and their dates; used round and round.
    pub mails: Vec<Mail>,
}

/// A message of an mbox.
#[derive(Debug, Clone)]
pub struct Mail {
    /// As INTERNALDATE.
    pub date: String,
    /// With CRLF line ends.
    pub bytes: Vec<u8>,
}

/// How much is done before a script begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Connected.
    NonAuth,
    /// Logged in.
    Auth,
    /// The mailbox exists.
    Created,
    /// Its messages are in it.
    Appended,
    /// It is selected.
    Selected,
}

/// Commands that are sent together, and what must come.
#[derive(Debug, Default)]
pub struct Group {
    /// Index of the connection.
    pub connection: usize,
    /// Commands with the replies they must get.
    pub commands: Vec<Command>,
    /// Untagged replies.
    pub untagged: Vec<(Existence, Vec<Arg>)>,
    /// Whether untagged replies come in this order.
    pub ordered: bool,
    /// What to wait for afterwards.
    pub sleep: Duration,
}

/// A command.
#[derive(Debug)]
pub struct Command {
    /// Its line in the script.
    pub line: usize,
    /// The number of its tag in the script; 0 if it has none.
    pub tag: usize,
    /// What is sent, without tag and line end.
    pub text: Vec<u8>,
    /// How its reply must begin.
    pub reply: Option<Vec<Arg>>,
}

/// Whether a reply must come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existence {
    /// `*`
    Must,
    /// `!`
    MustNot,
    /// `?`
    May,
}

impl Script {
    /// Reads a script and its messages.
    ///
    /// # Errors
    /// The line and what is wrong with it.
    pub fn load(folder: &Path, name: &str) -> Result<Script, String> {
        let read = |path: &Path| fs::read(path).map_err(|e| format!("{}: {e}", path.display()));
        let mbox = folder.join(format!("{name}.mbox"));
        let mbox = if mbox.exists() { mbox } else { folder.join("default.mbox") };
        let mut script = Script {
            name: name.into(),
            capabilities: Vec::new(),
            connections: 1,
            messages: 0,
            state: State::Selected,
            groups: Vec::new(),
            mails: mails(&read(&mbox)?),
        };
        script.parse(&read(&folder.join(name))?)?;
        Ok(script)
    }

    fn parse(&mut self, text: &[u8]) -> Result<(), String> {
        let mut header = true;
        // Whether lines count, one entry for each open !ifenv. No variable is ever set here.
        let mut conditions: Vec<bool> = Vec::new();
        for (number, line) in whole_lines(text)? {
            let wrong = |what: &str| format!("line {number}: {what}: {}", line.escape_ascii());
            let plain = String::from_utf8_lossy(&line).into_owned();
            if header {
                if line.is_empty() {
                    header = false;
                } else if !plain.starts_with('#') {
                    self.header(&plain).map_err(|what| wrong(&what))?;
                }
                continue;
            }
            match plain.split(' ').next().unwrap_or("") {
                "!ifenv" => conditions.push(false),
                "!ifnenv" => conditions.push(true),
                "!else" => conditions.last_mut().map(|c| *c = !*c).ok_or_else(|| wrong("no !ifenv"))?,
                "!endif" => drop(conditions.pop().ok_or_else(|| wrong("no !ifenv"))?),
                _ if line.is_empty() || plain.starts_with('#') || conditions.contains(&false) => {}
                _ => self.line(number, &line).map_err(|what| wrong(&what))?,
            }
        }
        match self.groups.last() {
            Some(group) if group.commands.iter().all(|c| c.reply.is_some()) => Ok(()),
            _ => Err("the last command has no reply".into()),
        }
    }

    fn header(&mut self, line: &str) -> Result<(), String> {
        let (key, value) = line.split_once(':').ok_or("no key")?;
        let value = value.trim();
        let number = || value.parse::<usize>().map_err(|e| e.to_string());
        match key.trim().to_lowercase().as_str() {
            "capabilities" => self.capabilities = value.split_whitespace().map(str::to_uppercase).collect(),
            "connections" => self.connections = number()?,
            "messages" => self.messages = if value == "all" { self.mails.len() } else { number()? },
            "state" => {
                self.state = match value {
                    "nonauth" => State::NonAuth,
                    "auth" => State::Auth,
                    "created" => State::Created,
                    "appended" => State::Appended,
                    "selected" => State::Selected,
                    _ => return Err("no such state".into()),
                }
            }
            "ignore_extra_untagged" if value.starts_with('y') => {}
            // One connection belongs to somebody else: nothing that is advertised here needs it.
            user if user.starts_with("user ") => self.capabilities.push("URLAUTH".into()),
            _ => return Err("no such key".into()),
        }
        Ok(())
    }

    fn line(&mut self, number: usize, line: &[u8]) -> Result<(), String> {
        if let Some(group) = self.groups.last_mut() {
            if let Some(time) = line.strip_prefix(b"!sleep ") {
                group.sleep = interval(time).ok_or("no interval")?;
                return Ok(());
            }
            if line == b"!ordered" {
                group.ordered = true;
                return Ok(());
            }
        }
        if let [mark @ (b'*' | b'!' | b'?'), b' ', rest @ ..] = line {
            let existence = match mark {
                b'*' => Existence::Must,
                b'!' => Existence::MustNot,
                _ => Existence::May,
            };
            let mut pattern = args::parse(rest)?;
            add_defaults(&mut pattern);
            // Before any command it is about the greeting.
            if self.groups.is_empty() {
                self.groups.push(Group::default());
            }
            self.groups.last_mut().expect("one is there").untagged.push((existence, pattern));
            return Ok(());
        }
        let (connection, line) = match (self.connections, line.split_at_checked(1)) {
            (2.., Some((digit, rest))) if digit[0].is_ascii_digit() => {
                (usize::from(digit[0] - b'1'), rest.strip_prefix(b" ").unwrap_or(rest))
            }
            (2.., _) => return Err("which connection?".into()),
            _ => (0, line),
        };
        let (tag, rest) = tagged(line);
        let pending = self.groups.last().is_some_and(|g| g.commands.iter().any(|c| c.reply.is_none()));
        let (word, after) = split_word(rest);
        let is_reply = [&b"ok"[..], b"no", b"bad", b"\"\""].iter().any(|w| word.eq_ignore_ascii_case(w));
        if pending && is_reply {
            let group = self.groups.last_mut().expect("one is pending");
            let command = group.commands.iter_mut().find(|c| c.tag == tag && c.reply.is_none()).ok_or("a reply to nothing")?;
            command.reply = Some(args::parse(rest)?);
            return Ok(());
        }
        let (reply, text) = if is_reply { (Some(vec![Arg::Atom(word.to_vec())]), after) } else { (None, rest) };
        if !pending || self.groups.is_empty() {
            self.groups.push(Group { connection, ..Group::default() });
        }
        let group = self.groups.last_mut().expect("one is there");
        if group.connection != connection {
            return Err("a group stays on one connection".into());
        }
        group.commands.push(Command { line: number, tag, text: text.to_vec(), reply });
        Ok(())
    }
}

/// `tag1 rest`
fn tagged(line: &[u8]) -> (usize, &[u8]) {
    let (word, rest) = split_word(line);
    let digits = word.get(..3).filter(|t| t.eq_ignore_ascii_case(b"tag")).and_then(|_| std::str::from_utf8(&word[3..]).ok());
    match digits.and_then(|d| d.parse().ok()) {
        Some(tag) if tag > 0 => (tag, rest),
        _ => (0, line),
    }
}

fn split_word(line: &[u8]) -> (&[u8], &[u8]) {
    match line.iter().position(|b| *b == b' ') {
        Some(at) => (&line[..at], &line[at + 1..]),
        None => (line, &[]),
    }
}

fn interval(text: &[u8]) -> Option<Duration> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let number: u64 = digits.parse().ok()?;
    match text[digits.len()..].trim() {
        "ms" | "msecs" => Some(Duration::from_millis(number)),
        "" | "s" | "secs" => Some(Duration::from_secs(number)),
        _ => None,
    }
}

/// Lines with their numbers; `{{{` and what follows it to `}}}` become a literal.
fn whole_lines(text: &[u8]) -> Result<Vec<(usize, Vec<u8>)>, String> {
    let mut lines = text.split(|b| *b == b'\n').enumerate().map(|(i, line)| (i + 1, line));
    let mut whole = Vec::new();
    while let Some((number, line)) = lines.next() {
        let mut line = line.to_vec();
        while let Some(start) = line.strip_suffix(b"{{{") {
            let (start, binary) = start.strip_suffix(b"~").map_or((start, false), |start| (start, true));
            let mut literal = Vec::new();
            let tail = loop {
                let Some((_, next)) = lines.next() else { return Err(format!("line {number}: no }}}}}}")) };
                if let Some(tail) = next.strip_prefix(b"}}}") {
                    break tail;
                }
                literal.push(next);
            };
            let literal = literal.join(if binary { &b"\n"[..] } else { b"\r\n" });
            let tilde = if binary { "~" } else { "" };
            line = [start, format!("{tilde}{{{}}}\r\n", literal.len()).as_bytes(), &literal, tail].concat();
        }
        whole.push((number, line));
    }
    Ok(whole)
}

/// The messages of an mbox; the empty line before a `From ` line belongs to the message.
fn mails(mbox: &[u8]) -> Vec<Mail> {
    let mut mails: Vec<Mail> = Vec::new();
    for line in mbox.split_inclusive(|b| *b == b'\n') {
        if let Some(rest) = line.strip_prefix(b"From ") {
            mails.push(Mail { date: date(&String::from_utf8_lossy(rest)), bytes: Vec::new() });
            continue;
        }
        let Some(mail) = mails.last_mut() else { continue };
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        mail.bytes.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
        mail.bytes.extend_from_slice(b"\r\n");
    }
    mails
}

/// `user@domain  Fri Feb 22 17:06:23 2008 [+0200]` as INTERNALDATE.
fn date(from: &str) -> String {
    let words: Vec<&str> = from.split_whitespace().collect();
    match words.as_slice() {
        [_, _, month, day, time, year, zone @ ..] => {
            let zone = zone.first().copied().filter(|z| z.starts_with(['+', '-'])).unwrap_or("+0000");
            format!("{day:>2}-{month}-{year} {time} {zone}")
        }
        _ => " 1-Jan-2008 00:00:00 +0000".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_become_literals() {
        let lines = whole_lines(b"ok x {{{\na\n\n}}} y {{{\nb\n}}}\n* z ~{{{\n3\r\n\n}}})").unwrap();
        assert_eq!(lines[0], (1, b"ok x {3}\r\na\r\n y {1}\r\nb".to_vec()));
        assert_eq!(lines[1], (8 - 1, b"* z ~{3}\r\n3\r\n)".to_vec()));
    }

    #[test]
    fn mbox_dates() {
        assert_eq!(date("user@domain  Fri Feb 2 17:06:23 2008"), " 2-Feb-2008 17:06:23 +0000");
    }
}
