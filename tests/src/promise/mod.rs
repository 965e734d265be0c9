//! The promise, as books that are kept while a server is under load and compared with its mailboxes after it fell: nothing acknowledged is
//! lost, nothing is there twice, nothing removed comes back, no UID is ever used again. What is for others arrives there or comes back ([`post`]), and
//! mailboxes are where their names were last acknowledged ([`names`]).

pub mod leave;
pub mod names;
pub mod post;
pub mod sink;

use crate::{
    imaptest::{Arg, Client},
    live::{Live, Mailer, Ports, Setup, Talk},
    model::PASSWORD,
};
use fastrand::Rng;
use leave::{Sendmail, ring, waiting};
use names::{KEEPER, Names};
use post::{Addressee, Post};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use storage::control::{Checkpoint, Client as Operator, Effect, Listing, Status};

/// Who gets mail.
pub const USERS: [&str; 2] = ["alice", "bob"];
/// Who sends to others, and gets the reports.
pub const SENDER: &str = "dave";
/// Connections that deliver, send or append, besides one that removes, one that changes mailboxes and one that sends too much at a time.
const WRITERS: usize = 8;
/// Bytes of messages on their way that the server has room for on its disk: one of our largest.
const UNCOMMITTED: u64 = 1_000_000;
/// Programs at a time that leave mail in the drop folder.
const PROGRAMS: usize = 2;
/// How long what waits may take when nothing falls.
const PATIENCE: Duration = Duration::from_secs(60);

/// The order to try all that is queued.
const RETRY: &[u8] = br#"{"whom":{"all":{}},"action":"retry"}"#;

/// What was told to whom.
#[derive(Debug, Default)]
pub struct Ledger {
    next: AtomicU64,
    /// Programs that left mail and said so, and those that did not.
    left: [AtomicU64; 2],
    post: Post,
    names: Names,
    books: Mutex<Books>,
}

#[derive(Debug, Default, Clone)]
struct Books {
    /// By user and letter.
    fates: BTreeMap<(&'static str, u64), Fate>,
    /// Which letter a UID was given to, by user and UIDVALIDITY.
    uids: BTreeMap<(&'static str, u64, u64), u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// May have arrived.
    Sent,
    /// Was acknowledged: must be there.
    Kept,
    /// May be gone.
    Leaving,
    /// Was acknowledged to be gone: must not come back.
    Gone,
}

impl Ledger {
    /// What a server has to be started with.
    pub fn setup(&self) -> Setup {
        let accounts = USERS.iter().chain([&SENDER, &KEEPER]).map(|user| (*user).to_owned()).collect();
        let extra = format!(
            "relay: (clients: [\"127.0.0.0/8\"]), queue: (retry: List([1])), limits: (message: {UNCOMMITTED}, uncommitted: {UNCOMMITTED}, mailbox_changes: 0), {}",
            self.post.sink.routes()
        );
        Setup { accounts, extra, ..Setup::default() }
    }

    /// Loads a server for `time` and then calls `fall`, while the load goes on until every connection has failed.
    pub fn load(&self, live: &mut Live, seed: u64, time: Duration, fall: impl FnOnce(&mut Live)) {
        let ports = live.ports;
        let over = AtomicBool::new(false);
        // What nobody took by then waits in the queue when it falls.
        let mut random = Rng::with_seed(seed);
        let is_busy = random.u8(0..3) == 0;
        self.post.sink.set_busy(is_busy);
        thread::scope(|scope| {
            for number in 0..=WRITERS + 2 {
                let over = &over;
                let mut random = Rng::with_seed(seed * 100 + number as u64);
                scope.spawn(move || {
                    while !over.load(Ordering::Relaxed) {
                        let random = random.fork();
                        // A connection that fails is followed by another: the server fell, or a call of it failed.
                        let end = match number {
                            8 => self.remove(ports, random, over),
                            9 => self.names.change(ports, random, over, |random| self.write(random)),
                            10 => self.overdo(ports, random, over),
                            6 | 7 => self.send(ports, random, over),
                            4 | 5 => self.append(ports, random, over),
                            _ => self.deliver(ports, random, number == 3, over),
                        };
                        if end.is_err() {
                            thread::sleep(Duration::from_millis(5));
                        }
                    }
                });
            }
            let socket = live.dir.join("store/control.sock");
            scope.spawn({
                let over = &over;
                move || self.watch(&Operator::new(&socket), (!is_busy).then_some(random), over)
            });
            let sendmail = Sendmail::of(live);
            for number in 0..PROGRAMS {
                let (over, sendmail) = (&over, sendmail.clone());
                let mut random = Rng::with_seed(seed * 1000 + number as u64);
                scope.spawn(move || {
                    while !over.load(Ordering::Relaxed) {
                        self.leave(&sendmail, &mut random);
                    }
                });
            }
            // Also if it panics, or the load would go on for ever.
            let _end = End(&over);
            thread::sleep(time);
            fall(live);
            self.post.sink.fell();
        });
    }

    /// The server fell, while the load goes on: what it sends from here on it may have sent before.
    pub fn fell(&self) {
        self.post.sink.fell();
    }

    /// From now on connections of the server may break for no fault of its own, or no longer.
    pub fn set_breaks(&self, breaks: bool) {
        self.post.sink.set_breaks(breaks);
    }

    /// Programs leave mail while nobody takes it in; then the server starts, and falls while it takes it in. Call it when it has fallen.
    ///
    /// # Panics
    /// If it takes nothing in.
    pub fn load_while_down(&self, live: &mut Live, seed: u64, fall: impl FnOnce(&mut Live)) {
        let sendmail = Sendmail::of(live);
        thread::scope(|scope| {
            for number in 0..PROGRAMS {
                let (sendmail, mut random) = (sendmail.clone(), Rng::with_seed(seed * 1000 + 500 + number as u64));
                scope.spawn(move || (0..8).for_each(|_| self.leave(&sendmail, &mut random)));
            }
        });
        let left = waiting(live).expect("nothing was put aside");
        live.restart();
        ring(live);
        let begin = Instant::now();
        while left > 0 && waiting(live).is_ok_and(|now| now >= left) {
            assert!(begin.elapsed() < PATIENCE, "none of {left} messages is taken in");
            thread::sleep(Duration::from_millis(1));
        }
        fall(live);
        self.post.sink.fell();
    }

    /// A program leaves a message.
    fn leave(&self, sendmail: &Sendmail, random: &mut Rng) {
        let letter = self.write(random);
        let users: &[&'static str] = [&USERS[..1], &USERS[1..], &USERS[..]][random.usize(0..3)];
        let others = if random.bool() { self.post.plan(letter, random) } else { Vec::new() };
        users.iter().for_each(|user| self.note(user, letter, Fate::Sent));
        let to: Vec<String> = users.iter().map(|user| format!("{user}@example.test")).chain(others.iter().cloned()).collect();
        let done = sendmail.run(&format!("{SENDER}@example.test"), &to, letter, random);
        self.left[usize::from(!done)].fetch_add(1, Ordering::Relaxed);
        if done {
            users.iter().for_each(|user| self.note(user, letter, Fate::Kept));
            self.post.promise(&others);
        }
    }

    fn deliver(&self, ports: Ports, mut random: Rng, lmtp: bool, over: &AtomicBool) -> Result<(), String> {
        let (port, hello) = if lmtp { (ports.lmtp, "LHLO") } else { (ports.smtp, "EHLO") };
        let mut mailer = Mailer::try_new(Talk::try_plain(local(port)).map_err(text)?, hello).map_err(text)?;
        while !over.load(Ordering::Relaxed) {
            let letter = self.write(&mut random);
            let to: Vec<&'static str> = if random.u8(0..4) == 0 { USERS.to_vec() } else { vec![USERS[random.usize(0..2)]] };
            let addresses: Vec<String> = to.iter().map(|u| format!("{u}@example.test")).collect();
            let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
            to.iter().for_each(|user| self.note(user, letter, Fate::Sent));
            let taken = mailer.try_mail_each("carol@example.org", &addresses, &words(letter), lmtp).map_err(text)?;
            to.iter().zip(taken).filter(|(_, taken)| *taken).for_each(|(user, _)| self.note(user, letter, Fate::Kept));
        }
        Ok(())
    }

    fn send(&self, ports: Ports, mut random: Rng, over: &AtomicBool) -> Result<(), String> {
        let mut mailer = Mailer::try_new(Talk::try_plain(local(ports.smtp)).map_err(text)?, "EHLO").map_err(text)?;
        while !over.load(Ordering::Relaxed) {
            let letter = self.write(&mut random);
            let users: &[&'static str] = if random.u8(0..4) == 0 { &USERS[..1] } else { &[] };
            users.iter().for_each(|user| self.note(user, letter, Fate::Sent));
            if self.post.send(&mut mailer.0, &Addressee::some(letter, &mut random), users, &words(letter)).map_err(text)? {
                users.iter().for_each(|user| self.note(user, letter, Fate::Kept));
            }
        }
        Ok(())
    }

    fn append(&self, ports: Ports, mut random: Rng, over: &AtomicBool) -> Result<(), String> {
        let user = USERS[random.usize(0..2)];
        let mut client = login(ports, user)?;
        while !over.load(Ordering::Relaxed) {
            let letter = self.write(&mut random);
            self.note(user, letter, Fate::Sent);
            let message = words(letter);
            let command = format!("APPEND INBOX {{{}+}}\r\n{message}", message.len());
            let reply = client.reply(command.as_bytes())?;
            if !reply.first().is_some_and(|a| a.is("OK")) {
                continue;
            }
            self.note(user, letter, Fate::Kept);
            if let [_, code, validity, uid, ..] = reply.as_slice() {
                assert!(code.is("[APPENDUID"), "no APPENDUID in {reply:?}");
                self.numbered(user, number(validity), number(uid), letter);
            }
        }
        Ok(())
    }

    /// Removes letters of bob for good, a few at a time.
    fn remove(&self, ports: Ports, mut random: Rng, over: &AtomicBool) -> Result<(), String> {
        let user = USERS[1];
        let mut client = login(ports, user)?;
        client.ok(b"SELECT INBOX")?;
        while !over.load(Ordering::Relaxed) {
            client.ok(b"NOOP")?;
            let letters = letters(&mut client, false)?;
            let chosen: Vec<_> = letters.iter().filter(|_| random.u8(0..8) == 0).take(3).collect();
            if chosen.is_empty() {
                thread::sleep(Duration::from_millis(5));
                continue;
            }
            let uids = chosen.iter().map(|l| l.uid.to_string()).collect::<Vec<_>>().join(",");
            chosen.iter().for_each(|l| self.note(user, l.letter, Fate::Leaving));
            client.ok(format!("UID STORE {uids} +FLAGS.SILENT (\\Deleted)").as_bytes())?;
            client.ok(format!("UID EXPUNGE {uids}").as_bytes())?;
            chosen.iter().for_each(|l| self.note(user, l.letter, Fate::Gone));
        }
        Ok(())
    }

    /// Asks for what is done once in a while otherwise; `random` also lets the sink turn connections away now and then, so that others are made.
    fn watch(&self, operator: &Operator, mut random: Option<Rng>, over: &AtomicBool) {
        while !over.load(Ordering::Relaxed) {
            if let Some(random) = &mut random {
                self.post.sink.set_busy(random.u8(0..3) == 0);
            }
            // Whether it can is not what is asked.
            _ = operator.get::<Status>("/status", &[]);
            _ = operator.post::<Checkpoint>("/checkpoint", b"");
            _ = operator.post::<Effect>("/queue", RETRY);
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Two large messages at a time, of which the server has room for one: it finds out when most of the other is on its disk.
    fn overdo(&self, ports: Ports, mut random: Rng, over: &AtomicBool) -> Result<(), String> {
        let begin = || Mailer::try_new(Talk::try_plain(local(ports.smtp)).map_err(text)?, "EHLO").map_err(text);
        let (mut slow, mut mailer) = (begin()?.0, begin()?);
        while !over.load(Ordering::Relaxed) {
            let [first, second] = [(); 2].map(|()| self.next.fetch_add(1, Ordering::Relaxed) * 1_000_000 + random.u64(700_000..900_000));
            [first, second].iter().for_each(|letter| self.note(USERS[0], *letter, Fate::Sent));
            slow.try_send(b"MAIL FROM:<carol@example.org>\r\nRCPT TO:<alice@example.test>\r\nDATA\r\n").map_err(text)?;
            let mut replies = || (0..3).map(|_| slow.try_line()).collect::<Result<Vec<_>, _>>().map_err(text);
            if !replies()?.iter().zip(["250", "250", "354"]).all(|(reply, code)| reply.starts_with(code)) {
                return Err("put off".into());
            }
            slow.try_send(words(first).as_bytes()).map_err(text)?;
            if mailer.try_mail_each("carol@example.org", &["alice@example.test"], &words(second), false).map_err(text)? == [true] {
                self.note(USERS[0], second, Fate::Kept);
            }
            slow.try_send(b".\r\n").map_err(text)?;
            if slow.try_line().map_err(text)?.starts_with("250") {
                self.note(USERS[0], first, Fate::Kept);
            }
            thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// Waits until nothing is on its way, compares the books with what is there, and brings them up to date. Returns what there is, in words.
    ///
    /// # Errors
    /// Each broken promise.
    pub fn check(&self, live: &Live) -> Result<String, String> {
        self.post.sink.set_busy(false);
        ring(live);
        let begin = Instant::now();
        while waiting(live)? > 0 {
            if begin.elapsed() > PATIENCE {
                return Err("what was left in the drop folder is not taken in".into());
            }
            thread::sleep(Duration::from_millis(5));
        }
        drain(live)?;
        let letters = self.check_mailboxes(live)?;
        let mailboxes = self.names.check(live)?;
        let begin = Instant::now();
        loop {
            let missing = self.post.check(live)?;
            if missing.is_empty() {
                break;
            }
            if begin.elapsed() > PATIENCE {
                return Err(missing.join("\n"));
            }
            thread::sleep(Duration::from_millis(20));
        }
        // What came of all that is in the log before the record of the next message, so nothing of it is ever done again.
        let letter = self.next.fetch_add(1, Ordering::Relaxed) * 1_000_000;
        Mailer::new(live.connect(live.ports.smtp), "EHLO").mail("carol@example.org", &["alice@example.test"], &words(letter));
        self.note(USERS[0], letter, Fate::Kept);
        let (sent, twice) = self.post.count();
        let [left, not] = [0, 1].map(|n| self.left[n].load(Ordering::Relaxed));
        Ok(format!(
            "{letters} letters, {mailboxes} mailboxes, {sent} recipients elsewhere, {twice} of them twice; {left} left by programs, {not} not"
        ))
    }

    fn check_mailboxes(&self, live: &Live) -> Result<usize, String> {
        let mut wrong = Vec::new();
        let mut count = 0;
        // Who checks again after something was wrong must see it again: the books change only if all is well.
        let mut books = self.books().clone();
        for user in USERS {
            let mut client = login(live.ports, user)?;
            let selected = client.ok(b"SELECT INBOX")?;
            let code = |name: &str| selected.iter().find(|r| r.get(1).is_some_and(|a| a.is(name))).and_then(|r| r.get(2)).map(number);
            let (validity, next) = (code("[UIDVALIDITY").ok_or("no UIDVALIDITY")?, code("[UIDNEXT").ok_or("no UIDNEXT")?);
            let there = letters(&mut client, true)?;
            count += there.len();
            let mut seen = BTreeSet::new();
            for found in &there {
                let letter = found.letter;
                if !seen.insert(letter) {
                    wrong.push(format!("{user}: letter {letter} is there twice"));
                }
                match books.fates.get(&(user, letter)) {
                    None => wrong.push(format!("{user}: letter {letter} was never sent")),
                    Some(Fate::Gone) => wrong.push(format!("{user}: letter {letter} was removed and is back")),
                    Some(_) => _ = books.fates.insert((user, letter), Fate::Kept),
                }
                if !found.whole {
                    wrong.push(format!("{user}: letter {letter} is not as it was sent"));
                }
                if let Some(before) = books.uids.insert((user, validity, found.uid), letter).filter(|before| *before != letter) {
                    wrong.push(format!("{user}: UID {} was letter {before} and is letter {letter}", found.uid));
                }
                if found.uid >= next {
                    wrong.push(format!("{user}: UID {} is not below UIDNEXT {next}", found.uid));
                }
            }
            if let Some(((.., uid), _)) = books.uids.range((user, validity, next)..=(user, validity, u64::MAX)).next() {
                wrong.push(format!("{user}: UIDNEXT {next} was given away already: UID {uid}"));
            }
            if let Some((other, ..)) =
                books.uids.keys().filter(|(u, ..)| *u == user).map(|(_, v, _)| (*v, ())).find(|(v, ())| *v != validity)
            {
                wrong.push(format!("{user}: UIDVALIDITY was {other} and is {validity}"));
            }
            for ((_, letter), fate) in books.fates.iter_mut().filter(|((u, _), _)| *u == user) {
                if seen.contains(letter) {
                    continue;
                }
                if *fate == Fate::Kept {
                    wrong.push(format!("{user}: letter {letter} was acknowledged and is lost"));
                }
                // Whatever did not make it must not appear later.
                *fate = Fate::Gone;
            }
        }
        if !wrong.is_empty() {
            return Err(wrong.join("\n"));
        }
        *self.books() = books;
        Ok(count)
    }

    fn write(&self, random: &mut Rng) -> u64 {
        // The lower digits say how long it is.
        let size = match random.u8(0..40) {
            0 => random.u64(300_000..900_000),
            1..=5 => random.u64(2_000..60_000),
            _ => random.u64(10..2_000),
        };
        self.next.fetch_add(1, Ordering::Relaxed) * 1_000_000 + size
    }

    fn note(&self, user: &'static str, letter: u64, fate: Fate) {
        let mut books = self.books();
        let now = books.fates.entry((user, letter)).or_insert(fate);
        // Somebody may have removed it before its sender heard that it arrived.
        if !(fate == Fate::Kept && matches!(*now, Fate::Leaving | Fate::Gone)) {
            *now = fate;
        }
    }

    fn numbered(&self, user: &'static str, validity: u64, uid: u64, letter: u64) {
        let before = self.books().uids.insert((user, validity, uid), letter);
        assert!(before.is_none_or(|before| before == letter), "{user}: UID {uid} was given to two letters");
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// It is over when this is dropped.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A letter in a mailbox.
struct Found {
    uid: u64,
    letter: u64,
    whole: bool,
}

/// The letters of the selected mailbox; `text` to read them whole.
fn letters(client: &mut Client, text: bool) -> Result<Vec<Found>, String> {
    let items = if text { "UID BODY.PEEK[HEADER.FIELDS (X-Letter)] BODY.PEEK[TEXT]" } else { "UID BODY.PEEK[HEADER.FIELDS (X-Letter)]" };
    let mut found = Vec::new();
    for reply in client.ok(format!("UID FETCH 1:* ({items})").as_bytes())? {
        let [_, name, Arg::List(items)] = reply.as_slice() else { continue };
        if !name.is("FETCH") {
            continue;
        }
        let after = |key: &str| items.iter().position(|a| a.is(key)).map(|at| &items[at + 1..]);
        let Some([uid, ..]) = after("UID") else { continue };
        let Some([_, _, header, ..]) = after("BODY[HEADER.FIELDS") else { continue };
        let header = String::from_utf8_lossy(header.text().unwrap_or_default()).into_owned();
        let letter = header.trim().rsplit(' ').next().and_then(|n| n.parse().ok()).ok_or_else(|| format!("not one of ours: {header:?}"))?;
        let expected = words(letter);
        let body = expected.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        let whole = !text || after("BODY[TEXT]").and_then(|a| a.first()).and_then(Arg::text) == Some(body.as_bytes());
        found.push(Found { uid: number(uid), letter, whole });
    }
    Ok(found)
}

/// The message of a letter, always the same for the same number.
fn words(letter: u64) -> String {
    let mut text = format!("From: carol@example.org\r\nSubject: Letter\r\nX-Letter: {letter}\r\n\r\n");
    let mut random = Rng::with_seed(letter);
    let end = text.len() + (letter % 1_000_000) as usize;
    while text.len() < end {
        let n = random.usize(0..78);
        text.extend((0..n).map(|_| random.alphanumeric()));
        text += "\r\n";
    }
    text
}

/// Waits until the queue is empty.
fn drain(live: &Live) -> Result<(), String> {
    let operator = Operator::new(&live.dir.join("store/control.sock"));
    let begin = Instant::now();
    loop {
        let queued: Listing = operator.get("/queue", &[]).map_err(|e| e.to_string())?;
        if queued.messages.is_empty() {
            return Ok(());
        }
        if begin.elapsed() > PATIENCE {
            return Err(format!("the queue does not empty: {queued:?}"));
        }
        // Sites that were busy would rest for a minute.
        let _: Effect = operator.post("/queue", RETRY).map_err(|e| e.to_string())?;
        thread::sleep(Duration::from_millis(50));
    }
}

/// The same as a program of this host writes it.
fn local_message(letter: u64) -> String {
    words(letter).replace("\r\n", "\n")
}

fn login(ports: Ports, user: &str) -> Result<Client, String> {
    let mut client = Client::new(Box::new(Talk::try_plain(local(ports.imap)).map_err(text)?), 1);
    client.hear()?;
    client.ok(format!("LOGIN {user}@example.test {PASSWORD}").as_bytes())?;
    Ok(client)
}

fn number(arg: &Arg) -> u64 {
    let text = String::from_utf8_lossy(arg.text().unwrap_or_default()).into_owned();
    text.trim_end_matches(']').parse().unwrap_or_else(|_| panic!("{text} is no number"))
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn text(e: impl std::fmt::Display) -> String {
    e.to_string()
}
