//! Bytes to a record. They passed a checksum, but a checksum is no proof of anything: whatever they are, this gives a record or says why not.

use super::{ACCEPT, Accept, Bases, Content, GONE, Gone, Keywords, NotRecord, REMOVED, RENAMED, Record, SKIP, Target, Targets, Trace, tag};
use crate::{
    limits::{ADDRESS_MAX, BASES_MAX, KEYWORDS_MAX, NAME_MAX, TARGETS_MAX},
    wire::Cursor,
};
use mail::{Keyword, Stamp, System};

impl<'a> Record<'a> {
    /// Reads a record; it borrows from `bytes`.
    ///
    /// # Errors
    /// Says why they are none.
    pub fn decode(bytes: &'a [u8]) -> Result<Record<'a>, NotRecord> {
        let mut rest = Cursor(bytes);
        match rest.u8()? {
            ACCEPT => accept(rest).map(Record::Accept),
            GONE => gone(rest).map(Record::Gone),
            RENAMED => {
                let (mut place_seen, mut to_seen) = (None, None);
                while !rest.is_empty() {
                    match field(&mut rest)? {
                        (tag::PLACE, body) => place_seen = Some(place(body)?),
                        (tag::TO, mut body) => to_seen = Some(body.text(NAME_MAX)?),
                        _ => {}
                    }
                }
                let (account, from) = place_seen.ok_or(NotRecord::Missing)?;
                Ok(Record::Renamed { account, from, to: to_seen.ok_or(NotRecord::Missing)? })
            }
            REMOVED => {
                let mut seen = None;
                while !rest.is_empty() {
                    if let (tag::PLACE, body) = field(&mut rest)? {
                        seen = Some(place(body)?);
                    }
                }
                let (account, mailbox) = seen.ok_or(NotRecord::Missing)?;
                Ok(Record::Removed { account, mailbox })
            }
            kind => Ok(Record::Unknown { kind, skip: kind & SKIP != 0 }),
        }
    }
}

fn accept<'a>(mut rest: Cursor<'a>) -> Result<Accept<'a>, NotRecord> {
    let all = rest.0;
    let (mut id, mut stamp_seen, mut sender, mut trace_seen, mut wire_size, mut content) = (None, None, None, None, None, None);
    let mut targets = 0;
    while !rest.is_empty() {
        let (tag, mut body) = field(&mut rest)?;
        match tag {
            tag::ID => id = Some(body.u64()?),
            tag::STAMP => stamp_seen = Some(stamp(&mut body)?),
            tag::SENDER => sender = Some(body.text(ADDRESS_MAX)?),
            tag::TRACE => trace_seen = Some(trace(body)?),
            tag::TARGET => {
                targets += 1;
                target(body)?;
            }
            tag::WIRE_SIZE => wire_size = Some(body.u64()?),
            tag::LARGE => content = Some(Content::Large { id: body.u64()?, size: body.u64()? }),
            tag::INLINE => content = Some(Content::Inline(body.0)),
            _ => {}
        }
    }
    if targets > TARGETS_MAX {
        return Err(NotRecord::Limit);
    }
    Ok(Accept {
        id: id.ok_or(NotRecord::Missing)?,
        stamp: stamp_seen.ok_or(NotRecord::Missing)?,
        sender,
        trace: trace_seen,
        targets: Targets::read(all),
        wire_size: wire_size.ok_or(NotRecord::Missing)?,
        content: content.ok_or(NotRecord::Missing)?,
    })
}

fn gone<'a>(mut rest: Cursor<'a>) -> Result<Gone<'a>, NotRecord> {
    let all = rest.0;
    let mut seen = None;
    let mut bases = 0;
    while !rest.is_empty() {
        match field(&mut rest)? {
            (tag::PLACE, body) => seen = Some(place(body)?),
            (tag::BASE, body) if body.0.len() > NAME_MAX => return Err(NotRecord::Limit),
            (tag::BASE, _) => bases += 1,
            _ => {}
        }
    }
    if bases > BASES_MAX {
        return Err(NotRecord::Limit);
    }
    let (account, mailbox) = seen.ok_or(NotRecord::Missing)?;
    Ok(Gone { account, mailbox, bases: Bases::read(all) })
}

fn field<'a>(rest: &mut Cursor<'a>) -> Result<(u8, Cursor<'a>), NotRecord> {
    Ok((rest.u8()?, rest.body()?))
}

/// The next field with this tag; none if there is no more.
pub(super) fn next_field<'a>(rest: &mut Cursor<'a>, wanted: u8) -> Option<Cursor<'a>> {
    while let Ok((tag, body)) = field(rest) {
        if tag == wanted {
            return Some(body);
        }
    }
    None
}

fn place<'a>(mut body: Cursor<'a>) -> Result<(&'a str, &'a str), NotRecord> {
    Ok((body.text(NAME_MAX)?, body.text(NAME_MAX)?))
}

fn stamp(body: &mut Cursor<'_>) -> Result<Stamp, NotRecord> {
    Ok(Stamp { seconds: body.i64()?, zone: body.i16()? })
}

fn trace<'a>(mut body: Cursor<'a>) -> Result<Trace<'a>, NotRecord> {
    let mut text = || body.text(ADDRESS_MAX);
    let (helo, peer, with, login) = (text()?, text()?, text()?, text()?);
    let bits = body.u8()?;
    Ok(Trace { helo, peer, with, login, eight_bit: bits & 1 != 0, utf8: bits & 2 != 0 })
}

pub(super) fn target<'a>(mut body: Cursor<'a>) -> Result<Target<'a>, NotRecord> {
    let (account, mailbox, base) = (body.text(NAME_MAX)?, body.text(NAME_MAX)?, body.text(NAME_MAX)?);
    let recipient = body.text(ADDRESS_MAX)?;
    let system = System(body.u8()?);
    let date = stamp(&mut body)?;
    let (uid_validity, uid_upto, mod_seq_upto) = (body.u32()?, body.u32()?, body.u64()?);
    let keywords = body.bytes(usize::from(u16::MAX))?;
    let mut rest = Cursor(keywords);
    let mut count = 0;
    while !rest.is_empty() {
        rest.text(Keyword::MAX)?;
        count += 1;
    }
    if count > KEYWORDS_MAX {
        return Err(NotRecord::Limit);
    }
    let keywords = Keywords::read(keywords);
    Ok(Target { account, mailbox, base, recipient, system, keywords, date, uid_validity, uid_upto, mod_seq_upto })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{collections::BTreeSet, vec, vec::Vec};

    fn round(record: Record<'_>) -> Vec<u8> {
        let bytes = record.encode();
        assert_eq!(Record::decode(&bytes), Ok(record));
        bytes
    }

    fn samples(mut each: impl FnMut(Record<'_>)) {
        let keywords = BTreeSet::from([Keyword::new("$Forwarded").unwrap(), Keyword::new("Junk").unwrap()]);
        let inbox = Target {
            account: "alice@example.test",
            mailbox: "INBOX",
            base: "1795502247.L100N0.mx,S=5,W=6",
            recipient: "Alice+tag@example.test",
            system: System::SEEN,
            keywords: Keywords::new(&keywords),
            date: Stamp { seconds: -1, zone: -90 },
            uid_validity: 7,
            uid_upto: u32::MAX,
            mod_seq_upto: u64::MAX,
        };
        let targets = [inbox, Target { account: "bob@example.test", mailbox: "Entwürfe/été", keywords: Keywords::NONE, ..inbox }];
        let trace = Trace { helo: "client", peer: "192.0.2.1", with: "ESMTPSA", login: "bob@example.test", eight_bit: true, utf8: false };
        let accept = Accept {
            id: 1 << 40,
            stamp: Stamp::utc(1_795_502_247),
            sender: Some("bob@example.test"),
            trace: Some(trace),
            targets: Targets::new(&targets),
            wire_size: 6,
            content: Content::Inline(b"text\n"),
        };
        each(Record::Accept(accept));
        each(Record::Accept(Accept { sender: None, trace: None, content: Content::Large { id: 5, size: 1 << 33 }, ..accept }));
        each(Record::Accept(Accept { targets: Targets::new(&[]), content: Content::Inline(b""), ..accept }));
        each(Record::Gone(Gone { account: "alice@example.test", mailbox: "INBOX", bases: Bases::new(&[b"a", b"", b"\xff"]) }));
        each(Record::Renamed { account: "alice@example.test", from: "a", to: "b/c" });
        each(Record::Removed { account: "alice@example.test", mailbox: "a" });
    }

    #[test]
    fn records_come_back() {
        samples(|record| drop(round(record)));
    }

    #[test]
    fn every_prefix_and_every_flipped_bit_is_survived() {
        samples(|record| {
            let bytes = round(record);
            for end in 0..bytes.len() {
                let _ = Record::decode(&bytes[..end]);
            }
            for bit in 0..bytes.len() * 8 {
                let mut torn = bytes.clone();
                torn[bit / 8] ^= 1 << (bit % 8);
                if let Ok(Record::Accept(accept)) = Record::decode(&torn) {
                    accept.targets.iter().for_each(|t| drop(t.flags()));
                }
            }
        });
    }

    #[test]
    fn later_versions_may_say_more() {
        samples(|record| {
            let mut bytes = record.encode();
            bytes.extend_from_slice(&[99, 3, 0, 0, 0, 1, 2, 3]);
            assert_eq!(Record::decode(&bytes), Ok(record));
        });
        assert_eq!(Record::decode(&[0x7f, 1]), Ok(Record::Unknown { kind: 0x7f, skip: false }));
        assert_eq!(Record::decode(&[0x80]), Ok(Record::Unknown { kind: 0x80, skip: true }));
        assert_eq!(Record::decode(&[]), Err(NotRecord::Short));
        assert_eq!(Record::decode(&[GONE]), Err(NotRecord::Missing));
    }

    #[test]
    #[should_panic(expected = "over its limit")]
    fn a_wrong_caller_panics() {
        let long = vec![b'x'; NAME_MAX + 1];
        Gone { account: "a", mailbox: "b", bases: Bases::new(&[&long]) }.encode();
    }
}
