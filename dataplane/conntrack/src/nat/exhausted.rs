//! What was sought in vain a moment ago, so that each packet of many to a server that all ports lead to already does not seek it
//! anew.
//!
//! What is remembered is an address of the box or of a pool, a protocol, a server and a range of ports. It is forgotten as soon
//! as any connection there ends, and after a moment in any case: searches look at a part of what there is, and the next may
//! find what the last has not. A reply tuple that another shard has refused is remembered as well, so that its connection gets
//! another when it is bound again.

use crate::time::Instant;
use std::ops::RangeInclusive;
use std::time::Duration;

/// How long it is remembered: a client that repeats its first packet, after a second as a rule, is not refused by memory.
const FOR: Duration = Duration::from_millis(100);

/// How much is remembered at a time, in sets of slots. What comes later takes the place of what came first to its set.
const SETS: usize = 64;
const SLOTS: usize = 8;

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// The keyed hash of address, protocol and server.
    key: u64,
    first_port: u16,
    last_port: u16,
    until: Instant,
}

impl Slot {
    fn has(&self, key: u64, ports: &RangeInclusive<u16>) -> bool {
        self.key == key && (self.first_port, self.last_port) == (*ports.start(), *ports.end())
    }
}

/// The memory of a shard.
#[derive(Debug)]
pub(crate) struct Exhausted {
    sets: Box<[[Slot; SLOTS]]>,
    /// Nothing is remembered from then on.
    until: Instant,
}

impl Default for Exhausted {
    fn default() -> Self {
        Self { sets: vec![[Slot::default(); SLOTS]; SETS].into(), until: Instant::default() }
    }
}

impl Exhausted {
    /// Whether anything is remembered at all.
    pub(super) fn is_empty(&self, now: Instant) -> bool {
        self.until <= now
    }

    /// Whether these ports were all taken a moment ago.
    pub(super) fn has(&self, key: u64, ports: &RangeInclusive<u16>, now: Instant) -> bool {
        let mut set = self.sets[key as usize % SETS].iter();
        set.any(|slot| slot.has(key, ports) && slot.until > now)
    }

    /// Remembers that these ports are all taken.
    pub(super) fn note(&mut self, key: u64, ports: &RangeInclusive<u16>, now: Instant) {
        let until = now.after(FOR);
        let set = &mut self.sets[key as usize % SETS];
        // The slot that has it already, else that of what is forgotten first.
        let slot = set.iter_mut().min_by_key(|slot| (!slot.has(key, ports), slot.until));
        if let Some(slot) = slot {
            *slot = Slot { key, first_port: *ports.start(), last_port: *ports.end(), until };
        }
        self.until = until;
    }

    /// Forgets what is known of any ports there: one of them is free.
    pub(super) fn forget(&mut self, key: u64) {
        let set = self.sets[key as usize % SETS].iter_mut();
        set.filter(|slot| slot.key == key).for_each(|slot| *slot = Slot::default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_exhausted_is_remembered_until_a_port_is_free_or_time_has_passed() {
        let (mut exhausted, ports, start) = (Exhausted::default(), 1024..=65535, Instant::from_ns(5));
        assert!(exhausted.is_empty(start) && !exhausted.has(7, &ports, start));
        exhausted.note(7, &ports, start);
        assert!(exhausted.has(7, &ports, start) && !exhausted.is_empty(start));
        assert!(!exhausted.has(7, &(1..=511), start), "other ports of the address");
        assert!(!exhausted.has(7 + SETS as u64, &ports, start), "another server in the same set");
        let later = start.after(FOR);
        assert!(!exhausted.has(7, &ports, later) && exhausted.is_empty(later));
        exhausted.note(7, &ports, later);
        exhausted.forget(8);
        assert!(exhausted.has(7, &ports, later));
        exhausted.forget(7);
        assert!(!exhausted.has(7, &ports, later));
    }

    #[test]
    fn what_comes_later_takes_the_place_of_what_came_first() {
        let (mut exhausted, ports) = (Exhausted::default(), 1024..=65535);
        let key = |number: usize| (number * SETS) as u64;
        for number in 0..=SLOTS {
            exhausted.note(key(number), &ports, Instant::from_ns(number as u64));
            exhausted.note(key(number), &ports, Instant::from_ns(number as u64));
        }
        let known: Vec<usize> =
            (0..=SLOTS).filter(|number| exhausted.has(key(*number), &ports, Instant::from_ns(9))).collect();
        assert_eq!(known, (1..=SLOTS).collect::<Vec<_>>());
    }
}
