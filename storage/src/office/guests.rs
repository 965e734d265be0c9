//! Who is here: connections counted by listener and by network, so that no peer takes every place; and whom to part with when places are short.
//!
//! A **stranger** is a connection that has brought nothing yet: no login and no message that was taken. When most places of a listener are taken, it is in
//! **stress**, as Postfix calls it: its strangers have little time from then on, and each new connection costs the oldest of them its place. So those who
//! hold places for the sake of holding them lose them first, and a server or a user who comes to do something finds one. Each listener by itself: a full
//! port 25 hurries nobody who reads mail. Whose message is on its way goes last: it must keep up anyway.

use post::Network;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};
use wire::{Nudge, Ring, Tls};

/// Of the places of a listener, in percent: beyond so many it is in stress. Postfix waits until all are taken; then nobody new gets in to be hurried.
const STRESS_ABOVE: u64 = 80;
/// At so many it is no longer, so that it does not change with every connection.
const STRESS_UNTIL: u64 = 60;
/// A listener with fewer places has no stress: one of three is no measure of anything.
const STRESS_LEAST: u32 = 10;

/// The connections that are open.
#[derive(Default)]
pub struct Guests {
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    by_listener: BTreeMap<SocketAddr, u32>,
    by_network: BTreeMap<Network, u32>,
    inside: BTreeMap<u64, Inside>,
    /// By listener: those whose message is on its way last, and otherwise the oldest first.
    strangers: BTreeMap<SocketAddr, BTreeSet<(bool, u64)>>,
    stressed: BTreeSet<SocketAddr>,
    /// Who lost the place to somebody else, and may still be saying goodbye.
    placeless: BTreeSet<u64>,
    /// Of those who were sent out and are on their way, and whether they were called back.
    away: BTreeMap<u64, (Arc<dyn Ring>, bool)>,
    next: u64,
    closing: bool,
}

/// What is known of a connection.
struct Inside {
    bell: Arc<dyn Ring>,
    protocol: &'static str,
    peer: SocketAddr,
    account: Option<Arc<str>>,
    since_ms: u64,
    /// It was sent away.
    leaving: bool,
}

/// What a listener has to give.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// What is spoken there.
    pub protocol: &'static str,
    /// Connections.
    pub most: u32,
    /// Connections from one address; networks around it have their share of it.
    pub most_per_address: u32,
    /// Whether those who bring nothing may be sent away.
    pub stress: bool,
}

/// Why a connection is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// As many connections as the listener may have.
    Listener,
    /// As many as one address, or a network around it, may have.
    Address,
    /// The server stops.
    Closing,
    /// Another server has the store.
    Fenced,
}

impl Full {
    /// One word for a log line.
    pub fn word(self) -> &'static str {
        match self {
            Full::Listener => "listener_full",
            Full::Address => "address_full",
            Full::Closing => "closing",
            Full::Fenced => "fenced",
        }
    }
}

/// A connection, for who wants to know.
#[derive(Debug, Clone)]
pub struct Present {
    /// Its number.
    pub number: u64,
    /// What it speaks.
    pub protocol: &'static str,
    /// Who.
    pub peer: SocketAddr,
    /// Who logged in.
    pub account: Option<Arc<str>>,
    /// When it came, in monotonic milliseconds.
    pub since_ms: u64,
}

/// A place that is taken; free again when dropped.
pub struct Guest {
    guests: Arc<Guests>,
    /// The number of the connection in the log, unique while the server runs.
    pub number: u64,
    /// Who.
    pub peer: SocketAddr,
    listener: SocketAddr,
    most: u32,
    /// Whether somebody was sent away for it.
    pub(crate) displaced: bool,
    /// Wakes whoever drives it.
    pub bell: Arc<dyn Ring>,
    /// What the handshake led to, once there was one.
    pub(crate) tls: Arc<OnceLock<Tls>>,
}

impl Guest {
    /// The certificate that the client showed and proved to own: SHA-256 of its DER, in lower-case hexadecimal digits.
    pub fn certificate(&self) -> Option<&str> {
        self.tls.get()?.certificate.as_deref()
    }

    /// Its message is on its way, or no longer: in the first case others go before it.
    pub(crate) fn is_bringing(&self, brings: bool) {
        let mut book = self.guests.book();
        if let Some(strangers) = book.strangers.get_mut(&self.listener)
            && strangers.remove(&(!brings, self.number))
        {
            strangers.insert((brings, self.number));
        }
    }

    /// It brought a message: no stranger any more.
    pub(crate) fn brought_something(&self) {
        self.guests.book().acquainted(self.listener, self.number);
    }

    /// It logged in.
    pub(crate) fn logged_in(&self, account: &str) {
        let mut book = self.guests.book();
        book.acquainted(self.listener, self.number);
        if let Some(inside) = book.inside.get_mut(&self.number) {
            inside.account = Some(account.into());
        }
    }
}

/// Somebody who was sent out; back when dropped.
pub struct Away {
    guests: Arc<Guests>,
    number: u64,
}

impl Guests {
    /// Takes a place, if there is one.
    ///
    /// # Errors
    /// Says which limit is reached.
    pub fn enter(
        self: &Arc<Guests>,
        listener: SocketAddr,
        peer: SocketAddr,
        bell: Arc<dyn Ring>,
        room: Room,
        now_ms: u64,
    ) -> Result<Guest, Full> {
        let mut book = self.book();
        if book.closing {
            return Err(Full::Closing);
        }
        // First, so that nobody loses a place for a peer that may not have one.
        let is_full = |(network, share): (Network, u32)| {
            book.by_network.get(&network).is_some_and(|n| *n >= room.most_per_address.saturating_mul(share))
        };
        if Network::all(peer.ip()).any(is_full) {
            return Err(Full::Address);
        }
        let (mut began, mut displaced) = (false, false);
        if room.stress && room.most >= STRESS_LEAST && is_above(book.taken(listener) + 1, room.most, STRESS_ABOVE) {
            began = book.stressed.insert(listener);
            if began {
                book.hurry(listener);
            }
            displaced = book.displace_oldest(listener);
        }
        if book.taken(listener) >= room.most {
            return Err(Full::Listener);
        }
        if book.stressed.contains(&listener) {
            bell.ring(Nudge::Hurry);
        }
        *book.by_listener.entry(listener).or_default() += 1;
        for (network, _) in Network::all(peer.ip()) {
            *book.by_network.entry(network).or_default() += 1;
        }
        book.next += 1;
        let number = book.next;
        if room.stress {
            book.strangers.entry(listener).or_default().insert((false, number));
        }
        let inside = Inside { bell: bell.clone(), protocol: room.protocol, peer, account: None, since_ms: now_ms, leaving: false };
        book.inside.insert(number, inside);
        drop(book);
        if began {
            tracing::warn!(%listener, most = room.most, "places are short: strangers are hurried, and the oldest go");
        }
        Ok(Guest { guests: self.clone(), number, peer, listener, most: room.most, displaced, bell, tls: Arc::default() })
    }

    /// Whether nobody is let in or out any more.
    pub fn is_closing(&self) -> bool {
        self.book().closing
    }

    /// Notes that somebody goes out, to be called home when the server stops; `None` if it does already.
    pub fn set_out(self: &Arc<Guests>, bell: Arc<dyn Ring>) -> Option<Away> {
        let mut book = self.book();
        if book.closing {
            return None;
        }
        book.next += 1;
        let number = book.next;
        book.away.insert(number, (bell, false));
        Some(Away { guests: self.clone(), number })
    }

    /// Lets nobody in or out any more and tells everybody to come to an end.
    pub fn close(&self) {
        let mut book = self.book();
        book.closing = true;
        for bell in book.inside.values().map(|inside| &inside.bell).chain(book.away.values().map(|(bell, _)| bell)) {
            bell.ring(Nudge::Shutdown);
        }
    }

    /// Sends away all of whom that is true; says how many.
    pub fn dismiss(&self, mut whom: impl FnMut(&Present) -> bool) -> usize {
        let everybody = self.present();
        let chosen: Vec<u64> = everybody.iter().filter(|present| whom(present)).map(|present| present.number).collect();
        let mut book = self.book();
        chosen.into_iter().filter(|number| book.dismiss(*number)).count()
    }

    /// Tells those who were sent out to come back; says how many were not told before.
    pub fn call_back(&self) -> usize {
        let mut book = self.book();
        let untold = book.away.values_mut().filter_map(|(bell, told)| (!std::mem::replace(told, true)).then_some(bell));
        untold.map(|bell| bell.ring(Nudge::Leave)).count()
    }

    /// Who is here and was not sent away, the oldest first.
    pub fn present(&self) -> Vec<Present> {
        let present = |(number, inside): (&u64, &Inside)| Present {
            number: *number,
            protocol: inside.protocol,
            peer: inside.peer,
            account: inside.account.clone(),
            since_ms: inside.since_ms,
        };
        self.book().inside.iter().filter(|(_, inside)| !inside.leaving).map(present).collect()
    }

    /// The listeners whose places are short.
    pub fn stressed(&self) -> Vec<SocketAddr> {
        self.book().stressed.iter().copied().collect()
    }

    /// How many are inside.
    pub fn count(&self) -> usize {
        self.book().inside.len()
    }

    /// How many were sent out and are not back.
    pub fn away(&self) -> usize {
        self.book().away.len()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn taken(&self, listener: SocketAddr) -> u32 {
        self.by_listener.get(&listener).copied().unwrap_or(0)
    }

    /// The strangers of a listener have little time from now on.
    fn hurry(&mut self, listener: SocketAddr) {
        for (_, number) in self.strangers.get(&listener).into_iter().flatten() {
            if let Some(inside) = self.inside.get(number) {
                inside.bell.ring(Nudge::Hurry);
            }
        }
    }

    /// The oldest stranger of a listener goes, if there is one.
    fn displace_oldest(&mut self, listener: SocketAddr) -> bool {
        let oldest = self.strangers.get(&listener).and_then(|strangers| strangers.first().copied());
        oldest.is_some_and(|(_, number)| {
            self.acquainted(listener, number);
            if self.dismiss(number) {
                leave(&mut self.by_listener, listener);
                self.placeless.insert(number);
                return true;
            }
            false
        })
    }

    fn acquainted(&mut self, listener: SocketAddr, number: u64) {
        if let Some(strangers) = self.strangers.get_mut(&listener) {
            strangers.remove(&(false, number));
            strangers.remove(&(true, number));
            if strangers.is_empty() {
                self.strangers.remove(&listener);
            }
        }
    }

    /// Tells one to go; false if that was done before or nobody is there.
    fn dismiss(&mut self, number: u64) -> bool {
        let Some(inside) = self.inside.get_mut(&number).filter(|inside| !inside.leaving) else { return false };
        inside.leaving = true;
        inside.bell.ring(Nudge::Leave);
        true
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        self.guests.book().away.remove(&self.number);
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut book = self.guests.book();
        let book = &mut *book;
        book.inside.remove(&self.number);
        if !book.placeless.remove(&self.number) {
            leave(&mut book.by_listener, self.listener);
        }
        book.acquainted(self.listener, self.number);
        for (network, _) in Network::all(self.peer.ip()) {
            leave(&mut book.by_network, network);
        }
        if !is_above(book.taken(self.listener), self.most, STRESS_UNTIL) {
            book.stressed.remove(&self.listener);
        }
    }
}

fn is_above(taken: u32, most: u32, percent: u64) -> bool {
    u64::from(taken) * 100 > u64::from(most) * percent
}

fn leave<K: Ord>(counts: &mut BTreeMap<K, u32>, key: K) {
    if let std::collections::btree_map::Entry::Occupied(mut entry) = counts.entry(key) {
        *entry.get_mut() -= 1;
        if *entry.get() == 0 {
            entry.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: Room = Room { protocol: "smtp", most: 2, most_per_address: 3, stress: true };

    /// Remembers what was rung.
    #[derive(Default)]
    struct Rung(Mutex<Vec<Nudge>>);
    impl Ring for Rung {
        fn ring(&self, nudge: Nudge) {
            self.0.lock().unwrap().push(nudge);
        }
    }

    #[test]
    fn when_places_are_short_the_oldest_stranger_goes() {
        let guests = Arc::new(Guests::default());
        let smtp: SocketAddr = "127.0.0.1:25".parse().unwrap();
        let room = Room { most: 100, most_per_address: 100, ..ROOM };
        let come = |n: u32| {
            let bell = Arc::new(Rung::default());
            let guest = guests.enter(smtp, format!("192.0.{}.1:1", n % 256).parse().unwrap(), bell.clone(), room, 0);
            (guest, bell)
        };
        let mut all: Vec<_> = (0..80).map(come).collect();
        assert!(all.iter().all(|(guest, bell)| guest.is_ok() && bell.0.lock().unwrap().is_empty()));
        all[0].0.as_ref().unwrap().logged_in("alice@x.test");
        all[1].0.as_ref().unwrap().brought_something();
        all[2].0.as_ref().unwrap().is_bringing(true);
        for n in 80..159 {
            all.push(come(n));
        }
        assert_eq!(all[2].1.0.lock().unwrap().clone(), [Nudge::Hurry], "whose message is on its way goes last");
        all[2].0.as_ref().unwrap().is_bringing(false);
        for n in 159..1000 {
            all.push(come(n));
        }
        assert_eq!(guests.stressed(), [smtp]);
        let rung = |n: usize| all[n].1.0.lock().unwrap().clone();
        assert!(rung(0).is_empty() && rung(1).is_empty(), "who is known is left alone");
        assert_eq!(rung(2), [Nudge::Hurry, Nudge::Leave]);
        assert_eq!(rung(999), [Nudge::Hurry], "the last one has a place, and little time");
        assert!(all.iter().all(|(guest, _)| guest.is_ok()), "nobody is refused");
        assert_eq!(guests.present().len(), 80);
        let (pop, bell) = ("127.0.0.1:110".parse().unwrap(), Arc::new(Rung::default()));
        let _elsewhere = guests.enter(pop, "192.0.2.1:1".parse().unwrap(), bell.clone(), room, 0).unwrap();
        assert!(bell.0.lock().unwrap().is_empty(), "other listeners have their own");
        all.truncate(3);
        assert_eq!((guests.stressed().len(), guests.present().len()), (0, 3));
        let (late, bell) = come(0);
        assert!(late.is_ok() && bell.0.lock().unwrap().is_empty());
        drop((all, late));
        assert_eq!(guests.present().len(), 1);
        assert!(guests.book().placeless.is_empty() && guests.book().strangers.len() == 1);
        assert_eq!(guests.book().by_listener, BTreeMap::from([(pop, 1)]));
    }

    #[test]
    fn who_may_not_come_displaces_nobody() {
        let guests = Arc::new(Guests::default());
        let smtp: SocketAddr = "127.0.0.1:25".parse().unwrap();
        let room = Room { most: 10, most_per_address: 9, ..ROOM };
        let come = |ip: &str| guests.enter(smtp, format!("{ip}:1").parse().unwrap(), Arc::new(Deaf), room, 0);
        let (_one, _many) = (come("192.0.2.1"), (0..8).map(|_| come("198.51.100.1").unwrap()).collect::<Vec<_>>());
        let _last = come("198.51.100.1").unwrap();
        let before = guests.present().len();
        assert_eq!(come("198.51.100.1").err(), Some(Full::Address));
        assert_eq!(guests.present().len(), before);
    }

    #[test]
    fn sessions_are_sent_away_by_what_they_are() {
        let guests = Arc::new(Guests::default());
        let room = Room { most: 100, most_per_address: 100, ..ROOM };
        let bells: Vec<_> = (0..3).map(|_| Arc::new(Rung::default())).collect();
        let come =
            |n: usize| guests.enter("127.0.0.1:25".parse().unwrap(), "192.0.2.1:1".parse().unwrap(), bells[n].clone(), room, 0).unwrap();
        let all: Vec<_> = (0..3).map(come).collect();
        all[0].logged_in("alice@x.test");
        all[1].logged_in("bob@x.test");
        let alice = |present: &Present| present.account.as_deref() == Some("alice@x.test");
        assert_eq!((guests.dismiss(alice), guests.dismiss(alice)), (1, 0));
        assert_eq!(bells.iter().map(|bell| bell.0.lock().unwrap().len()).collect::<Vec<_>>(), [1, 0, 0]);
        drop(all);
        assert!(guests.book().by_listener.is_empty() && guests.book().by_network.is_empty());
    }

    struct Deaf;
    impl Ring for Deaf {
        fn ring(&self, _: Nudge) {}
    }

    #[test]
    fn places_are_limited_and_come_back() {
        let guests = Arc::new(Guests::default());
        let (a, b) = ("127.0.0.1:25".parse().unwrap(), "127.0.0.1:143".parse().unwrap());
        let enter = |listener, peer: &str| guests.enter(listener, peer.parse().unwrap(), Arc::new(Deaf), ROOM, 0);
        let one = enter(a, "192.0.2.1:1").unwrap();
        let _two = enter(a, "192.0.2.1:2").unwrap();
        assert_eq!(enter(a, "192.0.2.2:1").err(), Some(Full::Listener));
        let _three = enter(b, "[::ffff:192.0.2.1]:3").unwrap();
        assert_eq!(enter(b, "192.0.2.1:4").err(), Some(Full::Address));
        drop(one);
        assert!(enter(a, "192.0.2.1:5").is_ok());
        let c: SocketAddr = "127.0.0.1:110".parse().unwrap();
        let customer = |n: u32| {
            let room = Room { most: 1000, most_per_address: 1, ..ROOM };
            guests.enter(c, format!("[2001:db8:0:{n:x}::1]:1").parse().unwrap(), Arc::new(Deaf), room, 0)
        };
        let many: Vec<_> = (0..20).map(|n| customer(n * 256)).collect();
        assert_eq!(many.iter().filter(|came| came.is_ok()).count(), 16, "a /48 has sixteen times what an address has");
        drop(many);
        assert_eq!(guests.count(), 2);
        drop(guests.set_out(Arc::new(Deaf)).unwrap());
        assert_eq!(guests.away(), 0);
        guests.close();
        assert!(guests.set_out(Arc::new(Deaf)).is_none());
        assert_eq!(enter(a, "192.0.2.9:1").err(), Some(Full::Closing));
    }
}
