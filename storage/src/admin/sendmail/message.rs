//! The message that comes in on standard input: line by line, its header first.

use mail::Address;
use std::io::{self, BufRead, Read as _, Write};

/// Longest header, in bytes.
const HEADER_MAX: usize = 1 << 20;
/// Longest piece of a line.
const PIECE: u64 = 64 << 10;

/// Standard input as a message: lines end with LF, no NUL, and without `dots` a dot alone ends it.
pub(super) struct Lines<R> {
    input: R,
    dots: bool,
    /// Whether a line begins.
    start: bool,
    over: bool,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(input: R, dots: bool) -> Lines<R> {
        Lines { input, dots, start: true, over: false }
    }

    /// The next line, or a piece of one that is long; empty at the end. A last line that does not end gets its end.
    pub(super) fn next(&mut self, line: &mut Vec<u8>) -> io::Result<()> {
        line.clear();
        if self.over {
            return Ok(());
        }
        self.input.by_ref().take(PIECE).read_until(b'\n', line)?;
        let start = self.start;
        if start && !self.dots && matches!(&line[..], b".\n" | b".\r\n" | b".") {
            self.over = true;
            line.clear();
            return Ok(());
        }
        if line.is_empty() {
            self.over = true;
            if !start {
                line.push(b'\n');
            }
            return Ok(());
        }
        self.start = line.ends_with(b"\n");
        if line.ends_with(b"\r\n") {
            line.truncate(line.len() - 2);
            line.push(b'\n');
        }
        line.retain(|b| *b != 0);
        // A carriage return within a line ends lines elsewhere.
        line.iter_mut().filter(|b| **b == b'\r').for_each(|b| *b = b' ');
        if line.is_empty() {
            line.push(b' ');
        }
        Ok(())
    }

    /// Reads the header with its empty line, without a `From ` line before it; and what of the body had to be read for that.
    pub(super) fn header(&mut self) -> io::Result<(Vec<u8>, Vec<u8>)> {
        let (mut header, mut line) = (Vec::new(), Vec::new());
        let mut first = true;
        loop {
            self.next(&mut line)?;
            if std::mem::take(&mut first) && line.starts_with(b"From ") {
                continue;
            }
            match line.first() {
                None => return Ok((header, Vec::new())),
                Some(b'\n') => return Ok((header, line)),
                Some(b' ' | b'\t') if !header.is_empty() => {}
                _ => {
                    let colon = line.iter().position(|b| *b == b':');
                    if !colon.is_some_and(|at| at > 0 && line[..at].iter().all(|b| b.is_ascii_graphic())) {
                        // A body without a header, as `echo text | sendmail` makes it.
                        return Ok((header, [b"\n", &line[..]].concat()));
                    }
                }
            }
            header.extend_from_slice(&line);
            if header.len() > HEADER_MAX {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the header is longer than 1 MiB"));
            }
        }
    }

    /// Copies the rest.
    pub(super) fn copy(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let mut line = Vec::new();
        loop {
            self.next(&mut line)?;
            if line.is_empty() {
                return Ok(());
            }
            out.write_all(&line)?;
        }
    }
}

/// Whom a header names, as written: `To`, `Cc` and `Bcc`, or their `Resent-` kind if the message is sent again (RFC 5322 §3.6.6).
pub(super) fn recipients(header: &[u8], host: &str) -> Result<Vec<Address>, String> {
    let again = mime::fields(header).any(|f| f.is(b"Resent-To") || f.is(b"Resent-Cc") || f.is(b"Resent-Bcc"));
    let names: [&[u8]; 3] = if again { [b"Resent-To", b"Resent-Cc", b"Resent-Bcc"] } else { [b"To", b"Cc", b"Bcc"] };
    let mut found = Vec::new();
    for field in mime::fields(header).filter(|f| names.iter().any(|name| f.is(name))) {
        found.extend(addresses(&field.unfolded(), host)?);
    }
    Ok(found)
}

/// The addresses of an argument or of a field; a name alone is of this host.
pub(super) fn addresses(text: &[u8], host: &str) -> Result<Vec<Address>, String> {
    let mut found = Vec::new();
    for piece in split(text) {
        found.extend(of_piece(piece, host)?);
    }
    Ok(found)
}

fn of_piece(text: &[u8], host: &str) -> Result<Vec<Address>, String> {
    let bare = text.trim_ascii();
    if !bare.iter().any(|b| b"<\"(:".contains(b))
        && (bare.iter().any(u8::is_ascii_whitespace) || memchr::memchr_iter(b'@', bare).count() > 1)
    {
        // Whoever reads messages makes something of it; mail would go to somebody who is not meant.
        return Err(format!("no address: {}", String::from_utf8_lossy(bare)));
    }
    let mut scanner = mime::Scanner::new();
    scanner.feed(b"To: ");
    scanner.feed(text);
    scanner.feed(b"\n\n");
    let mut found = Vec::new();
    for who in scanner.finish().envelope.to {
        // Names and ends of groups are no addresses.
        let Some(local) = who.mailbox.as_deref().filter(|_| who.host.is_some() || !text.contains(&b':')) else { continue };
        let host = who.host.as_deref().filter(|host| !host.is_empty()).unwrap_or(host.as_bytes());
        let (Ok(local), Ok(domain)) = (std::str::from_utf8(local), std::str::from_utf8(host)) else {
            return Err(format!("not UTF-8: {}", String::from_utf8_lossy(text)));
        };
        // As it would stand in a command: one that nobody can be told is found out now, while there is somebody to tell.
        let address = Address::new(local, domain);
        if smtp::path(&address.to_string()).is_none() {
            return Err(format!("no address: {}", String::from_utf8_lossy(text)));
        }
        found.push(address);
    }
    Ok(found)
}

/// At commas outside quotes, comments and angles, so that no list is too long to be read; groups stay whole.
fn split(value: &[u8]) -> Vec<&[u8]> {
    let (mut pieces, mut from, mut at) = (Vec::new(), 0, 0);
    let (mut quoted, mut depth, mut angle, mut group) = (false, 0_usize, false, false);
    while at < value.len() {
        match value[at] {
            b'\\' => at += 1,
            b'"' if depth == 0 => quoted = !quoted,
            _ if quoted => {}
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            _ if depth > 0 => {}
            b'<' => angle = true,
            b'>' => angle = false,
            b':' if !angle => group = true,
            b';' => group = false,
            b',' if !angle && !group => {
                pieces.push(&value[from..at]);
                from = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    pieces.push(&value[from..]);
    pieces
}

/// The header without blind copies.
pub(super) fn without_bcc(header: &[u8]) -> Vec<u8> {
    let (mut filter, mut out) = (mime::FieldFilter::new(&["Bcc", "Resent-Bcc"], true), Vec::new());
    filter.feed(header, &mut out);
    filter.finish(&mut out);
    out.retain(|b| *b != b'\r');
    out.pop();
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str, dots: bool) -> String {
        let mut out = Vec::new();
        let mut lines = Lines::new(text.as_bytes(), dots);
        let (header, rest) = lines.header().unwrap();
        out.extend_from_slice(&without_bcc(&header));
        out.extend_from_slice(&rest);
        lines.copy(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_as_they_are_kept() {
        assert_eq!(lines("From x Mon\nA: b\r\nBcc: x@y\n z\n\nhi\n.\nno", false), "A: b\n\nhi\n");
        assert_eq!(lines("A: b\n\nhi\n.\nyes", true), "A: b\n\nhi\n.\nyes\n");
        assert_eq!(lines("just text\n", true), "\njust text\n");
        assert_eq!(lines("A: b\n\na\rb\0c\n", true), "A: b\n\na bc\n");
        assert_eq!(lines("", true), "");
    }

    #[test]
    fn whom_a_header_names() {
        let header = b"To: \"A, b\" <a@x.test>, root\nCc: list: c@x.test, d@y.test;\nBcc: (x) e@x.test\nFrom: f@x.test\n\n";
        let found: Vec<String> = recipients(header, "here.test").unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(found, ["a@x.test", "root@here.test", "c@x.test", "d@y.test", "e@x.test"]);
        assert_eq!(addresses(b"a@x.test, b", "h.test").unwrap().len(), 2);
        for bad in ["a b@x.test", "a@b@c.test", "a@x.test b@y.test", "a@x..test"] {
            assert!(addresses(bad.as_bytes(), "h.test").is_err(), "{bad}");
        }
        let many = format!("To: {}\n\n", vec!["a@x.test"; 5000].join(", "));
        assert_eq!(recipients(many.as_bytes(), "h").unwrap().len(), 5000);
        assert_eq!(recipients(b"To: a@x\nResent-To: b@x\n\n", "h").unwrap().len(), 1);
    }
}
