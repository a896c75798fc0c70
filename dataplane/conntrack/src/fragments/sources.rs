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
    network: u64,
}

impl SourceKey {
    /// That of an address, in halves.
    pub(super) const fn of(family: Family, [upper, lower]: [u64; 2]) -> Self {
        match family {
            Family::V4 => Self { family, network: lower },
            Family::V6 => Self { family, network: upper },
        }
    }
}

/// What is known of a source: a cache line.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(super) struct Source {
    key: SourceKey,
    hash: u32,
    /// Buffers that its fragments take.
    pub(super) buffers: u32,
    /// The weight in whose list it is; [`NONE`] in no list.
    weight: u32,
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
            weight: NONE,
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
    /// The one that takes more and more buffers: its list is looked for once that of another one is asked for. A datagram whose
    /// fragments come one behind the other is in no list at all before it is whole.
    growing: u32,
}

impl Sources {
    /// Room for so many sources, which have no more buffers together.
    pub(super) fn new(room: u32, buffers: u32) -> Self {
        Self {
            directory: Directory::new(room, Source::new(SourceKey::of(Family::V4, [0; 2]), 0)),
            weights: vec![[NONE; 2]; buffers as usize + 1].into(),
            most: 0,
            growing: NONE,
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
        let number = self.directory.add(Source::new(key, hash))?;
        self.directory.link(number);
        Some(number)
    }

    /// Forgets a source that has nothing any more.
    pub(super) fn remove(&mut self, number: u32) {
        if self.growing == number {
            self.growing = NONE;
        }
        self.unlink(number);
        self.directory.unlink(number);
        self.directory.free(number);
    }

    /// Says that its fragments take so many buffers more.
    #[inline]
    pub(super) fn grow(&mut self, number: u32, buffers: u32) {
        if self.growing != number {
            self.weigh_growing();
            self.growing = number;
        }
        self.at_mut(number).buffers += buffers;
    }

    /// Says that they take so many buffers less.
    pub(super) fn shrink(&mut self, number: u32, buffers: u32) {
        self.weigh_growing();
        self.at_mut(number).buffers -= buffers;
        self.weigh(number);
    }

    fn weigh_growing(&mut self) {
        let growing = std::mem::replace(&mut self.growing, NONE);
        if growing != NONE {
            self.weigh(growing);
        }
    }

    /// Moves a source to the list of its weight.
    fn weigh(&mut self, number: u32) {
        self.unlink(number);
        self.link(number);
    }

    /// The source whose fragments take most buffers; of several the one that has taken so many for longest.
    pub(super) fn heaviest(&mut self) -> Option<u32> {
        self.weigh_growing();
        while self.weights[self.most] == [NONE; 2] && self.most > 0 {
            self.most -= 1;
        }
        let [first, _] = self.weights[self.most];
        (first != NONE).then_some(first)
    }

    fn link(&mut self, number: u32) {
        let weight = self.at(number).buffers;
        let [first, last] = self.weights[weight as usize];
        match last {
            NONE => self.weights[weight as usize] = [number; 2],
            last => {
                self.weights[weight as usize] = [first, number];
                self.at_mut(last).following = number;
            }
        }
        let source = self.at_mut(number);
        (source.weight, source.previous, source.following) = (weight, last, NONE);
        self.most = self.most.max(weight as usize);
    }

    fn unlink(&mut self, number: u32) {
        let Source { weight, previous, following, .. } = *self.at(number);
        if weight == NONE {
            return;
        }
        let [first, last] = &mut self.weights[weight as usize];
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
