//! The promise about mailboxes that come, get other names, are copied into and go: each is where its name was last acknowledged, once, with the letters
//! that were acknowledged in it, and a removed one does not come back.

use super::{letters, login, text, words};
use crate::{
    imaptest::{Arg, Client},
    live::{Live, Ports},
};
use fastrand::Rng;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// Whose they are.
pub const KEEPER: &str = "erin";
/// How all their names begin: `box-NUMBER-HOW_OFTEN_RENAMED`.
const PREFIX: &str = "box-";
/// Mailboxes of which nothing is in doubt, at most: older ones are removed.
const MOST: usize = 6;

/// The books of one who has mailboxes.
#[derive(Debug, Default)]
pub struct Names {
    next: AtomicU64,
    books: Mutex<BTreeMap<u64, Fate>>,
}

/// What was told of a mailbox.
#[derive(Debug, Clone)]
struct Fate {
    /// What it may be called.
    names: BTreeSet<String>,
    /// Whether it must be there; `None` if it may be.
    there: Option<bool>,
    /// Its letters, and whether each must be there.
    letters: BTreeMap<u64, bool>,
}

impl Fate {
    /// Its name, if it is there for sure and has no other.
    fn sure(&self) -> Option<&str> {
        self.names.first().filter(|_| self.there == Some(true) && self.names.len() == 1).map(String::as_str)
    }
}

impl Names {
    /// Makes, fills, renames and removes mailboxes until it is over, or something fails.
    pub(super) fn change(&self, ports: Ports, mut random: Rng, over: &AtomicBool, letter: impl Fn(&mut Rng) -> u64) -> Result<(), String> {
        let mut client = login(ports, KEEPER)?;
        while !over.load(Ordering::Relaxed) {
            let sure: Vec<(u64, String)> =
                self.books().iter().filter_map(|(number, fate)| Some((*number, fate.sure()?.to_owned()))).collect();
            let chosen = random.choice(sure.iter());
            match (random.u8(0..8), chosen) {
                (0, _) | (_, None) => drop(self.make(&mut client)?),
                (1, Some((number, name))) => self.rename(&mut client, *number, name)?,
                (2, Some(_)) if sure.len() > MOST => self.remove(&mut client, sure[0].0, &sure[0].1)?,
                (3, Some((number, name))) => self.copy(&mut client, *number, name)?,
                (_, Some((number, name))) => self.fill(&mut client, *number, name, letter(&mut random), &mut random)?,
            }
        }
        Ok(())
    }

    /// Puts it down before the server is asked, so that what is not answered is in doubt.
    fn make(&self, client: &mut Client) -> Result<Option<u64>, String> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{number}-0");
        let fate = Fate { names: BTreeSet::from([name.clone()]), there: None, letters: BTreeMap::new() };
        self.books().insert(number, fate);
        let made = is_ok(&client.reply(format!("CREATE {name}").as_bytes())?);
        if made {
            self.of(number, |fate| fate.there = Some(true));
        }
        Ok(made.then_some(number))
    }

    fn rename(&self, client: &mut Client, number: u64, name: &str) -> Result<(), String> {
        let (stem, times) = name.rsplit_once('-').ok_or("a name of ours")?;
        let to = format!("{stem}-{}", times.parse::<u64>().map_err(text)? + 1);
        self.of(number, |fate| _ = fate.names.insert(to.clone()));
        if is_ok(&client.reply(format!("RENAME {name} {to}").as_bytes())?) {
            self.of(number, |fate| fate.names = BTreeSet::from([to]));
        }
        Ok(())
    }

    fn remove(&self, client: &mut Client, number: u64, name: &str) -> Result<(), String> {
        self.of(number, |fate| fate.there = None);
        if is_ok(&client.reply(format!("DELETE {name}").as_bytes())?) {
            self.of(number, |fate| fate.there = Some(false));
        }
        Ok(())
    }

    /// Some letters come in with dates of their own.
    fn fill(&self, client: &mut Client, number: u64, name: &str, letter: u64, random: &mut Rng) -> Result<(), String> {
        self.of(number, |fate| _ = fate.letters.insert(letter, false));
        let date = if random.bool() { "\"01-Jan-2020 12:00:00 +0000\" " } else { "" };
        let message = words(letter);
        if is_ok(&client.reply(format!("APPEND {name} {date}{{{}+}}\r\n{message}", message.len()).as_bytes())?) {
            self.of(number, |fate| _ = fate.letters.insert(letter, true));
        }
        Ok(())
    }

    /// Copies all of its letters to a new one.
    fn copy(&self, client: &mut Client, from: u64, name: &str) -> Result<(), String> {
        let Some(letters) = self.books().get(&from).map(|fate| fate.letters.clone()) else { return Ok(()) };
        let Some(to) = self.make(client)? else { return Ok(()) };
        let target = format!("{PREFIX}{to}-0");
        self.of(to, |fate| fate.letters = letters.keys().map(|letter| (*letter, false)).collect());
        if !is_ok(&client.reply(format!("SELECT {name}").as_bytes())?) {
            return Ok(());
        }
        if is_ok(&client.reply(format!("UID COPY 1:* {target}").as_bytes())?) {
            self.of(to, |fate| fate.letters = letters);
        }
        client.reply(b"UNSELECT").map(drop)
    }

    /// Compares the books with what is there, and brings them up to date. Returns how many there are.
    ///
    /// # Errors
    /// Each broken promise.
    pub(super) fn check(&self, live: &Live) -> Result<usize, String> {
        let mut client = login(live.ports, KEEPER)?;
        let mut there: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
        for reply in client.ok(b"LIST \"\" *")? {
            let name = reply.last().and_then(Arg::text).map(|name| String::from_utf8_lossy(name).into_owned()).unwrap_or_default();
            let number = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-')).and_then(|(number, _)| number.parse().ok());
            if let Some(number) = number {
                there.entry(number).or_default().insert(name);
            }
        }
        let mut wrong = Vec::new();
        // Who checks again after something was wrong must see it again.
        let mut books = self.books().clone();
        for (number, fate) in &mut books {
            let is = there.remove(number).unwrap_or_default();
            if is.len() > 1 {
                wrong.push(format!("{KEEPER}: one mailbox has the names {is:?}"));
            }
            let Some(name) = is.first() else {
                if fate.there == Some(true) {
                    wrong.push(format!("{KEEPER}: {:?} is lost", fate.names));
                }
                fate.there = Some(false);
                continue;
            };
            if fate.there == Some(false) {
                wrong.push(format!("{KEEPER}: {name} was removed and is back"));
            }
            if !fate.names.contains(name) {
                wrong.push(format!("{KEEPER}: {name} should be {:?}", fate.names));
            }
            client.ok(format!("EXAMINE {name}").as_bytes())?;
            let mut seen = BTreeSet::new();
            for found in letters(&mut client, true)? {
                if !found.whole {
                    wrong.push(format!("{KEEPER}: letter {} in {name} is not as it was sent", found.letter));
                }
                if !seen.insert(found.letter) {
                    wrong.push(format!("{KEEPER}: letter {} is in {name} twice", found.letter));
                }
                if !fate.letters.contains_key(&found.letter) {
                    wrong.push(format!("{KEEPER}: letter {} in {name} does not belong there", found.letter));
                }
            }
            for (letter, _) in fate.letters.iter().filter(|(letter, kept)| **kept && !seen.contains(letter)) {
                wrong.push(format!("{KEEPER}: letter {letter} was acknowledged in {name} and is lost"));
            }
            // Whatever did not make it must not appear later.
            *fate = Fate {
                names: BTreeSet::from([name.clone()]),
                there: Some(true),
                letters: seen.into_iter().map(|letter| (letter, true)).collect(),
            };
        }
        wrong.extend(there.values().map(|names| format!("{KEEPER}: nobody made {names:?}")));
        if !wrong.is_empty() {
            return Err(wrong.join("\n"));
        }
        let count = books.values().filter(|fate| fate.there == Some(true)).count();
        *self.books() = books;
        Ok(count)
    }

    fn of(&self, number: u64, change: impl FnOnce(&mut Fate)) {
        self.books().get_mut(&number).map(change);
    }

    fn books(&self) -> MutexGuard<'_, BTreeMap<u64, Fate>> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_ok(reply: &[Arg]) -> bool {
    reply.first().is_some_and(|word| word.is("OK"))
}
