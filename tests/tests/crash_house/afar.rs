//! Mail that leaves the house, the peer who takes it, and the reports on it.

use crate::{
    book::Book,
    stage::{Letter, SENDER, ms, read},
};
use fastrand::Rng;
use hikyaku_tests::{disk::Crashing, promise::post::told};
use mail::{Address, Notify, Recipient};
use smtp::client::{Fate, Form, Offer, Office as _, Outcome, Reply, Report};
use std::{collections::BTreeMap, sync::Arc};
use storage::{
    house::House,
    outgoing::{Load, Traveller as _},
};
use wire::{Tick, Why};

/// A minute and more, in nanoseconds: what was put off is due.
const LATER_NS: i128 = 90_000_000_000;

/// What the peer says of a recipient, and what of it is to be reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Takes it.
    Takes,
    /// Takes it, cannot report that, and the sender wishes to know.
    Tells,
    /// Takes it, but not at first.
    Delays,
    /// Does not.
    Refuses,
}

const ALL: [(Manner, &str); 4] =
    [(Manner::Takes, "takes"), (Manner::Tells, "tells"), (Manner::Delays, "delays"), (Manner::Refuses, "refuses")];

/// How far it came with a recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Known {
    /// Nothing is known.
    Nothing,
    /// The house has heard it.
    Heard,
    /// The house has it in its log.
    Durable,
}

/// A recipient elsewhere.
#[derive(Debug, Clone)]
pub struct Errand {
    letter: Letter,
    manner: Manner,
    /// Whether the client heard yes.
    pub promised: bool,
    /// How often the peer took it.
    copies: u32,
    asked: bool,
    known: Known,
}

/// Lets something be done with the recipient of an address, and nobody else meanwhile.
pub type Errands<'a> = &'a mut dyn FnMut(&str, &mut dyn FnMut(&mut Errand));

/// Recipients for a letter.
pub fn recipients(letter: Letter, dice: &mut Rng) -> Vec<(Recipient, Errand)> {
    ALL.iter().filter(|_| dice.bool()).map(|(manner, _)| recipient(letter, *manner)).collect()
}

/// One of them.
pub fn recipient(letter: Letter, manner: Manner) -> (Recipient, Errand) {
    let notify = if manner == Manner::Tells { Notify::SUCCESS.with(Notify::FAILURE) } else { Notify::default() };
    let (_, word) = ALL.iter().find(|(each, _)| *each == manner).expect("each has a word");
    let address = Address::new(&format!("{word}-{letter}"), "far.test");
    let errand = Errand { letter, manner, promised: false, copies: 0, asked: false, known: Known::Nothing };
    (Recipient { address, notify, original: None }, errand)
}

/// Carries one trip of the house to the peer, who answers and is written down by `errands` before the house hears of it; false if there is none.
pub fn travel(house: &Arc<House>, disk: &Crashing, errands: Errands<'_>) -> bool {
    let Some(trip) = house.next_trip(Tick(ms(disk))) else { return false };
    let Load::Smtp(session, mut office) = trip.load else { panic!("the way needs no names") };
    while let Some(job) = office.next(Offer::default()) {
        let mut text = Vec::new();
        if office.open(Form::AsIs).is_err() {
            assert!(disk.is_stopped(), "a message cannot be read");
            break;
        }
        let mut buf = vec![0; 100_000];
        loop {
            match office.read(&mut buf) {
                Ok(0) => break,
                Ok(n) => text.extend_from_slice(&buf[..n]),
                Err(_) => assert!(disk.is_stopped(), "a message cannot be read"),
            }
            if disk.is_stopped() {
                return true;
            }
        }
        let addresses: Vec<String> = job.recipients.iter().map(|recipient| recipient.address.to_string()).collect();
        let each = addresses.iter().map(|address| {
            let mut said = None;
            errands(address, &mut |errand| said = Some(errand.answer(&text)));
            said.expect("nobody sends to those whom nobody named")
        });
        let each = each.collect();
        office.report(Report { each });
        for address in &addresses {
            errands(address, &mut |errand| errand.heard(disk));
        }
    }
    office.closed(*session, Why::Done);
    true
}

impl Errand {
    fn answer(&mut self, text: &[u8]) -> Outcome {
        let (code, fate, status) = match self.manner {
            Manner::Takes => (250, Fate::Delivered, (2, 0, 0)),
            Manner::Tells => (250, Fate::Relayed, (2, 0, 0)),
            Manner::Delays if self.asked => (250, Fate::Delivered, (2, 0, 0)),
            Manner::Delays => (450, Fate::Deferred, (4, 2, 0)),
            Manner::Refuses => (550, Fate::Failed, (5, 1, 1)),
        };
        self.asked = true;
        if code == 250 {
            self.copies += 1;
            let (text, letter) = (String::from_utf8_lossy(text), self.letter);
            assert!(text.contains(&format!("\nSubject: letter {letter}\r\n")), "letter {letter} leaves as {text:?}");
        }
        Outcome { fate, reply: Reply { code, status, text: "as it is".into() }, by_peer: true }
    }

    fn heard(&mut self, disk: &Crashing) {
        if self.copies > 0 && !disk.is_stopped() {
            // The record of its report says that it was taken, too.
            let known = if self.manner == Manner::Tells { Known::Durable } else { Known::Heard };
            self.known = self.known.max(known);
        }
    }
}

impl Book {
    /// The log has a record that came after all that was heard so far.
    pub fn committed(&mut self) {
        self.errands.values_mut().filter(|errand| errand.known == Known::Heard).for_each(|errand| errand.known = Known::Durable);
    }

    /// The house ended without a word: what it had heard and not written is news to the next.
    pub fn forgotten(&mut self) {
        self.errands.values_mut().filter(|errand| errand.known == Known::Heard).for_each(|errand| errand.known = Known::Nothing);
    }

    /// Lets everything leave that a house still has, after a crash, and compares.
    pub fn drain(&mut self, house: &Arc<House>, disk: &Crashing) {
        let before = self.errands.clone();
        self.travel(house, disk);
        assert_eq!(house.trips_due(), None, "something stays in the queue");
        let mut reports: BTreeMap<(String, String), u32> = BTreeMap::new();
        for (_, text) in read(house, SENDER).letters {
            for told in told(&String::from_utf8_lossy(&text)) {
                *reports.entry(told).or_default() += 1;
            }
        }
        for (address, errand) in &self.errands {
            let again = errand.copies - before[address].copies;
            let most = u32::from(before[address].known < Known::Durable && errand.manner != Manner::Refuses);
            assert!(again <= most, "{address} gets it {again} times after a crash: {errand:?}");
            let count = |action: &str| reports.get(&(address.clone(), action.to_owned())).copied().unwrap_or_default();
            let (failed, relayed) = (count("failed"), count("relayed"));
            // Who was promised nothing may have it all the same, but then all of it.
            let accepted = errand.promised || errand.copies + failed + relayed > 0;
            let expected = match errand.manner {
                Manner::Takes | Manner::Delays => (0, 0),
                Manner::Tells => (0, u32::from(accepted)),
                Manner::Refuses => (u32::from(accepted), 0),
            };
            assert_eq!((failed, relayed), expected, "reports on {address}: {errand:?}");
            assert!(!accepted || errand.manner == Manner::Refuses || errand.copies > 0, "{address} does not get it: {errand:?}");
        }
        let known: u32 = reports.values().sum();
        let ours: u32 = reports.iter().filter(|((address, _), _)| self.errands.contains_key(address)).map(|(_, n)| n).sum();
        assert_eq!(known, ours, "reports on others");
    }

    /// Carries all trips, those too that are put off.
    pub fn travel(&mut self, house: &Arc<House>, disk: &Crashing) {
        for _ in 0..4 {
            while !disk.is_stopped()
                && travel(house, disk, &mut |address, act| act(self.errands.get_mut(address).expect("somebody named it")))
            {}
            disk.set_time(disk.time() + LATER_NS);
        }
    }
}
