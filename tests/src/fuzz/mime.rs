//! Messages of any shape: their structure, what is printed of it, its bytes in an index, and searches.

use imap::print::{self, What};
use mime::{FieldFilter, Kind, Matcher, Needle, Part, Scanner, Structure};
use std::fmt::Debug;
use wire::Outbox;

/// A message, cut anywhere, has one structure; its spans lie in each other and measure what they say.
pub fn mime(data: &[u8]) {
    let whole = scan(data, usize::MAX);
    same(&whole, &scan(data, 1));
    same(&whole, &scan(data, 7));
    check_structure(data, &whole);
    let mut bytes = Vec::new();
    whole.encode(&mut bytes);
    assert_eq!(Structure::decode(&bytes).as_ref(), Some(&whole), "the cache forgets");
    assert!(check_print(&whole) < PRINTED, "an outbox must hold what is printed of a structure in one go");
    check_sections(&whole, data);
    check_wire(data, &whole);
}

/// Bytes that may or may not be a structure.
pub fn mime_cache(data: &[u8]) {
    if let Some(structure) = Structure::decode(data) {
        let mut bytes = Vec::new();
        structure.encode(&mut bytes);
        assert_eq!(Structure::decode(&bytes).as_ref(), Some(&structure), "what is read can be written");
        check_print(&structure);
        check_walk(&structure.root, 1);
    }
}

/// One header in memory and passing by; one value as a date and as text.
pub fn mime_field(data: &[u8]) {
    for field in mime::fields(data) {
        let value = field.unfolded();
        assert!(value.len() <= field.value.len());
        let _ = mime::date(&value);
        let _ = mime::text_matches(field.value, &Needle::new("a"));
    }
    if let Some(stamp) = mime::date(data) {
        assert_eq!(mime::date(stamp.header().to_string().as_bytes()), Some(stamp), "a date that was read can be written and read");
    }
    for (names, not) in [(&["subject", "to"][..], false), (&["subject", "x"], true), (&[], true)] {
        let filter = |size: usize| {
            let mut out = Vec::new();
            let mut filter = FieldFilter::new(names, not);
            data.chunks(size).for_each(|chunk| filter.feed(chunk, &mut out));
            filter.finish(&mut out);
            out
        };
        let whole = filter(data.len().max(1));
        same(&whole, &filter(1));
        assert!(whole.ends_with(b"\r\n"));
        assert!(!whole.contains(&b'\n') || whole.windows(2).all(|w| w[1] != b'\n' || w[0] == b'\r'), "bare line feeds");
    }
}

/// A search finds the same however the bytes come. The first line is what to look for.
pub fn mime_match(data: &[u8]) {
    let (needle, message) = data.split_at(data.iter().position(|b| *b == b'\n').unwrap_or(0));
    let needles = [Needle::new(&String::from_utf8_lossy(needle)), Needle::new(""), Needle::new("é")];
    let structure = scan(message, usize::MAX);
    for piece in structure.pieces(true) {
        let bytes = &message[piece.span.at as usize..][..piece.span.len as usize];
        find(|| Matcher::new(&piece, &needles), bytes, needles.len());
    }
    find(|| Matcher::field(b"subject", &needles), message, needles.len());
}

fn find(matcher: impl Fn() -> Matcher, bytes: &[u8], needles: usize) {
    let found = |size: usize| -> Vec<bool> {
        let mut matcher = matcher();
        bytes.chunks(size).for_each(|chunk| matcher.feed(chunk));
        matcher.finish();
        (0..needles).map(|n| matcher.found(n)).collect()
    };
    let whole = found(bytes.len().max(1));
    same(&whole, &found(1));
    same(&whole, &found(5));
}

fn same<T: PartialEq + Debug>(whole: &T, cut: &T) {
    assert_eq!(whole, cut, "cut otherwise, it is something else");
}

fn scan(message: &[u8], size: usize) -> Structure {
    let mut scanner = Scanner::new();
    message.chunks(size.min(message.len()).max(1)).for_each(|chunk| scanner.feed(chunk));
    scanner.finish()
}

/// Everything that must hold of any message's structure.
///
/// # Panics
/// If it does not.
pub fn check_structure(message: &[u8], structure: &Structure) {
    let root = &structure.root;
    assert_eq!(root.header.at, 0);
    assert_eq!(root.header.len + root.body.len, message.len() as u64, "header and body are the whole message");
    check_part(message, root);
    check_walk(root, 1);
}

fn check_part(message: &[u8], part: &Part) {
    let slice = |span: mail::Span| &message[span.at as usize..][..span.len as usize];
    let (header, body) = (slice(part.header), slice(part.body));
    assert_eq!(part.body.at, part.header.at + part.header.len, "the body follows the header");
    assert_eq!(part.header.wire, wire_len(header), "wire length of a header");
    assert_eq!(part.body.wire, wire_len(body), "wire length of a body");
    let feeds = body.iter().filter(|b| **b == b'\n').count() as u64;
    assert_eq!(part.lines, feeds + u64::from(body.last().is_some_and(|b| *b != b'\n')), "lines");
    let mut after = part.body.at;
    let mut inside = |inner: &Part| {
        assert!(inner.header.at >= after, "parts are in order");
        after = inner.body.at + inner.body.len;
        assert!(after <= part.body.at + part.body.len, "a part lies in its parent");
        check_part(message, inner);
    };
    match &part.kind {
        Kind::Leaf => {}
        Kind::Message(inner) => {
            inside(&inner.root);
            let all = inner.root.header.len + inner.root.body.len;
            assert_eq!((inner.root.header.at, all), (part.body.at, part.body.len), "a message fills its part");
        }
        Kind::Multipart(parts) => parts.iter().for_each(inside),
    }
}

fn wire_len(bytes: &[u8]) -> u64 {
    let bare = (0..bytes.len()).filter(|i| bytes[*i] == b'\n' && (*i == 0 || bytes[i - 1] != b'\r')).count();
    (bytes.len() + bare) as u64
}

/// Depth and count stay within what recursion and memory allow.
fn check_walk(part: &Part, depth: usize) -> usize {
    assert!(depth <= 50, "too deep");
    let count = match &part.kind {
        Kind::Leaf => 1,
        Kind::Message(inner) => 1 + check_walk(&inner.root, depth + 1),
        Kind::Multipart(parts) => 1 + parts.iter().map(|p| check_walk(p, depth + 1)).sum::<usize>(),
    };
    assert!(count <= 1000, "too many parts");
    count
}

/// The longest that is printed of one structure, in bytes.
const PRINTED: usize = 384 << 10;

/// What FETCH prints is one parenthesised list of the grammar's tokens. Gives its length.
fn check_print(structure: &Structure) -> usize {
    let mut tx = Outbox::new(1 << 16);
    print::envelope(&mut tx, &structure.envelope);
    one_list(tx.bytes());
    let mut longest = tx.bytes().len();
    for show in [print::body, print::body_structure] {
        let mut tx = Outbox::new(1 << 16);
        show(&mut tx, &structure.root);
        one_list(tx.bytes());
        longest = longest.max(tx.bytes().len());
    }
    longest
}

fn one_list(printed: &[u8]) {
    let (mut at, mut depth) = (0, 0_usize);
    while at < printed.len() {
        assert!(depth > 0 || at == 0, "something after the list");
        match printed[at] {
            b'(' => depth += 1,
            b')' => depth = depth.checked_sub(1).expect("more closed than opened"),
            b'"' => {
                at += 1;
                while printed[at] != b'"' {
                    assert!(printed[at].is_ascii() && !matches!(printed[at], b'\r' | b'\n' | 0), "not in a quoted string");
                    at += if printed[at] == b'\\' { 2 } else { 1 };
                }
            }
            b'{' => {
                let end = at + printed[at..].iter().position(|b| *b == b'}').expect("a literal's length ends");
                let len: usize = std::str::from_utf8(&printed[at + 1..end]).unwrap().parse().expect("a literal's length");
                assert!(printed[end..].starts_with(b"}\r\n"));
                assert!(!printed[end + 3..][..len].contains(&0), "NUL in a literal");
                at = end + 2 + len;
            }
            b'N' | b'I' | b'L' | b' ' | b'0'..=b'9' => {}
            other => panic!("{:?} stands outside of strings", char::from(other)),
        }
        at += 1;
    }
    assert_eq!(depth, 0, "less closed than opened");
}

/// Every section that exists lies in the message.
fn check_sections(structure: &Structure, message: &[u8]) {
    let check = |path: &[u32]| {
        for what in [What::Whole, What::Header, What::Text, What::Mime] {
            if let Some(span) = print::resolve(structure, path, what) {
                assert!(span.at + span.len <= message.len() as u64 && span.wire >= span.len);
            }
        }
    };
    check(&[]);
    for n in 0..4 {
        check(&[n]);
        (0..4).for_each(|m| check(&[n, m]));
    }
    assert_eq!(print::resolve(structure, &[], What::Whole).map(|s| s.len), Some(message.len() as u64));
}

/// The same message with the line ends of the wire has the same parts, and lengths that are those of the wire.
fn check_wire(data: &[u8], stored: &Structure) {
    let wire = crate::model::on_the_wire(data);
    // Fields that are cut off at their limit are cut elsewhere if line ends are longer.
    if data.split(|b| *b == b'\n').any(|line| line.len() > 8000) {
        return;
    }
    let wired = scan(&wire, usize::MAX);
    assert_eq!(wired.envelope, stored.envelope);
    same_on_the_wire(&stored.root, &wired.root);
}

fn same_on_the_wire(stored: &Part, wired: &Part) {
    assert_eq!((stored.header.wire, stored.body.wire, stored.lines), (wired.header.len, wired.body.len, wired.lines));
    assert_eq!((&stored.media, &stored.params), (&wired.media, &wired.params));
    match (&stored.kind, &wired.kind) {
        (Kind::Leaf, Kind::Leaf) => {}
        (Kind::Message(a), Kind::Message(b)) => same_on_the_wire(&a.root, &b.root),
        (Kind::Multipart(a), Kind::Multipart(b)) if a.len() == b.len() => {
            a.iter().zip(b).for_each(|(a, b)| same_on_the_wire(a, b));
        }
        _ => panic!("other parts on the wire"),
    }
}
