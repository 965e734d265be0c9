//! Mail that leaves: what the runtimes are to carry.

mod operator;
pub(crate) mod restore;
mod trip;

pub use trip::{Dial, Load, Transport, Traveller, Trip};

use crate::house::House;
use std::sync::Arc;
use wire::{Ring, Tick};

impl House {
    /// The next trip to carry, if there is one. May commit reports to disk: call it where waiting is allowed.
    pub fn next_trip(&self, _now: Tick) -> Option<Trip> {
        None
    }

    /// When to ask for the next trip even if nobody rings.
    pub fn trips_due(&self) -> Option<Tick> {
        None
    }

    /// Whom to ring when there may be a trip to carry.
    pub fn on_trips(&self, _bell: Arc<dyn Ring>) {}
}
