//! A receiving server that keeps what it acknowledged, and answers by the name of the recipient. It does not fall when others do.

use super::words;
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

/// What becomes of mail for an address: the part of its name before the dash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Taken.
    Takes,
    /// Not at first: 450 to the first `RCPT`.
    Delays,
    /// Refused at `RCPT`.
    Refuses,
    /// Refused at the end of the content.
    Rejects,
}

impl Manner {
    /// All of them.
    pub const ALL: [Manner; 4] = [Manner::Takes, Manner::Delays, Manner::Refuses, Manner::Rejects];

    /// How names of such recipients begin.
    pub fn word(self) -> &'static str {
        match self {
            Manner::Takes => "takes",
            Manner::Delays => "delays",
            Manner::Refuses => "refuses",
            Manner::Rejects => "rejects",
        }
    }

    fn of(address: &str) -> Option<Manner> {
        let (word, _) = address.split_once('-')?;
        Manner::ALL.into_iter().find(|manner| manner.word() == word)
    }
}

/// A message that was acknowledged for an address.
#[derive(Debug, Clone, Copy)]
pub struct Copy {
    /// How often the sender had fallen by then.
    pub run: u64,
    /// Whether `NOTIFY=SUCCESS,FAILURE` came with it.
    pub success: bool,
}

/// The server, on two ports: [`Sink::DOMAINS`] in their order.
#[derive(Debug)]
pub struct Sink {
    shared: Arc<Shared>,
    ports: [u16; 2],
}

#[derive(Debug, Default)]
struct Shared {
    busy: AtomicBool,
    over: AtomicBool,
    run: AtomicU64,
    /// Connections may break, and what was sent over one may be sent again over the next.
    breaks: AtomicBool,
    books: Mutex<Books>,
}

#[derive(Debug, Default)]
struct Books {
    copies: BTreeMap<String, Vec<Copy>>,
    delayed: BTreeSet<String>,
    wrong: Vec<String>,
}

impl Sink {
    /// The first says that it reports what it delivers (RFC 3461), the second does not.
    pub const DOMAINS: [&str; 2] = ["telling.test", "silent.test"];

    /// Listens on free ports.
    ///
    /// # Panics
    /// If there are none.
    pub fn new() -> Sink {
        let shared: Arc<Shared> = Arc::default();
        let ports = [true, false].map(|tells| {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let port = listener.local_addr().expect("it is bound").port();
            let shared = shared.clone();
            thread::spawn(move || {
                for stream in listener.incoming().map_while(Result::ok) {
                    if shared.over.load(Ordering::Relaxed) {
                        return;
                    }
                    let shared = shared.clone();
                    // Whoever falls breaks its connections.
                    thread::spawn(move || drop(serve(&shared, stream, tells)));
                }
            });
            port
        });
        Sink { shared, ports }
    }

    /// The routes to it, as fields of the configuration.
    pub fn routes(&self) -> String {
        let routes = Sink::DOMAINS.iter().zip(self.ports);
        let routes = routes.map(|(domain, port)| format!("(domain: \"{domain}\", host: Some(\"[127.0.0.1]\"), port: Some({port})),"));
        format!("outgoing: (routes: [{}]),", routes.collect::<String>())
    }

    /// Whether it tells everybody to come later.
    pub fn set_busy(&self, busy: bool) {
        self.shared.busy.store(busy, Ordering::Relaxed);
    }

    /// From now on connections may break, or no longer: then each counts as a fall.
    pub fn set_breaks(&self, breaks: bool) {
        self.shared.breaks.store(breaks, Ordering::Relaxed);
    }

    /// The sender fell.
    pub fn fell(&self) {
        self.shared.run.fetch_add(1, Ordering::Relaxed);
    }

    /// What was acknowledged for an address.
    pub fn copies(&self, address: &str) -> Vec<Copy> {
        self.shared.books().copies.get(address).cloned().unwrap_or_default()
    }

    /// What came and was not what it should have been.
    pub fn wrong(&self) -> Vec<String> {
        self.shared.books().wrong.clone()
    }
}

impl Default for Sink {
    fn default() -> Sink {
        Sink::new()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        for port in self.ports {
            _ = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port)));
        }
    }
}

impl Shared {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer to a `RCPT`.
    fn recipient(&self, address: &str) -> &'static str {
        match Manner::of(address) {
            Some(Manner::Takes | Manner::Rejects) => "250 2.1.5 Fine",
            Some(Manner::Delays) if !self.books().delayed.insert(address.to_owned()) => "250 2.1.5 Fine",
            Some(Manner::Delays) => "450 4.2.0 Not the first time",
            Some(Manner::Refuses) | None => "550 5.1.1 Nobody of that name",
        }
    }

    /// The answer to the end of the content. What is taken is in the books before anybody hears of it.
    fn content(&self, run: u64, recipients: &[(String, bool)], text: &str) -> &'static str {
        if recipients.iter().any(|(address, _)| Manner::of(address) == Some(Manner::Rejects)) {
            return "554 5.6.0 Not this";
        }
        let mut books = self.books();
        for (address, success) in recipients {
            let expected = letter_of(address).map(words);
            let body = |text: &str| text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
            if expected.as_deref().and_then(body) != body(text) {
                books.wrong.push(format!("{address} got what was not sent: {text:?}"));
            }
            books.copies.entry(address.clone()).or_default().push(Copy { run, success: *success });
        }
        "250 2.0.0 Taken"
    }
}

/// The letter that is sent to an address of ours.
pub fn letter_of(address: &str) -> Option<u64> {
    address.split_once('@')?.0.rsplit_once('-')?.1.parse().ok()
}

fn serve(shared: &Shared, stream: TcpStream, tells: bool) -> io::Result<()> {
    // What arrives after a fall was sent before it.
    let run = match shared.breaks.load(Ordering::Relaxed) {
        true => shared.run.fetch_add(1, Ordering::Relaxed),
        false => shared.run.load(Ordering::Relaxed),
    };
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    stream.set_nodelay(true)?;
    let mut out = stream.try_clone()?;
    let mut say = |line: &str| out.write_all(format!("{line}\r\n").as_bytes());
    let mut input = BufReader::new(stream);
    if shared.busy.load(Ordering::Relaxed) {
        return say("421 4.3.2 Come later");
    }
    say("220 sink.test ESMTP")?;
    let mut recipients: Vec<(String, bool)> = Vec::new();
    loop {
        let line = line(&mut input)?;
        let verb = line.get(..4).unwrap_or_default().to_ascii_uppercase();
        match &*verb {
            "EHLO" if tells => say("250-sink.test\r\n250-PIPELINING\r\n250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250 DSN")?,
            "EHLO" => say("250-sink.test\r\n250-PIPELINING\r\n250-ENHANCEDSTATUSCODES\r\n250 8BITMIME")?,
            "MAIL" | "RSET" => {
                recipients.clear();
                say("250 2.0.0 Fine")?;
            }
            "RCPT" => {
                let (_, rest) = line.split_once('<').unwrap_or_default();
                let (address, asks) = rest.split_once('>').unwrap_or_default();
                let answer = shared.recipient(address);
                if answer.starts_with("250") {
                    recipients.push((address.to_owned(), asks.contains("NOTIFY=SUCCESS,FAILURE")));
                }
                say(answer)?;
            }
            "DATA" if recipients.is_empty() => say("554 5.5.1 For whom?")?,
            "DATA" => {
                say("354 Go on")?;
                let text = content(&mut input)?;
                say(shared.content(run, &recipients, &text))?;
                recipients.clear();
            }
            "QUIT" => return say("221 2.0.0 Bye"),
            _ => say("502 5.5.2 What?")?,
        }
    }
}

fn line(input: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    match input.read_line(&mut line)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(line.trim_end_matches(['\r', '\n']).to_owned()),
    }
}

/// The lines to the one with a dot alone.
fn content(input: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut text = String::new();
    loop {
        let line = line(input)?;
        if line == "." {
            return Ok(text);
        }
        text += line.strip_prefix('.').unwrap_or(&line);
        text += "\r\n";
    }
}
