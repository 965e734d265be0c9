//! Words of senders as parameters hold them (RFC 3461 §4, RFC 6533 §3).

use alloc::string::String;
use core::fmt::Write as _;

/// Encodes an xtext.
pub(super) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && !matches!(byte, b'+' | b'=') {
            out.push(char::from(byte));
        } else {
            // A String takes all that is written to it.
            let _ = write!(out, "+{byte:02X}");
        }
    }
    out
}

/// Encodes an original recipient with its type; nothing if the type is none, so that it cannot end the parameter.
///
/// Of the forms for characters beyond ASCII (RFC 6533 §3) it takes the one that goes through servers without SMTPUTF8.
pub(super) fn encode_typed(original: &str) -> Option<String> {
    let (kind, address) = original.split_once(';')?;
    if kind.is_empty() || !kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return None;
    }
    let mut out = String::with_capacity(original.len());
    let _ = write!(out, "{kind};");
    if !kind.eq_ignore_ascii_case("utf-8") {
        // No other type knows characters beyond ASCII (RFC 3461 §4.2).
        return address.is_ascii().then(|| out + &encode(address));
    }
    for c in address.chars() {
        if c.is_ascii_graphic() && !matches!(c, '\\' | '+' | '=') {
            out.push(c);
        } else {
            let _ = write!(out, "\\x{{{:02X}}}", u32::from(c));
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_may_stand_in_a_parameter() {
        assert_eq!(encode("QQ314159"), "QQ314159");
        assert_eq!(encode("a+b=c d"), "a+2Bb+3Dc+20d");
        assert_eq!(encode_typed("rfc822;Bob+x@mx.test").unwrap(), "rfc822;Bob+2Bx@mx.test");
        assert_eq!(encode_typed("utf-8;gr\u{fc}\u{df}e+x\\ @x").unwrap(), "utf-8;gr\\x{FC}\\x{DF}e\\x{2B}x\\x{5C}\\x{20}@x");
        for bad in ["no type", ";x", "a b;x", "rfc822;gr\u{fc}ße@x"] {
            assert_eq!(encode_typed(bad), None, "{bad}");
        }
    }
}
