//! Sequence sets (RFC 3501 §9, `sequence-set`): of sequence numbers or of UIDs.

use super::{Bad, Out, word::number};
use crate::limits;
use alloc::vec::Vec;
use nom::{Parser, bytes::complete::tag, combinator::opt};

/// Ranges as they were written; either end may be the greater, and either may be [`SequenceSet::STAR`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SequenceSet(pub Vec<(u32, u32)>);

impl SequenceSet {
    /// `*`: the last message. No message has this number.
    pub const STAR: u32 = 0;
}

pub(super) fn set(i: &[u8]) -> Out<'_, SequenceSet> {
    let mut ranges = Vec::new();
    let mut rest = i;
    loop {
        if ranges.len() == limits::RANGES {
            return Err(Bad::limit());
        }
        let (next, first) = end(rest)?;
        let (next, second) = opt((tag(":"), end)).parse(next)?;
        ranges.push((first, second.map_or(first, |(_, n)| n)));
        match next {
            [b',', more @ ..] => rest = more,
            _ => return Ok((next, SequenceSet(ranges))),
        }
    }
}

fn end(i: &[u8]) -> Out<'_, u32> {
    match i {
        [b'*', rest @ ..] => Ok((rest, SequenceSet::STAR)),
        // nz-number: no zero, and no leading one
        [b'0', ..] => Err(Bad::syntax()),
        _ => number(i),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets() {
        const STAR: u32 = SequenceSet::STAR;
        assert_eq!(set(b"2,4:7,9,12:* x").unwrap(), (&b" x"[..], SequenceSet(alloc::vec![(2, 2), (4, 7), (9, 9), (12, STAR)])));
        assert_eq!(set(b"*:4").unwrap().1.0, [(STAR, 4)]);
        assert_eq!(set(b"4294967295").unwrap().1.0, [(u32::MAX, u32::MAX)]);
        for bad in [&b"0"[..], b"1,", b"1:", b"4294967296", b":1", b"", b"1,0"] {
            assert!(!matches!(set(bad), Ok((b"", _))), "{bad:?}");
        }
    }
}
