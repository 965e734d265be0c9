//! Parameters beyond ASCII (`Content-Type: ...; name="Übersicht.pdf"`), written as RFC 2231 has it.

use super::{
    Obstacle,
    fold::{Fold, charset},
};
use crate::lex::{Lex, trim};
use alloc::{format, string::String, vec::Vec};

/// Characters of a value in one piece (RFC 2231 §3).
const PIECE: usize = 48;

/// The value of a field with parameters, in one line.
pub(super) fn write(value: &[u8], fold: &mut Fold<'_>) -> Result<(), Obstacle> {
    let mut pieces = split(value).into_iter();
    let first = pieces.next().unwrap_or_default();
    if !first.is_ascii() {
        return Err(Obstacle::Header);
    }
    fold.word(b" ", trim(first));
    for piece in pieces {
        fold.put(b";");
        let piece = trim(piece);
        if piece.is_ascii() {
            fold.word(b" ", piece);
            continue;
        }
        let Some(equals) = memchr::memchr(b'=', piece) else { continue };
        let (name, text) = (trim(&piece[..equals]), trim(&piece[equals + 1..]));
        if !name.iter().all(|b| b.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=%'".contains(b)) || name.is_empty() || name.len() > PIECE {
            return Err(Obstacle::Header);
        }
        let text = if text.starts_with(b"\"") { Lex::new(text).quoted() } else { text.to_vec() };
        if name.ends_with(b"*") {
            // It speaks of its own charset already; only what should have been encoded is missing.
            let text: Vec<u8> = text.iter().flat_map(|b| if b.is_ascii() { Vec::from([*b]) } else { percent(*b) }).collect();
            fold.word(b" ", &[name, b"=", &text].concat());
        } else {
            extended(name, &text, fold);
        }
    }
    Ok(())
}

/// `name*=utf-8''...`, or `name*0*=...; name*1*=...` if it is long.
fn extended(name: &[u8], text: &[u8], fold: &mut Fold<'_>) {
    let escape = |b: &u8| if b.is_ascii_alphanumeric() || b"-._".contains(b) { Vec::from([*b]) } else { percent(*b) };
    let start = format!("{}''", charset(text));
    let mut pieces: Vec<Vec<u8>> = Vec::from([start.into_bytes()]);
    for escaped in text.iter().map(escape) {
        if pieces.last().is_none_or(|last| last.len() + escaped.len() > PIECE) {
            pieces.push(Vec::new());
        }
        if let Some(last) = pieces.last_mut() {
            last.extend_from_slice(&escaped);
        }
    }
    let one = pieces.len() == 1;
    for (n, piece) in pieces.iter().enumerate() {
        let number = if one { String::from("*=") } else { format!("*{n}*=") };
        if n > 0 {
            fold.put(b";");
        }
        fold.word(b" ", &[name, number.as_bytes(), piece].concat());
    }
}

fn percent(byte: u8) -> Vec<u8> {
    format!("%{byte:02X}").into_bytes()
}

/// At semicolons outside quotes and comments.
fn split(value: &[u8]) -> Vec<&[u8]> {
    let (mut pieces, mut from, mut at) = (Vec::new(), 0, 0);
    let (mut quoted, mut depth) = (false, 0_usize);
    while at < value.len() {
        match value[at] {
            b'\\' if quoted || depth > 0 => at += 1,
            b'"' if depth == 0 => quoted = !quoted,
            b'(' if !quoted => depth += 1,
            b')' if !quoted => depth = depth.saturating_sub(1),
            b';' if !quoted && depth == 0 => {
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
