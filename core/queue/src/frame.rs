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

/// Bytes of a head's fields, magic included.
const FIELDS: usize = 56;

/// Where in the sector the fields are a second time. Both have a checksum of their own behind them, so that what hits one leaves the other.
const MIRROR: usize = 256;

/// A head of a segment, or what is there instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// It is as it was written.
    Whole(SegmentHead),
    /// Part of it is damaged, and what it says is whole.
    Damaged(SegmentHead),
    /// A version of the format that is not known here.
    Later(u8),
    /// None can be read.
    Lost,
}

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
        let crc = crc32fast::hash(&out[..FIELDS]);
        out[FIELDS..FIELDS + 4].copy_from_slice(&crc.to_le_bytes());
        out.copy_within(..FIELDS + 4, MIRROR);
        let crc = crc32fast::hash(&out[..SEGMENT_HEAD - 4]);
        out[SEGMENT_HEAD - 4..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// From bytes; `None` if this is not the head of a segment, or damaged, or of a later version.
    pub fn decode(bytes: &[u8; SEGMENT_HEAD]) -> Option<SegmentHead> {
        match SegmentHead::find(bytes) {
            Found::Whole(head) => Some(head),
            Found::Damaged(_) | Found::Later(_) | Found::Lost => None,
        }
    }

    /// What these bytes are.
    pub fn find(bytes: &[u8; SEGMENT_HEAD]) -> Found {
        let fields = |from: usize| {
            let field = |n: usize| u64_at(bytes, from + 8 + n * 8);
            SegmentHead { number: field(0), base: field(1), salt: field(2), run: field(3), mark: field(4), size: field(5) }
        };
        let whole = crc32fast::hash(&bytes[..SEGMENT_HEAD - 4]) == u32_at(bytes, SEGMENT_HEAD - 4);
        if whole && bytes[..8] == MAGIC {
            return Found::Whole(fields(0));
        }
        let copy = |from: usize| {
            let sound = bytes[from..from + 8] == MAGIC && crc32fast::hash(&bytes[from..from + FIELDS]) == u32_at(bytes, from + FIELDS);
            sound.then(|| fields(from))
        };
        match copy(0).or_else(|| copy(MIRROR)) {
            Some(head) => Found::Damaged(head),
            None if bytes[..7] == MAGIC[..7] && bytes[7] != MAGIC[7] => Found::Later(bytes[7]),
            None => Found::Lost,
        }
    }
}

/// Who reads a frame's payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Whoever uses the log.
    Record,
    /// The log itself: everything below the place in the payload (eight bytes, little end first) is released.
    Mark,
    /// The log itself: what was from here to the place that stands where others have their id could not be read at some start. No payload. Bytes that
    /// were durable, as far as anybody knows, if [`FrameHead::durable`] is there.
    Hole,
    /// A later version knows. Whoever does not must not go on: it is part of the log.
    Other(u8),
}

impl Kind {
    const fn code(self) -> u8 {
        match self {
            Kind::Record => 1,
            Kind::Mark => 2,
            Kind::Hole => 3,
            Kind::Other(code) => code,
        }
    }

    const fn of(code: u8) -> Kind {
        match code {
            1 => Kind::Record,
            2 => Kind::Mark,
            3 => Kind::Hole,
            code => Kind::Other(code),
        }
    }
}

/// Who writes a frame knows how far before it the log is durable; three bytes hold that distance and one more. 0 says nothing.
const DISTANCE_MAX: u64 = 0xff_ffff;

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
    /// Everything before this place was durable when the frame was written. So what cannot be read before it is damage, and not what a crash left of
    /// a write that nobody was promised.
    pub durable: Option<u64>,
}

impl FrameHead {
    /// As bytes, for a segment with this salt.
    pub fn encode(&self, salt: u64) -> [u8; FRAME_HEAD] {
        let mut out = [0; FRAME_HEAD];
        out[..4].copy_from_slice(&self.len.to_le_bytes());
        out[4..8].copy_from_slice(&self.crc.to_le_bytes());
        out[8..16].copy_from_slice(&self.at.to_le_bytes());
        out[16..24].copy_from_slice(&self.id.to_le_bytes());
        out[24] = self.kind.code();
        let distance = self.durable.and_then(|durable| self.at.checked_sub(durable)).filter(|&n| n < DISTANCE_MAX).map_or(0, |n| n + 1);
        out[25..28].copy_from_slice(&distance.to_le_bytes()[..3]);
        let crc = seal(&out, salt);
        out[28..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// From bytes; `None` unless they were written at this place in the log into a segment with this salt.
    pub fn decode(bytes: &[u8; FRAME_HEAD], salt: u64, at: u64) -> Option<FrameHead> {
        if u64_at(bytes, 8) != at || seal(bytes, salt) != u32_at(bytes, 28) {
            return None;
        }
        let distance = u64::from(u32_at(bytes, 24) >> 8);
        let durable = distance.checked_sub(1).and_then(|n| at.checked_sub(n));
        let head =
            FrameHead { len: u32_at(bytes, 0), crc: u32_at(bytes, 4), at, id: u64_at(bytes, 16), kind: Kind::of(bytes[24]), durable };
        // A hole that leads back would be read for ever.
        (head.kind != Kind::Hole || (head.len == 0 && head.id >= at.saturating_add(FRAME_HEAD as u64))).then_some(head)
    }

    /// Where the next frame begins.
    pub fn next(&self) -> u64 {
        if self.kind == Kind::Hole {
            return self.id;
        }
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
        let head = FrameHead { len: 5, crc: checksum(&[b"he", b"llo"]), at: 77, id: 9, kind: Kind::Record, durable: Some(40) };
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
        // Too far away to be told, or written before this was told.
        for durable in [None, Some(0)] {
            let far = FrameHead { at: 1 << 40, durable, ..head };
            assert_eq!(FrameHead::decode(&far.encode(1), 1, 1 << 40), Some(FrameHead { durable: None, ..far }));
        }
        let later = FrameHead { kind: Kind::Other(9), ..head };
        assert_eq!(FrameHead::decode(&later.encode(1), 1, 77), Some(later));
    }

    #[test]
    fn a_hole_leads_on() {
        let hole = FrameHead { len: 0, crc: 0, at: 77, id: 200, kind: Kind::Hole, durable: Some(77) };
        assert_eq!(FrameHead::decode(&hole.encode(1), 1, 77), Some(hole));
        assert_eq!(hole.next(), 200);
        assert_eq!(FrameHead::decode(&FrameHead { id: 80, ..hole }.encode(1), 1, 77), None);
    }

    #[test]
    fn a_segment_head_comes_back() {
        let head = SegmentHead { number: 3, base: 1 << 40, salt: u64::MAX, run: 2, mark: 17, size: 16 << 20 };
        let mut bytes = head.encode();
        assert_eq!(SegmentHead::decode(&bytes), Some(head));
        for bit in 0..SEGMENT_HEAD * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHead::find(&bytes), Found::Damaged(head), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        bytes[7] = 2;
        bytes[MIRROR..].fill(0);
        assert_eq!(SegmentHead::find(&bytes), Found::Later(2));
        assert_eq!(SegmentHead::find(&[0; SEGMENT_HEAD]), Found::Lost);
    }
}
