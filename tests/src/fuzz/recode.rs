//! Messages of any shape, re-encoded for peers that take less.

use mime::{Kind, Obstacle, Part, Recoder, Scanner, Source, Structure, Target, decoded};

/// What comes out of re-encoding is the same however it was cut, is what the peer takes, and says what went in.
pub fn mime_recode(data: &[u8]) {
    for (source, target) in [
        (Source::Lines, Target::SevenBit),
        (Source::Octets, Target::SevenBit),
        (Source::Octets, Target::EightBit),
        (Source::Lines, Target::EightBit),
    ] {
        let whole = recode(data, source, target, usize::MAX);
        assert_eq!(recode(data, source, target, 1), whole, "cut otherwise, it is something else");
        assert_eq!(recode(data, source, target, 7), whole, "cut otherwise, it is something else");
        let Ok(out) = whole else { continue };
        check(&out, target);
        let again = recode(&out, Source::Octets, target, usize::MAX);
        assert!(again.as_ref() == Ok(&out), "once more, it changes:\n{}\n{}", out.escape_ascii(), again.unwrap_or_default().escape_ascii());
        let wire = match source {
            Source::Octets => data.to_vec(),
            Source::Lines => lines(data),
        };
        compare(&wire, &scan(&wire).root, &out, &scan(&out).root);
    }
}

fn recode(message: &[u8], source: Source, target: Target, cut: usize) -> Result<Vec<u8>, Obstacle> {
    let (mut recoder, mut out) = (Recoder::new(source, target), Vec::new());
    for piece in message.chunks(cut.min(message.len()).max(1)) {
        recoder.feed(piece, &mut out)?;
    }
    recoder.finish(&mut out)?;
    Ok(out)
}

/// Lines of at most 998 octets, none of which a peer would misread.
fn check(out: &[u8], target: Target) {
    assert!(out.is_empty() || out.ends_with(b"\r\n"));
    assert!(target == Target::EightBit || out.is_ascii(), "8 bits: {}", out.escape_ascii());
    for line in out.split_inclusive(|b| *b == b'\n') {
        let text = line.strip_suffix(b"\r\n").unwrap_or_else(|| panic!("a bare line feed: {}", line.escape_ascii()));
        assert!(text.len() <= 998 && !text.iter().any(|b| matches!(b, b'\r' | 0)), "not a line: {}", text.escape_ascii());
    }
}

/// With CRLF line ends.
fn lines(data: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(data.len());
    for line in data.split_inclusive(|b| *b == b'\n') {
        match line.strip_suffix(b"\n") {
            None => wire.extend_from_slice(line),
            Some(text) => {
                wire.extend_from_slice(text.strip_suffix(b"\r").unwrap_or(text));
                wire.extend_from_slice(b"\r\n");
            }
        }
    }
    wire
}

fn scan(message: &[u8]) -> Structure {
    let mut scanner = Scanner::new();
    scanner.feed(message);
    scanner.finish()
}

/// The parts are the same, and each decodes to the same.
fn compare(was: &[u8], part: &Part, is: &[u8], new: &Part) {
    match (&part.kind, &new.kind) {
        (Kind::Multipart(parts), Kind::Multipart(news)) => {
            assert_eq!(parts.len(), news.len(), "parts were lost or made");
            parts.iter().zip(news).for_each(|(part, new)| compare(was, part, is, new));
        }
        (Kind::Message(message), Kind::Message(new)) => compare(was, &message.root, is, &new.root),
        (Kind::Leaf, Kind::Leaf) => {
            let slice = |all: &[u8], part: &Part| decoded(&part.encoding, &all[part.body.at as usize..][..part.body.len as usize]);
            let (before, mut after) = (slice(was, part), slice(is, new));
            if after.len() == before.len() + 2 && !before.ends_with(b"\n") {
                // The last line of a message has to end.
                after.truncate(before.len());
            }
            assert!(before == after, "content changed:\n{}\n{}", before.escape_ascii(), after.escape_ascii());
        }
        // A message in UTF-8 within (RFC 6532) is encoded whole.
        (Kind::Message(_), Kind::Leaf) => assert!(part.media.1.eq_ignore_ascii_case(b"global")),
        (old, new) => panic!("{old:?} became {new:?}"),
    }
}
