//! The books of a world: what everybody was told, and what arrived where.

use super::{
    excuses::Span,
    net::{Actor, Net},
    pranks::{Move, Own},
    rot::Lost,
    talk::Watch,
};
use mail::{Recipient, Wishes};
use std::{collections::BTreeMap, net::IpAddr};

/// A message that a house was asked to take.
#[derive(Debug, Clone)]
pub struct Taken {
    /// Which house.
    pub host: usize,
    /// What the house calls it; nothing if that is not known.
    pub id: String,
    /// What became of it.
    pub fate: Fate,
    /// From whom; nobody for a report.
    pub sender: Option<String>,
    /// For whom.
    pub recipients: Vec<Recipient>,
    /// What was wished for.
    pub wishes: Wishes,
    /// As it came over the line.
    pub text: Vec<u8>,
    /// Who brought it.
    pub from: IpAddr,
    /// On which connection.
    pub conn: usize,
    /// When.
    pub at: u64,
}

impl Taken {
    /// No message at all.
    pub fn nothing(host: usize) -> Taken {
        Taken {
            host,
            id: String::new(),
            fate: Fate::Unsure,
            sender: None,
            recipients: Vec::new(),
            wishes: Wishes::default(),
            text: Vec::new(),
            from: IpAddr::from([0; 4]),
            conn: 0,
            at: 0,
        }
    }
}

/// A house said that it cannot take something now.
#[derive(Debug, Clone)]
pub struct Refused {
    /// Which house.
    pub host: usize,
    /// When.
    pub at: u64,
    /// For whom it would have been.
    pub recipients: Vec<Recipient>,
    /// What it said.
    pub what: String,
}

/// What a house said to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It took it.
    Accepted,
    /// It was about to say it, or said that it could not now.
    Unsure,
}

/// A message that a foreign server took.
#[derive(Debug, Clone)]
pub struct Copy {
    /// Which server.
    pub site: usize,
    /// Who brought it.
    pub from: IpAddr,
    /// On which connection.
    pub conn: usize,
    /// When it says so.
    pub at: u64,
    /// The reverse path.
    pub sender: String,
    /// The forward paths that were taken.
    pub recipients: Vec<String>,
    /// The content, with CRLF line ends.
    pub text: Vec<u8>,
    /// Whether the line was secured.
    pub secured: bool,
    /// When its MAIL was heard.
    pub begun: u64,
}

/// What an operator did to a message.
#[derive(Debug, Clone)]
pub struct Ordered {
    /// In which house.
    pub host: usize,
    /// To which message.
    pub id: String,
    /// When.
    pub at: u64,
    /// What.
    pub order: Order,
    /// Whether it was done; if not, it may have been all the same.
    pub done: bool,
    /// Whether the message was under way.
    pub active: bool,
    /// Recipients that waited.
    pub waiting: Vec<String>,
}

/// What operators do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Try it now.
    Retry,
    /// Keep it.
    Hold,
    /// Let it go on.
    Release,
    /// Give it up, and say so.
    Cancel,
    /// Give it up, and tell nobody.
    Drop,
    /// Send it to the first foreign server.
    Reroute,
    /// Send it as DNS says.
    RerouteBack,
    /// Try it in half an hour.
    Schedule,
    /// Give it up in an hour.
    Limit,
}

impl Order {
    /// All of them.
    pub const ALL: [Order; 9] = [
        Order::Retry,
        Order::Hold,
        Order::Release,
        Order::Cancel,
        Order::Drop,
        Order::Reroute,
        Order::RerouteBack,
        Order::Schedule,
        Order::Limit,
    ];
}

/// A house fell.
#[derive(Debug, Clone, Copy)]
pub struct Crash {
    /// Which.
    pub host: usize,
    /// When.
    pub at: u64,
    /// Whether the power was cut; if not, it was killed, and the system has all that was written.
    pub is_cut: bool,
}

/// All books.
#[derive(Debug, Default)]
pub struct Books {
    /// What houses were asked to take.
    pub taken: Vec<Taken>,
    /// What foreign servers took.
    pub copies: Vec<Copy>,
    /// How many letters were acknowledged on each connection.
    pub thanked: BTreeMap<usize, usize>,
    /// What operators did.
    pub orders: Vec<Ordered>,
    /// When houses fell.
    pub crashes: Vec<Crash>,
    /// When something went wrong in which house: a disk that failed or lost what was written, a panic.
    pub pains: Vec<(usize, u64)>,
    /// When mailboxes could not be used.
    pub spans: Vec<Span>,
    /// What other programs did to messages.
    pub moves: Vec<Move>,
    /// What other programs delivered.
    pub owned: Vec<Own>,
    /// When a bit of the log of which house flipped.
    pub rotten: Vec<(usize, u64)>,
    /// What was lost by that.
    pub lost: Vec<Lost>,
    /// Who was told that something cannot be taken now.
    pub refused: Vec<Refused>,
    /// Rules that somebody broke.
    pub wrong: Vec<String>,
}

impl Books {
    /// Notes a broken rule.
    pub fn wrong(&mut self, what: String) {
        if self.wrong.len() < 50 {
            self.wrong.push(what);
        }
    }
}

/// Writes down what one SMTP session of a house takes.
#[derive(Debug)]
pub struct Guestbook {
    host: usize,
    from: IpAddr,
    conn: usize,
    open: Option<smtp::Start>,
    text: Vec<u8>,
    asked: Option<Recipient>,
    /// What is to be written into the books.
    pub news: Vec<Taken>,
    /// Who was refused.
    pub refused: Vec<Refused>,
}

impl Guestbook {
    /// Of a session of that house with that peer.
    pub fn new(host: usize, from: IpAddr, conn: usize) -> Guestbook {
        Guestbook { host, from, conn, open: None, text: Vec::new(), asked: None, news: Vec::new(), refused: Vec::new() }
    }

    fn refuse(&mut self, at: u64, recipients: Vec<Recipient>, refusal: smtp::Refusal) {
        if matches!(refusal, smtp::Refusal::Fault(_) | smtp::Refusal::NoRoom) {
            self.refused.push(Refused { host: self.host, at, recipients, what: format!("{refusal:?}") });
        }
    }

    /// Moves what is new to the books.
    pub fn hand_in(&mut self, _: Actor, net: &mut Net, books: &mut Books) {
        for taken in self.news.drain(..) {
            net.tape.note(&[30, taken.host as u64, taken.conn as u64], || {
                let to: Vec<String> = taken.recipients.iter().map(|r| r.address.to_string()).collect();
                format!("house {} {:?} {} from {:?} for {to:?} on #{}", taken.host, taken.fate, taken.id, taken.sender, taken.conn)
            });
            books.taken.push(taken);
        }
        books.refused.append(&mut self.refused);
    }
}

impl Watch<smtp::Server> for Guestbook {
    fn asked(&mut self, now: u64, ask: &smtp::Ask) {
        match ask {
            smtp::Ask::Recipient(recipient) => self.asked = Some(recipient.clone()),
            smtp::Ask::Open(start) => {
                self.open = Some(start.clone());
                self.text.clear();
            }
            smtp::Ask::Abandon(_) => self.open = None,
            smtp::Ask::Commit => {
                // Whether it is taken is not known before the answer, and there may be none: the power may fail.
                let start = self.open.take().expect("a message is open");
                self.news.push(Taken {
                    host: self.host,
                    id: String::new(),
                    fate: Fate::Unsure,
                    sender: start.envelope.sender.map(|s| s.to_string()),
                    recipients: start.envelope.recipients,
                    wishes: start.envelope.wishes,
                    text: std::mem::take(&mut self.text),
                    from: self.from,
                    conn: self.conn,
                    at: now,
                });
            }
            _ => {}
        }
    }

    fn answered(&mut self, now: u64, answer: &smtp::Answer) {
        match answer {
            smtp::Answer::Sender(Err(refusal)) => self.refuse(now, Vec::new(), *refusal),
            smtp::Answer::Recipient(Err(refusal)) => {
                let asked = self.asked.take().into_iter().collect();
                self.refuse(now, asked, *refusal);
            }
            smtp::Answer::Open(Err(fault)) => self.refuse(now, Vec::new(), smtp::Refusal::Fault(*fault)),
            smtp::Answer::Commit(result) => self.committed(now, result),
            _ => {}
        }
    }

    fn body(&mut self, bytes: &[u8]) {
        self.text.extend_from_slice(bytes);
    }
}

impl Guestbook {
    fn committed(&mut self, now: u64, result: &Result<smtp::Receipt, smtp::Refusal>) {
        let named = self.news.last().map(|taken| taken.recipients.clone()).unwrap_or_default();
        match result {
            Ok(receipt) => {
                for (recipient, verdict) in named.into_iter().zip(&receipt.each) {
                    if let Err(refusal) = verdict {
                        self.refuse(now, vec![recipient], *refusal);
                    }
                }
                // Over LMTP each recipient has an answer of its own.
                if !receipt.each.is_empty() && receipt.each.iter().all(Result::is_err) {
                    self.news.pop();
                } else {
                    let taken = self.news.last_mut().expect("it was asked for");
                    let mut verdicts = receipt.each.iter();
                    taken.recipients.retain(|_| verdicts.next().is_none_or(Result::is_ok));
                    taken.fate = Fate::Accepted;
                    taken.id = receipt.id.to_string();
                }
            }
            // A disk that failed may have kept it all the same.
            Err(refusal @ (smtp::Refusal::Fault(_) | smtp::Refusal::NoRoom)) => self.refuse(now, named, *refusal),
            Err(_) => drop(self.news.pop()),
        }
    }
}
