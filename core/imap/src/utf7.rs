//! Modified UTF-7: mailbox names beyond ASCII on the wire (RFC 3501 §5.1.3).

use alloc::{string::String, vec::Vec};
use base64::{
    Engine as _,
    alphabet::IMAP_MUTF7,
    engine::{GeneralPurpose, general_purpose::NO_PAD},
};

const BASE64: GeneralPurpose = GeneralPurpose::new(&IMAP_MUTF7, NO_PAD);

/// As it goes over the wire: printable ASCII.
pub(crate) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let plain = |c: char| matches!(c, ' '..='~');
        if first == '&' {
            out.push_str("&-");
            rest = &rest[1..];
        } else if plain(first) {
            out.push(first);
            rest = &rest[1..];
        } else {
            let upto = rest.find(plain).unwrap_or(rest.len());
            let units: Vec<u8> = rest[..upto].encode_utf16().flat_map(u16::to_be_bytes).collect();
            out.push('&');
            BASE64.encode_string(units, &mut out);
            out.push('-');
            rest = &rest[upto..];
        }
    }
    out
}

/// From the wire. Strict: there is one way to write a name, so that no two spellings name the same mailbox.
pub(crate) fn decode(text: &[u8]) -> Option<String> {
    let text = core::str::from_utf8(text).ok()?;
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        let (shifted, after) = rest[at + 1..].split_once('-')?;
        if shifted.is_empty() {
            out.push('&');
        } else {
            let units = BASE64.decode(shifted).ok().filter(|units| units.len() % 2 == 0)?;
            for c in char::decode_utf16(units.chunks_exact(2).map(|b| u16::from_be_bytes([b[0], b[1]]))) {
                out.push(c.ok()?);
            }
        }
        rest = after;
    }
    out.push_str(rest);
    (encode(&out) == text).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_world() {
        for (plain, wire) in [
            ("~peter/mail/台北/日本語", "~peter/mail/&U,BTFw-/&ZeVnLIqe-"),
            ("INBOX", "INBOX"),
            ("R&D", "R&-D"),
            ("Entwürfe", "Entw&APw-rfe"),
            ("😀", "&2D3eAA-"),
            ("a\u{7f}b", "a&AH8-b"),
            ("", ""),
        ] {
            assert_eq!(encode(plain), wire);
            assert_eq!(decode(wire.as_bytes()).as_deref(), Some(plain));
        }
    }

    #[test]
    fn what_is_not_written_so() {
        for bad in
            ["&", "&AOQ", "a&b", "&AGE-", "&AOQ-&AOQ-", "&2D0-", "&A-", "&AOR-x", "&,,,,-", "&AOQ=-", "é", "&Jjo!", "&U,BTFw-&ZeVnLIqe-"]
        {
            assert_eq!(decode(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(decode(b"\xff"), None);
    }

    #[test]
    fn every_name_comes_back() {
        let mut seed = 7u32;
        for _ in 0..2000 {
            let name: String = (0..seed % 12)
                .filter_map(|_| {
                    seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    char::from_u32(if seed >> 31 == 0 { seed >> 8 & 0x7f } else { seed >> 8 & 0x1_ffff })
                })
                .collect();
            seed = seed.wrapping_add(1);
            assert_eq!(decode(encode(&name).as_bytes()).as_deref(), Some(&*name), "{name:?}");
        }
    }
}
