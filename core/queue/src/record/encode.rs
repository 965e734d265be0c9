//! A record to bytes.

use super::{
    ACCEPT, Accept, BACK, Content, Doing, Dropped, GONE, Gone, MISSED, NAMED, NOT_NAMED, REMOVED, REMOVING, RENAMED, RENAMING, Record,
    STILL_REMOVING, STILL_RENAMING, TAKEN, Target, Traits, Wishes, encode_leave as leave, tag,
};
use crate::{
    limits::{ADDRESS_MAX, BASES_MAX, KEYWORDS_MAX, NAME_MAX, REMOTES_MAX, TARGETS_MAX},
    wire::{put_bytes, put_field},
};
use alloc::vec::Vec;
use mail::Stamp;

impl Accept<'_> {
    /// All of the record but its inline content, which follows as it is: what to write is `[&head, content]`. So a message is not copied
    /// to make a record of it.
    ///
    /// # Panics
    /// If a name or a list is over its limit, or the content is 4 GiB or more.
    pub fn head(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        out.push(ACCEPT);
        put_field(&mut out, tag::ID, |out| out.extend_from_slice(&self.id.to_le_bytes()));
        put_field(&mut out, tag::STAMP, |out| put_stamp(out, self.stamp));
        if let Some(sender) = self.sender {
            put_field(&mut out, tag::SENDER, |out| put_bytes(out, sender.as_bytes(), ADDRESS_MAX));
        }
        if let Some(trace) = self.trace {
            put_field(&mut out, tag::TRACE, |out| {
                for text in [trace.helo, trace.peer, trace.with, trace.login] {
                    put_bytes(out, text.as_bytes(), ADDRESS_MAX);
                }
                out.push(u8::from(trace.eight_bit) | u8::from(trace.utf8) << 1);
            });
        }
        let mut count = 0;
        for target in self.targets.iter() {
            count += 1;
            put_field(&mut out, tag::TARGET, |out| put_target(out, &target));
        }
        assert!(count <= TARGETS_MAX, "targets over their limit");
        let mut count = 0;
        for remote in self.remotes.iter() {
            count += 1;
            put_field(&mut out, tag::REMOTE, |out| leave::put_remote(out, &remote));
        }
        assert!(count <= REMOTES_MAX, "remote recipients over their limit");
        if self.wishes != Wishes::default() {
            put_field(&mut out, tag::WISHES, |out| leave::put_wishes(out, &self.wishes));
        }
        if let Some(file) = self.file {
            put_field(&mut out, tag::FILE, |out| put_file(out, &file));
        }
        if let Some(settles) = self.settles {
            put_field(&mut out, tag::SETTLES, |out| leave::put_settles(out, &settles));
        }
        if self.traits != Traits::default() {
            put_field(&mut out, tag::TRAITS, |out| out.push(self.traits.0));
        }
        put_field(&mut out, tag::WIRE_SIZE, |out| out.extend_from_slice(&self.wire_size.to_le_bytes()));
        match self.content {
            Content::Inline(bytes) => {
                out.push(tag::INLINE);
                out.extend_from_slice(&u32::try_from(bytes.len()).expect("an inline message over its limit").to_le_bytes());
            }
            Content::Large { id, size, sum } => put_field(&mut out, tag::LARGE, |out| {
                out.extend_from_slice(&id.to_le_bytes());
                out.extend_from_slice(&size.to_le_bytes());
                out.extend(sum.iter().flat_map(|sum| sum.to_le_bytes()));
            }),
        }
        out
    }
}

impl Gone<'_> {
    /// The record as bytes.
    ///
    /// # Panics
    /// If a name or the list is over its limit.
    pub fn encode(&self) -> Vec<u8> {
        self.encode_as(GONE)
    }

    fn encode_as(&self, kind: u8) -> Vec<u8> {
        let mut out = Vec::new();
        out.push(kind);
        put_place(&mut out, self.account, self.mailbox);
        let mut count = 0;
        for base in self.bases.iter() {
            count += 1;
            assert!(base.len() <= NAME_MAX, "a name over its limit");
            put_field(&mut out, tag::BASE, |out| out.extend_from_slice(base));
        }
        assert!(count <= BASES_MAX, "names over their limit");
        if let Some(bounds) = self.bounds {
            put_field(&mut out, tag::BOUNDS, |out| {
                out.extend_from_slice(&bounds.uid_validity.to_le_bytes());
                out.extend_from_slice(&bounds.uid_upto.to_le_bytes());
                out.extend_from_slice(&bounds.mod_seq_upto.to_le_bytes());
            });
        }
        out
    }
}

impl Record<'_> {
    /// The record as bytes, content included. To write a message, prefer [`Accept::head`].
    ///
    /// # Panics
    /// If something is over its limit; if it is of an unknown kind.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Record::Accept(accept) => {
                let mut out = accept.head();
                if let Content::Inline(bytes) = accept.content {
                    out.extend_from_slice(bytes);
                }
                out
            }
            Record::Gone(gone) => gone.encode(),
            Record::Missed(gone) => gone.encode_as(MISSED),
            Record::Back(gone) => gone.encode_as(BACK),
            Record::Renamed { account, from, to, doing } => {
                let mut out = Vec::new();
                out.push(match doing {
                    Doing::Done => RENAMED,
                    Doing::Next => RENAMING,
                    Doing::Still => STILL_RENAMING,
                });
                put_place(&mut out, account, from);
                put_field(&mut out, tag::TO, |out| put_bytes(out, to.as_bytes(), NAME_MAX));
                out
            }
            Record::Removed { account, mailbox, doing } => {
                let mut out = Vec::new();
                out.push(match doing {
                    Doing::Done => REMOVED,
                    Doing::Next => REMOVING,
                    Doing::Still => STILL_REMOVING,
                });
                put_place(&mut out, account, mailbox);
                out
            }
            Record::NotNamed { account } | Record::Named { account } => {
                let mut out = Vec::new();
                out.push(if matches!(self, Record::Named { .. }) { NAMED } else { NOT_NAMED });
                put_place(&mut out, account, "");
                out
            }
            Record::Tried(tried) => tried.encode(),
            Record::Changed(changed) => changed.encode(),
            Record::Warned(warned) => warned.encode(),
            Record::Taken { file } => {
                let mut out = Vec::new();
                out.push(TAKEN);
                put_field(&mut out, tag::FILE, |out| put_file(out, file));
                out
            }
            Record::Unknown { .. } => panic!("nobody can write what nobody knows"),
        }
    }
}

fn put_file(out: &mut Vec<u8>, file: &Dropped<'_>) {
    put_bytes(out, file.name.as_bytes(), NAME_MAX);
    if let Some(mark) = file.mark {
        out.extend_from_slice(&mark.inode.to_le_bytes());
        out.extend_from_slice(&mark.size.to_le_bytes());
        out.extend_from_slice(&mark.modified_ns.to_le_bytes());
    }
}

fn put_place(out: &mut Vec<u8>, account: &str, mailbox: &str) {
    put_field(out, tag::PLACE, |out| {
        put_bytes(out, account.as_bytes(), NAME_MAX);
        put_bytes(out, mailbox.as_bytes(), NAME_MAX);
    });
}

pub(super) fn put_stamp(out: &mut Vec<u8>, stamp: Stamp) {
    out.extend_from_slice(&stamp.seconds.to_le_bytes());
    out.extend_from_slice(&stamp.zone.to_le_bytes());
}

fn put_target(out: &mut Vec<u8>, target: &Target<'_>) {
    for (text, max) in [(target.account, NAME_MAX), (target.mailbox, NAME_MAX), (target.base, NAME_MAX), (target.recipient, ADDRESS_MAX)] {
        put_bytes(out, text.as_bytes(), max);
    }
    out.push(target.system.0);
    put_stamp(out, target.date);
    out.extend_from_slice(&target.uid_validity.to_le_bytes());
    out.extend_from_slice(&target.uid_upto.to_le_bytes());
    out.extend_from_slice(&target.mod_seq_upto.to_le_bytes());
    let mut keywords = Vec::new();
    let mut count = 0;
    for keyword in target.keywords.iter() {
        count += 1;
        put_bytes(&mut keywords, keyword.as_bytes(), mail::Keyword::MAX);
    }
    assert!(count <= KEYWORDS_MAX, "keywords over their limit");
    put_bytes(out, &keywords, usize::from(u16::MAX));
}
