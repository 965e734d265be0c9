//! Bytes to a record. They passed a checksum, but a checksum is no proof of anything: whatever they are, this gives a record or says why not.

use super::{
    ACCEPT, Accept, BACK, Bases, CHANGED, Content, Doing, Dropped, FileMark, GONE, Gone, Keywords, MISSED, NAMED, NOT_NAMED, NotRecord,
    REMOVED, REMOVING, RENAMED, RENAMING, Record, Remotes, Reserved, SKIP, STILL_REMOVING, STILL_RENAMING, TAKEN, TRIED, Target, Targets,
    Trace, Traits, WARNED, Wishes, decode_leave as leave, tag,
};
use crate::{
    limits::{ADDRESS_MAX, BASES_MAX, KEYWORDS_MAX, NAME_MAX, REMOTES_MAX, TARGETS_MAX},
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
            MISSED => gone(rest).map(Record::Missed),
            BACK => gone(rest).map(Record::Back),
            kind @ (RENAMED | RENAMING | STILL_RENAMING) => {
                let (mut place_seen, mut to_seen) = (None, None);
                while !rest.is_empty() {
                    match field(&mut rest)? {
                        (tag::PLACE, body) => place_seen = Some(place(body)?),
                        (tag::TO, mut body) => to_seen = Some(body.text(NAME_MAX)?),
                        _ => {}
                    }
                }
                let (account, from) = place_seen.ok_or(NotRecord::Missing)?;
                let doing = match kind {
                    RENAMED => Doing::Done,
                    RENAMING => Doing::Next,
                    _ => Doing::Still,
                };
                Ok(Record::Renamed { account, from, to: to_seen.ok_or(NotRecord::Missing)?, doing })
            }
            kind @ (REMOVED | REMOVING | STILL_REMOVING | NOT_NAMED | NAMED) => {
                let mut seen = None;
                while !rest.is_empty() {
                    if let (tag::PLACE, body) = field(&mut rest)? {
                        seen = Some(place(body)?);
                    }
                }
                let (account, mailbox) = seen.ok_or(NotRecord::Missing)?;
                Ok(match kind {
                    NOT_NAMED => Record::NotNamed { account },
                    NAMED => Record::Named { account },
                    REMOVED => Record::Removed { account, mailbox, doing: Doing::Done },
                    REMOVING => Record::Removed { account, mailbox, doing: Doing::Next },
                    _ => Record::Removed { account, mailbox, doing: Doing::Still },
                })
            }
            TRIED => leave::tried(rest).map(Record::Tried),
            CHANGED => leave::changed(rest).map(Record::Changed),
            WARNED => leave::warned(rest).map(Record::Warned),
            TAKEN => {
                let mut seen = None;
                while !rest.is_empty() {
                    if let (tag::FILE, body) = field(&mut rest)? {
                        seen = Some(dropped(body)?);
                    }
                }
                Ok(Record::Taken { file: seen.ok_or(NotRecord::Missing)? })
            }
            kind => Ok(Record::Unknown { kind, skip: kind & SKIP != 0 }),
        }
    }
}

fn accept<'a>(mut rest: Cursor<'a>) -> Result<Accept<'a>, NotRecord> {
    let all = rest.0;
    let (mut id, mut stamp_seen, mut sender, mut trace_seen, mut wire_size, mut content) = (None, None, None, None, None, None);
    let (mut wishes, mut file, mut settles, mut traits) = (Wishes::default(), None, None, Traits::default());
    let (mut targets, mut remotes) = (0, 0);
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
            tag::REMOTE => {
                remotes += 1;
                leave::remote(body)?;
            }
            tag::WISHES => wishes = leave::wishes(body)?,
            tag::FILE => file = Some(dropped(body)?),
            tag::SETTLES => settles = Some(leave::settles(body)?),
            tag::TRAITS => traits = Traits(body.u8()?),
            tag::WIRE_SIZE => wire_size = Some(body.u64()?),
            tag::LARGE => {
                let (id, size) = (body.u64()?, body.u64()?);
                content = Some(Content::Large { id, size, sum: if body.is_empty() { None } else { Some(body.u32()?) } });
            }
            tag::INLINE => content = Some(Content::Inline(body.0)),
            _ => {}
        }
    }
    if targets > TARGETS_MAX || remotes > REMOTES_MAX {
        return Err(NotRecord::Limit);
    }
    Ok(Accept {
        id: id.ok_or(NotRecord::Missing)?,
        stamp: stamp_seen.ok_or(NotRecord::Missing)?,
        sender,
        trace: trace_seen,
        targets: Targets::read(all),
        remotes: Remotes::read(all),
        wishes,
        file,
        settles,
        traits,
        wire_size: wire_size.ok_or(NotRecord::Missing)?,
        content: content.ok_or(NotRecord::Missing)?,
    })
}

fn gone<'a>(mut rest: Cursor<'a>) -> Result<Gone<'a>, NotRecord> {
    let all = rest.0;
    let mut seen = None;
    let mut bases = 0;
    let mut bounds = None;
    while !rest.is_empty() {
        match field(&mut rest)? {
            (tag::PLACE, body) => seen = Some(place(body)?),
            (tag::BASE, body) if body.0.len() > NAME_MAX => return Err(NotRecord::Limit),
            (tag::BASE, _) => bases += 1,
            (tag::BOUNDS, mut body) => {
                bounds = Some(Reserved { uid_validity: body.u32()?, uid_upto: body.u32()?, mod_seq_upto: body.u64()? });
            }
            _ => {}
        }
    }
    if bases > BASES_MAX {
        return Err(NotRecord::Limit);
    }
    let (account, mailbox) = seen.ok_or(NotRecord::Missing)?;
    Ok(Gone { account, mailbox, bases: Bases::read(all), bounds })
}

pub(super) fn field<'a>(rest: &mut Cursor<'a>) -> Result<(u8, Cursor<'a>), NotRecord> {
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

fn dropped<'a>(mut body: Cursor<'a>) -> Result<Dropped<'a>, NotRecord> {
    let name = body.text(NAME_MAX)?;
    let mark = |body: &mut Cursor<'_>| Ok(FileMark { inode: body.u64()?, size: body.u64()?, modified_ns: body.i64()? });
    Ok(Dropped { name, mark: if body.is_empty() { None } else { Some(mark(&mut body)?) } })
}

fn place<'a>(mut body: Cursor<'a>) -> Result<(&'a str, &'a str), NotRecord> {
    Ok((body.text(NAME_MAX)?, body.text(NAME_MAX)?))
}

pub(super) fn stamp(body: &mut Cursor<'_>) -> Result<Stamp, NotRecord> {
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
