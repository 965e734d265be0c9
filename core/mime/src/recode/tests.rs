//! What goes in and what comes out.

use super::*;
use crate::{Kind, Part, Scanner, Structure, decoded};
use alloc::{format, string::String, vec};

fn recode(message: &[u8], source: Source, target: Target, cut: usize) -> Result<Vec<u8>, Obstacle> {
    let (mut recoder, mut out) = (Recoder::new(source, target), Vec::new());
    for piece in message.chunks(cut.max(1)) {
        recoder.feed(piece, &mut out)?;
    }
    recoder.finish(&mut out)?;
    Ok(out)
}

fn seven(message: &str) -> Result<String, Obstacle> {
    let whole = recode(message.as_bytes(), Source::Lines, Target::SevenBit, usize::MAX);
    for cut in 1..9 {
        assert_eq!(recode(message.as_bytes(), Source::Lines, Target::SevenBit, cut), whole, "cut by {cut}");
    }
    whole.map(|out| {
        assert!(is_seven_bit(&out), "{}", out.escape_ascii());
        String::from_utf8(out).unwrap()
    })
}

fn is_seven_bit(out: &[u8]) -> bool {
    let lines = String::from_utf8_lossy(out);
    out.is_ascii() && !out.contains(&0) && lines.split("\r\n").all(|line| line.len() <= 998 && !line.contains(['\r', '\n']))
}

fn scan(message: &[u8]) -> Structure {
    let mut scanner = Scanner::new();
    scanner.feed(message);
    scanner.finish()
}

#[test]
fn what_is_clean_stays() {
    let message = "From: a@b\nContent-Type: multipart/mixed; boundary=x\nMIME-Version: 1.0\n\npre\n--x\n\nhi \n--x\nContent-Transfer-Encoding: quoted-printable\n\n=41=\n--x\nContent-Transfer-Encoding: base64\n\nQUJD\n--x--\nafter\n";
    assert_eq!(seven(message).unwrap(), message.replace('\n', "\r\n"));
}

#[test]
fn texts_become_quoted_printable() {
    let out = seven("Subject: x\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\nGrüße = \nEnde\n").unwrap();
    assert_eq!(
        out,
        "Subject: x\r\nContent-Type: text/plain; charset=utf-8\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nGr=C3=BC=C3=9Fe =3D=20\r\nEnde\r\n"
    );
    let out = seven("Subject: x\n\nGrüße\n").unwrap();
    assert!(out.starts_with(
        "Subject: x\r\nContent-Type: text/plain; charset=utf-8\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    ));
}

#[test]
fn parts_are_encoded_one_by_one() {
    let message = "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=x\nContent-Transfer-Encoding: 8bit\n\nvör\n--x\nContent-Type: image/x\nContent-Transfer-Encoding: 8bit\n\nä\nb\n--x\nContent-Type: message/rfc822\nContent-Transfer-Encoding: 8bit\n\nSubject: é\n\nü\n--x\nContent-Transfer-Encoding: 8bit\n\nplain\n--x--\n";
    assert_eq!(
        seven(message).unwrap(),
        "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\nContent-Transfer-Encoding: 7bit\r\n\r\nv??r\r\n--x\r\nContent-Type: image/x\r\nContent-Transfer-Encoding: base64\r\n\r\nw6QNCmI=\r\n--x\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: 7bit\r\n\r\nSubject: =?utf-8?B?w6k=?=\r\nContent-Type: text/plain; charset=utf-8\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=C3=BC\r\n--x\r\nContent-Transfer-Encoding: 7bit\r\n\r\nplain\r\n--x--\r\n"
    );
}

#[test]
fn what_is_signed_is_sacred() {
    let signed = |text: &str| format!("Content-Type: multipart/signed; boundary=x\n\n--x\n\n{text}\n--x\nContent-Type: a/b\n\ns\n--x--\n");
    assert_eq!(seven(&signed("clean")).unwrap(), signed("clean").replace('\n', "\r\n"));
    assert_eq!(seven(&signed("ü")), Err(Obstacle::Signed));
}

#[test]
fn headers_become_ascii() {
    for (field, becomes) in [
        ("Subject: Grüße an alle", "Subject: =?utf-8?B?R3LDvMOfZQ==?= an alle"),
        ("Subject: ä ö", "Subject: =?utf-8?B?w6Qgw7Y=?="),
        ("Subject: =?utf-8?Q?a?= ö x", "Subject: =?utf-8?Q?a?= =?utf-8?B?IMO2?= x"),
        ("From: Jörg Müller <j@x.test>, b@y.test", "From: =?utf-8?B?SsO2cmcgTcO8bGxlcg==?= <j@x.test>, b@y.test"),
        ("To: \"Jörg, M.\" <j@x.test>", "To: =?utf-8?B?SsO2cmcsIE0u?= <j@x.test>"),
        ("Cc: j@x.test (Jörg)", "Cc: j@x.test ( =?utf-8?B?SsO2cmc=?= )"),
        (
            "Content-Disposition: attachment; filename=\"ü b.txt\"; size=3",
            "Content-Disposition: attachment; filename*=utf-8''%C3%BC%20b.txt; size=3",
        ),
        ("Content-Disposition: attachment; filename=\"ü;b.txt\"", "Content-Disposition: attachment; filename*=utf-8''%C3%BC%3Bb.txt"),
    ] {
        assert_eq!(seven(&format!("{field}\n\n")).unwrap(), format!("{becomes}\r\n\r\n"));
    }
    for field in
        ["From: jörg@x.test", "To: <jörg@x.test>", "To: \"jörg\"@x.test", "Message-ID: <ö@x>", "Content-Type: multipart/mixed; boundary=ä"]
    {
        assert_eq!(seven(&format!("{field}\n\n")), Err(Obstacle::Header), "{field}");
    }
    let out = recode(b"Subject: \xfc\n\n", Source::Lines, Target::SevenBit, 1).unwrap();
    assert_eq!(out, b"Subject: =?unknown-8bit?B?/A==?=\r\n\r\n");
    let out = seven(&format!("Subject: {}\n\n", "wörter ".repeat(300))).unwrap();
    assert!(out.lines().all(|line| line.len() <= 80), "{out}");
    assert!(seven(&format!("References: {}\n\n", "x".repeat(3000))).is_ok());
}

#[test]
fn octets_are_kept() {
    let mut message = b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\nContent-Transfer-Encoding: binary\r\n\r\n--x\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: binary\r\n\r\na\nb\rc\r\n\0 \r\n--x\r\nContent-Type: image/x\r\nContent-Transfer-Encoding: binary\r\n\r\n".to_vec();
    let image: Vec<u8> = (0..=255).chain(0..=255).collect();
    message.extend_from_slice(&image);
    message.extend_from_slice(b"\r\n--x\r\nContent-Transfer-Encoding: binary\r\n\r\nl\xc3\xa4\r\n--x--\r\n");
    for target in [Target::SevenBit, Target::EightBit] {
        let whole = recode(&message, Source::Octets, target, usize::MAX).unwrap();
        assert_eq!(recode(&message, Source::Octets, target, 1).unwrap(), whole);
        let structure = scan(&whole);
        let Kind::Multipart(parts) = &structure.root.kind else { panic!("{}", whole.escape_ascii()) };
        let content = |part: &Part| decoded(&part.encoding, &whole[part.body.at as usize..][..part.body.len as usize]);
        assert_eq!(content(&parts[0]), b"a\nb\rc\r\n\0 ");
        assert_eq!(content(&parts[1]), image);
        assert_eq!(content(&parts[2]), b"l\xc3\xa4");
        assert_eq!((&*parts[0].encoding, &*parts[1].encoding), (&b"quoted-printable"[..], &b"base64"[..]));
        let label: &[u8] = if target == Target::EightBit { b"8bit" } else { b"quoted-printable" };
        assert_eq!(&*parts[2].encoding, label);
    }
}

#[test]
fn encoded_content_that_is_not_clean_says_the_same() {
    for body in ["a=C3=\nü=\tx\n", "=é", "a\rb\n=\r\nx=4", "ü=", "  \u{e4} \n\n=41\n"] {
        let message = format!("Content-Transfer-Encoding: quoted-printable\n\n{body}");
        let out = seven(&message).unwrap();
        let (_, came) = out.split_once("\r\n\r\n").unwrap();
        let wire = body.replace("\r\n", "\n").replace('\n', "\r\n");
        assert_eq!(decoded(b"quoted-printable", came.as_bytes()), decoded(b"quoted-printable", wire.as_bytes()), "{body:?}");
    }
    let out = seven(&format!("Content-Transfer-Encoding: base64\n\n{}üQ\u{1}UJD\n", "QUJD".repeat(300))).unwrap();
    let (_, came) = out.split_once("\r\n\r\n").unwrap();
    assert_eq!(decoded(b"base64", came.as_bytes()), b"ABC".repeat(301));
}

#[test]
fn long_parts_are_decided_in_bounded_memory() {
    let line = "x".repeat(70) + "\n";
    let clean = format!("Content-Type: text/plain\n\n{}", line.repeat(2000));
    let out = seven_quick(&clean);
    assert!(out.contains("\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nxxx"));
    let unknown = format!("Content-Transfer-Encoding: x-uue\n\n{}", line.repeat(2000));
    assert_eq!(seven_quick(&unknown), unknown.replace('\n', "\r\n"));
    assert_eq!(recode((unknown + "ü").as_bytes(), Source::Lines, Target::SevenBit, 4096), Err(Obstacle::Encoding));
    let mut recoder = Recoder::new(Source::Octets, Target::SevenBit);
    let mut out = Vec::new();
    recoder.feed(b"Content-Type: image/x\r\n\r\n", &mut out).unwrap();
    for _ in 0..1000 {
        recoder.feed(&[0xff; 4096], &mut out).unwrap();
        assert!(out.len() < 200_000);
        out.clear();
    }
    let Stage::Body(Body::Base64(_)) = recoder.stage else { panic!("not decided") };
    assert!(recoder.line.capacity() <= 2 * BOUNDARY_LINE && recoder.field.capacity() <= limits::HEADER_FIELD);
    let mut recoder = Recoder::new(Source::Lines, Target::SevenBit);
    assert_eq!(recoder.feed(&vec![b'x'; limits::HEADER_FIELD + 1], &mut out), Err(Obstacle::Limits));
}

fn seven_quick(message: &str) -> String {
    let out = recode(message.as_bytes(), Source::Lines, Target::SevenBit, 4096).unwrap();
    assert_eq!(recode(message.as_bytes(), Source::Lines, Target::SevenBit, 1000).unwrap(), out);
    assert!(is_seven_bit(&out));
    String::from_utf8(out).unwrap()
}

fn guess(message: &[u8], target: Target, charset: &str) -> Result<Vec<u8>, Obstacle> {
    let recoded = |cut: usize| {
        let mut recoder = Recoder::new(Source::Lines, target).guessing(Charset::named(charset).unwrap());
        let mut out = Vec::new();
        message.chunks(cut).try_for_each(|piece| recoder.feed(piece, &mut out))?;
        recoder.finish(&mut out)?;
        Ok(out)
    };
    let whole = recoded(message.len());
    for cut in 1..9 {
        assert_eq!(recoded(cut), whole, "cut by {cut}");
    }
    whole
}

fn subject(out: &[u8]) -> String {
    let end = out.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    assert!(out[..end].is_ascii(), "{}", out.escape_ascii());
    let field = crate::fields(out).find(|field| field.is(b"Subject")).expect("a subject");
    String::from_utf8(field.unfolded().to_vec()).unwrap().trim().into()
}

#[test]
fn a_raw_header_is_encoded_and_its_charset_guessed() {
    for (raw, charset, meant) in [
        (&b"Gr\xc3\xbc\xc3\x9fe"[..], "windows-1252", "=?utf-8?B?R3LDvMOfZQ==?="),
        (b"Gr\xfc\xdfe \x80 5", "windows-1252", "=?utf-8?B?R3LDvMOfZSDigqw=?= 5"),
        (b"\xf0\xd2\xc9\xd7\xc5\xd4", "koi8-r", "=?utf-8?B?0J/RgNC40LLQtdGC?="),
    ] {
        let body = b"\n\nbody \xfc\n\r\n--x\n";
        let message = [b"From: a@b\nSubject: ", raw, body].concat();
        let out = guess(&message, Target::Header, charset).unwrap();
        assert_eq!(subject(&out), meant);
        assert!(out.ends_with(b"\r\n\r\nbody \xfc\r\n\r\n--x\r\n"), "the body is as it was: {}", out.escape_ascii());
        let seven = guess(&message, Target::SevenBit, charset).unwrap();
        assert!(seven.is_ascii() && subject(&seven) == meant);
    }
    assert!(Charset::named("utf-16").is_none() && Charset::named("klingon").is_none());
}

#[test]
fn what_no_encoding_can_say_is_no_obstacle_unless_it_is_an_address_in_utf8() {
    let head = |field: &[u8]| -> Result<String, Obstacle> {
        let out = guess(&[field, b"\n\nx\n"].concat(), Target::Header, "windows-1252");
        out.map(|out| String::from_utf8(out).unwrap().split("\r\n\r\n").next().unwrap().into())
    };
    assert_eq!(head(b"From: J\xf6rg <a@b>").unwrap(), "From: =?utf-8?B?SsO2cmc=?= <a@b>");
    assert_eq!(head("From: J\u{f6}rg <a@b>".as_bytes()).unwrap(), "From: =?utf-8?B?SsO2cmc=?= <a@b>");
    assert_eq!(head(b"To: <j\xf6rg@b>").unwrap(), "To: <j?rg@b>");
    assert_eq!(head("To: <j\u{f6}rg@b>".as_bytes()), Err(Obstacle::Header));
    assert_eq!(head("Received: from m\u{fc}ll by x".as_bytes()).unwrap(), "Received: from m?ll by x");
    assert_eq!(head(b"\xdcber: x").unwrap(), "?ber: x");
    assert_eq!(head(b"Content-Type: text/plain; name=\xfc").unwrap(), "Content-Type: text/plain; name*=utf-8\'\'%C3%BC");
    assert_eq!(head("Content-Type: multipart/mixed; boundary=\u{fc}".as_bytes()), Err(Obstacle::Header));
    assert_eq!(head(b"Subject: plain\nContent-Transfer-Encoding: 8bit").unwrap(), "Subject: plain\r\nContent-Transfer-Encoding: 8bit");
}
