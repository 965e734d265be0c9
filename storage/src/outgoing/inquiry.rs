//! The office of a question to a name server. The session asks nothing; what it heard goes back to the resolver.

use super::{Dial, Load, Transport, Traveller, Trip};
use crate::house::House;
use dns::Exchange;
use std::{io, sync::Arc};
use wire::{Ring, Sink, Tick, Why};

/// The office of a question to a name server.
pub struct Inquiry {
    house: Arc<House>,
}

impl Inquiry {
    pub(super) fn trip(house: &Arc<House>, exchange: Exchange) -> Trip {
        let transport = match exchange.transport() {
            dns::Transport::Udp => Transport::Udp,
            dns::Transport::Tcp => Transport::Tcp,
        };
        let dial = Dial { to: exchange.server(), from: None, transport, timeout_ms: exchange.timeout_ms() };
        Trip { dial, load: Load::Dns(Box::new(exchange), Box::new(Inquiry { house: house.clone() })) }
    }

    /// Takes the session back, answered or not.
    pub fn done(self, exchange: Exchange) {
        let now = Tick(self.house.now_ms());
        let mut inner = self.house.outgoing().inner();
        let known = inner.resolver.done(now, exchange);
        inner.known(&self.house, now, &known);
        drop(inner);
        self.house.outgoing().ring();
    }
}

impl Sink for Inquiry {
    fn body(&mut self, _: &[u8]) {}

    fn is_full(&self) -> bool {
        false
    }

    fn drain(&mut self) {}
}

impl Traveller for Inquiry {
    type Session = Exchange;

    fn bell(&mut self, _: Arc<dyn Ring>) {}

    fn unreachable(self, exchange: Exchange, _: &io::Error) {
        self.done(exchange);
    }

    fn closed(self, exchange: Exchange, _: Why) {
        self.done(exchange);
    }
}
