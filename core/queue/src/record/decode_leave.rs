//! What records say of mail that leaves, from bytes.

use super::{
    Attempt, Attempts, Change, Changed, Fate, Indexes, NotRecord, Remote, Settles, Tells, Tried, Warned, Wishes,
    decode::{field, stamp},
    tag,
};
use crate::{
    limits::{ADDRESS_MAX, REMOTES_MAX, REPLY_MAX, SITE_MAX, WORDS_MAX},
    wire::Cursor,
};
use mail::{By, Notify, Ret};

pub(super) fn tried<'a>(mut rest: Cursor<'a>) -> Result<Tried<'a>, NotRecord> {
    let all = rest.0;
    let (mut id, mut at_ms, mut host, mut tls, mut count) = (None, None, "", "", 0);
    while !rest.is_empty() {
        match field(&mut rest)? {
            (tag::ID, mut body) => id = Some(body.u64()?),
            (tag::AT, mut body) => at_ms = Some(body.u64()?),
            (tag::PEER, mut body) => (host, tls) = (body.text(WORDS_MAX)?, body.text(WORDS_MAX)?),
            (tag::ATTEMPT, body) => {
                count += 1;
                attempt(body)?;
            }
            _ => {}
        }
    }
    if count > REMOTES_MAX {
        return Err(NotRecord::Limit);
    }
    let (id, at_ms) = (id.ok_or(NotRecord::Missing)?, at_ms.ok_or(NotRecord::Missing)?);
    Ok(Tried { id, at_ms, host, tls, attempts: Attempts::read(all) })
}

pub(super) fn changed<'a>(mut rest: Cursor<'a>) -> Result<Changed<'a>, NotRecord> {
    let (mut id, mut at_ms, mut seen) = (None, None, None);
    while !rest.is_empty() {
        match field(&mut rest)? {
            (tag::ID, mut body) => id = Some(body.u64()?),
            (tag::AT, mut body) => at_ms = Some(body.u64()?),
            (tag::CHANGE, mut body) => {
                seen = Some(match body.u8()? {
                    1 => Change::Hold,
                    2 => Change::Release,
                    3 => Change::Cancel,
                    4 => Change::Retry,
                    5 => Change::Reroute(body.text(SITE_MAX)?),
                    6 => Change::At(body.u64()?),
                    7 => Change::GiveUp(body.u64()?),
                    _ => return Err(NotRecord::Missing),
                });
            }
            _ => {}
        }
    }
    let (id, at_ms) = (id.ok_or(NotRecord::Missing)?, at_ms.ok_or(NotRecord::Missing)?);
    Ok(Changed { id, at_ms, change: seen.ok_or(NotRecord::Missing)? })
}

pub(super) fn warned(mut rest: Cursor<'_>) -> Result<Warned, NotRecord> {
    let (mut id, mut at_ms) = (None, None);
    while !rest.is_empty() {
        match field(&mut rest)? {
            (tag::ID, mut body) => id = Some(body.u64()?),
            (tag::AT, mut body) => at_ms = Some(body.u64()?),
            _ => {}
        }
    }
    Ok(Warned { id: id.ok_or(NotRecord::Missing)?, at_ms: at_ms.ok_or(NotRecord::Missing)? })
}

pub(super) fn remote<'a>(mut body: Cursor<'a>) -> Result<Remote<'a>, NotRecord> {
    let notify = Notify(body.u8()?);
    let recipient = body.text(ADDRESS_MAX)?;
    let bits = body.u8()?;
    let mut text = |bit: u8, max| if bits & bit != 0 { body.text(max).map(Some) } else { Ok(None) };
    let (original, route, sender) = (text(1, WORDS_MAX)?, text(2, SITE_MAX)?, text(4, ADDRESS_MAX)?);
    Ok(Remote { recipient, notify, original, route, sender })
}

pub(super) fn wishes<'a>(mut body: Cursor<'a>) -> Result<Wishes<'a>, NotRecord> {
    let priority = body.u8()? as i8;
    let ret = match body.u8()? {
        1 => Some(Ret::Full),
        2 => Some(Ret::Headers),
        _ => None,
    };
    let bits = body.u8()?;
    let envid = if bits & 2 != 0 { Some(body.text(WORDS_MAX)?) } else { None };
    let hold_until = if bits & 4 != 0 { Some(stamp(&mut body)?) } else { None };
    let by = if bits & 8 != 0 { Some(By { at: stamp(&mut body)?, or_return: bits & 16 != 0, trace: bits & 32 != 0 }) } else { None };
    Ok(Wishes { ret, envid, by, hold_until, priority, require_tls: bits & 1 != 0 })
}

pub(super) fn settles<'a>(mut body: Cursor<'a>) -> Result<Settles<'a>, NotRecord> {
    let id = body.u64()?;
    let tells = match body.u8()? {
        1 => Tells::End,
        2 => Tells::Delay,
        _ => return Err(NotRecord::Missing),
    };
    let count = usize::from(body.u16()?);
    if count > REMOTES_MAX {
        return Err(NotRecord::Limit);
    }
    Ok(Settles { id, recipients: Indexes::read(body.take(count * 2)?), tells })
}

pub(super) fn attempt<'a>(mut body: Cursor<'a>) -> Result<Attempt<'a>, NotRecord> {
    let recipient = body.u16()?;
    let fate = match body.u8()? {
        1 => Fate::Delivered,
        2 => Fate::Relayed,
        3 => Fate::Expanded,
        4 => Fate::Failed,
        5 => Fate::Owed,
        6 => Fate::Later { attempts: body.u16()?, next_ms: body.u64()? },
        _ => return Err(NotRecord::Missing),
    };
    Ok(Attempt { recipient, fate, code: body.u16()?, reply: body.text(REPLY_MAX)? })
}
