//! Our SMTP client by itself among foreign servers: an office with some letters, and what it was told of them.

use super::{client::Letter, net::Net, travel};
use mail::{Address, Wishes};
use smtp::client::{Client, Fate, Form, Job, Offer, Office, Protocol, Report, Security, Settings, Trouble};
use std::{cell::RefCell, io, net::IpAddr, rc::Rc, sync::Arc};
use storage::outgoing::Traveller;
use wire::{Fault, Ring, Sink, Tick, Why};

/// What couriers were told: letter, recipient, and what became of it.
#[derive(Debug, Default)]
pub struct Told {
    /// Of each recipient.
    pub fates: Vec<(u32, String, Fate)>,
}

/// The office of a courier.
pub struct Courier {
    letters: Vec<Letter>,
    hand: Option<Letter>,
    text: Vec<u8>,
    told: Rc<RefCell<Told>>,
}

impl Courier {
    /// One with these letters.
    pub fn new(letters: Vec<Letter>, told: Rc<RefCell<Told>>) -> Courier {
        Courier { letters, hand: None, text: Vec::new(), told }
    }

    /// The session to go with it.
    pub fn session(net: &Net) -> Client {
        let settings = Settings {
            helo: Arc::from("mx.a.test"),
            protocol: Protocol::Smtp,
            security: Security::May,
            name: "mx.d0.test".into(),
            login: None,
            plaintext_login: false,
            socks: None,
            idle_ms: 5000,
        };
        Client::new(settings, Tick(net.now))
    }

    fn end(self) {
        let mut told = self.told.borrow_mut();
        // A line that breaks while something is written ends the session before it can report: an office takes that as a delay.
        if let Some(letter) = self.hand {
            told.fates.extend(letter.recipients.into_iter().map(|(path, _)| (letter.number, path, Fate::Deferred)));
        }
    }
}

impl Sink for Courier {
    fn body(&mut self, _: &[u8]) {
        unreachable!("a client gets no messages");
    }

    fn is_full(&self) -> bool {
        false
    }

    fn drain(&mut self) {}
}

impl Office for Courier {
    fn next(&mut self, _: Offer) -> Option<Box<Job>> {
        let letter = self.letters.pop()?;
        let address = |path: &str| Address::parse(path).expect("letters have addresses");
        let job = Job {
            id: u64::from(letter.number),
            sender: (!letter.sender.is_empty()).then(|| address(&letter.sender)),
            recipients: letter.recipients.iter().map(|(path, _)| address(path).into()).collect(),
            wishes: Wishes::default(),
            due_in: None,
            size: letter.text().len() as u64,
            eight_bit: letter.eight_bit,
            binary: false,
            utf8: false,
            raw: false,
        };
        assert!(self.hand.is_none(), "asked for another job before it reported on the last");
        self.hand = Some(letter);
        Some(Box::new(job))
    }

    fn open(&mut self, form: Form) -> Result<u64, Fault> {
        let letter = self.hand.as_ref().expect("a job is in hand");
        let text = letter.text();
        // As quoted-printable of Latin-1 would do; what matters is that it fits seven bits.
        self.text = if form == Form::SevenBit { text.replace('\u{fc}', "=FC") } else { text }.into_bytes();
        let len = self.text.len() as u64;
        self.text.reverse();
        Ok(len)
    }

    fn read(&mut self, buf: &mut [u8]) -> Result<usize, Fault> {
        let n = self.text.len().min(buf.len());
        for byte in &mut buf[..n] {
            *byte = self.text.pop().expect("there is so much");
        }
        Ok(n)
    }

    fn report(&mut self, report: Report) {
        let letter = self.hand.take().expect("a job is in hand");
        assert_eq!(report.each.len(), letter.recipients.len(), "a fate for each recipient");
        let mut told = self.told.borrow_mut();
        for (outcome, (path, _)) in report.each.iter().zip(letter.recipients) {
            told.fates.push((letter.number, path, outcome.fate));
        }
    }

    fn trouble(&mut self, _: Trouble) {
        assert!(self.hand.is_none(), "trouble without a report on the job in hand");
    }
}

impl Traveller for Courier {
    type Session = Client;

    fn bell(&mut self, _: Arc<dyn Ring>) {}

    fn unreachable(self, _: Client, _: &io::Error) {
        self.end();
    }

    fn closed(self, _: Client, _: Why) {
        self.end();
    }
}

/// A trip of a courier from that address.
pub fn start(from: IpAddr, bell: Arc<dyn Ring>) -> travel::Start {
    travel::Start { host: None, disk: None, from, bell, place: None, inbox: smtp::client::INBOX_LIMIT, mark: smtp::client::OUTBOX_MARK }
}
