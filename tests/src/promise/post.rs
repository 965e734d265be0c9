//! The promise about mail for others: what was acknowledged arrives there, or its sender hears why not, once.

use super::{
    SENDER, login,
    sink::{Copy, Manner, Sink, letter_of},
};
use crate::{
    imaptest::Arg,
    live::{Live, Talk},
};
use fastrand::Rng;
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Which reports a sender asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Nothing,
    All,
    Never,
}

/// A recipient elsewhere.
#[derive(Debug, Clone)]
pub struct Addressee {
    address: String,
    manner: Manner,
    wish: Wish,
    /// Whether its host reports itself.
    tells: bool,
}

/// What was told to the sender, and what came of it.
#[derive(Debug)]
struct Fate {
    to: Addressee,
    promised: bool,
    /// Copies and reports when all was over and in the log: from then on there are no more.
    closed: Option<(usize, usize)>,
}

/// The books of mail for others.
#[derive(Debug, Default)]
pub struct Post {
    /// Where that mail goes.
    pub sink: Sink,
    books: Mutex<Books>,
}

#[derive(Debug, Default)]
struct Books {
    fates: BTreeMap<String, Fate>,
    /// By address and action, the `Message-ID` of each. (A power cut may give a message another UID.)
    reports: BTreeMap<(String, String), BTreeSet<String>>,
}

impl Addressee {
    /// Some recipients for a letter.
    pub fn some(letter: u64, random: &mut Rng) -> Vec<Addressee> {
        let one = |manner: Manner, random: &mut Rng| {
            let site = random.usize(0..2);
            let wish = [Wish::Nothing, Wish::All, Wish::Never][random.usize(0..3)];
            Addressee { address: format!("{}-{letter}@{}", manner.word(), Sink::DOMAINS[site]), manner, wish, tells: site == 0 }
        };
        // Who refuses the content does so for all whom the transaction names.
        if random.u8(0..8) == 0 {
            return vec![one(Manner::Rejects, random)];
        }
        let mut some: Vec<Addressee> = Vec::new();
        for _ in 0..random.usize(1..4) {
            let manner = [Manner::Takes, Manner::Takes, Manner::Delays, Manner::Refuses][random.usize(0..4)];
            let one = one(manner, random);
            if some.iter().all(|other| other.address != one.address) {
                some.push(one);
            }
        }
        some
    }

    /// The report that is owed, by its action.
    fn report(&self) -> Option<&'static str> {
        match (self.manner, self.wish) {
            (Manner::Refuses | Manner::Rejects, Wish::Nothing | Wish::All) => Some("failed"),
            // RFC 3461 §5.2.2: the host that cannot report is reported on by the one before it.
            (Manner::Takes | Manner::Delays, Wish::All) if !self.tells => Some("relayed"),
            _ => None,
        }
    }

    fn arrives(&self) -> bool {
        matches!(self.manner, Manner::Takes | Manner::Delays)
    }
}

impl Post {
    /// Sends a message to some recipients elsewhere and to users here. Returns whether it was acknowledged.
    ///
    /// # Errors
    /// If the connection fails.
    pub fn send(&self, talk: &mut Talk, to: &[Addressee], users: &[&str], message: &str) -> io::Result<bool> {
        for to in to {
            let fate = Fate { to: to.clone(), promised: false, closed: None };
            self.books().fates.insert(to.address.clone(), fate);
        }
        let mut commands = format!("MAIL FROM:<{SENDER}@example.test>\r\n");
        for Addressee { address, wish, .. } in to {
            let notify = match wish {
                Wish::Nothing => "",
                Wish::All => " NOTIFY=SUCCESS,FAILURE",
                Wish::Never => " NOTIFY=NEVER",
            };
            commands += &format!("RCPT TO:<{address}>{notify}\r\n");
        }
        users.iter().for_each(|user| commands += &format!("RCPT TO:<{user}@example.test>\r\n"));
        talk.try_send(format!("{commands}DATA\r\n").as_bytes())?;
        for n in 0..to.len() + users.len() + 2 {
            let line = talk.try_line()?;
            if !line.starts_with(if n == to.len() + users.len() + 1 { "354" } else { "250" }) {
                return Err(io::Error::other(line));
            }
        }
        talk.try_send(format!("{message}.\r\n").as_bytes())?;
        let promised = talk.try_line()?.starts_with("250");
        if promised {
            self.promise(&to.iter().map(|to| to.address.clone()).collect::<Vec<_>>());
        }
        Ok(promised)
    }

    /// Recipients of a message that is sent by other means, with no wishes: their addresses.
    pub fn plan(&self, letter: u64, random: &mut Rng) -> Vec<String> {
        let some = Addressee::some(letter, random).into_iter().map(|to| Addressee { wish: Wish::Nothing, ..to });
        some.map(|to| {
            let address = to.address.clone();
            self.books().fates.insert(address.clone(), Fate { to, promised: false, closed: None });
            address
        })
        .collect()
    }

    /// The message for these was acknowledged.
    pub fn promise(&self, addresses: &[String]) {
        let mut books = self.books();
        addresses.iter().for_each(|address| books.fates.get_mut(address).expect("it was put there").promised = true);
    }

    /// Compares the books with the sink and the sender's mailbox. Returns what is not there yet; if nothing is missing, the books are closed: call it
    /// then when nothing is queued.
    ///
    /// # Errors
    /// Each broken promise.
    pub fn check(&self, live: &Live) -> Result<Vec<String>, String> {
        let mut books = self.books();
        let mut wrong = self.sink.wrong();
        books.read_reports(live, &mut wrong)?;
        let mut missing = Vec::new();
        let Books { fates, reports, .. } = &mut *books;
        for (address, fate) in fates.iter() {
            let copies = self.sink.copies(address);
            let told: Vec<(&str, usize)> = ["failed", "relayed", "delivered", "expanded", "delayed"]
                .into_iter()
                .filter_map(|action| Some((action, reports.get(&(address.clone(), action.to_owned()))?.len())))
                .collect();
            let what = || format!("{address} ({:?}, promised: {})", fate.to.wish, fate.promised);
            let runs: BTreeSet<u64> = copies.iter().map(|copy| copy.run).collect();
            // What the sink took is known for sure when it is in the log, and that costs no flush of its own: a fall may forget it. Without a fall in
            // between nothing arrives twice.
            if runs.len() < copies.len() {
                wrong.push(format!("{}: sent again without a fall: {copies:?}", what()));
            }
            if !fate.to.arrives() && !copies.is_empty() {
                wrong.push(format!("{}: taken after it was refused", what()));
            }
            let asks = |copy: &Copy| copy.success == (fate.to.wish == Wish::All);
            if fate.to.tells && !copies.iter().all(asks) {
                wrong.push(format!("{}: its wish did not arrive", what()));
            }
            // A report and what it settles are one record, so no fall makes two of it.
            for (action, count) in &told {
                if Some(*action) != fate.to.report() || *count > 1 {
                    wrong.push(format!("{}: {count} reports that it was {action}", what()));
                }
            }
            let count = told.iter().map(|(_, count)| count).sum();
            if fate.closed.is_some_and(|closed| closed != (copies.len(), count)) {
                wrong.push(format!(
                    "{}: it was done ({:?}), and now there are {} copies and {count} reports",
                    what(),
                    fate.closed,
                    copies.len()
                ));
            }
            // Who was promised nothing may have sent it all the same.
            let accepted = fate.promised || !copies.is_empty() || count > 0;
            if accepted && fate.to.arrives() && copies.is_empty() {
                missing.push(format!("{}: did not arrive", what()));
            }
            if accepted && fate.to.report().is_some() && count == 0 {
                missing.push(format!("{}: nobody was told", what()));
            }
        }
        if !wrong.is_empty() {
            return Err(wrong.join("\n"));
        }
        if missing.is_empty() {
            for (address, fate) in fates.iter_mut() {
                let count = reports
                    .range((address.clone(), String::new())..)
                    .take_while(|((a, _), _)| a == address)
                    .map(|(_, names)| names.len())
                    .sum();
                fate.closed = Some((self.sink.copies(address).len(), count));
            }
        }
        Ok(missing)
    }

    /// How many recipients were promised something, and how many of them got it twice because of a fall.
    pub fn count(&self) -> (usize, usize) {
        let books = self.books();
        let twice = books.fates.keys().filter(|address| self.sink.copies(address).len() > 1).count();
        (books.fates.values().filter(|fate| fate.promised).count(), twice)
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Books {
    /// Reads the reports that are there.
    fn read_reports(&mut self, live: &Live, wrong: &mut Vec<String>) -> Result<(), String> {
        let mut client = login(live.ports, SENDER)?;
        client.ok(b"SELECT INBOX")?;
        let mut there = BTreeSet::new();
        for reply in client.ok(b"UID FETCH 1:* (BODY.PEEK[])")? {
            let [_, name, Arg::List(items)] = reply.as_slice() else { continue };
            let body = items.iter().position(|a| a.is("BODY[]")).and_then(|at| items.get(at + 1)).and_then(Arg::text);
            let Some(message) = body.filter(|_| name.is("FETCH")) else { continue };
            let message = String::from_utf8_lossy(message);
            let told = told(&message);
            let letters: BTreeSet<Option<u64>> = told.iter().map(|(address, _)| letter_of(address)).collect();
            let whole = letters.len() == 1
                && letters.iter().flatten().all(|letter| message.contains(&format!("X-Letter: {letter}\r\n")))
                && message.trim_end().ends_with("--");
            let name = message.lines().find_map(|line| line.strip_prefix("Message-ID: ")).unwrap_or_default();
            if !whole {
                wrong.push(format!("{SENDER} got what is no report of ours: {message}"));
            }
            if !there.insert(name.to_owned()) {
                wrong.push(format!("{SENDER} has {name} twice"));
            }
            told.into_iter().for_each(|told| _ = self.reports.entry(told).or_default().insert(name.to_owned()));
        }
        let read: BTreeSet<&String> = self.reports.values().flatten().collect();
        wrong.extend(read.iter().filter(|name| !there.contains(**name)).map(|name| format!("{SENDER} has lost {name}")));
        Ok(())
    }
}

/// Of whom a report tells what (RFC 3464 §2.3).
pub fn told(message: &str) -> Vec<(String, String)> {
    let field = |group: &str, name: &str| group.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned());
    let groups = message.split("\r\n\r\n");
    groups.filter_map(|group| Some((field(group, "Final-Recipient: rfc822;")?, field(group, "Action:")?))).collect()
}
