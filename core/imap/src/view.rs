//! What a client believes the selected mailbox to be: sequence numbers and UIDs, and what it must still be told.

use crate::{
    office::{Changes, Selected},
    reply::number,
    syntax::SequenceSet,
};
use alloc::vec::Vec;
use core::fmt::Write;
use mail::{Flags, Keyword, MailboxName, ModSeq, System, Uid};
use wire::Outbox;

/// The selected mailbox of a session.
#[derive(Debug)]
pub(crate) struct View {
    pub name: MailboxName,
    /// Whether nothing may be changed.
    pub read_only: bool,
    /// Ascending. A message's sequence number is its index and one.
    uids: Vec<Uid>,
    recent: Vec<Uid>,
    /// Messages that are gone but still have their numbers, because the client was not told (RFC 3501 §7.4.1).
    gone: Vec<Uid>,
    /// Changes of flags that this session made and has answered for.
    told: Vec<(Uid, ModSeq)>,
    /// Those that the client was told of in FLAGS.
    keywords: Vec<Keyword>,
}

/// Messages of a [`View`] in ascending order, as ranges of indexes from and up to (not with).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Chosen(Vec<(usize, usize)>);

impl Chosen {
    /// Whether the message at an index is one of them.
    pub fn has(&self, index: usize) -> bool {
        let behind = self.0.partition_point(|&(from, _)| from <= index);
        behind > 0 && index < self.0[behind - 1].1
    }
}

impl View {
    pub fn new(name: MailboxName, read_only: bool, selected: Selected) -> View {
        let Selected { uids, recent, keywords, .. } = selected;
        View { name, read_only, uids, recent, gone: Vec::new(), told: Vec::new(), keywords }
    }

    /// How many messages the client knows.
    pub fn len(&self) -> usize {
        self.uids.len()
    }

    pub fn recent_len(&self) -> usize {
        self.recent.len()
    }

    /// The sequence number of a message.
    pub fn number(&self, uid: Uid) -> Option<usize> {
        self.uids.binary_search(&uid).ok().map(|index| index + 1)
    }

    /// Whether a message is known to be gone, though the client may not be told yet.
    pub fn is_gone(&self, uid: Uid) -> bool {
        !self.gone.is_empty() && self.gone.binary_search(&uid).is_ok()
    }

    pub fn is_recent(&self, uid: Uid) -> bool {
        !self.recent.is_empty() && self.recent.binary_search(&uid).is_ok()
    }

    /// The messages of a set of sequence numbers. `None` if a number is beyond the last message, which only an empty mailbox forgives,
    /// as clients ask it for `1:*`.
    pub fn by_number(&self, set: &SequenceSet) -> Option<Chosen> {
        let last = self.uids.len() as u64;
        if last > 0 && set.0.iter().any(|&(a, b)| u64::from(a.max(b)) > last) {
            return None;
        }
        Some(self.by_number_where_possible(set))
    }

    /// The messages of a set of sequence numbers; numbers beyond the last message are nobody's.
    pub fn by_number_where_possible(&self, set: &SequenceSet) -> Chosen {
        let last = self.uids.len();
        self.choose(set, |n| if n == SequenceSet::STAR { last } else { n as usize }, |from, to| (from - 1, to.min(last)))
    }

    /// The messages of a set of UIDs. `*` is the last message, so that `n:*` never comes back empty.
    pub fn by_uid(&self, set: &SequenceSet) -> Chosen {
        let last = self.uids.last().map_or(0, |uid| uid.get());
        self.choose(
            set,
            |n| if n == SequenceSet::STAR { last } else { n },
            |from, to| (self.uids.partition_point(|uid| uid.get() < from), self.uids.partition_point(|uid| uid.get() <= to)),
        )
    }

    fn choose<N: Ord + Copy>(&self, set: &SequenceSet, end: impl Fn(u32) -> N, range: impl Fn(N, N) -> (usize, usize)) -> Chosen {
        if self.uids.is_empty() {
            return Chosen::default();
        }
        let mut ranges: Vec<_> =
            set.0.iter().map(|&(a, b)| (end(a), end(b))).map(|(a, b)| range(a.min(b), a.max(b))).filter(|(from, to)| from < to).collect();
        ranges.sort_unstable();
        ranges.dedup_by(|next, last| {
            let touches = next.0 <= last.1;
            if touches {
                last.1 = last.1.max(next.1);
            }
            touches
        });
        Chosen(ranges)
    }

    /// The message at an index.
    pub fn uid(&self, index: usize) -> Uid {
        self.uids[index]
    }

    /// Takes at most `most` messages off the front.
    pub fn take(&self, chosen: &mut Chosen, most: usize) -> Vec<Uid> {
        let mut uids = Vec::new();
        let mut done = 0;
        for (from, to) in &mut chosen.0 {
            let upto = (*to).min(from.saturating_add(most - uids.len()));
            uids.extend_from_slice(&self.uids[*from..upto]);
            *from = upto;
            if upto < *to {
                break;
            }
            done += 1;
        }
        chosen.0.drain(..done);
        uids
    }

    /// This session changed flags and says so itself.
    pub fn tell(&mut self, uid: Uid, mod_seq: ModSeq) {
        self.told.push((uid, mod_seq));
    }

    /// A keyword that the client was not told of calls for a new FLAGS.
    pub fn learn(&mut self, flags: &Flags, tx: &mut Outbox) {
        let before = self.keywords.len();
        for keyword in &flags.keywords {
            if !self.keywords.contains(keyword) {
                self.keywords.push(keyword.clone());
            }
        }
        if self.keywords.len() > before {
            self.print_known(tx);
        }
    }

    /// Prints the flags that there are and those that can be set.
    pub fn print_known(&self, tx: &mut Outbox) {
        let all = |tx: &mut Outbox| {
            for (i, (_, name)) in System::NAMES.iter().enumerate() {
                tx.put(if i == 0 { b"" } else { b" " });
                tx.put(name.as_bytes());
            }
            for keyword in &self.keywords {
                _ = write!(tx, " {keyword}");
            }
        };
        tx.put(b"* FLAGS (");
        all(tx);
        tx.put(b")\r\n");
        if self.read_only {
            tx.put(b"* OK [PERMANENTFLAGS ()] Read-only.\r\n");
        } else {
            tx.put(b"* OK [PERMANENTFLAGS (");
            all(tx);
            tx.put(b" \\*)] Flags permitted.\r\n");
        }
    }

    /// Prints `(...)`.
    pub fn print_flags(&self, uid: Uid, flags: &Flags, tx: &mut Outbox) {
        tx.put(b"(");
        let mut space: &[u8] = b"";
        for (flag, name) in System::NAMES {
            if flags.system.has(flag) {
                tx.put(space);
                tx.put(name.as_bytes());
                space = b" ";
            }
        }
        if self.is_recent(uid) {
            tx.put(space);
            tx.put(b"\\Recent");
            space = b" ";
        }
        for keyword in &flags.keywords {
            tx.put(space);
            tx.put(keyword.as_str().as_bytes());
            space = b" ";
        }
        tx.put(b")");
    }

    /// Takes in what changed and tells the client; messages that are gone only if `expunges`.
    pub fn update(&mut self, changes: Changes, expunges: bool, tx: &mut Outbox) {
        self.gone.extend(changes.gone);
        self.gone.sort_unstable();
        self.gone.dedup();
        if expunges {
            self.expunge(tx);
        }
        let last = self.uids.last().copied();
        let (before, recent) = (self.uids.len(), self.recent.len());
        let is_new = |uid: &Uid| last.is_none_or(|last| *uid > last);
        self.uids.extend(changes.new.into_iter().filter(is_new));
        self.recent.extend(changes.recent.into_iter().filter(is_new));
        if self.uids.len() > before {
            _ = write!(tx, "* {} EXISTS\r\n", self.uids.len());
        }
        if self.recent.len() > recent {
            _ = write!(tx, "* {} RECENT\r\n", self.recent.len());
        }
        let mut told = core::mem::take(&mut self.told);
        told.sort_unstable();
        for (uid, flags, mod_seq) in changes.flags {
            if told.binary_search(&(uid, mod_seq)).is_ok() || self.is_gone(uid) {
                continue;
            }
            if let Some(n) = self.number(uid) {
                self.learn(&flags, tx);
                tx.put(b"* ");
                number(n as u64, tx);
                tx.put(b" FETCH (FLAGS ");
                self.print_flags(uid, &flags, tx);
                tx.put(b")\r\n");
            }
        }
    }

    fn expunge(&mut self, tx: &mut Outbox) {
        if self.gone.is_empty() {
            return;
        }
        let gone = core::mem::take(&mut self.gone);
        let is_gone = |uid: &Uid| gone.binary_search(uid).is_ok();
        let mut n = 0;
        self.uids.retain(|uid| {
            if is_gone(uid) {
                _ = write!(tx, "* {} EXPUNGE\r\n", n + 1);
                false
            } else {
                n += 1;
                true
            }
        });
        self.recent.retain(|uid| !is_gone(uid));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::printed;
    use alloc::{vec, vec::Vec};

    fn uids(numbers: &[u32]) -> Vec<Uid> {
        numbers.iter().map(|&n| Uid::new(n).unwrap()).collect()
    }

    fn view(numbers: &[u32]) -> View {
        View {
            name: MailboxName::inbox(),
            read_only: false,
            uids: uids(numbers),
            recent: vec![],
            gone: vec![],
            told: vec![],
            keywords: vec![],
        }
    }

    fn set(ranges: &[(u32, u32)]) -> SequenceSet {
        SequenceSet(ranges.to_vec())
    }

    const STAR: u32 = SequenceSet::STAR;

    #[test]
    fn sets_become_messages() {
        let view = view(&[3, 5, 8, 9]);
        let take = |mut chosen: Chosen| view.take(&mut chosen, 100);
        assert_eq!(take(view.by_number(&set(&[(3, 2), (1, 1), (2, 2)])).unwrap()), uids(&[3, 5, 8]));
        assert_eq!(take(view.by_number(&set(&[(STAR, 3), (STAR, STAR)])).unwrap()), uids(&[8, 9]));
        assert_eq!(view.by_number(&set(&[(1, 5)])), None);
        assert_eq!(take(view.by_number_where_possible(&set(&[(4, 7), (900, 900)]))), uids(&[9]));
        assert_eq!(take(view.by_uid(&set(&[(4, 8), (100, STAR)]))), uids(&[5, 8, 9]));
        assert_eq!(take(view.by_uid(&set(&[(100, 200), (4, 4)]))), []);
        assert_eq!(take(view.by_uid(&set(&[(1, u32::MAX)]))), uids(&[3, 5, 8, 9]));
    }

    #[test]
    fn they_come_in_batches() {
        let view = view(&[1, 2, 3, 4, 5, 6]);
        let mut chosen = view.by_uid(&set(&[(1, 2), (4, 6)]));
        assert_eq!(view.take(&mut chosen, 3), uids(&[1, 2, 4]));
        assert_eq!(view.take(&mut chosen, 2), uids(&[5, 6]));
        assert_eq!(view.take(&mut chosen, 2), []);
    }

    #[test]
    fn numbers_stay_until_expunges_may_be_told() {
        let mut view = view(&[1, 2, 3, 4]);
        let changes = Changes { gone: uids(&[1, 3]), new: uids(&[7]), recent: uids(&[7]), ..Changes::default() };
        assert_eq!(printed(|tx| view.update(changes, false, tx)), "* 5 EXISTS\r\n* 1 RECENT\r\n");
        assert_eq!(view.number(Uid::new(4).unwrap()), Some(4));
        assert_eq!(printed(|tx| view.update(Changes::default(), true, tx)), "* 1 EXPUNGE\r\n* 2 EXPUNGE\r\n");
        assert_eq!(view.number(Uid::new(4).unwrap()), Some(2));
    }

    #[test]
    fn a_change_is_told_once() {
        let mut view = view(&[1, 2]);
        let uid = Uid::MIN;
        view.tell(uid, ModSeq(5));
        let flags = Flags::system(System::SEEN);
        let changes = |n| Changes { flags: vec![(uid, flags.clone(), ModSeq(n))], ..Changes::default() };
        assert_eq!(printed(|tx| view.update(changes(5), true, tx)), "");
        view.tell(uid, ModSeq(6));
        assert_eq!(printed(|tx| view.update(changes(7), true, tx)), "* 1 FETCH (FLAGS (\\Seen))\r\n");
    }
}
