//! Foreign SMTP servers of a world: scripts that take mail, refuse it, or behave badly at a phase of their choice.

use super::{
    Act, Life, Stage,
    books::Copy,
    net::{Actor, End, Got},
};
use std::{cell::RefCell, collections::BTreeMap, collections::VecDeque, rc::Rc};

/// Longest line a client may send before somebody looks at what it does (RFC 5321 §4.5.3.1.4, and what extensions add).
const LINE_MAX: usize = 2048;

/// How long a server waits for anything, in milliseconds: longer than any client of ours does.
const PATIENCE: u64 = 3_600_000;

/// Where a conversation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Before the greeting.
    Greeting,
    /// At EHLO or HELO.
    Hello,
    /// At MAIL.
    Mail,
    /// At RCPT.
    Rcpt,
    /// At DATA or BDAT.
    Data,
    /// In the middle of the content.
    Body,
    /// After the content, which was taken, before the reply.
    Dot,
    /// At QUIT.
    Quit,
}

impl Phase {
    /// All of them.
    pub const ALL: [Phase; 8] =
        [Phase::Greeting, Phase::Hello, Phase::Mail, Phase::Rcpt, Phase::Data, Phase::Body, Phase::Dot, Phase::Quit];
}

/// What a server does instead of what it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tantrum {
    /// Hangs up.
    Drop,
    /// Says nothing any more.
    Hang,
    /// Not now.
    Later,
    /// Says no for good.
    Never,
    /// Says far too much.
    Long,
    /// Says something that is no reply.
    Rubbish,
}

/// How a server behaves.
#[derive(Debug, Clone)]
pub struct Manner {
    /// What it offers in reply to EHLO; nothing if it does not know EHLO.
    pub offers: Option<Vec<&'static str>>,
    /// How often it puts each recipient off.
    pub grey: u32,
    /// Where it behaves badly, how, and how often.
    pub tantrum: Option<(Phase, Tantrum, u32)>,
    /// How long it thinks before each reply, in milliseconds.
    pub slow_ms: u64,
    /// How many recipients it takes at a time.
    pub rcpt_max: usize,
}

/// A foreign server, as all its connections share it.
#[derive(Debug)]
pub struct Site {
    /// What it is called.
    pub name: String,
    /// Its number among the foreign servers.
    pub number: usize,
    /// How it behaves.
    pub manner: Manner,
    /// From when on it behaves well.
    pub calm_at: u64,
    /// How often each recipient was put off.
    pub put_off: BTreeMap<String, u32>,
}

impl Site {
    fn offers(&self, what: &str) -> bool {
        self.manner.offers.as_ref().is_some_and(|o| o.contains(&what))
    }

    fn thinks(&self, now: u64) -> u64 {
        if now < self.calm_at { self.manner.slow_ms } else { 0 }
    }

    fn tantrum(&mut self, now: u64, phase: Phase) -> Option<Tantrum> {
        let calm = now >= self.calm_at;
        match &mut self.manner.tantrum {
            Some((at, tantrum, left)) if *at == phase && *left > 0 && !calm => {
                *left -= 1;
                Some(*tantrum)
            }
            _ => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Commands,
    Text,
    Chunk {
        left: usize,
        last: bool,
    },
    /// What is left of the content is dropped: it was answered already.
    Drop,
    /// Nothing is answered any more.
    Deaf,
}

/// A conversation with a foreign server.
pub struct Conversation {
    site: Rc<RefCell<Site>>,
    end: End,
    held: Vec<u8>,
    mode: Mode,
    replies: VecDeque<(u64, Vec<u8>)>,
    hang_up: bool,
    welcomed: bool,
    greeted: bool,
    /// Whether it speaks LMTP: a reply for each recipient (RFC 2033).
    lmtp: bool,
    secured: bool,
    begun: u64,
    sender: Option<String>,
    recipients: Vec<String>,
    text: Vec<u8>,
    heard_at: u64,
}

impl Conversation {
    /// One that begins.
    pub fn new(site: Rc<RefCell<Site>>, end: End, lmtp: bool) -> Conversation {
        Conversation {
            site,
            end,
            held: Vec::new(),
            mode: Mode::Commands,
            replies: VecDeque::new(),
            hang_up: false,
            welcomed: false,
            greeted: false,
            lmtp,
            secured: false,
            begun: 0,
            sender: None,
            recipients: Vec::new(),
            text: Vec::new(),
            heard_at: 0,
        }
    }

    fn say(&mut self, stage: &Stage, text: &str) {
        let at = stage.net.now + self.site.borrow().thinks(stage.net.now);
        self.replies.push_back((at, format!("{text}\r\n").into_bytes()));
    }

    /// The client did what no client may do, unless the line changed what it said.
    fn blame(&self, stage: &mut Stage, what: &str) {
        if !stage.net.was_faulty(self.end.conn) {
            let name = &self.site.borrow().name;
            stage.books.wrong(format!("{name} #{}: {what}", self.end.conn));
        }
    }

    /// Whether it behaves badly here; it has done so then.
    fn tantrum(&mut self, stage: &mut Stage, phase: Phase) -> bool {
        let Some(tantrum) = self.site.borrow_mut().tantrum(stage.net.now, phase) else { return false };
        stage.net.tape.note(&[20, self.end.conn as u64], || format!("#{} {tantrum:?} at {phase:?}", self.end.conn));
        if phase >= Phase::Body {
            // It has the content; whether the client learns so is another matter.
            stage.net.blame(self.end.conn);
        }
        match tantrum {
            Tantrum::Drop => self.hang_up = true,
            Tantrum::Hang => self.mode = Mode::Deaf,
            Tantrum::Later => self.say(stage, "451 4.3.0 Not now"),
            Tantrum::Never => self.say(stage, "554 5.7.0 Never"),
            Tantrum::Long => {
                self.greeted |= phase == Phase::Hello;
                let code = if matches!(phase, Phase::Hello | Phase::Dot) { 250 } else { 450 };
                let line = format!("{code}-{}\r\n", "x".repeat(3000));
                self.say(stage, &format!("{}{code} that was it", line.repeat(60)));
            }
            Tantrum::Rubbish => self.say(stage, "\u{1}\u{2} hello, is this the web?"),
        }
        true
    }

    fn command(&mut self, stage: &mut Stage, line: &[u8]) {
        let line = String::from_utf8_lossy(line).into_owned();
        let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let rest = rest.trim();
        match verb.to_ascii_uppercase().as_str() {
            "EHLO" | "HELO" if self.lmtp => self.blame(stage, "this is LMTP"),
            "EHLO" => self.hello(stage, true),
            "LHLO" if self.lmtp => self.hello(stage, true),
            "HELO" => self.hello(stage, false),
            "MAIL" => self.mail(stage, rest),
            "RCPT" => self.rcpt(stage, rest),
            "DATA" => {
                if self.tantrum(stage, Phase::Data) {
                    return;
                }
                if self.recipients.is_empty() {
                    return self.say(stage, "554 5.5.1 No valid recipients");
                }
                self.mode = Mode::Text;
                self.say(stage, "354 Go on");
            }
            "BDAT" => self.bdat(stage, rest),
            "RSET" => {
                self.reset();
                self.say(stage, "250 2.0.0 Forgotten");
            }
            "NOOP" => self.say(stage, "250 2.0.0 Nothing"),
            "STARTTLS" if self.site.borrow().offers("STARTTLS") => {
                self.reset();
                (self.greeted, self.secured) = (false, true);
                self.say(stage, "220 2.0.0 Go on");
            }
            "QUIT" => {
                if self.tantrum(stage, Phase::Quit) {
                    return;
                }
                self.say(stage, "221 2.0.0 Bye");
                self.hang_up = true;
            }
            _ => self.say(stage, "502 5.5.2 What?"),
        }
    }

    fn greet(&mut self, stage: &mut Stage) {
        if self.tantrum(stage, Phase::Greeting) {
            return;
        }
        let text = format!("220 {} ready", self.site.borrow().name);
        self.say(stage, &text);
    }

    fn hello(&mut self, stage: &mut Stage, extended: bool) {
        self.reset();
        if self.tantrum(stage, Phase::Hello) {
            return;
        }
        let (name, offers) = {
            let site = self.site.borrow();
            (site.name.clone(), site.manner.offers.clone())
        };
        match (extended, offers) {
            (true, None) if !self.lmtp => self.say(stage, "502 5.5.1 What is EHLO?"),
            (true, Some(offers)) if !offers.is_empty() => {
                self.greeted = true;
                let offers: Vec<_> = offers.into_iter().filter(|o| *o != "REQUIRETLS" || self.secured).collect();
                let (last, others) = offers.split_last().expect("it is not empty");
                let lines: String = others.iter().map(|o| format!("250-{o}\r\n")).collect();
                self.say(stage, &format!("250-{name}\r\n{lines}250 {last}"));
            }
            _ => {
                self.greeted = true;
                self.say(stage, &format!("250 {name}"));
            }
        }
    }

    fn mail(&mut self, stage: &mut Stage, rest: &str) {
        if !self.greeted || self.sender.is_some() {
            self.blame(stage, "MAIL where it must not be");
        }
        if self.tantrum(stage, Phase::Mail) {
            return;
        }
        let Some((path, parameters)) = path(rest, "FROM:") else {
            self.blame(stage, &format!("this is no MAIL: {rest}"));
            return self.say(stage, "501 5.5.4 What?");
        };
        for parameter in parameters.split_whitespace() {
            let word = parameter.split_once('=').map_or(parameter, |(word, _)| word).to_ascii_uppercase();
            let extension = match word.as_str() {
                "BODY" => "8BITMIME",
                "RET" | "ENVID" => "DSN",
                "BY" => "DELIVERBY",
                "REQUIRETLS" if !self.secured => "a secured line",
                other => other,
            };
            if !self.site.borrow().manner.offers.iter().flatten().any(|o| o.split(' ').next() == Some(extension)) {
                self.blame(stage, &format!("{parameter} was never offered"));
            }
        }
        (self.sender, self.begun) = (Some(path), stage.net.now);
        self.say(stage, "250 2.1.0 Fine");
    }

    fn rcpt(&mut self, stage: &mut Stage, rest: &str) {
        if self.sender.is_none() && !self.site.borrow().offers("PIPELINING") {
            self.blame(stage, "RCPT without MAIL");
        }
        if self.tantrum(stage, Phase::Rcpt) {
            return;
        }
        if self.sender.is_none() {
            return self.say(stage, "503 5.5.1 MAIL first");
        }
        let Some((path, parameters)) = path(rest, "TO:") else {
            self.blame(stage, &format!("this is no RCPT: {rest}"));
            return self.say(stage, "501 5.5.4 What?");
        };
        if !parameters.is_empty() && !self.site.borrow().offers("DSN") {
            self.blame(stage, &format!("{parameters} was never offered"));
        }
        if path.starts_with("bad") {
            return self.say(stage, "550 5.1.1 Nobody of that name");
        }
        if self.recipients.len() >= self.site.borrow().manner.rcpt_max {
            return self.say(stage, "452 4.5.3 Too many at once");
        }
        let grey = {
            let mut site = self.site.borrow_mut();
            let (most, calm) = (site.manner.grey, stage.net.now >= site.calm_at);
            let count = site.put_off.entry(path.clone()).or_default();
            *count += 1;
            *count <= most && !calm
        };
        if grey {
            return self.say(stage, "450 4.7.1 Come back later");
        }
        self.recipients.push(path);
        self.say(stage, "250 2.1.5 Fine");
    }

    fn bdat(&mut self, stage: &mut Stage, rest: &str) {
        if !self.site.borrow().offers("CHUNKING") {
            self.blame(stage, "BDAT was never offered");
        }
        let mut words = rest.split(' ');
        let Some(left) = words.next().and_then(|n| n.parse().ok()) else {
            self.blame(stage, &format!("this is no BDAT: {rest}"));
            self.hang_up = true;
            return;
        };
        self.mode = Mode::Chunk { left, last: words.next().is_some() };
    }

    /// The content is whole.
    fn finish(&mut self, stage: &mut Stage) {
        self.mode = Mode::Commands;
        let text = std::mem::take(&mut self.text);
        let recipients = std::mem::take(&mut self.recipients);
        let sender = self.sender.take();
        if recipients.is_empty() || sender.is_none() {
            return self.say(stage, "554 5.5.1 No valid recipients");
        }
        if !text.is_ascii() && !self.site.borrow().offers("8BITMIME") {
            self.blame(stage, "octets beyond ASCII, and 8BITMIME was never offered");
        }
        let asked = if self.lmtp { recipients.len() } else { 1 };
        let before = self.site.borrow().manner.tantrum;
        if let Some((Phase::Dot, Tantrum::Later | Tantrum::Never, _)) = before
            && self.tantrum(stage, Phase::Dot)
        {
            let said = self.replies.back().expect("it said so").clone();
            self.replies.extend((1..asked).map(|_| said.clone()));
            return;
        }
        // Over LMTP, who is full is told apart from who is not, unless a fit of temper says the same to all.
        let calm = before.is_none_or(|(at, ..)| at != Phase::Dot);
        let full = |path: &String| self.lmtp && calm && path.starts_with("full");
        let verdicts: Vec<bool> = recipients.iter().map(full).collect();
        let recipients: Vec<String> = recipients.iter().filter(|path| !full(path)).cloned().collect();
        let copy = Copy {
            site: self.site.borrow().number,
            from: stage.net.peer(self.end).ip(),
            conn: self.end.conn,
            // Before that nobody can know that it has it.
            at: stage.net.now + self.site.borrow().thinks(stage.net.now),
            sender: sender.unwrap_or_default(),
            recipients,
            text,
            secured: self.secured,
            begun: self.begun,
        };
        stage.net.tape.note(&[21, copy.site as u64, copy.text.len() as u64], || {
            format!("site {} takes from <{}> for {:?} on #{}", copy.site, copy.sender, copy.recipients, copy.conn)
        });
        if !copy.recipients.is_empty() {
            stage.books.copies.push(copy);
        }
        if self.tantrum(stage, Phase::Dot) {
            return;
        }
        for full in verdicts.into_iter().take(asked) {
            self.say(stage, if full { "552 5.2.2 Full" } else { "250 2.0.0 Taken" });
        }
    }

    fn reset(&mut self) {
        self.sender = None;
        self.recipients.clear();
        self.text.clear();
    }

    /// Does one thing with what arrived; false if there is not enough of it.
    fn digest(&mut self, stage: &mut Stage) -> bool {
        match self.mode {
            Mode::Deaf => {
                self.held.clear();
                false
            }
            Mode::Commands | Mode::Text | Mode::Drop => {
                let Some(at) = self.held.windows(2).position(|w| w == b"\r\n") else {
                    if self.held.len() > LINE_MAX {
                        self.blame(stage, "a line without end");
                        self.hang_up = true;
                    }
                    return false;
                };
                let line: Vec<u8> = self.held.drain(..at + 2).take(at).collect();
                match self.mode {
                    Mode::Text => {
                        self.line_of_text(stage, &line);
                        return true;
                    }
                    Mode::Drop => {
                        if line == b"." {
                            self.reset();
                            self.mode = Mode::Commands;
                        }
                        return true;
                    }
                    _ => {}
                }
                let chunk = line.len() > 4 && line[..4].eq_ignore_ascii_case(b"BDAT");
                if !self.held.is_empty() && !chunk && !self.site.borrow().offers("PIPELINING") {
                    self.blame(stage, "more was said before the reply, and PIPELINING was never offered");
                }
                self.command(stage, &line);
                true
            }
            Mode::Chunk { left, last } => {
                let n = left.min(self.held.len());
                self.text.extend(self.held.drain(..n));
                if n < left {
                    self.mode = Mode::Chunk { left: left - n, last };
                    return false;
                }
                if last {
                    self.finish(stage);
                } else {
                    self.mode = Mode::Commands;
                    self.say(stage, "250 2.0.0 Go on");
                }
                true
            }
        }
    }

    fn line_of_text(&mut self, stage: &mut Stage, line: &[u8]) {
        if line == b"." {
            return self.finish(stage);
        }
        if line.len() > 998 {
            self.blame(stage, "a line of more than 998 octets");
        }
        let line = line.strip_prefix(b".").unwrap_or(line);
        self.text.extend_from_slice(line);
        self.text.extend_from_slice(b"\r\n");
        if self.text.len() > 100 && self.site.borrow().manner.tantrum.is_some_and(|(p, ..)| p == Phase::Body) {
            let answered = self.tantrum(stage, Phase::Body) && self.mode == Mode::Text;
            if answered && !self.hang_up {
                self.mode = Mode::Drop;
            }
        }
    }
}

impl Act for Conversation {
    fn act(&mut self, me: Actor, stage: &mut Stage) -> Life {
        if !std::mem::replace(&mut self.welcomed, true) {
            self.heard_at = stage.net.now;
            self.greet(stage);
        }
        loop {
            while let Some((at, _)) = self.replies.front() {
                if *at > stage.net.now {
                    stage.net.wake(me, *at);
                    return Life::Goes;
                }
                let (_, text) = self.replies.pop_front().expect("there is one");
                stage.net.send(self.end, &text);
            }
            if self.hang_up {
                stage.net.close(self.end);
                return Life::Ends;
            }
            if self.digest(stage) {
                continue;
            }
            if self.hang_up || !self.replies.is_empty() {
                continue;
            }
            let mut room = [0; 2048];
            match stage.net.receive(self.end, &mut room) {
                Got::Bytes(n) => {
                    self.heard_at = stage.net.now;
                    self.held.extend_from_slice(&room[..n]);
                }
                Got::Nothing if stage.net.now < self.heard_at + PATIENCE => {
                    stage.net.wake(me, self.heard_at + PATIENCE);
                    return Life::Goes;
                }
                Got::Nothing | Got::End | Got::Reset => {
                    stage.net.close(self.end);
                    return Life::Ends;
                }
            }
        }
    }

    fn end(&self) -> Option<End> {
        Some(self.end)
    }
}

/// The path and what follows it.
fn path(text: &str, word: &str) -> Option<(String, String)> {
    let (head, rest) = text.split_at_checked(word.len())?;
    if !head.eq_ignore_ascii_case(word) {
        return None;
    }
    let rest = rest.trim_start().strip_prefix('<')?;
    let (path, parameters) = rest.split_once('>')?;
    Some((path.to_owned(), parameters.trim().to_owned()))
}
