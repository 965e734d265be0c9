//! What the scanner makes of whole messages, whatever their line ends and pieces.

use super::*;
use crate::{Kind, Part};
use alloc::{format, string::String, string::ToString, vec};

fn scan(message: &[u8]) -> Structure {
    let mut scanner = Scanner::new();
    scanner.feed(message);
    let whole = scanner.finish();
    let mut scanner = Scanner::new();
    for byte in message {
        scanner.feed(&[*byte]);
    }
    assert_eq!(scanner.finish(), whole, "cut into bytes");
    whole
}

fn crlf(message: &str) -> String {
    message.replace('\n', "\r\n")
}

/// `type/sub "header" "body" lines` of each part, parts in parentheses, messages in brackets.
fn show(message: &[u8], part: &Part) -> String {
    let text = |span: mail::Span| String::from_utf8_lossy(&message[span.at as usize..][..span.len as usize]).into_owned();
    let inside = match &part.kind {
        Kind::Leaf => format!("{:?}", text(part.body)),
        Kind::Message(inner) => format!("[{}]", show(message, &inner.root)),
        Kind::Multipart(parts) => format!("({})", parts.iter().map(|p| show(message, p)).collect::<vec::Vec<_>>().join(" ")),
    };
    format!("{} {inside}", String::from_utf8_lossy(&part.media.1))
}

const NESTED: &str = "\
From: a@b
Content-Type: multipart/mixed; boundary=foo

preamble
--foo

one
--foo
Content-Type: multipart/alternative; boundary=\"foobar\"

--foobar
Content-Type: text/html

<two>

--foobar--
epilogue
--foo
Content-Type: message/rfc822

Subject: inner

three
--foo--
epilogue
";

#[test]
fn parts_in_parts() {
    let s = scan(NESTED.as_bytes());
    assert_eq!(show(NESTED.as_bytes(), &s.root), r#"mixed (plain "one" alternative (html "<two>\n") rfc822 [plain "three"])"#);
    let Kind::Multipart(parts) = &s.root.kind else { panic!() };
    assert_eq!(parts[0].lines, 1);
    assert_eq!(parts[0].header.len, 1);
    let Kind::Message(inner) = &parts[2].kind else { panic!() };
    assert_eq!(inner.envelope.subject.as_deref(), Some(&b"inner"[..]));
}

#[test]
fn stored_with_crlf_it_is_the_same_on_the_wire() {
    let wire = crlf(NESTED);
    let (lf, crlf) = (scan(NESTED.as_bytes()), scan(wire.as_bytes()));
    fn same(a: &Part, b: &Part) {
        assert_eq!((a.header.wire, a.body.wire, a.lines), (b.header.wire, b.body.wire, b.lines));
        assert_eq!((b.header.len, b.body.len), (b.header.wire, b.body.wire));
        match (&a.kind, &b.kind) {
            (Kind::Leaf, Kind::Leaf) => {}
            (Kind::Message(a), Kind::Message(b)) => same(&a.root, &b.root),
            (Kind::Multipart(a), Kind::Multipart(b)) => a.iter().zip(b).for_each(|(a, b)| same(a, b)),
            _ => panic!("different kinds"),
        }
    }
    same(&lf.root, &crlf.root);
    assert_eq!(lf.root.header.wire + lf.root.body.wire, wire.len() as u64);
}

#[test]
fn messages_that_lack_something() {
    let cases: [(&str, &str); 9] = [
        ("", r#"plain """#),
        ("\n", r#"plain """#),
        ("Subject: x", r#"plain """#),
        ("Subject: x\n", r#"plain """#),
        ("\nbody", r#"plain "body""#),
        ("no header at all\nbody", r#"plain """#),
        ("Content-Type: multipart/mixed\n\n--x\n", r#"mixed "--x\n""#),
        ("Content-Type: multipart/mixed; boundary=x\n\nno part", "mixed ()"),
        ("Content-Type: multipart/mixed; boundary=x\n\n--x\n\na\n--x\nb", r#"mixed (plain "a" plain "")"#),
    ];
    for (message, expect) in cases {
        assert_eq!(show(message.as_bytes(), &scan(message.as_bytes()).root), expect, "{message:?}");
    }
}

#[test]
fn a_header_cut_off_by_a_boundary_keeps_its_line_end() {
    let message = "Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: a/b\n--x\nContent-Type: c/d\n\n--x--";
    let s = scan(message.as_bytes());
    let Kind::Multipart(parts) = &s.root.kind else { panic!() };
    assert_eq!((parts[0].header.len, parts[0].body.len), (18, 0));
    assert_eq!((parts[1].header.len, parts[1].body.len), (19, 0));
    assert_eq!(s.root.body.at + s.root.body.len, message.len() as u64);
}

#[test]
fn a_digest_holds_messages() {
    let message = "Content-Type: multipart/digest; boundary=x\n\n--x\n\nSubject: a\n\nb\n--x\nContent-Type: text/plain\n\nc\n--x--\n";
    assert_eq!(show(message.as_bytes(), &scan(message.as_bytes()).root), r#"digest (rfc822 [plain "b"] plain "c")"#);
}

#[test]
fn an_encoded_message_is_a_leaf() {
    let message = "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nU3ViamVjdDogYQoK\n";
    assert!(matches!(scan(message.as_bytes()).root.kind, Kind::Leaf));
}

#[test]
fn fields_are_unfolded_and_the_first_counts() {
    let message = "Subject: a\n  b\r\n\tc\nsubject: d\nTo: x@y\nTo: z@y\nContent-Type: text/html;\n charset=utf-8\nMessage-ID : <i@j>\n\n";
    let s = scan(message.as_bytes());
    assert_eq!(s.envelope.subject.as_deref(), Some(&b"a  b\tc"[..]));
    assert_eq!(s.envelope.to.len(), 2);
    assert_eq!(s.envelope.message_id.as_deref(), Some(&b"<i@j>"[..]));
    assert_eq!(&*s.root.params[0].1, b"utf-8");
}

#[test]
fn lines_are_counted_as_stored() {
    for (body, lines) in [("", 0), ("a", 1), ("a\n", 1), ("a\nb", 2), ("\n", 1), ("\n\n", 2), ("a\r", 1), ("a\rb\r\n", 1)] {
        let message = format!("\n{body}");
        assert_eq!(scan(message.as_bytes()).root.lines, lines, "{body:?}");
        if body.ends_with('\r') {
            continue; // the boundary's line feed would make a line end of it
        }
        let part = format!("Content-Type: multipart/x; boundary=b\n\n--b\n\n{body}\n--b--");
        let Kind::Multipart(parts) = scan(part.as_bytes()).root.kind else { panic!() };
        assert_eq!((parts[0].lines, parts[0].body.len), (lines, body.len() as u64), "{body:?}");
    }
}

#[test]
fn nesting_has_a_limit() {
    let mut scanner = Scanner::new();
    for depth in 0..1_000_000 {
        scanner.feed(format!("Content-Type: multipart/mixed; boundary={depth}\n\n--{depth}\n").as_bytes());
    }
    let mut part = &scanner.finish().root;
    let mut depth = 1;
    while let Kind::Multipart(parts) = &part.kind {
        part = &parts[0];
        depth += 1;
    }
    assert_eq!(depth, limits::DEPTH);
    let messages = "Content-Type: message/rfc822\n\n".repeat(100_000);
    let mut scanner = Scanner::new();
    scanner.feed(messages.as_bytes());
    scanner.finish();
}

#[test]
fn parts_and_fields_have_limits() {
    let mut message = String::from("Content-Type: multipart/mixed; boundary=b\n\n");
    for n in 0..5000 {
        message += &format!("--b\nContent-Description: {}\nContent-Type: a/{}\n\n", "x".repeat(50_000), n.to_string().repeat(100));
    }
    let mut scanner = Scanner::new();
    scanner.feed(message.as_bytes());
    assert!(scanner.line.capacity() <= 2 * limits::FIELD);
    let s = scanner.finish();
    let Kind::Multipart(parts) = &s.root.kind else { panic!() };
    assert_eq!(parts.len(), limits::PARTS - 1);
    let kept: usize = parts.iter().map(|p| p.description.as_ref().map_or(0, |d| d.len()) + p.media.1.len()).sum();
    assert!(kept < limits::ROOM + 5 * limits::PARTS, "{kept}");
}
