//! Foreign SMTP clients of a world: they bring letters to a house, each in its own manner, some of them bad.

use super::{
    Act, Life, Stage,
    foreign::Phase,
    net::{Actor, End, Got},
};
use std::{collections::VecDeque, fmt::Write as _, io};

/// How long a client waits for a reply, in milliseconds.
const PATIENCE: u64 = 600_000;

/// A letter.
#[derive(Debug, Clone)]
pub struct Letter {
    /// Its number, which is in its Message-ID.
    pub number: u32,
    /// The reverse path; nothing is `<>`.
    pub sender: String,
    /// Forward paths and their parameters.
    pub recipients: Vec<(String, &'static str)>,
    /// Parameters of MAIL, if the house knows DSN.
    pub wishes: &'static str,
    /// Another one, if the house knows it.
    pub wish: Option<Wish>,
    /// About how long it is.
    pub size: usize,
    /// Whether it needs eight bits.
    pub eight_bit: bool,
}

/// Something that is wished for with a parameter of MAIL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// To be back if it is not there after so many seconds (RFC 2852).
    BackAfter(u64),
    /// To hear of it if it is not there after so many seconds.
    WordAfter(u64),
    /// Not to go before so many seconds (RFC 4865).
    HoldFor(u64),
    /// Sooner or later than others (RFC 6710).
    Priority(i8),
    /// Only over TLS (RFC 8689).
    RequireTls,
}

impl Wish {
    fn extension(self) -> &'static str {
        match self {
            Wish::BackAfter(_) | Wish::WordAfter(_) => "DELIVERBY",
            Wish::HoldFor(_) => "FUTURERELEASE",
            Wish::Priority(_) => "MT-PRIORITY",
            Wish::RequireTls => "REQUIRETLS",
        }
    }

    fn parameter(self) -> String {
        match self {
            Wish::BackAfter(s) => format!(" BY={s};R"),
            Wish::WordAfter(s) => format!(" BY={s};N"),
            Wish::HoldFor(s) => format!(" HOLDFOR={s}"),
            Wish::Priority(p) => format!(" MT-PRIORITY={p}"),
            Wish::RequireTls => " REQUIRETLS".into(),
        }
    }
}

/// How a client goes about it.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    /// Everything in one breath.
    pub pipelined: bool,
    /// BDAT instead of DATA.
    pub chunks: bool,
    /// Where it hangs up, if it does.
    pub hangs_up: Option<Phase>,
    /// Whether it takes DSN parameters along.
    pub dsn: bool,
    /// Whether it wants STARTTLS where that is offered.
    pub tls: bool,
    /// Whether it speaks LMTP (RFC 2033).
    pub lmtp: bool,
    /// What it says to log in, if it does.
    pub login: Option<&'static str>,
}

/// A client.
pub struct Client {
    style: Style,
    letters: VecDeque<Letter>,
    end: Option<End>,
    held: Vec<u8>,
    /// What the replies that are due answer.
    due: VecDeque<Phase>,
    taken: usize,
    asked: usize,
    resetting: bool,
    secured: bool,
    /// Whether it has tried to log in.
    known: bool,
    /// Replies to the content that say yes.
    thanks: usize,
    offers: Vec<String>,
    deadline: u64,
    over: bool,
}

impl Letter {
    /// As it is sent, with CRLF line ends.
    pub fn text(&self) -> String {
        let n = self.number;
        let from = if self.sender.is_empty() { "nobody@world.test" } else { &self.sender };
        let mut text = format!("From: <{from}>\r\nTo: list: ;\r\nMessage-ID: <t{n}@world.test>\r\nSubject: letter {n}\r\n");
        text += "Date: Mon, 24 Nov 2026 10:00:00 +0000\r\n";
        if self.eight_bit {
            text += "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n";
        }
        text += "\r\n.\r\n..two dots\r\n";
        let mut line = 0;
        while text.len() < self.size {
            line += 1;
            let umlaut = if self.eight_bit { "\u{fc}" } else { "u" };
            write!(text, "line {line} of letter {n}, {umlaut}ber und {umlaut}ber\r\n").expect("a string takes it");
        }
        text
    }
}

impl Client {
    /// One that has not dialled yet.
    pub fn new(style: Style, letters: Vec<Letter>) -> Client {
        Client {
            style,
            letters: letters.into(),
            end: None,
            held: Vec::new(),
            due: VecDeque::new(),
            taken: 0,
            asked: 0,
            resetting: false,
            secured: false,
            known: false,
            thanks: 0,
            offers: Vec::new(),
            deadline: 0,
            over: false,
        }
    }

    fn has(&self, extension: &str) -> bool {
        self.offers.iter().any(|o| o.split(' ').next() == Some(extension))
    }

    fn pipelines(&self) -> bool {
        self.style.pipelined && self.has("PIPELINING")
    }

    /// Says something and waits for a reply to it; hangs up instead where that is its manner.
    fn say(&mut self, stage: &mut Stage, phase: Phase, bytes: &[u8]) {
        let Some(end) = self.end else { return };
        if self.over {
            return;
        }
        if self.style.hangs_up == Some(phase) {
            let n = stage.net.dice.usize(0..=bytes.len());
            stage.net.send(end, &bytes[..n]);
            self.over = true;
            return;
        }
        stage.net.send(end, bytes);
        self.due.push_back(phase);
        self.deadline = stage.net.now + PATIENCE;
    }

    /// How it greets.
    fn hello(&mut self, stage: &mut Stage) {
        let verb = if self.style.lmtp { "LHLO" } else { "EHLO" };
        self.say(stage, Phase::Hello, format!("{verb} client.world.test\r\n").as_bytes());
    }

    /// After the content, a reply for each recipient that was taken.
    fn end_content(&mut self, stage: &mut Stage, bytes: &[u8]) {
        self.thanks = 0;
        self.say(stage, Phase::Dot, bytes);
        if self.style.lmtp && !self.over {
            self.due.extend((1..self.taken).map(|_| Phase::Dot));
        }
    }

    /// The next letter, or goodbye.
    fn begin(&mut self, stage: &mut Stage) {
        let eight_bit = self.has("8BITMIME");
        let letter = self.letters.front_mut().map(|letter| {
            letter.eight_bit &= eight_bit;
            letter.clone()
        });
        let Some(letter) = letter else {
            return self.say(stage, Phase::Quit, b"QUIT\r\n");
        };
        (self.taken, self.asked) = (0, 0);
        let dsn = self.style.dsn && self.has("DSN");
        let mut mail = format!("MAIL FROM:<{}>", letter.sender);
        if letter.eight_bit {
            mail += " BODY=8BITMIME";
        }
        if dsn {
            mail += letter.wishes;
        }
        if let Some(wish) = letter.wish.filter(|wish| self.has(wish.extension())) {
            mail += &wish.parameter();
        }
        self.say(stage, Phase::Mail, format!("{mail}\r\n").as_bytes());
        if self.pipelines() {
            for n in 0..letter.recipients.len() {
                self.rcpt(stage, &letter, n);
            }
            if !self.style.chunks {
                self.say(stage, Phase::Data, b"DATA\r\n");
            }
        }
    }

    fn rcpt(&mut self, stage: &mut Stage, letter: &Letter, n: usize) {
        let (path, parameters) = &letter.recipients[n];
        self.asked = n + 1;
        let parameters = if self.style.dsn && self.has("DSN") { *parameters } else { "" };
        self.say(stage, Phase::Rcpt, format!("RCPT TO:<{path}>{parameters}\r\n").as_bytes());
    }

    /// The content, as DATA or in chunks wants it.
    fn content(&mut self, stage: &mut Stage, letter: &Letter) {
        let text = letter.text();
        if self.style.chunks && self.has("CHUNKING") {
            let (one, two) = text.as_bytes().split_at(text.len() / 2);
            let mut bytes = format!("BDAT {}\r\n", one.len()).into_bytes();
            bytes.extend_from_slice(one);
            self.say(stage, Phase::Body, &bytes);
            let mut bytes = format!("BDAT {} LAST\r\n", two.len()).into_bytes();
            bytes.extend_from_slice(two);
            return self.end_content(stage, &bytes);
        }
        let mut stuffed = String::with_capacity(text.len() + 8);
        for line in text.split_inclusive("\r\n") {
            if line.starts_with('.') {
                stuffed.push('.');
            }
            stuffed += line;
        }
        stuffed += ".\r\n";
        self.end_content(stage, stuffed.as_bytes());
    }

    fn drop_letter(&mut self, stage: &mut Stage) {
        self.letters.pop_front();
        self.resetting = true;
        self.say(stage, Phase::Hello, b"RSET\r\n");
    }

    fn heard(&mut self, stage: &mut Stage, phase: Phase, code: u16, lines: &[String]) {
        let good = code / 100 == 2;
        match phase {
            Phase::Greeting if good => self.hello(stage),
            Phase::Hello if good => {
                if !std::mem::take(&mut self.resetting) {
                    self.offers = lines.iter().skip(1).filter_map(|l| l.get(4..)).map(str::to_owned).collect();
                }
                if code == 220 {
                    self.secured = true;
                    return self.hello(stage);
                }
                if self.style.tls && !self.secured && self.has("STARTTLS") {
                    return self.say(stage, Phase::Hello, b"STARTTLS\r\n");
                }
                if let Some(login) = self.style.login.filter(|_| !std::mem::replace(&mut self.known, true)) {
                    self.resetting = true;
                    return self.say(stage, Phase::Hello, format!("AUTH PLAIN {login}\r\n").as_bytes());
                }
                self.begin(stage);
            }
            Phase::Mail | Phase::Rcpt | Phase::Data => self.heard_envelope(stage, phase, code),
            Phase::Body => {}
            Phase::Dot => {
                self.thanks += usize::from(good);
                if !self.due.is_empty() {
                    return;
                }
                self.letters.pop_front();
                if let Some(end) = self.end.filter(|_| self.thanks > 0) {
                    *stage.books.thanked.entry(end.conn).or_default() += 1;
                }
                self.begin(stage);
            }
            Phase::Quit | Phase::Greeting | Phase::Hello => self.over = true,
        }
    }

    fn heard_envelope(&mut self, stage: &mut Stage, phase: Phase, code: u16) {
        let letter = self.letters.front().cloned().expect("one is on its way");
        let chunks = self.style.chunks && self.has("CHUNKING");
        if phase == Phase::Rcpt && code / 100 == 2 {
            self.taken += 1;
        }
        if phase == Phase::Mail && code / 100 != 2 && !self.pipelines() {
            return self.drop_letter(stage);
        }
        if !self.due.is_empty() {
            return;
        }
        match phase {
            Phase::Mail => self.rcpt(stage, &letter, 0),
            Phase::Rcpt if !self.pipelines() && self.asked < letter.recipients.len() => self.rcpt(stage, &letter, self.asked),
            Phase::Rcpt if self.taken == 0 => self.drop_letter(stage),
            Phase::Rcpt if chunks => self.content(stage, &letter),
            Phase::Rcpt => self.say(stage, Phase::Data, b"DATA\r\n"),
            Phase::Data if code == 354 => self.content(stage, &letter),
            _ => self.drop_letter(stage),
        }
    }
}

impl Act for Client {
    fn act(&mut self, me: Actor, stage: &mut Stage) -> Life {
        let Some(end) = self.end else { return Life::Goes };
        loop {
            if self.over || stage.net.now >= self.deadline {
                stage.net.close(end);
                return Life::Ends;
            }
            if let Some((code, lines)) = reply(&mut self.held) {
                let Some(phase) = self.due.pop_front() else {
                    // A house that stops says so unasked.
                    self.over = true;
                    continue;
                };
                self.heard(stage, phase, code, &lines);
                continue;
            }
            let mut room = [0; 1024];
            match stage.net.receive(end, &mut room) {
                Got::Bytes(n) => self.held.extend_from_slice(&room[..n]),
                Got::Nothing => {
                    stage.net.wake(me, self.deadline);
                    return Life::Goes;
                }
                Got::End | Got::Reset => self.over = true,
            }
        }
    }

    fn dialled(&mut self, me: Actor, stage: &mut Stage, result: Result<End, io::ErrorKind>) -> Life {
        let Ok(end) = result else { return Life::Ends };
        self.end = Some(end);
        self.due.push_back(Phase::Greeting);
        self.deadline = stage.net.now + PATIENCE;
        self.act(me, stage)
    }

    fn end(&self) -> Option<End> {
        self.end
    }
}

/// Takes a whole reply from the front.
pub fn reply(held: &mut Vec<u8>) -> Option<(u16, Vec<String>)> {
    let mut lines = Vec::new();
    let mut at = 0;
    loop {
        let end = at + held.get(at..)?.windows(2).position(|w| w == b"\r\n")?;
        let line = String::from_utf8_lossy(&held[at..end]).into_owned();
        at = end + 2;
        let last = line.as_bytes().get(3) != Some(&b'-');
        lines.push(line);
        if last {
            held.drain(..at);
            let code = lines[0].get(..3).and_then(|c| c.parse().ok()).unwrap_or(0);
            return Some((code, lines));
        }
    }
}
