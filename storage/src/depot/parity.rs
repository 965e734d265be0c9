//! What makes a file whole again of which a piece cannot be read.
//!
//! Behind the content of a file lies a trailer that nobody looks at as long as the content is right: the CRC-32 of each piece of [`PIECE`] bytes, and of each
//! group of pieces their parity, all of them combined by exclusive or. So of each group one piece may be lost, be it for one bit or because the disk does not give it
//! any more. Neighbours are never in the same group, so whatever is lost in one place is made again if it is not longer than a piece.

use super::damage;
use crate::{disk::File, spool::read_full};
use queue::frame::checksum;
use std::io;

/// Bytes of a piece; the last one has what is left.
const PIECE: usize = 64 << 10;

/// Pieces of a group.
const GROUP: usize = 64;

/// The last bytes of a trailer begin with this; its last one is the version of the format.
const MAGIC: [u8; 8] = *b"HIKYPAR\x01";

/// The last bytes: [`MAGIC`], the length of the content (8), the CRC-32 of the list of sums (4), and of what comes before (4).
const FOOT: usize = 8 + 8 + 4 + 4;

/// Which group a piece is in.
fn group(piece: usize) -> usize {
    piece / (2 * GROUP) * 2 + piece % 2
}

/// Makes the trailer of a file that is written from front to back.
#[derive(Default)]
pub struct Parity {
    len: u64,
    /// The piece that is not full.
    piece: Vec<u8>,
    sums: Vec<u32>,
    groups: Vec<Vec<u8>>,
}

impl Parity {
    /// Adds what is written next.
    pub fn add(&mut self, mut bytes: &[u8]) {
        self.len += bytes.len() as u64;
        while !bytes.is_empty() {
            let (now, rest) = bytes.split_at(bytes.len().min(PIECE - self.piece.len()));
            self.piece.extend_from_slice(now);
            bytes = rest;
            if self.piece.len() == PIECE {
                self.end_piece();
            }
        }
    }

    fn end_piece(&mut self) {
        let at = group(self.sums.len());
        self.sums.push(checksum(&[&self.piece]));
        if self.groups.len() <= at {
            self.groups.resize(at + 1, Vec::new());
        }
        combine(&mut self.groups[at], &self.piece);
        self.piece.clear();
    }

    /// What is to be written behind the content.
    pub fn trailer(mut self) -> Vec<u8> {
        if !self.piece.is_empty() {
            self.end_piece();
        }
        let mut out: Vec<u8> = self.sums.iter().flat_map(|sum| sum.to_le_bytes()).collect();
        let sums = checksum(&[&out]);
        self.groups.iter().for_each(|parity| out.extend_from_slice(parity));
        let foot = [&MAGIC[..], &self.len.to_le_bytes(), &sums.to_le_bytes()].concat();
        out.extend_from_slice(&foot);
        out.extend_from_slice(&checksum(&[&foot]).to_le_bytes());
        out
    }
}

fn combine(sum: &mut Vec<u8>, piece: &[u8]) {
    if sum.len() < piece.len() {
        sum.resize(piece.len(), 0);
    }
    sum.iter_mut().zip(piece).for_each(|(sum, byte)| *sum ^= byte);
}

/// The trailer of a file that is damaged.
struct Trailer<'a> {
    file: &'a dyn File,
    len: u64,
    sums: Vec<u32>,
}

impl<'a> Trailer<'a> {
    /// Nothing if there is none, or it is damaged itself.
    fn read(file: &'a dyn File) -> Option<Trailer<'a>> {
        let end = file.len().ok()?;
        let foot: [u8; FOOT] = bytes(file, end.checked_sub(FOOT as u64)?, FOOT)?.try_into().ok()?;
        let number = |at: usize| u32::from_le_bytes([foot[at], foot[at + 1], foot[at + 2], foot[at + 3]]);
        if foot[..8] != MAGIC || checksum(&[&foot[..FOOT - 4]]) != number(FOOT - 4) {
            return None;
        }
        let len = u64::from(number(8)) | u64::from(number(12)) << 32;
        let count = usize::try_from(len.div_ceil(PIECE as u64)).ok().filter(|_| len <= end)?;
        let list = bytes(file, len, count * 4).filter(|list| checksum(&[list]) == number(16))?;
        let sums = list.chunks_exact(4).map(|sum| u32::from_le_bytes([sum[0], sum[1], sum[2], sum[3]])).collect();
        Some(Trailer { file, len, sums })
    }

    fn size(&self, piece: usize) -> usize {
        usize::try_from(self.len - (piece * PIECE) as u64).unwrap_or(usize::MAX).min(PIECE)
    }

    fn direct(&self, piece: usize) -> Option<Vec<u8>> {
        bytes(self.file, (piece * PIECE) as u64, self.size(piece)).filter(|bytes| checksum(&[bytes]) == self.sums[piece])
    }

    /// A piece as it was written.
    fn piece(&self, piece: usize) -> Option<Vec<u8>> {
        self.direct(piece).or_else(|| self.made_again(piece))
    }

    /// A piece from the others of its group.
    fn made_again(&self, piece: usize) -> Option<Vec<u8>> {
        // Before it lie the parities of groups before its own: all full, but for the only piece of a file.
        let at = self.len + (self.sums.len() * 4 + group(piece) * PIECE) as u64;
        let first = group(piece) / 2 * 2 * GROUP + group(piece) % 2;
        let members = || (first..self.sums.len()).step_by(2).take(GROUP);
        let mut sum = bytes(self.file, at, members().map(|member| self.size(member)).max()?)?;
        for member in members().filter(|&member| member != piece) {
            combine(&mut sum, &self.direct(member)?);
        }
        sum.truncate(self.size(piece));
        Some(sum).filter(|sum| checksum(&[sum]) == self.sums[piece])
    }
}

/// So many bytes of a file, if they can be read.
fn bytes(file: &dyn File, at: u64, len: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; len];
    (read_full(file, &mut bytes, at).ok()? == len).then_some(bytes)
}

/// How many bytes of a file are its content, if it says so.
pub fn content(file: &dyn File) -> Option<u64> {
    Trailer::read(file).map(|trailer| trailer.len)
}

/// Whether all of a file is as it was written, of which so many bytes are content. One of an earlier version has no trailer.
///
/// # Errors
/// If it cannot be read, other than for damage.
pub fn is_whole(file: &dyn File, len: u64) -> io::Result<bool> {
    let (end, mut parity, mut at) = (file.len()?, Parity::default(), 0);
    if end == len {
        return Ok(true);
    }
    let read = |at: u64, len: usize| {
        let mut bytes = vec![0; len];
        match read_full(file, &mut bytes, at) {
            Ok(n) if n == len => Ok(Some(bytes)),
            Err(error) if !damage::is(&error) => Err(error),
            _ => Ok(None),
        }
    };
    while at < len {
        let Some(bytes) = read(at, usize::try_from(len - at).unwrap_or(usize::MAX).min(PIECE))? else { return Ok(false) };
        parity.add(&bytes);
        at += bytes.len() as u64;
    }
    let trailer = parity.trailer();
    Ok(end == len + trailer.len() as u64 && read(len, trailer.len())? == Some(trailer))
}

/// So many bytes of the content of a file that is damaged, as they were written.
///
/// # Errors
/// `InvalidData` if they cannot be made again.
pub fn mended(file: &dyn File, at: u64, len: usize) -> io::Result<Vec<u8>> {
    let made = || {
        let trailer = Trailer::read(file)?;
        let end = at.checked_add(len as u64).filter(|end| *end <= trailer.len)?;
        let first = usize::try_from(at / PIECE as u64).ok()?;
        let mut out = Vec::with_capacity(len);
        for number in first..usize::try_from(end.div_ceil(PIECE as u64)).ok()? {
            let piece = trailer.piece(number)?;
            let skip = if number == first { (at % PIECE as u64) as usize } else { 0 };
            out.extend_from_slice(&piece[skip..piece.len().min(skip + len - out.len())]);
        }
        Some(out)
    };
    made().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it is damaged, and cannot be mended"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// A file of which some places cannot be read.
    #[derive(Default)]
    struct Memory {
        bytes: Vec<u8>,
        bad: BTreeSet<usize>,
    }

    impl File for Memory {
        fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
            let rest = self.bytes.get(at as usize..).unwrap_or_default();
            let n = rest.len().min(buf.len());
            if self.bad.range(at as usize..at as usize + n).next().is_some() {
                return Err(io::Error::from_raw_os_error(5));
            }
            buf[..n].copy_from_slice(&rest[..n]);
            Ok(n)
        }
        fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
            unreachable!("it is only read")
        }
        fn append(&self, _: &[u8]) -> io::Result<()> {
            unreachable!("it is only read")
        }
        fn set_len(&self, _: u64) -> io::Result<()> {
            unreachable!("it is only read")
        }
        fn len(&self) -> io::Result<u64> {
            Ok(self.bytes.len() as u64)
        }
        fn sync(&self) -> io::Result<()> {
            unreachable!("it is only read")
        }
    }

    fn file(len: usize) -> (Vec<u8>, Memory) {
        let mut dice = fastrand::Rng::with_seed(len as u64);
        let content: Vec<u8> = std::iter::repeat_with(|| dice.u8(..)).take(len).collect();
        let mut parity = Parity::default();
        let mut rest = &content[..];
        while !rest.is_empty() {
            let (now, after) = rest.split_at(dice.usize(1..=rest.len().min(200_000)));
            parity.add(now);
            rest = after;
        }
        let bytes = [&content[..], &parity.trailer()].concat();
        (content, Memory { bytes, ..Memory::default() })
    }

    #[test]
    fn whatever_is_lost_in_one_place_is_made_again() {
        for len in [1, 100, PIECE, PIECE + 1, 2 * PIECE, 3 * PIECE + 17, 2 * GROUP * PIECE + 3 * PIECE / 2] {
            let (content, mut memory) = file(len);
            let mut dice = fastrand::Rng::with_seed(1);
            for _ in 0..8 {
                let at = dice.usize(..len);
                let lost = dice.usize(1..=PIECE.min(len - at));
                let around = at.saturating_sub(dice.usize(..1000));
                let wanted = (len - around).min(lost + 2000);
                memory.bytes[at] ^= 1;
                memory.bytes[at + lost - 1] ^= if lost == 1 { 2 } else { 1 };
                assert!(mended(&memory, around as u64, wanted).unwrap() == content[around..around + wanted], "{len} {at} {lost}");
                memory.bytes[..len].copy_from_slice(&content);
                memory.bad.extend([at, at + lost - 1]);
                assert!(mended(&memory, around as u64, wanted).unwrap() == content[around..around + wanted], "{len} {at} {lost}");
                memory.bad.clear();
            }
        }
    }

    #[test]
    fn what_cannot_be_made_again_is_an_error_and_never_something_else() {
        let (content, mut memory) = file(3 * PIECE);
        // Two of one group.
        memory.bytes[7] ^= 1;
        memory.bytes[2 * PIECE + 9] ^= 1;
        assert_eq!(mended(&memory, 0, 10).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert!(mended(&memory, PIECE as u64, PIECE).unwrap() == content[PIECE..2 * PIECE]);
        assert!(mended(&memory, 3 * PIECE as u64 - 5, 6).is_err(), "beyond the content");
        let (content, memory) = file(100);
        for at in content.len()..memory.bytes.len() {
            for bit in 0..8 {
                let mut memory = Memory { bytes: memory.bytes.clone(), ..Memory::default() };
                memory.bytes[3] ^= 1;
                memory.bytes[at] ^= 1 << bit;
                assert!(mended(&memory, 0, 100).is_err(), "{at} {bit}");
            }
        }
        for len in 0..memory.bytes.len() {
            let memory = Memory { bytes: memory.bytes[..len].to_vec(), ..Memory::default() };
            assert!(mended(&memory, 0, 100).is_err(), "cut at {len}");
        }
    }
}
