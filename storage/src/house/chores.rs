//! What a house does about once a second, and nobody waits for.

use super::House;
use crate::supervise::guarded;
use std::sync::{Arc, MutexGuard, PoisonError};

/// Live log from which on a checkpoint is due: so much is read again after a crash.
const CHECKPOINT_BYTES: u64 = 64 << 20;

/// The longest a checkpoint is put off while there is something in the log: large messages take room until then.
const CHECKPOINT_AFTER_MS: u64 = 300_000;

/// How long a delivery that failed rests.
const DELIVER_AGAIN_AFTER_MS: u64 = 30_000;

/// When chores were last done that are not done every second, in monotonic milliseconds.
pub(super) struct Rounds {
    pub(super) checkpoint: u64,
    /// What the log kept then.
    pub(super) kept: u64,
    pub(super) deliver_again: u64,
}

impl House {
    /// Looks after what needs it from time to time. Call it about once a second where blocking is allowed; nobody is kept waiting meanwhile.
    pub fn chores(self: &Arc<House>) {
        if guarded("log", || self.spool.look_at_fence().is_err()) == Some(true) {
            guarded("log", || self.leave_the_store());
            return;
        }
        // Each by itself: one that panics is done again the next time, and keeps no other from being done now.
        guarded("accounts", || self.look_at_accounts());
        guarded("log", || {
            if let Err(error) = self.spool.flush() {
                tracing::warn!(%error, "the log lags behind");
            }
            if let Err(error) = self.spool.vouch() {
                tracing::warn!(%error, "the log cannot be written to");
            }
            if let Err(error) = self.spool.prepare() {
                tracing::warn!(%error, "no spare segment for the log");
            }
        });
        guarded("checkpoint", || self.checkpoint_if_due());
        guarded("delivery", || {
            let now = self.clock.ms();
            let mut rounds = self.rounds();
            if now.saturating_sub(rounds.deliver_again) >= DELIVER_AGAIN_AFTER_MS {
                rounds.deliver_again = now;
                drop(rounds);
                self.deliver_again();
                if self.mailboxes.want_checkpoint()
                    && let Err(error) = self.checkpoint()
                {
                    tracing::error!(%error, "no checkpoint: the log keeps what it has");
                }
            }
        });
        guarded("times", || {
            if self.times().are_old(self.queue_ms(), self.outgoing.waits()) {
                self.keep_times();
            }
        });
        guarded("mailboxes", || self.mailboxes.chores());
        guarded("missed", || {
            if let Err(error) = self.note_missed() {
                tracing::warn!(%error, "the log does not know yet what other programs removed");
            }
        });
        guarded("story", || {
            if let Err(error) = self.write_story() {
                tracing::warn!(%error, "the story of what happened is not written");
            }
        });
        guarded("garbage", || {
            if let Err(error) = self.spool.garbage().and_then(|_| self.depot.garbage()) {
                tracing::warn!(%error, "the spool cannot be cleaned");
            }
        });
    }

    fn checkpoint_if_due(&self) {
        let (live, now) = (self.spool.live_bytes(), self.clock.ms());
        // A long queue makes checkpoints dear, but the log has its limit.
        let due = (self.depot.snapshot_bytes() * 2).clamp(CHECKPOINT_BYTES, CHECKPOINT_BYTES * 4);
        let mut rounds = self.rounds();
        if live < rounds.kept + due && (live == 0 || now.saturating_sub(rounds.checkpoint) < CHECKPOINT_AFTER_MS) {
            return;
        }
        // Also if it panics: it is not tried again and again.
        (rounds.checkpoint, rounds.kept) = (now, live);
        drop(rounds);
        match self.checkpoint() {
            Ok(()) => tracing::debug!(bytes = live, "checkpoint"),
            Err(error) => tracing::error!(%error, "no checkpoint: the log keeps what it has"),
        }
        let mut rounds = self.rounds();
        (rounds.checkpoint, rounds.kept) = (self.clock.ms(), self.spool.live_bytes());
    }

    fn rounds(&self) -> MutexGuard<'_, Rounds> {
        self.rounds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
