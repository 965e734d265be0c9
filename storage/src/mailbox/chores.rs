//! What has to be done now and then, with nobody waiting.

use super::{
    account::write_file,
    aside::Until,
    below, limits,
    shelf::Mailboxes,
    state::{CACHE, Life, Locked, Mailbox},
    trouble,
};
use crate::{disk::How, supervise::guarded};
use imap::Refusal;
use maildir::{Blob, Scope, blob_payload};
use std::{io, sync::atomic::Ordering, time::Duration};

/// A mailbox that is too busy to be verified is left alone for that long, and a large one for longer.
const VERIFY_AGAIN: Duration = Duration::from_secs(20);

impl Mailboxes {
    /// Looks after open mailboxes: removes files of removed messages, moves seen ones to `cur/`, looks what other programs did where somebody
    /// watches or where a time stamp may have hidden it, cleans `tmp/`, shortens long files, and lets go of what nobody needs. Call it about once a second.
    pub fn chores(&self) {
        // A call that does not return there costs this thread; others go on, but not where one hangs already, nor where somebody is at work just now.
        let now_s = self.common.now_s();
        let mailboxes = self.all();
        // Where the log has mail, what another program removes must be noticed before a crash brings it back.
        let (round, turns) = (self.common.count() as usize, mailboxes.len().div_ceil(limits::LOOKS).max(1));
        for (i, mailbox) in
            mailboxes.into_iter().enumerate().filter(|(_, mailbox)| !mailbox.rests(now_s) && !mailbox.account.calls.is_late())
        {
            match guarded("mailbox", || mailbox.look_after((i + round) % turns == 0)) {
                Some(Ok(())) => {}
                // Logged where it happened. It would happen again, and nobody is waited for here.
                Some(Err(_)) => mailbox.rest_until(now_s + limits::PANIC_REST_S),
                None => {
                    mailbox.rest_until(now_s + limits::PANIC_REST_S);
                    mailbox.set_aside("looking after it ended in a panic", Until::Settled);
                }
            }
        }
        self.look_at_refused();
        self.empty_trash();
        self.evict();
    }
}

impl Mailbox {
    fn rests(&self, now_s: i64) -> bool {
        // Not longer, whatever the clock does.
        (now_s..=now_s + limits::PANIC_REST_S).contains(&self.rests_until_s.load(Ordering::Relaxed))
    }

    fn rest_until(&self, seconds: i64) {
        self.rests_until_s.store(seconds, Ordering::Relaxed);
    }

    /// `looks` says whether it is its turn to be looked at although nobody watches.
    fn look_after(&self, looks: bool) -> Result<(), Refusal> {
        for _ in 0..limits::ROUND.div_ceil(limits::BATCH) {
            let Some(mut state) = self.awake() else { return Ok(()) };
            if !(state.unlink_some(limits::BATCH)? | state.move_seen(limits::BATCH)?) {
                break;
            }
        }
        let Some(mut state) = self.awake() else { return Ok(()) };
        let is_watched = !self.audience().rings.is_empty();
        if is_watched || (looks && state.dirty) {
            state.refresh(None)?;
        }
        state.verify(false)?;
        state.clean_tmp()?;
        state.shorten()
    }

    /// The mailbox, if it is in memory and nobody has it.
    fn awake(&self) -> Option<Locked<'_>> {
        let slot = self.slot_soon(Duration::ZERO)?;
        matches!(slot.life, Life::Awake(_)).then_some(Locked { mailbox: self, slot })
    }
}

impl Locked<'_> {
    /// Reads directories whose times may hide a change, once they are quiet; not too often, unless `at_once`.
    pub fn verify(&mut self, at_once: bool) -> Result<(), Refusal> {
        if !self.unverified[0] && !self.unverified[1] {
            return Ok(());
        }
        let now = self.common().now_ns();
        let quiet = |known: &Option<i64>| known.is_none_or(|k| (now - i128::from(k)).abs() >= limits::YOUNG_NS);
        // A listing costs about a microsecond a message; spend a thousandth of the time on it.
        let patience = VERIFY_AGAIN.as_nanos() as i128 + self.index.entries().len() as i128 * 1_000_000;
        if self.known.iter().all(quiet) && (at_once || self.listed_ns == 0 || (now - self.listed_ns).abs() >= patience) {
            let scope = if self.unverified[maildir::Place::Cur as usize] { Scope::Both } else { Scope::New };
            self.refresh(Some(scope))?;
        }
        Ok(())
    }

    /// Removes what nobody will finish.
    fn clean_tmp(&mut self) -> Result<(), Refusal> {
        let now = self.common().now_s();
        if (now - self.tmp_looked_s).abs() < limits::TMP_LOOK_S {
            return Ok(());
        }
        self.tmp_looked_s = now;
        let tmp = self.dir().join("tmp");
        let disk = self.disk();
        let mut names = Vec::new();
        match disk.list(&tmp, &mut |name| names.push(name.to_vec())) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(|e| trouble("list", &tmp, &e))?,
        }
        for path in names.iter().map(|name| below(&tmp, name)) {
            let Ok(stat) = disk.stat(&path) else { continue };
            let old = i128::from(now) * 1_000_000_000 - stat.modified_ns > i128::from(limits::TMP_AGE_S) * 1_000_000_000;
            if old && !stat.is_dir {
                match disk.unlink(&path) {
                    Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                    other => other.map_err(|e| trouble("remove", &path, &e))?,
                }
            }
        }
        Ok(())
    }

    /// Writes files anew that are mostly history.
    fn shorten(&mut self) -> Result<(), Refusal> {
        if self.is_long() || self.index_len.is_none() {
            self.log.clear();
            self.write_snapshot().map_err(|e| trouble("write", self.dir(), &e))?;
        }
        let path = self.dir().join(CACHE);
        let len = match self.disk().stat(&path) {
            Ok(stat) if stat.is_file => stat.len,
            // The next structure that is kept takes its place.
            Ok(_) => return Ok(()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(trouble("stat", &path, &e)),
        };
        if len > limits::CACHE_SLACK && len > self.index.cached() * 2 + limits::CACHE_SLACK {
            self.shorten_cache().map_err(|e| trouble("write", &path, &e))?;
        }
        Ok(())
    }

    fn shorten_cache(&mut self) -> io::Result<()> {
        let path = self.dir().join(CACHE);
        let file = self.disk().open_book(&path, How::Read)?;
        let numbering = self.index.uid_validity;
        let mut bytes = Vec::new();
        let mut places = Vec::new();
        for entry in self.index.entries() {
            let Blob { at, len } = entry.facts.blob;
            if len == 0 || len > limits::BLOB {
                continue;
            }
            let start = bytes.len();
            bytes.resize(start + len as usize, 0);
            let got = file.read_at(&mut bytes[start..], at)?;
            if got < len as usize || blob_payload(numbering, entry.uid, &bytes[start..]).is_none() {
                bytes.truncate(start);
                continue;
            }
            places.push((entry.uid, Blob { at: start as u64, len }));
        }
        // If it is lost in a crash, structures are found out again; an old index beside a new cache is noticed by the frames.
        write_file(self.disk(), &path, &bytes, false)?;
        self.index.forget_blobs();
        for (uid, blob) in places {
            let Some(entry) = self.index.entry(uid) else { continue };
            let (bits, facts) = (entry.bits, maildir::Facts { blob, ..entry.facts });
            self.index.apply(&maildir::Record::Facts { uid, bits, facts });
        }
        self.log.clear();
        self.write_snapshot()
    }
}
