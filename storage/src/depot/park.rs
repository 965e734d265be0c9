//! A checkpoint: what lies in the log is copied into packs, and the snapshot written.

use super::{
    Depot, Put, damage, large_dir, large_path, pack, snapshot,
    state::{self, Found, NOWHERE, Place},
};
use crate::spool::{Lsn, Spool};
use std::io;

impl Depot {
    /// Parks what lies before `mark` in the log, and writes a snapshot. `states` is asked to put the state of every queued message, as it is at any
    /// moment after `mark` was taken. When this returns, the log may let go of everything before `mark` as far as the queue is concerned.
    /// `states` is called without the lock that the other functions take.
    ///
    /// # Errors
    /// A fault of the disk: let go of nothing.
    pub fn checkpoint(&self, spool: &Spool, mark: Lsn, states: &mut dyn FnMut(&mut Put<'_>)) -> io::Result<()> {
        let _busy = self.busy();
        self.park(spool, mark)?;
        self.snapshot(mark, states)
    }

    /// Copies records before `mark`, and some of packs that are mostly done with, into new packs.
    fn park(&self, spool: &Spool, mark: Lsn) -> io::Result<()> {
        let (due, next) = {
            let state = self.state();
            (state.due(mark), state.next)
        };
        self.link_large(spool, &due)?;
        let mut writer = pack::Writer::new(&*self.disk, &self.dir, self.options.pack, next);
        let copied = self.copy(spool, &due, &mut writer);
        let finished = copied.and_then(|moves| Ok((moves, writer.finish()?)));
        let mut state = self.state();
        // Also after a failure: what is in files that were begun nobody knows, so their names are not used again.
        state.next = writer.next();
        match finished {
            Ok((moves, packs)) => {
                state.moved(moves, packs);
                Ok(())
            }
            Err(error) => {
                state.garbage.packs.extend(next..writer.next());
                Err(error)
            }
        }
    }

    /// Gives the files of large messages a name that the spool does not remove.
    fn link_large(&self, spool: &Spool, due: &[Found]) -> io::Result<()> {
        let mut linked = false;
        for found in due.iter().filter(|found| found.large) {
            self.state().want_large(found.id);
            match self.disk.link(&spool.large_path(found.id), &large_path(&self.dir, found.id)) {
                Ok(()) => linked = true,
                // At a checkpoint that failed later, or before a crash.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => linked = true,
                // Waiting brings nothing back, and the log would never end.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    tracing::error!(id = format!("{:x}", found.id), "the file of a large message is gone; it cannot be sent");
                }
                Err(error) => return Err(error),
            }
        }
        if linked { self.disk.sync_dir(&large_dir(&self.dir)) } else { Ok(()) }
    }

    fn copy(&self, spool: &Spool, due: &[Found], writer: &mut pack::Writer<'_>) -> io::Result<Vec<state::Move>> {
        let mut moves = Vec::with_capacity(due.len());
        let mut reader = spool.reader();
        for found in due {
            let to = match reader.read(found.at) {
                Ok(record) => writer.put(found.id, &record)?,
                Err(error) if damage::is_lost(&error) && self.state().strike(found.id) => {
                    // The log would never end.
                    let id = format!("{:x}", found.id);
                    tracing::error!(id, at = format!("{:#x}", found.at), %error, "the record of a queued message is damaged in the log; it cannot be sent");
                    if let Err(error) = spool.put_aside(found.at) {
                        tracing::error!(id, %error, "no copy of the damaged segment can be put aside");
                    }
                    Place::Pack { number: NOWHERE, offset: 0 }
                }
                Err(error) => return Err(error),
            };
            moves.push(state::Move { id: found.id, from: Place::Log(found.at), to });
        }
        let mut left = self.options.compact;
        let (worn, alive) = {
            let state = self.state();
            let worn = state.worn(&self.options);
            let alive = state.alive(&worn);
            (worn, alive)
        };
        for number in worn {
            if left == 0 {
                break;
            }
            let mut reader = match pack::Reader::open(&*self.disk, &self.dir, number) {
                Ok(reader) => reader,
                // Somebody may put it back.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            for &(offset, id) in &alive[&number] {
                match reader.read(offset, id) {
                    Ok(record) => {
                        left = left.saturating_sub(record.len() as u64);
                        let to = writer.put(id, &record)?;
                        moves.push(state::Move { id, from: Place::Pack { number, offset }, to });
                    }
                    // What can be read of it is copied, and the rest stays where it was.
                    Err(error) if damage::is(&error) => {
                        tracing::error!(id = format!("{id:x}"), %error, "the record of a queued message is damaged; it cannot be sent");
                        if self.state().leave_alone(number) {
                            self.put_aside(number);
                        }
                    }
                    Err(error) => return Err(error),
                }
            }
            if reader.mended {
                self.mended(number);
            }
        }
        Ok(moves)
    }

    fn snapshot(&self, upto: Lsn, states: &mut dyn FnMut(&mut Put<'_>)) -> io::Result<()> {
        let mut writer = {
            let mut state = self.state();
            state.retire();
            snapshot::Writer::new(&*self.disk, &self.dir, upto, state.next, &state.packs)
        };
        states(&mut |id, bytes| {
            let (place, large) = match id {
                0 => (0, false),
                id => {
                    let state = self.state();
                    // One that is in the log needs no more than the log.
                    let Some(&place) = state.parked.get(&id) else { return };
                    (place, state.large.contains(&id))
                }
            };
            writer.put(id, place, large, bytes);
        });
        let nothing = writer.is_empty();
        // There was nothing and there is nothing.
        let len = if nothing && self.state().nothing {
            0
        } else {
            // If this fails, the snapshot may have its name all the same, and would be believed when its packs are gone.
            self.state().nothing = false;
            writer.finish()?
        };
        self.state().snapshot_done(upto, len, nothing);
        Ok(())
    }
}
