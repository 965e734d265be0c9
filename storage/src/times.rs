//! What the clocks did between two runs. The last time of day and the last time of the queue are kept in a small file of the store, `clock`; a start that finds
//! hours between them and now does not believe that all of that has passed: a wrong clock must not give mail up.

use crate::disk::{Disk, How};
use maildir::sealed::{self, Seal};
use queue::Lapse;
use std::{borrow::Cow, io, path::Path};

/// The longest such file: three numbers and their checksum.
const LEN_MAX: usize = 120;

/// How long mail waits for an account that is not there any more, in milliseconds. A lost file of accounts must not cost mail; a removed account must not
/// keep its mail in the log for ever.
const ORPHAN_MS: u64 = 5 * 86_400_000;

/// The longest pause between two runs that counts as age of what waits, in milliseconds: a machine is mended in that time or not. Beyond, nobody knows whether
/// it was off or its clock is wrong.
const PAUSE_MS: i64 = 4 * 3_600_000;

/// By how much a clock may go back without anybody minding.
const BACK_MS: i64 = 60_000;

/// By how much the time of day and the monotonic clock differ at least if somebody set the former, in milliseconds.
const SET_MS: i64 = 60_000;

/// How often the times are written while something waits, and while nothing does.
const KEPT_MS: u64 = 60_000;
const KEPT_IDLE_MS: u64 = 3_600_000;

/// Times of one moment, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Times {
    /// Of day, since 1970.
    pub wall: u64,
    /// Of the queue.
    pub queue: u64,
    /// Of the queue: mail for accounts that are gone is kept until then, whatever its age.
    pub orphans: u64,
}

impl Times {
    /// What was written last; nothing before the first run, or if it cannot be read: then the clock is believed.
    pub(crate) fn read(disk: &dyn Disk, store: &Path) -> Option<Times> {
        let path = store.join("clock");
        let text = match content(disk, &path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "the time of the last run cannot be read; the clock is believed");
                return None;
            }
        };
        let (times, seal) = Times::parse(&text);
        match (times, seal) {
            (Some(_), Seal::Whole) => {}
            (Some(_), _) => tracing::warn!(path = %path.display(), "the time of the last run is damaged, and known all the same"),
            (None, _) => tracing::warn!(path = %path.display(), "this is no time of the last run; the clock is believed"),
        }
        times
    }

    fn parse(text: &[u8]) -> (Option<Times>, Seal) {
        // A wrong number would give mail up.
        let (text, seal) = sealed::open(text, sealed::LINE);
        let times = |text: Cow<'_, str>| {
            let mut numbers = text.split(' ').map(|word| word.parse().ok());
            let times = Times { wall: numbers.next()??, queue: numbers.next()??, orphans: numbers.next()?? };
            numbers.next().is_none().then_some(times)
        };
        (text.and_then(times), seal)
    }

    /// Keeps them for the next run.
    ///
    /// # Errors
    /// If they cannot be written; those before stay.
    pub(crate) fn write(&self, disk: &dyn Disk, store: &Path) -> io::Result<()> {
        let text = format!("{} {} {}", self.wall, self.queue, self.orphans);
        let text = sealed::seal(&text, sealed::LINE) + "\n";
        let (path, fresh) = (store.join("clock"), store.join("clock.tmp"));
        match disk.unlink(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = disk.open(&fresh, How::Create)?;
        file.append(text.as_bytes())?;
        // Or a crash could leave an empty file under the name. The name itself may be lost: then the times are those before.
        file.sync()?;
        disk.rename(&fresh, &path)
    }

    /// Those of a start at this time of day, after that lapse.
    pub(crate) fn at_start(last: Option<Times>, lapse: Lapse, wall_ms: u64) -> Times {
        let fresh = wall_ms.saturating_add(ORPHAN_MS);
        let orphans = last.map_or(0, |last| if lapse == Lapse::default() { last.orphans.min(fresh) } else { fresh });
        Times { wall: wall_ms, queue: wall_ms, orphans }
    }

    /// Whether mail for an account that is gone is given up.
    pub(crate) fn gives_up(&self, stamp_s: i64, queue_ms: u64) -> bool {
        let age_ms = i128::from(queue_ms) - i128::from(stamp_s) * 1000;
        queue_ms >= self.orphans && age_ms >= i128::from(ORPHAN_MS)
    }

    /// Whether it is time to write them again.
    pub(crate) fn are_old(&self, queue_ms: u64, waits: bool) -> bool {
        queue_ms.saturating_sub(self.queue) >= if waits { KEPT_MS } else { KEPT_IDLE_MS }
    }

    /// What the clocks did from these times to a start at this time of day.
    pub(crate) fn until(&self, wall_ms: u64) -> Lapse {
        let between = |from: u64, to: u64| to.cast_signed().wrapping_sub(from.cast_signed());
        let gap = between(self.wall, wall_ms);
        let counts = if (-BACK_MS..=PAUSE_MS).contains(&gap) { gap } else { 0 };
        // Between two readings of the clocks some time always passes.
        let set_ms = Some(between(self.queue, self.wall)).filter(|set_ms| set_ms.abs() >= SET_MS).unwrap_or(0);
        Lapse { age_ms: gap - counts + set_ms, set_ms, stamp_ms: gap - counts }
    }
}

fn content(disk: &dyn Disk, path: &Path) -> io::Result<Vec<u8>> {
    let file = disk.open(path, How::Read)?;
    let mut bytes = vec![0; LEN_MAX];
    let mut got = 0;
    while got < bytes.len() {
        match file.read_at(&mut bytes[got..], got as u64)? {
            0 => break,
            n => got += n,
        }
    }
    bytes.truncate(got);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{accept::Leaving, clock::Clock, control::Operator as _, disk::Posix, house::House, spool};
    use config::Config;
    use mail::{Address, Envelope};
    use queue::{Place, Reserved};
    use std::{
        path::PathBuf,
        sync::{
            Arc,
            atomic::{AtomicU64, Ordering},
        },
    };

    const HOUR: i64 = 3_600_000;
    const NOW: u64 = 1_800_000_000_000;

    #[test]
    fn what_is_not_counted() {
        let lapse = |wall: i64, set: i64| {
            let times = Times { wall: NOW.saturating_add_signed(wall), queue: NOW.saturating_add_signed(wall - set), orphans: 0 };
            times.until(NOW)
        };
        assert_eq!(lapse(-3 * HOUR, 0), Lapse::default(), "an evening off");
        assert_eq!(lapse(30_000, 0), Lapse::default(), "put right by a little");
        assert_eq!(lapse(-HOUR, 58), Lapse::default(), "two clocks are never read at once");
        let six_days = 144 * HOUR;
        assert_eq!(lapse(-six_days, 0), Lapse { age_ms: six_days, set_ms: 0, stamp_ms: six_days });
        assert_eq!(lapse(six_days, 0), Lapse { age_ms: -six_days, set_ms: 0, stamp_ms: -six_days });
        assert_eq!(lapse(-HOUR, six_days), Lapse { age_ms: six_days, set_ms: six_days, stamp_ms: 0 }, "it was put right meanwhile");
    }

    #[test]
    fn a_wrong_clock_gives_no_orphan_up() {
        let (hour, day) = (3_600_000, 86_400_000);
        let last = Times { wall: NOW, queue: NOW, orphans: 0 };
        let stamp = |ms: u64| (ms / 1000).cast_signed();
        // Six days off, or a clock that is six days ahead: nobody knows.
        let ahead = NOW + 6 * day;
        let times = Times::at_start(Some(last), last.until(ahead), ahead);
        assert!(!times.gives_up(stamp(NOW), ahead + hour) && times.gives_up(stamp(NOW), ahead + 5 * day));
        // Accepted in 1970, and the clock was right after that.
        let early = Times { wall: day, queue: day, orphans: 0 };
        let right = Times::at_start(Some(early), early.until(NOW), NOW);
        let again = Times::at_start(Some(Times { wall: NOW + hour, queue: NOW + hour, ..right }), Lapse::default(), NOW + 2 * hour);
        assert!(!again.gives_up(stamp(day), NOW + 2 * hour) && again.gives_up(stamp(day), NOW + 5 * day));
        let usual = Times::at_start(Some(last), last.until(NOW + hour), NOW + hour);
        assert!(usual.gives_up(stamp(NOW - 5 * day), NOW + hour) && !usual.gives_up(stamp(NOW - 4 * day), NOW + hour));
    }

    /// Houses in one store, one after the other, each at a time of day that its clock has then.
    struct Street {
        at: PathBuf,
        wall: Arc<AtomicU64>,
        ticks: Arc<AtomicU64>,
    }

    const DAY: u64 = 86_400_000;

    impl Street {
        fn new(name: &str) -> Street {
            let at = std::env::temp_dir().join(format!("hikyaku-times-{name}-{}", std::process::id()));
            let street = Street { at, wall: Arc::default(), ticks: Arc::new(1_000_000.into()) };
            street.clear();
            street
        }

        fn clear(&self) {
            let _ = std::fs::remove_dir_all(&self.at);
            std::fs::create_dir(&self.at).unwrap();
        }

        fn open(&self, wall_ms: u64) -> Arc<House> {
            self.wall.store(wall_ms, Ordering::Relaxed);
            let (wall, ticks) = (self.wall.clone(), self.ticks.clone());
            let clock =
                Clock::new(Arc::new(move || i128::from(wall.load(Ordering::Relaxed)) * 1_000_000), move || ticks.load(Ordering::Relaxed));
            let config = Config { domains: vec!["example.test".into()], store: self.at.clone(), ..Config::default() };
            House::open_at(config, Arc::new(Posix), clock, spool::Options::default()).unwrap()
        }
    }

    impl Drop for Street {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.at);
        }
    }

    fn send(house: &Arc<House>) -> u64 {
        let to = Address::parse("one@far.test").unwrap().into();
        let envelope = Envelope { sender: Address::parse("alice@far.test"), recipients: vec![to], ..Envelope::default() };
        let fed = house.submit(envelope, "test", "a test", Leaving::default(), |intake| {
            intake.feed(b"Subject: hello\n\nhello\n");
            Ok(())
        });
        fed.unwrap()
    }

    fn left_ms(house: &Arc<House>, id: u64) -> u64 {
        (house.show(id).unwrap().gives_up.unwrap() * 1000).saturating_sub(house.queue_ms())
    }

    #[test]
    fn a_wrong_clock_bounces_no_queue() {
        let street = Street::new("wrong");
        // From when to when the clock goes, whether the server is stopped in order, and what the clock is set to before that.
        for (first, second, closes, set) in [
            (NOW, NOW + 6 * DAY, false, None),
            (NOW, NOW + 6 * DAY, true, None),
            (NOW + 6 * DAY, NOW, false, None),
            (NOW + 6 * DAY, NOW, true, None),
            (DAY, NOW, false, None),
            (DAY, NOW, true, None),
            (NOW, DAY, true, None),
            (DAY, NOW, false, Some(NOW)),
            (DAY, NOW, true, Some(NOW)),
            (NOW + 6 * DAY, NOW, true, Some(NOW)),
        ] {
            // Also if something holds the log since before.
            for held in [false, true] {
                let what = format!("{first} {second} {closes} {set:?}, held: {held}");
                street.clear();
                let house = street.open(first);
                if held {
                    let place = Place { account: "away@example.test".into(), mailbox: "INBOX".into() };
                    house.say_numbers(&place, Reserved { uid_validity: 1, uid_upto: 1, mod_seq_upto: 1 }).unwrap();
                }
                let id = send(&house);
                if let Some(set) = set {
                    street.wall.store(set, Ordering::Relaxed);
                    street.ticks.fetch_add(2 * KEPT_MS, Ordering::Relaxed);
                    house.chores();
                }
                if closes {
                    house.close();
                }
                drop(house);
                for again in 0..3 {
                    let house = street.open(second + again * 60_000);
                    let left = left_ms(&house, id);
                    assert!((5 * DAY - 10 * KEPT_MS..=5 * DAY).contains(&left), "{what}, start {again}: {left}");
                    drop(house);
                }
            }
        }
    }

    #[test]
    fn a_clock_that_is_trusted_stays_so_after_a_crash() {
        for held in [false, true] {
            let street = Street::new("trusted");
            let house = street.open(NOW);
            if held {
                let place = Place { account: "away@example.test".into(), mailbox: "INBOX".into() };
                house.say_numbers(&place, Reserved { uid_validity: 1, uid_upto: 1, mod_seq_upto: 1 }).unwrap();
            }
            let id = send(&house);
            house.close();
            drop(house);
            let house = street.open(NOW + 6 * DAY);
            assert!(left_ms(&house, id) > 4 * DAY);
            let young = send(&house);
            assert_eq!(house.trust_clock().unwrap(), 6 * DAY / 1000);
            assert!(left_ms(&house, id) <= 3_600_000);
            drop(house);
            for again in 1..3 {
                let house = street.open(NOW + 6 * DAY + again * 60_000);
                assert!(left_ms(&house, id) <= 3_600_000, "held: {held}, start {again}: {}", left_ms(&house, id));
                assert!(left_ms(&house, young) > 4 * DAY);
                assert_eq!(house.uncounted_s(), 0);
                drop(house);
            }
        }
    }

    #[test]
    fn what_is_no_time_is_not_believed() {
        let line = |text: &str| sealed::seal(text, sealed::LINE) + "\n";
        let good = Times { wall: 1_795_502_247_000, queue: 1_795_502_247_123, orphans: 3 };
        let text = line("1795502247000 1795502247123 3");
        assert_eq!(Times::parse(text.as_bytes()), (Some(good), Seal::Whole));
        for bad in ["1 2", "1 2 3 4", "1 2 x", "-1 2 3", "1 2 3\n"] {
            assert_eq!(Times::parse(line(bad).as_bytes()).0, None, "{bad:?}");
        }
        for bad in ["", "1 2 3\n", "1 2 3 check \n"] {
            assert_eq!(Times::parse(bad.as_bytes()).0, None, "{bad:?}");
        }
        for at in 0..text.len() {
            for bit in 0..8 {
                let mut flipped = text.clone().into_bytes();
                flipped[at] ^= 1 << bit;
                assert_eq!(
                    Times::parse(&flipped),
                    (Some(good), Seal::Mended),
                    "byte {at}, bit {bit}: mail would be given up by a wrong number"
                );
            }
        }
    }
}
