//! Who sent what is held: how many buffers the fragments of each source take, and which source's take most.
//!
//! Sources are linked in lists by their weight, so that the heaviest is found without a search: a weight changes by as many steps as
//! a packet has buffers.

use super::NONE;
use super::directory::{Directory, Item};
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
    hash: u32,
    /// Buffers that its fragments take.
    pub(super) buffers: u32,
    /// Whether it is in a list.
    is_listed: bool,
    /// Its datagrams: how many, the oldest and the newest.
    pub(super) datagrams: u32,
    pub(super) oldest: u32,
    pub(super) newest: u32,
    /// Its neighbours in the list of its weight.
    previous: u32,
    pub(super) following: u32,
}

impl Source {
    /// One that has nothing yet.
    const fn new(key: SourceKey, hash: u32) -> Self {
        Self {
            key,
            hash,
            buffers: 0,
            is_listed: false,
            datagrams: 0,
            oldest: NONE,
            newest: NONE,
            previous: NONE,
            following: NONE,
        }
    }
}

impl Item for Source {
    type Key = SourceKey;

    fn key(&self) -> &SourceKey {
        &self.key
    }

    fn hash(&self) -> u32 {
        self.hash
    }
}

/// All that have datagrams.
#[derive(Debug)]
pub(super) struct Sources {
    directory: Directory<Source>,
    /// The first and the last of each weight.
    weights: Box<[[u32; 2]]>,
    /// No source weighs more.
    most: usize,
}

impl Sources {
    /// Room for so many sources, which have no more buffers together.
    pub(super) fn new(room: u32, buffers: u32) -> Self {
        Self {
            directory: Directory::new(room, Source::new(SourceKey::of(Family::V4, 0), 0)),
            weights: vec![[NONE; 2]; buffers as usize + 1].into(),
            most: 0,
        }
    }

    pub(super) fn at(&self, number: u32) -> &Source {
        self.directory.at(number)
    }

    pub(super) fn at_mut(&mut self, number: u32) -> &mut Source {
        self.directory.at_mut(number)
    }

    pub(super) fn get(&self, number: u32) -> Option<&Source> {
        self.directory.get(number)
    }

    /// Fetches where a hash is looked for.
    pub(super) fn prefetch(&self, hash: u32) {
        self.directory.prefetch(hash);
    }

    /// Fetches a source, if there is one of this number.
    pub(super) fn prefetch_item(&self, number: u32) {
        self.directory.prefetch_item(number);
    }

    /// The number of a source whose key has this hash.
    pub(super) fn find(&self, key: &SourceKey, hash: u32) -> Option<u32> {
        self.directory.find(key, hash)
    }

    /// Takes a source in that has nothing yet, and is to be weighed. `None` where there is no room.
    pub(super) fn add(&mut self, key: SourceKey, hash: u32) -> Option<u32> {
        self.directory.insert(Source::new(key, hash))
    }

    /// Forgets a source that has nothing any more.
    pub(super) fn remove(&mut self, number: u32) {
        self.unlink(number);
        self.directory.unlink(number);
        self.directory.free(number);
    }

    /// Says how many buffers its fragments take now.
    pub(super) fn weigh(&mut self, number: u32, buffers: u32) {
        self.unlink(number);
        self.at_mut(number).buffers = buffers;
        self.link(number);
    }

    /// The source whose fragments take most buffers; of several the one that has taken so many for longest.
    pub(super) fn heaviest(&mut self) -> Option<u32> {
        while self.weights[self.most] == [NONE; 2] && self.most > 0 {
            self.most -= 1;
        }
        let [first, _] = self.weights[self.most];
        (first != NONE).then_some(first)
    }

    fn link(&mut self, number: u32) {
        let weight = self.at(number).buffers as usize;
        let [first, last] = self.weights[weight];
        match last {
            NONE => self.weights[weight] = [number; 2],
            last => {
                self.weights[weight] = [first, number];
                self.at_mut(last).following = number;
            }
        }
        let source = self.at_mut(number);
        (source.is_listed, source.previous, source.following) = (true, last, NONE);
        self.most = self.most.max(weight);
    }

    fn unlink(&mut self, number: u32) {
        let Source { buffers, is_listed, previous, following, .. } = *self.at(number);
        if !is_listed {
            return;
        }
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
}
