//! Noticing what other programs did: two looks at modification times, and a listing if they are others than before.

use super::{
    below, limits,
    load::make_maildir,
    ns,
    shelf::Missed,
    state::{Life, Locked, validity},
    trouble,
};
use crate::disk::{Disk, Stat};
use imap::Refusal;
use maildir::{Add, Bits, Facts, Listing, Marks, Place, Plan, Record, Scope, is_of_log, reconcile};
use std::{io, path::Path, sync::PoisonError};

impl Locked<'_> {
    /// Brings the index up to date with the files. Reads directories only if their times say so, or if they are `forced`.
    pub fn refresh(&mut self, forced: Option<Scope>) -> Result<(), Refusal> {
        let times = self.times()?;
        if forced.is_none() && self.known[0] == Some(times[0]) && self.known[1] == Some(times[1]) {
            return Ok(());
        }
        let quiet_cur = self.known[Place::Cur as usize] == Some(times[Place::Cur as usize]);
        let mut scope = if quiet_cur && forced != Some(Scope::Both) { Scope::New } else { Scope::Both };
        for round in 1..=limits::LISTINGS {
            let times = self.times()?;
            let listing = self.list(scope)?;
            let doomed = std::mem::take(&mut self.doomed);
            let plan = reconcile(&mut self.index, &listing, scope, &|base| doomed.contains_key(base));
            self.doomed = doomed;
            if plan.unsure && scope == Scope::New {
                scope = Scope::Both;
                continue;
            }
            // A file that is renamed while a directory is read may be missed, or seen twice. Whoever is not there in a directory that
            // stood still is gone.
            let moving = !plan.gone.is_empty() || !plan.doubles.is_empty();
            if moving && self.times()? != times && round < limits::LISTINGS {
                continue;
            }
            let unseen = self.learn(&listing, &plan)?;
            self.settle(times, scope);
            if unseen {
                // Its directory stands still, so nothing else would say that it is there.
                self.unverified = [true; 2];
            }
            self.remade = false;
            break;
        }
        Ok(())
    }

    /// Modification times of `cur/` and `new/`, in the order of [`Place`].
    fn times(&mut self) -> Result<[i64; 2], Refusal> {
        for again in [false, true] {
            match (self.stat_dir(Place::Cur), self.stat_dir(Place::New)) {
                (Ok(cur), Ok(new)) => return Ok([ns(cur.modified_ns), ns(new.modified_ns)]),
                (Err(e), _) | (_, Err(e)) if e.kind() == io::ErrorKind::InvalidData => {
                    // Says why, and again when it is over.
                    self.mailbox.account.guard(self.dir())?;
                    return Err(trouble("stat", self.dir(), &e));
                }
                (Err(e), _) | (_, Err(e)) => {
                    if e.kind() != io::ErrorKind::NotFound || again {
                        return Err(trouble("stat", self.dir(), &e));
                    }
                }
            }
            if !self.slot.name.is_inbox() && is_gone(self.disk(), self.dir())? {
                self.die();
                return Err(Refusal::NoMailbox);
            }
            make_maildir(self.disk(), self.dir()).map_err(|e| trouble("make", self.dir(), &e))?;
            self.remade = true;
            if !self.device.is_whole() {
                // Nobody can sync the names of what was in it.
                (self.dirty, self.doubtful) = (true, true);
            }
        }
        Err(Refusal::NoMailbox)
    }

    /// The mailbox is not there any more; its sessions hear of it.
    pub fn die(&mut self) {
        self.ring();
        self.mailbox.account.uncount(&self.slot.name);
        self.slot.life = Life::Dead;
        self.common().aside.forget(self.mailbox.id);
    }

    fn list(&self, scope: Scope) -> Result<Listing, Refusal> {
        self.mailbox.account.guard(self.dir())?;
        let mut listing = Listing::default();
        // In this order, so that a message on its way from new/ to cur/ is seen at least once.
        for place in [Place::New, Place::Cur] {
            if place == Place::New || scope == Scope::Both {
                let dir = self.dir().join(place.dir());
                let mut each = |name: &[u8], is_file: bool| match is_file {
                    true => listing.push(name, place),
                    false => self.mailbox.account.say_odd(&below(&dir, name), "it is no ordinary file"),
                };
                self.disk().list_kinds(&dir, &mut each).map_err(|e| trouble("list", &dir, &e))?;
            }
        }
        Ok(listing)
    }

    /// What the directories say now is known.
    fn settle(&mut self, times: [i64; 2], scope: Scope) {
        let now = self.common().now_ns();
        self.listed_ns = now;
        for place in [Place::Cur, Place::New] {
            if place == Place::New || scope == Scope::Both {
                let time = times[place as usize];
                // Another change may come within the same clock tick and leave no trace.
                self.unverified[place as usize] = (now - i128::from(time)).abs() < limits::YOUNG_NS;
                self.known[place as usize] = Some(time);
            }
        }
    }

    /// Takes over what is new. Says whether there is more of it that cannot be looked at now.
    fn learn(&mut self, listing: &Listing, plan: &Plan) -> Result<bool, Refusal> {
        for &i in &plan.doomed {
            let (name, place) = listing.file(i);
            if let Some(path) = self.doomed.get_mut(name.base) {
                *path = [place.dir().as_bytes(), b"/", name.base, name.info].concat();
            }
        }
        for (kept, other) in &plan.doubles {
            self.part(listing, *kept, *other);
        }
        let (mut adds, mut unseen) = (Vec::new(), false);
        for &i in &plan.adds {
            match self.look_at(listing, i) {
                Ok(stat) => adds.extend(stat.map(|stat| (i, stat))),
                Err(()) => unseen = true,
            }
        }
        if adds.is_empty() && plan.gone.is_empty() && plan.changed.is_empty() {
            return Ok(unseen);
        }
        self.ensure(adds.len() as u32, 1)?;
        let mod_seq = self.next_mod_seq();
        for &(uid, i) in &plan.changed {
            let (name, place) = listing.file(i);
            let marks = Marks::parse(name.info);
            let flagged = self.index.entry(uid).is_some_and(|e| e.marks != marks);
            let bits = bits(marks, name.info, place);
            self.put(&Record::Flags { uid, mod_seq: if flagged { mod_seq } else { 0 }, marks, bits, info: odd(bits, name.info) });
            if flagged {
                self.note_flagged(mod_seq, uid);
            }
        }
        for &uid in &plan.gone {
            if !self.remade {
                self.miss(uid);
            }
            self.total = self.total.saturating_sub(self.index.entry(uid).map_or(0, |e| e.facts.size));
            self.put(&Record::Gone { uid, mod_seq });
            self.note_gone(mod_seq, uid);
        }
        self.index.sweep();
        let first = self.index.entries().is_empty() && self.index.recent_from == self.index.uid_next;
        let mut seen_upto = 0;
        for (i, stat) in adds {
            let place = listing.file(i).1;
            let uid = self.index.uid_next;
            self.adopt(listing, i, &stat, uid, mod_seq);
            if place == Place::Cur {
                seen_upto = uid + 1;
            }
        }
        if first && seen_upto > self.index.recent_from {
            // A Maildir that is met for the first time: what lies in cur/ was seen by some program.
            self.put(&Record::Claim { recent_from: seen_upto });
        }
        self.flush();
        self.count();
        self.ring();
        Ok(unseen)
    }

    /// The file of a message is not there any more. If the spool still has the message, it must not deliver it again.
    fn miss(&mut self, uid: u32) {
        // After a crash: it may never have reached the disk.
        if self.slot.floor.is_some() {
            return;
        }
        let Some(base) = self.index.entry(uid).map(|entry| self.index.base(entry)) else { return };
        if maildir::log_id(base).is_none() || self.missed.len() >= limits::MISSED {
            return;
        }
        let base: Box<[u8]> = base.into();
        self.missed.insert(base.clone());
        self.say_missed(base, false);
    }

    /// A message has a file again.
    pub fn is_back(&mut self, base: &[u8]) {
        if self.missed.remove(base) {
            self.say_missed(base.into(), true);
        }
    }

    fn say_missed(&self, base: Box<[u8]>, is_back: bool) {
        let (maildir, mailbox) = (self.mailbox.account.root.clone(), self.slot.name.clone());
        let missed = Missed { maildir, mailbox, base, is_back };
        self.common().missed.lock().unwrap_or_else(PoisonError::into_inner).push(missed);
    }

    /// Facts about a file that may be a new message; `None` if it vanished, which the next look finds out, or is none. An error if the disk does not say now.
    fn look_at(&self, listing: &Listing, i: usize) -> Result<Option<Stat>, ()> {
        let (name, place) = listing.file(i);
        let path = self.dir().join(place.dir()).join(os(name.base, name.info));
        let stat = match self.disk().stat(&path) {
            Ok(stat) => stat,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a file in a mailbox is not looked at now");
                return Err(());
            }
        };
        if stat.len > maildir::limits::MESSAGE {
            self.mailbox.account.say_odd(&path, "it is too large");
            return Ok(None);
        }
        Ok(stat.is_file.then_some(stat))
    }

    /// Gives the message of a file a UID. What its name says of its size is a hint that anybody may have written, so the file is asked.
    fn adopt(&mut self, listing: &Listing, i: usize, stat: &Stat, uid: u32, mod_seq: u64) {
        let (name, place) = listing.file(i);
        let marks = Marks::parse(name.info);
        let facts = Facts { size: stat.len, date: date_of(stat), ..Facts::default() };
        let bits = bits(marks, name.info, place).set(Bits::DATED, true);
        self.total = self.total.saturating_add(facts.size);
        self.is_back(name.base);
        self.put(&Record::Add(Add { uid, mod_seq, marks, bits, facts, base: name.base, info: odd(bits, name.info) }));
    }

    /// Two files have one base name. If they are one file with two names, one of them goes; if not, the other gets a name of its own.
    fn part(&mut self, listing: &Listing, kept: usize, other: usize) {
        let path = |i: usize| {
            let (name, place) = listing.file(i);
            self.dir().join(place.dir()).join(os(name.base, name.info))
        };
        let (kept, from) = (path(kept), path(other));
        let disk = self.disk();
        // One of them is not there: it was renamed while the directory was read.
        let (Ok(a), Ok(b)) = (disk.stat(&kept), disk.stat(&from)) else { return };
        // After a crash, one made from the log may stand beside what had taken its place; what stays is written again from there.
        let recovering = self.slot.floor.is_some() && is_of_log(listing.file(other).0.base);
        let done = if recovering || (a.inode == b.inode && a.len == b.len) {
            disk.unlink(&from)
        } else {
            let (name, place) = listing.file(other);
            let fresh = self.common().base_name(b.len, b.len);
            // Nobody has counted a W= for it.
            let fresh = fresh.split(",W=").next().unwrap_or(&fresh).to_owned();
            disk.rename(&from, &self.dir().join(place.dir()).join(os(fresh.as_bytes(), name.info)))
        };
        if let Err(error) = done {
            tracing::warn!(path = %from.display(), %error, "a second file of one name stays");
        }
        // The times of the directories changed: the next look lists them again.
    }

    /// For tests and logs: what it is about.
    pub fn title(&self) -> String {
        format!("{} ({})", self.slot.name, validity(self.index.uid_validity))
    }
}

/// Whether there is nothing where a mailbox was. One whose disk does not say so is no less there.
pub(super) fn is_gone(disk: &dyn Disk, dir: &Path) -> Result<bool, Refusal> {
    match disk.stat(dir) {
        Ok(_) => Ok(false),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(true),
        Err(e) => Err(trouble("stat", dir, &e)),
    }
}

/// Place and spelling of a file name as bits.
pub(super) fn bits(marks: Marks, info: &[u8], place: Place) -> Bits {
    let odd = if place == Place::New { !info.is_empty() } else { !marks.is_plain(info) };
    Bits::default().set(Bits::NEW, place == Place::New).set(Bits::ODD, odd)
}

pub(super) fn odd(bits: Bits, info: &[u8]) -> &[u8] {
    if bits.has(Bits::ODD) { info } else { &[] }
}

/// When a file was written, as a date that can be printed.
pub(super) fn date_of(stat: &Stat) -> i64 {
    let dates = maildir::limits::DATES;
    stat.modified_ns.div_euclid(1_000_000_000).clamp(i128::from(*dates.start()), i128::from(*dates.end())) as i64
}

fn os(base: &[u8], info: &[u8]) -> std::path::PathBuf {
    below(Path::new(""), &[base, info].concat())
}
