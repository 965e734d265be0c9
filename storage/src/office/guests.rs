//! Who is here: connections counted by listener and by address, so that no peer takes every place.

use post::Network;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};
use wire::{Nudge, Ring, Tls};

/// The connections that are open.
#[derive(Default)]
pub struct Guests {
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    by_listener: BTreeMap<SocketAddr, u32>,
    by_network: BTreeMap<Network, u32>,
    bells: BTreeMap<u64, Arc<dyn Ring>>,
    /// Of those who were sent out and are on their way.
    away: BTreeMap<u64, Arc<dyn Ring>>,
    next: u64,
    closing: bool,
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
}

impl Full {
    /// One word for a log line.
    pub fn word(self) -> &'static str {
        match self {
            Full::Listener => "listener_full",
            Full::Address => "address_full",
            Full::Closing => "closing",
        }
    }
}

/// A place that is taken; free again when dropped.
pub struct Guest {
    guests: Arc<Guests>,
    /// The number of the connection in the log, unique while the server runs.
    pub number: u64,
    /// Who.
    pub peer: SocketAddr,
    listener: SocketAddr,
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
        most: u32,
        most_per_address: u32,
    ) -> Result<Guest, Full> {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        if book.closing {
            return Err(Full::Closing);
        }
        if book.by_listener.get(&listener).is_some_and(|n| *n >= most) {
            return Err(Full::Listener);
        }
        let is_full =
            |(network, share): (Network, u32)| book.by_network.get(&network).is_some_and(|n| *n >= most_per_address.saturating_mul(share));
        if Network::all(peer.ip()).any(is_full) {
            return Err(Full::Address);
        }
        *book.by_listener.entry(listener).or_default() += 1;
        for (network, _) in Network::all(peer.ip()) {
            *book.by_network.entry(network).or_default() += 1;
        }
        book.next += 1;
        let number = book.next;
        book.bells.insert(number, bell.clone());
        Ok(Guest { guests: self.clone(), number, peer, listener, bell, tls: Arc::default() })
    }

    /// Whether nobody is let in or out any more.
    pub fn is_closing(&self) -> bool {
        self.book.lock().unwrap_or_else(PoisonError::into_inner).closing
    }

    /// Notes that somebody goes out, to be called home when the server stops; `None` if it does already.
    pub fn set_out(self: &Arc<Guests>, bell: Arc<dyn Ring>) -> Option<Away> {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        if book.closing {
            return None;
        }
        book.next += 1;
        let number = book.next;
        book.away.insert(number, bell);
        Some(Away { guests: self.clone(), number })
    }

    /// Lets nobody in or out any more and tells everybody to come to an end.
    pub fn close(&self) {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        book.closing = true;
        for bell in book.bells.values().chain(book.away.values()) {
            bell.ring(Nudge::Shutdown);
        }
    }

    /// How many are inside.
    pub fn count(&self) -> usize {
        self.book.lock().unwrap_or_else(PoisonError::into_inner).bells.len()
    }

    /// How many were sent out and are not back.
    pub fn away(&self) -> usize {
        self.book.lock().unwrap_or_else(PoisonError::into_inner).away.len()
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        self.guests.book.lock().unwrap_or_else(PoisonError::into_inner).away.remove(&self.number);
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut book = self.guests.book.lock().unwrap_or_else(PoisonError::into_inner);
        book.bells.remove(&self.number);
        let book = &mut *book;
        leave(&mut book.by_listener, self.listener);
        for (network, _) in Network::all(self.peer.ip()) {
            leave(&mut book.by_network, network);
        }
    }
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

    struct Deaf;
    impl Ring for Deaf {
        fn ring(&self, _: Nudge) {}
    }

    #[test]
    fn places_are_limited_and_come_back() {
        let guests = Arc::new(Guests::default());
        let (a, b) = ("127.0.0.1:25".parse().unwrap(), "127.0.0.1:143".parse().unwrap());
        let enter = |listener, peer: &str| guests.enter(listener, peer.parse().unwrap(), Arc::new(Deaf), 2, 3);
        let one = enter(a, "192.0.2.1:1").unwrap();
        let _two = enter(a, "192.0.2.1:2").unwrap();
        assert_eq!(enter(a, "192.0.2.2:1").err(), Some(Full::Listener));
        let _three = enter(b, "[::ffff:192.0.2.1]:3").unwrap();
        assert_eq!(enter(b, "192.0.2.1:4").err(), Some(Full::Address));
        drop(one);
        assert!(enter(a, "192.0.2.1:5").is_ok());
        let c: SocketAddr = "127.0.0.1:110".parse().unwrap();
        let customer = |n: u32| guests.enter(c, format!("[2001:db8:0:{n:x}::1]:1").parse().unwrap(), Arc::new(Deaf), 1000, 1);
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
