//! Who sent what is held: how many buffers the fragments of each source take, and which source's take most.
//!
//! Sources hang in lists by their weight, so that the heaviest is found without a search: a weight changes by as many steps as
//! a packet has buffers.

use super::NONE;
use crate::family::Family;

/// A source: an IPv4 address, or the half of an IPv6 address that says whose network it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct SourceKey {
    family: Family,
    network: u128,
}

impl SourceKey {
    pub(super) const fn of(family: Family, address: u128) -> Self {
        match family {
            Family::V4 => Self { family, network: address },
            Family::V6 => Self { family, network: address >> 64 },
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Source {
    key: SourceKey,
    bucket: usize,
    /// The next in its bucket, or of the free places.
    next: u32,
    /// Buffers that its fragments take.
    pub(super) buffers: u32,
    /// Its datagrams: how many, the oldest and the newest.
    pub(super) datagrams: u32,
    pub(super) oldest: u32,
    pub(super) newest: u32,
    /// Its neighbours in the list of its weight.
    previous: u32,
    following: u32,
}

/// All that have datagrams.
#[derive(Debug)]
pub(super) struct Sources {
    places: Box<[Source]>,
    free: u32,
    buckets: Box<[u32]>,
    /// The first and the last of each weight.
    weights: Box<[[u32; 2]]>,
    /// No source weighs more.
    most: usize,
}

impl Sources {
    /// Room for so many sources, which have no more buffers together.
    pub(super) fn new(room: u32, buffers: u32) -> Self {
        let place = |number: u32| Source {
            key: SourceKey::of(Family::V4, 0),
            bucket: 0,
            next: if number + 1 < room { number + 1 } else { NONE },
            buffers: 0,
            datagrams: 0,
            oldest: NONE,
            newest: NONE,
            previous: NONE,
            following: NONE,
        };
        Self {
            places: (0..room).map(place).collect(),
            free: if room > 0 { 0 } else { NONE },
            buckets: vec![NONE; room.next_power_of_two() as usize].into(),
            weights: vec![[NONE; 2]; buffers as usize + 1].into(),
            most: 0,
        }
    }

    pub(super) fn at(&self, number: u32) -> &Source {
        &self.places[number as usize]
    }

    pub(super) fn at_mut(&mut self, number: u32) -> &mut Source {
        &mut self.places[number as usize]
    }

    /// The number of a source whose key has this hash.
    pub(super) fn find(&self, key: SourceKey, hash: u64) -> Option<u32> {
        let mut number = self.buckets[self.bucket(hash)];
        while number != NONE && self.at(number).key != key {
            number = self.at(number).next;
        }
        (number != NONE).then_some(number)
    }

    /// Takes a source in that has nothing yet. `None` where there is no room.
    pub(super) fn add(&mut self, key: SourceKey, hash: u64) -> Option<u32> {
        let number = self.free;
        let bucket = self.bucket(hash);
        self.free = self.places.get(number as usize)?.next;
        let next = std::mem::replace(&mut self.buckets[bucket], number);
        let (previous, following) = (NONE, NONE);
        let (oldest, newest) = (NONE, NONE);
        self.places[number as usize] =
            Source { key, bucket, next, buffers: 0, datagrams: 0, oldest, newest, previous, following };
        self.hang(number);
        Some(number)
    }

    /// Forgets a source that has nothing any more.
    pub(super) fn remove(&mut self, number: u32) {
        self.unhang(number);
        let Source { bucket, next, .. } = *self.at(number);
        let mut link = &mut self.buckets[bucket];
        while *link != number {
            link = &mut self.places[*link as usize].next;
        }
        *link = next;
        self.places[number as usize].next = self.free;
        self.free = number;
    }

    /// Says how many buffers its fragments take now.
    pub(super) fn weigh(&mut self, number: u32, buffers: u32) {
        self.unhang(number);
        self.at_mut(number).buffers = buffers;
        self.hang(number);
    }

    /// The source whose fragments take most buffers; of several the one that has taken so many for longest.
    pub(super) fn heaviest(&mut self) -> Option<u32> {
        while self.weights[self.most] == [NONE; 2] && self.most > 0 {
            self.most -= 1;
        }
        let [first, _] = self.weights[self.most];
        (first != NONE).then_some(first)
    }

    fn hang(&mut self, number: u32) {
        let weight = self.at(number).buffers as usize;
        let [first, last] = self.weights[weight];
        match last {
            NONE => self.weights[weight] = [number; 2],
            last => {
                self.weights[weight] = [first, number];
                self.at_mut(last).following = number;
            }
        }
        let place = self.at_mut(number);
        (place.previous, place.following) = (last, NONE);
        self.most = self.most.max(weight);
    }

    fn unhang(&mut self, number: u32) {
        let Source { buffers, previous, following, .. } = *self.at(number);
        let [first, last] = &mut self.weights[buffers as usize];
        if previous == NONE {
            *first = following;
        }
        if following == NONE {
            *last = previous;
        }
        if previous != NONE {
            self.at_mut(previous).following = following;
        }
        if following != NONE {
            self.at_mut(following).previous = previous;
        }
    }

    const fn bucket(&self, hash: u64) -> usize {
        hash as usize & (self.buckets.len() - 1)
    }
}
