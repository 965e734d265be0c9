//! What holds the log, and how it goes on: what waits for a mailbox is written again at the end of the log, so that the trouble of one is nobody else's.
//!
//! Whoever pins a record is its owner, and each owner is asked here: what waits for its mailbox is in [`crate::undelivered`], changes of names are in
//! [`crate::naming`]. What cannot be read can be carried nowhere. It is tried again for a while, for a cable may be loose; then its segment is put aside for
//! somebody to look at, and the log goes on without it.

use crate::{
    house::House,
    recover::decode,
    spool::Lsn,
    supervise::guarded,
    undelivered::{Key, Left, Task, Waiting},
};
use queue::{Place, Record};
use std::{collections::BTreeMap, io};

/// How long a record that cannot be read is tried again, in milliseconds: a disk that only was slow or away is back in that time.
const UNREADABLE_MS: u64 = 600_000;

impl House {
    /// Moves what waits to the end of the log if the log is half full: a mailbox that cannot be written to for days must not stop the mail of everybody.
    pub(crate) fn carry_waiting(&self) {
        if !self.spool().is_half_full() {
            return;
        }
        for waiting in self.undelivered().all().into_iter().filter(|waiting| self.is_far_back(waiting.at)) {
            // Each by itself: one record in trouble is nobody else's.
            if let Some(Err(error)) = guarded("delivery", || self.carry_record(waiting.key())) {
                tracing::error!(%error, "what waits for its mailbox holds the log, which cannot be written");
                break;
            }
        }
        self.lose_what_cannot_be_read();
    }

    /// Whether what is kept at this place holds so much of the log that it is worth another record. Of what waits that is the older half, so that a long list is
    /// not written again at every checkpoint.
    pub(crate) fn is_far_back(&self, at: Lsn) -> bool {
        self.spool().behind(at) > self.spool().limit() / 4
    }

    /// Writes a record again at the end of the log, as it is to be from now on; not if it cannot be read.
    ///
    /// # Errors
    /// If the log cannot be written.
    pub(crate) fn carry_record(&self, key: Key) -> io::Result<()> {
        // No name changes in the log meanwhile.
        let _moving = self.undelivered().moving();
        let Some(mut waiting) = self.undelivered().now(key) else { return Ok(()) };
        if let [Left { task: Task::Number(reserved), account, mailbox }] = &*waiting.left {
            let place = Place { account: account.clone(), mailbox: self.called(account, mailbox) };
            let (at, id) = self.say_numbers(&place, *reserved)?;
            self.spool().unpin(key.0, key.1);
            let left = Left { task: Task::Remove, account: account.clone(), mailbox: mailbox.clone() };
            self.undelivered().carried(key, Waiting::new(at, id, vec![left]));
            return Ok(());
        }
        let Some(Ok(bytes)) = self.read_waiting(&waiting) else { return Ok(()) };
        match decode(&bytes) {
            Ok(Record::Accept(accept)) => {
                let called: Vec<Box<str>> = waiting.left.iter().map(|left| self.called(&left.account, &left.mailbox)).collect();
                let mut targets = Vec::with_capacity(called.len());
                for (left, called) in waiting.left.iter_mut().zip(&called) {
                    let Task::Deliver { target: n, .. } = &mut left.task else { continue };
                    let Some(target) = accept.targets.iter().nth(*n) else { return Ok(()) };
                    *n = targets.len();
                    targets.push(queue::Target { mailbox: called, ..target });
                }
                // What leaves, and what it reports on, is known to the queue; told again, it would be sent again.
                let accept = queue::Accept {
                    targets: queue::Targets::new(&targets),
                    remotes: if waiting.untold.leaves { accept.remotes } else { queue::Remotes::NONE },
                    settles: accept.settles.filter(|_| waiting.untold.settles),
                    ..accept
                };
                let head = accept.head();
                let content: &[&[u8]] = match accept.content {
                    queue::Content::Inline(bytes) => &[&head, bytes],
                    queue::Content::Large { .. } => &[&head],
                };
                (waiting.at, waiting.id) = (self.spool().carry(key.0, key.1, accept.id, content)?, accept.id);
            }
            // A removal stays behind what it removes: a message that is carried has not been removed.
            Ok(Record::Gone(gone)) => {
                let called = waiting.left.first().map_or_else(|| gone.mailbox.into(), |left| self.called(&left.account, &left.mailbox));
                (waiting.at, waiting.id) = self.pin_removal(&queue::Gone { mailbox: &called, ..gone })?;
                self.spool().unpin(key.0, key.1);
            }
            _ => return Ok(()),
        }
        self.undelivered().carried(key, waiting);
        Ok(())
    }

    /// Writes which numbers of a mailbox were used, and pins it.
    ///
    /// # Errors
    /// If the log cannot be written.
    pub(crate) fn say_numbers(&self, place: &Place, bounds: queue::Reserved) -> io::Result<Key> {
        let Place { account, mailbox } = place;
        self.pin_removal(&queue::Gone { account, mailbox, bases: queue::Bases::new(&[]), bounds: Some(bounds) })
    }

    fn pin_removal(&self, gone: &queue::Gone<'_>) -> io::Result<Key> {
        let mut entry = self.spool().entry();
        entry.commit_removal(&[&gone.encode()])?;
        let id = entry.id();
        Ok((entry.pin(), id))
    }

    /// Lets go of records that could not be read for long, or for which there is no more room, when their segments are put aside. Nobody moves records of the log
    /// about meanwhile.
    pub(crate) fn lose_what_cannot_be_read(&self) {
        let (now_ms, most) = (self.now_ms(), self.spool().limit() / 4 * 3);
        let mut unreadable = self.undelivered().all();
        unreadable.retain(|waiting| {
            waiting.unread_ms.is_some_and(|since| now_ms.saturating_sub(since) >= UNREADABLE_MS || self.spool().behind(waiting.at) > most)
        });
        if unreadable.is_empty() {
            return;
        }
        // One copy of each, however much of it cannot be read.
        let mut aside = BTreeMap::new();
        for waiting in unreadable {
            let put = || match self.spool().put_aside(waiting.at) {
                Ok(()) => true,
                Err(error) => {
                    tracing::error!(%error, "a segment of the log cannot be put aside, and is kept");
                    false
                }
            };
            if !*aside.entry(self.spool().segment(waiting.at)).or_insert_with(put) {
                continue;
            }
            // It may be read after all, or not be looked at just now.
            if self.read_waiting(&waiting).is_none_or(|bytes| bytes.is_ok()) {
                continue;
            }
            let Some(Waiting { at, id, left, untold, .. }) = self.undelivered().lose(waiting.key()) else { continue };
            self.spool().unpin(at, id);
            tracing::error!(
                id = format!("{id:x}"),
                at = format!("{at:#x}"),
                ?left,
                ?untold,
                "a record of the log cannot be read: what it promised is lost"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{accept::Leaving, disk::Posix, mailbox, spool, undelivered::Untold};
    use config::Config;
    use mail::{Address, Envelope};
    use std::{path::PathBuf, sync::Arc};

    /// A house with little log.
    fn open(name: &str) -> (PathBuf, Arc<House>) {
        let at = std::env::temp_dir().join(format!("hikyaku-carry-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&at);
        std::fs::create_dir(&at).unwrap();
        let config = Config { domains: vec!["example.test".into()], store: at.clone(), ..Config::default() };
        let options = spool::Options { segment: 64 << 10, limit: 256 << 10, ..spool::Options::default() };
        (at, House::open_at(config, Arc::new(Posix), mailbox::system_clock(), options).unwrap())
    }

    fn submit(house: &Arc<House>) -> u64 {
        let to = Address::parse("one@far.test").unwrap().into();
        let envelope = Envelope { sender: Address::parse("alice@far.test"), recipients: vec![to], ..Envelope::default() };
        let filled = house.submit(envelope, "test", "a test", Leaving::default(), |intake| {
            intake.feed(&b"0123456789\n".repeat(1000));
            Ok(())
        });
        filled.unwrap()
    }

    fn fill(house: &Arc<House>) {
        while !house.spool().is_half_full() {
            submit(house);
        }
    }

    #[test]
    fn one_record_in_trouble_is_nobody_elses() {
        let (at, house) = open("trouble");
        // A message that goes to no mailbox, and of which somebody waits for one; behind it what may be carried.
        let first = house.spool().mark();
        submit(&house);
        let place = Place { account: "alice@example.test".into(), mailbox: "INBOX".into() };
        let bounds = queue::Reserved { uid_validity: 1, uid_upto: 2, mod_seq_upto: 3 };
        let numbers = house.say_numbers(&place, bounds).unwrap();
        let left = |task| vec![Left { task, account: place.account.clone(), mailbox: place.mailbox.clone() }];
        house.spool().pin(first, 7);
        house.undelivered().note(Waiting::new(first, 7, left(Task::Deliver { target: 3, base: "none".into() })));
        house.undelivered().note(Waiting::new(numbers.0, numbers.1, left(Task::Remove)));
        fill(&house);
        house.carry_waiting();
        let waiting: Vec<Key> = house.undelivered().all().iter().map(Waiting::key).collect();
        assert_eq!(waiting[0], (first, 7));
        assert!(waiting.len() == 2 && waiting[1].0 > numbers.0, "{waiting:?} {numbers:?}");
        // It is as one that cannot be read.
        while house.lost_records() == 0 {
            assert!(house.spool_bytes() < house.spool().limit(), "it holds the log");
            submit(&house);
            house.checkpoint().unwrap();
        }
        house.checkpoint().unwrap();
        assert!(house.spool_bytes() < house.spool().limit() / 2);
        drop(house);
        std::fs::remove_dir_all(&at).unwrap();
    }

    #[test]
    fn what_the_queue_was_not_told_is_carried_for_it() {
        for leaves in [true, false] {
            let (at, house) = open(if leaves { "untold" } else { "told" });
            let first = house.spool().mark();
            let id = submit(&house);
            house.spool().pin(first, id);
            let untold = Untold { leaves, settles: !leaves };
            house.undelivered().note(Waiting { untold, ..Waiting::new(first, id, Vec::new()) });
            fill(&house);
            house.carry_waiting();
            let [waiting] = &house.undelivered().all()[..] else { panic!("one waits") };
            assert!(waiting.at > first && waiting.untold == untold);
            let bytes = house.spool().read(waiting.at).unwrap();
            let Ok(Record::Accept(accept)) = decode(&bytes) else { panic!("it is a message") };
            assert_eq!((accept.id, accept.remotes.iter().count()), (id, usize::from(leaves)));
            house.deliver_again();
            house.checkpoint().unwrap();
            assert!(house.undelivered().all().is_empty() && house.spool_bytes() < 100, "the log lets go of it");
            drop(house);
            std::fs::remove_dir_all(&at).unwrap();
        }
    }
}
