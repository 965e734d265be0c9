//! How records lie in the log: segments with a head, frames with a checksum.
//!
//! A segment is a file that is used again and again, so behind the last frame lie old frames, zeros, or whatever a crash left. What is
//! read as a frame must therefore prove that it was written here and now: its head is checked together with the segment's salt, which
//! is random for each use, and with its own place in the log. Nobody who sends mail can forge that.

use crc32fast::Hasher;

/// Bytes of a segment's head. A sector, so that the head is written whole or not at all where disks promise that.
pub const SEGMENT_HEAD: usize = 512;

/// Bytes of a frame's head.
pub const FRAME_HEAD: usize = 32;

/// The first bytes of every segment; the last one is the version of the format.
const MAGIC: [u8; 8] = *b"HIKYAKU\x01";

/// What the first sector of a segment says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHead {
    /// Segments of a log are numbered without gaps, from 1; a file that is used again gets a new number.
    pub number: u64,
    /// The place in the log where this segment begins, and where the one before it ended: nothing beyond that is part of the log, even if
    /// it looks like frames.
    pub base: u64,
    /// Random, for this use of the file.
    pub salt: u64,
    /// How often the log has been opened. Ids begin with it.
    pub run: u64,
    /// Everything below this place in the log was released when the segment was begun.
    pub mark: u64,
    /// The size of the file.
    pub size: u64,
}

impl SegmentHead {
    /// As bytes.
    pub fn encode(&self) -> [u8; SEGMENT_HEAD] {
        let mut out = [0; SEGMENT_HEAD];
        out[..8].copy_from_slice(&MAGIC);
        let fields = [self.number, self.base, self.salt, self.run, self.mark, self.size];
        for (to, field) in out[8..].chunks_exact_mut(8).zip(fields) {
            to.copy_from_slice(&field.to_le_bytes());
        }
        let crc = crc32fast::hash(&out[..SEGMENT_HEAD - 4]);
        out[SEGMENT_HEAD - 4..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// From bytes; `None` if this is not the head of a segment, or of a later version.
    pub fn decode(bytes: &[u8; SEGMENT_HEAD]) -> Option<SegmentHead> {
        if bytes[..8] != MAGIC || crc32fast::hash(&bytes[..SEGMENT_HEAD - 4]) != u32_at(bytes, SEGMENT_HEAD - 4) {
            return None;
        }
        let field = |n: usize| u64_at(bytes, 8 + n * 8);
        Some(SegmentHead { number: field(0), base: field(1), salt: field(2), run: field(3), mark: field(4), size: field(5) })
    }
}

/// Who reads a frame's payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Whoever uses the log.
    Record,
    /// The log itself: everything below the place in the payload (eight bytes, little end first) is released.
    Mark,
}

/// What stands before a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHead {
    /// Bytes of payload.
    pub len: u32,
    /// The checksum of the payload, see [`checksum`].
    pub crc: u32,
    /// The place of this head in the log.
    pub at: u64,
    /// The id of the entry.
    pub id: u64,
    /// Who reads it.
    pub kind: Kind,
}

impl FrameHead {
    /// As bytes, for a segment with this salt.
    pub fn encode(&self, salt: u64) -> [u8; FRAME_HEAD] {
        let mut out = [0; FRAME_HEAD];
        out[..4].copy_from_slice(&self.len.to_le_bytes());
        out[4..8].copy_from_slice(&self.crc.to_le_bytes());
        out[8..16].copy_from_slice(&self.at.to_le_bytes());
        out[16..24].copy_from_slice(&self.id.to_le_bytes());
        out[24] = match self.kind {
            Kind::Record => 1,
            Kind::Mark => 2,
        };
        let crc = seal(&out, salt);
        out[28..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// From bytes; `None` unless they were written at this place in the log into a segment with this salt.
    pub fn decode(bytes: &[u8; FRAME_HEAD], salt: u64, at: u64) -> Option<FrameHead> {
        let kind = match bytes[24] {
            1 => Kind::Record,
            2 => Kind::Mark,
            _ => return None,
        };
        let head = FrameHead { len: u32_at(bytes, 0), crc: u32_at(bytes, 4), at: u64_at(bytes, 8), id: u64_at(bytes, 16), kind };
        (head.at == at && seal(bytes, salt) == u32_at(bytes, 28)).then_some(head)
    }

    /// Where the next frame begins.
    pub fn next(&self) -> u64 {
        self.at.saturating_add(FRAME_HEAD as u64).saturating_add(u64::from(self.len))
    }
}

/// The checksum of a payload that comes in pieces.
pub fn checksum(pieces: &[&[u8]]) -> u32 {
    let mut hasher = Hasher::new();
    for piece in pieces {
        hasher.update(piece);
    }
    hasher.finalize()
}

fn seal(head: &[u8; FRAME_HEAD], salt: u64) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(&salt.to_le_bytes());
    hasher.update(&head[..28]);
    hasher.finalize()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_belongs_to_its_place_and_segment() {
        let head = FrameHead { len: 5, crc: checksum(&[b"he", b"llo"]), at: 77, id: 9, kind: Kind::Record };
        let bytes = head.encode(1);
        assert_eq!(FrameHead::decode(&bytes, 1, 77), Some(head));
        assert_eq!(FrameHead::decode(&bytes, 2, 77), None);
        assert_eq!(FrameHead::decode(&bytes, 1, 78), None);
        for bit in 0..FRAME_HEAD * 8 {
            let mut torn = bytes;
            torn[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(FrameHead::decode(&torn, 1, 77), None, "bit {bit}");
        }
        assert_eq!(head.crc, checksum(&[b"hello"]));
    }

    #[test]
    fn a_segment_head_comes_back() {
        let head = SegmentHead { number: 3, base: 1 << 40, salt: u64::MAX, run: 2, mark: 17, size: 16 << 20 };
        let mut bytes = head.encode();
        assert_eq!(SegmentHead::decode(&bytes), Some(head));
        bytes[100] = 1;
        assert_eq!(SegmentHead::decode(&bytes), None);
        assert_eq!(SegmentHead::decode(&[0; SEGMENT_HEAD]), None);
    }
}
