//! Reading a mailbox from disk.

use super::{
    account::{is_foreign, read_file, read_index, write_file},
    device::Device,
    limits,
    refresh::is_gone,
    state::{INDEX, KEYWORDS, Life, Locked, Mailbox, Slot, State, UIDS},
    trouble,
    turn::Held,
};
use crate::disk::{Disk, How};
use imap::Refusal;
use maildir::{Bounds, Index, Keywords, Record, sealed::Seal};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    path::Path,
    sync::Arc,
};

/// Where Dovecot keeps the keywords of a mailbox that was its own before.
const DOVECOT_KEYWORDS: &str = "dovecot-keywords";

impl Mailbox {
    /// Reads it and looks whether other programs changed something meanwhile.
    pub(super) fn load<'a>(&'a self, mut slot: Held<'a, Slot>) -> Result<Locked<'a>, Refusal> {
        let dir = slot.dir.clone();
        let disk = &*self.account.disk;
        let mut made = false;
        self.account.guard(&dir)?;
        match disk.stat(&dir.join("cur")) {
            Ok(stat) if stat.is_dir => {}
            Ok(_) => {
                slot.life = Life::Dead;
                return Err(Refusal::NoMailbox);
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound || e.kind() == io::ErrorKind::NotADirectory => {
                // The inbox is there as soon as somebody asks for it. Another mailbox without cur/ is one that a crash left half made.
                if !slot.name.is_inbox() && is_gone(disk, &dir)? {
                    slot.life = Life::Dead;
                    return Err(Refusal::NoMailbox);
                }
                make_maildir(disk, &dir).map_err(|e| trouble("make", &dir, &e))?;
                made = true;
            }
            Err(e) => return Err(trouble("stat", &dir, &e)),
        }
        let device = self.common.devices.of(disk, &dir.join("cur")).map_err(|e| trouble("open", &dir, &e))?;
        self.lies_on(&device);
        let mut state = self.read_state(&dir, slot.floor, device).map_err(|e| trouble("read", &dir, &e))?;
        // After a crash the run that made it may not have come to sync its name.
        state.fresh = made || slot.floor.is_some();
        state.remade = made;
        if self.common.has_vanished(&dir) {
            // It came back before what had been written to it was made durable.
            state.synced_uid = 1;
        }
        slot.life = Life::Awake(Box::new(state));
        let mut locked = Locked { mailbox: self, slot };
        match locked.begin().and_then(|()| locked.refresh(None)) {
            Ok(()) => {
                locked.begun = true;
                locked.dirty |= locked.slot.floor.take().is_some();
                locked.count();
                Ok(locked)
            }
            Err(refusal) => {
                if !matches!(locked.slot.life, Life::Dead) {
                    locked.slot.life = Life::Asleep;
                }
                Err(refusal)
            }
        }
    }

    fn read_state(&self, dir: &Path, floor: Option<Bounds>, device: Arc<Device>) -> io::Result<State> {
        let disk = &*self.account.disk;
        let bytes = read_index(disk, &dir.join(INDEX))?;
        let text = read_file(disk, &dir.join(UIDS), limits::SMALL_BOOK)?;
        let (mut bounds, bounds_are_whole) = text.map_or((None, true), |text| Bounds::load(&text));
        if !bounds_are_whole {
            tracing::warn!(dir = %dir.display(), "the last line of {UIDS} is damaged, or a crash cut it short; it is written anew");
        }
        if let Some(floor) = floor {
            bounds = Some(bounds.map_or(floor, |bounds| higher(bounds, floor)));
        }
        let (mut index, sound) = Index::load(bytes.as_deref().unwrap_or_default(), self.common.seed());
        let mut index_len = (sound > 0).then_some(sound as u64);
        if bounds.is_some_and(|b| b.uid_validity != index.uid_validity) {
            if bytes.is_some() {
                tracing::warn!(dir = %dir.display(), "the index is damaged or of another mailbox; it is made anew from the files");
            }
            index = Index::new(self.common.seed());
            index_len = None;
        } else if let Some(len) = index_len
            && bytes.as_ref().is_some_and(|b| b.len() as u64 > len)
        {
            tracing::warn!(dir = %dir.display(), at = len, "the index has a torn tail; it is cut off");
            match disk.open_book(&dir.join(INDEX), How::Write) {
                Ok(file) => file.set_len(len)?,
                Err(error) if is_foreign(&error) => index_len = None,
                Err(error) => return Err(error),
            }
        }
        drop(bytes);
        if bounds.is_none() && index.uid_validity != 0 {
            bounds = Some(Bounds { uid_validity: index.uid_validity, uid_upto: index.uid_next, mod_seq_upto: index.mod_seq + 1 });
        }
        let keywords = match read_file(disk, &dir.join(KEYWORDS), limits::SMALL_BOOK)? {
            Some(text) => {
                let (keywords, seal) = Keywords::load(&text);
                if matches!(seal, Seal::Mended | Seal::Broken) {
                    tracing::error!(dir = %dir.display(), ?seal, "{KEYWORDS} is damaged");
                }
                if seal == Seal::Mended
                    && let Err(error) = write_file(disk, &dir.join(KEYWORDS), keywords.print().as_bytes(), true)
                {
                    tracing::warn!(dir = %dir.display(), %error, "{KEYWORDS} cannot be written anew");
                }
                keywords
            }
            None => read_file(disk, &dir.join(DOVECOT_KEYWORDS), limits::SMALL_BOOK)?
                .map_or_else(Keywords::default, |text| Keywords::parse(&text)),
        };
        let durable = bounds.unwrap_or(Bounds { uid_validity: 0, uid_upto: 1, mod_seq_upto: 1 });
        let known = index.dirs.map_or([None; 2], |(new, cur)| [Some(cur), Some(new)]);
        let total = index.entries().iter().fold(0, |total: u64, e| total.saturating_add(e.facts.size));
        Ok(State {
            begun: false,
            device,
            kept: Vec::new(),
            keywords,
            durable,
            // What was read may be what a flush that failed left in memory, so the first checkpoint after a crash writes it again.
            written: if floor.is_some() || !bounds_are_whole { Bounds { uid_validity: 0, uid_upto: 0, mod_seq_upto: 0 } } else { durable },
            log: Vec::new(),
            index_len,
            known,
            unverified: [false; 2],
            listed_ns: 0,
            tmp_looked_s: 0,
            // What came before is either in a checkpoint or comes again from the spool.
            synced_uid: index.uid_next.max(durable.uid_upto),
            dirty: false,
            doubtful: false,
            fresh: false,
            doomed: BTreeMap::new(),
            missed: BTreeSet::new(),
            remade: false,
            gone: VecDeque::new(),
            gone_floor: 0,
            flagged: VecDeque::new(),
            flagged_floor: 0,
            moved_upto: 1,
            total,
            index,
        })
    }
}

impl Locked<'_> {
    /// Gives the mailbox a numbering if it has none, and the index its bounds.
    fn begin(&mut self) -> Result<(), Refusal> {
        if self.durable.uid_validity == 0 {
            let inbox = self.slot.name.is_inbox();
            // Nothing is synced for an inbox: no UID of it can be used before its numbering is durable, in a spool record or by `ensure`.
            let uid_validity = self.mailbox.account.next_validity(!inbox)?;
            self.durable = Bounds { uid_validity, uid_upto: 1, mod_seq_upto: 2 };
            self.fresh = true;
            self.dirty = true;
            self.write_bounds(self.durable, !inbox)?;
        }
        if self.durable.uid_validity < self.common().options.uidvalidity {
            // What was given out after this copy was made, clients know by the old one.
            let uid_validity = self.mailbox.account.next_validity(true)?;
            tracing::warn!(dir = %self.dir().display(), was = self.durable.uid_validity, is = uid_validity, "a mailbox of an older copy gets a new UIDVALIDITY");
            self.index_len = None;
            // What is kept beside them carries the number.
            self.index.forget_blobs();
            self.dirty = true;
            self.write_bounds(Bounds { uid_validity, ..self.durable }, true)?;
        }
        let Bounds { uid_validity, uid_upto, mod_seq_upto } = self.durable;
        if self.index_len.is_none() {
            self.index.uid_validity = uid_validity;
        }
        self.index.apply(&Record::Next { uid: uid_upto, mod_seq: mod_seq_upto.saturating_sub(1) });
        self.flagged_floor = self.index.mod_seq;
        Ok(())
    }

    /// Takes over bounds from the spool.
    pub fn recover(&mut self, bounds: Bounds) {
        self.durable = higher(self.durable, bounds);
        if self.index.uid_validity != self.durable.uid_validity {
            // The file with the numbering was lost in a crash; what was given out since is not known to anybody.
            tracing::warn!(dir = %self.dir().display(), "the numbering comes from the spool");
            self.index.uid_validity = self.durable.uid_validity;
            self.index_len = None;
        }
        let Bounds { uid_upto, mod_seq_upto, .. } = self.durable;
        self.put(&Record::Next { uid: uid_upto, mod_seq: mod_seq_upto.saturating_sub(1) });
        self.dirty = true;
        self.flush();
    }

    /// Whether so much of the log is history that a snapshot is due.
    pub fn is_long(&self) -> bool {
        self.index.records > self.index.entries().len() * 2 + limits::LOG_SLACK
    }
}

/// What holds of two claims about the numbering: the later one, or if it is the same, the higher bounds.
pub(super) fn higher(a: Bounds, b: Bounds) -> Bounds {
    match a.uid_validity.cmp(&b.uid_validity) {
        std::cmp::Ordering::Less => b,
        std::cmp::Ordering::Greater => a,
        std::cmp::Ordering::Equal => {
            Bounds { uid_validity: a.uid_validity, uid_upto: a.uid_upto.max(b.uid_upto), mod_seq_upto: a.mod_seq_upto.max(b.mod_seq_upto) }
        }
    }
}

/// Makes what is missing of a Maildir and of the way to it.
pub(super) fn make_maildir(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    make_dirs(disk, dir)?;
    for name in ["tmp", "new", "cur"] {
        match disk.make_dir(&dir.join(name)) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
            _ => {}
        }
    }
    Ok(())
}

fn make_dirs(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    match disk.make_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            make_dirs(disk, dir.parent().ok_or(e)?)?;
            disk.make_dir(dir)
        }
        other => other,
    }
}
