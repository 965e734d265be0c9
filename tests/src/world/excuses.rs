//! What the books allow besides the promise itself, and why: a message that its owner took away need not be there, one that a crash brought back may be, and
//! a damaged record may be missing. Nothing else.

use super::{
    books::{Books, Taken},
    plan::USERS,
    pranks::{Move, Moved},
    rot::What,
};
use std::ops::RangeInclusive;

/// So soon the log knows what another program took away: about a second after the house was looked after.
const NOTICED_MS: u64 = 5000;

/// So long after a checkpoint has made it durable what lies beside a Maildir.
const DURABLE_MS: u64 = 6 * 60_000;

/// So soon after something went wrong a house is as before.
pub const MENDED_MS: u64 = 90_000;

/// So soon the log has what could not be written to it.
const RETRIED_MS: u64 = 5000;

/// A time during which a mailbox cannot be used.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    /// In which house.
    pub host: usize,
    /// Whose.
    pub user: &'static str,
    /// Whether it is walled off; if not, another program has to put it right.
    pub is_walled: bool,
    /// From when.
    pub from: u64,
    /// Until when.
    pub to: u64,
}

impl Books {
    /// How often a message may be in a mailbox that it was meant for.
    pub fn copies(&self, t: &Taken, user: &str) -> RangeInclusive<usize> {
        let (mut least, mut most) = (1, 1);
        if self.is_damaged(t.host, &t.id) {
            least = 0;
        }
        let moves: Vec<&Move> = self.moves_of(t, user).collect();
        let mut away = None;
        for one in &moves {
            match one.what {
                Moved::Removed | Moved::Made => {}
                Moved::Away => away = Some(one),
                Moved::Back => {
                    if away.take().is_some_and(|from| self.may_be_twice(from, one.at)) {
                        most += 1;
                    }
                }
            }
        }
        if self.was_cut(t, user) {
            least = 0;
        }
        for one in moves.iter().filter(|one| one.what == Moved::Removed) {
            least = 0;
            if !self.may_come_back(one) {
                most = usize::max(most, 1) - 1;
            }
        }
        least..=most
    }

    /// Whether a power cut met a message while its owner had it put away, or soon after: nobody vouched for what lies there.
    pub fn was_cut(&self, t: &Taken, user: &str) -> bool {
        let last = self.moves_of(t, user).filter(|one| one.what != Moved::Removed).map(|one| one.at).max();
        last.is_some_and(|last| self.crashes.iter().any(|c| c.host == t.host && c.is_cut && c.at >= t.at && c.at <= last + DURABLE_MS))
    }

    fn moves_of<'a>(&'a self, t: &'a Taken, user: &'a str) -> impl Iterator<Item = &'a Move> {
        self.moves.iter().filter(move |one| one.host == t.host && one.user == user && one.id == t.id)
    }

    /// Whether a message that was put away may have been delivered again meanwhile: with its directory, it is what cannot be used, and done again.
    fn may_be_twice(&self, from: &Move, back: u64) -> bool {
        let with_all = |s: &Span| (s.host, s.user) == (from.host, from.user) && !s.is_walled && (s.from..=s.to).contains(&from.at);
        self.spans.iter().any(with_all)
            || self.crashes.iter().any(|c| c.host == from.host && c.at <= back + NOTICED_MS && self.forgets(from, c.at))
            || !from.is_up
    }

    /// Whether a message that was removed may have been delivered again: also in a mailbox that nobody can use, what is owed to it is delivered afterwards.
    fn may_come_back(&self, gone: &Move) -> bool {
        let is_aside = |s: &Span| (s.host, s.user) == (gone.host, gone.user) && (s.from..=s.to + MENDED_MS).contains(&gone.at);
        !gone.is_up || self.spans.iter().any(is_aside) || self.crashes.iter().any(|c| c.host == gone.host && self.forgets(gone, c.at))
    }

    /// Whether a house that fell then may not have known that another program took this message.
    fn forgets(&self, taken: &Move, fell: u64) -> bool {
        let missed = |what: &What| matches!(what, What::Missed | What::Other);
        fell >= taken.at
            && (fell <= taken.at + NOTICED_MS
                || self.was_pained(taken.host, taken.at.saturating_sub(MENDED_MS), fell)
                || self.spans.iter().any(|s| (s.host, s.user) == (taken.host, taken.user) && s.from <= fell && s.to >= taken.at)
                || self.rotten.iter().any(|(host, at)| *host == taken.host && *at >= taken.at)
                || self.lost.iter().any(|lost| lost.host == taken.host && lost.at >= taken.at && missed(&lost.what)))
    }

    /// Whether the record of a message was damaged, or that of the report on it.
    pub fn is_damaged(&self, host: usize, id: &str) -> bool {
        self.lost
            .iter()
            .any(|lost| lost.host == host && matches!(&lost.what, What::Message(m, about) if m == id || about.as_deref() == Some(id)))
    }

    /// Whether what became of a message may have been forgotten because a record was damaged.
    pub fn is_forgotten(&self, host: usize, id: &str) -> bool {
        self.is_damaged(host, id) || self.lost.iter().any(|lost| lost.host == host && matches!(&lost.what, What::News(m) if m == id))
    }

    /// Whether a house may have forgotten at its fall what it heard at that time, because something went wrong in between.
    pub fn was_late(&self, host: usize, heard: u64, fell: u64) -> bool {
        self.was_pained(host, heard.max(fell.saturating_sub(RETRIED_MS)), fell)
    }

    /// Whether something went wrong in a house at that time.
    pub fn was_pained(&self, host: usize, from: u64, to: u64) -> bool {
        self.pains.iter().any(|(h, at)| *h == host && (from..=to).contains(at))
    }

    /// Whether there is a reason for a house not to take mail for one of these accounts then.
    pub fn may_refuse(&self, host: usize, users: impl Iterator<Item = impl AsRef<str>>, at: u64) -> bool {
        let is_aside =
            |user: &str| self.spans.iter().any(|s| s.host == host && s.user == user && (s.from..=s.to + MENDED_MS).contains(&at));
        self.was_pained(host, at.saturating_sub(MENDED_MS), at) || users.into_iter().any(|user| is_aside(user.as_ref()))
    }

    /// A mailbox cannot be used from now on.
    pub fn begin(&mut self, host: usize, user: &'static str, is_walled: bool, at: u64) {
        self.spans.push(Span { host, user, is_walled, from: at, to: u64::MAX - MENDED_MS });
    }

    /// What another program did to somebody's mailbox is put right; of nobody's, all walls of the house are gone.
    pub fn end(&mut self, host: usize, user: Option<&str>, at: u64) {
        let ends = |s: &Span| s.host == host && s.to > at && user.map_or(s.is_walled, |user| !s.is_walled && s.user == user);
        self.spans.iter_mut().filter(|span| ends(span)).for_each(|span| span.to = at);
    }

    /// The power was cut: what another program put right in a mailbox may be as it was.
    pub fn undo(&mut self, host: usize, at: u64) {
        for user in USERS {
            let recent = |s: &Span| !s.is_walled && s.host == host && s.user == user && s.to < at && at <= s.to + DURABLE_MS;
            if self.spans.iter().any(recent) {
                self.begin(host, user, false, at);
            }
        }
    }
}
