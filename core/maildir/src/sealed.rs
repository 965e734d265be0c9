//! Text with a checksum of its own: small files and lines that a person may read, and that are not to be believed when a bit of them has flipped.

use alloc::{
    borrow::Cow,
    format,
    string::{String, ToString as _},
};

/// What stands between a line and its checksum.
pub const LINE: &str = " check ";

/// What stands between the lines of a file and their checksum, in a line of its own.
pub const FILE: &str = "\ncheck ";

/// Digits of a checksum.
const DIGITS: usize = 8;

/// That of CRC-32 (IEEE 802.3), its lowest power first.
const POLYNOMIAL: u32 = 0xedb8_8320;

/// What became of a text that was sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seal {
    /// It is as it was written.
    Whole,
    /// One bit of it was another, and it is known which: it is as it was written now.
    Mended,
    /// It never had one.
    Missing,
    /// It is not what was written, and nobody knows what was.
    Broken,
}

/// A text and its checksum, the CRC-32 of its bytes: `TEXT check 1a2b3c4d`.
pub fn seal(text: &str, mark: &str) -> String {
    format!("{text}{mark}{:08x}", crc32fast::hash(text.as_bytes()))
}

/// Reads a text as it was sealed, line end behind it or not.
pub fn open<'a>(bytes: &'a [u8], mark: &str) -> (Option<Cow<'a, str>>, Seal) {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    // If it was a line end that flipped, before it or behind it, the rest is whole.
    let rests = [bytes.get(1..), bytes.split_last().map(|(_, rest)| rest)];
    let mended = || rests.into_iter().flatten().find_map(|rest| opened(rest, mark)).map(|(text, _)| (text, Seal::Mended));
    match opened(bytes, mark).or_else(mended) {
        Some((text, seal)) => (Some(text), seal),
        None => {
            let sealed = bytes.windows(mark.len()).any(|piece| piece == mark.as_bytes());
            (None, if sealed { Seal::Broken } else { Seal::Missing })
        }
    }
}

fn opened<'a>(bytes: &'a [u8], mark: &str) -> Option<(Cow<'a, str>, Seal)> {
    let (text, tail) = bytes.split_at_checked(bytes.len().checked_sub(mark.len() + DIGITS)?)?;
    let is = crc32fast::hash(text);
    let as_text = |bytes| core::str::from_utf8(bytes).ok().map(Cow::Borrowed);
    let right = format!("{mark}{is:08x}");
    match right.bytes().zip(tail).map(|(right, found)| (right ^ found).count_ones()).sum() {
        0 => return Some((as_text(text)?, Seal::Whole)),
        1 => return Some((as_text(text)?, Seal::Mended)),
        _ => {}
    }
    let said = core::str::from_utf8(tail.strip_prefix(mark.as_bytes())?).ok()?;
    let said = u32::from_str_radix(said, 16).ok()?;
    let bit = flipped(text.len(), is ^ said)?;
    let mut text = text.to_vec();
    text[bit / 8] ^= 1 << (bit % 8);
    Some((core::str::from_utf8(&text).ok()?.to_string().into(), Seal::Mended))
}

/// Which bit of so many bytes is another, if it is one and by it the checksum is another in these bits.
fn flipped(len: usize, difference: u32) -> Option<usize> {
    // What a bit of the last byte makes of it; and each byte behind it makes another thing of that.
    let behind = |mut sum: u32| {
        for _ in 0..8 {
            sum = sum >> 1 ^ if sum & 1 == 1 { POLYNOMIAL } else { 0 };
        }
        sum
    };
    let mut sums: [u32; 8] = core::array::from_fn(|bit| behind(1 << bit));
    for byte in (0..len).rev() {
        if let Some(bit) = sums.iter().position(|sum| *sum == difference) {
            return Some(byte * 8 + bit);
        }
        sums = sums.map(behind);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whichever_bit_flips_it_is_the_text_that_was_sealed() {
        for (text, mark) in [("", LINE), ("uidvalidity 5 uids below 7", LINE), ("", FILE), ("0 Junk\n1 Entw\u{fc}rfe", FILE)] {
            let sealed = seal(text, mark);
            assert_eq!(open(sealed.as_bytes(), mark), (Some(text.into()), Seal::Whole));
            assert_eq!(open(format!("{sealed}\n").as_bytes(), mark), (Some(text.into()), Seal::Whole));
            for around in [format!("\u{b}{sealed}\n"), format!("{sealed}\u{b}")] {
                assert_eq!(open(around.as_bytes(), mark), (Some(text.into()), Seal::Mended));
            }
            for bit in 0..sealed.len() * 8 {
                let mut flipped = sealed.clone().into_bytes();
                flipped[bit / 8] ^= 1 << (bit % 8);
                let (opened, seal) = open(&flipped, mark);
                assert_eq!(opened.as_deref(), Some(text), "bit {bit}");
                assert_eq!(seal, Seal::Mended, "bit {bit}");
                for other in (bit + 1..sealed.len() * 8).step_by(13) {
                    let mut flipped = flipped.clone();
                    flipped[other / 8] ^= 1 << (other % 8);
                    // The mark and a digit are as good as one.
                    assert!(open(&flipped, mark).0.is_none_or(|opened| opened == text), "bits {bit} and {other}");
                }
            }
        }
        assert_eq!(open(b"0 $Label1\n2 Junk\n", FILE), (None, Seal::Missing));
        assert_eq!(open(b"0 $Label1\ncheck 12345678\n", FILE), (None, Seal::Broken));
        assert_eq!(open(b"", FILE), (None, Seal::Missing));
    }
}
