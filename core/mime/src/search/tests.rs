//! What a search finds, in all encodings and however the bytes come.

use super::*;
use crate::Scanner;
use alloc::format;

fn structure(message: &[u8]) -> Structure {
    let mut scanner = Scanner::new();
    scanner.feed(message);
    scanner.finish()
}

/// Whether TEXT finds it, however the message is cut.
fn text(message: &[u8], needle: &str) -> bool {
    let structure = structure(message);
    let needles = [Needle::new(needle)];
    let found: Vec<bool> = [1, 2, 7, usize::MAX]
        .iter()
        .map(|&cut| {
            structure.pieces(true).iter().any(|piece| {
                let mut matcher = Matcher::new(piece, &needles);
                let bytes = &message[piece.span.at as usize..][..piece.span.len as usize];
                bytes.chunks(cut).for_each(|chunk| matcher.feed(chunk));
                matcher.finish();
                matcher.found(0)
            })
        })
        .collect();
    assert!(found.iter().all(|f| *f == found[0]), "{needle}: {found:?}");
    found[0]
}

#[test]
fn values_with_encoded_words() {
    let cases: [(&str, &str, bool); 16] = [
        ("Hello World", "o wOR", true),
        ("=?iso-8859-1?Q?Andr=E9?= Pirard", "ANDRÉ pir", true),
        (
            "=?ISO-8859-1?B?SWYgeW91IGNhbiByZWFkIHRoaXMgeW8=?=\r\n =?ISO-8859-2?B?dSB1bmRlcnN0YW5kIHRoZSBleGFtcGxlLg==?=",
            "this you understand",
            true,
        ),
        ("=?utf-8?q?a?= =?utf-8?q?b?=", "ab", true),
        ("=?utf-8?q?a?= b", "a b", true),
        ("=?utf-8?q?a_b?=", "a b", true),
        ("=?utf-8?q?=C3?= =?utf-8?q?=A4?=", "ä", true),
        ("(=?utf-8*en?q?x=3Dy?=)", "(x=y)", true),
        ("=?unknown?q?=E4?=", "ä", true),
        ("=?utf-8?x?abc?=", "=?utf-8?x?abc", true),
        ("=?utf-8?q?abc", "=?utf-8?q?abc", true),
        ("\u{416}\u{416}", "жж", true),
        ("ΟΔΟΣ", "οδος", true),
        ("a\r\n\tb", "a b", true),
        ("abc", "abd", false),
        ("", "", true),
    ];
    for (value, needle, expect) in cases {
        assert_eq!(text_matches(value.as_bytes(), &Needle::new(needle)), expect, "{value:?} {needle:?}");
    }
    assert!(text_matches(b"J\xf6rg", &Needle::new("JÖRG")), "raw Latin 1");
    assert!(text_matches("=?iso-2022-jp?B?GyRCRnxLXBsoQg==?=".as_bytes(), &Needle::new("日本")));
}

#[test]
fn bodies_in_all_encodings() {
    let qp =
        "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\nsoft=\n line=20\r\n br=C3=A4k =xy =3D=";
    assert!(text(qp.as_bytes(), "SOFT LINE "));
    assert!(text(qp.as_bytes(), "bräk =xy ="));
    assert!(!text(qp.as_bytes(), "brak"));
    let base64 = "Content-Type: text/html; charset=ISO-8859-1\nContent-Transfer-Encoding: BASE64\n\nR3L832\nUgYXVz\r\n";
    assert!(text(base64.as_bytes(), "grüße aus"));
    let utf16 = b"Content-Type: text/plain; charset=utf-16le\n\nH\0\xe4\0";
    assert!(text(utf16, "hÄ"));
    assert!(text(b"Content-Type: text/plain; charset=x-none\n\nna\xefve", "NAÏVE"));
    assert!(text("\n\nnaïve".as_bytes(), "NAÏVE"));
    assert!(text(b"\n\xe2\x82", "\u{e2}\u{82}"));
}

#[test]
fn only_texts_and_headers_are_searched() {
    let message = "Subject: top\nContent-Type: multipart/mixed; boundary=b\n\npreamble\n--b\nContent-Type: image/png\n\nhidden\n--b\n\
        Content-Type: message/rfc822\n\nSubject: inner\n\nseen\n--b--\n";
    assert!(text(message.as_bytes(), "subject: inner") && text(message.as_bytes(), "SEEN") && text(message.as_bytes(), "top"));
    assert!(!text(message.as_bytes(), "hidden"));
    assert!(!text(message.as_bytes(), "preamble"));
    assert_eq!(structure(message.as_bytes()).pieces(false).len() + 1, structure(message.as_bytes()).pieces(true).len());
}

#[test]
fn one_field_of_a_header() {
    let header = b"To: x\r\nX-Note: one\r\n two\r\nsubject: three\r\nx-NOTE: =?utf-8?q?f=C3=B6ur?=\r\nX-Empty:\r\n\r\n";
    let find = |name: &str, needle: &str| {
        let mut matcher = Matcher::field(name.as_bytes(), &[Needle::new(needle)]);
        header.chunks(3).for_each(|chunk| matcher.feed(chunk));
        matcher.finish();
        matcher.all()
    };
    assert!(find("X-Note", "one two") && find("x-note", "FÖUR"));
    assert!(!find("X-Note", "three") && !find("X-Note", "two=") && !find("X-Note", "note"));
    assert!(!find("X-Note", "two f"), "no match spans two fields");
    assert!(find("x-empty", "") && !find("x-none", ""));
    assert!(find("To", "x") && !find("T", ""));
}

#[test]
fn memory_does_not_grow_with_the_text() {
    let needles = [Needle::new("needle"), Needle::new(&"z".repeat(300))];
    let structure = structure(b"\nx");
    let piece = structure.pieces(false).remove(0);
    let mut matcher = Matcher::new(&piece, &needles);
    for n in 0..200 {
        matcher.feed(&b"hay need".repeat(1000 + n));
    }
    assert!(!matcher.found(0));
    matcher.feed(b"le");
    matcher.finish();
    assert!(matcher.found(0) && !matcher.found(1) && !matcher.all());
    let held = format!("{:?}", matcher.seeker);
    assert!(held.len() < 20_000, "{}", held.len());
    let mut words = Matcher::field(b"x", &needles);
    words.feed(b"x:");
    words.feed(&b"y".repeat(1 << 20));
    words.finish();
}
