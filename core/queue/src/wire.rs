//! Numbers and strings of a record, little end first.

use crate::record::NotRecord;
use alloc::vec::Vec;

/// Reads fields off the front of a slice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'a>(pub &'a [u8]);

impl<'a> Cursor<'a> {
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    pub fn take(&mut self, n: usize) -> Result<&'a [u8], NotRecord> {
        let (head, rest) = self.0.split_at_checked(n).ok_or(NotRecord::Short)?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], NotRecord> {
        let (head, rest) = self.0.split_first_chunk().ok_or(NotRecord::Short)?;
        self.0 = rest;
        Ok(*head)
    }

    pub fn u8(&mut self) -> Result<u8, NotRecord> {
        Ok(self.array::<1>()?[0])
    }

    pub fn u16(&mut self) -> Result<u16, NotRecord> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub fn u32(&mut self) -> Result<u32, NotRecord> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub fn u64(&mut self) -> Result<u64, NotRecord> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub fn i64(&mut self) -> Result<i64, NotRecord> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    pub fn i16(&mut self) -> Result<i16, NotRecord> {
        Ok(i16::from_le_bytes(self.array()?))
    }

    /// Bytes behind a length of two bytes.
    pub fn bytes(&mut self, max: usize) -> Result<&'a [u8], NotRecord> {
        let n = usize::from(self.u16()?);
        if n > max {
            return Err(NotRecord::Limit);
        }
        self.take(n)
    }

    /// Text behind a length of two bytes.
    pub fn text(&mut self, max: usize) -> Result<&'a str, NotRecord> {
        core::str::from_utf8(self.bytes(max)?).map_err(|_| NotRecord::Text)
    }

    /// The body of a field behind a length of four bytes.
    pub fn body(&mut self) -> Result<Cursor<'a>, NotRecord> {
        let n = usize::try_from(self.u32()?).map_err(|_| NotRecord::Limit)?;
        Ok(Cursor(self.take(n)?))
    }
}

/// Appends bytes behind a length of two bytes.
///
/// # Panics
/// If there are more than `max`.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8], max: usize) {
    assert!(bytes.len() <= max && max <= usize::from(u16::MAX), "a name over its limit");
    out.extend_from_slice(&(bytes.len() as u16).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// Appends a field: a tag, the length of its body, the body.
///
/// # Panics
/// If the body is 4 GiB or more.
pub(crate) fn put_field(out: &mut Vec<u8>, tag: u8, body: impl FnOnce(&mut Vec<u8>)) {
    out.push(tag);
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    body(out);
    let len = u32::try_from(out.len() - at - 4).expect("a field over its limit");
    out[at..at + 4].copy_from_slice(&len.to_le_bytes());
}
