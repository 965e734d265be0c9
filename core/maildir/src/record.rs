//! Records of `hikyaku.index`: checksum, length, kind, payload; little-endian.

use crate::{Marks, limits};
use alloc::vec::Vec;
use mail::System;

/// Where the encoded structure of a message is in `hikyaku.cache`: a frame of `len` bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Blob {
    /// Offset of the frame.
    pub at: u64,
    /// Length of the frame; 0 if the message was not scanned yet.
    pub len: u32,
}

/// What was found out about a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Facts {
    /// Bytes of its file.
    pub size: u64,
    /// Octets with CRLF line ends.
    pub wire: u64,
    /// Internal date, seconds since 1970.
    pub date: i64,
    /// Internal date, minutes east of UTC.
    pub zone: i16,
    /// Its structure.
    pub blob: Blob,
}

/// Single facts about an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bits(pub u8);

impl Bits {
    /// The file is in `new/`; otherwise it is in `cur/`.
    pub const NEW: Bits = Bits(1);
    /// [`Facts::size`] and [`Facts::wire`] are known.
    pub const SIZED: Bits = Bits(2);
    /// [`Facts::date`] is known.
    pub const DATED: Bits = Bits(4);
    /// The info part of the file name is not what the marks would print.
    pub const ODD: Bits = Bits(8);
    /// Gone, to be swept out of memory. Never in a record.
    pub(crate) const GONE: Bits = Bits(128);

    /// Whether all of `other` is set here.
    pub const fn has(self, other: Bits) -> bool {
        self.0 & other.0 == other.0
    }

    /// With `other` set or cleared.
    pub const fn set(self, other: Bits, on: bool) -> Bits {
        if on { Bits(self.0 | other.0) } else { Bits(self.0 & !other.0) }
    }
}

/// A message that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Add<'a> {
    /// Its UID, greater than all before.
    pub uid: u32,
    /// The number of the change.
    pub mod_seq: u64,
    /// Its flags.
    pub marks: Marks,
    /// [`Bits::NEW`], [`Bits::SIZED`], [`Bits::DATED`], [`Bits::ODD`].
    pub bits: Bits,
    /// As far as `bits` says they are known.
    pub facts: Facts,
    /// Its base name.
    pub base: &'a [u8],
    /// The info part of its file name, if [`Bits::ODD`].
    pub info: &'a [u8],
}

/// A step in the life of a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record<'a> {
    /// The first record of a file.
    Head {
        /// Whose UIDs these are. An index of another numbering is of no use.
        uid_validity: u32,
    },
    /// A message came.
    Add(Add<'a>),
    /// Flags changed, or the place or the spelling of the file name.
    Flags {
        /// Which message.
        uid: u32,
        /// The number of the change; 0 if only the file name is another one.
        mod_seq: u64,
        /// Its flags now.
        marks: Marks,
        /// [`Bits::NEW`] and [`Bits::ODD`].
        bits: Bits,
        /// The info part of its file name, if [`Bits::ODD`].
        info: &'a [u8],
    },
    /// A message is gone.
    Gone {
        /// Which.
        uid: u32,
        /// The number of the change.
        mod_seq: u64,
    },
    /// Something was found out about a message.
    Facts {
        /// Which.
        uid: u32,
        /// [`Bits::SIZED`] and [`Bits::DATED`]: what is known now.
        bits: Bits,
        /// The facts.
        facts: Facts,
    },
    /// The files of the messages `from..=to` that were in `new/` are in `cur/`, without flags.
    Cur {
        /// First UID.
        from: u32,
        /// Last UID.
        to: u32,
    },
    /// Messages with UIDs below this are recent to nobody any more.
    Claim {
        /// The first that may be.
        recent_from: u32,
    },
    /// UIDs and change numbers below these were used.
    Next {
        /// The next UID.
        uid: u32,
        /// The greatest change number.
        mod_seq: u64,
    },
    /// The index agrees with the directories as they were at these modification times (nanoseconds since 1970), as long as no other record follows
    /// that has to do with files.
    Dirs {
        /// Of `new/`.
        new_ns: i64,
        /// Of `cur/`.
        cur_ns: i64,
    },
}

/// Checksum, payload length, kind.
const HEADER: usize = 4 + 2 + 1;

impl<'a> Record<'a> {
    /// Appends the record to `out`.
    ///
    /// # Panics
    /// If a name is longer than [`limits::FILE_NAME`].
    pub fn put(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; HEADER]);
        let kind = match self {
            Record::Head { uid_validity } => {
                out.extend_from_slice(&uid_validity.to_le_bytes());
                0
            }
            Record::Add(add) => {
                assert!(add.base.len() + add.info.len() <= limits::FILE_NAME, "a file name too long for any file system");
                out.extend_from_slice(&add.uid.to_le_bytes());
                out.extend_from_slice(&add.mod_seq.to_le_bytes());
                put_marks(add.marks, add.bits, out);
                put_facts(&add.facts, out);
                out.push(add.base.len() as u8);
                out.extend_from_slice(add.base);
                out.extend_from_slice(add.info);
                1
            }
            Record::Flags { uid, mod_seq, marks, bits, info } => {
                out.extend_from_slice(&uid.to_le_bytes());
                out.extend_from_slice(&mod_seq.to_le_bytes());
                put_marks(*marks, *bits, out);
                out.extend_from_slice(info);
                2
            }
            Record::Gone { uid, mod_seq } => {
                out.extend_from_slice(&uid.to_le_bytes());
                out.extend_from_slice(&mod_seq.to_le_bytes());
                3
            }
            Record::Facts { uid, bits, facts } => {
                out.extend_from_slice(&uid.to_le_bytes());
                out.push(bits.0);
                put_facts(facts, out);
                4
            }
            Record::Cur { from, to } => {
                out.extend_from_slice(&from.to_le_bytes());
                out.extend_from_slice(&to.to_le_bytes());
                5
            }
            Record::Claim { recent_from } => {
                out.extend_from_slice(&recent_from.to_le_bytes());
                6
            }
            Record::Next { uid, mod_seq } => {
                out.extend_from_slice(&uid.to_le_bytes());
                out.extend_from_slice(&mod_seq.to_le_bytes());
                7
            }
            Record::Dirs { new_ns, cur_ns } => {
                out.extend_from_slice(&new_ns.to_le_bytes());
                out.extend_from_slice(&cur_ns.to_le_bytes());
                8
            }
        };
        let len = (out.len() - start - HEADER) as u16;
        out[start + 4..start + 6].copy_from_slice(&len.to_le_bytes());
        out[start + 6] = kind;
        let sum = crc32fast::hash(&out[start + 4..]);
        out[start..start + 4].copy_from_slice(&sum.to_le_bytes());
    }

    fn take(kind: u8, payload: &'a [u8]) -> Option<Record<'a>> {
        let mut bytes = Bytes(payload);
        let record = match kind {
            0 => Record::Head { uid_validity: bytes.u32()? },
            1 => {
                let (uid, mod_seq) = (bytes.u32()?, bytes.u64()?);
                let (marks, bits) = bytes.marks()?;
                let facts = bytes.facts()?;
                let len = bytes.u8()?;
                let base = bytes.take(usize::from(len))?;
                Record::Add(Add { uid, mod_seq, marks, bits, facts, base, info: bytes.rest() })
            }
            2 => {
                let (uid, mod_seq) = (bytes.u32()?, bytes.u64()?);
                let (marks, bits) = bytes.marks()?;
                Record::Flags { uid, mod_seq, marks, bits, info: bytes.rest() }
            }
            3 => Record::Gone { uid: bytes.u32()?, mod_seq: bytes.u64()? },
            4 => Record::Facts { uid: bytes.u32()?, bits: Bits(bytes.u8()?), facts: bytes.facts()? },
            5 => Record::Cur { from: bytes.u32()?, to: bytes.u32()? },
            6 => Record::Claim { recent_from: bytes.u32()? },
            7 => Record::Next { uid: bytes.u32()?, mod_seq: bytes.u64()? },
            8 => Record::Dirs { new_ns: bytes.u64()? as i64, cur_ns: bytes.u64()? as i64 },
            _ => return None,
        };
        bytes.0.is_empty().then_some(record)
    }
}

fn put_marks(marks: Marks, bits: Bits, out: &mut Vec<u8>) {
    out.push(marks.system.0);
    out.push(bits.0);
    out.extend_from_slice(&marks.keywords.to_le_bytes());
}

fn put_facts(facts: &Facts, out: &mut Vec<u8>) {
    out.extend_from_slice(&facts.size.to_le_bytes());
    out.extend_from_slice(&facts.wire.to_le_bytes());
    out.extend_from_slice(&facts.date.to_le_bytes());
    out.extend_from_slice(&facts.zone.to_le_bytes());
    out.extend_from_slice(&facts.blob.at.to_le_bytes());
    out.extend_from_slice(&facts.blob.len.to_le_bytes());
}

/// The records of a file, from its first byte on. Ends at the first byte that does not belong to a whole record with a true checksum.
#[derive(Debug)]
pub struct Records<'a> {
    bytes: &'a [u8],
    valid: usize,
}

impl<'a> Records<'a> {
    /// Of the whole file.
    pub fn new(bytes: &'a [u8]) -> Records<'a> {
        Records { bytes, valid: 0 }
    }

    /// Length of what was read so far: after the last record, where a torn tail is to be cut.
    pub fn valid(&self) -> usize {
        self.valid
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        let bytes = &self.bytes[self.valid..];
        let mut head = Bytes(bytes);
        let (sum, len, kind) = (head.u32()?, usize::from(head.u16()?), head.u8()?);
        if len > limits::RECORD {
            return None;
        }
        let payload = head.take(len)?;
        if crc32fast::hash(&bytes[4..HEADER + len]) != sum {
            return None;
        }
        let record = Record::take(kind, payload)?;
        self.valid += HEADER + len;
        Some(record)
    }
}

/// A frame of `hikyaku.cache`: it knows whose structure it holds, so an offset that leads elsewhere (after the loss of a tail, say) is
/// noticed.
pub fn blob_frame(uid_validity: u32, uid: u32, payload: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&uid_validity.to_le_bytes());
    out.extend_from_slice(&uid.to_le_bytes());
    out.extend_from_slice(payload);
    let sum = crc32fast::hash(&out[start + 4..]);
    out[start..start + 4].copy_from_slice(&sum.to_le_bytes());
}

/// The payload of a frame; `None` if it is not the one of this message.
pub fn blob_payload(uid_validity: u32, uid: u32, frame: &[u8]) -> Option<&[u8]> {
    let mut bytes = Bytes(frame);
    let sum = bytes.u32()?;
    (crc32fast::hash(bytes.0) == sum && bytes.u32()? == uid_validity && bytes.u32()? == uid).then_some(bytes.0)
}

/// Takes numbers off the front.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(front)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (front, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*front)
    }

    fn rest(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.0)
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn marks(&mut self) -> Option<(Marks, Bits)> {
        let (system, bits) = (System(self.u8()?), Bits(self.u8()?));
        Some((Marks { system, keywords: self.u32()? }, bits))
    }

    fn facts(&mut self) -> Option<Facts> {
        // Whoever may write the file may have written anything, with a true checksum: what follows is added up and printed.
        Some(Facts {
            size: self.u64()?.min(limits::MESSAGE),
            wire: self.u64()?.min(limits::MESSAGE * 2),
            date: (self.u64()? as i64).clamp(*limits::DATES.start(), *limits::DATES.end()),
            zone: self.u16()? as i16,
            blob: Blob { at: self.u64()?, len: self.u32()? },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn some() -> Vec<Record<'static>> {
        let marks = Marks { system: System(9), keywords: 0x400_0001 };
        let facts = Facts { size: 1, wire: 2, date: -3, zone: -90, blob: Blob { at: 1 << 40, len: 5 } };
        vec![
            Record::Head { uid_validity: 7 },
            Record::Add(Add { uid: 1, mod_seq: 2, marks, bits: Bits(15), facts, base: b"1.2.3", info: b":2,X" }),
            Record::Flags { uid: 1, mod_seq: 1 << 60, marks, bits: Bits::default(), info: b"" },
            Record::Facts { uid: 1, bits: Bits::SIZED, facts },
            Record::Cur { from: 1, to: u32::MAX },
            Record::Claim { recent_from: 2 },
            Record::Next { uid: 2, mod_seq: 3 },
            Record::Gone { uid: 1, mod_seq: 4 },
            Record::Dirs { new_ns: -1, cur_ns: i64::MAX },
        ]
    }

    #[test]
    fn records_come_back_up_to_the_tear() {
        let mut bytes = Vec::new();
        let mut ends = vec![0];
        for record in some() {
            record.put(&mut bytes);
            ends.push(bytes.len());
        }
        assert_eq!(Records::new(&bytes).collect::<Vec<_>>(), some());
        for cut in 0..bytes.len() {
            let mut records = Records::new(&bytes[..cut]);
            let whole = records.by_ref().count();
            assert_eq!(ends[whole], records.valid());
            assert!(ends[whole] <= cut && cut < ends[whole + 1]);
        }
    }

    #[test]
    fn a_flipped_bit_ends_it() {
        let mut bytes = Vec::new();
        some().iter().for_each(|r| r.put(&mut bytes));
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 16;
            let mut records = Records::new(&bad);
            assert!(records.by_ref().count() < some().len());
            assert!(records.valid() <= at);
        }
    }

    #[test]
    fn facts_that_nobody_can_add_up_are_cut_down() {
        let facts = Facts { size: u64::MAX, wire: u64::MAX, date: i64::MAX, ..Facts::default() };
        let mut bytes = Vec::new();
        Record::Facts { uid: 1, bits: Bits::SIZED, facts }.put(&mut bytes);
        let Some(Record::Facts { facts, .. }) = Records::new(&bytes).next() else { panic!("a record of facts") };
        assert!(facts.wire.checked_mul(limits::MESSAGES as u64).is_some());
        assert_eq!((facts.size, facts.date), (limits::MESSAGE, 253_402_300_799));
    }

    #[test]
    fn a_frame_knows_whose_it_is() {
        let mut out = vec![1, 2];
        blob_frame(7, 9, b"payload", &mut out);
        assert_eq!(blob_payload(7, 9, &out[2..]), Some(&b"payload"[..]));
        assert_eq!(blob_payload(7, 8, &out[2..]), None);
        assert_eq!(blob_payload(7, 9, &out[1..]), None);
        assert_eq!(blob_payload(7, 9, b""), None);
    }
}
