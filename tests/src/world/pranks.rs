//! Another program at work in the Maildir of an account, with all rights: what it does is allowed, foolish or mean, and nobody else is to notice.
//!
//! It remembers nothing: what it has put away lies beside the Maildir. What it did is in the books, for what it takes away is not there, and what a crash
//! makes of that may be there twice.

use super::{Stage, books::Books, host::Host, ills::home, letters};
use crate::disk::Crashing;
use fastrand::Rng;
use std::{
    ffi::OsStr,
    io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

/// Something it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prank {
    /// Removes a message.
    Remove,
    /// Moves a message to `cur/`, as one that was read.
    Read,
    /// Takes a message out of the mailbox.
    Take,
    /// Brings back what it took.
    Return,
    /// Renames the Maildir.
    TakeAll,
    /// Puts a link in the place of one of its directories.
    Link(&'static str),
    /// Makes something of this name that is no file: a link, a FIFO.
    Plant(&'static str),
    /// Writes rubbish into one of the server's files.
    Scribble(&'static str),
    /// Removes one of them.
    Unlink(&'static str),
    /// Delivers a message of its own, with a size in its name.
    Deliver(&'static str),
    /// Lets everybody write there.
    Open,
    /// Gives the directory to another user.
    Give,
    /// Puts everything right.
    Repair,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    /// It was made.
    Made,
    /// It was removed.
    Removed,
    /// It was put away.
    Away,
    /// It was brought back.
    Back,
}

/// A message that another program moved.
#[derive(Debug, Clone)]
pub struct Move {
    /// In which house.
    pub host: usize,
    /// Whose it is.
    pub user: &'static str,
    /// What the house calls it.
    pub id: String,
    /// What it looked like.
    pub letter: letters::Found,
    /// When.
    pub at: u64,
    /// Whether the house was open, and could notice.
    pub is_up: bool,
    /// What was done.
    pub what: Moved,
}

/// A message that another program delivered.
#[derive(Debug, Clone)]
pub struct Own {
    /// In which house.
    pub host: usize,
    /// To whom.
    pub user: &'static str,
    /// When.
    pub at: u64,
    /// Its Message-ID.
    pub message_id: String,
}

const BOOKS: [&str; 4] = ["hikyaku.index", "hikyaku.uids", "hikyaku.cache", "hikyaku.uidvalidity"];

/// Whatever is no file gets one of these names.
const ODD: [&str; 6] = ["new/odd", "cur/odd:2,S", "new/1.M1.x,S=18446744073709551615,W=1", "hikyaku.keywords", ".odd", "tmp/odd"];

/// What it says of the size of its own messages.
const SIZES: [&str; 4] = [",S=18446744073709551615", ",S=0,W=18446744073709551615", ",S=99999999999999999999999,W=-1", ""];

impl Prank {
    /// One of them.
    pub fn draw(d: &mut Rng) -> Prank {
        let book = d.choice(BOOKS).unwrap_or_default();
        match d.u8(..20) {
            0..4 => Prank::Remove,
            4..6 => Prank::Read,
            6..9 => Prank::Take,
            9..11 => Prank::Return,
            11 => Prank::TakeAll,
            12 => Prank::Link(d.choice(["new", "cur", "tmp"]).unwrap_or_default()),
            13 => Prank::Plant(d.choice(ODD).unwrap_or_default()),
            14 => Prank::Plant(book),
            15 => Prank::Scribble(book),
            16 => Prank::Unlink(book),
            17 => Prank::Deliver(d.choice(SIZES).unwrap_or_default()),
            18 => Prank::Open,
            _ => Prank::Give,
        }
    }

    /// Whether the Maildir cannot be used before somebody puts it right.
    pub fn is_to_be_repaired(self) -> bool {
        matches!(self, Prank::TakeAll | Prank::Link(_) | Prank::Open | Prank::Give)
    }
}

/// The places of an account.
struct Owner<'a> {
    disk: &'a Crashing,
    maildir: PathBuf,
    /// Where it puts single messages.
    kept: PathBuf,
    /// Where it puts the whole Maildir.
    away: PathBuf,
}

/// Does it.
pub fn play(host: &Host, user: &'static str, prank: Prank, stage: &mut Stage) {
    let owner = Owner::of(host, user);
    let mut moves = Vec::new();
    // There may be nothing yet to do it to.
    let done = owner.play(prank, &mut stage.net.dice, &mut moves);
    owner.sync();
    stage.net.tape.note(&[46, host.number as u64, moves.len() as u64], || {
        format!("{user} of house {}: {prank:?}, {} moved: {done:?}", host.number, moves.len())
    });
    for (what, letter) in moves {
        if what == Moved::Removed {
            stage.books.owned.retain(|own| own.message_id != letter.message_id);
        }
        if what == Moved::Made {
            stage.books.owned.push(Own { host: host.number, user, at: stage.net.now, message_id: letter.message_id });
            continue;
        }
        // Nobody but the house itself knows a message that does not say how it came.
        if let Some((_, id)) = letter.way.first().cloned() {
            stage.net.tape.say(|| format!("{what:?}: {id}"));
            stage.books.moves.push(Move { host: host.number, user, id, letter, at: stage.net.now, is_up: host.house.is_some(), what });
        }
    }
}

impl<'a> Owner<'a> {
    fn of(host: &'a Host, user: &str) -> Owner<'a> {
        let home = home(&host.domain, user);
        Owner { disk: &host.disk, maildir: home.join("Maildir"), kept: home.join("kept"), away: home.join("Maildir.away") }
    }

    fn play(&self, prank: Prank, d: &mut Rng, moves: &mut Vec<(Moved, letters::Found)>) -> io::Result<()> {
        match prank {
            Prank::Remove => {
                let Some(path) = self.choose(d) else { return Ok(()) };
                moves.push((Moved::Removed, self.read(&path)));
                self.disk.another(|world| world.unlink(&path))
            }
            Prank::Read => {
                let Some(path) = self.choose(d).filter(|path| path.starts_with(self.maildir.join("new"))) else { return Ok(()) };
                let name = [name(&path), b":2,S"].concat();
                self.disk.another(|world| world.rename(&path, &self.maildir.join("cur").join(OsStr::from_bytes(&name))))
            }
            Prank::Take => {
                let Some(path) = self.choose(d) else { return Ok(()) };
                moves.push((Moved::Away, self.read(&path)));
                self.disk.another(|world| {
                    let _ = world.make_dir(&self.kept);
                    world.rename(&path, &self.kept.join(OsStr::from_bytes(base(&path))))
                })
            }
            Prank::Return => self.move_all(&self.kept, if d.bool() { "new" } else { "cur" }, moves),
            Prank::TakeAll => {
                self.repair(moves)?;
                for path in self.messages() {
                    moves.push((Moved::Away, self.read(&path)));
                }
                self.disk.another(|world| world.rename(&self.maildir, &self.away))
            }
            Prank::Link(dir) => {
                self.repair(moves)?;
                for path in self.messages().into_iter().filter(|path| path.starts_with(self.maildir.join(dir))) {
                    moves.push((Moved::Away, self.read(&path)));
                }
                self.disk.another(|world| {
                    world.rename(&self.maildir.join(dir), &self.aside(dir))?;
                    world.plant(&self.maildir.join(dir))
                })
            }
            Prank::Plant(name) => self.disk.another(|world| {
                let _ = world.unlink(&self.maildir.join(name));
                world.plant(&self.maildir.join(name))
            }),
            Prank::Scribble(book) => self.disk.another(|world| {
                let _ = world.unlink(&self.maildir.join(book));
                world.write(&self.maildir.join(book), b"uidvalidity 1 uids below 2\n\0\0\0\0rubbish")
            }),
            Prank::Unlink(book) => self.disk.another(|world| world.unlink(&self.maildir.join(book))),
            Prank::Deliver(size) => {
                let n = d.u32(..);
                let (name, text) = (format!("1.M{n}.x{size}"), format!("Message-ID: <o{n}@owner.test>\nSubject: mine\n\nmine\n"));
                self.disk.another(|world| world.write(&self.maildir.join("new").join(name), text.as_bytes()))?;
                moves.push((Moved::Made, letters::read(text.as_bytes())));
                Ok(())
            }
            Prank::Open => self.disk.another(|world| world.give(&self.maildir, 0, true)),
            Prank::Give => self.disk.another(|world| world.give(&self.maildir, 1001, false)),
            Prank::Repair => self.repair(moves),
        }
    }

    /// It is a careful program: what it did to names is durable, and with that what the house did to others in these directories. No bytes of a file are.
    fn sync(&self) {
        let home = self.maildir.parent().unwrap_or(Path::new("/"));
        for dir in [home, &self.maildir, &self.maildir.join("new"), &self.maildir.join("cur"), &self.kept] {
            if self.is_dir(dir) {
                self.disk.another(|world| world.sync_dir(dir)).expect("it is there");
            }
        }
    }

    /// All is as it should be, as far as it can be: nothing that was put away stays there.
    fn repair(&self, moves: &mut Vec<(Moved, letters::Found)>) -> io::Result<()> {
        if self.is_dir(&self.away) {
            if self.is_dir(&self.maildir) {
                // Messages came meanwhile. Books and drafts stay where they are: they are nobody's mail.
                for dir in ["new", "cur"] {
                    self.move_all(&self.away.join(dir), dir, moves)?;
                }
                let gone = self.maildir.with_file_name("Maildir.gone");
                let _ = self.disk.another(|world| world.rename(&self.away, &gone));
            } else {
                self.disk.another(|world| world.rename(&self.away, &self.maildir))?;
                moves.extend(self.messages().iter().map(|path| (Moved::Back, self.read(path))));
            }
        }
        if !self.is_dir(&self.maildir) {
            return Ok(());
        }
        self.disk.another(|world| world.give(&self.maildir, 0, false))?;
        for dir in ["new", "cur", "tmp"] {
            let (place, aside) = (self.maildir.join(dir), self.aside(dir));
            if !self.is_dir(&place) {
                let _ = self.disk.another(|world| world.unlink(&place));
            }
            if !self.is_dir(&aside) {
                continue;
            }
            if self.is_dir(&place) {
                self.move_all(&aside, dir, moves)?;
                let gone = self.maildir.with_file_name(format!("{dir}.gone"));
                let _ = self.disk.another(|world| world.rename(&aside, &gone));
            } else {
                self.disk.another(|world| world.rename(&aside, &place))?;
                let back = self.messages().into_iter().filter(|path| path.starts_with(&place));
                moves.extend(back.map(|path| (Moved::Back, self.read(&path))));
            }
        }
        self.move_all(&self.kept, "new", moves)
    }

    /// Moves all files of a directory to one of the mailbox, if that is there. What was delivered again meanwhile is not replaced: what was put away may have
    /// suffered.
    fn move_all(&self, from: &Path, to: &str, moves: &mut Vec<(Moved, letters::Found)>) -> io::Result<()> {
        let place = self.maildir.join(to);
        if !self.is_dir(&place) {
            return Ok(());
        }
        for path in self.files(from) {
            let letter = self.read(&path);
            let name = match to {
                "cur" if base(&path) == name(&path) => [name(&path), b":2,S"].concat(),
                "new" => base(&path).to_vec(),
                _ => name(&path).to_vec(),
            };
            let to = place.join(OsStr::from_bytes(&name));
            if self.disk.peek(|world| world.stat(&to)).is_err() {
                moves.push((Moved::Back, letter));
                self.disk.another(|world| world.rename(&path, &to))?;
            }
        }
        Ok(())
    }

    /// Where a directory of the Maildir is put while something else has its name.
    fn aside(&self, dir: &str) -> PathBuf {
        self.maildir.with_file_name(format!("{dir}.aside"))
    }

    fn choose(&self, d: &mut Rng) -> Option<PathBuf> {
        d.choice(self.messages())
    }

    /// The files of all messages.
    fn messages(&self) -> Vec<PathBuf> {
        ["new", "cur"].iter().flat_map(|dir| self.files(&self.maildir.join(dir))).collect()
    }

    fn files(&self, dir: &Path) -> Vec<PathBuf> {
        let list = self.disk.peek(|world| world.list(dir)).unwrap_or_default();
        list.iter().filter(|(_, is_file)| *is_file).map(|(name, _)| dir.join(OsStr::from_bytes(name))).collect()
    }

    fn is_dir(&self, path: &Path) -> bool {
        self.disk.peek(|world| world.stat(path)).is_ok_and(|stat| stat.is_dir)
    }

    fn read(&self, path: &Path) -> letters::Found {
        letters::read(&self.disk.peek(|world| world.content(path)).unwrap_or_default())
    }
}

/// What it delivered and did not remove is there; only a power cut may take it, for nobody vouched for it.
pub fn check(host: &Host, books: &Books, wrong: &mut Vec<String>) {
    for own in books.owned.iter().filter(|own| own.host == host.number) {
        let owner = Owner::of(host, own.user);
        let count = owner.messages().iter().filter(|path| owner.read(path).message_id == own.message_id).count();
        let was_cut = books.crashes.iter().any(|c| c.host == own.host && c.is_cut && c.at >= own.at);
        if count > 1 || count == 0 && !was_cut {
            wrong
                .push(format!("{} of house {} has {}, which another program delivered, {count} times", own.user, own.host, own.message_id));
        }
    }
}

fn name(path: &Path) -> &[u8] {
    path.file_name().map(OsStr::as_bytes).unwrap_or_default()
}

/// The name of a message without its flags.
fn base(path: &Path) -> &[u8] {
    name(path).split(|byte| *byte == b':').next().unwrap_or_default()
}
