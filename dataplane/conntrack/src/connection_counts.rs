//! How many connections are open, of all that a rule matches or of each network, as iptables' `connlimit` and nft's `ct count`.
//!
//! A connection is counted when a packet of it comes to a rule with such a limit, once for each, and until it ends; one of TCP no longer
//! than it is open (`TIME_WAIT` and `CLOSE` do not count, as in Linux). All shards of a box share the counts. Each is a word that is
//! changed in one step, in a table with room for as many as there can be connections; a connection without such a rule never touches it.

use crate::facts::Facts;
use crate::limits::LimitBy;
use ahash::RandomState;
use arrayvec::ArrayVec;
use sluice_memory::Arena;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Limits that count one connection, at most; beyond that many it is over each.
pub(crate) const MAX_COUNTED: usize = 8;

/// What counts a connection: the keys of its counts.
pub(crate) type Counted = ArrayVec<u64, MAX_COUNTED>;

/// Bits of a word that are the count, of more connections than there can be; above is a part of the key.
const COUNT_BITS: u32 = 28;
const COUNT: u64 = (1 << COUNT_BITS) - 1;

/// Most connections of a limit.
pub const MAX_CONNECTIONS: u32 = COUNT as u32;

/// Places that one key may have. So many are taken by others once in a billion times, where each connection is counted by itself.
const WINDOW: usize = 32;

/// Places for each connection that there can be.
const PLACES: usize = 4;

/// A limit of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionLimit {
    /// Tells it from others. One that is the same after a reload, but for its number, has the same, and goes on where it was.
    pub id: u64,
    /// How many may be open.
    pub most: u32,
    /// Whose are counted together.
    pub by: LimitBy,
    /// Whether the rule is for connections beyond the limit, not for those within.
    pub over: bool,
}

/// The counts of a box.
#[derive(Debug)]
pub struct ConnectionCounts {
    /// A part of the key, and the count; 0 where there is none. A power of two of them, which take memory only where one was counted.
    words: Arena<AtomicU64>,
    hasher: RandomState,
}

impl ConnectionCounts {
    /// Room for those of so many connections, and a secret key, so that nobody can choose addresses which share a place.
    ///
    /// # Errors
    /// When the host refuses the address space.
    pub fn new(connections: u32, [a, b, c, d]: [u64; 4]) -> io::Result<Self> {
        let places = (connections as usize * PLACES).next_power_of_two().max(WINDOW);
        Ok(Self { words: Arena::sparse(places)?, hasher: RandomState::with_seeds(a, b, c, d) })
    }

    /// The places of a key.
    fn window(&self, key: u64) -> impl Iterator<Item = &AtomicU64> {
        let mask = self.words.len() - 1;
        (0..WINDOW).filter_map(move |place| self.words.get((key as usize).wrapping_add(place) & mask))
    }

    /// Counts a connection; gives how many there are with it, or `None` where there is no room.
    fn take(&self, key: u64) -> Option<u32> {
        loop {
            let (mut own, mut free, mut others) = (None, None, 0);
            for word in self.window(key) {
                match word.load(Relaxed) {
                    0 => free = free.or(Some((word, key & !COUNT))),
                    value if (value ^ key) & !COUNT != 0 => {}
                    value if own.is_none() => own = Some((word, value)),
                    // Two shards have begun to count at once, each in another place.
                    value => others += value & COUNT,
                }
            }
            let (word, value) = own.or(free)?;
            let before = if own.is_some() { value } else { 0 };
            if word.compare_exchange(before, value + 1, Relaxed, Relaxed).is_ok() {
                return Some(((value & COUNT) + 1 + others) as u32);
            }
        }
    }

    /// How many there are.
    fn get(&self, key: u64) -> u32 {
        let own = self.window(key).map(|word| word.load(Relaxed)).filter(|value| (value ^ key) & !COUNT == 0);
        own.map(|value| value & COUNT).sum::<u64>() as u32
    }

    /// A connection that was counted is over.
    pub(crate) fn give_back(&self, key: u64) {
        let less = |value: u64| match value & COUNT {
            _ if (value ^ key) & !COUNT != 0 => None,
            0 => None,
            1 => Some(0),
            _ => Some(value - 1),
        };
        // The first place that has one: it does not matter which.
        let _ = self.window(key).any(|word| word.fetch_update(Relaxed, Relaxed, less).is_ok());
    }

    /// Whether nothing is counted.
    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.words.iter().all(|word| word.load(Relaxed) == 0)
    }
}

/// What a walk through the rules counts a connection by.
#[derive(Debug)]
pub struct Counter<'a> {
    counts: &'a ConnectionCounts,
    /// What counts the connection already, and with it what counts it from now on if it stays.
    counted: &'a mut Counted,
    /// Whether connections are not counted, only looked at as if they were.
    only_looks: bool,
}

impl<'a> Counter<'a> {
    /// That of a connection which is counted by this.
    pub(crate) const fn new(counts: &'a ConnectionCounts, counted: &'a mut Counted) -> Self {
        Self { counts, counted, only_looks: false }
    }

    /// One by which nothing is counted.
    pub(crate) const fn looking(counts: &'a ConnectionCounts, counted: &'a mut Counted) -> Self {
        Self { counts, counted, only_looks: true }
    }

    /// Whether a rule with this limit is for the packet of these facts, which all else in it matches. Counts its connection, if that
    /// was not done before.
    #[inline(never)]
    pub(crate) fn applies(&mut self, limit: &ConnectionLimit, facts: &Facts) -> bool {
        // No key is 0, which is where none is.
        let key = limit.by.key(&self.counts.hasher, limit.id, facts) | 1 << COUNT_BITS;
        let open = if self.counted.contains(&key) {
            Some(self.counts.get(key))
        } else if self.counted.is_full() {
            None
        } else if self.only_looks {
            Some(self.counts.get(key).saturating_add(1))
        } else {
            let open = self.counts.take(key);
            self.counted.extend(open.map(|_| key));
            open
        };
        open.is_none_or(|open| open > limit.most) == limit.over
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    const SEED: [u64; 4] = [1, 2, 3, 4];

    fn key(number: u64) -> u64 {
        RandomState::with_seeds(5, 6, 7, 8).hash_one(number) | 1 << COUNT_BITS
    }

    #[test]
    fn each_key_has_a_count_of_its_own_however_full_it_is() {
        let connections = 10_000;
        let counts = ConnectionCounts::new(connections, SEED).unwrap();
        for round in 1..=3 {
            assert!((0..u64::from(connections)).all(|number| counts.take(key(number)) == Some(round)));
        }
        for number in 0..u64::from(connections) {
            for left in [2, 1, 0] {
                counts.give_back(key(number));
                assert_eq!(counts.get(key(number)), left);
            }
        }
        assert!(counts.is_empty());
        counts.give_back(key(1));
        assert!(counts.is_empty(), "what was not counted is not given back");
    }

    #[test]
    fn where_there_is_no_room_nobody_is_counted() {
        let counts = ConnectionCounts::new(1, SEED).unwrap();
        let taken = (0..100).filter(|number| counts.take(key(*number)).is_some()).count();
        assert_eq!(taken, WINDOW);
        assert_eq!(counts.take(key(0)), Some(2));
    }

    #[test]
    fn counts_are_exact_whoever_counts_at_once() {
        let counts = ConnectionCounts::new(64, SEED).unwrap();
        let work = |seed: u64| {
            let (mut state, mut held) = (seed, HashMap::<u64, u32>::new());
            for _ in 0..20_000 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let number = (state >> 33) % 16;
                let of = held.entry(number).or_default();
                if state >> 63 == 0 {
                    assert!(counts.take(key(number)).unwrap() > *of);
                    *of += 1;
                } else if *of > 0 {
                    counts.give_back(key(number));
                    *of -= 1;
                }
            }
            held
        };
        let all: Vec<HashMap<u64, u32>> = std::thread::scope(|scope| {
            let workers: Vec<_> = (1..=4).map(|seed| scope.spawn(move || work(seed))).collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).collect()
        });
        for number in 0..16 {
            let held: u32 = all.iter().filter_map(|held| held.get(&number)).sum();
            assert_eq!(counts.get(key(number)), held);
            (0..held).for_each(|_| counts.give_back(key(number)));
        }
        assert!(counts.is_empty());
    }
}
