//! What a worker has told the others about neighbours, so that it does not tell them again and again.
//!
//! Only one worker receives the answer to what another has asked, and a worker asks for a neighbour once a second. So the same
//! is told as often in a second as there are workers, and no more: whatever a host on the link goes on repeating.

use std::time::Duration;

use ahash::RandomState;
use sluice_conntrack::{Instant, PortId};

use super::message::Speaker;

/// Neighbours that are remembered, at most. One takes the place of another, which is told once too often then.
const SLOTS: usize = 256;

/// How often a worker asks for a neighbour.
const INTERVAL: Duration = Duration::from_secs(1);

/// What was told of one neighbour.
#[derive(Clone, Copy, Debug)]
struct Slot {
    about: (PortId, Speaker),
    /// Since when, and how often.
    since: Instant,
    times: u16,
}

/// What was told of many.
#[derive(Debug)]
pub(crate) struct Told {
    slots: Box<[Option<Slot>; SLOTS]>,
    hasher: RandomState,
    workers: u16,
}

impl Told {
    /// Nothing yet, to the others of so many workers; slots are found by `hasher`.
    pub(crate) fn new(workers: u16, hasher: RandomState) -> Self {
        Self { slots: Box::new([None; SLOTS]), hasher, workers }
    }

    /// Whether the others are to be told what a neighbour says of itself at `now`.
    pub(crate) fn is_news(&mut self, now: Instant, port: PortId, speaker: Speaker) -> bool {
        if self.workers == 1 {
            return false;
        }
        let number = self.hasher.hash_one((port, speaker.address)) as usize % SLOTS;
        let about = (port, speaker);
        match &mut self.slots[number] {
            Some(slot) if slot.about == about && now.since(slot.since) < INTERVAL => {
                slot.times = slot.times.saturating_add(1);
                slot.times <= self.workers
            }
            slot => {
                *slot = Some(Slot { about, since: now, times: 1 });
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEAKER: Speaker =
        Speaker { address: std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), mac: [2; 6] };

    fn told(workers: u16) -> Told {
        Told::new(workers, RandomState::with_seeds(1, 2, 3, 4))
    }

    #[test]
    fn what_is_repeated_is_told_as_often_as_workers_may_have_asked() {
        let mut told = told(3);
        let mut count = |at_ms: u64| {
            let now = Instant::from_ns(at_ms * 1_000_000);
            (0..1000).filter(|_| told.is_news(now, PortId(1), SPEAKER)).count()
        };
        assert_eq!([count(5), count(500), count(1004), count(1005), count(2004)], [3, 0, 0, 3, 0]);
    }

    #[test]
    fn another_mac_address_or_port_is_told_at_once() {
        let mut told = told(2);
        let now = Instant::from_ns(1);
        assert!((0..2).all(|_| told.is_news(now, PortId(1), SPEAKER)));
        assert!(!told.is_news(now, PortId(1), SPEAKER));
        let moved = Speaker { mac: [4; 6], ..SPEAKER };
        assert!(told.is_news(now, PortId(1), moved));
        assert!(told.is_news(now, PortId(2), moved));
    }

    #[test]
    fn the_only_worker_has_nobody_to_tell() {
        assert!(!told(1).is_news(Instant::from_ns(1), PortId(1), SPEAKER));
    }
}
