//! One header field on its way to a peer.

use super::{Charset, Form, Obstacle, Target, clean::LINE, fold::Fold, parameters};
use crate::{
    Field,
    lex::{Lex, is_space, trim},
};
use alloc::{borrow::Cow, vec::Vec};

/// Fields of addresses and other phrases: what people call themselves can be encoded, where their mail goes cannot.
const PHRASES: &[&[u8]] = &[
    b"From",
    b"To",
    b"Cc",
    b"Bcc",
    b"Sender",
    b"Reply-To",
    b"Resent-From",
    b"Resent-To",
    b"Resent-Cc",
    b"Resent-Bcc",
    b"Resent-Sender",
    b"Resent-Reply-To",
    b"Disposition-Notification-To",
    b"Return-Receipt-To",
    b"Errors-To",
    b"Mail-Followup-To",
    b"Mail-Reply-To",
    b"List-Id",
    b"Keywords",
];

/// Fields in which nothing can be encoded (RFC 2047 §5).
const FIXED: &[&[u8]] = &[
    b"Received",
    b"Return-Path",
    b"Delivered-To",
    b"Date",
    b"Resent-Date",
    b"Message-ID",
    b"Resent-Message-ID",
    b"Content-ID",
    b"In-Reply-To",
    b"References",
    b"MIME-Version",
    b"Received-SPF",
    b"Authentication-Results",
    b"DKIM-Signature",
    b"ARC-Seal",
    b"ARC-Message-Signature",
    b"ARC-Authentication-Results",
    b"List-Unsubscribe",
    b"List-Post",
];

/// Writes a field, `whole` with its lines joined by LF and `field` the same in parts.
pub(super) fn write(whole: &[u8], field: &Field<'_>, form: Form, out: &mut Vec<u8>) -> Result<(), Obstacle> {
    if form.target == Target::EightBit || whole.is_ascii() {
        lines(whole, out);
        return Ok(());
    }
    if field.name.is_empty() {
        // No field (`From ` of an mbox), so nothing could say how it is encoded.
        lines(&whole.iter().map(|b| if b.is_ascii() { *b } else { b'?' }).collect::<Vec<u8>>(), out);
        return Ok(());
    }
    match form.charset {
        None => encode(field, out),
        Some(charset) => guess(whole, charset, out),
    }
}

/// Encodes a field of which nobody said what it is written in.
fn guess(whole: &[u8], charset: Charset, out: &mut Vec<u8>) -> Result<(), Obstacle> {
    let (text, is_utf8) = match core::str::from_utf8(whole) {
        Ok(text) => (Cow::Borrowed(text), true),
        Err(_) => (charset.0.decode_without_bom_handling(whole).0, false),
    };
    let no_field = Field { name: b"", value: text.as_bytes() };
    let field = crate::fields(text.as_bytes()).next().unwrap_or(no_field);
    let start = out.len();
    match encode(&field, out) {
        // An address in UTF-8 is meant, and what replaced it would be another.
        Err(_) if !is_utf8 || !field.name.is_ascii() || among(&field, FIXED) => {
            out.truncate(start);
            lines(text.replace(|c: char| !c.is_ascii(), "?").as_bytes(), out);
            Ok(())
        }
        result => result,
    }
}

/// Writes lines of a header, as they are where they can be.
fn lines(whole: &[u8], out: &mut Vec<u8>) {
    for line in whole.split(|b| *b == b'\n') {
        let line = clean(line);
        let mut fold = Fold::new(out);
        if line.len() <= LINE {
            fold.put(&line);
        } else {
            words(&line).for_each(|(blank, word)| fold.word(blank, word));
        }
        fold.end();
    }
}

fn among(field: &Field<'_>, names: &[&[u8]]) -> bool {
    names.iter().any(|name| field.is(name))
}

/// Without a CR alone and NUL, which end lines elsewhere.
fn clean(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.iter().any(|b| matches!(b, b'\r' | 0)) {
        return text.into();
    }
    // A blank at its start would make it part of the field before, nothing at all the end of the header.
    let cr = text.iter().take_while(|b| **b == b'\r').count();
    if cr > 0 {
        let rest = clean(&text[cr..]);
        return if rest.is_empty() || rest[0] == b' ' || rest[0] == b'\t' {
            [b"?", &rest[..]].concat().into()
        } else {
            rest.into_owned().into()
        };
    }
    let octet = |b: &u8| match b {
        b'\r' => b' ',
        0 => b'?',
        b => *b,
    };
    text.iter().map(octet).collect()
}

fn encode(field: &Field<'_>, out: &mut Vec<u8>) -> Result<(), Obstacle> {
    if !field.name.is_ascii() || among(field, FIXED) {
        return Err(Obstacle::Header);
    }
    let unfolded = field.unfolded();
    let value = clean(&unfolded);
    let mut fold = Fold::new(out);
    fold.put(&clean(field.name));
    fold.put(b":");
    if among(field, PHRASES) {
        phrases(&value, &mut fold)?;
    } else if field.is(b"Content-Type") || field.is(b"Content-Disposition") {
        parameters::write(&value, &mut fold)?;
    } else {
        unstructured(&value, &mut fold);
    }
    fold.end();
    Ok(())
}

/// Words with the white space before them.
fn words(text: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = text;
    core::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let blank = rest.iter().position(|b| !is_space(*b)).unwrap_or(rest.len());
        let word = rest[blank..].iter().position(|b| is_space(*b)).unwrap_or(rest.len() - blank);
        let (now, later) = rest.split_at(blank + word);
        rest = later;
        Some(now.split_at(blank))
    })
}

/// Encodes runs of words beyond ASCII, the white space within a run with it.
fn unstructured(text: &[u8], fold: &mut Fold<'_>) {
    let mut run: Vec<u8> = Vec::new();
    let mut first = true;
    // Between two encoded words white space is not shown (RFC 2047 §6.2), so what is meant is encoded too.
    let mut shown = true;
    for (blank, word) in words(text) {
        let foreign = word.starts_with(b"=?") && word.ends_with(b"?=");
        if !word.is_ascii() {
            if !run.is_empty() || !shown {
                run.extend_from_slice(blank);
            }
            run.extend_from_slice(word);
            continue;
        }
        if !run.is_empty() {
            if foreign {
                run.extend_from_slice(blank);
            }
            fold.encoded(&run);
            run.clear();
            first = false;
        }
        shown = !foreign;
        fold.word(if first { b" " } else { blank }, word);
        first = false;
    }
    fold.encoded(&run);
}

/// A piece of a structured field.
enum Token<'a> {
    Word(&'a [u8]),
    Quoted(&'a [u8], Vec<u8>),
    Comment(&'a [u8]),
    Other(&'a [u8]),
}

/// Encodes words, quoted strings and comments beyond ASCII where they are names; an address that needs it is an obstacle.
fn phrases(value: &[u8], fold: &mut Fold<'_>) -> Result<(), Obstacle> {
    let mut run: Vec<u8> = Vec::new();
    let mut first = true;
    let mut rest = value;
    while !rest.is_empty() {
        let space = rest.iter().position(|b| !is_space(*b)).unwrap_or(rest.len());
        let (blank, after) = rest.split_at(space);
        if after.is_empty() {
            break;
        }
        let (token, later) = token(after);
        rest = later;
        let ascii = match &token {
            Token::Word(raw) | Token::Quoted(raw, _) | Token::Comment(raw) | Token::Other(raw) => raw.is_ascii(),
        };
        let local = later.first() == Some(&b'@');
        match &token {
            Token::Word(raw) if !ascii && !local && !raw.contains(&b'@') => join(&mut run, blank, raw),
            Token::Quoted(_, text) if !ascii && !local => join(&mut run, blank, text),
            Token::Comment(raw) if !ascii => {
                flush(&mut run, fold);
                fold.word(b" ", b"(");
                fold.encoded(trim(raw.strip_prefix(b"(").unwrap_or(raw).strip_suffix(b")").unwrap_or(raw)));
                fold.put(b" )");
            }
            Token::Word(raw) | Token::Quoted(raw, _) | Token::Comment(raw) | Token::Other(raw) => {
                if !ascii {
                    return Err(Obstacle::Header);
                }
                let was_run = !run.is_empty();
                flush(&mut run, fold);
                // An encoded word ends with white space, unless a comma or the like follows.
                let apart = first || was_run && !matches!(token, Token::Other(b"," | b";" | b":"));
                fold.word(if blank.is_empty() && apart { b" " } else { blank }, raw);
            }
        }
        first = false;
    }
    flush(&mut run, fold);
    Ok(())
}

fn join(run: &mut Vec<u8>, blank: &[u8], text: &[u8]) {
    if !run.is_empty() {
        run.extend_from_slice(blank);
    }
    run.extend_from_slice(text);
}

fn flush(run: &mut Vec<u8>, fold: &mut Fold<'_>) {
    fold.encoded(run);
    run.clear();
}

/// The first token of a value that does not begin with white space, and what follows it.
fn token(text: &[u8]) -> (Token<'_>, &[u8]) {
    let split = |n: usize| text.split_at(n.clamp(1, text.len()));
    match text[0] {
        b'"' => {
            let mut at = 1;
            while at < text.len() && text[at] != b'"' {
                at += 1 + usize::from(text[at] == b'\\');
            }
            let (raw, rest) = split(at + 1);
            (Token::Quoted(raw, Lex::new(raw).quoted()), rest)
        }
        b'(' => {
            let (mut at, mut depth) = (1, 1_usize);
            while at < text.len() && depth > 0 {
                match text[at] {
                    b'\\' => at += 1,
                    b'(' => depth += 1,
                    b')' => depth -= 1,
                    _ => {}
                }
                at += 1;
            }
            let (raw, rest) = split(at);
            (Token::Comment(raw), rest)
        }
        b'<' => {
            let (raw, rest) = split(memchr::memchr(b'>', text).map_or(text.len(), |at| at + 1));
            (Token::Other(raw), rest)
        }
        b',' | b';' | b':' | b'>' | b')' => {
            let (raw, rest) = split(1);
            (Token::Other(raw), rest)
        }
        _ => {
            let ends = |b: u8| is_space(b) || b",;:<>()\"".contains(&b);
            let (raw, rest) = split(text.iter().position(|b| ends(*b)).unwrap_or(text.len()));
            (Token::Word(raw), rest)
        }
    }
}
