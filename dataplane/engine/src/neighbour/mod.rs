//! The neighbour cache: which host on a link has which address (RFC 826 for IPv4, RFC 4861 for IPv6).
//!
//! A packet to a neighbour that is not known yet waits while it is asked for, three times a second apart. One that is
//! known is asked again once what it said is half a minute old and packets still go there; one that nobody sends to
//! is forgotten.
//!
//! Nobody can fill the cache to others' loss (RFC 6583): each port has its own limits, one for neighbours that are asked
//! for, one for those that are known and unused, one for those in use. Where one is reached, the oldest of its kind
//! gives way. Questions are paced, so that a scan of a network makes no storm of them.

mod arp;
mod cache;
mod codec;
mod conflict;
mod message;
mod ndp;
mod queue;
mod state;
#[cfg(test)]
mod tests;
mod told;
mod waiting;

pub(crate) use cache::{Due, Neighbours, Wait};
pub(crate) use codec::{read, write};
pub use conflict::AddressConflicts;
pub(crate) use message::{Bytes, Heard, Message, Speaker};
pub use state::{NeighbourCounters, NeighbourSnapshot, State};
pub(crate) use told::Told;

use std::hash::BuildHasher;

use ahash::RandomState;

/// A hasher whose key nobody outside knows.
pub(crate) fn random_state() -> RandomState {
    let random = std::hash::RandomState::new();
    let [a, b, c, d] = [0, 1, 2, 3].map(|number: u8| random.hash_one(number));
    RandomState::with_seeds(a, b, c, d)
}
