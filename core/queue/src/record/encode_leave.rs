//! What records say of mail that leaves, to bytes.

use super::{
    Attempt, CHANGED, Change, Changed, Fate, Remote, Settles, TRIED, Tells, Tried, WARNED, Warned, Wishes, encode::put_stamp, tag,
};
use crate::{
    limits::{ADDRESS_MAX, REMOTES_MAX, REPLY_MAX, SITE_MAX, WORDS_MAX},
    wire::{put_bytes, put_field},
};
use alloc::vec::Vec;
use mail::Ret;

impl Tried<'_> {
    /// The record as bytes.
    ///
    /// # Panics
    /// If a list or a text other than a reply is over its limit.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = begin(TRIED, self.id, self.at_ms);
        if !(self.host.is_empty() && self.tls.is_empty()) {
            put_field(&mut out, tag::PEER, |out| {
                put_bytes(out, self.host.as_bytes(), WORDS_MAX);
                put_bytes(out, self.tls.as_bytes(), WORDS_MAX);
            });
        }
        let mut count = 0;
        for attempt in self.attempts.iter() {
            count += 1;
            put_field(&mut out, tag::ATTEMPT, |out| put_attempt(out, &attempt));
        }
        assert!(count <= REMOTES_MAX, "attempts over their limit");
        out
    }
}

impl Changed<'_> {
    /// The record as bytes.
    ///
    /// # Panics
    /// If the name of a next hop is over its limit.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = begin(CHANGED, self.id, self.at_ms);
        put_field(&mut out, tag::CHANGE, |out| match self.change {
            Change::Hold => out.push(1),
            Change::Release => out.push(2),
            Change::Cancel => out.push(3),
            Change::Retry => out.push(4),
            Change::Reroute(site) => {
                out.push(5);
                put_bytes(out, site.as_bytes(), SITE_MAX);
            }
            Change::At(ms) => {
                out.push(6);
                out.extend_from_slice(&ms.to_le_bytes());
            }
            Change::GiveUp(ms) => {
                out.push(7);
                out.extend_from_slice(&ms.to_le_bytes());
            }
        });
        out
    }
}

impl Warned {
    /// The record as bytes.
    pub fn encode(&self) -> Vec<u8> {
        begin(WARNED, self.id, self.at_ms)
    }
}

fn begin(kind: u8, id: u64, at_ms: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    out.push(kind);
    put_field(&mut out, tag::ID, |out| out.extend_from_slice(&id.to_le_bytes()));
    put_field(&mut out, tag::AT, |out| out.extend_from_slice(&at_ms.to_le_bytes()));
    out
}

pub(super) fn put_remote(out: &mut Vec<u8>, remote: &Remote<'_>) {
    out.push(remote.notify.0);
    put_bytes(out, remote.recipient.as_bytes(), ADDRESS_MAX);
    let rest = [(remote.original, WORDS_MAX), (remote.route, SITE_MAX), (remote.sender, ADDRESS_MAX)];
    out.push(rest.iter().enumerate().fold(0, |bits, (n, (text, _))| bits | u8::from(text.is_some()) << n));
    for (text, max) in rest {
        if let Some(text) = text {
            put_bytes(out, text.as_bytes(), max);
        }
    }
}

pub(super) fn put_wishes(out: &mut Vec<u8>, wishes: &Wishes<'_>) {
    out.push(wishes.priority as u8);
    out.push(match wishes.ret {
        None => 0,
        Some(Ret::Full) => 1,
        Some(Ret::Headers) => 2,
    });
    let by = wishes.by;
    out.push(
        u8::from(wishes.require_tls)
            | u8::from(wishes.envid.is_some()) << 1
            | u8::from(wishes.hold_until.is_some()) << 2
            | u8::from(by.is_some()) << 3
            | u8::from(by.is_some_and(|by| by.or_return)) << 4
            | u8::from(by.is_some_and(|by| by.trace)) << 5,
    );
    if let Some(envid) = wishes.envid {
        put_bytes(out, envid.as_bytes(), WORDS_MAX);
    }
    for stamp in [wishes.hold_until, by.map(|by| by.at)].into_iter().flatten() {
        put_stamp(out, stamp);
    }
}

pub(super) fn put_settles(out: &mut Vec<u8>, settles: &Settles<'_>) {
    out.extend_from_slice(&settles.id.to_le_bytes());
    out.push(match settles.tells {
        Tells::End => 1,
        Tells::Delay => 2,
    });
    let at = out.len();
    out.extend_from_slice(&[0; 2]);
    let mut count = 0usize;
    for index in settles.recipients.iter() {
        count += 1;
        out.extend_from_slice(&index.to_le_bytes());
    }
    assert!(count <= REMOTES_MAX, "recipients over their limit");
    out[at..at + 2].copy_from_slice(&(count as u16).to_le_bytes());
}

fn put_attempt(out: &mut Vec<u8>, attempt: &Attempt<'_>) {
    out.extend_from_slice(&attempt.recipient.to_le_bytes());
    let (fate, attempts, next_ms) = match attempt.fate {
        Fate::Delivered => (1, 0, 0),
        Fate::Relayed => (2, 0, 0),
        Fate::Expanded => (3, 0, 0),
        Fate::Failed => (4, 0, 0),
        Fate::Owed => (5, 0, 0),
        Fate::Later { attempts, next_ms } => (6, attempts, next_ms),
    };
    out.push(fate);
    if fate == 6 {
        out.extend_from_slice(&attempts.to_le_bytes());
        out.extend_from_slice(&next_ms.to_le_bytes());
    }
    out.extend_from_slice(&attempt.code.to_le_bytes());
    // Whatever a peer says: what is cut is the end of a long story.
    let end = attempt.reply.floor_char_boundary(REPLY_MAX);
    put_bytes(out, &attempt.reply.as_bytes()[..end], REPLY_MAX);
}
